use std::fmt;
use std::time::Duration;

/// Why a pool lent no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError<E> {
    /// None was to be had in time.
    #[error("no connection within {0}")]
    Timeout(Timeout),
    /// It was this caller's turn to make one, and that failed.
    #[error("a connection could not be made")]
    Connect(#[source] E),
    /// It was this caller's turn to make one, and that took too long.
    #[error("a connection could not be made within {0:?}")]
    ConnectTimeout(Duration),
    /// As many wait as may.
    #[error("{max} callers wait for a connection already, and no more may")]
    TooManyWaiting {
        /// How many may.
        max: usize,
    },
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
}

/// How things stood when a caller gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeout {
    /// How long it was prepared to wait from the moment when it had to.
    pub waited: Duration,
    /// How many connections there may be.
    pub max_size: usize,
    /// Connections that were lent.
    pub lent: usize,
    /// Connections that were being made.
    pub connecting: usize,
    /// How many others waited.
    pub waiting: usize,
    /// How many attempts to connect had failed, one after the other.
    pub failures: u32,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waited,
            max_size,
            lent,
            connecting,
            waiting,
            failures,
        } = self;
        write!(
            f,
            "{waited:?}: of {max_size} that may be, {lent} were lent and {connecting} being made, \
             and {waiting} others waited"
        )?;
        match failures {
            0 => Ok(()),
            failures => write!(f, "; the last {failures} attempts to connect failed"),
        }
    }
}

/// Why [`PoolOptions`](super::PoolOptions) make no pool.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolBuildError {
    /// A number that must not be zero is.
    #[error("{0} must be at least 1, found 0")]
    Zero(&'static str),
    /// More shall be kept idle than there may be.
    #[error("min_idle must be at most max_size, which is {max_size}, found {min_idle}")]
    MinIdle {
        /// What was given.
        min_idle: usize,
        /// What bounds it.
        max_size: usize,
    },
    /// A jitter that is none.
    #[error(transparent)]
    Jitter(#[from] crate::time::InvalidJitter),
}
