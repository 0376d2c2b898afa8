//! Signing and verifying, and the rows of it.

use super::jsonwebtoken::PROVIDERS;
use super::ours::Ours;
use super::remote::Remote;
use super::rivals::{self, PASETO_LOCAL};
use super::subject::{ALGORITHMS, Algorithm, Lane, Local, Task};
use crate::report::{Better, Progress, Row, median};

/// Rounds of everybody in turn, of about so many milliseconds each.
///
/// # Errors
///
/// If a process cannot be started, or does not answer.
pub(super) fn measure(
    rounds: usize,
    slice: usize,
    progress: &mut Progress,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for algorithm in ALGORITHMS {
        let mut lanes: Vec<(&str, Box<dyn Lane>)> =
            vec![("tenfold", Box::new(Local::new(Ours::new(algorithm))))];
        for provider in PROVIDERS {
            let remote = Remote::start(provider, &algorithm.to_string())?;
            lanes.push((provider, Box::new(remote)));
        }
        lanes.extend(rivals::lanes(algorithm));
        progress.step(&format!("{algorithm}, keys"));
        for task in [Task::Sign, Task::Verify, Task::VerifyAgain] {
            let times = times(&mut lanes, task, rounds, slice)?;
            rows.push(row(algorithm, task, false, times));
            if task != Task::VerifyAgain {
                let allocations = lanes.iter_mut();
                let allocations = allocations
                    .map(|(name, lane)| Ok(((*name).to_owned(), lane.allocations(task)?)));
                let allocations = allocations.collect::<Result<_, String>>()?;
                rows.push(row(algorithm, task, true, allocations));
            }
        }
        progress.step(&algorithm.to_string());
    }
    rows.sort_by_key(|row| METRICS.iter().position(|metric| *metric == row.metric));
    Ok(rows)
}

/// The median of each.
fn times(
    lanes: &mut [(&str, Box<dyn Lane>)],
    task: Task,
    rounds: usize,
    slice: usize,
) -> Result<Vec<(String, f64)>, String> {
    let mut figures = vec![Vec::new(); lanes.len()];
    let mut times = Vec::new();
    for (_, lane) in &mut *lanes {
        // Also what warms up.
        let one = lane.time(task, WARM_UP)?.max(1.0);
        times.push(((slice as f64 * 1e6 / one) as usize).clamp(20, 100_000));
    }
    for _ in 0..rounds {
        for ((figures, (_, lane)), times) in figures.iter_mut().zip(&mut *lanes).zip(&times) {
            figures.push(lane.time(task, *times)?);
        }
    }
    let medians = lanes.iter().zip(&mut figures);
    Ok(medians
        .map(|((name, _), figures)| ((*name).to_owned(), median(figures)))
        .collect())
}

const WARM_UP: usize = 200;
const METRICS: [&str; 5] = [
    "verify",
    "verify what comes again",
    "sign",
    "allocations of a verification",
    "allocations of a signature",
];

fn row(algorithm: Algorithm, task: Task, counts: bool, mut peers: Vec<(String, f64)>) -> Row {
    let (_, ours) = peers.remove(0);
    let metric = match (task, counts) {
        (Task::Verify, false) => METRICS[0],
        (Task::VerifyAgain, _) => METRICS[1],
        (Task::Sign, false) => METRICS[2],
        (Task::Verify, true) => METRICS[3],
        (Task::Sign, true) => METRICS[4],
    };
    let best = peers
        .iter()
        .map(|(_, figure)| *figure)
        .fold(f64::INFINITY, f64::min);
    let goal = match (task, counts, algorithm) {
        (Task::Verify, true, _) => Some(0.0),
        (Task::Sign, true, _) => Some(1.0),
        (Task::Verify, _, Algorithm::Hs256) => Some(900.0),
        (Task::VerifyAgain, ..) => Some(350.0),
        (Task::Sign, _, Algorithm::Hs256) => Some(600.0),
        (Task::Sign | Task::Verify, ..) => Some(best),
    };
    let mut context = Vec::new();
    if algorithm == Algorithm::Hs256 {
        context.push((
            PASETO_LOCAL.to_owned(),
            "not judged: it encrypts besides".to_owned(),
        ));
    }
    if algorithm == Algorithm::EdDsa {
        context.push((
            "biscuit".to_owned(),
            "not run for EdDSA, which it does not know".to_owned(),
        ));
    }
    Row {
        block: "token",
        workload: algorithm.to_string(),
        metric,
        unit: if counts {
            "allocations"
        } else {
            "ns of the processor"
        },
        better: Better::Lower,
        ours,
        peers,
        floor: None,
        goal,
        context,
        capacity: None,
    }
}
