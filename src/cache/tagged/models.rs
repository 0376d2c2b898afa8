//! Invalidations against look-ups and loads, under every order of events that
//! a scheduler may choose.

use std::sync::Arc;

use shuttle::thread;

use super::{Clear, Tagged, Tags};
use crate::cache::Cache;
use crate::hash::TableHasher;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A registry of one bucket, which forgets all the time.
fn forgetful() -> Tags {
    Tags::with_hasher(1, TableHasher::with_seed(1))
}

#[test]
fn a_returned_invalidation_is_seen_by_all_even_when_its_record_gave_way() {
    explore(|| {
        let tags = forgetful();
        let of = [tags.hash_of("tag")];
        // The bucket is full, so that what follows forgets.
        for other in 0..7_u64 {
            tags.invalidate_hash(other << 48);
        }
        let born = tags.generation();
        let returned = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                tags.invalidate_hash(of[0]);
                returned.store(1, Ordering::SeqCst);
                for other in 8..16_u64 {
                    tags.invalidate_hash(other << 48);
                }
            });
            scope.spawn(|| {
                for _ in 0..3 {
                    let returned = returned.load(Ordering::SeqCst) == 1;
                    assert!(!(returned && tags.is_valid(born, &of)), "a stale entry");
                    thread::yield_now();
                }
            });
        });
        assert!(!tags.is_valid(born, &of));
    });
}

#[test]
fn nobody_gets_what_was_loaded_before_an_invalidation_of_its_tag() {
    explore(|| {
        let cache = cache();
        let source = AtomicU64::new(0);
        let load = || (source.load(Ordering::SeqCst), ["tag"]);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| _ = cache.get_with(1, load));
            }
            scope.spawn(|| {
                let written = source.fetch_add(1, Ordering::SeqCst) + 1;
                cache.invalidate_tag("tag");
                assert!(cache.get(&1).is_none_or(|read| read >= written));
                let read = cache.get_with(1, load);
                assert!(read.is_ok_and(|read| read >= written));
            });
        });
        assert!(cache.get(&1).is_none_or(|version| version == 1), "stale");
    });
}

#[test]
fn nobody_gets_what_was_loaded_before_a_clear() {
    explore(|| {
        let cache = cache();
        let source = AtomicU64::new(0);
        let none: [&str; 0] = [];
        let load = || (source.load(Ordering::SeqCst), none);
        thread::scope(|scope| {
            for how in [Clear::Expire, Clear::Remove] {
                let (cache, source) = (&cache, &source);
                scope.spawn(move || {
                    let written = source.fetch_add(1, Ordering::SeqCst) + 1;
                    cache.clear(how);
                    let read = cache.get_with(1, load);
                    assert!(read.is_ok_and(|read| read >= written));
                });
            }
            scope.spawn(|| _ = cache.get_with(1, load));
        });
        assert!(cache.get(&1).is_none_or(|version| version == 2), "stale");
    });
}

fn cache() -> Tagged<u64, u64> {
    let cache = Cache::builder().max_entries(10).shards(1).seed(1);
    match cache.build() {
        Ok(cache) => Tagged::from_parts(cache, Arc::new(forgetful())),
        Err(error) => unreachable!("{error}"),
    }
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(ITERATIONS, model);
}

const ITERATIONS: usize = 2000;
