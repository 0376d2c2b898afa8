use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::stats::{DELETES, PUTS, REJECTED, TIMED_OUT, UNAVAILABLE, UNCERTAIN};
use super::turns::Turns;
use super::{WriteError, WriteThroughBuilder, WriteThroughStats};
use crate::cache::Layer;
use crate::cache::writer::{Change, ErasedWriter, Writer};
use crate::stats::Counters;
use crate::sync::flight::{Expects, LoadError, load_async, load_sync};
use crate::task::block_on;
use crate::time::Timer;

/// Writes to the store first, and to the cache when the store has confirmed it.
///
/// `E` is the store's error. Handles are cheap to clone and share one line of
/// writers per key. See the [module's documentation](super) for what it
/// promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_through::WriteThrough;
/// use tenfold::cache::writer::MemoryStore;
///
/// let store = MemoryStore::new();
/// let names = WriteThrough::new(Cache::new(1000), store.clone());
/// names.put(1, "Ada").unwrap();
/// assert_eq!((names.get(&1), store.get(&1)), (Some("Ada"), Some("Ada")));
/// names.delete(1).unwrap();
/// assert_eq!((names.get(&1), store.get(&1)), (None, None));
/// ```
pub struct WriteThrough<K, V, E> {
    shared: Arc<Shared<K, V, E>>,
}

struct Shared<K, V, E> {
    layer: Arc<dyn Layer<K, V>>,
    writer: Box<dyn ErasedWriter<K, V, E>>,
    /// How long the store may take, and what ends the waiting.
    limit: Option<(Duration, Timer)>,
    turns: Turns<K>,
    counts: Counters<6>,
}

impl<K: Sync, V: Sync, E> WriteThrough<K, V, E> {
    /// Writes through to this store, and keeps this layer in step: a
    /// [`Cache`](crate::cache::Cache), of which you keep a handle for all else, or
    /// a strategy for reading that lies over one.
    pub fn new(layer: impl Layer<K, V> + 'static, writer: impl Writer<K, V, Error = E>) -> Self {
        match Self::builder(layer, writer).build() {
            Ok(through) => through,
            Err(error) => unreachable!("nothing was set that could be wrong: {error}"),
        }
    }

    /// Starts the configuration of a write-through.
    pub fn builder(
        layer: impl Layer<K, V> + 'static,
        writer: impl Writer<K, V, Error = E>,
    ) -> WriteThroughBuilder<K, V, E> {
        WriteThroughBuilder::new(layer, writer)
    }
}

impl<K, V, E> WriteThrough<K, V, E> {
    pub(super) fn from_parts(
        layer: Arc<dyn Layer<K, V>>,
        writer: Box<dyn ErasedWriter<K, V, E>>,
        limit: Option<(Duration, Timer)>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                layer,
                writer,
                limit,
                turns: Turns::new(),
                counts: Counters::new(),
            }),
        }
    }

    /// What the cache holds. Does not ask the store, nor wait for a write that
    /// is under way: its value is seen once its writer has been told `Ok`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.shared.layer.get(key)
    }

    /// What has been done so far.
    pub fn stats(&self) -> WriteThroughStats {
        let counts = &self.shared.counts;
        WriteThroughStats {
            puts: counts.get(PUTS),
            deletes: counts.get(DELETES),
            rejected: counts.get(REJECTED),
            unavailable: counts.get(UNAVAILABLE),
            uncertain: counts.get(UNCERTAIN),
            timed_out: counts.get(TIMED_OUT),
        }
    }
}

impl<K: Hash + Eq + Clone, V, E> WriteThrough<K, V, E> {
    /// Puts a value into the store, then into the cache. Blocks until the store
    /// has confirmed it, and before that until it is this caller's turn at the
    /// key.
    ///
    /// # Errors
    /// [`WriteError`]; it says what store and cache hold now.
    ///
    /// # Panics
    /// If the store panics. The write was uncertain, so the entry is gone.
    pub fn put(&self, key: K, value: V) -> Result<(), WriteError<E>> {
        self.write(key, Change::Put(value))
    }

