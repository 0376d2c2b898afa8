//! Calls of a scattered read that panic, are cancelled, call back, or run on a pool.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::scatter_world::{Act, World, ms, read, router, square, with_copies};
use crate::support::{Census, Gate, Member, Tasks, in_time, poll, quiet_panic, until};
use tenfold::router::scatter::{Hedge, Partial, ShardError, ShardKeys};
use tenfold::task::{Executor, block_on};
use tenfold::time::{ManualClock, Timer};

#[test]
fn a_panicking_shard_fails_alone() {
    let router = router(10);
    let bad = router.route(0_u64);
    for act in [Act::PanicAtOnce, Act::Panic(1)] {
        let world = World::all_but(10, &[(bad, act)]);
        let (answer, _) = read(&world, router.scatter(0..100).policy(Partial::AtLeast(0.8)));
        let gathered = answer.unwrap();
        let [failure] = gathered.failed() else {
            panic!("one shard panics");
        };
        assert_eq!(
            (failure.node(), failure.error()),
            (bad, &ShardError::Panicked)
        );
    }
}

#[test]
fn a_call_whose_drop_panics_keeps_no_other_from_being_dropped() {
    struct PanicsWhenDropped(Member);
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            if !thread::panicking() {
                quiet_panic();
            }
        }
    }
    let (router, census, time) = (router(10), Census::default(), ManualClock::new());
    let scatter = || {
        router
            .scatter(0..100_u64)
            .timeout(ms(5))
            .timer(time.timer())
    };
    let call = |_, keys: ShardKeys<u64>| {
        let bomb = PanicsWhenDropped(census.member(0));
        async move {
            let bomb = bomb;
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(vec![bomb.0.number; keys.len()])
        }
    };
    let mut at_the_deadline = Box::pin(scatter().policy(Partial::Best).run(call));
    assert!(poll(at_the_deadline.as_mut()).is_pending());
    time.advance(ms(5));
    assert!(poll(at_the_deadline.as_mut()).is_ready());
    assert_eq!(census.alive(), 0);

    let mut half_way = Box::pin(scatter().run(call));
    assert!(poll(half_way.as_mut()).is_pending());
    assert_eq!(census.alive(), 10);
    drop(half_way);
    assert_eq!(census.alive(), 0);
}

/// A key that is counted.
struct Key(Member);

impl tenfold::hash::StableKey for Key {
    fn write_canonical(&self, bytes: &mut tenfold::hash::CanonicalBytes) {
        self.0.number.write_canonical(bytes);
    }
}

#[test]
fn a_read_dropped_half_way_takes_its_calls_and_keys_with_it() {
    let router = with_copies(10, 2);
    let world = World::new(vec![Act::Answer(20); 10]);
    let keys = Census::default();
    let scatter = router.scatter((0..100).map(|key| Key(keys.member(key))));
    let scatter = scatter.hedge(Hedge::after(ms(5))).timer(world.time.timer());
    let alive = &world.alive;
    let mut read = Box::pin(scatter.run(|_, keys| {
        let (nap, member) = (world.time.timer().sleep(ms(20)), alive.member(0));
        async move {
            let member = member;
            nap.await;
            Ok::<_, Infallible>(vec![member.number; keys.len()])
        }
    }));
    assert!(poll(read.as_mut()).is_pending());
    assert_eq!((alive.alive(), keys.alive()), (10, 100));
    world.time.advance(ms(5));
    assert!(poll(read.as_mut()).is_pending());
    assert!(alive.alive() > 10, "second calls run");
    drop(read);
    assert_eq!((alive.alive(), keys.alive()), (0, 0));
}

