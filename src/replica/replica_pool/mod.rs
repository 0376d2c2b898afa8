//! Connections to one primary and its replicas.

mod async_monitor;
mod bell;
mod board;
mod budget;
mod builder;
mod core;
mod duties;
mod error;
mod events;
mod hedge;
mod lending;
mod lent;
mod monitor;
mod op;
mod pool;
mod routes;

pub use async_monitor::AsyncMonitor;
pub use builder::ReplicaPoolBuilder;
pub use duties::{LostWrites, Regained};
pub use error::{ReplicaBuildError, ReplicaError, RoleChanged, ServerError};
pub use events::Events;
pub use lent::Lent;
pub use monitor::Monitor;
pub use op::Op;
pub use pool::ReplicaPool;

#[cfg(all(test, tenfold_shuttle))]
mod models;
#[cfg(all(test, not(tenfold_shuttle)))]
mod tests;
