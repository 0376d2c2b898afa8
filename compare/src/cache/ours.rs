//! tenfold's own cache, under each of its policies.

use tenfold::cache::{Cache, Policy};

use super::subject::{Contender, Drive, Key, Subject};

/// The default policy, as a user gets it.
pub(crate) const DEFAULT: &str = "tenfold";

pub(crate) fn default<K: Key>() -> Contender<K> {
    Contender::judged(DEFAULT, |capacity| Box::new(Ours::new(capacity)))
}

/// The exact policies, with one shard: the order of eviction is then that of
/// the whole cache.
pub(crate) fn exact<K: Key>() -> Vec<Contender<K>> {
    vec![
        Contender::judged("lru", |capacity| one_shard(capacity, Policy::Lru)),
        Contender::judged("lfu", |capacity| one_shard(capacity, Policy::Lfu)),
        Contender::judged("fifo", |capacity| one_shard(capacity, Policy::Fifo)),
    ]
}

fn one_shard<K: Key>(capacity: usize, policy: Policy) -> Box<dyn Drive<K>> {
    let cache = Cache::builder()
        .max_entries(capacity)
        .policy(policy)
        .seed(SEED)
        .shards(1)
        .build()
        .expect("a positive capacity");
    Box::new(Ours(cache))
}

pub(crate) struct Ours<K: Key>(Cache<K, u64>);

impl<K: Key> Ours<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let cache = Cache::builder().max_entries(capacity).seed(SEED).build();
        Self(cache.expect("a positive capacity"))
    }
}

impl<K: Key> Subject<K> for Ours<K> {
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

const SEED: u64 = 0x7e4f_01d5;
