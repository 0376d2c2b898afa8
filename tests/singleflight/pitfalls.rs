//! What went wrong in other libraries of this kind, one test per mistake. The
//! numbers are those of the block's page; time is turned by hand.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use crate::support::{poll, quiet_panic};
use tenfold::singleflight::{FlightError, Group, LeaderDrop, OnPanic, Role};
use tenfold::task::{Executor, Task};
use tenfold::time::ManualClock;

type Numbers = Group<u64, u64>;

#[test]
fn pitfall_01_a_panic_or_a_cancel_never_leaves_the_key_in_flight() {
    for on_panic in [OnPanic::PromoteOnce, OnPanic::PropagateAll, OnPanic::Error] {
        for on_drop in [LeaderDrop::Promote, LeaderDrop::Fail] {
            let group = Numbers::builder()
                .on_panic(on_panic)
                .on_leader_drop(on_drop)
                .build()
                .unwrap();
            let _ = catch_unwind(AssertUnwindSafe(|| group.work(1, || quiet_panic())));
            let _ = catch_unwind(AssertUnwindSafe(|| {
                poll(pin!(group.work_async(1, || async { quiet_panic() })))
            }));
            let mut cancelled = Box::pin(group.work_async(1, pending));
            assert!(poll(cancelled.as_mut()).is_pending());
            drop(cancelled);
            assert_eq!(group.in_flight(), 0);
            assert_eq!(group.work(1, || 7).unwrap().value, 7);
        }
    }
}

#[test]
fn pitfall_02_cancelled_unique_keys_leave_no_entries() {
    let group = Numbers::new();
    for chunk in 0..100 {
        let keys = chunk * 1000..(chunk + 1) * 1000;
        let mut calls: Vec<_> = keys
            .map(|key| Box::pin(group.work_async(key, pending)))
            .collect();
        assert!(
            calls
                .iter_mut()
                .all(|call| poll(call.as_mut()).is_pending())
        );
        assert_eq!(group.in_flight(), 1000);
    }
    assert_eq!(group.in_flight(), 0);
    assert_eq!(group.stats().dropped, 100_000);
}

#[test]
fn pitfall_03_a_strangers_cancellation_does_not_fail_my_call() {
    let group = Numbers::new();
    let mut stranger = Box::pin(group.work_async(1, pending));
    let mut mine = pin!(group.work_async(1, || ready(7)));
    assert!(poll(stranger.as_mut()).is_pending());
    assert!(poll(mine.as_mut()).is_pending());
    drop(stranger);
    let Poll::Ready(Ok(outcome)) = poll(mine) else {
        panic!("the call failed with a stranger")
    };
    assert_eq!((outcome.value, outcome.role), (7, Role::Promoted));
}

#[test]
fn pitfall_04_a_caller_that_leaves_does_not_free_the_key_of_work_that_goes_on() {
    let (executor, tasks) = executor();
    let group = detaching(executor);
    let runs = Arc::new(AtomicUsize::new(0));
    let (gate, opened) = gate();
    let counted = Arc::clone(&runs);
    let mut first = Box::pin(group.work_detached_async(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        opened
    }));
    assert!(poll(first.as_mut()).is_pending());
    let mut task = pin!(tasks.try_recv().unwrap());
    assert!(poll(task.as_mut()).is_pending());
    let counted = Arc::clone(&runs);
    let mut second = pin!(group.work_detached_async(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        ready(8)
    }));
    assert!(poll(second.as_mut()).is_pending());
    drop(first);
    gate.open(7);
    assert!(poll(task).is_ready());
    let Poll::Ready(Ok(outcome)) = poll(second) else {
        panic!("the work was lost with its caller")
    };
    assert_eq!(outcome.value, 7);
    assert!(!outcome.shared, "only one caller was left");
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(group.in_flight(), 0);
}

#[test]
fn pitfall_05_after_a_dropped_leader_exactly_one_follower_leads() {
    let group = Numbers::new();
    let runs = Cell::new(0);
    let work = || {
        runs.set(runs.get() + 1);
        pending()
    };
    let mut calls: Vec<_> = (0..8)
        .map(|_| Box::pin(group.work_async(1, work)))
        .collect();
    for expected in 1..=8 {
        for _ in 0..3 {
            assert!(
                calls
                    .iter_mut()
                    .all(|call| poll(call.as_mut()).is_pending())
            );
            assert_eq!(runs.get(), expected);
        }
        drop(calls.remove(0));
    }
    assert_eq!(group.in_flight(), 0);
}

