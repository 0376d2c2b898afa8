//! What every filter is measured through.

use std::hash::Hash;

use tenfold::hash::StableKey;

/// Keys of the workloads, made from a number.
pub(crate) trait Key: Hash + Eq + Clone + StableKey + Send + Sync + 'static {
    const NAME: &'static str;

    fn from_number(number: u64) -> Self;
}

impl Key for u64 {
    const NAME: &'static str = "u64";

    fn from_number(number: u64) -> Self {
        // Neighbouring numbers are not neighbouring keys, as in real key spaces.
        tenfold::rng::Rng::with_seed(number).next_u64()
    }
}

impl Key for String {
    const NAME: &'static str = "String";

    /// Sixteen bytes.
    fn from_number(number: u64) -> Self {
        format!("{:016x}", u64::from_number(number))
    }
}

/// The same memory and the same number of keys for everyone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) bits: u64,
    pub(crate) items: u64,
}

/// A filter with one owner. The loops are what is timed: they lie behind the
/// dynamic call, so that within them every filter is called directly and may be
/// inlined.
pub(crate) trait Filter<K>: Send + Sync {
    fn insert(&mut self, key: &K);

    fn contains(&self, key: &K) -> bool;

    fn insert_all(&mut self, keys: &[K]) {
        for key in keys {
            self.insert(key);
        }
    }

    /// How many of the keys are found.
    fn count(&self, keys: &[K]) -> usize {
        keys.iter().filter(|key| self.contains(key)).count()
    }
}

/// A filter that threads fill together.
pub(crate) trait SharedFilter<K>: Send + Sync {
    fn insert(&self, key: &K);

    fn contains(&self, key: &K) -> bool;

    fn insert_all(&self, keys: &[K]) {
        for key in keys {
            self.insert(key);
        }
    }

    /// How many of the keys are found.
    fn count(&self, keys: &[K]) -> usize {
        keys.iter().filter(|key| self.contains(key)).count()
    }
}

/// A filter that can be built for measurement.
pub(crate) struct Contender<D: ?Sized> {
    pub(crate) name: &'static str,
    pub(crate) build: fn(Size) -> Box<D>,
    /// Why it is shown but not what we are judged by, if so.
    pub(crate) context: Option<&'static str>,
}

impl<D: ?Sized> Contender<D> {
    pub(crate) const fn judged(name: &'static str, build: fn(Size) -> Box<D>) -> Self {
        Self {
            name,
            build,
            context: None,
        }
    }

    pub(crate) const fn shown(
        name: &'static str,
        build: fn(Size) -> Box<D>,
        why: &'static str,
    ) -> Self {
        Self {
            name,
            build,
            context: Some(why),
        }
    }
}
