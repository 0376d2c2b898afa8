use std::fmt;

use super::kernel::{InlineKernel, Kernel, prefetch};
use super::line::{LINE_BYTES, Line, Spot, paired};
use super::memory::filled;
use super::shape::{GROUP, Shape};
use super::sizing::keys_by_zeros;
use super::{
    AtomicBloomFilter, BloomBuilder, BloomStats, BuildError, BytesError, InstructionSet, Layout,
    Mismatch, bytes,
};
use crate::hash::StableKey;

/// A set that may take a stranger for a member, at a known rate, and never a
/// member for a stranger.
///
/// Filled by one owner and read by all; [`AtomicBloomFilter`] is filled by many
/// threads. Keys are hashed by their [canonical bytes](StableKey): look a key up
/// with the type it was inserted with (a `u32` is not found as a `u64`).
///
/// ```
/// use tenfold::bloom::BloomFilter;
///
/// let mut users = BloomFilter::with_rate(100_000, 0.01)?;
/// assert!(users.insert("ada"));
/// assert!(!users.insert("ada")); // nothing new
/// assert!(users.contains("ada"));
/// assert!(!users.contains("eve")); // 99 of 100 strangers
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
#[derive(Clone)]
pub struct BloomFilter {
    shape: Shape,
    /// The instructions for the blocked layout; the others have none.
    blocked: Option<Kernel>,
    /// The same for single keys, if they need no call.
    inline: Option<InlineKernel>,
    /// As many as the shape says.
    lines: Vec<Line>,
}

impl BloomFilter {
    /// A filter that with `items` keys takes at most this share of strangers for
    /// members. Memory: 9.7 bits per key at 1 %, 16 at 0.1 %.
    ///
    /// # Errors
    ///
    /// If the rate is not between 0 and 1, or lower than 64-bit hashes allow for
    /// so many keys; if the memory cannot be had.
    pub fn with_rate(items: u64, rate: f64) -> Result<Self, BuildError> {
        Self::builder().items(items).rate(rate).build()
    }

    /// A builder, for everything else.
    pub fn builder() -> BloomBuilder {
        BloomBuilder::default()
    }

    pub(super) fn empty(shape: Shape, kernel: Kernel) -> Result<Self, usize> {
        let lines = filled(shape.lines, || Line::EMPTY)?;
        Ok(Self::from_parts(shape, kernel, lines))
    }

    fn from_parts(shape: Shape, kernel: Kernel, lines: Vec<Line>) -> Self {
        let blocked = (shape.layout == Layout::Blocked).then_some(kernel);
        Self {
            shape,
            blocked,
            inline: blocked.and_then(Kernel::inline),
            lines,
        }
    }

    /// Inserts a key. Returns whether it was new; a new key that the filter takes
    /// for a member already is not.
    #[inline]
    pub fn insert<K: StableKey + ?Sized>(&mut self, key: &K) -> bool {
        self.insert_hash(key.stable_hash(self.shape.seed))
    }

