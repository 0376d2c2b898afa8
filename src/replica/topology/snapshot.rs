use std::fmt;
use std::sync::Arc;

use super::failover::Failover;
use super::lineage::Lineage;
use super::repair::Debt;
use super::{Node, NodeId, NodeSet, NodeState, Settings};
use crate::replica::{Epoch, Position, Role, SystemId};
use crate::time::Instant;

/// Who the servers of a cluster are and how they stand: a snapshot that does not change. [`step`](super::step) makes
/// the next one.
///
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Topology(pub(super) Arc<Snapshot>);

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub settings: Arc<Settings>,
    /// By number; a gap is a number that is free.
    pub nodes: Vec<Option<Node>>,
    pub phase: Phase,
    /// Whoever was accepted as primary last, until another one is or it says that it is none. Takes writes only in
    /// some phases.
    pub primary: Option<NodeId>,
    pub system: Option<SystemId>,
    /// The epoch of that primary, or of the last one. Never goes back.
    pub epoch: Option<Epoch>,
    /// The timeline of that primary when it was accepted. The epoch is later where somebody else has promoted since, and
    /// whoever that was has not been found.
    pub line: Option<u64>,
    /// No primary of an earlier timeline is accepted: a promotion to this one has been asked for, and
    /// whether it has happened may not be known.
    pub floor: u64,
    pub lineage: Lineage,
    /// How far the log of the primary is known to have come,
    pub head: Position,
    /// and since when.
    pub head_at: Instant,
    /// Until when every server has the time to answer for the first time.
    pub discovery_ends: Instant,
    pub failover: Failover,
    /// Former primaries that may have writes which the primary has not.
    pub debts: Vec<Debt>,
    /// The last number given to a generation, a probe or an operation.
    pub numbers: u64,
    /// What was asked for by the last [`Effect::WakeAt`](super::Effect::WakeAt).
    pub wake: Instant,
    /// The replicas that are [`NodeState::Healthy`], for the selection.
    pub serving: NodeSet,
    /// What all of them have applied; `None` if not all are known to be on the line of the primary. Most tokens are older,
    /// and nobody has to be looked at for them.
    pub applied_by_all: Option<Position>,
}

/// What a cluster is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Not every server has answered yet, or had the time to.
    Discovering,
    /// There is a primary.
    Normal,
    /// Several servers take writes in one epoch. None is sent any.
    Disputed,
    /// The primary does not answer, or says that it takes no writes; it is being asked.
    PrimarySuspect,
    /// There is no primary, and somebody else is to make one.
    Leaderless,
    /// The old primary is being kept from taking writes.
    Fencing,
    /// The receivers of the replicas are being stopped, to see who has most.
    Electing,
    /// The candidate is being given what the old primary did not send.
    Salvaging,
    /// The candidate is being made the primary.
    Promoting,
    /// There is a primary, and an older one may have writes that it does not have.
    Recovering,
}

impl Phase {
    /// Whether writes are sent to the primary.
    #[inline]
    pub fn takes_writes(self) -> bool {
        matches!(self, Self::Normal | Self::Recovering)
    }

    /// Whether a failover is under way.
    pub fn is_failover(self) -> bool {
        matches!(
            self,
            Self::Fencing | Self::Electing | Self::Salvaging | Self::Promoting
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Normal => "normal",
            Self::Disputed => "disputed",
            Self::PrimarySuspect => "primary suspect",
            Self::Leaderless => "leaderless",
            Self::Fencing => "fencing",
            Self::Electing => "electing",
            Self::Salvaging => "salvaging",
            Self::Promoting => "promoting",
            Self::Recovering => "recovering",
        })
    }
}

impl Topology {
    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What the cluster is going through.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The server that writes go to, if they go anywhere.
    #[inline]
    pub fn writer(&self) -> Option<NodeId> {
        self.0.writer()
    }

    /// The newest epoch in which a primary was accepted, or is known to have been. Never goes back.
    #[inline]
    pub fn epoch(&self) -> Option<Epoch> {
        self.0.epoch
    }

    /// The cluster, as soon as it is known.
    #[inline]
    pub fn system(&self) -> Option<SystemId> {
        self.0.system
    }

    /// The replicas that serve reads.
    pub fn serving(&self) -> NodeSet {
        self.0.serving
    }

    /// A server.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.0.get(id)
    }

    /// The server of this name.
    pub fn find(&self, name: &str) -> Option<&Node> {
        self.nodes().find(|node| node.endpoint.name() == name)
    }

    /// Every server.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.members()
    }

    /// When the next [`Tick`](super::Input::Tick) is due.
    pub fn wake_at(&self) -> Instant {
        self.0.wake
    }
}

impl Snapshot {
    #[inline]
    pub(super) fn writer(&self) -> Option<NodeId> {
        self.primary.filter(|_| self.phase.takes_writes())
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.index())?.as_mut()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    pub(super) fn ids(&self) -> NodeSet {
        self.members().map(Node::id).collect()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Brings what the selection relies on up to date.
    pub(super) fn settle(&mut self) {
        let serves =
            |node: &&Node| node.state == NodeState::Healthy && node.role() == Some(Role::Replica);
        let serving = || self.members().filter(serves);
        let applied = |node: &Node| {
            let on_its_line = node.epoch()?.timeline == self.epoch?.timeline;
            node.applied().filter(|_| on_its_line)
        };
        let applied_by_all = serving().map(applied).min().flatten();
        self.serving = serving().map(Node::id).collect();
        self.applied_by_all = applied_by_all;
    }
}
