//! The flights of one shard.

use std::sync::Arc;
use std::task::Waker;

use super::landing::{Abandoned, Landing};
use super::line::{Boarding, Flight};
use super::notes::Notes;
use super::running::{self, FlightId, FlightIds, ThreadNumber};
use super::start::{Bypassed, Caller, Follower, Join, Seat, Start, Terms};
use crate::time::Instant;

/// A table of flights. It knows nothing of locks: it lives in its owner's
/// shard, under the owner's lock, beside the values it guards.
///
/// An empty table holds no memory, and so does one that was left by a storm.
pub(crate) struct Flights<K, V> {
    /// At most one entry per key is attached; detached ones stay until their
    /// leader lands or gives up.
    table: Notes<Note<K, V>>,
    ids: FlightIds,
}

impl<K, V> Flights<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            table: Notes::new(),
            ids: FlightIds::new(),
        }
    }

    /// Tells whether nothing is loading, detached flights included.
    #[cfg(all(test, not(tenfold_shuttle)))]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Counts the flights, detached ones included.
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
    #[inline]
    pub(crate) fn land(&mut self, hash: u64, ticket: &Ticket) -> Landing<K, V> {
        let note = self.remove(hash, ticket);
        // Not there: the lease ended, and another leads now.
        let Some(note) = note else {
            return Landing {
                key: None,
                attached: false,
                elsewhere: false,
                flight: None,
            };
        };
        Landing {
            key: Some(note.key),
            attached: note.attached,
            elsewhere: matches!(note.led_by, LedBy::Task | LedBy::WantedTask),
            flight: note.flight,
        }
    }

    /// The key of the flight that this ticket leads.
    pub(crate) fn key(&self, hash: u64, ticket: &Ticket) -> Option<&K> {
        let note = self.table.find(hash, |note| note.is_led_by(ticket))?;
        Some(&note.key)
    }

    /// The same, if its value is still wanted.
    pub(crate) fn attached_key(&self, hash: u64, ticket: &Ticket) -> Option<&K> {
        let note = self.table.find(hash, |note| note.is_led_by(ticket))?;
        note.attached.then_some(&note.key)
    }

    /// Hands a flight without a leader to one of its waiters, or ends it when
    /// nobody is there who could lead. The answer must be announced outside of
    /// the owner's lock. Whose lease ended, and who was replaced, changes nothing.
    pub(crate) fn abandon(&mut self, hash: u64, ticket: &Ticket) -> Abandoned<K, V> {
        let Some(note) = self.table.find_mut(hash, |note| note.is_led_by(ticket)) else {
            return Abandoned::NOTHING;
        };
        let promoted = note
            .flight
            .as_ref()
            .and_then(|flight| flight.line().promote());
        if let Some(promotion) = promoted {
            note.polled_on = promotion.polled_on;
            note.comes_home();
            return Abandoned {
                waker: promotion.waker,
                ..Abandoned::NOTHING
            };
        }
        let Some(note) = self.remove(hash, ticket) else {
            return Abandoned::NOTHING;
        };
        Abandoned {
            key: Some(note.key),
            orphans: note.flight,
            waker: None,
        }
    }

    /// Gives this caller the place of a leader whose lease has ended by `now`.
    /// From then on the old leader's ticket opens nothing.
    pub(super) fn take_over(
        &mut self,
        hash: u64,
        id: FlightId,
        caller: Caller,
        terms: &Terms,
    ) -> TakeOver {
        let Some(note) = self.table.find_mut(hash, |note| note.id == id) else {
            return TakeOver::Over;
        };
        if note.lease_ends > terms.now {
            return TakeOver::Renewed;
        }
        TakeOver::Lead(note.hand_over(caller, terms))
    }

    /// Starts a new lease for the flight that this ticket leads.
    pub(crate) fn renew(&mut self, hash: u64, ticket: &Ticket, lease_ends: Instant) {
        if let Some(note) = self.table.find_mut(hash, |note| note.is_led_by(ticket)) {
            note.lease_ends = lease_ends;
            if let Some(flight) = &note.flight {
                flight.line().lease_ends = lease_ends;
            }
        }
    }

    /// Puts a leader, whose loader runs elsewhere, into its own line.
    pub(super) fn follow(
        &mut self,
        hash: u64,
        ticket: &Ticket,
        caller: Caller,
    ) -> Option<Follower<V>> {
        let note = self.table.find_mut(hash, |note| note.is_led_by(ticket))?;
        // Whoever comes to run it will say where.
        note.polled_on = None;
        note.led_by = LedBy::Task;
        Some(note.stand_in_line(caller, Seat::Guest))
    }

    /// Whether the leader is a task that cannot go on while this thread blocks.
    pub(super) fn is_suspended_here(&self, hash: u64, id: FlightId) -> bool {
        let found = self.table.find(hash, |note| note.id == id);
        found.is_some_and(|note| note.is_suspended_under(Caller::Thread))
    }

    /// Ends the flight as soon as nobody waits for it: see [`stays`](Self::stays).
    pub(super) fn make_cancellable(&mut self, hash: u64, ticket: &Ticket) {
        if let Some(note) = self.table.find_mut(hash, |note| note.is_led_by(ticket)) {
            note.led_by = LedBy::WantedTask;
        }
    }

    /// Tells a leader that was given away whether its flight is still wanted,
    /// and remembers whom to wake when it is not. Gives back a waker to be
    /// dropped outside of the lock.
    pub(super) fn stays(
        &mut self,
        hash: u64,
        ticket: &Ticket,
        waker: Waker,
    ) -> Result<Option<Waker>, Waker> {
        let found = self.table.find(hash, |note| note.is_led_by(ticket));
        match found.and_then(|note| note.flight.as_ref()) {
            Some(flight) => Ok(flight.line().task.replace(waker)),
            None => Err(waker),
        }
    }

    /// Ends a cancellable flight for which nobody waits any more. What comes
    /// back is to be announced outside of the lock.
    pub(super) fn end_unwanted(&mut self, hash: u64, id: FlightId) -> Abandoned<K, V> {
        let unwanted = |note: &Note<K, V>| {
            note.id == id && note.led_by == LedBy::WantedTask && note.waiters() == 0
        };
        let Some(note) = self.table.remove(hash, unwanted) else {
            return Abandoned::NOTHING;
        };
        let waker = note.flight.as_ref().and_then(|f| f.line().task.take());
        Abandoned {
            key: Some(note.key),
            orphans: note.flight,
            waker,
        }
    }

    /// Counts one more panic of a loader of this flight, and returns how many
    /// there were.
    pub(crate) fn count_fall(&mut self, hash: u64, ticket: &Ticket) -> u16 {
        let found = self.table.find_mut(hash, |note| note.is_led_by(ticket));
        found.map_or(1, |note| {
            note.falls = note.falls.saturating_add(1);
            note.falls
        })
    }

    /// Stands in the line of a key's flight without ever leading it.
    pub(crate) fn join(
        &mut self,
        hash: u64,
        is_key: impl Fn(&K) -> bool,
        caller: Caller,
        max_waiters: usize,
    ) -> Join<V> {
        let found = self
            .table
            .find_mut(hash, |note| note.answers(hash, &is_key));
        let Some(note) = found.filter(|note| note.led_by != LedBy::Borrower) else {
            return Join::Nothing;
        };
        if running::is_running(note.id) {
            return Join::Reentrant;
        }
        // It could not lead in that task's stead.
        if note.is_suspended_under(caller) {
            return Join::Suspended;
        }
        if note.waiters() >= max_waiters {
            return Join::Full;
        }
        Join::Follow(note.stand_in_line(caller, Seat::Guest))
    }

    /// Counts who stands in line for a key.
    #[cfg(all(test, not(tenfold_shuttle)))]
    pub(super) fn waiting(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> usize {
        let found = self.table.find(hash, |note| note.answers(hash, &is_key));
        found.map_or(0, Note::waiters)
    }

    /// Remembers the thread that polls the leader's task.
    pub(super) fn polled_on(&mut self, hash: u64, ticket: &Ticket, thread: Option<ThreadNumber>) {
        if let Some(note) = self.table.find_mut(hash, |note| note.is_led_by(ticket)) {
            note.polled_on = thread;
        }
    }

    #[inline]
    fn remove(&mut self, hash: u64, ticket: &Ticket) -> Option<Note<K, V>> {
        self.table.remove(hash, |note| note.is_led_by(ticket))
    }
}

