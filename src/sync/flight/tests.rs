//! What callers of one key can rely on, driven by hand: no test waits for time.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::store::{Shop, Store, UNSTORABLE, quiet_panic};
use super::*;
use crate::sync::Mutex;

#[test]
fn a_lone_load_is_stored_and_leaves_no_entry() {
    let shop = Shop::new();
    assert_eq!(shop.get(1, || 10), 10);
    assert_eq!(shop.stored(1), Some(10));
    assert_eq!(shop.get(1, || unreachable!("stored")), 10);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn followers_share_one_load() {
    const FOLLOWERS: usize = 8;
    let shop = Shop::new();
    let (started, wait_for_start) = channel();
    let (release, released) = channel::<()>();
    let loads = AtomicUsize::new(0);
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            shop.get(1, move || {
                started.send(()).unwrap();
                released.recv().unwrap();
                7
            })
        });
        wait_for_start.recv().unwrap();
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|_| {
                scope.spawn(|| {
                    shop.get(1, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        8
                    })
                })
            })
            .collect();
        shop.until_waiting(1, FOLLOWERS);
        release.send(()).unwrap();
        assert_eq!(leader.join().unwrap(), 7);
        assert!(followers.into_iter().all(|f| f.join().unwrap() == 7));
    });
    assert_eq!(loads.into_inner(), 0);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn sync_and_async_callers_share_one_flight() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = pin!(shop.get_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    let mut task = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(task.as_mut()).is_pending());
    thread::scope(|scope| {
        let thread = scope.spawn(|| shop.get(1, || 10));
        shop.until_waiting(1, 2);
        gate.open(8);
        assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
        assert_eq!(thread.join().unwrap(), 8);
    });
    assert_eq!(poll(task.as_mut()), Poll::Ready(8));
}

#[test]
fn waiters_survive_a_panicking_leader() {
    let shop = Shop::new();
    let (started, wait_for_start) = channel();
    let (release, released) = channel::<()>();
    let loads = AtomicUsize::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        8
    };
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            catch_unwind(AssertUnwindSafe(|| {
                shop.get(1, move || {
                    started.send(()).unwrap();
                    released.recv().unwrap();
                    quiet_panic()
                })
            }))
        });
        wait_for_start.recv().unwrap();
        let followers: Vec<_> = (0..4).map(|_| scope.spawn(|| shop.get(1, load))).collect();
        shop.until_waiting(1, 4);
        release.send(()).unwrap();
        assert!(leader.join().unwrap().is_err());
        assert!(followers.into_iter().all(|f| f.join().unwrap() == 8));
    });
    assert_eq!(loads.into_inner(), 1);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn waiters_survive_a_cancelled_leader() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    thread::scope(|scope| {
        let follower = scope.spawn(|| shop.get(1, || 8));
        shop.until_waiting(1, 1);
        drop(leader);
        assert_eq!(follower.join().unwrap(), 8);
    });
    assert_eq!(shop.stored(1), Some(8));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn waiters_survive_a_leader_that_panics_while_polled() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let load = || async {
        opened.await;
        quiet_panic()
    };
    let mut leader = Box::pin(shop.get_async(1, load));
    assert!(poll(leader.as_mut()).is_pending());
    let mut follower = pin!(shop.get_async(1, || ready(8)));
    assert!(poll(follower.as_mut()).is_pending());
    gate.open(0);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut()))).is_err());
    assert_eq!(poll(follower.as_mut()), Poll::Ready(8));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_cancelled_leader_promotes_exactly_one_waiter() {
    let shop = Shop::new();
    let loads = Cell::new(0);
    let load = || {
        loads.set(loads.get() + 1);
        pending()
    };
    let mut tasks: Vec<_> = (0..5).map(|_| Box::pin(shop.get_async(1, load))).collect();
    assert!(
        tasks
            .iter_mut()
            .all(|task| poll(task.as_mut()).is_pending())
    );
    assert_eq!(loads.get(), 1);
    drop(tasks.remove(0));
    for _ in 0..2 {
        assert!(
            tasks
                .iter_mut()
                .all(|task| poll(task.as_mut()).is_pending())
        );
        assert_eq!(loads.get(), 2);
    }
    drop(tasks);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn only_the_promoted_waiter_is_woken() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    let bells: Vec<_> = (0..3).map(|_| Arc::new(Bell::default())).collect();
    let mut tasks: Vec<_> = bells
        .iter()
        .map(|_| Box::pin(shop.get_async(1, || ready(8))))
        .collect();
    for (task, bell) in tasks.iter_mut().zip(&bells) {
        assert!(poll_with(task.as_mut(), &Waker::from(Arc::clone(bell))).is_pending());
    }
    drop(leader);
    let rung: Vec<_> = bells.iter().map(|bell| bell.rung()).collect();
    assert_eq!(rung, [1, 0, 0]);
    assert_eq!(poll(tasks[0].as_mut()), Poll::Ready(8));
    let rung: Vec<_> = bells.iter().map(|bell| bell.rung()).collect();
    assert_eq!(rung, [1, 1, 1]);
    assert_eq!(poll(tasks[2].as_mut()), Poll::Ready(8));
}

