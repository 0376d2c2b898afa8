//! ARC from the crate `caches`, behind one mutex.

use caches::{AdaptiveCache, AdaptiveCacheBuilder, Cache};
use parking_lot::Mutex;
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

type Lists<K> = AdaptiveCache<K, u64, TableHasher, TableHasher, TableHasher, TableHasher>;

pub(crate) struct Arc<K: Key>(Mutex<Lists<K>>);

impl<K: Key> Arc<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let lists = AdaptiveCacheBuilder::new(capacity)
            .set_recent_hasher(super::hasher())
            .set_recent_evict_hasher(super::hasher())
            .set_frequent_hasher(super::hasher())
            .set_frequent_evict_hasher(super::hasher())
            .finalize()
            .expect("a positive capacity");
        Self(Mutex::new(lists))
    }
}

impl<K: Key> Subject<K> for Arc<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.lock().get(key).copied()
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.lock().put(key, value);
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.lock().len())
    }
}
