//! How messages get into the log: staged, with the book knowing of those that are not
//! simply the next ones.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::core::{Core, Settings};
use super::counts::add;
use super::durability::Durability;
use super::error::PublishError;
use super::log::format::Kind;
use super::log::{AppendError, Mark, Record, Ticket, millis};
use super::message::{Message, Priority, Published};
use super::records::Extensions;
use super::storage::Disk;
use crate::hash::TableHasher;

const LONGEST_KEY: usize = 255;
const ATTEMPTS: usize = 4;
/// How often upkeep is done before a publisher is turned away.
const ROUNDS: usize = 5;

impl<D: Disk> Core<D> {
    /// Stages messages. What is returned counts once the ticket is through.
    pub(super) fn stage(
        &self,
        messages: &[Message],
        durability: Durability,
    ) -> Result<(Ticket, Answers), PublishError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        self.check_room(messages.len() as u64)?;
        let sync = durability.confirmed() == Some(Mark::Durable);
        // One by itself, as most are, needs no list.
        if let [message] = messages
            && is_bare(message)
        {
            return self.stage_plain(&[record(message, &[])], durability, sync);
        }
        if messages.iter().all(is_bare) {
            let records: Vec<_> = messages.iter().map(|m| record(m, &[])).collect();
            return self.stage_plain(&records, durability, sync);
        }
        let now = self.wall.now();
        let mut encoded = Vec::with_capacity(messages.len());
        for message in messages {
            encoded.push(extensions(message, now)?.encode());
        }
        let pairs = messages.iter().zip(&encoded);
        let records: Vec<_> = pairs.map(|(m, ext)| record(m, ext)).collect();
        if messages.iter().all(is_plain) {
            return self.stage_plain(&records, durability, sync);
        }
        let stage = || self.stage_noted(messages, &records, sync, now);
        let (ticket, published) = self.where_full(stage).map_err(refused)?;
        let duplicates = published.iter().filter(|message| message.duplicate).count();
        add(&self.counts.duplicates, duplicates);
        self.count_staged(&records, durability, published.len() - duplicates);
        Ok((ticket, Answers::Noted(published)))
    }

    /// The same for messages that simply are the next ones.
    fn stage_plain(
        &self,
        records: &[Record<'_>],
        durability: Durability,
        sync: bool,
    ) -> Result<(Ticket, Answers), PublishError> {
        let append = || self.log.append(records, true, sync);
        let (ticket, first) = self.where_full(append).map_err(refused)?;
        self.count_staged(records, durability, records.len());
        Ok((ticket, Answers::Fresh(first..first + records.len() as u64)))
    }

    fn count_staged(&self, records: &[Record<'_>], durability: Durability, taken: usize) {
        self.sync_within(durability);
        add(&self.counts.published, taken);
        let bytes = records.iter().map(Record::size).sum::<u64>();
        self.since.fetch_add(bytes, Ordering::Relaxed);
        self.unwritten.store(0, Ordering::Relaxed);
    }

    /// The same for messages that the book must know of before anybody takes them.
    fn stage_noted(
        &self,
        messages: &[Message],
        records: &[Record<'_>],
        sync: bool,
        now: u64,
    ) -> Result<(Ticket, Vec<Published>), AppendError> {
        for _ in 0..ATTEMPTS {
            let mut guard = self.book.lock();
            let book = &mut *guard;
            // What is new, and for the rest the first message with its id: in the log,
            // or in this batch.
            let mut places: Vec<Place> = Vec::with_capacity(messages.len());
            let mut batch = Vec::new();
            let mut earlier: HashMap<&Bytes, usize, TableHasher> = HashMap::default();
            for (index, message) in messages.iter().enumerate() {
                let key = message.dedup_id.as_ref().filter(|_| self.settings.dedup);
                let place = if let Some(id) = key.and_then(|key| book.dedup.find(key, now)) {
                    Place::Known(id)
                } else if let Some(first) = key.and_then(|key| earlier.get(key)) {
                    Place::Same(*first)
                } else {
                    earlier.extend(key.map(|key| (key, index)));
                    batch.push(index);
                    Place::New(batch.len() as u64 - 1)
                };
                places.push(place);
            }
            let chosen: Vec<_> = batch.iter().map(|index| records[*index].clone()).collect();
            let staged = if chosen.is_empty() {
                // Who is told of a duplicate is told that the first one lasts.
                Some((self.log.last(), 0))
            } else {
                self.log.stage(&chosen, true, sync)?
            };
            let Some((ticket, first)) = staged else {
                drop(guard);
                self.log.make_room(&chosen, true)?;
                continue;
            };
            let mut published: Vec<Published> = Vec::with_capacity(messages.len());
            for (message, place) in messages.iter().zip(places) {
                let answer = match place {
                    Place::Known(id) => Published {
                        id,
                        duplicate: true,
                    },
                    Place::Same(index) => Published {
                        duplicate: true,
                        ..published[index]
                    },
                    Place::New(index) => {
                        let id = first + index;
                        let due = if message.delay.is_zero() {
                            0
                        } else {
                            now.saturating_add(millis(message.delay))
                        };
                        let level = message.priority.level();
                        book.all().for_each(|group| group.arrive(id, level, due));
                        if let Some(key) = &message.dedup_id {
                            book.dedup.insert(key, id, now);
                        }
                        Published {
                            id,
                            duplicate: false,
                        }
                    }
                };
                published.push(answer);
            }
            return Ok((ticket, published));
        }
        Err(AppendError::Full)
    }

    /// Sees to it that what was staged is durable in time, if somebody said when.
    pub(super) fn sync_within(&self, durability: Durability) {
        if let Some(interval) = durability.interval() {
            self.syncer.within(interval);
        }
    }

    /// Refuses what the queue may not hold.
    pub(super) fn check_room(&self, messages: u64) -> Result<(), PublishError> {
        let pending = self.log.next_id() - 1 - self.finished.load(Ordering::Relaxed);
        let Settings {
            max_pending,
            max_bytes,
            ..
        } = self.settings;
        let bytes = if max_bytes == u64::MAX {
            0
        } else {
            self.log.sizes().0
        };
        if pending.saturating_add(messages) <= max_pending && bytes <= max_bytes {
            return Ok(());
        }
        // Done messages may still take room: two checkpoints give it back, and as many
        // that of segments which have to be emptied first.
        for _ in 0..ROUNDS {
            if bytes <= max_bytes || !self.has_free() {
                break;
            }
            self.maintain();
            if self.log.sizes().0 <= max_bytes && pending.saturating_add(messages) <= max_pending {
                return Ok(());
            }
        }
        Err(PublishError::Full {
            pending,
            max_pending,
            bytes,
            max_bytes,
        })
    }
}

/// What became of messages that were staged.
pub(super) enum Answers {
    /// They have these numbers.
    Fresh(Range<u64>),
    Noted(Vec<Published>),
}

impl Answers {
    /// Of the only one.
    pub(super) fn one(&self) -> Published {
        match self {
            Self::Fresh(ids) => fresh(ids.start),
            Self::Noted(published) => published[0],
        }
    }

    pub(super) fn all(self) -> Vec<Published> {
        match self {
            Self::Fresh(ids) => ids.map(fresh).collect(),
            Self::Noted(published) => published,
        }
    }
}

fn record<'a>(message: &'a Message, ext: &'a [u8]) -> Record<'a> {
    let level = message.priority.level();
    Record::new(Kind::Publish, level, ext, &message.payload)
}

fn fresh(id: u64) -> Published {
    Published {
        id,
        duplicate: false,
    }
}

/// Whether a message takes its turn, and the book needs not know of it.
fn is_plain(message: &Message) -> bool {
    let Message {
        priority,
        delay,
        dedup_id,
        ..
    } = message;
    delay.is_zero() && *priority == Priority::NORMAL && dedup_id.is_none()
}

/// Whether nothing stands before its payload either.
fn is_bare(message: &Message) -> bool {
    is_plain(message) && message.ttl.is_none()
}

/// Where the answer for a message comes from.
enum Place {
    New(u64),
    Known(u64),
    Same(usize),
}

fn extensions(message: &Message, now: u64) -> Result<Extensions, PublishError> {
    let after = |pause: Duration| now.saturating_add(millis(pause));
    let dedup_id = message.dedup_id.as_ref().map(|id| id.to_vec());
    if let Some(id) = dedup_id.as_ref().filter(|id| id.len() > LONGEST_KEY) {
        return Err(PublishError::DedupId {
            found: id.len(),
            most: LONGEST_KEY,
        });
    }
    Ok(Extensions {
        not_before: (!message.delay.is_zero()).then(|| after(message.delay)),
        expires: message.ttl.map(after),
        dedup_id,
    })
}

pub(super) fn refused(error: AppendError) -> PublishError {
    match error {
        AppendError::Full => PublishError::DiskFull,
        AppendError::TooLarge { size, most } => PublishError::TooLarge { size, most },
        AppendError::Failed(failed) => failed.into(),
    }
}
