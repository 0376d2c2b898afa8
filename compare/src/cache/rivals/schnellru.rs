//! schnellru: a plain LRU map, behind as many mutexes as asked for.

use std::hash::BuildHasher;

use parking_lot::Mutex;
use schnellru::{ByLength, LruMap};
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

type Shard<K> = Mutex<LruMap<K, u64, ByLength, TableHasher>>;

pub(crate) struct Schnellru<K: Key> {
    hasher: TableHasher,
    /// A power of two of them.
    shards: Box<[Shard<K>]>,
}

impl<K: Key> Schnellru<K> {
    pub(crate) fn new(capacity: usize, shards: usize) -> Self {
        assert!(shards.is_power_of_two());
        let limit = |shard: usize| {
            // Together exactly `capacity`.
            let limit = capacity / shards + usize::from(shard < capacity % shards);
            ByLength::new(u32::try_from(limit).expect("fewer than 2^32 entries a shard"))
        };
        Self {
            hasher: super::hasher(),
            shards: (0..shards)
                .map(|shard| Mutex::new(LruMap::with_hasher(limit(shard), super::hasher())))
                .collect(),
        }
    }

    #[inline]
    fn shard(&self, key: &K) -> &Shard<K> {
        if self.shards.len() == 1 {
            return &self.shards[0];
        }
        // The map inside wants the key and hashes again. Bits between those
        // that its table uses for the bucket and for the fingerprint.
        let hash = self.hasher.hash_one(key) >> 40;
        &self.shards[hash as usize & (self.shards.len() - 1)]
    }
}

impl<K: Key> Subject<K> for Schnellru<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.shard(key).lock().get(key).copied()
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.shard(&key).lock().insert(key, value);
    }

    fn len(&self) -> Option<usize> {
        Some(self.shards.iter().map(|shard| shard.lock().len()).sum())
    }
}
