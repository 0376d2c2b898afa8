//! What every cache is measured through.

use std::hash::Hash;
use std::time::Instant;

/// A cache under measurement: one adapter per rival.
pub(crate) trait Subject<K: Key>: Send + Sync {
    fn get(&self, key: &K) -> Option<u64>;

    fn insert(&self, key: K, value: u64);

    /// The number of entries held, if the cache knows.
    fn len(&self) -> Option<usize>;

    /// Runs the maintenance that a rival postpones, so that what it holds is
    /// what its policy decided.
    fn settle(&self) {}
}

/// Keys of the workloads, made from a number.
pub(crate) trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    const NAME: &'static str;

    fn from_number(number: u64) -> Self;

    /// The value stored under this key, so that an answer can be checked.
    fn value(&self) -> u64;
}

impl Key for u64 {
    const NAME: &'static str = "u64";

    fn from_number(number: u64) -> Self {
        // Neighbouring numbers are not neighbouring keys, as in real key spaces.
        tenfold::rng::Rng::with_seed(number).next_u64()
    }

    fn value(&self) -> u64 {
        !*self
    }
}

impl Key for String {
    const NAME: &'static str = "String";

    /// Sixteen bytes.
    fn from_number(number: u64) -> Self {
        format!("{:016x}", u64::from_number(number))
    }

    fn value(&self) -> u64 {
        let bytes = self.as_bytes();
        let half = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("16 bytes"));
        half(0) ^ half(8).rotate_left(32)
    }
}

/// The loops that are timed. They live behind the dynamic call, so that within
/// a loop every cache is called directly and may be inlined.
pub(crate) trait Drive<K: Key>: Subject<K> {
    /// Reads every key; returns the number of hits.
    fn read(&self, keys: &[K]) -> usize;

    /// Reads every key and inserts those that miss; returns the number of hits.
    fn read_or_insert(&self, keys: &[K]) -> usize;

    /// Reads 19 keys of 20 and inserts the 20th; returns the number of hits.
    fn mix(&self, keys: &[K]) -> usize;

    /// Inserts every key.
    fn write(&self, keys: &[K]);

    /// Like `read_or_insert`, with the nanoseconds of each operation.
    fn time_each(&self, keys: &[K]) -> Vec<u32>;
}

impl<K: Key, S: Subject<K>> Drive<K> for S {
    fn read(&self, keys: &[K]) -> usize {
        keys.iter().filter(|key| checked_get(self, key)).count()
    }

    fn read_or_insert(&self, keys: &[K]) -> usize {
        keys.iter().filter(|key| get_or_insert(self, key)).count()
    }

    fn mix(&self, keys: &[K]) -> usize {
        let mut hits = 0;
        for (i, key) in keys.iter().enumerate() {
            if i % 20 == 19 {
                self.insert(key.clone(), key.value());
            } else {
                hits += usize::from(checked_get(self, key));
            }
        }
        hits
    }

    fn write(&self, keys: &[K]) {
        for key in keys {
            self.insert(key.clone(), key.value());
        }
    }

    fn time_each(&self, keys: &[K]) -> Vec<u32> {
        keys.iter()
            .map(|key| {
                let start = Instant::now();
                get_or_insert(self, key);
                u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX)
            })
            .collect()
    }
}

#[inline]
fn checked_get<K: Key>(cache: &impl Subject<K>, key: &K) -> bool {
    let Some(value) = cache.get(key) else {
        return false;
    };
    assert_eq!(
        value,
        key.value(),
        "the cache answered with another key's value"
    );
    true
}

#[inline]
fn get_or_insert<K: Key>(cache: &impl Subject<K>, key: &K) -> bool {
    let hit = checked_get(cache, key);
    if !hit {
        cache.insert(key.clone(), key.value());
    }
    hit
}

/// A cache that can be built for measurement.
pub(crate) struct Contender<K: Key> {
    pub(crate) name: &'static str,
    pub(crate) build: fn(usize) -> Box<dyn Drive<K>>,
    /// Why it is shown but not what we are judged by, if so.
    pub(crate) context: Option<&'static str>,
}

impl<K: Key> Contender<K> {
    pub(crate) const fn judged(name: &'static str, build: fn(usize) -> Box<dyn Drive<K>>) -> Self {
        Self {
            name,
            build,
            context: None,
        }
    }

    pub(crate) const fn shown(
        name: &'static str,
        build: fn(usize) -> Box<dyn Drive<K>>,
        why: &'static str,
    ) -> Self {
        Self {
            name,
            build,
            context: Some(why),
        }
    }
}
