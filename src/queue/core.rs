//! What all handles of a queue share: the log, and the book of who has what.
//!
//! Two locks, never one in the other except `book` before the log's own. Nothing is
//! written or read while the book is held. Records are staged under it, which is a copy
//! in memory, so that the log has everything in the order of the book; where there is
//! no room, an answer is staged once the book is let go. That is harmless, since what is
//! done stays done.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::backoff::Backoff;
use super::bell::Bell;
use super::book::Book;
use super::counts::{Counts, QueueStats, add};
use super::durability::Durability;
use super::error::{PublishError, RecvError, SettleError};
use super::group::{Dead, Taken};
use super::log::format::Kind;
use super::log::{AppendError, Log, Mark, ReadAhead, ReadError, Record, Ticket, Wall, millis};
use super::message::{Message, Published};
use super::records::{Extensions, Nack, joined, ranges};
use super::retention::Retention;
use super::storage::Disk;
use super::syncer::Syncer;
use super::upkeep::Upkeep;
use crate::sync::Mutex;
use crate::task::Executor;
use crate::time::{Instant, Timer};

pub(super) struct Core<D: Disk> {
    pub(super) log: Log<D>,
    pub(super) syncer: Syncer,
    pub(super) book: Mutex<Book>,
    pub(super) bell: Arc<Bell>,
    pub(super) wall: Wall,
    pub(super) timer: Timer,
    pub(super) executor: Option<Executor>,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    pub(super) closed: AtomicBool,
    /// Messages below this one may have ended the process before: how often each was
    /// handed out is written down before it is.
    pub(super) cautious: AtomicU64,
    /// Messages that every group is done with.
    pub(super) finished: AtomicU64,
    /// Bytes staged since the last checkpoint.
    pub(super) since: AtomicU64,
    /// Held by whoever does the upkeep.
    pub(super) maintaining: Mutex<Upkeep>,
    /// Acks staged since anybody wrote.
    pub(super) unwritten: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) durability: Durability,
    /// How far it must be before it is delivered.
    pub(super) delivered: Mark,
    pub(super) visibility: Duration,
    pub(super) retry: Backoff,
    pub(super) max_deliver: u32,
    pub(super) max_in_flight: usize,
    pub(super) max_pending: u64,
    pub(super) max_bytes: u64,
    pub(super) dedup: bool,
    pub(super) checkpoint_every: u64,
    pub(super) retention: Retention,
}

/// A message that was taken and read.
pub(super) struct Handed {
    pub(super) taken: Taken,
    pub(super) payload: Bytes,
    /// When it was published.
    pub(super) time: u64,
}

/// What to do about a message that was not acknowledged.
pub(super) enum Verdict {
    /// By the rule for retries.
    Retry,
    Again(Duration),
    Reject(String),
}

/// Written at least every so many acks.
const ACKS: u64 = 64;
const LONGEST_REASON: usize = 1024;
const LONGEST_KEY: usize = 255;
const ATTEMPTS: usize = 4;
/// How often upkeep is done before a publisher is turned away.
const ROUNDS: usize = 5;
/// Runs of numbers in a record: it fits into the smallest segment.
const RANGES: usize = 256;

impl<D: Disk> Core<D> {
    // ---- publishing

