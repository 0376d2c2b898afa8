use super::kernel::Kernel;
use super::line::LINE_BITS;
use super::shape::Shape;
use super::{
    AtomicBloomFilter, BloomFilter, BuildError, InstructionSet, Layout, ScalableBloomFilter,
};

/// The knobs of a filter: [`BloomFilter::builder`].
///
/// The size follows from [`items`](Self::items) and [`rate`](Self::rate), or is
/// given as [`bits`](Self::bits).
///
/// ```
/// use tenfold::bloom::{BloomFilter, BuildError};
///
/// let filter = BloomFilter::builder().items(1_000_000).rate(0.01).build()?;
/// assert!(filter.expected_rate(1_000_000) <= 0.01);
///
/// let nothing = BloomFilter::builder().items(1_000_000).build().unwrap_err();
/// assert_eq!(nothing, BuildError::Unsized);
/// # Ok::<(), BuildError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct BloomBuilder {
    items: Option<u64>,
    rate: Option<f64>,
    bits: Option<u64>,
    layout: Option<Layout>,
    seed: u64,
    instructions: Option<InstructionSet>,
    max_bytes: Option<u64>,
}

impl BloomBuilder {
    /// The keys that the filter is to hold; zero counts as one.
    pub const fn items(mut self, items: u64) -> Self {
        self.items = Some(items);
        self
    }

    /// The highest rate of false positives with that many keys: a fraction,
    /// 0.01 for one in a hundred.
    pub const fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The size, in place of a rate. Rounded up to whole lines of 512.
    pub const fn bits(mut self, bits: u64) -> Self {
        self.bits = Some(bits);
        self
    }

    /// How the bits lie. Unless set it is [`Layout::Blocked`], for an atomic filter
    /// [`Layout::Paired`], and for rates below 2 × 10⁻⁴ [`Layout::Standard`].
    pub const fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// The seed of the hash, zero unless set. With a secret one, strangers
    /// cannot prepare keys that are all found, or that all lie in one line.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The instructions to use, instead of the fastest that the processor has:
    /// for tests and measurements. The bits are the same with all.
    pub const fn instruction_set(mut self, instructions: InstructionSet) -> Self {
        self.instructions = Some(instructions);
        self
    }

    /// The most memory. A larger filter is refused, and one that grows stops
    /// growing.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Builds the filter.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that says what does not go together, or that the
    /// memory cannot be had.
    pub fn build(self) -> Result<BloomFilter, BuildError> {
        let kernel = match self.instructions {
            None => Kernel::best(),
            Some(asked) => Kernel::of(asked).ok_or(BuildError::InstructionSet { asked })?,
        };
        let shape = self.shape(Layout::Blocked)?;
        BloomFilter::empty(shape, kernel).map_err(|bytes| BuildError::OutOfMemory { bytes })
    }

    /// Builds the filter that threads fill together. It uses no vectors: an
    /// instruction set has no effect on it.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_atomic(self) -> Result<AtomicBloomFilter, BuildError> {
        let shape = self.shape(Layout::Paired)?;
        AtomicBloomFilter::empty(shape).map_err(|bytes| BuildError::OutOfMemory { bytes })
    }

    /// Builds the filter that grows. [`items`](Self::items) is its first size, and
    /// [`rate`](Self::rate) holds for all sizes. Without
    /// [`max_bytes`](Self::max_bytes) it stops growing at 1 GiB.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and [`bits`](Self::bits) is no size for it.
    pub fn build_scalable(mut self) -> Result<ScalableBloomFilter, BuildError> {
        let (Some(items), Some(rate)) = (self.items, self.rate) else {
            return Err(BuildError::Unsized);
        };
        let max_bytes = *self.max_bytes.get_or_insert(SCALABLE_BYTES);
        // Says what is wrong with the rate that was asked for, not with that of a stage.
        check_rate(items.max(1), rate)?;
        ScalableBloomFilter::first(self, items.max(1), rate, max_bytes)
    }

    /// The shape that was asked for, in a layout of one line unless the rate
    /// or the caller says otherwise.
    fn shape(&self, one_line: Layout) -> Result<Shape, BuildError> {
        let items = self.items.map(|items| items.max(1));
        let (layout, (lines, hashes)) = match (items, self.rate, self.bits) {
            (_, Some(_), Some(_)) => return Err(BuildError::RateAndBits),
            (Some(items), Some(rate), None) => {
                check_rate(items, rate)?;
                let fits = if rate < STANDARD_BELOW {
                    Layout::Standard
                } else {
                    one_line
                };
                let layout = self.layout.unwrap_or(fits);
                (layout, layout.size_for(items, rate))
            }
            (items, None, Some(bits)) => {
                let layout = self.layout.unwrap_or(one_line);
                let lines = bits.div_ceil(LINE_BITS).max(1);
                let hashes = match (layout, items) {
                    (Layout::Standard, None) => return Err(BuildError::HashesUnknown),
                    (_, items) => layout.hashes_for(items.unwrap_or(1), lines),
                };
                (layout, (lines, hashes))
            }
            (_, _, None) => return Err(BuildError::Unsized),
        };
        let bits = u128::from(lines) * u128::from(LINE_BITS);
        if let Some(most) = self.max_bytes.filter(|&most| bits / 8 > u128::from(most)) {
            return Err(BuildError::OverMaxBytes { bits, most });
        }
        match usize::try_from(lines) {
            Ok(lines) if bits / 8 <= isize::MAX as u128 => Ok(Shape {
                layout,
                lines,
                hashes,
                seed: self.seed,
            }),
            _ => Err(BuildError::TooLarge { bits }),
        }
    }
}

/// Whether hashes of 64 bits can meet this rate with so many keys.
pub(super) fn check_rate(items: u64, rate: f64) -> Result<(), BuildError> {
    if !(rate > 0.0 && rate < 1.0) {
        return Err(BuildError::Rate { found: rate });
    }
    let least = items as f64 / 2_f64.powi(64);
    if rate < least {
        return Err(BuildError::RateBelowHashes { rate, items, least });
    }
    Ok(())
}

/// Below this rate a layout of one line needs too much memory.
const STANDARD_BELOW: f64 = 2e-4;

/// Where a filter stops growing unless told otherwise.
const SCALABLE_BYTES: u64 = 1 << 30;
