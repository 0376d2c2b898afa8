//! One shard of a cache: entries, their order, their budget. Single-threaded;
//! the lock goes around it.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::budget::{Budget, Cost};
use super::load_key::LoadKey;
use super::order::{Kind, Order};
use super::removal::{RemovalCause, Removed};
use super::table::{self, Attributes, Entry, NEVER, Stored, Table, WAYS};
use crate::hash::TableHasher;
use crate::sync::flight::Flights;

/// Every so many operations on a timed shard sweep a bucket of the shard whose
/// turn it is, so that what expired leaves even if nothing is inserted there.
const SWEEP_EVERY: u64 = 32;

pub(super) struct Shard<K, V> {
    pub(super) table: Table<K, V>,
    order: Order,
    kind: Kind,
    /// What the entries cost, and what this shard may hold.
    pub(super) used: Cost,
    pub(super) held: Cost,
    pub(super) counts: Counts,
    /// Loads and computations under way.
    pub(super) flights: Flights<LoadKey<K>, V>,
    /// How large the table is expected to become, in buckets; it grows by
    /// doubling up to here and in small steps from there on.
    expected_buckets: usize,
    /// The bucket that is swept next.
    sweep_next: usize,
    lookups: u64,
    /// Stands for the hash of a key when entries go without one coming.
    evict_next: u64,
}

/// What happened in a shard, in events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) insertions: u64,
    pub(super) updates: u64,
    pub(super) removals: [u64; RemovalCause::COUNT],
}

