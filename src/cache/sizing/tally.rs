//! What was counted, and the curve that it makes.

use super::curve::MissRatioCurve;
use super::distances::Distances;

/// Sums over sampled references.
#[derive(Clone)]
pub(super) struct Tally {
    /// How far back the last use of their key lies.
    pub(super) distances: Distances,
    /// The same, where it may lie further back.
    pub(super) at_least: Distances,
    /// Where `distances` counts one, the uses of that key: large where popular
    /// keys are.
    pub(super) popular: Distances,
    /// The sum of the squares of the keys' uses.
    pub(super) squares: f64,
    /// Those that were look-ups.
    pub(super) lookups: f64,
    /// Those that were not: keys that were stored unasked.
    pub(super) stores: f64,
    /// Look-ups that there would be if every key had as many.
    pub(super) expected: f64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            distances: Distances::new(),
            at_least: Distances::new(),
            popular: Distances::new(),
            squares: 0.0,
            lookups: 0.0,
            stores: 0.0,
            expected: 0.0,
        }
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.distances.scale(factor);
        self.at_least.scale(factor);
        self.popular.scale(factor);
        self.squares *= factor;
        self.lookups *= factor;
        self.stores *= factor;
        self.expected *= factor;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.distances.add_all(&other.distances);
        self.at_least.add_all(&other.at_least);
        self.popular.add_all(&other.popular);
        self.squares += other.squares;
        self.lookups += other.lookups;
        self.stores += other.stores;
        self.expected += other.expected;
    }

    /// The curve, if one key in `1 / rate` is sampled and `cold` references
    /// were the first to their key.
    ///
    /// A reference that lies *at least* so far back leaves those that are told
    /// from: it is taken to lie as those do that lie further back (Kaplan and
    /// Meier's way with patients who leave a study).
    pub(super) fn curve(mut self, cold: f64, rate: f64, keys: usize) -> MissRatioCurve {
        let references = self.expected + self.stores;
        let mut cold = cold;
        // A popular key is sampled or not: where there are more or fewer
        // look-ups than there should be, it is popular keys that are too many
        // or missing.
        if self.squares > 0.0 {
            let missing = (self.expected - self.lookups) / self.squares;
            cold += missing * (self.squares - self.popular.sum());
            self.popular.scale(missing);
            self.distances.add_all(&self.popular);
        }
        let cold = (cold / references).clamp(0.0, 1.0);
        let mut left = self.distances.sum() + self.at_least.sum();
        // The share of those that are not the first to their key.
        let (mut further, mut lowest) = (1.0f64, 1.0f64);
        let mut points = Vec::new();
        for ((end, hits), (_, gone)) in self.distances.bins().zip(self.at_least.bins()) {
            if hits != 0.0 && left > 0.0 {
                // What was corrected may begin below zero.
                further *= (1.0 - hits / left).max(0.0);
                lowest = lowest.min(cold + (1.0 - cold) * further);
                points.push((end, lowest));
            }
            left -= hits + gone;
        }
        // Beyond all that was seen there is only the first reference to a key.
        if let Some((_, ratio)) = points.last_mut() {
            *ratio = cold.min(lowest);
        }
        MissRatioCurve::new(points, references / rate, rate, keys)
    }

    pub(super) fn bytes(&self) -> usize {
        self.distances.bytes() + self.at_least.bytes() + self.popular.bytes()
    }
}
