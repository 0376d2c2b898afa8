use std::fmt;

use super::{NodeId, Topology};
use crate::replica::{Epoch, Position};
use crate::time::Instant;

/// The number of a probe that is out: its answer carries it. An answer with another number than the latest of its
/// server came too late, or twice, and is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub(super) u64);

/// The number of an operation that is under way: its outcome carries it. An outcome that nobody waits for any more
/// is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(super) u64);

#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub probe: ProbeId,
    pub deadline: Instant,
}

/// An operation that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub operation: OperationId,
    pub action: Action,
    pub deadline: Instant,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To have a new primary.
    Failover,
    /// To put in order what the old one left.
    Repair,
}

impl Topology {
    /// Whether the outcome of an operation is awaited.
    pub(crate) fn awaits(&self, operation: OperationId) -> bool {
        let mut pending = self.0.failover.operations.iter();
        pending.any(|pending| pending.operation == operation)
    }
}

impl Pending {
    pub(super) fn is_repair(&self) -> bool {
        self.purpose == Purpose::Repair
    }
}

/// What a failover wants done to servers; the methods of [`Promoter`](crate::replica::Promoter) and of the recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Make sure that the server accepts no write of this epoch any more. Ends with [`Outcome::Done`].
    Fence {
        /// Whom.
        node: NodeId,
        /// What it may think it is primary of.
        epoch: Epoch,
    },
    /// Stop a replica from receiving. Ends with [`Outcome::Reached`].
    StopReceiver {
        /// Which.
        node: NodeId,
    },
    /// Let the candidate have what the old primary wrote and did not send. Ends with [`Outcome::Reached`] if the
    /// candidate has all of it now.
    Salvage {
        /// The old primary.
        from: NodeId,
        /// The candidate.
        to: NodeId,
    },
    /// Make it a primary. Ends with [`Outcome::Promoted`].
    Promote {
        /// Whom.
        node: NodeId,
    },
    /// Make a replica receive from this primary. Ends with [`Outcome::Done`].
    Follow {
        /// Which.
        node: NodeId,
        /// From whom.
        primary: NodeId,
    },
    /// Bring to the new primary what the old one wrote after the fork, and verify it. Ends with
    /// [`Outcome::Recovered`].
    Recover {
        /// The old primary.
        from: NodeId,
        /// The new one.
        to: NodeId,
        /// The line of the log that ended.
        timeline: u64,
        /// Where the new line left it, at the earliest.
        after: Position,
    },
    /// Make a former primary a replica, giving up what only it has. Ends with [`Outcome::Done`].
    Rejoin {
        /// Which.
        node: NodeId,
        /// Of whom.
        primary: NodeId,
    },
}

impl Action {
    /// The server it is done to.
    pub fn node(self) -> NodeId {
        match self {
            Self::Fence { node, .. }
            | Self::StopReceiver { node }
            | Self::Promote { node }
            | Self::Follow { node, .. }
            | Self::Rejoin { node, .. } => node,
            Self::Salvage { from, .. } | Self::Recover { from, .. } => from,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fence { node, epoch } => write!(f, "fence {node} in {epoch}"),
            Self::StopReceiver { node } => write!(f, "stop the receiver of {node}"),
            Self::Salvage { from, to } => write!(f, "salvage from {from} to {to}"),
            Self::Promote { node } => write!(f, "promote {node}"),
            Self::Follow { node, primary } => write!(f, "make {node} follow {primary}"),
            Self::Recover { from, to, .. } => write!(f, "recover from {from} to {to}"),
            Self::Rejoin { node, primary } => write!(f, "make {node} rejoin {primary}"),
        }
    }
}

/// How an operation ended that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done.
    Done,
    /// How far what the server has reaches now.
    Reached(Position),
    /// The epoch that the new primary lives in.
    Promoted(Epoch),
    /// The recovery has come to its end.
    Recovered {
        /// Whether every write after the fork is at the new primary now. If not, the report of the recovery says
        /// which are not.
        complete: bool,
    },
}
