use std::collections::VecDeque;
use std::task::Waker;

use super::state::Offer;

/// Which permits a caller may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// All there are.
    Full,
    /// So many that a reserve is left for the others.
    Capped,
}

impl Claim {
    pub(super) const BOTH: [Self; 2] = [Self::Full, Self::Capped];

    /// How many permits of those that are not the reserve it takes.
    #[inline]
    pub(super) fn capped(self) -> usize {
        usize::from(self == Self::Capped)
    }

    fn index(self) -> usize {
        self.capped()
    }
}

/// When it is somebody's turn: the lower, the sooner. No two are alike.
pub(super) type Turn = i64;

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    turn: Turn,
    /// The number of the seat.
    seat: usize,
}

/// A ticket that waits no more.
pub(super) struct Left;

/// Who waits, in the order in which they came, and what those were offered whose turn has come.
///
/// Who waits has a seat, found by the number on the ticket; the order is kept beside. So to join, to be served and to take what
/// was offered cost the same however many wait. Who leaves before stays in the order as an empty mark until
/// it comes up, or until marks are the most of it.
pub(super) struct Line<T> {
    seats: Vec<Seat<T>>,
    free: Vec<usize>,
    /// By claim: who may have the reserve does not wait behind those who may not.
    orders: [Order; 2],
    first: Turn,
    last: Turn,
}

struct Seat<T> {
    /// Of who has it, or had it last.
    turn: Turn,
    state: Sitting<T>,
}

enum Sitting<T> {
    Nobody,
    Waits(Option<Waker>),
    Offered(Offer<T>),
}

#[derive(Default)]
struct Order {
    /// The first of them waits.
    tickets: VecDeque<Ticket>,
    /// How many of them do.
    waiting: usize,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self {
            seats: Vec::new(),
            free: Vec::new(),
            orders: Default::default(),
            first: 0,
            last: 0,
        }
    }

    pub(super) fn is_empty(&self, claim: Claim) -> bool {
        self.orders[claim.index()].waiting == 0
    }

    pub(super) fn len(&self) -> usize {
        self.orders.iter().map(|order| order.waiting).sum()
    }

    /// Takes a place at the end; or at the head, for one whose turn it was and who got nothing by it.
    pub(super) fn join(&mut self, claim: Claim, head: bool) -> Ticket {
        let turn = if head {
            self.first -= 1;
            self.first
        } else {
            self.last += 1;
            self.last
        };
        let taken = Seat {
            turn,
            state: Sitting::Waits(None),
        };
        let seat = self.free.pop().unwrap_or(self.seats.len());
        match self.seats.get_mut(seat) {
            Some(empty) => *empty = taken,
            None => self.seats.push(taken),
        }
        let ticket = Ticket { turn, seat };
        let order = &mut self.orders[claim.index()];
        order.waiting += 1;
        if head {
            order.tickets.push_front(ticket);
        } else {
            order.tickets.push_back(ticket);
        }
        ticket
    }

    /// Whose turn it is among those with such a claim.
    pub(super) fn head(&self, claim: Claim) -> Option<Turn> {
        let head = self.orders[claim.index()].tickets.front();
        head.map(|ticket| ticket.turn)
    }

    /// Gives whoever is at the head what its turn has brought.
    pub(super) fn offer(&mut self, claim: Claim, offer: Offer<T>) -> Option<Waker> {
        let ticket = self.orders[claim.index()].tickets.pop_front()?;
        let offered = Sitting::Offered(offer);
        let before = std::mem::replace(&mut self.seats[ticket.seat].state, offered);
        self.orders[claim.index()].waiting -= 1;
        self.forget_the_gone(claim);
        match before {
            Sitting::Waits(waker) => waker,
            // Not at the head of an order.
            Sitting::Nobody | Sitting::Offered(_) => None,
        }
    }

    /// Takes what was offered.
    pub(super) fn accept(&mut self, ticket: Ticket) -> Option<Offer<T>> {
        let seat = self.seat(ticket)?;
        match std::mem::replace(&mut seat.state, Sitting::Nobody) {
            Sitting::Offered(offer) => {
                self.free.push(ticket.seat);
                Some(offer)
            }
            other => {
                seat.state = other;
                None
            }
        }
    }

    /// Has this waker be woken when the turn has come. Answers the waker to be dropped under no lock, or
    /// `Err` with the new one if the ticket does not wait.
    pub(super) fn rewake(&mut self, ticket: Ticket, waker: Waker) -> Result<Option<Waker>, Waker> {
        match self.seat(ticket).map(|seat| &mut seat.state) {
            Some(Sitting::Waits(place)) => Ok(place.replace(waker)),
            _ => Err(waker),
        }
    }

    /// Leaves the line; `Err` if it was not in there.
    pub(super) fn leave(&mut self, claim: Claim, ticket: Ticket) -> Result<Option<Waker>, Left> {
        let seat = self.seat(ticket).ok_or(Left)?;
        let Sitting::Waits(place) = &mut seat.state else {
            return Err(Left);
        };
        let waker = place.take();
        seat.state = Sitting::Nobody;
        self.free.push(ticket.seat);
        self.orders[claim.index()].waiting -= 1;
        self.forget_the_gone(claim);
        Ok(waker)
    }

    /// Empties the line; who was in it finds itself neither waiting nor offered anything.
    pub(super) fn dissolve(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for order in &mut self.orders {
            for ticket in std::mem::take(order).tickets {
                let seat = &mut self.seats[ticket.seat];
                if waits(seat, ticket) {
                    if let Sitting::Waits(waker) =
                        std::mem::replace(&mut seat.state, Sitting::Nobody)
                    {
                        wakers.extend(waker);
                    }
                    self.free.push(ticket.seat);
                }
            }
        }
        wakers
    }

    /// The seat of a ticket, unless somebody else has it by now.
    fn seat(&mut self, ticket: Ticket) -> Option<&mut Seat<T>> {
        let seat = self.seats.get_mut(ticket.seat)?;
        (seat.turn == ticket.turn).then_some(seat)
    }

    /// Takes the marks of those who left out of the order: at the head all, elsewhere when they are the most.
    fn forget_the_gone(&mut self, claim: Claim) {
        let Order { tickets, waiting } = &mut self.orders[claim.index()];
        let seats = &self.seats;
        let waits = |ticket: &Ticket| waits(&seats[ticket.seat], *ticket);
        while tickets.front().is_some_and(|ticket| !waits(ticket)) {
            tickets.pop_front();
        }
        if tickets.len() > 2 * *waiting + FEW {
            tickets.retain(waits);
        }
        // What a rush took up goes back when it is over.
        if self.free.len() == self.seats.len() && self.seats.len() > MANY {
            self.seats = Vec::new();
            self.free = Vec::new();
            tickets.shrink_to_fit();
        }
    }
}

