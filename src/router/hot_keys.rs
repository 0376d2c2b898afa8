use std::cell::Cell;

use super::top_keys::{HotKey, TopKeys};
use crate::hash::{CanonicalBytes, StableKey};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::thread_local;

/// Finds celebrities in live traffic: [`TopKeys`] behind a sampler, for all threads.
///
/// At first every key is counted. As more come, only one in two is, in four, up to one in
/// 1024, each then counting for as many: busy traffic costs a random number and a
/// comparison per key, and counts are estimates with the sampling's own error (for a
/// key with `s` samples about 1 / √`s`).
///
/// ```
/// use tenfold::router::HotKeys;
///
/// let hot = HotKeys::new();
/// for request in 0..100_000_u64 {
///     hot.note(if request % 10 == 0 { 42 } else { request });
/// }
/// let top = hot.top(1);
/// assert_eq!(top[0].bytes(), 42_u64.to_le_bytes());
/// assert!(top[0].count().abs_diff(10_000) < 2_000);
/// ```
///
/// Memory: at most 64 KiB, whatever comes.
#[derive(Debug)]
pub struct HotKeys {
    /// One key in this many plus one is counted; all ones below.
    mask: AtomicU64,
    /// What was sampled so far. Held for one count, or one look.
    keys: Mutex<Sampled>,
}

#[derive(Debug)]
struct Sampled {
    keys: TopKeys,
    /// Since the last time that fewer were to be counted.
    samples: u64,
}

impl HotKeys {
    /// Nothing was noted so far.
    pub fn new() -> Self {
        Self {
            mask: AtomicU64::new(0),
            keys: Mutex::new(Sampled {
                keys: TopKeys::new(COUNTERS),
                samples: 0,
            }),
        }
    }

    /// Notes that a key was asked for.
    #[inline]
    pub fn note(&self, key: impl StableKey) {
        let mask = self.mask.load(Ordering::Relaxed);
        if draw() & mask == 0 {
            self.sample(&key, mask);
        }
    }

    #[cold]
    #[inline(never)]
    fn sample(&self, key: &impl StableKey, mask: u64) {
        // Before the lock is taken: this is the key's own code.
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        let sampled = &mut *self.keys.lock();
        sampled.keys.count(bytes.as_slice(), mask + 1);
        sampled.samples += 1;
        if sampled.samples >= ENOUGH && mask < FEWEST {
            sampled.samples = 0;
            self.mask.store(2 * mask + 1, Ordering::Relaxed);
        }
    }

    /// The keys that came most often, first the first.
    pub fn top(&self, keys: usize) -> Vec<HotKey> {
        self.keys.lock().keys.top(keys)
    }

    /// About how many keys were noted.
    pub fn total(&self) -> u64 {
        self.keys.lock().keys.total()
    }

    /// What was counted so far, to be merged with others', and begins anew.
    pub fn take(&self) -> TopKeys {
        let fresh = TopKeys::new(COUNTERS);
        let mut sampled = self.keys.lock();
        sampled.samples = 0;
        self.mask.store(0, Ordering::Relaxed);
        std::mem::replace(&mut sampled.keys, fresh)
    }
}

impl Default for HotKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// Bits that say whether to sample, from a sequence of this thread's own.
#[inline]
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        (next ^ (next >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40
    })
}

/// Counters: with 256, whoever has more than half a percent of all keys is found.
const COUNTERS: usize = 256;
/// Samples after which half as many are taken.
const ENOUGH: u64 = 1 << 14;
/// The mask of the rarest sampling.
const FEWEST: u64 = 1023;
