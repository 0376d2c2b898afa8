//! Outcomes that are kept for a moment after their flight.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::sync::flight::Outcome;
use crate::time::Instant;

/// The outcomes of one shard that are given to callers who come after them.
/// Single-threaded; what leaves it is handed back, to be dropped under no lock.
pub(super) struct Lingering<K, V> {
    /// One entry per key.
    kept: HashTable<Kept<K, V>>,
    /// When they are due, the oldest first, by hash and number. An entry that
    /// was replaced or forgotten leaves its note here until then.
    due: VecDeque<(Instant, u64, u64)>,
    next_number: u64,
}

struct Kept<K, V> {
    hash: u64,
    number: u64,
    until: Instant,
    key: K,
    outcome: Outcome<V>,
}

/// What left, to be dropped under no lock.
pub(super) struct Gone<K, V>(Vec<Kept<K, V>>);

impl<K, V> Gone<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, V> Lingering<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            kept: HashTable::new(),
            due: VecDeque::new(),
            next_number: 0,
        }
    }

    /// Lets go of a key's outcome.
    pub(super) fn forget(&mut self, hash: u64, is_key: impl Fn(&K) -> bool) -> Gone<K, V> {
        let found = self
            .kept
            .find_entry(hash, |kept| kept.hash == hash && is_key(&kept.key));
        Gone(found.map_or_else(|_| Vec::new(), |entry| vec![entry.remove().0]))
    }

    /// Takes out what is due, and the oldest if there are too many.
    fn sweep(&mut self, now: Instant) -> Vec<Kept<K, V>> {
        let mut gone = Vec::new();
        while let Some(&(until, hash, number)) = self.due.front() {
            if until > now && self.due.len() <= KEPT_PER_SHARD {
                break;
            }
            self.due.pop_front();
            if let Ok(entry) = self.kept.find_entry(hash, |kept| kept.number == number) {
                gone.push(entry.remove().0);
            }
        }
        if self.kept.is_empty() {
            self.kept = HashTable::new();
        }
        gone
    }
}

impl<K: Eq, V: Clone> Lingering<K, V> {
    pub(super) fn get(&self, hash: u64, key: &K, now: Instant) -> Option<Outcome<V>> {
        let kept = self
            .kept
            .find(hash, |kept| kept.hash == hash && kept.key == *key)?;
        (kept.until > now).then(|| kept.outcome.clone())
    }

    pub(super) fn keep(
        &mut self,
        hash: u64,
        key: K,
        outcome: Outcome<V>,
        now: Instant,
        until: Instant,
    ) -> Gone<K, V> {
        let number = self.next_number;
        self.next_number += 1;
        let mut gone = self.forget(hash, |known| *known == key).0;
        let kept = Kept {
            hash,
            number,
            until,
            key,
            outcome,
        };
        self.kept.insert_unique(hash, kept, |kept| kept.hash);
        self.due.push_back((until, hash, number));
        gone.extend(self.sweep(now));
        Gone(gone)
    }
}

/// Bounds the memory of a group that keeps outcomes, whatever the rate.
const KEPT_PER_SHARD: usize = 128;
