//! Answers to messages by their numbers, without a lease: for who keeps a place or a
//! table of its own and reads with a [`Reader`](super::Reader).

use std::ops::Range;

use super::consumer::Consumer;
use super::core::Core;
use super::counts::add;
use super::error::{RecvError, SettleError};
use super::log::format::Kind;
use super::records::{joined, ranges};
use super::settling::unsettled;
use super::storage::Disk;

impl<D: Disk> Consumer<D> {
    /// The first message from this number on that the group is not done with.
    ///
    /// # Errors
    /// [`RecvError::NoGroup`].
    pub fn next_open(&self, from: u64) -> Result<Option<u64>, RecvError> {
        let end = self.core.log.next_id();
        let mut book = self.core.book.lock();
        let group = book.group(self.group).ok_or(RecvError::NoGroup)?;
        let open = group.next_open(from);
        Ok((open < end).then_some(open))
    }

    /// Acknowledges messages by their numbers, lent or not, with one record for some
    /// hundred runs of them. Saying it again does no harm, and is written again.
    ///
    /// ```
    /// use tenfold::queue::Queue;
    ///
    /// # let path = std::env::temp_dir().join(format!("tenfold-by-number-{}", std::process::id()));
    /// let queue = Queue::open(&path)?;
    /// queue.publish_batch(&["a".into(), "b".into(), "c".into()])?;
    /// let consumer = queue.consumer();
    /// consumer.ack_ids([3, 1])?;
    /// assert_eq!(consumer.next_open(1)?, Some(2));
    /// assert_eq!(&consumer.recv()?[..], b"b");
    /// # drop((queue, consumer));
    /// # std::fs::remove_dir_all(path).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SettleError`], but not `Expired`.
    pub fn ack_ids(&self, ids: impl IntoIterator<Item = u64>) -> Result<(), SettleError> {
        self.core.finish_ids(self.group, ids, false)
    }

    /// The same, and waits until it lasts: none of them comes again.
    ///
    /// # Errors
    /// [`SettleError`], but not `Expired`.
    pub fn ack_ids_durable(&self, ids: impl IntoIterator<Item = u64>) -> Result<(), SettleError> {
        self.core.finish_ids(self.group, ids, true)
    }
}

impl<D: Disk> Core<D> {
    fn finish_ids(
        &self,
        number: u32,
        ids: impl IntoIterator<Item = u64>,
        durable: bool,
    ) -> Result<(), SettleError> {
        let end = self.log.next_id();
        let mut ids: Vec<u64> = ids.into_iter().filter(|id| *id < end).collect();
        ids.sort_unstable();
        ids.dedup();
        self.finish_ranges(number, &joined(ids), durable)
    }

    /// If it shall last, each record is waited for before the next: of several that were
    /// not synced any may survive a power cut.
    pub(super) fn finish_ranges(
        &self,
        number: u32,
        done: &[Range<u64>],
        durable: bool,
    ) -> Result<(), SettleError> {
        for some in done.chunks(RANGES) {
            let finished = {
                let mut book = self.book.lock();
                let group = book.group(number);
                let finished = group.map_or(0, |group| {
                    let each = some.iter().map(|range| group.finish_all(range.clone()));
                    each.sum::<u64>()
                });
                self.count_finished(&mut book);
                finished
            };
            add(&self.counts.acked, finished as usize);
            self.bell.ring();
            let first = some.first().map_or(0, |range| range.start);
            let staged = self.append_one(Kind::Ack, 0, &ranges(number, some), durable);
            let ticket = staged.map_err(|error| unsettled(error, first))?;
            self.settle(ticket, durable)?;
        }
        Ok(())
    }
}

/// Runs of numbers in a record: small enough for the smallest segment.
const RANGES: usize = 256;
