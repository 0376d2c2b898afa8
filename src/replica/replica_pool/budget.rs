use crate::sync::atomic::{AtomicI64, Ordering};

/// How many retries there may be: a share of what is asked for the first time, so that a cluster that fails is not
/// asked twice as much.
///
/// Each call pays in a share of a retry, and each retry takes a whole one out.
pub(super) struct Budget {
    /// In millionths of a retry.
    saved: AtomicI64,
    share: i64,
}

const WHOLE: i64 = 1_000_000;
/// So many retries are there at the beginning, and at most.
const MOST: i64 = 10 * WHOLE;

impl Budget {
    pub(super) fn new(share: f64) -> Self {
        Self {
            saved: AtomicI64::new(if share > 0.0 { MOST } else { 0 }),
            share: (share * WHOLE as f64) as i64,
        }
    }

    pub(super) fn pay_in(&self) {
        // A little more than the most, where several pay in at once.
        if self.saved.load(Ordering::Relaxed) < MOST {
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
        let budget = Budget::new(0.1);
        let mut retried = 0;
        for _ in 0..10_000 {
            budget.pay_in();
            retried += u32::from(budget.take());
        }
        assert!((1000..=1010).contains(&retried), "{retried}");
    }

    #[test]
    fn nothing_is_saved_beyond_ten() {
        let budget = Budget::new(0.5);
        (0..1000).for_each(|_| budget.pay_in());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        assert!(!Budget::new(0.0).take());
    }
}
