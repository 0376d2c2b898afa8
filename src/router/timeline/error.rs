/// Why a [`Timeline`](super::Timeline) could not do it.
///
/// ```
/// use tenfold::router::timeline::{MemoryStore, Timeline, TimelineError};
/// use tenfold::task::block_on;
///
/// let timeline = Timeline::builder(MemoryStore::<u64, u64>::new()).build()?;
/// assert_eq!(block_on(timeline.read(7, None, 0)), Err(TimelineError::ZeroLimit));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimelineError<E> {
    /// The store failed. What was to be done may be half done: doing it again does the rest.
    #[error("the store failed")]
    Store(#[source] E),
    /// A page of nothing, which would never end.
    #[error("a page must have at least 1 entry, found a limit of 0")]
    ZeroLimit,
    /// An author cannot be settled who has more followers than posts are pushed to.
    #[error("posts are pushed to {threshold} followers at most, found more")]
    TooManyFollowers {
        /// How many they may be.
        threshold: usize,
    },
    /// The store broke its contract.
    #[error("expected {expected} answers from the store's {method}, found {found}")]
    WrongLength {
        /// The method.
        method: &'static str,
        /// What it was asked for.
        expected: usize,
        /// What it answered.
        found: usize,
    },
}

/// A [`Timeline`](super::Timeline) that is described wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTimeline {
    /// An inbox without room.
    #[error("inboxes must have room for at least 1 entry, found a cap of 0")]
    ZeroCap,
}
