//! The cache's own locking under every order of events that a scheduler may
//! choose: two keys in two shards, and bounds so low that each must make room
//! in the other's. Shuttle reports deadlocks, and loops that do not end.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::{Cache, Compute, Policy};
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

#[test]
fn nobody_reads_what_was_loaded_before_an_invalidation() {
    explore(|| {
        let cache = cache(1);
        let [key, other] = keys(&cache);
        let source = AtomicU64::new(0);
        let load = || source.load(Ordering::SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| cache.get_with(key, load).map(|_| ()));
            scope.spawn(|| _ = cache.insert(other, 0));
            scope.spawn(|| {
                let written = source.fetch_add(1, Ordering::SeqCst) + 1;
                match thread_rng().gen_range(0..5) {
                    0 => cache.invalidate(&key),
                    1 => cache.invalidate_all(),
                    2 => cache.invalidate_if(|_, _| true),
                    3 => drop(cache.drain()),
                    _ => _ = cache.remove(&key),
                }
                assert!(cache.get(&key).is_none_or(|read| read >= written));
                let read = cache.get_with(key, load);
                assert!(read.is_ok_and(|read| read >= written));
            });
        });
        let stored = cache.get(&key);
        assert!(stored.is_none_or(|version| version == 1), "stale");
    });
}

/// An insertion that needs room in another shard lets its own go meanwhile: a
/// load that began then must not outlast it either.
#[test]
fn an_insertion_is_not_overwritten_by_a_load_that_began_before() {
    explore(|| {
        let cache = cache(1);
        let [key, other] = keys(&cache);
        cache.insert(other, 0);
        let inserted = AtomicU64::new(0);
        let late_load = || {
            while inserted.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            0
        };
        thread::scope(|scope| {
            scope.spawn(|| cache.get_with(key, late_load).map(|_| ()));
            scope.spawn(|| {
                cache.insert(key, 1);
                inserted.store(1, Ordering::SeqCst);
            });
        });
        assert_eq!(cache.get(&key), Some(1));
    });
}

#[test]
fn two_shards_never_hold_more_than_the_bound() {
    explore(|| {
        let cache = cache(3);
        let [key, other] = keys(&cache);
        thread::scope(|scope| {
            for own in [key, other] {
                let cache = &cache;
                scope.spawn(move || {
                    for value in [1, 2, 3] {
                        cache.insert(own, value);
                        assert_bounded(cache, 3);
                    }
                    cache.remove(&own);
                });
            }
            scope.spawn(|| {
                assert_bounded(&cache, 3);
                cache.get_with(key, || 2).expect("no circle");
                assert_bounded(&cache, 3);
            });
        });
        assert_nothing_lost(&cache, 3);
    });
}

#[test]
fn two_shards_that_need_each_others_room_both_get_on() {
    explore(|| {
        let cache = cache(3);
        let keys = keys(&cache);
        thread::scope(|scope| {
            for own in keys {
                let cache = &cache;
                scope.spawn(move || {
                    cache.insert(own, 3);
                    cache.insert(own, 1);
                    cache.insert(own, 3);
                });
            }
        });
        assert_eq!(cache.len(), 1);
        assert_nothing_lost(&cache, 3);
    });
}

/// An insertion that had been admitted looked for room for ever once the bound
/// had been lowered below its weight.
#[test]
fn an_insertion_that_meets_a_lowered_bound_ends() {
    explore(|| {
        let cache = cache(3);
        let [key, other] = keys(&cache);
        thread::scope(|scope| {
            scope.spawn(|| _ = cache.insert(key, 3));
            scope.spawn(|| cache.get_with(other, || 3).map(|_| ()));
            scope.spawn(|| {
                cache.resize_weight(2);
                assert_bounded(&cache, 2);
            });
        });
        assert_bounded(&cache, 2);
        assert_nothing_lost(&cache, 2);
    });
}

#[test]
fn computations_lose_no_update() {
    explore(|| {
        let cache = cache(8);
        let [key, other] = keys(&cache);
        let add = |value: Option<u64>| Compute::Put(value.unwrap_or(0) + 1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| cache.compute(key, add).map(|_| ()));
            }
            scope.spawn(|| _ = cache.insert(other, 1));
            scope.spawn(|| cache.get_with(key, || 0).map(|_| ()));
        });
        assert_eq!(cache.get(&key), Some(2));
    });
}

/// Values that leave are handed on once, whoever makes them leave.
#[test]
fn whatever_comes_leaves_once() {
    explore(|| {
        let told = Arc::new(AtomicI64::new(0));
        let listener = Arc::clone(&told);
        let cache: Cache<u64, u64> = Cache::builder()
            .max_entries(1)
            .shards(2)
            .seed(1)
            .eviction_listener(move |_, _, _| {
                listener.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .expect("bounded");
        let [key, other] = keys(&cache);
        thread::scope(|scope| {
            scope.spawn(|| _ = cache.insert(key, 1));
            scope.spawn(|| _ = cache.insert(other, 1));
            scope.spawn(|| cache.invalidate_all());
        });
        let left = 2 - cache.len() as i64;
        assert_eq!(told.load(Ordering::SeqCst), left);
    });
}

/// Two shards; an entry weighs its value.
fn cache(max_weight: u64) -> Cache<u64, u64> {
    Cache::builder()
        .max_weight(max_weight)
        .weigher(|_, value| *value as u32)
        .policy(Policy::Lru)
        .shards(2)
        .seed(1)
        .build()
        .expect("bounded and weighed")
}

/// A key in each shard.
fn keys(cache: &Cache<u64, u64>) -> [u64; 2] {
    let shard = |key: &u64| cache.core.hash(key) >> 63;
    [0, 1].map(|wanted| {
        let key = (0..).find(|key| shard(key) == wanted);
        key.expect("half of all keys")
    })
}

/// With both locks held, which nothing else ever does, the sum is exact.
fn assert_bounded(cache: &Cache<u64, u64>, bound: u64) {
    let (one, two) = (cache.core.lock_nth(0), cache.core.lock_nth(1));
    let weight = one.used.weight + two.used.weight;
    assert!(weight <= bound, "{weight} of {bound}");
}

/// Every unit of the bound can still be used.
fn assert_nothing_lost(cache: &Cache<u64, u64>, bound: u64) {
    cache.invalidate_all();
    for key in 0..bound {
        cache.insert(key, 1);
    }
    assert_eq!(cache.weight(), bound);
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(ITERATIONS, model);
}

const ITERATIONS: usize = 2000;
