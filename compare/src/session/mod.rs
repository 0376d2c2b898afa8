//! The store of sessions beside other stores in memory, and beside the plain map that people write for themselves.
//!
//! Everybody holds as many sessions of the same four fields. A store of bytes is given them as JSON, one of values as
//! values: what its user would write. On one thread it is the processor's time that counts, on two the time by the
//! clock.

mod lane;
mod memory;
mod ours;
mod rivals;
mod subject;
mod sweep;
mod work;

use crate::arguments::Arguments;
use crate::report::{self, Progress, Row};
use lane::Lane;

/// Sessions held by each.
const SESSIONS: usize = 1_000_000;

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
    let effort = if arguments.quick {
        work::Effort {
            rounds: 3,
            times: 20_000,
        }
    } else {
        work::Effort {
            rounds: 7,
            times: 200_000,
        }
    };
    let mut progress = Progress::new("session", 6 + effort.rounds + sweep::CONTENDERS);
    let mut rows: Vec<Row> = sweep::measure(&mut progress);
    let mut lanes: Vec<Lane> = rivals::lanes(&mut progress)?;
    rows.push(memory::row(&lanes));
    rows.extend(work::measure(&mut lanes, effort, &mut progress));
    report::print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}
