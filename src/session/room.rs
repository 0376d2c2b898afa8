//! Room for sessions: who may come, who has to leave, and what is over.

use super::builder::{OnFull, PerUser};
use super::entry::Entry;
use super::error::CreateError;
use super::owners::LockedRow;
use super::revocations::Record;
use super::shard::Shard;
use super::stats::Count;
use super::store::{ATTEMPTS, MemoryStore};
use super::user_id::UserId;
use crate::sync::atomic::Ordering;

/// What a [`sweep`](MemoryStore::sweep) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Slots it looked at.
    pub looked: usize,
    /// Sessions it took out.
    pub removed: usize,
}

impl MemoryStore {
    /// Looks at the next `budget` slots and frees what is over: from any thread, as often as
    /// you like; a round is as many slots as the store ever had sessions at once. A lock
    /// is held for 32 slots at a time. Every new session sweeps a few slots too, so that
    /// the store stays bounded without this; calling it keeps memory lower.
    pub fn sweep(&self, budget: usize) -> Swept {
        let mut swept = Swept::default();
        // Room for all that one hold may take out: it would grow under the lock.
        let mut out = Vec::with_capacity(HOLD.min(budget));
        let mut rounds = 0;
        while swept.looked < budget && rounds <= self.shards.len() {
            let at = self.sweep_at.load(Ordering::Relaxed);
            let hold = HOLD.min(budget - swept.looked);
            let mut shard = self.shards[at as usize % self.shards.len()].lock();
            let (looked, is_round) = self.sweep_shard(&mut shard, hold, &mut out);
            let waste = if is_round {
                shard.take_if_empty()
            } else {
                None
            };
            drop(shard);
            drop(waste);
            swept.looked += looked;
            swept.removed += out.len();
            self.counts.add(Count::Swept as usize, out.len() as u64);
            self.retire(out.drain(..));
            if is_round {
                rounds += 1;
                // Another sweep may have gone on already.
                let next = at.wrapping_add(1);
                let relaxed = Ordering::Relaxed;
                let _ = self.sweep_at.compare_exchange(at, next, relaxed, relaxed);
            }
        }
        swept
    }

    /// Counts a session that is about to be, if there is room.
    pub(super) fn reserve(&self) -> Result<(), CreateError> {
        let max = self.settings.max_sessions;
        let try_once = || {
            let held = self.held.0.fetch_add(1, Ordering::Relaxed);
            if held < max as u64 {
                return true;
            }
            self.release(1);
            false
        };
        if try_once() {
            return Ok(());
        }
        self.sweep(SWEEP_IF_FULL);
        for _ in 0..ATTEMPTS {
            if try_once() {
                return Ok(());
            }
            if self.settings.on_full == OnFull::Refuse || !self.evict_idle() {
                break;
            }
        }
        self.count(Count::Refused);
        Err(CreateError::Full { max })
    }

    /// Ends the session that was idle the longest among a few.
    fn evict_idle(&self) -> bool {
        let first = self.sweep_at.fetch_add(1, Ordering::Relaxed) as usize;
        for at in 0..self.shards.len() {
            let mut shard = self.shards[first.wrapping_add(at) % self.shards.len()].lock();
            let key = shard.idlest(SAMPLE);
            if let Some(entry) = key.and_then(|key| shard.remove(key)) {
                self.note(|scan| scan.revoked(Record::Session { key: entry.key }));
                drop(shard);
                self.retire([entry]);
                self.count(Count::Evicted);
                return true;
            }
        }
        false
    }

