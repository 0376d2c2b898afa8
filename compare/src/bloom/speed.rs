//! Nanoseconds per insertion, hit and miss, of filters with one owner.

use cpu_time::ThreadTime;
use tenfold::rng::Rng;

use super::subject::{Contender, Filter, Key, Size};
use super::{Effort, ours, rivals};
use crate::report::{Better, Row, Table, median};

/// A filter of 512 KiB, in the processor's second cache.
pub(super) fn near<K: Key>(effort: &Effort) -> Vec<Row> {
    let size = Size {
        bits: 1 << 22,
        items: (1 << 22) / 10,
    };
    let keys: Vec<K> = numbers(0, size.items);
    let strangers: Vec<K> = numbers(STRANGERS, size.items);
    let mut lanes = lanes::<K>(true);
    for _ in 0..effort.rounds {
        for lane in &mut lanes {
            // New, so that every round sets the same bits.
            let mut filter = (lane.contender.build)(size);
            lane.insert
                .push(per_key(keys.len(), || filter.insert_all(&keys)));
            lane.ask(&*filter, &keys, &strangers);
        }
    }
    let title = format!("512 KiB, {} {} keys", size.items, K::NAME);
    finish::<K>("512 KiB", &title, &lanes)
}

/// A filter of 64 MiB.
pub(super) fn far(effort: &Effort) -> Vec<Row> {
    let size = Size {
        bits: 1 << 29,
        items: (1 << 29) / 10,
    };
    let filled = size.items / effort.far_share;
    let mut lanes = lanes::<u64>(false);
    // Untimed, so two at a time.
    let mut filters: Vec<_> = lanes.iter().map(|l| (l.contender.build)(size)).collect();
    let timed = (effort.rounds * effort.far_keys) as u64;
    std::thread::scope(|scope| {
        let (mut even, mut odd) = (Vec::new(), Vec::new());
        for (place, filter) in filters.iter_mut().enumerate() {
            [&mut even, &mut odd][place % 2].push(filter);
        }
        for mut half in [even, odd] {
            scope.spawn(move || {
                let mut next = 0;
                while next < filled - timed {
                    let end = (next + CHUNK).min(filled - timed);
                    let keys: Vec<u64> = numbers(next, end - next);
                    for filter in &mut half {
                        filter.insert_all(&keys);
                    }
                    next = end;
                }
            });
        }
    });
    let mut rng = Rng::with_seed(7);
    for round in 0..effort.rounds as u64 {
        let each = effort.far_keys as u64;
        let fresh: Vec<u64> = numbers(filled - timed + round * each, each);
        let keys: Vec<u64> = (0..each)
            .map(|_| u64::from_number(rng.below(filled - timed)))
            .collect();
        let strangers: Vec<u64> = numbers(STRANGERS + round * each, each);
        for (lane, filter) in lanes.iter_mut().zip(&mut filters) {
            lane.insert
                .push(per_key(fresh.len(), || filter.insert_all(&fresh)));
            lane.ask(&**filter, &keys, &strangers);
        }
    }
    let title = format!("64 MiB, {filled} u64 keys");
    finish::<u64>("64 MiB", &title, &lanes)
}

/// One contender and its figures.
struct Lane<K> {
    contender: Contender<dyn Filter<K>>,
    insert: Vec<f64>,
    hit: Vec<f64>,
    miss: Vec<f64>,
    /// Strangers taken for members, and all that were asked for.
    found: usize,
    asked: usize,
}

fn lanes<K: Key>(static_too: bool) -> Vec<Lane<K>> {
    let mut all = ours::all::<K>();
    all.extend(rivals::all());
    if static_too {
        all.push(rivals::fuse());
    }
    all.push(rivals::floor());
    all.into_iter()
        .map(|contender| Lane {
            contender,
            insert: Vec::new(),
            hit: Vec::new(),
            miss: Vec::new(),
            found: 0,
            asked: 0,
        })
        .collect()
}

impl<K: Key> Lane<K> {
    fn ask(&mut self, filter: &dyn Filter<K>, keys: &[K], strangers: &[K]) {
        let mut found = 0;
        self.hit
            .push(per_key(keys.len(), || found = filter.count(keys)));
        let name = self.contender.name;
        assert!(
            found == keys.len() || name == FLOOR,
            "{name} lost {} of {} keys",
            keys.len() - found,
            keys.len()
        );
        self.miss
            .push(per_key(strangers.len(), || found = filter.count(strangers)));
        self.found += found;
        self.asked += strangers.len();
    }

    fn figure(&self, operation: Operation) -> f64 {
        median(&mut match operation {
            Operation::Insert => self.insert.clone(),
            Operation::Hit => self.hit.clone(),
            Operation::Miss => self.miss.clone(),
        })
    }

