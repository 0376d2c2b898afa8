//! Where the bits of a hash lie.

use crate::rng::mix;

/// A cache line of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u64; WORDS]);

impl Line {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    /// Whether every bit of these masks is set. No branch depends on the bits.
    #[inline]
    pub(super) fn has_all(&self, masks: impl IntoIterator<Item = (usize, u64)>) -> bool {
        let missing = masks
            .into_iter()
            .fold(0, |missing, (word, mask)| missing | (mask & !self.0[word]));
        missing == 0
    }

    /// Sets the bits of these masks; whether one of them was not set.
    #[inline]
    pub(super) fn set_all(&mut self, masks: impl IntoIterator<Item = (usize, u64)>) -> bool {
        let mut missing = 0;
        for (word, mask) in masks {
            missing |= mask & !self.0[word];
            self.0[word] |= mask;
        }
        missing != 0
    }
}

/// Where a key lies in a layout of one line per key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spot {
    /// The line's number.
    pub(super) line: usize,
    /// Chooses the bits within it.
    pub(super) bits: u64,
}

impl Spot {
    /// The line is the hash's place in the range of all hashes, so it depends
    /// on its upper half; the bits are the top of a product, so they depend
    /// on all of it. In a filter of 2^31 lines 33 bits of hash are left to
    /// choose among the bits of a line.
    #[inline]
    pub(super) fn of(hash: u64, lines: usize) -> Self {
        Self {
            line: scale(hash, lines as u64) as usize,
            bits: hash.wrapping_mul(GOLDEN),
        }
    }
}

/// `hash / 2^64 * range`: in the range, and as even as the hash.
#[inline]
pub(super) const fn scale(hash: u64, range: u64) -> u64 {
    ((hash as u128 * range as u128) >> 64) as u64
}

/// [`Blocked`](super::Layout::Blocked): a bit in each word. The vector code in
/// `kernel.rs` finds the same.
#[inline]
pub(super) fn blocked(bits: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..WORDS).map(move |word| (word, 1 << ((bits >> SHIFTS[word]) & 63)))
}

/// [`Paired`](super::Layout::Paired): for each pair of words one of the two, and
/// a bit in either half of it. Eleven bits of hash each.
#[inline]
pub(super) fn paired(bits: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..WORDS / 2).map(move |pair| {
        let choice = bits >> (20 + 11 * pair);
        let word = 2 * pair + ((choice >> 10) & 1) as usize;
        let (low, high) = (choice & 31, (choice >> 5) & 31);
        (word, 1 << low | 1 << (32 + high))
    })
}

/// [`Standard`](super::Layout::Standard): the `probe`-th bit of a hash, as a
/// number below `bits`.
///
/// Every probe mixes the whole hash anew. Stepping from one probe to the next
/// (double hashing) is cheaper, and in large filters finds the more keys that
/// are not there the larger they are: steps repeat long before hashes do.
#[inline]
pub(super) const fn probe(hash: u64, probe: u32, bits: u64) -> u64 {
    scale(mix(hash ^ PROBES[probe as usize % PROBES.len()]), bits)
}

/// Where a bit lies: its line, its word, and its mask there.
#[inline]
pub(super) const fn place(bit: u64) -> (usize, usize, u64) {
    let word = (bit / 64) as usize;
    (word / WORDS, word % WORDS, 1 << (bit % 64))
}

/// Numbers without a pattern, one per probe.
const PROBES: [u64; 64] = {
    let mut numbers = [0; 64];
    let mut i = 0;
    while i < numbers.len() {
        numbers[i] = mix((i as u64 + 1).wrapping_mul(GOLDEN));
        i += 1;
    }
    numbers
};

/// Words in a line.
pub(super) const WORDS: usize = 8;

/// Bits in a line.
pub(super) const LINE_BITS: u64 = 64 * WORDS as u64;

/// Bytes in a line.
pub(super) const LINE_BYTES: usize = 8 * WORDS;

