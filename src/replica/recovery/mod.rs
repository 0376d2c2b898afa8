//! Getting back the writes that were acknowledged and never reached the new primary.
//!
//! With asynchronous replication a promotion loses what the old primary had acknowledged and not yet sent. It is
//! not gone: it lies in the old primary's log, behind the [`ForkPoint`] where the new line parts from the old. A [`Recovery`]
//! reads it from the first [source](EntrySource) that still has it and applies it to the new primary, one entry at
//! a time, each at most once.
//!
//! ```
//! use tenfold::replica::recovery::memory::MemoryLog;
//! use tenfold::replica::recovery::{ForkPoint, Recovery};
//! use tenfold::replica::Position;
//!
//! // The old primary took four writes; two of them reached the replica that is primary now.
//! let old = MemoryLog::new(1);
//! for (key, value) in [("ada", "1"), ("bob", "1"), ("ada", "2"), ("cy", "1")] {
//!     old.write(key, value);
//! }
//! let new = old.promote(Position(2));
//! new.write("cy", "taken"); // and the new primary has gone on since
//!
//! let report = Recovery::after(ForkPoint::new(1, Position(2)))
//!     .source("old primary's log", &old)
//!     .run(&new);
//! assert_eq!(new.get("ada").as_deref(), Some("2"));
//!
//! // What both lines wrote is reported with both sides, and left as it is.
//! assert_eq!(new.get("cy").as_deref(), Some("taken"));
//! assert_eq!(report.conflicts().len(), 1);
//! assert!(report.complete().is_err());
//!
//! // A second run changes nothing.
//! let again = Recovery::after(ForkPoint::new(1, Position(2))).source("old primary's log", &old).run(&new);
//! assert_eq!((again.recovered(), again.already()), (0, 1));
//! # println!("{report}");
//! ```
//!
//! # What can be relied on
//!
//! - An entry is applied whole or not at all, and at most once, however often a recovery runs and wherever
//!   one broke off: what the target [applied](ReplicationLog::apply) it knows again. To go on after a crash is to run it again.
//! - Nothing that the new primary has written since is overwritten unless a closure of yours [says so](Recovery::decide).
//! - What was not recovered is in the [`RecoveryReport`], with the reason. A former primary
//!   [rejoins](crate::replica::Promoter::rejoin), which erases what only it has, with a [`Recovered`] in hand: that is had of a complete report, or by saying that the rest may go.
//! - No source is read further than needed: one that has the whole log and was read to its end makes the later ones
//!   superfluous, unless it had gaps.
//!
//! # What cannot be relied on
//!
//! A source has what it has. A [`WriteJournal`] knows the writes of its own client, and where its ring ran over not all
//! of those; the report says either. And whether a row was changed on both sides is found by the target: a log that can only
//! say "there is another value" has to call that a conflict.

mod course;
mod entry;
mod erased;
mod journal;
mod log;
mod log_async;
pub mod memory;
mod recovered;
mod report;
mod run;
mod step;

pub use entry::{Digest, Entry, EntryId, ForkPoint, LogRange};
pub use journal::{
    JournalError, JournalFull, WhenFull, WriteJournal, WriteJournalBuilder, WriteJournalStats,
    Writing,
};
pub use log::{Applied, Conflict, Coverage, EntrySource, Read, Reading, ReplicationLog};
pub use log_async::{AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Ready};
pub use recovered::{Incomplete, Recovered};
pub use report::{
    ConflictReport, Decision, Loss, RecoveryReport, SourceEnd, SourceReport, Stopped,
};
pub use run::{Recovery, Resolution};
pub use step::Step;
