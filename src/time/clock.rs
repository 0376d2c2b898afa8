use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Instant, coarse};

/// Tells the time to every block that is given it.
///
/// Cheap to clone; clones of a manual clock show the same time. Time never
/// runs backwards. Instants of two different clocks must not be compared.
///
/// ```
/// use tenfold::time::Clock;
///
/// let clock = Clock::system();
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// ```
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Coarse,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The operating system's monotonic clock, at its full resolution.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The operating system's monotonic clock as of its last tick.
    ///
    /// Five times cheaper to read than [`Clock::system`] and late by at most
    /// one kernel tick: 1 to 10 ms on Linux. On other systems it is the same
    /// as [`Clock::system`].
    pub fn coarse() -> Self {
        Self(Source::Coarse)
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Coarse => Instant::from_nanos(coarse::now()),
            Source::System => Instant::from_nanos(coarse::precise()),
            Source::Manual(nanos) => Instant::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }
}

impl Default for Clock {
    /// [`Clock::coarse`].
    fn default() -> Self {
        Self::coarse()
    }
}

/// A clock that moves only when it is told to.
///
/// ```
/// use std::time::Duration;
/// use tenfold::time::ManualClock;
///
/// let manual = ManualClock::new();
/// let before = manual.now();
/// manual.advance(Duration::from_millis(5));
/// assert_eq!(manual.now(), before + Duration::from_millis(5));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at one second after its origin, so that a test can
    /// speak of moments before it was started.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000)))
    }

    /// The [`Clock`] to hand to the block under test.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the clock forward; every clone sees it at once. Stops at the end
    /// of time, 584 years after the origin.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // `fetch_update` with a closure that always answers cannot fail.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(by))
            });
    }

    /// The time this clock shows.
    pub fn now(&self) -> Instant {
        self.clock().now()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
