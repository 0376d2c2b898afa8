use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::not_replicated::NotReplicated;

/// A store elsewhere that gave no answer one can go by: nobody knows about the session.
///
/// It is never to be taken for "there is no such session", which would log everybody out for as
/// long as the store is down: answer the request with "try again" (503).
///
/// ```
/// use std::time::Duration;
/// use tenfold::session::Unavailable;
///
/// let late = Unavailable::TimedOut { limit: Duration::from_millis(50) };
/// assert_eq!(late.to_string(), "the session store did not answer within 50ms");
/// assert!(late.may_have_happened());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// There is no connection to it, or none any more.
    #[error("the session store could not be reached")]
    Unreachable(#[source] Cause),
    /// It did not answer in time.
    #[error("the session store did not answer within {limit:?}")]
    TimedOut {
        /// How long an answer may take.
        limit: Duration,
    },
    /// It failed too often lately, and was not asked.
    #[error("the session store failed too often, and is left alone for {pause:?}")]
    Suspended {
        /// How long it is left alone, from its last failure on.
        pause: Duration,
    },
    /// It answered that it does not do this now: it is loading, out of memory, or a replica.
    #[error("the session store refused")]
    Refused(#[source] Cause),
    /// It answered what a store of sessions cannot answer, or holds what none has written.
    #[error("the session store answered nonsense: expected {expected}")]
    Malformed {
        /// What would be right.
        expected: &'static str,
    },
    /// It was asked for a session that it says another one has: the address given to this process is wrong, and trying again
    /// does not help.
    #[error("the session store has only a part of the sessions: expected {expected}")]
    Misdirected {
        /// What would be right.
        expected: &'static str,
    },
    /// It did what it was asked to, and too few of its replicas are known to have that: a failover may undo it.
    #[error(transparent)]
    NotReplicated(Box<NotReplicated>),
}

/// What the client of the store said.
pub type Cause = Arc<dyn Error + Send + Sync>;

impl Unavailable {
    /// Whether a change may have been made all the same, because it was asked for and what became of it
    /// is not known. Ending a session once more does no harm; a save is found out by the next load.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::Malformed { .. }
            | Self::NotReplicated(_) => true,
            Self::Suspended { .. } | Self::Refused(_) | Self::Misdirected { .. } => false,
        }
    }
}

impl PartialEq for Unavailable {
    /// Two that have a cause are equal if it is the very same.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unreachable(one), Self::Unreachable(two))
            | (Self::Refused(one), Self::Refused(two)) => Arc::ptr_eq(one, two),
            (Self::TimedOut { limit: one }, Self::TimedOut { limit: two })
            | (Self::Suspended { pause: one }, Self::Suspended { pause: two }) => one == two,
            (Self::Malformed { expected: one }, Self::Malformed { expected: two })
            | (Self::Misdirected { expected: one }, Self::Misdirected { expected: two }) => {
                one == two
            }
            (Self::NotReplicated(one), Self::NotReplicated(two)) => one == two,
            _ => false,
        }
    }
}

impl Eq for Unavailable {}
