use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::examine::Examined;
use super::verification::GroupState;
use super::verify::groups;
use crate::queue::dead_letters::DeadLetter;
use crate::queue::group::Group;
use crate::queue::log::{ReadAhead, ReadError, Recovery, Stored};
use crate::queue::message::Priority;
use crate::queue::records::Extensions;
use crate::queue::storage::{Disk, RealDisk};

/// A queue that is only read: nothing is lent, nothing is written, and nobody can open
/// it otherwise meanwhile. Other readers can.
///
/// It shows the queue as an opening would find it.
///
/// ```
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-reader-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// queue.publish_batch(&["a".into(), "b".into()])?;
/// queue.consumer().recv()?.ack_durable()?;
/// drop(queue);
///
/// let reader = Queue::open_read_only(&path)?;
/// let payloads = reader.messages(1).map(|message| Ok(message?.payload));
/// assert_eq!(payloads.collect::<std::io::Result<Vec<_>>>()?, ["a", "b"]);
/// assert_eq!(reader.pending("default", 1).collect::<Vec<_>>(), [2]);
/// # drop(reader);
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadOnlyQueue<D: Disk = RealDisk> {
    seen: Examined<D>,
}

/// A message as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// Its number.
    pub id: u64,
    /// The bytes.
    pub payload: Bytes,
    /// Its level.
    pub priority: Priority,
    /// When it is delivered at the earliest, since 1970.
    pub not_before: Option<Duration>,
    /// From when on it is not delivered any more, since 1970.
    pub expires: Option<Duration>,
    /// What makes another one a duplicate.
    pub dedup_id: Option<Bytes>,
}

impl<D: Disk> ReadOnlyQueue<D> {
    pub(super) fn new(seen: Examined<D>) -> Self {
        Self { seen }
    }

    /// What an opening would report.
    pub fn recovery(&self) -> &Recovery {
        &self.seen.recovery
    }

    /// The number that the next message would get.
    pub fn next_id(&self) -> u64 {
        self.seen.log.next_id()
    }

    /// What each group has before it.
    pub fn groups(&self) -> Vec<GroupState> {
        groups(&self.seen.book, self.next_id())
    }

    /// All messages from this number on that are still there, those that everybody is
    /// done with included; what is damaged is left out.
    pub fn messages(&self, from: u64) -> impl Iterator<Item = io::Result<StoredMessage>> {
        let extents = self.seen.log.extents();
        let published = extents.iter().map(|extent| extent.first..extent.next);
        let moved = self.seen.log.moved().into_iter().map(|(id, _)| id..id + 1);
        let mut held: Vec<_> = published.chain(moved).collect();
        held.sort_by_key(|ids| ids.start);
        // One that was moved may still be where it was as well.
        let mut next = from;
        let mut ids = held.into_iter().flat_map(move |ids| {
            let start = ids.start.max(next);
            next = next.max(ids.end);
            start..ids.end
        });
        let mut ahead = ReadAhead::default();
        std::iter::from_fn(move || ids.find_map(|id| self.read_with(id, &mut ahead).transpose()))
    }

    /// One message; `None` if it is not there, or damaged.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, id: u64) -> io::Result<Option<StoredMessage>> {
        self.read_with(id, &mut ReadAhead::default())
    }

    /// The numbers, from this one on, that a group is not done with: none if there is no
    /// group with this name.
    pub fn pending(&self, group: &str, from: u64) -> impl Iterator<Item = u64> {
        let (group, end) = (self.group(group), self.next_id());
        let mut next = from;
        std::iter::from_fn(move || {
            let id = group?.next_open(next);
            next = id + 1;
            (id < end).then_some(id)
        })
    }

    /// What a group cannot deliver any more, the oldest message first.
    pub fn dead_letters(&self, group: &str) -> Vec<DeadLetter> {
        let dead = self.group(group).into_iter().flat_map(Group::dead);
        dead.map(|(id, dead)| DeadLetter {
            id: *id,
            attempts: dead.attempts,
            reason: dead.reason.clone(),
        })
        .collect()
    }

    fn group(&self, name: &str) -> Option<&Group> {
        let mut groups = self.seen.book.groups.iter().flatten();
        groups.find(|group| group.name == name)
    }

    fn read_with(&self, id: u64, ahead: &mut ReadAhead) -> io::Result<Option<StoredMessage>> {
        match self.seen.log.read(id, ahead) {
            Ok(stored) => Ok(Some(StoredMessage::new(id, &stored))),
            Err(ReadError::Lost) => Ok(None),
            Err(ReadError::Io(error)) => Err(error),
        }
    }
}

impl StoredMessage {
    fn new(id: u64, stored: &Stored) -> Self {
        let cut = usize::from(stored.header.ext).min(stored.bytes.len());
        let ext = Extensions::decode(&stored.bytes[..cut]);
        Self {
            id,
            payload: stored.bytes.slice(cut..),
            priority: Priority::new(stored.header.priority()),
            not_before: ext.not_before.map(Duration::from_millis),
            expires: ext.expires.map(Duration::from_millis),
            dedup_id: ext.dedup_id.map(Bytes::from),
        }
    }
}

impl<D: Disk> fmt::Debug for ReadOnlyQueue<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyQueue")
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}
