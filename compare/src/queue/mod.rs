//! The queue beside embedded queues and logs, a table of a database, and servers on loopback.
//!
//! Everybody gets the same messages, each of which says its number, and every message is
//! looked at when it comes: its contents, and that it comes once. Servers are started for it,
//! on a port and in a directory of their own, if they are installed.

mod child;
mod damage;
mod files;
mod floors;
mod latency;
mod ours;
mod payload;
mod pending;
mod race;
mod rivals;
mod space;
mod subject;
mod tables;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::report::{JsonFile, Progress};
use ours::OURS;
use race::Effort;
use subject::{Answer, Contender, reason};

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a figure that cannot be true, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    match std::env::var_os(DIRECTORY) {
        Some(directory) => {
            let directory = Path::new(&directory);
            child::run(directory).unwrap_or_else(|| measure_in(directory, arguments))
        }
        None => start_again(),
    }
}

/// Names the directory in which everything happens.
const DIRECTORY: &str = "COMPARE_QUEUE_DIRECTORY";

/// Runs this program once more, in a directory that is removed whatever happens to it, and
/// with what one rival reads from its environment.
fn start_again() -> Answer<()> {
    let name = format!("compare-queue-{}", std::process::id());
    let directory = Directory(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&directory.0).map_err(reason)?;
    let program = std::env::current_exe().map_err(reason)?;
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(DIRECTORY, &directory.0)
        .env("WALRUS_DATA_DIR", &directory.0)
        .env("WALRUS_QUIET", "1")
        .status()
        .map_err(reason)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the measurement ended with {status}"))
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure_in(directory: &Path, arguments: &Arguments) -> Answer<()> {
    let json = arguments
        .json
        .as_deref()
        .map(JsonFile::create)
        .transpose()?;
    let effort = |rounds, millis| Effort {
        directory,
        rounds,
        slice: Duration::from_millis(millis),
    };
    let (synced, unsynced, paced) = if arguments.quick {
        (effort(5, 70), effort(5, 25), effort(5, 200))
    } else {
        (effort(7, 150), effort(7, 80), effort(7, 600))
    };
    let cells = throughput::CELLS + latency::CELLS + space::CELLS + damage::CELLS;
    let pendings = if arguments.quick { 1 } else { 2 };
    let mut rows = Vec::new();
    let mut progress = Progress::new("queue", cells + pendings * pending::CELLS);
    // What syncs comes first, before others give the disk something to do.
    throughput::power(synced, &mut progress, &mut rows);
    latency::measure(paced, &mut progress, &mut rows);
    throughput::kill(unsynced, &mut progress, &mut rows);
    throughput::memory(unsynced, &mut progress, &mut rows);
    space::measure(synced, &mut progress, &mut rows);
    let seconds = Duration::from_secs;
    if arguments.quick {
        pending::measure(synced, 1_000_000, seconds(5), &mut progress, &mut rows);
        damage::measure(synced, 20, &mut progress, &mut rows);
    } else {
        pending::measure(synced, 1_000_000, seconds(20), &mut progress, &mut rows);
        pending::measure(synced, 10_000_000, seconds(20), &mut progress, &mut rows);
        damage::measure(synced, 60, &mut progress, &mut rows);
    }
    tables::print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

fn contenders() -> Vec<Contender> {
    let mut all = vec![ours::CONTENDER];
    all.extend(rivals::all());
    all
}

fn with_floor() -> Vec<Contender> {
    let mut all = contenders();
    all.insert(0, floors::CONTENDER);
    all
}
