//! Many keys in one call: one call of the loader for what is missing, and no
//! two calls that wait for each other.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use crate::support::{Gate, Tasks, in_time, panics, poll, quiet_panic};
use tenfold::cache::Cache;
use tenfold::cache::read_through::{
    GetError, Loaded, ReadThrough, ReadThroughBuilder, RefreshAhead,
};
use tenfold::task::Executor;
use tenfold::time::{Jitter, ManualClock};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Numbers = ReadThrough<u32, u32, &'static str>;
type Builder = ReadThroughBuilder<u32, u32, &'static str>;

fn minutes(time: &ManualClock) -> Builder {
    let cache = Cache::builder().max_entries(1000).clock(time.clock());
    ReadThrough::builder(cache.jitter(Jitter::none()).seed(1)).time_to_live(MINUTE)
}

/// What a loader was asked for.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Vec<u32>>>>);

impl Asked {
    /// Brings ten times the key, except that multiples of seven do not exist.
    fn batch(&self, keys: Vec<u32>) -> Vec<(u32, u32)> {
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        self.0.lock().unwrap().push(sorted);
        let exist = keys.into_iter().filter(|key| key % 7 != 0);
        exist.map(|key| (key, key * 10)).collect()
    }

    fn loader(&self) -> impl Fn(Vec<u32>) -> Result<Vec<(u32, u32)>, &'static str> + use<> {
        let asked = self.clone();
        move |keys| Ok(asked.batch(keys))
    }

    fn calls(&self) -> Vec<Vec<u32>> {
        self.0.lock().unwrap().clone()
    }
}

fn values(answers: Vec<Result<Option<u32>, GetError<&'static str>>>) -> Vec<Option<u32>> {
    answers.into_iter().map(Result::unwrap).collect()
}

#[test]
fn get_many_loads_only_the_missing_in_one_call() {
    let (time, asked) = (ManualClock::new(), Asked::default());
    let numbers: Numbers = minutes(&time).batch_loader(asked.loader()).build().unwrap();
    numbers.insert(2, 2);
    numbers.get(&3).unwrap();
    let answers = values(numbers.get_many(&[1, 2, 3, 4, 1, 5]));
    assert_eq!(
        answers,
        [Some(10), Some(2), Some(30), Some(40), Some(10), Some(50)]
    );
    assert_eq!(asked.calls(), [vec![3], vec![1, 4, 5]]);
    values(numbers.get_many(&[1, 2, 3, 4, 5]));
    assert_eq!(asked.calls().len(), 2);
    assert_eq!((numbers.stats().batches, numbers.stats().loads), (1, 4));
    assert!(numbers.get_many(&[]).is_empty());
}

#[test]
fn keys_that_the_answer_lacks_are_absent_and_remembered() {
    let (time, asked) = (ManualClock::new(), Asked::default());
    let numbers: Numbers = minutes(&time)
        .negative_ttl(SECOND)
        .batch_loader(asked.loader())
        .build()
        .unwrap();
    assert_eq!(values(numbers.get_many(&[6, 7])), [Some(60), None]);
    assert_eq!(values(numbers.get_many(&[6, 7])), [Some(60), None]);
    assert_eq!(asked.calls().len(), 1);
    time.advance(SECOND);
    assert_eq!(values(numbers.get_many(&[6, 7])), [Some(60), None]);
    assert_eq!(asked.calls(), [vec![6, 7], vec![7]]);
}

#[test]
fn a_failed_batch_fails_each_key_that_has_nothing_to_stand_in() {
    let time = ManualClock::new();
    let down = Arc::new(AtomicBool::new(false));
    let source = Arc::clone(&down);
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .batch_loader(move |keys| {
            if source.load(SeqCst) {
                return Err("down");
            }
            Ok(keys.into_iter().map(|key| (key, key)).collect::<Vec<_>>())
        })
        .build()
        .unwrap();
    values(numbers.get_many(&[1, 2]));
    time.advance(MINUTE);
    down.store(true, SeqCst);
    let answers = numbers.get_many(&[1, 2, 3]);
    assert!(matches!(
        answers[..],
        [Ok(Some(1)), Ok(Some(2)), Err(GetError::Failed(_))]
    ));
    assert_eq!(numbers.stats().stale_for_failed, 2);
}