    fn rate(&self) -> f64 {
        self.found as f64 / self.asked as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Insert,
    Hit,
    Miss,
}

const OPERATIONS: [(Operation, &str); 3] = [
    (Operation::Insert, "insert"),
    (Operation::Hit, "hit"),
    (Operation::Miss, "miss"),
];

/// Prints the table and makes the rows.
fn finish<K: Key>(place: &str, title: &str, lanes: &[Lane<K>]) -> Vec<Row> {
    print(title, lanes);
    let mut rows = Vec::new();
    for (operation, name) in OPERATIONS {
        for (ours, suffix) in [
            (ours::NAME, ""),
            (ours::BATCHED, "/batched"),
            (ours::PORTABLE, "/portable"),
            (ours::AVX2, "/avx2"),
            (ours::SPLIT, "/split block"),
        ] {
            let Some(lane) = lanes.iter().find(|lane| lane.contender.name == ours) else {
                continue;
            };
            let workload = format!("{place}/{}/{name}{suffix}", K::NAME);
            rows.push(row(workload, place, lane, operation, lanes));
        }
    }
    rows.push(rate_row::<K>(place, lanes));
    rows
}

fn row<K: Key>(
    workload: String,
    place: &str,
    ours: &Lane<K>,
    operation: Operation,
    lanes: &[Lane<K>],
) -> Row {
    let name = ours.contender.name;
    let u64_keys = K::NAME == "u64";
    let goal = match (place, name, operation) {
        _ if !u64_keys => None,
        ("512 KiB", ours::NAME, _) => Some(2.6),
        (_, ours::PORTABLE, Operation::Hit | Operation::Miss) if place == "512 KiB" => Some(8.0),
        ("64 MiB", ours::NAME, Operation::Insert) => Some(30.0),
        ("64 MiB", ours::NAME, _) => Some(32.0),
        ("64 MiB", ours::BATCHED, Operation::Insert) => Some(18.0),
        ("64 MiB", ours::BATCHED, _) => Some(15.0),
        _ => None,
    };
    let mut context: Vec<(String, String)> = rivals(lanes)
        .filter_map(|lane| Some((lane.contender.name, lane.contender.context?)))
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .collect();
    if name == ours::PORTABLE {
        context.push((SBBF.to_owned(), "uses vector instructions".to_owned()));
    }
    Row {
        block: "bloom",
        workload,
        metric: "time_per_operation",
        unit: "ns",
        better: Better::Lower,
        ours: ours.figure(operation),
        peers: rivals(lanes)
            .map(|lane| (lane.contender.name.to_owned(), lane.figure(operation)))
            .collect(),
        floor: lanes.last().map(|floor| floor.figure(operation)),
        goal,
        context,
        capacity: None,
    }
}

/// False positives with the same memory and keys.
fn rate_row<K: Key>(place: &str, lanes: &[Lane<K>]) -> Row {
    Row {
        block: "bloom",
        workload: format!("{place}/{}/false positives", K::NAME),
        metric: "false_positive_rate",
        unit: "share",
        better: Better::Lower,
        ours: lanes[0].rate(),
        peers: rivals(lanes)
            .map(|lane| (lane.contender.name.to_owned(), lane.rate()))
            .collect(),
        floor: None,
        goal: None,
        context: rivals(lanes)
            .filter_map(|lane| Some((lane.contender.name, lane.contender.context?)))
            .map(|(name, why)| (name.to_owned(), why.to_owned()))
            .collect(),
        capacity: None,
    }
}

fn rivals<K: Key>(lanes: &[Lane<K>]) -> impl Iterator<Item = &Lane<K>> {
    lanes.iter().filter(|lane| {
        let name = lane.contender.name;
        name != FLOOR && !name.starts_with(ours::NAME)
    })
}

fn print<K: Key>(title: &str, lanes: &[Lane<K>]) {
    let head = OPERATIONS.iter().map(|(_, name)| *name);
    let mut table = Table::new([""].into_iter().chain(head).chain(["false positives"]));
    for lane in lanes {
        let figures = OPERATIONS.map(|(operation, _)| Some(nanoseconds(lane.figure(operation))));
        let rate = (lane.contender.name != FLOOR).then(|| format!("{:.3} %", lane.rate() * 100.0));
        table.row(lane.contender.name, figures.into_iter().chain([rate]));
    }
    let best = OPERATIONS.map(|(operation, _)| {
        let row = row(String::new(), "", &lanes[0], operation, lanes);
        let ratio = row.ratio()?;
        Some(format!("{ratio:.2}x {}", row.best_peer()?.0))
    });
    table.row("tenfold against the best rival", best);
    table.print(title);
    for lane in lanes {
        if let Some(why) = lane.contender.context {
            println!("Not judged by {}: {why}.", lane.contender.name);
        }
    }
}

pub(super) fn nanoseconds(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// Of this thread's own time: that others use the machine too changes it little.
pub(super) fn per_key(keys: usize, work: impl FnOnce()) -> f64 {
    let start = ThreadTime::now();
    work();
    start.elapsed().as_nanos() as f64 / keys as f64
}

pub(super) fn numbers<K: Key>(from: u64, count: u64) -> Vec<K> {
    (from..from + count).map(K::from_number).collect()
}

/// Where the numbers of strangers begin.
pub(super) const STRANGERS: u64 = 1 << 40;

/// Keys made at a time.
const CHUNK: u64 = 1 << 18;

const FLOOR: &str = "floor";
const SBBF: &str = "sbbf-rs, XXH3";
