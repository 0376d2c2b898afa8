//! Reading through a cache whose source is slow, down, or breaks in the
//! middle: what is served meanwhile, and what goes on in the background.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use crate::support::{Gate, Tasks, in_time, panics, poll, quiet_panic, until};
use tenfold::cache::read_through::{
    Because, GetError, Loaded, Origin, ReadThrough, ReadThroughBuilder, RefreshAhead, Request,
};
use tenfold::cache::{Cache, tagged::Clear};
use tenfold::task::{Executor, Task, block_on};
use tenfold::time::{Jitter, ManualClock};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Numbers = ReadThrough<u32, u32, &'static str>;
type Builder = ReadThroughBuilder<u32, u32, &'static str>;

/// A minute fresh, up to an hour stale, every ten seconds a look whether the
/// source is back.
fn resilient(time: &ManualClock) -> Builder {
    let cache = Cache::builder().max_entries(100).clock(time.clock());
    ReadThrough::builder(cache.jitter(Jitter::none()).seed(1))
        .time_to_live(MINUTE)
        .stale_on_error(HOUR)
        .throttle(10 * SECOND)
}

type Waiting = Pin<Box<dyn Future<Output = Result<u32, &'static str>> + Send>>;

/// A source that is told what to answer, and whose answers may be held up.
#[derive(Clone, Default)]
struct Source {
    calls: Arc<AtomicU32>,
    down: Arc<AtomicBool>,
    gates: Arc<Mutex<Vec<Gate<()>>>>,
}

impl Source {
    fn calls(&self) -> u32 {
        self.calls.load(SeqCst)
    }

    fn goes_down(&self) {
        self.down.store(true, SeqCst);
    }

    fn comes_back(&self) {
        self.down.store(false, SeqCst);
    }

    /// Holds up the next call.
    fn holds_up_the_next(&self) -> Gate<()> {
        let gate = Gate::new();
        self.gates.lock().unwrap().push(gate.clone());
        gate
    }

    /// Brings the number of the call.
    fn blocking(&self) -> impl Fn(Request<u32, u32>) -> Result<u32, &'static str> + use<> {
        let source = self.clone();
        move |_| source.answer()
    }

    fn waiting(&self) -> impl Fn(Request<u32, u32>) -> Waiting + use<> {
        let source = self.clone();
        move |_| {
            let source = source.clone();
            let gate = source.gates.lock().unwrap().pop();
            Box::pin(async move {
                let answer = source.answer();
                if let Some(gate) = gate {
                    gate.await;
                }
                answer
            })
        }
    }

    fn answer(&self) -> Result<u32, &'static str> {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        if self.down.load(SeqCst) {
            Err("down")
        } else {
            Ok(call)
        }
    }
}

#[test]
fn stale_is_served_when_the_store_is_down_up_to_its_maximum_age() {
    let (time, source) = (ManualClock::new(), Source::default());
    let numbers: Numbers = resilient(&time).loader(source.blocking()).build().unwrap();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    source.goes_down();
    time.advance(MINUTE);
    while time.now() < ManualClock::new().now() + MINUTE + HOUR {
        let answer = numbers.get_entry(&1).unwrap();
        assert_eq!(answer.value(), Some(&1));
        assert_eq!(answer.origin(), Origin::Stale(Because::Failed));
        assert_eq!(
            answer.age(),
            time.now().saturating_since(ManualClock::new().now())
        );
        time.advance(MINUTE);
    }
    let error = numbers.get(&1).unwrap_err();
    assert!(
        matches!(&error, GetError::Failed(error) if **error == "down"),
        "{error}"
    );
    source.comes_back();
    assert!(numbers.get(&1).unwrap().is_some_and(|value| value > 1));
}

#[test]
fn the_throttle_spares_the_store() {
    let (time, source) = (ManualClock::new(), Source::default());
    let numbers: Numbers = resilient(&time).loader(source.blocking()).build().unwrap();
    numbers.get(&1).unwrap();
    source.goes_down();
    time.advance(MINUTE);
    for _ in 0..30 {
        for _ in 0..100 {
            assert_eq!(numbers.get(&1).unwrap(), Some(1));
        }
        time.advance(SECOND);
    }
    assert_eq!(source.calls(), 1 + 3);
    assert_eq!(numbers.stats().stale_for_failed, 3000);
    source.comes_back();
    assert_eq!(numbers.get(&1).unwrap(), Some(5));
    assert_eq!(numbers.get_entry(&1).unwrap().origin(), Origin::Fresh);
}

