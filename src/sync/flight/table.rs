//! The flights of one shard.

use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::line::{Flight, Waiter};
use super::load::Outcome;
use super::running::{self, FlightId, ThreadNumber};

/// A table of flights. It knows nothing of locks: it lives in its owner's
/// shard, under the owner's lock, beside the values it guards.
///
/// An empty table holds no memory, and so does one that was left by a storm.
pub(crate) struct Flights<K, V> {
    /// At most one entry per key is attached; detached ones stay until their
    /// leader lands or gives up.
    table: HashTable<Note<K, V>>,
}

impl<K, V> Flights<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            table: HashTable::new(),
        }
    }

    /// Tells whether nothing is loading, detached flights included.
    #[cfg(all(test, not(tenfold_shuttle)))]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Counts the flights, detached ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Detaches the flight of a key: who waits gets its value, which will not
    /// be stored; who comes from now on starts afresh. Returns whether there
    /// was one. The owner calls it whenever it writes or removes the key.
    pub(crate) fn detach(&mut self, hash: u64, is_key: impl Fn(&K) -> bool) -> bool {
        // Nearly every write finds nothing loading.
        if self.table.is_empty() {
            return false;
        }
        let found = self
            .table
            .find_mut(hash, |note| note.answers(hash, &is_key));
        found.map(|note| note.attached = false).is_some()
    }

    /// Detaches every flight.
    pub(crate) fn detach_all(&mut self) {
        self.table.iter_mut().for_each(|note| note.attached = false);
    }

    /// Ends a flight and gives its key back. The ticket is an identity: an old
    /// leader never ends a newer flight of the same key.
    ///
    /// The owner stores the value under this same lock if [`Landing::take_key`]
    /// yields the key, and calls [`Landing::deliver`] when it has let go of it.
    pub(crate) fn land(&mut self, hash: u64, ticket: &Ticket) -> Landing<K, V> {
        let note = self.remove(hash, ticket.0);
        debug_assert!(note.is_some(), "a ticket lands once");
        let Some(note) = note else {
            return Landing {
                key: None,
                attached: false,
                flight: None,
            };
        };
        Landing {
            key: Some(note.key),
            attached: note.attached,
            flight: note.flight,
        }
    }

    /// The key of the flight that this ticket leads.
    pub(crate) fn key(&self, hash: u64, ticket: &Ticket) -> Option<&K> {
        let note = self.table.find(hash, |note| note.id == ticket.0)?;
        Some(&note.key)
    }

    /// The same, if its value is still wanted.
    pub(crate) fn attached_key(&self, hash: u64, ticket: &Ticket) -> Option<&K> {
        let note = self.table.find(hash, |note| note.id == ticket.0)?;
        note.attached.then_some(&note.key)
    }

    /// Hands a flight without a leader to one of its waiters, or ends it when
    /// nobody waits. The answer must be announced outside of the owner's lock.
    pub(crate) fn abandon(&mut self, hash: u64, ticket: &Ticket) -> Abandoned<K> {
        let Some(note) = self.table.find_mut(hash, |note| note.id == ticket.0) else {
            return Abandoned {
                key: None,
                waker: None,
            };
        };
        if let Some(promotion) = note.flight.as_ref().and_then(|flight| flight.promote()) {
            note.polled_on = promotion.polled_on;
            return Abandoned {
                key: None,
                waker: promotion.waker,
            };
        }
        let key = self.remove(hash, ticket.0).map(|note| note.key);
        Abandoned { key, waker: None }
    }

    /// Counts who stands in line for a key.
    #[cfg(all(test, not(tenfold_shuttle)))]
    pub(super) fn waiting(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> usize {
        let found = self.table.find(hash, |note| note.answers(hash, &is_key));
        found
            .and_then(|note| note.flight.as_ref())
            .map_or(0, |flight| flight.waiters())
    }

    /// Remembers the thread that polls the leader's task.
    pub(super) fn polled_on(&mut self, hash: u64, ticket: &Ticket, thread: Option<ThreadNumber>) {
        if let Some(note) = self.table.find_mut(hash, |note| note.id == ticket.0) {
            note.polled_on = thread;
        }
    }

    fn remove(&mut self, hash: u64, id: FlightId) -> Option<Note<K, V>> {
        let (note, _) = self
            .table
            .find_entry(hash, |note| note.id == id)
            .ok()?
            .remove();
        if self.table.is_empty() && self.table.capacity() > KEPT_CAPACITY {
            self.table = HashTable::new();
        }
        Some(note)
    }
}

impl<K: Eq, V> Flights<K, V> {
    /// Joins the flight of a key, or leads a new one. The owner calls it when
    /// it found no value, under the same lock.
    pub(crate) fn start(&mut self, hash: u64, key: K, caller: Caller) -> Start<K, V> {
        let is_key = |note: &Note<K, V>| note.answers(hash, |known| *known == key);
        match self.table.entry(hash, is_key, |note| note.hash) {
            Entry::Occupied(mut note) => note.get_mut().join(key, caller),
            Entry::Vacant(space) => {
                let id = FlightId::next();
                let polled_on = caller.polled_on();
                space.insert(Note {
                    hash,
                    key,
                    id,
                    attached: true,
                    polled_on,
                    flight: None,
                });
                Start::Lead(Ticket(id), None)
            }
        }
    }
}

