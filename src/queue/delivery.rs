use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::core::Core;
use super::delivering::Handed;
use super::error::SettleError;
use super::group::Taken;
use super::log::moment;
use super::settling::Verdict;
use super::storage::{Disk, RealDisk};

/// A message that is lent: answer it before its lease ends, or somebody else gets it.
///
/// Dropped without an answer it is [given back](Self::nack).
///
/// ```
/// use std::time::Duration;
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-delivery-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// let consumer = queue.consumer();
/// queue.publish("a")?;
/// let first = consumer.recv()?;
/// assert_eq!((first.id(), first.attempt()), (1, 1));
/// first.nack_in(Duration::ZERO)?;
/// let second = consumer.recv()?;
/// assert_eq!((second.id(), second.attempt()), (1, 2));
/// second.ack_durable()?;
/// # drop((queue, consumer));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a delivery that is dropped is given back"]
pub struct Delivery<D: Disk = RealDisk> {
    core: Arc<Core<D>>,
    group: u32,
    taken: Taken,
    payload: Bytes,
    time: u64,
    /// Whether it was answered.
    answered: bool,
}

impl<D: Disk> Delivery<D> {
    pub(super) fn new(core: Arc<Core<D>>, group: u32, handed: Handed) -> Self {
        Self {
            core,
            group,
            taken: handed.taken,
            payload: handed.payload,
            time: handed.time,
            answered: false,
        }
    }

    /// The message's number.
    pub fn id(&self) -> u64 {
        self.taken.id
    }

    /// How often it was handed out, this time included.
    pub fn attempt(&self) -> u32 {
        self.taken.attempts
    }

    /// When it was published: to the millisecond when it was written to the log, which
    /// is before the publish returned, except with
    /// [`Durability::Memory`](super::Durability::Memory). By the system's time when the
    /// queue was opened and its [clock](super::QueueBuilder::clock) since then, and never
    /// before the message that came before; with a clock that is turned by hand, so long
    /// after 1970 as that shows.
    pub fn enqueued_at(&self) -> SystemTime {
        moment(self.time)
    }

    /// The bytes, to be kept longer than the delivery.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Says that it is done. After a crash it may come once more: the answer is written
    /// with what comes next, after 64 answers at the latest.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn ack(self) -> Result<(), SettleError> {
        let core = Arc::clone(&self.core);
        core.ack(self.group, &[self.into_taken()], false)
    }

    /// Says that it is done, and waits until that lasts: it does not come again.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn ack_durable(self) -> Result<(), SettleError> {
        let core = Arc::clone(&self.core);
        core.ack(self.group, &[self.into_taken()], true)
    }

    /// Gives it back, to be delivered again after a pause by the queue's
    /// [rule](super::QueueBuilder::retry); too often, and it is dead.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn nack(self) -> Result<(), SettleError> {
        self.give_back(Verdict::Retry)
    }

    /// Gives it back, to be delivered again after this long.
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn nack_in(self, pause: Duration) -> Result<(), SettleError> {
        self.give_back(Verdict::Again(pause))
    }

    /// Says that nobody shall get it any more: it is dead, with this reason (of at most
    /// 1024 bytes).
    ///
    /// # Errors
    /// [`SettleError`].
    pub fn reject(self, reason: impl Into<String>) -> Result<(), SettleError> {
        self.give_back(Verdict::Reject(reason.into()))
    }

    /// Has the lease last this long from now on.
    ///
    /// # Errors
    /// [`SettleError::Expired`] if it had ended.
    pub fn extend(&self, by: Duration) -> Result<(), SettleError> {
        self.core.extend(self.group, self.taken, by)
    }

    fn give_back(self, verdict: Verdict) -> Result<(), SettleError> {
        let (core, group) = (Arc::clone(&self.core), self.group);
        core.nack(group, self.into_taken(), verdict)
    }

    pub(super) fn into_taken(mut self) -> Taken {
        self.answered = true;
        self.taken
    }
}

impl<D: Disk> Deref for Delivery<D> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.payload
    }
}

impl<D: Disk> Drop for Delivery<D> {
    fn drop(&mut self) {
        if !self.answered {
            // If its lease has ended there is nothing to give back.
            let _ = self.core.nack(self.group, self.taken, Verdict::Retry);
        }
    }
}

impl<D: Disk> fmt::Debug for Delivery<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.taken.id)
            .field("attempt", &self.taken.attempts)
            .field("len", &self.payload.len())
            .finish_non_exhaustive()
    }
}