#[test]
fn without_a_stale_value_an_error_is_shared_and_not_kept() {
    let (time, source) = (ManualClock::new(), Source::default());
    source.goes_down();
    let gate = source.holds_up_the_next();
    let numbers: Numbers = resilient(&time)
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let mut callers: Vec<_> = (0..10).map(|_| Box::pin(numbers.get_async(&1))).collect();
    for caller in &mut callers {
        assert!(poll(caller.as_mut()).is_pending());
    }
    gate.open(());
    for caller in &mut callers {
        assert!(matches!(
            poll(caller.as_mut()),
            Poll::Ready(Err(GetError::Failed(_)))
        ));
    }
    assert_eq!(source.calls(), 1);
    source.comes_back();
    assert_eq!(numbers.get(&1).unwrap(), Some(2));
}

#[test]
fn soft_timeout_serves_stale_and_the_load_completes_in_the_background() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .soft_timeout(100 * MILLI)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    time.advance(MINUTE);
    let gate = source.holds_up_the_next();
    let mut slow = pin!(numbers.get_entry_async(&1));
    assert!(poll(slow.as_mut()).is_pending());
    tasks.run();
    time.advance(99 * MILLI);
    assert!(poll(slow.as_mut()).is_pending());
    time.advance(MILLI);
    let Poll::Ready(Ok(answer)) = poll(slow.as_mut()) else {
        panic!("its time is up");
    };
    assert_eq!(
        (answer.value(), answer.origin()),
        (Some(&0), Origin::Stale(Because::Slow))
    );
    // Who comes next does not wait.
    assert_eq!(
        numbers.get_entry(&1).unwrap().origin(),
        Origin::Stale(Because::Slow)
    );
    gate.open(());
    tasks.run();
    assert_eq!(tasks.len(), 0);
    let answer = numbers.get_entry(&1).unwrap();
    assert_eq!((answer.value(), answer.origin()), (Some(&1), Origin::Fresh));
    assert_eq!(numbers.stats().stale_for_slow, 2);
}

#[test]
fn a_soft_timeout_without_a_stale_value_waits() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .soft_timeout(100 * MILLI)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let gate = source.holds_up_the_next();
    let mut caller = pin!(numbers.get_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    time.advance(HOUR);
    assert!(poll(caller.as_mut()).is_pending());
    gate.open(());
    assert!(matches!(poll(caller.as_mut()), Poll::Ready(Ok(Some(1)))));
}

#[test]
fn hard_timeout_is_a_typed_error_and_the_load_fills_the_cache() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .soft_timeout(100 * MILLI)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let gate = source.holds_up_the_next();
    let mut first = pin!(numbers.get_async(&1));
    assert!(poll(first.as_mut()).is_pending());
    tasks.run();
    time.advance(500 * MILLI);
    let mut second = pin!(numbers.get_async(&1));
    assert!(poll(second.as_mut()).is_pending());
    time.advance(500 * MILLI);
    let Poll::Ready(Err(GetError::TimedOut { waited })) = poll(first.as_mut()) else {
        panic!("its time is up");
    };
    assert_eq!(waited, SECOND);
    // Each has a time of its own.
    assert!(poll(second.as_mut()).is_pending());
    gate.open(());
    tasks.run();
    assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(Some(1)))));
    assert_eq!(numbers.get_entry(&1).unwrap().origin(), Origin::Fresh);
    assert_eq!((source.calls(), numbers.stats().timeouts), (1, 1));
}

