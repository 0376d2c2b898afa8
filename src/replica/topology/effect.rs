use std::fmt;

use super::{Action, Fenced, NodeId, OperationId, Phase, ProbeId, SettingsError};
use crate::replica::{Endpoint, Epoch, Position, SystemId};
use crate::time::Instant;

/// What is to be done. In the order they come in; each is done once, and none has to have
/// ended before the next input.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Ask this server what it is. Ends with [`Input::Answered`](super::Input::Answered) or
    /// [`Input::Unanswered`](super::Input::Unanswered); without either by the deadline it counts as failed.
    Probe {
        /// Whom.
        node: NodeId,
        /// To be handed back.
        probe: ProbeId,
        /// Until when.
        deadline: Instant,
    },
    /// Drop every connection to this server that is of an older generation: the idle now, the others when they
    /// are given back.
    Purge {
        /// To whom.
        node: NodeId,
        /// The oldest generation that stays.
        generation: u64,
    },
    /// Do this to a server. Ends with [`Input::Finished`](super::Input::Finished) or
    /// [`Input::Failed`](super::Input::Failed); without either by the deadline it counts as failed. It must not be begun
    /// after that: a promotion that comes late makes a second primary.
    Perform {
        /// To be handed back.
        operation: OperationId,
        /// What.
        action: Action,
        /// Until when.
        deadline: Instant,
    },
    /// Ask for the lease, or extend it. Ends with [`Input::LeaseGained`](super::Input::LeaseGained) or
    /// [`Input::LeaseLost`](super::Input::LeaseLost); without either by the deadline it counts as refused.
    AcquireLease {
        /// Until when.
        deadline: Instant,
    },
    /// Give the lease back. Nothing is awaited: what cannot be given back runs out.
    ReleaseLease {
        /// Of which grant.
        term: u64,
        /// Until when it is worth trying.
        deadline: Instant,
    },
    /// Tell whoever listens.
    Emit(Event),
    /// Bring [`Input::Tick`](super::Input::Tick) at this moment, and no longer at the one that was asked for before.
    WakeAt(Instant),
}

/// Something that whoever runs the cluster may want to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The cluster is in another phase.
    Phase {
        /// It was in this.
        from: Phase,
        /// It is in that.
        to: Phase,
    },
    /// Writes go to this server now.
    PrimaryChanged {
        /// Where they went before.
        from: Option<NodeId>,
        /// Where they go.
        to: NodeId,
        /// The epoch it is primary of.
        epoch: Epoch,
    },
    /// A server serves reads, for the first time or again.
    Joined(NodeId),
    /// A server that served reads does not any more.
    Left(NodeId),
    /// A server must not be used, for this reason.
    Refused {
        /// Which.
        node: NodeId,
        /// Why.
        why: Fenced,
        /// The epoch it claims.
        claimed: Epoch,
    },
    /// A server belongs to another cluster.
    WrongCluster {
        /// Which.
        node: NodeId,
        /// Whose servers these are.
        expected: SystemId,
        /// Where it belongs.
        found: SystemId,
    },
    /// Two servers take writes in the same epoch, and neither was the primary before: no write is sent to either until one is
    /// in a newer epoch, no longer primary, or removed.
    TwoPrimaries {
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
        /// The epoch of both.
        epoch: Epoch,
    },
    /// A server could not be added.
    NotAdded {
        /// Which.
        endpoint: Endpoint,
        /// Why.
        why: SettingsError,
    },
    /// The primary does not answer here, but replicas receive from it: it is not failed over.
    PrimaryOnlyUnreachable {
        /// Who still receives.
        witness: NodeId,
    },
    /// A failover could not be, and is tried again.
    FailoverRefused(FailoverRefused),
    /// An operation failed.
    OperationFailed(Action),
    /// What a monitor called has panicked: the client, the lease, or the recovery. It counts as failed, and the monitor goes on.
    CallPanicked,
    /// The primary's line of the log has left another one. What that one had after this position, if anything, is not at the primary, whether
    /// it was acknowledged or not; a read by a token of it is refused. Not told where it is certain that every
    /// acknowledged write was kept.
    WritesMissing {
        /// The line of the log that has ended.
        timeline: u64,
        /// Where the new one left it, at the earliest.
        after: Position,
        /// How far it is known to have come.
        known: Position,
    },
    /// What was missing was brought to the primary, wholly or in part.
    WritesRecovered {
        /// From the line of the log that ended.
        timeline: u64,
        /// From whose disk.
        from: NodeId,
        /// Whether nothing is missing any more.
        complete: bool,
    },
    /// What was missing will not be recovered: the server that had it was removed.
    WritesGivenUp {
        /// The line of the log that ended.
        timeline: u64,
        /// Whose disk it was on.
        from: NodeId,
    },
    /// A grant of the lease was no newer than one before, and was not used.
    LeaseFromThePast {
        /// Its term.
        term: u64,
        /// The newest that is known.
        known: u64,
    },
}

