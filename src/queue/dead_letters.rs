use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::core::Core;
use super::error::{RecvError, SettleError};
use super::log::format::Kind;
use super::log::{Mark, ReadAhead, ReadError, Stored, moment};
use super::records::{joined, ranges};
use super::settling::unsettled;
use super::storage::{Disk, RealDisk};

/// Messages of a group that nobody gets any more: handed out too often, or refused.
/// They stay in the queue until they are delivered again or removed.
///
/// ```
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-dead-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// queue.publish("no JSON")?;
/// queue.consumer().recv()?.reject("expected a brace")?;
///
/// let dead = queue.dead_letters();
/// let letters = dead.list();
/// assert_eq!((letters[0].id, &letters[0].reason[..]), (1, "expected a brace"));
/// assert_eq!(dead.read(1)?.unwrap(), "no JSON");
/// dead.redrive([1])?;
/// assert_eq!(queue.consumer().recv()?.attempt(), 1);
/// # drop((queue, dead));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeadLetters<D: Disk = RealDisk> {
    core: Arc<Core<D>>,
    group: u32,
}

/// A message that nobody gets any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// How often it was handed out.
    pub attempts: u32,
    /// Why it is dead.
    pub reason: String,
}

impl<D: Disk> DeadLetters<D> {
    pub(super) fn new(core: Arc<Core<D>>, group: u32) -> Self {
        Self { core, group }
    }

    /// All of them, the oldest message first.
    pub fn list(&self) -> Vec<DeadLetter> {
        let mut book = self.core.book.lock();
        let dead = book.group(self.group).map(|group| group.dead());
        let letter = |(id, dead): (&u64, &super::group::Dead)| DeadLetter {
            id: *id,
            attempts: dead.attempts,
            reason: dead.reason.clone(),
        };
        dead.into_iter().flatten().map(letter).collect()
    }

    /// The bytes of one of them; `None` if it is none of them, or damaged.
    ///
    /// # Errors
    /// [`RecvError::Io`].
    pub fn read(&self, id: u64) -> Result<Option<Bytes>, RecvError> {
        Ok(self.stored(id)?.map(|stored| {
            let cut = usize::from(stored.header.ext).min(stored.bytes.len());
            stored.bytes.slice(cut..)
        }))
    }

    fn stored(&self, id: u64) -> Result<Option<Stored>, RecvError> {
        let is_dead = |group: &mut super::group::Group| group.dead().contains_key(&id);
        if !self.core.book.lock().group(self.group).is_some_and(is_dead) {
            return Ok(None);
        }
        match self.core.log.read(id, &mut ReadAhead::default()) {
            Ok(stored) => Ok(Some(stored)),
            Err(ReadError::Lost) => Ok(None),
            Err(ReadError::Io(error)) => Err(RecvError::Io(Arc::new(error))),
        }
    }

    /// When one of them was published, as exactly as
    /// [`Delivery::enqueued_at`](super::Delivery::enqueued_at) says; `None` if it is none
    /// of them, or damaged. Reads the message.
    ///
    /// # Errors
    /// [`RecvError::Io`].
    pub fn enqueued_at(&self, id: u64) -> Result<Option<SystemTime>, RecvError> {
        Ok(self.stored(id)?.map(|stored| moment(stored.time)))
    }

    /// Has these be delivered again, as if they were new; how many were dead. Lasts
    /// when it returns.
    ///
    /// # Errors
    /// [`SettleError`] if that may not last.
    pub fn redrive(&self, ids: impl IntoIterator<Item = u64>) -> Result<usize, SettleError> {
        let redriven = self.change(ids, Kind::Redrive, super::group::Group::redrive);
        self.core.bell.ring();
        redriven
    }

    /// Removes these for good; how many were dead. Lasts when it returns.
    ///
    /// # Errors
    /// [`SettleError`] if that may not last.
    pub fn remove(&self, ids: impl IntoIterator<Item = u64>) -> Result<usize, SettleError> {
        self.change(ids, Kind::Ack, |group, id| {
            group.dead().contains_key(&id) && group.finish(id)
        })
    }

    fn change(
        &self,
        ids: impl IntoIterator<Item = u64>,
        kind: Kind,
        act: impl Fn(&mut super::group::Group, u64) -> bool,
    ) -> Result<usize, SettleError> {
        let mut ids: Vec<u64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        {
            let mut book = self.core.book.lock();
            match book.group(self.group) {
                Some(group) => ids.retain(|id| act(group, *id)),
                None => ids.clear(),
            }
            self.core.count_finished(&mut book);
        }
        let Some(&first) = ids.first() else {
            return Ok(0);
        };
        let count = ids.len();
        let payload = ranges(self.group, &joined(ids));
        let staged = self.core.append_one(kind, 0, &payload, true);
        let ticket = staged.map_err(|error| unsettled(error, first))?;
        let waited = self.core.log.wait(ticket, Mark::Durable);
        waited.map_err(|failed| SettleError::NotDurable(failed.0))?;
        Ok(count)
    }
}

impl<D: Disk> fmt::Debug for DeadLetters<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
