use std::time::Duration;

use super::{CausalToken, TagSet};

/// Which server a read may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadPreference {
    /// Any server: the best of the replicas, and the primary where none of them serves.
    Any,
    /// A replica; with none left, the primary, as far as its reserve for writes allows. The default.
    Replica,
    /// A replica and nothing else.
    ReplicaOnly,
    /// The primary.
    Primary,
    /// A server with this tag and value, whatever its role; nobody else.
    Tag(Box<str>, Box<str>),
    /// A server with all the tags of a set, whatever its role: of the first of these sets that any server has. With an
    /// [empty](TagSet::anybody) set at the end, anybody where nobody has any.
    Tagged(Box<[TagSet]>),
    /// A replica no further behind than this; with none, the primary like [`Replica`](Self::Replica).
    MaxLag(Duration),
    /// Whoever has applied what the token stands for: a replica that has, or one that does so within the time, or
    /// the primary. A read after one's own write.
    AtLeast(CausalToken, Duration),
}
