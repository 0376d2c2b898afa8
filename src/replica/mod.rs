//! One primary and many read replicas.
//!
//! Being built: the words that all parts of it share.

#![forbid(unsafe_code)]

mod connector;
mod endpoint;
mod fault;
mod position;
mod preference;
mod probe;
pub mod recovery;
mod statement;
mod token;
pub mod topology;

pub use connector::{AsyncConnector, AsyncProber, AsyncPromoter, Connector, Prober, Promoter};
pub use endpoint::{Endpoint, EndpointError};
pub use fault::Fault;
pub use position::{Epoch, Fork, InvalidPosition, Position, SystemId};
pub use preference::ReadPreference;
pub use probe::{Probe, Role};
pub use statement::{Access, StatementClassifier};
pub use token::{CausalToken, InvalidToken};
