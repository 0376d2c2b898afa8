//! Hit ratios on recorded requests: ours, the rivals', LRU's and the most
//! there can be.

use std::cell::Cell as ThreadCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use super::subject::Contender;
use super::trace::Trace;
use super::{belady, lru, ours, rivals};
use crate::arguments::Arguments;
use crate::report::{Better, Progress, Row, Table, median};

/// Measures every policy on every trace at every size.
///
/// # Errors
///
/// If a trace cannot be read, or a figure cannot be true.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, String> {
    let files = Trace::files(arguments)?;
    let (longest, time) = if arguments.quick {
        (
            (QUICK_REQUESTS / files.len()).clamp(20_000, 200_000),
            QUICK_TIME,
        )
    } else {
        (usize::MAX, FULL_TIME)
    };
    let traces = Trace::read_all(&files, arguments.trace_format, longest)?;
    let contenders = Contenders::new();
    let cells = run(&traces, &contenders, time);
    print_tables(&traces, &contenders, &cells, longest, time);
    let summary = Summary::new(&contenders, &cells);
    summary.print(&contenders, &traces);
    let mut rows = rows(&traces, &contenders, &cells);
    rows.extend(summary.row(&contenders));
    let wrong = mistakes(&traces, &contenders, &cells);
    if wrong.is_empty() {
        Ok(rows)
    } else {
        Err(format!("figures that cannot be true: {}", wrong.join("; ")))
    }
}

/// Shares of the unique keys, and how they are written.
const SIZES: [(f64, &str); 5] = [
    (0.001, "0.1%"),
    (0.01, "1%"),
    (0.05, "5%"),
    (0.10, "10%"),
    (0.20, "20%"),
];

/// Of all traces together.
const QUICK_REQUESTS: usize = 2_400_000;

/// What stretto may take for one cell: its evictions look for victims through
/// the whole cache, up to a millisecond each.
const QUICK_TIME: Duration = Duration::from_millis(800);
const FULL_TIME: Duration = Duration::from_secs(30);

/// A cell counts in the summary from this capacity on.
const LEAST_CAPACITY: usize = 100;

/// And if Belady beats LRU by as much.
const LEAST_GAP: f64 = 0.02;

/// Ours first, then the rivals.
struct Contenders {
    all: Vec<Contender<u64>>,
    ours: usize,
}

impl Contenders {
    fn new() -> Self {
        let mut all = vec![ours::default()];
        all.extend(ours::exact());
        let ours = all.len();
        all.extend(rivals::all());
        Self { all, ours }
    }

    fn ours(&self) -> &[Contender<u64>] {
        &self.all[..self.ours]
    }

    fn rivals(&self) -> &[Contender<u64>] {
        &self.all[self.ours..]
    }
}

/// One trace at one size.
struct Cell {
    trace: usize,
    size: usize,
    capacity: usize,
    belady: f64,
    lru: f64,
    /// By contender; none if it panicked or took too long.
    hit_ratios: Vec<Option<Measured>>,
}

#[derive(Clone, Copy)]
struct Measured {
    hit_ratio: f64,
    /// The most entries it was seen to hold, or its capacity if more.
    held: usize,
}

impl Cell {
    fn gap(&self) -> f64 {
        self.belady - self.lru
    }

    fn counts(&self) -> bool {
        self.capacity >= LEAST_CAPACITY && self.gap() >= LEAST_GAP
    }

    fn hit_ratio(&self, contender: usize) -> Option<f64> {
        self.hit_ratios[contender].map(|measured| measured.hit_ratio)
    }

    fn gap_closed(&self, contender: usize) -> Option<f64> {
        self.hit_ratio(contender)
            .map(|hit_ratio| (hit_ratio - self.lru) / self.gap())
    }
}

