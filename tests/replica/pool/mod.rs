//! The pool of connections to one server, as its users see it: who gets which connection, when, and what becomes of
//! those that come back.

mod model;
mod server;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use server::{Refused, Server};
use tenfold::replica::Async;
use tenfold::replica::pool::{GetError, Pool, PoolBuildError, PoolOptions, Pooled};
use tenfold::time::{Jitter, ManualClock};

const SECOND: Duration = Duration::from_secs(1);

type Tasks = Pool<Async<Server>>;
type Threads = Pool<Server>;
type Answer = Result<Pooled<Async<Server>>, GetError<Refused>>;

struct World {
    server: Server,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::default(),
            clock: ManualClock::new(),
        }
    }

    fn options(&self) -> PoolOptions {
        PoolOptions::new()
            .clock(self.clock.clock())
            .jitter(Jitter::none())
    }

    fn tasks(&self, options: PoolOptions) -> Tasks {
        let client = Async(self.server.clone());
        options.build(client, Server::endpoint()).unwrap()
    }

    fn threads(&self, options: PoolOptions) -> Threads {
        options
            .build(self.server.clone(), Server::endpoint())
            .unwrap()
    }
}

/// A caller that is polled by hand, and only once it was woken.
struct Caller {
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    bell: Arc<Bell>,
    heard: usize,
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Caller {
    fn new(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        let bell = Arc::<Bell>::default();
        bell.0.fetch_add(1, Ordering::SeqCst);
        Self {
            future: Box::pin(future),
            bell,
            heard: 0,
        }
    }

    fn of(pool: &Tasks) -> Self {
        let pool = pool.clone();
        Self::new(async move { pool.get_async().await })
    }

    /// A caller that waits already.
    fn waiting(pool: &Tasks) -> Self {
        let mut caller = Self::of(pool);
        assert!(caller.poll().is_none());
        caller
    }

    fn within(pool: &Tasks, wait: Duration) -> Self {
        let pool = pool.clone();
        Self::new(async move { pool.get_within_async(wait).await })
    }

    /// What became of it so far. One that was not woken is not asked, as no runtime would.
    fn poll(&mut self) -> Option<Answer> {
        let waker = Waker::from(Arc::clone(&self.bell));
        loop {
            let rung = self.bell.0.load(Ordering::SeqCst);
            if rung == self.heard {
                return None;
            }
            self.heard = rung;
            let mut context = Context::from_waker(&waker);
            if let Poll::Ready(answer) = self.future.as_mut().poll(&mut context) {
                return Some(answer);
            }
        }
    }

    fn lent(&mut self) -> Pooled<Async<Server>> {
        self.poll().expect("it was woken").expect("it is lent one")
    }
}

/// What an answer was instead of a connection.
fn error(answer: Answer) -> GetError<Refused> {
    answer.map(|lent| lent.id).unwrap_err()
}

/// A nanosecond less.
fn almost(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_nanos(1))
}

fn spin_until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

mod lending {
    use super::*;

    #[test]
    fn the_connection_that_was_used_last_is_lent_next() {
        let world = World::new();
        let pool = world.threads(world.options());
        let (a, b, c) = (
            pool.get().unwrap(),
            pool.get().unwrap(),
            pool.get().unwrap(),
        );
        assert_eq!((a.id, b.id, c.id), (0, 1, 2));
        drop((b, a, c));
        let again: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
        assert_eq!(
            again.iter().map(|lent| lent.id).collect::<Vec<_>>(),
            [2, 0, 1]
        );
    }

