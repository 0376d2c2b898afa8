//! Many tasks for few connections: how long they wait, and how evenly they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};

use super::tasks::{TaskPool, fill};
use super::{ours, rivals, sqlx};
use crate::report::{Better, Row, median};

const TASKS: usize = 64;
const WORKERS: usize = 2;
const ROUND: Duration = Duration::from_millis(200);

/// Rounds of all in turn, so that a slow minute hits all of them.
///
/// # Errors
///
/// If the runtime cannot be started.
pub(super) fn measure(rounds: usize) -> Result<Vec<Row>, String> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|e| format!("a runtime cannot be started: {e}"))?;
    let guard = runtime.enter();
    let mut lanes = [
        Lane::new("tenfold", &runtime, ours::tasks()),
        Lane::new("bb8", &runtime, rivals::bb8()),
        Lane::new("deadpool", &runtime, rivals::deadpool()),
        Lane::new(
            "deadpool, 30 s at most",
            &runtime,
            rivals::deadpool_in_time(),
        ),
        Lane::new("mobc", &runtime, rivals::mobc()),
        Lane::new("sqlx", &runtime, sqlx::pool()),
    ];
    drop(guard);
    for _ in 0..rounds {
        for lane in &mut lanes {
            let seen = (lane.round)(&runtime);
            lane.seen.push(seen);
        }
    }
    let row = |metric, unit, goal, figure: fn(&Seen) -> f64| {
        let mut figures = lanes.iter().map(|lane| {
            let mut values: Vec<_> = lane.seen.iter().map(figure).collect();
            (lane.name.to_owned(), median(&mut values))
        });
        Row {
            block: "replica",
            workload: "64 tasks, 8 connections".to_owned(),
            metric,
            unit,
            better: Better::Lower,
            ours: figures.next().map_or(f64::NAN, |(_, figure)| figure),
            peers: figures.collect(),
            floor: None,
            goal: Some(goal),
            context: vec![("bb8".to_owned(), OUT_OF_ORDER.to_owned())],
            capacity: None,
        }
    };
    Ok(vec![
        row("wait_p50", "us", 92.0, |seen| seen.wait),
        row("most_over_least", "operations of a task", 1.3, |seen| {
            seen.most_over_least
        }),
    ])
}

const OUT_OF_ORDER: &str = "does not serve in order: who has just given a connection back may have it again while others wait";

struct Lane {
    name: &'static str,
    round: Box<dyn FnMut(&Runtime) -> Seen>,
    seen: Vec<Seen>,
}

/// What a round has shown.
struct Seen {
    /// How long the one in the middle waited, in microseconds.
    wait: f64,
    most_over_least: f64,
}

impl Lane {
    fn new<P: TaskPool>(name: &'static str, runtime: &Runtime, pool: P) -> Self {
        runtime.block_on(fill(&pool));
        Self {
            name,
            round: Box::new(move |runtime| round(runtime, &pool)),
            seen: Vec::new(),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a round takes as long as it takes"
)]
fn round<P: TaskPool>(runtime: &Runtime, pool: &P) -> Seen {
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| runtime.spawn(task(pool.clone(), Arc::clone(&over))))
        .collect();
    std::thread::sleep(ROUND);
    over.store(true, Ordering::Relaxed);
    let done = tasks
        .into_iter()
        .map(|task| runtime.block_on(task).expect("tasks do not panic"));
    let done: Vec<Vec<f64>> = done.collect();
    let counts = || done.iter().map(Vec::len);
    let (most, least) = (counts().max(), counts().min());
    Seen {
        wait: median(&mut done.concat()),
        most_over_least: most.unwrap_or(0) as f64 / least.unwrap_or(0) as f64,
    }
}

/// Has connections lent until it is over, each held while others have their turn. Answers how long it waited for each, in
/// microseconds.
async fn task<P: TaskPool>(pool: P, over: Arc<AtomicBool>) -> Vec<f64> {
    let mut waits = Vec::with_capacity(1 << 12);
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let lent = pool.lend().await;
        waits.push(start.elapsed().as_nanos() as f64 / 1e3);
        tokio::task::yield_now().await;
        drop(lent);
    }
    waits
}
