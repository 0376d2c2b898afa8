//! The same member for the same key, as long as it can take it.
//!
//! Keys are hashed to cells, and every cell has a home: the member that wins among all of them
//! by weighted rendezvous hashing. So when a member goes only its cells move, and when one
//! comes it takes its share and nothing else moves. A home is computed when its cell is first
//! asked for, and remembered until the members change. A home that is out, or has more than its
//! bound to do, is passed over: the key is hashed again, to another cell, always to the same one.

use std::iter::repeat_with;
use std::sync::{Arc, OnceLock};

use super::PickError;
use super::core::Core;
use super::slot::{Lease, Slot};
use super::table::NOBODY;
use crate::rng::{Rng, mix};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(super) struct Sticky {
    bound: f32,
    /// Made when the first key is picked for: the members' generation, and the number of a slot.
    homes: OnceLock<Box<[AtomicU64]>>,
    /// Counts changes of the members, from one on; written under the roster's lock.
    generation: AtomicU32,
    /// The weight of all members that may be picked, as a float's bits.
    weight: AtomicU32,
    /// How many picks by key are not dropped yet.
    in_flight: AtomicU64,
}

impl Sticky {
    pub(super) fn new(bound: f64) -> Self {
        Self {
            bound: bound as f32,
            homes: OnceLock::new(),
            generation: AtomicU32::new(1),
            weight: AtomicU32::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Forgets all homes. Called under the roster's lock.
    pub(super) fn changed(&self) {
        // Zero is what no home was computed at.
        let next = self
            .generation
            .load(Ordering::Relaxed)
            .wrapping_add(1)
            .max(1);
        self.generation.store(next, Ordering::Release);
    }

    pub(super) fn set_weight(&self, weight: f32) {
        self.weight.store(weight.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the member can take one more of so many requests.
    fn has_room<M>(&self, slot: &Slot<M>, total: u64) -> bool {
        let weight = f32::from_bits(self.weight.load(Ordering::Relaxed));
        let share = 1.0 / (slot.pulse.scale() * weight);
        let most = (self.bound * total as f32 * share).ceil();
        ((slot.in_flight() + 1) as f32) <= most.max(1.0)
    }
}

impl<M> Core<M> {
    /// Uses the member that this key belongs to.
    pub(super) fn pick_sticky(
        self: &Arc<Self>,
        key: u64,
    ) -> Result<(Lease<'_, M>, u64), PickError> {
        let now = self.moment(0);
        let total = self.sticky.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let room = |slot: &&Slot<M>| slot.pulse.is_chosen() && self.sticky.has_room(slot, total);
        let mut cells = Rng::with_seed(key);
        let homes = repeat_with(|| self.home(cells.next_u64())).take(TRIES);
        let mut homes = homes.filter_map(|number| self.slots.get(number));
        if let Some(entered) = homes
            .by_ref()
            .filter(room)
            .find_map(|slot| slot.enter(self))
        {
            return Ok((entered.lease(self), now));
        }
        // All of them are busy or out: whoever has room, beginning at a place of the key's own.
        let skipped = (key >> 32) as usize % self.table.all().count().max(1);
        let all = self
            .table
            .all()
            .skip(skipped)
            .chain(self.table.all().take(skipped));
        let mut all = all.filter_map(|number| self.slots.get(number)).filter(room);
        match all.find_map(|slot| slot.enter(self)) {
            Some(entered) => Ok((entered.lease(self), now)),
            None => self.pick().inspect_err(|_| self.sticky.left()),
        }
    }

    /// The number of the slot that the cell of this hash belongs to.
    #[inline]
    fn home(&self, hash: u64) -> u32 {
        let homes = self
            .sticky
            .homes
            .get_or_init(|| (0..CELLS).map(|_| AtomicU64::new(0)).collect());
        let cell = (hash >> (64 - CELLS.trailing_zeros())) as usize;
        let home = homes[cell].load(Ordering::Relaxed);
        if (home >> 32) as u32 == self.sticky.generation.load(Ordering::Acquire) {
            return home as u32;
        }
        self.settle(&homes[cell], cell)
    }

    #[cold]
    fn settle(&self, home: &AtomicU64, cell: usize) -> u32 {
        let roster = self.roster.lock();
        let cell = mix(cell as u64 + 1);
        let mut best = (f64::INFINITY, NOBODY);
        for entry in roster.staying() {
            let chance =
                ((mix(cell ^ mix(entry.identity)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            // The least of exponential times, each as quick as its weight is large.
            let time = -chance.ln() / entry.weight;
            if time < best.0 {
                best = (time, entry.id.slot);
            }
        }
        let generation = u64::from(self.sticky.generation.load(Ordering::Relaxed));
        home.store(generation << 32 | u64::from(best.1), Ordering::Relaxed);
        best.1
    }
}

/// So many that a hundred members have a hundred and sixty each.
const CELLS: usize = 1 << 14;
/// How many homes are tried: each is out or full by itself.
const TRIES: usize = 8;
