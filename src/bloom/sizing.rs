//! What rate of false positives a filter has by theory, and how large it must
//! be for a rate.
//!
//! In a blocked layout some lines get more keys than others, and the rate of a
//! crowded line is worse by more than that of an empty one is better. So the
//! rate is the mean over the Poisson distribution of keys per line, and not the
//! textbook's, which would promise 0.85 % where 1.05 % is measured.

use super::Layout;
use super::line::LINE_BITS;

impl Layout {
    /// The rate of false positives of `lines` lines that hold `items` keys.
    pub(super) fn rate(self, items: u64, lines: u64, hashes: u32) -> f64 {
        let per_line = items as f64 / lines as f64;
        match self {
            Self::Blocked => mean_over_lines(per_line, blocked),
            Self::Paired => mean_over_lines(per_line, paired),
            Self::Standard => standard(items as f64, lines as f64 * LINE_BITS as f64, hashes),
        }
    }

    /// The fewest lines, and the bits per key, that keep `items` keys within
    /// this rate.
    pub(super) fn size_for(self, items: u64, rate: f64) -> (u64, u32) {
        let fewest = |hashes| {
            (
                fewest(|lines| self.rate(items, lines, hashes) <= rate),
                hashes,
            )
        };
        match self {
            Self::Blocked | Self::Paired => fewest(LINE_HASHES),
            Self::Standard => {
                let ideal = -rate.log2();
                let near = |ideal: f64| fewest((ideal as u32).clamp(1, MOST_HASHES));
                near(ideal.floor()).min(near(ideal.ceil()))
            }
        }
    }

    /// The bits per key with the lowest rate in a given size.
    pub(super) fn hashes_for(self, items: u64, lines: u64) -> u32 {
        match self {
            Self::Blocked | Self::Paired => LINE_HASHES,
            Self::Standard => {
                let bits_per_key = lines as f64 * LINE_BITS as f64 / items as f64;
                let ideal = bits_per_key * std::f64::consts::LN_2;
                (ideal.round() as u32).clamp(1, MOST_HASHES)
            }
        }
    }
}

/// The rate of a filter of 256-bit blocks of eight 32-bit words, each with
/// one bit per key.
pub(super) fn split_block_rate(items: u64, blocks: u64) -> f64 {
    mean_over_lines(items as f64 / blocks as f64, |keys| set(keys, 32.0).powi(8))
}

/// The fewest blocks that keep `items` keys within this rate.
pub(super) fn split_blocks_for(items: u64, rate: f64) -> u64 {
    fewest(|blocks| split_block_rate(items, blocks) <= rate)
}

/// How many keys were inserted, by the share of bits that are still zero:
/// `places * -ln(zeros)`, where a key sets one bit in `places`.
pub(super) fn keys_by_zeros(zeros: u64, bits: u64, hashes: u32) -> u64 {
    if zeros == bits {
        return 0;
    }
    // A full filter may have had any number; says what one with half a bit
    // left would have had.
    let zeros = (zeros as f64).max(0.5) / bits as f64;
    (-zeros.ln() * bits as f64 / f64::from(hashes)).round() as u64
}

/// That a bit among `places` is set by at least one of `keys` that set one each.
fn set(keys: f64, places: f64) -> f64 {
    -f64::exp_m1(keys * f64::ln_1p(-1.0 / places))
}

/// Each of eight words of 64 bits has a bit of every key.
fn blocked(keys: f64) -> f64 {
    set(keys, 64.0).powi(8)
}

/// Each key chooses a word in each of four pairs, and a bit in either half of it.
fn paired(keys: f64) -> f64 {
    // The keys in a word are binomial with one half; the mean of (1 - r^j)^2
    // over that has a closed form.
    let (r, half) = (31.0_f64 / 32.0, |x: f64| f64::midpoint(1.0, x).powf(keys));
    (1.0 - 2.0 * half(r) + half(r * r)).powi(4)
}

/// The textbook's rate with its second-order term, without which small
/// filters of many hashes would have a few per cent more than they promise.
fn standard(items: f64, bits: f64, hashes: u32) -> f64 {
    let k = f64::from(hashes);
    let load = k * items / bits;
    let set = -f64::exp_m1(-load);
    if set <= 0.0 {
        return 0.0;
    }
    let zero = 1.0 - set;
    let variance = zero * (1.0 - zero * (1.0 + load)) / bits;
    let rate = set.powf(k) * (1.0 + k * (k - 1.0) / 2.0 * variance / (set * set));
    rate.min(1.0)
}

