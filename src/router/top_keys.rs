use std::collections::HashMap;
use std::sync::Arc;

use crate::hash::{CanonicalBytes, StableKey, xxh3_64};

/// The keys that come most often in a stream, in bounded memory: Space-Saving.
///
/// It has a number of counters. A key without one takes over the smallest, count and
/// all, and remembers that count as its possible error. So a count is never too small,
/// and too large by no more than the error, which is at most the stream's length over
/// the number of counters: whoever comes more often than that is in the list.
///
/// Two of them can be merged: threads or processes count apart.
///
/// ```
/// use tenfold::router::TopKeys;
///
/// let mut keys = TopKeys::new(64);
/// (0..1000_u64).for_each(|n| keys.count(n, 1)); // once each
/// (0..100).for_each(|_| keys.count("celebrity", 1));
/// let top = keys.top(1);
/// assert_eq!(top[0].bytes(), b"celebrity");
/// assert!(top[0].count() >= 100 && top[0].count() - top[0].error() <= 100);
/// ```
///
/// A counter takes about 100 bytes and the key's own, of which 64 are kept: a longer
/// key is known by its first 56 and its hash.
#[derive(Debug, Clone)]
pub struct TopKeys {
    capacity: usize,
    counters: Vec<HotKey>,
    /// Which counter a key has.
    index: HashMap<Arc<[u8]>, usize>,
    total: u64,
}

/// A key that comes often, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    bytes: Arc<[u8]>,
    hash: u64,
    count: u64,
    error: u64,
}

impl HotKey {
    /// Its canonical bytes, or of more than 64 the first 56 and the hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its [`stable_hash(0)`](StableKey::stable_hash): what it is routed by.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How often it came, or more.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How much too large the count may be.
    pub fn error(&self) -> u64 {
        self.error
    }
}

impl TopKeys {
    /// So many counters, at least one. Ask for several times as many as keys
    /// that matter.
    pub fn new(counters: usize) -> Self {
        Self {
            capacity: counters.max(1),
            counters: Vec::new(),
            index: HashMap::new(),
            total: 0,
        }
    }

    /// Notes that a key came so many times.
    ///
    /// Constant time if it has a counter, and otherwise in proportion to them.
    pub fn count(&mut self, key: impl StableKey, times: u64) {
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        let bytes = bytes.as_slice();
        self.total = self.total.saturating_add(times);
        if bytes.len() <= KEPT {
            return self.add(bytes, || xxh3_64(bytes, 0), times, 0);
        }
        let hash = xxh3_64(bytes, 0);
        let mut short = [0; KEPT];
        let (first, last) = short.split_at_mut(KEPT - 8);
        first.copy_from_slice(&bytes[..KEPT - 8]);
        last.copy_from_slice(&hash.to_le_bytes());
        self.add(&short, || hash, times, 0);
    }

    /// Adds what another counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        // What it has no counter for came at most this often there.
        let missed = other.missed();
        for counter in &mut self.counters {
            if !other.index.contains_key(&counter.bytes) {
                counter.count = counter.count.saturating_add(missed);
                counter.error = counter.error.saturating_add(missed);
            }
        }
        for counter in &other.counters {
            self.add(
                &counter.bytes,
                || counter.hash,
                counter.count,
                counter.error,
            );
        }
    }

    /// The keys with the highest counts, highest first.
    pub fn top(&self, keys: usize) -> Vec<HotKey> {
        let mut all = self.counters.clone();
        all.sort_by(|a, b| (b.count, &a.bytes).cmp(&(a.count, &b.bytes)));
        all.truncate(keys);
        all
    }

    /// How many keys came, each as often as it did.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The most that a key without a counter can have come.
    fn missed(&self) -> u64 {
        if self.counters.len() < self.capacity {
            return 0;
        }
        self.counters.iter().map(|c| c.count).min().unwrap_or(0)
    }

    fn add(&mut self, bytes: &[u8], hash: impl FnOnce() -> u64, times: u64, error: u64) {
        if let Some(&at) = self.index.get(bytes) {
            let counter = &mut self.counters[at];
            counter.count = counter.count.saturating_add(times);
            counter.error = counter.error.saturating_add(error);
            return;
        }
        let mut counter = HotKey {
            bytes: bytes.into(),
            hash: hash(),
            count: times,
            error,
        };
        if self.counters.len() < self.capacity {
            self.index
                .insert(counter.bytes.clone(), self.counters.len());
            self.counters.push(counter);
            return;
        }
        let counts = self
            .counters
            .iter()
            .map(|counter| counter.count)
            .enumerate();
        let Some((at, least)) = counts.min_by_key(|(_, count)| *count) else {
            return;
        };
        counter.count = counter.count.saturating_add(least);
        counter.error = counter.error.saturating_add(least);
        self.index.remove(&self.counters[at].bytes);
        self.index.insert(counter.bytes.clone(), at);
        self.counters[at] = counter;
    }
}

/// Bytes of a key that are kept.
const KEPT: usize = 64;
