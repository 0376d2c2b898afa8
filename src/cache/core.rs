//! What all handles of a cache share: shards behind their locks, bounds, time
//! and the user's hooks. The rules of locking live here.
//!
//! One lock is held at a time, a shard's, and never while user code runs:
//! weigher, expiry and listener are called before it is taken or after it is
//! released, and what leaves a shard is dropped after it is released. The
//! exceptions are unavoidable in a map: `Hash` and `Eq` of keys, and `Clone`
//! of a value that is read.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use super::budget::{Budget, Cost};
use super::expiry::{Lifetime, Times};
use super::learner::Lessons;
use super::load::LoadKey;
use super::order::Kind;
use super::removal::{Gone, RemovalCause, Removed};
use super::shard::Shard;
use super::table::{Attributes, Entry, NEVER, Stored};
use super::{CacheStats, Expiry, Policy, Refused};
use crate::hash::TableHasher;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::flight::Ticket;
use crate::sync::{Mutex, MutexGuard};
use crate::time::{Clock, Instant};

type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;
type Listener<K, V> = Box<dyn Fn(K, V, RemovalCause) + Send + Sync>;

/// The user's code that a cache calls.
pub(super) struct Hooks<K, V> {
    pub(super) weigher: Option<Weigher<K, V>>,
    pub(super) listener: Option<Listener<K, V>>,
    pub(super) expiry: Option<Box<dyn Expiry<K, V>>>,
}

impl<K, V> Hooks<K, V> {
    /// Whether any of them is shown the key of an entry that is being stored.
    pub(super) fn want_keys(&self) -> bool {
        self.weigher.is_some() || self.expiry.is_some()
    }
}

impl<K, V> Default for Hooks<K, V> {
    fn default() -> Self {
        Self {
            weigher: None,
            listener: None,
            expiry: None,
        }
    }
}

pub(super) struct Core<K, V> {
    shards: Box<[Locked<K, V>]>,
    /// The number of shards is two to the power of this.
    shard_bits: u32,
    pub(super) hasher: TableHasher,
    pub(super) clock: Clock,
    budget: Budget,
    /// The bounds, as they are shown to users and held against single entries.
    pub(super) max_entries: AtomicU64,
    pub(super) max_weight: AtomicU64,
    pub(super) times: Times,
    /// Whether every entry weighs 1 and lives for ever unless a call says
    /// otherwise.
    is_plain: bool,
    pub(super) hooks: Hooks<K, V>,
    /// The shard that is swept next.
    sweep_next: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) loads: Counters<4>,
}

/// A shard behind its lock.
type Locked<K, V> = Padded<Mutex<Shard<K, V>>>;

