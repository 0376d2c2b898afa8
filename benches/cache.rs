//! The cache's own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --bench cache` measures, `cargo bench -- --test` runs each
//! loop once.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tenfold::cache::{Cache, Policy};
use tenfold::rng::Rng;

/// Entries a cache holds here: more than the processor's own caches do.
const CAPACITY: usize = 100_000;

/// Operations per measured batch.
const OPERATIONS: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hit(&mut criterion);
    miss(&mut criterion);
    get_or_insert(&mut criterion);
    churn(&mut criterion);
    load(&mut criterion);
    criterion.final_summary();
}

/// Reads of resident keys, at random. The cache is half full, so that every key
/// is resident under every policy.
fn hit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/hit");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for policy in Policy::ALL {
        let cache = with_keys(policy, CAPACITY as u64 / 2);
        let keys = uniform(CAPACITY as u64 / 2);
        group.bench_function(policy.to_string(), |bencher| {
            bencher.iter(|| {
                let found = keys.iter().filter(|key| cache.get(key).is_some());
                assert_eq!(found.count(), OPERATIONS);
            });
        });
    }
    group.finish();
}

/// Reads of keys that are not there.
fn miss(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/miss");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let cache = filled(Policy::Adaptive);
    let keys: Vec<u64> = uniform(u64::from(u32::MAX))
        .iter()
        .map(|key| key + CAPACITY as u64 * 2)
        .collect();
    group.bench_function("adaptive", |bencher| {
        bencher.iter(|| {
            assert!(keys.iter().all(|key| cache.get(key).is_none()));
        });
    });
    group.finish();
}

/// What most caches do all day: read, and insert on a miss, ten times as many
/// keys as fit, a few of them much more popular than the rest.
fn get_or_insert(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/get_or_insert_zipf");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let keys = zipf(CAPACITY * 10, 100 * OPERATIONS);
    for policy in Policy::ALL {
        let cache = filled(policy);
        let mut batches = keys.chunks(OPERATIONS).cycle();
        group.bench_function(policy.to_string(), |bencher| {
            bencher.iter_batched(
                || batches.next().unwrap_or_default(),
                |batch| {
                    for &key in batch {
                        match cache.get(&key) {
                            Some(value) => assert_eq!(value, key),
                            None => {
                                cache.insert(key, key);
                            }
                        }
                    }
                },
                BatchSize::SmallInput,
            );
        });
        assert!(cache.len() <= CAPACITY);
    }
    group.finish();
}

/// Nothing but new keys: every insertion evicts.
fn churn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/churn");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for policy in Policy::ALL {
        let cache = filled(policy);
        let mut next = CAPACITY as u64 * 2;
        group.bench_function(policy.to_string(), |bencher| {
            bencher.iter(|| {
                for _ in 0..OPERATIONS {
                    cache.insert(next, next);
                    next += 1;
                }
            });
        });
        assert!(cache.len() <= CAPACITY);
    }
    group.finish();
}

/// Loads that nobody else waits for.
fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/load");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let cache = filled(Policy::Adaptive);
    let mut next = CAPACITY as u64 * 2;
    group.bench_function("alone", |bencher| {
        bencher.iter(|| {
            for _ in 0..OPERATIONS {
                let value = cache.get_with(next, || black_box(next));
                assert_eq!(value.ok(), Some(next));
                next += 1;
            }
        });
    });
    group.finish();
}

/// A full cache of the keys from zero on.
fn filled(policy: Policy) -> Cache<u64, u64> {
    with_keys(policy, CAPACITY as u64)
}

fn with_keys(policy: Policy, keys: u64) -> Cache<u64, u64> {
    let builder = Cache::builder().max_entries(CAPACITY).policy(policy);
    let cache = builder.build().expect("a bound is set");
    for key in 0..keys {
        cache.insert(key, key);
    }
    // A 64th may lie idle with the shards.
    assert!(cache.len() as u64 > keys - keys / 32);
    cache
}

fn uniform(below: u64) -> Vec<u64> {
    let mut rng = Rng::with_seed(1);
    (0..OPERATIONS).map(|_| rng.below(below)).collect()
}

/// Keys of which the n-th is asked for in proportion to n^-0.99.
fn zipf(keys: usize, count: usize) -> Vec<u64> {
    let mut sum = 0.0;
    let upto: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-0.99);
            sum
        })
        .collect();
    let mut rng = Rng::with_seed(2);
    (0..count)
        .map(|_| {
            let point = rng.next_u64() as f64 / u64::MAX as f64 * sum;
            upto.partition_point(|&upto| upto < point) as u64
        })
        .collect()
}
