use std::fmt;
use std::time::Duration;

use super::Cached;
use crate::time::Instant;

/// What a loader is asked: a key, and what was known of it.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::{Loaded, ReadThrough, Request};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let cache = Cache::builder().max_entries(10).clock(time.clock());
/// let pages: ReadThrough<u32, &str> = ReadThrough::builder(cache)
///     .time_to_live(Duration::from_secs(60))
///     .keep_stale(Duration::from_secs(3600))
///     .loader(|request: Request<u32, &str>| match request.validator() {
///         Some("v1") => Ok(Loaded::not_modified()), // 304: no body was sent
///         _ => Ok(Loaded::value("text").validator("v1")),
///     })
///     .build()?;
/// assert_eq!(pages.get(&1)?, Some("text"));
/// time.advance(Duration::from_secs(60));
/// assert_eq!(pages.get(&1)?, Some("text"));
/// assert_eq!(pages.stats().not_modified, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Request<K, V> {
    key: K,
    known: Option<Cached<V>>,
    asked_at: Instant,
    is_refresh: bool,
}

impl<K, V> Request<K, V> {
    pub(super) fn new(
        key: K,
        known: Option<Cached<V>>,
        asked_at: Instant,
        is_refresh: bool,
    ) -> Self {
        Self {
            key,
            known: known.filter(|cached| cached.value.is_some()),
            asked_at,
            is_refresh,
        }
    }

    /// A request for a key of which nothing is known.
    pub(super) fn unknown(key: K) -> Self {
        Self::new(key, None, Instant::NEVER, false)
    }

    /// The key to load.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The key, for a loader that needs its own.
    pub fn into_key(self) -> K {
        self.key
    }

    /// The value that is to be replaced, if it is still there: as a rule it
    /// has gone stale.
    pub fn stale(&self) -> Option<&V> {
        self.known.as_ref()?.value()
    }

    /// The validator that came with [`stale`](Self::stale).
    pub fn validator(&self) -> Option<&str> {
        self.known.as_ref()?.validator()
    }

    /// How long ago [`stale`](Self::stale) was loaded.
    pub fn age(&self) -> Option<Duration> {
        self.known.as_ref().map(|known| known.age(self.asked_at))
    }

    /// Whether nobody waits: what is there is still fresh and is being served.
    pub fn is_refresh(&self) -> bool {
        self.is_refresh
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Request<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("key", &self.key)
            .field("age", &self.age())
            .field("validator", &self.validator())
            .finish_non_exhaustive()
    }
}
