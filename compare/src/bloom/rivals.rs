//! The rivals, each in its best documented configuration, all with the same
//! memory.

use std::hash::BuildHasher;

use bloomfilter::Bloom;
use fastbloom::{AtomicBloomFilter, BloomFilter};
use growable_bloom_filter::GrowableBloom;
use probabilistic_collections::bloom::BloomFilter as Probabilistic;
use tenfold::hash::TableHasher;
use xorf::{BinaryFuse8, Filter as _};

use super::subject::{Contender, Filter, Key, SharedFilter};

pub(crate) fn all<K: Key>() -> Vec<Contender<dyn Filter<K>>> {
    vec![
        Contender::judged("fastbloom, foldhash", |size| {
            let builder = BloomFilter::with_num_bits(size.bits as usize);
            let builder = builder.hasher(TableHasher::with_seed(1));
            Box::new(builder.expected_items(size.items as usize))
        }),
        Contender::judged("fastbloom, XXH3", |size| {
            let builder = BloomFilter::with_num_bits(size.bits as usize);
            Box::new(Hashed(builder.expected_items(size.items as usize)))
        }),
        Contender::judged("fastbloom", |size| {
            let builder = BloomFilter::with_num_bits(size.bits as usize).seed(&1);
            Box::new(builder.expected_items(size.items as usize))
        }),
        Contender::judged("sbbf-rs, XXH3", |size| {
            let per_key = (size.bits / size.items) as usize;
            Box::new(Split(sbbf_rs_safe::Filter::new(
                per_key,
                size.items as usize,
            )))
        }),
        Contender::judged("bloomfilter", |size| {
            let (bytes, items) = ((size.bits / 8) as usize, size.items as usize);
            let seed = std::array::from_fn(|i| i as u8);
            Box::new(Bloom::new_with_seed(bytes, items, &seed).expect("the size is valid"))
        }),
        // Seven slices: 10.1 bits per key.
        Contender::judged("growable-bloom-filter", |size| {
            Box::new(GrowableBloom::new(0.01, size.items as usize))
        }),
        Contender::judged("probabilistic-collections", |size| {
            let (bits, items) = (size.bits as usize, size.items as usize);
            Box::new(Probabilistic::<K>::from_item_count(bits, items))
        }),
    ]
}

pub(crate) fn shared<K: Key>() -> Vec<Contender<dyn SharedFilter<K>>> {
    vec![
        Contender::judged("fastbloom atomic, foldhash", |size| {
            let builder = AtomicBloomFilter::with_num_bits(size.bits as usize);
            let builder = builder.hasher(TableHasher::with_seed(1));
            Box::new(builder.expected_items(size.items as usize))
        }),
        Contender::judged("fastbloom atomic, XXH3", |size| {
            let builder = AtomicBloomFilter::with_num_bits(size.bits as usize);
            Box::new(Hashed(builder.expected_items(size.items as usize)))
        }),
        Contender::judged("fastbloom atomic", |size| {
            let builder = AtomicBloomFilter::with_num_bits(size.bits as usize).seed(&1);
            Box::new(builder.expected_items(size.items as usize))
        }),
    ]
}

/// Cannot take a key once it is built: 8-bit fingerprints, 9 bits per key.
pub(crate) fn fuse<K: Key>() -> Contender<dyn Filter<K>> {
    Contender::shown(
        FUSE,
        |_| Box::new(Fuse::default()),
        "static: every key must be known when it is built",
    )
}

pub(crate) const FUSE: &str = "xorf, BinaryFuse8";

/// The least that a filter of one line per key does: a hash, and one load that
/// depends on it.
pub(crate) fn floor<K: Key>() -> Contender<dyn Filter<K>> {
    Contender::judged("floor", |size| {
        Box::new(Floor(vec![[0; 8]; (size.bits / 512) as usize]))
    })
}

fn xxh3(key: &impl Key) -> u64 {
    key.stable_hash(0)
}

impl<K: Key, S: BuildHasher + Send + Sync> Filter<K> for BloomFilter<S> {
    #[inline]
    fn insert(&mut self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

impl<K: Key, S: BuildHasher + Send + Sync> SharedFilter<K> for AtomicBloomFilter<S> {
    #[inline]
    fn insert(&self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

/// Fastbloom by hashes of ours.
struct Hashed<F>(F);

impl<K: Key> Filter<K> for Hashed<BloomFilter> {
    #[inline]
    fn insert(&mut self, key: &K) {
        self.0.insert_hash(xxh3(key));
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        self.0.contains_hash(xxh3(key))
    }
}

impl<K: Key> SharedFilter<K> for Hashed<AtomicBloomFilter> {
    #[inline]
    fn insert(&self, key: &K) {
        self.0.insert_hash(xxh3(key));
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        self.0.contains_hash(xxh3(key))
    }
}

struct Split(sbbf_rs_safe::Filter);

impl<K: Key> Filter<K> for Split {
    #[inline]
    fn insert(&mut self, key: &K) {
        self.0.insert_hash(xxh3(key));
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        self.0.contains_hash(xxh3(key))
    }
}

impl<K: Key> Filter<K> for Bloom<K> {
    #[inline]
    fn insert(&mut self, key: &K) {
        self.set(key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        self.check(key)
    }
}

impl<K: Key> Filter<K> for GrowableBloom {
    #[inline]
    fn insert(&mut self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

impl<K: Key> Filter<K> for Probabilistic<K> {
    #[inline]
    fn insert(&mut self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

/// Filled in one go.
#[derive(Default)]
struct Fuse(Option<BinaryFuse8>);

impl<K: Key> Filter<K> for Fuse {
    fn insert(&mut self, key: &K) {
        self.insert_all(std::slice::from_ref(key));
    }

    fn contains(&self, key: &K) -> bool {
        self.count(std::slice::from_ref(key)) == 1
    }

    fn insert_all(&mut self, keys: &[K]) {
        let hashes: Vec<u64> = keys.iter().map(xxh3).collect();
        let filter = BinaryFuse8::try_from(hashes).expect("no two keys have one hash");
        self.0 = Some(filter);
    }

    fn count(&self, keys: &[K]) -> usize {
        let filter = self.0.as_ref().expect("it was filled before");
        let found = keys.iter().filter(|key| filter.contains(&xxh3(*key)));
        found.count()
    }
}

struct Floor(Vec<[u64; 8]>);

impl Floor {
    #[inline]
    fn line(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.0.len() as u128) >> 64) as usize
    }
}

impl<K: Key> Filter<K> for Floor {
    #[inline]
    fn insert(&mut self, key: &K) {
        let hash = xxh3(key);
        let line = self.line(hash);
        self.0[line][0] |= hash;
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        let hash = xxh3(key);
        self.0[self.line(hash)][0] & hash == hash
    }
}
