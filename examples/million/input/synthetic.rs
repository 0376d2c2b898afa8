use std::fmt;

use tenfold::rng::Rng;

use super::Skipped;
use super::requests::{Collector, Requests};
use crate::show::count;

/// A day of made-up traffic with the habits of a real site's log: few pages
/// asked for all the time, many asked for once, a busy evening, and news that
/// everybody wants at the same moment.
///
/// The shape is that of public HTTP logs (Zipf exponents near 1, about 46 % of
/// the URLs asked for a single time); the same seed gives the same requests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Synthetic {
    pub(crate) requests: usize,
    /// Pages that compete for popularity.
    pub(crate) core: usize,
    /// The exponent of their popularity: page `r` is asked for `1 / r^alpha`
    /// as often as the first.
    pub(crate) alpha: f64,
    /// The share of all keys that are asked for exactly once.
    pub(crate) one_hit_keys: f64,
    /// How much busier than the mean the busiest hour is, and quieter the
    /// quietest.
    pub(crate) swing: f64,
    /// The share of the pages that change places in popularity every hour.
    pub(crate) drift: f64,
    /// The share of the requests that go to the flash crowd's pages.
    pub(crate) crowd: f64,
    pub(crate) seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            requests: 1_000_000,
            core: 60_000,
            alpha: 1.05,
            one_hit_keys: 0.46,
            swing: 0.7,
            drift: 0.01,
            crowd: 0.05,
            seed: 1_000_000,
        }
    }
}

impl fmt::Display for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests in 24 h, Zipf alpha {} over {} pages, {:.0} % of the keys asked for once, \
             day and night ±{:.0} %, {:.0} % of the pages change places every hour, flash crowd at \
             20:30: {:.0} % of the day's requests in 15 minutes on {CROWD_PAGES} new pages, seed {}",
            count(self.requests as u64),
            self.alpha,
            count(self.core as u64),
            self.one_hit_keys * 100.0,
            self.swing * 100.0,
            self.drift * 100.0,
            self.crowd * 100.0,
            self.seed,
        )
    }
}

impl Synthetic {
    /// Makes the requests.
    pub(crate) fn generate(&self) -> Requests {
        let mut rng = Rng::with_seed(self.seed);
        let crowd = (self.requests as f64 * self.crowd) as usize;
        // How many single requests are needed is known only once the core has
        // been drawn, and they take requests from it: a round of guessing
        // comes close enough, and the crowd makes up the difference.
        let mut singles = self.requests / 50;
        let mut core = Vec::new();
        for _ in 0..2 {
            core = self.core(&mut rng, self.requests.saturating_sub(crowd + singles));
            singles = self
                .singles_beside(&core)
                .min(self.requests.saturating_sub(crowd));
        }
        core.truncate(self.requests.saturating_sub(singles));
        let crowd = self.requests - core.len() - singles;
        let mut stream: Vec<(u64, Page)> = core;
        for single in 0..singles {
            stream.push((self.second(&mut rng), Page::Single(single as u32)));
        }
        for _ in 0..crowd {
            stream.push((crowd_second(&mut rng), Page::Crowd(crowd_page(&mut rng))));
        }
        stream.sort_unstable();
        let mut collector = Collector::default();
        for (second, page) in stream {
            let name = match page {
                Page::Core(page) => format!("/page/{page}"),
                Page::Single(page) => format!("/search?q={page}"),
                Page::Crowd(page) => format!("/breaking-news/{page}"),
            };
            collector.push(name.as_bytes(), Some(second), 0);
        }
        collector.finish(Skipped::default(), vec![format!("synthetic: {self}")])
    }

    /// Requests for the core, in the order of their time.
    fn core(&self, rng: &mut Rng, requests: usize) -> Vec<(u64, Page)> {
        let mut seconds: Vec<u64> = (0..requests).map(|_| self.second(rng)).collect();
        seconds.sort_unstable();
        let zipf = Zipf::new(self.core, self.alpha);
        let mut page_at_rank: Vec<u32> = (0..self.core as u32).collect();
        let swaps = (self.core as f64 * self.drift / 2.0) as usize;
        let mut hour = 0;
        seconds
            .into_iter()
            .map(|second| {
                while hour < second / 3600 {
                    hour += 1;
                    for _ in 0..swaps {
                        let (a, b) = (rng.below(self.core as u64), rng.below(self.core as u64));
                        page_at_rank.swap(a as usize, b as usize);
                    }
                }
                (second, Page::Core(page_at_rank[zipf.rank(unit(rng))]))
            })
            .collect()
    }

