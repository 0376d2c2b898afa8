//! Write-through: the store first, one writer of a key at a time, and a cache
//! that never shows what the store does not have.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use crate::support::{Gate, block_on, in_time, panics, poll, quiet_panic, until};
use tenfold::cache::Cache;
use tenfold::cache::write_through::{BuildError, WriteError, WriteThrough};
use tenfold::cache::writer::{self, Change, Failure, Faults, InjectedFault, MemoryStore};
use tenfold::time::ManualClock;

type Through<E> = WriteThrough<u32, u64, E>;

/// A cache, and a write-through to a store that answers as it is told.
fn answering(
    answer: impl Fn(&u32, &Change<u64>) -> Result<(), Failure<&'static str>> + Send + Sync + 'static,
) -> (Cache<u32, u64>, Through<&'static str>) {
    let cache = Cache::new(100);
    let through = WriteThrough::new(cache.clone(), writer::from_fn(answer));
    (cache, through)
}

#[test]
fn a_failed_write_leaves_store_and_cache_as_they_were() {
    let faults = Faults::none();
    let store = MemoryStore::refusing(faults.clone(), |_, change| *change == Change::Put(13));
    let through = WriteThrough::new(Cache::new(100), store.clone());
    through.put(1, 10).unwrap();
    assert_eq!(
        through.put(1, 13),
        Err(WriteError::Rejected(InjectedFault::Refused))
    );
    assert_eq!((through.get(&1), store.get(&1)), (Some(10), Some(10)));
    faults.set_down(true);
    let unavailable = Err(WriteError::Unavailable(InjectedFault::Unavailable));
    assert_eq!(through.put(1, 11), unavailable);
    assert_eq!(through.delete(1), unavailable);
    assert_eq!((through.get(&1), store.get(&1)), (Some(10), Some(10)));
    let stats = through.stats();
    assert_eq!((stats.puts, stats.rejected, stats.unavailable), (1, 1, 2));
    assert_eq!((stats.uncertain, stats.failures()), (0, 3));
}

#[test]
fn an_uncertain_write_drops_the_entry() {
    for change in [Change::Put(2), Change::Delete] {
        let (cache, through) = answering(|_, _| Err(Failure::Uncertain("who knows")));
        cache.insert(1, 1);
        let written = match change {
            Change::Put(value) => through.put(1, value),
            Change::Delete => through.delete(1),
        };
        assert_eq!(written, Err(WriteError::Uncertain("who knows")));
        assert_eq!(cache.get(&1), None);
        assert_eq!(through.stats().uncertain, 1);
    }
}

#[test]
fn a_write_that_takes_too_long_drops_the_entry() {
    let time = ManualClock::new();
    let (cache, gate) = (Cache::new(100), Gate::new());
    let store = {
        let gate = gate.clone();
        writer::from_async_fn(move |_: u32, _: Change<u64>| {
            let gate = gate.clone();
            async move {
                let () = gate.await;
                Ok::<(), Failure<()>>(())
            }
        })
    };
    let limit = Duration::from_secs(1);
    let through = WriteThrough::builder(cache.clone(), store)
        .timeout(limit)
        .clock(time.clock())
        .build()
        .unwrap();
    cache.insert(1, 1);
    let mut write = pin!(through.put_async(1, 2));
    assert!(poll(write.as_mut()).is_pending());
    time.advance(Duration::from_nanos(999_999_999));
    assert!(poll(write.as_mut()).is_pending());
    assert_eq!(cache.get(&1), Some(1));
    time.advance(Duration::from_nanos(1));
    let timed_out = Err(WriteError::TimedOut { limit });
    assert_eq!(poll(write.as_mut()), Poll::Ready(timed_out));
    assert_eq!(cache.get(&1), None);
    // The turn is free again, and an answer in time is one.
    gate.open(());
    assert_eq!(through.put(1, 3), Ok(()));
    assert_eq!((cache.get(&1), through.stats().timed_out), (Some(3), 1));
}

