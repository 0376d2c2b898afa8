use std::error::Error;
use std::fmt;

use super::{Digest, Entry, ForkPoint, LogRange};
use crate::replica::Position;

/// Something that lost writes can be read from: an old primary's log, what was decoded of it, a client's journal.
/// [`AsyncEntrySource`](super::AsyncEntrySource) is the same for futures.
pub trait EntrySource: Send + Sync {
    /// What was written.
    type Write: Send;
    /// What goes wrong with reading.
    type Error: Error + Send + Sync + 'static;

    /// What `from.timeline` has behind `from.position`, in the order of its commits, read as it is asked for. Begun
    /// again, it gives the same entries again.
    ///
    /// # Errors
    /// Where it cannot be read at all. An error in the iterator ends it: what is behind is unknown. An entry that is known
    /// to be there and cannot be had is [`Read::Unreadable`] instead, and others follow.
    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Self::Error>;

    /// Whether all that was committed behind this fork is in it. Asked before any source is read.
    fn coverage(&self, from: ForkPoint) -> Coverage {
        let _ = from;
        Coverage::Whole
    }
}

/// What the iterator of a source gives.
pub type Reading<S> = Result<Read<<S as EntrySource>::Write>, <S as EntrySource>::Error>;

/// A database's log, as a recovery sees it: what is in it can be read, and entries of another line can be applied to it.
/// [`AsyncReplicationLog`](super::AsyncReplicationLog) is the same for futures.
pub trait ReplicationLog: EntrySource {
    /// How far its own line has come.
    ///
    /// # Errors
    /// The database's own.
    fn last_applied(&self) -> Result<Position, Self::Error>;

    /// Applies an entry of another line whole, or not at all, and keeps its id with it in the same transaction.
    ///
    /// It may be told the same entry again, by another run, by one at the same time, or after an answer was
    /// lost. One whose id it has kept is [`Applied::Already`], also if what it wrote has been overwritten since. What it finds
    /// changed by its own line is a [`Applied::Conflict`], and then nothing is changed.
    ///
    /// # Errors
    /// Where the target fails: the recovery stops and can be run again. An entry that can never be applied is
    /// [`Applied::Refused`] instead.
    fn apply(&self, entry: &Entry<Self::Write>) -> Result<Applied, Self::Error>;

    /// Applies an entry over these conflicts, as long as they are what is found: if it is another by now, that is a
    /// conflict again.
    ///
    /// # Errors
    /// As with [`apply`](Self::apply).
    fn overwrite(
        &self,
        entry: &Entry<Self::Write>,
        conflicts: &[Conflict],
    ) -> Result<Applied, Self::Error>;

    /// What there is of the entries of a range: those of its own line that it has committed, those of another
    /// that it answered [`Applied::New`] for.
    ///
    /// # Errors
    /// The database's own.
    fn digest(&self, range: LogRange) -> Result<Digest, Self::Error>;
}

/// What a source has next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read<W> {
    /// A write.
    Entry(Entry<W>),
    /// There was a write here, and it cannot be had.
    Unreadable {
        /// Where its commit ends.
        position: Position,
        /// Why not, and what it was as far as that is known.
        why: String,
    },
    /// There was a write here of which no source has all.
    Partly {
        /// Where its commit ends.
        position: Position,
        /// What can be had of it, to be applied nonetheless.
        rest: Option<Entry<W>>,
        /// What is missing, and why.
        missing: String,
    },
    /// There is nothing more up to here. A source whose log goes on behind the last commit says so at its end.
    Upto(Position),
}

/// Whether a source has all that was committed, as long as it can be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coverage {
    /// It does.
    Whole,
    /// It has a part of it, in these words: "the writes of this process".
    Part(String),
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It is there now.
    New,
    /// It was there already; nothing was changed.
    Already,
    /// It would overwrite this; nothing was changed.
    Conflict(Vec<Conflict>),
    /// It cannot be applied, for this reason: "table log has no primary key". Nothing was changed.
    Refused(String),
}

/// What both lines have written, with both sides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conflict {
    /// What it is about: a table and a key.
    pub what: String,
    /// What the new primary has; nothing if it has deleted it.
    pub found: Option<String>,
    /// What the lost write says; nothing if it deletes it.
    pub lost: Option<String>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".into());
        let (found, lost) = (side(&self.found), side(&self.lost));
        write!(f, "{}: found {found}, lost {lost}", self.what)
    }
}
