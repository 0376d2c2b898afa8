//! The filters' own times; against rivals they are measured by `compare`.
//!
//! `cargo bench --bench bloom` measures, `cargo bench -- --test` runs each
//! loop once.

use criterion::{BenchmarkId, Criterion, Throughput};
use tenfold::bloom::{
    AtomicBloomFilter, BloomFilter, InstructionSet, Layout, RotatingBloomFilter,
    ScalableBloomFilter, SplitBlockFilter,
};
use tenfold::hash::StableKey;
use tenfold::rng::Rng;

/// Keys in a filter: 512 KiB at ten bits each.
const KEYS: usize = 400_000;

/// Operations per measured batch.
const OPERATIONS: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hash(&mut criterion);
    plain(&mut criterion);
    others(&mut criterion);
    bytes(&mut criterion);
    criterion.final_summary();
}

/// The stable hash alone.
fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash/stable");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let numbers = keys(0, OPERATIONS);
    let words: Vec<String> = numbers.iter().map(|key| format!("{key:024x}")).collect();
    let pairs: Vec<(u64, u64)> = numbers.iter().map(|&key| (key, !key)).collect();
    group.bench_function("u64", |bencher| {
        bencher.iter(|| numbers.iter().fold(0, |all, key| all ^ key.stable_hash(0)));
    });
    group.bench_function("24 bytes", |bencher| {
        bencher.iter(|| words.iter().fold(0, |all, key| all ^ key.stable_hash(0)));
    });
    group.bench_function("(u64, u64)", |bencher| {
        bencher.iter(|| pairs.iter().fold(0, |all, key| all ^ key.stable_hash(0)));
    });
    group.finish();
}

/// Every layout and every set of instructions of the plain filter.
fn plain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bloom");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let builder = || BloomFilter::builder().items(KEYS as u64).rate(0.01);
    let mut filters = Vec::new();
    for set in InstructionSet::ALL {
        if set.is_available() {
            let filter = builder().instruction_set(set).build();
            filters.push((format!("blocked, {set}"), filter));
        }
    }
    for layout in [Layout::Paired, Layout::Standard] {
        filters.push((layout.to_string(), builder().layout(layout).build()));
    }
    let (present, absent) = (keys(0, OPERATIONS), keys(1, OPERATIONS));
    for (name, filter) in filters {
        let mut filter = filter.expect("a valid rate");
        filter.insert_many(&keys(0, KEYS));
        let id = |operation: &str| BenchmarkId::new(operation, &name);
        group.bench_function(id("hit"), |bencher| {
            bencher.iter(|| assert!(present.iter().all(|key| filter.contains(key))));
        });
        group.bench_function(id("miss"), |bencher| {
            bencher.iter(|| {
                let found = absent.iter().filter(|key| filter.contains(*key)).count();
                assert!(found < OPERATIONS / 50);
            });
        });
        group.bench_function(id("contains_many"), |bencher| {
            bencher.iter(|| {
                let mut found = 0;
                filter.contains_many(&present, |_, there| found += usize::from(there));
                assert_eq!(found, OPERATIONS);
            });
        });
        group.bench_function(id("insert"), |bencher| {
            bencher.iter(|| {
                for key in &present {
                    filter.insert(key);
                }
            });
        });
    }
    group.finish();
}

/// The other filters.
fn others(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bloom/others");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let all = keys(0, KEYS);
    let present = keys(0, OPERATIONS);
    let atomic = AtomicBloomFilter::with_rate(KEYS as u64, 0.01).expect("a valid rate");
    atomic.insert_many(&all);
    group.bench_function("atomic, hit", |bencher| {
        bencher.iter(|| assert!(present.iter().all(|key| atomic.contains(key))));
    });
    let mut split = SplitBlockFilter::with_rate(KEYS as u64, 0.01).expect("a valid rate");
    for key in &all {
        split.insert(key);
    }
    group.bench_function("split block, hit", |bencher| {
        bencher.iter(|| assert!(present.iter().all(|key| split.contains(key))));
    });
    let mut scalable = ScalableBloomFilter::with_rate(1000, 0.01).expect("a valid rate");
    for key in &all {
        scalable.insert(key);
    }
    group.bench_function("scalable, hit", |bencher| {
        bencher.iter(|| assert!(present.iter().all(|key| scalable.contains(key))));
    });
    let rotating = RotatingBloomFilter::builder()
        .items(KEYS as u64)
        .rate(0.01)
        .build()
        .expect("valid settings");
    for key in &all {
        rotating.insert(key);
    }
    group.bench_function("rotating, hit", |bencher| {
        bencher.iter(|| assert!(present.iter().all(|key| rotating.contains(key))));
    });
    group.finish();
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bloom/bytes");
    let mut filter = BloomFilter::with_rate(KEYS as u64, 0.01).expect("a valid rate");
    filter.insert_many(&keys(0, KEYS));
    let written = filter.to_bytes();
    group.throughput(Throughput::Bytes(written.len() as u64));
    group.bench_function("write", |bencher| bencher.iter(|| filter.to_bytes()));
    group.bench_function("read", |bencher| {
        bencher.iter(|| BloomFilter::from_bytes(&written).expect("the bytes are whole"));
    });
    group.finish();
}

/// So many keys of one of two sets that share none.
fn keys(set: u64, count: usize) -> Vec<u64> {
    let mut rng = Rng::with_seed(set << 32);
    (0..count).map(|_| rng.next_u64()).collect()
}
