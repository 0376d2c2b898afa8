//! Instructions for a connection lent and taken back, counted by callgrind.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::contests::{CONTESTS, Contender};
use crate::callgrind;
use crate::report::{Better, Row};

/// Counts for everybody.
///
/// # Errors
///
/// If valgrind is missing or fails.
pub(super) fn measure() -> Result<Vec<Row>, String> {
    let count = |contender: &Contender, workload| {
        let counted = per_lending(workload, contender.name)?;
        Ok((contender.name.to_owned(), counted))
    };
    let mut rows = Vec::new();
    for contest in &CONTESTS {
        let floor = per_lending(contest.workload, contest.floor.name)?;
        let contenders = contest.contenders.iter();
        let counted = contenders.map(|contender| count(contender, contest.workload));
        let mut figures = counted.collect::<Result<Vec<_>, String>>()?.into_iter();
        rows.push(Row {
            block: "replica",
            workload: contest.workload.to_owned(),
            metric: "instructions",
            unit: "instructions per connection lent",
            better: Better::Lower,
            ours: figures.next().map_or(f64::NAN, |(_, figure)| figure),
            peers: figures.collect(),
            floor: Some(floor),
            goal: Some(contest.goal),
            context: Vec::new(),
            capacity: None,
        });
    }
    Ok(rows)
}

const FEW: usize = 500;
const MANY: usize = 4_500;

/// What many cost more than a few: the start of the program and of the pool cancel out. Both runs at once, one on each
/// processor.
fn per_lending(workload: &str, name: &str) -> Result<f64, String> {
    let count = |times: usize| callgrind::count(&[CHILD, workload, name, &times.to_string()]);
    let (few, many) = thread::scope(|scope| {
        let few = scope.spawn(|| count(FEW));
        let many = count(MANY);
        (few.join().expect("counting does not panic"), many)
    });
    Ok((many? as f64 - few? as f64) / (MANY - FEW) as f64)
}

/// The first argument of the child that valgrind runs.
const CHILD: &str = "count-instructions-of-a-pool";

/// Has connections lent, if the arguments are those of the child.
#[allow(clippy::disallowed_methods, reason = "waiting is no instruction")]
pub fn child() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, workload, name, times] = arguments.as_slice() else {
        return None;
    };
    if first != CHILD {
        return None;
    }
    let times = times.parse().ok()?;
    let contest = CONTESTS
        .iter()
        .find(|contest| contest.workload == workload.as_str())?;
    let mut all = [contest.floor].into_iter().chain(contest.contenders);
    let mut lend = (all.find(|contender| contender.name == name.as_str())?.make)();
    // Clocks are set up, and balancers have seen enough, before it counts.
    lend(FEW);
    thread::sleep(SETTLED);
    lend(FEW);
    lend(times);
    Some(ExitCode::SUCCESS)
}

const SETTLED: Duration = Duration::from_millis(200);
