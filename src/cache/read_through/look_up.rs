//! Reading and changing one entry under its shard's lock. What is cloned or
//! dropped here is the user's `Clone`, as in the cache below; no loader runs.

use std::borrow::Borrow;
use std::hash::Hash;

use super::cached::{Cached, StandIn};
use super::rules::{Moment, Rules, State};
use crate::cache::core::Core;
use crate::cache::removal::{RemovalCause, Removed};
use crate::cache::sizing::Use;
use crate::cache::tagged::Tags;
use crate::time::Instant;

/// What a look-up found.
pub(super) enum Found<V> {
    /// An answer.
    Serves(Served<V>),
    /// An answer, and the duty to refresh it: nobody else is told so until the
    /// next attempt is due.
    RefreshDue(Served<V>),
    /// Nothing that answers, but something to show the loader.
    Stale(Cached<V>),
    Nothing,
}

impl<V> Found<V> {
    pub(super) fn into_stale(self) -> Option<Cached<V>> {
        match self {
            Self::Stale(stale) => Some(stale),
            Self::Serves(_) | Self::RefreshDue(_) | Self::Nothing => None,
        }
    }
}

/// An answer from the cache.
pub(super) struct Served<V> {
    pub(super) value: Option<V>,
    pub(super) loaded_at: Instant,
    pub(super) stand_in: StandIn,
}

impl<K: Hash + Eq, V: Clone> Core<K, Cached<V>> {
    /// Reads an entry. `is_due` throws the dice for a refresh that may start
    /// and says when the next one may.
    #[inline]
    pub(super) fn look_up<Q>(
        &self,
        hash: u64,
        key: &Q,
        at: &Moment,
        rules: &Rules,
        tags: &Tags,
        next_attempt: impl FnOnce(&Cached<V>) -> Option<Instant>,
    ) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut watched = None;
        let found = self.find_counted(hash, key, at, rules, tags, next_attempt, &mut watched);
        let what = match found {
            Found::Serves(_) | Found::RefreshDue(_) => Use::Hit,
            Found::Stale(_) | Found::Nothing => Use::Miss,
        };
        self.note(hash, watched, what);
        found
    }

    /// Finds an entry and counts the look-up; sets `watched` if it is to be
    /// [noted](Self::note).
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "one step of `look_up`, taken apart"
    )]
    fn find_counted<Q>(
        &self,
        hash: u64,
        key: &Q,
        at: &Moment,
        rules: &Rules,
        tags: &Tags,
        next_attempt: impl FnOnce(&Cached<V>) -> Option<Instant>,
        watched: &mut Option<u64>,
    ) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut shard = self.lock(hash);
        let found = shard.find(hash, key);
        // Not the physical deadline: it is never before the end of this.
        if let Some(slot) = found
            && let Some(entry) = shard.table.entry(slot)
            && let cached = entry.value.get()
            && cached.is_quiet(at)
            && cached.has_valid_tags(tags)
        {
            let served = cached.served();
            shard.counts.hits += 1;
            shard.touch(slot);
            *watched = self.watched(hash, &shard);
            let sweep_is_due = shard.sweep_is_due();
            drop(shard);
            if sweep_is_due {
                self.sweep_in_turn();
            }
            return Found::Serves(served);
        }
        let Some(slot) = found else {
            shard.counts.misses += 1;
            *watched = self.watched(hash, &shard);
            return Found::Nothing;
        };
        let state = match shard.table.entry(slot) {
            Some(entry) => {
                let cached = entry.value.get();
                rules.state(cached, at, cached.has_valid_tags(tags))
            }
            None => State::Gone,
        };
        if matches!(state, State::Serves | State::RefreshDue) {
            shard.counts.hits += 1;
            shard.touch(slot);
        } else {
            shard.counts.misses += 1;
        }
        *watched = self.watched(hash, &shard);
        let Some(entry) = shard.table.entry_mut(slot) else {
            return Found::Nothing;
        };
        match state {
            State::Gone => Found::Nothing,
            State::Stale => Found::Stale(entry.value.get().clone().into_stale(at)),
            State::Serves => Found::Serves(entry.value.get().served()),
            State::RefreshDue => {
                let served = entry.value.get().served();
                let Some(next) = next_attempt(entry.value.get()) else {
                    return Found::Serves(served);
                };
                let (cached, old) = entry.value.get_mut();
                cached.quiet_until = next;
                drop(shard);
                drop(old);
                Found::RefreshDue(served)
            }
        }
    }

    /// Copies an entry that is good for anything at all; leaves no trace.
    pub(super) fn copy_entry(
        &self,
        hash: u64,
        key: &K,
        at: &Moment,
        rules: &Rules,
        tags: &Tags,
    ) -> Option<(Cached<V>, State)> {
        let shard = self.lock(hash);
        let slot = shard.find(hash, key)?;
        let cached = shard.table.entry(slot)?.value.get();
        match rules.state(cached, at, cached.has_valid_tags(tags)) {
            State::Gone => None,
            State::Stale => Some((cached.clone().into_stale(at), State::Stale)),
            state => Some((cached.clone(), state)),
        }
    }

    /// Lets a stale value answer until a moment, unless another has taken its
    /// place. Nothing has changed at the source, so a load under way stays
    /// attached.
    pub(super) fn let_stand_in(
        &self,
        hash: u64,
        key: &K,
        stale: &Cached<V>,
        until: Instant,
        epoch: u64,
    ) {
        let mut shard = self.lock(hash);
        if let Some(slot) = shard.find(hash, key)
            && let Some(entry) = shard.table.entry_mut(slot)
            && entry.value.get().loaded_at == stale.loaded_at
            && entry.value.get().quiet_until < until
        {
            let (cached, old) = entry.value.get_mut();
            cached.fresh_until = stale.fresh_until;
            cached.stand_in(StandIn::ForSlow, until, epoch);
            drop(shard);
            drop(old);
        }
    }

    /// Ends an entry's time, and detaches a load under way. Returns whether
    /// there was an entry that answered.
    pub(super) fn expire<Q>(&self, hash: u64, key: &Q, at: &Moment, rules: &Rules) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut shard = self.lock(hash);
        shard
            .flights
            .detach(hash, |other| other.get().borrow() == key);
        let Some(slot) = shard.find(hash, key) else {
            return false;
        };
        let Some(entry) = shard.table.entry_mut(slot) else {
            return false;
        };
        let served = entry.value.get().serves(at);
        let (cached, old) = entry.value.get_mut();
        cached.fresh_until = cached.fresh_until.min(at.now);
        cached.quiet_until = cached.quiet_until.min(at.now);
        let until = rules.keep_until(cached);
        let mut removed = Removed::new();
        if until > at.now {
            shard.table.set_deadline(slot, until.as_nanos());
        } else {
            shard.remove(slot, RemovalCause::Explicit, &self.hasher, &mut removed);
        }
        self.release(shard, removed);
        drop(old);
        served
    }

    /// Detaches every load under way.
    pub(super) fn detach_all(&self) {
        for shard in &self.shards {
            shard.0.lock().flights.detach_all();
        }
    }
}

impl<V: Clone> Cached<V> {
    #[inline]
    fn served(&self) -> Served<V> {
        Served {
            value: self.value.clone(),
            loaded_at: self.loaded_at,
            stand_in: self.stand_in,
        }
    }
}