    /// How many keys asked for once bring their share to what is wanted.
    fn singles_beside(&self, core: &[(u64, Page)]) -> usize {
        let mut count = vec![0u32; self.core];
        for (_, page) in core {
            if let Page::Core(page) = page {
                count[*page as usize] += 1;
            }
        }
        let keys = count.iter().filter(|&&count| count > 0).count() as f64 + f64::from(CROWD_PAGES);
        let once = count.iter().filter(|&&count| count == 1).count() as f64;
        // Solves (once + x) / (keys + x) = share for x; a negative answer,
        // when the core alone has too many, becomes zero.
        ((self.one_hit_keys * keys - once) / (1.0 - self.one_hit_keys)) as usize
    }

    /// A second of the day: a cosine with its top at 20:00, by rejection.
    fn second(&self, rng: &mut Rng) -> u64 {
        loop {
            let second = rng.below(DAY);
            let turn = (second as f64 / DAY as f64 - 20.0 / 24.0) * std::f64::consts::TAU;
            if unit(rng) * (1.0 + self.swing) < 1.0 + self.swing * turn.cos() {
                return MIDNIGHT + second;
            }
        }
    }
}

/// Sorts by kind only to make the order within one second a fixed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Page {
    Core(u32),
    Single(u32),
    Crowd(u32),
}

/// A crowd comes at once and goes slowly: the square of a uniform number lies
/// near zero more often than not.
fn crowd_second(rng: &mut Rng) -> u64 {
    let x = unit(rng);
    MIDNIGHT + 20 * 3600 + 30 * 60 + (x * x * 900.0) as u64
}

/// Half of the crowd reads the first page, a quarter the second, and so on.
fn crowd_page(rng: &mut Rng) -> u32 {
    rng.next_u64().trailing_zeros().min(CROWD_PAGES - 1)
}

/// Ranks with probabilities that fall as a power.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize, alpha: f64) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=ranks)
                .map(|rank| {
                    sum += (rank as f64).powf(-alpha);
                    sum
                })
                .collect(),
        )
    }

    /// The rank, from 0, at the point `unit` in `0.0..1.0` of the cumulated
    /// probability.
    fn rank(&self, unit: f64) -> usize {
        let total = self.0.last().copied().unwrap_or(0.0);
        let last = self.0.len().saturating_sub(1);
        self.0.partition_point(|&sum| sum <= unit * total).min(last)
    }
}

/// A number in `0.0..1.0` from 53 random bits.
fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

const DAY: u64 = 24 * 3600;
/// 2026-01-01 00:00:00 UTC.
const MIDNIGHT: u64 = 1_767_225_600;
const CROWD_PAGES: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Synthetic {
        Synthetic {
            requests: 40_000,
            core: 3_000,
            ..Synthetic::default()
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let (a, b) = (small().generate(), small().generate());
        assert_eq!(a.keys, b.keys);
        assert_eq!(a.seconds, b.seconds);
        let other = Synthetic { seed: 5, ..small() }.generate();
        assert_ne!(a.keys, other.keys);
    }

    #[test]
    fn it_has_the_habits_it_claims() {
        let requests = small().generate();
        assert_eq!(requests.len(), 40_000);
        let mut count = vec![0u32; requests.unique()];
        for &key in &requests.keys {
            count[key as usize] += 1;
        }
        let once = count.iter().filter(|&&count| count == 1).count() as f64;
        let share = once / requests.unique() as f64;
        assert!((share - 0.46).abs() < 0.01, "{share}");
        let seconds = requests.seconds.unwrap();
        let in_hour = |hour: u64| {
            seconds
                .iter()
                .filter(|&&second| (second - MIDNIGHT) / 3600 == hour)
                .count()
        };
        assert!(in_hour(19) > 3 * in_hour(8));
        assert!(in_hour(20) > in_hour(19) + 1_500);
    }

    #[test]
    fn a_tiny_day_is_no_problem() {
        for (requests, core) in [(1, 1), (10, 1), (100, 7)] {
            let made = Synthetic {
                requests,
                core,
                ..Synthetic::default()
            }
            .generate();
            assert_eq!(made.len(), requests);
        }
    }
}
