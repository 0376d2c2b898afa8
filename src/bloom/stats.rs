use std::fmt;

use super::Layout;

/// What is in a filter and how good it is, computed from its bits.
///
/// ```
/// use tenfold::bloom::BloomFilter;
///
/// let mut seen = BloomFilter::with_rate(1000, 0.01)?;
/// seen.extend(&["ada", "bob"]);
/// let stats = seen.stats();
/// assert_eq!(stats.keys, 2);
/// assert_eq!(
///     stats.to_string(),
///     "about 2 keys in 10240 bits (blocked, 8 per key), 0.2 % of them set, false positives 0.0000 %",
/// );
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BloomStats {
    /// The size in bits.
    pub bits: u64,
    /// The bits that a key sets.
    pub hashes: u32,
    /// How they lie.
    pub layout: Layout,
    /// The share of bits that are set.
    pub fill: f64,
    /// About how many different keys were inserted.
    pub keys: u64,
    /// The rate of false positives now.
    pub rate: f64,
}

impl fmt::Display for BloomStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about {} keys in {} bits ({}, {} per key), {:.1} % of them set, false positives {:.4} %",
            self.keys,
            self.bits,
            self.layout,
            self.hashes,
            self.fill * 100.0,
            self.rate * 100.0
        )
    }
}