impl<K: Eq, V> Flights<K, V> {
    /// Joins the flight of a key, or leads a new one. The owner calls it when
    /// it found no value, under the same lock.
    #[inline]
    pub(crate) fn start(&mut self, hash: u64, key: K, caller: Caller) -> Start<K, V> {
        self.start_on(hash, key, caller, &Terms::NONE)
    }

    /// The same, on terms of the owner's.
    #[inline]
    pub(crate) fn start_on(
        &mut self,
        hash: u64,
        key: K,
        caller: Caller,
        terms: &Terms,
    ) -> Start<K, V> {
        if !self.table.is_empty()
            && let Some(note) = self.find_key(hash, &key)
        {
            if note.led_by != LedBy::Borrower {
                return note.join(key, caller, terms);
            }
            // Who holds it may be this very thread, or nobody any more.
            note.attached = false;
        }
        let id = self.ids.next();
        let note = Note::new(hash, key, id, caller.polled_on(), terms.lease_ends);
        self.table.insert(hash, note, |note| note.hash);
        Start::Lead(Ticket { id, turn: 0 }, None)
    }

    /// Lends the right to land to a caller outside of any loader; gives the
    /// key back if it is lent to somebody else, or a load is under way. Nobody
    /// ever waits for a flight that is lent: a load detaches it and starts.
    pub(crate) fn lend(&mut self, hash: u64, key: K, terms: &Terms) -> Result<Ticket, K> {
        if let Some(note) = self.find_key(hash, &key) {
            if note.led_by != LedBy::Borrower || terms.now < note.lease_ends {
                return Err(key);
            }
            note.attached = false;
        }
        let id = self.ids.next();
        let mut note = Note::new(hash, key, id, None, terms.lease_ends);
        note.led_by = LedBy::Borrower;
        self.table.insert(hash, note, |note| note.hash);
        Ok(Ticket { id, turn: 0 })
    }