    #[test]
    fn nothing_is_made_while_something_is_idle() {
        let world = World::new();
        let pool = world.threads(world.options());
        for _ in 0..100 {
            drop(pool.get().unwrap());
        }
        assert_eq!(world.server.made(), [0]);
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(3));
        let lent: Vec<_> = (0..3).map(|_| Caller::of(&pool).lent()).collect();
        let mut fourth = Caller::waiting(&pool);
        assert_eq!(world.server.made().len(), 3);
        drop(lent);
        assert_eq!(fourth.lent().id, 0);
        assert_eq!(world.server.made().len(), 3);
    }

    #[test]
    fn waiters_are_served_in_the_order_in_which_they_came() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let mut held = Some(Caller::of(&pool).lent());
        let mut callers: Vec<_> = (0..8).map(|_| Caller::waiting(&pool)).collect();
        for next in 0..callers.len() {
            drop(held.take());
            let served: Vec<_> = callers
                .iter_mut()
                .map(Caller::poll)
                .enumerate()
                .filter_map(|(n, answer)| Some((n, answer?.unwrap())))
                .collect();
            assert_eq!(served.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [next]);
            held = served.into_iter().next().map(|(_, lent)| lent);
        }
        drop(held);
        assert_eq!(pool.stats().handed_over, 8);
    }

    #[test]
    fn a_newcomer_does_not_take_what_was_given_back_to_a_waiter() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        drop(held);
        // The waiter was woken and has not run yet.
        assert!(pool.try_get().is_none());
        let mut newcomer = Caller::waiting(&pool);
        let lent = waiter.lent();
        assert!(newcomer.poll().is_none());
        drop(lent);
        assert_eq!(newcomer.lent().id, 0);
    }

    #[test]
    fn a_pool_hands_nothing_out_without_waiting_but_what_is_idle() {
        let world = World::new();
        let pool = world.threads(world.options());
        assert!(pool.try_get().is_none());
        drop(pool.get().unwrap());
        assert_eq!(pool.try_get().unwrap().id, 0);
        // Where a test is due, it leaves it to who may wait.
        world.clock.advance(31 * SECOND);
        assert!(pool.try_get().is_none());
        assert_eq!(pool.stats().idle, 1);
        assert_eq!(world.server.tested(), [0_u32; 0]);
    }

    #[test]
    fn one_that_was_looked_at_in_vain_is_still_the_next() {
        let world = World::new();
        let pool = world.threads(world.options());
        let (a, b) = (pool.get().unwrap(), pool.get().unwrap());
        drop((a, b));
        world.clock.advance(31 * SECOND);
        assert!(pool.try_get().is_none());
        assert_eq!(pool.get().unwrap().id, 1);
    }

    #[test]
    fn threads_are_served_in_the_order_in_which_they_came() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1));
        let held = pool.get().unwrap();
        let order = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..4 {
                let (pool, order) = (&pool, &order);
                scope.spawn(move || {
                    let lent = pool.get().unwrap();
                    order.lock().unwrap().push(n);
                    drop(lent);
                });
                spin_until(|| pool.stats().waiting == n + 1);
            }
            drop(held);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }
}

mod connecting {
    use super::*;

    #[test]
    fn no_more_are_made_at_a_time_than_may_be() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options().max_size(10).max_connecting(2));
        let mut callers: Vec<_> = (0..5).map(|_| Caller::waiting(&pool)).collect();
        assert_eq!(world.server.attempts(), [0, 1]);
        assert_eq!((pool.stats().connecting, pool.stats().waiting), (2, 3));

        world.server.finish(1, Ok(()));
        let second = callers[1].lent();
        assert!(callers[2].poll().is_none());
        assert_eq!(world.server.attempts(), [0, 2]);
        drop(second);
    }

    #[test]
    fn who_waits_for_a_turn_to_connect_takes_what_comes_back() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(10).max_connecting(1));
        let held = Caller::of(&pool).lent();
        world.server.hold();
        let mut connecting = Caller::waiting(&pool);
        let mut waiting = Caller::waiting(&pool);
        drop(held);
        assert_eq!(waiting.lent().id, 0);
        assert!(connecting.poll().is_none());
    }

    #[test]
    fn more_may_be_made_at_a_time_when_that_is_changed() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options().max_connecting(1));
        let mut callers: Vec<_> = (0..3).map(|_| Caller::waiting(&pool)).collect();
        pool.set_max_connecting(3).unwrap();
        for caller in &mut callers {
            assert!(caller.poll().is_none());
        }
        assert_eq!(world.server.attempts().len(), 3);
    }

    #[test]
    fn a_failure_is_told_to_whose_turn_it_was_and_the_next_waits_for_the_pause() {
        let world = World::new();
        world.server.fail(1);
        let pool = world.tasks(world.options().retry_pause(SECOND, 8 * SECOND));
        let mut first = Caller::of(&pool);
        assert_eq!(error(first.poll().unwrap()), GetError::Connect(Refused));
        let mut second = Caller::waiting(&pool);
        world.clock.advance(almost(SECOND));
        assert!(second.poll().is_none());
        world.clock.advance(Duration::from_nanos(1));
        assert_eq!(second.lent().id, 0);
        assert_eq!(pool.stats().failed, 1);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let world = World::new();
        world.server.fail(4);
        let pool = world.tasks(world.options().retry_pause(SECOND, 3 * SECOND));
        for pause in [0, 1, 2, 3] {
            let mut caller = Caller::of(&pool);
            if pause > 0 {
                assert!(caller.poll().is_none());
                world.clock.advance(almost(pause * SECOND));
                assert!(caller.poll().is_none(), "pause {pause}");
                world.clock.advance(Duration::from_nanos(1));
            }
            assert_eq!(error(caller.poll().unwrap()), GetError::Connect(Refused));
        }
        let mut last = Caller::waiting(&pool);
        world.clock.advance(3 * SECOND);
        let held = last.lent();
        // No pause for the next.
        assert_eq!(Caller::of(&pool).lent().id, 1);
        drop(held);
    }

    #[test]
    fn after_a_failure_one_tries_and_the_others_wait_for_how_that_goes() {
        let world = World::new();
        let pool = world.tasks(
            world
                .options()
                .max_connecting(4)
                .retry_pause(SECOND, SECOND),
        );
        world.server.fail(1);
        assert!(Caller::of(&pool).poll().unwrap().is_err());
        world.server.hold();
        let mut callers: Vec<_> = (0..3).map(|_| Caller::waiting(&pool)).collect();
        world.clock.advance(SECOND);
        for caller in &mut callers {
            assert!(caller.poll().is_none());
        }
        assert_eq!(world.server.attempts(), [0]);
        world.server.finish(0, Ok(()));
        let held = callers[0].lent();
        for caller in &mut callers[1..] {
            assert!(caller.poll().is_none());
        }
        assert_eq!(world.server.attempts(), [1, 2]);
        drop(held);
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_a_failure() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options().connect_timeout(2 * SECOND));
        let mut caller = Caller::waiting(&pool);
        world.clock.advance(2 * SECOND);
        let answer = error(caller.poll().unwrap());
        assert_eq!(answer, GetError::ConnectTimeout(2 * SECOND));
        assert_eq!((pool.stats().failed, pool.stats().connecting), (1, 0));
    }

    #[test]
    fn a_caller_whose_own_deadline_ends_an_attempt_blames_nobody() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options().connect_timeout(5 * SECOND));
        let mut caller = Caller::within(&pool, SECOND);
        assert!(caller.poll().is_none());
        world.clock.advance(SECOND);
        assert!(matches!(
            error(caller.poll().unwrap()),
            GetError::Timeout(_)
        ));
        assert_eq!((pool.stats().failed, pool.stats().connecting), (0, 0));
    }

    #[test]
    fn a_dropped_attempt_gives_its_permit_to_the_next() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options().max_connecting(1));
        let first = Caller::waiting(&pool);
        let mut second = Caller::waiting(&pool);
        assert_eq!(world.server.attempts(), [0]);
        drop(first);
        assert!(second.poll().is_none());
        assert_eq!(world.server.attempts(), [1]);
        world.server.finish(1, Ok(()));
        assert_eq!(second.lent().id, 0);
    }

    #[test]
    fn a_connector_that_panics_gives_its_permit_back() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1).max_connecting(1));
        world.server.panic_once();
        assert!(catch_unwind(AssertUnwindSafe(|| pool.get())).is_err());
        assert_eq!(pool.stats().connecting, 0);
        assert_eq!(pool.get().unwrap().id, 0);
    }
}

