use std::time::Duration;

use super::table::NEVER;
use crate::rng;
use crate::time::{Instant, Jitter};

/// Decides per entry how long it lives, on top of the cache's own times.
///
/// Every method has a default that leaves things as they are. The methods run
/// outside the cache's locks and may call back into the cache.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::{Cache, Expiry};
/// use tenfold::time::ManualClock;
///
/// struct ByLength;
///
/// impl Expiry<u32, String> for ByLength {
///     fn expire_after_create(&self, _key: &u32, value: &String) -> Option<Duration> {
///         Some(Duration::from_secs(value.len() as u64))
///     }
/// }
///
/// let time = ManualClock::new();
/// let cache = Cache::builder()
///     .max_entries(100)
///     .expire_after(ByLength)
///     .clock(time.clock())
///     .build()?;
/// cache.insert(1, "abc".to_owned());
/// time.advance(Duration::from_secs(3));
/// assert_eq!(cache.get(&1), None);
/// # Ok::<(), tenfold::cache::BuildError>(())
/// ```
pub trait Expiry<K, V>: Send + Sync {
    /// How long a new entry lives; `None` for the cache's time to live.
    fn expire_after_create(&self, key: &K, value: &V) -> Option<Duration> {
        let _ = (key, value);
        None
    }

    /// How long an entry lives from now that it was read; `remaining` is what
    /// it has left, `None` for ever. Returning `remaining` changes nothing.
    ///
    /// It sees no key: the look-up may have been made with a borrowed form.
    fn expire_after_read(&self, value: &V, remaining: Option<Duration>) -> Option<Duration> {
        let _ = value;
        remaining
    }

    /// How long an entry lives from now that its value was replaced; `remaining`
    /// is what the old value had left. `None` for the cache's time to live,
    /// which is the default.
    fn expire_after_update(
        &self,
        key: &K,
        value: &V,
        remaining: Option<Duration>,
    ) -> Option<Duration> {
        let _ = (key, value, remaining);
        None
    }
}

/// How long an entry that is being stored shall live.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    /// As the cache is configured.
    Default,
    /// The same, for a value that a loader brought.
    Loaded,
    /// This long instead of the cache's time to live.
    For(Duration),
    /// The same, for a value that a loader brought.
    LoadedFor(Duration),
    /// Until this moment, without jitter.
    Until(Instant),
}

/// The times a cache is configured with.
#[derive(Debug, Clone)]
pub(super) struct Times {
    pub(super) time_to_live: Option<Duration>,
    pub(super) time_to_idle: Option<Duration>,
    /// Spreads every time to live, inserted or loaded. Unset: only loads, by
    /// the default below.
    pub(super) jitter: Option<Jitter>,
    pub(super) jitter_seed: u64,
}

/// Loads that come together should not expire together. It only shortens, so
/// that nothing outlives the time its owner wrote.
const LOAD_JITTER: Jitter = Jitter::fraction(0.1).shorten();

impl Times {
    /// Whether storing with this lifetime needs to know the time.
    pub(super) fn need_clock(&self, lifetime: Lifetime) -> bool {
        self.time_to_idle.is_some()
            || match lifetime {
                Lifetime::Default | Lifetime::Loaded => self.time_to_live.is_some(),
                Lifetime::For(_) | Lifetime::LoadedFor(_) => true,
                Lifetime::Until(_) => false,
            }
    }

    /// The deadline of an entry stored at `now`, in nanoseconds.
    pub(super) fn deadline(&self, lifetime: Lifetime, hash: u64, now: Instant) -> u64 {
        let load_jitter = Some(self.jitter.unwrap_or(LOAD_JITTER));
        let (ttl, jitter) = match lifetime {
            Lifetime::Until(deadline) => return deadline.as_nanos(),
            Lifetime::Default => (self.time_to_live, self.jitter),
            Lifetime::Loaded => (self.time_to_live, load_jitter),
            Lifetime::For(ttl) => (Some(ttl), self.jitter),
            Lifetime::LoadedFor(ttl) => (Some(ttl), load_jitter),
        };
        let Some(ttl) = ttl else { return NEVER };
        let ttl = match jitter {
            Some(jitter) => jitter.apply(ttl, rng::mix(hash ^ self.jitter_seed)),
            None => ttl,
        };
        (now + ttl).as_nanos()
    }

    /// When an entry used at `now` has idled too long, in nanoseconds.
    pub(super) fn idle(&self, now: Instant) -> u64 {
        self.time_to_idle
            .map_or(NEVER, |time_to_idle| (now + time_to_idle).as_nanos())
    }
}
