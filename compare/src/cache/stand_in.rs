//! Holds the place of tenfold's cache until it exists: an LRU behind a mutex.

use parking_lot::Mutex;
use schnellru::{ByLength, LruMap};
use tenfold::hash::TableHasher;

use super::subject::Key;

pub(crate) enum Policy {
    Lru,
    Lfu,
    Fifo,
}

pub(crate) struct Cache<K: Key, V>(Mutex<LruMap<K, V, ByLength, TableHasher>>);

pub(crate) struct Builder(usize);

impl<K: Key> Cache<K, u64> {
    pub(crate) fn builder() -> Builder {
        Builder(0)
    }

    pub(crate) fn get(&self, key: &K) -> Option<u64> {
        self.0.lock().get(key).copied()
    }

    pub(crate) fn insert(&self, key: K, value: u64) {
        self.0.lock().insert(key, value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Builder {
    pub(crate) fn max_entries(self, max: usize) -> Self {
        Self(max)
    }

    pub(crate) fn policy(self, _: Policy) -> Self {
        self
    }

    pub(crate) fn seed(self, _: u64) -> Self {
        self
    }

    pub(crate) fn shards(self, _: usize) -> Self {
        self
    }

    pub(crate) fn build<K: Key>(self) -> Result<Cache<K, u64>, std::convert::Infallible> {
        Ok(Cache(Mutex::new(LruMap::with_hasher(ByLength::new(self.0 as u32), TableHasher::with_seed(1)))))
    }
}
