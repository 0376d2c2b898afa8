use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::WriteJournalStats;
use crate::replica::Position;
use crate::replica::recovery::{Entry, EntryId, ForkPoint};

#[derive(Debug)]
pub(super) struct Ring<W> {
    /// As they were noted, which is nearly by position.
    pub(super) writes: VecDeque<Noted<W>>,
    /// Places kept for writes under way. Together with `writes` at most the capacity.
    pub(super) begun: usize,
    /// The tag of the next write.
    pub(super) next_tag: u64,
    /// By timeline, what was forgotten of it and may be lost.
    pub(super) forgotten: BTreeMap<u64, Forgotten>,
    /// Tasks that wait for room, by the number of their wait.
    pub(super) waiting: BTreeMap<u64, Waker>,
    pub(super) next_wait: u64,
    pub(super) stats: WriteJournalStats,
}

/// In an `Arc`, so that user code neither clones nor drops under the lock.
#[derive(Debug)]
pub(super) struct Noted<W> {
    pub(super) entry: Arc<Entry<W>>,
    /// What its timeline had behind the fork has been recovered, and this lies before it: later timelines have it.
    pub(super) settled: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Forgotten {
    pub(super) count: u64,
    pub(super) last: Position,
}

impl<W> Ring<W> {
    pub(super) fn new(capacity: usize, first_tag: u64) -> Self {
        Self {
            writes: VecDeque::new(),
            begun: 0,
            next_tag: first_tag,
            forgotten: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_wait: 0,
            stats: WriteJournalStats {
                capacity: capacity as u64,
                ..WriteJournalStats::default()
            },
        }
    }

    pub(super) fn is_full(&self, capacity: usize) -> bool {
        self.writes.len() + self.begun >= capacity
    }

    /// Those who wait for room, if there is some. Who is woken in vain waits again.
    pub(super) fn woken(&mut self, capacity: usize) -> BTreeMap<u64, Waker> {
        if self.is_full(capacity) {
            return BTreeMap::new();
        }
        std::mem::take(&mut self.waiting)
    }

    /// What may be missing behind a fork.
    pub(super) fn forgotten_after(&self, from: ForkPoint) -> Option<Forgotten> {
        let forgotten = self.forgotten.get(&from.timeline).copied();
        forgotten.filter(|forgotten| forgotten.last > from.position)
    }

    pub(super) fn forget_oldest(&mut self) -> Option<Noted<W>> {
        let oldest = self.writes.pop_front()?;
        let EntryId {
            timeline, position, ..
        } = oldest.entry.id;
        let forgotten = self.forgotten.entry(timeline).or_default();
        forgotten.count += 1;
        forgotten.last = forgotten.last.max(position);
        self.stats.forgotten += 1;
        Some(oldest)
    }
}
