//! The failures that a cache is bought for, each by its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::support::{Gate, poll};
use tenfold::bloom::AtomicBloomFilter;
use tenfold::cache::read_through::{Loaded, ReadThrough, Request};
use tenfold::cache::{Cache, Guard};
use tenfold::task::{Executor, Task};
use tenfold::time::{Jitter, ManualClock};

const MINUTE: Duration = Duration::from_secs(60);

/// Ten thousand callers want one key that has just expired: one load.
#[test]
fn stampede() {
    const CALLERS: usize = 10_000;
    let time = ManualClock::new();
    let cache = Cache::builder()
        .max_entries(100)
        .time_to_live(MINUTE)
        .clock(time.clock())
        .build()
        .unwrap();
    cache.insert("hot", "old");
    time.advance(MINUTE);

    let loads = Arc::new(AtomicU64::new(0));
    let gate = Gate::new();
    let mut callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (cache, loads, gate) = (cache.clone(), Arc::clone(&loads), gate.clone());
            Box::pin(async move {
                cache
                    .get_with_async("hot", || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        gate
                    })
                    .await
            })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll(caller.as_mut()).is_pending());
    }
    gate.open("new");
    for caller in &mut callers {
        let Poll::Ready(value) = poll(caller.as_mut()) else {
            panic!("the load is over");
        };
        assert_eq!(value.unwrap(), "new");
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

/// A hundred thousand keys inserted in one moment: inside the jitter's window
/// no second sees more expiries than chance makes of an even spread.
#[test]
fn avalanche() {
    const KEYS: u64 = 100_000;
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    for seed in 0..3 {
        let time = ManualClock::new();
        let cache = Cache::builder()
            // Several shards leave up to a 64th of their room unused.
            .max_entries((KEYS + KEYS / 32) as usize)
            .time_to_live(TEN_MINUTES)
            .jitter(Jitter::fraction(0.1).shorten())
            .clock(time.clock())
            .seed(seed)
            .build()
            .unwrap();
        for key in 0..KEYS {
            cache.insert(key, ());
        }
        let mut expiries = vec![0_u64; 600];
        for entry in &cache {
            let left = entry.expires_in.expect("every entry expires");
            expiries[left.as_secs_f64().ceil() as usize - 1] += 1;
        }
        assert_eq!(expiries.iter().sum::<u64>(), KEYS);
        assert!(expiries[..539].iter().all(|&count| count == 0));
        let mean = KEYS as f64 / 60.0;
        let worst = *expiries.iter().max().unwrap();
        assert!(
            worst as f64 <= mean + 4.0 * mean.sqrt(),
            "{worst} in a second, the mean is {mean:.0}"
        );
    }
}

/// Somebody asks over and over for keys that do not exist: the store hears of
/// each once per negative time to live.
#[test]
fn penetration_by_keys_asked_for_again() {
    const KEYS: u32 = 100;
    let time = ManualClock::new();
    let queries = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&queries);
    let cache = Cache::builder().max_entries(1000).clock(time.clock());
    let cache: ReadThrough<u32, u32> = ReadThrough::builder(cache)
        .negative_ttl(Duration::from_secs(30))
        .loader(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Loaded::absent())
        })
        .build()
        .unwrap();
    for _second in 0..27 {
        for request in 0..1000 {
            assert_eq!(cache.get(&(request % KEYS)).unwrap(), None);
        }
        time.advance(Duration::from_secs(1));
    }
    // Jitter shortens by up to a tenth, so nothing has expired yet.
    assert_eq!(queries.load(Ordering::Relaxed), u64::from(KEYS));
    time.advance(Duration::from_secs(3));
    for key in 0..KEYS {
        assert_eq!(cache.get(&key).unwrap(), None);
    }
    assert_eq!(queries.load(Ordering::Relaxed), 2 * u64::from(KEYS));
}

