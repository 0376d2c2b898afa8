use std::fmt;
use std::hash::{BuildHasher, Hash};

use super::MissRatioCurve;
use super::sample::{Sample, Use};
use crate::hash::TableHasher;
use crate::rng::mix;

/// Estimates from a stream of keys how an LRU cache of any size would serve it.
///
/// Follows the keys whose hash falls below a threshold, at most as many as it
/// was made for, whatever the stream: with more it lowers the threshold. A
/// stream of no more keys than that is followed exactly.
///
/// A key that is not sampled costs its hash, a count and a comparison; one that
/// is, 70 ns or so. The memory, in bytes, is at most
/// 40 * sampled keys + 110 000; see [`bytes`](Self::bytes).
///
/// ```
/// use tenfold::cache::sizing::SizeEstimator;
///
/// let mut sizes = SizeEstimator::new(1000);
/// for _ in 0..10 {
///     (0..100).for_each(|page| sizes.record(&page));
/// }
/// let curve = sizes.curve();
/// assert_eq!(curve.miss_ratio_at(99), 1.0); // each leaves just before it is asked for
/// assert_eq!(curve.miss_ratio_at(100), 0.1); // and now only the first round misses
/// assert_eq!(curve.entries_for(0.5), Some(100));
/// ```
pub struct SizeEstimator {
    sample: Sample,
    hasher: TableHasher,
    references: u64,
}

impl SizeEstimator {
    /// Follows at most this many keys (no fewer than 64, no more than
    /// 16 777 216).
    ///
    /// 8192 are enough for a point of error, more or less; four times as many
    /// halve it.
    pub fn new(sampled_keys: usize) -> Self {
        Self {
            sample: Sample::new(sampled_keys.clamp(64, 1 << 24)),
            hasher: TableHasher::with_seed(SEED),
            references: 0,
        }
    }

    /// Notes that a key is asked for.
    #[inline]
    pub fn record<Q: Hash + ?Sized>(&mut self, key: &Q) {
        self.record_mark(self.hasher.hash_one(key));
    }

    /// Notes that the key of this hash is asked for. Any hash of 64 bits will
    /// do that tells the keys apart: it is mixed once more.
    #[inline]
    pub fn record_hash(&mut self, hash: u64) {
        self.record_mark(mix(hash));
    }

    #[inline]
    fn record_mark(&mut self, mark: u64) {
        self.references += 1;
        if mark < self.sample.threshold() {
            self.sample.note(mark, Use::Hit);
        }
    }

    /// The curve of all that was recorded so far.
    pub fn curve(&self) -> MissRatioCurve {
        self.sample.curve(self.references as f64, 1.0)
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.sample.bytes()
    }
}

impl fmt::Debug for SizeEstimator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SizeEstimator")
            .field("references", &self.references)
            .field("sampled_keys", &self.sample.keys())
            .field("rate", &self.sample.rate())
            .finish_non_exhaustive()
    }
}

/// Which keys are sampled need not be a secret: nothing is stored by it but
/// what was chosen by it.
const SEED: u64 = 0x5a17;