#[test]
fn a_call_may_use_the_router_and_one_topology_routes_all_of_it() {
    in_time(|| {
        let router = router(4);
        let before = router.topology();
        let again = router.clone();
        let scatter = router.scatter(0..100_u64).concurrency(1);
        let next = router.topology().edit().node("more").build().unwrap();
        let mut next = Some(next);
        let gathered = block_on(scatter.run(|node, keys| {
            // The first call puts another topology in force, and reads by that.
            if let Some(next) = next.take() {
                again.swap(next).unwrap();
            }
            assert!(keys.iter().all(|key| before.route(key) == node));
            let inner = again.scatter(keys.to_vec()).run(|_, keys| async move {
                Ok::<_, Infallible>(keys.iter().copied().map(square).collect())
            });
            async move {
                let answers = inner.await.unwrap();
                assert_eq!(answers.epoch(), 2);
                Ok::<_, Infallible>(answers.into_answers().into_iter().flatten().collect())
            }
        }));
        let gathered = gathered.unwrap();
        assert_eq!((gathered.epoch(), gathered.is_complete()), (1, true));
        assert_eq!(gathered.fold(0, |sum, square: u64| sum + square), 328_350);
    });
}

#[test]
fn a_call_may_wait_more_than_once() {
    let world = World::new(Vec::new());
    let timer = world.time.timer();
    let read = router(3)
        .scatter(0..10_u64)
        .timer(timer.clone())
        .run(|_, keys| {
            let timer = timer.clone();
            async move {
                for _ in 0..5 {
                    timer.sleep(ms(1)).await;
                }
                Ok::<_, Infallible>(keys.to_vec())
            }
        });
    let (answer, took) = world.run(read);
    assert_eq!((answer.unwrap().answered(), took), (10, ms(5)));
}

#[test]
fn only_calls_that_were_woken_are_polled() {
    let router = router(500);
    let acts = (0..500).map(|node| Act::Answer(1 + node % 50));
    let world = World::new(acts.collect());
    let (answer, _) = read(&world, router.scatter(0..20_000).concurrency(500));
    assert!(answer.unwrap().is_complete());
    assert_eq!(world.polls.get(), 2 * world.calls.borrow().len());
}

#[test]
fn a_call_that_wakes_itself_does_not_keep_the_read_from_its_deadline() {
    let (router, time) = (router(2), ManualClock::new());
    let scatter = router.scatter(0..10_u64).timeout(ms(5)).timer(time.timer());
    let mut read = pin!(scatter.policy(Partial::Best).run(|_, _| {
        std::future::poll_fn(
            |context: &mut Context<'_>| -> Poll<Result<Vec<()>, Infallible>> {
                context.waker().wake_by_ref();
                Poll::Pending
            },
        )
    }));
    assert!(poll(read.as_mut()).is_pending());
    assert!(poll(read.as_mut()).is_pending());
    time.advance(ms(5));
    assert!(poll(read.as_mut()).is_ready());
}

#[test]
fn a_waker_that_is_kept_wakes_nobody_after_the_read() {
    let kept = RefCell::new(Vec::new());
    let router = router(3);
    let read = router.scatter(0..10_u64).run(|_, keys| {
        let kept = &kept;
        let mut turns = 0;
        std::future::poll_fn(move |context: &mut Context<'_>| {
            turns += 1;
            kept.borrow_mut().push(context.waker().clone());
            if turns == 1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok::<_, Infallible>(vec![(); keys.len()]))
        })
    });
    block_on(read).unwrap();
    kept.take().into_iter().for_each(Waker::wake);
}

/// An executor that gives each task a thread; how many it was given, and how many of them are done.
fn threads() -> (Executor, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let counter = Arc::clone(&counts);
    let executor = Executor::new(move |task| {
        counter[0].fetch_add(1, Ordering::Relaxed);
        let counter = Arc::clone(&counter);
        thread::spawn(move || {
            task.run();
            counter[1].fetch_add(1, Ordering::Release);
        });
        Ok(())
    });
    (executor, counts)
}

