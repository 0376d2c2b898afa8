/// A write that did not succeed, and what is known about it.
///
/// The [module's page](crate::cache::writer) says which to choose.
///
/// ```
/// use tenfold::cache::writer::Failure;
///
/// let failure = Failure::Uncertain("no answer within 50 ms");
/// assert_eq!(failure.to_string(), "the store may or may not have taken the write");
/// assert_eq!(failure.into_cause(), "no answer within 50 ms");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure<E> {
    /// The store refuses this record, and always will. Nothing was written.
    #[error("the store refused the write")]
    Rejected(#[source] E),
    /// The store could not be asked, or had no time. Nothing was written.
    #[error("the store could not take the write")]
    Unavailable(#[source] E),
    /// The record may have been written, or may yet be.
    #[error("the store may or may not have taken the write")]
    Uncertain(#[source] E),
}

impl<E> Failure<E> {
    /// What the store said.
    pub fn into_cause(self) -> E {
        match self {
            Self::Rejected(cause) | Self::Unavailable(cause) | Self::Uncertain(cause) => cause,
        }
    }

    /// The same failure with another cause.
    pub fn map<F>(self, with: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Self::Rejected(cause) => Failure::Rejected(with(cause)),
            Self::Unavailable(cause) => Failure::Unavailable(with(cause)),
            Self::Uncertain(cause) => Failure::Uncertain(with(cause)),
        }
    }
}
