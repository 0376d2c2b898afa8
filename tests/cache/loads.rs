//! Loads through the cache: who shares them, who survives what, and what an
//! invalidation on the way means. Tests bear the names of the ways to die.

use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;

use crate::support::{Census, Gate, Member, poll, quiet_panic, until};
use tenfold::cache::{Cache, Compute, Computed, LoadError, Policy};

type Numbers = Cache<u32, u32>;

#[test]
fn ten_thousand_callers_one_load() {
    let cache = Numbers::new(10);
    let gate = Gate::new();
    let loads = AtomicU32::new(0);
    let call = || {
        cache.get_with_async(1, || {
            loads.fetch_add(1, SeqCst);
            gate.clone()
        })
    };
    let mut callers: Vec<_> = (0..10_000).map(|_| Box::pin(call())).collect();
    for caller in &mut callers {
        assert!(poll(caller.as_mut()).is_pending());
    }
    gate.open(7);
    for caller in &mut callers {
        let Poll::Ready(value) = poll(caller.as_mut()) else {
            panic!("the value is there");
        };
        assert_eq!(value.unwrap(), 7);
    }
    assert_eq!(loads.load(SeqCst), 1);
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.coalesced), (1, 9_999));
}

#[test]
fn threads_and_tasks_share_one_load() {
    let cache = Numbers::new(10);
    let gate = Gate::new();
    let mut leader = pin!(cache.get_with_async(1, || gate.clone()));
    assert!(poll(leader.as_mut()).is_pending());
    let mut task = pin!(cache.get_with_async(1, || ready(8)));
    assert!(poll(task.as_mut()).is_pending());
    thread::scope(|scope| {
        let thread = scope.spawn(|| cache.get_with(1, || 9).unwrap());
        until(|| cache.stats().coalesced == 2);
        gate.open(7);
        assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))));
        assert!(matches!(poll(task.as_mut()), Poll::Ready(Ok(7))));
        assert_eq!(thread.join().unwrap(), 7);
    });
}

#[test]
fn a_thread_leads_and_tasks_follow() {
    let cache = Numbers::new(10);
    let (gate, started) = (Gate::new(), Barrier::new(2));
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            cache.get_with(1, || {
                started.wait();
                gate.pass()
            })
        });
        started.wait();
        let mut task = pin!(cache.get_with_async(1, || ready(8)));
        assert!(poll(task.as_mut()).is_pending());
        gate.open(7);
        assert_eq!(leader.join().unwrap().unwrap(), 7);
        assert!(matches!(poll(task.as_mut()), Poll::Ready(Ok(7))));
    });
}

#[test]
fn waiters_survive_a_panicking_leader() {
    const WAITERS: u64 = 4;
    let cache = Numbers::new(10);
    let (gate, started) = (Gate::new(), Barrier::new(2));
    let loads = AtomicU32::new(0);
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            let call = || {
                cache.get_with(1, || {
                    started.wait();
                    gate.pass();
                    quiet_panic()
                })
            };
            catch_unwind(AssertUnwindSafe(call)).is_err()
        });
        started.wait();
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                scope.spawn(|| {
                    cache.get_with(1, || {
                        loads.fetch_add(1, SeqCst);
                        7
                    })
                })
            })
            .collect();
        until(|| cache.stats().coalesced == WAITERS);
        gate.open(());
        assert!(leader.join().unwrap(), "the leader's panic is its own");
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap(), 7);
        }
    });
    assert_eq!(loads.into_inner(), 1, "one of them loads for all");
    assert_eq!(cache.get(&1), Some(7));
    assert_eq!(cache.stats().load_failures, 1);
}

#[test]
fn waiters_survive_a_cancelled_leader() {
    let cache = Numbers::new(10);
    let mut leader = Box::pin(cache.get_with_async(1, pending::<u32>));
    assert!(poll(leader.as_mut()).is_pending());
    let mut waiters: Vec<_> = (10..14)
        .map(|value| Box::pin(cache.get_with_async(1, move || ready(value))))
        .collect();
    for waiter in &mut waiters {
        assert!(poll(waiter.as_mut()).is_pending());
    }
    drop(leader);
    let mut values = Vec::new();
    // Whoever was promoted loads; the others then find its value.
    while !waiters.is_empty() {
        let before = waiters.len();
        waiters.retain_mut(|waiter| match poll(waiter.as_mut()) {
            Poll::Ready(value) => {
                values.push(value.unwrap());
                false
            }
            Poll::Pending => true,
        });
        assert!(waiters.len() < before, "somebody gets on in every round");
    }
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert_eq!(cache.get(&1), Some(values[0]));
}