mod purging {
    use super::*;

    #[test]
    fn what_is_idle_is_closed_at_once_and_what_is_lent_when_it_comes_back() {
        let world = World::new();
        let pool = world.threads(world.options());
        let (idle, lent) = (pool.get().unwrap(), pool.get().unwrap());
        drop(idle);
        pool.purge();
        assert_eq!(world.server.closed(), [0]);
        assert!(lent.is_stale());
        drop(lent);
        assert_eq!(world.server.closed(), [0, 1]);
        let fresh = pool.get().unwrap();
        assert!(!fresh.is_stale());
        assert_eq!(fresh.id, 2);
        assert_eq!((pool.stats().purged, pool.stats().generation), (2, 1));
    }

    #[test]
    fn what_is_being_made_is_closed_and_made_again() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options());
        let mut caller = Caller::waiting(&pool);
        pool.purge();
        world.server.finish(0, Ok(()));
        assert!(caller.poll().is_none());
        assert_eq!(world.server.closed(), [0]);
        world.server.finish(1, Ok(()));
        let lent = caller.lent();
        assert_eq!((lent.id, lent.is_stale()), (1, false));
    }

    #[test]
    fn what_was_handed_over_and_not_taken_yet_is_not_used() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        drop(held);
        pool.purge();
        assert_eq!(waiter.lent().id, 1);
        assert_eq!(world.server.closed(), [0]);
    }

    #[test]
    fn whose_connection_was_purged_keeps_its_turn() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut first = Caller::waiting(&pool);
        let mut second = Caller::waiting(&pool);
        drop(held);
        pool.purge();
        world.server.hold();
        assert!(first.poll().is_none());
        assert!(second.poll().is_none());
        world.server.finish(0, Ok(()));
        assert!(second.poll().is_none());
        assert_eq!(first.lent().id, 1);
    }

    #[test]
    fn who_waits_is_served_when_a_stale_connection_makes_room() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        pool.purge();
        drop(held);
        assert_eq!(waiter.lent().id, 1);
    }

    #[test]
    fn what_is_being_made_outlives_no_purge_however_many_there_are() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options());
        let mut caller = Caller::waiting(&pool);
        for attempt in 0..3 {
            pool.purge();
            pool.purge();
            world.server.finish(attempt, Ok(()));
            assert!(caller.poll().is_none());
        }
        world.server.finish(3, Ok(()));
        assert_eq!((caller.lent().id, pool.stats().generation), (3, 6));
    }

    #[test]
    fn waiters_keep_their_order_over_a_purge() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut callers = [Caller::waiting(&pool), Caller::waiting(&pool)];
        pool.purge();
        drop(held);
        let first = callers[0].lent();
        assert!(callers[1].poll().is_none());
        drop(first);
        assert_eq!(callers[1].lent().id, 1);
    }

    #[test]
    fn an_attempt_of_the_generation_before_that_fails_is_told() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options());
        let mut caller = Caller::waiting(&pool);
        pool.purge();
        world.server.finish(0, Err(Refused));
        assert_eq!(error(caller.poll().unwrap()), GetError::Connect(Refused));
    }

    #[test]
    fn the_pause_after_a_failure_ends() {
        let world = World::new();
        world.server.fail(1);
        let pool = world.tasks(world.options());
        assert!(Caller::of(&pool).poll().unwrap().is_err());
        let mut waiter = Caller::waiting(&pool);
        pool.purge();
        assert_eq!(waiter.lent().id, 0);
    }
}

