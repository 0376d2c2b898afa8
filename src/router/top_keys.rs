use std::cmp::Reverse;
use std::sync::Arc;

use crate::hash::{CanonicalBytes, StableKey, xxh3_64};

/// The keys that come most often in a stream, in bounded memory: Space-Saving.
///
/// It has a number of counters. A key without one takes over the smallest, count and
/// all, and remembers that count as its possible error. So a count is never too small,
/// and too large by no more than the error, which is at most the stream's length over
/// the number of counters: whoever comes more often than that is in the list.
///
/// Two of them can be [merged](Self::merge), and all of that holds for the merged one:
/// threads or processes count apart.
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
/// A counter takes 112 bytes, 120 at most, and all are there from the beginning. 64 bytes
/// of a key are kept: a longer one is known by its first 56 and its hash.
#[derive(Debug, Clone)]
pub struct TopKeys {
    capacity: usize,
    /// Apart from the rest, because the least of them is looked for.
    counts: Vec<u64>,
    /// Whose they are.
    keys: Vec<Counted>,
    /// Numbers of counters, one higher, where a key's hash says or a little behind; zeros
    /// between. At most half full.
    index: Box<[u32]>,
    total: u64,
    /// The most that a key without a counter can have come.
    missed: u64,
    /// No count is below this, and none before `next` is equal to it.
    least: u64,
    next: usize,
}

/// A key that has a counter.
#[derive(Debug, Clone)]
struct Counted {
    hash: u64,
    error: u64,
    /// The variance of the count where it is an estimate from samples.
    variance: u64,
    len: u8,
    bytes: [u8; KEPT],
}

/// A key that comes often, and how often.
///
/// ```
/// use tenfold::router::TopKeys;
///
/// let mut keys = TopKeys::new(64);
/// keys.count("celebrity", 30);
/// keys.count("nobody", 10);
/// let hot = &keys.top(1)[0];
/// assert_eq!((hot.bytes(), hot.count(), hot.share()), (&b"celebrity"[..], 30, 0.75));
/// assert_eq!((hot.at_least(), hot.at_most()), (30, 30)); // counted, not sampled
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    bytes: Arc<[u8]>,
    whole: bool,
    hash: u64,
    count: u64,
    error: u64,
    variance: u64,
    total: u64,
}

impl HotKey {
    /// Its canonical bytes, or of more than 64 the first 56 and the hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its canonical bytes, unless they were too long to be kept. They are a key that lies
    /// where it does: what to [pin](super::TopologyBuilder::pin) or
    /// [split](super::TopologyBuilder::split). Only where keys lie by range, and are not texts or
    /// bytes, that takes the key itself: its ordered bytes are others.
    pub fn key(&self) -> Option<&[u8]> {
        Some(&*self.bytes).filter(|_| self.whole)
    }

    /// Its [`stable_hash(0)`](StableKey::stable_hash): what it is routed by.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How often it came, or more; an estimate where keys are sampled.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How much too large the count may be because others were counted with it.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// The standard deviation of the count because keys are sampled: zero if all are
    /// counted.
    pub fn deviation(&self) -> f64 {
        (self.variance as f64).sqrt()
    }

    /// What it came at least: the count less its error and three standard deviations.
    pub fn at_least(&self) -> u64 {
        let sure = self.count.saturating_sub(self.error);
        sure.saturating_sub(self.three_deviations())
    }

    /// What it came at most: the count and three standard deviations.
    pub fn at_most(&self) -> u64 {
        self.count.saturating_add(self.three_deviations())
    }

    /// The share of all keys that the count is.
    pub fn share(&self) -> f64 {
        self.count as f64 / self.total.max(1) as f64
    }

    fn three_deviations(&self) -> u64 {
        (3.0 * self.deviation()).ceil() as u64
    }
}

impl TopKeys {
    /// So many counters, at least one and at most a million. Ask for several times as
    /// many as keys that matter.
    pub fn new(counters: usize) -> Self {
        let capacity = counters.clamp(1, MOST);
        Self {
            capacity,
            counts: Vec::with_capacity(capacity),
            keys: Vec::with_capacity(capacity),
            index: vec![0; (2 * capacity).next_power_of_two()].into_boxed_slice(),
            total: 0,
            missed: 0,
            least: 0,
            next: 0,
        }
    }

