//! Rows, goals, and how they are printed.

use super::floors::FLOOR;
use super::ours::OURS;
use super::race::Figures;
use super::rivals;
use crate::report::{Better, Row, Table};

/// What our figure should reach.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    None,
    Fixed(f64),
    /// So many times somebody's figure of the same run.
    Of(f64, &'static str),
    /// The highest of several such.
    Most(&'static [(f64, &'static str)]),
    /// At least this, and so many times somebody's.
    AtLeast(f64, f64, &'static str),
}

/// A row of one column of everyone's figures. Ours is not a number if we have none.
pub(super) fn row(
    workload: &str,
    metric: &'static str,
    unit: &'static str,
    figures: &[Figures],
    column: usize,
    goal: Goal,
) -> Row {
    let value = |name: &str| {
        let figures = figures.iter().find(|figures| figures.name == name)?;
        figures.values.as_ref().ok()?.get(column).copied()
    };
    let of = |(times, name): (f64, &str)| value(name).map(|value| times * value);
    let goal = match goal {
        Goal::None => None,
        Goal::Fixed(goal) => Some(goal),
        Goal::Of(times, name) => of((times, name)),
        Goal::Most(all) => all.iter().copied().filter_map(of).reduce(f64::max),
        Goal::AtLeast(least, times, name) => Some(of((times, name)).unwrap_or(0.0).max(least)),
    };
    let rivals = figures
        .iter()
        .filter(|figures| figures.name != OURS && figures.name != FLOOR);
    let mut peers = Vec::new();
    let mut context = Vec::new();
    for rival in rivals {
        let name = rival.name.to_owned();
        match &rival.values {
            Ok(values) => match values.get(column) {
                Some(value) => {
                    if rival.is_slow {
                        context.push((name.clone(), ONE_ROUND.to_owned()));
                    }
                    peers.push((name, *value));
                }
                None => context.push((name, "not run: publishes only".to_owned())),
            },
            Err(reason) => context.push((name, format!("not run: {reason}"))),
        }
    }
    for (name, why) in NOT_JUDGED {
        if peers.iter().any(|(peer, _)| peer == name) && !metric.starts_with("publish synced") {
            context.push(((*name).to_owned(), (*why).to_owned()));
        }
    }
    Row {
        block: "queue",
        workload: workload.to_owned(),
        metric,
        unit,
        better: Better::Higher,
        ours: value(OURS).unwrap_or(f64::NAN),
        peers,
        floor: value(FLOOR),
        goal,
        context,
        capacity: None,
    }
}

const ONE_ROUND: &str = "one round: the least there can be took ten times as long as a round";

/// Shown, and not what we are judged by.
const NOT_JUDGED: &[(&str, &str)] = &[(
    "commitlog",
    "not judged: has no acks, is only read, and never gives up what was read",
)];

pub(super) fn reached(row: &Row) -> Option<bool> {
    row.goal.map(|goal| match row.better {
        Better::Higher => row.ours >= goal,
        Better::Lower => row.ours <= goal,
    })
}

/// Whether the system calls alone do not reach the goal.
fn is_beyond_floor(row: &Row) -> bool {
    match (row.goal, row.floor, row.better) {
        (Some(goal), Some(floor), Better::Higher) => goal > floor,
        _ => false,
    }
}

/// Prints a table for each metric, in the order in which they came, and then why who is
/// missing where, and what each one's figures mean.
pub(super) fn print(rows: &[Row]) {
    let mut metrics: Vec<&'static str> = Vec::new();
    for row in rows {
        if !metrics.contains(&row.metric) {
            metrics.push(row.metric);
        }
    }
    let names: Vec<_> = rivals::all().iter().map(|rival| rival.name).collect();
    for metric in metrics {
        let rows: Vec<_> = rows.iter().filter(|row| row.metric == metric).collect();
        let there = |name: &&&str| rows.iter().any(|row| peer(row, name).is_some());
        let names: Vec<&str> = names.iter().filter(there).copied().collect();
        let head = ["", "goal", "reached", "floor", OURS].into_iter();
        let mut table = Table::new(head.chain(names.iter().copied()));
        for row in &rows {
            let reached = reached(row).map(|is| match is {
                true => "yes".to_owned(),
                false if is_beyond_floor(row) => "no*".to_owned(),
                false => "no".to_owned(),
            });
            let own = [
                row.goal.map(figure),
                reached,
                row.floor.map(figure),
                Some(figure(row.ours)),
            ];
            let peers = names.iter().map(|name| peer(row, name).map(figure));
            table.row(&row.workload, own.into_iter().chain(peers));
        }
        let unit = rows.first().map_or("", |row| row.unit);
        let title = if unit.is_empty() {
            metric.to_owned()
        } else {
            format!("{metric}: {unit}")
        };
        table.print(&title);
    }
    if rows.iter().any(is_beyond_floor) {
        println!("\n  * the goal is beyond the floor of this machine");
    }
    reasons(rows);
}

fn peer(row: &Row, name: &str) -> Option<f64> {
    let found = row.peers.iter().find(|(peer, _)| peer == name);
    found.map(|(_, value)| *value)
}

/// Why somebody is missing or not judged, and in which tables.
fn reasons(rows: &[Row]) {
    let mut all: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for row in rows {
        for (name, why) in &row.context {
            let known = all.iter_mut().find(|(n, w, _)| n == name && w == why);
            match known {
                Some((_, _, metrics)) if metrics.contains(&row.metric) => {}
                Some((_, _, metrics)) => metrics.push(row.metric),
                None => all.push((name, why, vec![row.metric])),
            }
        }
    }
    println!("\nWho is missing or not judged");
    for (name, why, metrics) in all {
        println!("  {name}: {why} ({})", metrics.join("; "));
    }
    println!("\nWhat the figures mean");
    let everyone = super::with_floor();
    for contender in everyone {
        println!("  {}: {}", contender.name, contender.note);
    }
}

fn figure(value: f64) -> String {
    match value {
        _ if value.is_nan() => "-".into(),
        _ if value >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if value >= 10e3 => format!("{:.0} k", value / 1e3),
        _ if value >= 1e3 => format!("{:.1} k", value / 1e3),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
