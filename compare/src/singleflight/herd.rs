//! Two thousand tasks that ask for one key while its work sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::rivals::{
    AsyncSingleflight, AsyncSingleflightUnary, Moka, Ours, OwnMake, Rival, SingleflightAsync,
};
use super::row;
use crate::counting;
use crate::report::{Row, median};

pub(super) fn measure(rounds: usize) -> Result<Vec<Row>, String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .map_err(|e| format!("no runtime starts: {e}"))?;
    let contenders: [(&str, fn(&Runtime) -> Figures); 7] = [
        (Ours::NAME, herd::<Ours>),
        (AsyncSingleflight::NAME, herd::<AsyncSingleflight>),
        (AsyncSingleflightUnary::NAME, herd::<AsyncSingleflightUnary>),
        (SingleflightAsync::NAME, herd::<SingleflightAsync>),
        (OwnMake::NAME, herd::<OwnMake>),
        (Moka::NAME, herd::<Moka>),
        ("floor", sleepers),
    ];
    let mut measured: Vec<Vec<Figures>> = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        // Each comes first as often as the others: what the one before left
        // behind, in the allocator and in the caches, hits all of them.
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            measured[at].push((contenders[at].1)(&runtime));
        }
    }
    // Counted by itself, since counting costs time.
    counting::start();
    for ((_, run), figures) in contenders.iter().zip(&mut measured) {
        let before = counting::allocations();
        run(&runtime);
        let each = (counting::allocations() - before) as f64 / TASKS as f64;
        figures
            .iter_mut()
            .for_each(|figures| figures.allocations = each);
    }
    counting::stop();
    let of = |read: fn(&Figures) -> f64| {
        let mut figures: Vec<_> = contenders
            .iter()
            .zip(&measured)
            .map(|((name, _), figures)| {
                let mut figures: Vec<_> = figures.iter().map(read).collect();
                ((*name).to_owned(), median(&mut figures))
            })
            .collect();
        let floor = figures.pop().map(|(_, floor)| floor);
        (figures, floor)
    };
    let name = "herd/2000 tasks";
    let (cpu, cpu_floor) = of(|figures| figures.cpu);
    let (wall, wall_floor) = of(|figures| figures.wall);
    let (loads, _) = of(|figures| figures.loads);
    let (allocations, allocations_floor) = of(|figures| figures.allocations);
    if loads[0].1 > 1.0 {
        return Err(format!("a herd of ours ran {} works, not one", loads[0].1));
    }
    let goal = cpu_floor.map(|floor| floor * 1.1);
    Ok(vec![
        row(name, "cpu_per_waiter", "ns", cpu, cpu_floor, goal),
        row(name, "wall_beyond_the_work", "ms", wall, wall_floor, None),
        row(name, "loader_runs", "", loads, Some(1.0), Some(1.0)),
        row(
            name,
            "allocations_per_waiter",
            "",
            allocations,
            allocations_floor,
            None,
        ),
    ])
}

#[derive(Clone, Copy)]
struct Figures {
    cpu: f64,
    wall: f64,
    loads: f64,
    allocations: f64,
}

fn herd<R: Rival>(runtime: &Runtime) -> Figures {
    let rival = R::new();
    round(runtime, move |loads| {
        let rival = rival.clone();
        async move {
            let work = async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(WORK).await;
                7
            };
            assert_eq!(rival.work(1, work).await, 7);
        }
    })
}

/// As many tasks that share nothing.
fn sleepers(runtime: &Runtime) -> Figures {
    round(runtime, |loads| async move {
        loads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(WORK).await;
    })
}

fn round<F>(runtime: &Runtime, task: impl Fn(Arc<AtomicUsize>) -> F) -> Figures
where
    F: Future<Output = ()> + Send + 'static,
{
    let loads = Arc::new(AtomicUsize::new(0));
    let (cpu, start) = (cpu_time(), Instant::now());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| runtime.spawn(task(Arc::clone(&loads))))
            .collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    let wall = start.elapsed().saturating_sub(WORK);
    Figures {
        cpu: (cpu_time() - cpu) / TASKS as f64,
        wall: wall.as_secs_f64() * 1_000.0,
        loads: loads.load(Ordering::Relaxed) as f64,
        allocations: 0.0,
    }
}

/// Nanoseconds that the threads of this process have run so far; not a number
/// where the system does not say.
fn cpu_time() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .sum()
}

const TASKS: usize = 2_000;
const WORK: Duration = Duration::from_millis(20);
