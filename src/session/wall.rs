use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::{self, Instant, ManualClock};

/// Tells the time of day in whole seconds since 1970, and never runs backwards.
///
/// Deadlines of sessions and tokens outlive the process and are compared with
/// other machines', so a clock that only counts from its start won't do, and one
/// that stands still while the machine sleeps would let them live on. If the
/// system's clock is set back, the latest time seen stays until it has caught up.
/// Clones share that.
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::WallClock;
/// use tenfold::time::ManualClock;
///
/// let manual = ManualClock::new();
/// let wall = WallClock::manual(&manual, 1_700_000_000);
/// manual.advance(Duration::from_secs(5));
/// assert_eq!(wall.now(), 1_700_000_005);
/// assert!(WallClock::system().now() > 1_700_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct WallClock(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    source: Source,
    /// The latest time shown.
    latest: AtomicU64,
    setbacks: AtomicU64,
}

#[derive(Debug)]
enum Source {
    System,
    Manual {
        clock: ManualClock,
        origin: Instant,
        start: u64,
    },
}

impl WallClock {
    /// The operating system's, as of its last tick: on Linux up to 10 ms ago.
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// One that is turned by hand and shows `start` now.
    pub fn manual(clock: &ManualClock, start: u64) -> Self {
        Self::of(Source::Manual {
            origin: clock.now(),
            clock: clock.clone(),
            start,
        })
    }

    fn of(source: Source) -> Self {
        Self(Arc::new(Inside {
            source,
            latest: AtomicU64::new(0),
            setbacks: AtomicU64::new(0),
        }))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        let now = match &self.0.source {
            Source::System => time::coarse::wall_seconds(),
            Source::Manual {
                clock,
                origin,
                start,
            } => start.saturating_add(clock.now().saturating_since(*origin).as_secs()),
        };
        self.show(now)
    }

    /// How often the system's clock was seen more than five seconds behind what had
    /// been shown: worth an alarm, because everything lives longer meanwhile.
    pub fn setbacks(&self) -> u64 {
        self.0.setbacks.load(Ordering::Relaxed)
    }

    fn show(&self, now: u64) -> u64 {
        let latest = self.0.latest.load(Ordering::Relaxed);
        if now == latest {
            // Once a second there is something to write; else the line stays shared.
            return now;
        }
        if now.saturating_add(SETBACK) < latest {
            self.0.setbacks.fetch_add(1, Ordering::Relaxed);
        }
        self.0.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl Default for WallClock {
    /// [`WallClock::system`].
    fn default() -> Self {
        Self::system()
    }
}

/// Whole seconds, rounded up, so that no deadline comes early.
pub(super) fn seconds(duration: Duration) -> u64 {
    let started = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(started)
}

const SETBACK: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stands_still_and_is_counted() {
        let wall = WallClock::manual(&ManualClock::new(), 0);
        assert_eq!(wall.show(100), 100);
        assert_eq!((wall.show(96), wall.setbacks()), (100, 0));
        assert_eq!((wall.show(94), wall.setbacks()), (100, 1));
        assert_eq!((wall.show(101), wall.setbacks()), (101, 1));
    }
}
