//! What the default policy is for: traffic on which least-recently-used fails,
//! and traffic on which nothing should be lost to it. Hits are counted, in
//! fixed sequences with a fixed seed; nothing here depends on time.

use tenfold::cache::{Cache, Policy};
use tenfold::rng::Rng;

const CAPACITY: usize = 1000;

/// The share of hits when each request that misses inserts its key.
fn hit_ratio(policy: Policy, requests: impl Iterator<Item = u64>) -> f64 {
    let cache = Cache::builder()
        .max_entries(CAPACITY)
        .policy(policy)
        .shards(1)
        .seed(1)
        .build()
        .unwrap();
    for key in requests {
        if cache.get(&key).is_none() {
            cache.insert(key, ());
        }
    }
    cache.stats().hit_ratio().unwrap()
}

/// Round and round over twice as many keys as fit: LRU evicts each key just
/// before it is asked for again, and the optimum hits half of the time.
#[test]
fn a_loop_larger_than_the_cache_still_hits() {
    let requests = || (0..100 * 2 * CAPACITY as u64).map(|i| i % (2 * CAPACITY as u64));
    assert!(hit_ratio(Policy::Lru, requests()) < 0.001);
    let adaptive = hit_ratio(Policy::Adaptive, requests());
    assert!(adaptive > 0.4, "{adaptive}");
}

/// 900 popular keys, and between any two requests for them two keys that are
/// asked for once. Only the popular ones can hit: a third of the requests.
#[test]
fn a_scan_does_not_wash_out_what_is_popular() {
    let requests = || {
        let mut rng = Rng::with_seed(1);
        (0..300_000u64).map(move |i| match i % 3 {
            0 => rng.below(900),
            _ => 1_000_000 + i,
        })
    };
    let lru = hit_ratio(Policy::Lru, requests());
    let adaptive = hit_ratio(Policy::Adaptive, requests());
    assert!(lru < 0.12, "{lru}");
    assert!(adaptive > 0.28, "{adaptive}");
}

/// Keys that are asked for a few times soon after they are new, and then never
/// again: there is nothing better than LRU to be had.
#[test]
fn nothing_is_lost_where_recency_is_all_there_is() {
    let requests = || {
        let mut rng = Rng::with_seed(1);
        (0..300_000u64).map(move |i| {
            // The further back, the less likely: a distance of exponential kind.
            let octave = 1 << rng.below(12);
            i / 2 - rng.below(octave).min(i / 2)
        })
    };
    let lru = hit_ratio(Policy::Lru, requests());
    let adaptive = hit_ratio(Policy::Adaptive, requests());
    assert!(adaptive > lru - 0.01, "{adaptive} where LRU has {lru}");
}

/// What is popular changes completely, five times. LRU forgets at once and
/// misses each key once; what was learned of the old keys has to be unlearned,
/// which may cost two more misses a key, and no more.
#[test]
fn a_change_of_what_is_popular_costs_few_misses() {
    const KEYS: u64 = 900;
    const CHANGES: u64 = 5;
    let requests = || {
        let mut rng = Rng::with_seed(1);
        (0..300_000u64).map(move |i| i / (300_000 / CHANGES) * 1_000_000 + rng.below(KEYS))
    };
    let misses = |policy| (1.0 - hit_ratio(policy, requests())) * 300_000.0;
    let once = (CHANGES * KEYS) as f64;
    assert!((misses(Policy::Lru) - once).abs() < 0.5);
    let adaptive = misses(Policy::Adaptive);
    assert!(adaptive < 3.0 * once, "{adaptive} misses for {once} keys");
}
