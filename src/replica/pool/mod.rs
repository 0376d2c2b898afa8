//! A pool of connections to one server, for threads and tasks.

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
