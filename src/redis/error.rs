use crate::session::{BuildError, Unavailable};

/// A store in Redis that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisBuildError {
    /// A setting that makes no sense.
    #[error(transparent)]
    Setting(#[from] BuildError),
    /// A prefix that would decide where keys lie.
    #[error("the prefix must not hold braces, found {found:?}")]
    Prefix {
        /// The prefix.
        found: String,
    },
    /// An address that is none.
    #[error("the address of the server makes no sense")]
    Address(#[source] redis::RedisError),
    /// Not called on a tokio runtime, on which connections live.
    #[error("a store in Redis is made on a tokio runtime, and there is none")]
    NoRuntime,
}

/// A server that sessions are not safe on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It did not say.
    #[error("the server could not be asked about its settings")]
    Unavailable(#[from] Unavailable),
    /// It throws keys away when memory is short: sessions, and with an index the knowledge of which sessions a user
    /// has.
    #[error("maxmemory-policy must be noeviction, found {policy}")]
    Evicts {
        /// The policy.
        policy: String,
    },
}
