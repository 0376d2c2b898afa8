//! Leaders that run elsewhere, waits that time out and leases that end, under
//! every order of events that a scheduler may choose. Shuttle reports a deadlock
//! when everybody left is parked, so that "nobody hangs" needs no assertion.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::models::{block_on, coin, explore};
use super::running::thread_waker;
use super::store::Store;
use super::*;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::time::{Clock, ManualClock};

#[test]
fn whoever_waits_for_a_leader_that_runs_elsewhere_gets_its_outcome_or_news_of_its_end() {
    explore(|| {
        let store = Arc::new(Store::<u64>::new());
        let loads = Arc::new(AtomicUsize::new(0));
        let Ok(Detached::Led(lead, mut starter)) =
            start_detached(Arc::clone(&store), KEY, KEY, Caller::Thread)
        else {
            panic!("nothing is under way")
        };
        let dropped = coin();
        let mut threads = vec![{
            let loads = Arc::clone(&loads);
            thread::spawn(move || {
                if !dropped {
                    let answer = lead.run_sync(|| load(&loads));
                    assert!(matches!(answer, Ok(Some(7))));
                }
            })
        }];
        for _ in 0..2 {
            let (store, loads) = (Arc::clone(&store), Arc::clone(&loads));
            threads.push(thread::spawn(move || {
                let answer = load_sync(&*store, KEY, KEY, Expects::Value, || load(&loads));
                assert!(matches!(answer, Ok(Some(7))));
            }));
        }
        let guest = Arc::clone(&store);
        threads.push(thread::spawn(move || {
            let place = join(&*guest, KEY, |key| *key == KEY, Caller::Thread, usize::MAX);
            if let Ok(Some(mut place)) = place {
                assert!(matches!(
                    place.wait(),
                    Waited::Landed(Outcome::Value(7), _) | Waited::LeaderDropped
                ));
            }
        }));
        match starter.wait() {
            Waited::Landed(Outcome::Value(7), _) => {}
            Waited::LeaderDropped => assert!(dropped, "the leader landed"),
            _ => panic!("a place that never leads"),
        }
        drop(starter);
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
        assert_eq!(store.flights(), 0);
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_wait_that_times_out_takes_no_promotion_with_it() {
    explore(|| {
        let world = Arc::new(World::new());
        let mut threads = vec![world.cancelled_leader()];
        for _ in 0..2 {
            threads.push(world.waits(None));
        }
        threads.push(world.turns_the_clock());
        // One who has time, and must not be forgotten.
        let patient = Arc::clone(&world);
        threads.push(thread::spawn(move || {
            let load = || load(&patient.loads);
            let answer = load_sync(&patient.store, KEY, KEY, Expects::Value, load);
            assert!(matches!(answer, Ok(Some(7))));
        }));
        world.end(threads);
        assert_eq!(world.store.shard.lock().values.get(&KEY), Some(&7));
    });
}

#[test]
fn a_leader_that_nobody_polls_holds_nobody_beyond_its_lease() {
    explore(|| {
        let world = Arc::new(World::new());
        let Ok(Begun::Lead(lead)) = world.begin(Some(LEASE), Caller::Thread) else {
            panic!("nothing is under way")
        };
        let mut threads = Vec::new();
        for _ in 0..3 {
            threads.push(world.waits(Some(LEASE)));
        }
        threads.push(world.turns_the_clock());
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
        let stored = world.store.shard.lock().values.get(&KEY).copied();
        // Late, or first after all if no one was there to take its place.
        lead.land(&Outcome::Value(6));
        let now = world.store.shard.lock().values.get(&KEY).copied();
        assert!(
            stored.is_none_or(|_| now == stored),
            "a late result was stored"
        );
        assert_eq!(world.store.flights(), 0);
    });
}

#[test]
fn a_lease_that_ends_while_the_leader_lands_or_gives_up_loses_nobody() {
    explore(|| {
        let world = Arc::new(World::new());
        let leader = Arc::clone(&world);
        let mut threads = vec![thread::spawn(move || {
            if let Ok(Begun::Lead(lead)) = leader.begin(Some(LEASE), Caller::Thread) {
                thread::yield_now();
                if coin() {
                    lead.land(&Outcome::Value(7));
                }
            }
        })];
        for _ in 0..2 {
            threads.push(world.waits(Some(LEASE)));
        }
        threads.push(world.turns_the_clock());
        world.end(threads);
    });
}

struct World {
    store: Store<u64>,
    time: ManualClock,
    loads: AtomicUsize,
}

impl World {
    fn new() -> Self {
        Self {
            store: Store::new(),
            time: ManualClock::new(),
            loads: AtomicUsize::new(0),
        }
    }

    fn end(&self, threads: Vec<thread::JoinHandle<()>>) {
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
        assert_eq!(self.store.flights(), 0, "a flight was left behind");
    }

    fn begin(
        &self,
        lease: Option<Duration>,
        caller: Caller,
    ) -> Result<Begun<&Store<u64>>, Refusal> {
        let now = self.time.now();
        let terms = Terms {
            now,
            lease_ends: lease.map_or(crate::time::Instant::NEVER, |lease| now + lease),
            ..Terms::NONE
        };
        let start = {
            let mut shard = self.store.shard.lock();
            match shard.values.get(&KEY) {
                Some(value) => Start::Found(*value),
                None => shard.flights.start_on(KEY, KEY, caller, &terms),
            }
        };
        Begun::guard(&self.store, KEY, start)
    }

    /// A task that leads, and is dropped after a few polls.
    fn cancelled_leader(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let world = Arc::clone(self);
        thread::spawn(move || {
            let never = std::future::pending::<Result<Option<u64>, Infallible>>;
            let mut task = pin!(load_async(&world.store, KEY, KEY, Expects::Value, never));
            for _ in 0..2 {
                let waker = thread_waker();
                let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_ready() {
                    return;
                }
                thread::yield_now();
            }
        })
    }

    /// A caller, thread or task, that waits until its deadline and no longer.
    fn waits(self: &Arc<Self>, lease: Option<Duration>) -> thread::JoinHandle<()> {
        let world = Arc::clone(self);
        let is_task = coin();
        thread::spawn(move || {
            let clock: Clock = world.time.clock();
            let caller = if is_task {
                Caller::Task
            } else {
                Caller::Thread
            };
            let until = Until {
                clock: &clock,
                deadline: clock.now() + DEADLINE,
                lease,
            };
            let lead = match world.begin(lease, caller) {
                Ok(Begun::Found(value)) => return assert_eq!(value, 7),
                Ok(Begun::Lead(lead)) => lead,
                Ok(Begun::Follow(mut place, _)) => {
                    let waited = if is_task {
                        block_on(place.wait_until_async(&until, &world.time.timer()))
                    } else {
                        place.wait_until(&until)
                    };
                    match waited {
                        Waited::Landed(Outcome::Value(value), _) => return assert_eq!(value, 7),
                        Waited::TimedOut => {
                            assert!(clock.now() >= until.deadline, "too early");
                            return;
                        }
                        Waited::Lead(lead) => lead,
                        _ => panic!("nobody fails"),
                    }
                }
                _ => panic!("nobody nests"),
            };
            if thread_rng().gen_ratio(3, 4) {
                let answer = lead.run_sync(|| load(&world.loads));
                assert!(matches!(answer, Ok(Some(7))));
            }
        })
    }

    fn turns_the_clock(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let world = Arc::clone(self);
        thread::spawn(move || {
            for _ in 0..6 {
                world.time.advance(LEASE);
                thread::yield_now();
            }
        })
    }
}

#[allow(clippy::unnecessary_wraps, reason = "in the form of a loader")]
fn load(loads: &AtomicUsize) -> Result<Option<u64>, Infallible> {
    loads.fetch_add(1, Ordering::SeqCst);
    thread::yield_now();
    Ok(Some(7))
}

const KEY: u64 = 1;
const LEASE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(3);
