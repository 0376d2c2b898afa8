//! The estimate of other sizes, held against LRU simulated for every size.
//! Everything is seeded; nothing depends on time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tenfold::cache::sizing::{MissRatioCurve, SizeEstimator};
use tenfold::cache::{Cache, Policy};
use tenfold::rng::Rng;

/// Mean error over 100 even sizes that is allowed, in points of miss ratio.
const POINTS: f64 = 2.0;

#[test]
fn popular_keys_are_within_two_points() {
    let mut rng = Rng::with_seed(1);
    let zipf = |keys: f64, rng: &mut Rng| {
        let uniform = rng.next_u64() as f64 / u64::MAX as f64;
        keys.powf(uniform) as u64
    };
    let keys: Vec<u64> = (0..300_000).map(|_| zipf(100_000.0, &mut rng)).collect();
    assert_within(&keys, POINTS);
}

/// The whole curve is one step, which lies where the sample puts it.
#[test]
fn a_loop_is_within_two_points() {
    let keys: Vec<u64> = (0..300_000).map(|i| i % 10_000).collect();
    assert_within(&keys, POINTS);
}

/// So few keys that all are sampled, and so many requests that most go unseen.
#[test]
fn a_small_loop_is_within_two_points() {
    let keys: Vec<u64> = (0..1_000_000).map(|i| i % 500).collect();
    assert_within(&keys, POINTS);
}

#[test]
fn a_scan_is_within_two_points() {
    let mut rng = Rng::with_seed(1);
    let request = |i: u64| match i % 3 {
        0 => rng.below(2_000),
        _ => 1_000_000 + i,
    };
    assert_within(&(0..300_000).map(request).collect::<Vec<_>>(), POINTS);
}

/// What is popular changes, at moments of which some go unseen.
#[test]
fn traffic_that_changes_is_within_two_points() {
    let mut rng = Rng::with_seed(1);
    let keys: Vec<u64> = (0..600_000u64)
        .map(|i| i / 60_000 * 1_000_000 + rng.below(600))
        .collect();
    assert_within(&keys, POINTS);
}

/// Recorded traffic, where there is any: beside the repository, or in the
/// folder that `TENFOLD_TRACES` names.
#[test]
fn recorded_traffic_is_within_two_points() {
    let folder = match std::env::var_os("TENFOLD_TRACES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"),
    };
    let files: Vec<PathBuf> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "u64"))
        .collect();
    if files.is_empty() {
        println!("not run: there are no traces in {}", folder.display());
    }
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(&file).unwrap();
        let (words, _) = bytes.as_chunks::<8>();
        let keys: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_within(&keys, POINTS);
    }
}

/// With no more keys than are sampled, it is no estimate.
#[test]
fn a_stream_of_few_keys_is_told_exactly() {
    let mut rng = Rng::with_seed(1);
    let keys: Vec<u64> = (0..20_000)
        .map(|_| rng.below(1 + rng.clone().below(60)))
        .collect();
    let mut estimator = SizeEstimator::new(64);
    for key in &keys {
        estimator.record(key);
    }
    let (exact, curve) = (Exact::of(&keys), estimator.curve());
    for size in 0..=60 {
        let (truth, told) = (exact.miss_ratio_at(size), curve.miss_ratio_at(size));
        assert!((truth - told).abs() < 1e-9, "{size}: {truth} and {told}");
    }
    assert_near(curve.rate(), 1.0);
    assert_eq!(curve.references(), 20_000);
}

#[test]
fn tiny_streams_make_sense() {
    let mut estimator = SizeEstimator::new(0);
    let nothing = estimator.curve();
    assert_near(nothing.miss_ratio_at(10), 1.0);
    assert_eq!(nothing.entries_for(0.5), None);
    assert_eq!(nothing.entries_for(1.0), Some(0));
    assert_eq!(nothing.points().len(), 0);
    assert_eq!(nothing.to_string(), "nothing is known yet of other sizes");
    estimator.record("once");
    assert_near(estimator.curve().miss_ratio_at(u64::MAX), 1.0);
    estimator.record("once");
    assert_near(estimator.curve().miss_ratio_at(0), 1.0);
    assert_near(estimator.curve().miss_ratio_at(1), 0.5);
    assert_eq!(estimator.curve().entries_for(0.5), Some(1));
}

