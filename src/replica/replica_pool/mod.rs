//! Connections to one primary and its replicas.

mod bell;
mod budget;
mod builder;
mod core;
mod error;
mod events;
mod lending;
mod lent;
mod monitor;
mod op;
mod pool;
mod routes;

pub use builder::ReplicaPoolBuilder;
pub use error::{ReplicaBuildError, ReplicaError, RoleChanged, ServerError};
pub use events::Events;
pub use lent::Lent;
pub use monitor::{AsyncMonitor, Monitor, Recovery};
pub use op::Op;
pub use pool::ReplicaPool;
