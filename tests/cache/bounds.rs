//! What a cache may hold: at every moment, for any weight, from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use crate::support::Census;
use tenfold::cache::{BuildError, Cache, Compute, Policy, RemovalCause};

#[test]
fn a_cache_without_a_bound_is_not_built() {
    let unbounded = Cache::<u32, u32>::builder().build();
    assert_eq!(unbounded.unwrap_err(), BuildError::Unbounded);
    let unweighed = Cache::<u32, u32>::builder().max_weight(5).build();
    assert_eq!(unweighed.unwrap_err(), BuildError::MaxWeightWithoutWeigher);
    let weighed = Cache::<u32, u32>::builder().weigher(|_, _| 1).build();
    assert_eq!(weighed.unwrap_err(), BuildError::WeigherWithoutMaxWeight);
}

#[test]
fn zero_capacity_stores_nothing() {
    let by_entries = Cache::builder().max_entries(0);
    let by_weight = Cache::builder().max_weight(0).weigher(|_, _| 0);
    let values = Census::default();
    for builder in [by_entries, by_weight] {
        let cache = builder.build().unwrap();
        assert!(cache.insert(1, values.member(1)).is_none());
        assert!(cache.insert_if_absent(1, values.member(1)).is_none());
        assert!(cache.try_insert(1, values.member(1)).is_err());
        let loaded = cache.get_with(1, || values.member(2)).unwrap();
        assert_eq!(loaded.number, 2);
        drop(loaded);
        drop(
            cache
                .compute(1, |_| Compute::Put(values.member(1)))
                .unwrap(),
        );
        assert!(cache.get(&1).is_none());
        assert_eq!((cache.len(), cache.weight()), (0, 0));
        assert_eq!(cache.stats().refused, 5);
        assert_eq!(values.alive(), 0);
    }
}

#[test]
fn an_entry_heavier_than_the_cache_is_handed_back() {
    let (send, told) = std::sync::mpsc::channel();
    let cache: Cache<&str, u32> = Cache::builder()
        .max_weight(10)
        .weigher(|_, value| *value)
        .eviction_listener(move |key, value, cause| send.send((key, value, cause)).unwrap())
        .build()
        .unwrap();
    cache.insert("a", 10);
    let refused = cache.try_insert("a", 11).unwrap_err();
    assert_eq!(refused.into_entry(), ("a", 11));
    assert_eq!(cache.get("a"), Some(10), "as if nobody had tried");
    assert_eq!(told.try_iter().count(), 0, "who called has it back");

    assert_eq!(cache.insert("a", 12), Some(10));
    assert_eq!(cache.get("a"), None, "the older value is stale");
    let told: Vec<_> = told.try_iter().collect();
    let refused = ("a", 12, RemovalCause::Refused);
    assert_eq!(told, [refused, ("a", 10, RemovalCause::Replaced)]);
    assert_eq!(cache.stats().refused, 2);
}

#[test]
fn an_entry_that_weighs_nothing_counts_as_one() {
    let cache: Cache<u32, u32> = Cache::builder()
        .max_weight(10)
        .weigher(|_, _| 0)
        .build()
        .unwrap();
    for key in 0..100 {
        cache.insert(key, key);
    }
    assert_eq!((cache.len(), cache.weight()), (10, 10));
}

#[test]
fn a_cache_fills_up_to_its_bound_before_it_evicts() {
    for (shards, at_least) in [(1, 1_000), (8, 985)] {
        let cache: Cache<u32, u32> = Cache::builder()
            .max_entries(1_000)
            .shards(shards)
            .build()
            .unwrap();
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        assert!(cache.len() >= at_least, "{} of 1000", cache.len());
        assert_eq!(cache.stats().evictions, 1_000 - cache.len() as u64);
    }
}

#[test]
fn a_shard_without_entries_gets_room_from_the_others() {
    for policy in Policy::ALL {
        let cache: Cache<u32, u32> = Cache::builder()
            .max_entries(1)
            .shards(64)
            .policy(policy)
            .build()
            .unwrap();
        for key in 0..1_000 {
            cache.insert(key, key);
            assert_eq!(cache.peek(&key), Some(key), "the newcomer stays");
            assert_eq!(cache.len(), 1);
        }
    }
}

