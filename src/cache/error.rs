use std::fmt;

use crate::time::InvalidJitter;

/// A cache that cannot be built as configured.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Neither bound was given.
    #[error("a cache needs a bound: set max_entries, or max_weight with a weigher")]
    Unbounded,
    /// A weigher was given, but no weight to stay below.
    #[error("a weigher was set without max_weight: set the weight to stay within")]
    WeigherWithoutMaxWeight,
    /// A maximum weight was given, but nothing to weigh with.
    #[error("max_weight was set without a weigher: set one, or use max_entries to count entries")]
    MaxWeightWithoutWeigher,
    /// A time to live or to idle of zero: nothing could ever be read.
    #[error("{knob} must be longer than zero: an entry would expire as it is stored")]
    ZeroDuration {
        /// The builder's method.
        knob: &'static str,
    },
    /// The number of shards is out of range.
    #[error("shards must be between 1 and {max}, found {found}")]
    Shards {
        /// What was asked for.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// The jitter is no fraction.
    #[error("the cache's jitter is invalid")]
    Jitter(#[source] InvalidJitter),
}

/// An entry that was not stored because it alone exceeds the cache's bounds;
/// it is handed back.
///
/// ```
/// use tenfold::cache::Cache;
///
/// let cache = Cache::builder()
///     .max_weight(10)
///     .weigher(|_: &u32, page: &String| page.len() as u32)
///     .build()?;
/// let refused = cache.try_insert(1, "far too long for this".to_owned()).unwrap_err();
/// assert_eq!(refused.to_string(), "entry weighs 21, the whole cache may weigh 10");
/// assert_eq!(refused.into_value(), "far too long for this");
/// # Ok::<(), tenfold::cache::BuildError>(())
/// ```
#[derive(thiserror::Error)]
#[error("entry weighs {weight}, the whole cache may weigh {max_weight}")]
pub struct Refused<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) weight: u64,
    pub(super) max_weight: u64,
}

impl<K, V> Refused<K, V> {
    /// The key and the value, back to their owner.
    pub fn into_entry(self) -> (K, V) {
        (self.key, self.value)
    }

    /// The value, back to its owner.
    pub fn into_value(self) -> V {
        self.value
    }
}

impl<K, V> fmt::Debug for Refused<K, V> {
    /// Needs nothing of the key and the value, so that `unwrap` works for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("weight", &self.weight)
            .field("max_weight", &self.max_weight)
            .finish_non_exhaustive()
    }
}