#[test]
fn a_cancelled_waiter_harms_nobody() {
    let cache = Numbers::new(10);
    let gate = Gate::new();
    let mut leader = pin!(cache.get_with_async(1, || gate.clone()));
    assert!(poll(leader.as_mut()).is_pending());
    let mut quitter = Box::pin(cache.get_with_async(1, || ready(8)));
    assert!(poll(quitter.as_mut()).is_pending());
    let mut waiter = pin!(cache.get_with_async(1, || ready(9)));
    assert!(poll(waiter.as_mut()).is_pending());
    drop(quitter);
    gate.open(7);
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))));
    assert!(matches!(poll(waiter.as_mut()), Poll::Ready(Ok(7))));
}

#[test]
fn cancelled_unique_keys_leave_nothing() {
    let (keys, values) = (Census::default(), Census::default());
    let cache: Cache<Member, Member> = Cache::new(10);
    for number in 0..10_000 {
        let mut leader = Box::pin(cache.get_with_async(keys.member(number), pending));
        let mut waiter = Box::pin(cache.get_with_async(keys.member(number), pending));
        assert!(poll(leader.as_mut()).is_pending());
        assert!(poll(waiter.as_mut()).is_pending());
        if number % 2 == 0 {
            drop(leader);
            assert!(poll(waiter.as_mut()).is_pending(), "it leads now");
        }
    }
    assert_eq!(keys.alive(), 0);
    assert_eq!(values.alive(), 0);
    assert!(cache.is_empty());
    let loaded = cache.get_with(keys.member(1), || values.member(1));
    assert_eq!(loaded.unwrap().number, 1);
}

#[test]
fn a_failing_loader_fails_all_who_waited_and_nobody_after() {
    let cache = Numbers::new(10);
    let gate = Gate::<Result<u32, String>>::new();
    let call = || cache.try_get_with_async(1, || gate.clone());
    let mut callers: Vec<_> = (0..3).map(|_| Box::pin(call())).collect();
    for caller in &mut callers {
        assert!(poll(caller.as_mut()).is_pending());
    }
    gate.open(Err("no".to_owned()));
    let errors: Vec<Arc<String>> = callers
        .iter_mut()
        .map(|caller| match poll(caller.as_mut()) {
            Poll::Ready(Err(LoadError::Failed(error))) => error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert_eq!(*errors[0], "no");
    assert!(!cache.contains_key(&1));
    assert_eq!(cache.get_with(1, || 5).unwrap(), 5);
    assert_eq!(cache.stats().load_failures, 1);
}

#[test]
fn nothing_found_is_shared_and_not_stored() {
    let cache = Numbers::new(10);
    let gate = Gate::<Result<Option<u32>, String>>::new();
    let call = || cache.try_optionally_get_with_async(1, || gate.clone());
    let (mut leader, mut waiter) = (pin!(call()), pin!(call()));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open(Ok(None));
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(None))));
    assert!(matches!(poll(waiter.as_mut()), Poll::Ready(Ok(None))));
    assert!(cache.is_empty());
    assert_eq!(cache.optionally_get_with(1, || None).unwrap(), None);
    assert_eq!(cache.optionally_get_with(1, || Some(3)).unwrap(), Some(3));
    assert_eq!(cache.get(&1), Some(3));
}

#[test]
fn a_loader_that_reenters_its_key_gets_an_error() {
    let cache = Numbers::new(10);
    let value = cache.get_with(1, || {
        let inner = cache.get_with(1, || 8);
        assert!(matches!(inner, Err(LoadError::Reentrant)));
        let inner = cache.compute(1, |_| Compute::Put(9));
        assert!(matches!(inner, Err(LoadError::Reentrant)));
        7
    });
    assert_eq!(value.unwrap(), 7);
    let computed = cache.compute(2, |_| {
        let inner = cache.get_with(2, || 8);
        assert!(matches!(inner, Err(LoadError::Reentrant)));
        Compute::Put(3)
    });
    assert!(matches!(
        computed,
        Ok(Computed::Stored { new: 3, old: None })
    ));
}

#[test]
fn two_loaders_that_need_each_other_get_an_error() {
    let cache = Numbers::new(10);
    let (meet, refusals) = (Barrier::new(2), AtomicU32::new(0));
    let load = |own: u32, other: u32| {
        cache.get_with(own, || {
            meet.wait();
            match cache.get_with(other, || unreachable!("the other leads it")) {
                Ok(value) => value,
                Err(error) => {
                    assert!(matches!(error, LoadError::Cycle), "{error}");
                    refusals.fetch_add(1, SeqCst);
                    own
                }
            }
        })
    };
    thread::scope(|scope| {
        let one = scope.spawn(|| load(1, 2).unwrap());
        let two = scope.spawn(|| load(2, 1).unwrap());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(one, two, "the refused one loaded for both");
    });
    assert_eq!(refusals.into_inner(), 1);
}

