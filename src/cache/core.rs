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
use super::expiry::Times;
use super::learner::Lessons;
use super::order::Kind;
use super::removal::{Gone, RemovalCause, Removed};
use super::shard::Shard;
use super::sizing::{MissRatioCurve, Use, Watch};
use super::stats::{COALESCED, LOAD_FAILURES, LOAD_NANOS, LOADS};
use super::table::{Entry, NEVER};
use super::{CacheStats, Expiry, Policy};
use crate::hash::TableHasher;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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
    pub(super) shards: Box<[Locked<K, V>]>,
    /// The number of shards is two to the power of this.
    shard_bits: u32,
    pub(super) hasher: TableHasher,
    pub(super) clock: Clock,
    pub(super) budget: Budget,
    /// The bounds, as they are shown to users and held against single entries.
    pub(super) max_entries: AtomicU64,
    pub(super) max_weight: AtomicU64,
    pub(super) times: Times,
    /// Whether every entry weighs 1 and lives for ever unless a call says
    /// otherwise.
    pub(super) is_plain: bool,
    pub(super) hooks: Hooks<K, V>,
    /// Estimates what another size would bring, if it was asked to.
    watch: Option<Box<Watch>>,
    /// Reads of keys whose hash ends in a number not above this are seen to
    /// with more care: the sampled ones, and all if there is a hook to be told
    /// of them.
    attend_to: AtomicU32,
    /// The shard that is swept next.
    pub(super) sweep_next: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) loads: Counters<4>,
}

/// A shard behind its lock.
pub(super) type Locked<K, V> = Padded<Mutex<Shard<K, V>>>;

/// Keeps neighbours off one another's cache lines, which are fetched in pairs.
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

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
            attend_to: AtomicU32::new(if hooks.expiry.is_some() { u32::MAX } else { 0 }),
            hooks,
            watch: None,
            sweep_next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            loads: Counters::new(),
        }
    }

    /// The same, with an eye on what other sizes would bring.
    pub(super) fn watched_by(mut self, watch: Box<Watch>) -> Self {
        self.follow(&watch);
        self.watch = Some(watch);
        self
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
    pub(super) fn shard_of(&self, hash: u64) -> usize {
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
        if shard.table.is_timed() || self.attends_to(hash) {
            return self.get_with_care(hash, key, shard, read);
        }
        let Some(slot) = shard.find(hash, key) else {
            shard.counts.misses += 1;
            return None;
        };
        shard.counts.hits += 1;
        let value = read(shard.table.slot_mut(slot));
        shard.touch(slot);
        value
    }

    /// [`get`](Self::get) where entries may expire, or the key is sampled.
    fn get_with_care<Q, R>(
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
        if found.is_none() {
            shard.counts.misses += 1;
        }
        let sweep_is_due = shard.sweep_is_due();
        let watched = self.watched(hash, &shard);
        self.release(shard, removed);
        if sweep_is_due {
            self.sweep_in_turn();
        }
        let what = if value.is_some() { Use::Hit } else { Use::Miss };
        self.note(hash, watched, what);
        if value.is_some() && self.hooks.expiry.is_some() {
            self.expire_after_read(hash, key, read_before);
        }
        value
    }

    /// Whether a call for the key of this hash has more to do than usual.
    #[inline]
    fn attends_to(&self, hash: u64) -> bool {
        // The upper half of its mark.
        hash as u32 <= self.attend_to.load(Ordering::Relaxed)
    }

    /// The look-ups that a shard has counted, if the key of this hash is
    /// sampled: to be [noted](Self::note) once the shard is released.
    #[inline]
    pub(super) fn watched(&self, hash: u64, shard: &Shard<K, V>) -> Option<u64> {
        self.attends_to(hash).then(|| shard.counts.lookups())
    }

    /// Notes what happened to a key, if it is sampled. No lock is held.
    #[inline]
    pub(super) fn note(&self, hash: u64, watched: Option<u64>, what: Use) {
        if let (Some(lookups), Some(watch)) = (watched, &self.watch)
            && mark(hash) < watch.below()
        {
            watch.note(mark(hash), what, self.shard_of(hash), lookups);
            self.follow(watch);
        }
    }

    /// Attends to what the watch wants to hear of from now on.
    fn follow(&self, watch: &Watch) {
        if self.hooks.expiry.is_none() {
            let below = (watch.below() >> 32) as u32;
            self.attend_to.store(below, Ordering::Relaxed);
        }
    }

    /// Every key has left.
    pub(super) fn note_clear(&self) {
        if let Some(watch) = &self.watch {
            watch.forget_keys();
        }
    }

    /// The estimate of what other sizes would bring.
    pub(super) fn sizing(&self) -> Option<MissRatioCurve> {
        let watch = self.watch.as_deref()?;
        let lookups = |shard: &Locked<K, V>| shard.0.lock().counts.lookups();
        let curve = watch.curve(self.shards.iter().map(lookups));
        self.follow(watch);
        let bound = self.max_entries.load(Ordering::Relaxed);
        Some(curve.with_present((bound != u64::MAX).then_some(bound)))
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

    /// Releases a shard, then hands what left it to the listener or drops it.
    #[inline]
    pub(super) fn release(&self, mut shard: MutexGuard<'_, Shard<K, V>>, removed: Removed<K, V>) {
        // One in, one out leaves nothing over where every entry weighs the same.
        let uneven = shard.used.entries != shard.held.entries || self.hooks.weigher.is_some();
        if uneven && !removed.is_empty() {
            self.give_back(&mut shard);
        }
        drop(shard);
        self.settle(removed);
    }

    /// Gives budget that a shard no longer needs back to the pot.
    pub(super) fn give_back(&self, shard: &mut Shard<K, V>) {
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

/// How long there is from `now` to a deadline; `None` for ever.
pub(super) fn remaining(deadline: u64, now: Instant) -> Option<Duration> {
    (deadline != NEVER).then(|| Instant::from_nanos(deadline).saturating_since(now))
}

/// A hash with the bits in front that choose whether its key is sampled: the
/// lower half, since the upper bits choose the shard, and a sample must have
/// keys of all shards. That it may favour some buckets does not matter.
#[inline]
fn mark(hash: u64) -> u64 {
    hash.rotate_left(32)
}
