//! The balancer beside tower's and pingora's: a pick and its end, on one thread, and on two at once.

mod lane;
mod lanes;
#[cfg(feature = "pingora")]
mod pingora;
mod towers;

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::report::{self, Better, Row, Table, median};
use lane::Lane;
use lanes::{CONTESTS, Lanes};

const SIZES: [usize; 3] = [10, 100, 1000];
/// Longer than it takes a clock or a balancer to settle.
const WARM_UP: Duration = Duration::from_millis(300);

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let (alone, together) = if arguments.quick {
        (101, 11)
    } else {
        (1001, 51)
    };
    let mut rows = Vec::new();
    for members in SIZES {
        for contest in &CONTESTS {
            let workload = format!("{}, {members} members", contest.policy);
            let lanes = (contest.alone)(members);
            rows.push(row(workload, contest.goal, lanes, alone));
        }
        for contest in &CONTESTS {
            let workload = format!("{}, {members} members, 2 threads", contest.policy);
            let lanes = (contest.together)(members);
            rows.push(row(workload, None, lanes, together));
        }
    }
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// Runs the lanes in turn, so that a slow minute hits all of them. The first is ours, and the goal, if there is one, is in
/// nanoseconds.
fn row(workload: String, goal: Option<f64>, (mut floor, mut lanes): Lanes, rounds: usize) -> Row {
    // So that who learns from what it sees has seen enough.
    let start = Instant::now();
    while start.elapsed() < WARM_UP {
        lanes.iter_mut().for_each(Lane::round);
    }
    for lane in &mut lanes {
        lane.figures.clear();
    }
    for _ in 0..rounds {
        floor.round();
        lanes.iter_mut().for_each(Lane::round);
    }
    let mut peers: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| (lane.name.to_owned(), median(&mut lane.figures)))
        .collect();
    let (_, ours) = peers.remove(0);
    Row {
        block: "balance",
        workload,
        metric: "pick_and_release",
        unit: "ns",
        better: Better::Lower,
        ours,
        peers,
        floor: Some(median(&mut floor.figures)),
        goal,
        context: Vec::new(),
        capacity: None,
    }
}

fn print(rows: &[Row]) {
    for row in rows {
        let mut table = Table::new(["", row.unit]);
        let figure = |value: f64| Some(format!("{value:.1}"));
        table.row("tenfold", [figure(row.ours)]);
        for (name, value) in &row.peers {
            table.row(name, [figure(*value)]);
        }
        table.row("floor", [row.floor.and_then(figure)]);
        table.row("goal", [row.goal.and_then(figure)]);
        let ahead = row.ratio().map(|ratio| format!("{ratio:.1}x"));
        table.row("ours against the best rival", [ahead]);
        table.print(&format!("{}: {}", row.workload, row.metric));
    }
}
