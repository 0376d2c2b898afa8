//! PostgreSQL, as the replica block sees it.
//!
//! [`PostgresConnector`] connects to the servers of one cluster over `tokio-postgres`, says what their errors mean, asks
//! them for role, timeline and position in one round trip (two after a promotion, for the history of the timeline), and changes their roles: it implements
//! [`AsyncConnector`](crate::replica::AsyncConnector), [`AsyncProber`](crate::replica::AsyncProber) and
//! [`AsyncPromoter`](crate::replica::AsyncPromoter). Streaming replication of PostgreSQL 14 or newer is all it needs; no
//! extension.
//!
//! # Who does what
//!
//! Where Patroni, an operator or a cloud promotes, nothing here does: the connector observes. Where the pool leads the failover
//! itself, the connector needs a superuser, and of the servers whose files are touched a [`Host`]:
//!
//! | Step | Done by | Needs a host |
//! |---|---|---|
//! | fence | your closure, or stopping the server and having it come back as a replica | or a closure, or a server that answers |
//! | stop the receivers | `primary_conninfo`, set to nothing | no |
//! | salvage | the old `pg_wal` copied to where the candidate restores from, replayed to its end | old and candidate |
//! | promote | `synchronous_standby_names` set to nothing, `pg_promote` | no |
//! | follow | `primary_conninfo`, a slot on the primary | no |
//! | rejoin | its log put aside, `pg_rewind`, started as a replica | old |
//!
//! # What cannot be relied on
//!
//! Only the database, or who can cut its power, fences it. A server told to accept only reading transactions obeys for clients that
//! do not say otherwise; a server that is not reached from here may well be reached from elsewhere, so without a host or
//! a closure it counts as [not fenced](PostgresError::Unfenced).
//!
//! A replica without a receiver and without a restart point since it changed timelines reports the older one. That is why an
//! epoch that is too old never counts for anything.
//!
//! With the feature `postgres-sessions` there is `sessions`, a store of sessions in a database.

#![forbid(unsafe_code)]

mod connection;
mod connector;
mod error;
mod fault;
mod history;
mod host;
mod local;
mod probe;
mod promotion;
pub mod recovery;
mod salvage;
#[cfg(feature = "postgres-sessions")]
pub mod sessions;
mod waldump;

pub use connection::PostgresConnection;
pub use connector::PostgresConnector;
pub use error::PostgresError;
pub use host::Host;
pub use local::LocalHost;
