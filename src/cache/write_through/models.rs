//! Writers and readers of one key in every order that a scheduler may choose.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::WriteThrough;
use crate::cache::Cache;
use crate::cache::writer::{self, Change, Failure};
use crate::sync::Mutex;

/// The store is asked by one writer at a time, the cache gets its values in the
/// same order, and who was told `Ok` reads nothing older, whatever is loaded or
/// invalidated meanwhile.
#[test]
fn the_cache_follows_the_store() {
    explore(|| {
        let rows = Arc::new(Mutex::new(vec![0]));
        let busy = Arc::new(Mutex::new(false));
        let store = {
            let rows = Arc::clone(&rows);
            writer::from_fn(move |_: &u32, change: &Change<u64>| {
                let was_busy = std::mem::replace(&mut *busy.lock(), true);
                assert!(!was_busy, "two writes at once");
                rows.lock().push(*change.value().unwrap_or(&0));
                thread::yield_now();
                *busy.lock() = false;
                match thread_rng().gen_range(0..4) {
                    0 => Err(Failure::Uncertain(())),
                    _ => Ok(()),
                }
            })
        };
        let cache = Cache::builder().max_entries(8).shards(1).seed(1);
        let cache = cache.build().expect("bounded");
        let through = WriteThrough::new(cache.clone(), store);
        let place = |value: u64| rows.lock().iter().position(|row| *row == value);
        let newest = || *rows.lock().last().unwrap_or(&0);
        thread::scope(|scope| {
            for value in 1..=2 {
                let (through, cache) = (&through, &cache);
                scope.spawn(move || {
                    // Confirmed or not, the store has it, and the cache knows.
                    let _ = through.put(1, value);
                    let read = cache.get_with(1, newest).expect("no circle");
                    assert!(place(read) >= place(value), "{read} after {value}");
                });
            }
            scope.spawn(|| {
                if thread_rng().gen_ratio(1, 2) {
                    cache.invalidate(&1);
                }
                cache.get_with(1, newest).expect("no circle");
            });
        });
        let left = cache.get(&1);
        assert!(left.is_none_or(|left| left == newest()), "stale");
    });
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(ITERATIONS, model);
}

const ITERATIONS: usize = 2000;