#[test]
fn a_blocked_thread_is_promoted_before_a_task_that_nobody_polls() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    let mut task = pin!(shop.get_async(1, || ready(7)));
    assert!(poll(task.as_mut()).is_pending());
    thread::scope(|scope| {
        let thread = scope.spawn(|| shop.get(1, || 8));
        shop.until_waiting(1, 2);
        drop(leader);
        assert_eq!(thread.join().unwrap(), 8);
    });
    assert_eq!(poll(task.as_mut()), Poll::Ready(8));
}

#[test]
fn a_caller_takes_over_a_promotion_that_nobody_noticed() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    let mut task = pin!(shop.get_async(1, || ready(7)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(task.as_mut()).is_pending());
    drop(leader);
    // `task` is promoted, and lives on this very thread.
    assert_eq!(shop.get(1, || 8), 8);
    assert_eq!(shop.stored(1), Some(8));
    assert_eq!(poll(task.as_mut()), Poll::Ready(8));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_robbed_promoted_waiter_is_still_woken_at_landing() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    let mut task = pin!(shop.get_async(1, || ready(7)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(task.as_mut()).is_pending());
    drop(leader);
    let (gate, opened) = gate();
    let mut robber = Box::pin(shop.get_async(1, || opened));
    assert!(poll(robber.as_mut()).is_pending());
    let bell = Arc::new(Bell::default());
    assert!(poll_with(task.as_mut(), &Waker::from(Arc::clone(&bell))).is_pending());
    gate.open(9);
    assert_eq!(poll(robber.as_mut()), Poll::Ready(9));
    assert_eq!(bell.rung(), 1);
    assert_eq!(poll(task.as_mut()), Poll::Ready(9));
}

#[test]
fn promoted_waiter_that_is_dropped_passes_it_on() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    let mut heir = Box::pin(shop.get_async(1, || ready(7)));
    let mut last = Box::pin(shop.get_async(1, || ready(8)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(heir.as_mut()).is_pending());
    assert!(poll(last.as_mut()).is_pending());
    drop(leader);
    drop(heir);
    assert_eq!(poll(last.as_mut()), Poll::Ready(8));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn the_last_promoted_waiter_out_removes_the_entry() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    let mut heir = Box::pin(shop.get_async(1, || ready(7)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(heir.as_mut()).is_pending());
    drop(leader);
    assert_eq!(shop.flights(), 1);
    drop(heir);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn detached_flight_delivers_but_does_not_store() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = pin!(shop.get_async(1, || opened));
    let mut follower = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    assert!(shop.invalidate(1));
    gate.open(8);
    assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
    assert_eq!(poll(follower.as_mut()), Poll::Ready(8));
    assert_eq!(shop.stored(1), None);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_caller_after_the_detachment_starts_a_fresh_flight() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut old = pin!(shop.get_async(1, || opened));
    assert!(poll(old.as_mut()).is_pending());
    shop.invalidate(1);
    assert_eq!(shop.get(1, || 9), 9);
    gate.open(8);
    assert_eq!(poll(old.as_mut()), Poll::Ready(8));
    assert_eq!(
        shop.stored(1),
        Some(9),
        "the old flight stored over the new one"
    );
}

#[test]
fn an_old_leader_never_removes_a_newer_flight() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut old = Box::pin(shop.get_async(1, pending));
    assert!(poll(old.as_mut()).is_pending());
    shop.invalidate(1);
    let mut new = pin!(shop.get_async(1, || opened));
    assert!(poll(new.as_mut()).is_pending());
    drop(old);
    let mut follower = pin!(shop.get_async(1, || ready(9)));
    assert!(
        poll(follower.as_mut()).is_pending(),
        "the new flight was gone"
    );
    gate.open(8);
    assert_eq!(poll(new.as_mut()), Poll::Ready(8));
    assert_eq!(poll(follower.as_mut()), Poll::Ready(8));
    assert_eq!(shop.stored(1), Some(8));
}

#[test]
fn detached_flight_whose_leader_is_cancelled_still_delivers() {
    let shop = Shop::new();
    let mut leader = Box::pin(shop.get_async(1, pending));
    let mut heir = pin!(shop.get_async(1, || ready(7)));
    let mut last = pin!(shop.get_async(1, || ready(8)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(heir.as_mut()).is_pending());
    assert!(poll(last.as_mut()).is_pending());
    shop.with_flights(1, Flights::detach_all);
    drop(leader);
    assert_eq!(poll(heir.as_mut()), Poll::Ready(7));
    assert_eq!(poll(last.as_mut()), Poll::Ready(7));
    assert_eq!((shop.stored(1), shop.flights()), (None, 0));
}

#[test]
fn a_loader_may_invalidate_its_own_key_and_load_it_afresh() {
    let shop = Shop::new();
    let outer = shop.get(1, || {
        shop.invalidate(1);
        shop.get(1, || 7) + 1
    });
    assert_eq!(outer, 8);
    assert_eq!(shop.stored(1), Some(7));
}

#[test]
fn a_loader_that_reenters_its_key_gets_an_error() {
    let shop = Shop::new();
    let inner = || load_sync(&shop, 1, 1, Expects::Value, || Ok::<_, Infallible>(Some(7)));
    let mut seen = None;
    shop.get(1, || {
        seen = Some(inner());
        8
    });
    assert!(matches!(seen, Some(Err(LoadError::Reentrant))));
    assert_eq!(shop.stored(1), Some(8));
}

#[test]
fn an_async_loader_that_reenters_its_key_gets_an_error() {
    let shop = Shop::new();
    let seen = Cell::new(0);
    let load = || async {
        let task = load_async(&shop, 1, 1, Expects::Value, || {
            ready(Ok::<_, Infallible>(Some(7)))
        });
        seen.set(seen.get() + usize::from(matches!(task.await, Err(LoadError::Reentrant))));
        let thread = load_sync(&shop, 1, 1, Expects::Value, || Ok::<_, Infallible>(Some(7)));
        seen.set(seen.get() + usize::from(matches!(thread, Err(LoadError::Reentrant))));
        8
    };
    assert_eq!(poll(pin!(shop.get_async(1, load))), Poll::Ready(8));
    assert_eq!(seen.get(), 2);
}

#[test]
fn a_loader_that_reenters_its_key_when_it_is_dropped_gets_an_error() {
    struct Reenters<'a>(&'a Shop, &'a Cell<bool>);
    impl Drop for Reenters<'_> {
        fn drop(&mut self) {
            let again = load_sync(self.0, 1, 1, Expects::Value, || {
                Ok::<_, Infallible>(Some(7))
            });
            self.1.set(matches!(again, Err(LoadError::Reentrant)));
        }
    }
    let shop = Shop::new();
    let seen = Cell::new(false);
    let load = || async {
        let _reenters = Reenters(&shop, &seen);
        pending().await
    };
    let mut task = Box::pin(shop.get_async(1, load));
    assert!(poll(task.as_mut()).is_pending());
    drop(task);
    assert!(seen.get());
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_loader_may_load_other_keys() {
    let shop = Shop::new();
    assert_eq!(shop.get(1, || shop.get(2, || shop.get(3, || 1) + 1) + 1), 3);
    assert_eq!((shop.stored(3), shop.flights()), (Some(1), 0));
    assert!(shop.with_flights(1, |flights| flights.is_empty()));
}

#[test]
fn of_two_loaders_that_need_each_others_keys_one_gets_an_error() {
    let shop = Shop::new();
    let both_lead = Barrier::new(2);
    let cycles = AtomicUsize::new(0);
    let need = |own: u64, other: u64| {
        shop.get(own, || {
            both_lead.wait();
            match load_sync(&shop, other, other, Expects::Value, || {
                Ok::<_, Infallible>(Some(0))
            }) {
                Ok(value) => value.unwrap() + 1,
                Err(LoadError::Cycle) => {
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
    let mut stored = [shop.stored(1).unwrap(), shop.stored(2).unwrap()];
    stored.sort_unstable();
    assert_eq!(stored, [10, 11]);
}

#[test]
fn a_circle_of_three_tasks_is_found() {
    let shop = Shop::new();
    let cycles = Cell::new(0);
    let need = |own: u64, other: u64| {
        let (shop, cycles) = (&shop, &cycles);
        shop.get_async(own, move || async move {
            // Suspend once, so that all three lead before any of them joins.
            let mut first = true;
            std::future::poll_fn(|_| {
                if std::mem::take(&mut first) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            let other = load_async(shop, other, other, Expects::Value, || {
                ready(Ok::<_, Infallible>(Some(0)))
            });
            match other.await {
                Ok(value) => value.unwrap() + 1,
                Err(LoadError::Cycle) => {
                    cycles.set(cycles.get() + 1);
                    10
                }
                Err(error) => panic!("{error}"),
            }
        })
    };
    let (mut a, mut b, mut c) = (pin!(need(1, 2)), pin!(need(2, 3)), pin!(need(3, 1)));
    for _ in 0..2 {
        assert!(poll(a.as_mut()).is_pending());
        assert!(poll(b.as_mut()).is_pending());
        if cycles.get() == 0 {
            let _ = poll(c.as_mut());
        }
    }
    assert_eq!(cycles.get(), 1);
    assert_eq!(poll(b.as_mut()), Poll::Ready(11));
    assert_eq!(poll(a.as_mut()), Poll::Ready(12));
}

#[test]
fn a_thread_does_not_wait_for_a_task_that_is_suspended_on_it() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = pin!(shop.get_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    assert_eq!(shop.get(1, || 7), 7);
    assert_eq!(shop.stored(1), None, "a load beside the flight was stored");
    let again = || load_sync(&shop, 1, 1, Expects::Value, || Ok::<_, Infallible>(Some(1)));
    let nested = load_sync(&shop, 1, 1, Expects::Value, || again().map_err(drop));
    assert!(
        matches!(nested, Err(LoadError::Failed(_))),
        "recursion without end"
    );
    gate.open(8);
    assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
    assert_eq!(shop.stored(1), Some(8));
}

#[test]
fn a_thread_waits_for_a_task_that_moved_to_another() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = Box::pin(shop.get_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            assert!(poll(leader.as_mut()).is_pending());
            shop.until_waiting(1, 1);
            gate.open(8);
            assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
        });
        // Until the task was polled there, this thread may load for itself.
        let mut got = shop.get(1, || 0);
        while got == 0 {
            got = shop.get(1, || 0);
        }
        assert_eq!(got, 8);
        mover.join().unwrap();
    });
}

#[test]
fn no_entry_left_after_cancelled_unique_keys() {
    let shop = Shop::new();
    let mut tasks: Vec<_> = (0..10_000)
        .map(|key| Box::pin(shop.get_async(key, pending)))
        .collect();
    assert!(
        tasks
            .iter_mut()
            .all(|task| poll(task.as_mut()).is_pending())
    );
    assert_eq!(shop.flights(), 10_000);
    drop(tasks);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn dropped_waiter_leaves_no_waker() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = pin!(shop.get_async(1, || opened));
    assert!(poll(leader.as_mut()).is_pending());
    let bell = Arc::new(Bell::default());
    let mut follower = Box::pin(shop.get_async(1, || ready(9)));
    for _ in 0..3 {
        let waker = Waker::from(Arc::clone(&bell));
        assert!(poll_with(follower.as_mut(), &waker).is_pending());
        drop(waker);
        assert_eq!(
            Arc::strong_count(&bell),
            2,
            "one waker kept, however often polled"
        );
    }
    drop(follower);
    assert_eq!(Arc::strong_count(&bell), 1);
    gate.open(8);
    assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
    assert_eq!(bell.rung(), 0);
}

#[test]
fn a_waiter_that_moves_to_another_task_is_woken_there() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = pin!(shop.get_async(1, || opened));
    let mut follower = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(leader.as_mut()).is_pending());
    let (old, new) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    assert!(poll_with(follower.as_mut(), &Waker::from(Arc::clone(&old))).is_pending());
    assert!(poll_with(follower.as_mut(), &Waker::from(Arc::clone(&new))).is_pending());
    gate.open(8);
    assert_eq!(poll(leader.as_mut()), Poll::Ready(8));
    assert_eq!((old.rung(), new.rung()), (0, 1));
    assert_eq!(Arc::strong_count(&old), 1);
}

#[test]
fn a_waker_that_panics_costs_nobody_else_the_wake_up() {
    struct Rude;
    impl Wake for Rude {
        fn wake(self: Arc<Self>) {
            quiet_panic();
        }
    }
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = Box::pin(shop.get_async(1, || opened));
    let mut rude = pin!(shop.get_async(1, || ready(9)));
    let mut polite = pin!(shop.get_async(1, || ready(9)));
    let bell = Arc::new(Bell::default());
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll_with(rude.as_mut(), &Waker::from(Arc::new(Rude))).is_pending());
    assert!(poll_with(polite.as_mut(), &Waker::from(Arc::clone(&bell))).is_pending());
    gate.open(8);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut()))).is_err());
    assert_eq!(bell.rung(), 1);
    assert_eq!(poll(polite.as_mut()), Poll::Ready(8));
    assert_eq!(poll(rude.as_mut()), Poll::Ready(8));
}

