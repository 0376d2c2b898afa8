//! What is picked from: the eligible members of each level, in atomics that are written over
//! in place.
//!
//! A reader may find a line of the table that is older or newer than the next one. It makes
//! no difference: every line names a slot, and whether that has a member to lend is decided by
//! the slot. So nothing is copied, nothing is freed, and readers hold nothing up.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many levels of priority there are.
pub(super) const LEVELS: usize = 8;

pub(super) struct Table {
    /// Level by level, each packed as a [`View`], and up to which share of picks it answers.
    levels: [AtomicU64; LEVELS],
    /// Numbers of slots; the levels lie one behind the other.
    order: Box<[AtomicU32]>,
    /// Beside each: where its part of the circle of weights ends, of 2^32.
    ends: Box<[AtomicU32]>,
    /// Each level's circle is cut into as many pieces as it has members; who has the beginning of each.
    guide: Box<[AtomicU32]>,
}

/// The members of a level, as a reader has found them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View(u64);

/// A level as the roster describes it.
pub(super) struct Level {
    /// Up to which share of picks this level answers, of [`WHOLE`].
    pub(super) until: u64,
    pub(super) members: Vec<(u32, f64)>,
}

impl View {
    #[inline]
    pub(super) fn len(self) -> u32 {
        (self.0 & LEN) as u32
    }

    #[inline]
    fn start(self) -> usize {
        ((self.0 >> START) & LEN) as usize
    }

    /// Whether weights differ.
    #[inline]
    pub(super) fn is_weighted(self) -> bool {
        self.0 & WEIGHTED != 0
    }

    #[inline]
    fn until(self) -> u64 {
        self.0 >> UNTIL
    }
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        let zeros = || (0..most).map(|_| AtomicU32::new(0)).collect();
        Self {
            levels: Default::default(),
            order: zeros(),
            ends: zeros(),
            guide: zeros(),
        }
    }

    /// The level that answers this pick; `random` is asked for if there is more than one.
    #[inline]
    pub(super) fn level(&self, random: impl FnOnce() -> u64) -> View {
        let first = View(self.levels[0].load(Ordering::Acquire));
        if first.until() == WHOLE {
            return first;
        }
        self.spilled(random() >> (64 - WHOLE.trailing_zeros()))
    }

    #[cold]
    fn spilled(&self, point: u64) -> View {
        let mut levels = self
            .levels
            .iter()
            .map(|level| View(level.load(Ordering::Acquire)));
        // The last has all; while levels are written over there may be none for a moment.
        levels
            .find(|level| point < level.until())
            .unwrap_or(View(0))
    }

    /// The slot of the member at this place of a level.
    #[inline]
    pub(super) fn at(&self, view: View, place: u32) -> u32 {
        let at = view.start() + place as usize;
        self.order
            .get(at)
            .map_or(NOBODY, |slot| slot.load(Ordering::Relaxed))
    }

    /// The slot of the member whose part of the circle this point lies in: a constant number of
    /// steps on average.
    #[inline]
    pub(super) fn at_point(&self, view: View, point: u32) -> u32 {
        let (len, start) = (view.len() as usize, view.start());
        if len == 0 {
            return NOBODY;
        }
        let piece = ((u64::from(point) * len as u64) >> 32) as usize;
        let Some(guide) = self.guide.get(start + piece) else {
            return NOBODY;
        };
        let mut place = (guide.load(Ordering::Relaxed) as usize).min(len - 1);
        while place + 1 < len && self.ends[start + place].load(Ordering::Relaxed) <= point {
            place += 1;
        }
        self.at(view, place as u32)
    }

    /// All slots of all levels, in order: for who found nobody by policy.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.levels.iter().flat_map(move |level| {
            let view = View(level.load(Ordering::Acquire));
            (0..view.len()).map(move |place| self.at(view, place))
        })
    }

    /// Writes the levels over. One caller at a time.
    pub(super) fn write(&self, levels: &[Level]) {
        let mut start = 0;
        let mut views = [0; LEVELS];
        for (view, level) in views.iter_mut().zip(levels) {
            let weighted = self.write_level(start, &level.members);
            let flag = if weighted { WEIGHTED } else { 0 };
            let (at, len) = (start as u64, level.members.len() as u64);
            *view = level.until << UNTIL | flag | at << START | len;
            start += level.members.len();
        }
        for (to, view) in self.levels.iter().zip(views) {
            to.store(view, Ordering::Release);
        }
    }

    /// Writes one level behind those before it. Answers whether weights differ.
    fn write_level(&self, start: usize, members: &[(u32, f64)]) -> bool {
        let total: f64 = members.iter().map(|(_, weight)| weight).sum();
        let lines = self.order[start..].iter().zip(&self.ends[start..]);
        let (mut before, mut piece) = (0.0, 0);
        for (place, ((slot, weight), (order, end))) in members.iter().zip(lines).enumerate() {
            order.store(*slot, Ordering::Relaxed);
            before += weight;
            // Rounding must leave no gap behind the last.
            let until = (before / total * CIRCLE) as u64;
            end.store(until.min(u64::from(u32::MAX)) as u32, Ordering::Relaxed);
            let last = place + 1 == members.len();
            while piece < members.len()
                && (last || (piece as u64) << 32 < until * members.len() as u64)
            {
                self.guide[start + piece].store(place as u32, Ordering::Relaxed);
                piece += 1;
            }
        }
        let mut weights = members.iter().map(|(_, weight)| *weight);
        let first = weights.next().unwrap_or(0.0);
        weights.any(|weight| (weight - first).abs() > first * 1e-9)
    }
}

/// The number of no slot.
pub(super) const NOBODY: u32 = u32::MAX;
/// All picks, as a share.
pub(super) const WHOLE: u64 = 1 << 13;
/// How many members a table can hold.
pub(super) const MOST: usize = 1 << 20;

const CIRCLE: f64 = 4_294_967_296.0;
/// Where the parts of a view begin.
const START: u32 = 24;
const LEN: u64 = (1 << START) - 1;
const WEIGHTED: u64 = 1 << 48;
const UNTIL: u32 = 50;
const _: () = assert!(MOST <= LEN as usize && WHOLE < 1 << (64 - UNTIL));

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_point_belongs_to_the_member_a_naive_walk_finds(
            weights in proptest::collection::vec(0.01..100.0_f64, 1..40),
            others in 0..3_usize,
            points in proptest::collection::vec(any::<u32>(), 50),
        ) {
            let table = Table::new(64);
            let members = weights.iter().enumerate().map(|(n, &weight)| (n as u32 + 7, weight));
            let first = Level { until: 0, members: (0..others).map(|n| (n as u32, 1.0)).collect() };
            table.write(&[first, Level { until: WHOLE, members: members.collect() }]);
            let view = table.spilled(5);
            prop_assert_eq!(view.len() as usize, weights.len());
            let total: f64 = weights.iter().sum();
            let ends = table.ends.iter().map(|end| end.load(Ordering::Relaxed));
            for point in points.into_iter().chain([0, u32::MAX]).chain(ends) {
                let mut end = 0.0;
                let naive = weights.iter().position(|weight| {
                    end += weight;
                    f64::from(point) < (end / total * CIRCLE).floor()
                });
                let naive = naive.unwrap_or(weights.len() - 1) as u32 + 7;
                prop_assert_eq!(table.at_point(view, point), naive);
            }
        }
    }
}
