//! One computation for all who ask for the same thing at once, threads and
//! tasks.
//!
//! # The bad day
//!
//! The price of the one product on the front page is asked for by two hundred
//! requests at once, and each of them asks the database. The database, which
//! could have answered one, times out on all. The obvious cure, "let the first
//! one ask and the others wait for it", has a bad day of its own: the first
//! one's user closes the browser, its task is cancelled, and everyone who waited
//! for it fails with it, or waits for ever.
//!
//! ```
//! use std::cell::Cell;
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//! use std::time::Duration;
//! use tenfold::singleflight::{Group, Role};
//! use tenfold::time::ManualClock;
//!
//! let (time, queries) = (ManualClock::new(), Cell::new(0));
//! let timer = time.timer();
//! // The database takes a second, whoever asks.
//! let price = || async {
//!     queries.set(queries.get() + 1);
//!     timer.sleep(Duration::from_secs(1)).await;
//!     4_200
//! };
//! let mut context = Context::from_waker(Waker::noop());
//!
//! // Without the block every request asks.
//! let mut requests: Vec<_> = (0..200).map(|_| Box::pin(price())).collect();
//! requests.iter_mut().for_each(|request| assert!(request.as_mut().poll(&mut context).is_pending()));
//! assert_eq!(queries.take(), 200);
//!
//! // With it one asks for all.
//! let group: Group<&str, u32> = Group::new();
//! let mut requests: Vec<_> = (0..200).map(|_| Box::pin(group.work_async("lamp", price))).collect();
//! requests.iter_mut().for_each(|request| assert!(request.as_mut().poll(&mut context).is_pending()));
//! assert_eq!(queries.get(), 1);
//!
//! // Its user goes away: one of those who wait asks in its place, no more.
//! drop(requests.remove(0));
//! requests.iter_mut().for_each(|request| assert!(request.as_mut().poll(&mut context).is_pending()));
//! assert_eq!(queries.get(), 2);
//! time.advance(Duration::from_secs(1));
//! for request in &mut requests {
//!     let Poll::Ready(Ok(outcome)) = request.as_mut().poll(&mut context) else { panic!() };
//!     assert_eq!((outcome.value, outcome.shared), (4_200, true));
//! }
//! assert_eq!(group.in_flight(), 0);
//! println!("{}", group.stats()); // 1 led, 199 joined, …
//! ```
//!
//! # The idea
//!
//! A *flight* is work that is under way for a key. The first caller leads it and
//! runs its own closure, on its own thread or in its own task; those who come
//! meanwhile stand in its line. Every caller brings a closure, so whoever has to
//! take a lost leader's place runs its *own*, with what it captured: its
//! connection, its trace, its permissions. When the work is done, the flight
//! leaves the table and the line is woken in one pass, outside of every lock.
//! Nothing is kept: a group is no cache (for that, [`cache`](crate::cache) loads
//! through the same flights).
//!
//! # What you can rely on
//!
//! * **One works for all**, threads and tasks alike: [`Group::work`] and
//!   [`Group::work_async`] meet in one flight, and neither needs a runtime.
//! * **A lost leader harms nobody else.** If it is cancelled, exactly one of
//!   those who wait is promoted ([`LeaderDrop`]); if its work panics, one more is
//!   tried and then the rest get an error ([`OnPanic`]). No caller works more than
//!   once, so work that always fails ends every call.
//! * **Waiting has limits if you want them**: [`wait_timeout`], [`max_waiters`],
//!   and a [`lease`] for leaders that nobody polls any more. Who waits can leave,
//!   by a deadline or by being dropped, and takes nobody's wake-up with it.
//! * **Errors are shared** as one `Arc<E>`, with their source, and not kept. A
//!   caller whose error type differs from the leader's is not given a stranger's
//!   error but works for itself.
//! * **[`Group::forget`]** detaches what is under way: who waits gets it, who
//!   comes later starts afresh, and the old leader never removes the newer flight.
//! * **[`Outcome::shared`] is exact**: counted when the outcome is published.
//! * **Work that needs itself is told so**: [`FlightError::Reentrant`] for its own
//!   key, [`FlightError::Cycle`] when two wait for each other. A thread never
//!   waits for a task that is suspended on it: it works for itself.
//! * **No user code runs under a lock**, `Hash`, `Eq` and the `Clone` of an outcome
//!   that lingers excepted.
//!
//! # What the key must carry
//!
//! All who ask with equal keys get one caller's answer, made with that caller's
//! rights and in that caller's context. **Whatever the answer depends on belongs
//! in the key**: the tenant, the user or role it is filtered for, the language, the
//! API version, the read consistency. `"/home"` mixes tenants, and is a leak;
//! `("red", "/home")` does not. What the answer does not depend on, and only its
//! making needs (a trace, a deadline, a connection), does not belong there:
//! followers see none of the leader's, and the leader's logs speak for all.
//!
//! # What it costs
//!
//! A call alone: two short locks of one shard out of 64 and no allocation; the
//! value is neither boxed nor cloned. The first follower makes the shared part of
//! the flight, one allocation, and each follower a place of 40 bytes in its line.
//! A group is 64 shards of 256 to 512 bytes, and remembers nothing of flights that
//! are over, unless outcomes shall [`linger`] (at most 128 per shard). `V` is
//! cloned for every follower: use an `Arc` or `Bytes` for what is large. A leader
//! that suspends and is polled on another thread takes one more lock.
//!
//! # What it is not
//!
//! Not a cache, not a queue, not a rate limiter, and not distributed: each
//! process works once. What a leader hands to another task or thread is out of
//! sight of the detection of circles.
//!
//! # References
//!
//! Go's [`golang.org/x/sync/singleflight`](https://pkg.go.dev/golang.org/x/sync/singleflight),
//! and what its users, and those of its Rust relatives, reported; each of those
//! reports is a test in `tests/singleflight/pitfalls.rs`.
//!
//! [`wait_timeout`]: GroupBuilder::wait_timeout
//! [`max_waiters`]: GroupBuilder::max_waiters
//! [`lease`]: GroupBuilder::lease
//! [`linger`]: GroupBuilder::linger

mod attempt;
mod builder;
mod core;
mod detached;
mod error;
mod group;
mod lingering;
mod outcome;
mod policy;
mod stats;
mod waiter;
mod work;

pub use builder::GroupBuilder;
pub use error::{BuildError, FlightError};
pub use group::Group;
pub use outcome::{Outcome, Role};
pub use policy::{LeaderDrop, OnPanic};
pub use stats::GroupStats;
pub use waiter::Waiter;

#[cfg(all(test, tenfold_shuttle))]
mod models;
