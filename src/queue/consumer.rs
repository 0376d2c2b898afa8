use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::delivery::Delivery;
use super::error::{RecvError, SettleError};
use super::log::ReadAhead;
use super::storage::{Disk, RealDisk};
use super::waiting;
use crate::sync::Mutex;
use crate::time::Instant;

/// Takes messages of a group. Several take turns: no message is lent to two at once.
///
/// Nothing is fetched ahead: a lease begins when a call returns. Clones read the log
/// each at their own pace.
///
/// ```
/// use std::time::Duration;
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-consumer-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// let consumer = queue.consumer();
/// assert!(consumer.recv_timeout(Duration::ZERO)?.is_none());
/// queue.publish_batch(&["a".into(), "b".into()])?;
/// let batch = consumer.recv_batch(10)?;
/// assert_eq!(batch.len(), 2);
/// consumer.ack_all(batch)?;
/// # drop((queue, consumer));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Consumer<D: Disk = RealDisk> {
    pub(super) core: Arc<Core<D>>,
    pub(super) group: u32,
    /// Held while messages are read from the disk; another consumer has its own.
    ahead: Mutex<ReadAhead>,
}

impl<D: Disk> Consumer<D> {
    pub(super) fn new(core: Arc<Core<D>>, group: u32) -> Self {
        Self {
            core,
            group,
            ahead: Mutex::default(),
        }
    }

    /// The next message; blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv(&self) -> Result<Delivery<D>, RecvError> {
        loop {
            if let Some(delivery) = self.receive(1, None)?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// The next message, if there is one within this time.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Delivery<D>>, RecvError> {
        let deadline = self.core.wall.clock().now() + timeout;
        Ok(self.receive(1, Some(deadline))?.pop())
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn try_recv(&self) -> Result<Option<Delivery<D>>, RecvError> {
        self.recv_timeout(Duration::ZERO)
    }

    /// The next messages, as many as are ready up to `most`; blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_batch(&self, most: usize) -> Result<Vec<Delivery<D>>, RecvError> {
        self.receive(most, None)
    }

    /// The same, but no longer than this; none if there were none.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_batch_timeout(
        &self,
        most: usize,
        timeout: Duration,
    ) -> Result<Vec<Delivery<D>>, RecvError> {
        let deadline = self.core.wall.clock().now() + timeout;
        self.receive(most, Some(deadline))
    }

    /// The next message. Dropped unfinished, it has taken none.
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn recv_async(&self) -> Result<Delivery<D>, RecvError> {
        loop {
            if let Some(delivery) = self.recv_batch_async(1).await?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// The next messages, as many as are ready up to `most`.
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn recv_batch_async(&self, most: usize) -> Result<Vec<Delivery<D>>, RecvError> {
        // Nobody has to be woken who finds something at once.
        let mut listening = None;
        loop {
            let moment = match self.look(most.max(1))? {
                Look::Found(found) => return Ok(found),
                Look::Behind => {
                    let log = &self.core.log;
                    let (last, mark) = (log.last(), self.core.settings.delivered);
                    let reached = log.reach(last, mark, self.core.executor.as_ref()).await;
                    reached.map_err(|failed| RecvError::NotDurable(failed.0))?;
                    continue;
                }
                Look::Nothing(moment) => moment,
            };
            match listening.take() {
                Some(listener) => waiting::until(&self.core, listener, moment).await,
                None => listening = Some(waiting::listen(&self.core).await),
            }
        }
    }

    fn receive(
        &self,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<Delivery<D>>, RecvError> {
        let mut listening: Option<waiting::Place> = None;
        loop {
            let moment = match self.look(most.max(1))? {
                Look::Found(found) => return Ok(found),
                Look::Behind => {
                    let log = &self.core.log;
                    let reached = log.wait(log.last(), self.core.settings.delivered);
                    reached.map_err(|failed| RecvError::NotDurable(failed.0))?;
                    continue;
                }
                Look::Nothing(moment) => moment,
            };
            if deadline.is_some_and(|deadline| deadline <= self.core.wall.clock().now()) {
                return Ok(Vec::new());
            }
            match listening.take() {
                Some(place) => {
                    let moment = deadline.into_iter().chain(moment).min();
                    place.park(&self.core, moment);
                }
                None => listening = Some(waiting::Place::take(&self.core)),
            }
        }
    }

    /// Takes what is ready now.
    fn look(&self, most: usize) -> Result<Look<D>, RecvError> {
        let core = &self.core;
        loop {
            if core.closed.load(Ordering::Acquire) {
                return Err(RecvError::Closed);
            }
            let taken = match core.take(self.group, most)? {
                Ok(taken) => taken,
                Err(moment) => {
                    return Ok(if let Some(failed) = core.log.failed() {
                        // What is left was never made to last.
                        match moment {
                            None => return Err(RecvError::NotDurable(failed.0)),
                            moment => Look::Nothing(moment),
                        }
                    } else if core.log.is_behind(core.settings.delivered) {
                        Look::Behind
                    } else {
                        Look::Nothing(moment)
                    });
                }
            };
            let delivery = |handed| Delivery::new(Arc::clone(core), self.group, handed);
            let found = core.hand_out(self.group, taken, &mut self.ahead.lock(), delivery)?;
            if !found.is_empty() {
                return Ok(Look::Found(found));
            }
        }
    }

    /// Acknowledges deliveries together, in one record.
    ///
    /// # Errors
    /// [`SettleError`]; the others are acknowledged if the lease of one had ended.
    pub fn ack_all(&self, deliveries: Vec<Delivery<D>>) -> Result<(), SettleError> {
        let taken: Vec<_> = deliveries.into_iter().map(Delivery::into_taken).collect();
        self.core.ack(self.group, &taken, false)
    }

    /// The same, and waits until it lasts: none of them comes again, whatever happens.
    ///
    /// # Errors
    /// [`SettleError`]; the others are acknowledged if the lease of one had ended.
    pub fn ack_all_durable(&self, deliveries: Vec<Delivery<D>>) -> Result<(), SettleError> {
        let taken: Vec<_> = deliveries.into_iter().map(Delivery::into_taken).collect();
        self.core.ack(self.group, &taken, true)
    }
}

enum Look<D: Disk> {
    Found(Vec<Delivery<D>>),
    /// There may be more once it is written.
    Behind,
    /// Nothing, before this moment or a ring.
    Nothing(Option<Instant>),
}

impl<D: Disk> Clone for Consumer<D> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.core), self.group)
    }
}

impl<D: Disk> fmt::Debug for Consumer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
