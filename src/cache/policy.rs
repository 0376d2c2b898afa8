use std::fmt;

/// Which entry goes when a new one needs room.
///
/// ```
/// use tenfold::cache::{Cache, Policy};
///
/// let cache: Cache<u32, &str> = Cache::builder()
///     .max_entries(2)
///     .policy(Policy::Fifo)
///     .build()?;
/// cache.insert(1, "one");
/// cache.insert(2, "two");
/// cache.get(&1);
/// cache.insert(3, "three");
/// assert!(!cache.contains_key(&1), "first in, first out, used or not");
/// # Ok::<(), tenfold::cache::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Learns from the traffic which entries earn their place; the default.
    /// See the [module's documentation](crate::cache) for how.
    #[default]
    Adaptive,
    /// Evicts the entry whose last use is longest ago.
    Lru,
    /// Evicts the entry that was used least often since it was inserted; among
    /// equals, the one whose last use is longest ago.
    Lfu,
    /// Evicts the entry that was inserted first.
    Fifo,
}

impl Policy {
    /// Every policy, the default first.
    pub const ALL: [Self; 4] = [Self::Adaptive, Self::Lru, Self::Lfu, Self::Fifo];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Adaptive => "adaptive",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
        })
    }
}
