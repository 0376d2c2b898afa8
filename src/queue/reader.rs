use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::error::RecvError;
use super::log::{Mark, ReadAhead, ReadError};
use super::storage::{Disk, RealDisk};

/// Reads messages by their numbers: the queue as a log of events.
///
/// Nothing is lent, and nobody else gets a message less for it. Messages come in the
/// order in which they were taken, whatever their priority, delay or time to live: two
/// who read the same numbers read the same. Made by [`Queue::reader`](super::Queue::reader).
///
/// It keeps nothing from being given up: messages that every group is done with go, but
/// for what the queue's [`Retention`](super::Retention) says.
///
/// ```
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-reader-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// queue.publish_batch(&["first".into(), "second".into()])?;
///
/// let mut reader = queue.reader();
/// assert_eq!(reader.range(), 1..3);
/// assert_eq!(reader.read(2)?.unwrap().payload(), "second");
/// assert!(reader.read(3)?.is_none());
/// assert_eq!(queue.stats().pending, 2); // for the consumers
/// # drop((queue, reader));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<D: Disk = RealDisk> {
    core: Arc<Core<D>>,
    ahead: ReadAhead,
}

/// A message that was read, and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: u64,
    payload: Bytes,
}

impl Event {
    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(core: Arc<Core<D>>) -> Self {
        Self {
            core,
            ahead: ReadAhead::default(),
        }
    }

    /// The numbers of the messages that are there and that no crash takes back. Between
    /// them some may be missing: given up, damaged, or never confirmed.
    ///
    /// With a [`Durability`](super::Durability) below `Power` the newest ones are behind
    /// its end until the queue is [flushed](super::Queue::flush).
    pub fn range(&self) -> Range<u64> {
        let end = self.core.log.reached(Mark::Durable);
        let extents = self.core.log.extents();
        let held = extents.iter().filter(|extent| extent.first < extent.next);
        let moved = self.core.log.first_moved();
        let oldest = held.map(|extent| extent.first).chain(moved).min();
        let oldest = oldest.unwrap_or(end);
        oldest.min(end)..end
    }

    /// The message of this number; `None` if it is missing, or not yet safe from a crash.
    /// Who goes on from number to number reads the disk in pieces of 128 KiB.
    ///
    /// # Errors
    /// [`RecvError::Io`].
    pub fn read(&mut self, id: u64) -> Result<Option<Event>, RecvError> {
        if id >= self.core.log.reached(Mark::Durable) {
            return Ok(None);
        }
        let read = self.core.log.read(id, &mut self.ahead);
        self.ahead.let_go();
        match read {
            Ok(stored) => {
                let cut = usize::from(stored.header.ext).min(stored.bytes.len());
                let payload = stored.bytes.slice(cut..);
                Ok(Some(Event { id, payload }))
            }
            Err(ReadError::Lost) => Ok(None),
            Err(ReadError::Io(error)) => Err(RecvError::Io(Arc::new(error))),
        }
    }
}

impl<D: Disk> fmt::Debug for Reader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("range", &self.range())
            .finish_non_exhaustive()
    }
}
