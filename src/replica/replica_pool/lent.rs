use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::RoleChanged;
use super::core::Core;
use super::routes::Target;
use crate::balance::OwnedPick;
use crate::replica::pool::Pooled;
use crate::replica::topology::{Input, NodeId, Topology};
use crate::replica::{CausalToken, Client, Endpoint, Epoch, Fault, Position, SystemId};

/// A connection to a server of a cluster, lent for a read, a write, or a transaction: it stays with this server
/// until it is dropped.
///
/// Say what went wrong with it ([`failed`](Self::failed)), so that the next one is not lent the same trouble.
#[must_use = "a connection that is dropped at once goes back unused"]
pub struct Lent<C: Client> {
    pooled: Pooled<C>,
    core: Arc<Core<C>>,
    /// Of a read: how long it takes and whether it fails decides who is chosen next.
    pick: Option<OwnedPick<Arc<Target<C>>>>,
    node: NodeId,
    generation: u64,
    /// Of a write: in which epoch it was lent.
    writes: Option<Lease>,
    blamed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    epoch: Option<Epoch>,
    system: Option<SystemId>,
}

impl<C: Client> Lent<C> {
    #[inline]
    pub(super) fn read(
        core: &Arc<Core<C>>,
        pooled: Pooled<C>,
        node: NodeId,
        pick: Option<OwnedPick<Arc<Target<C>>>>,
    ) -> Self {
        Self {
            generation: pooled.generation(),
            pooled,
            core: Arc::clone(core),
            pick,
            node,
            writes: None,
            blamed: false,
        }
    }

    /// For writes, if its server is the one that they go to in this topology.
    #[inline]
    pub(super) fn write(
        core: &Arc<Core<C>>,
        topology: &Topology,
        pooled: Pooled<C>,
        node: NodeId,
    ) -> Option<Self> {
        let (epoch, system) = (topology.epoch(), topology.system());
        (topology.writer() == Some(node)).then(|| {
            let mut lent = Self::read(core, pooled, node, None);
            lent.writes = Some(Lease { epoch, system });
            lent
        })
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        self.pooled.endpoint()
    }

    /// Its number in the topology.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The epoch in which it was lent for writes.
    pub fn epoch(&self) -> Option<Epoch> {
        self.writes.and_then(|lease| lease.epoch)
    }

    /// Says that something went wrong, and what: it decides what becomes of the connection, of the server's
    /// standing, and of all other connections to it. Answers what the connector makes of it.
    pub fn failed(&mut self, error: &C::Error) -> Fault {
        let fault = self.core.client.classify(error);
        self.fault(fault);
        fault
    }

    /// [`failed`](Self::failed) for who knows without an error.
    pub fn fault(&mut self, fault: Fault) {
        if matches!(fault, Fault::Query | Fault::Transient) {
            return;
        }
        self.blamed = true;
        if fault.breaks_connection() {
            self.pooled.mark_broken();
        }
        self.core.feed(Input::Faulted {
            node: self.node,
            generation: self.generation,
            fault,
        });
    }

    /// Whether the server is still what it was when this was lent: for a write, the primary of the same epoch. That
    /// is what is known here, and no fence: only the database can keep a former primary from writing.
    pub fn is_current(&self) -> bool {
        let Some(lease) = self.writes else {
            return !self.pooled.is_stale();
        };
        let routes = self.core.routes.load();
        let topology = &routes.topology;
        // The connections of an epoch that is over are stale, as soon as their pool has been told. That a primary has told its
        // term since is no other epoch.
        let is_later = topology
            .epoch()
            .is_some_and(|now| lease.epoch.is_none_or(|then| now.is_after(then)));
        topology.writer() == Some(self.node) && !is_later && !self.pooled.is_stale()
    }

    /// What a read needs to be shown this write: pass it to
    /// [`ReadPreference::AtLeast`](crate::replica::ReadPreference::AtLeast).
    ///
    /// # Errors
    /// [`RoleChanged`] if the write went to who is no longer primary, or this was lent for reads: then it may be lost.
    pub fn commit_token(&self, position: Position) -> Result<CausalToken, RoleChanged> {
        match self.writes {
            Some(Lease {
                epoch: Some(epoch),
                system: Some(system),
            }) if self.is_current() => Ok(CausalToken::new(system, epoch.timeline, position)),
            _ => Err(self.role_changed()),
        }
    }

    /// Gives the connection back, and says whether all that was done with it was done in the epoch in which it
    /// was lent.
    ///
    /// # Errors
    /// [`RoleChanged`] if it was not: what was acknowledged may be lost.
    pub fn finish(self) -> Result<(), RoleChanged> {
        if self.is_current() {
            Ok(())
        } else {
            Err(self.role_changed())
        }
    }

    fn role_changed(&self) -> RoleChanged {
        RoleChanged {
            endpoint: self.endpoint().name().into(),
            lent_in: self.epoch(),
            now: self.core.routes.load().topology.epoch(),
        }
    }
}

impl<C: Client> Deref for Lent<C> {
    type Target = C::Connection;

    #[inline]
    fn deref(&self) -> &C::Connection {
        &self.pooled
    }
}

impl<C: Client> DerefMut for Lent<C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self.pooled
    }
}

impl<C: Client> Drop for Lent<C> {
    #[inline]
    fn drop(&mut self) {
        match self.pick.take() {
            Some(pick) if self.blamed => pick.fail(),
            Some(pick) => pick.succeed(),
            None => {}
        }
    }
}

impl<C: Client> fmt::Debug for Lent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("endpoint", &self.endpoint().name())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