#[test]
fn a_blocked_thread_is_released_by_its_timeout_too() {
    in_time(|| {
        let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
        let numbers: Numbers = resilient(&time)
            .hard_timeout(SECOND)
            .executor(tasks.executor())
            .async_loader(source.waiting())
            .build()
            .unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| numbers.get(&1));
            until(|| tasks.len() == 1);
            time.advance(SECOND);
            // The clock may have been turned before it was asked to wait.
            while !caller.is_finished() {
                time.advance(SECOND);
                thread::yield_now();
            }
            assert!(matches!(
                caller.join().unwrap(),
                Err(GetError::TimedOut { .. })
            ));
        });
        tasks.run();
        assert_eq!(numbers.peek(&1), Some(1));
    });
}

#[test]
fn a_hard_timeout_serves_stale_where_it_may() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    time.advance(MINUTE);
    let mut caller = pin!(numbers.get_entry_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    time.advance(SECOND);
    let Poll::Ready(Ok(answer)) = poll(caller.as_mut()) else {
        panic!("its time is up");
    };
    assert_eq!(answer.origin(), Origin::Stale(Because::Slow));
}

#[test]
fn what_a_slow_load_brings_after_an_invalidation_is_not_stored() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let gate = source.holds_up_the_next();
    let mut caller = pin!(numbers.get_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    tasks.run();
    time.advance(SECOND);
    assert!(poll(caller.as_mut()).is_ready());
    numbers.invalidate(&1);
    gate.open(());
    tasks.run();
    assert_eq!((tasks.len(), numbers.peek(&1)), (0, None));
}

#[test]
fn an_executor_without_room_leaves_the_load_to_its_caller() {
    let (time, source) = (ManualClock::new(), Source::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .refresh_ahead(RefreshAhead::after(0.5))
        .executor(Executor::new(Err))
        .loader(source.blocking())
        .build()
        .unwrap();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    assert_eq!(block_on(numbers.get_async(&2)).unwrap(), Some(2));
    assert_eq!(numbers.stats().executor_full, 2);
    // A refresh is left for later.
    time.advance(30 * SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    assert_eq!((source.calls(), numbers.stats().executor_full), (2, 3));
    time.advance(30 * SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(3));
}

#[test]
fn a_load_whose_task_is_dropped_is_told_and_kept_by_nobody() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let mut first = pin!(numbers.get_async(&1));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = pin!(numbers.get_async(&1));
    assert!(poll(second.as_mut()).is_pending());
    drop(tasks.take());
    assert!(
        poll(first.as_mut()).is_pending(),
        "the other has taken over"
    );
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(tasks.len(), 1);
    tasks.run();
    assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(Some(1)))));
    assert!(matches!(poll(first.as_mut()), Poll::Ready(Ok(Some(1)))));

    let mut alone = pin!(numbers.get_async(&2));
    assert!(poll(alone.as_mut()).is_pending());
    drop(tasks.take());
    assert!(matches!(
        poll(alone.as_mut()),
        Poll::Ready(Err(GetError::Abandoned))
    ));
}

#[test]
fn refresh_ahead_runs_once_and_serves_the_old_value_meanwhile() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .refresh_ahead(RefreshAhead::after(0.8))
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    time.advance(47 * SECOND);
    numbers.get(&1).unwrap();
    assert_eq!(tasks.len(), 0);
    time.advance(SECOND);
    let gate = source.holds_up_the_next();
    for _ in 0..100 {
        let answer = numbers.get_entry(&1).unwrap();
        assert_eq!((answer.value(), answer.origin()), (Some(&0), Origin::Fresh));
    }
    assert_eq!(tasks.len(), 1);
    tasks.run();
    // The next attempt is due, and finds one under way.
    time.advance(8 * SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(0));
    assert_eq!(tasks.len(), 1);
    gate.open(());
    tasks.run();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    assert_eq!((source.calls(), numbers.stats().refreshes), (1, 1));
    // Another minute from then on.
    time.advance(47 * SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    assert_eq!(tasks.len(), 0);
}

#[test]
fn a_key_that_nobody_asks_for_is_not_refreshed() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .refresh_ahead(RefreshAhead::after(0.8))
        .executor(tasks.executor())
        .loader(source.blocking())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    time.advance(HOUR);
    assert_eq!((tasks.len(), source.calls()), (0, 0));
}

