//! The balancer beside tower's and pingora's: a pick and its end, on one thread.

mod lanes;
#[cfg(feature = "pingora")]
mod pingora;

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::report::{self, Better, Row, Table, median};
use lanes::Lane;

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
    let rounds = if arguments.quick { 101 } else { 1001 };
    let mut rows = Vec::new();
    for members in SIZES {
        let (floor, lanes) = lanes::adaptive(members);
        rows.push(row(("adaptive", members, Some(30.0)), floor, lanes, rounds));
        let (floor, lanes) = lanes::least_request(members);
        rows.push(row(
            ("least request", members, Some(15.0)),
            floor,
            lanes,
            rounds,
        ));
        let (floor, lanes) = lanes::round_robin(members);
        rows.push(row(
            ("round robin", members, Some(7.0)),
            floor,
            lanes,
            rounds,
        ));
        let (floor, lanes) = lanes::random(members);
        rows.push(row(("random", members, None), floor, lanes, rounds));
        let (floor, lanes) = lanes::sticky(members);
        rows.push(row(("by key", members, None), floor, lanes, rounds));
    }
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// Runs the lanes in turn, so that a slow minute hits all of them. The first is ours, and the goal, if there is one, is in
/// nanoseconds.
fn row(
    (policy, members, goal): (&str, usize, Option<f64>),
    mut floor: Lane,
    mut lanes: Vec<Lane>,
    rounds: usize,
) -> Row {
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
        workload: format!("{policy}, {members} members"),
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