#[test]
fn without_a_loader_for_many_each_key_is_loaded_by_itself() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .loader(|request| Ok(request.into_key()))
        .build()
        .unwrap();
    assert_eq!(
        values(numbers.get_many(&[1, 2, 1])),
        [Some(1), Some(2), Some(1)]
    );
    assert_eq!((numbers.stats().batches, numbers.stats().loads), (0, 2));
}

#[test]
fn what_another_caller_loads_is_waited_for_and_not_loaded_again() {
    let time = ManualClock::new();
    let (asked, gate) = (Asked::default(), Gate::new());
    let numbers: Numbers = {
        let (asked, gate) = (asked.clone(), gate.clone());
        minutes(&time)
            .async_batch_loader(move |keys: Vec<u32>| {
                let (asked, gate) = (asked.clone(), gate.clone());
                async move {
                    let held_up = keys.contains(&2);
                    let answer = asked.batch(keys);
                    if held_up {
                        gate.await;
                    }
                    Ok(answer)
                }
            })
            .build()
            .unwrap()
    };
    let mut single = pin!(numbers.get_async(&2));
    assert!(poll(single.as_mut()).is_pending());
    let mut many = pin!(numbers.get_many_async(&[1, 2, 3]));
    assert!(poll(many.as_mut()).is_pending());
    // Its own are loaded and there for others, before it waits.
    assert_eq!((numbers.peek(&1), numbers.peek(&3)), (Some(10), Some(30)));
    gate.open(());
    assert!(matches!(poll(single.as_mut()), Poll::Ready(Ok(Some(20)))));
    let Poll::Ready(answers) = poll(many.as_mut()) else {
        panic!("all is there");
    };
    assert_eq!(values(answers), [Some(10), Some(20), Some(30)]);
    assert_eq!(asked.calls(), [vec![2], vec![1, 3]]);
}

