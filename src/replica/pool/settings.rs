use std::time::Duration;

use super::PoolBuildError;
use crate::replica::ways::Times;
use crate::time::Jitter;

/// What stays as it was built.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) max_wait: Duration,
    pub(super) connect_timeout: Duration,
    /// In nanoseconds.
    pub(super) test_after: u64,
    pub(super) idle_timeout: Duration,
    pub(super) max_lifetime: Duration,
    pub(super) jitter: Jitter,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    pub(super) times: Times,
    pub(super) seed: u64,
}

impl Settings {
    /// In nanoseconds, as the next.
    pub(super) fn lifetime(&self, chance: u64) -> u64 {
        spread(self.jitter, self.max_lifetime, chance)
    }

    pub(super) fn idle_for(&self, chance: u64) -> u64 {
        spread(self.jitter, self.idle_timeout, chance)
    }

    /// How long nobody connects after so many failures and one more.
    pub(super) fn pause(&self, failures: u32, chance: u64) -> Duration {
        let pause = self.first_pause.saturating_mul(1 << failures.min(31));
        self.jitter.apply(pause.min(self.longest_pause), chance)
    }
}

/// Without end stays without end.
fn spread(jitter: Jitter, duration: Duration, chance: u64) -> u64 {
    match duration {
        Duration::MAX => u64::MAX,
        duration => nanos(jitter.apply(duration, chance)),
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What can be changed while the pool is in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(super) max_size: usize,
    /// How many of them those may have that must leave a reserve.
    pub(super) capped: usize,
    pub(super) max_connecting: usize,
    pub(super) min_idle: usize,
    pub(super) max_waiting: usize,
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), PoolBuildError> {
        let positive = [
            ("max_size", self.max_size),
            ("max_connecting", self.max_connecting),
        ];
        if let Some((knob, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(PoolBuildError::Zero(knob));
        }
        if self.min_idle > self.max_size {
            return Err(PoolBuildError::MinIdle {
                min_idle: self.min_idle,
                max_size: self.max_size,
            });
        }
        Ok(())
    }
}
