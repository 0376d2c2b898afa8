//! The guard: never a false "absent", whatever rebuilds run, fail or panic.

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::support::{panics, quiet_panic};
use proptest::prelude::*;
use tenfold::cache::{Guard, RebuildError};

/// A filter that is exact, so that every wrong answer shows.
struct Exact<K>(Arc<Mutex<HashSet<K>>>);

impl<K: Hash + Eq + Copy + Send + 'static> Exact<K> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn contains(&self) -> impl Fn(&K) -> bool + Send + Sync + use<K> {
        let keys = Arc::clone(&self.0);
        move |key| keys.lock().unwrap().contains(key)
    }

    fn insert(&self) -> impl Fn(&K) + Send + Sync + use<K> {
        let keys = Arc::clone(&self.0);
        move |key| _ = keys.lock().unwrap().insert(*key)
    }
}

fn guard() -> Guard<u64> {
    let filter = Exact::new();
    Guard::new(filter.contains(), filter.insert())
}

fn rebuild<I>(guard: &Guard<u64>, keys: impl FnOnce() -> I) -> Result<(), RebuildError<Infallible>>
where
    I: IntoIterator<Item = u64>,
{
    let filter = Exact::new();
    guard.rebuild(filter.contains(), filter.insert(), keys)
}

#[test]
fn a_rebuild_forgets_what_the_keys_lack() {
    let guard = guard();
    guard.insert(&1);
    guard.insert(&2);
    rebuild(&guard, || [2, 3]).unwrap();
    assert_eq!(
        [1, 2, 3].map(|key| guard.may_contain(&key)),
        [false, true, true]
    );
    let stats = guard.stats();
    assert_eq!((stats.asked, stats.absent, stats.rebuilds), (3, 1, 1));
}

#[test]
fn while_a_rebuild_runs_the_old_filter_answers_and_both_learn() {
    let guard = guard();
    guard.insert(&1);
    rebuild(&guard, || {
        assert!(guard.may_contain(&1));
        guard.insert(&2);
        assert!(guard.may_contain(&2));
        [3].into_iter().inspect(|_| assert!(!guard.may_contain(&3)))
    })
    .unwrap();
    assert_eq!(
        [1, 2, 3].map(|key| guard.may_contain(&key)),
        [false, true, true]
    );
}

/// The insertion has its filters in hand when a whole rebuild begins and reads
/// its keys, of which this one is none yet.
#[test]
fn an_insertion_that_began_before_a_rebuild_reaches_its_filter() {
    for rebuilds in 1..4 {
        let old = Exact::new();
        let guard: Arc<Guard<u64>> = Arc::new_cyclic(|weak| {
            let (insert, weak) = (old.insert(), weak.clone());
            let began = AtomicBool::new(false);
            Guard::new(old.contains(), move |key| {
                if !began.swap(true, Ordering::SeqCst) {
                    let guard: Arc<Guard<u64>> = weak.upgrade().unwrap();
                    for _ in 0..rebuilds {
                        rebuild(&guard, || []).unwrap();
                    }
                }
                insert(key);
            })
        });
        guard.insert(&7);
        assert!(guard.may_contain(&7), "after {rebuilds} rebuilds");
    }
}

#[test]
fn a_second_rebuild_is_refused_while_one_runs() {
    let guard = guard();
    rebuild(&guard, || {
        assert_eq!(rebuild(&guard, || [9]), Err(RebuildError::Running));
        // Which did not end the one that runs.
        guard.insert(&1);
        [2]
    })
    .unwrap();
    assert_eq!(
        [1, 2, 9].map(|key| guard.may_contain(&key)),
        [true, true, false]
    );
}

#[test]
fn a_rebuild_whose_keys_fail_or_panic_leaves_the_old_filter() {
    let guard = guard();
    guard.insert(&1);
    let filter = Exact::new();
    let keys = || [Ok(5), Err(std::fmt::Error)];
    let error = guard
        .try_rebuild(filter.contains(), filter.insert(), keys)
        .unwrap_err();
    assert_eq!(error, RebuildError::Keys(std::fmt::Error));
    assert!(error.source().is_some());
    assert!(panics(|| rebuild(&guard, || [()].map(|()| quiet_panic()))));
    guard.insert(&2);
    assert_eq!(
        [1, 2, 5].map(|key| guard.may_contain(&key)),
        [true, true, false]
    );
    assert_eq!(guard.stats().rebuilds, 0);
    rebuild(&guard, || [5]).unwrap();
    assert!(guard.may_contain(&5));
}

