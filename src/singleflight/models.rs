//! Groups under every order of events that a scheduler may choose: panics,
//! cancellations, forgettings, deadlines and leases between one another.
//! Shuttle reports a deadlock when everybody left is parked, so that "nobody
//! hangs" needs no assertion of its own.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::{FlightError, Group, LeaderDrop, OnPanic};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::Executor;
use crate::time::ManualClock;

#[test]
fn no_mix_of_panics_cancellations_and_forgettings_hangs_or_leaks() {
    explore(|| {
        let on_panic = match thread_rng().gen_range(0..3) {
            0 => OnPanic::PromoteOnce,
            1 => OnPanic::PropagateAll,
            _ => OnPanic::Error,
        };
        let on_drop = if coin() {
            LeaderDrop::Promote
        } else {
            LeaderDrop::Fail
        };
        let group = Group::builder()
            .on_panic(on_panic)
            .on_leader_drop(on_drop)
            .shards(1)
            .build()
            .expect("coherent");
        World::new(group).run(&[Act::Any, Act::Any, Act::Any, Act::Forget, Act::Any]);
    });
}

#[test]
fn without_losses_and_forgettings_one_works_for_all() {
    explore(|| {
        let world = World::new(Group::builder().shards(1).build().expect("coherent"));
        world.run(&[Act::Wait, Act::Wait, Act::Wait]);
        assert_eq!(world.most_at_once.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn deadlines_and_leases_lose_nobody() {
    explore(|| {
        let time = ManualClock::new();
        let builder = Group::builder()
            .clock(time.clock())
            .shards(1)
            .wait_timeout(3 * SECOND);
        let builder = if coin() {
            builder.lease(SECOND)
        } else {
            builder
        };
        let builder = if coin() {
            builder.linger(SECOND)
        } else {
            builder
        };
        let mut world = World::new(builder.build().expect("coherent"));
        world.time = Some(time);
        world.run(&[Act::Any, Act::Any, Act::Tick, Act::Any, Act::Forget]);
    });
}

#[test]
fn detached_work_reaches_whoever_stays_and_ends_when_nobody_does() {
    explore(|| {
        let executor = Executor::new(|task| {
            // Not `Task::run`, which parks the checker's own thread.
            thread::spawn(move || {
                if coin() {
                    block_on(task);
                }
            });
            Ok(())
        });
        let group = Group::builder()
            .on_leader_drop(LeaderDrop::Detach(executor))
            .shards(1)
            .build()
            .expect("coherent");
        let threads: Vec<_> = (0..3)
            .map(|n: u64| {
                let group: Group<u64, u64> = group.clone();
                let (cancels, is_task) = (thread_rng().gen_ratio(1, 3), coin());
                thread::spawn(move || {
                    if !is_task {
                        let answer = group.work_detached(1, move || n);
                        return assert!(matches!(answer, Ok(_) | Err(FlightError::LeaderDropped)));
                    }
                    let mut yields = 1;
                    let work = move || {
                        poll_fn(move |context| {
                            if yields == 0 {
                                return Poll::Ready(n);
                            }
                            yields -= 1;
                            context.waker().wake_by_ref();
                            Poll::Pending
                        })
                    };
                    let mut call = pin!(group.work_detached_async(1, work));
                    if cancels {
                        let waker = waker();
                        let _ = call.as_mut().poll(&mut Context::from_waker(&waker));
                        thread::yield_now();
                        return;
                    }
                    let answer = block_on(call);
                    assert!(matches!(answer, Ok(_) | Err(FlightError::LeaderDropped)));
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
    });
}

#[derive(Clone, Copy)]
enum Act {
    /// A caller, thread or task, that may panic, fail or be cancelled.
    Any,
    /// A caller that waits to the end and whose work brings a value.
    Wait,
    Forget,
    Tick,
}

struct World {
    group: Group<u64, u64>,
    time: Option<ManualClock>,
    working: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Debug)]
struct Failure;

#[derive(Clone, Copy)]
enum Fate {
    Value,
    Error,
    Panic,
}

impl World {
    fn new(group: Group<u64, u64>) -> Self {
        Self {
            group,
            time: None,
            working: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }

    fn run(&self, acts: &[Act]) {
        thread::scope(|scope| {
            for act in acts {
                scope.spawn(|| self.act(*act));
            }
        });
        assert_eq!(self.group.in_flight(), 0, "a flight was left behind");
    }

    fn act(&self, act: Act) {
        let fate = match (act, thread_rng().gen_range(0..5)) {
            (Act::Any, 0) => Fate::Panic,
            (Act::Any, 1) => Fate::Error,
            _ => Fate::Value,
        };
        match act {
            Act::Forget => _ = self.group.forget(&1),
            Act::Tick => {
                for _ in 0..4 {
                    if let Some(time) = &self.time {
                        time.advance(SECOND);
                    }
                    thread::yield_now();
                }
            }
            Act::Any if thread_rng().gen_ratio(1, 4) => self.cancelled(fate),
            Act::Any | Act::Wait => {
                let is_task = coin();
                let call = || {
                    if is_task {
                        block_on(pin!(self.group.try_work_async(1, || self.work_async(fate))))
                    } else {
                        self.group.try_work(1, || self.work(fate))
                    }
                };
                let ended = catch_unwind(AssertUnwindSafe(call));
                if let Ok(Ok(outcome)) = &ended {
                    assert_eq!(outcome.value, 7);
                }
                if matches!(act, Act::Wait) {
                    assert!(matches!(ended, Ok(Ok(_))), "nobody was lost");
                }
            }
        }
    }

    fn cancelled(&self, fate: Fate) {
        let call = || {
            let mut call = pin!(self.group.try_work_async(1, || self.work_async(fate)));
            for _ in 0..thread_rng().gen_range(0..3) {
                let waker = waker();
                if call
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready()
                {
                    break;
                }
                thread::yield_now();
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(call));
    }

    fn work(&self, fate: Fate) -> Result<u64, Failure> {
        let now = self.working.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        thread::yield_now();
        self.working.fetch_sub(1, Ordering::SeqCst);
        match fate {
            Fate::Value => Ok(7),
            Fate::Error => Err(Failure),
            Fate::Panic => resume_unwind(Box::new("on purpose")),
        }
    }

    async fn work_async(&self, fate: Fate) -> Result<u64, Failure> {
        let mut suspended = coin();
        poll_fn(|context| {
            if !suspended {
                return Poll::Ready(());
            }
            suspended = false;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.work(fate)
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = waker();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn coin() -> bool {
    thread_rng().gen_ratio(1, 2)
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(2500, model);
}

const SECOND: Duration = Duration::from_secs(1);
