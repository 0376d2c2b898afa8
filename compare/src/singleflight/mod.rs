//! Singleflight and the rivals: a call alone, a herd, a follower, and what is
//! left of calls that were cancelled.

mod alone;
mod cancelled;
mod herd;
mod join;
mod rivals;

use crate::arguments::Arguments;
use crate::report::{self, Better, Row, Table, median};

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a figure that cannot be true, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let rounds = if arguments.quick { 15 } else { 101 };
    let mut rows = alone::measure(rounds);
    rows.extend(join::measure(rounds));
    rows.extend(herd::measure(if arguments.quick { 7 } else { 25 })?);
    rows.extend(cancelled::measure());
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// One contender's figures for one workload, taken round by round.
struct Lane {
    name: &'static str,
    round: Box<dyn FnMut() -> f64>,
    figures: Vec<f64>,
}

impl Lane {
    fn new(name: &'static str, round: impl FnMut() -> f64 + 'static) -> Self {
        Self {
            name,
            round: Box::new(round),
            figures: Vec::new(),
        }
    }
}

/// Runs the lanes in turn, so that a slow minute hits all of them, and returns
/// each one's median.
fn medians(mut lanes: Vec<Lane>, rounds: usize) -> Vec<(String, f64)> {
    for _ in 0..rounds {
        for lane in &mut lanes {
            let figure = (lane.round)();
            lane.figures.push(figure);
        }
    }
    lanes
        .into_iter()
        .map(|mut lane| (lane.name.to_owned(), median(&mut lane.figures)))
        .collect()
}

/// A row of figures of which the first is ours.
fn row(
    workload: &str,
    metric: &'static str,
    unit: &'static str,
    mut figures: Vec<(String, f64)>,
    floor: Option<f64>,
    goal: Option<f64>,
) -> Row {
    let (_, ours) = figures.remove(0);
    Row {
        block: "singleflight",
        workload: workload.to_owned(),
        metric,
        unit,
        better: Better::Lower,
        ours,
        peers: figures,
        floor,
        goal,
        context: Vec::new(),
        capacity: None,
    }
}

fn print(rows: &[Row]) {
    for row in rows {
        let mut table = Table::new(["", row.unit]);
        let figure = |value: f64| Some(format!("{value:.2}"));
        table.row("tenfold", [figure(row.ours)]);
        for (name, value) in &row.peers {
            table.row(name, [figure(*value)]);
        }
        table.row("floor", [row.floor.and_then(figure)]);
        table.row("goal", [row.goal.and_then(figure)]);
        let ahead = row.ratio().map(|ratio| format!("{ratio:.2}x"));
        table.row("ours against the best rival", [ahead]);
        table.print(&format!("{}: {}", row.workload, row.metric));
    }
}