/// Whether who has this ticket sits there and waits.
fn waits<T>(seat: &Seat<T>, ticket: Ticket) -> bool {
    seat.turn == ticket.turn && matches!(seat.state, Sitting::Waits(_))
}

/// So many marks are left alone.
const FEW: usize = 32;
/// So many seats are kept.
const MANY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &mut Line<()>, ticket: Ticket) -> Option<u64> {
        line.accept(ticket).map(|offer| match offer {
            Offer::Connect(generation) => generation,
            Offer::Lend(_) => panic!("nobody lent"),
        })
    }

    #[test]
    fn a_seat_that_another_has_by_now_is_not_ones_own() {
        let mut line: Line<()> = Line::new();
        let gone = line.join(Claim::Full, false);
        assert!(line.leave(Claim::Full, gone).is_ok());
        let next = line.join(Claim::Full, false);
        assert_eq!(gone.seat, next.seat);
        assert!(line.leave(Claim::Full, gone).is_err());
        assert!(line.rewake(gone, Waker::noop().clone()).is_err());
        line.offer(Claim::Full, Offer::Connect(7));
        assert_eq!(offered(&mut line, gone), None);
        assert_eq!(offered(&mut line, next), Some(7));
        assert_eq!(offered(&mut line, next), None);
    }

    #[test]
    fn who_leaves_is_passed_over_and_leaves_nothing_behind() {
        let mut line: Line<()> = Line::new();
        let first = line.join(Claim::Full, false);
        // Behind one who stays, ten thousand come and go.
        for _ in 0..10_000 {
            let ticket = line.join(Claim::Full, false);
            assert!(line.leave(Claim::Full, ticket).is_ok());
        }
        assert!(line.orders[0].tickets.len() <= 2 + FEW + 1);
        assert_eq!((line.len(), line.seats.len()), (1, 2));
        let last = line.join(Claim::Full, false);
        line.offer(Claim::Full, Offer::Connect(1));
        assert_eq!(line.head(Claim::Full), Some(last.turn));
        assert_eq!(offered(&mut line, first), Some(1));
    }

    #[test]
    fn a_rush_is_forgotten_when_it_is_over() {
        let mut line: Line<()> = Line::new();
        let tickets: Vec<_> = (0..5_000)
            .map(|_| line.join(Claim::Capped, false))
            .collect();
        for ticket in tickets {
            assert!(line.leave(Claim::Capped, ticket).is_ok());
        }
        assert!(line.seats.capacity() <= MANY && line.orders[1].tickets.capacity() <= MANY);
    }
}