impl Counts {
    pub(super) fn lookups(&self) -> u64 {
        self.hits + self.misses
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    pub(super) fn new(kind: Kind, expected_entries: usize) -> Self {
        Self {
            table: Table::new(),
            order: Order::new(&kind),
            kind,
            used: Cost::ZERO,
            held: Cost::ZERO,
            counts: Counts::default(),
            flights: Flights::new(),
            expected_buckets: table::buckets_for(expected_entries),
            sweep_next: 0,
            lookups: 0,
            evict_next: 0,
        }
    }

    /// The slot of a key, expired or not.
    #[inline]
    pub(super) fn find<Q>(&self, hash: u64, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        if self.table.slot_count() == 0 {
            return None;
        }
        self.table.find(hash, key)
    }

    /// Counts a use of the entry in this slot.
    #[inline]
    pub(super) fn touch(&mut self, slot: usize) {
        self.order.used(&mut self.table, slot);
    }

    /// Whether the entry in this slot has expired; reads the clock only if it
    /// can expire at all.
    #[inline]
    pub(super) fn is_expired(&self, slot: usize, now: impl FnOnce() -> u64) -> bool {
        if !self.table.is_timed() {
            return false;
        }
        let at = self.table.expires_at(slot);
        at != NEVER && at <= now()
    }

    /// Puts a value in the place of the one in this slot, at the same or a
    /// lower weight, and returns the old one.
    pub(super) fn replace(&mut self, slot: usize, value: V, with: Attributes) -> Option<Stored<V>> {
        self.used.weight -= u64::from(self.table.weight(slot));
        self.used.weight += u64::from(with.weight);
        self.table.set_attributes(slot, with);
        self.counts.updates += 1;
        self.touch(slot);
        let entry = self.table.entry_mut(slot)?;
        Some(std::mem::replace(&mut entry.value, Stored::Inline(value)))
    }

    /// A key with this hash, which is not in the shard, is about to be added.
    #[inline]
    pub(super) fn arriving(&mut self, hash: u64) {
        self.order.arriving(&self.table, hash);
    }

    /// Adds an entry for which room has been made.
    #[inline]
    pub(super) fn add(
        &mut self,
        hash: u64,
        entry: Entry<K, V>,
        with: Attributes,
        hasher: &TableHasher,
    ) {
        if !self.table.has_room() {
            self.grow(hasher);
        }
        let slot = self.table.place(hash, entry, with);
        self.order.inserted(&mut self.table, slot);
        self.used = self.used + Cost::of(with.weight);
        self.counts.insertions += 1;
    }

    /// Makes room for so much, by drawing from the pots or by evicting; false
    /// if every entry is gone and the budget is with other shards.
    #[inline]
    pub(super) fn make_room(
        &mut self,
        hash: u64,
        cost: Cost,
        budget: &Budget,
        hasher: &TableHasher,
        removed: &mut Removed<K, V>,
    ) -> bool {
        while !(self.used + cost).fits(self.held) {
            if !budget.draw(&mut self.held, self.used + cost)
                && !self.evict_one(hash, hasher, removed)
            {
                return false;
            }
        }
        true
    }

    /// Evicts the entry that the policy can best do without near the home of
    /// `hash`; false if there is none.
    #[inline]
    pub(super) fn evict_one(
        &mut self,
        hash: u64,
        hasher: &TableHasher,
        removed: &mut Removed<K, V>,
    ) -> bool {
        if self.table.len() == 0 {
            return false;
        }
        let home = self.table.home(hash);
        let Some(slot) = self.order.victim(&self.table, home) else {
            return false;
        };
        let Some(victim) = self.table.entry(slot) else {
            return false;
        };
        let hash = hasher.hash_one(&victim.key);
        let home = self.table.home(hash);
        self.order.evicted(&self.table, hash, home, slot);
        self.take(home, slot, RemovalCause::Size, removed);
        true
    }

    /// Takes the entry out of this slot, for a reason other than the policy's.
    pub(super) fn remove(
        &mut self,
        slot: usize,
        cause: RemovalCause,
        hasher: &TableHasher,
        removed: &mut Removed<K, V>,
    ) {
        if let Some(entry) = self.table.entry(slot) {
            let hash = hasher.hash_one(&entry.key);
            self.order.removed(slot);
            let home = self.table.home(hash);
            self.take(home, slot, cause, removed);
        }
    }

    /// Takes an entry out of its slot for its owner; nobody else is told.
    pub(super) fn remove_entry(
        &mut self,
        slot: usize,
        hasher: &TableHasher,
    ) -> Option<Entry<K, V>> {
        let hash = hasher.hash_one(&self.table.entry(slot)?.key);
        self.order.removed(slot);
        self.used = self.used - Cost::of(self.table.weight(slot));
        self.table.take(self.table.home(hash), slot)
    }

    /// Evicts one entry when no key asks for its place: the policy is asked
    /// about one bucket after the other.
    pub(super) fn evict_next(&mut self, hasher: &TableHasher, removed: &mut Removed<K, V>) -> bool {
        self.evict_next = self.evict_next.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.evict_one(self.evict_next, hasher, removed)
    }

    #[inline]
    fn take(&mut self, home: usize, slot: usize, cause: RemovalCause, removed: &mut Removed<K, V>) {
        let cost = Cost::of(self.table.weight(slot));
        if let Some(entry) = self.table.take(home, slot) {
            self.used = self.used - cost;
            self.counts.removals[cause as usize] += 1;
            removed.push(entry, cause);
        }
    }

    /// Removes everything, what has expired as such, and gives the memory of a
    /// large table back.
    pub(super) fn clear(
        &mut self,
        now: impl FnOnce() -> u64,
        hasher: &TableHasher,
        removed: &mut Removed<K, V>,
    ) {
        if self.table.is_timed() {
            self.sweep(self.table.buckets.len(), now(), hasher, removed);
        }
        let cause = RemovalCause::Explicit;
        self.counts.removals[cause as usize] += self.table.len() as u64;
        let table = std::mem::replace(&mut self.table, Table::new());
        self.order = Order::new(&self.kind);
        self.used = Cost::ZERO;
        self.sweep_next = 0;
        removed.extend(table.into_entries(), cause);
    }

    /// Sweeps the next few buckets for expired entries.
    pub(super) fn sweep(
        &mut self,
        buckets: usize,
        now: u64,
        hasher: &TableHasher,
        removed: &mut Removed<K, V>,
    ) {
        let count = self.table.buckets.len();
        for _ in 0..buckets.min(count) {
            let bucket = self.sweep_next % count;
            self.sweep_next = (bucket + 1) % count;
            for slot in bucket * WAYS..(bucket + 1) * WAYS {
                let at = self.table.expires_at(slot);
                if at != NEVER && at <= now {
                    self.remove(slot, RemovalCause::Expired, hasher, removed);
                }
            }
        }
    }

    /// Whether this operation is one that should sweep a bucket.
    #[inline]
    pub(super) fn sweep_is_due(&mut self) -> bool {
        self.lookups = self.lookups.wrapping_add(1);
        self.lookups.is_multiple_of(SWEEP_EVERY)
    }

    fn grow(&mut self, hasher: &TableHasher) {
        let needed = table::buckets_for(self.table.len() + 1);
        let buckets = self.table.buckets.len();
        let wanted = if buckets * 2 <= self.expected_buckets {
            buckets * 2
        } else if buckets < self.expected_buckets {
            self.expected_buckets
        } else {
            buckets + buckets / 8
        };
        let moved = self
            .table
            .rebuild(wanted.max(needed), |key| hasher.hash_one(key));
        self.order.follow(&moved, &mut self.table);
    }
}
