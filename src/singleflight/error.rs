use std::sync::Arc;

/// Why a call to a [`Group`](super::Group) brought no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlightError<E> {
    /// The work failed; every caller that waited for it shares its error.
    #[error("the work failed")]
    Failed(#[source] Arc<E>),
    /// So many callers in turn ran their work for this flight, and each of them
    /// panicked: nobody else is sent after them. Given to one who only waits
    /// also when the work failed with an error of a type it did not ask for.
    #[error("the work of {attempts} callers in turn came to no result")]
    LeaderFailed {
        /// How many tried.
        attempts: u32,
    },
    /// The caller whose work was running is gone, and this one may not, or
    /// cannot, take its place.
    #[error("the caller that did the work was dropped before it was done")]
    LeaderDropped,
    /// This caller has waited for another's work as long as the group allows.
    #[error("another caller's work took longer than this one may wait")]
    TimedOut,
    /// As many callers as may wait for one key do so already.
    #[error("as many callers as may wait for this key wait already")]
    TooManyWaiters,
    /// The work asked for its own key.
    #[error("the work asked for the key it is working on")]
    Reentrant,
    /// The work asked for a key whose own work waits for this one.
    #[error("the work asked for a key whose own work waits for this one")]
    Cycle,
}

// By hand: an `Arc<E>` is cloned, not an `E`.
impl<E> Clone for FlightError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::LeaderFailed { attempts } => Self::LeaderFailed {
                attempts: *attempts,
            },
            Self::LeaderDropped => Self::LeaderDropped,
            Self::TimedOut => Self::TimedOut,
            Self::TooManyWaiters => Self::TooManyWaiters,
            Self::Reentrant => Self::Reentrant,
            Self::Cycle => Self::Cycle,
        }
    }
}

/// Why a [`GroupBuilder`](super::GroupBuilder) builds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nobody could wait.
    #[error(
        "max_waiters is 0, so every second caller of a key would be refused; expected at least 1"
    )]
    NoWaiters,
    /// Every wait would end before it began.
    #[error(
        "wait_timeout is zero, so every wait would end before it began; expected a longer one, or none"
    )]
    NoWait,
    /// Every flight would be taken from its leader at once.
    #[error(
        "lease is zero, so every flight would be taken from its leader at once; expected a longer one, or none"
    )]
    NoLease,
    /// Outcomes would be kept for no time.
    #[error(
        "linger is zero, so outcomes would be kept for no time; expected a longer one, or none"
    )]
    NoLinger,
    /// There would be nowhere to put a flight.
    #[error("shards is 0, so there would be nowhere to put a flight; expected at least 1")]
    NoShards,
    /// A timer that nothing would ever ask.
    #[error("a timer is given, but neither wait_timeout nor lease, so nothing would ever ask it")]
    IdleTimer,
}
