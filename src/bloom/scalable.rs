use std::f64::consts::PI;

use super::{BloomBuilder, BloomFilter, BuildError};
use crate::hash::StableKey;

/// A [`BloomFilter`] for a number of keys that nobody knows beforehand.
///
/// It is a row of filters, each for twice as many keys as the one before. The
/// rates of the filters add up, so each is stricter than the one before, such
/// that the *sum* stays within the rate asked for, however many there will be.
/// A look-up asks each of them: about log₂(keys / first size) of them. If
/// you know the number of keys, a [`BloomFilter`] is faster and smaller.
///
/// ```
/// use tenfold::bloom::ScalableBloomFilter;
///
/// let mut seen = ScalableBloomFilter::with_rate(1000, 0.01)?;
/// for key in 0..100_000u64 {
///     seen.insert(&key);
/// }
/// assert!((0..100_000u64).all(|key| seen.contains(&key)));
/// let strangers = (100_000..200_000u64).filter(|key| seen.contains(key));
/// assert!(strangers.count() < 1000); // a hundred times the keys, and still 1 %
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScalableBloomFilter {
    /// Never empty; only the last is filled.
    stages: Vec<Stage>,
    /// Says layout and seed of the stages.
    builder: BloomBuilder,
    rate: f64,
    max_bytes: u64,
}

#[derive(Debug, Clone)]
struct Stage {
    filter: BloomFilter,
    /// The keys it is sized for.
    items: u64,
    /// Those it has, as far as they were new.
    inserted: u64,
}

impl Stage {
    fn insert(&mut self, hash: u64) -> bool {
        let new = self.filter.insert_hash(hash);
        self.inserted += u64::from(new);
        new
    }
}

impl ScalableBloomFilter {
    /// A filter that begins with room for `items` keys and takes at most this
    /// share of strangers for members at any size, up to 1 GiB:
    /// [`BloomBuilder::max_bytes`] sets another bound.
    ///
    /// # Errors
    ///
    /// As [`BloomFilter::with_rate`].
    pub fn with_rate(items: u64, rate: f64) -> Result<Self, BuildError> {
        let builder = BloomFilter::builder();
        builder.items(items).rate(rate).build_scalable()
    }

    pub(super) fn first(
        builder: BloomBuilder,
        items: u64,
        rate: f64,
        max_bytes: u64,
    ) -> Result<Self, BuildError> {
        let mut filter = Self {
            stages: Vec::new(),
            builder,
            rate,
            max_bytes,
        };
        let stage = filter.stage(items)?;
        filter.stages.push(stage);
        Ok(filter)
    }

    /// Inserts a key, growing before the rate would be exceeded. Returns whether
    /// it was new; a new key that the filter takes for a member already is not.
    pub fn insert<K: StableKey + ?Sized>(&mut self, key: &K) -> bool {
        self.insert_hash(self.hash(key))
    }

    /// Whether the key was inserted: surely not if `false`.
    pub fn contains<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.contains_hash(self.hash(key))
    }

    /// [`insert`](Self::insert) for callers who have a 64-bit hash, every bit of
    /// which must be random. A filter must see hashes of one kind only.
    pub fn insert_hash(&mut self, hash: u64) -> bool {
        let Some((last, full)) = self.stages.split_last_mut() else {
            return false;
        };
        if full
            .iter()
            .rev()
            .any(|stage| stage.filter.contains_hash(hash))
        {
            return false;
        }
        if last.inserted < last.items {
            return last.insert(hash);
        }
        if last.filter.contains_hash(hash) {
            return false;
        }
        let items = last.items.saturating_mul(2);
        match self.stage(items) {
            Ok(mut stage) => {
                let new = stage.insert(hash);
                self.stages.push(stage);
                new
            }
            // At its bound: nothing is lost, but the rate rises.
            Err(_) => self.overfill(hash),
        }
    }

    /// [`contains`](Self::contains) for callers who have a hash.
    pub fn contains_hash(&self, hash: u64) -> bool {
        let mut newest_first = self.stages.iter().rev();
        newest_first.any(|stage| stage.filter.contains_hash(hash))
    }

    /// Forgets every key, and keeps the memory of the largest filter only.
    pub fn clear(&mut self) {
        if let Some(mut last) = self.stages.pop() {
            last.filter.clear();
            last.inserted = 0;
            self.stages.clear();
            // Its rate is the strictest, so it may well be the first.
            self.stages.push(last);
        }
    }

    /// How many insertions found their key new.
    pub fn inserted(&self) -> u64 {
        self.stages.iter().map(|stage| stage.inserted).sum()
    }

    /// How many different keys were inserted, estimated from the bits.
    pub fn len_estimate(&self) -> u64 {
        let lens = self.stages.iter().map(|stage| stage.filter.len_estimate());
        lens.sum()
    }

    /// The rate of false positives now, computed from every bit: at most the
    /// rate asked for, unless the filter [is saturated](Self::is_saturated).
    pub fn current_rate(&self) -> f64 {
        let right = self.stages.iter().map(|s| 1.0 - s.filter.current_rate());
        1.0 - right.product::<f64>()
    }

    /// Whether it holds more keys than its bound on memory allows at the rate
    /// asked for. It still finds every key, and more and more strangers.
    pub fn is_saturated(&self) -> bool {
        let last = self.stages.last();
        last.is_some_and(|last| last.inserted > last.items)
    }

    /// The size in bits of all filters together.
    pub fn bits(&self) -> u64 {
        self.stages.iter().map(|stage| stage.filter.bits()).sum()
    }

    /// The number of filters that a look-up may have to ask.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    fn hash<K: StableKey + ?Sized>(&self, key: &K) -> u64 {
        let seed = self.stages.first().map_or(0, |stage| stage.filter.seed());
        key.stable_hash(seed)
    }

    fn overfill(&mut self, hash: u64) -> bool {
        let last = self.stages.last_mut();
        last.is_some_and(|last| last.insert(hash))
    }

    /// The next filter of the row. The n-th gets 6 / (π n)² of the rate, which
    /// sums to all of it. Halving does too, but makes late filters, which hold
    /// most of the keys, stricter than they need be.
    fn stage(&self, items: u64) -> Result<Stage, BuildError> {
        let place = PI * (self.stages.len() + 1) as f64;
        let rate = self.rate * 6.0 / (place * place);
        let left = self.max_bytes.saturating_sub(self.bits() / 8);
        let builder = self.builder.clone().items(items).rate(rate);
        let filter = builder.max_bytes(left).build()?;
        Ok(Stage {
            filter,
            items,
            inserted: 0,
        })
    }
}
