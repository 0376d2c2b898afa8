use std::mem::ManuallyDrop;

use super::pick::Report;
use super::slot::ParkedLease;
use super::{Balancer, OwnedPick, Pick};

/// A [`Pick`] put aside: it borrows nothing, and unlike an [`OwnedPick`] it does not keep the balancer alive, so that nothing
/// is written that all threads share. For a struct that has the balancer anyway.
///
/// Only [`Balancer::resume`] ends it: dropped as it is, its member is in use for ever.
#[allow(dead_code, reason = "for blocks that lend what they have picked")]
#[must_use = "a pick that is put aside and not resumed never ends"]
pub(crate) struct ParkedPick {
    lease: ParkedLease,
    report: Report,
}

#[allow(dead_code, reason = "as above")]
impl<M> Pick<'_, M> {
    #[allow(unsafe_code, reason = "see `Lease::park`")]
    #[inline]
    pub(crate) fn park(self) -> ParkedPick {
        let mut pick = ManuallyDrop::new(self);
        ParkedPick {
            report: pick.report.take(),
            // SAFETY: the pick is not dropped any more, nor is its lease.
            lease: unsafe { pick.lease.park() },
        }
    }
}

#[allow(dead_code, reason = "as above")]
impl<M> OwnedPick<M> {
    pub(crate) fn park(mut self) -> ParkedPick {
        ParkedPick {
            lease: self.lease.park(),
            report: self.report.take(),
        }
    }
}

#[allow(dead_code, reason = "as above")]
impl<M> Balancer<M> {
    /// Goes on with a pick that was put aside; `None` if it was one of another balancer.
    #[inline]
    pub(crate) fn resume(&self, parked: ParkedPick) -> Option<Pick<'_, M>> {
        let ParkedPick { lease, report } = parked;
        let lease = lease.resume(&self.0)?;
        Some(Pick { lease, report })
    }
}

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_stays_in_use_until_it_is_resumed() {
        let balancer = Balancer::new();
        let id = balancer.add("a").unwrap();
        let parked = balancer.pick().unwrap().park();
        assert_eq!(balancer.stats().in_flight, 1);
        let drain = balancer.drain(id).unwrap();
        assert_eq!(balancer.stats().draining, 1);
        let pick = balancer.resume(parked).unwrap();
        assert_eq!(*pick, "a");
        pick.succeed();
        assert_eq!(drain.wait(), "a");
    }

    #[test]
    fn another_balancer_does_not_take_it_for_its_own() {
        let (one, other) = (Balancer::new(), Balancer::new());
        one.add("a").unwrap();
        other.add("b").unwrap();
        let parked = one.pick_owned().unwrap().park();
        assert!(other.resume(parked).is_none());
        assert_eq!(other.stats().in_flight, 0);
    }
}
