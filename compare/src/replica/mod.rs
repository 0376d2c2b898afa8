//! Pools of connections side by side: one lent and taken back where nobody waits, in instructions and in time of the
//! processor; and how evenly many who wait are served.
//!
//! The connections do nothing, and are never asked for a test, so that what is measured is the pool alone.

mod contests;
mod fairness;
mod instructions;
mod ours;
mod rivals;
mod sqlx;
mod tasks;
mod time;

pub use instructions::child;

use crate::arguments::Arguments;
use crate::report::{self, Row, Table};

/// Connections of each pool.
const CONNECTIONS: u32 = 8;

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a runtime that cannot be started, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let mut rows = Vec::new();
    match instructions::measure() {
        Ok(counted) => rows.extend(counted),
        Err(reason) => eprintln!("compare: instructions are not counted: {reason}"),
    }
    rows.extend(time::measure(if arguments.quick { 101 } else { 1001 }));
    rows.extend(ours::allocations());
    rows.extend(fairness::measure(if arguments.quick { 7 } else { 51 })?);
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
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
