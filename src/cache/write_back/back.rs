use std::fmt;
use std::hash::Hash;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::Poll;

use super::core::{Core, Receipt, Receival};
use super::error::{CloseError, Closed, FlushError, NotAccepted, Reason, Refused};
use super::lane::Carried;
use super::room::Room;
use super::{WriteBackBuilder, WriteBackStats};
use crate::cache::Layer;
use crate::cache::writer::{Change, Writer};
use crate::task::block_on;
use crate::time::Instant;

/// Accepts changes at once and writes them to the store later, in batches.
///
/// Handles are cheap to clone and share one buffer. See the
/// [module's documentation](super) for what it promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::WriteBack;
/// use tenfold::cache::writer::MemoryStore;
///
/// let store = MemoryStore::new();
/// let visits = WriteBack::builder(Cache::new(1000), store.clone()).build()?;
/// visits.put("home", 1)?;
/// assert_eq!((visits.get(&"home"), store.get(&"home")), (Some(1), None));
/// visits.close()?;
/// assert_eq!(store.get(&"home"), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WriteBack<K, V> {
    core: Arc<Core<K, V>>,
}

impl<K, V> WriteBack<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Starts the configuration of a write-back that keeps this layer in step: a
    /// [`Cache`](crate::cache::Cache), of which you keep a handle for all else, or
    /// a strategy for reading that lies over one.
    pub fn builder<W>(layer: impl Layer<K, V> + 'static, writer: W) -> WriteBackBuilder<K, V>
    where
        W: Writer<K, V>,
        W::Error: std::error::Error,
    {
        WriteBackBuilder::new(layer, writer)
    }
}

impl<K, V> WriteBack<K, V> {
    pub(super) fn from_core(core: Arc<Core<K, V>>) -> Self {
        Self { core }
    }
}

impl<K: Hash + Eq, V: Clone> WriteBack<K, V> {
    /// What the cache holds, or else what waits for the store. `None` may mean
    /// that neither knows, or that the record shall be deleted:
    /// [`pending`](Self::pending) tells.
    pub fn get(&self, key: &K) -> Option<V> {
        let held = self.core.layer.get(key);
        held.or_else(|| self.core.get(key)?.into_value())
    }

    /// What the store shall have under this key, if that is still to be written.
    /// One lock. A loader asks a [`Pending`](super::Pending) instead.
    pub fn pending(&self, key: &K) -> Option<Change<V>> {
        self.core.get(key)
    }

    /// What has been done so far, and what is still to do.
    pub fn stats(&self) -> WriteBackStats {
        self.core.stats()
    }
}

