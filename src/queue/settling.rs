//! What consumers answer: noted in the book, and staged in the same order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::book::Book;
use super::core::Core;
use super::counts::add;
use super::error::SettleError;
use super::group::{Dead, Group, Taken};
use super::log::format::Kind;
use super::log::{AppendError, Mark, Record, Ticket, millis};
use super::records::{Nack, joined, one_range, ranges};
use super::storage::Disk;

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

impl<D: Disk> Core<D> {
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
                staged.sync = durable;
                if let [id] = done[..] {
                    self.stage_or_keep(&mut staged, Kind::Ack, &one_range(number, id));
                } else {
                    let payload = ranges(number, &joined(done.iter().copied()));
                    self.stage_or_keep(&mut staged, Kind::Ack, &payload);
                }
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
    pub(super) fn stage_now(&self, staged: &mut Staged) {
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

    /// The same for one that is the first of these.
    fn stage_or_keep(&self, staged: &mut Staged, kind: Kind, payload: &[u8]) {
        let record = [Record::new(kind, 0, &[], payload)];
        if let Ok(Some((ticket, _))) = self.log.stage(&record, false, staged.sync) {
            self.since.fetch_add(record[0].size(), Ordering::Relaxed);
            staged.last = Some(ticket);
        } else {
            staged.records.push_back((kind, 0, payload.to_vec()));
        }
    }

    /// Stages what there was no room for. The last ticket.
    pub(super) fn append(&self, staged: &Staged) -> Result<Option<Ticket>, AppendError> {
        let mut last = staged.last;
        for (kind, level, payload) in &staged.records {
            last = Some(self.append_one(*kind, *level, payload, staged.sync)?);
        }
        Ok(last)
    }
}

/// Records of what happened in the book.
#[derive(Default)]
pub(super) struct Staged {
    records: VecDeque<(Kind, u8, Vec<u8>)>,
    /// Whether somebody waits until they are durable.
    sync: bool,
    pub(super) is_urgent: bool,
    /// Of those that are staged.
    last: Option<Ticket>,
}

impl Staged {
    pub(super) fn nack(&mut self, group: u32, taken: Taken, level: u8, due: u64) {
        let nack = Nack {
            group,
            attempts: taken.attempts,
            id: taken.id,
            due,
        };
        self.records
            .push_back((Kind::Nack, level, nack.encode().to_vec()));
    }

    pub(super) fn bury(
        &mut self,
        number: u32,
        group: &mut Group,
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

pub(super) fn unsettled(error: AppendError, id: u64) -> SettleError {
    match error {
        AppendError::Failed(failed) => SettleError::NotDurable(failed.0),
        AppendError::Full | AppendError::TooLarge { .. } => SettleError::DiskFull { id },
    }
}
