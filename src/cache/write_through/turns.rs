//! One writer of a key at a time.

use std::hash::{BuildHasher, Hash};

use crate::hash::TableHasher;
use crate::sync::Mutex;
use crate::sync::flight::{Caller, Flights, Outcome, Owner, Start, Ticket};

/// Where the writers of a key stand in line, threads and tasks in the same one.
///
/// A flight that never finds a value and whose outcome nobody wants: each
/// caller waits until it leads.
pub(super) struct Turns<K> {
    /// Each lock protects the flights of the keys whose hashes choose it.
    shards: Box<[Mutex<Flights<K, ()>>]>,
    hasher: TableHasher,
}

impl<K> Turns<K> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Flights::new())).collect();
        Self {
            shards,
            hasher: TableHasher::random(),
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Flights<K, ()>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl<K: Hash> Turns<K> {
    pub(super) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<K: Eq> Owner for Turns<K> {
    type Key = K;
    type Value = ();

    fn start(&self, hash: u64, key: K, caller: Caller) -> Start<K, ()> {
        self.shard(hash).lock().start(hash, key, caller)
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<()>) {
        let landing = self.shard(hash).lock().land(hash, ticket);
        landing.deliver(outcome);
    }

    fn with_flights<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<K, ()>) -> R) -> R {
        act(&mut self.shard(hash).lock())
    }
}

/// Enough that writers of different keys rarely meet at a lock, which they hold
/// for no longer than a look-up.
const SHARDS: usize = 64;
