use std::time::Duration;

use super::gathered::Gathered;

/// Why a shard did not answer.
///
/// ```
/// use tenfold::router::scatter::ShardError;
///
/// let error: ShardError<std::fmt::Error> = ShardError::WrongLength { expected: 3, found: 2 };
/// assert_eq!(error.to_string(), "expected an answer for each of 3 keys, found 2");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError<E> {
    /// Its call failed.
    #[error("the call failed")]
    Failed(#[source] E),
    /// Its call was still running at the deadline, and was cancelled.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// What the read was given.
        after: Duration,
    },
    /// Its call was still running when the outcome of the read was settled, and was
    /// cancelled.
    #[error("the read ended before the call did")]
    Cancelled,
    /// The read ended before there was a place for its call.
    #[error("the read ended before the call could begin")]
    NotAsked,
    /// Its call panicked.
    #[error("the call panicked")]
    Panicked,
    /// Its answers cannot be told apart: there are more or fewer than keys.
    #[error("expected an answer for each of {expected} keys, found {found}")]
    WrongLength {
        /// The keys it was asked for.
        expected: usize,
        /// The answers it gave.
        found: usize,
    },
    /// The executor had no room for its call, or dropped it.
    #[error("the executor did not run the call")]
    Refused,
}

/// A read that brought too little, or could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScatterError<K, A, E> {
    /// Too many keys have no answer.
    #[error("needed answers to {:.1} % of the keys: {gathered}", 100.0 * .need)]
    TooFew {
        /// The share that was needed.
        need: f64,
        /// What there is.
        gathered: Box<Gathered<K, A, E>>,
    },
    /// It was described wrongly. Nobody was called.
    #[error("the read cannot be run as described")]
    Invalid(
        #[from]
        #[source]
        InvalidScatter,
    ),
}

impl<K, A, E> ScatterError<K, A, E> {
    /// What there is, if the read was run.
    ///
    /// ```
    /// use tenfold::router::{Router, Topology};
    /// use tenfold::task::block_on;
    ///
    /// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
    /// let read = router.scatter_all().run(|node| async move {
    ///     if node.index() == 1 { Err("down") } else { Ok(node.index()) }
    /// });
    /// // Partial::All, and one is missing: an error, with all that was there.
    /// let partial = block_on(read).unwrap_err().into_gathered().unwrap();
    /// assert_eq!(partial.answers()[0], Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_gathered(self) -> Option<Gathered<K, A, E>> {
        match self {
            Self::TooFew { gathered, .. } => Some(*gathered),
            Self::Invalid(_) => None,
        }
    }
}

/// A read that is described wrongly.
///
/// ```
/// use tenfold::router::scatter::{InvalidScatter, ScatterError};
/// use tenfold::router::{Router, Topology};
/// use tenfold::task::block_on;
///
/// let router = Router::new(Topology::builder().node("a").build()?);
/// let read = router.scatter_all().concurrency(0).run(|_| async { Ok::<_, ()>(1) });
/// assert!(matches!(block_on(read), Err(ScatterError::Invalid(InvalidScatter::ZeroConcurrency))));
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScatter {
    /// A duration of zero.
    #[error("{knob} must be longer than zero")]
    ZeroDuration {
        /// The method that it was given to.
        knob: &'static str,
    },
    /// No call could ever begin.
    #[error("concurrency must be at least 1, found 0")]
    ZeroConcurrency,
    /// A share that is none.
    #[error("{knob} must be from 0 to 1, found {found}")]
    Share {
        /// What it was given for.
        knob: &'static str,
        /// What was given.
        found: f64,
    },
    /// The second call would begin when the read is over.
    #[error("a hedge after {after:?} must come before the timeout, {timeout:?}")]
    HedgeTooLate {
        /// When the second call would begin.
        after: Duration,
        /// When the read is over.
        timeout: Duration,
    },
    /// More keys than can be sorted by node.
    #[error("a read may have {max} keys, found {found}")]
    TooManyKeys {
        /// How many there were.
        found: usize,
        /// How many there may be.
        max: usize,
    },
}