#[test]
fn errors_are_shared_and_not_kept() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let fail = || async { Err::<Option<u64>, _>(opened.await) };
    let mut leader = pin!(load_async(&shop, 1, 1, Expects::Value, fail));
    let mut follower = pin!(load_async(&shop, 1, 1, Expects::Value, || ready(Err::<
        Option<u64>,
        _,
    >(
        0_u64
    ))));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    gate.open(5);
    let Poll::Ready(Err(LoadError::Failed(first))) = poll(leader.as_mut()) else {
        panic!("no error")
    };
    let Poll::Ready(Err(LoadError::Failed(second))) = poll(follower.as_mut()) else {
        panic!("no error")
    };
    assert_eq!(*first, 5);
    assert!(Arc::ptr_eq(&first, &second));
    drop(second);
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(shop.get(1, || 8), 8);
}

#[test]
fn a_waiter_with_another_error_type_runs_its_own_loader() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let fail = || async { Err::<Option<u64>, _>(opened.await) };
    let mut leader = pin!(load_async(&shop, 1, 1, Expects::Value, fail));
    let mut follower = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    gate.open(5);
    assert!(matches!(
        poll(leader.as_mut()),
        Poll::Ready(Err(LoadError::Failed(_)))
    ));
    assert_eq!(poll(follower.as_mut()), Poll::Ready(9));
    assert_eq!(shop.stored(1), Some(9));
}