/// The mean of `rate` over lines that get `mean` keys each on average.
fn mean_over_lines(mean: f64, rate: impl Fn(f64) -> f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    // Far beyond any use, where every bit is set.
    if mean > 100_000.0 {
        return 1.0;
    }
    // From the most likely number outwards with weights relative to its, so
    // that nothing underflows; the tail left out is below 10^-18 of the sum.
    let mode = mean.floor();
    let (mut sum, mut weights) = (0.0, 0.0);
    let mut add = |keys: f64, weight: f64| {
        sum += weight * rate(keys);
        weights += weight;
        // The rarest lines are full ones, whose rate is not rare at all.
        weight * rate(keys) > 1e-18 * sum || weight > 1e-18 * weights
    };
    let (mut keys, mut weight) = (mode, 1.0);
    while add(keys, weight) {
        keys += 1.0;
        weight *= mean / keys;
    }
    let (mut keys, mut weight) = (mode, 1.0);
    while keys > 0.0 {
        weight *= keys / mean;
        keys -= 1.0;
        if !add(keys, weight) {
            break;
        }
    }
    sum / weights
}

/// The smallest number from one on that is enough, if every larger one is.
fn fewest(enough: impl Fn(u64) -> bool) -> u64 {
    let mut upper = 1;
    while !enough(upper) && upper < LARGEST {
        upper *= 2;
    }
    let mut below = upper / 2;
    while upper - below > 1 {
        let middle = below.midpoint(upper);
        if enough(middle) {
            upper = middle;
        } else {
            below = middle;
        }
    }
    upper
}

/// Bits that a key sets in the layouts of one line.
pub(super) const LINE_HASHES: u32 = 8;

/// The most bits a key may set: enough for the lowest rate that 64-bit hashes allow.
pub(super) const MOST_HASHES: u32 = 64;

/// Lines at which the search for a size gives up; no machine has them.
const LARGEST: u64 = 1 << 58;

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64, within: f64) {
        assert!(
            (found / expected - 1.0).abs() < within,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn theory_is_that_of_the_layouts() {
        // Rates computed elsewhere, for a million keys.
        for (bits_per_key, layout, percent) in [
            (8, Layout::Blocked, 2.931),
            (10, Layout::Blocked, 1.0490),
            (12, Layout::Blocked, 0.4222),
            (16, Layout::Blocked, 0.0909),
            (24, Layout::Blocked, 0.0091),
            (10, Layout::Paired, 1.0802),
            (16, Layout::Paired, 0.0966),
            (8, Layout::Standard, 2.16),
            (10, Layout::Standard, 0.8194),
            (12, Layout::Standard, 0.314),
            (16, Layout::Standard, 0.0459),
        ] {
            let (items, lines) = (512_000 * 64, bits_per_key * 64_000);
            let hashes = layout.hashes_for(items, lines);
            let found = layout.rate(items, lines, hashes) * 100.0;
            assert_close(found, percent, 6e-3);
        }
        assert_close(split_block_rate(256_000, 10_000) * 100.0, 1.265, 6e-3);
    }

    #[test]
    fn theory_keeps_the_requested_rate_at_any_size() {
        for layout in Layout::ALL {
            for items in [
                1,
                2,
                10,
                100,
                10_007,
                1_000_000,
                500_000_000,
                1 << 34,
                1 << 40,
            ] {
                for rate in [0.5, 0.1, 0.03, 0.01, 1e-3, 2e-4, 1e-5, 1e-7] {
                    let (lines, hashes) = layout.size_for(items, rate);
                    let found = layout.rate(items, lines, hashes);
                    assert!(found <= rate, "{layout}: {found} > {rate} for {items}");
                    // And one line less would not do.
                    let less = lines.checked_sub(1).filter(|&lines| lines > 0);
                    let less = less.map(|lines| layout.rate(items, lines, hashes));
                    assert!(
                        less.is_none_or(|found| found > rate),
                        "{layout} is too large"
                    );
                }
            }
        }
        // More than 2^32 bits are among them.
        assert!(Layout::Blocked.size_for(500_000_000, 0.01).0 * LINE_BITS > 1 << 32);
    }

    #[test]
    fn extremes_have_answers() {
        assert!(Layout::Blocked.rate(0, 1, 8).abs() < f64::EPSILON);
        assert!((Layout::Blocked.rate(u64::MAX, 1, 8) - 1.0).abs() < f64::EPSILON);
        assert!((Layout::Standard.rate(u64::MAX, 1, 64) - 1.0).abs() < f64::EPSILON);
        assert!(Layout::Paired.rate(1000, 1, 8) > 0.99);
        assert_eq!(keys_by_zeros(512, 512, 8), 0);
        assert!(keys_by_zeros(0, 512, 8) > 400);
    }
}