mod waiting {
    use super::*;

    #[test]
    fn a_timeout_says_how_things_stood() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(2).max_connecting(1));
        let held = Caller::of(&pool).lent();
        world.server.hold();
        let connecting = Caller::waiting(&pool);
        let mut late = Caller::within(&pool, SECOND);
        assert!(late.poll().is_none());
        let other = Caller::waiting(&pool);
        world.clock.advance(SECOND);
        let GetError::Timeout(timeout) = error(late.poll().unwrap()) else {
            panic!("expected a timeout");
        };
        assert_eq!((timeout.max_size, timeout.waited), (2, SECOND));
        assert_eq!(
            (timeout.lent, timeout.connecting, timeout.waiting),
            (1, 1, 1)
        );
        assert_eq!(
            GetError::<Refused>::Timeout(timeout).to_string(),
            "no connection within 1s: of 2 that may be, 1 were lent and 1 being made, and 1 others waited"
        );
        assert_eq!(pool.stats().timed_out, 1);
        drop((held, connecting, other));
    }

    #[test]
    fn a_timeout_during_a_pause_says_how_many_attempts_failed() {
        let world = World::new();
        world.server.fail(1);
        let pool = world.tasks(world.options().retry_pause(9 * SECOND, 9 * SECOND));
        assert!(Caller::of(&pool).poll().unwrap().is_err());
        let mut late = Caller::within(&pool, SECOND);
        assert!(late.poll().is_none());
        world.clock.advance(SECOND);
        let error = error(late.poll().unwrap()).to_string();
        assert!(
            error.ends_with("; the last 1 attempts to connect failed"),
            "{error}"
        );
    }

    #[test]
    fn who_times_out_leaves_the_order_of_the_others() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut first = Caller::waiting(&pool);
        let mut hasty = Caller::within(&pool, SECOND);
        assert!(hasty.poll().is_none());
        let mut last = Caller::waiting(&pool);
        world.clock.advance(SECOND);
        assert!(matches!(error(hasty.poll().unwrap()), GetError::Timeout(_)));
        drop(held);
        assert!(last.poll().is_none());
        drop(first.lent());
        assert_eq!(last.lent().id, 0);
    }

    #[test]
    fn what_comes_back_at_the_deadline_is_lent() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::within(&pool, SECOND);
        assert!(waiter.poll().is_none());
        world.clock.advance(SECOND);
        drop(held);
        assert_eq!(waiter.lent().id, 0);
    }

    #[test]
    fn without_time_nobody_waits() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::within(&pool, Duration::ZERO);
        drop(held);
        let held = Caller::of(&pool).lent();
        let answer = Caller::within(&pool, Duration::ZERO).poll().unwrap();
        assert!(matches!(error(answer), GetError::Timeout(_)));
        assert_eq!(pool.stats().waiting, 0);
        drop(held);
    }

    #[test]
    fn a_cancelled_waiter_leaves_the_line() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let (first, mut second) = (Caller::waiting(&pool), Caller::waiting(&pool));
        drop(first);
        assert_eq!((pool.stats().waiting, pool.stats().cancelled), (1, 1));
        drop(held);
        assert_eq!(second.lent().id, 0);
    }

    #[test]
    fn what_a_cancelled_waiter_was_offered_goes_to_the_next() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let (first, mut second) = (Caller::waiting(&pool), Caller::waiting(&pool));
        drop(held);
        drop(first);
        assert_eq!(second.lent().id, 0);
        assert_eq!((pool.stats().idle, pool.stats().lent), (1, 0));
    }

    #[test]
    fn the_turn_to_connect_that_a_cancelled_waiter_was_offered_goes_to_the_next() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let (first, mut second) = (Caller::waiting(&pool), Caller::waiting(&pool));
        held.discard();
        drop(first);
        assert_eq!(second.lent().id, 1);
    }

    #[test]
    fn no_more_wait_than_may() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1).max_waiting(2));
        let held = Caller::of(&pool).lent();
        let waiting = [Caller::waiting(&pool), Caller::waiting(&pool)];
        let refused = error(Caller::of(&pool).poll().unwrap());
        assert_eq!(refused, GetError::TooManyWaiting { max: 2 });
        drop((held, waiting));
        assert_eq!(Caller::of(&pool).lent().id, 0);
    }

    #[test]
    fn none_may_wait_and_yet_all_get_what_need_not_be_waited_for() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1).max_waiting(0));
        let held = pool.get().unwrap();
        assert!(matches!(
            pool.get(),
            Err(GetError::TooManyWaiting { max: 0 })
        ));
        drop(held);
        assert_eq!(pool.get().unwrap().id, 0);
    }

    #[test]
    fn a_thread_stops_waiting_at_its_deadline() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1));
        let held = pool.get().unwrap();
        thread::scope(|scope| {
            let late = scope.spawn(|| pool.get_within(SECOND).map(|lent| lent.id));
            spin_until(|| pool.stats().waiting == 1);
            world.clock.advance(SECOND);
            let answer = late.join().unwrap();
            assert!(matches!(answer, Err(GetError::Timeout(_))));
        });
        drop(held);
    }

    #[test]
    fn a_waiter_that_moves_to_another_task_is_woken_there() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        let former = std::mem::take(&mut waiter.bell);
        waiter.heard = 0;
        waiter.bell.0.fetch_add(1, Ordering::SeqCst);
        assert!(waiter.poll().is_none());
        let heard = former.0.load(Ordering::SeqCst);
        drop(held);
        assert_eq!(waiter.lent().id, 0);
        assert_eq!(former.0.load(Ordering::SeqCst), heard);
    }
}

