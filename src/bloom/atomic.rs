use std::fmt;

use super::cell::{AtomicU64, Ordering::Relaxed};
use super::filter::{bits, hash_all};
use super::kernel::prefetch;
use super::line::{Line, Spot, WORDS, blocked, paired};
use super::memory::filled;
use super::shape::{GROUP, Shape};
use super::sizing::keys_by_zeros;
use super::{
    BloomBuilder, BloomFilter, BloomStats, BuildError, BytesError, Layout, Mismatch, bytes,
};
use crate::hash::StableKey;

/// A [`BloomFilter`] that any number of threads fill and read together.
///
/// No locks: an insertion is at most four atomic operations, a look-up none but
/// loads. It uses no vector instructions, since a vector load that races with
/// another thread's write would be undefined behaviour; so where one owner
/// fills the filter, [`BloomFilter`] is the faster type.
///
/// A thread finds what it inserted itself, and what others inserted before
/// anything that it has synchronised with: a join, a channel, a lock.
///
/// ```
/// use tenfold::bloom::AtomicBloomFilter;
///
/// let seen = AtomicBloomFilter::with_rate(1000, 0.01)?;
/// std::thread::scope(|scope| {
///     for thread in 0..4u64 {
///         let seen = &seen;
///         scope.spawn(move || (0..250).for_each(|i| { seen.insert(&(thread * 250 + i)); }));
///     }
/// });
/// assert!((0..1000u64).all(|key| seen.contains(&key)));
/// # Ok::<(), tenfold::bloom::BuildError>(())
/// ```
pub struct AtomicBloomFilter {
    shape: Shape,
    /// As many as the shape says.
    lines: Vec<AtomicLine>,
}

impl AtomicBloomFilter {
    /// A filter that with `items` keys takes at most this share of strangers for
    /// members. Memory: 9.8 bits per key at 1 %.
    ///
    /// # Errors
    ///
    /// If the rate is not between 0 and 1, or lower than 64-bit hashes allow for
    /// so many keys; if the memory cannot be had.
    pub fn with_rate(items: u64, rate: f64) -> Result<Self, BuildError> {
        Self::builder().items(items).rate(rate).build_atomic()
    }

    /// A builder, for everything else: end it with [`BloomBuilder::build_atomic`].
    pub fn builder() -> BloomBuilder {
        BloomBuilder::default()
    }

    pub(super) fn empty(shape: Shape) -> Result<Self, usize> {
        let lines = filled(shape.lines, || AtomicLine::from(Line::EMPTY))?;
        Ok(Self { shape, lines })
    }

