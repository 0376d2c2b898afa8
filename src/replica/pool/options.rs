use std::sync::Arc;
use std::time::Duration;

use super::settings::{Limits, Settings, nanos};
use super::{Pool, PoolBuildError};
use crate::replica::ways::Times;
use crate::replica::{Client, Endpoint};
use crate::time::{Clock, Jitter, ManualClock, Timer};

/// How a [`Pool`] is, and with many servers the pool of each.
///
/// ```
/// use std::time::Duration;
/// use tenfold::replica::pool::PoolOptions;
///
/// let options = PoolOptions::new()
///     .max_size(20)
///     .max_wait(Duration::from_secs(2))
///     .max_lifetime(Duration::from_secs(3600));
/// assert!(options.check().is_ok());
/// assert!(PoolOptions::new().max_size(0).check().is_err());
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until a pool is built with them"]
pub struct PoolOptions {
    settings: Settings,
    limits: Limits,
    /// The timer was chosen, and is not the clock's.
    has_timer: bool,
}

impl PoolOptions {
    /// The defaults: ten connections, two of them made at a time.
    pub fn new() -> Self {
        Self {
            settings: Settings {
                max_wait: Duration::from_secs(30),
                connect_timeout: Duration::from_secs(10),
                test_after: nanos(Duration::from_secs(30)),
                idle_timeout: Duration::from_secs(600),
                max_lifetime: Duration::from_secs(1800),
                jitter: Jitter::fraction(0.1).shorten(),
                first_pause: Duration::from_millis(100),
                longest_pause: Duration::from_secs(5),
                times: Times {
                    clock: Clock::processor(),
                    timer: Timer::thread(),
                },
                seed: 0,
            },
            limits: Limits {
                max_size: 10,
                capped: usize::MAX,
                max_connecting: 2,
                min_idle: 0,
                max_waiting: 16_384,
            },
            has_timer: false,
        }
    }

    /// How many connections there may be; 10 by default.
    pub fn max_size(mut self, max: usize) -> Self {
        self.limits.max_size = max;
        self
    }

    /// How many are made at a time; 2 by default. A server that has just come up is not stormed.
    pub fn max_connecting(mut self, max: usize) -> Self {
        self.limits.max_connecting = max;
        self
    }

    /// How many idle connections [`upkeep`](Pool::upkeep) sees to; 0 by default.
    pub fn min_idle(mut self, min: usize) -> Self {
        self.limits.min_idle = min;
        self
    }

    /// How many callers may wait at once; 16 384 by default. More of them are refused.
    pub fn max_waiting(mut self, max: usize) -> Self {
        self.limits.max_waiting = max;
        self
    }

    /// How long a caller waits that does not say so itself; 30 s by default.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// How long an attempt to connect may take; 10 s by default, and never longer than its caller waits.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a connection was idle that is tested before it is lent; 30 s by default. With zero every
    /// one is, every time; with [`Duration::MAX`] none is.
    pub fn test_after(mut self, idle: Duration) -> Self {
        self.settings.test_after = nanos(idle);
        self
    }

    /// How long a connection may lie idle; 10 min by default, and up to a tenth less. [`Duration::MAX`] is for ever.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// How old a connection may become; 30 min by default, and up to a tenth less, so that those made
    /// together do not end together. One that is lent is closed when it comes back.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.max_lifetime = lifetime;
        self
    }

    /// How the times above and pauses are spread; up to a tenth shorter by default.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// How long nobody connects after an attempt that failed: first so long, then twice as long each time, at
    /// most so long; 100 ms and 5 s by default.
    pub fn retry_pause(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.first_pause = first;
        self.settings.longest_pause = longest;
        self
    }

    /// The clock of all times; [`Clock::processor`] by default. It is read once when a connection is lent and
    /// once when it comes back.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.times.clock = clock;
        self
    }

    /// What ends the waiting of tasks: by default that of the clock if it is turned by hand, or a
    /// [`Timer::thread`] that is started when the first task must wait. Threads that block need none.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.settings.times.timer = timer;
        self.has_timer = true;
        self
    }

    /// Makes all jitter foretold, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Finds what cannot be.
    ///
    /// # Errors
    /// [`PoolBuildError`].
    pub fn check(&self) -> Result<(), PoolBuildError> {
        self.limits.check()?;
        Ok(self.settings.jitter.validate()?)
    }

    /// Both, coherent or not.
    pub(super) fn into_parts(self) -> (Settings, Limits) {
        let times = self.times();
        let settings = Settings {
            times,
            ..self.settings
        };
        (settings, self.limits)
    }

    /// The clock, and the timer that goes with it.
    pub(crate) fn times(&self) -> Times {
        let Times { clock, timer } = &self.settings.times;
        let own = || timer.clone();
        let manual = clock.as_manual().filter(|_| !self.has_timer);
        Times {
            clock: clock.clone(),
            timer: manual.map_or_else(own, ManualClock::timer),
        }
    }

    /// How many connections there are at most.
    pub(crate) fn size(&self) -> usize {
        self.limits.max_size
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        self.settings.max_wait
    }

    /// Leaves a reserve of the permits, for callers that claim all of them.
    pub(crate) fn share(mut self, share: f64) -> Self {
        let max = self.limits.max_size;
        self.limits.capped = ((max as f64 * share) as usize).min(max).max(1);
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PoolOptions {
    /// Builds a pool of connections to one server. Nothing is connected yet.
    ///
    /// # Errors
    /// [`PoolBuildError`] if a knob is set to what cannot be.
    pub fn build<C: Client>(
        self,
        client: C,
        endpoint: Endpoint,
    ) -> Result<Pool<C>, PoolBuildError> {
        self.build_with(Arc::new(client), endpoint)
    }

    /// The same for a client that other pools have too.
    pub(crate) fn build_with<C: Client>(
        self,
        client: Arc<C>,
        endpoint: Endpoint,
    ) -> Result<Pool<C>, PoolBuildError> {
        self.check()?;
        Ok(self.build_at(client, endpoint, 0))
    }

    /// The same at a generation, for options that are [checked](Self::check).
    pub(crate) fn build_at<C: Client>(
        self,
        client: Arc<C>,
        endpoint: Endpoint,
        generation: u64,
    ) -> Pool<C> {
        Pool::with_parts(client, endpoint, self.into_parts(), generation)
    }
}
