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
}

// By hand: an `Arc<E>` is cloned, not an `E`.
impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Reentrant => Self::Reentrant,
            Self::Cycle => Self::Cycle,
        }
    }
}