    /// Puts a session into the store, with its user's, if there is room for it there:
    /// else says how many there may be.
    pub(super) fn place(
        &self,
        mut entry: Entry,
        user: Option<&UserId>,
        now: u32,
        out: &mut Vec<Entry>,
    ) -> Result<(), usize> {
        let mut row = user.map(|user| self.lock_row(user));
        if let (Some(user), Some(row)) = (user, &mut row) {
            self.make_room(row, user, now, None, out)?;
            self.own(&mut entry, user, row);
        }
        // Under the row's lock: a revocation either sees this session there or
        // counts as before it.
        entry.stamp = self.epoch.load(Ordering::SeqCst);
        let mut shard = self.shard(entry.key);
        let due = self.settings.lifetime.end(&entry);
        shard.insert(entry, due);
        let before = out.len();
        self.sweep_shard(&mut shard, SWEEP_PER_CREATE, out);
        drop(shard);
        let swept = out.len() - before;
        self.counts.add(Count::Swept as usize, swept as u64);
        Ok(())
    }

    pub(super) fn lock_row(&self, user: &UserId) -> LockedRow<'_> {
        self.owners.lock(self.owners.hash(user))
    }

    /// Makes a session that is about to be put into the store a user's, whose row is locked.
    pub(super) fn own(&self, entry: &mut Entry, user: &UserId, row: &mut LockedRow<'_>) {
        row.push(entry.key);
        entry.user = Some(user.clone());
        entry.owner = row.owner();
        entry.generation = self.generations.of(entry.owner);
    }

    /// Makes room for one more session of a user, not counting `except`.
    pub(super) fn make_room(
        &self,
        row: &mut LockedRow<'_>,
        user: &UserId,
        now: u32,
        except: Option<u128>,
        out: &mut Vec<Entry>,
    ) -> Result<(), usize> {
        let max = self.settings.max_per_user;
        if row.len() < max {
            return Ok(());
        }
        let mut live = Vec::new();
        row.retain(|key| {
            let shard = self.shard(key);
            let entry = shard.get(key);
            let entry = entry.filter(|entry| self.is_live(entry, now));
            if let Some(entry) = entry
                && entry.user.as_ref() == Some(user)
                && Some(key) != except
            {
                live.push((entry.created, entry.seen, key));
            }
            entry.is_some()
        });
        if live.len() < max {
            return Ok(());
        }
        if self.settings.per_user == PerUser::Refuse {
            return Err(max);
        }
        live.sort_unstable();
        let too_many = live.len() + 1 - max;
        for &(_, _, key) in &live[..too_many] {
            row.remove(key);
            let mut shard = self.shard(key);
            if let Some(entry) = shard.remove(key) {
                self.note(|scan| scan.revoked(Record::Session { key }));
                out.push(entry);
                self.count(Count::Evicted);
            }
        }
        Ok(())
    }

    fn sweep_shard(&self, shard: &mut Shard, slots: usize, out: &mut Vec<Entry>) -> (usize, bool) {
        let (lifetime, now) = (self.settings.lifetime, self.now());
        // Not whether their users were logged out everywhere: that has taken them out itself, and
        // to look it up for each would be most of the time.
        shard.sweep(slots, now, |entry| lifetime.end(entry), out)
    }

    /// Counts sessions out that were removed, and takes them from their users' lists.
    /// Called without any lock.
    pub(super) fn retire(&self, out: impl IntoIterator<Item = Entry, IntoIter: ExactSizeIterator>) {
        let out = out.into_iter();
        self.release(out.len());
        for entry in out {
            if entry.user.is_some() {
                self.owners.lock(entry.owner).remove(entry.key);
            }
        }
    }

    pub(super) fn hold(&self, sessions: usize) {
        self.held.0.fetch_add(sessions as u64, Ordering::Relaxed);
    }

    pub(super) fn release(&self, sessions: usize) {
        self.held.0.fetch_sub(sessions as u64, Ordering::Relaxed);
    }
}

/// Slots that are looked at under one lock.
const HOLD: usize = 32;
/// Slots that a new session looks at: a round takes a quarter as many new sessions as
/// there are slots.
const SWEEP_PER_CREATE: usize = 4;
/// Slots that are looked at before a new session is refused.
const SWEEP_IF_FULL: usize = 1024;
/// Sessions among which the one to evict is chosen.
const SAMPLE: usize = 16;