#[test]
fn overlapping_get_many_calls_do_not_deadlock() {
    in_time(|| {
        for round in 0..50 {
            let time = ManualClock::new();
            let asked = Asked::default();
            let layer = minutes(&time).batch_loader(asked.loader());
            let layer = match round % 2 {
                0 => layer,
                _ => layer.hard_timeout(MINUTE).executor(Executor::caller_runs()),
            };
            let numbers: Numbers = layer.build().unwrap();
            let start = Barrier::new(4);
            thread::scope(|scope| {
                for thread in 0..4u32 {
                    let (numbers, start) = (&numbers, &start);
                    scope.spawn(move || {
                        // The same keys, each thread in an order of its own.
                        let keys: Vec<u32> =
                            (0..40).map(|n| 1 + (n * 7 + thread * 13) % 40).collect();
                        start.wait();
                        for (key, answer) in keys.iter().zip(numbers.get_many(&keys)) {
                            let expected = (key % 7 != 0).then_some(key * 10);
                            assert_eq!(answer.unwrap(), expected);
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn a_batch_under_a_timeout_goes_on_without_its_caller() {
    let time = ManualClock::new();
    let (asked, gate, tasks) = (Asked::default(), Gate::new(), Tasks::default());
    let numbers: Numbers = {
        let (asked, gate) = (asked.clone(), gate.clone());
        minutes(&time)
            .hard_timeout(SECOND)
            .executor(tasks.executor())
            .async_batch_loader(move |keys| {
                let (asked, gate) = (asked.clone(), gate.clone());
                async move {
                    gate.await;
                    Ok(asked.batch(keys))
                }
            })
            .build()
            .unwrap()
    };
    let mut many = pin!(numbers.get_many_async(&[1, 2]));
    assert!(poll(many.as_mut()).is_pending());
    assert_eq!(tasks.len(), 1);
    tasks.run();
    time.advance(SECOND);
    let Poll::Ready(answers) = poll(many.as_mut()) else {
        panic!("its time is up");
    };
    assert!(matches!(
        answers[..],
        [
            Err(GetError::TimedOut { .. }),
            Err(GetError::TimedOut { .. })
        ]
    ));
    gate.open(());
    tasks.run();
    assert_eq!((numbers.peek(&1), numbers.peek(&2)), (Some(10), Some(20)));
    assert_eq!(asked.calls().len(), 1);
}

#[test]
fn a_batch_that_the_executor_refuses_is_run_by_its_caller() {
    let (time, asked) = (ManualClock::new(), Asked::default());
    let numbers: Numbers = minutes(&time)
        .hard_timeout(SECOND)
        .executor(Executor::new(Err))
        .batch_loader(asked.loader())
        .build()
        .unwrap();
    assert_eq!(values(numbers.get_many(&[1, 2])), [Some(10), Some(20)]);
    assert_eq!((asked.calls().len(), numbers.stats().executor_full), (1, 1));
}

#[test]
fn an_invalidation_beats_a_batch() {
    let time = ManualClock::new();
    let (asked, gate) = (Asked::default(), Gate::new());
    let numbers: Numbers = {
        let (asked, gate) = (asked.clone(), gate.clone());
        minutes(&time)
            .async_batch_loader(move |keys| {
                let answer = asked.batch(keys);
                let gate = gate.clone();
                async move {
                    gate.await;
                    Ok(answer
                        .into_iter()
                        .map(|(key, value)| (key, Loaded::value(value)))
                        .collect::<Vec<_>>())
                }
            })
            .build()
            .unwrap()
    };
    let mut many = pin!(numbers.get_many_async(&[1, 2]));
    assert!(poll(many.as_mut()).is_pending());
    numbers.invalidate(&1);
    gate.open(());
    assert!(poll(many.as_mut()).is_ready());
    assert_eq!((numbers.peek(&1), numbers.peek(&2)), (None, Some(20)));
}

#[test]
fn a_loader_for_many_that_asks_for_one_of_them_gets_an_error() {
    in_time(|| {
        let time = ManualClock::new();
        let slot: Arc<Mutex<Option<Numbers>>> = Arc::default();
        let own = Arc::clone(&slot);
        let numbers: Numbers = minutes(&time)
            .batch_loader(move |keys: Vec<u32>| {
                let numbers = own.lock().unwrap().clone().unwrap();
                for key in &keys {
                    assert!(matches!(numbers.get(key), Err(GetError::Reentrant)));
                }
                Ok(keys.into_iter().map(|key| (key, 1)).collect::<Vec<_>>())
            })
            .build()
            .unwrap();
        *slot.lock().unwrap() = Some(numbers.clone());
        assert_eq!(values(numbers.get_many(&[1, 2, 3])), [Some(1); 3]);
        *slot.lock().unwrap() = None;
    });
}

#[test]
fn a_panicking_loader_for_many_leaves_every_key_usable() {
    let time = ManualClock::new();
    let broken = AtomicBool::new(true);
    let numbers: Numbers = minutes(&time)
        .batch_loader(move |keys: Vec<u32>| {
            if broken.swap(false, SeqCst) {
                quiet_panic()
            }
            Ok(keys.into_iter().map(|key| (key, 1)).collect::<Vec<_>>())
        })
        .build()
        .unwrap();
    assert!(panics(|| numbers.get_many(&[1, 2, 3])));
    assert_eq!(values(numbers.get_many(&[1, 2, 3])), [Some(1); 3]);
}

#[test]
fn what_is_due_is_refreshed_and_served() {
    let (time, asked, tasks) = (ManualClock::new(), Asked::default(), Tasks::default());
    let numbers: Numbers = minutes(&time)
        .refresh_ahead(RefreshAhead::after(0.5))
        .executor(tasks.executor())
        .batch_loader(asked.loader())
        .build()
        .unwrap();
    numbers.insert(1, 1);
    time.advance(MINUTE / 2);
    assert_eq!(values(numbers.get_many(&[1, 1])), [Some(1), Some(1)]);
    tasks.run();
    assert_eq!(values(numbers.get_many(&[1])), [Some(10)]);
    assert_eq!(asked.calls(), [vec![1]]);
}
