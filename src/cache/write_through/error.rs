use std::time::Duration;

use crate::cache::writer::Failure;

/// A write that the store did not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The store refuses the record, and always will. Store and cache are as
    /// they were.
    #[error("the store refused the write")]
    Rejected(#[source] E),
    /// The store could not take the write. Store and cache are as they were.
    #[error("the store could not take the write")]
    Unavailable(#[source] E),
    /// The store may or may not have the record; the cache holds nothing of it,
    /// so the next reader asks the store.
    #[error("the store may or may not have taken the write")]
    Uncertain(#[source] E),
    /// The store did not answer in time. The cache holds nothing of the record,
    /// so the next reader asks the store.
    #[error("the store did not confirm the write within {limit:?}")]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// The store's own write of this key writes this key. Nothing was written.
    #[error("the store's write of this key writes the key itself")]
    Reentrant,
    /// The write would have to wait for one that waits for it: store calls that
    /// write each other's keys, or a thread that blocks while a task on it is
    /// in the middle of writing the same key. Nothing was written.
    #[error("the write of this key would wait for itself")]
    Cycle,
}

impl<E> From<Failure<E>> for WriteError<E> {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Rejected(cause) => Self::Rejected(cause),
            Failure::Unavailable(cause) => Self::Unavailable(cause),
            Failure::Uncertain(cause) => Self::Uncertain(cause),
        }
    }
}

/// A write-through that cannot be built as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A time-out of zero: no write could ever be confirmed.
    #[error("timeout must be longer than zero: every write would be uncertain")]
    ZeroTimeout,
    /// A timer or a clock was given, but nothing to time.
    #[error("a {knob} was set without timeout: there is nothing to time")]
    NothingToTime {
        /// The builder's method.
        knob: &'static str,
    },
}
