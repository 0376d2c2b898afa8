use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::cache::writer::Change;

/// What a store or a journal said, whatever its type.
pub(super) type Cause = Arc<dyn Error + Send + Sync>;

pub(super) fn cause(error: impl Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}

/// A change that was not accepted; it is handed back.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::{WhenFull, WriteBack};
/// use tenfold::cache::writer::{Change, MemoryStore};
///
/// let visits = WriteBack::builder(Cache::new(10), MemoryStore::new())
///     .max_dirty(1)
///     .when_full(WhenFull::Refuse)
///     .build()?;
/// visits.put("home", 1)?;
/// let refused = visits.put("about", 1).unwrap_err();
/// assert_eq!(refused.reason().to_string(), "the buffer is full: 1 records wait for the store");
/// assert_eq!(refused.into_entry(), ("about", Change::Put(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error)]
#[error("the change was not accepted")]
pub struct NotAccepted<K, V> {
    pub(super) key: K,
    pub(super) change: Change<V>,
    #[source]
    pub(super) reason: Reason,
}

impl<K, V> NotAccepted<K, V> {
    /// Why it was not accepted.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The key and the change, back to their owner.
    pub fn into_entry(self) -> (K, Change<V>) {
        (self.key, self.change)
    }
}

impl<K, V> fmt::Debug for NotAccepted<K, V> {
    /// Needs nothing of the key and the value, so that `unwrap` works for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotAccepted")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Why a change was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// There is no room, and waiting for some is not wanted or would never end.
    #[error("the buffer is full: {dirty} records wait for the store")]
    Full {
        /// Records that wait for the store.
        dirty: usize,
    },
    /// The write-back was closed.
    #[error("the write-back is closed")]
    Closed,
    /// The journal did not keep the change. If the journal cannot tell, a crash
    /// soon after may yet bring it back.
    #[error("the journal did not keep the change")]
    Journal(#[source] Arc<dyn Error + Send + Sync>),
    /// The journal, or a listener of the cache that a write-back calls, writes
    /// through the same write-back: it would wait for itself.
    #[error("the change comes from within the acceptance of another")]
    Reentrant,
}

/// A flush that left records behind. They stay in the buffer and are tried again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The store failed.
    #[error("the store did not take {left} records")]
    Store {
        /// Records that wait for another attempt.
        left: usize,
        /// What the store said last.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// The store's own write flushes: it would wait for itself.
    #[error("the flush comes from within the store's own write")]
    Reentrant,
}

/// A write-back that was closed and could not be emptied.
///
/// What is left stays where it is, in the buffer and in the journal, so
/// closing once more tries once more.
#[derive(thiserror::Error)]
#[error("{} records are not in the store", left.len())]
pub struct CloseError<K, V> {
    pub(super) left: Vec<(K, Change<V>)>,
    #[source]
    pub(super) cause: Cause,
}

impl<K, V> CloseError<K, V> {
    /// What the store does not have, the oldest first.
    pub fn left(&self) -> &[(K, Change<V>)] {
        &self.left
    }

    /// What the store does not have, the oldest first.
    pub fn into_left(self) -> Vec<(K, Change<V>)> {
        self.left
    }
}

impl<K, V> fmt::Debug for CloseError<K, V> {
    /// Needs nothing of the key and the value, so that `unwrap` works for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseError")
            .field("left", &self.left.len())
            .field("cause", &self.cause)
            .finish()
    }
}

/// A write-back that cannot be built as configured, or whose journal cannot be
/// read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A bound of zero: nothing could ever be accepted.
    #[error("{knob} must be at least 1: nothing could ever be written")]
    Zero {
        /// The builder's method.
        knob: &'static str,
    },
    /// A duration of zero.
    #[error("{knob} must be longer than zero: a failing store would be asked without a pause")]
    ZeroDuration {
        /// The builder's method.
        knob: &'static str,
    },
    /// The longest pause is shorter than the first.
    #[error("retry pauses must grow: the first is {first:?}, the longest {longest:?}")]
    Backoff {
        /// The pause after the first failure.
        first: std::time::Duration,
        /// The longest pause.
        longest: std::time::Duration,
    },
    /// Callers shall wait for room that nobody makes.
    #[error("WhenFull::Wait needs flush_every: nobody would make room; or use WhenFull::Flush")]
    NobodyFlushes,
    /// The executor had no room for the task that flushes.
    #[error("the executor of flush_every did not take its task")]
    NoRoomForFlusher,
    /// A [`Pending`](super::Pending) shows one write-back, and shows another
    /// already.
    #[error("this Pending belongs to another write-back already: make one for each")]
    PendingInUse,
    /// The journal could not be replayed.
    #[error("the journal could not be replayed")]
    Replay(#[source] Arc<dyn Error + Send + Sync>),
}

/// A record that the store refused for good.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refused<K, V> {
    /// Whose change it was.
    pub key: K,
    /// What should have become of the record.
    pub change: Change<V>,
    /// What the store said.
    pub cause: Arc<dyn Error + Send + Sync>,
}

/// The user's code panicked where an answer was expected.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it panicked: {message}")]
pub(super) struct Panicked {
    message: String,
}

impl Panicked {
    pub(super) fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("no message").to_owned(),
        }
    }
}

/// The store did not say what became of a record.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store gave no answer for this record")]
pub(super) struct NoAnswer;

/// The write-back is closed, and something is left for no known reason.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the write-back was closed before everything was written")]
pub(super) struct Closed;