#[test]
fn pitfall_06_the_outcome_is_dropped_with_its_delivery() {
    let group: Group<u64, Arc<()>> = Group::new();
    let value = Arc::new(());
    let (gate, opened) = gate();
    let mut leader = Box::pin(group.work_async(1, || async {
        opened.await;
        Arc::clone(&value)
    }));
    let mut follower = Box::pin(group.work_async(1, || ready(Arc::new(()))));
    let mut unread = Box::pin(group.work_async(1, || ready(Arc::new(()))));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    assert!(poll(unread.as_mut()).is_pending());
    gate.open(0);
    assert!(poll(leader.as_mut()).is_ready());
    assert!(poll(follower.as_mut()).is_ready());
    drop(unread);
    assert_eq!(Arc::strong_count(&value), 1, "the group kept the outcome");
}

#[test]
fn pitfall_07_a_late_joiner_can_leave_early() {
    let time = ManualClock::new();
    let group = Numbers::builder()
        .wait_timeout(Duration::from_secs(1))
        .clock(time.clock())
        .build()
        .unwrap();
    let (gate, opened) = gate();
    let mut leader = pin!(group.work_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    let mut follower = pin!(group.work_async(1, || ready(8)));
    assert!(poll(follower.as_mut()).is_pending());
    thread::scope(|scope| {
        let waits = scope.spawn(|| group.join(&1).unwrap().wait::<Infallible>());
        while group.stats().joined < 2 {
            thread::yield_now();
        }
        // Not before: whoever joins after this advance would wait for another.
        while !waits.is_finished() {
            time.advance(Duration::from_secs(1));
            thread::yield_now();
        }
        assert!(matches!(waits.join().unwrap(), Err(FlightError::TimedOut)));
    });
    assert!(matches!(
        poll(follower),
        Poll::Ready(Err(FlightError::TimedOut))
    ));
    // Nobody hurried the one that works.
    gate.open(7);
    assert!(matches!(poll(leader), Poll::Ready(Ok(outcome)) if !outcome.shared));
    assert_eq!(group.stats().timed_out, 2);
}

#[test]
fn pitfall_08_shared_is_exact_and_an_old_leader_never_removes_a_newer_flight() {
    let group = Numbers::new();
    assert!(!group.work(1, || 7).unwrap().shared);
    let (old_gate, opened) = gate();
    let mut leader = pin!(group.work_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    {
        let mut leaves = Box::pin(group.work_async(1, || ready(8)));
        assert!(poll(leaves.as_mut()).is_pending());
    }
    assert!(group.forget(&1));
    let (newer_gate, newer_opened) = gate();
    let mut newer = pin!(group.work_async(1, || newer_opened));
    let mut follower = pin!(group.work_async(1, || ready(8)));
    assert!(poll(newer.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    old_gate.open(6);
    let Poll::Ready(Ok(old)) = poll(leader) else {
        panic!("no value")
    };
    assert_eq!(
        (old.value, old.shared),
        (6, false),
        "its only follower left"
    );
    newer_gate.open(7);
    let Poll::Ready(Ok(new)) = poll(newer) else {
        panic!("no value")
    };
    let Poll::Ready(Ok(second)) = poll(follower) else {
        panic!("the newer flight was removed")
    };
    assert_eq!((new.value, new.shared, new.role), (7, true, Role::Leader));
    assert_eq!(
        (second.value, second.shared, second.role),
        (7, true, Role::Follower)
    );
}

#[test]
fn pitfall_09_waiters_share_a_pointer_and_the_leaders_value_is_not_cloned() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Clone for Counted<'_> {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(self.0)
        }
    }
    let clones = AtomicUsize::new(0);
    let group: Group<u64, Counted<'_>> = Group::new();
    assert!(group.work(1, || Counted(&clones)).is_ok());
    assert_eq!(
        clones.load(Ordering::Relaxed),
        0,
        "alone, nothing is cloned"
    );

    let group: Group<u64, Arc<Vec<u8>>> = Group::new();
    let (gate, opened) = gate();
    let mut leader = pin!(group.work_async(1, || async {
        opened.await;
        Arc::new(vec![0; 1 << 20])
    }));
    let mut follower = pin!(group.work_async(1, || ready(Arc::default())));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    gate.open(0);
    let (Poll::Ready(Ok(first)), Poll::Ready(Ok(second))) = (poll(leader), poll(follower)) else {
        panic!("no value")
    };
    assert!(Arc::ptr_eq(&first.value, &second.value));
}

#[test]
fn pitfall_10_work_that_always_fails_is_not_tried_without_end() {
    const CALLERS: usize = 50;
    let group = Numbers::new();
    let runs = Cell::new(0);
    let (gate, opened) = gate();
    let mut leader = Box::pin(group.work_async(1, || async {
        runs.set(runs.get() + 1);
        opened.await;
        quiet_panic()
    }));
    assert!(poll(leader.as_mut()).is_pending());
    let work = || async {
        runs.set(runs.get() + 1);
        quiet_panic()
    };
    let mut followers: Vec<_> = (1..CALLERS)
        .map(|_| Box::pin(group.work_async(1, work)))
        .collect();
    assert!(
        followers
            .iter_mut()
            .all(|call| poll(call.as_mut()).is_pending())
    );
    gate.open(0);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut()))).is_err());
    let mut panics = 0;
    let mut failures = 0;
    for mut call in followers {
        match catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))) {
            Err(_) => panics += 1,
            Ok(Poll::Ready(Err(FlightError::LeaderFailed { attempts: 2 }))) => failures += 1,
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((runs.get(), panics, failures), (2, 1, CALLERS - 2));
    assert_eq!(group.in_flight(), 0);
}

