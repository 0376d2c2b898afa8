use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::time::{Jitter, ManualClock};

use super::{SEED, parallel};
use crate::input::Requests;
use crate::progress::Progress;

/// Hits by time-to-live, with the default policy.
#[derive(Debug)]
pub(crate) struct TimeToLive {
    /// The size of the bounded cache; the other has room for everything.
    pub(crate) capacity: usize,
    pub(crate) rows: Vec<TimeToLiveRow>,
    /// Requests a second that were assumed because the source has no times.
    pub(crate) assumed_rate: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct TimeToLiveRow {
    /// `None`: entries do not expire.
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) bounded_hits: u64,
    pub(crate) unbounded_hits: u64,
}

impl TimeToLive {
    pub(crate) fn measure(requests: &Requests, capacity: usize, progress: &Progress) -> Self {
        const ASSUMED_RATE: u64 = 1000;
        let made_up: Vec<u64>;
        let (seconds, assumed_rate) = if let Some(seconds) = &requests.seconds {
            (seconds, None)
        } else {
            made_up = (0..requests.len() as u64)
                .map(|at| at / ASSUMED_RATE)
                .collect();
            (&made_up, Some(ASSUMED_RATE))
        };
        let span = match (seconds.first(), seconds.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0,
        };
        let lives: Vec<Option<Duration>> = LIVES
            .into_iter()
            .filter(|&seconds| seconds < span)
            .map(|seconds| Some(Duration::from_secs(seconds)))
            .chain([None])
            .collect();
        let jobs: Vec<_> = lives
            .iter()
            .flat_map(|&life| [(life, capacity), (life, requests.unique())])
            .collect();
        progress.stage("effect of the time-to-live", jobs.len());
        let hits = parallel::each(&jobs, progress, |&(life, capacity)| {
            hits(&requests.keys, seconds, life, capacity)
        });
        let rows = lives
            .into_iter()
            .zip(hits.chunks_exact(2))
            .map(|(time_to_live, hits)| TimeToLiveRow {
                time_to_live,
                bounded_hits: hits[0],
                unbounded_hits: hits[1],
            })
            .collect();
        Self {
            capacity,
            rows,
            assumed_rate,
        }
    }
}

fn hits(keys: &[u32], seconds: &[u64], life: Option<Duration>, capacity: usize) -> u64 {
    let manual = ManualClock::new();
    let mut builder = Cache::builder()
        .max_entries(capacity)
        .clock(manual.clock())
        .jitter(Jitter::none())
        .shards(1)
        .seed(SEED);
    if let Some(life) = life {
        builder = builder.time_to_live(life);
    }
    let cache = builder
        .build()
        .expect("a size and a time-to-live are valid");
    let mut now = seconds.first().copied().unwrap_or(0);
    let mut hits = 0;
    for (&key, &second) in keys.iter().zip(seconds) {
        if second > now {
            manual.advance(Duration::from_secs(second - now));
            now = second;
        }
        if cache.get(&key).is_some() {
            hits += 1;
        } else {
            cache.insert(key, ());
        }
    }
    hits
}

/// A cache that was filled in one moment, as after a restart or a deployment,
/// and how many requests reach the origin when all of it expires.
#[derive(Debug)]
pub(crate) struct Cliff {
    pub(crate) entries: usize,
    pub(crate) time_to_live: Duration,
    /// Requests a second.
    pub(crate) rate: u64,
    /// Loads from the origin in each second, all entries living equally long.
    pub(crate) without: Vec<u32>,
    /// The same with lives shortened by up to [`Cliff::JITTER`].
    pub(crate) with: Vec<u32>,
}

impl Cliff {
    pub(crate) const JITTER: f64 = 0.1;

    pub(crate) fn measure(requests: &Requests, progress: &Progress) -> Self {
        const TIME_TO_LIVE: Duration = Duration::from_secs(300);
        const RATE: u64 = 1000;
        progress.stage("expiry cliff, without and with jitter", 2);
        let jitters = [Jitter::none(), Jitter::fraction(Self::JITTER).shorten()];
        let mut curves = parallel::each(&jitters, progress, |&jitter| {
            loads(requests, TIME_TO_LIVE, RATE, jitter)
        });
        let with = curves.pop().unwrap_or_default();
        let without = curves.pop().unwrap_or_default();
        Self {
            entries: requests.unique(),
            time_to_live: TIME_TO_LIVE,
            rate: RATE,
            without,
            with,
        }
    }

    pub(crate) fn peaks(&self) -> (u32, u32) {
        let peak = |curve: &[u32]| curve.iter().copied().max().unwrap_or(0);
        (peak(&self.without), peak(&self.with))
    }
}

/// Loads in each second: everything is inserted at second 0, then the
/// requests come in their order at a steady rate, from the start again at the
/// end.
fn loads(requests: &Requests, life: Duration, rate: u64, jitter: Jitter) -> Vec<u32> {
    /// Time moves in steps, so that lives that differ by less than a second
    /// do differ.
    const STEPS: u64 = 20;
    let manual = ManualClock::new();
    let cache = Cache::builder()
        .max_entries(requests.unique())
        .time_to_live(life)
        .jitter(jitter)
        .clock(manual.clock())
        .shards(1)
        .seed(SEED)
        .build()
        .expect("a size, a time-to-live and a tenth of jitter are valid");
    for key in 0..requests.unique() as u32 {
        cache.insert(key, ());
    }
    let mut keys = requests.keys.iter().cycle();
    let seconds = 2 * life.as_secs() + 60;
    (0..seconds)
        .map(|_| {
            let mut loads = 0;
            for _ in 0..STEPS {
                for &key in keys.by_ref().take((rate / STEPS) as usize) {
                    // A loader that gives a value cannot fail.
                    let _ = cache.get_with(key, || loads += 1);
                }
                manual.advance(Duration::from_secs(1) / STEPS as u32);
            }
            loads
        })
        .collect()
}

const LIVES: [u64; 7] = [10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Synthetic;

    fn small() -> Requests {
        Synthetic {
            requests: 5_000,
            core: 400,
            ..Synthetic::default()
        }
        .generate()
    }

    #[test]
    fn a_longer_life_never_costs_an_unbounded_cache_hits() {
        let effect = TimeToLive::measure(&small(), 100, &Progress::silent());
        assert!(
            effect
                .rows
                .is_sorted_by(|a, b| a.unbounded_hits <= b.unbounded_hits)
        );
        assert_eq!(effect.rows.last().unwrap().time_to_live, None);
        assert_eq!(effect.assumed_rate, None);
    }

    #[test]
    fn entries_live_as_long_as_they_are_told() {
        let keys = [0, 0, 0, 0];
        let life = Some(Duration::from_secs(60));
        assert_eq!(hits(&keys, &[100, 159, 161, 170], life, 9), 2);
        assert_eq!(hits(&keys, &[100, 159, 161, 170], None, 9), 3);
    }

    #[test]
    fn jitter_lowers_the_cliff() {
        let cliff = Cliff::measure(&small(), &Progress::silent());
        let (without, with) = cliff.peaks();
        assert!(without > 2 * with, "{without} {with}");
        assert_eq!(cliff.without[..300].iter().sum::<u32>(), 0);
        assert_eq!(cliff.with[..269].iter().sum::<u32>(), 0);
    }
}
