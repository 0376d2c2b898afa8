//! Reading through a cache to its source: who loads, what is kept of it, and
//! what beats it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use crate::support::{Gate, block_on, poll, until};
use tenfold::cache::read_through::{
    Because, Cached, GetError, Loaded, Origin, ReadThrough, ReadThroughBuilder, RefreshAhead,
    Request,
};
use tenfold::cache::tagged::{Clear, Tags};
use tenfold::cache::{Cache, CacheBuilder, Guard, Layer};
use tenfold::task::Executor;
use tenfold::time::{Jitter, ManualClock};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Numbers = ReadThrough<u32, u32, &'static str>;

fn cache(time: &ManualClock) -> CacheBuilder<u32, Cached<u32>> {
    let cache = Cache::builder().max_entries(100).clock(time.clock());
    cache.jitter(Jitter::none()).seed(1)
}

fn minutes(time: &ManualClock) -> ReadThroughBuilder<u32, u32, &'static str> {
    ReadThrough::builder(cache(time)).time_to_live(MINUTE)
}

/// A loader that counts its calls and brings their number.
fn counting<L: Send + 'static>(
    calls: &Arc<AtomicU32>,
    bring: impl Fn(u32) -> L + Send + Sync + 'static,
) -> impl Fn(Request<u32, u32>) -> Result<L, &'static str> + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move |_| Ok(bring(calls.fetch_add(1, SeqCst) + 1))
}

#[test]
fn a_value_is_loaded_once_and_again_when_its_time_is_over() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let numbers: Numbers = minutes(&time)
        .loader(counting(&calls, |n| n))
        .build()
        .unwrap();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    time.advance(59 * SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    time.advance(SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(2));
    assert_eq!(numbers.stats().loads, 2);
    assert_eq!(numbers.stats().cache.hits, 1);
}

#[test]
fn one_load_for_ten_thousand_callers_of_an_expired_key() {
    let time = ManualClock::new();
    let (gate, calls) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    let numbers: Numbers = {
        let (gate, calls) = (gate.clone(), Arc::clone(&calls));
        minutes(&time)
            .async_loader(move |_| {
                calls.fetch_add(1, SeqCst);
                let gate = gate.clone();
                async move { Ok(gate.await) }
            })
            .build()
            .unwrap()
    };
    numbers.insert(1, 0);
    time.advance(MINUTE);
    let mut callers: Vec<_> = (0..10_000)
        .map(|_| Box::pin(numbers.get_async(&1)))
        .collect();
    for caller in &mut callers {
        assert!(poll(caller.as_mut()).is_pending());
    }
    gate.open(7);
    for caller in &mut callers {
        assert!(matches!(poll(caller.as_mut()), Poll::Ready(Ok(Some(7)))));
    }
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(numbers.stats().cache.coalesced, 9_999);
}

#[test]
fn threads_and_tasks_share_one_load() {
    let time = ManualClock::new();
    let gate = Gate::new();
    let numbers: Numbers = {
        let gate = gate.clone();
        let loader = move |_| {
            let gate = gate.clone();
            async move { Ok(gate.await) }
        };
        minutes(&time).async_loader(loader).build().unwrap()
    };
    let mut task = pin!(numbers.get_entry_async(&1));
    assert!(poll(task.as_mut()).is_pending());
    thread::scope(|scope| {
        let thread = scope.spawn(|| numbers.get_entry(&1).unwrap());
        until(|| numbers.stats().cache.coalesced == 1);
        gate.open(7);
        let Poll::Ready(Ok(led)) = poll(task.as_mut()) else {
            panic!("the value is there");
        };
        assert_eq!((led.value(), led.origin()), (Some(&7), Origin::Loaded));
        let joined = thread.join().unwrap();
        assert_eq!(
            (joined.value(), joined.origin()),
            (Some(&7), Origin::Joined)
        );
    });
    assert_eq!(numbers.stats().loads, 1);
}

#[test]
fn a_blocking_loader_serves_tasks_and_an_async_one_threads() {
    let time = ManualClock::new();
    let blocking: Numbers = minutes(&time)
        .loader(|r| Ok(r.into_key() + 1))
        .build()
        .unwrap();
    assert_eq!(block_on(blocking.get_async(&1)).unwrap(), Some(2));
    let waiting: Numbers = minutes(&time)
        .async_loader(|r| async move { Ok(r.into_key() + 1) })
        .build()
        .unwrap();
    assert_eq!(waiting.get(&1).unwrap(), Some(2));
}

