//! The near half of a tier: its own cache, where a newer version is never
//! replaced by an older one, and the flights that fill it.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use super::Version;
use super::item::Tiered;
use super::remote::Remote;
use super::tag_records::Standing;
use crate::cache::core::Core;
use crate::cache::expiry::Lifetime;
use crate::cache::load_key::LoadKey;
use crate::cache::removal::{RemovalCause, Removed};
use crate::cache::store::Put;
use crate::sync::flight::{Caller, Flights, Outcome, Owner, Start, Ticket};

impl<K: Hash + Eq, V: Clone> Core<K, Tiered<V>> {
    /// Stores an entry unless a newer one is there.
    pub(super) fn put_if_newer(&self, key: K, entry: Tiered<V>) {
        let hash = self.hash(&key);
        let with = self.attributes(hash, &key, &entry, Lifetime::Until(entry.expires));
        if !self.admits(with.weight) {
            let (key, entry) = self.refuse(key, entry, with.weight).into_entry();
            self.refuse_and_forget(key, entry);
            return;
        }
        let mut shard = self.lock(hash);
        let mut removed = Removed::new();
        let is_newer = self
            .find_live(&mut shard, hash, &key, &mut removed)
            .and_then(|slot| shard.table.entry(slot))
            .is_some_and(|present| present.value.get().version > entry.version);
        if is_newer {
            self.release(shard, removed);
            return;
        }
        shard.flights.detach(hash, |other| *other.get() == key);
        if let Put::Refused(refused) = self.put_locked(shard, hash, key, entry, with, removed) {
            let (key, entry) = refused.into_entry();
            self.notify(key, entry, RemovalCause::Refused);
        }
    }

    /// Removes an entry that is older than this version, and detaches a load of
    /// its key, which may be. An entry that is not older stays.
    pub(super) fn forget_older<Q>(&self, key: &Q, version: Version)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let mut shard = self.lock(hash);
        let mut removed = Removed::new();
        let slot = self.find_live(&mut shard, hash, key, &mut removed);
        let is_older = slot
            .and_then(|slot| shard.table.entry(slot))
            .is_none_or(|entry| entry.value.get().version < version);
        if is_older {
            shard
                .flights
                .detach(hash, |other| other.get().borrow() == key);
            if let Some(slot) = slot {
                shard.remove(slot, RemovalCause::Explicit, &self.hasher, &mut removed);
            }
        }
        self.release(shard, removed);
    }
}

/// A flight that ends in an entry with a life of its own, and begins where
/// there is none that is good.
pub(super) struct Fetch<'a, K, V> {
    pub(super) core: &'a Arc<Core<K, Tiered<V>>>,
    pub(super) remote: &'a Remote,
}

impl<K: Hash + Eq, V: Clone> Owner for Fetch<'_, K, V> {
    type Key = LoadKey<K>;
    type Value = Tiered<V>;

    fn start(&self, hash: u64, key: LoadKey<K>, caller: Caller) -> Start<LoadKey<K>, Tiered<V>> {
        let key = self.core.load_key(key);
        let mut shard = self.core.lock(hash);
        let mut removed = Removed::new();
        let good = self
            .core
            .find_live(&mut shard, hash, key.get(), &mut removed)
            .and_then(|slot| shard.table.entry(slot))
            .map(|entry| entry.value.get())
            // Locks the tags' records, a leaf.
            .filter(|entry| self.remote.standing(entry) == Standing::Good)
            .cloned();
        if let Some(entry) = good {
            self.core.release(shard, removed);
            drop(key);
            return Start::Found(entry);
        }
        let start = shard.flights.start(hash, key, caller);
        self.core.release(shard, removed);
        start
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<Tiered<V>>) {
        let now = self.core.clock.now();
        let entry = match outcome {
            Outcome::Value(entry) if entry.expires > now => Some(entry.clone()),
            Outcome::Value(_) | Outcome::Absent | Outcome::Failed(_) => None,
        };
        if let Some(entry) = entry {
            let lifetime = Lifetime::Until(entry.expires);
            let _ = self
                .core
                .land_value_for(hash, ticket, outcome, Some(entry), lifetime);
            return;
        }
        // A failed load says nothing about what is there; the others say that
        // it is no longer good.
        let is_gone = !matches!(outcome, Outcome::Failed(_));
        let mut shard = self.core.lock(hash);
        let mut landing = shard.flights.land(hash, ticket);
        let mut removed = Removed::new();
        let key = landing.take_key();
        if let Some(key) = &key
            && is_gone
            && let Some(slot) = shard.find(hash, key.get())
        {
            let hasher = &self.core.hasher;
            shard.remove(slot, RemovalCause::Explicit, hasher, &mut removed);
        }
        self.core.release(shard, removed);
        drop((key, landing.leftover_key()));
        landing.deliver(outcome);
    }

    fn with_flights<R>(
        &self,
        hash: u64,
        act: impl FnOnce(&mut Flights<LoadKey<K>, Tiered<V>>) -> R,
    ) -> R {
        self.core.with_flights(hash, act)
    }
}