#[test]
fn more_entries_never_miss_more() {
    let mut rng = Rng::with_seed(3);
    let mut estimator = SizeEstimator::new(64);
    for _ in 0..400_000 {
        estimator.record_hash(rng.below(1 + rng.clone().below(20_000)));
    }
    let curve = estimator.curve();
    let ratios: Vec<f64> = (0..40_000).map(|size| curve.miss_ratio_at(size)).collect();
    assert!(ratios.windows(2).all(|pair| pair[0] >= pair[1]));
    assert!(ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)));
    for (entries, ratio) in curve.points() {
        assert!(curve.entries_for(ratio).unwrap() <= entries);
    }
}

/// A million different keys take no more room than the docs say.
#[test]
fn memory_is_bounded_whatever_the_keys() {
    for keys in [64, 1000, 14_336] {
        let mut estimator = SizeEstimator::new(keys);
        for key in 0..1_000_000u64 {
            estimator.record_hash(key);
        }
        assert!(estimator.curve().sampled_keys() <= keys);
        let (bytes, bound) = (estimator.bytes(), 40 * keys + 110_000);
        assert!(bytes <= bound, "{bytes} of {bound} for {keys} keys");
    }
}

/// What a cache notes, and so what its estimate costs, is bounded: everything
/// in the beginning, one look-up in 128 in the end. Counted, not timed.
#[test]
fn cost_is_bounded() {
    // The second for so long that it is noted as rarely as can be.
    let long = 6_000_000u64;
    let runs = [
        (10, 100, long / 3),
        (1000, 2000, long),
        (200_000, 100_000, long / 3),
    ];
    for (keys, entries, requests) in runs {
        let cache = cache(entries);
        let mut rng = Rng::with_seed(1);
        for _ in 0..requests {
            look_aside(&cache, rng.below(keys));
        }
        let curve = cache.sizing().unwrap();
        // START * (1 + ln SPARSE) + the rest / SPARSE, and what a window may
        // overshoot.
        let bound = 192_000 + requests / 128 + 16_384;
        let noted = curve.recorded();
        assert!(noted <= bound, "{noted} of {bound} for {keys} keys");
        assert!(noted > 32_768, "{noted}");
    }
}

#[test]
fn a_cache_that_was_not_asked_estimates_nothing() {
    let cache: Cache<u64, u64> = Cache::new(10);
    cache.insert(1, 1);
    cache.get(&1);
    assert_eq!(cache.sizing(), None);
}

/// A key that is read in vain and then stored was asked for once; one that is
/// stored unasked, too.
#[test]
fn a_miss_and_its_insertion_count_once() {
    let cache = cache(100);
    for key in 0..100 {
        look_aside(&cache, key);
    }
    assert_eq!(cache.sizing().unwrap().references(), 100);
    for key in 100..150 {
        cache.get_with(key, || ()).unwrap();
    }
    assert_eq!(cache.sizing().unwrap().references(), 150);
    for key in 150..200 {
        cache.insert(key, ());
    }
    assert_eq!(cache.sizing().unwrap().references(), 200);
    // Nobody asks for what is replaced.
    for key in 190..200 {
        cache.insert(key, ());
    }
    assert_eq!(cache.sizing().unwrap().references(), 200);
}

/// No cache has what was removed, however large.
#[test]
fn a_removed_key_misses_at_any_size() {
    let cache = cache(100);
    for _ in 0..10 {
        look_aside(&cache, 1);
        cache.invalidate(&1);
    }
    assert_near(cache.sizing().unwrap().miss_ratio_at(1000), 1.0);
    for _ in 0..10 {
        look_aside(&cache, 1);
        cache.invalidate_all();
    }
    assert_near(cache.sizing().unwrap().miss_ratio_at(1000), 1.0);
}

/// What the curve says of the present size is what a cache of that size does.
#[test]
fn the_curve_of_an_lru_cache_tells_its_own_misses() {
    let cache = Cache::builder()
        .max_entries(5_000)
        .policy(Policy::Lru)
        .estimate_sizes()
        .seed(1)
        .build()
        .unwrap();
    let mut rng = Rng::with_seed(1);
    for _ in 0..400_000 {
        look_aside(&cache, rng.below(1 + rng.clone().below(20_000)));
    }
    let misses = 1.0 - cache.stats().hit_ratio().unwrap();
    let told = cache.sizing().unwrap().miss_ratio_at(5_000);
    assert!((misses - told).abs() < 0.02, "{misses} and {told}");
}

/// Entries that expire are read another way; they are noted all the same.
#[test]
fn a_timed_cache_estimates_too() {
    let time = tenfold::time::ManualClock::new();
    let cache = Cache::builder()
        .max_entries(100)
        .time_to_live(std::time::Duration::from_secs(60))
        .clock(time.clock())
        .estimate_sizes()
        .seed(1)
        .build()
        .unwrap();
    for i in 0..10_000u64 {
        look_aside(&cache, i % 50);
    }
    let curve = cache.sizing().unwrap();
    assert_eq!(curve.references(), 10_000);
    assert!(curve.miss_ratio_at(50) < 0.006);
    assert!(curve.miss_ratio_at(49) > 0.99);
}

