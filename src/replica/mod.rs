//! One primary and many read replicas.
//!
//! Being built: the words that all parts of it share.

#![forbid(unsafe_code)]

mod client;
mod connector;
mod endpoint;
mod fault;
mod order;
pub mod pool;
mod position;
mod preference;
mod probe;
pub mod recovery;
mod replica_pool;
mod statement;
mod token;
pub mod topology;
mod ways;

pub use client::{Async, Client};
pub use connector::{AsyncConnector, AsyncProber, AsyncPromoter, Connector, Prober, Promoter};
pub use endpoint::{Endpoint, EndpointError};
pub use fault::Fault;
pub use order::RecoveryOrder;
pub use position::{Epoch, Fork, InvalidPosition, Position, SystemId};
pub use preference::ReadPreference;
pub use probe::{Probe, Role};
pub use replica_pool::{
    AsyncMonitor, Events, Lent, LostWrites, Monitor, Op, Regained, ReplicaBuildError, ReplicaError,
    ReplicaPool, ReplicaPoolBuilder, RoleChanged, ServerError,
};
pub use statement::{Access, StatementClassifier};
pub use token::{CausalToken, InvalidToken};
