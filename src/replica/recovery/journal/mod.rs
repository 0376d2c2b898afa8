//! What a client remembers of its own writes until every replica has them.

mod builder;
#[allow(clippy::module_inception, reason = "a file is a type")]
mod journal;
mod ring;
mod stats;
mod writing;

pub use builder::{JournalError, WhenFull, WriteJournalBuilder};
pub use journal::WriteJournal;
pub use stats::WriteJournalStats;
pub use writing::{JournalFull, Writing};
