use crate::cache::BuildError;

/// A tier that cannot be built as configured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TierBuildError {
    /// The cache in front cannot be built.
    #[error("the tier's own cache cannot be built")]
    Cache(#[source] BuildError),
    /// The cache's builder says how long entries live.
    #[error(
        "{knob} was set on what is in front: the tier says how long entries live there, with l1_ttl"
    )]
    CacheLifetime {
        /// The builder's method.
        knob: &'static str,
    },
    /// The read-through layer in front cannot be built.
    #[error("the read-through layer in front of the second tier cannot be built")]
    ReadThrough(#[source] crate::cache::read_through::BuildError),
    /// The L2 keeps no weights.
    #[error(
        "max_weight was set without a weigher: the L2 keeps no weights, so what comes from there \
         could not be weighed"
    )]
    NoWeigher,
    /// A duration of zero.
    #[error("{knob} must be longer than zero")]
    ZeroDuration {
        /// The builder's method.
        knob: &'static str,
    },
    /// Entries would live longer in front than behind.
    #[error(
        "l1_ttl is longer than l2_ttl: the cache in front would keep what the L2 has forgotten, \
         and with it that it was invalidated"
    )]
    L1OutlivesL2,
    /// The soft time-out comes after the hard one.
    #[error("soft_timeout is longer than timeout: it would never come first")]
    SoftTimeoutTooLong,
    /// There is no room for changes that failed.
    #[error("{knob} must not be zero: a failed invalidation would be forgotten")]
    NoRoom {
        /// The builder's method.
        knob: &'static str,
    },
    /// Nobody said what time it is.
    #[error(
        "wall_time was not set: versions of several nodes are compared, and their clocks count \
         from when each was started; say wall_time(SystemTime::now())"
    )]
    NoWallTime,
}
