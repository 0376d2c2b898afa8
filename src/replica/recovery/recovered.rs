use std::fmt;

use super::ForkPoint;
use crate::replica::Position;

/// Says that what a former primary has and nobody else may be erased: it was recovered, there was nothing, or somebody has
/// said so. A [rejoin](crate::replica::Promoter::rejoin) needs it.
///
/// ```
/// use tenfold::replica::Position;
/// use tenfold::replica::recovery::{ForkPoint, Recovered};
///
/// let fork = ForkPoint::new(1, Position(100));
/// assert!(Recovered::nothing_lost(fork, Position(100)).is_ok());
/// assert!(Recovered::nothing_lost(fork, Position(101)).is_err());
/// let given_up = Recovered::declared(fork, "the disk is broken, ticket 4711");
/// assert_eq!(given_up.to_string(), "given up: the disk is broken, ticket 4711");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    fork: ForkPoint,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Complete { entries: u64 },
    NothingLost,
    Declared(String),
}

impl Recovered {
    /// The old primary's log reached no further than the fork.
    ///
    /// # Errors
    /// [`Incomplete::Unread`] if it did.
    pub fn nothing_lost(fork: ForkPoint, reached: Position) -> Result<Self, Incomplete> {
        if reached > fork.position {
            return Err(Incomplete::Unread {
                from: fork.position,
                upto: Some(reached),
            });
        }
        Ok(Self {
            fork,
            why: Why::NothingLost,
        })
    }

    /// A person has said that what was not recovered may go, for this reason.
    pub fn declared(fork: ForkPoint, why: &str) -> Self {
        Self {
            fork,
            why: Why::Declared(why.into()),
        }
    }

    pub(super) fn complete(fork: ForkPoint, entries: u64) -> Self {
        Self {
            fork,
            why: Why::Complete { entries },
        }
    }

    /// Which line may be erased, and from where on.
    pub fn fork(&self) -> ForkPoint {
        self.fork
    }

    /// Whether it was somebody's word, and not what was found.
    pub fn is_declared(&self) -> bool {
        matches!(self.why, Why::Declared(_))
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Complete { entries: 1 } => write!(f, "1 write recovered"),
            Why::Complete { entries } => write!(f, "{entries} writes recovered"),
            Why::NothingLost => write!(f, "nothing was lost"),
            Why::Declared(why) => write!(f, "given up: {why}"),
        }
    }
}

/// Why a recovery is not complete, the first reason that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// It broke off; run it again.
    #[error("the recovery stopped: {0}")]
    Stopped(String),
    /// What is there now is not what was applied.
    #[error("the target should have {expected} and has {found}")]
    Digest {
        /// What it should have.
        expected: super::Digest,
        /// What it has.
        found: super::Digest,
    },
    /// No source that has all of the log was read to its end.
    #[error("what the old line has behind {from}{} was read from no source that has all of it", as_far_as(*.upto))]
    Unread {
        /// What was read reaches to here.
        from: Position,
        /// What was acknowledged reaches to here, if that is known.
        upto: Option<Position>,
    },
    /// Some writes cannot be recovered.
    #[error("{} cannot be recovered", count(*.0, "write"))]
    Lost(u64),
    /// Nobody has said what shall become of some conflicts.
    #[error("{} not decided", count(*.0, "conflict"))]
    Undecided(u64),
}

fn as_far_as(upto: Option<Position>) -> String {
    upto.map_or_else(String::new, |upto| format!(", up to {upto},"))
}

pub(super) fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}
