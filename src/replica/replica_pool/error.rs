use std::fmt;

use crate::replica::Epoch;
use crate::replica::pool::{GetError, PoolBuildError, Timeout};
use crate::replica::topology::{SelectError, SettingsError};

/// Why a [`ReplicaPool`](super::ReplicaPool) lent nothing, or an operation did not work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError<E> {
    /// There is no server to go to, and there was none until the deadline.
    #[error(transparent)]
    Select(SelectError),
    /// The server that it was to go to lent no connection. Nothing was done.
    #[error("{endpoint} lent no connection")]
    Get {
        /// Its name.
        endpoint: Box<str>,
        /// Why not.
        source: GetError<E>,
    },
    /// The read would have had to go to the primary, which has as many as leave writes their reserve, and still had at the
    /// deadline.
    #[error(
        "no replica serves, and reads have their share of the primary {endpoint}: waited {timeout}"
    )]
    Overloaded {
        /// The primary's name.
        endpoint: Box<str>,
        /// How things stood.
        timeout: Timeout,
    },
    /// The role of the primary went elsewhere while this was under way.
    #[error(transparent)]
    RoleChanged(RoleChanged),
    /// The operation failed, and nothing was done, or it was said not to matter.
    #[error("the operation failed")]
    Failed(#[source] E),
    /// The connection was lost during a write: it may have been done, or not. It is not repeated.
    #[error("the connection was lost, and whether the write was done is not known")]
    Uncertain(#[source] E),
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
}

/// The role of the primary went elsewhere while a connection to it was lent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleChanged {
    /// The server's name.
    pub endpoint: Box<str>,
    /// The epoch in which the connection was lent.
    pub lent_in: Option<Epoch>,
    /// The epoch now.
    pub now: Option<Epoch>,
}

impl fmt::Display for RoleChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            lent_in,
            now,
        } = self;
        write!(f, "{endpoint} is not the primary that it was")?;
        match (lent_in, now) {
            (Some(then), Some(now)) if then != now => {
                write!(f, ": it was in {then}, and now is {now}")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for RoleChanged {}

/// Why a [`ReplicaPoolBuilder`](super::ReplicaPoolBuilder) builds nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaBuildError {
    /// A pool that cannot be.
    #[error(transparent)]
    Pool(#[from] PoolBuildError),
    /// A share that is none.
    #[error("{knob} must be a share between 0 and 1, found {found}")]
    Share {
        /// Which.
        knob: &'static str,
        /// What was given.
        found: f64,
    },
    /// A balancer that cannot be.
    #[error(transparent)]
    Balance(#[from] crate::balance::BuildError),
}

/// Why a server was not added, drained or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It does not fit among the others.
    #[error(transparent)]
    NotAdded(#[from] SettingsError),
    /// There is none of this name.
    #[error("there is no server {0:?}")]
    Unknown(Box<str>),
    /// It is the primary: first another one is to be promoted.
    #[error("{0:?} is the primary, which takes writes until there is another")]
    Primary(Box<str>),
}

/// Whether it may be otherwise when the topology has changed.
pub(super) fn is_passing(error: &SelectError) -> bool {
    matches!(
        error,
        SelectError::NoPrimary { .. } | SelectError::NoReplica { .. }
    )
}
