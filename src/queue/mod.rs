//! A durable queue inside your process: what was accepted is there after a crash, and
//! is delivered until somebody says that it is done.
//!
//! # The bad day
//!
//! Jobs are answered with "accepted" and put into a channel. Then the process dies, and
//! with it whatever nobody had worked off yet; or the power goes, and with it what the
//! kernel had not written yet.
//!
#![cfg_attr(feature = "test-util", doc = "```")]
#![cfg_attr(not(feature = "test-util"), doc = "```ignore")]
//! use tenfold::queue::{Queue, storage::SimDisk};
//!
//! // Without: what was accepted is gone with the process.
//! let (jobs, worker) = std::sync::mpsc::channel();
//! jobs.send("charge card 17")?;
//! drop((jobs, worker)); // kill -9
//!
//! // With: on a disk that loses whatever was not synced when the power goes.
//! let disk = SimDisk::new(42);
//! let queue = Queue::builder().open_on(disk.clone())?;
//! queue.publish("charge card 17")?; // accepted
//! let held = queue.consumer().recv()?; // a worker has it in hand ...
//! disk.power_cut(); // ... as the lights go out
//! drop((held, queue));
//!
//! let queue = Queue::builder().open_on(disk)?;
//! let job = queue.consumer().recv()?;
//! assert_eq!(&job[..], b"charge card 17");
//! job.ack()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! There is one log. Messages, acks, retries, groups: everything is a record in it, in
//! the order in which it happened, each with checksums, and so nothing can be ahead of
//! or behind anything else. All else (what is ready, who has what, where a message lies)
//! is kept in memory and follows from the log.
//!
//! ```text
//! publish   stage in memory, under a short lock -> wait: whoever comes first writes and
//!           syncs for all who wait; meanwhile the next group gathers
//! recv      take the next one that is ready, lend it for a while -> read it
//! ack       done in memory -> a record, written with what comes next
//! open      newest checkpoint, then the log behind it; what nobody vouches for is
//!           written again before anybody sees it
//! ```
//!
//! A [`Delivery`] is lent. It is [acknowledged](Delivery::ack), [given back](Delivery::nack)
//! or [refused](Delivery::reject); dropped, it is given back; and when its lease ends, somebody
//! else gets it. What was handed out too often is [dead](DeadLetters), with the reason.
//!
#![cfg_attr(feature = "test-util", doc = "```")]
#![cfg_attr(not(feature = "test-util"), doc = "```ignore")]
//! use std::time::Duration;
//! use tenfold::queue::{Message, Priority, Queue, Start, storage::SimDisk};
//! use tenfold::time::ManualClock;
//!
//! let time = ManualClock::new();
//! let queue = Queue::builder()
//!     .dedup_window(Duration::from_secs(600))
//!     .clock(time.clock())
//!     .open_on(SimDisk::new(1))?;
//! queue.publish(Message::new("mail").delay(Duration::from_secs(5)))?;
//! queue.publish(Message::new("alarm").priority(Priority::HIGH))?;
//! let order = || Message::new("order 17").dedup_id("17");
//! queue.publish(order())?;
//! assert!(queue.publish(order())?.duplicate);
//!
//! let audit = queue.group("audit", Start::Earliest)?; // gets everything as well
//! let worker = queue.consumer();
//! assert_eq!(&worker.recv()?[..], b"alarm"); // dropped: comes again, a second later
//! worker.recv()?.ack()?; // order 17
//! assert!(worker.try_recv()?.is_none());
//! time.advance(Duration::from_secs(5));
//! let rest = worker.recv_batch(10)?;
//! assert_eq!(rest.len(), 2);
//! worker.ack_all(rest)?;
//! assert_eq!(audit.recv_batch(10)?.len(), 3); // what is done here is not done there
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What you can rely on
//!
//! * **What was confirmed is there.** With [`Durability::Power`], the default, after any
//!   kill and power cut, two in a row included; the other levels say what they lose.
//! * **What somebody saw is not taken back** by a crash of the kind that the level is for.
//! * **A batch is there whole or not at all**, as long as the medium keeps it.
//! * **At least once.** Every message is delivered until it is acknowledged. After a crash
//!   those acknowledged last may come once more, unless [`Delivery::ack_durable`] returned.
//! * **A damaged byte costs one message**, or in the very last group its batch; it is told in
//!   [`Recovery`], and the bytes are set aside in a file. No data is deleted before it is done.
//! * **A sync that failed is never asked again.** What was not durable is written to another
//!   file, from memory, or checked and from the file where nobody waits for it; if that
//!   fails as well nothing more is confirmed, and what is durable goes on being delivered.
//! * **A full disk turns publishers away** and goes on delivering, with room for acks.
//! * **A message that ends its process ends up dead**, one crash late at most.
//! * **Nobody has to unlock anything.** The kernel lets go of a dead process's lock.
//!
//! # What it costs
//!
//! A record takes 24 bytes and what fills up to eight. In memory a message that waits its
//! turn takes a quarter of a byte, for finding it, and up to half a byte for its time,
//! where few come in a millisecond; or nothing if it was there before the
//! queue was opened; an eighth more once messages around it are done out of order, or it
//! has a priority of its own. One that is delayed takes 16 bytes, one that has failed 12,
//! one that was moved 24, one that is lent or dead about 100; a dedup id 80 and twice its
//! length. Payloads are kept for consumers that keep up, [4 MiB](QueueBuilder::tail) of
//! them. So ten million pending messages take less than 10 MB. An opening reads what came
//! behind the newest checkpoint, however much there is before it.
//!
//! On the disk a queue takes no more than twice the bytes of messages that are not done
//! and six segments, whatever was delayed, retried or done out of order; what came since
//! the older of two checkpoints while it is busy; a segment of the smallest size, for the
//! next opening of a queue whose disk is full; and a line in each checkpoint for every
//! message that is noted. That takes [upkeep](Queue::checkpoint): messages that are left in
//! segments are moved, at an eighth of the bytes that are written, and more only where the
//! bound asks for it, up to as much as is written.
//!
//! # What it is not
//!
//! Not spread over machines, and not for several processes at once. Not exactly-once:
//! consumers must bear a message twice. Not archived, unless [`Retention`] says so.
//! Priorities of messages from before a group was made do not count in it. The bytes
//! are drawn in `docs/queue-format.md`.
//!
//! # References
//!
//! 1. Mohan et al., *ARIES*, TODS 1992: one log, repeating history.
//! 2. Rebello et al., *Can applications recover from fsync failures?*, USENIX ATC 2020.
//! 3. Pillai et al., *All file systems are not created equal*, OSDI 2014.
#![forbid(unsafe_code)]

mod backoff;
mod bell;
mod book;
mod builder;
mod by_number;
mod consumer;
mod core;
mod counts;
mod dead_letters;
mod dedup;
mod delivering;
mod delivery;
mod durability;
mod error;
mod group;
#[cfg(test)]
mod group_tests;
mod ids;
mod leases;
mod log;
mod marks;
mod message;
mod offline;
mod publishing;
#[allow(
    clippy::module_inception,
    reason = "the block's main type has its name"
)]
mod queue;
mod reader;
mod records;
mod retention;
mod settling;

pub mod projection;
pub mod storage;
mod syncer;
mod upkeep;
mod varint;
mod waiting;
mod wheel;

pub use backoff::Backoff;
pub use builder::QueueBuilder;
pub use consumer::Consumer;
pub use counts::QueueStats;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use delivery::Delivery;
pub use durability::Durability;
pub use error::{OpenError, PublishError, RecvError, SettleError};
pub use log::{Damage, DamageKind, Recovery};
pub use message::{Message, Priority, Published};
pub use offline::{Fix, GroupState, ReadOnlyQueue, Repair, Space, StoredMessage, Verification};
pub use queue::{Queue, Start};
pub use reader::{Event, Reader};
pub use retention::Retention;