/// Adds its weight to a sum for as long as it lives.
struct Weight {
    weight: u32,
    alive: Arc<AtomicU64>,
}

impl Weight {
    fn new(weight: u32, alive: &Arc<AtomicU64>) -> Self {
        alive.fetch_add(weight.into(), SeqCst);
        let alive = Arc::clone(alive);
        Self { weight, alive }
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self::new(self.weight, &self.alive)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.weight.into(), SeqCst);
    }
}

/// Three threads write weights up to `heaviest`; what is alive at any moment,
/// in the cache or on its way in or out, is bounded, not just what is counted.
fn press(policy: Policy, shards: usize, heaviest: u32, bound: u64, keys: u32, writes: u32) {
    const THREADS: u64 = 3;
    let alive = Arc::new(AtomicU64::new(0));
    let cache: Cache<u32, Weight> = Cache::builder()
        .max_weight(bound)
        .weigher(|_, value: &Weight| value.weight)
        .policy(policy)
        .shards(shards)
        .build()
        .unwrap();
    // Another thread may be holding the value it brings and what it evicted
    // for it: as much, and the rest of the last one.
    let on_the_way = (THREADS - 1) * 3 * u64::from(heaviest);
    thread::scope(|scope| {
        for thread in 0..THREADS as u32 {
            let (cache, alive) = (&cache, &alive);
            scope.spawn(move || {
                for write in 0..writes {
                    let random = (write * 3 + thread).wrapping_mul(0x9e37_79b9);
                    let key = random % keys;
                    let weight = heaviest - (random >> 3) % (heaviest / 2 + 1);
                    match write % 8 {
                        0 => drop(cache.remove(&key)),
                        1 => drop(cache.get_with(key, || Weight::new(weight, alive)).ok()),
                        _ => drop(cache.insert(key, Weight::new(weight, alive))),
                    }
                    let now = alive.load(SeqCst);
                    assert!(now <= bound + on_the_way, "{now} alive of {bound}");
                    if shards == 1 {
                        assert!(cache.weight() <= bound);
                    }
                }
            });
        }
    });
    assert!(alive.load(SeqCst) <= bound);
    assert_eq!(alive.load(SeqCst), cache.weight(), "what lives is counted");
    drop(cache);
    assert_eq!(alive.load(SeqCst), 0);
}

/// moka-rs/moka#590: memory grew while few keys were written over and over,
/// since the old values waited for maintenance that could not keep up.
#[test]
fn memory_is_bounded_under_write_pressure_with_key_reuse() {
    for policy in Policy::ALL {
        for shards in [1, 4] {
            press(policy, shards, 1, 64, 100, 3_000);
            press(policy, shards, 100, 5_000, 40, 3_000);
        }
    }
}

/// moka-rs/moka#72 and #408: sums of large weights overflowed, or let far more
/// in than the bound.
#[test]
fn memory_is_bounded_under_write_pressure_with_huge_weights() {
    let huge = u32::MAX;
    for policy in Policy::ALL {
        for shards in [1, 4] {
            press(policy, shards, huge, u64::from(huge), 20, 2_000);
            press(policy, shards, huge, u64::from(huge) * 5 / 2, 20, 2_000);
        }
    }
}

#[test]
fn a_bound_beyond_all_weights_is_no_bound() {
    let cache: Cache<u32, u32> = Cache::builder()
        .max_entries(usize::MAX)
        .max_weight(u64::MAX)
        .weigher(|_, _| u32::MAX)
        .shards(4)
        .build()
        .unwrap();
    for key in 0..1_000 {
        cache.insert(key, key);
    }
    assert_eq!(cache.len(), 1_000);
    assert_eq!(cache.weight(), 1_000 * u64::from(u32::MAX));
    cache.resize(10);
    assert_eq!(cache.len(), 10);
    cache.resize(usize::MAX);
    cache.resize_weight(u64::from(u32::MAX) * 3);
    assert_eq!(cache.len(), 3);
}

