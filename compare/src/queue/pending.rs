//! Millions of messages that nobody takes: memory, disk, and opening after a kill.

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::{self, Running, Task, Work, memory};
use super::race::{Effort, Figures};
use super::rivals::{OKAYWAL, SQLITE_OFF};
use super::subject::{Answer, Contender, Level, reason};
use super::tables::{Goal, row};
use super::{contenders, files};
use crate::report::{Better, Progress, Row};

pub(super) const CELLS: usize = 1;

const SIZE: f64 = 100.0;

pub(super) fn measure(
    effort: Effort<'_>,
    count: u64,
    limit: Duration,
    progress: &mut Progress,
    rows: &mut Vec<Row>,
) {
    let figures: Vec<_> = contenders()
        .iter()
        .map(|contender| Figures {
            name: contender.name,
            values: one(effort, contender, count, limit),
            is_slow: false,
        })
        .collect();
    let millions = count / 1_000_000;
    let workload = format!("{millions} M pending, 100 B");
    for (column, metric, unit, goal) in [
        (0, "memory of its own (RssAnon)", "MB", Goal::Fixed(10.0)),
        (
            1,
            "opening after a kill, with the first message",
            "ms",
            Goal::Fixed(500.0),
        ),
        (
            2,
            "disk set aside, bytes per byte of payload",
            "",
            Goal::None,
        ),
    ] {
        rows.push(Row {
            better: Better::Lower,
            ..row(&workload, metric, unit, &figures, column, goal)
        });
    }
    progress.step(&workload);
}

/// Megabytes of memory, milliseconds to open, and bytes on the disk per byte of payload.
fn one(effort: Effort<'_>, contender: &Contender, count: u64, limit: Duration) -> Answer<Vec<f64>> {
    match contender.name {
        OKAYWAL => return Err("a log of what is under way: keeps 12 MiB".into()),
        name if name.starts_with("SQLite") && name != SQLITE_OFF => {
            return Err(format!("opens the same file as {SQLITE_OFF}"));
        }
        _ => {}
    }
    let name = contender.name.replace(' ', "-");
    let directory = effort.directory.join(format!("pending-{name}-{count}"));
    let measured = if contender.is_server {
        server(contender, &directory, count, limit)
    } else {
        embedded(contender, &directory, count, limit)
    };
    let _ = std::fs::remove_dir_all(&directory);
    measured
}

fn embedded(
    contender: &Contender,
    directory: &Path,
    count: u64,
    limit: Duration,
) -> Answer<Vec<f64>> {
    let mut task = Task {
        name: contender.name,
        directory: directory.to_owned(),
        level: Level::Kill,
        work: Work::Fill,
        count,
        batch: 100,
        limit,
    };
    let filling = Running::start(&task)?;
    filling.filled(2 * limit)?;
    let held = memory(filling.process()).ok_or("its memory cannot be read")?;
    let disk = files::allocated(directory).map_err(reason)?;
    drop(filling);
    task.work = Work::Read;
    task.limit = Duration::from_millis(1500);
    let found = Running::start(&task)?.found(2 * limit)?;
    if found.came == 0 || found.wrong > 0 {
        let (came, wrong) = (found.came, found.wrong);
        return Err(format!(
            "after a kill {came} messages came, and {wrong} wrong ones"
        ));
    }
    Ok(figures(held, found.first, disk, count))
}

fn server(
    contender: &Contender,
    directory: &Path,
    count: u64,
    limit: Duration,
) -> Answer<Vec<f64>> {
    let subject = (contender.open)(directory, Level::Kill)?;
    child::fill(&*subject, count, 100, limit)?;
    let held = memory(subject.process()).ok_or("its memory cannot be read")?;
    let disk = files::allocated(directory).map_err(reason)?;
    // Which kills it.
    drop(subject);
    let start = Instant::now();
    let subject = (contender.open)(directory, Level::Kill)?;
    let mut consumer = subject.consumer(false)?;
    let mut right = 0;
    while right == 0 && start.elapsed() < limit {
        consumer.consume(1, false, &mut |message| {
            right += usize::from(super::payload::number(message).is_some());
        })?;
    }
    if right == 0 {
        return Err("no message came after a kill".into());
    }
    Ok(figures(held, start.elapsed().as_secs_f64(), disk, count))
}

fn figures(memory: u64, opened: f64, disk: u64, count: u64) -> Vec<f64> {
    vec![
        memory as f64 / 1e6,
        opened * 1e3,
        disk as f64 / (count as f64 * SIZE),
    ]
}
