use std::collections::BTreeMap;
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

/// A turn in the line: the lower, the sooner.
pub(super) type Ticket = i64;

/// A ticket that waits no more.
pub(super) struct Left;

/// Who waits, in the order in which they came, and what those were offered whose turn has come.
pub(super) struct Line<T> {
    /// By claim: who may have the reserve does not wait behind those who may not.
    waiting: [BTreeMap<Ticket, Option<Waker>>; 2],
    offers: BTreeMap<Ticket, Offer<T>>,
    first: Ticket,
    last: Ticket,
}

impl<T> Line<T> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: [BTreeMap::new(), BTreeMap::new()],
            offers: BTreeMap::new(),
            first: 0,
            last: 0,
        }
    }

    pub(super) fn is_empty(&self, claim: Claim) -> bool {
        self.waiting[claim.index()].is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    /// Takes a place at the end; or at the head, for one whose turn it was and who got nothing by it.
    pub(super) fn join(&mut self, claim: Claim, head: bool) -> Ticket {
        let ticket = if head {
            self.first -= 1;
            self.first
        } else {
            self.last += 1;
            self.last
        };
        self.waiting[claim.index()].insert(ticket, None);
        ticket
    }

    /// Whose turn it is among those with such a claim.
    pub(super) fn head(&self, claim: Claim) -> Option<Ticket> {
        let head = self.waiting[claim.index()].first_key_value();
        head.map(|(ticket, _)| *ticket)
    }

    /// Gives whoever is at the head what its turn has brought.
    pub(super) fn offer(&mut self, claim: Claim, offer: Offer<T>) -> Option<Waker> {
        let (ticket, waker) = self.waiting[claim.index()].pop_first()?;
        self.offers.insert(ticket, offer);
        waker
    }

    /// Takes what was offered.
    pub(super) fn accept(&mut self, ticket: Ticket) -> Option<Offer<T>> {
        self.offers.remove(&ticket)
    }

    /// Has this waker be woken when the turn has come. Answers the waker to be dropped under no lock, or
    /// `Err` with the new one if the ticket does not wait.
    pub(super) fn rewake(
        &mut self,
        claim: Claim,
        ticket: Ticket,
        waker: Waker,
    ) -> Result<Option<Waker>, Waker> {
        match self.waiting[claim.index()].get_mut(&ticket) {
            Some(place) => Ok(place.replace(waker)),
            None => Err(waker),
        }
    }

    /// Leaves the line; `Err` if it was not in there.
    pub(super) fn leave(&mut self, claim: Claim, ticket: Ticket) -> Result<Option<Waker>, Left> {
        self.waiting[claim.index()].remove(&ticket).ok_or(Left)
    }

    /// Empties the line; who was in it finds itself neither waiting nor offered anything.
    pub(super) fn dissolve(&mut self) -> impl Iterator<Item = Waker> + use<T> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .flat_map(BTreeMap::into_values)
            .flatten()
    }
}
