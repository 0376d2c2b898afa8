use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenfold::bloom::AtomicBloomFilter;
use tenfold::cache::read_through::{Loaded, ReadThrough, Request};
use tenfold::cache::{Cache, Guard};
use tenfold::time::ManualClock;

use super::SEED;

/// A million requests for keys that do not exist, which no cache of values can
/// answer: how many reach the store.
#[derive(Debug, PartialEq)]
pub(crate) struct Penetration {
    pub(crate) requests: u64,
    /// How many keys the first attack repeats.
    pub(crate) keys: u64,
    /// A thousand absent keys, asked for over and over for ten minutes.
    pub(crate) repeated: Attack,
    /// A million absent keys, each once: remembering them does not help.
    pub(crate) fresh: Attack,
    /// What remembering allows: every key once per negative time to live,
    /// which jitter shortens by up to a tenth.
    pub(crate) allowed_repeated: u64,
    /// What the filter allows: its share of false positives, with chance's
    /// leeway.
    pub(crate) allowed_fresh: u64,
}

/// Queries that reached the store.
#[derive(Debug, PartialEq)]
pub(crate) struct Attack {
    pub(crate) without: u64,
    pub(crate) with: u64,
}

impl Penetration {
    pub(crate) const NEGATIVE_TTL: Duration = Duration::from_secs(30);
    pub(crate) const RATE: f64 = 0.01;

    pub(super) fn measure(broken: &mut Vec<String>) -> Self {
        let expected = REQUESTS as f64 * Self::RATE;
        let penetration = Self {
            requests: REQUESTS,
            keys: REPEATED,
            repeated: Attack {
                without: attack(|n| n % REPEATED, None, None),
                with: attack(|n| n % REPEATED, Some(Self::NEGATIVE_TTL), None),
            },
            fresh: Attack {
                without: attack(|n| n, Some(Self::NEGATIVE_TTL), None),
                with: attack(|n| n, Some(Self::NEGATIVE_TTL), Some(guard())),
            },
            allowed_repeated: REPEATED * SECONDS * 10 / (9 * Self::NEGATIVE_TTL.as_secs()),
            allowed_fresh: (expected + 3.0 * expected.sqrt()) as u64,
        };
        for (name, with, allowed) in [
            (
                "negative entries",
                penetration.repeated.with,
                penetration.allowed_repeated,
            ),
            (
                "the guard",
                penetration.fresh.with,
                penetration.allowed_fresh,
            ),
        ] {
            if with > allowed {
                broken.push(format!(
                    "{name} let {with} queries for absent keys through, expected at most {allowed}"
                ));
            }
        }
        penetration
    }
}

/// Knows the keys that exist.
fn guard() -> Guard<u64> {
    let filter = AtomicBloomFilter::with_rate(EXISTING, Penetration::RATE)
        .expect("a rate of one in a hundred can be had");
    let filter = Arc::new(filter);
    for key in 0..EXISTING {
        filter.insert(&key);
    }
    let asked = Arc::clone(&filter);
    Guard::new(
        move |key| asked.contains(key),
        move |key| {
            filter.insert(key);
        },
    )
}

/// Spreads a million requests over ten minutes and counts the queries.
fn attack(
    absent: impl Fn(u64) -> u64,
    negative_ttl: Option<Duration>,
    guard: Option<Guard<u64>>,
) -> u64 {
    let time = ManualClock::new();
    let cache = Cache::builder()
        .max_entries(10_000)
        .clock(time.clock())
        .seed(SEED);
    let queries = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&queries);
    let mut builder = ReadThrough::builder(cache).loader(move |request: Request<u64, u64>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let key = *request.key();
        Ok::<_, std::convert::Infallible>(if key < EXISTING {
            Loaded::value(key)
        } else {
            Loaded::absent()
        })
    });
    if let Some(negative_ttl) = negative_ttl {
        builder = builder.negative_ttl(negative_ttl);
    }
    if let Some(guard) = guard {
        builder = builder.guard(guard);
    }
    let cache = builder.build().expect("times that fit together");
    for request in 0..REQUESTS {
        if request > 0 && request.is_multiple_of(REQUESTS / SECONDS) {
            time.advance(Duration::from_secs(1));
        }
        // A loader that cannot fail does not.
        let _ = cache.get(&(EXISTING + absent(request)));
    }
    queries.load(Ordering::Relaxed)
}

const REQUESTS: u64 = 1_000_000;
const SECONDS: u64 = 600;
const REPEATED: u64 = 1_000;
const EXISTING: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_hardly_reach_the_store() {
        let mut broken = Vec::new();
        let penetration = Penetration::measure(&mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(penetration.repeated.without, REQUESTS);
        assert_eq!(penetration.fresh.without, REQUESTS);
    }
}
