use std::fmt;
use std::time::Duration;

use super::operation::Asked;
use crate::replica::{Endpoint, Epoch, Fork, Position, Role, SystemId};
use crate::time::Instant;

/// A server's number in a topology, below 64. Stays the same while the server is a member; given to another one
/// after it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u8);

impl NodeId {
    /// Where it stands in a table of 64.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// Some of a topology's servers, in one word.
///
/// ```
/// use tenfold::replica::topology::NodeSet;
///
/// let none = NodeSet::default();
/// assert!(none.is_empty() && none.iter().next().is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NodeSet(pub(super) u64);

impl NodeSet {
    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    #[inline]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node.0) != 0
    }

    /// These and one more.
    #[must_use]
    #[inline]
    pub const fn with(self, node: NodeId) -> Self {
        Self(self.0 | 1 << node.0)
    }

    /// These but one.
    #[must_use]
    pub const fn without(self, node: NodeId) -> Self {
        Self(self.0 & !(1 << node.0))
    }

    /// These but those.
    #[must_use]
    #[inline]
    pub const fn minus(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Each, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let node = NodeId(u8::try_from(left.trailing_zeros()).ok()?);
            (left != 0).then(|| left &= left - 1)?;
            Some(node)
        })
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::default(), Self::with)
    }
}

/// What may be done with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It has not answered yet, or not since it was said to have changed its role. Gets nothing.
    Unknown,
    /// It answers, and has not yet applied what the primary had written when it came or came back. Gets nothing.
    CatchingUp {
        /// What it must have applied.
        target: Position,
    },
    /// It serves.
    Healthy,
    /// A connection to it was lost or a probe failed; it is being asked. Gets nothing.
    Suspect,
    /// It does not answer; asked again then. Gets nothing.
    Ejected {
        /// When it is asked again.
        until: Instant,
    },
    /// It is further behind than [`max_lag`](super::SettingsBuilder::max_lag). Gets nothing.
    Lagging,
    /// It is about to be removed: gets nothing new.
    Draining,
    /// It must not be used, whatever it says itself.
    Fenced(Fenced),
}

/// Why a server that answers must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fenced {
    /// It takes writes in an epoch that is over.
    StalePrimary,
    /// It takes writes in the epoch that another one takes writes in.
    SameEpoch,
    /// It takes writes in an epoch that is further ahead than one change of the role, and nobody has confirmed that.
    UnconfirmedEpoch,
    /// It belongs to another cluster.
    OtherCluster,
    /// It has writes that the primary's line of the log does not have, or may have them.
    Diverged,
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StalePrimary => "takes writes in an epoch that is over",
            Self::SameEpoch => "takes writes in the same epoch as another server",
            Self::UnconfirmedEpoch => "takes writes in an epoch that nobody confirms",
            Self::OtherCluster => "belongs to another cluster",
            Self::Diverged => "has writes that the primary does not have",
        })
    }
}

/// A server as it was last seen.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) endpoint: Endpoint,
    pub(super) state: NodeState,
    /// Connections of an older generation are to be dropped.
    pub(super) generation: u64,
    pub(super) seen: Option<Seen>,
    /// The probe that is out, if one is.
    pub(super) asked: Option<Asked>,
    pub(super) probe_at: Instant,
    pub(super) failures: u32,
    /// When the last probe that it failed ended.
    pub(super) failed_at: Option<Instant>,
    /// As a replica, how far it reached when it answered last, and on which line of the log.
    pub(super) kept: Option<(u64, Position)>,
    /// As a primary, how its line of the log came about.
    pub(super) history: Vec<Fork>,
    /// A failover wanted its receiver stopped, or there has been another primary since: it is to be made to follow that one.
    pub(super) repoint: bool,
    /// Since when it receives from nobody, if it has not since it was first seen: an earlier leader may have stopped it, and ended before
    /// it had it follow again.
    pub(super) stranded: Option<Instant>,
    /// When it may be made to follow again after that has failed.
    pub(super) follow_at: Instant,
}

/// The last answer of a server, as far as it matters later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub role: Role,
    pub system: SystemId,
    pub epoch: Epoch,
    pub applied: Position,
    pub reach: Position,
    pub receiving: Option<bool>,
    /// The member that it receives from, if it does from one and says so.
    pub upstream: Option<NodeId>,
    /// When it was last known to receive, or to be level with the primary.
    pub fresh_at: Instant,
    pub lag: Option<Duration>,
    pub at: Instant,
    pub rtt: Duration,
    /// How often in a row it has claimed the same epoch.
    pub repeated: u32,
}

impl Node {
    /// Its number.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it is called, and where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What may be done with it.
    pub fn state(&self) -> NodeState {
        self.state
    }

    /// The number of its connections' generation. A connection remembers the one that it was made in; a fault of
    /// an older one says nothing. Numbers grow over all servers of a topology, so that a server
    /// never gets one that another had under its id.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a probe of it is under way.
    pub(in crate::replica) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// What it called itself when it answered last; nothing if it has not, or has failed since.
    pub fn role(&self) -> Option<Role> {
        self.seen.map(|seen| seen.role)
    }

    /// The epoch it lived in when it answered last.
    pub fn epoch(&self) -> Option<Epoch> {
        self.seen.map(|seen| seen.epoch)
    }

    /// What it had applied when it answered last. A connection made after [`seen_at`](Self::seen_at) may show less,
    /// because the server may have been restarted in between: it has to be asked before it is used for a read
    /// that relies on a position.
    pub fn applied(&self) -> Option<Position> {
        self.seen.map(|seen| seen.applied)
    }

    /// When it answered last, by the clock of whoever calls `step`.
    pub fn seen_at(&self) -> Option<Instant> {
        self.seen.map(|seen| seen.at)
    }

    /// How far it was behind the primary when it answered last, if anybody can tell.
    pub fn lag(&self) -> Option<Duration> {
        self.seen.and_then(|seen| seen.lag)
    }

    /// How long its last answer took.
    pub fn rtt(&self) -> Option<Duration> {
        self.seen.map(|seen| seen.rtt)
    }
}
