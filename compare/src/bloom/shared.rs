//! Nanoseconds per operation of filters that threads fill together.

use std::sync::Barrier;
use std::time::Instant;

use super::speed::{STRANGERS, nanoseconds, numbers, per_key};
use super::subject::{Contender, SharedFilter, Size};
use super::{Effort, ours, rivals};
use crate::report::{Better, Row, Table, median};

pub(super) fn measure(effort: &Effort) -> Vec<Row> {
    let size = Size {
        bits: 1 << 22,
        items: (1 << 22) / 10,
    };
    let keys: Vec<u64> = numbers(0, size.items);
    let strangers: Vec<u64> = numbers(STRANGERS, size.items);
    let mut lanes: Vec<Lane> = [ours::shared()]
        .into_iter()
        .chain(rivals::shared())
        .map(Lane::new)
        .collect();
    for _ in 0..effort.rounds {
        for lane in &mut lanes {
            for threads in 1..=2 {
                let filter = (lane.contender.build)(size);
                let insert = together(threads, &keys, |keys| {
                    filter.insert_all(keys);
                    0
                });
                let hit = together(threads, &keys, |keys| filter.count(keys));
                let miss = together(threads, &strangers, |keys| filter.count(keys));
                assert_eq!(hit.1, keys.len(), "{} lost keys", lane.contender.name);
                lane.found += miss.1;
                lane.asked += strangers.len();
                for (operation, time) in [insert.0, hit.0, miss.0].into_iter().enumerate() {
                    lane.rounds[operation][threads - 1].push(time);
                }
            }
        }
    }
    print(&lanes);
    rows(&lanes)
}

struct Lane {
    contender: Contender<dyn SharedFilter<u64>>,
    /// By operation and number of threads.
    rounds: [[Vec<f64>; 2]; 3],
    found: usize,
    asked: usize,
}

impl Lane {
    fn new(contender: Contender<dyn SharedFilter<u64>>) -> Self {
        Self {
            contender,
            rounds: Default::default(),
            found: 0,
            asked: 0,
        }
    }

    fn figure(&self, operation: usize, threads: usize) -> f64 {
        median(&mut self.rounds[operation][threads - 1].clone())
    }
}

/// Wall time per key of all threads, and the sum of their answers.
fn together(threads: usize, keys: &[u64], work: impl Fn(&[u64]) -> usize + Sync) -> (f64, usize) {
    if threads == 1 {
        let mut sum = 0;
        return (per_key(keys.len(), || sum = work(keys)), sum);
    }
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = keys
            .chunks(keys.len().div_ceil(threads))
            .map(|keys| {
                scope.spawn(|| {
                    barrier.wait();
                    let sum = work(keys);
                    (Instant::now(), sum)
                })
            })
            .collect();
        // Taken before the threads may go: this one may wake last.
        let start = Instant::now();
        barrier.wait();
        let done: Vec<_> = handles
            .into_iter()
            .map(|handle| handle.join().expect("no filter panics"))
            .collect();
        let end = done.iter().map(|done| done.0).max().unwrap_or(start);
        let nanos = (end - start).as_nanos() as f64;
        (
            nanos / keys.len() as f64,
            done.iter().map(|done| done.1).sum(),
        )
    })
}

fn print(lanes: &[Lane]) {
    let head = OPERATIONS
        .iter()
        .flat_map(|name| [1, 2].map(|threads| format!("{name} {threads}T")));
    let head = [String::new()].into_iter().chain(head);
    let mut table = Table::new(head.chain(["false positives".to_owned()]));
    for lane in lanes {
        let figures = (0..OPERATIONS.len())
            .flat_map(|operation| [1, 2].map(|threads| lane.figure(operation, threads)))
            .map(|figure| Some(nanoseconds(figure)));
        let rate = format!("{:.3} %", lane.found as f64 / lane.asked as f64 * 100.0);
        table.row(lane.contender.name, figures.chain([Some(rate)]));
    }
    table.print("Shared by threads: 512 KiB, u64 keys; 1T in thread time, 2T in wall time / operations of both");
}

fn rows(lanes: &[Lane]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (operation, name) in OPERATIONS.iter().enumerate() {
        for threads in 1..=2 {
            let goal = (*name == "insert" && threads == 1).then_some(30.0);
            let figure = move |lane: &Lane| lane.figure(operation, threads);
            let workload = format!("512 KiB/u64/atomic {name}/{threads}T");
            rows.push(Row {
                unit: "ns",
                better: Better::Lower,
                ..row(workload, "time_per_operation", goal, lanes, figure)
            });
        }
    }
    let scaling = |lane: &Lane| lane.figure(0, 1) / lane.figure(0, 2);
    let workload = "512 KiB/u64/atomic insert".to_owned();
    rows.push(row(workload, "speed_up_by_2T", Some(1.7), lanes, scaling));
    rows
}

fn row(
    workload: String,
    metric: &'static str,
    goal: Option<f64>,
    lanes: &[Lane],
    figure: impl Fn(&Lane) -> f64,
) -> Row {
    Row {
        block: "bloom",
        workload,
        metric,
        unit: "times",
        better: Better::Higher,
        ours: figure(&lanes[0]),
        peers: lanes[1..]
            .iter()
            .map(|lane| (lane.contender.name.to_owned(), figure(lane)))
            .collect(),
        floor: None,
        goal,
        context: Vec::new(),
        capacity: None,
    }
}

const OPERATIONS: [&str; 3] = ["insert", "hit", "miss"];