    /// Notes that a key came so many times.
    ///
    /// Constant time if it has a counter; otherwise the smallest is looked for, which takes
    /// time in proportion to them at worst.
    pub fn count(&mut self, key: impl StableKey, times: u64) {
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        let bytes = bytes.as_slice();
        self.note(bytes, xxh3_64(bytes, 0), times, 0);
    }

    /// Notes a key of these canonical bytes and their hash, and what the count's variance
    /// grows by.
    pub(super) fn note(&mut self, bytes: &[u8], hash: u64, times: u64, variance: u64) {
        self.note_unknown(times);
        if bytes.len() <= KEPT {
            return self.add(bytes, hash, times, variance);
        }
        let mut short = [0; KEPT];
        let (first, last) = short.split_at_mut(KEPT - 8);
        first.copy_from_slice(&bytes[..KEPT - 8]);
        last.copy_from_slice(&hash.to_le_bytes());
        self.add(&short, hash, times, variance);
    }

    /// Notes that keys came of which nobody knows which.
    pub(super) fn note_unknown(&mut self, times: u64) {
        self.total = self.total.saturating_add(times);
    }

    /// Adds what another counted elsewhere. The order of merging does not matter to what
    /// is promised.
    pub fn merge(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        let theirs = other.counts.iter().zip(&other.keys);
        let strangers = theirs.filter(|(_, key)| self.find(key.bytes(), key.hash).is_none());
        // What one of us has no counter for came at most this often there.
        let missed = self.missed;
        let strangers: Vec<_> = strangers
            .map(|(count, key)| {
                let mut key = key.clone();
                key.error = key.error.saturating_add(missed);
                (count.saturating_add(missed), key)
            })
            .collect();
        let mut all: Vec<(u64, Counted)> = self.drain().collect();
        for (count, key) in &mut all {
            let (times, error, variance) = match other.find(key.bytes(), key.hash) {
                Some(at) => {
                    let same = &other.keys[at];
                    (other.counts[at], same.error, same.variance)
                }
                None => (other.missed, other.missed, 0),
            };
            *count = count.saturating_add(times);
            key.error = key.error.saturating_add(error);
            key.variance = key.variance.saturating_add(variance);
        }
        all.extend(strangers);
        all.sort_by(|(a, x), (b, y)| (b, x.bytes()).cmp(&(a, y.bytes())));
        let dropped = all.get(self.capacity).map_or(0, |(count, _)| *count);
        self.missed = dropped.max(self.missed.saturating_add(other.missed));
        all.truncate(self.capacity);
        self.refill(all);
    }

    /// Forgets half: all counts, and what follows from them, so many times over. They are
    /// rounded down, so that a key that comes no more goes altogether.
    ///
    /// ```
    /// use tenfold::router::TopKeys;
    ///
    /// let mut keys = TopKeys::new(64);
    /// keys.count("yesterday", 1000);
    /// keys.halve(3);
    /// keys.count("today", 200);
    /// let top = keys.top(2);
    /// assert_eq!((top[0].bytes(), top[1].count()), (&b"today"[..], 125));
    /// ```
    pub fn halve(&mut self, times: u32) {
        let half = |number: u64| number.checked_shr(times).unwrap_or(0);
        self.total = half(self.total);
        self.missed = half(self.missed);
        let all: Vec<_> = self.drain().collect();
        let halved = all.into_iter().map(|(count, mut key)| {
            // What is sure is rounded down as well, so that the count less the error is
            // not above the truth.
            let sure = half(count.saturating_sub(key.error));
            key.error = half(count) - sure;
            key.variance = half(half(key.variance));
            (half(count), key)
        });
        let left = halved.filter(|(count, _)| *count > 0).collect();
        self.refill(left);
    }

