//! Every order of events that a scheduler may choose: leaders that panic or
//! are dropped half-way, followers of both kinds, invalidations between them.
//! Shuttle reports a deadlock when everybody left is parked, so that "nobody
//! hangs" needs no assertion of its own.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::running::thread_waker;
use super::store::{Store, quiet_panic};
use super::*;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[test]
fn callers_of_every_kind_share_one_attached_load_and_nobody_hangs() {
    explore(|| {
        let world = World::new();
        world.run(vec![Act::any(), Act::any(), Act::any(), Act::any()]);
        assert!(world.most_at_once() <= 1, "two loads of one key at once");
    });
}

#[test]
fn an_invalidated_value_is_never_stored_nor_given_to_those_who_come_later() {
    explore(|| {
        let world = World::new();
        world.run(vec![
            Act::any(),
            Act::Invalidate,
            Act::any(),
            Act::Invalidate,
            Act::Get(Fate::Loads),
        ]);
    });
}

#[test]
fn a_bulk_invalidation_detaches_like_a_single_one() {
    explore(|| {
        let world = World::new();
        world.run(vec![Act::any(), Act::InvalidateAll, Act::any(), Act::any()]);
    });
}

#[test]
fn a_cancelled_leader_is_followed_by_exactly_one() {
    explore(|| {
        let world = World::new();
        let followers = [
            Act::Get(Fate::Loads),
            Act::Poll(Fate::Loads),
            Act::Poll(Fate::Loads),
        ];
        world.run([&[Act::Cancel(Fate::Loads)], &followers[..]].concat());
        assert!(world.most_at_once() <= 1);
        assert!(
            world.loads() <= 2,
            "one leader dropped, {} loads",
            world.loads()
        );
    });
}

#[test]
fn a_storm_of_cancellations_ends_with_an_empty_table() {
    explore(|| {
        let world = World::new();
        world.run(vec![Act::Cancel(Fate::Loads); 4]);
        assert!(world.most_at_once() <= 1);
    });
}

#[test]
fn a_storm_of_panics_ends_with_an_empty_table() {
    explore(|| {
        let world = World::new();
        let (thread, task) = (Act::Get(Fate::Panics), Act::Poll(Fate::Panics));
        world.run(vec![thread, task, thread, task]);
        assert_eq!(world.loads(), 4, "every caller fails by its own loader");
    });
}

#[test]
fn errors_reach_all_who_wait_or_they_load_for_themselves() {
    explore(|| {
        let world = World::new();
        let fails = || {
            if coin() {
                Act::Get(Fate::Fails)
            } else {
                Act::Poll(Fate::Fails)
            }
        };
        world.run(vec![fails(), fails(), fails(), Act::any()]);
    });
}

#[test]
fn loaders_that_need_each_others_keys_never_hang() {
    explore(|| {
        let world = Arc::new(World::new());
        let cycles = Arc::new(AtomicUsize::new(0));
        let pairs = [(1, 2), (2, 1), (1, 2)];
        let threads = pairs.map(|(own, other)| {
            let (world, cycles) = (Arc::clone(&world), Arc::clone(&cycles));
            thread::spawn(move || {
                let nested = || {
                    load_sync(&world.store, other, other, Expects::Value, || {
                        world.load(other)
                    })
                };
                let load = || {
                    match nested() {
                        Err(LoadError::Cycle) => cycles.fetch_add(1, Ordering::SeqCst),
                        Err(error) => panic!("{error}"),
                        Ok(_) => 0,
                    };
                    world.load(own)
                };
                load_sync(&world.store, own, own, Expects::Value, load)
                    .map(drop)
                    .expect("loads");
            })
        });
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
        assert!(
            cycles.load(Ordering::SeqCst) <= 1,
            "one refusal opens the circle"
        );
        world.check_empty();
    });
}

