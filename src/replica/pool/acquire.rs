//! How a caller comes to a connection that has to be waited for, made or tested.

use std::sync::Arc;

use super::core::Idle;
use super::line::Claim;
use super::place::Place;
use super::pool::Shared;
use super::state::{Offer, Refusal};
use super::{Deadline, GetError, Pooled};
use crate::replica::Client;
use crate::replica::ways::{Failure, Ways};

/// Waits in the line for a connection or for the turn to make one.
pub(super) async fn acquire<C: Client, W: Ways<C>>(
    shared: &Arc<Shared<C>>,
    ways: W,
    claim: Claim,
    deadline: Deadline,
    found: Idle<C::Connection>,
) -> Result<Pooled<C>, GetError<C::Error>> {
    let core = &shared.core;
    let mut next = match found {
        Idle::Untested(slot) => test(shared, Pooled::new(shared, slot, claim), ways).await?,
        Idle::Fresh(slot) => Next::Lent(Pooled::new(shared, slot, claim)),
        Idle::None => Next::Turn(Place::new(core, claim)),
    };
    let mut again = false;
    loop {
        let mut place = match next {
            Next::Lent(lent) => return Ok(lent),
            Next::Turn(place) => place,
        };
        let look = |waker: &_| place.look(waker, deadline);
        next = match ways.watch(&core.settings.times, look).await? {
            Offer::Lend(slot) => {
                let now = core.now();
                let (fresh, stale) = (slot.is_fresh(now), slot.is_stale(now));
                let lent = Pooled::new(shared, slot, claim);
                if stale || lent.is_stale() {
                    exchange(shared, lent)?
                } else if !fresh {
                    test(shared, lent, ways).await?
                } else {
                    Next::Lent(lent)
                }
            }
            Offer::Connect(generation) => {
                let permit = Permit::new(shared, claim, generation);
                // Who got nothing by the last turn does not try for ever.
                if again && core.now() >= deadline.at {
                    drop(permit);
                    return Err(GetError::Timeout(core.timeout(deadline.waited)));
                }
                permit.connect(ways, deadline).await?
            }
        };
        again = true;
    }
}

/// What a caller has after a step: a connection, or the head of the line.
pub(super) enum Next<'a, C: Client> {
    Lent(Pooled<C>),
    Turn(Place<'a, C::Connection>),
}

/// Has a connection tested; it is closed if it fails, and if its test is dropped.
async fn test<C: Client, W: Ways<C>>(
    shared: &Arc<Shared<C>>,
    mut lent: Pooled<C>,
    ways: W,
) -> Result<Next<'_, C>, GetError<C::Error>> {
    lent.mark_broken();
    if ways.recycle(&shared.client, &mut lent).await {
        lent.mark_whole();
        return Ok(Next::Lent(lent));
    }
    Ok(exchange(shared, lent)?)
}

/// Gives back what is of no use for the head of the line.
fn exchange<C: Client>(shared: &Shared<C>, lent: Pooled<C>) -> Result<Next<'_, C>, Refusal> {
    let (claim, ticket) = lent.exchange()?;
    Ok(Next::Turn(Place::of(&shared.core, claim, ticket)))
}

impl<E> From<Refusal> for GetError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Self::Closed,
            Refusal::Full(max) => Self::TooManyWaiting { max },
        }
    }
}

/// The right to make a connection; given back if it is dropped.
pub(super) struct Permit<'a, C: Client> {
    shared: &'a Arc<Shared<C>>,
    claim: Claim,
    generation: u64,
    used: bool,
}

impl<'a, C: Client> Permit<'a, C> {
    pub(super) fn new(shared: &'a Arc<Shared<C>>, claim: Claim, generation: u64) -> Self {
        Self {
            shared,
            claim,
            generation,
            used: false,
        }
    }

    /// Makes a connection, which is of no use if all were purged meanwhile.
    pub(super) async fn connect<W: Ways<C>>(
        mut self,
        ways: W,
        deadline: Deadline,
    ) -> Result<Next<'a, C>, GetError<C::Error>> {
        let core = &self.shared.core;
        let limit = core.settings.connect_timeout;
        let until = deadline.at.min(core.now() + limit);
        let Shared {
            client, endpoint, ..
        } = &**self.shared;
        match ways
            .connect(client, endpoint, until, &core.settings.times)
            .await
        {
            Ok(connection) => {
                self.used = true;
                match core.connected(connection, self.claim, self.generation) {
                    Ok(slot) => Ok(Next::Lent(Pooled::new(self.shared, slot, self.claim))),
                    Err(turn) => Ok(Next::Turn(Place::of(core, self.claim, turn?))),
                }
            }
            Err(Failure::Connect(error)) => {
                self.used = true;
                core.failed(self.claim);
                Err(GetError::Connect(error))
            }
            // Its caller was in a hurry, which says nothing of the server.
            Err(Failure::Late) if until == deadline.at => {
                drop(self);
                Err(GetError::Timeout(core.timeout(deadline.waited)))
            }
            Err(Failure::Late) => {
                self.used = true;
                core.failed(self.claim);
                Err(GetError::ConnectTimeout(limit))
            }
        }
    }
}

impl<C: Client> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        if !self.used {
            self.shared.core.give_back_permit(self.claim);
        }
    }
}