#[test]
fn absence_is_shared_by_those_who_expect_it() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let nothing = || async {
        opened.await;
        Ok::<_, Infallible>(None)
    };
    let mut leader = pin!(load_async(&shop, 1, 1, Expects::MaybeAbsent, nothing));
    let own = || ready(Ok::<_, Infallible>(Some(7)));
    let mut modest = pin!(load_async(&shop, 1, 1, Expects::MaybeAbsent, own));
    let mut strict = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(modest.as_mut()).is_pending());
    assert!(poll(strict.as_mut()).is_pending());
    gate.open(0);
    assert!(matches!(poll(leader.as_mut()), Poll::Ready(Ok(None))));
    assert!(matches!(poll(modest.as_mut()), Poll::Ready(Ok(None))));
    assert_eq!(poll(strict.as_mut()), Poll::Ready(9));
}

#[test]
fn a_loader_that_always_panics_ends_every_call_after_one_attempt() {
    let shop = Shop::new();
    let attempts = AtomicUsize::new(0);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                let call = || {
                    shop.get(1, || {
                        attempts.fetch_add(1, Ordering::Relaxed);
                        quiet_panic()
                    })
                };
                assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
            });
        }
    });
    assert_eq!(attempts.into_inner(), 4);
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_panic_while_storing_sends_the_waiters_back_to_the_start() {
    let shop = Shop::new();
    let (gate, opened) = gate();
    let mut leader = Box::pin(shop.get_async(1, || opened));
    let mut follower = pin!(shop.get_async(1, || ready(9)));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    gate.open(UNSTORABLE);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut()))).is_err());
    assert_eq!(poll(follower.as_mut()), Poll::Ready(9));
    assert_eq!((shop.stored(1), shop.flights()), (Some(9), 0));
}

