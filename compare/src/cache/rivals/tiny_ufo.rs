//! `TinyUFO`: S3-FIFO with a `TinyLFU` admission, lock-free. It stores only the
//! keys' hashes, by its own hasher.

use crate::cache::subject::{Key, Subject};

pub(crate) struct TinyUfo<K: Key>(::tinyufo::TinyUfo<K, u64>);

impl<K: Key> TinyUfo<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(::tinyufo::TinyUfo::new(capacity, capacity))
    }

    /// Less memory for slower reads.
    pub(crate) fn compact(capacity: usize) -> Self {
        Self(::tinyufo::TinyUfo::new_compact(capacity, capacity))
    }
}

impl<K: Key> Subject<K> for TinyUfo<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.put(key, value, 1);
    }

    /// It doesn't know.
    fn len(&self) -> Option<usize> {
        None
    }
}