    /// Whether the key was inserted: surely not if `false`.
    #[inline]
    pub fn contains<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.contains_hash(key.stable_hash(self.shape.seed))
    }

    /// [`insert`](Self::insert) for callers who have a 64-bit hash, every bit of
    /// which must be random. A filter must see hashes of one kind only.
    #[inline]
    pub fn insert_hash(&mut self, hash: u64) -> bool {
        if let Some(kernel) = self.inline {
            let Spot { line, bits } = Spot::of(hash, self.lines.len());
            return kernel.insert(&mut self.lines[line], bits);
        }
        insert_by_call(self.blocked, self.shape, &mut self.lines, hash)
    }

    /// [`contains`](Self::contains) for callers who have a hash.
    #[inline]
    pub fn contains_hash(&self, hash: u64) -> bool {
        if let Some(kernel) = self.inline {
            let Spot { line, bits } = Spot::of(hash, self.lines.len());
            return kernel.contains(&self.lines[line], bits);
        }
        contains_by_call(self.blocked, self.shape, &self.lines, hash)
    }

    /// Inserts many keys; returns how many were new. In a filter that exceeds
    /// the processor's caches this takes about half the time of as many insertions:
    /// the memory of 32 keys is fetched while 32 others are inserted.
    ///
    /// ```
    /// use tenfold::bloom::BloomFilter;
    ///
    /// let mut seen = BloomFilter::with_rate(1000, 0.01)?;
    /// assert_eq!(seen.insert_many(&["a", "b", "a"]), 2);
    /// # Ok::<(), tenfold::bloom::BuildError>(())
    /// ```
    pub fn insert_many<K: StableKey>(&mut self, keys: &[K]) -> u64 {
        if self.is_near() {
            return self.insert_singly(keys);
        }
        let mut inserted = 0;
        let mut ahead = self.fetch(keys);
        for (i, now) in keys.chunks(GROUP).enumerate() {
            // The memory of one group is on its way while another is at work.
            let Group(spots) = ahead;
            ahead = self.fetch(keys.get((i + 1) * GROUP..).unwrap_or_default());
            let spots = &spots[..now.len()];
            inserted += if let Some(kernel) = self.blocked {
                let new = kernel.insert_group(&mut self.lines, spots);
                u64::from(new.count_ones())
            } else {
                let new = spots
                    .iter()
                    .filter(|hash| insert_elsewhere(self.shape, &mut self.lines, hash.bits));
                new.count() as u64
            };
        }
        inserted
    }

    /// Looks many keys up, and tells of each whether it was inserted. In a filter
    /// that exceeds the processor's caches this takes about half the time of as many
    /// look-ups: the memory of 32 keys is fetched while 32 others are tested.
    ///
    /// ```
    /// use tenfold::bloom::BloomFilter;
    ///
    /// let mut seen = BloomFilter::with_rate(1000, 0.01)?;
    /// seen.insert(&7u64);
    /// let mut there = Vec::new();
    /// seen.contains_many(&[6u64, 7, 8], |_, found| there.push(found));
    /// assert_eq!(there, [false, true, false]);
    /// # Ok::<(), tenfold::bloom::BuildError>(())
    /// ```
    #[inline]
    pub fn contains_many<'k, K: StableKey>(
        &self,
        keys: &'k [K],
        mut answer: impl FnMut(&'k K, bool),
    ) {
        if self.is_near() {
            for key in keys {
                answer(key, self.contains(key));
            }
            return;
        }
        let mut ahead = self.fetch(keys);
        for (i, now) in keys.chunks(GROUP).enumerate() {
            // The memory of one group is on its way while another is at work.
            let Group(spots) = ahead;
            ahead = self.fetch(keys.get((i + 1) * GROUP..).unwrap_or_default());
            let spots = &spots[..now.len()];
            let found = if let Some(kernel) = self.blocked {
                kernel.contains_group(&self.lines, spots)
            } else {
                bits(
                    spots
                        .iter()
                        .map(|hash| contains_elsewhere(self.shape, &self.lines, hash.bits)),
                )
            };
            for (i, key) in now.iter().enumerate() {
                answer(key, found >> i & 1 == 1);
            }
        }
    }

    /// Adds every key of the other filter, which must have the same layout, size
    /// and seed.
    ///
    /// # Errors
    ///
    /// What differs. Nothing is changed then.
    pub fn union(&mut self, other: &Self) -> Result<(), Mismatch> {
        self.shape.check(&other.shape)?;
        for (line, other) in self.lines.iter_mut().zip(&other.lines) {
            for (word, other) in line.0.iter_mut().zip(&other.0) {
                *word |= other;
            }
        }
        Ok(())
    }

    /// Forgets every key. Keeps the memory.
    pub fn clear(&mut self) {
        self.lines.fill(Line::EMPTY);
    }

    /// How many different keys were inserted, estimated from the bits, within
    /// a per cent or two until the filter is overfull. Reads the whole filter.
    pub fn len_estimate(&self) -> u64 {
        keys_by_zeros(self.zeros(), self.bits(), self.shape.hashes)
    }

    /// The share of bits that are set. Reads the whole filter.
    pub fn fill(&self) -> f64 {
        1.0 - self.zeros() as f64 / self.bits() as f64
    }

    /// The rate of false positives that the filter has now, computed from every
    /// bit. Above the rate it was built for it is time to build a larger one.
    /// Reads the whole filter.
    pub fn current_rate(&self) -> f64 {
        self.shape.rate_of(self.lines.iter().map(|line| line.0))
    }

    /// The rate of false positives that a filter of this size has by theory once it
    /// holds so many keys.
    pub fn expected_rate(&self, items: u64) -> f64 {
        self.shape.rate(items)
    }

    /// The size in bits; in bytes an eighth of it.
    pub const fn bits(&self) -> u64 {
        self.shape.bits()
    }

    /// The bits that each key sets.
    pub const fn hashes(&self) -> u32 {
        self.shape.hashes
    }

    /// How the bits lie.
    pub const fn layout(&self) -> Layout {
        self.shape.layout
    }

    /// The seed of the hash.
    pub const fn seed(&self) -> u64 {
        self.shape.seed
    }

    /// The instructions in use; only the blocked layout uses vectors.
    pub fn instruction_set(&self) -> InstructionSet {
        let portable = InstructionSet::Portable;
        self.blocked.map_or(portable, Kernel::instruction_set)
    }

    /// What is in the filter and how good it is. Reads the whole filter.
    pub fn stats(&self) -> BloomStats {
        BloomStats {
            bits: self.bits(),
            hashes: self.hashes(),
            layout: self.layout(),
            fill: self.fill(),
            keys: self.len_estimate(),
            rate: self.current_rate(),
        }
    }

    /// The filter as bytes, for a file or another process: 72 and those of the
    /// bits. See [the format](crate::bloom#bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.lines.iter().flat_map(|line| line.0);
        bytes::encode(&self.shape, self.len_estimate(), words)
    }

    /// The filter that [`to_bytes`](Self::to_bytes) wrote, of either type and
    /// any layout, with the seed zero.
    ///
    /// # Errors
    ///
    /// If the bytes were cut, changed, or are those of a filter with another
    /// seed, hash, layout or version.
    ///
    /// ```
    /// use tenfold::bloom::{BloomFilter, BytesError};
    ///
    /// let mut seen = BloomFilter::with_rate(1000, 0.01)?;
    /// seen.insert("ada");
    /// let mut file = seen.to_bytes();
    /// assert!(BloomFilter::from_bytes(&file)?.contains("ada"));
    ///
    /// file[100] ^= 1;
    /// let error = BloomFilter::from_bytes(&file).unwrap_err();
    /// assert!(matches!(error, BytesError::Checksum { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        Self::from_bytes_with_seed(bytes, 0)
    }

    /// [`from_bytes`](Self::from_bytes) of a filter with this seed.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_bytes_with_seed(bytes: &[u8], seed: u64) -> Result<Self, BytesError> {
        let read = bytes::decode(bytes, seed)?;
        let mut filter = Self::empty(read.shape, Kernel::best())
            .map_err(|bytes| BytesError::OutOfMemory { bytes })?;
        for (line, words) in filter.lines.iter_mut().zip(read.lines()) {
            line.0 = words;
        }
        Ok(filter)
    }

    pub(super) fn parts(&self) -> (Shape, &[Line]) {
        (self.shape, &self.lines)
    }

    /// Inserts one key after another; returns how many were new. A function of its
    /// own, so that the loop has the registers to itself.
    #[inline(never)]
    fn insert_singly<K: StableKey>(&mut self, keys: &[K]) -> u64 {
        keys.iter().filter(|key| self.insert(*key)).count() as u64
    }

    /// Whether the filter fits the processor's second cache, so that single keys
    /// are faster than groups.
    #[inline]
    fn is_near(&self) -> bool {
        self.inline.is_some() && self.lines.len() <= NEAR
    }

    fn zeros(&self) -> u64 {
        let words = self.lines.iter().flat_map(|line| line.0);
        words.map(|word| u64::from(word.count_zeros())).sum()
    }

    /// The first 32 keys: their hashes, and in a blocked layout their places. What
    /// they need of the memory is on its way.
    #[inline]
    fn fetch<K: StableKey>(&self, keys: &[K]) -> Group {
        let mut group = Group::default();
        for (spot, key) in group.0.iter_mut().zip(keys) {
            let hash = key.stable_hash(self.shape.seed);
            if self.blocked.is_some() {
                *spot = Spot::of(hash, self.lines.len());
                prefetch(&self.lines[spot.line]);
            } else {
                // The rest of the way is found again from the hash.
                spot.bits = hash;
                self.fetch_elsewhere(hash);
            }
        }
        group
    }

    #[inline(never)]
    fn fetch_elsewhere(&self, hash: u64) {
        if self.shape.layout == Layout::Paired {
            return prefetch(&self.lines[self.shape.spot(hash).line]);
        }
        for (line, _, _) in self.shape.probes(hash) {
            prefetch(&self.lines[line]);
        }
    }
}