#[test]
fn keys_may_be_asked_for_in_a_borrowed_form() {
    let keys: Arc<Mutex<HashSet<String>>> = Arc::default();
    let also = Arc::clone(&keys);
    let guard: Guard<str> = Guard::new(
        move |key: &str| also.lock().unwrap().contains(key),
        move |key: &str| _ = keys.lock().unwrap().insert(key.to_owned()),
    );
    guard.insert("a");
    assert!(guard.may_contain("a") && !guard.may_contain("b"));
    guard
        .rebuild(|key| key == "b", |_| {}, || vec!["b".to_owned()])
        .unwrap();
    assert!(guard.may_contain("b") && !guard.may_contain("a"));
}

/// Keys are written to the store, then told to the guard, then announced;
/// rebuilds scan the store; whoever knows of a key must not be told that it is
/// absent.
#[test]
fn no_thread_is_told_absent_of_a_key_in_the_store_while_rebuilds_run() {
    const KEYS: u64 = 4000;
    const WRITERS: u64 = 2;
    let guard = guard();
    let store: Mutex<HashSet<u64>> = Mutex::default();
    let written: [AtomicU64; WRITERS as usize] = Default::default();
    let running = AtomicU64::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (guard, store, written, running) = (&guard, &store, &written, &running);
            scope.spawn(move || {
                let _ends = Ends(running);
                for key in (writer..KEYS).step_by(WRITERS as usize) {
                    store.lock().unwrap().insert(key);
                    guard.insert(&key);
                    written[writer as usize].store(key + 1, Ordering::SeqCst);
                    assert!(guard.may_contain(&key));
                }
            });
        }
        scope.spawn(|| {
            // Once at least: on a busy machine the writers may be done before this begins.
            loop {
                rebuild(&guard, || store.lock().unwrap().clone()).unwrap();
                if running.load(Ordering::SeqCst) == 0 {
                    break;
                }
            }
        });
        scope.spawn(|| {
            while running.load(Ordering::SeqCst) > 0 {
                for latest in &written {
                    if let Some(key) = latest.load(Ordering::SeqCst).checked_sub(1) {
                        assert!(guard.may_contain(&key), "{key}");
                    }
                }
            }
        });
    });
    assert!((0..KEYS).all(|key| guard.may_contain(&key)));
    assert!(guard.stats().rebuilds > 0);
}

/// Counts a thread off, also if it fails: the others would run for ever.
struct Ends<'a>(&'a AtomicU64);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64),
    Delete(u64),
    /// With these insertions and this one question in the middle of it.
    Rebuild(Vec<u64>, u64),
    FailToRebuild(Vec<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..30u64;
    let keys = || prop::collection::vec(key(), 0..5);
    prop_oneof![
        4 => key().prop_map(Op::Insert),
        2 => key().prop_map(Op::Delete),
        1 => (keys(), key()).prop_map(|(keys, ask)| Op::Rebuild(keys, ask)),
        1 => keys().prop_map(Op::FailToRebuild),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// What the guard knows: everything inserted since the scan of the last
    /// rebuild began, and what that scan read. With an exact filter, exactly.
    #[test]
    fn the_guard_knows_what_the_model_knows(ops in prop::collection::vec(op(), 1..100)) {
        let guard = guard();
        let (mut known, mut store) = (HashSet::new(), HashSet::new());
        for op in ops {
            match op {
                Op::Insert(key) => {
                    guard.insert(&key);
                    known.insert(key);
                    store.insert(key);
                }
                Op::Delete(key) => _ = store.remove(&key),
                Op::Rebuild(during, ask) => {
                    rebuild(&guard, || {
                        let scan = store.clone();
                        for key in &during {
                            guard.insert(key);
                            known.insert(*key);
                            store.insert(*key);
                        }
                        assert_eq!(guard.may_contain(&ask), known.contains(&ask));
                        scan
                    }).unwrap();
                    known.clone_from(&store);
                }
                Op::FailToRebuild(during) => {
                    let filter = Exact::new();
                    let failed = guard.try_rebuild(filter.contains(), filter.insert(), || {
                        for key in &during {
                            guard.insert(key);
                            known.insert(*key);
                            store.insert(*key);
                        }
                        [Err::<u64, _>("down")]
                    });
                    prop_assert_eq!(failed, Err(RebuildError::Keys("down")));
                }
            }
            for key in 0..30 {
                prop_assert_eq!(guard.may_contain(&key), known.contains(&key));
            }
        }
    }
}

#[test]
fn a_panicking_filter_leaves_the_guard_usable() {
    let armed = Arc::new(AtomicBool::new(true));
    let (filter, trap) = (Exact::new(), Arc::clone(&armed));
    let (contains, insert) = (filter.contains(), filter.insert());
    let guard: Guard<u64> = Guard::new(contains, move |key| {
        if trap.load(Ordering::SeqCst) {
            quiet_panic();
        }
        insert(key);
    });
    assert!(panics(|| guard.insert(&1)));
    armed.store(false, Ordering::SeqCst);
    guard.insert(&1);
    assert!(guard.may_contain(&1));
    drop(filter.0.lock().unwrap_or_else(PoisonError::into_inner));
}