#[test]
fn absent_keys_are_asked_for_once_per_negative_ttl() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let numbers: Numbers = minutes(&time)
        .negative_ttl(5 * SECOND)
        .loader(counting(&calls, |_| None))
        .build()
        .unwrap();
    for second in 0..20 {
        for _ in 0..100 {
            assert_eq!(numbers.get(&1).unwrap(), None);
        }
        assert_eq!(calls.load(SeqCst), second / 5 + 1);
        time.advance(SECOND);
    }
    let stats = numbers.stats();
    assert_eq!((stats.absent, stats.negative_hits), (4, 1996));
}

#[test]
fn without_a_negative_ttl_an_absence_is_not_remembered() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let numbers: Numbers = minutes(&time)
        .loader(counting(&calls, |_| None))
        .build()
        .unwrap();
    assert_eq!(numbers.get(&1).unwrap(), None);
    assert_eq!(numbers.get(&1).unwrap(), None);
    assert_eq!(calls.load(SeqCst), 2);
    assert!(numbers.cache().is_empty());
}

#[test]
fn what_was_deleted_at_the_source_does_not_stand_in_later() {
    let time = ManualClock::new();
    let answers = Mutex::new(vec![Err("down"), Ok(None), Ok(Some(1))]);
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(move |_| answers.lock().unwrap().pop().unwrap())
        .build()
        .unwrap();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    time.advance(MINUTE);
    assert_eq!(numbers.get(&1).unwrap(), None);
    assert!(matches!(numbers.get(&1), Err(GetError::Failed(_))));
}

#[test]
fn a_negative_entry_never_overwrites_a_concurrent_value() {
    let time = ManualClock::new();
    let gate = Gate::new();
    let numbers: Numbers = {
        let gate = gate.clone();
        let loader = move |_| {
            let gate = gate.clone();
            async move {
                gate.await;
                Ok(None)
            }
        };
        let layer = minutes(&time).negative_ttl(MINUTE);
        layer.async_loader(loader).build().unwrap()
    };
    let mut asks = pin!(numbers.get_async(&1));
    assert!(poll(asks.as_mut()).is_pending());
    numbers.insert(1, 7);
    gate.open(());
    assert!(matches!(poll(asks.as_mut()), Poll::Ready(Ok(None))));
    assert_eq!(numbers.get(&1).unwrap(), Some(7));
}

#[test]
fn an_invalidation_beats_a_load() {
    let time = ManualClock::new();
    for change in [
        |numbers: &Numbers| numbers.invalidate(&1),
        |numbers: &Numbers| _ = numbers.expire(&1),
        |numbers: &Numbers| numbers.clear(Clear::Expire),
        |numbers: &Numbers| numbers.clear(Clear::Remove),
        |numbers: &Numbers| numbers.insert(1, 9),
        |numbers: &Numbers| Layer::invalidate(numbers, &1),
    ] {
        let gate = Gate::new();
        let numbers: Numbers = {
            let gate = gate.clone();
            let loader = move |_| {
                let gate = gate.clone();
                async move { Ok(gate.await) }
            };
            minutes(&time).async_loader(loader).build().unwrap()
        };
        let mut asks = pin!(numbers.get_async(&1));
        assert!(poll(asks.as_mut()).is_pending());
        change(&numbers);
        gate.open(7);
        assert!(matches!(poll(asks.as_mut()), Poll::Ready(Ok(Some(7)))));
        assert_ne!(numbers.peek(&1), Some(7));
    }
}

#[test]
fn tag_invalidation_beats_a_load() {
    let time = ManualClock::new();
    let gates = [Gate::new(), Gate::new()];
    let calls = Arc::new(AtomicU32::new(0));
    let numbers: Numbers = {
        let (gates, calls) = (gates.clone(), Arc::clone(&calls));
        minutes(&time)
            .async_loader(move |_| {
                let gate = gates[calls.fetch_add(1, SeqCst) as usize].clone();
                async move { Ok(Loaded::value(gate.await).tag("t")) }
            })
            .build()
            .unwrap()
    };
    let mut before = pin!(numbers.get_async(&1));
    assert!(poll(before.as_mut()).is_pending());
    numbers.invalidate_tag("t");
    // It joins the load, learns of the tag when that ends, and asks again.
    let mut after = pin!(numbers.get_async(&1));
    assert!(poll(after.as_mut()).is_pending());
    gates[0].open(1);
    assert!(matches!(poll(before.as_mut()), Poll::Ready(Ok(Some(1)))));
    assert!(poll(after.as_mut()).is_pending());
    assert_eq!(numbers.peek(&1), None);
    gates[1].open(2);
    assert!(matches!(poll(after.as_mut()), Poll::Ready(Ok(Some(2)))));
    assert_eq!(numbers.peek(&1), Some(2));
    assert_eq!(calls.load(SeqCst), 2);
}

