//! Numbers by Zipf's law: the `i`-th most popular comes up `1 / i^exponent`
//! as often as the first.

use tenfold::rng::Rng;

/// A distribution over `0..n`, by its running sums: exact, and drawn from
/// before the clock starts, so that its cost is nobody's.
pub(crate) struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(n: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=n).map(|i| (i as f64).powf(-exponent));
        let sums = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Self { sums }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> u64 {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let point = rng.next_u64() as f64 / 2f64.powi(64) * total;
        let place = self.sums.partition_point(|&sum| sum <= point);
        place.min(self.sums.len().saturating_sub(1)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_falls_as_the_law_says() {
        let zipf = Zipf::new(100, 1.0);
        let mut rng = Rng::with_seed(1);
        let mut counts = [0u32; 100];
        for _ in 0..200_000 {
            counts[zipf.draw(&mut rng) as usize] += 1;
        }
        // The harmonic number of 100 is 5.187.
        for (i, expected) in [(0, 38_560.0), (1, 19_280.0), (9, 3_856.0)] {
            assert!(
                (f64::from(counts[i]) / expected - 1.0).abs() < 0.05,
                "{i}: {}",
                counts[i]
            );
        }
    }
}
