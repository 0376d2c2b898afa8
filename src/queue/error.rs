use std::io;
use std::sync::Arc;

use super::log::Failed;
use super::storage::LockError;

/// A directory that could not be opened as a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another queue of this one, has it open.
    #[error("the queue is open in process {}", pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Which, as far as it said.
        pid: Option<u32>,
    },
    /// A file was written by a newer version of this crate.
    #[error("{file} needs features that this version does not know: {features:#010x}")]
    Newer {
        /// The file.
        file: String,
        /// Its word of features for all who read.
        features: u32,
    },
    /// A file was written by a newer version of this crate, and this one may read it only:
    /// see [`Queue::open_read_only`](super::Queue::open_read_only).
    #[error("{file} can be read, but not written without knowing features {features:#010x}")]
    OnlyReadable {
        /// The file.
        file: String,
        /// Its word of features for those who write.
        features: u32,
    },
    /// A file belongs to another queue.
    #[error("{file} belongs to another queue than the other files")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A setting that makes no sense.
    #[error("{setting} must be {expected}, found {found}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// The disk failed. Nothing was lost by that; try again.
    #[error("the queue could not be read or begun")]
    Io(#[from] io::Error),
}

impl From<LockError> for OpenError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { pid } => Self::Locked { pid },
            LockError::Io(error) => Self::Io(error),
        }
    }
}

/// A message that was not taken, or of which nobody can say whether it lasts.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue holds as much as it may. Nothing was taken.
    #[error(
        "the queue holds {pending} messages in {bytes} bytes, and may hold {max_pending} in {max_bytes}"
    )]
    Full {
        /// Messages that are not done.
        pending: u64,
        /// How many there may be.
        max_pending: u64,
        /// Bytes of all segments.
        bytes: u64,
        /// How many there may be.
        max_bytes: u64,
    },
    /// The disk has no room for another segment. Nothing was taken.
    #[error("the disk is full")]
    DiskFull,
    /// It does not fit into a segment. Nothing was taken.
    #[error("a batch of {size} bytes does not fit: a segment has room for {most}")]
    TooLarge {
        /// What it takes.
        size: u64,
        /// What there is.
        most: u64,
    },
    /// A dedup id that is too long. Nothing was taken.
    #[error("a dedup id may have {most} bytes, found {found}")]
    DedupId {
        /// How many it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// The log could not be read, to find where a group begins. Nothing was changed.
    #[error("the log could not be read")]
    Io(#[source] Arc<io::Error>),
    /// The queue was closed. Nothing was taken.
    #[error("the queue is closed")]
    Closed,
    /// The disk failed, and so did going on elsewhere. It may or may not be there
    /// after the next opening.
    #[error("the message may not last: the disk failed, and the queue takes nothing more")]
    NotDurable(#[source] Arc<io::Error>),
}

/// Messages that could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// There is no such group.
    #[error("the group was removed")]
    NoGroup,
    /// A message could not be read; it will be delivered again.
    #[error("a message could not be read")]
    Io(#[source] Arc<io::Error>),
    /// What there is to deliver could not be made to last.
    #[error("the disk failed, and nothing that lasts is left to deliver")]
    NotDurable(#[source] Arc<io::Error>),
}

/// An answer to a delivery that did not count, or may not last.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The lease had ended: the message was or will be delivered to somebody else.
    #[error("the lease of message {id} has ended")]
    Expired {
        /// The message.
        id: u64,
    },
    /// The disk is full, and so is what is kept free for acks. It counts in this
    /// process; after a crash the message is delivered again.
    #[error("the disk is full: the answer to message {id} may not last")]
    DiskFull {
        /// The message.
        id: u64,
    },
    /// The disk failed. It counts in this process; after a crash the message is
    /// delivered again.
    #[error("the answer may not last: the disk failed")]
    NotDurable(#[source] Arc<io::Error>),
}

impl From<Failed> for PublishError {
    fn from(failed: Failed) -> Self {
        Self::NotDurable(failed.0)
    }
}