mod ageing {
    use super::*;

    #[test]
    fn a_connection_is_tested_once_it_was_idle_for_a_while_and_not_before() {
        let world = World::new();
        let pool = world.threads(world.options().test_after(10 * SECOND));
        drop(pool.get().unwrap());
        world.clock.advance(almost(10 * SECOND));
        drop(pool.get().unwrap());
        assert_eq!(world.server.tested(), [0_u32; 0]);
        world.clock.advance(10 * SECOND);
        drop(pool.get().unwrap());
        drop(pool.get().unwrap());
        assert_eq!(world.server.tested(), [0]);
    }

    #[test]
    fn one_that_fails_its_test_is_closed_and_its_caller_gets_another() {
        let world = World::new();
        let pool = world.threads(world.options().test_after(Duration::ZERO));
        let lent = [pool.get().unwrap(), pool.get().unwrap()];
        drop(lent);
        world.server.spoil(1);
        assert_eq!(pool.get().unwrap().id, 0);
        assert_eq!(world.server.closed(), [1]);
        world.server.spoil(0);
        assert_eq!(pool.get().unwrap().id, 2);
        assert_eq!(pool.stats().broken, 2);
    }

    #[test]
    fn one_whose_test_is_dropped_is_closed() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1).test_after(Duration::ZERO));
        drop(Caller::of(&pool).lent());
        let future = pool.get_async();
        let mut future = Box::pin(future);
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        drop(future);
        assert_eq!(world.server.closed(), [0]);
        assert_eq!(Caller::of(&pool).lent().id, 1);
    }

    #[test]
    fn one_that_waiters_take_over_is_not_tested() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1).test_after(SECOND));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        world.clock.advance(9 * SECOND);
        drop(held);
        assert_eq!(waiter.lent().id, 0);
        assert_eq!(world.server.tested(), [0_u32; 0]);
    }

    #[test]
    fn what_was_idle_for_too_long_is_closed_by_upkeep_or_when_it_is_found() {
        let world = World::new();
        let options = world.options().idle_timeout(60 * SECOND);
        let pool = world.threads(options.test_after(Duration::MAX));
        let (a, b) = (pool.get().unwrap(), pool.get().unwrap());
        drop(a);
        world.clock.advance(30 * SECOND);
        drop(b);
        world.clock.advance(30 * SECOND);
        assert_eq!(pool.upkeep(), Ok(0));
        assert_eq!(world.server.closed(), [0]);
        world.clock.advance(30 * SECOND);
        assert_eq!(pool.get().unwrap().id, 2);
        assert_eq!(world.server.closed(), [0, 1]);
        assert_eq!(pool.stats().expired, 2);
    }

    #[test]
    fn one_that_was_lent_for_long_was_not_idle() {
        let world = World::new();
        let pool = world.threads(world.options().idle_timeout(60 * SECOND));
        let lent = pool.get().unwrap();
        world.clock.advance(100 * SECOND);
        drop(lent);
        assert_eq!(pool.upkeep(), Ok(0));
        assert_eq!(pool.get().unwrap().id, 0);
    }

    #[test]
    fn one_that_is_too_old_is_closed_when_it_comes_back() {
        let world = World::new();
        let pool = world.threads(world.options().max_lifetime(100 * SECOND));
        let lent = pool.get().unwrap();
        world.clock.advance(100 * SECOND);
        drop(lent);
        assert_eq!(world.server.closed(), [0]);
        // However often it is used.
        for _ in 0..50 {
            world.clock.advance(5 * SECOND);
            drop(pool.get().unwrap());
        }
        assert!(world.server.closed().len() >= 2);
    }

    #[test]
    fn those_made_together_do_not_end_together() {
        let world = World::new();
        let options = world.options().max_size(100).min_idle(100);
        let options = options.jitter(Jitter::fraction(0.1).shorten());
        let pool = world.threads(
            options
                .max_lifetime(1000 * SECOND)
                .idle_timeout(Duration::MAX),
        );
        assert_eq!(pool.upkeep(), Ok(100));
        let mut most = 0;
        for _ in 0..11 {
            world.clock.advance(10 * SECOND);
        }
        world.clock.advance(780 * SECOND);
        pool.set_min_idle(0).unwrap();
        for _ in 0..12 {
            let before = world.server.closed().len();
            world.clock.advance(10 * SECOND);
            assert_eq!(pool.upkeep(), Ok(0));
            most = most.max(world.server.closed().len() - before);
        }
        assert_eq!(world.server.closed().len(), 100);
        assert!(most < 30, "{most} of 100 in a tenth of the spread");
    }

    #[test]
    fn without_end_is_without_end() {
        let world = World::new();
        let options = world.options().max_lifetime(Duration::MAX);
        let options = options
            .idle_timeout(Duration::MAX)
            .test_after(Duration::MAX);
        let pool = world.threads(options.jitter(Jitter::fraction(1.0).shorten()));
        drop(pool.get().unwrap());
        world.clock.advance(Duration::from_secs(1 << 33));
        assert_eq!(pool.upkeep(), Ok(0));
        assert_eq!(pool.get().unwrap().id, 0);
        assert_eq!(world.server.tested(), [0_u32; 0]);
    }
}