#[test]
fn threads_are_all_heard() {
    let cache = cache(10_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(thread);
                for _ in 0..100_000 {
                    look_aside(cache, rng.below(5_000));
                }
            });
        }
    });
    let curve = cache.sizing().unwrap();
    let told = curve.references();
    // Every look-up, and no more than the keys that two threads may have missed
    // and stored at once.
    assert!((400_000..405_000).contains(&told), "{told}");
    // Each of the 5000 keys misses once, and then fits.
    assert!(curve.miss_ratio_at(6_000) < 0.03, "{curve}");
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
}

fn cache(entries: usize) -> Cache<u64, ()> {
    Cache::builder()
        .max_entries(entries)
        .estimate_sizes()
        .seed(1)
        .build()
        .unwrap()
}

fn look_aside(cache: &Cache<u64, ()>, key: u64) {
    if cache.get(&key).is_none() {
        cache.insert(key, ());
    }
}

/// Both the estimator and a cache's own estimate, on average over the sizes.
fn assert_within(keys: &[u64], points: f64) {
    let exact = Exact::of(keys);
    let mut estimator = SizeEstimator::new(14_336);
    let cache = cache(exact.unique / 10 + 1);
    for &key in keys {
        estimator.record(&key);
        look_aside(&cache, key);
    }
    for (name, curve) in [
        ("estimator", estimator.curve()),
        ("cache", cache.sizing().unwrap()),
    ] {
        let error = exact.error_of(&curve);
        println!("{name}: {error:.2} points");
        assert!(error < points, "{name}: {error} points\n{curve}");
    }
}

/// LRU caches of every size, by the distances in a list in order of use: a
/// Fenwick tree over the requests counts those that are the latest of their
/// key.
struct Exact {
    hits: Vec<u64>,
    references: u64,
    unique: usize,
}

impl Exact {
    fn of(keys: &[u64]) -> Self {
        let mut tree = vec![0i32; keys.len() + 1];
        let mut latest: HashMap<u64, usize> = HashMap::new();
        let mut hits = vec![0];
        let add = |tree: &mut Vec<i32>, mut at: usize, by: i32| {
            while at < tree.len() {
                tree[at] += by;
                at += at & at.wrapping_neg();
            }
        };
        for (at, &key) in (1..).zip(keys) {
            if let Some(before) = latest.insert(key, at) {
                let (mut below, mut node) = (0, before);
                while node > 0 {
                    below += tree[node];
                    node -= node & node.wrapping_neg();
                }
                let distance = latest.len() - below as usize + 1;
                hits.resize(hits.len().max(distance + 1), 0);
                hits[distance] += 1;
                add(&mut tree, before, -1);
            }
            add(&mut tree, at, 1);
        }
        for size in 1..hits.len() {
            hits[size] += hits[size - 1];
        }
        Self {
            hits,
            references: keys.len() as u64,
            unique: latest.len(),
        }
    }

    fn miss_ratio_at(&self, entries: u64) -> f64 {
        let hits = self.hits[(entries as usize).min(self.hits.len() - 1)];
        1.0 - hits as f64 / self.references as f64
    }

    /// In points, on average over 100 even sizes up to that of all keys.
    fn error_of(&self, curve: &MissRatioCurve) -> f64 {
        let error = |part: usize| {
            let size = (self.unique * part / 100).max(1) as u64;
            (self.miss_ratio_at(size) - curve.miss_ratio_at(size)).abs()
        };
        (1..=100).map(error).sum::<f64>()
    }
}

/// The simulation is itself held against the plainest one.
#[test]
fn the_simulation_is_that_of_a_list_in_order_of_use() {
    let mut rng = Rng::with_seed(5);
    let keys: Vec<u64> = (0..3_000)
        .map(|_| rng.below(4 + rng.clone().below(12)))
        .collect();
    let exact = Exact::of(&keys);
    for capacity in 1..16 {
        let (mut order, mut misses) = (Vec::new(), 0);
        for &key in &keys {
            match order.iter().position(|&k| k == key) {
                Some(place) => _ = order.remove(place),
                None => misses += 1,
            }
            if order.len() == capacity {
                order.remove(0);
            }
            order.push(key);
        }
        let told = exact.miss_ratio_at(capacity as u64) * keys.len() as f64;
        assert!((told - f64::from(misses)).abs() < 1e-6);
    }
}
