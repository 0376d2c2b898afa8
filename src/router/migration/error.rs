use std::sync::Arc;

use super::part::PartId;
use super::phase::Phase;
use crate::router::{DecodeError, Incomparable, StaleTopology};

/// A step that a migration cannot take. Nothing was changed, unless the journal
/// failed: then the step may be found done by whoever resumes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The topologies place keys by different hashes.
    #[error("what moves cannot be cut into parts")]
    Incomparable(#[from] Incomparable),
    /// The new topology is not later than the one in force, or a process does not
    /// know the one in force.
    #[error("the epoch does not fit")]
    Stale(#[from] StaleTopology),
    /// The new topology is not an edit of the one in force: it calls other nodes by
    /// the same number, or the same node by another.
    #[error("the new topology is no edit of the old one: they number {name:?} differently")]
    Unrelated {
        /// The old topology's name of the node.
        name: Arc<str>,
    },
    /// What is said about single keys would have to move with them, or against their slot.
    #[error(
        "{found} single keys are concerned, such as {key}: release them before, or change what is said about them in a step of its own"
    )]
    SingleKeys {
        /// How many.
        found: usize,
        /// One of them.
        key: String,
    },
    /// One at a time.
    #[error("a migration to epoch {to} is under way, and there can be one at a time")]
    UnderWay {
        /// Where that one leads.
        to: u64,
    },
    /// The topology in force is neither the one that the journal begins with, nor the
    /// one that it leads to.
    #[error(
        "the journal is of a migration from epoch {from} to {to}, and epoch {found} is in force, or another topology of that epoch"
    )]
    OtherMigration {
        /// Where the journal's begins.
        from: u64,
        /// Where it leads.
        to: u64,
        /// The epoch in force.
        found: u64,
    },
    /// There is nothing to resume.
    #[error("the journal is empty: there is nothing to resume")]
    NoJournal,
    /// The journal has a migration that did not end: resume it.
    #[error("the journal has a migration from epoch {from} to {to} that did not end: resume it")]
    JournalInUse {
        /// Where it begins.
        from: u64,
        /// Where it leads.
        to: u64,
    },
    /// The journal's records make no sense.
    #[error("the journal cannot be read")]
    Record(#[from] RecordError),
    /// The journal said no.
    #[error("the journal failed")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The migration is over.
    #[error("the migration is over")]
    Over,
    /// There is no such part.
    #[error("there is no {part}, only {parts} parts")]
    UnknownPart {
        /// What was asked for.
        part: PartId,
        /// How many there are.
        parts: usize,
    },
    /// The part is not where this step begins.
    #[error("{part} is {found}, expected {expected} for it to become {wanted}")]
    OutOfOrder {
        /// The part.
        part: PartId,
        /// Its phase.
        found: Phase,
        /// The phase in which it can be done.
        expected: Phase,
        /// The phase that was asked for.
        wanted: Phase,
    },
    /// Someone still goes by the phase before.
    #[error("{part} is not {phase} everywhere yet: {writers} writers and {} processes go by the phase before", members.len())]
    Draining {
        /// The part.
        part: PartId,
        /// The phase that is not complete.
        phase: Phase,
        /// The write routes of this process that are older.
        writers: u64,
        /// The processes that have not acknowledged.
        members: Vec<Arc<str>>,
    },
    /// Keys of which a node may lack the last write.
    #[error("{part} has {keys} dirty keys, expected none")]
    Dirty {
        /// The part.
        part: PartId,
        /// How many.
        keys: usize,
    },
    /// Nobody knows whether both nodes have the same.
    #[error("{part} is not verified")]
    Unverified {
        /// The part.
        part: PartId,
    },
    /// Something happened while the part was verified, so that it must be verified anew.
    #[error("what was found of {part} does not count: verify it anew")]
    Overtaken {
        /// The part.
        part: PartId,
    },
    /// As many parts are in flight as may be.
    #[error("{limit} parts are in flight, and there may not be more")]
    TooManyInFlight {
        /// The limit.
        limit: usize,
    },
    /// Not all parts are where the end begins.
    #[error("{parts} parts are not {expected}")]
    Unfinished {
        /// How many.
        parts: usize,
        /// What they should be.
        expected: Phase,
    },
    /// A process that has not joined, or is lost.
    #[error("there is no member named {name:?}")]
    UnknownMember {
        /// The name.
        name: Arc<str>,
    },
    /// A process of this name has joined.
    #[error("member {name:?} has joined already: if it is lost, say so first")]
    MemberExists {
        /// The name.
        name: Arc<str>,
    },
    /// A process that may still write, as far as was heard.
    #[error(
        "member {name:?} cannot leave: it had {writers} write routes when it was last heard, or never was"
    )]
    Busy {
        /// Its name.
        name: Arc<str>,
        /// Its write routes to keys that move.
        writers: u64,
    },
    /// A message about another migration.
    #[error("the message is about migration {found:016x}, expected {expected:016x}")]
    OtherMessage {
        /// The number of ours.
        expected: u64,
        /// The message's.
        found: u64,
    },
    /// A process missed more than it may: it must join anew.
    #[error("{part} is {found} here and {told} there: this process was left behind")]
    LeftBehind {
        /// The part.
        part: PartId,
        /// Its phase here.
        found: Phase,
        /// What the message says.
        told: Phase,
    },
}

/// Bytes that are no record or message of a migration. Nothing of them was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// They do not begin as they should.
    #[error("expected {expected}, found something else")]
    Magic {
        /// What was expected.
        expected: &'static str,
    },
    /// They were written by a newer version of this crate.
    #[error("format version is {found}, this program reads up to {supported}")]
    FutureVersion {
        /// The version of the bytes.
        found: u16,
        /// The newest that can be read.
        supported: u16,
    },
    /// They end too early, or were changed.
    #[error("checksum should be {expected:016x}, found {found:016x}")]
    Checksum {
        /// What the bytes say.
        expected: u64,
        /// What they have.
        found: u64,
    },
    /// They make no sense.
    #[error("malformed, expected {expected}")]
    Malformed {
        /// What should have been there.
        expected: &'static str,
    },
    /// A topology within them is none.
    #[error("a topology cannot be read")]
    Topology(#[from] DecodeError),
}
