//! A bounded concurrent cache.

mod adaptive;
mod budget;
mod builder;
#[allow(clippy::module_inception)]
mod cache;
mod compute;
mod core;
mod error;
mod expiry;
mod iter;
mod learner;
mod lists;
mod load;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod order;
mod policy;
mod removal;
mod shard;
mod stats;
mod table;
mod tags;

pub use builder::CacheBuilder;
pub use cache::{Cache, ValueRef};
pub use compute::{Compute, Computed};
pub use error::{BuildError, Refused};
pub use expiry::Expiry;
pub use iter::{Iter, Snapshot};
pub use policy::Policy;
pub use removal::RemovalCause;
pub use stats::CacheStats;

pub use crate::sync::flight::LoadError;
