//! How messages get to consumers: taken from the book, read from the log, and put back or
//! given up where that cannot be done.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};

use super::core::Core;
use super::counts::add;
use super::error::RecvError;
use super::group::Taken;
use super::log::format::Kind;
use super::log::{Mark, ReadAhead, ReadError};
use super::records::{Extensions, joined, ranges};
use super::settling::Staged;
use super::storage::Disk;
use crate::time::Instant;

/// A message that was taken and read.
pub(super) struct Handed {
    pub(super) taken: Taken,
    pub(super) payload: Bytes,
    /// When it was published.
    pub(super) time: u64,
}

/// Runs of numbers in a record: it fits into the smallest segment.
const RANGES: usize = 256;

impl<D: Disk> Core<D> {
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
    pub(super) fn hand_out<T>(
        &self,
        number: u32,
        taken: Vec<Taken>,
        ahead: &mut ReadAhead,
        deliver: impl Fn(Handed) -> T,
    ) -> Result<Vec<T>, RecvError> {
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
                    } else if let Some(due) = ext.not_before.filter(|due| *due > now) {
                        // A group that was not there when it came.
                        self.put_back(number, taken, due);
                    } else {
                        let mut payload = stored.bytes;
                        payload.advance(cut);
                        let time = stored.time;
                        handed.push(deliver(Handed {
                            taken,
                            payload,
                            time,
                        }));
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
    fn put_back(&self, number: u32, taken: Taken, due: u64) {
        let mut staged = Staged::default();
        let mut book = self.book.lock();
        if let Some(group) = book
            .group(number)
            .filter(|g| g.holds(taken.id, taken.token))
        {
            let attempts = taken.attempts - 1;
            let before = Taken { attempts, ..taken };
            let level = group.level(taken.id);
            group.give_back(taken.id, level, attempts, due);
            if taken.id < self.cautious.load(Ordering::Relaxed) {
                // That it was handed out is written down, and did not happen.
                staged.nack(number, before, level, due);
                self.stage_now(&mut staged);
            }
        }
        drop(book);
        // If that is lost, one attempt too many counts after a crash.
        let _ = self.append(&staged);
        self.bell.ring();
    }
}