#[test]
fn an_invalidated_tag_takes_its_entries_and_no_others() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(|request| match request.key() {
            1 => Ok(Loaded::value(1).tag("odd").tag("small")),
            2 => Ok(Loaded::value(2).tag("small")),
            3 => Ok(Loaded::value(3).tag("odd")),
            key => Ok(Loaded::value(*key)),
        })
        .build()
        .unwrap();
    for key in 1..=4 {
        numbers.get(&key).unwrap();
    }
    numbers.invalidate_tag("odd");
    let held = [1, 2, 3, 4].map(|key| numbers.peek(&key));
    assert_eq!(held, [None, Some(2), None, Some(4)]);
    // Not even as stale values.
    time.advance(MINUTE);
    assert!(
        numbers
            .get_entry(&1)
            .is_ok_and(|answer| answer.origin() == Origin::Loaded)
    );
}

#[test]
fn layers_may_share_their_tags() {
    let time = ManualClock::new();
    let tags = Arc::new(Tags::new());
    let build = || {
        let layer = minutes(&time).tags(Arc::clone(&tags));
        layer.loader(|_| Ok(Loaded::value(1).tag("t"))).build()
    };
    let (one, other): (Numbers, Numbers) = (build().unwrap(), build().unwrap());
    one.get(&1).unwrap();
    other.get(&1).unwrap();
    tags.invalidate_tag("t");
    assert_eq!((one.peek(&1), other.peek(&1)), (None, None));
}

#[test]
fn clear_expire_keeps_the_stale_value() {
    let time = ManualClock::new();
    let answers = Mutex::new(vec![Ok(2), Err("down"), Ok(1)]);
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .throttle(SECOND)
        .loader(move |_| answers.lock().unwrap().pop().unwrap())
        .build()
        .unwrap();
    numbers.get(&1).unwrap();
    numbers.clear(Clear::Expire);
    assert_eq!(numbers.peek(&1), None);
    let answer = numbers.get_entry(&1).unwrap();
    assert_eq!(answer.origin(), Origin::Stale(Because::Failed));
    assert_eq!(answer.value(), Some(&1));
    // It stands in for the throttle, although it was cleared.
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    time.advance(SECOND);
    assert_eq!(numbers.get(&1).unwrap(), Some(2));
}

#[test]
fn clear_remove_keeps_nothing() {
    let time = ManualClock::new();
    let answers = Mutex::new(vec![Err("down"), Ok(1)]);
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(move |_| answers.lock().unwrap().pop().unwrap())
        .build()
        .unwrap();
    numbers.get(&1).unwrap();
    numbers.clear(Clear::Remove);
    assert!(numbers.cache().is_empty());
    assert!(matches!(numbers.get(&1), Err(GetError::Failed(_))));
}

#[test]
fn an_expired_key_keeps_its_stale_value_and_an_invalidated_one_does_not() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(|_| Err::<u32, _>("down"))
        .build()
        .unwrap();
    numbers.insert(1, 1);
    assert!(numbers.expire(&1));
    assert!(!numbers.expire(&1));
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    numbers.invalidate(&1);
    assert!(numbers.get(&1).is_err());
}

#[test]
fn a_value_that_is_held_by_reference_stays_as_it_was() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(|_| Err::<u32, _>("down"))
        .build()
        .unwrap();
    numbers.insert(1, 7);
    let held = numbers.cache().get_ref(&1).unwrap();
    let end = held.fresh_until();
    numbers.expire(&1);
    assert_eq!(held.fresh_until(), end);
    assert_eq!(numbers.cache().peek(&1).unwrap().fresh_until(), time.now());
    assert_eq!(numbers.get(&1).unwrap(), Some(7));
}

#[test]
fn an_expired_key_gives_its_memory_back_at_its_maximum_age() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .stale_on_error(SECOND)
        .loader(|_| Ok(1))
        .build()
        .unwrap();
    numbers.insert(1, 1);
    numbers.expire(&1);
    time.advance(SECOND);
    numbers.cache().purge_expired();
    assert!(numbers.cache().is_empty());
}

