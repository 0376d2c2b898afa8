use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;

use super::line::{Claim, Ticket};
use super::pool::Shared;
use super::slot::Slot;
use super::state::{Refusal, Returned};
use crate::replica::{Client, Endpoint};

/// A connection that is lent: it goes back to its [`Pool`](super::Pool) when this is dropped, and from there
/// to whoever has waited longest.
///
/// It is closed instead if it is [broken](Self::mark_broken), or says so itself
/// ([`Connector::is_broken`](crate::replica::Connector::is_broken)), or its lifetime has passed, or the pool was purged, or the
/// thread panics: nobody knows in the middle of what.
#[must_use = "a connection that is dropped at once goes back unused"]
pub struct Pooled<C: Client> {
    shared: Arc<Shared<C>>,
    /// `None` only while it is dropped.
    slot: Option<Box<Slot<C::Connection>>>,
    claim: Claim,
    broken: bool,
}

impl<C: Client> Pooled<C> {
    #[inline]
    pub(super) fn new(
        shared: &Arc<Shared<C>>,
        slot: Box<Slot<C::Connection>>,
        claim: Claim,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            slot: Some(slot),
            claim,
            broken: false,
        }
    }

    /// The server at the other end.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Says that the connection is of no further use: it is closed when this is dropped.
    pub fn mark_broken(&mut self) {
        self.broken = true;
    }

    pub(crate) fn mark_whole(&mut self) {
        self.broken = false;
    }

    /// Closes the connection now.
    pub fn discard(mut self) {
        self.mark_broken();
    }

    /// Whether the pool was [purged](super::Pool::purge) since this was made: it will not be lent again, and
    /// was perhaps made to a server in another role.
    pub fn is_stale(&self) -> bool {
        self.slot().generation != self.shared.core.generation()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.slot().generation
    }

    /// Takes the connection out of the pool, which may make another in its place.
    #[allow(clippy::missing_panics_doc, reason = "it has its connection")]
    pub fn detach(mut self) -> C::Connection {
        let slot = self.slot.take().expect(LENT);
        self.shared.core.detach(self.claim);
        slot.connection
    }

    /// Gives it back for the head of the line: it is too old, or it failed its test.
    pub(super) fn exchange(mut self) -> Result<(Claim, Ticket), Refusal> {
        let slot = self.slot.take().expect(LENT);
        let how = returned(self.broken);
        let ticket = self.shared.core.exchange(slot, self.claim, how)?;
        Ok((self.claim, ticket))
    }

    fn slot(&self) -> &Slot<C::Connection> {
        self.slot.as_ref().expect(LENT)
    }
}

/// Only what ends the guard takes its slot.
const LENT: &str = "a guard has its connection until it ends";

impl<C: Client> Deref for Pooled<C> {
    type Target = C::Connection;

    #[inline]
    fn deref(&self) -> &C::Connection {
        &self.slot().connection
    }
}

impl<C: Client> DerefMut for Pooled<C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self.slot.as_mut().expect(LENT).connection
    }
}

impl<C: Client> Drop for Pooled<C> {
    #[inline]
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        let Shared { core, client, .. } = &*self.shared;
        // The client is asked under a guard: where it panics, the permit is given back nonetheless.
        let leaving = Leaving(self);
        let broken = leaving.0.broken || thread::panicking() || client.is_broken(&slot.connection);
        std::mem::forget(leaving);
        core.checkin(slot, self.claim, returned(broken));
    }
}

#[inline]
fn returned(broken: bool) -> Returned {
    if broken {
        Returned::Broken
    } else {
        Returned::Whole
    }
}

/// A connection whose client panics when it is asked about it: it is closed.
struct Leaving<'a, C: Client>(&'a Pooled<C>);

impl<C: Client> Drop for Leaving<'_, C> {
    fn drop(&mut self) {
        self.0.shared.core.detach(self.0.claim);
    }
}

impl<C: Client<Connection: fmt::Debug>> fmt::Debug for Pooled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled")
            .field("endpoint", &self.endpoint().name())
            .field("connection", &**self)
            .finish_non_exhaustive()
    }
}