/// Why a failover was not begun, or not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailoverRefused {
    /// The last one was too short a time ago.
    TooSoon {
        /// When the next one may be.
        until: Instant,
    },
    /// There is no lease, or it ran out.
    NoLease,
    /// A replica lives in a later epoch: somebody else has promoted, and that primary has to be found.
    Behind {
        /// The epoch.
        epoch: Epoch,
    },
    /// The primary was not seen since the topology was made, and who it is does not follow: all servers but one would have to
    /// answer, as replicas on one line of the log that receive from none but each other.
    NeverSeen {
        /// So many do not answer.
        silent: usize,
    },
    /// It is not certain that this server takes no more writes.
    NotFenced(NodeId),
    /// Too few of the synchronous standbys can be stopped for knowing every acknowledged write.
    NoQuorum {
        /// So many were.
        stopped: usize,
        /// So many must be.
        needed: usize,
    },
    /// No replica can be promoted.
    NoCandidate,
    /// The candidate could not be promoted.
    NotPromoted(NodeId),
}

impl fmt::Display for FailoverRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSoon { .. } => f.write_str("the last failover was too short a time ago"),
            Self::NoLease => f.write_str("there is no lease"),
            Self::Behind { epoch } => write!(f, "somebody else has promoted, to {epoch}"),
            Self::NeverSeen { silent: 1 } => f.write_str(
                "the primary was never seen, and the others are not all replicas on one line that receive from nobody",
            ),
            Self::NeverSeen { silent } => write!(
                f,
                "the primary was never seen, and {silent} servers do not answer: expected one, which it must be"
            ),
            Self::NotFenced(node) => write!(f, "it is not certain that {node} takes no writes"),
            Self::NoQuorum { stopped, needed } => write!(
                f,
                "of the synchronous standbys {needed} must be stopped, and {stopped} could be"
            ),
            Self::NoCandidate => f.write_str("no replica can be promoted"),
            Self::NotPromoted(node) => write!(f, "{node} could not be promoted"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase { from, to } => write!(f, "{to}, after {from}"),
            Self::PrimaryChanged { to, epoch, .. } => write!(f, "writes go to {to}, {epoch}"),
            Self::Joined(node) => write!(f, "{node} serves reads"),
            Self::Left(node) => write!(f, "{node} serves no reads"),
            Self::Refused { node, why, claimed } => write!(f, "{node} {why} ({claimed})"),
            Self::WrongCluster {
                node,
                expected,
                found,
            } => {
                write!(f, "{node} belongs to cluster {found}, expected {expected}")
            }
            Self::TwoPrimaries { one, other, epoch } => {
                write!(f, "{one} and {other} both take writes in {epoch}")
            }
            Self::NotAdded { endpoint, why } => write!(f, "{endpoint} was not added: {why}"),
            Self::PrimaryOnlyUnreachable { witness } => {
                write!(
                    f,
                    "the primary does not answer, but {witness} receives from it"
                )
            }
            Self::FailoverRefused(why) => write!(f, "no failover: {why}"),
            Self::OperationFailed(action) => write!(f, "could not {action}"),
            Self::CallPanicked => f.write_str("what a monitor called has panicked"),
            Self::WritesMissing {
                timeline,
                after,
                known,
            } => write!(
                f,
                "what timeline {timeline} had after {after} is missing (it was seen to have come to {known})"
            ),
            Self::WritesRecovered {
                from,
                complete: true,
                ..
            } => write!(f, "all that was missing was recovered from {from}"),
            Self::WritesRecovered { from, .. } => {
                write!(f, "a part of what was missing was recovered from {from}")
            }
            Self::WritesGivenUp { timeline, from } => {
                write!(f, "what only {from} had of timeline {timeline} is given up")
            }
            Self::LeaseFromThePast { term, known } => {
                write!(f, "a lease of term {term} was granted after {known}")
            }
        }
    }
}
