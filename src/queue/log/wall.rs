//! The time of day, for what is written down: deadlines outlive the process.

use std::time::{Duration, SystemTime};

use crate::time::{Clock, Instant};

/// Milliseconds since 1970 that never run backwards, by the queue's clock. A clock
/// that is turned by hand counts from its own origin.
#[derive(Debug, Clone)]
pub(crate) struct Wall {
    clock: Clock,
    /// What the time of day was at the clock's origin.
    origin: u64,
}

impl Wall {
    /// Asks the system for the time of day, once.
    pub(crate) fn new(clock: Clock) -> Self {
        let origin = if clock.as_manual().is_some() {
            0
        } else {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since
                .map_or(0, millis)
                .saturating_sub(clock.now().as_nanos() / 1_000_000)
        };
        Self { clock, origin }
    }

    /// Goes on from this time, if the system's was set back meanwhile.
    pub(crate) fn raise(&mut self, least: u64) {
        self.origin += least.saturating_sub(self.now());
    }

    pub(crate) fn now(&self) -> u64 {
        self.origin + self.clock.now().as_nanos() / 1_000_000
    }

    /// When the queue's clock shows this time.
    pub(crate) fn instant(&self, time: u64) -> Instant {
        Instant::from_nanos(time.saturating_sub(self.origin).saturating_mul(1_000_000))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 2)
}

/// The time of day, of milliseconds since 1970.
pub(crate) fn moment(millis: u64) -> SystemTime {
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    since.unwrap_or(SystemTime::UNIX_EPOCH)
}
