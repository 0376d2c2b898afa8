use std::time::Duration;

use super::copies::{Copies, Copy};
use super::store::ServeStale;
use crate::cache::Cache;
use crate::cache::tier::Breaker;
use crate::session::{BuildError, WallClock};
use crate::time::Clock;

/// Builds a [`ServeStale`]; made by [`ServeStale::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::MemoryStore;
/// use tenfold::session::serve_stale::ServeStale;
///
/// let store = ServeStale::builder(MemoryStore::builder().build()?)
///     .max_age(Duration::from_secs(10))
///     .max_bytes(8 << 20)
///     .breaker(3, Duration::from_millis(500))
///     .build()?;
/// assert_eq!(store.stats().copies, 0);
/// let never = ServeStale::builder(MemoryStore::builder().build()?).max_age(Duration::ZERO);
/// assert!(never.build().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ServeStaleBuilder<S> {
    store: S,
    max_age: Duration,
    max_bytes: u64,
    failures: u32,
    pause: Duration,
    clock: Clock,
    wall: WallClock,
}

impl<S> ServeStaleBuilder<S> {
    pub(super) fn new(store: S) -> Self {
        Self {
            store,
            max_age: Duration::from_secs(30),
            max_bytes: 64 << 20,
            failures: 5,
            pause: Duration::from_secs(1),
            clock: Clock::system(),
            wall: WallClock::system(),
        }
    }

    /// How long after the store was asked for a session its copy may be served; 30 seconds by default. For so long a
    /// log-out on another server may go unheard.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How many bytes all copies may count for, each its data and user's name and 300; 64 MiB by default.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// After how many calls in a row without an answer the store is left alone, and for how long: calls then fail
    /// [at once](crate::session::Unavailable::Suspended), or are answered from a copy, and after the pause one finds out how things
    /// are. By default five, and a second. Zero counts as one.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.failures = failures;
        self.pause = pause;
        self
    }

    /// The clock by which copies age and the breaker pauses.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The time of day, for the deadlines of sessions.
    pub fn wall_clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`BuildError`]: copies would have no time or no room.
    pub fn build(self) -> Result<ServeStale<S>, BuildError> {
        let micros = u64::try_from(self.max_age.as_micros()).unwrap_or(u64::MAX);
        for (setting, found) in [("max_age", micros), ("max_bytes", self.max_bytes)] {
            if found == 0 {
                return Err(wrong(setting, found));
            }
        }
        let cache = Cache::builder()
            .max_weight(self.max_bytes)
            .weigher(|_: &u128, copy: &Copy| copy.weight())
            .time_to_live(self.max_age)
            .clock(self.clock.clone())
            .build()
            .map_err(|_| wrong("max_age", micros))?;
        let breaker = Breaker::new(self.failures, self.pause, self.clock.clone());
        let copies = Copies::new(cache, self.max_age, self.clock, self.wall);
        Ok(ServeStale::new(self.store, copies, breaker, self.pause))
    }
}

fn wrong(setting: &'static str, found: u64) -> BuildError {
    BuildError::Setting {
        setting,
        expected: "more than 0",
        found,
    }
}
