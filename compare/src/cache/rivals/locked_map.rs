//! The locked floor: what sixteen locks and a hash table cost without any
//! policy. It never evicts, so it is no rival.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use parking_lot::RwLock;
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct LockedMap<K: Key> {
    hasher: TableHasher,
    shards: [RwLock<HashMap<K, u64, TableHasher>>; 16],
}

impl<K: Key> LockedMap<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let shard = || HashMap::with_capacity_and_hasher(capacity / 16, super::hasher());
        Self {
            hasher: super::hasher(),
            shards: std::array::from_fn(|_| RwLock::new(shard())),
        }
    }

    #[inline]
    fn shard(&self, key: &K) -> &RwLock<HashMap<K, u64, TableHasher>> {
        let hash = self.hasher.hash_one(key) >> 40;
        &self.shards[hash as usize % 16]
    }
}

impl<K: Key> Subject<K> for LockedMap<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.shard(key).read().get(key).copied()
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.shard(&key).write().insert(key, value);
    }

    fn len(&self) -> Option<usize> {
        Some(self.shards.iter().map(|shard| shard.read().len()).sum())
    }
}