/// Somebody asks for ever different keys that do not exist: the store
/// hears of as many as the filter takes for members, and of every real one.
#[test]
fn penetration_by_fresh_keys() {
    const REAL: u32 = 10_000;
    const ABSENT: u32 = 200_000;
    const RATE: f64 = 0.01;
    let filter = Arc::new(AtomicBloomFilter::with_rate(REAL.into(), RATE).unwrap());
    let asked = Arc::clone(&filter);
    let guard = Guard::new(
        move |key: &u32| asked.contains(key),
        move |key: &u32| {
            filter.insert(key);
        },
    );
    (0..REAL).for_each(|key| guard.insert(&key));
    let queries = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&queries);
    let cache: ReadThrough<u32, u32> = ReadThrough::builder(Cache::builder().max_entries(100))
        .guard(guard)
        .loader(move |request: Request<u32, u32>| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Some(*request.key()).filter(|&key| key < REAL))
        })
        .build()
        .unwrap();
    for key in 0..REAL {
        assert_eq!(cache.get(&key).unwrap(), Some(key));
    }
    queries.store(0, Ordering::Relaxed);
    for key in REAL..REAL + ABSENT {
        assert_eq!(cache.get(&key).unwrap(), None);
    }
    let expected = f64::from(ABSENT) * RATE;
    let passed = queries.load(Ordering::Relaxed) as f64;
    // The filter's own keys are one draw, so its rate differs by more than the
    // chance of the requests alone.
    assert!(passed <= 1.05 * expected, "{passed} queries");
}

/// The store is slow, then dead: callers of what was known get it within the
/// soft timeout, and no error.
#[test]
fn slow_and_dead_store() {
    let time = ManualClock::new();
    let gate: Gate<Result<&str, &str>> = Gate::new();
    let ill = Arc::new(AtomicU64::new(0));
    let (asked, shut) = (gate.clone(), Arc::clone(&ill));
    let tasks = Arc::new(std::sync::Mutex::new(Vec::new()));
    let pool = Arc::clone(&tasks);
    let cache = Cache::builder().max_entries(10).clock(time.clock());
    let cache: ReadThrough<u32, &str, &str> = ReadThrough::builder(cache)
        .time_to_live(MINUTE)
        .stale_on_error(10 * MINUTE)
        .throttle(Duration::from_secs(1))
        .soft_timeout(Duration::from_millis(50))
        .hard_timeout(Duration::from_secs(1))
        .executor(Executor::new(move |task| {
            pool.lock().unwrap().push(Box::pin(task));
            Ok(())
        }))
        .timer(time.timer())
        .async_loader(move |_| {
            let (asked, is_ill) = (asked.clone(), shut.load(Ordering::Relaxed) == 1);
            async move { if is_ill { asked.await } else { Ok("known") } }
        })
        .build()
        .unwrap();
    let run = || {
        let mut tasks = tasks.lock().unwrap();
        tasks.retain_mut(|task: &mut std::pin::Pin<Box<Task>>| poll(task.as_mut()).is_pending());
    };
    let ask = |key: &'static u32| {
        let mut caller = Box::pin(cache.get_async(key));
        let first = poll(caller.as_mut());
        run();
        (first, caller)
    };

    let (_, mut caller) = ask(&1);
    assert!(matches!(
        poll(caller.as_mut()),
        Poll::Ready(Ok(Some("known")))
    ));
    drop(caller);
    run();
    ill.store(1, Ordering::Relaxed);
    time.advance(MINUTE);

    // Slow: who asks for a known key waits for 50 ms, then has the old value.
    let (first, mut caller) = ask(&1);
    assert!(first.is_pending());
    time.advance(Duration::from_millis(50));
    let Poll::Ready(Ok(served)) = poll(caller.as_mut()) else {
        panic!("the soft timeout has passed");
    };
    assert_eq!(served, Some("known"));
    // Who asks for an unknown one waits for a second, then has a typed error.
    let (first, mut stranger) = ask(&2);
    assert!(first.is_pending());
    time.advance(Duration::from_secs(1));
    let Poll::Ready(refused) = poll(stranger.as_mut()) else {
        panic!("the hard timeout has passed");
    };
    assert!(refused.is_err());

    // Dead: the load fails at last, and the old value is still served.
    gate.open(Err("connection refused"));
    run();
    for _ in 0..5 {
        time.advance(Duration::from_secs(1));
        let (first, mut caller) = ask(&1);
        let answer = if first.is_ready() {
            first
        } else {
            poll(caller.as_mut())
        };
        let Poll::Ready(Ok(served)) = answer else {
            panic!("neither slow nor an error: {answer:?}");
        };
        assert_eq!(served, Some("known"));
    }
    // Too old at last: an error is better than a value of long ago.
    time.advance(11 * MINUTE);
    let (first, mut caller) = ask(&1);
    let answer = if first.is_ready() {
        first
    } else {
        poll(caller.as_mut())
    };
    assert!(matches!(answer, Poll::Ready(Err(_))), "{answer:?}");
}
