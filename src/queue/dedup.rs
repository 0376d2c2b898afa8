//! Dedup ids of the last while.

use std::collections::{HashMap, VecDeque};

use super::records::{Reading, Writing};

/// Which message was the first with an id, for as long as the window is.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    /// Milliseconds; zero if nothing is remembered.
    window: u64,
    /// The message, and when it came.
    known: HashMap<Box<[u8]>, (u64, u64)>,
    /// In the order in which they came.
    order: VecDeque<(u64, u64, Box<[u8]>)>,
}

impl Dedup {
    pub(super) fn new(window: u64) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    pub(super) fn find(&mut self, key: &[u8], now: u64) -> Option<u64> {
        self.forget(now);
        let (id, time) = *self.known.get(key)?;
        (time.saturating_add(self.window) > now).then_some(id)
    }

    /// Notes the newest message with an id. A log that is replayed may come to one that
    /// was moved only after those that are newer.
    pub(super) fn insert(&mut self, key: &[u8], id: u64, time: u64) {
        let is_newest = self.known.get(key).is_none_or(|(known, _)| *known < id);
        if self.window > 0 && is_newest {
            self.known.insert(key.into(), (id, time));
            self.order.push_back((time, id, key.into()));
            self.forget(time);
        }
    }

    fn forget(&mut self, now: u64) {
        while let Some((time, ..)) = self.order.front()
            && time.saturating_add(self.window) <= now
        {
            // It may have been used again since.
            if let Some((_, id, key)) = self.order.pop_front()
                && self.known.get(&key).is_some_and(|(known, _)| *known == id)
            {
                self.known.remove(&key);
            }
        }
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let keys = self.order.iter().map(|(_, _, key)| 2 * key.len());
        keys.sum::<usize>() + 88 * self.order.len()
    }

    pub(super) fn write(&self, writing: &mut Writing, next_id: u64) {
        let known = self.order.iter().filter(|(_, id, _)| *id < next_id);
        let known: Vec<_> = known.collect();
        writing.list(&known, |writing, (time, id, key)| {
            writing.word(*time);
            writing.word(*id);
            writing.bytes(key);
        });
    }

    pub(super) fn read(&mut self, reading: &mut Reading<'_>) -> Option<()> {
        let known = reading.list(|r| Some((r.word()?, r.id()?, r.bytes()?)))?;
        for (time, id, key) in known {
            self.insert(key, id, time);
        }
        Some(())
    }
}