#[test]
fn loaders_in_a_ring_never_hang_though_some_panic_and_some_are_tasks() {
    explore(|| {
        let world = Arc::new(World::new());
        let threads: Vec<_> = (0..3)
            .map(|own| {
                let world = Arc::clone(&world);
                let (panics, is_task) = (thread_rng().gen_ratio(1, 4), coin());
                thread::spawn(move || {
                    let call = || {
                        let other = (own + 1) % 3;
                        if is_task {
                            let nested = || async {
                                let load = || async { world.load(other) };
                                let _ =
                                    load_async(&world.store, other, other, Expects::Value, load)
                                        .await;
                                if panics {
                                    quiet_panic()
                                } else {
                                    world.load(own)
                                }
                            };
                            let _ = block_on(load_async(
                                &world.store,
                                own,
                                own,
                                Expects::Value,
                                nested,
                            ));
                        } else {
                            let nested = || {
                                let load = || world.load(other);
                                let _ = load_sync(&world.store, other, other, Expects::Value, load);
                                if panics {
                                    quiet_panic()
                                } else {
                                    world.load(own)
                                }
                            };
                            let _ = load_sync(&world.store, own, own, Expects::Value, nested);
                        }
                    };
                    let _ = catch_unwind(AssertUnwindSafe(call));
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no assertion fails in a caller");
        }
        world.check_empty();
    });
}

/// What one caller does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A thread that blocks.
    Get(Fate),
    /// A task, polled to its end.
    Poll(Fate),
    /// A task, dropped after a few polls.
    Cancel(Fate),
    Invalidate,
    InvalidateAll,
}

/// How its loader ends, if it is run.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Loads,
    Panics,
    Fails,
}

impl Act {
    fn any() -> Self {
        let fate = match thread_rng().gen_range(0..6) {
            0 => Fate::Panics,
            1 => Fate::Fails,
            _ => Fate::Loads,
        };
        match thread_rng().gen_range(0..3) {
            0 => Self::Get(fate),
            1 => Self::Poll(fate),
            _ => Self::Cancel(fate),
        }
    }
}

/// A version of the source and a token that counts its copies.
type Version = (u64, Arc<()>);

/// A source of versions, an owner in front of it, and what was seen of both.
struct World {
    store: Store<Version>,
    source: AtomicU64,
    /// The source's version at the last invalidation that has returned.
    floor: AtomicU64,
    loads: AtomicUsize,
    loading: AtomicUsize,
    most_at_once: AtomicUsize,
    token: Arc<()>,
}

impl World {
    fn new() -> Self {
        Self {
            store: Store::new(),
            source: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            loads: AtomicUsize::new(0),
            loading: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            token: Arc::new(()),
        }
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    /// Lets every act run in a thread of its own, and looks at what is left.
    fn run(&self, acts: Vec<Act>) {
        shuttle::thread::scope(|scope| {
            for act in acts {
                scope.spawn(move || self.act(act));
            }
        });
        let stored = self
            .store
            .shard
            .lock()
            .values
            .get(&KEY)
            .map(|(version, _)| *version);
        let floor = self.floor.load(Ordering::SeqCst);
        assert!(
            stored.is_none_or(|version| version >= floor),
            "an invalidated value was stored"
        );
        self.check_empty();
    }

    fn check_empty(&self) {
        assert_eq!(self.store.flights(), 0, "a flight was left behind");
        self.store.shard.lock().values.clear();
        assert_eq!(Arc::strong_count(&self.token), 1, "an outcome was kept");
    }

    fn act(&self, act: Act) {
        let floor = self.floor.load(Ordering::SeqCst);
        match act {
            Act::Get(fate) => {
                let load = || self.run_loader(fate);
                let call = || load_sync(&self.store, KEY, KEY, Expects::Value, load);
                Self::judge(catch_unwind(AssertUnwindSafe(call)), fate, floor);
            }
            Act::Poll(fate) => {
                let load = || self.run_async_loader(fate);
                let call = || block_on(load_async(&self.store, KEY, KEY, Expects::Value, load));
                Self::judge(catch_unwind(AssertUnwindSafe(call)), fate, floor);
            }
            Act::Cancel(fate) => {
                let polls = thread_rng().gen_range(0..4);
                let load = || self.run_async_loader(fate);
                let call = || {
                    let mut task = pin!(load_async(&self.store, KEY, KEY, Expects::Value, load));
                    (0..polls).find_map(|_| {
                        thread::yield_now();
                        let poll = task
                            .as_mut()
                            .poll(&mut Context::from_waker(&thread_waker()));
                        if let Poll::Ready(answer) = poll {
                            Some(answer)
                        } else {
                            None
                        }
                    })
                };
                if let Some(ended) = catch_unwind(AssertUnwindSafe(call)).transpose() {
                    Self::judge(ended, fate, floor);
                }
            }
            Act::Invalidate | Act::InvalidateAll => {
                let version = self.source.fetch_add(1, Ordering::SeqCst) + 1;
                if matches!(act, Act::Invalidate) {
                    self.store.invalidate(KEY);
                } else {
                    let mut shard = self.store.shard.lock();
                    shard.values.clear();
                    shard.flights.detach_all();
                }
                self.floor.fetch_max(version, Ordering::SeqCst);
            }
        }
    }

    /// No caller panics or fails unless by a loader of its own kind, and none
    /// gets what was invalidated before it came.
    fn judge(
        ended: std::thread::Result<Result<Option<Version>, LoadError<Failure>>>,
        fate: Fate,
        floor: u64,
    ) {
        match ended {
            Err(_) => assert!(matches!(fate, Fate::Panics), "a stranger's panic"),
            Ok(Ok(value)) => assert!(
                value.expect("a value").0 >= floor,
                "an invalidated value was given"
            ),
            // Errors of one type are shared.
            Ok(Err(error)) => assert!(matches!(error, LoadError::Failed(_)), "{error}"),
        }
    }

    fn run_loader(&self, fate: Fate) -> Result<Option<Version>, Failure> {
        let _loading = Loading::enter(self);
        let version = self.source.load(Ordering::SeqCst);
        thread::yield_now();
        self.end(fate, version)
    }

    async fn run_async_loader(&self, fate: Fate) -> Result<Option<Version>, Failure> {
        let _loading = Loading::enter(self);
        let version = self.source.load(Ordering::SeqCst);
        let mut suspensions = thread_rng().gen_range(0..3);
        std::future::poll_fn(|context| {
            if suspensions == 0 {
                return Poll::Ready(());
            }
            suspensions -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.end(fate, version)
    }

    fn end(&self, fate: Fate, version: u64) -> Result<Option<Version>, Failure> {
        match fate {
            Fate::Loads => Ok(Some((version, Arc::clone(&self.token)))),
            Fate::Panics => quiet_panic(),
            Fate::Fails => Err(Failure),
        }
    }

    /// A loader of the nested models, in the form the drivers call it in.
    #[allow(clippy::unnecessary_wraps)]
    fn load(&self, key: u64) -> Result<Option<Version>, Infallible> {
        thread::yield_now();
        Ok(Some((key, Arc::clone(&self.token))))
    }
}

#[derive(Debug)]
struct Failure;

/// Counts the loaders at work, and leaves them on every way out.
struct Loading<'a>(&'a World);

impl<'a> Loading<'a> {
    fn enter(world: &'a World) -> Self {
        world.loads.fetch_add(1, Ordering::SeqCst);
        let now = world.loading.fetch_add(1, Ordering::SeqCst) + 1;
        world.most_at_once.fetch_max(now, Ordering::SeqCst);
        Self(world)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.loading.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&thread_waker()))
    }
    let mut future = pin!(future);
    loop {
        match poll(future.as_mut()) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

pub(super) fn coin() -> bool {
    thread_rng().gen_ratio(1, 2)
}

pub(super) fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(ITERATIONS, model);
}

const KEY: u64 = 1;
const ITERATIONS: usize = 2500;
