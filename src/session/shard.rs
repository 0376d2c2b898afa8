//! One shard, single-threaded: sessions in slots, and where each lies.

use super::entry::Entry;
use super::index::Index;
use super::slots::Slots;

#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: Slots,
    index: Index,
    /// Where the next sweep goes on.
    hand: usize,
}

impl Shard {
    pub(super) fn get(&self, key: u128) -> Option<&Entry> {
        self.slots.get(self.find(key)?)
    }

    pub(super) fn get_mut(&mut self, key: u128) -> Option<&mut Entry> {
        self.slots.get_mut(self.find(key)?)
    }

    /// Puts a session whose key is not there yet, and which is not over before it is due.
    pub(super) fn insert(&mut self, entry: Entry, due: u32) {
        let key = entry.key;
        let slot = self.slots.put(entry, due);
        if self.index.has_room(slot) {
            self.index.insert(key, slot);
            return;
        }
        // With those that were there, and the new one.
        self.index = Index::with_room(self.slots.len() as u32, self.index.len() + 1);
        for (slot, entry) in (0..).zip(self.slots.from(0)) {
            if let Some(entry) = entry {
                self.index.insert(entry.key, slot);
            }
        }
    }

    pub(super) fn remove(&mut self, key: u128) -> Option<Entry> {
        let slot = self.index.remove(key, is_in(&self.slots, key))?;
        self.slots.take(slot)
    }

    fn find(&self, key: u128) -> Option<u32> {
        self.index.find(key, is_in(&self.slots, key))
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The sessions of these slots.
    pub(super) fn range(&self, from: usize, count: usize) -> impl Iterator<Item = &Entry> {
        self.slots.from(from).take(count).flatten()
    }

    /// Looks at the next slots, at most so many, and takes out what has come to its end. Says
    /// how many were looked at, and whether that was the last of them.
    pub(super) fn sweep(
        &mut self,
        budget: usize,
        now: u32,
        end: impl Fn(&Entry) -> u32,
        out: &mut Vec<Entry>,
    ) -> (usize, bool) {
        let last = self.hand.saturating_add(budget).min(self.slots.len());
        let looked = last - self.hand;
        for slot in self.hand as u32..last as u32 {
            let due = self.slots.if_due(slot, now);
            match due.map(|entry| (entry.key, end(entry))) {
                // Used since.
                Some((_, end)) if end > now => self.slots.put_off(slot, end),
                Some((key, _)) => out.extend(self.remove(key)),
                None => {}
            }
        }
        let is_round = last == self.slots.len();
        self.hand = if is_round { 0 } else { last };
        (looked, is_round)
    }

    /// What is held for sessions, if nothing lives here: to be given back without the lock.
    pub(super) fn take_if_empty(&mut self) -> Option<Self> {
        let is_waste = self.index.len() == 0 && self.slots.len() > 0;
        is_waste.then(|| std::mem::take(self))
    }

    /// Of the next sessions, at most so many, the one that was idle the longest.
    pub(super) fn idlest(&self, sample: usize) -> Option<u128> {
        let round = self.slots.from(self.hand).chain(self.slots.from(0));
        let sample = round.take(self.slots.len()).flatten().take(sample);
        sample.min_by_key(|entry| entry.seen).map(|entry| entry.key)
    }
}

fn is_in(slots: &Slots, key: u128) -> impl Fn(u32) -> bool {
    move |slot| slots.get(slot).is_some_and(|entry| entry.key == key)
}
