//! How a bound on the whole cache is kept by shards that do not look at each
//! other.
//!
//! What the cache may hold lies in a common pot. A shard draws from it in small
//! portions when it grows, and evicts only when the pot is empty; what it frees
//! beyond a portion it gives back. So the sum of what the shards hold never
//! exceeds the bound, the cache fills up to it before anything is evicted, and
//! a full cache touches no memory that shards share.

use std::ops::{Add, Sub};

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What entries cost: their number and their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) entries: u64,
    pub(super) weight: u64,
}

impl Cost {
    pub(super) const ZERO: Self = Self {
        entries: 0,
        weight: 0,
    };

    /// The cost of one entry of this weight.
    #[inline]
    pub(super) fn of(weight: u32) -> Self {
        Self {
            entries: 1,
            weight: u64::from(weight),
        }
    }

    #[inline]
    pub(super) fn fits(self, within: Self) -> bool {
        self.entries <= within.entries && self.weight <= within.weight
    }
}

impl Add for Cost {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            weight: self.weight.saturating_add(other.weight),
        }
    }
}

impl Sub for Cost {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_sub(other.entries),
            weight: self.weight.saturating_sub(other.weight),
        }
    }
}

/// The pots of a cache.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) entries: Pot,
    pub(super) weight: Pot,
}

impl Budget {
    pub(super) fn new(bound: Cost, shards: usize) -> Self {
        Self {
            entries: Pot::new(bound.entries, shards),
            weight: Pot::new(bound.weight, shards),
        }
    }

    /// Raises what a shard holds to `wanted` if the pots have enough; says
    /// whether `wanted` fits now.
    #[inline]
    pub(super) fn draw(&self, held: &mut Cost, wanted: Cost) -> bool {
        self.entries.draw(&mut held.entries, wanted.entries)
            && self.weight.draw(&mut held.weight, wanted.weight)
    }

    /// Lowers what a shard holds to what it uses plus a portion.
    pub(super) fn give_back(&self, held: &mut Cost, used: Cost) {
        self.entries
            .give_back(&mut held.entries, used.entries, self.entries.portion());
        self.weight
            .give_back(&mut held.weight, used.weight, self.weight.portion());
    }

    /// Whether the pots hold this much.
    pub(super) fn has(&self, cost: Cost) -> bool {
        self.entries.has(cost.entries) && self.weight.has(cost.weight)
    }

    /// Whether a bound was lowered and shards still hold more than it.
    pub(super) fn owes(&self) -> bool {
        !self.has(Cost::ZERO)
    }

    /// Lowers what a shard holds to what it uses.
    pub(super) fn give_all_back(&self, held: &mut Cost, used: Cost) {
        self.entries.give_back(&mut held.entries, used.entries, 0);
        self.weight.give_back(&mut held.weight, used.weight, 0);
    }
}

/// One resource: what no shard holds of it. Below zero while a lowered bound
/// has not been met yet.
#[derive(Debug)]
pub(super) struct Pot {
    left: AtomicI64,
    /// How much a shard draws at a time, if there is as much.
    portion: AtomicU64,
    shards: u64,
}

impl Pot {
    fn new(bound: u64, shards: usize) -> Self {
        let pot = Self {
            left: AtomicI64::new(signed(bound)),
            portion: AtomicU64::new(0),
            shards: shards as u64,
        };
        pot.set_portion(bound);
        pot
    }

    fn set_portion(&self, bound: u64) {
        // At most a 64th of the bound lies idle with the shards.
        let portion = bound / (self.shards * 64).max(1);
        self.portion.store(portion, Ordering::Relaxed);
    }

    fn portion(&self) -> u64 {
        self.portion.load(Ordering::Relaxed)
    }

    fn has(&self, amount: u64) -> bool {
        self.left.load(Ordering::Relaxed) >= signed(amount)
    }

    pub(super) fn resize(&self, old: u64, new: u64) {
        self.set_portion(new);
        // Both are at most `i64::MAX`, so their difference fits.
        self.left
            .fetch_add(signed(new) - signed(old), Ordering::Relaxed);
    }

    #[inline]
    fn draw(&self, held: &mut u64, wanted: u64) -> bool {
        let missing = wanted.saturating_sub(*held);
        if missing == 0 {
            return true;
        }
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            if left < signed(missing) {
                return false;
            }
            // Portions shrink with what is left, so that little of it lies idle
            // with some shards when others begin to evict.
            let share = left.unsigned_abs() / (2 * self.shards);
            let taken = left.min(signed(missing.max(self.portion().min(share))));
            match self.left.compare_exchange_weak(
                left,
                left - taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    *held += taken.unsigned_abs();
                    return true;
                }
                Err(now) => left = now,
            }
        }
    }

    #[inline]
    fn give_back(&self, held: &mut u64, used: u64, keep: u64) {
        let idle = held.saturating_sub(used);
        if idle > keep {
            *held -= idle - keep;
            self.left.fetch_add(signed(idle - keep), Ordering::Relaxed);
        }
    }
}

/// An amount as the pot counts it: bounds past `i64::MAX` are no bounds.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
