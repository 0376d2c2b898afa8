use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::time::{Jitter, ManualClock};

use super::SEED;

/// A cache that is filled in one moment: how many entries expire in the worst
/// second.
#[derive(Debug, PartialEq)]
pub(crate) struct Avalanche {
    pub(crate) entries: u64,
    pub(crate) time_to_live: Duration,
    /// The length of the window over which jitter spreads them, in seconds.
    pub(crate) window: u64,
    pub(crate) plain: u64,
    pub(crate) spread: u64,
    /// What chance allows a second: the mean and four of its square roots.
    pub(crate) allowed: u64,
}

impl Avalanche {
    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        let window = TIME_TO_LIVE.as_secs() / 10;
        let mean = ENTRIES as f64 / window as f64;
        let avalanche = Self {
            entries: ENTRIES,
            time_to_live: TIME_TO_LIVE,
            window,
            plain: worst_second(Jitter::none()),
            spread: worst_second(Jitter::fraction(0.1).shorten()),
            allowed: (mean + 4.0 * mean.sqrt()) as u64,
        };
        if avalanche.spread > avalanche.allowed {
            broken.push(format!(
                "{} entries expired in one second, expected at most {}",
                avalanche.spread, avalanche.allowed
            ));
        }
        avalanche
    }
}

/// Counts what is gone after each second.
fn worst_second(jitter: Jitter) -> u64 {
    let time = ManualClock::new();
    let cache = Cache::builder()
        // Several shards leave up to a 64th of their room unused.
        .max_entries((ENTRIES + ENTRIES / 32) as usize)
        .time_to_live(TIME_TO_LIVE)
        .jitter(jitter)
        .clock(time.clock())
        .seed(SEED)
        .build()
        .expect("a size, a time-to-live and a tenth of jitter are valid");
    for key in 0..ENTRIES {
        cache.insert(key, ());
    }
    let mut left = ENTRIES;
    let mut worst = 0;
    for _ in 0..=TIME_TO_LIVE.as_secs() {
        time.advance(Duration::from_secs(1));
        cache.purge_expired();
        let now = cache.len() as u64;
        worst = worst.max(left - now);
        left = now;
    }
    worst
}

const ENTRIES: u64 = 100_000;
const TIME_TO_LIVE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_leaves_only_what_chance_makes_uneven() {
        let mut broken = Vec::new();
        let avalanche = Avalanche::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(avalanche.plain, 100_000);
        assert!(avalanche.spread >= 100_000 / 60);
    }
}
