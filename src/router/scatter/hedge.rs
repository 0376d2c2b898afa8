use std::time::Duration;

use super::call_times::CallTimes;
use super::error::InvalidScatter;

/// When a shard that is slow, or failed, is left to its replicas.
///
/// Once a call has run for so long, or as soon as it fails, the shard's keys are asked of
/// the nodes of their second copies: one call per such node, since the copies of one
/// node's keys lie on many. The first answer counts, and the slower call is cancelled.
/// Nothing is asked twice where there are no [copies](crate::router::Topology::replicas).
///
/// What is only slow because everybody asks too much gets slower by being asked twice. So at
/// most half of a read's shards are, and at least one; [`shards`](Self::shards) says otherwise.
///
/// ```
/// use std::time::Duration;
/// use tenfold::router::scatter::{CallTimes, Hedge};
/// use tenfold::time::Clock;
///
/// let fixed = Hedge::after(Duration::from_millis(20)).shards(0.1);
///
/// // Kept for all reads of one kind, each of which adds its calls.
/// let times = CallTimes::new(Clock::system());
/// let learned = Hedge::at_percentile(0.95, &times);
/// # let _ = (fixed, learned);
/// ```
#[derive(Debug, Clone)]
pub struct Hedge {
    after: After,
    shards: f64,
}

#[derive(Debug, Clone)]
enum After {
    Delay(Duration),
    Percentile(f64, CallTimes),
}

impl Hedge {
    /// After a delay.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self {
            after: After::Delay(delay),
            shards: HALF,
        }
    }

    /// After the time in which this share of all calls so far has ended, from 0 to 1. As
    /// long as [`CallTimes`] has seen too few to say, or says more than the timeout, only
    /// a shard that failed is left to its replicas.
    #[must_use]
    pub fn at_percentile(share: f64, times: &CallTimes) -> Self {
        Self {
            after: After::Percentile(share, times.clone()),
            shards: HALF,
        }
    }

    /// The share of a read's shards that may be asked twice, from 0 to 1, rounded up. 1 is
    /// all of them.
    #[must_use]
    pub fn shards(mut self, share: f64) -> Self {
        self.shards = share;
        self
    }

    pub(super) fn check(&self, timeout: Duration) -> Result<(), InvalidScatter> {
        check_share("the share of hedged shards", self.shards)?;
        match &self.after {
            After::Delay(Duration::ZERO) => Err(InvalidScatter::ZeroDuration { knob: "hedge" }),
            After::Delay(after) if *after >= timeout => Err(InvalidScatter::HedgeTooLate {
                after: *after,
                timeout,
            }),
            After::Delay(_) => Ok(()),
            After::Percentile(share, _) => check_share("the percentile of a hedge", *share),
        }
    }

    /// How long a call may run alone. `None` if it may until the deadline.
    pub(super) fn delay(&self) -> Option<Duration> {
        match &self.after {
            After::Delay(delay) => Some(*delay),
            After::Percentile(share, times) => times.percentile(*share),
        }
    }

    pub(super) fn times(&self) -> Option<&CallTimes> {
        match &self.after {
            After::Delay(_) => None,
            After::Percentile(_, times) => Some(times),
        }
    }

    /// How many of so many shards may be asked twice.
    pub(super) fn allowance(&self, shards: usize) -> usize {
        (self.shards * shards as f64).ceil() as usize
    }
}

pub(super) fn check_share(knob: &'static str, share: f64) -> Result<(), InvalidScatter> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    Err(InvalidScatter::Share { knob, found: share })
}

const HALF: f64 = 0.5;
