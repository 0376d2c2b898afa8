//! What one flipped bit costs.

use std::fs;
use std::time::Duration;

use tenfold::rng::Rng;

use super::child::{Running, Task, Work};
use super::contenders;
use super::files::{self, Content};
use super::race::{Effort, Figures};
use super::rivals::SQLITE_OFF;
use super::subject::{Answer, Contender, Level, reason};
use super::tables::{Goal, row};
use crate::report::{Better, Progress, Row};

pub(super) const CELLS: usize = 1;

const MESSAGES: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(10);

/// Flips one bit at a time of what each has on the disk, anywhere, and opens it anew.
pub(super) fn measure(
    effort: Effort<'_>,
    flips: u32,
    progress: &mut Progress,
    rows: &mut Vec<Row>,
) {
    let figures: Vec<_> = contenders()
        .iter()
        .map(|contender| Figures {
            name: contender.name,
            values: one(effort, contender, flips),
            is_slow: false,
        })
        .collect();
    let workload = format!("{MESSAGES} messages of 100 B, {flips} flips");
    for (column, metric, unit, goal) in [
        (
            0,
            "one flipped bit, messages lost at worst",
            "",
            Goal::Fixed(1.0),
        ),
        (
            1,
            "one flipped bit, messages lost on average",
            "",
            Goal::None,
        ),
        (
            2,
            "one flipped bit, lost or changed without a word",
            "% of flips",
            Goal::Fixed(0.0),
        ),
    ] {
        rows.push(Row {
            better: Better::Lower,
            ..row(&workload, metric, unit, &figures, column, goal)
        });
    }
    progress.step("one flipped bit");
}

fn one(effort: Effort<'_>, contender: &Contender, flips: u32) -> Answer<Vec<f64>> {
    if contender.is_server {
        return Err("a server: its files are not touched here".into());
    }
    if contender.name.starts_with("SQLite") && contender.name != SQLITE_OFF {
        return Err(format!("has the same file as {SQLITE_OFF}"));
    }
    let name = contender.name.replace(' ', "-");
    let whole = effort.directory.join(format!("damage-{name}"));
    let mut task = Task {
        name: contender.name,
        directory: whole.clone(),
        level: Level::Power,
        work: Work::Fill,
        count: MESSAGES,
        batch: 1,
        limit: PATIENCE,
    };
    let mut filling = Running::start(&task)?;
    if filling.filled(PATIENCE).is_err() {
        // It has no such level.
        task.level = Level::Kill;
        drop(filling);
        filling = Running::start(&task)?;
        filling.filled(PATIENCE)?;
    }
    drop(filling);
    let mut files = files::contents(&whole).map_err(reason)?;
    let _ = fs::remove_dir_all(&whole);
    task.work = Work::Read;
    let bits = 8 * files.iter().map(Content::used).sum::<u64>();
    let mut rng = Rng::with_seed(17);
    let (mut worst, mut lost, mut silent) = (0, 0, 0);
    for flip in 0..=flips {
        task.directory = effort.directory.join(format!("damage-{name}-{flip}"));
        // The first is not damaged: if that is not read, nothing else means anything.
        let bit = (flip > 0).then(|| rng.below(bits));
        bit.inspect(|bit| flip_in(&mut files, *bit));
        let mut whole = files.iter();
        let written = whole.try_for_each(|file| file.write(&task.directory));
        written.map_err(reason)?;
        // Undone for the next.
        bit.inspect(|bit| flip_in(&mut files, *bit));
        let found = Running::start(&task)?.found(PATIENCE);
        let _ = fs::remove_dir_all(&task.directory);
        let (missing, told) = match &found {
            Ok(found) => (
                MESSAGES - found.came,
                found.report.is_some() && found.wrong == 0,
            ),
            // Who dies or hangs has told somebody.
            Err(_) => (MESSAGES, true),
        };
        if flip == 0 {
            if missing > 0 {
                return Err(format!(
                    "reads {missing} messages too few without any damage"
                ));
            }
            continue;
        }
        worst = worst.max(missing);
        lost += missing;
        silent += u32::from(missing > 0 && !told);
    }
    Ok(vec![
        worst as f64,
        lost as f64 / f64::from(flips),
        100.0 * f64::from(silent) / f64::from(flips),
    ])
}

/// Flips one bit of all the files' bytes.
fn flip_in(files: &mut [Content], mut bit: u64) {
    for file in files {
        match bit.checked_sub(8 * file.used()) {
            Some(rest) => bit = rest,
            None => return file.flip(bit),
        }
    }
}
