//! Our filters, as contenders.

use tenfold::bloom::{AtomicBloomFilter, BloomFilter, InstructionSet, SplitBlockFilter};

use super::subject::{Contender, Filter, Key, SharedFilter, Size};

pub(crate) const NAME: &str = "tenfold";
pub(crate) const BATCHED: &str = "tenfold, batched";
pub(crate) const PORTABLE: &str = "tenfold, portable";
pub(crate) const AVX2: &str = "tenfold, AVX2";
pub(crate) const SPLIT: &str = "tenfold, split block";

/// The one that is judged, and then those that are shown.
pub(crate) fn all<K: Key>() -> Vec<Contender<dyn Filter<K>>> {
    let mut all: Vec<Contender<dyn Filter<K>>> = vec![
        Contender::judged(NAME, |size| Box::new(blocked(size, None))),
        Contender::judged(BATCHED, |size| Box::new(Batched(blocked(size, None)))),
        Contender::judged(PORTABLE, |size| {
            Box::new(blocked(size, Some(InstructionSet::Portable)))
        }),
    ];
    if InstructionSet::Avx2.is_available() {
        all.push(Contender::judged(AVX2, |size| {
            Box::new(blocked(size, Some(InstructionSet::Avx2)))
        }));
    }
    all.push(Contender::judged(SPLIT, |size| {
        Box::new(
            SplitBlockFilter::with_blocks(size.bits / 256).expect("the memory for it is there"),
        )
    }));
    all
}

pub(crate) fn blocked(size: Size, instructions: Option<InstructionSet>) -> BloomFilter {
    let mut builder = BloomFilter::builder().bits(size.bits).items(size.items);
    if let Some(instructions) = instructions {
        builder = builder.instruction_set(instructions);
    }
    builder.build().expect("the memory for it is there")
}

/// The filter that threads share.
pub(crate) fn shared<K: Key>() -> Contender<dyn SharedFilter<K>> {
    Contender::judged("tenfold, atomic", |size| {
        let builder = AtomicBloomFilter::builder().bits(size.bits);
        Box::new(builder.build_atomic().expect("the memory for it is there"))
    })
}

impl<K: Key> Filter<K> for BloomFilter {
    #[inline]
    fn insert(&mut self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

impl<K: Key> Filter<K> for SplitBlockFilter {
    #[inline]
    fn insert(&mut self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

impl<K: Key> SharedFilter<K> for AtomicBloomFilter {
    #[inline]
    fn insert(&self, key: &K) {
        Self::insert(self, key);
    }

    #[inline]
    fn contains(&self, key: &K) -> bool {
        Self::contains(self, key)
    }
}

/// Through `insert_many` and `contains_many`.
struct Batched(BloomFilter);

impl<K: Key> Filter<K> for Batched {
    fn insert(&mut self, key: &K) {
        self.0.insert(key);
    }

    fn contains(&self, key: &K) -> bool {
        self.0.contains(key)
    }

    fn insert_all(&mut self, keys: &[K]) {
        self.0.insert_many(keys);
    }

    fn count(&self, keys: &[K]) -> usize {
        let mut count = 0;
        self.0
            .contains_many(keys, |_, found| count += usize::from(found));
        count
    }
}