#[test]
fn a_refresh_beaten_by_an_invalidation_stores_nothing() {
    for change in [
        |numbers: &Numbers| numbers.invalidate(&1),
        |numbers: &Numbers| _ = numbers.expire(&1),
        |numbers: &Numbers| numbers.clear(Clear::Remove),
        |numbers: &Numbers| numbers.clear(Clear::Expire),
        |numbers: &Numbers| numbers.insert(1, 77),
    ] {
        let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
        let numbers: Numbers = resilient(&time)
            .refresh_ahead(RefreshAhead::after(0.8))
            .executor(tasks.executor())
            .async_loader(source.waiting())
            .build()
            .unwrap();
        numbers.insert(1, 0);
        time.advance(50 * SECOND);
        let gate = source.holds_up_the_next();
        numbers.get(&1).unwrap();
        tasks.run();
        change(&numbers);
        let before = numbers.peek(&1);
        gate.open(());
        tasks.run();
        assert_eq!((source.calls(), tasks.len()), (1, 0));
        assert_eq!(numbers.peek(&1), before);
    }
}

#[test]
fn a_refresh_that_fails_keeps_the_value_and_is_tried_again_a_few_times() {
    let (time, source) = (ManualClock::new(), Source::default());
    let numbers: Numbers = resilient(&time)
        .refresh_ahead(RefreshAhead::after(0.5))
        .executor(Executor::caller_runs())
        .loader(source.blocking())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    source.goes_down();
    for _ in 0..600 {
        let answer = numbers.get_entry(&1).unwrap();
        assert_eq!((answer.value(), answer.origin()), (Some(&0), Origin::Fresh));
        time.advance(100 * MILLI);
    }
    assert!((2..=6).contains(&source.calls()), "{}", source.calls());
    assert_eq!(
        numbers.get_entry(&1).unwrap().origin(),
        Origin::Stale(Because::Failed)
    );
}

#[test]
fn xfetch_refreshes_early_by_chance_and_the_likelier_the_longer_a_load_takes() {
    // A load takes two seconds, or two milliseconds; a request every second
    // of the entry's minute.
    let early = |cost: Duration| {
        let mut refreshed = 0;
        for seed in 0..100 {
            let (time, tasks) = (ManualClock::new(), Tasks::default());
            let cache = Cache::builder()
                .max_entries(10)
                .clock(time.clock())
                .seed(seed);
            let clock = time.clone();
            let numbers: Numbers = ReadThrough::builder(cache.jitter(Jitter::none()))
                .time_to_live(MINUTE)
                .refresh_ahead(RefreshAhead::by_chance(1.0))
                .executor(tasks.executor())
                .loader(move |_| {
                    clock.advance(cost);
                    Ok(1)
                })
                .build()
                .unwrap();
            numbers.get(&1).unwrap();
            for _second in 0..60 {
                numbers.get(&1).unwrap();
                if tasks.len() > 0 {
                    refreshed += 1;
                    break;
                }
                time.advance(SECOND);
            }
        }
        refreshed
    };
    // The last request, one second before the end, alone refreshes with a
    // probability of exp(-1/2).
    let slow = early(2 * SECOND);
    assert!(slow > 60, "{slow}");
    let quick = early(2 * MILLI);
    assert_eq!(quick, 0);
}

#[test]
fn a_caller_who_joins_a_refresh_that_fails_is_served_stale() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .refresh_ahead(RefreshAhead::after(0.8))
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    numbers.insert(1, 0);
    source.goes_down();
    time.advance(50 * SECOND);
    let gate = source.holds_up_the_next();
    numbers.get(&1).unwrap();
    tasks.run();
    time.advance(10 * SECOND);
    let mut caller = pin!(numbers.get_entry_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    gate.open(());
    tasks.run();
    let Poll::Ready(Ok(answer)) = poll(caller.as_mut()) else {
        panic!("the load has failed");
    };
    assert_eq!(
        (answer.value(), answer.origin()),
        (Some(&0), Origin::Stale(Because::Failed))
    );
}

