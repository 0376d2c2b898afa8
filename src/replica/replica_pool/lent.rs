use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::RoleChanged;
use super::core::Core;
use crate::balance::ParkedPick;
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
    purpose: Purpose,
    node: NodeId,
    told: Told,
}

/// What is known of how a use went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing against it.
    Well,
    /// The server is to blame.
    Failed,
    /// It is in the middle of something; dropped now, nobody knows.
    Unknown,
}

/// What a connection is lent for.
enum Purpose {
    /// A read of a server that was chosen: how long it takes and whether it fails decides who is chosen next.
    Chosen(ParkedPick),
    /// A read of the primary.
    Given,
    Writes(WriteLease),
}

/// In which epoch a connection is lent for writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteLease {
    pub(super) epoch: Epoch,
    pub(super) system: SystemId,
}

impl WriteLease {
    /// That of this server, if it is the one that writes go to in this topology.
    pub(super) fn of(topology: &Topology, node: NodeId) -> Option<Self> {
        let (epoch, system) = (topology.epoch()?, topology.system()?);
        (topology.writer() == Some(node)).then_some(Self { epoch, system })
    }
}

impl<C: Client> Lent<C> {
    /// For a read, of a server that was chosen if there is a pick.
    #[inline]
    pub(super) fn read(
        core: &Arc<Core<C>>,
        pooled: Pooled<C>,
        node: NodeId,
        pick: Option<ParkedPick>,
    ) -> Self {
        let purpose = pick.map_or(Purpose::Given, Purpose::Chosen);
        Self::new(core, pooled, node, purpose)
    }

    #[inline]
    pub(super) fn write(
        core: &Arc<Core<C>>,
        pooled: Pooled<C>,
        node: NodeId,
        lease: WriteLease,
    ) -> Self {
        Self::new(core, pooled, node, Purpose::Writes(lease))
    }

    #[inline]
    fn new(core: &Arc<Core<C>>, pooled: Pooled<C>, node: NodeId, purpose: Purpose) -> Self {
        Self {
            pooled,
            core: Arc::clone(core),
            purpose,
            node,
            told: Told::Well,
        }
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
        self.lease().map(|lease| lease.epoch)
    }

    fn lease(&self) -> Option<WriteLease> {
        match self.purpose {
            Purpose::Writes(lease) => Some(lease),
            Purpose::Chosen(_) | Purpose::Given => None,
        }
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
        self.told = Told::Failed;
        if fault.breaks_connection() {
            self.pooled.mark_broken();
        }
        self.core.feed(Input::Faulted {
            node: self.node,
            generation: self.pooled.generation(),
            fault,
        });
    }

    /// What is done with it from now on may be cut off: then the connection is closed, as nobody reads what it is still sent.
    pub(super) fn begin(&mut self) {
        self.pooled.mark_broken();
        self.told = Told::Unknown;
    }

    /// It was not.
    pub(super) fn end(&mut self) {
        self.pooled.mark_whole();
        self.told = Told::Well;
    }

    /// Whether the server is still what it was when this was lent: for a write, the primary of the same epoch. That
    /// is what is known here, and no fence: only the database can keep a former primary from writing.
    pub fn is_current(&self) -> bool {
        let Some(lease) = self.lease() else {
            return !self.pooled.is_stale();
        };
        let routes = self.core.routes.load();
        let topology = &routes.topology;
        // The connections of an epoch that is over are stale, as soon as their pool has been told. That a primary has told its
        // term since is no other epoch.
        let is_later = topology
            .epoch()
            .is_some_and(|now| now.is_after(lease.epoch));
        topology.writer() == Some(self.node) && !is_later && !self.pooled.is_stale()
    }

    /// What a read needs to be shown this write: pass it to
    /// [`ReadPreference::AtLeast`](crate::replica::ReadPreference::AtLeast).
    ///
    /// # Errors
    /// [`RoleChanged`] if the write went to who is no longer primary, or this was lent for reads: then it may be lost.
    pub fn commit_token(&self, position: Position) -> Result<CausalToken, RoleChanged> {
        match self.lease() {
            Some(WriteLease { epoch, system }) if self.is_current() => {
                Ok(CausalToken::new(system, epoch.timeline, position))
            }
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
        let Purpose::Chosen(parked) = mem::replace(&mut self.purpose, Purpose::Given) else {
            return;
        };
        let Some(pick) = self.core.balancer.resume(parked) else {
            return;
        };
        match self.told {
            Told::Well => pick.succeed(),
            Told::Failed => pick.fail(),
            // It took so long at least.
            Told::Unknown => drop(pick),
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