/// Keeps neighbours off one another's cache lines, which are fetched in pairs.
#[repr(align(128))]
struct Padded<T>(T);

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
    pub(super) fn new(
        bound: Cost,
        shards: usize,
        policy: Policy,
        hasher: TableHasher,
        clock: Clock,
        times: Times,
        hooks: Hooks<K, V>,
    ) -> Self {
        let per_shard = usize::try_from(bound.entries / shards as u64).unwrap_or(usize::MAX);
        // Hashes do not spread quite evenly: three standard deviations more,
        // so that hardly any shard has to grow past what it was laid out for.
        let uneven = if shards > 1 { 3 * per_shard.isqrt() } else { 0 };
        let per_shard = per_shard.saturating_add(uneven);
        let lessons = Arc::new(Lessons::new());
        // Slots are numbered by 32 bits in every shard.
        let slots = (shards as u64) << 31;
        Self {
            shards: (0..shards)
                .map(|shard| {
                    let kind = Kind {
                        policy,
                        lessons: Arc::clone(&lessons),
                        studies: shard == 0,
                    };
                    Padded(Mutex::new(Shard::new(kind, per_shard)))
                })
                .collect(),
            shard_bits: shards.ilog2(),
            hasher,
            clock,
            budget: Budget::new(
                Cost {
                    entries: bound.entries.min(slots),
                    ..bound
                },
                shards,
            ),
            max_entries: AtomicU64::new(bound.entries),
            max_weight: AtomicU64::new(bound.weight),
            is_plain: hooks.weigher.is_none()
                && hooks.expiry.is_none()
                && times.time_to_live.is_none()
                && times.time_to_idle.is_none(),
            times,
            hooks,
            sweep_next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            loads: Counters::new(),
        }
    }

    #[inline]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard of a key; the top bits of its hash choose.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<K, V>> {
        self.shards[self.shard_of(hash)].0.lock()
    }

    #[inline]
    fn shard_of(&self, hash: u64) -> usize {
        // Two shifts, since one by 64 is undefined.
        (hash >> 32 >> (32 - self.shard_bits)) as usize
    }

    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn lock_nth(&self, shard: usize) -> MutexGuard<'_, Shard<K, V>> {
        self.shards[shard].0.lock()
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    // Reading.

    /// Reads a value, counts the look-up, and tells the policy.
    #[inline]
    pub(super) fn get<Q, R>(
        &self,
        key: &Q,
        read: impl FnOnce(&mut Option<Entry<K, V>>) -> Option<R>,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let mut shard = self.lock(hash);
        if shard.table.is_timed() || self.hooks.expiry.is_some() {
            return self.get_timed(hash, key, shard, read);
        }
        let Some(slot) = shard.find(hash, key) else {
            shard.counts.misses += 1;
            return None;
        };
        shard.counts.hits += 1;
        shard.touch(slot);
        read(shard.table.slot_mut(slot))
    }

    /// [`get`](Self::get) where entries may expire.
    fn get_timed<Q, R>(
        &self,
        hash: u64,
        key: &Q,
        mut shard: MutexGuard<'_, Shard<K, V>>,
        read: impl FnOnce(&mut Option<Entry<K, V>>) -> Option<R>,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut removed = Removed::new();
        let found = self.find_live(&mut shard, hash, key, &mut removed);
        let mut read_before = NEVER;
        let value = found.and_then(|slot| {
            shard.counts.hits += 1;
            shard.touch(slot);
            if self.times.time_to_idle.is_some() {
                shard
                    .table
                    .set_idle(slot, self.times.idle(self.clock.now()));
            }
            read_before = shard.table.attributes(slot).deadline;
            read(shard.table.slot_mut(slot))
        });
        if value.is_none() {
            shard.counts.misses += 1;
        }
        let sweep_is_due = shard.sweep_is_due();
        self.release(shard, removed);
        if sweep_is_due {
            self.sweep_in_turn();
        }
        if value.is_some() && self.hooks.expiry.is_some() {
            self.expire_after_read(hash, key, read_before);
        }
        value
    }

    /// The slot of a key that has not expired; an expired entry is removed.
    #[inline]
    pub(super) fn find_live<Q>(
        &self,
        shard: &mut Shard<K, V>,
        hash: u64,
        key: &Q,
        removed: &mut Removed<K, V>,
    ) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = shard.find(hash, key)?;
        if shard.is_expired(slot, || self.now()) {
            shard.remove(slot, RemovalCause::Expired, &self.hasher, removed);
            return None;
        }
        Some(slot)
    }

    /// Reads a value and leaves no trace.
    pub(super) fn peek<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let shard = self.lock(hash);
        let slot = shard.find(hash, key)?;
        if shard.is_expired(slot, || self.now()) {
            return None;
        }
        shard.table.entry(slot).map(|entry| read(entry.value.get()))
    }

    /// Asks the expiry hook, outside the lock, how long a value that was read
    /// shall live, and stores the answer unless the entry got another deadline
    /// meanwhile.
    #[cold]
    fn expire_after_read<Q>(&self, hash: u64, key: &Q, deadline: u64)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (Some(expiry), Some(value)) = (&self.hooks.expiry, self.peek(key, V::clone)) else {
            return;
        };
        let now = self.clock.now();
        let before = remaining(deadline, now);
        let after = expiry.expire_after_read(&value, before);
        if after == before {
            return;
        }
        let mut shard = self.lock(hash);
        if let Some(slot) = shard.find(hash, key)
            && shard.table.attributes(slot).deadline == deadline
        {
            let deadline = after.map_or(NEVER, |ttl| (now + ttl).as_nanos());
            shard.table.set_deadline(slot, deadline);
        }
    }

    // Writing.

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
            self.release(shard, removed);
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
        let old = match self.find_live(&mut shard, hash, &key, &mut removed) {
            Some(slot) if with.weight <= shard.table.weight(slot) => {
                let lighter = with.weight < shard.table.weight(slot);
                let old = shard.replace(slot, value, with);
                if lighter {
                    self.give_back(&mut shard);
                }
                self.release(shard, removed);
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
            shard = self.lock(hash);
            // Whatever happened to the key meanwhile is older.
            shard.flights.detach(hash, |other| *other.get() == key);
            if let Some(slot) = shard.find(hash, &key) {
                shard.remove(slot, RemovalCause::Replaced, &self.hasher, &mut removed);
            }
        }
        let value = Stored::Inline(value);
        shard.add(hash, Entry { key, value }, with, &self.hasher);
        self.release(shard, removed);
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
        self.release(shard, removed);
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
    fn sweep_in_turn(&self) {
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

    /// Releases a shard, then hands what left it to the listener or drops it.
    #[inline]
    pub(super) fn release(&self, mut shard: MutexGuard<'_, Shard<K, V>>, removed: Removed<K, V>) {
        if !removed.is_empty() {
            self.give_back(&mut shard);
        }
        drop(shard);
        self.settle(removed);
    }

    /// Gives budget that a shard no longer needs back to the pot.
    fn give_back(&self, shard: &mut Shard<K, V>) {
        let used = shard.used;
        self.budget.give_back(&mut shard.held, used);
    }

    /// Tells the listener of one entry. No lock is held.
    pub(super) fn notify(&self, key: K, value: V, cause: RemovalCause) {
        if let Some(listener) = &self.hooks.listener {
            listener(key, value, cause);
        }
    }

    /// What all shards use.
    pub(super) fn used(&self) -> Cost {
        self.shards
            .iter()
            .fold(Cost::ZERO, |sum, shard| sum + shard.0.lock().used)
    }

    /// Hands what left to the listener, or drops it. No lock is held.
    #[inline]
    pub(super) fn settle(&self, removed: Removed<K, V>) {
        if let Some(listener) = &self.hooks.listener {
            for Gone { key, value, cause } in removed {
                listener(key, value.into_value(), cause);
            }
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            loads: self.loads.get(LOADS),
            load_failures: self.loads.get(LOAD_FAILURES),
            coalesced: self.loads.get(COALESCED),
            load_time: Duration::from_nanos(self.loads.get(LOAD_NANOS)),
            refused: self.refused.load(Ordering::Relaxed),
            ..CacheStats::default()
        };
        for shard in &self.shards {
            let shard = shard.0.lock();
            let counts = &shard.counts;
            stats.hits += counts.hits;
            stats.misses += counts.misses;
            // A heavier value replaces another by leaving and coming anew.
            let replaced = counts.removals[RemovalCause::Replaced as usize];
            stats.insertions += counts.insertions - replaced;
            stats.updates += counts.updates + replaced;
            stats.evictions += counts.removals[RemovalCause::Size as usize];
            stats.expirations += counts.removals[RemovalCause::Expired as usize];
            stats.removals += counts.removals[RemovalCause::Explicit as usize];
            stats.entries += shard.used.entries;
            stats.weight += shard.used.weight;
        }
        stats
    }
}

/// The counters of [`Core::loads`].
pub(super) const LOADS: usize = 0;
pub(super) const LOAD_FAILURES: usize = 1;
pub(super) const COALESCED: usize = 2;
pub(super) const LOAD_NANOS: usize = 3;

/// What a live entry has left to live; `None` for ever.
struct Lived {
    left: Option<Duration>,
}

/// How long there is from `now` to a deadline; `None` for ever.
pub(super) fn remaining(deadline: u64, now: Instant) -> Option<Duration> {
    (deadline != NEVER).then(|| Instant::from_nanos(deadline).saturating_since(now))
}
