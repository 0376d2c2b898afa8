//! Filters that threads share: no insertion is lost, whatever the others do.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tenfold::bloom::{AtomicBloomFilter, Layout, RotatingBloomFilter};
use tenfold::time::ManualClock;

const THREADS: u64 = 4;
const KEYS: u64 = 20_000;

/// All threads write the same few lines, so that they meet in every word.
#[test]
fn threads_lose_no_insertion() {
    for layout in Layout::ALL {
        let builder = AtomicBloomFilter::builder().bits(4096).items(400);
        let filter = builder.layout(layout).build_atomic().unwrap();
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (filter, start) = (&filter, &start);
                scope.spawn(move || {
                    start.wait();
                    for key in (thread..KEYS).step_by(THREADS as usize) {
                        filter.insert(&key);
                        assert!(filter.contains(&key), "a thread lost what it inserted");
                    }
                });
            }
        });
        assert!((0..KEYS).all(|key| filter.contains(&key)), "{layout}");
    }
}

/// The filter of all threads is that of one thread, bit by bit.
#[test]
fn threads_together_make_the_filter_of_one() {
    let shared = AtomicBloomFilter::with_rate(KEYS, 0.01).unwrap();
    let alone = AtomicBloomFilter::with_rate(KEYS, 0.01).unwrap();
    let keys: Vec<u64> = (0..KEYS).collect();
    thread::scope(|scope| {
        for part in keys.chunks(keys.len() / THREADS as usize) {
            let shared = &shared;
            scope.spawn(move || shared.insert_many(part));
        }
    });
    alone.insert_many(&keys);
    assert_eq!(shared.to_bytes(), alone.to_bytes());
}

/// Of all who insert one new key together at least one is told that it is new.
#[test]
fn somebody_is_told_that_a_key_is_new() {
    let filter = AtomicBloomFilter::with_rate(10_000, 1e-4).unwrap();
    for key in 0..500u64 {
        let start = Barrier::new(2);
        let told = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    told.fetch_add(usize::from(filter.insert(&key)), Ordering::Relaxed);
                });
            }
        });
        assert!((1..=2).contains(&told.into_inner()), "key {key}");
    }
}

/// Insertions race with rotations, and a key is found right after it was inserted
/// all the same.
#[test]
fn a_rotation_loses_no_key_that_is_inserted_meanwhile() {
    let filter = RotatingBloomFilter::builder().items(1000).rate(1e-3);
    // The third rotation empties a key's generation, and begins when two are over.
    let filter = filter.generations(3).build().unwrap();
    let (start, done) = (Barrier::new(3), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..2u64 {
            let (filter, start, done) = (&filter, &start, &done);
            scope.spawn(move || {
                start.wait();
                for key in (thread..KEYS).step_by(2) {
                    let before = filter.rotations();
                    filter.insert(&key);
                    let found = filter.contains(&key);
                    let passed = filter.rotations() - before;
                    assert!(found || passed >= 2, "lost after {passed} rotations");
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (filter, start, done) = (&filter, &start, &done);
        scope.spawn(move || {
            start.wait();
            while done.load(Ordering::Relaxed) < 2 {
                filter.rotate();
                thread::yield_now();
            }
        });
    });
}

/// However many notice that a generation is over, the ring turns once.
#[test]
fn one_of_those_who_come_late_turns_the_ring() {
    let time = ManualClock::new();
    let filter = RotatingBloomFilter::builder()
        .items(1000)
        .rate(0.01)
        .generations(2)
        .lifetime(Duration::from_secs(10))
        .clock(time.clock())
        .build()
        .unwrap();
    for turn in 1..=20 {
        time.advance(Duration::from_secs(10));
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    filter.contains("anything");
                });
            }
        });
        assert_eq!(filter.rotations(), turn);
    }
    // Whoever comes after years empties it, and does not turn for years.
    filter.insert("old");
    time.advance(Duration::from_secs(1_000_000_000));
    assert!(!filter.contains("old"));
    assert_eq!(filter.rotations(), 22);
}
