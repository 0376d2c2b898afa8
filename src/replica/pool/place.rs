use std::task::Waker;

use super::core::{Core, View};
use super::line::{Claim, Ticket};
use super::state::Offer;
use super::{Deadline, GetError, Timeout};
use crate::replica::ways::Look;

/// A place in the line; whoever drops it leaves, and what it was offered goes on.
pub(super) struct Place<'a, T> {
    core: &'a Core<T>,
    claim: Claim,
    ticket: Ticket,
    left: bool,
}

/// Why a place brought nothing.
pub(super) enum Vain {
    Timeout(Timeout),
    Closed,
}

impl<'a, T> Place<'a, T> {
    /// The place that a ticket of this core stands for.
    pub(super) fn new(core: &'a Core<T>, claim: Claim, ticket: Ticket) -> Self {
        Self {
            core,
            claim,
            ticket,
            left: false,
        }
    }

    /// Looks whether its turn has come.
    pub(super) fn look(
        &mut self,
        waker: &Waker,
        deadline: Deadline,
    ) -> Look<Result<Offer<T>, Vain>> {
        let answer = match self.core.look(self.claim, self.ticket, waker) {
            View::Offer(offer) => Ok(offer),
            View::Closed => Err(Vain::Closed),
            View::Wait(_) if self.core.now() >= deadline.at => {
                let last = self.core.give_up(self.claim, self.ticket, deadline.waited);
                last.map_err(|timeout| timeout.map_or(Vain::Closed, Vain::Timeout))
            }
            View::Wait(until) => return Look::Wait(until.min(deadline.at)),
        };
        self.left = true;
        Look::Seen(answer)
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if !self.left {
            self.core.cancel(self.claim, self.ticket);
        }
    }
}

impl<E> From<Vain> for GetError<E> {
    fn from(vain: Vain) -> Self {
        match vain {
            Vain::Timeout(timeout) => Self::Timeout(timeout),
            Vain::Closed => Self::Closed,
        }
    }
}
