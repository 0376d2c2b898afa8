//! The smallest owner: a map and the flights under one mutex. The hash is the key.

use std::any::Any;
use std::collections::HashMap;
use std::panic::resume_unwind;

use super::*;
use crate::sync::Mutex;

pub(super) struct Store<V> {
    pub(super) shard: Mutex<Shard<V>>,
}

pub(super) struct Shard<V> {
    pub(super) values: HashMap<u64, V>,
    pub(super) flights: Flights<u64, V>,
}

#[cfg(not(tenfold_shuttle))]
pub(super) type Shop = Store<u64>;

/// A value that cannot be stored: the owner panics while it lands.
pub(super) const UNSTORABLE: u64 = u64::MAX;

impl<V: Clone + 'static> Store<V> {
    pub(super) fn new() -> Self {
        Self {
            shard: Mutex::new(Shard {
                values: HashMap::new(),
                flights: Flights::new(),
            }),
        }
    }

    pub(super) fn invalidate(&self, key: u64) -> bool {
        let mut shard = self.shard.lock();
        shard.values.remove(&key);
        shard.flights.detach(key, |known| *known == key)
    }

    pub(super) fn flights(&self) -> usize {
        self.shard.lock().flights.len()
    }
}

impl<V: Clone + 'static> Owner for Store<V> {
    type Key = u64;
    type Value = V;

    fn start(&self, hash: u64, key: u64, caller: Caller) -> Start<u64, V> {
        let mut shard = self.shard.lock();
        if let Some(value) = shard.values.get(&key) {
            return Start::Found(value.clone());
        }
        shard.flights.start(hash, key, caller)
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<V>) {
        let mut shard = self.shard.lock();
        let mut landing = shard.flights.land(hash, ticket);
        if let Outcome::Value(value) = outcome
            && let Some(key) = landing.take_key()
        {
            if (value as &dyn Any).downcast_ref() == Some(&UNSTORABLE) {
                drop(shard);
                quiet_panic()
            }
            shard.values.insert(key, value.clone());
        }
        drop(shard);
        landing.deliver(outcome);
    }

    fn with_flights<R>(&self, _: u64, act: impl FnOnce(&mut Flights<u64, V>) -> R) -> R {
        act(&mut self.shard.lock().flights)
    }
}

/// Unwinds without the panic hook's noise.
pub(super) fn quiet_panic() -> ! {
    resume_unwind(Box::new("on purpose"))
}