#[test]
fn the_bounds_follow_a_resize_at_once() {
    for policy in Policy::ALL {
        for shards in [1, 4] {
            let cache: Cache<u32, u32> = Cache::builder()
                .max_entries(100)
                .shards(shards)
                .policy(policy)
                .build()
                .unwrap();
            let mut next = 0;
            for bound in [100, 10, 1, 500, 0, 30, 29] {
                cache.resize(bound);
                assert_eq!(cache.max_entries(), Some(bound as u64));
                assert!(cache.len() <= bound);
                for key in next..next + 600 {
                    cache.insert(key, key);
                    assert!(cache.len() <= bound);
                }
                next += 600;
                assert!(cache.len() * 10 >= bound * 9, "room that was won is used");
            }
        }
    }
}

/// A shard kept a place from the days of the larger bound, and another evicted
/// for want of it.
#[test]
fn nobody_is_evicted_for_a_place_that_lies_idle_since_a_larger_bound() {
    for seed in 0..64 {
        let built = || {
            let cache = Cache::builder().max_entries(225).shards(2).seed(seed);
            cache.build().unwrap()
        };
        let cache = built();
        cache.insert(0, ());
        cache.remove(&0);
        cache.insert(1, ());
        cache.insert(2, ());
        cache.resize(2);
        assert_eq!(cache.len(), 2, "seed {seed}");

        let cache = built();
        cache.insert(0, ());
        cache.remove(&0);
        cache.resize(2);
        cache.insert(1, ());
        cache.insert(2, ());
        assert_eq!(cache.len(), 2, "seed {seed}");
    }
}

#[test]
fn the_bounds_hold_after_a_storm_of_resizes() {
    for shards in [1, 4] {
        let cache: Cache<u32, u32> = Cache::builder()
            .max_entries(100)
            .max_weight(1_000)
            .weigher(|_, value| value % 100)
            .shards(shards)
            .build()
            .unwrap();
        thread::scope(|scope| {
            for thread in 0..2 {
                let cache = &cache;
                scope.spawn(move || {
                    for write in 0..5_000 {
                        cache.insert(write * 2 + thread, write);
                    }
                });
            }
            for round in 0..300 {
                cache.resize([100, 3, 0, 50][round % 4]);
                // Too little for most entries that are on their way in.
                cache.resize_weight([1_000, 30, 0][round % 3]);
            }
            cache.resize(20);
            cache.resize_weight(200);
        });
        assert!(cache.len() <= 20);
        assert!(cache.weight() <= 200);
        for key in 0..1_000 {
            cache.insert(key, 50);
        }
        assert_eq!(cache.weight(), 200, "no budget was lost on the way");
    }
}

#[test]
fn the_counts_add_up_whatever_threads_did() {
    for policy in Policy::ALL {
        let cache: Cache<u32, u32> = Cache::builder()
            .max_weight(300)
            .weigher(|_, value| value % 10)
            .shards(4)
            .policy(policy)
            .build()
            .unwrap();
        let (reads, writes) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..3u32 {
                let (cache, reads, writes) = (&cache, &reads, &writes);
                scope.spawn(move || {
                    for step in 0..4_000u32 {
                        let random = (step * 3 + thread).wrapping_mul(0x9e37_79b9);
                        let key = random % 200;
                        match random >> 28 {
                            0 => drop(cache.remove(&key)),
                            1 => cache.invalidate(&key),
                            2..9 => {
                                cache.insert(key, random >> 4);
                                writes.fetch_add(1, SeqCst);
                            }
                            _ => {
                                cache.get(&key);
                                reads.fetch_add(1, SeqCst);
                            }
                        }
                    }
                });
            }
        });
        let stats = cache.stats();
        assert_eq!(stats.hits + stats.misses, reads.into_inner());
        assert_eq!(stats.insertions + stats.updates, writes.into_inner());
        let left = stats.evictions + stats.expirations + stats.removals;
        assert_eq!(stats.insertions, stats.entries + left, "{stats}");
        assert_eq!(stats.entries, cache.iter().count() as u64);
        let weights = cache.iter().map(|entry| u64::from(entry.weight));
        assert_eq!(stats.weight, weights.sum::<u64>());
    }
}