    /// Stages messages. What is returned counts once the ticket is through.
    pub(super) fn stage(
        &self,
        messages: &[Message],
        durability: Durability,
    ) -> Result<(Ticket, Vec<Published>), PublishError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        self.check_room(messages.len() as u64)?;
        let now = self.wall.now();
        let mut encoded = Vec::with_capacity(messages.len());
        for message in messages {
            encoded.push(extensions(message, now)?.encode());
        }
        let records: Vec<_> = messages
            .iter()
            .zip(&encoded)
            .map(|(m, ext)| Record::new(Kind::Publish, m.priority.level(), ext, &m.payload))
            .collect();
        let sync = durability.confirmed() == Some(Mark::Durable);
        let bytes = records.iter().map(Record::size).sum::<u64>();
        let is_plain = |m: &Message| {
            m.delay.is_zero() && m.priority == super::Priority::NORMAL && m.dedup_id.is_none()
        };
        let (ticket, published) = if messages.iter().all(is_plain) {
            let append = || self.log.append(&records, true, sync);
            let appended = self.where_full(append).map_err(refused)?;
            let (ticket, first) = appended;
            let ids = first..first + records.len() as u64;
            let fresh = |id| Published {
                id,
                duplicate: false,
            };
            (ticket, ids.map(fresh).collect())
        } else {
            let stage = || self.stage_noted(messages, &records, sync, now);
            self.where_full(stage).map_err(refused)?
        };
        self.sync_within(durability);
        let taken = published
            .iter()
            .filter(|published| !published.duplicate)
            .count();
        add(&self.counts.published, taken);
        add(&self.counts.duplicates, published.len() - taken);
        self.since.fetch_add(bytes, Ordering::Relaxed);
        self.unwritten.store(0, Ordering::Relaxed);
        Ok((ticket, published))
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
            for (index, message) in messages.iter().enumerate() {
                let key = message.dedup_id.as_ref().filter(|_| self.settings.dedup);
                let earlier = |place: &usize| messages[*place].dedup_id.as_ref() == key;
                let place = if let Some(id) = key.and_then(|key| book.dedup.find(key, now)) {
                    Place::Known(id)
                } else if let Some(first) = (0..index).find(earlier).filter(|_| key.is_some()) {
                    Place::Same(first)
                } else {
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
    fn sync_within(&self, durability: Durability) {
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

    // ---- delivering

    /// Takes what is ready. Where nothing is, when to look again.
    pub(super) fn take(
        &self,
        number: u32,
        most: usize,
    ) -> Result<Result<Vec<Taken>, Option<Instant>>, RecvError> {
        let visible = self.log.reached(self.settings.delivered);
        let now = self.wall.clock().now();
        let mut staged = Staged::default();
        let outcome = {
            let mut book = self.book.lock();
            let group = book.group(number).ok_or(RecvError::NoGroup)?;
            for ended in group.expired(now) {
                add(&self.counts.timed_out, 1);
                let level = group.level(ended.id);
                if ended.attempts >= self.settings.max_deliver {
                    let reason = format!("not answered in time, {} times", ended.attempts);
                    staged.bury(number, group, ended, level, reason);
                } else {
                    group.give_back(ended.id, level, ended.attempts, 0);
                    staged.nack(number, ended, level, 0);
                }
            }
            group.wake(self.wall.now());
            let room = self.settings.max_in_flight.saturating_sub(group.lent());
            let deadline = now + self.settings.visibility;
            let mut taken = group.take(most.min(room), visible, deadline);
            taken.retain(|taken| {
                let too_often = taken.attempts > self.settings.max_deliver;
                if too_often {
                    let level = group.level(taken.id);
                    let attempts = taken.attempts - 1;
                    let before = Taken { attempts, ..*taken };
                    let reason = format!("delivered {attempts} times without an answer");
                    staged.bury(number, group, before, level, reason);
                }
                !too_often
            });
            let cautious = self.cautious.load(Ordering::Relaxed);
            for taken in &taken {
                if taken.id < cautious {
                    staged.nack(number, *taken, group.level(taken.id), 0);
                    staged.is_urgent = true;
                }
            }
            self.stage_now(&mut staged);
            if taken.is_empty() {
                let (lease, due) = group.next_change();
                let due = due.map(|due| self.wall.instant(due));
                Err(lease.into_iter().chain(due).min())
            } else {
                Ok(taken)
            }
        };
        let urgent = staged.is_urgent;
        let ticket = self.append(&staged);
        if urgent && let Ok(Some(ticket)) = ticket {
            // So that a message that ends the process is known by what it did.
            let _ = self.log.wait(ticket, Mark::Written);
        }
        Ok(outcome)
    }

    /// Reads what was taken. What is lost or past its time is done, and left out.
    pub(super) fn hand_out(
        &self,
        number: u32,
        taken: Vec<Taken>,
        ahead: &mut ReadAhead,
    ) -> Result<Vec<Handed>, RecvError> {
        let mut handed = Vec::with_capacity(taken.len());
        let mut gone = Vec::new();
        let mut lost: Vec<Range<u64>> = Vec::new();
        let mut failed = None;
        let now = self.wall.now();
        for taken in taken {
            if failed.is_some() {
                self.put_back(number, taken, 0);
                continue;
            }
            if lost.iter().any(|range| range.contains(&taken.id)) {
                continue;
            }
            match self.log.read(taken.id, ahead) {
                Ok(stored) => {
                    let cut = usize::from(stored.header.ext).min(stored.bytes.len());
                    let ext = if cut == 0 {
                        Extensions::default()
                    } else {
                        Extensions::decode(&stored.bytes[..cut])
                    };
                    if ext.expires.is_some_and(|expires| expires <= now) {
                        add(&self.counts.expired, 1);
                        gone.push(taken.id);
                    } else if ext.not_before.is_some_and(|due| due > now) {
                        // A group that was not there when it came. How often it was handed
                        // out says nothing: that is written down before.
                        self.put_back(number, taken, ext.not_before.unwrap_or(0));
                    } else {
                        let mut payload = stored.bytes;
                        payload.advance(cut);
                        let time = stored.time;
                        handed.push(Handed {
                            taken,
                            payload,
                            time,
                        });
                    }
                }
                Err(ReadError::Lost) => match self.missing(taken.id) {
                    Ok(range) => lost.push(range),
                    Err(error) => {
                        failed = Some(RecvError::Io(Arc::new(error)));
                        self.put_back(number, taken, 0);
                    }
                },
                Err(ReadError::Io(error)) => {
                    failed = Some(RecvError::Io(Arc::new(error)));
                    self.put_back(number, taken, 0);
                }
            }
        }
        ahead.let_go();
        if !lost.is_empty() {
            self.give_up(number, &lost);
        }
        if !gone.is_empty() {
            self.finish(number, &gone);
            gone.sort_unstable();
            let payload = ranges(number, &joined(gone));
            let _ = self.append_one(Kind::Ack, 0, &payload, false);
        }
        add(&self.counts.delivered, handed.len());
        match failed {
            Some(error) if handed.is_empty() => Err(error),
            _ => Ok(handed),
        }
    }

    /// The messages that are nowhere, from one on of which that is known.
    fn missing(&self, id: u64) -> std::io::Result<Range<u64>> {
        // What comes later may not be written yet.
        let visible = self.log.reached(self.settings.delivered);
        let missing = self.log.missing(id)?;
        Ok(id..missing.end.min(visible).max(id + 1))
    }

    /// Has a group be done with messages that are nowhere.
    fn give_up(&self, number: u32, lost: &[Range<u64>]) {
        let mut book = self.book.lock();
        let mut newly = 0;
        for range in lost {
            newly += book.lose(number, range.clone());
        }
        self.count_finished(&mut book);
        drop(book);
        self.counts.lost.fetch_add(newly, Ordering::Relaxed);
        // What is too long for a record is found again.
        let short = |range: &Range<u64>| {
            let most = range.start + u64::from(u32::MAX);
            range.start..range.end.min(most)
        };
        let short: Vec<_> = lost.iter().map(short).collect();
        for some in short.chunks(RANGES) {
            let _ = self.append_one(Kind::Ack, 0, &ranges(number, some), false);
        }
    }

    /// Undoes taking a message.
    pub(super) fn put_back(&self, number: u32, taken: Taken, due: u64) {
        let mut book = self.book.lock();
        if let Some(group) = book
            .group(number)
            .filter(|g| g.holds(taken.id, taken.token))
        {
            let level = group.level(taken.id);
            group.give_back(taken.id, level, taken.attempts - 1, due);
        }
        drop(book);
        self.bell.ring();
    }

    // ---- answers

    /// Acknowledges messages; those whose lease has ended are returned.
    pub(super) fn ack(
        &self,
        number: u32,
        taken: &[Taken],
        durable: bool,
    ) -> Result<(), SettleError> {
        let mut staged = Staged::default();
        let mut late = None;
        let mut done = Vec::new();
        {
            let mut book = self.book.lock();
            if let Some(group) = book.group(number) {
                done = group.finish_lent(taken);
                if done.len() < taken.len() {
                    // Those that are done are in the order of those that were asked for.
                    let mut in_time = done.iter().peekable();
                    let is_late = |taken: &&Taken| in_time.next_if_eq(&&taken.id).is_none();
                    late = taken.iter().find(is_late).map(|taken| taken.id);
                }
            } else {
                late = taken.first().map(|taken| taken.id);
            }
            self.count_finished(&mut book);
            if !done.is_empty() {
                done.sort_unstable();
                let payload = ranges(number, &joined(done.iter().copied()));
                staged.records.push_back((Kind::Ack, 0, payload));
                staged.sync = durable;
                self.stage_now(&mut staged);
            }
        }
        if let Some(&first) = done.first() {
            add(&self.counts.acked, done.len());
            self.bell.ring();
            let ticket = self
                .append(&staged)
                .map_err(|error| unsettled(error, first))?;
            if let Some(ticket) = ticket {
                self.settle(ticket, durable)?;
            }
        }
        late.map_or(Ok(()), |id| Err(SettleError::Expired { id }))
    }

    pub(super) fn nack(
        &self,
        number: u32,
        taken: Taken,
        verdict: Verdict,
    ) -> Result<(), SettleError> {
        let mut staged = Staged::default();
        {
            let mut book = self.book.lock();
            let group = book
                .group(number)
                .filter(|group| group.holds(taken.id, taken.token));
            let group = group.ok_or(SettleError::Expired { id: taken.id })?;
            let level = group.level(taken.id);
            let is_last = taken.attempts >= self.settings.max_deliver;
            let pause = match &verdict {
                Verdict::Retry => self.settings.retry.pause(taken.attempts, taken.id),
                Verdict::Again(pause) => *pause,
                Verdict::Reject(_) => Duration::ZERO,
            };
            match verdict {
                Verdict::Reject(mut reason) => {
                    shorten(&mut reason);
                    staged.bury(number, group, taken, level, reason);
                }
                Verdict::Retry | Verdict::Again(_) if is_last => {
                    let reason = format!("given back {} times", taken.attempts);
                    staged.bury(number, group, taken, level, reason);
                }
                Verdict::Retry | Verdict::Again(_) => {
                    let due = if pause.is_zero() {
                        0
                    } else {
                        self.wall.now().saturating_add(millis(pause).max(1))
                    };
                    group.give_back(taken.id, level, taken.attempts, due);
                    staged.nack(number, taken, level, due);
                }
            }
            self.stage_now(&mut staged);
        }
        add(&self.counts.nacked, 1);
        self.bell.ring();
        let ticket = self
            .append(&staged)
            .map_err(|error| unsettled(error, taken.id))?;
        ticket.map_or(Ok(()), |ticket| self.settle(ticket, false))
    }

    pub(super) fn extend(
        &self,
        number: u32,
        taken: Taken,
        by: Duration,
    ) -> Result<(), SettleError> {
        let deadline = self.wall.clock().now() + by;
        let mut book = self.book.lock();
        let group = book
            .group(number)
            .filter(|group| group.holds(taken.id, taken.token));
        group
            .ok_or(SettleError::Expired { id: taken.id })?
            .extend(taken.id, deadline);
        Ok(())
    }

    /// Waits for an answer to last, if that is asked for; writes now and then if not.
    pub(super) fn settle(&self, ticket: Ticket, durable: bool) -> Result<(), SettleError> {
        if durable {
            let waited = self.log.wait(ticket, Mark::Durable);
            waited.map_err(|failed| SettleError::NotDurable(failed.0))?;
            self.maintain_if_due();
            return Ok(());
        }
        self.sync_within(self.settings.durability);
        if self.unwritten.fetch_add(1, Ordering::Relaxed) + 1 >= ACKS {
            self.unwritten.store(0, Ordering::Relaxed);
            let waited = self.log.wait(ticket, Mark::Written);
            waited.map_err(|failed| SettleError::NotDurable(failed.0))?;
            self.maintain_if_due();
        }
        Ok(())
    }

    pub(super) fn finish(&self, number: u32, ids: &[u64]) {
        let mut book = self.book.lock();
        if let Some(group) = book.group(number) {
            for id in ids {
                group.finish(*id);
            }
        }
        self.count_finished(&mut book);
    }

    pub(super) fn count_finished(&self, book: &mut Book) {
        let next_id = self.log.next_id();
        let finished = (next_id - 1).saturating_sub(book.pending(next_id));
        self.finished.store(finished, Ordering::Relaxed);
    }

    /// Stages a record of what the book has been told.
    pub(super) fn append_one(
        &self,
        kind: Kind,
        level: u8,
        payload: &[u8],
        sync: bool,
    ) -> Result<Ticket, AppendError> {
        let record = [Record::new(kind, level, &[], payload)];
        self.since.fetch_add(record[0].size(), Ordering::Relaxed);
        match self.where_full(|| self.log.append(&record, false, sync)) {
            // What the record says is in the book already, and that in a checkpoint.
            Err(AppendError::Full) if self.checkpoint_again().is_ok() => Ok(self.log.last()),
            appended => appended.map(|(ticket, _)| ticket),
        }
    }

    /// Stages records while the book is held, as far as there is room.
    fn stage_now(&self, staged: &mut Staged) {
        while let Some((kind, level, payload)) = staged.records.front() {
            let record = [Record::new(*kind, *level, &[], payload)];
            match self.log.stage(&record, false, staged.sync) {
                Ok(Some((ticket, _))) => staged.last = Some(ticket),
                // Tried again, and told, once the book is let go.
                Ok(None) | Err(_) => return,
            }
            self.since.fetch_add(record[0].size(), Ordering::Relaxed);
            staged.records.pop_front();
        }
    }

    /// Stages what there was no room for. The last ticket.
    fn append(&self, staged: &Staged) -> Result<Option<Ticket>, AppendError> {
        let mut last = staged.last;
        for (kind, level, payload) in &staged.records {
            last = Some(self.append_one(*kind, *level, payload, staged.sync)?);
        }
        Ok(last)
    }

    // ---- what it holds

    pub(super) fn stats(&self) -> QueueStats {
        let mut stats = self.counts.read();
        let (disk, index) = self.log.sizes();
        let next_id = self.log.next_id();
        let mut book = self.book.lock();
        stats.pending = book.pending(next_id);
        let mut memory = index + book.dedup.memory();
        for group in book.all() {
            stats.in_flight += group.lent() as u64;
            stats.waiting += group.waiting() as u64;
            stats.dead += group.dead().len() as u64;
            memory += group.memory();
        }
        drop(book);
        stats.disk_bytes = disk;
        stats.memory_bytes = memory as u64;
        stats.failovers = self.log.failovers();
        stats.failed = self.log.failed().is_some();
        stats
    }
}

impl<D: Disk> Drop for Core<D> {
    fn drop(&mut self) {
        // What is not durable in time has to be now: nobody will see to it later.
        if self.syncer.stop() {
            let _ = self.log.wait(self.log.last(), Mark::Durable);
        }
    }
}

/// Where the answer for a message comes from.
enum Place {
    New(u64),
    Known(u64),
    Same(usize),
}

/// Records of what happened in the book.
#[derive(Default)]
struct Staged {
    records: VecDeque<(Kind, u8, Vec<u8>)>,
    /// Whether somebody waits until they are durable.
    sync: bool,
    is_urgent: bool,
    /// Of those that are staged.
    last: Option<Ticket>,
}

impl Staged {
    fn nack(&mut self, group: u32, taken: Taken, level: u8, due: u64) {
        let nack = Nack {
            group,
            attempts: taken.attempts,
            id: taken.id,
            due,
        };
        self.records
            .push_back((Kind::Nack, level, nack.encode().to_vec()));
    }

    fn bury(
        &mut self,
        number: u32,
        group: &mut super::group::Group,
        taken: Taken,
        level: u8,
        reason: String,
    ) {
        let nack = Nack {
            group: number,
            attempts: taken.attempts,
            id: taken.id,
            due: 0,
        };
        let mut payload = nack.encode().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.records.push_back((Kind::Dead, level, payload));
        let dead = Dead {
            attempts: taken.attempts,
            level,
            reason,
        };
        group.bury(taken.id, dead);
    }
}

/// Cuts a reason to the length that is kept.
pub(super) fn shorten(reason: &mut String) {
    let most = (0..=LONGEST_REASON)
        .rev()
        .find(|at| reason.is_char_boundary(*at));
    reason.truncate(most.unwrap_or(0));
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

pub(super) fn unsettled(error: AppendError, id: u64) -> SettleError {
    match error {
        AppendError::Failed(failed) => SettleError::NotDurable(failed.0),
        AppendError::Full | AppendError::TooLarge { .. } => SettleError::DiskFull { id },
    }
}