mod keeping {
    use super::*;

    #[test]
    fn upkeep_makes_as_many_idle_ones_as_there_should_be() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(4).min_idle(2));
        assert_eq!(pool.upkeep(), Ok(2));
        let lent = [
            pool.get().unwrap(),
            pool.get().unwrap(),
            pool.get().unwrap(),
        ];
        // One more may be, and no two.
        assert_eq!(pool.upkeep(), Ok(1));
        assert_eq!((pool.stats().idle, pool.stats().lent), (1, 3));
        drop(lent);
    }

    #[test]
    fn upkeep_of_tasks_does_the_same_and_stops_at_a_failure() {
        let world = World::new();
        let pool = world.tasks(world.options().min_idle(3));
        world.server.fail(1);
        let mut upkeep = Box::pin(pool.upkeep_async());
        let mut context = Context::from_waker(Waker::noop());
        let first = upkeep.as_mut().poll(&mut context);
        assert_eq!(first, Poll::Ready(Err(GetError::Connect(Refused))));
        drop(upkeep);
        // In the pause it makes none.
        assert_eq!(tenfold::task::block_on(pool.upkeep_async()), Ok(0));
        world.clock.advance(SECOND);
        assert_eq!(tenfold::task::block_on(pool.upkeep_async()), Ok(3));
    }

    #[test]
    fn upkeep_makes_none_while_anybody_waits() {
        let world = World::new();
        let options = world.options().max_connecting(1).min_idle(5);
        let pool = world.tasks(options);
        world.server.hold();
        let callers = [Caller::waiting(&pool), Caller::waiting(&pool)];
        assert_eq!(tenfold::task::block_on(pool.upkeep_async()), Ok(0));
        drop(callers);
    }

    #[test]
    fn upkeep_closes_what_is_too_old_and_makes_others() {
        let world = World::new();
        let options = world.options().idle_timeout(60 * SECOND).min_idle(2);
        let pool = world.threads(options);
        assert_eq!(pool.upkeep(), Ok(2));
        world.clock.advance(61 * SECOND);
        assert_eq!(pool.upkeep(), Ok(2));
        assert_eq!(world.server.closed().len(), 2);
        assert_eq!((pool.stats().idle, world.server.made().len()), (2, 4));
    }

    #[test]
    fn upkeep_of_a_purged_pool_makes_its_idle_ones_anew() {
        let world = World::new();
        let pool = world.threads(world.options().min_idle(2));
        assert_eq!(pool.upkeep(), Ok(2));
        assert_eq!(pool.upkeep(), Ok(0));
        pool.purge();
        assert_eq!((pool.stats().idle, pool.upkeep()), (0, Ok(2)));
    }

    #[test]
    fn who_waits_while_the_pool_becomes_smaller_is_served_when_enough_are_gone() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(2));
        let (one, two) = (Caller::of(&pool).lent(), Caller::of(&pool).lent());
        let mut waiter = Caller::waiting(&pool);
        pool.set_max_size(1).unwrap();
        drop(one);
        assert!(waiter.poll().is_none());
        drop(two);
        assert_eq!(waiter.lent().id, 1);
        assert_eq!(world.server.closed(), [0]);
    }

    #[test]
    fn a_pool_that_became_larger_and_smaller_again_serves_in_order() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut callers = [Caller::waiting(&pool), Caller::waiting(&pool)];
        pool.set_max_size(2).unwrap();
        pool.set_max_size(1).unwrap();
        assert!(callers[1].poll().is_none());
        drop(held);
        let first = callers[0].poll().and_then(Result::ok);
        let second = callers[1].poll().and_then(Result::ok);
        assert!(first.is_some() && second.is_none());
    }

    #[test]
    fn a_larger_pool_serves_who_waits() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiter = Caller::waiting(&pool);
        pool.set_max_size(2).unwrap();
        assert_eq!(waiter.lent().id, 1);
        drop(held);
    }

    #[test]
    fn a_smaller_pool_closes_what_is_idle_the_longest_and_then_what_comes_back() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(4));
        let lent: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
        let mut lent = lent.into_iter();
        drop((lent.next(), lent.next()));
        pool.set_max_size(3).unwrap();
        assert_eq!(world.server.closed(), [0]);
        pool.set_max_size(1).unwrap();
        assert_eq!(world.server.closed(), [0, 1]);
        drop(lent.next());
        assert_eq!(world.server.closed(), [0, 1, 2]);
        drop(lent.next());
        assert_eq!(world.server.closed(), [0, 1, 2]);
        assert_eq!(pool.stats().idle, 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let world = World::new();
        let zero = PoolBuildError::Zero("max_size");
        assert_eq!(world.options().max_size(0).check(), Err(zero));
        assert_eq!(zero.to_string(), "max_size must be at least 1, found 0");
        let connecting = world.options().max_connecting(0).check();
        assert_eq!(connecting, Err(PoolBuildError::Zero("max_connecting")));
        let few = PoolBuildError::MinIdle {
            min_idle: 11,
            max_size: 10,
        };
        assert_eq!(world.options().min_idle(11).check(), Err(few));
        let jitter = world.options().jitter(Jitter::fraction(2.0)).check();
        assert!(matches!(jitter, Err(PoolBuildError::Jitter(_))));
        let pool = world.threads(world.options());
        assert_eq!(pool.set_max_size(0), Err(zero));
        assert_eq!(pool.set_min_idle(11), Err(few));
        assert_eq!(pool.stats().max_size, 10);
    }
}