    /// Inserts a key. Returns whether this call set a bit; if several threads
    /// insert one new key together, at least one of them is told so.
    #[inline]
    pub fn insert<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.insert_hash(key.stable_hash(self.shape.seed))
    }

    /// Whether the key was inserted: surely not if `false`.
    #[inline]
    pub fn contains<K: StableKey + ?Sized>(&self, key: &K) -> bool {
        self.contains_hash(key.stable_hash(self.shape.seed))
    }

    /// [`insert`](Self::insert) for callers who have a 64-bit hash, every bit of
    /// which must be random. A filter must see hashes of one kind only.
    #[inline]
    pub fn insert_hash(&self, hash: u64) -> bool {
        match self.shape.layout {
            Layout::Blocked => {
                let Spot { line, bits } = Spot::of(hash, self.lines.len());
                self.lines[line].set_all(blocked(bits))
            }
            Layout::Paired => {
                let Spot { line, bits } = Spot::of(hash, self.lines.len());
                self.lines[line].set_all(paired(bits))
            }
            Layout::Standard => self.insert_standard(hash),
        }
    }

    /// [`contains`](Self::contains) for callers who have a hash.
    #[inline]
    pub fn contains_hash(&self, hash: u64) -> bool {
        match self.shape.layout {
            Layout::Blocked => {
                let Spot { line, bits } = Spot::of(hash, self.lines.len());
                self.lines[line].has_all(blocked(bits))
            }
            Layout::Paired => {
                let Spot { line, bits } = Spot::of(hash, self.lines.len());
                self.lines[line].has_all(paired(bits))
            }
            Layout::Standard => self.contains_standard(hash),
        }
    }

    /// Inserts many keys, whose memory is fetched 32 at a time; returns how many
    /// were new.
    pub fn insert_many<K: StableKey>(&self, keys: &[K]) -> u64 {
        let mut hashes = [0; GROUP];
        let mut new = 0;
        for group in keys.chunks(GROUP) {
            let hashes = hash_all(group, self.shape.seed, &mut hashes);
            self.fetch(hashes);
            let group = hashes.iter().filter(|&&hash| self.insert_hash(hash));
            new += group.count() as u64;
        }
        new
    }

    /// Looks many keys up, whose memory is fetched 32 at a time, and tells of
    /// each whether it was inserted.
    pub fn contains_many<'k, K: StableKey>(
        &self,
        keys: &'k [K],
        mut answer: impl FnMut(&'k K, bool),
    ) {
        let mut hashes = [0; GROUP];
        for group in keys.chunks(GROUP) {
            let hashes = hash_all(group, self.shape.seed, &mut hashes);
            self.fetch(hashes);
            let found = bits(hashes.iter().map(|&hash| self.contains_hash(hash)));
            for (i, key) in group.iter().enumerate() {
                answer(key, found >> i & 1 == 1);
            }
        }
    }

    /// Adds every key of the other filter, which must have the same layout, size
    /// and seed.
    ///
    /// # Errors
    ///
    /// What differs. Nothing is changed then.
    pub fn union(&self, other: &Self) -> Result<(), Mismatch> {
        self.shape.check(&other.shape)?;
        for (line, other) in self.lines.iter().zip(&other.lines) {
            line.set_all(other.snapshot().into_iter().enumerate());
        }
        Ok(())
    }

    /// Forgets every key. What other threads insert meanwhile may be forgotten
    /// in part: then it is not found.
    pub fn clear(&self) {
        for line in &self.lines {
            line.0.iter().for_each(|word| word.store(0, Relaxed));
        }
    }

    /// How many different keys were inserted, estimated from the bits, within
    /// a per cent or two until the filter is overfull. Reads the whole filter.
    pub fn len_estimate(&self) -> u64 {
        keys_by_zeros(self.zeros(), self.bits(), self.shape.hashes)
    }

    /// The share of bits that are set. Reads the whole filter.
    pub fn fill(&self) -> f64 {
        1.0 - self.zeros() as f64 / self.bits() as f64
    }

    /// The rate of false positives that the filter has now, computed from every
    /// bit. Above the rate it was built for it is time to build a larger one.
    /// Reads the whole filter.
    pub fn current_rate(&self) -> f64 {
        self.shape
            .rate_of(self.lines.iter().map(AtomicLine::snapshot))
    }

    /// The rate of false positives that a filter of this size has by theory once it
    /// holds so many keys.
    pub fn expected_rate(&self, items: u64) -> f64 {
        self.shape.rate(items)
    }

    /// The size in bits; in bytes an eighth of it.
    pub const fn bits(&self) -> u64 {
        self.shape.bits()
    }

    /// The bits that each key sets.
    pub const fn hashes(&self) -> u32 {
        self.shape.hashes
    }

    /// How the bits lie.
    pub const fn layout(&self) -> Layout {
        self.shape.layout
    }

    /// The seed of the hash.
    pub const fn seed(&self) -> u64 {
        self.shape.seed
    }

    /// What is in the filter and how good it is. Reads the whole filter.
    pub fn stats(&self) -> BloomStats {
        BloomStats {
            bits: self.bits(),
            hashes: self.hashes(),
            layout: self.layout(),
            fill: self.fill(),
            keys: self.len_estimate(),
            rate: self.current_rate(),
        }
    }

    /// The filter as bytes, as [`BloomFilter::to_bytes`]. What other threads insert
    /// meanwhile may be in it in part.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.lines.iter().flat_map(AtomicLine::snapshot);
        bytes::encode(&self.shape, self.len_estimate(), words)
    }

    /// The filter that was written as bytes, of either type and any layout, with
    /// the seed zero.
    ///
    /// # Errors
    ///
    /// As [`BloomFilter::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        Self::from_bytes_with_seed(bytes, 0)
    }

    /// [`from_bytes`](Self::from_bytes) of a filter with this seed.
    ///
    /// # Errors
    ///
    /// As [`BloomFilter::from_bytes`].
    pub fn from_bytes_with_seed(bytes: &[u8], seed: u64) -> Result<Self, BytesError> {
        BloomFilter::from_bytes_with_seed(bytes, seed).map(Self::from)
    }

    /// The shape, and the lines without their atomics.
    pub(super) fn into_parts(self) -> (Shape, Vec<Line>) {
        let lines = self.lines.iter().map(|line| Line(line.snapshot()));
        (self.shape, lines.collect())
    }

    pub(super) fn from_parts(shape: Shape, lines: &[Line]) -> Self {
        let lines = lines.iter().copied().map(AtomicLine::from).collect();
        Self { shape, lines }
    }

    fn zeros(&self) -> u64 {
        let words = self.lines.iter().flat_map(AtomicLine::snapshot);
        words.map(|word| u64::from(word.count_zeros())).sum()
    }

    #[inline(never)]
    fn insert_standard(&self, hash: u64) -> bool {
        let probes = self.shape.probes(hash);
        probes.fold(false, |new, (line, word, mask)| {
            new | self.lines[line].set(word, mask)
        })
    }

    #[inline(never)]
    fn contains_standard(&self, hash: u64) -> bool {
        let mut probes = self.shape.probes(hash);
        probes.all(|(line, word, mask)| self.lines[line].0[word].load(Relaxed) & mask != 0)
    }

    /// Has the lines of these hashes brought near.
    #[inline]
    fn fetch(&self, hashes: &[u64]) {
        for &hash in hashes {
            if self.shape.layout == Layout::Standard {
                for (line, _, _) in self.shape.probes(hash) {
                    prefetch(&self.lines[line]);
                }
            } else {
                prefetch(&self.lines[self.shape.spot(hash).line]);
            }
        }
    }
}