#[test]
fn zero_capacity_coalesces_and_stores_nothing() {
    let cache = Numbers::new(0);
    let gate = Gate::new();
    let (mut leader, mut waiter) = (
        pin!(cache.get_with_async(1, || gate.clone())),
        pin!(cache.get_with_async(1, || ready(8))),
    );
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open(7);
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))));
    assert!(matches!(poll(waiter.as_mut()), Poll::Ready(Ok(7))));
    assert!(cache.is_empty());
    assert_eq!(cache.stats().refused, 1);
}

type Write = fn(&Numbers);

/// The ways to change a key while it loads, and what is stored then.
const WAYS: [(&str, Write, Option<u32>); 12] = [
    ("remove", |c| _ = c.remove(&1), None),
    ("remove_entry", |c| _ = c.remove_entry(&1), None),
    ("invalidate", |c| c.invalidate(&1), None),
    ("invalidate_all", Cache::invalidate_all, None),
    ("drain", |c| _ = c.drain(), None),
    ("invalidate_if", |c| c.invalidate_if(|_, _| true), None),
    ("retain", |c| c.retain(|_, _| false), None),
    ("insert", |c| _ = c.insert(1, 99), Some(99)),
    ("try_insert", |c| _ = c.try_insert(1, 99), Some(99)),
    (
        "insert_if_absent",
        |c| _ = c.insert_if_absent(1, 99),
        Some(99),
    ),
    (
        "insert_with_ttl",
        |c| _ = c.insert_with_ttl(1, 99, std::time::Duration::MAX),
        Some(99),
    ),
    (
        "insert_with_deadline",
        |c| _ = c.insert_with_deadline(1, 99, tenfold::time::Instant::NEVER),
        Some(99),
    ),
];

#[test]
fn invalidate_during_load_wins() {
    for (way, invalidate, stored) in WAYS {
        let cache = Numbers::new(10);
        let gate = Gate::new();
        let mut leader = pin!(cache.get_with_async(1, || gate.clone()));
        assert!(poll(leader.as_mut()).is_pending());
        let mut waiter = pin!(cache.get_with_async(1, || ready(8)));
        assert!(poll(waiter.as_mut()).is_pending());
        invalidate(&cache);
        gate.open(7);
        assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))), "{way}");
        assert!(matches!(poll(waiter.as_mut()), Poll::Ready(Ok(7))), "{way}");
        assert_eq!(cache.peek(&1), stored, "after {way}");
    }
}

#[test]
fn a_caller_after_the_invalidation_starts_a_fresh_load() {
    for (way, invalidate, stored) in WAYS {
        let cache = Numbers::new(10);
        let (old, new) = (Gate::new(), Gate::new());
        let mut leader = pin!(cache.get_with_async(1, || old.clone()));
        assert!(poll(leader.as_mut()).is_pending());
        invalidate(&cache);
        let mut late = pin!(cache.get_with_async(1, || new.clone()));
        if stored.is_some() {
            assert!(matches!(poll(late.as_mut()), Poll::Ready(Ok(99))), "{way}");
            continue;
        }
        assert!(poll(late.as_mut()).is_pending());
        let mut later = pin!(cache.get_with_async(1, || ready(9)));
        assert!(poll(later.as_mut()).is_pending(), "{way}");
        // The old load lands between the two ends of the new one.
        old.open(7);
        assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))), "{way}");
        assert_eq!(cache.peek(&1), None, "after {way}");
        new.open(8);
        assert!(matches!(poll(late.as_mut()), Poll::Ready(Ok(8))), "{way}");
        assert!(matches!(poll(later.as_mut()), Poll::Ready(Ok(8))), "{way}");
        assert_eq!(cache.peek(&1), Some(8), "after {way}");
    }
}

#[test]
fn a_loader_may_invalidate_its_own_key() {
    let cache = Numbers::new(10);
    for (way, invalidate, stored) in WAYS {
        cache.invalidate(&1);
        let value = cache.get_with(1, || {
            invalidate(&cache);
            7
        });
        assert_eq!(value.unwrap(), 7);
        assert_eq!(cache.peek(&1), stored, "after {way}");
    }
}