    /// The keys with the highest counts, highest first.
    pub fn top(&self, keys: usize) -> Vec<HotKey> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&at| (Reverse(self.counts[at]), self.keys[at].bytes()));
        let best = order.into_iter().take(keys);
        best.map(|at| self.keys[at].hot(self.counts[at], self.total))
            .collect()
    }

    /// How many keys came, each as often as it did.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bytes that counters, keys and index take.
    pub(super) fn memory(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
            + self.keys.capacity() * size_of::<Counted>()
            + self.index.len() * size_of::<u32>()
    }

    #[inline]
    fn add(&mut self, bytes: &[u8], hash: u64, times: u64, variance: u64) {
        if let Some(at) = self.find(bytes, hash) {
            self.counts[at] = self.counts[at].saturating_add(times);
            let variance = self.keys[at].variance.saturating_add(variance);
            self.keys[at].variance = variance;
            return;
        }
        let at = if self.keys.len() < self.capacity {
            self.counts.push(0);
            self.keys.push(Counted::EMPTY);
            self.keys.len() - 1
        } else {
            let at = self.lightest();
            self.missed = self.missed.max(self.counts[at]);
            self.unlink(at);
            at
        };
        self.counts[at] = self.missed.saturating_add(times);
        let key = &mut self.keys[at];
        (key.hash, key.error, key.variance) = (hash, self.missed, variance);
        key.len = bytes.len() as u8;
        key.bytes[..bytes.len()].copy_from_slice(bytes);
        self.link(at);
    }

    /// A counter than which none is smaller. Counts only grow, so the search goes on where
    /// the last one ended until none is as small as that one was.
    fn lightest(&mut self) -> usize {
        loop {
            let rest = &self.counts[self.next..];
            if let Some(ahead) = rest.iter().position(|&count| count <= self.least) {
                self.next += ahead + 1;
                return self.next - 1;
            }
            self.next = 0;
            self.least = self.counts.iter().copied().min().unwrap_or(0);
        }
    }

    #[inline]
    fn find(&self, bytes: &[u8], hash: u64) -> Option<usize> {
        let mut place = self.home(hash);
        loop {
            let at = (self.index[place] as usize).checked_sub(1)?;
            if self.keys[at].hash == hash && self.keys[at].bytes() == bytes {
                return Some(at);
            }
            place = self.after(place);
        }
    }

    fn link(&mut self, at: usize) {
        let mut place = self.home(self.keys[at].hash);
        while self.index[place] != 0 {
            place = self.after(place);
        }
        self.index[place] = at as u32 + 1;
    }

    /// Takes a counter out of the index, and moves up who stands behind it because of it.
    fn unlink(&mut self, at: usize) {
        let mut gap = self.home(self.keys[at].hash);
        while self.index[gap] != at as u32 + 1 {
            gap = self.after(gap);
        }
        let mut place = gap;
        loop {
            place = self.after(place);
            let Some(other) = (self.index[place] as usize).checked_sub(1) else {
                break;
            };
            let home = self.home(self.keys[other].hash);
            let mask = self.index.len() - 1;
            let (way, distance) = (place.wrapping_sub(home), place.wrapping_sub(gap));
            if way & mask >= distance & mask {
                self.index[gap] = self.index[place];
                gap = place;
            }
        }
        self.index[gap] = 0;
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.index.len() - 1)
    }

    fn drain(&mut self) -> impl Iterator<Item = (u64, Counted)> {
        self.counts.drain(..).zip(self.keys.drain(..))
    }

    /// Counters after all were taken out.
    fn refill(&mut self, all: Vec<(u64, Counted)>) {
        self.index.fill(0);
        (self.least, self.next) = (0, 0);
        for (count, key) in all {
            self.counts.push(count);
            self.keys.push(key);
            self.link(self.keys.len() - 1);
        }
    }
}

impl Counted {
    const EMPTY: Self = Self {
        hash: 0,
        error: 0,
        variance: 0,
        len: 0,
        bytes: [0; KEPT],
    };

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn hot(&self, count: u64, total: u64) -> HotKey {
        HotKey {
            bytes: self.bytes().into(),
            // A shortened key has a hash that is not that of the bytes that were kept.
            whole: xxh3_64(self.bytes(), 0) == self.hash,
            hash: self.hash,
            count,
            error: self.error,
            variance: self.variance,
            total,
        }
    }
}

/// Bytes of a key that are kept.
const KEPT: usize = 64;
/// The most counters.
const MOST: usize = 1 << 20;
