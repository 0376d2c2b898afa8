use super::line::{LINE_BITS, Spot, place, probe};
use super::{Layout, Mismatch};

/// What decides where the bits of a key lie, the same for a plain and an atomic
/// filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// At least one.
    pub(super) lines: usize,
    /// Bits that a key sets: 1 to 64, and 8 in the layouts of one line.
    pub(super) hashes: u32,
    pub(super) seed: u64,
}

impl Shape {
    pub(super) const fn bits(&self) -> u64 {
        self.lines as u64 * LINE_BITS
    }

    /// The line of a hash, in the layouts that have one.
    #[inline]
    pub(super) fn spot(&self, hash: u64) -> Spot {
        Spot::of(hash, self.lines)
    }

    /// The places of the bits of a hash in the standard layout: line, word and
    /// mask.
    #[inline]
    pub(super) fn probes(&self, hash: u64) -> impl Iterator<Item = (usize, usize, u64)> + use<> {
        let bits = self.bits();
        (0..self.hashes).map(move |i| place(probe(hash, i, bits)))
    }

    /// The theoretical rate of false positives with so many keys.
    pub(super) fn rate(&self, items: u64) -> f64 {
        self.layout.rate(items, self.lines as u64, self.hashes)
    }

    /// The rate that a filter with these lines has for keys that were not
    /// inserted: exact, since it looks at every bit.
    pub(super) fn rate_of(&self, lines: impl Iterator<Item = [u64; 8]>) -> f64 {
        let ones = |word: u64| f64::from(word.count_ones());
        let half = |word: u64, shift: u32| f64::from(((word >> shift) as u32).count_ones()) / 32.0;
        let word = |word: u64| half(word, 0) * half(word, 32);
        let n = self.lines as f64;
        match self.layout {
            Layout::Blocked => {
                let line = |words: [u64; 8]| words.map(|w| ones(w) / 64.0).iter().product::<f64>();
                lines.map(line).sum::<f64>() / n
            }
            Layout::Paired => {
                let pair = |pair: &[u64; 2]| f64::midpoint(word(pair[0]), word(pair[1]));
                let line = |w: [u64; 8]| w.as_chunks().0.iter().map(pair).product::<f64>();
                lines.map(line).sum::<f64>() / n
            }
            Layout::Standard => {
                let set: f64 = lines.flatten().map(ones).sum();
                (set / self.bits() as f64).powi(self.hashes.cast_signed())
            }
        }
    }

    /// Whether the other places keys alike.
    pub(super) fn check(&self, other: &Self) -> Result<(), Mismatch> {
        if self.layout != other.layout {
            return Err(Mismatch::Layout {
                expected: self.layout,
                found: other.layout,
            });
        }
        if self.lines != other.lines {
            return Err(Mismatch::Bits {
                expected: self.bits(),
                found: other.bits(),
            });
        }
        if self.hashes != other.hashes {
            return Err(Mismatch::Hashes {
                expected: self.hashes,
                found: other.hashes,
            });
        }
        if self.seed != other.seed {
            return Err(Mismatch::Seed {
                expected: self.seed,
                found: other.seed,
            });
        }
        Ok(())
    }
}

/// Keys that are looked up together: enough for the memory to be busy with all
/// of them, few enough for their lines to stay in the nearest cache.
pub(super) const GROUP: usize = 32;