#[test]
fn calls_that_block_run_on_a_pool_and_a_slow_one_is_left_behind() {
    in_time(|| {
        let (router, time, gate) = (router(4), ManualClock::new(), Gate::new());
        let (executor, counts) = threads();
        let [slow, bad] = [0_u64, 1].map(|key| router.route(key));
        assert_ne!(slow, bad);
        let scatter = router
            .scatter(0..100_u64)
            .timeout(ms(5))
            .timer(time.timer());
        let asked = (0..100_u64)
            .map(|key| router.route(key))
            .collect::<BTreeSet<_>>()
            .len();
        let stuck = gate.clone();
        let reader = thread::spawn(move || {
            scatter
                .policy(Partial::Best)
                .run_on(&executor, move |node, keys| {
                    if node == slow {
                        stuck.pass();
                    }
                    if node == bad {
                        quiet_panic();
                    }
                    Ok::<_, Infallible>(keys.iter().copied().map(square).collect())
                })
        });
        // Only now: one that had said it was about to answer was late now and then.
        until(|| counts.each_ref().map(|n| n.load(Ordering::Acquire)) == [asked, asked - 1]);
        until(|| {
            time.advance(ms(1));
            reader.is_finished()
        });
        let gathered = reader.join().unwrap().unwrap();
        gate.open(());
        assert_eq!(gathered.failed().len(), 2);
        for failure in gathered.failed() {
            if failure.node() == slow {
                assert_eq!(*failure.error(), ShardError::TimedOut { after: ms(5) });
            } else {
                assert_eq!(failure.node(), bad);
                assert_eq!(*failure.error(), ShardError::Panicked);
            }
        }
    });
}

#[test]
fn a_pool_without_room_or_that_drops_its_tasks_is_that_shards_error() {
    let router = router(4);
    let read = |executor: &Executor| {
        let scatter = router.scatter(0..100_u64).policy(Partial::Best);
        let gathered = scatter.run_on(executor, |_, keys| Ok::<_, Infallible>(keys.to_vec()));
        let gathered = gathered.unwrap();
        assert_eq!(gathered.failed().len(), 4);
        assert!(
            gathered
                .failed()
                .iter()
                .all(|f| *f.error() == ShardError::Refused)
        );
    };
    read(&Executor::new(Err));
    read(&Executor::new(|task| {
        drop(task);
        Ok(())
    }));
    let scatter = router.scatter_all().policy(Partial::Best);
    let gathered = scatter.run_on(&Executor::new(Err), Ok::<_, Infallible>);
    assert_eq!(gathered.unwrap().failed().len(), 4);
}

#[test]
fn a_call_on_a_pool_that_is_cancelled_before_it_began_never_begins() {
    in_time(|| {
        let (router, time, tasks) = (router(2), ManualClock::new(), Tasks::default());
        let executor = tasks.executor();
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let scatter = router.scatter_all().timeout(ms(5)).timer(time.timer());
        let reader = thread::spawn(move || {
            scatter.run_on(&executor, move |node| {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(node)
            })
        });
        until(|| tasks.len() == 2);
        until(|| {
            time.advance(ms(1));
            reader.is_finished()
        });
        let gathered = reader.join().unwrap().unwrap_err().into_gathered().unwrap();
        assert_eq!(gathered.answered(), 0);
        tasks.run();
        assert_eq!((tasks.len(), begun.load(Ordering::Relaxed)), (0, 0));
    });
}

#[test]
fn a_read_that_brings_no_timer_has_the_routers() {
    in_time(|| {
        let router = router(2);
        let scatter = router.scatter_all().timeout(ms(1)).policy(Partial::Best);
        let read = scatter.run(|_| std::future::pending::<Result<(), Infallible>>());
        assert_eq!(block_on(read).unwrap().answered(), 0);
    });
}

#[test]
fn a_runtimes_timer_will_do() {
    let time = ManualClock::new();
    let timer = time.timer();
    let foreign = Timer::from_sleep(move |duration| timer.sleep(duration));
    let router = with_copies(4, 2);
    let slow = router.route(0_u64);
    let world = World {
        time,
        ..World::all_but(4, &[(slow, Act::Never)])
    };
    let scatter = router
        .scatter(0..100)
        .hedge(Hedge::after(ms(10)))
        .timer(foreign);
    let (answer, took) = world.run(scatter.run(|node, keys| world.call(node, keys)));
    assert_eq!((answer.unwrap().hedged(), took), (1, ms(15)));
}