    /// Leads a flight of the key, if there is none; gives the key back if one
    /// is under way. Who leads runs the loader elsewhere, and nobody waits yet.
    pub(crate) fn lead(&mut self, hash: u64, key: K, terms: &Terms) -> Result<Ticket, K> {
        if self.find_key(hash, &key).is_some() {
            return Err(key);
        }
        let id = self.ids.next();
        let mut note = Note::new(hash, key, id, None, terms.lease_ends);
        note.led_by = LedBy::Task;
        self.table.insert(hash, note, |note| note.hash);
        Ok(Ticket { id, turn: 0 })
    }

    fn find_key(&mut self, hash: u64, key: &K) -> Option<&mut Note<K, V>> {
        self.table
            .find_mut(hash, |note| note.answers(hash, |known| known == key))
    }
}

/// What became of an attempt to replace a leader whose lease has ended.
pub(super) enum TakeOver {
    Lead(Ticket),
    /// Somebody else was first, or the leader got more time.
    Renewed,
    /// The flight has left the table: its outcome is on its way.
    Over,
}

/// The right to land a flight: one per flight at a time, never copied.
#[derive(Debug)]
#[must_use = "a flight whose ticket is lost never ends"]
pub(crate) struct Ticket {
    pub(super) id: FlightId,
    /// Counts the leaders whose lease ended and who were replaced, so that
    /// they can land no more.
    pub(super) turn: u32,
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
    led_by: LedBy,
    /// The leaders whose loaders panicked so far.
    falls: u16,
    /// The leaders that were replaced so far.
    turn: u32,
    /// When one of those who wait may take the leader's place.
    lease_ends: Instant,
    /// Created by the first follower.
    flight: Option<Arc<Flight<V>>>,
}

