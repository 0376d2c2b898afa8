use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::book::Book;
use super::builder::QueueBuilder;
use super::consumer::Consumer;
use super::core::Core;
use super::counts::QueueStats;
use super::dead_letters::DeadLetters;
use super::durability::Durability;
use super::error::{OpenError, PublishError};
use super::log::format::Kind;
use super::log::{AppendError, Mark, Record, Recovery, Ticket, millis};
use super::message::{Message, Published};
use super::publishing::Answers;
use super::reader::Reader;
use super::records;
use super::storage::{Disk, RealDisk};
use super::waiting;

/// A durable queue in one directory.
///
/// A handle: clones share the queue. Dropping the last one writes nothing more, but for
/// what is to be durable [in a while](Durability::Interval); what was confirmed is
/// there. [`close`](Self::close) makes the next opening quick.
///
/// ```
/// use tenfold::queue::Queue;
///
/// # let path = std::env::temp_dir().join(format!("tenfold-queue-{}", std::process::id()));
/// let queue = Queue::open(&path)?;
/// queue.publish("charge card 17")?; // on the disk when it returns
///
/// let consumer = queue.consumer();
/// let delivery = consumer.recv()?;
/// assert_eq!(&delivery[..], b"charge card 17");
/// delivery.ack()?;
/// assert_eq!(queue.stats().pending, 0);
/// # drop((queue, consumer));
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<D: Disk = RealDisk> {
    core: Arc<Core<D>>,
    recovery: Arc<Recovery>,
    /// What publishes of this handle promise.
    durability: Durability,
}

/// Where a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the oldest message that is still there.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// With the message of this number, or the next one that is there.
    At(u64),
    /// With the first message [published](super::Delivery::enqueued_at) at this moment or
    /// later, of those that are there. A moment that is to come counts as now. Reads a
    /// segment, at most.
    Time(SystemTime),
}

impl Queue {
    /// Opens the queue in this directory, as [`QueueBuilder`] would without being told
    /// anything.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        Self::builder().open(directory)
    }

    /// Says how a queue shall be.
    pub fn builder() -> QueueBuilder {
        QueueBuilder::new()
    }
}

impl<D: Disk> Queue<D> {
    pub(super) fn new(core: Arc<Core<D>>, recovery: Recovery) -> Self {
        Self {
            durability: core.settings.durability,
            core,
            recovery: Arc::new(recovery),
        }
    }

    pub(super) fn core(&self) -> &Core<D> {
        &self.core
    }

