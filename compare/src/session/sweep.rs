//! A million sessions that are over, taken out while another thread loads some that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use dashmap::DashMap;
use tenfold::rng::Rng;
use tenfold::session::{MemoryStore, OnFull, WallClock};
use tenfold::time::ManualClock;
use tokio::runtime::Builder;

use super::SESSIONS;
use super::rivals::{HALF_AN_HOUR, Kept, Plain};
use super::subject::{Fields, Store};
use crate::report::{Better, Progress, Row, median};

/// Sessions that live on.
const LIVE: usize = 100_000;
pub(super) const CONTENDERS: usize = 3;

/// Measures ours and those who can be told to sweep.
pub(super) fn measure(progress: &mut Progress) -> Vec<Row> {
    // The processor's time is also what the machine below took away meanwhile, and this is the longest of tens of thousands.
    let mut holds: Vec<f64> = (0..3).map(|_| ours(false).longest).collect();
    let ours = Swept {
        longest: median(&mut holds),
        ..ours(true)
    };
    progress.step("sweep, tenfold");
    let plain = plain();
    progress.step("sweep, DashMap");
    let theirs = async_session();
    progress.step("sweep, async-session");
    let row = |metric, unit, goal, pick: fn(&Swept) -> f64| Row {
        block: "session",
        workload: format!("{SESSIONS} over, {LIVE} loaded meanwhile"),
        metric,
        unit,
        better: Better::Lower,
        ours: pick(&ours),
        peers: vec![
            ("DashMap".to_owned(), pick(&plain)),
            ("async-session MemoryStore".to_owned(), pick(&theirs)),
        ],
        floor: None,
        goal,
        context: [
            ("tower-sessions MemoryStore", "not run: it never sweeps"),
            (
                "tower-sessions MokaStore",
                "not run: it sweeps within other calls, and has none for it",
            ),
        ]
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .into(),
        capacity: Some(SESSIONS),
    };
    vec![
        Row {
            peers: Vec::new(),
            ..row(
                "sweep: longest hold of a lock",
                "µs of the processor",
                Some(100.0),
                |swept| swept.longest,
            )
        },
        row("sweep: median of loads", "µs", None, |swept| {
            swept.loads[0]
        }),
        row("sweep: p99 of loads", "µs", Some(5.0), |swept| {
            swept.loads[1]
        }),
        row("sweep: p99.9 of loads", "µs", None, |swept| swept.loads[2]),
        row("sweep: slowest load", "µs", None, |swept| swept.loads[3]),
        row("sweep: all of it", "ms of the processor", None, |swept| {
            swept.all
        }),
    ]
}

struct Swept {
    /// Of a single call, which takes a lock once.
    longest: f64,
    /// Median, p99, p99.9, longest.
    loads: [f64; 4],
    all: f64,
}

/// With a user and data for each session, or neither.
fn ours(has_users: bool) -> Swept {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(WallClock::manual(&clock, 1_700_000_000))
        .max_sessions(2 * SESSIONS, OnFull::Refuse)
        .idle(Duration::from_secs(60))
        .build()
        .expect("these settings make sense");
    let shared: Arc<[u8]> = Fields::new(0).write().into();
    let begin = |user: usize| {
        // What follows a hold without a lock, freeing, is not measured where the hold is.
        let data: Arc<[u8]> = if has_users {
            Fields::new(user as u64).write().into()
        } else {
            Arc::clone(&shared)
        };
        let owner = has_users.then(|| user.to_string().into());
        let begun = store.create(owner, data);
        begun.expect("there is room").0
    };
    for user in 0..SESSIONS {
        begin(user);
    }
    // No sweep of a new session must find the old ones over already.
    clock.advance(Duration::from_secs(59));
    let live: Vec<_> = (SESSIONS..SESSIONS + LIVE).map(begin).collect();
    clock.advance(Duration::from_secs(1));
    let load = |at: usize| assert!(store.load(&live[at]).is_some());
    let sweep = || {
        let mut calls = Vec::with_capacity(2 * SESSIONS / HOLD);
        while store.len() > LIVE {
            let start = ThreadTime::now();
            store.sweep(HOLD);
            calls.push(start.elapsed());
        }
        calls.into_iter().max().unwrap_or_default()
    };
    let swept = beside(load, sweep);
    assert_eq!(store.len(), LIVE);
    swept
}

/// Slots that one lock is held for.
const HOLD: usize = 32;

fn plain() -> Swept {
    let store = Plain(DashMap::new());
    let put = |token: usize, seen: u64| {
        let kept = Kept::new(token as u64, seen);
        // As spread as random ones.
        let token = (token as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        store.0.insert(token, kept);
        token
    };
    let now = super::rivals::now();
    for token in 0..SESSIONS {
        put(token, now - HALF_AN_HOUR);
    }
    let live = (SESSIONS..SESSIONS + LIVE).map(|token| put(token, now));
    let live: Vec<_> = live.collect();
    let load = |at: usize| assert!(store.0.get(&live[at]).is_some_and(|kept| kept.is_live(now)));
    let sweep = || {
        store.0.retain(|_, kept| kept.is_live(now));
        Duration::ZERO
    };
    let swept = beside(load, sweep);
    assert_eq!(store.0.len(), LIVE);
    swept
}

fn async_session() -> Swept {
    use async_session::{MemoryStore, Session, SessionStore};

    let runtime = || {
        let runtime = Builder::new_current_thread().build();
        runtime.expect("a runtime of one thread starts")
    };
    let store = MemoryStore::new();
    let live: Vec<_> = runtime().block_on(async {
        let mut live = Vec::with_capacity(LIVE);
        for user in 0..SESSIONS + LIVE {
            if user >= SESSIONS {
                live.push(store.begin(user as u64).await);
                continue;
            }
            let mut session = Session::new();
            for (name, value) in super::subject::fields(user as u64, 0) {
                session.insert(name, value).expect("these fields are JSON");
            }
            session.expire_in(Duration::ZERO);
            store
                .store_session(session)
                .await
                .expect("memory does not fail");
        }
        live
    });
    let reader = runtime();
    let load = |at: usize| {
        let loaded = reader.block_on(store.load_session(live[at].clone()));
        assert!(loaded.is_ok_and(|session| session.is_some()));
    };
    let sweep = || {
        let swept = runtime().block_on(store.cleanup());
        swept.expect("memory does not fail");
        Duration::ZERO
    };
    beside(load, sweep)
}

/// Loads on this thread for as long as it is swept on another.
fn beside(load: impl Fn(usize), sweep: impl FnOnce() -> Duration + Send) -> Swept {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            begun.store(true, Ordering::SeqCst);
            let start = ThreadTime::now();
            let longest = sweep();
            let all = start.elapsed();
            done.store(true, Ordering::SeqCst);
            (longest, all)
        });
        let mut rng = Rng::with_seed(1);
        let mut times = Vec::with_capacity(10_000_000);
        while !begun.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        while !done.load(Ordering::Relaxed) {
            let at = rng.below(LIVE as u64) as usize;
            let start = Instant::now();
            load(at);
            times.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        let (longest, all) = sweeper.join().expect("a sweep does not panic");
        let middle = median(&mut times);
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times.get(place.min(times.len().saturating_sub(1))).copied()
        };
        Swept {
            longest: longest.as_nanos() as f64 / 1e3,
            loads: [
                middle,
                at(0.99).unwrap_or(middle),
                at(0.999).unwrap_or(middle),
                at(1.0).unwrap_or(middle),
            ],
            all: all.as_nanos() as f64 / 1e6,
        }
    })
}
