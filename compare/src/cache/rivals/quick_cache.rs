//! `quick_cache`: sharded, Clock-PRO descended; its own choice of shards.

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct QuickCache<K: Key>(
    Cache<K, u64, UnitWeighter, TableHasher, DefaultLifecycle<K, u64>>,
);

impl<K: Key> QuickCache<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::with(
            capacity,
            capacity as u64,
            UnitWeighter,
            super::hasher(),
            DefaultLifecycle::default(),
        ))
    }
}

impl<K: Key> Subject<K> for QuickCache<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}
