//! Write-back: accepted at once, written to the store later, coalesced and in
//! batches.
//!
//! # The bad day
//!
//! A counter that everybody bumps costs the database a write per visit, so the
//! writes are collected for a second. And then the process is killed between the
//! answer to its users and the next flush:
//!
//! ```
//! use std::time::Duration;
//! use tenfold::cache::Cache;
//! use tenfold::cache::write_back::{MemoryJournal, WriteBack, WriteBackBuilder};
//! use tenfold::cache::writer::MemoryStore;
//! use tenfold::time::ManualClock;
//!
//! /// A flush every second, a thousand visits of ten pages in between, and a
//! /// `kill -9` half a second after a flush: how many visits are lost.
//! fn lost(open: impl Fn(&ManualClock, &MemoryStore<u32, u64>) -> WriteBackBuilder<u32, u64>) -> u64 {
//!     let (time, store) = (ManualClock::new(), MemoryStore::new());
//!     let visits = open(&time, &store).build().unwrap();
//!     for half_second in 0..7 {
//!         for visit in 0..500 {
//!             let page = visit % 10;
//!             let count = visits.get(&page).unwrap_or(0);
//!             visits.put(page, count + 1).unwrap();
//!         }
//!         time.advance(Duration::from_millis(500));
//!         if half_second % 2 == 1 {
//!             let before = store.writes();
//!             visits.flush().unwrap();
//!             assert_eq!(store.writes() - before, 10); // not a thousand
//!         }
//!     }
//!     drop(visits); // killed: neither flushed nor closed
//!     open(&time, &store).build().unwrap().close().unwrap();
//!     3500 - (0..10).map(|page| store.get(&page).unwrap()).sum::<u64>()
//! }
//!
//! // Without a journal: what came since the last flush.
//! assert_eq!(lost(|time, store| {
//!     WriteBack::builder(Cache::new(100), store.clone()).clock(time.clock())
//! }), 500);
//!
//! // With one: nothing.
//! let journal = MemoryJournal::new(); // a durable one, in a program
//! assert_eq!(lost(|time, store| {
//!     let builder = WriteBack::builder(Cache::new(100), store.clone());
//!     builder.clock(time.clock()).journal(journal.clone())
//! }), 0);
//! ```
//!
//! The durable one of this crate is `tenfold::queue_journal::QueueJournal` (features `cache` and
//! `queue`): a [`Journal`] in a directory, which syncs once for all who put at the same time.
//!
//! # The idea
//!
//! ```text
//! put     number the change -> journal -> buffer, in the place of an older one -> cache -> Ok
//! flush   buffer, the oldest first -> store.write_many -> yes: out of the buffer, and acked
//!                                                      -> no:  back, tried again later
//! ```
//!
//! Two *lanes* do the work, and each does one thing at a time: one has the
//! journal, the other the store. What came while the journal was busy goes into
//! its next append together. The work belongs to the lane and not to the caller
//! who began it: whoever waits carries it on, so a caller who is cancelled never
//! interrupts a write.
//!
//! # What you can rely on
//!
//! * **Nothing acknowledged is lost** while the process lives, whatever the store
//!   does; with a [`Journal`] nothing is lost when it is killed either, as far as
//!   the journal keeps its promise. Without one a crash costs what was not
//!   flushed: with [`flush_every`] at most what came in one interval and in the
//!   flush after it, as long as the store works. [`WriteBackStats::oldest`] says how
//!   much that is now.
//! * **The store gets the changes of a key in their order**, one at a time. Some
//!   it does not get, since a newer one came first, and some it gets twice: after
//!   a failure, after a crash. It never gets an older one after a newer one.
//! * **Memory is bounded.** At most [`max_dirty`] keys wait; then a caller
//!   flushes, waits or is turned away, as [`WhenFull`] says. A newer value of a key
//!   that waits already needs no room.
//! * **A reader after `Ok` sees the value or a newer one** through
//!   [`WriteBack::get`], evicted or not. Loaders that ask the store ask a
//!   [`Pending`] first.
//! * **A store that is down is asked ever more rarely**, by the clock, and loses
//!   nothing. A record that fails by itself waits by itself. One that the store
//!   refuses for good is set aside, counted and reported, and the cache forgets it;
//!   without a handler it counts against the bound until it is taken.
//! * **Your code runs under no lock**: store, journal, handler, and the cache's
//!   listener. A panic of the store is a failure of which nobody knows, and each
//!   record of that batch is tried by itself; one of the journal means "not
//!   accepted". The store may put, unless there is no room; it cannot flush. A
//!   journal or a listener cannot put.
//! * **Closing flushes**, or says what is left. Dropping the last handle does not:
//!   then the journal has it, or nobody.
//!
//! # What it costs
//!
//! ```text
//! bytes per dirty key = size_of::<K>() + 16           the key, shared by table and queue
//!                     + 2 * (size_of::<V>() + 64)    the value that waits, the one that flies
//!                     + 24                           the rest of a slot; a table fills 7 of 8 at most
//!                     + about 24                     the queue
//! ```
//!
//! plus one number per ack that the journal has not been given: at most two per
//! place, or one batch. A change takes about a dozen short locks, eleven small
//! allocations (two more with a [`MemoryJournal`]) and two copies of key and value:
//! some two microseconds, five times a write-through to a store that does nothing.
//! A [`WriteBack::get`] that finds the value in the cache
//! costs what the cache's does. One lock protects the whole buffer: it is made for
//! stores and journals that are slower than that. Batches go to the store one
//! after the other.
//!
//! # What it is not
//!
//! Not a queue: the store gets states, not events. Not for values that must be in
//! the store when the call returns: use [write-through](crate::cache::write_through).
//! And not a way to share a store: what others write there meanwhile is overwritten.
//! If the journal is lost with the machine, so is what it kept.
//!
//! # References
//!
//! 1. N. Jouppi: *Cache Write Policies and Performance*, ISCA 1993.
//! 2. C. Mohan et al.: *ARIES*, ACM TODS 17, 1992. Log first, write later, repeat
//!    history.
//!
//! [`flush_every`]: WriteBackBuilder::flush_every
//! [`max_dirty`]: WriteBackBuilder::max_dirty

mod back;
mod buffer;
mod builder;
mod core;
mod error;
mod flusher;
mod intake;
mod journal;
mod lane;
mod memory_journal;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod pending;
mod room;
mod rounds;
mod stats;
mod when_full;

pub use back::WriteBack;
pub use builder::WriteBackBuilder;
pub use error::{BuildError, CloseError, FlushError, NotAccepted, Reason, Refused};
pub use journal::{Journal, Record};
pub use memory_journal::MemoryJournal;
pub use pending::Pending;
pub use stats::WriteBackStats;
pub use when_full::WhenFull;
