//! The order in which a shard's entries leave: one face over the policies.

use std::sync::Arc;

use super::Policy;
use super::adaptive::Adaptive;
use super::learner::Lessons;
use super::lists::{Frequencies, Queue};
use super::table::Table;

/// What kind of order a shard has.
#[derive(Clone)]
pub(super) struct Kind {
    pub(super) policy: Policy,
    pub(super) lessons: Arc<Lessons>,
    /// Whether this shard learns for the others.
    pub(super) studies: bool,
}

pub(super) enum Order {
    Fifo(Queue),
    Lru(Queue),
    Lfu(Frequencies),
    Adaptive(Adaptive),
}

impl Order {
    pub(super) fn new(kind: &Kind) -> Self {
        match kind.policy {
            Policy::Fifo => Self::Fifo(Queue::new()),
            Policy::Lru => Self::Lru(Queue::new()),
            Policy::Lfu => Self::Lfu(Frequencies::new()),
            Policy::Adaptive => {
                Self::Adaptive(Adaptive::new(Arc::clone(&kind.lessons), kind.studies))
            }
        }
    }

    /// A key that is not in the table is about to be inserted.
    #[inline]
    pub(super) fn arriving<K, V>(&mut self, table: &Table<K, V>, hash: u64) {
        if let Self::Adaptive(adaptive) = self {
            adaptive.arriving(table, hash);
        }
    }

    /// The entry that was announced came into this slot.
    #[inline]
    pub(super) fn inserted<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        match self {
            Self::Fifo(queue) | Self::Lru(queue) => queue.push(slot),
            Self::Lfu(frequencies) => frequencies.push(slot),
            Self::Adaptive(adaptive) => adaptive.inserted(table, slot),
        }
    }

    /// The entry in this slot was read or replaced.
    #[inline]
    pub(super) fn used<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        // One compare for the default, instead of a jump through a table.
        if let Self::Adaptive(adaptive) = self {
            return adaptive.used(table, slot);
        }
        match self {
            Self::Lru(queue) => queue.touch(slot),
            Self::Lfu(frequencies) => frequencies.touch(slot),
            Self::Fifo(_) | Self::Adaptive(_) => {}
        }
    }

    /// The entry in this slot leaves, whatever the reason; it is still there.
    #[inline]
    pub(super) fn removed(&mut self, slot: usize) {
        match self {
            Self::Fifo(queue) | Self::Lru(queue) => queue.remove(slot),
            Self::Lfu(frequencies) => frequencies.remove(slot),
            Self::Adaptive(adaptive) => adaptive.removed(slot),
        }
    }

    /// The entry in this slot leaves because the policy chose it.
    #[inline]
    pub(super) fn evicted<K, V>(
        &mut self,
        table: &Table<K, V>,
        hash: u64,
        home: usize,
        slot: usize,
    ) {
        match self {
            Self::Adaptive(adaptive) => adaptive.evicted(table, hash, home, slot),
            _ => self.removed(slot),
        }
    }

    /// The slot whose entry should go to make room for a key whose home is this
    /// bucket. `None` only if there is no entry at all.
    #[inline]
    pub(super) fn victim<K, V>(&mut self, table: &Table<K, V>, home: usize) -> Option<usize> {
        match self {
            Self::Fifo(queue) | Self::Lru(queue) => queue.oldest(),
            Self::Lfu(frequencies) => frequencies.least(),
            Self::Adaptive(adaptive) => adaptive.victim(table, home),
        }
    }

    /// Follows a rebuilt table, in which `moved[old]` is an entry's new slot.
    pub(super) fn follow<K, V>(&mut self, moved: &[u32], table: &mut Table<K, V>) {
        match self {
            Self::Fifo(queue) | Self::Lru(queue) => queue.follow(moved, table.slot_count()),
            Self::Lfu(frequencies) => frequencies.follow(moved, table.slot_count()),
            Self::Adaptive(adaptive) => adaptive.follow(table),
        }
    }
}