/// Who runs the loader of a flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LedBy {
    /// A caller, on its own account.
    Caller,
    /// A task that the leader was given to: no caller's.
    Task,
    /// One that shall end when nobody waits for it any more.
    WantedTask,
    /// Somebody outside of any loader, who may come back or not.
    Borrower,
}

impl<K, V> Note<K, V> {
    #[inline]
    fn new(
        hash: u64,
        key: K,
        id: FlightId,
        polled_on: Option<ThreadNumber>,
        lease_ends: Instant,
    ) -> Self {
        Self {
            hash,
            key,
            id,
            attached: true,
            polled_on,
            led_by: LedBy::Caller,
            falls: 0,
            turn: 0,
            lease_ends,
            flight: None,
        }
    }

    #[inline]
    fn answers(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> bool {
        self.attached && self.hash == hash && is_key(&self.key)
    }

    #[inline]
    fn is_led_by(&self, ticket: &Ticket) -> bool {
        self.id == ticket.id && self.turn == ticket.turn
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            id: self.id,
            turn: self.turn,
        }
    }

    fn waiters(&self) -> usize {
        self.flight.as_ref().map_or(0, |flight| flight.line().len())
    }

    /// Whether the leader is a task that cannot go on while this caller blocks.
    fn is_suspended_under(&self, caller: Caller) -> bool {
        caller == Caller::Thread
            && self.polled_on.is_some()
            && self.polled_on == ThreadNumber::here()
    }

    fn join(&mut self, key: K, caller: Caller, terms: &Terms) -> Start<K, V> {
        if running::is_running(self.id) {
            return Start::Reentrant(key);
        }
        let overdue = self.lease_ends <= terms.now;
        let suspended = self.is_suspended_under(caller);
        let boarding = match &self.flight {
            Some(flight) if overdue || suspended => flight.claim().then_some(Boarding::Claimed),
            Some(flight) => Some(flight.board(caller, Seat::Heir, terms.max_waiters)),
            None => None,
        };
        match boarding {
            Some(Boarding::Claimed) => {
                self.polled_on = caller.polled_on();
                self.comes_home();
                Start::Lead(self.ticket(), Some(key))
            }
            Some(Boarding::Full) => Start::Full(key),
            Some(Boarding::Waits(waiter)) => Start::Follow(Follower(waiter), key),
            None if overdue => Start::Lead(self.hand_over(caller, terms), Some(key)),
            None if suspended => Start::Alone(Bypassed(self.id), key),
            None => Start::Follow(self.stand_in_line(caller, Seat::Heir), key),
        }
    }

    fn stand_in_line(&mut self, caller: Caller, seat: Seat) -> Follower<V> {
        let (ticket, lease_ends) = (self.ticket(), self.lease_ends);
        let flight = self
            .flight
            .get_or_insert_with(|| Arc::new(Flight::new(&ticket, lease_ends)));
        Follower(flight.join(caller, seat))
    }

    /// Whoever leads from now on is a caller, and ends with its call.
    fn comes_home(&mut self) {
        self.led_by = LedBy::Caller;
    }

    fn hand_over(&mut self, caller: Caller, terms: &Terms) -> Ticket {
        self.turn += 1;
        self.lease_ends = terms.lease_ends;
        self.polled_on = caller.polled_on();
        self.comes_home();
        if let Some(flight) = &self.flight {
            flight.line().hand_over(self.turn, terms.lease_ends);
        }
        self.ticket()
    }
}