impl<K, V> WriteBack<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Accepts a value. `Ok` means that readers see it, that the journal keeps it
    /// if there is one, and that the store will get it or a newer one.
    ///
    /// # Errors
    /// [`NotAccepted`] hands the entry back and says why; nothing has changed
    /// then, for readers and for the store.
    ///
    /// # Panics
    /// If a listener of the cache does. The value was accepted.
    pub fn put(&self, key: K, value: V) -> Result<(), NotAccepted<K, V>> {
        block_on(self.write_async(key, Change::Put(value)))
    }

    /// Accepts a deletion, as [`put`](Self::put) does a value.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: K) -> Result<(), NotAccepted<K, V>> {
        block_on(self.write_async(key, Change::Delete))
    }

    /// The twin of [`put`](Self::put) for tasks.
    ///
    /// Dropping the future before the journal was given the change takes it
    /// back. Later the change may be accepted or not: somebody else's call will
    /// carry it on.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_async(&self, key: K, value: V) -> Result<(), NotAccepted<K, V>> {
        self.write_async(key, Change::Put(value)).await
    }

    /// The twin of [`delete`](Self::delete) for tasks.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn delete_async(&self, key: K) -> Result<(), NotAccepted<K, V>> {
        self.write_async(key, Change::Delete).await
    }

    async fn write_async(&self, key: K, change: Change<V>) -> Result<(), NotAccepted<K, V>> {
        let core = &self.core;
        if core.journal_lane.is_carried_here() {
            let reason = Reason::Reentrant;
            return Err(NotAccepted {
                key,
                change,
                reason,
            });
        }
        let receipt = Arc::new(Receipt::new());
        let sequence = {
            let shared_key = Arc::new(key.clone());
            let mut entry = Some((key, change));
            let mut room = Room::new(core);
            let admitted = std::future::poll_fn(|context| {
                room.poll(context, || {
                    core.try_admit(&shared_key, &mut entry, &receipt)
                })
            })
            .await;
            match (admitted, entry) {
                (Ok(sequence), _) => sequence,
                (Err(reason), Some((key, change))) => {
                    return Err(NotAccepted {
                        key,
                        change,
                        reason,
                    });
                }
                (Err(reason), None) => unreachable!("an entry that went was let in: {reason}"),
            }
        };
        let mut claim = Claim {
            core,
            sequence: Some(sequence),
        };
        let mut place = core.journal_lane.place();
        let receival = std::future::poll_fn(|context| {
            loop {
                if let Some(receival) = receipt.take() {
                    return Poll::Ready(receival);
                }
                let start = || core.next_for_journal(false);
                if core.journal_lane.carry(&mut place, context, start) == Carried::Done {
                    continue;
                }
                // It may have come while the place was taken.
                return receipt.take().map_or(Poll::Pending, Poll::Ready);
            }
        })
        .await;
        claim.sequence = None;
        match receival {
            Receival::Accepted => Ok(()),
            Receival::Failed(record, cause) => Err(NotAccepted {
                key: record.key,
                change: record.change,
                reason: Reason::Journal(cause),
            }),
            Receival::Panicked(payload) => resume_unwind(payload),
        }
    }

    /// Writes everything to the store that was accepted before this call, the
    /// oldest first, and lets the journal go of it. Gives how many refused
    /// records lie aside.
    ///
    /// It does not wait for the pause after a failure to pass: every record is
    /// tried once, and three batches of which the store took nothing end it.
    /// What was accepted meanwhile may be written too. Callers who flush at the
    /// same time, and changes that wait for room, share the work.
    ///
    /// # Errors
    /// [`FlushError`] if the store failed; what is left stays in the buffer.
    pub fn flush(&self) -> Result<usize, FlushError> {
        block_on(self.flush_async())
    }

    /// The twin of [`flush`](Self::flush) for tasks. Dropping the future does not
    /// interrupt the store's write: whoever calls next carries it on.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn flush_async(&self) -> Result<usize, FlushError> {
        let core = &self.core;
        let (before, mut patience) = core.with_state(|state| {
            state.buffer.retry_now(Instant::NEVER);
            (state.next_sequence, state.failed_rounds + FAILED_ROUNDS)
        });
        let mut is_over = || {
            core.with_state(|state| {
                patience = patience.min(state.failed_rounds + FAILED_ROUNDS);
                state.failed_rounds >= patience || state.buffer.has_tried_before(before)
            })
        };
        let mut place = core.store_lane.place();
        std::future::poll_fn(|context| {
            loop {
                if is_over() {
                    return Poll::Ready(Ok(()));
                }
                let start = || core.next_for_store(true);
                match core.store_lane.carry(&mut place, context, start) {
                    Carried::Done => {}
                    Carried::Reentrant => return Poll::Ready(Err(FlushError::Reentrant)),
                    Carried::Waiting if is_over() => return Poll::Ready(Ok(())),
                    Carried::Waiting => return Poll::Pending,
                }
            }
        })
        .await?;
        core.hand_in_acks().await;
        let (left, aside, cause) = core.with_state(|state| {
            let left = state.buffer.owed_before(before);
            (left, state.buffer.aside(), state.last_cause.clone())
        });
        match cause {
            Some(cause) if left > 0 => Err(FlushError::Store { left, cause }),
            _ => Ok(aside),
        }
    }

    /// Accepts nothing more, and writes everything to the store.
    ///
    /// # Errors
    /// [`CloseError`] has what the store does not have, refused records that
    /// nobody has taken included. It stays in the buffer, and in the journal: once
    /// the store is back, close again.
    pub fn close(&self) -> Result<(), CloseError<K, V>> {
        block_on(self.empty())
    }

    /// The twin of [`close`](Self::close) for tasks; it also waits until the task
    /// of [`flush_every`](WriteBackBuilder::flush_every) has ended.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub async fn close_async(&self) -> Result<(), CloseError<K, V>> {
        self.empty().await?;
        self.core.signal.ended().await;
        Ok(())
    }

    async fn empty(&self) -> Result<(), CloseError<K, V>> {
        let core = &self.core;
        core.with_state(|state| state.closed = true);
        core.wake_waiting();
        let mut place = core.journal_lane.place();
        std::future::poll_fn(|context| {
            loop {
                let start = || core.next_for_journal(false);
                let carried = core.journal_lane.carry(&mut place, context, start);
                let is_empty = core.with_state(|state| state.arriving == 0);
                match carried {
                    _ if is_empty => return Poll::Ready(()),
                    Carried::Done => {}
                    // What is on its way from within this call is not ours.
                    Carried::Reentrant => return Poll::Ready(()),
                    Carried::Waiting => return Poll::Pending,
                }
            }
        })
        .await;
        let flushed = self.flush_async().await;
        let left = core.with_state(|state| state.buffer.left());
        if left.is_empty() {
            core.signal.close();
            return Ok(());
        }
        let last = core.with_state(|state| state.last_cause.clone());
        let cause = match (flushed, last) {
            (Err(FlushError::Store { cause, .. }), _) | (Ok(_), Some(cause)) => cause,
            (Err(error), _) => Arc::new(error),
            (Ok(_), None) => Arc::new(Closed),
        };
        let left = left
            .into_iter()
            .map(|(key, change)| ((*key).clone(), change))
            .collect();
        Err(CloseError { left, cause })
    }

    /// Takes the records that the store refused for good and that no handler took
    /// care of, the oldest first. They are yours now: the journal lets go of
    /// them, and they no longer count against the bound.
    pub fn take_refused(&self) -> Vec<Refused<K, V>> {
        let taken = self.core.with_state(|state| {
            let taken = state.buffer.take_refused();
            for (_, dirty, _) in &taken {
                self.core.release(state, Some(dirty.sequence));
            }
            taken
        });
        self.core.wake_waiting();
        let refused = taken.into_iter().map(|(key, dirty, cause)| Refused {
            key: (*key).clone(),
            change: dirty.change,
            cause,
        });
        refused.collect()
    }
}

/// A change that its caller waits for. Dropped while it is still in the intake,
/// as by a cancellation, it is taken back.
struct Claim<'a, K: Hash + Eq, V> {
    core: &'a Core<K, V>,
    sequence: Option<u64>,
}

impl<K: Hash + Eq, V> Drop for Claim<'_, K, V> {
    fn drop(&mut self) {
        if let Some(sequence) = self.sequence {
            self.core.withdraw(sequence);
        }
    }
}

impl<K, V> Clone for WriteBack<K, V> {
    /// Another handle to the same write-back.
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for WriteBack<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBack")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Batches in succession of which the store took nothing, after which a flush
/// gives up: a record that fails by itself must not end it at once.
const FAILED_ROUNDS: u32 = 3;
