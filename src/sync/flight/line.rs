//! The part of a flight that its callers share, and a place in its line.

use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use super::load::Outcome;
use super::running::{self, FlightId, ThreadNumber};
use super::table::{Caller, Ticket};
use crate::sync::{Mutex, thread};

/// What leader and followers share. It exists from the first follower on and
/// dies with the last one that holds it, and the outcome with it.
pub(super) struct Flight<V> {
    pub(super) id: FlightId,
    /// Written once, by the leader that lands, before `line` says `Landed`;
    /// read and cloned under no lock.
    outcome: OnceLock<Outcome<V>>,
    /// Taken alone or inside the owner's lock; no user code runs under it.
    line: Mutex<Line>,
}

impl<V> Flight<V> {
    pub(super) fn new(id: FlightId) -> Self {
        let line = Line {
            phase: Phase::Flying,
            places: Vec::new(),
            vacant: Vec::new(),
        };
        Self {
            id,
            outcome: OnceLock::new(),
            line: Mutex::new(line),
        }
    }

    /// Stands in line. Called under the owner's lock, so that a flight that
    /// has landed, and left the table, is never joined.
    pub(super) fn join(self: &Arc<Self>, caller: Caller) -> Waiter<V> {
        let polled_on = caller.polled_on();
        let place = self.line.lock().enter(Place {
            waker: None,
            polled_on,
        });
        Waiter {
            flight: Some(Arc::clone(self)),
            place,
            caller,
            polled: false,
        }
    }

    /// Makes one of the line its leader, or answers that nobody stands there.
    /// Called under the owner's lock; the waker must be woken outside of it.
    pub(super) fn promote(&self) -> Option<Promotion> {
        self.line.lock().promote()
    }

    /// Takes over a promotion that was not noticed yet: who asks is awake, the
    /// promoted one may not be. It stays in line.
    pub(super) fn claim(&self) -> bool {
        let mut line = self.line.lock();
        let free = matches!(line.phase, Phase::Promoted(_));
        if free {
            line.phase = Phase::Flying;
        }
        free
    }

    pub(super) fn waiters(&self) -> usize {
        self.line.lock().len()
    }

    /// Publishes the outcome. The leader's share goes before anybody is woken,
    /// so that the last to receive can take the outcome without a clone.
    pub(super) fn land(self: Arc<Self>, outcome: Outcome<V>) {
        let refused = self.outcome.set(outcome);
        debug_assert!(refused.is_ok(), "a flight lands once");
        let places = self.line.lock().close(Phase::Landed);
        drop(self);
        wake_all(places);
    }

    /// Sends the whole line back to the start: the leader left the table and
    /// then failed to deliver.
    pub(super) fn lose(self: Arc<Self>) {
        let places = self.line.lock().close(Phase::Lost);
        drop(self);
        wake_all(places);
    }
}

/// A place in line. It must be left with [`Waiter::leave`], for the promotion
/// may have come to it; its owner's guard sees to that.
pub(super) struct Waiter<V> {
    /// `None` once the verdict was given.
    flight: Option<Arc<Flight<V>>>,
    place: usize,
    caller: Caller,
    /// Whether the first poll is over; before it there is no waker to compare.
    polled: bool,
}

/// How a wait ended.
pub(super) enum Verdict<V> {
    /// The leader's outcome.
    Landed(Outcome<V>),
    /// The leader is gone: this caller leads now.
    Promoted(Ticket),
    /// The leader landed and could not deliver: start again.
    Lost,
}

impl<V: Clone> Waiter<V> {
    /// Blocks the thread until the flight is decided.
    pub(super) fn wait(&mut self) -> Verdict<V> {
        let waker = running::thread_waker();
        loop {
            if let Poll::Ready(verdict) = self.poll(&waker) {
                return verdict;
            }
            // Somebody else's unpark is a turn of the loop, no more.
            thread::park();
        }
    }

    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Verdict<V>> {
        let flight = self.flight.as_ref().expect("not polled after its verdict");
        // Cloning a waker is user code and so happens under no lock.
        let mut fresh = (!self.polled).then(|| waker.clone());
        self.polled = true;
        loop {
            let mut line = flight.line.lock();
            match line.phase {
                Phase::Landed => {
                    drop(line);
                    return Poll::Ready(self.receive());
                }
                Phase::Lost => return Poll::Ready(Verdict::Lost),
                Phase::Promoted(place) if place == self.place => {
                    let left = line.leave(place);
                    drop(line);
                    drop(left);
                    let ticket = Ticket(flight.id);
                    self.flight = None;
                    return Poll::Ready(Verdict::Promoted(ticket));
                }
                Phase::Promoted(_) | Phase::Flying => {}
            }
            let place = line.places[self.place]
                .as_mut()
                .expect("we stand in this place");
            place.polled_on = self.caller.polled_on();
            if place
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
            {
                return Poll::Pending;
            }
            if let Some(fresh) = fresh.take() {
                let old = place.waker.replace(fresh);
                drop(line);
                drop(old);
                return Poll::Pending;
            }
            drop(line);
            fresh = Some(waker.clone());
        }
    }

