use std::sync::Arc;
use std::time::Duration;

/// Why a [`ReadThrough`](super::ReadThrough) has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError<E> {
    /// The loader failed, and there was no stale value to serve. Every caller
    /// that waited for it shares its error.
    #[error("the loader failed")]
    Failed(#[source] Arc<E>),
    /// The load took longer than the hard timeout. It goes on, and fills the
    /// cache when it is done.
    #[error("the load took longer than {waited:?}")]
    TimedOut {
        /// How long this caller waited.
        waited: Duration,
    },
    /// The loader answered "not modified", and was shown no value.
    #[error("the loader answered \"not modified\", but was shown no value to renew")]
    NothingToRenew,
    /// The task that ran the load was dropped, or panicked, before its end.
    #[error("the load was given up before its end")]
    Abandoned,
    /// The loader asked for the key it was loading.
    #[error("the loader asked for the key it is loading")]
    Reentrant,
    /// The loader asked for a key whose loader waits for this one.
    #[error("the loader asked for a key whose own loader waits for this one")]
    Cycle,
}

// By hand: an `Arc<E>` is cloned, not an `E`.
impl<E> Clone for GetError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::TimedOut { waited } => Self::TimedOut { waited: *waited },
            Self::NothingToRenew => Self::NothingToRenew,
            Self::Abandoned => Self::Abandoned,
            Self::Reentrant => Self::Reentrant,
            Self::Cycle => Self::Cycle,
        }
    }
}

/// A layer that cannot be built as configured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The cache below cannot be built.
    #[error("the cache below the read-through layer cannot be built")]
    Cache(#[source] crate::cache::BuildError),
    /// There is nothing to read through to.
    #[error("a read-through cache needs a loader: set loader, async_loader or load_from")]
    NoLoader,
    /// A knob that belongs to the layer was set on the cache below.
    #[error(
        "{knob} was set on the cache: set it on the read-through layer, which decides how long entries live"
    )]
    SetOnCache {
        /// The method of the cache's builder.
        knob: &'static str,
    },
    /// A duration of zero.
    #[error("{knob} must be longer than zero")]
    ZeroDuration {
        /// The builder's method.
        knob: &'static str,
    },
    /// Something goes on when its caller has left, and nothing runs it.
    #[error("{knob} needs an executor: its load goes on when no caller is there to run it")]
    NoExecutor {
        /// The builder's method.
        knob: &'static str,
    },
    /// There would never be a stale value to serve.
    #[error("{knob} needs stale_on_error: without it no stale value is kept to be served")]
    NoStale {
        /// The builder's method.
        knob: &'static str,
    },
    /// A stale value would be served later than an error.
    #[error(
        "soft_timeout ({soft:?}) must be shorter than hard_timeout ({hard:?}): it would never be reached"
    )]
    SoftNotShorter {
        /// The soft timeout.
        soft: Duration,
        /// The hard timeout.
        hard: Duration,
    },
    /// A refresh before an entry is loaded, or after it has gone stale.
    #[error(
        "refresh_ahead must start after a fraction between 0 and 1 of the time to live, found {found}"
    )]
    RefreshFraction {
        /// What was asked for.
        found: f64,
    },
    /// An `XFetch` factor that is not positive.
    #[error("the factor of an early refresh must be positive and finite, found {found}")]
    RefreshFactor {
        /// What was asked for.
        found: f64,
    },
}
