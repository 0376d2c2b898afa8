use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::tagged::Tags;
use crate::time::Instant;

/// What a [`ReadThrough`](super::ReadThrough) keeps under a key: a value, or
/// the knowledge that there is none, and how fresh that is.
///
/// It is what the weigher and the listener of the cache below are shown.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::{Cached, ReadThrough};
///
/// let pages: ReadThrough<u32, String> = ReadThrough::builder(
///     Cache::builder()
///         .max_entries(100)
///         .eviction_listener(|page, cached: Cached<String>, cause| {
///             println!("{page} ({:?}) left: {cause}", cached.value());
///         }),
/// )
/// .loader(|request| Ok(format!("page {}", request.key())))
/// .build()?;
/// assert_eq!(pages.get(&1)?, Some("page 1".to_owned()));
/// assert!(pages.cache().peek(&1).is_some_and(|cached| cached.value().is_some()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cached<V> {
    /// `None`: it is known that there is nothing.
    pub(super) value: Option<V>,
    /// Until then a read returns the value and does nothing more. Before
    /// `fresh_until` where a refresh is due ahead of it, after it where a stale
    /// value stands in for one that could not be loaded.
    pub(super) quiet_until: Instant,
    pub(super) fresh_until: Instant,
    pub(super) loaded_at: Instant,
    /// How long the load took, in microseconds; saturates after an hour.
    pub(super) cost: u32,
    pub(super) weight: u32,
    /// The generation of the tags when the load began, or, of a stand-in, when
    /// it was let in: what tells whether everything was declared stale since.
    pub(super) epoch: u64,
    pub(super) stand_in: StandIn,
    /// What few entries have, so that the others pay a word for it.
    pub(super) extra: Option<Arc<Extra>>,
}

/// Why a stale value is served although nobody looked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandIn {
    No,
    ForFailed,
    ForSlow,
}

/// What a loader said beyond the value.
pub(super) struct Extra {
    pub(super) validator: Option<Arc<str>>,
    /// The keyed hashes of its tags.
    pub(super) tags: Box<[u64]>,
    /// The generation of the tags before the load began.
    pub(super) born: u64,
}

impl<V> Cached<V> {
    /// The value; `None` if it is known that there is none.
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// The value, for its new owner.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// What the loader said this entry weighs; 1 unless it did.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// When it was loaded or inserted, on the cache's clock.
    pub fn loaded_at(&self) -> Instant {
        self.loaded_at
    }

    /// Until when it counts as fresh; [`Instant::NEVER`] if it does not go
    /// stale by itself.
    pub fn fresh_until(&self) -> Instant {
        self.fresh_until
    }

    /// What the loader can ask its source with whether the value has changed.
    pub fn validator(&self) -> Option<&str> {
        self.extra.as_ref()?.validator.as_deref()
    }

    /// How long ago it was loaded.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_since(self.loaded_at)
    }

    /// Whether none of its tags was invalidated since its load began. Takes no
    /// lock.
    #[inline]
    pub(super) fn has_valid_tags(&self, tags: &Tags) -> bool {
        self.extra
            .as_ref()
            .is_none_or(|extra| tags.is_valid(extra.born, &extra.tags))
    }
}

impl<V> fmt::Debug for Cached<V> {
    /// Needs nothing of the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("is_absent", &self.value.is_none())
            .field("loaded_at", &self.loaded_at)
            .field("fresh_until", &self.fresh_until)
            .field("validator", &self.validator())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_costs_what_the_docs_say() {
        assert_eq!(size_of::<Cached<u64>>(), size_of::<Option<u64>>() + 56);
        // And the two counts of its `Arc`.
        assert_eq!(size_of::<Extra>() + 16, 56);
    }
}
