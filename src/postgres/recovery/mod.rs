//! Getting back what a former primary had acknowledged and a promotion left behind.
//!
//! Three ways, each proven on a real cluster; the first that works is taken:
//!
//! | | [salvage](crate::replica::AsyncPromoter::salvage) | decoding ([`PostgresLog`]) | inspection ([`InspectedLog`]) |
//! |---|---|---|---|
//! | when | before the promotion | after it | after it |
//! | needs | the old primary's `pg_wal` | the old primary's disk, and [a slot](super::PostgresConnector::keep_recovery_slot) kept before | the old primary's disk |
//! | recovers | everything, as if nothing had happened | rows, transaction by transaction | rows, as they were last |
//! | of all databases | yes | of the one connected to | of the one connected to |
//!
//! [`PostgresRecovery`] does the latter two, and a client's [`WriteJournal`](crate::replica::recovery::WriteJournal) is for when
//! the disk is gone.
//!
//! # What is refused by name
//!
//! - Updates and deletes in tables without a primary key; inserts into them are recovered.
//! - `TRUNCATE`, which would take the new primary's rows too.
//! - Tables that the new primary does not have.
//! - Changes of the schema, and large objects: what was created, changed or dropped is told by name, and only the rows of such a transaction
//!   are recovered. Make the change by hand and run the recovery again, and rows of later transactions that need it are recovered as well.
//! - Writes to other databases than the one connected to.
//! - A value outside of its row that was not in the log, where the row is gone.
//!
//! Sequences are moved up afterwards, so that no number comes twice from then on. What the new primary numbered before that may
//! have the numbers of lost rows, and those are conflicts; keys that do not come from a sequence have none.

mod after;
mod application;
mod attempt;
mod catalogue;
mod change;
mod decoded;
mod decoding;
mod inspection;
mod log;
mod scan;
mod sequence;
mod slot;
mod table;
mod trace;
mod untold;

pub use after::PostgresRecovery;
pub use change::{Change, ChangeKind, Row, Transaction, Value};
pub use inspection::InspectedLog;
pub use log::PostgresLog;
pub use sequence::MovedSequence;
