//! Bytes on the disk for each byte of payload.

use super::contenders;
use super::files;
use super::payload::batches;
use super::race::{Effort, Figures};
use super::rivals::{OKAYWAL, SQLITE_OFF};
use super::subject::{Answer, Contender, Level, reason};
use super::tables::{Goal, row};
use crate::report::{Better, Progress, Row};

pub(super) const CELLS: usize = 4;

/// Between these the bytes are counted, so that what a file has at its front is no part of it.
const FROM: u64 = 1000;
const TO: u64 = 5000;

pub(super) fn measure(effort: Effort<'_>, progress: &mut Progress, rows: &mut Vec<Row>) {
    for (size, batch, goal) in [
        (100, 1, Goal::Fixed(1.3)),
        (100, 16, Goal::Fixed(1.3)),
        (100, 100, Goal::Fixed(1.3)),
        (1024, 1, Goal::Fixed(1.03)),
    ] {
        let used = |contender: &Contender| Figures {
            name: contender.name,
            values: used(effort, contender, size, batch).map(|used| vec![used]),
            is_slow: false,
        };
        let figures: Vec<_> = contenders().iter().map(used).collect();
        let workload = format!("{size} B, {batch} a call");
        let metric = "disk, bytes per byte of payload";
        rows.push(Row {
            better: Better::Lower,
            ..row(&workload, metric, "", &figures, 0, goal)
        });
        progress.step(&format!("{metric}, {workload}"));
    }
}

fn used(effort: Effort<'_>, contender: &Contender, size: usize, batch: usize) -> Answer<f64> {
    let level = match contender.name {
        OKAYWAL => Level::Power,
        name if name.starts_with("SQLite") && name != SQLITE_OFF => {
            return Err(format!("has the same file as {SQLITE_OFF}"));
        }
        _ => Level::Kill,
    };
    let name = contender.name.replace(' ', "-");
    let directory = effort
        .directory
        .join(format!("space-{name}-{size}-{batch}"));
    let measure = || -> Answer<f64> {
        let subject = (contender.open)(&directory, level)?;
        let mut producer = subject.producer()?;
        let mut bytes = [0; 2];
        for (numbers, bytes) in [0..FROM, FROM..TO].into_iter().zip(&mut bytes) {
            for call in batches(numbers, size, batch) {
                producer.publish(call)?;
            }
            let files = files::contents(&directory).map_err(reason)?;
            *bytes = files.iter().map(files::Content::used).sum();
        }
        let more = bytes[1].saturating_sub(bytes[0]);
        Ok(more as f64 / ((TO - FROM) * size as u64) as f64)
    };
    let measured = measure();
    let _ = std::fs::remove_dir_all(&directory);
    measured
}
