use crate::cache::tier::BreakerState;

/// What a [`ServeStale`](super::ServeStale) has done and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeStaleStats {
    /// Loads that were answered from a copy: worth an alarm when it rises.
    pub served: u64,
    /// Loads that failed, because the store could not be asked and there was no copy to serve.
    pub failed: u64,
    /// Copies there are, some of them too old.
    pub copies: usize,
    /// The bytes they count for.
    pub bytes: u64,
    /// Whether the store is asked.
    pub breaker: BreakerState,
}
