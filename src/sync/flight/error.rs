use std::sync::Arc;

/// Why a load gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader failed; every caller that waited for it shares its error.
    #[error("the loader failed")]
    Failed(#[source] Arc<E>),
    /// The loader asked for the key it was loading.
    #[error("the loader asked for the key it is loading")]
    Reentrant,
    /// The loader asked for a key whose loader waits for this one.
    #[error("the loader asked for a key whose own loader waits for this one")]
    Cycle,
    /// The caller has waited as long as it may; the load goes on without it.
    #[error("the load took longer than this caller may wait")]
    TimedOut,
    /// Who ran the loader gave up, and nobody who waited had one of its own.
    #[error("the load was given up, and nobody who waited for it has a loader")]
    LeaderDropped,
    /// As many callers as may wait for this key do so already.
    #[error("as many callers as may wait for this key wait already")]
    TooManyWaiters,
}

// By hand: an `Arc<E>` is cloned, not an `E`.
impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Reentrant => Self::Reentrant,
            Self::Cycle => Self::Cycle,
            Self::TimedOut => Self::TimedOut,
            Self::LeaderDropped => Self::LeaderDropped,
            Self::TooManyWaiters => Self::TooManyWaiters,
        }
    }
}