#[test]
fn a_panicking_loader_is_its_callers_and_leaves_the_key_usable() {
    let time = ManualClock::new();
    let calls = AtomicU32::new(0);
    let numbers: Numbers = resilient(&time)
        .loader(move |_| {
            if calls.fetch_add(1, SeqCst) == 0 {
                quiet_panic()
            }
            Ok(7)
        })
        .build()
        .unwrap();
    assert!(panics(|| numbers.get(&1)));
    assert_eq!(numbers.get(&1).unwrap(), Some(7));
    assert_eq!(numbers.stats().cache.load_failures, 1);
}

#[test]
fn a_loader_that_panics_in_the_background_is_told_to_who_waits() {
    let (time, tasks) = (ManualClock::new(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .loader(|_| -> Result<u32, _> { quiet_panic() })
        .build()
        .unwrap();
    let mut caller = pin!(numbers.get_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    assert!(panics(|| tasks.run()));
    assert!(matches!(
        poll(caller.as_mut()),
        Poll::Ready(Err(GetError::Abandoned))
    ));
    // With something to serve it serves it.
    numbers.insert(1, 1);
    time.advance(MINUTE);
    let mut caller = pin!(numbers.get_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    assert!(panics(|| tasks.run()));
    assert!(matches!(poll(caller.as_mut()), Poll::Ready(Ok(Some(1)))));
}

#[test]
fn a_cancelled_caller_hands_its_load_on() {
    let (time, source) = (ManualClock::new(), Source::default());
    let numbers: Numbers = resilient(&time)
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let _never = source.holds_up_the_next();
    let mut leader = Box::pin(numbers.get_async(&1));
    assert!(poll(leader.as_mut()).is_pending());
    let mut waiter = pin!(numbers.get_async(&1));
    assert!(poll(waiter.as_mut()).is_pending());
    drop(leader);
    assert!(matches!(poll(waiter.as_mut()), Poll::Ready(Ok(Some(2)))));
}

#[test]
fn a_cancelled_caller_does_not_end_a_load_in_the_background() {
    let (time, source, tasks) = (ManualClock::new(), Source::default(), Tasks::default());
    let numbers: Numbers = resilient(&time)
        .hard_timeout(SECOND)
        .executor(tasks.executor())
        .async_loader(source.waiting())
        .build()
        .unwrap();
    let mut caller = Box::pin(numbers.get_async(&1));
    assert!(poll(caller.as_mut()).is_pending());
    drop(caller);
    tasks.run();
    assert_eq!(numbers.peek(&1), Some(1));
}

#[test]
fn loader_may_call_back_into_the_cache() {
    in_time(|| {
        let time = ManualClock::new();
        let slot: Arc<Mutex<Option<Numbers>>> = Arc::default();
        let numbers: Numbers = {
            let slot = Arc::clone(&slot);
            resilient(&time)
                .loader(move |request: Request<u32, u32>| {
                    let numbers = slot.lock().unwrap().clone().unwrap();
                    let key = request.into_key();
                    if key == 0 {
                        return Ok(1);
                    }
                    numbers.insert(key + 1000, key);
                    numbers.invalidate(&(key + 2000));
                    let below = numbers.get(&(key - 1)).map_err(|_| "below")?;
                    Ok(below.unwrap_or(0) + 1)
                })
                .build()
                .unwrap()
        };
        *slot.lock().unwrap() = Some(numbers.clone());
        assert_eq!(numbers.get(&5).unwrap(), Some(6));
        assert_eq!(numbers.peek(&1003), Some(3));
        *slot.lock().unwrap() = None;
    });
}

#[test]
fn a_loader_that_asks_for_its_own_key_gets_an_error() {
    in_time(|| {
        for executor in [None, Some(Executor::caller_runs())] {
            let time = ManualClock::new();
            let slot: Arc<Mutex<Option<Numbers>>> = Arc::default();
            let own = Arc::clone(&slot);
            let layer = resilient(&time).loader(move |request: Request<u32, u32>| {
                let numbers = own.lock().unwrap().clone().unwrap();
                match numbers.get(request.key()) {
                    Err(GetError::Reentrant) => Ok(Loaded::value(7)),
                    _ => Err("waited for itself"),
                }
            });
            let layer = match executor {
                Some(executor) => layer.executor(executor).hard_timeout(SECOND),
                None => layer,
            };
            let numbers: Numbers = layer.build().unwrap();
            *slot.lock().unwrap() = Some(numbers.clone());
            assert_eq!(numbers.get(&1).unwrap(), Some(7));
            *slot.lock().unwrap() = None;
        }
    });
}

#[test]
fn loads_run_by_a_pool_of_threads() {
    let (queue, work) = mpsc::sync_channel::<Task>(8);
    let worker = thread::spawn(move || work.into_iter().for_each(Task::run));
    let pool = Executor::new(move |task| match queue.try_send(task) {
        Ok(()) => Ok(()),
        Err(mpsc::TrySendError::Full(task) | mpsc::TrySendError::Disconnected(task)) => Err(task),
    });
    let numbers: ReadThrough<u32, u32> = ReadThrough::builder(Cache::builder().max_entries(100))
        .hard_timeout(HOUR)
        .executor(pool)
        .loader(|request| Ok(request.key() * 2))
        .build()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for key in 0..100 {
                    assert_eq!(numbers.get(&key).unwrap(), Some(key * 2));
                    assert_eq!(block_on(numbers.get_async(&key)).unwrap(), Some(key * 2));
                }
            });
        }
    });
    assert_eq!(numbers.stats().loads, 100);
    drop(numbers);
    worker.join().unwrap();
}

