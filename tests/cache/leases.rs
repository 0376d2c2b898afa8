//! Look-aside: who loads in its own code stores nothing that came too late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Census, panics, quiet_panic};
use tenfold::cache::{Cache, Compute, Lease, Lookup};
use tenfold::time::ManualClock;

fn lease<V: Clone>(cache: &Cache<u32, V>, key: u32) -> Option<Lease<u32, V>> {
    match cache.get_or_lease(key) {
        Lookup::Lease(lease) => Some(lease),
        Lookup::Found(_) | Lookup::Leased => None,
    }
}

fn is_leased<V: Clone>(cache: &Cache<u32, V>, key: u32) -> bool {
    matches!(cache.get_or_lease(key), Lookup::Leased)
}

type Change = fn(&Cache<u32, u32>);

/// Whatever touches the key ends its lease.
const CHANGES: [(&str, Change); 10] = [
    ("invalidate", |cache| cache.invalidate(&1)),
    ("remove", |cache| {
        cache.remove(&1);
    }),
    ("insert", |cache| {
        cache.insert(1, 7);
    }),
    ("insert_if_absent", |cache| {
        cache.insert_if_absent(1, 7);
    }),
    ("try_insert", |cache| drop(cache.try_insert(1, 7))),
    ("invalidate_all", Cache::invalidate_all),
    ("drain", |cache| drop(cache.drain())),
    ("invalidate_if", |cache| cache.invalidate_if(|_, _| true)),
    ("compute", |cache| {
        drop(cache.compute(1, |_| Compute::Put(7)));
    }),
    ("get_with", |cache| drop(cache.get_with(1, || 7))),
];

#[test]
fn a_late_set_after_a_change_is_refused() {
    for (name, change) in CHANGES {
        let cache = Cache::new(10);
        let late = lease(&cache, 1).unwrap();
        assert!(late.is_valid());
        change(&cache);
        let left = cache.peek(&1);
        assert!(!late.is_valid(), "{name}");
        assert_eq!(late.insert(5), Err(5), "{name}");
        assert_eq!(cache.peek(&1), left, "{name}");
    }
}

#[test]
fn changes_of_other_keys_do_not_end_a_lease() {
    let cache = Cache::new(10);
    let lease = lease(&cache, 1).unwrap();
    cache.insert(2, 2);
    cache.invalidate(&2);
    assert_eq!(lease.insert(5), Ok(()));
    assert_eq!(cache.get(&1), Some(5));
}

#[test]
fn one_caller_at_a_time_holds_the_lease() {
    let cache = Cache::new(10);
    let held = lease(&cache, 1).unwrap();
    assert!(is_leased(&cache, 1));
    assert!(lease(&cache, 2).is_some());
    drop(held);
    let again = lease(&cache, 1).unwrap();
    again.insert(1).unwrap();
    assert!(matches!(cache.get_or_lease(1), Lookup::Found(1)));
}

#[test]
fn a_lease_is_not_given_while_a_load_is_under_way() {
    let cache = Cache::new(10);
    let value = cache.get_with(1, || {
        assert!(is_leased(&cache, 1));
        5
    });
    assert_eq!(value.unwrap(), 5);
}

/// The holder may be this very thread, or gone for good: nobody waits for it.
#[test]
fn a_load_does_not_wait_for_a_lease() {
    let cache = Cache::new(10);
    let held = lease(&cache, 1).unwrap();
    assert_eq!(cache.get_with(1, || 7).unwrap(), 7);
    assert_eq!(held.insert(5), Err(5));
    assert_eq!(cache.get(&1), Some(7));
}

#[test]
fn after_its_time_a_lease_goes_to_the_next_and_the_old_one_stores_nothing() {
    let time = ManualClock::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .max_entries(10)
        .clock(time.clock())
        .build()
        .unwrap();
    let old = lease(&cache, 1).unwrap();
    time.advance(Duration::from_secs(10) - Duration::from_nanos(1));
    assert!(is_leased(&cache, 1));
    assert!(old.is_valid());
    time.advance(Duration::from_nanos(1));
    let new = lease(&cache, 1).unwrap();
    assert_eq!(old.insert(1), Err(1));
    assert_eq!(cache.peek(&1), None);
    assert_eq!(new.insert(2), Ok(()));
    assert_eq!(cache.get(&1), Some(2));
}

#[test]
fn a_late_lease_that_nobody_wanted_still_stores() {
    let time = ManualClock::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .max_entries(10)
        .clock(time.clock())
        .build()
        .unwrap();
    let slow = lease(&cache, 1).unwrap();
    time.advance(Duration::from_secs(3600));
    assert_eq!(slow.insert(1), Ok(()));
}

#[test]
fn leases_leave_nothing_behind() {
    let census = Census::default();
    let cache = Cache::new(10);
    for number in 0..1000 {
        let Lookup::Lease(lease) = cache.get_or_lease(census.member(number)) else {
            panic!("it is free");
        };
        match number % 3 {
            0 => drop(lease),
            1 => drop(lease.insert(())),
            _ => {
                cache.invalidate(&census.member(number));
                assert!(lease.insert(()).is_err());
            }
        }
    }
    cache.invalidate_all();
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_panicking_holder_gives_its_lease_back() {
    let cache: Cache<u32, u32> = Cache::new(10);
    assert!(panics(|| {
        let _held = lease(&cache, 1);
        quiet_panic();
    }));
    assert!(lease(&cache, 1).is_some());
}

#[test]
fn leases_count_as_loads() {
    let cache = Cache::new(10);
    lease(&cache, 1).unwrap().insert(1).unwrap();
    drop(lease(&cache, 2));
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.load_failures, stats.misses), (1, 1, 2));
}

/// The hooks see the key of a leased value as of any other.
#[test]
fn a_weigher_weighs_what_a_lease_stores() {
    let cache = Cache::builder()
        .max_weight(10)
        .weigher(|_: &u32, weight: &u32| *weight)
        .build()
        .unwrap();
    lease(&cache, 1).unwrap().insert(4).unwrap();
    assert_eq!(cache.weight(), 4);
    lease(&cache, 2).unwrap().insert(11).unwrap();
    assert_eq!(cache.get(&2), None);
    assert_eq!(cache.stats().refused, 1);
}

/// A writer changes the row and then invalidates; readers look aside. Whatever
/// the interleaving, once the writer is done nobody reads an old row.
#[test]
fn no_reader_stores_a_row_that_was_changed_meanwhile() {
    const ROUNDS: u64 = 2000;
    let row = AtomicU64::new(0);
    let cache: Cache<u32, u64> = Cache::new(10);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while row.load(Ordering::Acquire) < ROUNDS {
                    if let Some(lease) = lease(&cache, 1) {
                        let read = row.load(Ordering::Acquire);
                        thread::yield_now();
                        let _ = lease.insert(read);
                    }
                }
            });
        }
        for round in 1..=ROUNDS {
            row.store(round, Ordering::Release);
            cache.invalidate(&1);
            if let Lookup::Found(read) = cache.get_or_lease(1) {
                assert_eq!(read, round);
            }
        }
    });
}