mod closing {
    use super::*;

    #[test]
    fn a_closed_pool_turns_everybody_away_and_closes_all_it_has() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(2));
        let (lent, idle) = (Caller::of(&pool).lent(), Caller::of(&pool).lent());
        drop(idle);
        pool.close();
        assert_eq!(world.server.closed(), [1]);
        assert_eq!(error(Caller::of(&pool).poll().unwrap()), GetError::Closed);
        assert!(pool.try_get().is_none());
        drop(lent);
        assert_eq!(world.server.closed(), [1, 0]);
        assert_eq!(tenfold::task::block_on(pool.upkeep_async()), Ok(0));
    }

    #[test]
    fn who_waits_is_told_at_once() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let held = Caller::of(&pool).lent();
        let mut waiters = [Caller::waiting(&pool), Caller::waiting(&pool)];
        pool.close();
        for waiter in &mut waiters {
            assert_eq!(error(waiter.poll().unwrap()), GetError::Closed);
        }
        drop(held);
        assert_eq!(pool.stats().cancelled, 0);
    }

    #[test]
    fn who_connects_meanwhile_is_told_when_it_is_done() {
        let world = World::new();
        world.server.hold();
        let pool = world.tasks(world.options());
        let mut caller = Caller::waiting(&pool);
        pool.close();
        world.server.finish(0, Ok(()));
        assert_eq!(error(caller.poll().unwrap()), GetError::Closed);
        assert_eq!(world.server.closed(), [0]);
    }

    #[test]
    fn a_drain_is_over_when_the_last_connection_has_come_back() {
        let world = World::new();
        let pool = world.tasks(world.options());
        let (a, b) = (Caller::of(&pool).lent(), Caller::of(&pool).lent());
        let mut drain = Box::pin(pool.drain());
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        assert!(drain.as_mut().poll(&mut context).is_pending());
        drop(a);
        assert!(drain.as_mut().poll(&mut context).is_pending());
        drop(b);
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(drain.as_mut().poll(&mut context).is_ready());
        // Of nothing it is over at once, for threads too.
        pool.drain().wait();
    }
}

