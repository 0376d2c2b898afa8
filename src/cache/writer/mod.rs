//! The store behind a cache, as the strategies that write see it.
//!
//! A [`Writer`] puts and deletes records in the source of truth: a database, a
//! service, a file. It is the one thing that
//! [write-through](crate::cache::write_through) and
//! [write-back](crate::cache::write_back) ask of it, so a store is taught to
//! both of them at once. A closure is enough: [`from_fn`] for calls that block,
//! [`from_async_fn`] for futures.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use tenfold::cache::writer::{self, Change, Failure};
//!
//! let table = Arc::new(Mutex::new(HashMap::new()));
//! let rows = Arc::clone(&table);
//! let writer = writer::from_fn(move |key: &u32, change: &Change<String>| {
//!     let mut rows = rows.lock().map_err(|_| Failure::Unavailable("the table is locked"))?;
//!     match change {
//!         Change::Put(name) if name.is_empty() => return Err(Failure::Rejected("a name is empty")),
//!         Change::Put(name) => rows.insert(*key, name.clone()),
//!         Change::Delete => rows.remove(key),
//!     };
//!     Ok(())
//! });
//! # fn is_writer(_: impl tenfold::cache::writer::Writer<u32, String>) {}
//! # is_writer(writer);
//! ```
//!
//! # Three ways to fail
//!
//! What a strategy does after a failure depends on what may have happened, and
//! only the store knows. So a [`Failure`] says which of three it was:
//!
//! | | the record | will it work later? | examples |
//! |---|---|---|---|
//! | [`Failure::Rejected`] | not written | no, never | a constraint, a value too large |
//! | [`Failure::Unavailable`] | not written | yes, perhaps | connection refused, overloaded |
//! | [`Failure::Uncertain`] | who knows | yes, perhaps | a time-out, a connection that broke |
//!
//! When in doubt, say uncertain. That costs a cache entry under write-through,
//! and one more write of the same value under write-back; the other mistakes
//! show readers a value that the store does not have.
//!
//! # What a writer must do
//!
//! Writes of one record must be idempotent: putting the same value twice is the
//! same as once. Both strategies write one change of a key at a time, and the
//! next one only after the future of the one before has ended or was dropped.
//!
//! # For tests
//!
//! [`MemoryStore`] is a store in memory that keeps a log of what reached it and
//! fails as its [`Faults`] say: by chance from a seed, by a switch, or for good
//! at a certain call, as a process does that is killed.

mod change;
mod failure;
mod faults;
mod from_fn;
mod memory_store;
mod store;

pub use change::Change;
pub use failure::Failure;
pub use faults::{Faults, InjectedFault};
pub use from_fn::{FromAsyncFn, FromFn, from_async_fn, from_fn};
pub use memory_store::MemoryStore;
pub use store::Writer;

pub(super) use store::{Answers, BoxFuture, Erased, ErasedWriter};