#[test]
fn a_delete_reaches_the_store_and_then_the_cache() {
    let store = MemoryStore::new();
    let through = WriteThrough::new(Cache::new(100), store.clone());
    through.put(1, 1).unwrap();
    through.delete(1).unwrap();
    through.delete(1).unwrap();
    assert_eq!((through.get(&1), store.get(&1)), (None, None));
    through.put(1, 2).unwrap();
    assert_eq!((through.get(&1), store.get(&1)), (Some(2), Some(2)));
    block_on(through.delete_async(1)).unwrap();
    assert_eq!((through.get(&1), store.get(&1)), (None, None));
    assert_eq!(through.stats().deletes, 3);
}

/// Threads and tasks write a few keys; the store notes what overlaps.
#[test]
fn writes_of_a_key_take_turns_and_the_last_one_stays() {
    in_time(|| {
        const KEYS: u32 = 3;
        let busy: Arc<[AtomicBool; KEYS as usize]> = Arc::default();
        let log = Arc::new(Mutex::new(Vec::new()));
        let store = {
            let (busy, log) = (Arc::clone(&busy), Arc::clone(&log));
            writer::from_async_fn(move |key: u32, change: Change<u64>| {
                let (busy, log) = (Arc::clone(&busy), Arc::clone(&log));
                async move {
                    let was_busy = busy[key as usize].swap(true, Ordering::SeqCst);
                    assert!(!was_busy, "two writes of {key} at once");
                    std::thread::yield_now();
                    yield_once().await;
                    log.lock().unwrap().push((key, change.into_value()));
                    busy[key as usize].store(false, Ordering::SeqCst);
                    Ok::<(), Failure<()>>(())
                }
            })
        };
        let through = WriteThrough::new(Cache::new(100), store);
        std::thread::scope(|scope| {
            for thread in 0..6_u64 {
                let through = &through;
                scope.spawn(move || {
                    for round in 0..200 {
                        let key = ((round + thread) % u64::from(KEYS)) as u32;
                        let value = thread * 1000 + round;
                        match thread % 3 {
                            0 => through.put(key, value),
                            1 => block_on(through.put_async(key, value)),
                            _ if round % 2 == 0 => block_on(through.delete_async(key)),
                            _ => through.put(key, value),
                        }
                        .unwrap();
                    }
                });
            }
        });
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 6 * 200);
        for key in 0..KEYS {
            let last = log.iter().rev().find(|write| write.0 == key);
            assert_eq!(through.get(&key), last.unwrap().1);
        }
    });
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Values rise; readers load from the store what the cache does not have.
#[test]
fn a_reader_after_ok_never_sees_an_older_value() {
    in_time(|| {
        let row = Arc::new(AtomicU64::new(0));
        let store = {
            let row = Arc::clone(&row);
            writer::from_fn(move |_: &u32, change: &Change<u64>| {
                let value = *change.value().unwrap_or(&0);
                row.store(value, Ordering::SeqCst);
                // Sometimes the store cannot tell.
                if value.is_multiple_of(7) {
                    return Err(Failure::Uncertain(()));
                }
                Ok(())
            })
        };
        let cache = Cache::new(100);
        let through = WriteThrough::new(cache.clone(), store);
        let (confirmed, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        let least = confirmed.load(Ordering::SeqCst);
                        let read = cache.get_with(1, || row.load(Ordering::SeqCst)).unwrap();
                        assert!(read >= least, "read {read} after {least} was confirmed");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let writer = scope.spawn(|| {
                for value in 1..=3000 {
                    if u64::is_multiple_of(value, 5) {
                        cache.invalidate(&1);
                    }
                    // The store has an uncertain value too, so it counts.
                    let _ = through.put(1, value);
                    confirmed.store(value, Ordering::SeqCst);
                }
            });
            writer.join().unwrap();
            until(|| reads.load(Ordering::Relaxed) > 100);
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(cache.get(&1), Some(3000));
    });
}

#[test]
fn a_load_that_began_before_the_write_is_not_kept() {
    let (cache, through) = answering(|_, _| Ok(()));
    let gate = Gate::new();
    let mut load = pin!(cache.get_with_async(1, || gate.clone()));
    assert!(poll(load.as_mut()).is_pending());
    through.put(1, 2).unwrap();
    gate.open(1);
    assert!(matches!(poll(load.as_mut()), Poll::Ready(Ok(1))));
    assert_eq!(cache.get(&1), Some(2));
}

#[test]
fn a_panicking_store_drops_the_entry_and_lets_the_next_writer_in() {
    let (cache, through) = answering(|_, change| match change {
        Change::Put(13) => quiet_panic(),
        _ => Ok(()),
    });
    for write in [
        (|through| through.put(1, 13)) as fn(&Through<&'static str>) -> _,
        |through| block_on(through.put_async(1, 13)),
    ] {
        through.put(1, 1).unwrap();
        assert!(panics(|| write(&through)));
        assert_eq!(cache.get(&1), None);
        through.put(1, 2).unwrap();
        assert_eq!(cache.get(&1), Some(2));
    }
    assert_eq!(through.stats().uncertain, 2);
}

#[test]
fn a_cancelled_write_drops_the_entry_before_the_next_has_its_turn() {
    let (cache, gate) = (Cache::new(100), Gate::new());
    let store = {
        let (cache, gate) = (cache.clone(), gate.clone());
        writer::from_async_fn(move |_: u32, change: Change<u64>| {
            let (cache, gate) = (cache.clone(), gate.clone());
            async move {
                if change == Change::Put(1) {
                    let () = gate.await;
                }
                if change == Change::Put(2) {
                    assert_eq!(cache.get(&1), None, "the entry is gone by now");
                }
                Ok::<(), Failure<()>>(())
            }
        })
    };
    let through = WriteThrough::new(cache.clone(), store);
    cache.insert(1, 0);
    let mut first = Box::pin(through.put_async(1, 1));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = pin!(through.put_async(1, 2));
    let mut third = Box::pin(through.put_async(1, 3));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    // One that only waited leaves no trace.
    drop(third);
    assert_eq!(cache.get(&1), Some(0));
    drop(first);
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(cache.get(&1), Some(2));
    let stats = through.stats();
    assert_eq!((stats.puts, stats.uncertain), (1, 1));
}

#[test]
fn a_store_may_call_back_and_gets_an_error_where_it_would_wait_for_itself() {
    in_time(|| {
        let known: Arc<OnceLock<Through<&'static str>>> = Arc::default();
        let store = {
            let known = Arc::clone(&known);
            writer::from_fn(move |key: &u32, _: &Change<u64>| {
                let through = known.get().unwrap();
                through.get(key);
                match key {
                    1 => through.put(2, 20).map_err(|_| Failure::Rejected("inner")),
                    3 => match through.put(3, 30) {
                        Err(WriteError::Reentrant) => Ok(()),
                        other => panic!("{other:?}"),
                    },
                    // Closes a circle: 4 writes 5, 5 writes 4.
                    4 => through.put(5, 50).map_err(|_| Failure::Rejected("inner")),
                    5 => match through.put(4, 40) {
                        Err(WriteError::Reentrant | WriteError::Cycle) => Ok(()),
                        other => panic!("{other:?}"),
                    },
                    _ => Ok(()),
                }
            })
        };
        let through = WriteThrough::new(Cache::new(100), store);
        known.set(through.clone()).unwrap();
        for key in [1, 3, 4] {
            assert_eq!(through.put(key, 1), Ok(()));
        }
        assert_eq!((through.get(&2), through.get(&5)), (Some(20), Some(50)));
    });
}

#[test]
fn a_listener_that_panics_leaves_nothing_that_the_store_does_not_have() {
    let cache = Cache::builder()
        .max_entries(100)
        .eviction_listener(|_, value, _| {
            if value == 1 {
                quiet_panic()
            }
        })
        .build()
        .unwrap();
    let store = MemoryStore::new();
    let through = WriteThrough::new(cache.clone(), store.clone());
    through.put(1_u32, 1).unwrap();
    assert!(panics(|| through.put(1, 2)));
    assert_eq!((cache.get(&1), store.get(&1)), (None, Some(2)));
    through.put(1, 3).unwrap();
    assert_eq!(cache.get(&1), Some(3));
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let builder = || WriteThrough::builder(Cache::<u32, u64>::new(1), MemoryStore::new());
    let zero = builder().timeout(Duration::ZERO).build().unwrap_err();
    assert_eq!(zero, BuildError::ZeroTimeout);
    let timer = ManualClock::new().timer();
    let untimed = builder().timer(timer).build().unwrap_err();
    assert_eq!(untimed, BuildError::NothingToTime { knob: "timer" });
    assert_eq!(
        untimed.to_string(),
        "a timer was set without timeout: there is nothing to time"
    );
}
