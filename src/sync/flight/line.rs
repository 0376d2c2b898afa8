//! The part of a flight that its callers share: the line, and the outcome.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use super::lead::Outcome;
use super::running::{FlightId, ThreadNumber};
use super::start::{Caller, Seat};
use super::table::Ticket;
use super::waiter::Waiter;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Instant;

/// What leader and followers share. It exists from the first follower on and
/// dies with the last one that holds it, and the outcome with it.
pub(super) struct Flight<V> {
    pub(super) id: FlightId,
    /// Written once, by the leader that lands, before `line` says `Landed`;
    /// read and cloned under no lock, so that a herd that was woken together
    /// does not queue for one.
    pub(super) landed: OnceLock<Landed<V>>,
    /// Not zero once `landed` is written. The cell says so too, but neither the
    /// model checker nor the thread sanitizer looks into std's.
    has_landed: AtomicU32,
    /// Taken alone or inside the owner's lock; no user code runs under it.
    line: Mutex<Line>,
}

impl<V> Flight<V> {
    pub(super) fn new(ticket: &Ticket, lease_ends: Instant) -> Self {
        let line = Line {
            phase: Phase::Flying,
            turn: ticket.turn,
            lease_ends,
            task: None,
            places: Vec::new(),
            vacant: Vec::new(),
        };
        Self {
            id: ticket.id,
            landed: OnceLock::new(),
            has_landed: AtomicU32::new(0),
            line: Mutex::new(line),
        }
    }

    /// Stands in line. Called under the owner's lock, so that a flight that
    /// has landed, and left the table, is never joined.
    pub(super) fn join(self: &Arc<Self>, caller: Caller, seat: Seat) -> Waiter<V> {
        let place = self.line.lock().enter(Place {
            waker: None,
            polled_on: caller.polled_on(),
            may_lead: seat == Seat::Heir,
        });
        Waiter::new(Arc::clone(self), place, caller, seat)
    }

    /// Stands in line, unless there is a promotion to take over or no room.
    pub(super) fn board(self: &Arc<Self>, caller: Caller, seat: Seat, max: usize) -> Boarding<V> {
        let place = Place {
            waker: None,
            polled_on: caller.polled_on(),
            may_lead: seat == Seat::Heir,
        };
        let mut line = self.line.lock();
        if matches!(line.phase, Phase::Promoted(_)) {
            line.phase = Phase::Flying;
            return Boarding::Claimed;
        }
        if line.len() >= max {
            return Boarding::Full;
        }
        let place = line.enter(place);
        drop(line);
        Boarding::Waits(Waiter::new(Arc::clone(self), place, caller, seat))
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
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

    /// Publishes the outcome and returns how many have it then: all who stand
    /// in line, and the leaders that are callers. The leader's share goes
    /// before anybody is woken, so that the last to receive can take the
    /// outcome without a clone.
    pub(super) fn land(self: Arc<Self>, outcome: Outcome<V>, leaders: usize) -> usize {
        let mut line = self.line.lock();
        let receivers = line.len() + leaders;
        // Only moved there, so no user code runs under the lock.
        let refused = self.landed.set(Landed { outcome, receivers });
        self.has_landed.store(1, Ordering::Release);
        let places = line.close(Phase::Landed);
        drop(line);
        debug_assert!(refused.is_ok(), "a flight lands once");
        drop(self);
        wake_all(places);
        receivers
    }

    /// Whether the outcome can be read, without the line's lock.
    pub(super) fn has_landed(&self) -> bool {
        self.has_landed.load(Ordering::Acquire) != 0
    }

    /// Sends the whole line back to the start: the leader left the table and
    /// then failed to deliver.
    pub(super) fn lose(self: Arc<Self>) {
        self.end(Phase::Lost);
    }

    /// Tells the line that its leader is gone and that nobody in it can lead.
    pub(super) fn orphan(self: Arc<Self>) {
        self.end(Phase::Orphaned);
    }

    fn end(self: Arc<Self>, phase: Phase) {
        let places = self.line.lock().close(phase);
        drop(self);
        wake_all(places);
    }
}

/// How a flight landed.
pub(super) struct Landed<V> {
    pub(super) outcome: Outcome<V>,
    /// How many callers have the outcome.
    pub(super) receivers: usize,
}

/// What became of an attempt to stand in line.
pub(super) enum Boarding<V> {
    Waits(Waiter<V>),
    /// There was a promotion that nobody had noticed, and it is this caller's.
    Claimed,
    Full,
}

/// The news for one waiter that it leads.
pub(super) struct Promotion {
    /// `None` if it has not been polled yet and so will see for itself.
    pub(super) waker: Option<Waker>,
    /// The thread its task was last polled on; `None` for a blocked thread.
    pub(super) polled_on: Option<ThreadNumber>,
}

pub(super) struct Line {
    pub(super) phase: Phase,
    /// The turn that the table knows: which of its leaders may land.
    pub(super) turn: u32,
    /// When the leader's lease ends; kept in step with the table's.
    pub(super) lease_ends: Instant,
    /// The task of a leader that was given away, to be told that it is not
    /// wanted any more.
    pub(super) task: Option<Waker>,
    /// Who waits, by place. Empty once the flight has ended.
    places: Vec<Option<Place>>,
    /// Places that were left; the next to come take them first.
    vacant: Vec<usize>,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// A leader is at work.
    Flying,
    /// This place leads, and has not noticed yet. It was woken, so it may lose
    /// the promotion again: it will look, and stay in line.
    Promoted(usize),
    /// Over, with an outcome.
    Landed,
    /// Over, and everybody starts again.
    Lost,
    /// Over without a leader.
    Orphaned,
}

pub(super) struct Place {
    pub(super) waker: Option<Waker>,
    /// The thread this task was last polled on; `None` for a blocked thread.
    pub(super) polled_on: Option<ThreadNumber>,
    /// Whether it has a loader, and so can be promoted.
    may_lead: bool,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Landed | Phase::Lost | Phase::Orphaned)
    }

    pub(super) fn place(&mut self, index: usize) -> Option<&mut Place> {
        self.places.get_mut(index)?.as_mut()
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
    pub(super) fn leave(&mut self, index: usize) -> Option<Place> {
        if matches!(self.phase, Phase::Promoted(place) if place == index) {
            self.phase = Phase::Flying;
        }
        self.vacant.push(index);
        self.places[index].take()
    }

    /// Makes one of the line its leader, or answers that nobody there can be.
    /// Called under the owner's lock; the waker must be woken outside of it.
    pub(super) fn promote(&mut self) -> Option<Promotion> {
        let find = |can: fn(&Place) -> bool| {
            let mut places = self.places.iter();
            places.position(|place| place.as_ref().is_some_and(|p| p.may_lead && can(p)))
        };
        let index = find(|place| place.polled_on.is_none()).or_else(|| find(|_| true))?;
        self.phase = Phase::Promoted(index);
        let place = self.places[index].as_mut()?;
        Some(Promotion {
            waker: place.waker.take(),
            polled_on: place.polled_on,
        })
    }

    /// A new leader for one whose lease has ended, and who stays outside.
    pub(super) fn hand_over(&mut self, turn: u32, lease_ends: Instant) {
        if matches!(self.phase, Phase::Promoted(_)) {
            self.phase = Phase::Flying;
        }
        self.turn = turn;
        self.lease_ends = lease_ends;
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
