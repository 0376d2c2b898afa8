//! Reads over many shards at once, that one slow shard does not spoil.
//!
//! # The bad day
//!
//! A page shows a hundred users, who live on ten shards, and one of those answers nothing
//! today. Asked one after the other, the page waits for it half a minute, and is then an error.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::router::scatter::{Partial, ShardError, ShardKeys};
//! use tenfold::router::{Router, Topology};
//! use tenfold::time::ManualClock;
//! # use std::{pin::pin, task::{Context, Poll, Waker}};
//!
//! let shards = (0..10).map(|shard| format!("pg-{shard}"));
//! let router = Router::new(Topology::builder().nodes(shards).build()?);
//! let (time, stuck) = (ManualClock::new(), router.route(0_u64));
//! let timer = time.timer();
//! let fetch = |node, users: ShardKeys<u64>| {
//!     let answer = timer.sleep(Duration::from_millis(if node == stuck { 30_000 } else { 5 }));
//!     async move {
//!         answer.await;
//!         Ok::<_, std::fmt::Error>(users.iter().map(|user| format!("user {user}")).collect())
//!     }
//! };
//!
//! let read = router.scatter(0..100_u64).timeout(Duration::from_millis(50)).timer(time.timer());
//! let mut read = pin!(read.policy(Partial::AtLeast(0.8)).run(fetch));
//! # let mut polled = || read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
//! # let start = time.now();
//! let page = loop {
//!     match polled() {
//!         Poll::Ready(page) => break page?,
//!         Poll::Pending => time.advance(Duration::from_millis(1)),
//!     }
//! };
//! assert!(page.answered() > 80 && page.answers()[0].is_none());
//! assert_eq!(page.failed()[0].error(), &ShardError::TimedOut { after: Duration::from_millis(50) });
//! # assert_eq!(time.now(), start + Duration::from_millis(50));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! [`Router::scatter`](super::Router::scatter) sorts the keys by node and calls each node once, all at
//! the same time. A [`Partial`] policy says how much is enough, a deadline when to stop
//! waiting. With a [`Hedge`], a shard that is slow is not waited for so long: its keys are asked
//! of their other copies. What comes back is [`Gathered`]: an answer or none for every key, and for
//! every shard that failed, why, and which keys that concerns.
//!
//! [`merge_by_key`] makes one list of those that shards have sorted, and [`join`] joins rows that lie on
//! different shards.
//!
//! # What you can rely on
//!
//! * **Nobody waits past the deadline.** What runs then is dropped, and reported as
//!   [timed out](ShardError::TimedOut); also what the caller drops half-way takes its calls with it.
//! * **A shard fails alone**: an error, a panic, an answer of the wrong length, an executor
//!   without room are that shard's, and typed.
//! * **The policy decides early.** Once too much has failed, the read ends as an error at once, with what
//!   there is. [`Partial::AtLeast`] goes on to its deadline for more than it needs, [`Partial::Enough`]
//!   does not.
//! * **Answers are in the order of the keys**, doubles included.
//! * **One topology** routes all of it, also if another is put in force meanwhile.
//! * **No key is cloned**, no lock is held while a call runs, and a call may use the router.
//! * **A key is asked at most twice**, and at most half of a read's shards are hedged: what is slow
//!   because there is too much to do does not get twice as much.
//!
//! # What it costs
//!
//! On a 2-core x86-64 machine, for `u64` keys and calls that answer at once, a read costs
//! 0.6 µs, 130 ns a shard and 7 ns a key, 3 to 4 of which are the sorting by node. With a hedge and copies, keys
//! are sorted by the node of their second copy too, whether or not it comes to that: 13 to 25 ns a key more.
//! `cargo bench --features router --bench router -- scatter` prints it.
//!
//! A call has two allocations, its future and its waker. The keys are moved once; for each key there are 4 bytes
//! and an `Option` of its answer, and while the read begins another `Option` of the key itself. A timer of one's own
//! is asked for one moment per read, and with a hedge for another per call.
//!
//! # What it is not
//!
//! In the midst of a [migration](super::migration) each key is asked of the one node that
//! [`route`](super::Router::route) says, not of both: it may miss the last write of a key whose part is between
//! two phases, where a [`read_route`](super::Router::read_route) would not. Every node, then, is those of both
//! topologies, and a row may be on two of them.
//!
//! It does not connect, and does not repeat: a call that shall be tried again does so itself. It does not
//! remember which node was slow yesterday; [`CallTimes`] knows times, not nodes. It runs no call that blocks
//! unless it is [given a pool](Scatter::run_on). It reads: of writes to many shards some would be done, and
//! others not.
//!
//! # References
//!
//! 1. Dean, Barroso, *The tail at scale*, CACM 2013: hedged requests, and answers that are good enough.

mod call_times;
mod calls;
mod division;
mod error;
mod gathered;
mod hedge;
mod join;
mod keys;
mod merge;
mod partial;
mod pool;
mod read;
#[allow(
    clippy::module_inception,
    reason = "the concept's main type has its name"
)]
mod scatter;

pub use call_times::CallTimes;
pub use error::{InvalidScatter, ScatterError, ShardError};
pub use gathered::{Failure, Gathered};
pub use hedge::Hedge;
pub use join::{join, left_join};
pub use keys::ShardKeys;
pub use merge::{Merge, merge_by, merge_by_key};
pub use partial::Partial;
pub use scatter::{EveryNode, Scatter};