/// Runs all cells on two threads, the longest jobs first.
fn run(traces: &[Trace], contenders: &Contenders, time: Duration) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for (trace, requests) in traces.iter().enumerate() {
        for (size, &(share, _)) in SIZES.iter().enumerate() {
            let capacity = requests.capacity(share);
            let hit_ratios = vec![None; contenders.all.len()];
            cells.push(Cell {
                trace,
                size,
                capacity,
                belady: 0.0,
                lru: 0.0,
                hit_ratios,
            });
        }
    }
    // One job more per cell than contenders: the two base lines.
    let mut jobs: Vec<(usize, Option<usize>)> = (0..cells.len())
        .flat_map(|cell| {
            (0..contenders.all.len())
                .map(Some)
                .chain([None])
                .map(move |contender| (cell, contender))
        })
        .collect();
    let slow = |contender: Option<usize>| {
        contender.is_some_and(|c| SLOW.contains(&contenders.all[c].name))
    };
    jobs.sort_by_key(|&(cell, contender)| {
        let length = traces[cells[cell].trace].keys.len();
        std::cmp::Reverse(if slow(contender) {
            length.saturating_mul(20)
        } else {
            length
        })
    });
    let next = AtomicUsize::new(0);
    let progress = Mutex::new(Progress::new("hit ratios", jobs.len()));
    let done = Mutex::new(&mut cells);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(place, contender)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let (trace, capacity) = {
                        let cells = done.lock().expect("no job panics");
                        (&traces[cells[place].trace], cells[place].capacity)
                    };
                    let name = if let Some(contender) = contender {
                        let measured = replay(trace, capacity, &contenders.all[contender], time);
                        done.lock().expect("no job panics")[place].hit_ratios[contender] = measured;
                        contenders.all[contender].name
                    } else {
                        let share = |hits: usize| hits as f64 / trace.keys.len() as f64;
                        let belady = share(belady::hits(&trace.numbers, trace.unique, capacity));
                        let lru = share(lru::hits(&trace.numbers, trace.unique, capacity));
                        let cell = &mut done.lock().expect("no job panics")[place];
                        (cell.belady, cell.lru) = (belady, lru);
                        "Belady and LRU"
                    };
                    progress
                        .lock()
                        .expect("no job panics")
                        .step(&format!("{} {name}", trace.name));
                }
            });
        }
    });
    cells
}

/// Those that take many times longer than the others.
const SLOW: [&str; 3] = ["stretto", "moka", "mini-moka"];

/// Get, then insert on a miss, over the whole trace. Maintenance that a rival
/// postpones is run every few requests, so that its answers are its policy's
/// and not its backlog's.
fn replay(
    trace: &Trace,
    capacity: usize,
    contender: &Contender<u64>,
    time: Duration,
) -> Option<Measured> {
    let limited = contender.name == rivals::STRETTO;
    // A sixtieth of the capacity is what a cache may overshoot by in between.
    // Not so for stretto, whose inserts wait outside; for it each pause is a
    // visit to its thread and back.
    let interval = (capacity / 64).clamp(if limited { 16 } else { 1 }, 64);
    let start = Instant::now();
    quietly(|| {
        // Dropped only if nothing panicked: what a panic leaves behind may not
        // be fit to be dropped.
        let cache = ManuallyDrop::new((contender.build)(capacity));
        let (mut hits, mut held) = (0, 0);
        for (i, keys) in trace.keys.chunks(interval).enumerate() {
            hits += cache.read_or_insert(keys);
            if i % 64 == 0 {
                held = held.max(cache.len().unwrap_or(0));
            }
            cache.settle();
            if limited && start.elapsed() > time {
                return None;
            }
        }
        held = held.max(cache.len().unwrap_or(0));
        drop(ManuallyDrop::into_inner(cache));
        Some(Measured {
            hit_ratio: hits as f64 / trace.keys.len() as f64,
            held: held + interval,
        })
    })
    .flatten()
}

/// Runs what may panic, without the panic's message among the tables.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    thread_local!(static QUIET: ThreadCell<bool> = const { ThreadCell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.ok()
}

