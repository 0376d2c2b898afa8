use std::fmt;

/// How the bits of a key lie in the memory of a filter.
///
/// ```
/// use tenfold::bloom::{BloomFilter, Layout};
///
/// // Chosen by the rate, unless it is asked for.
/// assert_eq!(BloomFilter::with_rate(1000, 0.01)?.layout(), Layout::Blocked);
/// assert_eq!(BloomFilter::with_rate(1000, 1e-6)?.layout(), Layout::Standard);
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// One cache line of 64 bytes per key, and one bit in each of its eight
    /// words: one cache miss, and vector instructions answer without a branch.
    /// The default of [`BloomFilter`](super::BloomFilter). At 1 % it needs 5 %
    /// more memory than the standard layout, at 0.1 % 13 %.
    Blocked,
    /// One cache line per key, and two bits in each of four words, one of every
    /// pair: four atomic operations at most instead of eight, for 3 % more false
    /// positives. The default of [`AtomicBloomFilter`](super::AtomicBloomFilter).
    Paired,
    /// Bits anywhere in the filter, a cache line each: the fewest bits for a
    /// rate. The default below a rate of 2 × 10⁻⁴, where one line per key costs
    /// too much memory.
    Standard,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Paired, Self::Standard];

    /// The number that stands for it in bytes. Never change one.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Blocked => 1,
            Self::Paired => 2,
            Self::Standard => 3,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "blocked",
            Self::Paired => "paired",
            Self::Standard => "standard",
        })
    }
}
