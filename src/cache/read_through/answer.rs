use std::time::Duration;

/// An answer, where it came from, and how old it is; given by
/// [`ReadThrough::get_entry`](super::ReadThrough::get_entry).
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::{Origin, ReadThrough};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let cache = Cache::builder().max_entries(10).clock(time.clock());
/// let squares: ReadThrough<u64, u64> =
///     ReadThrough::builder(cache).loader(|r| Ok(r.key() * r.key())).build()?;
/// assert_eq!(squares.get_entry(&4)?.origin(), Origin::Loaded);
/// time.advance(Duration::from_secs(3));
/// let again = squares.get_entry(&4)?;
/// assert_eq!((again.origin(), again.age()), (Origin::Fresh, Duration::from_secs(3)));
/// assert_eq!(again.into_value(), Some(16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<V> {
    pub(super) value: Option<V>,
    pub(super) origin: Origin,
    pub(super) age: Duration,
}

/// Where an [`Answer`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// From the cache, in its time.
    Fresh,
    /// From the cache, past its time, for this reason.
    Stale(Because),
    /// From the loader, which this call ran.
    Loaded,
    /// From the loader that another caller ran.
    Joined,
    /// The guard knew that there is nothing.
    Guard,
}

/// Why a stale value was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Because {
    /// The load failed, not longer ago than the throttle.
    Failed,
    /// The load takes longer than the timeout, and goes on.
    Slow,
}

impl<V> Answer<V> {
    /// The value; `None` if there is none under the key.
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// The value, for its new owner.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How long ago it was loaded or inserted.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Whether it is past its time.
    pub fn is_stale(&self) -> bool {
        matches!(self.origin, Origin::Stale(_))
    }
}