fn print_tables(
    traces: &[Trace],
    contenders: &Contenders,
    cells: &[Cell],
    longest: usize,
    time: Duration,
) {
    println!(
        "Hit ratio in %: get, then insert on a miss, over the whole trace{}.",
        if longest < usize::MAX {
            format!(" (--quick: at most its first {longest} requests)")
        } else {
            String::new()
        }
    );
    println!(
        "Capacities are shares of the trace's unique keys. lru, lfu and fifo are ours, exact, with one shard."
    );
    println!("moka, mini-moka and stretto run their postponed maintenance every 1 to 64 requests.");
    println!(
        "- : no figure: arc panics at small capacities, stretto stops after {time:?} in a cell.\n\
         scc holds more than asked for (a power of two, at least 64)."
    );
    for (t, trace) in traces.iter().enumerate() {
        let cells: Vec<_> = cells.iter().filter(|cell| cell.trace == t).collect();
        let head = cells
            .iter()
            .map(|cell| format!("{} = {}", SIZES[cell.size].1, cell.capacity));
        let mut table = Table::new(std::iter::once(String::new()).chain(head));
        let percent = |value: f64| Some(format!("{:.2}", value * 100.0));
        for (i, contender) in contenders.all.iter().enumerate() {
            table.row(
                contender.name,
                cells.iter().map(|cell| cell.hit_ratio(i).and_then(percent)),
            );
        }
        table.row("exact LRU", cells.iter().map(|cell| percent(cell.lru)));
        table.row("Belady", cells.iter().map(|cell| percent(cell.belady)));
        let closed = |cell: &&Cell| {
            cell.counts()
                .then(|| cell.gap_closed(0))
                .flatten()
                .map(|share| format!("{:.1}", share * 100.0))
        };
        table.row("gap closed by tenfold", cells.iter().map(closed));
        table.print(&format!(
            "{}: {} requests, {} unique keys",
            trace.name,
            trace.keys.len(),
            trace.unique
        ));
    }
}

/// Shares of the gap between LRU and Belady, over the cells that count.
struct Summary {
    cells: usize,
    /// By contender; none if it has no figure in any cell.
    closed: Vec<Option<Spread>>,
    best_rival_per_cell: Option<Spread>,
    /// Cells in which the default falls below LRU by more than is allowed.
    below_lru: Vec<(usize, usize, f64)>,
}

struct Spread {
    cells: usize,
    mean: f64,
    median: f64,
    worst: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        let worst = values.iter().copied().reduce(f64::min)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self {
            cells: values.len(),
            mean,
            median: median(&mut values),
            worst,
        })
    }

    fn figures(&self) -> [Option<String>; 4] {
        let share = |value: f64| Some(format!("{value:+.3}"));
        [
            share(self.mean),
            share(self.median),
            share(self.worst),
            Some(self.cells.to_string()),
        ]
    }
}

impl Summary {
    fn new(contenders: &Contenders, cells: &[Cell]) -> Self {
        let counted: Vec<_> = cells.iter().filter(|cell| cell.counts()).collect();
        let closed = (0..contenders.all.len())
            .map(|i| {
                Spread::of(
                    counted
                        .iter()
                        .filter_map(|cell| cell.gap_closed(i))
                        .collect(),
                )
            })
            .collect();
        let best_rival = |cell: &&Cell| {
            (contenders.ours..contenders.all.len())
                .filter(|&i| holds_its_capacity(&contenders.all[i]))
                .filter_map(|i| cell.gap_closed(i))
                .reduce(f64::max)
        };
        let best_rival_per_cell = Spread::of(counted.iter().filter_map(best_rival).collect());
        let below = |cell: &&Cell| {
            let short = cell.lru - cell.hit_ratio(0)?;
            (short > allowed_below_lru(cell)).then_some((cell.trace, cell.size, short))
        };
        let below_lru = cells.iter().filter(|cell| cell.capacity >= LEAST_CAPACITY);
        Self {
            cells: counted.len(),
            closed,
            best_rival_per_cell,
            below_lru: below_lru.filter_map(|cell| below(&cell)).collect(),
        }
    }