#[test]
fn pitfall_11_work_that_asks_for_its_own_key_gets_an_error() {
    let group = Numbers::new();
    let seen = group.work(1, || {
        u64::from(matches!(group.work(1, || 0), Err(FlightError::Reentrant)))
    });
    assert_eq!(seen.unwrap().value, 1);
    let task = group.work_async(1, || async {
        let again = group.work_async(1, || ready(0)).await;
        u64::from(matches!(again, Err(FlightError::Reentrant)))
    });
    assert!(matches!(poll(pin!(task)), Poll::Ready(Ok(outcome)) if outcome.value == 1));
}

#[test]
fn pitfall_12_a_crowd_that_meets_a_failure_does_not_retry_at_once() {
    let time = ManualClock::new();
    let group = Numbers::builder()
        .linger(Duration::from_millis(100))
        .clock(time.clock())
        .build()
        .unwrap();
    let runs = Cell::new(0);
    let call = || {
        group.try_work(1, || {
            runs.set(runs.get() + 1);
            Err::<u64, _>("down")
        })
    };
    for _ in 0..2000 {
        assert!(matches!(call(), Err(FlightError::Failed(error)) if *error == "down"));
    }
    assert_eq!(runs.get(), 1);
    time.advance(Duration::from_millis(100));
    assert!(call().is_err());
    assert_eq!(runs.get(), 2, "kept beyond its time");
    assert!(group.forget(&1));
    assert_eq!(group.work(1, || 7).unwrap().value, 7);
}

#[test]
fn pitfall_13_keys_of_any_type_are_spread_over_many_locks() {
    let group: Group<(u32, [u8; 4]), u64> = Group::builder().shards(64).build().unwrap();
    // A caller under the lock of one key would block every other key of a group
    // with one lock: `Eq` is the only code of ours that runs there.
    let runs = AtomicUsize::new(0);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for key in 0..4 {
            let (group, runs, barrier) = (&group, &runs, &barrier);
            scope.spawn(move || {
                group.work((key, [0; 4]), || {
                    // Passes only when all four work at once.
                    barrier.wait();
                    runs.fetch_add(1, Ordering::Relaxed) as u64
                })
            });
        }
    });
    assert_eq!(runs.into_inner(), 4);
}

