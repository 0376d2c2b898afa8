//! What all handles of a queue share: the log, and the book of who has what.
//!
//! Two locks, never one in the other except `book` before the log's own. Nothing is
//! written or read while the book is held. Records are staged under it, which is a copy
//! in memory, so that the log has everything in the order of the book; where there is
//! no room, an answer is staged once the book is let go. That is harmless, since what is
//! done stays done.
//!
//! `publishing.rs`, `delivering.rs`, `settling.rs` and `upkeep.rs` are what is done with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::backoff::Backoff;
use super::bell::Bell;
use super::book::Book;
use super::counts::{Counts, QueueStats};
use super::durability::Durability;
use super::log::{Log, Mark, Wall};
use super::retention::Retention;
use super::storage::Disk;
use super::syncer::Syncer;
use super::upkeep::Upkeep;
use crate::sync::Mutex;
use crate::task::Executor;
use crate::time::Timer;

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

impl<D: Disk> Core<D> {
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
