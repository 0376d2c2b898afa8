//! Time of the processor for a connection lent and taken back.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use super::contests::{CONTESTS, Contender};
use super::tasks::Lend;
use crate::report::{Better, Row, median};

/// Between two readings of the clock.
const TIMES: usize = 1_000;
/// Longer than it takes a clock or a balancer to settle.
const WARM_UP: Duration = Duration::from_millis(300);

/// Rounds of all in turn, so that a slow minute hits all of them.
pub(super) fn measure(rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for contest in &CONTESTS {
        let contenders = [contest.floor].into_iter().chain(contest.contenders);
        let mut lanes: Vec<_> = contenders.map(Lane::new).collect();
        let start = Instant::now();
        while start.elapsed() < WARM_UP {
            lanes.iter_mut().for_each(Lane::round);
        }
        for lane in &mut lanes {
            lane.figures.clear();
        }
        for _ in 0..rounds {
            lanes.iter_mut().for_each(Lane::round);
        }
        let mut figures = lanes.into_iter().map(Lane::median);
        rows.push(Row {
            block: "replica",
            workload: contest.workload.to_owned(),
            metric: "lend_and_take_back",
            unit: "ns of the processor",
            better: Better::Lower,
            floor: figures.next().map(|(_, figure)| figure),
            ours: figures.next().map_or(f64::NAN, |(_, figure)| figure),
            peers: figures.collect(),
            goal: None,
            context: Vec::new(),
            capacity: None,
        });
    }
    rows
}

struct Lane {
    name: &'static str,
    lend: Lend,
    figures: Vec<f64>,
}

impl Lane {
    fn new(contender: &Contender) -> Self {
        Self {
            name: contender.name,
            lend: (contender.make)(),
            figures: Vec::new(),
        }
    }

    fn round(&mut self) {
        let start = ThreadTime::now();
        (self.lend)(TIMES);
        let took = start.elapsed();
        self.figures.push(took.as_nanos() as f64 / TIMES as f64);
    }

    fn median(mut self) -> (String, f64) {
        (self.name.to_owned(), median(&mut self.figures))
    }
}