#[test]
fn not_modified_renews() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .keep_stale(MINUTE)
        .loader(|request: Request<u32, u32>| match request.validator() {
            Some("v1") if request.age() == Some(MINUTE) && request.stale() == Some(&1) => {
                Ok(Loaded::not_modified())
            }
            Some(_) => Err("asked in another way"),
            None => Ok(Loaded::value(1).validator("v1").tag("t")),
        })
        .build()
        .unwrap();
    numbers.get(&1).unwrap();
    for _ in 0..3 {
        time.advance(MINUTE);
        assert_eq!(numbers.peek(&1), None);
        assert_eq!(numbers.get(&1).unwrap(), Some(1));
        assert_eq!(numbers.peek(&1), Some(1));
    }
    assert_eq!(numbers.stats().not_modified, 3);
    // Its tags are the old ones.
    numbers.invalidate_tag("t");
    assert_eq!(numbers.peek(&1), None);
}

#[test]
fn not_modified_without_a_value_is_an_error() {
    let time = ManualClock::new();
    let layer = minutes(&time).loader(|_| Ok(Loaded::not_modified()));
    let numbers: Numbers = layer.build().unwrap();
    assert!(matches!(numbers.get(&1), Err(GetError::NothingToRenew)));
}

#[test]
fn loader_sets_ttl_weight_and_tags() {
    let time = ManualClock::new();
    let weighed = Cache::builder().max_weight(10).clock(time.clock());
    let numbers: Numbers = ReadThrough::builder(weighed.jitter(Jitter::none()))
        .time_to_live(MINUTE)
        .loader(|r| {
            Ok(Loaded::value(*r.key())
                .time_to_live(SECOND)
                .weight(*r.key())
                .tag("t"))
        })
        .build()
        .unwrap();
    assert_eq!(numbers.get(&4).unwrap(), Some(4));
    assert_eq!(numbers.cache().weight(), 4);
    // Heavier than the cache: given, and not kept.
    assert_eq!(numbers.get(&11).unwrap(), Some(11));
    assert_eq!(numbers.cache().weight(), 4);
    numbers.invalidate_tag("t");
    assert_eq!(numbers.peek(&4), None);
    numbers.get(&4).unwrap();
    time.advance(SECOND);
    assert_eq!(numbers.peek(&4), None);
}

#[test]
fn a_time_to_live_of_zero_serves_who_waits_and_is_not_kept() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let bring = |n| Loaded::value(n).time_to_live(Duration::ZERO);
    let numbers: Numbers = minutes(&time)
        .loader(counting(&calls, bring))
        .build()
        .unwrap();
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    assert!(numbers.cache().is_empty());
    assert_eq!(numbers.get(&1).unwrap(), Some(2));
}

#[test]
fn loaded_values_are_spread_and_inserted_ones_are_not() {
    let time = ManualClock::new();
    let cache = Cache::builder()
        .max_entries(1000)
        .clock(time.clock())
        .seed(1);
    let numbers: Numbers = ReadThrough::builder(cache)
        .time_to_live(MINUTE)
        .loader(|request| Ok(*request.key()))
        .build()
        .unwrap();
    let end = time.now() + MINUTE;
    let ends: HashSet<_> = (0..100)
        .map(|key| {
            numbers.get(&key).unwrap();
            numbers.cache().peek(&key).unwrap().fresh_until()
        })
        .collect();
    assert!(ends.len() > 90);
    assert!(
        ends.iter()
            .all(|at| *at <= end && end.saturating_since(*at) <= 6 * SECOND)
    );
    numbers.insert(100, 1);
    assert_eq!(numbers.cache().peek(&100).unwrap().fresh_until(), end);
}

#[test]
fn the_guard_is_asked_before_the_loader_and_told_of_values() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let known = Arc::new(Mutex::new(HashSet::from([1])));
    let guard = {
        let (asked, told) = (Arc::clone(&known), Arc::clone(&known));
        Arc::new(Guard::new(
            move |key: &u32| asked.lock().unwrap().contains(key),
            move |key: &u32| _ = told.lock().unwrap().insert(*key),
        ))
    };
    let numbers: Numbers = minutes(&time)
        .guard(guard)
        .loader(counting(&calls, |n| n))
        .build()
        .unwrap();
    for key in 2..1000 {
        let answer = numbers.get_entry(&key).unwrap();
        assert_eq!((answer.value(), answer.origin()), (None, Origin::Guard));
    }
    assert_eq!(calls.load(SeqCst), 0);
    assert_eq!(numbers.get(&1).unwrap(), Some(1));
    numbers.insert(2, 7);
    time.advance(MINUTE);
    assert_eq!(
        numbers.get(&2).unwrap(),
        Some(2),
        "it was inserted, so it may exist"
    );
    assert_eq!(numbers.stats().guarded, 998);
    // In a batch too.
    let many = numbers.get_many(&[1, 2, 3]);
    assert_eq!(
        many.into_iter().map(Result::unwrap).collect::<Vec<_>>()[2],
        None
    );
    assert_eq!(calls.load(SeqCst), 3);
}