    /// The judged rival that closes most of the gap on average.
    fn best_rival(&self, contenders: &Contenders) -> Option<(&'static str, f64)> {
        let means = contenders
            .all
            .iter()
            .zip(&self.closed)
            .skip(contenders.ours);
        means
            .filter(|(contender, _)| holds_its_capacity(contender))
            .filter_map(|(contender, spread)| Some((contender.name, spread.as_ref()?)))
            // One that is missing in many cells has another mean.
            .filter(|(_, spread)| spread.cells * 10 >= self.cells * 9)
            .map(|(name, spread)| (name, spread.mean))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn print(&self, contenders: &Contenders, traces: &[Trace]) {
        if self.cells == 0 {
            println!("\nNo cell has a capacity of {LEAST_CAPACITY} and a gap worth a summary.");
            return;
        }
        let mut table = Table::new(["", "mean", "median", "worst", "cells"]);
        for (contender, spread) in contenders.all.iter().zip(&self.closed) {
            if let Some(spread) = spread {
                table.row(contender.name, spread.figures());
            }
        }
        if let Some(spread) = &self.best_rival_per_cell {
            table.row("best rival per cell", spread.figures());
        }
        table.print(&format!(
            "Share of the gap between LRU (0) and Belady (1) that is closed, in the {} cells with a capacity of \
             at least {LEAST_CAPACITY} and a gap of at least {} points",
            self.cells,
            LEAST_GAP * 100.0
        ));
        let ours = self.closed[0].as_ref().map(|spread| spread.mean);
        if let (Some(ours), Some((name, best))) = (ours, self.best_rival(contenders)) {
            println!(
                "\nOur mean {ours:+.3}, the best single rival's ({name}) {best:+.3}: {:.2} times; the goal is {GOAL}.",
                ours / best
            );
        }
        println!(
            "Cells with a capacity of at least {LEAST_CAPACITY} in which the default is below LRU by more than 15 % of the gap and 0.5 points: {}.",
            self.below_lru.len()
        );
        for &(trace, size, short) in &self.below_lru {
            println!(
                "  {} at {}: {:.2} points",
                traces[trace].name,
                SIZES[size].1,
                short * 100.0
            );
        }
    }

    fn row(&self, contenders: &Contenders) -> Option<Row> {
        let named = |(contender, spread): (&Contender<u64>, &Option<Spread>)| {
            Some((contender.name.to_owned(), spread.as_ref()?.mean))
        };
        let name = "best rival per cell".to_owned();
        let oracle = self
            .best_rival_per_cell
            .as_ref()
            .map(|spread| (name.clone(), spread.mean));
        let chosen = oracle
            .is_some()
            .then(|| (name, "chosen afterwards, no cache".to_owned()));
        Some(Row {
            block: "cache-hit-ratio",
            workload: "summary/mean/default".to_owned(),
            metric: "gap_closed",
            unit: "share of Belady - LRU",
            better: Better::Higher,
            ours: self.closed[0].as_ref()?.mean,
            peers: std::iter::once(("lru".to_owned(), 0.0))
                .chain(
                    contenders
                        .all
                        .iter()
                        .zip(&self.closed)
                        .skip(contenders.ours)
                        .filter_map(named),
                )
                .chain(oracle)
                .collect(),
            floor: Some(1.0),
            goal: self.best_rival(contenders).map(|(_, mean)| mean * GOAL),
            context: contenders
                .rivals()
                .iter()
                .filter_map(context)
                .chain(chosen)
                .collect(),
            // Of no cell, so that nobody takes it for one.
            capacity: Some(0),
        })
    }
}

/// How much more of the gap than the best rival the default is to close.
const GOAL: f64 = 1.15;

fn allowed_below_lru(cell: &Cell) -> f64 {
    (cell.gap() * 0.15).max(0.005)
}

/// For hit ratios only a rival that holds more than asked for isn't a peer;
/// how it locks doesn't matter.
fn holds_its_capacity(contender: &Contender<u64>) -> bool {
    contender.name != rivals::SCC
}

fn context(contender: &Contender<u64>) -> Option<(String, String)> {
    (!holds_its_capacity(contender)).then(|| {
        (
            contender.name.to_owned(),
            contender.context.unwrap_or_default().to_owned(),
        )
    })
}

fn no_figure(contender: &Contender<u64>) -> String {
    let why = if contender.name == rivals::STRETTO {
        "too slow for this cell"
    } else {
        "panicked at this capacity"
    };
    format!("{why}: no figure")
}

fn rows(traces: &[Trace], contenders: &Contenders, cells: &[Cell]) -> Vec<Row> {
    let mut rows = Vec::new();
    for cell in cells {
        let rivals = contenders.rivals();
        let mut peers = vec![("lru".to_owned(), cell.lru)];
        let mut context: Vec<_> = rivals.iter().filter_map(context).collect();
        for (i, rival) in rivals.iter().enumerate() {
            match cell.hit_ratio(contenders.ours + i) {
                Some(hit_ratio) => {
                    peers.push((rival.name.to_owned(), hit_ratio));
                    if hit_ratio > cell.belady + 1e-9 && holds_its_capacity(rival) {
                        let why = "above the optimum of this capacity: it held more for a while";
                        context.push((rival.name.to_owned(), why.to_owned()));
                    }
                }
                None => context.push((rival.name.to_owned(), no_figure(rival))),
            }
        }
        for (i, policy) in contenders.ours().iter().enumerate() {
            let Some(ours) = cell.hit_ratio(i) else {
                continue;
            };
            let policy = if i == 0 { "default" } else { policy.name };
            rows.push(Row {
                block: "cache-hit-ratio",
                workload: format!(
                    "{}/{}/{policy}",
                    traces[cell.trace].name, SIZES[cell.size].1
                ),
                metric: "hit_ratio",
                unit: "share of requests",
                better: Better::Higher,
                ours,
                peers: peers.clone(),
                floor: Some(cell.belady),
                goal: (i == 0 && cell.capacity >= LEAST_CAPACITY)
                    .then(|| cell.lru - allowed_below_lru(cell)),
                context: context.clone(),
                capacity: Some(cell.capacity),
            });
        }
    }
    rows
}

/// Figures that no honest cache can have.
fn mistakes(traces: &[Trace], contenders: &Contenders, cells: &[Cell]) -> Vec<String> {
    let mut wrong = Vec::new();
    for cell in cells {
        let trace = &traces[cell.trace];
        let at = format!("on {} at {}", trace.name, SIZES[cell.size].1);
        for (i, contender) in contenders.all.iter().enumerate() {
            let Some(measured) = cell.hit_ratios[i] else {
                if i < contenders.ours {
                    wrong.push(format!("{} panicked {at}", contender.name));
                }
                continue;
            };
            let name = contender.name;
            if measured.hit_ratio > cell.belady + 1e-9 {
                // A rival may hold more than it was asked to; then it is to be
                // compared with a Belady of that size.
                let most = || {
                    let hits = belady::hits(&trace.numbers, trace.unique, measured.held);
                    hits as f64 / trace.keys.len() as f64
                };
                let what = format!(
                    "{name} has {} {at}, Belady {}",
                    measured.hit_ratio, cell.belady
                );
                if i < contenders.ours {
                    wrong.push(what);
                } else if measured.hit_ratio > most() + 1e-9 {
                    println!("Odd, and not judged by: {what}.");
                }
            }
            if name == "lru" && (measured.hit_ratio - cell.lru).abs() > 1e-9 {
                wrong.push(format!(
                    "our lru has {} {at}, exact LRU {}",
                    measured.hit_ratio, cell.lru
                ));
            }
        }
    }
    wrong
}
