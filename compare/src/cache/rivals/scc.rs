//! `scc::HashCache`: 32-way sets with LRU in the set.

use scc::HashCache;
use scc::hash_cache::Entry;
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct Scc<K: Key>(HashCache<K, u64, TableHasher>);

impl<K: Key> Scc<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(HashCache::with_capacity_and_hasher(
            0,
            capacity,
            super::hasher(),
        ))
    }
}

impl<K: Key> Subject<K> for Scc<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        // Not `read_sync`, which doesn't tell the policy about the use.
        self.0.get_sync(key).map(|entry| *entry.get())
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        match self.0.entry_sync(key) {
            Entry::Occupied(mut entry) => {
                entry.put(value);
            }
            Entry::Vacant(entry) => {
                entry.put_entry(value);
            }
        }
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}
