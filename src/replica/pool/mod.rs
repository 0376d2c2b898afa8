//! A pool of connections to one server, for threads and for tasks: whoever came first is served first, and nobody
//! connects more, or more at a time, than may.
//!
//! # The bad day
//!
//! A query hangs, all connections are lent, and callers line up. One comes back, whoever happens to ask just then
//! takes it, and those who have waited for half a minute get their timeouts. Here it is handed to the first of them:
//!
//! ```
//! use std::task::{Context, Waker};
//! use std::time::Duration;
//! use tenfold::replica::pool::PoolOptions;
//! use tenfold::replica::{Async, AsyncConnector, Endpoint, Fault};
//! use tenfold::time::ManualClock;
//!
//! struct Numbers;
//!
//! impl AsyncConnector for Numbers {
//!     type Connection = u32;
//!     type Error = std::io::Error;
//!
//!     async fn connect(&self, _: &Endpoint) -> std::io::Result<u32> {
//!         Ok(7)
//!     }
//!
//!     fn classify(&self, _: &std::io::Error) -> Fault {
//!         Fault::Unknown
//!     }
//! }
//!
//! let clock = ManualClock::new();
//! let options = PoolOptions::new().max_size(1).clock(clock.clock());
//! let pool = options.build(Async(Numbers), Endpoint::new("db", "10.0.0.1:5432")?)?;
//! let mut context = Context::from_waker(Waker::noop());
//!
//! let slow = tenfold::task::block_on(pool.get_async())?;
//! let mut patient = Box::pin(pool.get_async());
//! assert!(patient.as_mut().poll(&mut context).is_pending());
//! drop(slow);
//! assert!(pool.try_get().is_none()); // it is somebody's already
//! assert!(patient.as_mut().poll(&mut context).is_ready());
//!
//! let held = tenfold::task::block_on(pool.get_async())?;
//! let mut late = Box::pin(pool.get_within_async(Duration::from_secs(2)));
//! assert!(late.as_mut().poll(&mut context).is_pending());
//! clock.advance(Duration::from_secs(2));
//! let std::task::Poll::Ready(Err(error)) = late.as_mut().poll(&mut context) else { panic!() };
//! assert_eq!(
//!     error.to_string(),
//!     "no connection within 2s: of 1 that may be, 1 were lent and 0 being made, and 0 others waited"
//! );
//! # drop(held);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What you can rely on
//!
//! * **First come, first served**: what comes back is handed to whoever has waited longest, and a newcomer never takes
//!   it. Who got a connection that turned out to be of no use keeps its turn.
//! * **Never more than [`max_size`](PoolOptions::max_size)**, those included that are being closed, and never more than
//!   [`max_connecting`](PoolOptions::max_connecting) made at a time. After a failure one caller tries, after a pause, and the
//!   others wait for how that goes.
//! * **A caller that is dropped**, while it waits, connects or tests, passes its turn on.
//! * **[Purged](Pool::purge) connections are not lent again**: those that are lent, handed over or being made are
//!   closed when they come back, or are there.
//! * **No client's code runs under a lock**, nor do wakers and the drops of connections. All of them may panic and call back.
//!
//! # What it costs
//!
//! To lend an idle connection and to take it back takes one lock each, two readings of the clock, and no memory: about 170
//! instructions in all. Who waits takes a node in a tree. A connection has 56 bytes beside itself.
//!
//! # What it is not
//!
//! It starts no thread and no task: whoever needs a connection makes it. [`Pool::upkeep`] is there for what should
//! happen meanwhile.

mod acquire;
mod core;
mod drain;
mod error;
mod guard;
mod line;
mod options;
mod place;
#[allow(clippy::module_inception, reason = "a file is a type")]
mod pool;
mod settings;
mod slot;
mod state;
mod stats;

pub use drain::PoolDrain;
pub use error::{GetError, PoolBuildError, Timeout};
pub use guard::Pooled;
pub(crate) use line::Claim;
pub use options::PoolOptions;
pub(crate) use pool::Deadline;
pub use pool::Pool;
pub use stats::PoolStats;

#[cfg(all(test, tenfold_shuttle))]
mod models;