/// Which bits of the product choose the bit of each word: its upper 48, which
/// depend on most of the hash.
pub(super) const SHIFTS: [u64; WORDS] = [16, 22, 28, 34, 40, 46, 52, 58];

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::Layout;
    use crate::rng::Rng;

    /// A filter that large fits no test, but one of its lines does: the hashes
    /// that lie in a line are those of one range, so they can be drawn directly.
    fn hashes_in_line(line: u64, lines: u64, rng: &mut Rng) -> u64 {
        let start = ((u128::from(line) << 64).div_ceil(u128::from(lines))) as u64;
        let width = ((1u128 << 64) / u128::from(lines)) as u64 - 1;
        start + rng.below(width)
    }

    /// Others cut the index to 32 bits, or took line and bits from the same few
    /// bits of hash: then filters above 2^32 bits are many times worse than theory.
    #[test]
    fn rates_hold_in_lines_of_filters_beyond_two_to_the_32_bits() {
        for shift in [24, 28, 32] {
            // From 2^33 bits up to 2^41.
            let lines = (1u64 << shift) + 12_345;
            let mut rng = Rng::with_seed(shift);
            // By theory, of a line with exactly 51 keys.
            for (layout, expected) in [(Layout::Blocked, 0.00862), (Layout::Paired, 0.00885)] {
                let (mut found, mut theory) = (0, 0.0);
                for _ in 0..2000 {
                    let at = rng.below(lines);
                    let mut line = Line::EMPTY;
                    let mut spot = || {
                        let hash = hashes_in_line(at, lines, &mut rng);
                        let spot = Spot::of(hash, lines as usize);
                        assert_eq!(spot.line as u64, at);
                        spot.bits
                    };
                    for _ in 0..51 {
                        match layout {
                            Layout::Blocked => line.set_all(blocked(spot())),
                            _ => line.set_all(paired(spot())),
                        };
                    }
                    theory += match layout {
                        Layout::Blocked => rate_of_blocked(&line),
                        _ => rate_of_paired(&line),
                    };
                    for _ in 0..200 {
                        found += u64::from(match layout {
                            Layout::Blocked => line.has_all(blocked(spot())),
                            _ => line.has_all(paired(spot())),
                        });
                    }
                }
                let (tried, theory) = (2000.0 * 200.0, theory / 2000.0);
                let error = (theory / tried).sqrt();
                let found = found as f64 / tried;
                assert!(
                    (found - theory).abs() < 3.0 * error,
                    "{layout}, 2^{shift} lines: {found} measured, {theory} by theory"
                );
                // And the bits that were set are as many as by chance.
                assert!((theory / expected - 1.0).abs() < 0.03, "{theory}");
            }
        }
    }

    fn rate_of_blocked(line: &Line) -> f64 {
        let ones = line.0.iter().map(|word| f64::from(word.count_ones()));
        ones.map(|ones| ones / 64.0).product()
    }

    fn rate_of_paired(line: &Line) -> f64 {
        let half = |word: u64| f64::from((word as u32).count_ones()) / 32.0;
        let word = |word: &u64| half(*word) * half(word >> 32);
        let pairs = line.0.chunks(2);
        pairs
            .map(|pair| f64::midpoint(word(&pair[0]), word(&pair[1])))
            .product()
    }

    #[test]
    fn every_line_is_reached_and_equally_often() {
        for lines in [1, 2, 3, 1000, 8191] {
            let mut rng = Rng::with_seed(lines);
            let mut seen = vec![0u32; lines as usize];
            for _ in 0..lines * 200 {
                seen[Spot::of(rng.next_u64(), lines as usize).line] += 1;
            }
            // Six standard deviations of a count of 200.
            assert!(seen.iter().all(|n| n.abs_diff(200) < 90), "{lines} lines");
        }
        assert_eq!(Spot::of(u64::MAX, 1 << 33).line, (1 << 33) - 1);
        assert_eq!(Spot::of(0, 1 << 33).line, 0);
    }

    /// Probes that step through a filter revisit each other's bits, the more so
    /// the larger it is.
    #[test]
    fn standard_probes_reach_every_part_of_a_filter_beyond_two_to_the_32_bits() {
        for bits in [1u64 << 20, 1 << 33, 1 << 40] {
            let mut rng = Rng::with_seed(bits);
            let mut parts = [0u32; 64];
            let mut repeated = 0;
            for _ in 0..2000 {
                let hash = rng.next_u64();
                let mut probes: Vec<u64> = (0..20).map(|i| probe(hash, i, bits)).collect();
                for &bit in &probes {
                    assert!(bit < bits);
                    parts[(bit / (bits / 64)) as usize] += 1;
                }
                probes.sort_unstable();
                probes.dedup();
                repeated += 20 - probes.len();
            }
            // 625 each; six standard deviations.
            assert!(parts.iter().all(|n| n.abs_diff(625) < 150), "{parts:?}");
            // By chance 2000 * 190 / 2^20.
            assert!(repeated < 5, "{repeated}");
        }
    }

    /// A key next to another's probe must share one bit with it, not all but one.
    #[test]
    fn hashes_a_step_apart_do_not_share_probes() {
        let (hash, bits) = (0x0123_4567_89ab_cdef_u64, 1u64 << 40);
        let of = |hash| (0..20).map(move |i| probe(hash, i, bits));
        for step in [1, 2, GOLDEN, PROBES[0], PROBES[0] ^ PROBES[1]] {
            for other in [hash.wrapping_add(step), hash ^ step] {
                let shared = of(hash).filter(|bit| of(other).any(|b| b == *bit));
                assert!(shared.count() <= 2, "{step:x}");
            }
        }
    }
}
