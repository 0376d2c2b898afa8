//! A call that nobody shares: a key of its own, and work that is done at once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use tenfold::hash::TableHasher;
use tokio::runtime::{Builder, Runtime};

use super::rivals::{
    AsyncSingleflight, AsyncSingleflightUnary, Floor, Moka, Ours, OwnMake, Rival, SingleflightAsync,
};
use super::{Lane, medians, row};
use crate::counting;
use crate::report::Row;

pub(super) fn measure(rounds: usize) -> Vec<Row> {
    let tasks = || {
        [
            task::<Ours>(),
            task::<AsyncSingleflight>(),
            task::<AsyncSingleflightUnary>(),
            task::<SingleflightAsync>(),
            task::<OwnMake>(),
            task::<Moka>(),
        ]
    };
    let threads = || [thread_ours(), thread_own_make(), thread_moka()];
    let mut call = medians(
        vec![Lane::new("the call itself", || timed(CALLS, black_box))],
        rounds,
    );
    println!("the call itself takes {:.1} ns", call.remove(0).1);
    let mut rows = Vec::new();
    for (workload, contenders, goal) in [
        ("alone/async", Vec::from(tasks()), 45.0),
        ("alone/sync", Vec::from(threads()), 38.0),
    ] {
        let (mut lanes, allocations): (Vec<_>, Vec<_>) = contenders
            .into_iter()
            .map(|(lane, allocations)| {
                let name = lane.name.to_owned();
                (lane, (name, allocations))
            })
            .unzip();
        let floor = Floor::new();
        lanes.push(Lane::new("floor", move || {
            timed(CALLS, |key| floor.work(key, || black_box(key)))
        }));
        let mut times = medians(lanes, rounds * SHORT_ROUNDS);
        let floor = times.pop().map(|(_, floor)| floor);
        rows.push(row(
            workload,
            "time_per_call",
            "ns",
            times,
            floor,
            Some(goal),
        ));
        rows.push(row(
            workload,
            "allocations_per_call",
            "",
            allocations,
            Some(0.0),
            Some(0.0),
        ));
    }
    rows
}

/// A lane of tasks, and its allocations per call.
fn task<R: Rival>() -> (Lane, f64) {
    let rival = R::new();
    let runtime = runtime();
    let mut next = 0;
    let mut run = move |calls: u64| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..calls {
                next += 1;
                let value = rival.work(black_box(next), async { black_box(next) }).await;
                assert_eq!(value, next);
            }
            start.elapsed().as_nanos() as f64 / calls as f64
        })
    };
    let allocations = allocations(&mut run);
    (Lane::new(R::NAME, move || run(CALLS)), allocations)
}

fn thread_ours() -> (Lane, f64) {
    let group = tenfold::singleflight::Group::<u64, u64>::new();
    thread("tenfold", move |key| {
        let outcome = group.work(key, || black_box(key));
        outcome.expect("no caller is lost").value
    })
}

fn thread_own_make() -> (Lane, f64) {
    let map = DashMap::<u64, Arc<std::sync::OnceLock<u64>>, _>::with_hasher(TableHasher::random());
    thread("DashMap of OnceLock", move |key| {
        let cell = Arc::clone(&map.entry(key).or_default());
        let value = *cell.get_or_init(|| black_box(key));
        map.remove_if(&key, |_, known| Arc::ptr_eq(known, &cell));
        value
    })
}

fn thread_moka() -> (Lane, f64) {
    let cache = moka::sync::Cache::builder()
        .max_capacity(10_000)
        .build_with_hasher(TableHasher::random());
    thread("moka get_with", move |key| {
        cache.get_with(key, || black_box(key))
    })
}

fn thread(name: &'static str, mut call: impl FnMut(u64) -> u64 + 'static) -> (Lane, f64) {
    let mut next = 0;
    let mut run = move |calls| {
        timed(calls, |_| {
            next += 1;
            let value = call(black_box(next));
            assert_eq!(value, next);
            value
        })
    };
    let allocations = allocations(&mut run);
    (Lane::new(name, move || run(CALLS)), allocations)
}

fn timed(calls: u64, mut call: impl FnMut(u64) -> u64) -> f64 {
    let start = Instant::now();
    for key in 0..calls {
        black_box(call(black_box(key)));
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

/// Allocations per call, after a round that may set things up.
fn allocations(run: &mut impl FnMut(u64) -> f64) -> f64 {
    run(COUNTED);
    counting::start();
    let before = counting::allocations();
    run(COUNTED);
    let after = counting::allocations();
    counting::stop();
    // The runtime's own few are not the call's.
    let each = (after - before) as f64 / COUNTED as f64;
    if each < 0.001 { 0.0 } else { each }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .build()
        .expect("a runtime starts")
}

/// So few that hardly any round is interrupted by other work of the machine,
/// and so many rounds that the median is one of the others.
const CALLS: u64 = 1_000;
const SHORT_ROUNDS: usize = 20;
const COUNTED: u64 = 50_000;
