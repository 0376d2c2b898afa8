use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::{Clock, Instant};

/// How long calls take: what [`Hedge::at_percentile`](super::Hedge::at_percentile) goes by.
///
/// A clone is another handle to the same times. They are counted in buckets, each a quarter
/// wider than the one before, in 2 KiB; a percentile is told as its bucket's upper end.
/// Once there are 8,192 calls all counts are halved, so that what was long ago
/// fades. A call that was cancelled counts with the time it had taken by then: left out,
/// the slow ones would be missing, and every percentile too low.
///
/// ```
/// use std::time::Duration;
/// use tenfold::router::scatter::CallTimes;
/// use tenfold::time::Clock;
///
/// let times = CallTimes::new(Clock::system());
/// assert_eq!(times.percentile(0.5), None); // of fewer than 32 calls nothing is said
/// (1..=1000).for_each(|call| times.record(Duration::from_micros(call)));
/// let p95 = times.percentile(0.95).unwrap();
/// assert!(p95 >= Duration::from_micros(950) && p95 < Duration::from_micros(950 * 5 / 4));
/// ```
#[derive(Clone)]
pub struct CallTimes(Arc<Times>);

struct Times {
    clock: Clock,
    counts: [AtomicU64; BUCKETS],
    total: AtomicU64,
}

impl CallTimes {
    /// No call was seen so far. The clock is what calls are timed with.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Times {
            clock,
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            total: AtomicU64::new(0),
        }))
    }

    /// Counts a call that took so long. Reads do it by themselves.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.counts[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        if self.0.total.fetch_add(1, Ordering::Relaxed) + 1 == FADE {
            self.fade();
        }
    }

    /// By one thread at a time: who brought the total to the threshold. What is counted
    /// meanwhile is counted.
    fn fade(&self) {
        let mut gone = 0;
        for count in &self.0.counts {
            let half = count.load(Ordering::Relaxed) / 2;
            count.fetch_sub(half, Ordering::Relaxed);
            gone += half;
        }
        self.0.total.fetch_sub(gone, Ordering::Relaxed);
    }

    /// The time in which this share of all calls, from 0 to 1, has ended; `None` of fewer
    /// than 32 calls.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let counts = self.0.counts.each_ref();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let total: u64 = counts.iter().sum();
        if total < FEWEST {
            return None;
        }
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(upper_end(bucket)))
    }

    pub(super) fn now(&self) -> Instant {
        self.0.clock.now()
    }

    pub(super) fn record_since(&self, began: Instant) {
        self.record(self.now().saturating_since(began));
    }
}

impl fmt::Debug for CallTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallTimes")
            .field("median", &self.percentile(0.5))
            .field("p95", &self.percentile(0.95))
            .finish_non_exhaustive()
    }
}

/// Four to each power of two.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(4);
    let power = nanos.ilog2();
    let quarter = (nanos >> (power - 2)) & 3;
    (4 * (power - 2)) as usize + quarter as usize
}

/// The highest number of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let (power, quarter) = (bucket as u32 / 4, bucket as u64 % 4);
    (u128::from(4 + quarter + 1) << power)
        .saturating_sub(1)
        .min(u128::from(u64::MAX)) as u64
}

const BUCKETS: usize = 4 * 62;
/// Calls of which something can be said.
const FEWEST: u64 = 32;
/// Calls after which all counts are halved.
const FADE: u64 = 8192;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for number in 0..BUCKETS - 1 {
            let end = upper_end(number);
            assert_eq!(bucket(end), number);
            assert_eq!(bucket(end + 1), number + 1);
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_end(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let times = CallTimes::new(Clock::system());
        (0..FADE).for_each(|_| times.record(Duration::from_millis(1)));
        // As many again, and a half of the old is left at each halving.
        (0..4 * FADE).for_each(|_| times.record(Duration::from_secs(1)));
        assert!(
            times
                .percentile(0.1)
                .is_some_and(|tenth| tenth > Duration::from_millis(500))
        );
        assert!(times.0.total.load(Ordering::Relaxed) <= FADE);
    }
}
