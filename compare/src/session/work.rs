//! What is done with the stores, and the rows of it.

use super::lane::Lane;
use crate::report::{Better, Progress, Row, median};

/// A loop of operations; some have two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    BeginAndEnd,
    Load { reads: bool },
    Save,
    Mixed,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) rounds: usize,
    /// Operations of a round, on each thread.
    pub(super) times: usize,
}

const ALL: [(Work, &[&str]); 5] = [
    (Work::Load { reads: false }, &["load"]),
    (Work::Load { reads: true }, &["load, read a field"]),
    (Work::Save, &["save"]),
    (Work::Mixed, &["95 % load, 5 % load, change, save"]),
    (Work::BeginAndEnd, &["create", "revoke"]),
];

/// Rounds of everybody in turn, so that a slow minute hits all of them.
pub(super) fn measure(lanes: &mut [Lane], effort: Effort, progress: &mut Progress) -> Vec<Row> {
    // By thread, work, part and lane: a figure for each round.
    let mut figures = vec![vec![vec![Vec::new(); lanes.len()]; PARTS]; 2];
    for round in 0..effort.rounds {
        for (threads, figures) in [1, 2].into_iter().zip(&mut figures) {
            let mut first = 0;
            for (work, parts) in ALL {
                for (at, lane) in lanes.iter_mut().enumerate() {
                    let ran = lane.run(work, threads, effort.times);
                    for (part, figure) in ran.into_iter().enumerate() {
                        figures[first + part][at].push(figure);
                    }
                }
                first += parts.len();
            }
        }
        progress.step(&format!("round {round}"));
    }
    let names = ALL.iter().flat_map(|(_, parts)| *parts);
    let mut rows = Vec::new();
    for (metric, figures) in METRICS.into_iter().zip(&mut figures) {
        for (workload, figures) in names.clone().zip(figures) {
            let medians = lanes.iter().zip(figures);
            let medians = medians.map(|(lane, all)| (lane.name.to_owned(), median(all)));
            rows.push(row(workload, metric, medians.collect()));
        }
    }
    rows
}

const PARTS: usize = 6;
const METRICS: [&str; 2] = [
    "operations per second of the processor, 1 thread",
    "operations per second, 2 threads",
];

fn row(workload: &str, metric: &'static str, mut peers: Vec<(String, f64)>) -> Row {
    let (_, ours) = peers.remove(0);
    let of = |name: &str, times: f64| {
        let peer = peers.iter().find(|(peer, _)| peer == name);
        peer.map_or(0.0, |(_, figure)| figure * times)
    };
    let is_alone = metric == METRICS[0];
    let (tower, plain) = ("tower-sessions MemoryStore", "DashMap");
    let goal = match (workload, is_alone) {
        ("load", true) => of(tower, 1.0 / 0.45).max(of(plain, 1.0 / 0.9)),
        (_, false) if workload.starts_with("95") => {
            of(tower, 5.0).max(of(plain, 1.2)).max(2_000_000.0)
        }
        _ => peers.iter().fold(0.0, |best, (_, figure)| figure.max(best)),
    };
    Row {
        block: "session",
        workload: workload.to_owned(),
        metric,
        unit: "1/s",
        better: Better::Higher,
        ours,
        peers,
        floor: None,
        goal: Some(goal),
        context: Vec::new(),
        capacity: Some(super::SESSIONS),
    }
}
