//! A pick among some of the members, where most of those that are drawn are of them: by a look at those alone, and not at all
//! that there are.

use std::sync::Arc;

use super::core::{Core, three, wait};
use super::slot::{Lease, Slot};
use super::table::View;
use super::{Balancer, Pick, Policy};

#[allow(
    dead_code,
    reason = "for blocks that know their members by their places"
)]
impl<M> Balancer<M> {
    /// Chooses by the policy among members in [places](super::MemberId::place) that the closure wants; `None` if after a few draws none
    /// of them has come up. It is asked by the place alone, where by then another member may lie: who
    /// minds looks whom it has got.
    #[inline]
    pub(crate) fn pick_likely(&self, wanted: impl Fn(u32) -> bool) -> Option<Pick<'_, M>> {
        self.0.pick_likely(&wanted).map(Pick::new)
    }
}

impl<M> Core<M> {
    #[inline]
    fn pick_likely(self: &Arc<Self>, wanted: &impl Fn(u32) -> bool) -> Option<(Lease<'_, M>, u64)> {
        let mut turn = self.chance.turn();
        let now = self.moment(turn);
        // Whoever comes after those that are not wanted would have their turns as well.
        let draws = if self.settings.policy == Policy::RoundRobin {
            1
        } else {
            DRAWS
        };
        for _ in 0..draws {
            let view = self.table.level(|| self.chance.random(turn));
            if let Some(slot) = self.choose_likely(view, turn, now, wanted)
                && let Some(entered) = slot.enter(self)
            {
                return Some((entered.lease(self), now));
            }
            turn = self.chance.turn();
        }
        None
    }

    #[inline]
    fn choose_likely(
        &self,
        view: View,
        turn: u64,
        now: u64,
        wanted: &impl Fn(u32) -> bool,
    ) -> Option<&Slot<M>> {
        if self.settings.policy == Policy::Adaptive && view.len() >= 3 {
            return self.best_wanted(view, turn, wanted);
        }
        let chosen = self.choose(view, turn, now)?;
        wanted(chosen.number()).then_some(chosen)
    }

    /// The best of three draws, or of those of them that are wanted.
    #[inline]
    fn best_wanted(
        &self,
        view: View,
        turn: u64,
        wanted: &impl Fn(u32) -> bool,
    ) -> Option<&Slot<M>> {
        let mut best = None;
        let mut least = f32::INFINITY;
        for place in three(self.chance.random(turn), view.len()) {
            let number = self.table.at(view, place);
            if wanted(number)
                && let Some(slot) = self.slots.get(number)
            {
                let cost = wait(slot);
                if best.is_none() || cost < least {
                    (best, least) = (Some(slot), cost);
                }
            }
        }
        best
    }
}

/// Where half of the members are wanted, three draws of six in a hundred find none of them.
const DRAWS: usize = 4;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn chance_chooses_among_the_wanted_ones_if_they_are_many() {
        for policy in [
            Policy::Adaptive,
            Policy::LeastRequest,
            Policy::PeakEwma,
            Policy::Random,
        ] {
            let builder = Balancer::builder().policy(policy).seed(1);
            let builder = builder.clock(ManualClock::new().clock());
            let balancer = builder.build().unwrap();
            let ids: Vec<_> = (0..8).map(|n| balancer.add(n).unwrap()).collect();
            let mut found = [0; 8];
            for _ in 0..1000 {
                let pick =
                    balancer.pick_likely(|place| ids[4..].iter().any(|id| id.place() == place));
                if let Some(pick) = pick {
                    found[*pick] += 1;
                    pick.succeed();
                }
            }
            assert_eq!(found[..4], [0; 4], "{policy:?}");
            assert!(found[4..].iter().all(|&n| n > 100), "{policy:?}: {found:?}");
        }
    }

    #[test]
    fn where_nobody_is_wanted_nobody_is_used() {
        let balancer = Balancer::new();
        for n in 0..8 {
            balancer.add(n).unwrap();
        }
        assert!(balancer.pick_likely(|_| false).is_none());
        assert_eq!(balancer.stats().in_flight, 0);
    }
}
