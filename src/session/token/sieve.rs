use std::sync::OnceLock;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Says of nearly every hash that was not put in that it was not, for one load from memory and without a lock.
///
/// A hash sets four bits of one word, and may be in if all of them are set. Bits are shared, so none can be cleared alone:
/// when hashes leave, the words are computed anew from those that stay. A word that is replaced then has all bits of
/// all that stay, before and after, so that whoever reads meanwhile never misses one.
///
/// Written under the lock of what it stands in front of.
pub(super) struct Sieve {
    /// Which of the levels is in use.
    level: AtomicU64,
    /// Each has twice the words of the one before, and is kept once it is made: somebody may be reading it.
    levels: [OnceLock<Box<[AtomicU64]>>; LEVELS],
}

impl Sieve {
    pub(super) fn new() -> Self {
        Self {
            level: AtomicU64::new(0),
            levels: [const { OnceLock::new() }; LEVELS],
        }
    }

    /// False if it is certainly not in.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let bits = bits(hash);
        self.word(hash)
            .is_some_and(|word| word.load(Ordering::Acquire) & bits == bits)
    }

    /// Puts in one more; there must be [room](Self::has_room_for) for it.
    pub(super) fn put(&self, hash: u64) {
        if let Some(word) = self.word(hash) {
            word.fetch_or(bits(hash), Ordering::Release);
        }
    }

    /// Whether so many can be told from others.
    pub(super) fn has_room_for(&self, count: usize) -> bool {
        let level = self.level.load(Ordering::Relaxed) as usize;
        self.levels[level].get().is_some() && (count <= room(level) || level + 1 == LEVELS)
    }

    /// Keeps these and no others, with room for so many.
    pub(super) fn keep(&self, hashes: impl Iterator<Item = u64>, count: usize) {
        let now = self.level.load(Ordering::Relaxed) as usize;
        let needed = (now..LEVELS).find(|&level| count <= room(level));
        let level = needed.unwrap_or(LEVELS - 1);
        let len = WORDS << level;
        let mut words = vec![0; len];
        for hash in hashes {
            words[place(hash, len)] |= bits(hash);
        }
        let made =
            self.levels[level].get_or_init(|| words.iter().copied().map(AtomicU64::new).collect());
        if level == now {
            for (word, bits) in made.iter().zip(words) {
                word.store(bits, Ordering::Release);
            }
        }
        // Who finds the level finds all that is in it.
        self.level.store(level as u64, Ordering::Release);
    }

    #[inline]
    fn word(&self, hash: u64) -> Option<&AtomicU64> {
        let level = self.level.load(Ordering::Acquire) as usize;
        let words = self.levels.get(level)?.get()?;
        words.get(place(hash, words.len()))
    }
}

/// The bits of a hash beyond these four times six choose the word.
fn place(hash: u64, words: usize) -> usize {
    (hash >> 24) as usize & (words - 1)
}

fn bits(hash: u64) -> u64 {
    let bit = |at: u32| 1 << (hash >> at & 63);
    bit(0) | bit(6) | bit(12) | bit(18)
}

/// How many a level is for: one hash in 400 that is not in may seem to be then.
fn room(level: usize) -> usize {
    (WORDS << level) * 4
}

/// Words of the first level: few in models, so that they see it grow.
const WORDS: usize = if cfg!(tenfold_shuttle) { 1 } else { 16 };
/// Up to 2^24 words.
const LEVELS: usize = 21;

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::hash::TableHasher;

    fn hashes(seed: u64, count: usize) -> Vec<u64> {
        let hasher = TableHasher::with_seed(seed);
        (0..count).map(|number| hasher.hash_one(number)).collect()
    }

    fn put(sieve: &Sieve, all: &[u64], count: usize) {
        if sieve.has_room_for(count) {
            sieve.put(all[count - 1]);
        } else {
            sieve.keep(all[..count].iter().copied(), count);
        }
    }

    #[test]
    fn what_was_put_in_is_in_and_little_else_seems_to_be() {
        let (all, others) = (hashes(1, 20_000), hashes(2, 20_000));
        let sieve = Sieve::new();
        for count in 1..=all.len() {
            assert!(count > 1 || !sieve.may_hold(all[0]));
            put(&sieve, &all, count);
            assert!(sieve.may_hold(all[count - 1]));
            if !count.is_power_of_two() && count != all.len() {
                continue;
            }
            assert!(all[..count].iter().all(|&hash| sieve.may_hold(hash)));
            let seem = others.iter().filter(|&&hash| sieve.may_hold(hash)).count();
            assert!(seem < others.len() / 100, "{seem} of {count}");
        }
    }

    #[test]
    fn what_was_not_kept_is_gone() {
        let all = hashes(3, 2000);
        let sieve = Sieve::new();
        for count in 1..=all.len() {
            put(&sieve, &all, count);
        }
        sieve.keep(all[..1000].iter().copied(), 1000);
        assert!(all[..1000].iter().all(|&hash| sieve.may_hold(hash)));
        let seem = all[1000..].iter().filter(|&&hash| sieve.may_hold(hash));
        assert!(seem.count() < 10);
        sieve.keep(std::iter::empty(), 0);
        assert!(!all.iter().any(|&hash| sieve.may_hold(hash)));
    }
}
