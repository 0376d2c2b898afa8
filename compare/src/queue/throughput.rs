//! How many messages a second, by what must survive.

use super::race::{Effort, Figures, Shape, many, publish_then_drain, race, round_trips};
use super::rivals::{OKAYWAL, QUEUE_FILE, SQLITE_FULL, YAQUE};
use super::subject::Level;
use super::tables::{Goal, row};
use super::{contenders, with_floor};
use crate::report::{Better, Progress, Row};

pub(super) const CELLS: usize = 17;

/// A message a call and a hundred, of 100 bytes and of 1 KiB.
const SHAPES: [Shape; 4] = [
    shape(100, 1),
    shape(100, 100),
    shape(1024, 1),
    shape(1024, 100),
];

const fn shape(size: usize, batch: usize) -> Shape {
    Shape {
        size,
        batch,
        producers: 1,
    }
}

/// What a power cut must not take away. Comes first, before others fill the disk's queue.
pub(super) fn power(effort: Effort<'_>, progress: &mut Progress, rows: &mut Vec<Row>) {
    let level = Level::Power;
    let all = with_floor();
    for (batch, goal) in [(1, Goal::Of(0.9, super::floors::FLOOR)), (100, Goal::None)] {
        let shape = shape(100, batch);
        // What was published is taken a hundred at once: it is not what is measured.
        let figures = race(effort, &all, level, shape, |subject, shape, numbers| {
            publish_then_drain(subject, shape, numbers, 100)
        });
        rows.push(rates(&name(shape), "publish, synced", &figures, 0, goal));
        progress.step(&format!("publish, synced, {}", name(shape)));
    }
    for (batch, goal) in [
        (1, Goal::None),
        (100, Goal::Most(&[(3.0, QUEUE_FILE), (8.0, SQLITE_FULL)])),
    ] {
        let shape = shape(100, batch);
        let figures = race(
            effort,
            &with_floor(),
            level,
            shape,
            |subject, shape, numbers| round_trips(subject, shape, numbers, true),
        );
        let metric = "publish, take and ack, each synced";
        rows.push(rates(&name(shape), metric, &figures, 0, goal));
        progress.step(&format!("{metric}, {}", name(shape)));
    }
    for producers in [8, 64] {
        let shape = Shape {
            producers,
            ..shape(100, 1)
        };
        let figures = race(effort, &contenders(), level, shape, many);
        let workload = format!("{producers} producers, {}", name(shape));
        let goal = Goal::Of(1.5, OKAYWAL);
        let metric = "publish synced, take and ack";
        rows.push(rates(&workload, metric, &figures, 0, goal));
        let syncs = figures.iter().find(|figures| figures.name == super::OURS);
        let syncs = syncs.and_then(|figures| figures.values.as_ref().ok()?.get(1));
        if let Some(syncs) = syncs {
            let figures = [Figures {
                name: super::OURS,
                values: Ok(vec![*syncs]),
                is_slow: false,
            }];
            let goal = if producers == 8 {
                Goal::Fixed(0.25)
            } else {
                Goal::None
            };
            rows.push(Row {
                better: Better::Lower,
                ..row(&workload, "syncs per message", "", &figures, 0, goal)
            });
        }
        progress.step(&format!("{metric}, {workload}"));
    }
}

/// What a kill must not take away, and what may be lost with the process.
pub(super) fn kill(effort: Effort<'_>, progress: &mut Progress, rows: &mut Vec<Row>) {
    let level = Level::Kill;
    let mut drains = Vec::new();
    for shape in SHAPES {
        let figures = race(effort, &with_floor(), level, shape, |subject, shape, n| {
            publish_then_drain(subject, shape, n, shape.batch)
        });
        let workload = name(shape);
        rows.push(rates(&workload, "publish", &figures, 0, Goal::None));
        drains.push(rates(&workload, "take and ack", &figures, 1, Goal::None));
        progress.step(&format!("publish, {workload}"));
    }
    rows.append(&mut drains);
    for shape in SHAPES {
        let goal = match (shape.size, shape.batch) {
            (100, 1) => Goal::Of(2.0, YAQUE),
            (100, _) => Goal::AtLeast(1e6, 5.0, YAQUE),
            (_, 1) => Goal::Fixed(90e3),
            _ => Goal::Fixed(330e3),
        };
        let figures = race(
            effort,
            &with_floor(),
            level,
            shape,
            |subject, shape, numbers| round_trips(subject, shape, numbers, false),
        );
        let metric = "publish, take and ack";
        rows.push(rates(&name(shape), metric, &figures, 0, goal));
        progress.step(&format!("{metric}, {}", name(shape)));
    }
    for batch in [1, 100] {
        let shape = Shape {
            producers: 2,
            ..shape(100, batch)
        };
        let goal = if batch == 1 {
            Goal::None
        } else {
            Goal::Fixed(1.3e6)
        };
        let figures = race(effort, &contenders(), level, shape, many);
        let workload = format!("2 producers, {}", name(shape));
        let metric = "publish, take and ack";
        rows.push(rates(&workload, metric, &figures, 0, goal));
        progress.step(&format!("{metric}, {workload}"));
    }
}

/// Publishing into memory.
pub(super) fn memory(effort: Effort<'_>, progress: &mut Progress, rows: &mut Vec<Row>) {
    let shape = SHAPES[0];
    let all = with_floor();
    let figures = race(effort, &all, Level::Memory, shape, |subject, shape, n| {
        publish_then_drain(subject, shape, n, 100)
    });
    let metric = "publish into memory";
    rows.push(rates(&name(shape), metric, &figures, 0, Goal::Fixed(3e6)));
    progress.step(metric);
}

fn rates(
    workload: &str,
    metric: &'static str,
    figures: &[Figures],
    column: usize,
    goal: Goal,
) -> Row {
    row(workload, metric, "messages/s", figures, column, goal)
}

fn name(shape: Shape) -> String {
    let size = match shape.size {
        1024 => "1 KiB".to_owned(),
        size => format!("{size} B"),
    };
    match shape.batch {
        1 => format!("{size}, one a call"),
        batch => format!("{size}, {batch} a call"),
    }
}
