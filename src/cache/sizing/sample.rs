//! SHARDS: what all keys do, told by those whose hash falls below a threshold.

use super::curve::MissRatioCurve;
use super::distances::bin;
use super::stack::{Depth, Stack};
use super::tally::Tally;
use crate::rng::Rng;

/// Follows the keys whose mark is below a threshold, at most a fixed number of
/// them: when there are more, the threshold is lowered.
///
/// Single-threaded, and told of the sampled keys only. All sums are in sampled
/// references at the present rate, so a lower rate scales down what was seen
/// before.
pub(super) struct Sample {
    stack: Stack,
    max_keys: usize,
    /// Marks below it are sampled.
    threshold: u64,
    /// What was counted since the last gap, and before.
    tally: Tally,
    past: Tally,
    /// How many keys were new. A key that appeared in a gap is new after it, so
    /// these do not stand for what went unseen.
    cold: f64,
    /// Sampled references so far, as they came.
    recorded: u64,
    rng: Rng,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Use {
    /// It is read and found.
    Hit,
    /// It is read and not found.
    Miss,
    /// It is stored anew.
    Insert,
    /// Its value is replaced.
    Update,
    /// It is removed.
    Remove,
}

impl Sample {
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            stack: Stack::new(max_keys),
            max_keys,
            threshold: u64::MAX,
            tally: Tally::new(),
            past: Tally::new(),
            cold: 0.0,
            recorded: 0,
            rng: Rng::with_seed(0),
        }
    }

    pub(super) fn threshold(&self) -> u64 {
        self.threshold
    }

    /// The share of keys that is sampled.
    pub(super) fn rate(&self) -> f64 {
        (self.threshold as f64 / TWO_64).max(f64::MIN_POSITIVE)
    }

    pub(super) fn keys(&self) -> usize {
        self.stack.len()
    }

    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(super) fn lowest(&self) -> Option<u64> {
        self.stack.lowest()
    }

    /// Notes what happens to a key below the threshold. A key that was read in
    /// vain and is then stored was asked for once. Says whether this counts.
    pub(super) fn note(&mut self, mark: u64, what: Use) -> bool {
        match what {
            Use::Hit | Use::Miss => {
                self.tally.lookups += 1.0;
                self.refer(mark, what == Use::Miss);
                return true;
            }
            Use::Insert => {
                if !self.stack.was_awaited(mark) {
                    self.tally.stores += 1.0;
                    self.refer(mark, false);
                    return true;
                }
            }
            // Keeps the key from being evicted; nobody asked for its value.
            Use::Update => {
                if !self.stack.was_awaited(mark) && self.stack.contains(mark) {
                    self.stack.use_key(mark, false);
                }
            }
            Use::Remove => self.stack.remove(mark),
        }
        false
    }

    fn refer(&mut self, mark: u64, awaited: bool) {
        self.recorded += 1;
        let (depth, uses) = self.stack.use_key(mark, awaited);
        if uses == 1 {
            self.cold += 1.0;
        }
        // The squares of 1, 2, 3, … are 1, 3, 5, … apart, the products with
        // their neighbours 0, 2, 4, …
        let popularity = f64::from(uses) * 2.0 - 2.0;
        match depth {
            Depth::At(depth) => {
                let bin = bin(self.distance(depth));
                self.tally.distances.add(bin, 1.0);
                self.tally.popular.add(bin, popularity);
                self.tally.squares += popularity + 1.0;
            }
            Depth::AtLeast(depth) => {
                let bin = bin(self.distance(depth));
                self.tally.at_least.add(bin, 1.0);
            }
            Depth::New => self.tally.squares += 1.0,
        }
        while self.stack.len() > self.max_keys {
            self.thin();
        }
    }

    /// How deep a key lies among all keys that is so deep among the sampled
    /// ones, each of which stands for as many as the rate says: at least below
    /// all those that the keys above it stand for. How far below is left to
    /// chance, since a fixed answer would make steps of the curve.
    fn distance(&mut self, depth: u32) -> f64 {
        let each = 1.0 / self.rate();
        let chance = 1.0 - self.rng.next_u64() as f64 / TWO_64;
        if depth == 1 {
            // Short distances are the likelier, the shorter they are.
            return each.powf(chance);
        }
        (f64::from(depth - 1) + chance) * each
    }

    /// Lets an eighth of the keys go.
    pub(super) fn thin(&mut self) {
        let before = self.rate();
        self.threshold -= self.threshold / 8;
        self.stack.keep_below(self.threshold);
        let factor = self.rate() / before;
        self.tally.scale(factor);
        self.past.scale(factor);
        self.cold *= factor;
    }

    /// Forgets which keys there are, not what was learned from them.
    pub(super) fn forget_keys(&mut self) {
        self.stack.clear();
    }

    /// Goes on after a gap. What was counted since the one before, of so many
    /// look-ups of all keys, sampled or not, stands for `times` as many.
    pub(super) fn leave_gap(&mut self, lookups: f64, times: f64) {
        self.past = self.total(lookups, times);
        self.tally = Tally::new();
        self.stack.leave_gap();
    }

    /// The curve, if there were so many look-ups since the last gap, and they
    /// stand for `times` as many.
    pub(super) fn curve(&self, lookups: f64, times: f64) -> MissRatioCurve {
        self.total(lookups, times)
            .curve(self.cold, self.rate(), self.stack.len())
            .with_recorded(self.recorded)
    }

    fn total(&self, lookups: f64, times: f64) -> Tally {
        let mut total = self.tally.clone();
        total.expected = lookups * self.rate();
        total.scale(times);
        total.add(&self.past);
        total
    }

    pub(super) fn bytes(&self) -> usize {
        self.stack.bytes() + self.tally.bytes() + self.past.bytes()
    }
}

/// Two to the power of 64.
const TWO_64: f64 = 18_446_744_073_709_551_616.0;
