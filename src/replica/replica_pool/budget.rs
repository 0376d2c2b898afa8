use crate::sync::atomic::{AtomicI64, Ordering};

/// How many retries there may be: a share of what is asked for the first time, so that a cluster that fails is not
/// asked twice as much.
///
/// Each call pays in a share of a retry, and each retry takes a whole one out.
pub(super) struct Budget {
    /// In millionths of a retry.
    saved: AtomicI64,
    /// There at the beginning, and never more.
    most: i64,
    share: i64,
}

const WHOLE: i64 = 1_000_000;
const LEAST_RESERVE: usize = 10;

impl Budget {
    /// A server that dies fails whatever is under way on its connections, each of them once: a reserve of a retry for
    /// every connection is enough for that, however many die together.
    pub(super) fn new(share: f64, connections: usize) -> Self {
        let reserve = i64::try_from(connections.max(LEAST_RESERVE)).unwrap_or(i64::MAX);
        // Half of what there is room for, so that paying in cannot run over.
        let most = reserve.saturating_mul(WHOLE).min(i64::MAX / 2);
        Self {
            saved: AtomicI64::new(if share > 0.0 { most } else { 0 }),
            most,
            share: (share * WHOLE as f64) as i64,
        }
    }

    pub(super) fn pay_in(&self) {
        // A little more than the most, where several pay in at once.
        if self.saved.load(Ordering::Relaxed) < self.most {
            self.saved.fetch_add(self.share, Ordering::Relaxed);
        }
    }

    /// Whether there is enough for a retry, which is taken out then.
    pub(super) fn take(&self) -> bool {
        let take = |saved: i64| (saved >= WHOLE).then_some(saved - WHOLE);
        let taken = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_is_retried_in_the_long_run() {
        let budget = Budget::new(0.1, 10);
        let mut retried = 0;
        for _ in 0..10_000 {
            budget.pay_in();
            retried += u32::from(budget.take());
        }
        assert!((1000..=1010).contains(&retried), "{retried}");
    }

    #[test]
    fn no_more_is_saved_than_there_are_connections() {
        for (connections, saved) in [(0, 10), (10, 10), (24, 24)] {
            let budget = Budget::new(0.5, connections);
            (0..1000).for_each(|_| budget.pay_in());
            assert_eq!((0..100).filter(|_| budget.take()).count(), saved);
        }
        assert!(!Budget::new(0.0, 24).take());
        assert!(Budget::new(0.5, usize::MAX).take());
    }
}