#[test]
fn the_outcome_dies_with_its_last_receiver() {
    let shop = Store::<Arc<()>>::new();
    let value = Arc::new(());
    let (gate, opened) = gate();
    let load = || async {
        opened.await;
        Ok::<_, Infallible>(Some(Arc::clone(&value)))
    };
    let own = || ready(Ok::<_, Infallible>(None));
    let mut leader = Box::pin(load_async(&shop, 1, 1, Expects::Value, load));
    let mut follower = Box::pin(load_async(&shop, 1, 1, Expects::Value, own));
    let mut idle = Box::pin(load_async(&shop, 1, 1, Expects::Value, own));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    assert!(poll(idle.as_mut()).is_pending());
    gate.open(0);
    assert!(poll(leader.as_mut()).is_ready());
    assert!(poll(follower.as_mut()).is_ready());
    drop(idle);
    shop.shard.lock().values.clear();
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_load_may_travel_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let shop = Shop::new();
    is_send(&load_async(&shop, 1, 1, Expects::Value, || {
        ready(Ok::<_, Infallible>(Some(7)))
    }));
}

impl Shop {
    pub(super) fn get(&self, key: u64, load: impl FnOnce() -> u64) -> u64 {
        let answer = load_sync(self, key, key, Expects::Value, || {
            Ok::<_, Infallible>(Some(load()))
        });
        answer.unwrap().unwrap()
    }

