//! Getting back the writes that were acknowledged and never reached the new primary.
//!
//! With asynchronous replication a promotion loses what the old primary had acknowledged and not yet sent. It is
//! not gone: it lies in the old primary's log, behind the [`Fork`] where the new line parts from the old. A recovery
//! reads it from the first [source](EntrySource) that still has it and applies it to the new primary, one entry at
//! a time, each at most once.
//!
//! # What can be relied on
//!
//! - An entry is applied whole or not at all, and at most once, however often a recovery runs and wherever
//!   one broke off: what the target [applied](ReplicationLog::apply) it knows again. To go on after a crash is to run it again.
//! - Nothing that the new primary has written since is overwritten unless a closure of yours says so.
//! - What was not recovered is in the report, with the reason. A former primary
//!   [rejoins](crate::replica::Promoter::rejoin), which erases what only it has, with a [`Recovered`] in hand: that is had of a complete report, or by saying that the rest may go.
//! - No source is read further than needed: one that has the whole log and was read to its end makes the later ones
//!   superfluous, unless it had gaps.
//!
//! # What cannot be relied on
//!
//! A source has what it has. A journal knows the writes of its own client, and where its ring ran over not all
//! of those; the report says either. And whether a row was changed on both sides is found by the target: a log that can only
//! say "there is another value" has to call that a conflict.

mod entry;
mod log;
mod log_async;
mod order;
mod recovered;

pub use entry::{Digest, Entry, EntryId, Fork, LogRange};
pub use log::{Applied, Conflict, Coverage, EntrySource, Read, Reading, ReplicationLog};
pub use log_async::{AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Ready};
pub use order::{Order, Step};
pub use recovered::{Incomplete, Recovered};