#[test]
fn calls_may_be_spawned_on_a_runtime() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync>(_: &T) {}
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time).loader(|_| Ok(1)).build().unwrap();
    is_shared(&numbers);
    is_send(&numbers.get_async(&1));
    is_send(&numbers.get_entry_async(&1));
    is_send(&numbers.get_many_async(&[1]));
}

#[test]
fn a_borrowed_key_is_enough() {
    let texts = ReadThrough::<String, usize>::builder(Cache::builder().max_entries(9))
        .loader(|request| Ok(request.key().len()))
        .build()
        .unwrap();
    assert_eq!(texts.get("four").unwrap(), Some(4));
    assert_eq!(texts.peek("four"), Some(4));
    texts.invalidate("four");
    assert_eq!(texts.peek("four"), None);
}

#[test]
fn a_layer_reads_what_is_held_and_never_loads() {
    let (time, calls) = (ManualClock::new(), Arc::default());
    let numbers: Numbers = minutes(&time)
        .loader(counting(&calls, |n| n))
        .build()
        .unwrap();
    let layer: &dyn Layer<u32, u32> = &numbers;
    assert_eq!(layer.get(&1), None);
    layer.insert(1, 7);
    assert_eq!(layer.get(&1), Some(7));
    layer.invalidate(&1);
    assert_eq!(layer.get(&1), None);
    assert_eq!(calls.load(SeqCst), 0);
}

#[test]
fn entries_are_evicted_and_the_bound_holds() {
    let time = ManualClock::new();
    let numbers: Numbers = minutes(&time)
        .stale_on_error(MINUTE)
        .loader(|request| Ok(*request.key()))
        .build()
        .unwrap();
    for key in 0..10_000 {
        assert_eq!(numbers.get(&key).unwrap(), Some(key));
        assert!(numbers.cache().len() <= 100);
    }
}

#[test]
fn what_cannot_work_is_refused_in_a_sentence() {
    let time = ManualClock::new();
    let layer = || minutes(&time).loader(|_| Ok(1));
    let pool = Executor::caller_runs;
    let refused = |layer: ReadThroughBuilder<u32, u32, &'static str>| {
        layer.build().map(|_| ()).unwrap_err().to_string()
    };
    let over = |cache| ReadThrough::builder(cache).loader(|_| Ok(1));
    for (layer, sentence) in [
        (minutes(&time), "a read-through cache needs a loader"),
        (
            layer().hard_timeout(SECOND),
            "hard_timeout needs an executor",
        ),
        (
            layer().refresh_ahead(RefreshAhead::after(0.5)),
            "refresh_ahead needs an executor",
        ),
        (
            layer().soft_timeout(SECOND).executor(pool()),
            "soft_timeout needs stale_on_error",
        ),
        (
            layer().soft_timeout(SECOND).stale_on_error(SECOND),
            "soft_timeout needs an executor",
        ),
        (layer().throttle(SECOND), "throttle needs stale_on_error"),
        (
            layer().time_to_live(Duration::ZERO),
            "time_to_live must be longer than zero",
        ),
        (
            layer().negative_ttl(Duration::ZERO),
            "negative_ttl must be longer than zero",
        ),
        (
            layer()
                .refresh_ahead(RefreshAhead::after(1.5))
                .executor(pool()),
            "refresh_ahead must start after a fraction between 0 and 1 of the time to live, found 1.5",
        ),
        (
            layer()
                .refresh_ahead(RefreshAhead::by_chance(0.0))
                .executor(pool()),
            "the factor of an early refresh must be positive and finite, found 0",
        ),
        (
            layer()
                .stale_on_error(MINUTE)
                .soft_timeout(SECOND)
                .hard_timeout(SECOND)
                .executor(pool()),
            "soft_timeout (1s) must be shorter than hard_timeout (1s)",
        ),
        (
            over(cache(&time).time_to_live(SECOND)),
            "time_to_live was set on the cache",
        ),
        (
            over(cache(&time).time_to_idle(SECOND)),
            "time_to_idle was set on the cache",
        ),
        (
            over(Cache::builder()),
            "the cache below the read-through layer cannot be built",
        ),
    ] {
        let found = refused(layer);
        assert!(found.starts_with(sentence), "{found}");
    }
}
