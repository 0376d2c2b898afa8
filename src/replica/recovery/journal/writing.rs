use std::fmt;
use std::task::{Poll, Waker};

use super::WriteJournal;
use crate::hash::StableKey;
use crate::replica::Position;

/// A place in a journal for a write that is being made. Dropped, it is free again: for a write that failed.
#[must_use = "dropped, the write is not noted"]
pub struct Writing<'a, W> {
    journal: &'a WriteJournal<W>,
    kept: bool,
}

impl<'a, W> Writing<'a, W> {
    /// In the place that was taken in the ring.
    pub(super) fn new(journal: &'a WriteJournal<W>) -> Self {
        let kept = true;
        Self { journal, kept }
    }
}

impl<W: StableKey> Writing<'_, W> {
    /// The write was acknowledged, and its commit ends at or before this position.
    pub fn acknowledged(mut self, timeline: u64, position: Position, write: W) {
        let kept = Some(&mut self.kept);
        self.journal.note(timeline, position, write, kept);
    }
}

impl<W> Drop for Writing<'_, W> {
    fn drop(&mut self) {
        if !self.kept {
            return;
        }
        let waiting = {
            let mut ring = self.journal.ring.lock();
            ring.begun -= 1;
            ring.woken(self.journal.settings.capacity)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<W> fmt::Debug for Writing<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").finish_non_exhaustive()
    }
}

/// A wait for room.
pub(super) struct Wait<'a, W> {
    journal: &'a WriteJournal<W>,
    number: Option<u64>,
}

impl<'a, W> Wait<'a, W> {
    pub(super) fn new(journal: &'a WriteJournal<W>) -> Self {
        let number = None;
        Self { journal, number }
    }

    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Writing<'a, W>> {
        // Whoever makes room takes the lock after this, and finds the waker.
        let waker = waker.clone();
        let mut ring = self.journal.ring.lock();
        if !ring.is_full(self.journal.settings.capacity) {
            ring.begun += 1;
            return Poll::Ready(Writing::new(self.journal));
        }
        let number = *self.number.get_or_insert(ring.next_wait);
        ring.next_wait = ring.next_wait.max(number + 1);
        let old = ring.waiting.insert(number, waker);
        drop(ring);
        drop(old);
        Poll::Pending
    }
}

impl<W> Drop for Wait<'_, W> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.journal.ring.lock().waiting.remove(&number);
            drop(waker);
        }
    }
}

/// A journal that is full of writes that some replica has not got yet. The write was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal holds all of the {capacity} writes it may hold, and some replica has none of them yet"
)]
pub struct JournalFull {
    /// How many it may hold.
    pub capacity: usize,
}
