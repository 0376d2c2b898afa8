//! stretto: Ristretto in Rust; `TinyLFU` admission on a thread of its own.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use stretto::{
    Cache, CacheBuilder, DefaultCacheCallback, DefaultCoster, DefaultUpdateValidator, KeyBuilder,
};
use tenfold::hash::TableHasher;

use crate::cache::subject::{Key, Subject};

pub(crate) struct Stretto<K: Key>(Inner<K>);

type Inner<K> = Cache<
    K,
    u64,
    TableKeys<K>,
    DefaultCoster<u64>,
    DefaultUpdateValidator<u64>,
    DefaultCacheCallback<u64>,
    TableHasher,
>;

impl<K: Key> Stretto<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        // Ten counters per entry is what its documentation asks for.
        let cache = CacheBuilder::new(capacity * 10, capacity as i64)
            .set_key_builder(TableKeys {
                hasher: super::hasher(),
                keys: PhantomData,
            })
            .set_hasher(super::hasher())
            .finalize()
            .expect("a positive capacity");
        Self(cache)
    }
}

impl<K: Key> Subject<K> for Stretto<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key).map(|value| *value.value())
    }

    #[inline]
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value, 1);
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn settle(&self) {
        self.0
            .wait()
            .expect("its thread lives as long as the cache");
    }
}

/// It keeps no keys, only what this makes of them.
struct TableKeys<K> {
    hasher: TableHasher,
    keys: PhantomData<fn(K)>,
}

impl<K: Key> KeyBuilder for TableKeys<K> {
    type Key = K;

    fn hash_index<Q>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.hasher.hash_one(key)
    }
}
