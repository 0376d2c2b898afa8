//! mini-moka: moka's smaller sister over `DashMap`.

use mini_moka::sync::ConcurrentCacheExt;
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct MiniMoka<K: Key>(mini_moka::sync::Cache<K, u64, TableHasher>);

impl<K: Key> MiniMoka<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(
            mini_moka::sync::Cache::builder()
                .max_capacity(capacity as u64)
                .build_with_hasher(super::hasher()),
        )
    }
}

impl<K: Key> Subject<K> for MiniMoka<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }

    /// Counts as of the last maintenance.
    fn len(&self) -> Option<usize> {
        Some(self.0.entry_count() as usize)
    }

    fn settle(&self) {
        self.0.sync();
    }
}