#[test]
fn nothing_is_left_of_cancelled_callers_of_unique_keys() {
    let time = ManualClock::new();
    let numbers: Numbers = resilient(&time)
        .async_loader(|_| pending::<Result<u32, _>>())
        .build()
        .unwrap();
    for key in 0..1000 {
        let mut caller = Box::pin(numbers.get_async(&key));
        assert!(poll(caller.as_mut()).is_pending());
    }
    assert!(numbers.cache().is_empty());
    assert_eq!(numbers.stats().cache.load_failures, 1000);
}

/// Writers change the source, then tell the layer; readers must never get a
/// version older than the last one of which the layer had been told before they
/// asked.
fn no_reader_gets_an_old_version(layer: Builder, tell: fn(&Numbers)) {
    const VERSIONS: u32 = 300;
    let source = Arc::new(AtomicU32::new(0));
    let read = Arc::clone(&source);
    let numbers: Numbers = layer
        .loader(move |_| {
            let version = read.load(SeqCst);
            thread::yield_now();
            Ok(Loaded::value(version).tag("t"))
        })
        .build()
        .unwrap();
    let told = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let least = told.load(SeqCst);
                    let got = match least % 3 {
                        0 => numbers.get(&1).unwrap().unwrap(),
                        1 => block_on(numbers.get_async(&1)).unwrap().unwrap(),
                        _ => numbers.get_many(&[1]).remove(0).unwrap().unwrap(),
                    };
                    assert!(got >= least, "{got} after {least}");
                    if least == VERSIONS {
                        break;
                    }
                }
            });
        }
        for version in 1..=VERSIONS {
            source.store(version, SeqCst);
            tell(&numbers);
            told.store(version, SeqCst);
            thread::yield_now();
        }
    });
}

#[test]
fn no_thread_gets_what_was_loaded_before_a_change() {
    let time = ManualClock::new();
    for tell in [
        |numbers: &Numbers| numbers.invalidate(&1),
        |numbers: &Numbers| _ = numbers.expire(&1),
        |numbers: &Numbers| numbers.invalidate_tag("t"),
        |numbers: &Numbers| numbers.clear(Clear::Expire),
        |numbers: &Numbers| numbers.clear(Clear::Remove),
    ] {
        no_reader_gets_an_old_version(resilient(&time), tell);
        let (queue, work) = mpsc::sync_channel::<Task>(8);
        let worker = thread::spawn(move || work.into_iter().for_each(Task::run));
        let pool = Executor::new(move |task| match queue.try_send(task) {
            Ok(()) => Ok(()),
            Err(mpsc::TrySendError::Full(task) | mpsc::TrySendError::Disconnected(task)) => {
                Err(task)
            }
        });
        let timed = resilient(&time).hard_timeout(HOUR).executor(pool);
        no_reader_gets_an_old_version(timed, tell);
        worker.join().unwrap();
    }
}
