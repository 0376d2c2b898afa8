//! A place in the line of a flight.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::lead::Outcome;
use super::line::{Flight, Landed, Phase};
use super::running::FlightId;
use super::start::{Caller, Seat};
use super::table::Ticket;
use crate::time::Instant;

/// A place in line. It must be left with [`Waiter::leave`], for the promotion
/// may have come to it; its owner's guard sees to that.
pub(super) struct Waiter<V> {
    /// `None` once the verdict was given.
    flight: Option<Arc<Flight<V>>>,
    place: usize,
    caller: Caller,
    seat: Seat,
    /// Whether the first poll is over; before it there is no waker to compare.
    polled: bool,
}

/// How a wait ended.
pub(super) enum Verdict<V> {
    /// The leader's outcome, and how many callers have it.
    Landed(Outcome<V>, usize),
    /// The leader is gone: this caller leads now.
    Promoted(Ticket),
    /// The leader landed and could not deliver: start again.
    Lost,
    /// The leader is gone, and nobody in line could lead.
    Orphaned,
}

impl<V: Clone> Waiter<V> {
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Verdict<V>> {
        let flight = self.flight.as_ref().expect("not polled after its verdict");
        if flight.has_landed() {
            return self.receive();
        }
        // Cloning a waker is user code and so happens under no lock.
        let mut fresh = (!self.polled).then(|| waker.clone());
        self.polled = true;
        loop {
            let mut line = flight.line();
            match line.phase {
                Phase::Landed => {
                    drop(line);
                    return self.receive();
                }
                Phase::Lost => return Poll::Ready(Verdict::Lost),
                Phase::Orphaned => return Poll::Ready(Verdict::Orphaned),
                Phase::Promoted(place) if place == self.place => {
                    let ticket = Ticket {
                        id: flight.id,
                        turn: line.turn,
                    };
                    let left = line.leave(place);
                    drop(line);
                    drop(left);
                    self.flight = None;
                    return Poll::Ready(Verdict::Promoted(ticket));
                }
                Phase::Promoted(_) | Phase::Flying => {}
            }
            let place = line.place(self.place).expect("we stand in this place");
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

    fn receive(&mut self) -> Poll<Verdict<V>> {
        let flight = self.flight.take().expect("not polled after its verdict");
        let copy = |flight: &Flight<V>| {
            let landed = flight.landed.get()?;
            Some(Landed {
                outcome: landed.outcome.clone(),
                receivers: landed.receivers,
            })
        };
        // The last one needs no clone. The others are spared the attempt, which
        // writes where all of them read.
        let landed = if Arc::strong_count(&flight) > 1 {
            copy(&flight)
        } else {
            Arc::try_unwrap(flight)
                .map_or_else(|flight| copy(&flight), |last| last.landed.into_inner())
        };
        let landed = landed.expect("the outcome is written before the phase");
        Poll::Ready(Verdict::Landed(landed.outcome, landed.receivers))
    }
}

impl<V> Waiter<V> {
    pub(super) fn new(flight: Arc<Flight<V>>, place: usize, caller: Caller, seat: Seat) -> Self {
        Self {
            flight: Some(flight),
            place,
            caller,
            seat,
            polled: false,
        }
    }

    pub(super) fn id(&self) -> Option<FlightId> {
        self.flight.as_ref().map(|flight| flight.id)
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    /// When the leader's lease ends, for one who could take its place.
    pub(super) fn lease_ends(&self) -> Instant {
        match &self.flight {
            Some(flight) if self.seat == Seat::Heir => flight.line().lease_ends,
            _ => Instant::NEVER,
        }
    }

    /// Waits on without regard to the lease: the flight is over.
    pub(super) fn forget_lease(&mut self) {
        self.seat = Seat::Guest;
    }

    /// Steps out of the line, with the waker. Who had been promoted unawares
    /// gets the ticket, and must abandon it so that the next one is promoted.
    pub(super) fn leave(&mut self) -> Left {
        let Some(flight) = self.flight.take() else {
            return Left::Nothing;
        };
        let mut line = flight.line();
        if line.has_ended() {
            return Left::Nothing;
        }
        let promoted = matches!(line.phase, Phase::Promoted(place) if place == self.place);
        let turn = line.turn;
        let left = line.leave(self.place);
        let empty = line.len() == 0;
        drop(line);
        drop(left);
        let id = flight.id;
        match (promoted, empty) {
            (true, _) => Left::Promoted(Ticket { id, turn }),
            (false, true) => Left::Empty(id),
            (false, false) => Left::Nothing,
        }
    }
}

/// What a waiter leaves behind.
pub(super) enum Left {
    Nothing,
    /// A line in which nobody stands any more.
    Empty(FlightId),
    /// A promotion, to be handed on.
    Promoted(Ticket),
}
