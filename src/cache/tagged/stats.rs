use std::fmt;

use super::TagsStats;
use crate::cache::CacheStats;

/// What a [`Tagged`](super::Tagged) cache has done, and what it holds now.
///
/// ```
/// use tenfold::cache::tagged::Tagged;
///
/// let cache = Tagged::new(100);
/// cache.insert_tagged(1, "one", ["odd"]);
/// cache.get(&1);
/// cache.invalidate_tag("odd");
/// cache.get(&1);
/// let stats = cache.stats();
/// assert_eq!((stats.cache.hits, stats.cache.misses, stats.invalid), (1, 1, 1));
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaggedStats {
    /// The cache underneath. A look-up that met an entry which was no longer
    /// valid counts as a miss here.
    pub cache: CacheStats,
    /// Look-ups that met an entry which was there and no longer valid.
    pub invalid: u64,
    /// The registry of tags, over all caches that share it.
    pub tags: TagsStats,
}

impl fmt::Display for TaggedStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cache,
            invalid,
            tags,
        } = self;
        write!(f, "{cache}; {invalid} met when invalid; {tags}")
    }
}