#[test]
fn a_refused_insertion_invalidates_a_load() {
    let cache: Numbers = Cache::builder()
        .max_weight(10)
        .weigher(|_, value| *value)
        .build()
        .unwrap();
    let gate = Gate::new();
    let mut leader = pin!(cache.get_with_async(1, || gate.clone()));
    assert!(poll(leader.as_mut()).is_pending());
    cache.insert(1, 11);
    gate.open(7);
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))));
    assert_eq!(cache.peek(&1), None, "older than what was refused");
}

/// `invalidate_during_load_wins` for whatever the processor makes of it. Four
/// shards that may hold one entry together make every landing look for room in
/// other shards: there was a gap in which the flight had ended and its value
/// was not stored yet, and an invalidation that came then found neither.
#[test]
fn no_thread_reads_what_was_loaded_before_an_invalidation() {
    const ROUNDS: u64 = 3_000;
    for (entries, shards) in [(1, 4), (100, 1), (3, 2)] {
        let cache: Cache<u64, u64> = Cache::builder()
            .max_entries(entries)
            .shards(shards)
            .build()
            .unwrap();
        let origin: [AtomicU64; 4] = Default::default();
        let load = |key: u64| origin[key as usize].load(SeqCst);
        thread::scope(|scope| {
            for thread in 0..3 {
                let (cache, origin) = (&cache, &origin);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let key = (round + thread) % 4;
                        if thread > 0 {
                            cache.get_with(key, || load(key)).unwrap();
                            continue;
                        }
                        let written = origin[key as usize].fetch_add(1, SeqCst) + 1;
                        match round % 3 {
                            0 => cache.invalidate(&key),
                            1 => drop(cache.remove(&key)),
                            _ => cache.invalidate_all(),
                        }
                        let read = cache.get_with(key, || load(key)).unwrap();
                        assert_eq!(read, written, "only this thread writes");
                    }
                });
            }
        });
    }
}

#[test]
fn compute_waits_for_a_load_and_sees_its_value() {
    let cache = Numbers::new(10);
    let gate = Gate::new();
    let mut leader = pin!(cache.get_with_async(1, || gate.clone()));
    assert!(poll(leader.as_mut()).is_pending());
    let mut removal = pin!(cache.compute_async(1, |value| {
        assert_eq!(value, Some(7));
        ready(Compute::Remove)
    }));
    assert!(poll(removal.as_mut()).is_pending());
    gate.open(7);
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(7))));
    let removed = poll(removal.as_mut());
    assert!(matches!(removed, Poll::Ready(Ok(Computed::Removed(7)))));
    assert_eq!(cache.peek(&1), None);
}

#[test]
fn a_computation_sees_what_was_written_meanwhile() {
    for (way, write, stored) in WAYS {
        let cache = Numbers::new(10);
        cache.insert(1, 5);
        let gates = [Gate::new(), Gate::new()];
        let (mut seen, mut turns) = (Vec::new(), gates.iter());
        let expected = if way == "insert_if_absent" {
            Some(5)
        } else {
            stored
        };
        {
            let mut computation = pin!(cache.compute_async(1, |value| {
                seen.push(value);
                let turn = turns.next().expect("asked at most twice").clone();
                async move {
                    turn.await;
                    Compute::Put(value.unwrap_or(0) + 1)
                }
            }));
            assert!(poll(computation.as_mut()).is_pending());
            write(&cache);
            gates[0].open(());
            gates[1].open(());
            assert!(poll(computation.as_mut()).is_ready(), "{way}");
        }
        assert_eq!(seen.last(), Some(&expected), "{way}");
        assert_eq!(cache.peek(&1), Some(expected.unwrap_or(0) + 1), "{way}");
    }
}

#[test]
fn computations_by_threads_lose_no_update() {
    for shards in [1, 4] {
        let cache: Cache<u32, u64> = Cache::builder()
            .max_entries(8)
            .shards(shards)
            .policy(Policy::Lru)
            .build()
            .unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let add = |n: Option<u64>| Compute::Put(n.unwrap_or(0) + 1);
                        cache.compute(1, add).unwrap();
                    }
                });
            }
        });
        assert_eq!(cache.get(&1), Some(1_500));
    }
}

#[test]
fn a_panicking_computation_leaves_the_entry_as_it_was() {
    let cache = Numbers::new(10);
    cache.insert(1, 5);
    let computation = || cache.compute(1, |_| quiet_panic());
    assert!(catch_unwind(AssertUnwindSafe(computation)).is_err());
    assert_eq!(cache.get(&1), Some(5));
    let computed = cache.compute(1, |_| Compute::Keep).unwrap();
    assert_eq!(computed, Computed::Unchanged(Some(5)));
}