impl From<BloomFilter> for AtomicBloomFilter {
    /// The same filter for many threads. Its layout stays.
    fn from(filter: BloomFilter) -> Self {
        let (shape, lines) = filter.parts();
        Self::from_parts(shape, lines)
    }
}

impl fmt::Debug for AtomicBloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtomicBloomFilter")
            .field("layout", &self.layout())
            .field("bits", &self.bits())
            .finish_non_exhaustive()
    }
}

/// A cache line that threads share. Bits are only ever set, except by `clear`,
/// and say nothing about other memory: so relaxed operations will do.
#[repr(align(64))]
struct AtomicLine([AtomicU64; WORDS]);

impl AtomicLine {
    #[inline]
    fn has_all(&self, masks: impl Iterator<Item = (usize, u64)>) -> bool {
        let missing = masks.fold(0, |missing, (word, mask)| {
            missing | (mask & !self.0[word].load(Relaxed))
        });
        missing == 0
    }

    #[inline]
    fn set_all(&self, masks: impl Iterator<Item = (usize, u64)>) -> bool {
        masks.fold(false, |new, (word, mask)| new | self.set(word, mask))
    }

    /// Sets these bits of a word; whether this call changed one. The load spares
    /// the bus a locked operation where nothing is missing.
    #[inline]
    fn set(&self, word: usize, mask: u64) -> bool {
        let word = &self.0[word];
        word.load(Relaxed) & mask != mask && word.fetch_or(mask, Relaxed) & mask != mask
    }

    fn snapshot(&self) -> [u64; WORDS] {
        self.0.each_ref().map(|word| word.load(Relaxed))
    }
}

impl From<Line> for AtomicLine {
    fn from(line: Line) -> Self {
        Self(line.0.map(AtomicU64::new))
    }
}