    /// What was found when it was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// A handle of the same queue whose publishes promise this, whatever the queue's own
    /// level is. Two counters are raised for it, and nothing else.
    ///
    /// No consumer sees a message before it is as safe as this level, and as the queue's
    /// own, says. So in a queue of [`Durability::Power`] a weaker level spares the
    /// publisher the wait; in others a stronger one has the message synced before
    /// anybody sees it, with all that was published before.
    ///
    /// ```
    /// use tenfold::queue::{Durability, Queue};
    ///
    /// # let path = std::env::temp_dir().join(format!("tenfold-levels-{}", std::process::id()));
    /// let queue = Queue::builder().durability(Durability::Process).open(&path)?;
    /// queue.publish("page viewed")?; // a power cut may take it away
    /// queue.with_durability(Durability::Power).publish("charge card 17")?; // but not this
    /// # drop(queue);
    /// # std::fs::remove_dir_all(path).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Self {
            durability,
            ..self.clone()
        }
    }

    /// Publishes a message, and waits until it is as safe as the handle's
    /// [`Durability`] says. Waits for room if the queue is full.
    ///
    /// # Errors
    /// [`PublishError`], but not `Full`.
    pub fn publish(&self, message: impl Into<Message>) -> Result<Published, PublishError> {
        let messages = [message.into()];
        let staged = waiting::block(&self.core, || self.stage_if_room(&messages))?;
        self.confirm(staged).map(|answers| answers.one())
    }

    /// Publishes messages, all or none of which survive a crash, with consecutive
    /// numbers. Waits for room if the queue is full.
    ///
    /// # Errors
    /// [`PublishError`]; `Full` if there are more of them than the queue may hold.
    pub fn publish_batch(&self, messages: &[Message]) -> Result<Vec<Published>, PublishError> {
        let staged = waiting::block(&self.core, || self.stage_if_room(messages))?;
        self.confirm(staged).map(Answers::all)
    }

    /// Publishes a message if the queue is not full.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn try_publish(&self, message: impl Into<Message>) -> Result<Published, PublishError> {
        self.try_publish_batch(&[message.into()])
            .map(|published| published[0])
    }

    /// Publishes messages, all or none, if there is room for all of them.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn try_publish_batch(&self, messages: &[Message]) -> Result<Vec<Published>, PublishError> {
        let staged = self.core.stage(messages, self.durability)?;
        self.confirm(staged).map(Answers::all)
    }

    /// The same for tasks. Dropped unfinished, they may or may not be there, all or
    /// none.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn try_publish_batch_async(
        &self,
        messages: &[Message],
    ) -> Result<Vec<Published>, PublishError> {
        self.confirm_async(self.core.stage(messages, self.durability)?)
            .await
    }

    /// Publishes a message. Dropped unfinished, it may or may not be there.
    ///
    /// # Errors
    /// [`PublishError`], but not `Full`.
    pub async fn publish_async(
        &self,
        message: impl Into<Message>,
    ) -> Result<Published, PublishError> {
        let messages = [message.into()];
        self.publish_batch_async(&messages)
            .await
            .map(|published| published[0])
    }

    /// Publishes messages, all or none. Dropped unfinished, they may or may not be
    /// there, all or none.
    ///
    /// # Errors
    /// [`PublishError`]; `Full` if there are more of them than the queue may hold.
    pub async fn publish_batch_async(
        &self,
        messages: &[Message],
    ) -> Result<Vec<Published>, PublishError> {
        let staged = waiting::wait(&self.core, || self.stage_if_room(messages)).await;
        self.confirm_async(staged?).await
    }

    async fn confirm_async(
        &self,
        (ticket, published): Staged,
    ) -> Result<Vec<Published>, PublishError> {
        if let Some(mark) = self.durability.confirmed() {
            self.core
                .log
                .reach(ticket, mark, self.core.executor.as_ref())
                .await?;
        } else {
            self.core.bell.ring();
        }
        self.core.maintain_if_due();
        Ok(published.all())
    }

    /// `None` while there is no room that may come.
    fn stage_if_room(&self, messages: &[Message]) -> Option<Result<Staged, PublishError>> {
        match self.core.stage(messages, self.durability) {
            Err(PublishError::Full { max_pending, .. }) if messages.len() as u64 <= max_pending => {
                None
            }
            staged => Some(staged),
        }
    }

    fn confirm(&self, (ticket, published): Staged) -> Result<Answers, PublishError> {
        match self.durability.confirmed() {
            Some(mark) => self.core.log.wait(ticket, mark)?,
            None => self.core.bell.ring(),
        }
        self.core.maintain_if_due();
        Ok(published)
    }

    /// A consumer of the queue itself: every message goes to one of them.
    pub fn consumer(&self) -> Consumer<D> {
        Consumer::new(Arc::clone(&self.core), 0)
    }

    /// A consumer of a group: every message goes to one consumer of each group. The
    /// group is made if there is none with this name, and then begins where `start` says;
    /// one that there is goes on where it is.
    ///
    /// A message is kept until every group is done with it, the queue's own consumers
    /// included: who uses groups only says [`remove_group`](Self::remove_group) of
    /// `"default"`.
    ///
    /// # Errors
    /// [`PublishError`] if the group could not be made to last.
    pub fn group(&self, name: &str, start: Start) -> Result<Consumer<D>, PublishError> {
        let known = self.core.book.lock().number_of(name);
        let number = match known {
            Some(number) => number,
            None => self.begin_group(name, start)?,
        };
        Ok(Consumer::new(Arc::clone(&self.core), number))
    }

    /// Has a group begin anew where `start` says: messages that are still there are
    /// delivered again, and those that are lent can no longer be answered.
    ///
    /// # Errors
    /// [`PublishError`] if that could not be made to last.
    pub fn replay(&self, name: &str, start: Start) -> Result<Consumer<D>, PublishError> {
        let number = self.begin_group(name, start)?;
        Ok(Consumer::new(Arc::clone(&self.core), number))
    }

    fn begin_group(&self, name: &str, start: Start) -> Result<u32, PublishError> {
        let start = match start {
            Start::Time(moment) => Start::At(self.first_since(moment)?),
            start => start,
        };
        self.change_groups(|book, stage| {
            let number = book.number_of(name).unwrap_or(book.groups.len() as u32);
            // What is staged and not yet written is in no segment.
            let written = self.core.log.reached(Mark::Written);
            let (extents, moved) = (self.core.log.extents(), self.core.log.moved());
            let held = extents.iter().filter(|extent| extent.first < extent.next);
            let held = held.map(|extent| extent.first);
            let next = self.core.log.next_id();
            let earliest = held.chain(moved.iter().map(|(id, _)| *id)).min();
            let earliest = earliest.map_or(written, |earliest| earliest.min(written));
            let start = match start {
                Start::Earliest => earliest,
                Start::Latest | Start::Time(_) => next,
                Start::At(id) => id.clamp(earliest, next),
            };
            if stage(&records::group(number, start, name))? {
                match book.group(number) {
                    Some(group) => group.seek(start),
                    None => book.begin_group(number, start, name.to_owned()),
                }
                // Segments in the middle may be gone: their messages are done.
                book.forget_in(number, &extents, &moved, written);
            }
            Ok(number)
        })
    }

    fn first_since(&self, moment: SystemTime) -> Result<u64, PublishError> {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH);
        // A part of a millisecond is over when the next begins.
        let time = since.map_or(0, |since| {
            millis(since) + u64::from(since.subsec_nanos() % 1_000_000 > 0)
        });
        let first = self.core.log.first_since(time);
        first.map_err(|error| PublishError::Io(Arc::new(error)))
    }

    /// Removes a group and all it knows, so that it keeps no messages.
    ///
    /// # Errors
    /// [`PublishError`] if that could not be made to last.
    pub fn remove_group(&self, name: &str) -> Result<(), PublishError> {
        self.change_groups(|book, stage| {
            if let Some(number) = book.number_of(name)
                && stage(&records::group(number, u64::MAX, name))?
            {
                book.groups[number as usize] = None;
            }
            Ok(())
        })
    }

    /// Changes groups and has that last. What happens in a group comes after the record
    /// that begins it, so that is staged while the book is held; if there is no room, the
    /// change is tried again.
    fn change_groups<T>(
        &self,
        change: impl Fn(&mut Book, &mut Stage<'_>) -> Result<T, AppendError>,
    ) -> Result<T, PublishError> {
        let core = &self.core;
        let mut attempts = 0;
        loop {
            let mut refused = None;
            let mut ticket = None;
            let changed = {
                let mut book = core.book.lock();
                let changed = change(&mut book, &mut |payload| {
                    let record = [Record::new(Kind::Group, 0, &[], payload)];
                    ticket = core.log.stage(&record, false, true)?;
                    if ticket.is_none() {
                        refused = Some(payload.to_vec());
                    }
                    Ok(ticket.is_some())
                });
                core.count_finished(&mut book);
                changed.map_err(super::publishing::refused)?
            };
            if let Some(payload) = refused {
                attempts += 1;
                if attempts > 3 {
                    return Err(PublishError::DiskFull);
                }
                let record = [Record::new(Kind::Group, 0, &[], &payload)];
                let made = core.log.make_room(&record, false);
                made.map_err(super::publishing::refused)?;
                continue;
            }
            if let Some((ticket, _)) = ticket {
                core.log.wait(ticket, Mark::Durable)?;
            }
            core.bell.ring();
            return Ok(changed);
        }
    }

    /// Reads messages by their numbers, without taking them from anybody.
    pub fn reader(&self) -> Reader<D> {
        Reader::new(Arc::clone(&self.core))
    }

    /// What cannot be delivered any more, of the queue's own consumers.
    pub fn dead_letters(&self) -> DeadLetters<D> {
        DeadLetters::new(Arc::clone(&self.core), 0)
    }

    /// The same of a group's, if there is one with this name.
    pub fn dead_letters_of(&self, name: &str) -> Option<DeadLetters<D>> {
        let number = self.core.book.lock().number_of(name)?;
        Some(DeadLetters::new(Arc::clone(&self.core), number))
    }

    /// Writes and syncs all that was published and answered.
    ///
    /// # Errors
    /// [`PublishError::NotDurable`].
    pub fn flush(&self) -> Result<(), PublishError> {
        Ok(self.core.log.wait(self.core.log.last(), Mark::Durable)?)
    }

    /// Moves what is left in sparse segments, writes a checkpoint and gives up segments
    /// that nobody needs, as happens by itself after every
    /// [so many bytes](QueueBuilder::checkpoint_every). What is moved now is given up the
    /// next time but one.
    ///
    /// # Errors
    /// [`PublishError::NotDurable`] if the checkpoint could not be written: nothing is
    /// lost, and nothing given up.
    pub fn checkpoint(&self) -> Result<(), PublishError> {
        let written = self.core.upkeep(&mut self.core.maintaining.lock());
        written.map_err(|error| PublishError::NotDurable(Arc::new(error)))
    }

    /// Takes nothing more, has consumers return, and makes everything last.
    ///
    /// # Errors
    /// [`PublishError::NotDurable`].
    pub fn close(&self) -> Result<(), PublishError> {
        self.core.closed.store(true, Ordering::Release);
        self.core.bell.ring();
        self.flush()?;
        self.checkpoint()?;
        Ok(self.core.log.close()?)
    }

    /// What it has done, and what it holds.
    pub fn stats(&self) -> QueueStats {
        self.core.stats()
    }
}

/// Stages a record; false if there is no room now.
type Stage<'a> = dyn FnMut(&[u8]) -> Result<bool, AppendError> + 'a;
type Staged = (Ticket, Answers);

impl<D: Disk> Clone for Queue<D> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            recovery: Arc::clone(&self.recovery),
            durability: self.durability,
        }
    }
}

impl<D: Disk> fmt::Debug for Queue<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
