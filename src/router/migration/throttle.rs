use std::time::Duration;

use crate::time::{Clock, Instant};

/// How fast rows may be moved: so many rows and bytes a second.
#[derive(Debug, Clone)]
pub(super) struct Throttle {
    clock: Clock,
    /// Nothing is no limit.
    rows_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
    /// When all that was moved is paid for.
    paid: Option<Instant>,
}

impl Throttle {
    pub(super) fn new(clock: Clock, rows: Option<u64>, bytes: Option<u64>) -> Self {
        Self {
            clock,
            rows_per_second: rows,
            bytes_per_second: bytes,
            paid: None,
        }
    }

    /// How long to wait before more may be moved.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = self.paid?.saturating_since(self.clock.now());
        (!wait.is_zero()).then_some(wait)
    }

    /// Notes what was moved. What is too much is waited for afterwards, so that a page
    /// larger than a second's worth passes too.
    pub(super) fn spend(&mut self, rows: u64, bytes: u64) {
        let cost = |count: u64, per_second: Option<u64>| {
            let nanos = per_second.map_or(0, |rate| {
                u128::from(count) * 1_000_000_000 / u128::from(rate.max(1))
            });
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let cost = cost(rows, self.rows_per_second).max(cost(bytes, self.bytes_per_second));
        let now = self.clock.now();
        let from = self.paid.map_or(now, |paid| paid.max(now));
        self.paid = Some(from + cost);
    }
}