    pub(super) async fn get_async<F: Future<Output = u64>>(
        &self,
        key: u64,
        load: impl FnOnce() -> F,
    ) -> u64 {
        let load = || async { Ok::<_, Infallible>(Some(load().await)) };
        load_async(self, key, key, Expects::Value, load)
            .await
            .unwrap()
            .unwrap()
    }

    pub(super) fn stored(&self, key: u64) -> Option<u64> {
        self.shard.lock().values.get(&key).copied()
    }

    /// Yields the processor until so many callers stand in line for `key`.
    pub(super) fn until_waiting(&self, key: u64, callers: usize) {
        while self
            .shard
            .lock()
            .flights
            .waiting(key, |known| *known == key)
            < callers
        {
            thread::yield_now();
        }
    }
}

pub(super) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

pub(super) fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Bell(AtomicUsize);

impl Bell {
    pub(super) fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is pending until its gate opens.
pub(super) fn gate() -> (Gate, Opened) {
    let value = Arc::new(Mutex::new(None));
    (Gate(Arc::clone(&value)), Opened(value))
}

pub(super) struct Gate(Arc<Mutex<Option<u64>>>);

impl Gate {
    pub(super) fn open(&self, value: u64) {
        *self.0.lock() = Some(value);
    }
}

pub(super) struct Opened(Arc<Mutex<Option<u64>>>);

impl Future for Opened {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        self.0.lock().take().map_or(Poll::Pending, Poll::Ready)
    }
}
