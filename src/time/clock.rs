use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::timer::{Alarms, AlarmsGuard, Bell, lock};
use super::{Instant, Timer, coarse, processor};

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
    Processor,
    Manual(ManualClock),
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

    /// The processor's own counter, where the operating system itself goes by it.
    ///
    /// As exact as [`Clock::system`] for spans of seconds, and three times cheaper to read; its seconds
    /// may be off by a millionth. Where there is no such counter, or the system does not trust it, it is
    /// the same as [`Clock::system`]: on Linux on x86-64 it asks the kernel once.
    pub fn processor() -> Self {
        Self(Source::Processor)
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Processor => Instant::from_nanos(processor::now()),
            Source::Coarse => Instant::from_nanos(coarse::now()),
            Source::System => Instant::from_nanos(coarse::precise()),
            Source::Manual(clock) => clock.now(),
        }
    }

    /// The clock that is turned by hand behind this one, if that is what it is:
    /// who waits for a moment on it must be woken by it.
    #[allow(dead_code, reason = "not every block waits for a moment")]
    pub(crate) fn as_manual(&self) -> Option<&ManualClock> {
        match &self.0 {
            Source::Manual(clock) => Some(clock),
            Source::System | Source::Coarse | Source::Processor => None,
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
#[derive(Clone)]
pub struct ManualClock(Arc<Manual>);

struct Manual {
    nanos: AtomicU64,
    alarms: Mutex<Alarms>,
}

impl ManualClock {
    /// A clock that stands at one second after its origin, so that a test can
    /// speak of moments before it was started.
    pub fn new() -> Self {
        Self(Arc::new(Manual {
            nanos: AtomicU64::new(1_000_000_000),
            alarms: Mutex::new(Alarms::new()),
        }))
    }

    /// The [`Clock`] to hand to the block under test.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(self.clone()))
    }

    /// The [`Timer`] to hand to it.
    pub fn timer(&self) -> Timer {
        Timer::manual(self.clone())
    }

    /// Moves the clock forward; every clone sees it at once, and whoever waits
    /// for a moment that has come is woken before this returns. Stops at the
    /// end of time, 584 years after the origin.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // `fetch_update` with a closure that always answers cannot fail.
        let _ = self
            .0
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(by))
            });
        let due = lock(&self.0.alarms).due(self.now());
        due.into_iter().for_each(std::task::Waker::wake);
    }

    /// The time this clock shows.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.0.nanos.load(Ordering::Acquire))
    }
}

impl Bell for ManualClock {
    fn now(&self) -> Instant {
        self.now()
    }

    fn alarms(&self) -> AlarmsGuard<'_> {
        lock(&self.0.alarms)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
