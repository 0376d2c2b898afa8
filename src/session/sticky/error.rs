use std::io;

use super::cookie::NodeNumber;
use crate::session::{CreateError, CycleError, FrameError, LogError, Version};

/// A request that goes nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No node takes sessions.
    #[error("no node is up")]
    NoNode,
    /// The system gave no random bits to place a new browser by.
    #[error("the system gave no random bits")]
    Entropy(#[source] io::Error),
}

/// A node that cannot be as was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It never joined, or was removed.
    #[error("{node} takes no part: it has to join first")]
    Unknown {
        /// Which.
        node: NodeNumber,
    },
    /// It was down.
    #[error("{node} was down, and others took over: it has to join with a higher incarnation")]
    Down {
        /// Which.
        node: NodeNumber,
    },
    /// It joined with this incarnation before, or with a higher one.
    #[error("{node} has to join with an incarnation above {before}, found {found}")]
    Incarnation {
        /// Which.
        node: NodeNumber,
        /// That of its life before.
        before: u32,
        /// What was said.
        found: u32,
    },
}

/// Something that a node did not do to a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StickyError {
    /// The session has expired, or was revoked or cycled, or never was.
    #[error("the session is gone")]
    Gone,
    /// Another node has it: send the request there, with a new
    /// [pin](super::StickyRouter::repin).
    #[error("the session is at {to}")]
    Moved {
        /// Which.
        to: NodeNumber,
    },
    /// This node keeps no sessions any more: it is down as far as others know, was restarted, or should
    /// be empty by now. Route the request anew.
    #[error("this node keeps no sessions any more")]
    Retired,
    /// Somebody else has saved since this version was loaded.
    #[error("the session was changed meanwhile: it is at {current}")]
    Conflict {
        /// The version that there is.
        current: Version,
    },
    /// More data than a session may have.
    #[error("a session may have {max} bytes of data, found {len}")]
    TooLarge {
        /// How many bytes there were.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// The change was made, and there is no second copy of it: not every order was answered, or one of
    /// them was refused for want of room. Answer the request with an error; the session
    /// is copied again by the next [`maintain`](super::StickyStore::maintain).
    #[error("the change has no second copy: {missing} of {expected} orders were not carried out")]
    Unconfirmed {
        /// How many were not.
        missing: usize,
        /// How many there were.
        expected: usize,
    },
    /// A session was not begun.
    #[error("the session was not begun")]
    Create(#[source] CreateError),
    /// A session did not get a new token.
    #[error("the session did not get a new token")]
    Cycle(#[source] CycleError),
    /// A revocation that holds until a restart.
    #[error("the revocation could not be logged")]
    Log(#[from] LogError),
}

/// Bytes that are no message between nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They end too soon, or are too many.
    #[error("a message is malformed: expected {expected}")]
    Malformed {
        /// What would be right.
        expected: &'static str,
    },
    /// A session in it is damaged.
    #[error("a session of a message is damaged")]
    Frame(#[from] FrameError),
}

/// A question of another node that is not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is no question.
    #[error("not a question of another node")]
    Message(#[from] MessageError),
    /// Sessions came that are to have their copies elsewhere, and these could not be made.
    #[error("{to} did not take the copies of sessions that came")]
    NotPassedOn {
        /// Which node.
        to: NodeNumber,
    },
    /// What it asks for was not done, or not everywhere.
    #[error("what was asked for was not done everywhere")]
    Sticky(#[from] StickyError),
    /// Sessions are over, but a restart may bring them back.
    #[error(transparent)]
    Log(#[from] LogError),
}