mod foreign_code {
    use super::*;

    #[test]
    fn broken_ones_are_closed_however_that_is_known() {
        let world = World::new();
        let pool = world.threads(world.options());
        pool.get().unwrap().broken = true;
        pool.get().unwrap().mark_broken();
        pool.get().unwrap().discard();
        assert_eq!(world.server.closed(), [0, 1, 2]);
        assert_eq!(pool.stats().broken, 3);
        assert_eq!(pool.get().unwrap().id, 3);
    }

    #[test]
    fn one_that_is_taken_out_makes_room_for_another() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1));
        let mine = pool.get().unwrap().detach();
        assert_eq!(pool.get().unwrap().id, 1);
        assert_eq!(world.server.closed(), [0_u32; 0]);
        drop(mine);
    }

    #[test]
    fn one_that_was_in_use_in_a_panic_is_closed() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1));
        let used = catch_unwind(AssertUnwindSafe(|| {
            let _lent = pool.get().unwrap();
            panic!("in the middle of something");
        }));
        assert!(used.is_err());
        assert_eq!(world.server.closed(), [0]);
        assert_eq!(pool.get().unwrap().id, 1);
    }

    #[test]
    fn a_client_that_panics_about_a_connection_loses_that_and_nothing_else() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(1));
        let asked = catch_unwind(AssertUnwindSafe(|| {
            pool.get().unwrap().panics = true;
        }));
        assert!(asked.is_err());
        assert_eq!(pool.get().unwrap().id, 1);
    }

    #[test]
    fn a_connection_that_panics_when_it_is_closed_takes_no_others_with_it() {
        let world = World::new();
        let pool = world.tasks(world.options().max_size(3));
        let lent: Vec<_> = (0..3).map(|_| Caller::of(&pool).lent()).collect();
        drop(lent);
        let once = AtomicUsize::new(0);
        world.server.on_close(move || {
            assert!(once.fetch_add(1, Ordering::SeqCst) > 0, "the close panics");
        });
        assert!(catch_unwind(AssertUnwindSafe(|| pool.purge())).is_err());
        assert_eq!(world.server.closed().len(), 3);
        assert_eq!(Caller::of(&pool).lent().id, 3);
    }

    #[test]
    fn connections_and_wakers_may_call_back() {
        struct CallsBack(Tasks, AtomicUsize);
        impl Wake for CallsBack {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(self.0.stats().max_size, Ordering::SeqCst);
            }
        }
        let world = World::new();
        let pool = world.tasks(world.options().max_size(1));
        let asks = pool.clone();
        world
            .server
            .on_close(move || assert_eq!(asks.stats().max_size, 1));
        let held = Caller::of(&pool).lent();
        let bell = Arc::new(CallsBack(pool.clone(), AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&bell));
        let mut waiting = Box::pin(pool.get_async());
        let mut context = Context::from_waker(&waker);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        held.discard();
        assert_eq!(bell.1.load(Ordering::SeqCst), 1);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        // The pool holds itself up through its connections' callback.
        world.server.on_close(|| ());
    }

    #[test]
    fn many_threads_share_few_connections() {
        let world = World::new();
        let pool = world.threads(world.options().max_size(3));
        let lent = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for turn in 0..200 {
                        let held = pool.get().unwrap();
                        assert!(lent.fetch_add(1, Ordering::SeqCst) < 3);
                        thread::yield_now();
                        lent.fetch_sub(1, Ordering::SeqCst);
                        if turn % 50 == 0 {
                            held.discard();
                        }
                    }
                });
            }
        });
        let stats = pool.stats();
        assert_eq!((stats.lent, stats.connecting, stats.waiting), (0, 0, 0));
        assert_eq!(stats.connected - stats.broken, stats.idle as u64);
        assert!(stats.to_string().starts_with("0 lent, "), "{stats}");
    }
}
