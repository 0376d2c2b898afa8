//! Redis, as a store of sessions that servers share.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod functions;
mod keys;
mod link;
mod record;
mod reply;
mod store;

pub use builder::RedisStoreBuilder;
pub use error::{CheckError, RedisBuildError};
pub use store::RedisStore;