#[test]
fn pitfall_14_a_promoted_caller_works_in_its_own_context() {
    thread_local!(static TRACE: Cell<&'static str> = const { Cell::new("nobody's") });
    let group: Group<u64, String> = Group::new();
    let (gate, opened) = gate();
    let mut leader = Box::pin(group.work_async(1, || async {
        opened.await;
        "the leader's".to_owned()
    }));
    let caller = "the follower's".to_owned();
    let mut follower = pin!(group.work_async(1, || async move { caller + " own" }));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    drop((leader, gate));
    let Poll::Ready(Ok(outcome)) = poll(follower) else {
        panic!("no value")
    };
    assert_eq!(outcome.value, "the follower's own");
    // The work of a thread runs on its own thread, where its context lies.
    TRACE.set("mine");
    let traced = group.work(2, || TRACE.get().to_owned()).unwrap();
    assert_eq!(traced.value, "mine");
}

#[test]
fn pitfall_15_a_key_that_lacks_the_tenant_mixes_tenants_and_one_that_has_it_does_not() {
    /// What two tenants get who ask for the same page at once.
    fn ask<K: std::hash::Hash + Eq>(keys: [K; 2]) -> [&'static str; 2] {
        let group: Group<K, &'static str> = Group::new();
        let (gate, opened) = gate();
        let [red, blue] = keys;
        let mut red = pin!(group.work_async(red, || async {
            opened.await;
            "red's page"
        }));
        let mut blue = pin!(group.work_async(blue, || ready("blue's page")));
        assert!(poll(red.as_mut()).is_pending());
        let early = poll(blue.as_mut());
        gate.open(0);
        let Poll::Ready(Ok(red)) = poll(red) else {
            panic!("no page")
        };
        let Poll::Ready(Ok(blue)) = (if early.is_ready() { early } else { poll(blue) }) else {
            panic!("no page")
        };
        [red.value, blue.value]
    }
    assert_eq!(ask(["/home", "/home"]), ["red's page", "red's page"]);
    assert_eq!(
        ask([("red", "/home"), ("blue", "/home")]),
        ["red's page", "blue's page"]
    );
}

#[test]
fn pitfall_16_two_loads_that_need_each_others_keys_do_not_deadlock() {
    let group = Numbers::new();
    let both_lead = Barrier::new(2);
    let cycles = AtomicUsize::new(0);
    let need = |own, other| {
        group.work(own, || {
            both_lead.wait();
            match group.work(other, || 0) {
                Ok(outcome) => outcome.value + 1,
                Err(FlightError::Cycle) => {
                    cycles.fetch_add(1, Ordering::Relaxed);
                    10
                }
                Err(error) => panic!("{error}"),
            }
        })
    };
    thread::scope(|scope| {
        scope.spawn(|| need(1, 2));
        scope.spawn(|| need(2, 1));
    });
    assert_eq!(cycles.into_inner(), 1);
}

#[test]
fn pitfall_17_a_thread_on_which_the_leaders_task_sleeps_works_for_itself() {
    let group = Numbers::new();
    let (gate, opened) = gate();
    let mut leader = pin!(group.work_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    let alone = group.work(1, || 7).unwrap();
    assert_eq!((alone.value, alone.shared), (7, false));
    let Err(error) = group.join(&1).unwrap().wait::<Infallible>() else {
        panic!("it waited for itself")
    };
    assert!(matches!(error, FlightError::Cycle));
    gate.open(8);
    assert!(matches!(poll(leader), Poll::Ready(Ok(outcome)) if outcome.value == 8));
}

#[test]
fn pitfall_18_a_leader_that_nobody_polls_loses_the_flight_and_its_late_result_is_dropped() {
    let time = ManualClock::new();
    let group = Numbers::builder()
        .lease(Duration::from_secs(1))
        .clock(time.clock())
        .build()
        .unwrap();
    let (stuck_gate, opened) = gate();
    let mut stuck = pin!(group.work_async(1, || opened));
    assert!(poll(stuck.as_mut()).is_pending());
    let (heir_gate, heir_opened) = gate();
    let mut heir = pin!(group.work_async(1, || heir_opened));
    let mut other = pin!(group.work_async(1, || ready(9)));
    assert!(poll(heir.as_mut()).is_pending());
    assert!(poll(other.as_mut()).is_pending());
    time.advance(Duration::from_secs(1));
    assert!(poll(heir.as_mut()).is_pending(), "it works now");
    assert!(poll(other.as_mut()).is_pending(), "it follows the new one");
    stuck_gate.open(7);
    let Poll::Ready(Ok(late)) = poll(stuck) else {
        panic!("no value")
    };
    assert_eq!((late.value, late.shared), (7, false));
    assert!(
        poll(other.as_mut()).is_pending(),
        "the late result was given"
    );
    heir_gate.open(8);
    assert!(matches!(poll(heir), Poll::Ready(Ok(o)) if o.value == 8 && o.role == Role::Promoted));
    assert!(matches!(poll(other), Poll::Ready(Ok(o)) if o.value == 8 && o.shared));
    assert_eq!(group.in_flight(), 0);
}

/// An executor whose tasks come out here.
fn executor() -> (Executor, mpsc::Receiver<Task>) {
    let (queue, tasks) = mpsc::channel();
    let executor = Executor::new(move |task| queue.send(task).map_err(|refused| refused.0));
    (executor, tasks)
}

fn detaching(executor: Executor) -> Numbers {
    Numbers::builder()
        .on_leader_drop(LeaderDrop::Detach(executor))
        .build()
        .unwrap()
}

/// A future that is pending until its gate opens.
fn gate() -> (Gate, Opened) {
    let value = Arc::new(Mutex::new(None));
    (Gate(Arc::clone(&value)), Opened(value))
}

struct Gate(Arc<Mutex<Option<u64>>>);

impl Gate {
    fn open(&self, value: u64) {
        *self.0.lock().unwrap() = Some(value);
    }
}

struct Opened(Arc<Mutex<Option<u64>>>);

impl Future for Opened {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        let mut value = self.0.lock().unwrap();
        value.take().map_or(Poll::Pending, Poll::Ready)
    }
}
