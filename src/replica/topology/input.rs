use std::time::Duration;

use super::{Grant, NodeId, OperationId, Outcome, ProbeId};
use crate::replica::{Endpoint, Fault, Probe};

/// What happens to a topology.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// The moment of [`Effect::WakeAt`](super::Effect::WakeAt) has come. Too early or too often does no harm.
    Tick,
    /// A server answered a probe.
    Answered {
        /// Who.
        node: NodeId,
        /// Which probe.
        probe: ProbeId,
        /// What it said.
        answer: Probe,
        /// How long it took.
        rtt: Duration,
    },
    /// A probe failed: no connection, an error, no answer in time.
    Unanswered {
        /// Who.
        node: NodeId,
        /// Which probe.
        probe: ProbeId,
    },
    /// Something went wrong with a connection, or with making one.
    Faulted {
        /// To whom.
        node: NodeId,
        /// The generation of the connection: what [`Node::generation`](super::Node::generation) was when making it
        /// began.
        generation: u64,
        /// What.
        fault: Fault,
    },
    /// Somebody waits for this server's answer, for a position say: ask it now rather than when it is due.
    Hurry(NodeId),
    /// A new server. It serves when it has caught up.
    Add(Endpoint),
    /// This server shall get nothing new.
    Drain(NodeId),
    /// This server is no longer one of the cluster's.
    Remove(NodeId),
    /// [`Effect::AcquireLease`](super::Effect::AcquireLease) was granted, or the grant was extended.
    LeaseGained(Grant),
    /// The lease was refused, or could not be extended; what is left of it counts still. Where it was not asked for: it is
    /// lost, and does not count any more.
    LeaseLost,
    /// An operation worked.
    Finished {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// An operation failed, or may have: whether it had an effect is not known.
    Failed {
        /// Which.
        operation: OperationId,
    },
}