/// How a call for a key that may have no value begins.
pub(crate) enum Start<K, V> {
    /// The owner had the value.
    Found(V),
    /// This caller leads. A key comes back if the table has it already.
    Lead(Ticket, Option<K>),
    /// Somebody leads; wait, and keep the key for the case that it fails.
    Follow(Follower<V>, K),
    /// The leader cannot finish while this thread waits: load without it.
    Alone(Bypassed, K),
    /// This very caller leads, further up its stack.
    Reentrant(K),
}

/// A caller's place in line, for the drivers.
pub(crate) struct Follower<V>(pub(super) Waiter<V>);

/// The flight that a caller passes by, for the drivers.
pub(crate) struct Bypassed(pub(super) FlightId);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A thread that will block.
    Thread,
    /// A task that will be polled.
    Task,
}

impl Caller {
    /// The calling thread, if the caller is a task on it.
    pub(super) fn polled_on(self) -> Option<ThreadNumber> {
        match self {
            Self::Thread => None,
            Self::Task => ThreadNumber::here(),
        }
    }
}

/// The right to land a flight: one per flight at a time, never copied.
#[derive(Debug)]
#[must_use = "a flight whose ticket is lost never ends"]
pub(crate) struct Ticket(pub(super) FlightId);

/// A flight that has left the table and whose waiters are still in line.
/// Dropped undelivered, as by a panic, it sends them back to the start.
#[must_use = "the waiters are still waiting"]
pub(crate) struct Landing<K, V> {
    key: Option<K>,
    attached: bool,
    flight: Option<Arc<Flight<V>>>,
}

impl<K, V> Landing<K, V> {
    /// The key to store the value under; `None` if the flight was detached.
    pub(crate) fn take_key(&mut self) -> Option<K> {
        if self.attached { self.key.take() } else { None }
    }

    /// The key that was not taken, to start again with or to drop.
    pub(crate) fn leftover_key(&mut self) -> Option<K> {
        self.key.take()
    }
}

impl<K, V: Clone> Landing<K, V> {
    /// Gives the outcome to all who wait, if anybody does, and wakes them.
    /// To be called outside of the owner's lock.
    pub(crate) fn deliver(mut self, outcome: &Outcome<V>) {
        let awaited = self
            .flight
            .as_ref()
            .is_some_and(|flight| flight.waiters() > 0);
        if !awaited {
            return;
        }
        // Before the flight is taken: if this clone panics, dropping `self`
        // still tells the waiters.
        let outcome = outcome.clone();
        if let Some(flight) = self.flight.take() {
            flight.land(outcome);
        }
    }
}

impl<K, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.lose();
        }
    }
}

/// What is left to do when a leader gave up.
#[must_use = "the promoted waiter does not know yet"]
pub(crate) struct Abandoned<K> {
    /// The key of a flight that ended, to be dropped outside of the lock.
    key: Option<K>,
    waker: Option<Waker>,
}

impl<K> Abandoned<K> {
    /// Wakes the promoted waiter. To be called outside of the owner's lock.
    pub(crate) fn announce(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
        drop(self.key);
    }
}

/// One flight in the table.
struct Note<K, V> {
    hash: u64,
    key: K,
    id: FlightId,
    /// Whether callers of the key find this flight, and its value is stored.
    attached: bool,
    /// The thread that last polled the leader's task; `None` if the leader is
    /// a thread. What is suspended there cannot go on while that thread blocks.
    polled_on: Option<ThreadNumber>,
    /// Created by the first follower.
    flight: Option<Arc<Flight<V>>>,
}

impl<K, V> Note<K, V> {
    fn answers(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> bool {
        self.attached && self.hash == hash && is_key(&self.key)
    }

    fn join(&mut self, key: K, caller: Caller) -> Start<K, V> {
        if running::is_running(self.id) {
            return Start::Reentrant(key);
        }
        if self.flight.as_ref().is_some_and(|flight| flight.claim()) {
            self.polled_on = caller.polled_on();
            return Start::Lead(Ticket(self.id), Some(key));
        }
        let suspended_here = self.polled_on.is_some() && self.polled_on == ThreadNumber::here();
        if caller == Caller::Thread && suspended_here {
            return Start::Alone(Bypassed(self.id), key);
        }
        let flight = self
            .flight
            .get_or_insert_with(|| Arc::new(Flight::new(self.id)));
        Start::Follow(Follower(flight.join(caller)), key)
    }
}

/// Entries up to which an empty table keeps its memory for the next flights.
const KEPT_CAPACITY: usize = 64;