/// Inserts where single keys need a call. No method: it would let the
/// filter's address out, and then the compiler would read all its fields anew
/// after each vector instruction of a loop.
#[inline(never)]
fn insert_by_call(blocked: Option<Kernel>, shape: Shape, lines: &mut [Line], hash: u64) -> bool {
    let Some(kernel) = blocked else {
        return insert_elsewhere(shape, lines, hash);
    };
    let Spot { line, bits } = Spot::of(hash, lines.len());
    kernel.insert(&mut lines[line], bits)
}

/// Inserts into a layout that is not blocked.
#[inline(never)]
fn insert_elsewhere(shape: Shape, lines: &mut [Line], hash: u64) -> bool {
    if shape.layout == Layout::Paired {
        let Spot { line, bits } = shape.spot(hash);
        return lines[line].set_all(paired(bits));
    }
    let mut missing = 0;
    for (line, word, mask) in shape.probes(hash) {
        missing |= mask & !lines[line].0[word];
        lines[line].0[word] |= mask;
    }
    missing != 0
}

/// Looks up where single keys need a call.
#[inline(never)]
fn contains_by_call(blocked: Option<Kernel>, shape: Shape, lines: &[Line], hash: u64) -> bool {
    let Some(kernel) = blocked else {
        return contains_elsewhere(shape, lines, hash);
    };
    let Spot { line, bits } = Spot::of(hash, lines.len());
    kernel.contains(&lines[line], bits)
}

