//! The core's writing half: storing, removing, expiring, resizing.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::Duration;

use super::Refused;
use super::budget::Cost;
use super::core::{Core, remaining};
use super::expiry::Lifetime;
use super::load_key::LoadKey;
use super::removal::{RemovalCause, Removed};
use super::shard::Shard;
use super::sizing::Use;
use super::table::{Attributes, Entry, NEVER, Stored};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::flight::Ticket;
use crate::time::Instant;

/// What becomes of an entry that was to be stored.
pub(super) enum Put<K, V> {
    Stored(Option<V>),
    Present(V),
    Refused(Refused<K, V>),
}

/// Whether a value that is there already stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfPresent {
    Replace,
    Keep,
}

impl<K: Hash + Eq, V: Clone> Core<K, V> {
    /// Weighs and times an entry with the user's code, before any lock is taken.
    pub(super) fn attributes(
        &self,
        hash: u64,
        key: &K,
        value: &V,
        lifetime: Lifetime,
    ) -> Attributes {
        if self.is_plain && matches!(lifetime, Lifetime::Default | Lifetime::Loaded) {
            return Attributes::PLAIN;
        }
        let weight = match &self.hooks.weigher {
            Some(weigher) => weigher(key, value).max(1),
            None => 1,
        };
        let mut lifetime = lifetime;
        if let Some(expiry) = &self.hooks.expiry
            && matches!(lifetime, Lifetime::Default | Lifetime::Loaded)
        {
            let ttl = match self.remaining_of(hash, key) {
                None => expiry.expire_after_create(key, value),
                Some(Lived { left }) => expiry.expire_after_update(key, value, left),
            };
            if let Some(ttl) = ttl {
                lifetime = match lifetime {
                    Lifetime::Loaded => Lifetime::LoadedFor(ttl),
                    _ => Lifetime::For(ttl),
                };
            }
        }
        if !self.times.need_clock(lifetime) {
            return Attributes {
                weight,
                deadline: self.times.deadline(lifetime, hash, Instant::NEVER),
                idle: NEVER,
            };
        }
        let now = self.clock.now();
        Attributes {
            weight,
            deadline: self.times.deadline(lifetime, hash, now),
            idle: self.times.idle(now),
        }
    }

    /// What a live entry has left to live, if there is one.
    fn remaining_of(&self, hash: u64, key: &K) -> Option<Lived> {
        let shard = self.lock(hash);
        let slot = shard.find(hash, key)?;
        if shard.is_expired(slot, || self.now()) {
            return None;
        }
        let deadline = shard.table.attributes(slot).deadline;
        let left = remaining(deadline, self.clock.now());
        Some(Lived { left })
    }

    /// Whether an entry of this weight could be stored at all.
    pub(super) fn admits(&self, weight: u32) -> bool {
        self.max_entries.load(Ordering::Relaxed) > 0
            && u64::from(weight) <= self.max_weight.load(Ordering::Relaxed)
    }