    fn receive(&mut self) -> Verdict<V> {
        let flight = self.flight.take().expect("not polled after its verdict");
        let outcome = match Arc::try_unwrap(flight) {
            Ok(last) => last.outcome.into_inner(),
            Err(shared) => shared.outcome.get().cloned(),
        };
        Verdict::Landed(outcome.expect("the outcome is written before the phase"))
    }
}

impl<V> Waiter<V> {
    pub(super) fn id(&self) -> Option<FlightId> {
        self.flight.as_ref().map(|flight| flight.id)
    }

    /// Steps out of the line, with the waker. Who had been promoted unawares
    /// gets the ticket, and must abandon it so that the next one is promoted.
    pub(super) fn leave(&mut self) -> Option<Ticket> {
        let flight = self.flight.take()?;
        let mut line = flight.line.lock();
        if matches!(line.phase, Phase::Landed | Phase::Lost) {
            return None;
        }
        let promoted = matches!(line.phase, Phase::Promoted(place) if place == self.place);
        let left = line.leave(self.place);
        drop(line);
        drop(left);
        promoted.then(|| Ticket(flight.id))
    }
}

/// The news for one waiter that it leads.
pub(super) struct Promotion {
    /// `None` if it has not been polled yet and so will see for itself.
    pub(super) waker: Option<Waker>,
    /// The thread its task was last polled on; `None` for a blocked thread.
    pub(super) polled_on: Option<ThreadNumber>,
}

struct Line {
    phase: Phase,
    /// Who waits, by place. Empty once `phase` is `Landed` or `Lost`.
    places: Vec<Option<Place>>,
    /// Places that were left; the next to come take them first.
    vacant: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// A leader is at work.
    Flying,
    /// This place leads, and has not noticed yet. It was woken, so it may lose
    /// the promotion again: it will look, and stay in line.
    Promoted(usize),
    Landed,
    Lost,
}

struct Place {
    waker: Option<Waker>,
    /// The thread this task was last polled on; `None` for a blocked thread.
    polled_on: Option<ThreadNumber>,
}

impl Line {
    fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    fn enter(&mut self, place: Place) -> usize {
        if let Some(index) = self.vacant.pop() {
            self.places[index] = Some(place);
            return index;
        }
        self.places.push(Some(place));
        self.places.len() - 1
    }

    /// Empties a place; if it was the promoted one, a leader is at work again:
    /// the one who just left, whatever it does with its ticket.
    fn leave(&mut self, index: usize) -> Option<Place> {
        if matches!(self.phase, Phase::Promoted(place) if place == index) {
            self.phase = Phase::Flying;
        }
        self.vacant.push(index);
        self.places[index].take()
    }

    fn promote(&mut self) -> Option<Promotion> {
        let blocked = |place: &Option<Place>| place.as_ref().is_some_and(|p| p.polled_on.is_none());
        let index = self
            .places
            .iter()
            .position(blocked)
            .or_else(|| self.places.iter().position(Option::is_some))?;
        self.phase = Phase::Promoted(index);
        let place = self.places[index].as_mut()?;
        Some(Promotion {
            waker: place.waker.take(),
            polled_on: place.polled_on,
        })
    }

    fn close(&mut self, phase: Phase) -> Vec<Option<Place>> {
        self.phase = phase;
        self.vacant = Vec::new();
        std::mem::take(&mut self.places)
    }
}

/// Wakes the line in one pass, outside of every lock. A waker that panics
/// takes nobody's wake-up with it.
fn wake_all(places: Vec<Option<Place>>) {
    struct Rest(std::vec::IntoIter<Option<Place>>);
    impl Rest {
        fn wake(&mut self) {
            for place in self.0.by_ref().flatten() {
                if let Some(waker) = place.waker {
                    waker.wake();
                }
            }
        }
    }
    impl Drop for Rest {
        fn drop(&mut self) {
            self.wake();
        }
    }
    Rest(places.into_iter()).wake();
}