/// Looks up in a layout that is not blocked.
#[inline(never)]
fn contains_elsewhere(shape: Shape, lines: &[Line], hash: u64) -> bool {
    if shape.layout == Layout::Paired {
        let Spot { line, bits } = shape.spot(hash);
        return lines[line].has_all(paired(bits));
    }
    let mut probes = shape.probes(hash);
    probes.all(|(line, word, mask)| lines[line].0[word] & mask != 0)
}

/// The places of up to 32 keys, or their hashes.
#[derive(Default, Clone, Copy)]
struct Group([Spot; GROUP]);

impl<'k, K: StableKey + ?Sized + 'k> Extend<&'k K> for BloomFilter {
    fn extend<I: IntoIterator<Item = &'k K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl From<AtomicBloomFilter> for BloomFilter {
    /// The same filter for one owner, once the threads are done with it. Its
    /// layout stays, so it gains no vectors.
    fn from(filter: AtomicBloomFilter) -> Self {
        let (shape, lines) = filter.into_parts();
        Self::from_parts(shape, Kernel::best(), lines)
    }
}

impl PartialEq for BloomFilter {
    /// Whether both find the same keys.
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.lines == other.lines
    }
}

impl Eq for BloomFilter {}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BloomFilter")
            .field("layout", &self.layout())
            .field("bits", &self.bits())
            .finish_non_exhaustive()
    }
}

/// The hashes of up to 32 keys.
#[inline]
pub(super) fn hash_all<'h, K: StableKey>(
    keys: &[K],
    seed: u64,
    hashes: &'h mut [u64; GROUP],
) -> &'h [u64] {
    for (hash, key) in hashes.iter_mut().zip(keys) {
        *hash = key.stable_hash(seed);
    }
    &hashes[..keys.len()]
}

/// Up to 32 answers as bits.
#[inline]
pub(super) fn bits(answers: impl Iterator<Item = bool>) -> u32 {
    let answers = answers.enumerate();
    answers.fold(0, |all, (i, answer)| all | u32::from(answer) << i)
}

/// A mebibyte of lines.
const NEAR: usize = (1 << 20) / LINE_BYTES;
