//! Online resharding: rows go from a topology's nodes to the next one's while they are
//! read, written and deleted.
//!
//! # The bad day
//!
//! A node is added, and a script copies the rows that move, then switches the
//! readers over. One row is written after it was copied, and is never seen again.
//!
//! ```
//! use tenfold::router::migration::{Driver, MemoryJournal, MemoryStore, Migration, Row};
//! use tenfold::router::{Router, Topology};
//! use tenfold::task::block_on;
//!
//! let router = Router::new(Topology::builder().nodes(["pg-1", "pg-2"]).slots(16).build()?);
//! let (old, new) = (router.topology(), router.topology().edit().node("pg-3").build()?);
//! let key = (0..99).map(|n| format!("user:{n}")).find(|k| new.route(k.as_str()) != old.route(k.as_str()));
//! let key = key.unwrap();
//! let row = |version| Row { key: key.as_bytes().into(), version, value: Some((*b"row").into()) };
//! let home = |topology: &Topology| topology.name(topology.route(key.as_str())).unwrap().to_owned();
//!
//! // By hand.
//! let rows = MemoryStore::new(&old);
//! rows.write(&home(&old), row(1));
//! rows.write(&home(&new), rows.read(&home(&old), key.as_bytes()).unwrap()); // the copy
//! rows.write(&home(&old), row(2)); // a user, meanwhile
//! assert_eq!(rows.read(&home(&new), key.as_bytes()).unwrap().version, 1); // switched: 2 is lost
//!
//! // With a migration.
//! let rows = MemoryStore::new(&old);
//! rows.write(&home(&old), row(1));
//! let migration = Migration::begin(&router, &new, MemoryJournal::new())?;
//! let mut driver = Driver::new(migration, rows.clone());
//! for _ in 0..3 {
//!     block_on(driver.step())?;
//! }
//! let route = router.write_route(key.as_str()); // a user, meanwhile
//! for node in [Some(route.first()), route.second()].into_iter().flatten() {
//!     rows.write(new.name(node).unwrap(), row(2));
//! }
//! route.written();
//! block_on(driver.run())?;
//! assert_eq!(router.topology().to_bytes(), new.to_bytes());
//! assert_eq!(rows.read(&home(&new), key.as_bytes()).unwrap().version, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! What moves is cut into [parts](Part): slots, ranges of keys, arcs of a ring. Each part goes
//! through [phases](Phase), and neighbouring phases are made so that whoever goes by one may live
//! beside whoever goes by the other. A write is a guard, [`WriteRoute`], that holds its phase;
//! the next phase begins only when nobody is left in the one before. So there is no moment
//! at which everybody must change at once, and nobody is ever made to wait.
//!
//! A [`Migration`] takes the steps and keeps them in a [`Journal`], each before it takes effect.
//! A [`Driver`] takes them all, and moves the rows of a [`Store`]. Other processes
//! are [`Follower`]s: they put in force what they hear, and acknowledge when their writers of
//! before are gone. The messages are bytes; how they travel is yours.
//!
//! Rows carry a version, and the newer one wins, on every node and in every order. While
//! a part moves a deletion is a row too, a tombstone: from before the first write to two nodes
//! until after the last. A key whose second write failed, or whose writer
//! was cancelled, is dirty, and a part with a dirty key is not cut over.
//!
//! # What you can rely on
//!
//! As long as every writer takes its route, every reader asks
//! [`is_current`](ReadRoute::is_current) afterwards, versions of a key rise, and the store applies a row
//! only if it is newer:
//!
//! * **No acknowledged write is lost, doubled or brought back**, in any phase, whichever
//!   second writes fail, writers are cancelled, and processes die.
//! * **A read is no older** than the last write that was acknowledged before it began. Of
//!   writes that were not acknowledged nothing is promised, but that they may be seen.
//! * **Back and forth**: until the clean-up, [`roll_back`](Driver::roll_back) leads to the
//!   old table, byte for byte; afterwards the new one is in force, byte for byte.
//! * **A crash at any step** is resumed from the journal; what was in flight is verified anew.
//! * **Leaked routes hold up their part**, no other, and are counted in [`stats`](Driver::stats).
//! * **Steps out of order, journals of other migrations, damaged bytes** are errors, each its
//!   own, and change nothing.
//!
//! # What it costs
//!
//! Keys that stay are routed as ever: one load from the table. Of those that move, `route` takes
//! a counted pointer and a binary search. A write route is two locks of a sixty-fourth of
//! all routes and a tree's node, whether something moves or not. Between `Copying` and
//! `CleaningUp` each write is two, and from `Verifying` until `CutOver` each read. A part in
//! memory is some 250 bytes, and 1024 dirty keys at most. The driver reads every row of the old node
//! twice and of the new one once, and writes it once.
//!
//! # What it is not
//!
//! It does not choose a leader: who opens the [`FileJournal`] has it, and nobody else may. It
//! moves a key's first copy; further copies follow as your replication has them. A process that is
//! declared [lost](Migration::lost) must really not write any more, and a store's call that failed or was
//! dropped must not take effect later: both need fences that are yours. That a driver was told to roll back
//! is not kept: tell it again after it was resumed. It moves slots and ranges, not
//! single keys: where a [pin or a split](crate::router::Override) would make one move, or stay while
//! its slot moves, `begin` refuses, and says which.

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
#[cfg(all(test, tenfold_shuttle))]
mod models;
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
