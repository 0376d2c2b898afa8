use std::time::Duration;

use tenfold::rng::Rng;

/// Requests of users at random moments, some users coming more often than
/// others: the n-th most frequent one as often as `1 / n^0.7` says.
#[derive(Debug)]
pub(super) struct Traffic {
    rng: Rng,
    /// The mean time between two requests, in seconds.
    gap: f64,
    users: u64,
    now: Duration,
}

impl Traffic {
    pub(super) fn new(a_second: u64, users: u64, seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            gap: 1.0 / a_second as f64,
            users,
            now: Duration::ZERO,
        }
    }

    /// When the next request comes.
    pub(super) fn arrival(&mut self) -> Duration {
        // Never the logarithm of zero.
        let gap = -self.gap * (1.0 - self.unit()).ln();
        self.now += Duration::from_secs_f64(gap);
        self.now
    }

    /// Whose it is.
    pub(super) fn user(&mut self) -> u64 {
        // The inverse of the distribution, taken as continuous.
        let rank = self.users as f64 * self.unit().powf(1.0 / (1.0 - ALPHA));
        (rank as u64).min(self.users - 1)
    }

    /// Whether something happens that does so in this share of all cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// One of so many, all alike.
    pub(super) fn one_of(&mut self, choices: usize) -> usize {
        self.rng.below(choices as u64) as usize
    }

    /// A number in `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const ALPHA: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_at_their_rate_and_few_users_come_often() {
        let mut traffic = Traffic::new(1_000, 10_000, 1);
        let mut often = 0;
        let mut last = Duration::ZERO;
        for _ in 0..100_000 {
            let now = traffic.arrival();
            assert!(now >= last);
            last = now;
            often += u64::from(traffic.user() < 100);
        }
        // Ten standard deviations of a sum of so many gaps.
        assert!((last.as_secs_f64() - 100.0).abs() < 3.2, "{last:?}");
        // 100^0.3 of 10 000^0.3: a quarter.
        assert!((24_000..26_400).contains(&often), "{often}");
    }
}
