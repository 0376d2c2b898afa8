//! Online resharding.

mod bytes;
mod driver;
mod error;
mod file_journal;
mod follower;
mod guards;
mod journal;
mod members;
mod memory_journal;
mod memory_store;
mod message;
#[allow(
    clippy::module_inception,
    reason = "the main type has the module's name"
)]
mod migration;
mod moving;
mod part;
mod phase;
mod point;
mod read_route;
mod record;
mod replay;
mod routing;
mod stats;
mod store;
mod throttle;
mod write_route;

pub use driver::{Driver, DriverError, Step};
pub use error::{MigrationError, RecordError};
pub use file_journal::{FileJournal, FileJournalError};
pub use follower::Follower;
pub use journal::Journal;
pub use memory_journal::MemoryJournal;
pub use memory_store::MemoryStore;
pub use message::{Acknowledgement, Announcement};
pub use migration::{DirtyKey, Migration, Outcome, Verification};
pub use part::{Part, PartId};
pub use phase::Phase;
pub use read_route::ReadRoute;
pub use stats::Stats;
pub use store::{Row, Store};
pub use write_route::WriteRoute;

pub(in crate::router) use guards::{Guards, Stamp};
pub(in crate::router) use moving::Moving;
