//! One shard, single-threaded: sessions in slots, and where each lies.

use std::sync::Arc;

use hashbrown::HashTable;

use super::users::User;

/// One session: a cache line.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: u128,
    pub(super) data: Arc<[u8]>,
    pub(super) user: Option<Arc<User>>,
    pub(super) version: u64,
    /// The store's count of revocations when the session was made, or spared by
    /// one: it outlives those up to this number.
    pub(super) stamp: u64,
    /// When its absolute deadline began to run.
    pub(super) created: u32,
    /// When its idle deadline began to run.
    pub(super) seen: u32,
}

impl Entry {
    /// Whether its user was logged out everywhere since. The one comparison that no
    /// reader may leave out.
    pub(super) fn is_revoked(&self) -> bool {
        let user = self.user.as_ref();
        user.is_some_and(|user| self.stamp < user.generation())
    }
}

/// How long sessions live, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) idle: u32,
    pub(super) absolute: u32,
}

impl Lifetime {
    /// The second from which on the session is over.
    pub(super) fn end(self, entry: &Entry) -> u32 {
        let idle = entry.seen.saturating_add(self.idle);
        idle.min(entry.created.saturating_add(self.absolute))
    }

    pub(super) fn is_live(self, entry: &Entry, now: u32) -> bool {
        now < self.end(entry) && !entry.is_revoked()
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// The slot of each key. Keys are random bits, so they are their own hashes:
    /// nobody who cannot turn SHA-256 round chooses where one falls.
    index: HashTable<u32>,
    /// Where the next sweep goes on.
    hand: usize,
}

impl Shard {
    pub(super) fn get(&self, key: u128) -> Option<&Entry> {
        let slot = self.index.find(key as u64, |&slot| self.is_at(slot, key))?;
        self.slots[*slot as usize].as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u128) -> Option<&mut Entry> {
        let slot = self.index.find(key as u64, |&slot| self.is_at(slot, key))?;
        self.slots[*slot as usize].as_mut()
    }

    /// Puts a session whose key is not there yet.
    pub(super) fn insert(&mut self, entry: Entry) {
        let key = entry.key;
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(entry);
            slot
        } else {
            self.slots.push(Some(entry));
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.index.insert_unique(key as u64, slot, |&slot| {
            slots[slot as usize]
                .as_ref()
                .map_or(0, |entry| entry.key as u64)
        });
    }

    pub(super) fn remove(&mut self, key: u128) -> Option<Entry> {
        let slots = &self.slots;
        let is_it = |slot: &u32| is_at(slots, *slot, key);
        let found = self.index.find_entry(key as u64, is_it).ok()?;
        let (slot, _) = found.remove();
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The sessions of these slots.
    pub(super) fn range(&self, from: usize, count: usize) -> impl Iterator<Item = &Entry> {
        self.slots.iter().skip(from).take(count).flatten()
    }

    /// Looks at the next slots, at most so many, and takes out what is over. Says
    /// how many were looked at, and whether that was the last of them.
    pub(super) fn sweep(
        &mut self,
        budget: usize,
        is_over: impl Fn(&Entry) -> bool,
        out: &mut Vec<Entry>,
    ) -> (usize, bool) {
        let end = self.hand.saturating_add(budget).min(self.slots.len());
        let looked = end - self.hand;
        for slot in self.hand..end {
            let over = self.slots[slot].as_ref().filter(|entry| is_over(entry));
            if let Some(key) = over.map(|entry| entry.key) {
                out.extend(self.remove(key));
            }
        }
        let is_round = end == self.slots.len();
        self.hand = if is_round { 0 } else { end };
        if is_round && self.index.is_empty() {
            // Nothing lives here: give the memory back.
            *self = Self::default();
        }
        (looked, is_round)
    }

    /// Of the next sessions, at most so many, the one that was idle the longest.
    pub(super) fn idlest(&self, sample: usize) -> Option<u128> {
        let slots = self.slots.iter().cycle().skip(self.hand);
        let sample = slots.take(self.slots.len()).flatten().take(sample);
        sample.min_by_key(|entry| entry.seen).map(|entry| entry.key)
    }

    fn is_at(&self, slot: u32, key: u128) -> bool {
        is_at(&self.slots, slot, key)
    }
}

fn is_at(slots: &[Option<Entry>], slot: u32, key: u128) -> bool {
    let entry = slots.get(slot as usize).and_then(Option::as_ref);
    entry.is_some_and(|entry| entry.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_cache_line() {
        assert_eq!(size_of::<Option<Entry>>(), 64);
    }
}