    /// Hands an entry back that could not be stored.
    pub(super) fn refuse(&self, key: K, value: V, weight: u32) -> Refused<K, V> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Refused {
            key,
            value,
            weight: u64::from(weight),
            max_weight: if self.max_entries.load(Ordering::Relaxed) == 0 {
                0
            } else {
                self.max_weight.load(Ordering::Relaxed)
            },
        }
    }

    /// Tells the listener of an entry that is too heavy, and removes an older
    /// value of its key, which would be stale.
    pub(super) fn refuse_and_forget(&self, key: K, value: V) -> Option<V> {
        let old = self.remove(&key);
        self.notify(key, value, RemovalCause::Refused);
        let (key, old) = old?;
        if self.hooks.listener.is_some() {
            self.notify(key, old.clone(), RemovalCause::Replaced);
        }
        Some(old)
    }

    /// Stores an entry.
    pub(super) fn put(
        &self,
        key: K,
        value: V,
        lifetime: Lifetime,
        if_present: IfPresent,
    ) -> Put<K, V> {
        let hash = self.hash(&key);
        let with = self.attributes(hash, &key, &value, lifetime);
        if !self.admits(with.weight) {
            return Put::Refused(self.refuse(key, value, with.weight));
        }
        let mut shard = self.lock(hash);
        let mut removed = Removed::new();
        let is_key = |other: &LoadKey<K>| *other.get() == key;
        if if_present == IfPresent::Keep
            && let Some(slot) = self.find_live(&mut shard, hash, &key, &mut removed)
        {
            shard.touch(slot);
            if self.times.time_to_idle.is_some() {
                shard.table.set_idle(slot, with.idle);
            }
            let value = shard
                .table
                .entry(slot)
                .map(|entry| entry.value.get().clone());
            let watched = self.watched(hash, &shard);
            self.release(shard, removed);
            self.note(hash, watched, Use::Update);
            return match value {
                Some(value) => Put::Present(value),
                None => Put::Stored(None),
            };
        }
        shard.flights.detach(hash, is_key);
        self.put_locked(shard, hash, key, value, with, removed)
    }

    /// Stores an entry in its locked shard, releases the lock, and sees to
    /// everything that left.
    pub(super) fn put_locked<'a>(
        &'a self,
        mut shard: MutexGuard<'a, Shard<K, V>>,
        hash: u64,
        key: K,
        value: V,
        with: Attributes,
        mut removed: Removed<K, V>,
    ) -> Put<K, V> {
        let mut sweep_is_due = false;
        if shard.table.is_timed() {
            shard.sweep(1, self.now(), &self.hasher, &mut removed);
            sweep_is_due = shard.sweep_is_due();
        }
        let found = if shard.table.is_timed() {
            self.find_live(&mut shard, hash, &key, &mut removed)
        } else {
            shard.find(hash, &key)
        };
        let old = match found {
            Some(slot) if with.weight <= shard.table.weight(slot) => {
                let lighter = with.weight < shard.table.weight(slot);
                let old = shard.replace(slot, value, with);
                if lighter {
                    self.give_back(&mut shard);
                }
                let watched = self.watched(hash, &shard);
                self.release(shard, removed);
                self.note(hash, watched, Use::Update);
                if sweep_is_due {
                    self.sweep_in_turn();
                }
                return Put::Stored(self.replaced(key, old));
            }
            // A heavier value may need room: the old entry makes way first.
            Some(slot) => {
                shard.counts.removals[RemovalCause::Replaced as usize] += 1;
                shard.remove_entry(slot, &self.hasher)
            }
            None => None,
        };
        shard.arriving(hash);
        let cost = Cost::of(with.weight);
        while !shard.make_room(hash, cost, &self.budget, &self.hasher, &mut removed) {
            if !self.admits(with.weight) {
                // The bound was lowered after it was asked: no room will ever
                // be enough.
                if let Some(old) = old {
                    removed.push(old, RemovalCause::Replaced);
                }
                self.release(shard, removed);
                return Put::Refused(self.refuse(key, value, with.weight));
            }
            // Other shards hold the budget; they give some of it back while
            // this one is unlocked.
            drop(shard);
            self.make_room_elsewhere(hash, with.weight, &mut removed);
            // What went must not pile up, should others take the room first.
            self.settle(std::mem::replace(&mut removed, Removed::new()));
            shard = self.lock(hash);
            // Whatever happened to the key meanwhile is older.
            shard.flights.detach(hash, |other| *other.get() == key);
            if let Some(slot) = shard.find(hash, &key) {
                shard.remove(slot, RemovalCause::Replaced, &self.hasher, &mut removed);
            }
        }
        let value = Stored::Inline(value);
        shard.add(hash, Entry { key, value }, with, &self.hasher);
        let watched = self.watched(hash, &shard);
        self.release(shard, removed);
        let what = if old.is_some() {
            Use::Update
        } else {
            Use::Insert
        };
        self.note(hash, watched, what);
        if sweep_is_due {
            self.sweep_in_turn();
        }
        Put::Stored(old.and_then(|Entry { key, value }| self.replaced(key, Some(value))))
    }

    /// Tells the listener of a replaced value and returns it to the caller.
    fn replaced(&self, key: K, old: Option<Stored<V>>) -> Option<V> {
        let old = old?.into_value();
        if let Some(listener) = &self.hooks.listener {
            listener(key, old.clone(), RemovalCause::Replaced);
        }
        Some(old)
    }

    /// Makes sure that the shard can store the value of this flight without
    /// giving up its lock: between the end of a flight and the storing of its
    /// value nobody must be able to invalidate the key.
    pub(super) fn make_room_for_landing<'a>(
        &'a self,
        mut shard: MutexGuard<'a, Shard<K, V>>,
        hash: u64,
        ticket: &Ticket,
        weight: u32,
        removed: &mut Removed<K, V>,
    ) -> MutexGuard<'a, Shard<K, V>> {
        let cost = Cost::of(weight);
        loop {
            // One entry that goes is enough for one that weighs 1.
            if (shard.used + cost).fits(shard.held) || (weight == 1 && shard.table.len() > 0) {
                return shard;
            }
            let Some(key) = shard.flights.attached_key(hash, ticket) else {
                return shard;
            };
            if !self.admits(weight) {
                return shard;
            }
            if let Some(slot) = shard.find(hash, key.get()) {
                if weight <= shard.table.weight(slot) {
                    return shard;
                }
                shard.remove(slot, RemovalCause::Replaced, &self.hasher, removed);
            }
            if shard.make_room(hash, cost, &self.budget, &self.hasher, removed) {
                return shard;
            }
            drop(shard);
            self.make_room_elsewhere(hash, weight, removed);
            self.settle(std::mem::replace(removed, Removed::new()));
            shard = self.lock(hash);
        }
    }

    /// Evicts from the other shards until the pot holds enough for one entry of
    /// this weight, or nothing is left to evict.
    #[cold]
    fn make_room_elsewhere(&self, hash: u64, weight: u32, removed: &mut Removed<K, V>) {
        let cost = Cost::of(weight);
        let first = self.shard_of(hash);
        // What this shard holds without using counts too.
        {
            let mut shard = self.lock_nth(first);
            let used = shard.used;
            self.budget.give_all_back(&mut shard.held, used);
        }
        for step in 1..self.shards.len() {
            let mut shard = self.lock_nth((first + step) % self.shards.len());
            loop {
                let used = shard.used;
                self.budget.give_all_back(&mut shard.held, used);
                if self.budget.has(cost) {
                    return;
                }
                if !shard.evict_one(hash, &self.hasher, removed) {
                    break;
                }
            }
        }
    }

    /// Removes a key and returns its entry, unless it had expired.
    pub(super) fn remove<Q>(&self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let mut shard = self.lock(hash);
        shard
            .flights
            .detach(hash, |other| other.get().borrow() == key);
        let mut removed = Removed::new();
        let entry = self
            .find_live(&mut shard, hash, key, &mut removed)
            .and_then(|slot| {
                shard.counts.removals[RemovalCause::Explicit as usize] += 1;
                shard.remove_entry(slot, &self.hasher)
            });
        self.give_back(&mut shard);
        let watched = self.watched(hash, &shard);
        self.release(shard, removed);
        self.note(hash, watched, Use::Remove);
        let Entry { key, value } = entry?;
        Some((key, value.into_value()))
    }

    /// Removes everything and returns it.
    pub(super) fn clear(&self) -> Removed<K, V> {
        let mut removed = Removed::new();
        for shard in &self.shards {
            let mut shard = shard.0.lock();
            shard.flights.detach_all();
            shard.clear(|| self.now(), &self.hasher, &mut removed);
            let used = shard.used;
            self.budget.give_all_back(&mut shard.held, used);
        }
        self.note_clear();
        removed
    }

    /// Removes every expired entry.
    pub(super) fn purge_expired(&self) {
        for shard in &self.shards {
            let mut shard = shard.0.lock();
            if shard.table.is_timed() {
                let mut removed = Removed::new();
                let buckets = shard.table.buckets.len();
                shard.sweep(buckets, self.now(), &self.hasher, &mut removed);
                self.release(shard, removed);
            }
        }
    }

    /// Sweeps a bucket of one shard after the other, whichever shards are in
    /// use: what expired in a quiet one must go too.
    #[cold]
    pub(super) fn sweep_in_turn(&self) {
        let turn = self.sweep_next.fetch_add(1, Ordering::Relaxed);
        let shard = (turn % self.shards.len() as u64) as usize;
        // A shard that is locked is in use, and its turn comes again.
        if let Some(mut shard) = self.shards[shard].0.try_lock()
            && shard.table.is_timed()
        {
            let mut removed = Removed::new();
            shard.sweep(1, self.now(), &self.hasher, &mut removed);
            self.release(shard, removed);
        }
    }

    /// Changes the bounds and evicts what no longer fits.
    pub(super) fn resize(&self, entries: u64, weight: u64) {
        let old_entries = self.max_entries.swap(entries, Ordering::Relaxed);
        let old_weight = self.max_weight.swap(weight, Ordering::Relaxed);
        let slots = (self.shards.len() as u64) << 31;
        self.budget
            .entries
            .resize(old_entries.min(slots), entries.min(slots));
        self.budget.weight.resize(old_weight, weight);
        // What lies idle with the shards was a portion of the old bound, and may
        // be all of the new one: nobody is evicted for that.
        if entries < old_entries || weight < old_weight {
            for shard in &self.shards {
                let mut shard = shard.0.lock();
                let used = shard.used;
                self.budget.give_all_back(&mut shard.held, used);
            }
        }
        // Each shard in turn gives up an even part of what is owed; where one
        // has too little, the next round asks the others.
        // The listener hears of it when it is done: were it to panic on the
        // way, the debt would remain.
        let mut removed = Removed::new();
        while self.budget.owes() {
            for shard in &self.shards {
                let mut shard = shard.0.lock();
                let mut used = shard.used;
                self.budget.give_all_back(&mut shard.held, used);
                let part = (shard.table.len() / 16).max(1);
                for _ in 0..part {
                    if !self.budget.owes() || !shard.evict_next(&self.hasher, &mut removed) {
                        break;
                    }
                    used = shard.used;
                    self.budget.give_all_back(&mut shard.held, used);
                }
            }
        }
        self.settle(removed);
    }
}

/// What a live entry has left to live; `None` for ever.
struct Lived {
    left: Option<Duration>,
}
