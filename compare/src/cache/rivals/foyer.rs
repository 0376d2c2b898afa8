//! foyer's in-memory cache, under three of its policies.

use foyer_memory::{Cache, CacheProperties, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig};
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct Foyer<K: Key>(Cache<K, u64, TableHasher, CacheProperties>);

impl<K: Key> Foyer<K> {
    pub(crate) fn s3_fifo(capacity: usize) -> Self {
        Self::new(capacity, S3FifoConfig::default().into())
    }

    pub(crate) fn lfu(capacity: usize) -> Self {
        Self::new(capacity, LfuConfig::default().into())
    }

    pub(crate) fn lru(capacity: usize) -> Self {
        Self::new(capacity, LruConfig::default().into())
    }

    fn new(capacity: usize, policy: EvictionConfig) -> Self {
        // Its default is eight whatever the capacity; a shard of a few entries
        // would cost it hits.
        let shards = (capacity / 1024).next_power_of_two().clamp(1, 16);
        Self(
            Cache::<K, u64>::builder(capacity)
                .with_shards(shards)
                .with_eviction_config(policy)
                .with_hash_builder(super::hasher())
                .build(),
        )
    }
}

impl<K: Key> Subject<K> for Foyer<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key).map(|entry| *entry)
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.entries())
    }
}