    /// Deletes a record from the store, then from the cache; blocks as
    /// [`put`](Self::put) does.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: K) -> Result<(), WriteError<E>> {
        self.write(key, Change::Delete)
    }

    fn write(&self, key: K, change: Change<V>) -> Result<(), WriteError<E>> {
        let shared = &*self.shared;
        let mut written = Ok(());
        let hash = shared.turns.hash(&key);
        let own_key = key.clone();
        let turn = || {
            written = block_on(shared.write(own_key, change));
            Ok::<_, Infallible>(None)
        };
        let taken = load_sync(&shared.turns, hash, key, Expects::Turn, turn);
        taken.map_err(|error| refused(&error))?;
        written
    }

    /// The twin of [`put`](Self::put) for tasks. Threads and tasks that write a
    /// key stand in the same line.
    ///
    /// Dropping the future gives up the caller's place in line. If the store
    /// was called already, the write is uncertain and the entry goes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_async(&self, key: K, value: V) -> Result<(), WriteError<E>> {
        self.write_async(key, Change::Put(value)).await
    }

    /// The twin of [`delete`](Self::delete) for tasks.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn delete_async(&self, key: K) -> Result<(), WriteError<E>> {
        self.write_async(key, Change::Delete).await
    }

    async fn write_async(&self, key: K, change: Change<V>) -> Result<(), WriteError<E>> {
        let shared = &*self.shared;
        let mut written = Ok(());
        let hash = shared.turns.hash(&key);
        let own_key = key.clone();
        let turn = || async {
            written = shared.write(own_key, change).await;
            Ok::<_, Infallible>(None)
        };
        let taken = load_async(&shared.turns, hash, key, Expects::Turn, turn).await;
        taken.map_err(|error| refused(&error))?;
        written
    }
}

impl<K: Clone, V, E> Shared<K, V, E> {
    /// Asks the store, and does to the cache what its answer demands. It is
    /// this caller's turn.
    async fn write(&self, key: K, change: Change<V>) -> Result<(), WriteError<E>> {
        let mut doubt = Doubt {
            shared: self,
            key: &key,
            open: true,
        };
        let count = match self.ask(&key, &change).await {
            Ok(()) => match change {
                Change::Put(value) => {
                    self.layer.insert(key.clone(), value);
                    PUTS
                }
                Change::Delete => {
                    self.layer.invalidate(&key);
                    DELETES
                }
            },
            Err(failure) => {
                let count = match &failure {
                    WriteError::Rejected(_) => REJECTED,
                    WriteError::Unavailable(_) => UNAVAILABLE,
                    WriteError::TimedOut { .. } => {
                        self.counts.add(TIMED_OUT, 1);
                        return Err(failure);
                    }
                    _ => return Err(failure),
                };
                doubt.open = false;
                self.counts.add(count, 1);
                return Err(failure);
            }
        };
        doubt.open = false;
        self.counts.add(count, 1);
        Ok(())
    }

    async fn ask(&self, key: &K, change: &Change<V>) -> Result<(), WriteError<E>> {
        let mut writing = self.writer.write(key, change);
        let Some((limit, timer)) = &self.limit else {
            return writing.await.map_err(WriteError::from);
        };
        let mut alarm = pin!(timer.sleep(*limit));
        poll_fn(|context| {
            // The store first: what it has confirmed in time is confirmed.
            if let Poll::Ready(written) = writing.as_mut().poll(context) {
                return Poll::Ready(written.map_err(WriteError::from));
            }
            let rang = alarm.as_mut().poll(context);
            rang.map(|()| Err(WriteError::TimedOut { limit: *limit }))
        })
        .await
    }
}

/// A write of which nobody knows whether it was done. If that is still so when
/// it goes, by an answer, a panic or a dropped future, so does the entry; and
/// that before the next writer of the key has its turn.
struct Doubt<'a, K, V, E> {
    shared: &'a Shared<K, V, E>,
    key: &'a K,
    open: bool,
}

impl<K, V, E> Drop for Doubt<'_, K, V, E> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.shared.counts.add(UNCERTAIN, 1);
        let invalidate = || self.shared.layer.invalidate(self.key);
        if std::thread::panicking() {
            // A listener that panics too would end the process. The entry is
            // gone by then.
            drop(catch_unwind(AssertUnwindSafe(invalidate)));
        } else {
            invalidate();
        }
    }
}

fn refused<E>(error: &LoadError<Infallible>) -> WriteError<E> {
    match error {
        LoadError::Reentrant => WriteError::Reentrant,
        // A turn has no loader that fails, no deadline, and no limit of waiters.
        _ => WriteError::Cycle,
    }
}

impl<K, V, E> Clone for WriteThrough<K, V, E> {
    /// Another handle to the same write-through.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V, E> fmt::Debug for WriteThrough<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteThrough")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
