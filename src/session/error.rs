use std::io;

use super::{Unavailable, Version};

/// A store that could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting that makes no sense.
    #[error("{setting} must be {expected}, found {found}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What it was.
        found: u64,
    },
}

/// A session that was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The system gave no random bits, and a weak token is not made instead.
    #[error("the system gave no random bits")]
    Entropy(#[source] io::Error),
    /// More data than a session may have.
    #[error("a session may have {max} bytes of data, found {len}")]
    TooLarge {
        /// How many bytes there were.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// As many sessions as there may be.
    #[error("the store holds all of the {max} sessions it may hold")]
    Full {
        /// How many there may be.
        max: usize,
    },
    /// As many sessions of this user as there may be.
    #[error("the user has all of the {max} sessions one may have")]
    UserFull {
        /// How many there may be.
        max: usize,
    },
    /// The store is elsewhere and gave no answer to go by. A [`MemoryStore`](super::MemoryStore) always answers.
    #[error("whether the session was begun is not known")]
    Unavailable(#[from] Unavailable),
}

/// Data that was not saved. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The session has expired, or was revoked or cycled, or never was. It does not
    /// come back by being saved.
    #[error("the session is gone")]
    Gone,
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
    /// Keys were to be merged into data that has none.
    #[error("the data of the session is no map of keys")]
    NotAMap,
    /// The store is elsewhere and gave no answer to go by. A [`MemoryStore`](super::MemoryStore) always answers.
    #[error("whether the data was saved is not known")]
    Unavailable(#[from] Unavailable),
}

/// A session that did not get a new token. It goes on under its old one, unless it is
/// gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CycleError {
    /// The session has expired, or was revoked or cycled, or never was.
    #[error("the session is gone")]
    Gone,
    /// The system gave no random bits.
    #[error("the system gave no random bits")]
    Entropy(#[source] io::Error),
    /// As many sessions of this user as there may be.
    #[error("the user has all of the {max} sessions one may have")]
    UserFull {
        /// How many there may be.
        max: usize,
    },
    /// The log of revocations did not take the end of the old token.
    #[error("the end of the old token could not be logged")]
    Log(#[source] io::Error),
    /// The store is elsewhere and gave no answer to go by. A [`MemoryStore`](super::MemoryStore) always answers.
    #[error("whether the session got a new token is not known")]
    Unavailable(#[from] Unavailable),
}

/// Sessions that are gone from this store, but that a restart may bring back: the log
/// of revocations did not take their end.
#[derive(Debug, thiserror::Error)]
#[error("the revocation holds until a restart: it could not be logged")]
pub struct LogError(#[source] pub(super) io::Error);

/// Sessions that may not be over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// They are, but a restart may bring them back.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store is elsewhere and gave no answer to go by.
    #[error("whether the revocation holds is not known")]
    Unavailable(#[from] Unavailable),
}

/// A snapshot that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another snapshot of this store is being written.
    #[error("another snapshot is being written")]
    Busy,
    /// The writer failed.
    #[error("the snapshot could not be written")]
    Io(#[from] io::Error),
}

/// A snapshot from which no store was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Settings that make no sense.
    #[error("the store cannot be built")]
    Build(#[from] BuildError),
    /// These bytes are no snapshot of sessions.
    #[error("not a snapshot of sessions")]
    Magic,
    /// Written by a later version of this crate.
    #[error("the snapshot has format {found}, and up to {supported} can be read")]
    Version {
        /// The snapshot's.
        found: u16,
        /// The latest that can be read.
        supported: u16,
    },
    /// It ends too soon.
    #[error("the snapshot ends after {frames} frames, without its last")]
    Truncated {
        /// The whole frames.
        frames: u64,
    },
    /// Bytes changed since they were written.
    #[error("frame {frame} does not have the checksum it was written with")]
    Checksum {
        /// Which, from 0.
        frame: u64,
    },
    /// The checksum is right, and what is said makes no sense.
    #[error("frame {frame} is malformed: expected {expected}")]
    Malformed {
        /// Which, from 0.
        frame: u64,
        /// What would be right.
        expected: &'static str,
    },
    /// The reader failed.
    #[error("the snapshot could not be read")]
    Io(#[from] io::Error),
}
