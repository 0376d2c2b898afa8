use std::task::Waker;

use super::core::Core;
use super::line::{Claim, Ticket};
use super::state::{Offer, Refusal, View};
use super::{Deadline, GetError, Timeout};
use crate::replica::ways::Look;

/// A place in the line; whoever drops it leaves, and what it was offered goes on.
pub(super) struct Place<'a, T> {
    core: &'a Core<T>,
    claim: Claim,
    /// Nothing before the first look.
    ticket: Option<Ticket>,
}

/// Why a place brought nothing.
pub(super) enum Vain {
    Timeout(Timeout),
    Refused(Refusal),
}

impl<'a, T> Place<'a, T> {
    /// The place at the end that the first look takes.
    pub(super) fn new(core: &'a Core<T>, claim: Claim) -> Self {
        let ticket = None;
        Self {
            core,
            claim,
            ticket,
        }
    }

    /// The place that a ticket of this core stands for.
    pub(super) fn of(core: &'a Core<T>, claim: Claim, ticket: Ticket) -> Self {
        let ticket = Some(ticket);
        Self {
            core,
            claim,
            ticket,
        }
    }

    /// Looks whether its turn has come.
    pub(super) fn look(
        &mut self,
        waker: &Waker,
        deadline: Deadline,
    ) -> Look<Result<Offer<T>, Vain>> {
        let entered = match self.ticket {
            Some(ticket) => Ok((ticket, self.core.look(ticket, waker))),
            None => self.core.enter(self.claim, waker),
        };
        let (ticket, view) = match entered {
            Ok(entered) => entered,
            Err(refusal) => return Look::Seen(Err(Vain::Refused(refusal))),
        };
        self.ticket = Some(ticket);
        let answer = match view {
            View::Offer(offer) => Ok(offer),
            View::Closed => Err(CLOSED),
            View::Wait(_) if self.core.now() >= deadline.at => {
                let last = self.core.give_up(self.claim, ticket, deadline.waited);
                last.map_err(|timeout| timeout.map_or(CLOSED, Vain::Timeout))
            }
            View::Wait(until) => return Look::Wait(until.min(deadline.at)),
        };
        self.ticket = None;
        Look::Seen(answer)
    }
}

const CLOSED: Vain = Vain::Refused(Refusal::Closed);

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.core.cancel(self.claim, ticket);
        }
    }
}

impl<E> From<Vain> for GetError<E> {
    fn from(vain: Vain) -> Self {
        match vain {
            Vain::Timeout(timeout) => Self::Timeout(timeout),
            Vain::Refused(refusal) => refusal.into(),
        }
    }
}
