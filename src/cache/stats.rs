use std::fmt;
use std::time::Duration;

/// What a cache has done since it was built, and what it holds now.
///
/// The counts of the shards are read one after the other, so on a busy cache
/// they may be a few operations apart.
///
/// ```
/// use tenfold::cache::Cache;
///
/// let cache = Cache::new(100);
/// cache.insert("a", 1);
/// cache.get("a");
/// cache.get("b");
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
/// assert_eq!(stats.hit_ratio(), Some(0.5));
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Look-ups that found a value.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Loads that brought a value.
    pub loads: u64,
    /// Loads that failed, found nothing, panicked or were cancelled.
    pub load_failures: u64,
    /// Calls that waited for the load of another caller instead of loading.
    pub coalesced: u64,
    /// Time spent in loads, summed over them.
    pub load_time: Duration,
    /// Entries stored under a key that was not there.
    pub insertions: u64,
    /// Values that replaced another.
    pub updates: u64,
    /// Entries the policy evicted.
    pub evictions: u64,
    /// Entries that expired.
    pub expirations: u64,
    /// Entries removed or invalidated by calls.
    pub removals: u64,
    /// Entries refused because they alone exceed the cache's bounds.
    pub refused: u64,
    /// Entries now, expired ones that have not been swept included.
    pub entries: u64,
    /// Their weight; without a weigher, each weighs 1.
    pub weight: u64,
}

impl CacheStats {
    /// Hits among look-ups, between 0 and 1; `None` before the first look-up.
    pub fn hit_ratio(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }
}

impl fmt::Display for CacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.hit_ratio().map_or(0.0, |ratio| ratio * 100.0);
        write!(
            f,
            "{} hits, {} misses ({ratio:.1} % hits); {} loads, {} failed, {} coalesced; \
             {} evicted, {} expired, {} removed, {} refused; {} entries weighing {}",
            self.hits,
            self.misses,
            self.loads,
            self.load_failures,
            self.coalesced,
            self.evictions,
            self.expirations,
            self.removals,
            self.refused,
            self.entries,
            self.weight,
        )
    }
}

/// The counters of loads, which are not kept under a shard's lock.
pub(super) const LOADS: usize = 0;
pub(super) const LOAD_FAILURES: usize = 1;
pub(super) const COALESCED: usize = 2;
pub(super) const LOAD_NANOS: usize = 3;
