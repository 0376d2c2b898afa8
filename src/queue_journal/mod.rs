//! A durable queue as the journal of a write-back cache: what was accepted survives a
//! kill and a power cut, though the store has not seen it yet.
//!
//! [`cache::write_back`](crate::cache::write_back) answers at once and writes to the store
//! later. What it accepted is kept meanwhile by a [`Journal`](crate::cache::write_back::Journal),
//! and a [`queue`](crate::queue) is a good one: it syncs once for all who wait, finds its end
//! after a crash, and gives up what is done with. Needs the features `cache` and `queue`.
//!
//! # The bad day
//!
#![cfg_attr(feature = "test-util", doc = "```")]
#![cfg_attr(not(feature = "test-util"), doc = "```ignore")]
//! use tenfold::cache::Cache;
//! use tenfold::cache::tier::PlainCodec;
//! use tenfold::cache::write_back::WriteBack;
//! use tenfold::cache::writer::MemoryStore;
//! use tenfold::queue_journal::QueueJournal;
//! use tenfold::queue::{Queue, storage::SimDisk};
//!
//! let store = MemoryStore::<String, u64>::new(); // the database, on another machine
//!
//! // Without: what was accepted since the last flush is gone with the process.
//! let visits = WriteBack::builder(Cache::new(100), store.clone()).build()?;
//! visits.put("home".to_owned(), 41)?; // accepted
//! drop(visits); // kill -9
//! assert_eq!(store.get(&"home".to_owned()), None);
//!
//! // With: on a disk that loses what was not synced when the power goes.
//! let disk = SimDisk::new(7);
//! let open = || -> Result<_, Box<dyn std::error::Error>> {
//!     let queue = Queue::builder().open_on(disk.clone())?;
//!     let journal = QueueJournal::new(queue, PlainCodec);
//!     Ok(WriteBack::builder(Cache::new(100), store.clone()).journal(journal).build()?)
//! };
//! let visits = open()?;
//! visits.put("home".to_owned(), 41)?; // accepted, and on the disk
//! drop(visits);
//! disk.power_cut();
//! let visits = open()?;
//! assert_eq!(visits.get(&"home".to_owned()), Some(41)); // before the store has it
//! visits.close()?;
//! assert_eq!(store.get(&"home".to_owned()), Some(41));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a program the queue is in a directory of its own: `Queue::open("visits.journal")`. Keys
//! and values become bytes by a [`Codec`](crate::cache::tier::Codec): a `PlainCodec` for
//! texts, numbers and bytes, closures for the rest (`PlainCodec::with_values`), or a type of
//! yours over whatever writes bytes.
//!
//! # The idea
//!
//! ```text
//! append  records -> one batch of messages, published and synced; number -> message, in memory
//! ack     numbers -> messages -> one record; not synced, the next append does that
//! replay  every message that is not done, in order
//! ```
//!
//! A write-back needs acks to be lost from the end only: were an old one lost and a newer
//! one kept, an old value would come back over a new one. A disk that loses power keeps any
//! part of what was not synced. So each ack says again what those before it said, up to the
//! last sync.
//!
//! # What you can rely on
//!
//! * **What was accepted is there** after whatever the queue's
//!   [`Durability`](crate::queue::Durability) is for: with `Power`, the default, any crash.
//! * **An append that failed is never half there for long.** If nobody can say whether it
//!   lasts, nothing more is appended until the queue is opened anew.
//! * **A full queue or disk refuses** the change, and nothing waits for room that only acks
//!   can make: those come through the same door.
//! * **A damaged byte** costs one change, as it costs the queue one message; the queue's
//!   [`Recovery`](crate::queue::Recovery) tells, and [`QueueJournal::lost`] counts.
//!
//! # What it costs
//!
//! One sync for all who put at the same time, 38 bytes and what fills up to eight beside key
//! and value in the log, and 16 bytes of memory, with what a tree adds, per change that is
//! not in the store. The thread that polls writes and syncs, unless the queue has an
//! [`executor`](crate::queue::QueueBuilder::executor). Space on the disk comes back in
//! whole segments, once all changes in one are in the store.
//!
//! # What it is not
//!
//! Not to be shared: the queue must be this journal's own, and its consumers nobody's.
//!
//! # The bytes of a message
//!
//! ```text
//!   0   1  version: 1
//!   1   1  what: 0 put, 1 delete
//!   2   4  length of the key, little-endian
//!   6   8  number of the change, little-endian
//!  14      key, value
//! ```

#![forbid(unsafe_code)]

mod bytes;
mod error;
mod journal;

pub use error::JournalError;
pub use journal::QueueJournal;
