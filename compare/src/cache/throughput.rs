//! Nanoseconds per operation, and the slowest of a thousand.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use tenfold::rng::Rng;

use super::subject::{Contender, Drive, Key};
use super::zipf::Zipf;
use super::{instructions, ours, rivals};
use crate::arguments::Arguments;
use crate::report::{Better, Progress, Row, Table, median, ratio};

/// Measures every workload with both kinds of keys on one and two threads.
///
/// # Errors
///
/// If instructions cannot be counted when that is what was asked for.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, String> {
    if arguments.instructions {
        return instructions::measure();
    }
    let effort = if arguments.quick { &QUICK } else { &FULL };
    let mut progress = Progress::new(
        "throughput",
        2 * WORKLOADS.len() * (contenders::<u64>().len() + 1),
    );
    println!(
        "Nanoseconds per operation: wall time / operations of all threads, medians of {} interleaved rounds of",
        effort.rounds
    );
    println!(
        "at most {} operations (fewer for those that need more than {} ms). Capacity {CAPACITY}, Zipf {EXPONENT}.",
        effort.operations,
        effort.round.as_millis()
    );
    println!(
        "hit: {RESIDENT} resident keys. goi: get or insert, {KEYS} keys. mix: 95 % get, 5 % put, {KEYS} keys."
    );
    println!(
        "churn: insert new keys. 1T, 2T: threads. p99.9: of one get or insert, timed alone, ns."
    );
    let mut rows = kind::<u64>(effort, &mut progress);
    rows.extend(kind::<String>(effort, &mut progress));
    match instructions::measure() {
        Ok(counted) => rows.extend(counted),
        Err(reason) => println!("\nNo instruction counts: {reason}"),
    }
    Ok(rows)
}

const CAPACITY: usize = 100_000;
const RESIDENT: usize = 50_000;
const KEYS: usize = 1_000_000;
const EXPONENT: f64 = 0.99;
const THREADS: [usize; 2] = [1, 2];

struct Effort {
    rounds: usize,
    /// The most operations of a round, over all threads.
    operations: usize,
    /// The longest a round should take; sets the operations of slow caches.
    round: Duration,
    /// How long a cache may take to warm up before it is measured as it is.
    warm_up: Duration,
}

const QUICK: Effort = Effort {
    rounds: 3,
    operations: 80_000,
    round: Duration::from_millis(15),
    warm_up: Duration::from_millis(150),
};
const FULL: Effort = Effort {
    rounds: 9,
    operations: 500_000,
    round: Duration::from_millis(400),
    warm_up: Duration::from_secs(2),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workload {
    Hit,
    GetOrInsert,
    Mix,
    Churn,
}

const WORKLOADS: [Workload; 4] = [
    Workload::Hit,
    Workload::GetOrInsert,
    Workload::Mix,
    Workload::Churn,
];

impl Workload {
    const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::GetOrInsert => "goi",
            Self::Mix => "mix",
            Self::Churn => "churn",
        }
    }

    /// Runs the keys; returns the hits.
    fn run<K: Key>(self, cache: &dyn Drive<K>, keys: &[K]) -> usize {
        match self {
            Self::Hit => cache.read(keys),
            Self::GetOrInsert => cache.read_or_insert(keys),
            Self::Mix => cache.mix(keys),
            Self::Churn => {
                cache.write(keys);
                0
            }
        }
    }
}

fn contenders<K: Key>() -> Vec<Contender<K>> {
    let mut all = vec![ours::default()];
    all.extend(rivals::all());
    all
}

/// All workloads with one kind of keys.
fn kind<K: Key>(effort: &Effort, progress: &mut Progress) -> Vec<Row> {
    let contenders = contenders::<K>();
    let mut cells = Vec::new();
    let mut tails = Vec::new();
    for workload in WORKLOADS {
        let measured = measure_workload(workload, &contenders, effort, progress);
        cells.extend(measured.cells);
        tails.extend(measured.tails);
    }
    print::<K>(&contenders, &cells, &tails);
    cells
        .iter()
        .chain(&tails)
        .map(|cell| cell.row::<K>(&contenders))
        .collect()
}

/// One workload on some threads.
struct Cell {
    workload: Workload,
    threads: usize,
    /// By contender; the floor comes last.
    figures: Vec<Figure>,
    metric: Metric,
}

#[derive(Clone, Copy)]
struct Figure {
    nanoseconds: f64,
    /// Share of the reads that hit.
    hits: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    Operation,
    Tail,
}

impl Cell {
    fn ours(&self) -> f64 {
        self.figures[0].nanoseconds
    }

    /// The sixteen locks and nothing else.
    fn floor(&self) -> f64 {
        self.figures[self.figures.len() - 1].nanoseconds
    }

    fn named(&self, contenders: &[Contender<impl Key>], name: &str) -> Option<f64> {
        let place = contenders
            .iter()
            .position(|contender| contender.name == name)?;
        Some(self.figures[place].nanoseconds)
    }

    /// No slower than sixteen mutexes around a plain LRU; on hits nor than the
    /// locked floor.
    fn goal(&self, contenders: &[Contender<impl Key>]) -> Option<f64> {
        let plain = self.named(contenders, rivals::SCHNELLRU_16)?;
        match (self.metric, self.workload) {
            (Metric::Tail, _) => None,
            (Metric::Operation, Workload::Hit) => Some(plain.min(self.floor())),
            (Metric::Operation, _) => Some(plain),
        }
    }

    fn row<K: Key>(&self, contenders: &[Contender<K>]) -> Row {
        let peers = contenders.iter().zip(&self.figures).skip(1);
        Row {
            block: "cache-throughput",
            workload: format!("{}/{}/{}T", self.workload.name(), K::NAME, self.threads),
            metric: match self.metric {
                Metric::Operation => "time_per_operation",
                Metric::Tail => "p99.9",
            },
            unit: "ns",
            better: Better::Lower,
            ours: self.ours(),
            peers: peers
                .map(|(contender, figure)| (contender.name.to_owned(), figure.nanoseconds))
                .collect(),
            floor: Some(self.floor()),
            goal: self.goal(contenders),
            context: contenders
                .iter()
                .zip(&self.figures)
                .filter_map(|(contender, figure)| {
                    Some((contender.name.to_owned(), self.context(contender, *figure)?))
                })
                .collect(),
            capacity: Some(CAPACITY),
        }
    }

    /// Why a peer is shown but not judged by, if so: what it is, or that it
    /// didn't do the work.
    fn context(&self, contender: &Contender<impl Key>, figure: Figure) -> Option<String> {
        if let Some(why) = contender.context {
            return Some(why.to_owned());
        }
        let hits = figure
            .hits
            .filter(|&hits| self.workload == Workload::Hit && hits < 0.99)?;
        Some(format!(
            "only {:.1} % of its reads hit, though all keys were inserted",
            hits * 100.0
        ))
    }
}

struct Measured {
    cells: Vec<Cell>,
    tails: Vec<Cell>,
}

/// One contender's cache while its workload is measured.
struct Lane<K: Key> {
    cache: Box<dyn Drive<K>>,
    /// The operations of a round, over all threads.
    operations: usize,
    /// By number of threads: nanoseconds per operation of each round.
    rounds: [Vec<f64>; 2],
    tails: [Vec<f64>; 2],
    hits: usize,
    reads: usize,
}

fn measure_workload<K: Key>(
    workload: Workload,
    contenders: &[Contender<K>],
    effort: &Effort,
    progress: &mut Progress,
) -> Measured {
    let mut source = Source::new(workload);
    let warm_up = source.warm_up::<K>();
    let pool: Vec<K> = source.keys(POOL.max(2 * effort.operations));
    let floor: Contender<K> = Contender::judged("floor", |n| Box::new(rivals::LockedMap::new(n)));
    let mut lanes: Vec<Lane<K>> = contenders
        .iter()
        .chain([&floor])
        .map(|contender| {
            let lane = Lane::new(workload, contender, &warm_up, &pool, effort);
            progress.step(contender.name);
            lane
        })
        .collect();
    for round in 0..effort.rounds {
        for (place, &threads) in THREADS.iter().enumerate() {
            // New for everyone; made before the clock starts.
            let fresh = (workload == Workload::Churn).then(|| source.keys::<K>(effort.operations));
            let keys = fresh.as_deref().unwrap_or_else(|| {
                let places = pool.len() / effort.operations;
                let start = (round * THREADS.len() + place) % places * effort.operations;
                &pool[start..start + effort.operations]
            });
            for lane in &mut lanes {
                lane.round(workload, place, threads, keys);
            }
            // The floor evicts nothing; it starts over before it has grown far
            // beyond what a cache would hold.
            let bare = lanes.last_mut().expect("the floor is always there");
            if bare.cache.len() > Some(2 * KEYS) {
                bare.cache = (floor.build)(CAPACITY);
            }
            if workload == Workload::GetOrInsert && (round % 3 == 0) {
                for lane in &mut lanes {
                    lane.tail(place, threads, keys);
                }
            }
        }
    }
    for (contender, lane) in contenders.iter().zip(&lanes) {
        assert_sane(workload, contender.name, lane);
    }
    let cell = |metric, place: usize| Cell {
        workload,
        threads: THREADS[place],
        figures: lanes
            .iter()
            .map(|lane| lane.figure(metric, place))
            .collect(),
        metric,
    };
    let places = || 0..THREADS.len();
    let timed = workload == Workload::GetOrInsert;
    Measured {
        cells: places()
            .map(|place| cell(Metric::Operation, place))
            .collect(),
        tails: places()
            .filter(|_| timed)
            .map(|place| cell(Metric::Tail, place))
            .collect(),
    }
}

/// Ours has to hit as it should; a rival that doesn't is shown with the reason.
fn assert_sane<K: Key>(workload: Workload, name: &str, lane: &Lane<K>) {
    let Some(hits) = lane.hit_share() else { return };
    assert!((0.0..=1.0).contains(&hits), "{name} hit {hits}");
    if name == ours::DEFAULT {
        match workload {
            Workload::Hit => assert!(
                hits > 0.999,
                "only {hits} of the reads of resident keys hit"
            ),
            // A random tenth of the keys would get 10 %, the most popular tenth 84 %.
            _ => assert!((0.5..0.9).contains(&hits), "{hits} of the reads hit"),
        }
    }
}

impl<K: Key> Lane<K> {
    fn new(
        workload: Workload,
        contender: &Contender<K>,
        warm_up: &[K],
        pool: &[K],
        effort: &Effort,
    ) -> Self {
        let cache = (contender.build)(CAPACITY);
        let start = Instant::now();
        for keys in warm_up.chunks(1_000) {
            cache.read_or_insert(keys);
            // So that no backlog grows behind the clock's back.
            cache.settle();
            // Resident keys have to be there; the others only make it full.
            if workload != Workload::Hit && start.elapsed() > effort.warm_up {
                break;
            }
        }
        // A slow cache gets fewer operations, but enough to see its
        // maintenance in proportion.
        let pilot = &pool[pool.len() - PILOT..];
        let start = Instant::now();
        workload.run(&*cache, pilot);
        cache.settle();
        let each = start.elapsed() / PILOT as u32;
        let operations = (effort.round.as_nanos() / each.as_nanos().max(1)) as usize;
        Self {
            cache,
            operations: operations.clamp(PILOT, effort.operations),
            rounds: [Vec::new(), Vec::new()],
            tails: [Vec::new(), Vec::new()],
            hits: 0,
            reads: 0,
        }
    }

    fn round(&mut self, workload: Workload, place: usize, threads: usize, keys: &[K]) {
        let keys = &keys[..self.operations];
        let cache = &*self.cache;
        let (elapsed, hits) = together(threads, keys, |keys| workload.run(cache, keys));
        self.hits += hits.iter().sum::<usize>();
        self.reads += match workload {
            Workload::Hit | Workload::GetOrInsert => keys.len(),
            Workload::Mix => keys
                .chunks(keys.len() / threads)
                .map(|keys| keys.len() - keys.len() / 20)
                .sum(),
            Workload::Churn => 0,
        };
        // Work that a cache postpones is work of the round that caused it.
        let start = Instant::now();
        cache.settle();
        let elapsed = elapsed + start.elapsed();
        self.rounds[place].push(elapsed.as_nanos() as f64 / keys.len() as f64);
    }

    fn tail(&mut self, place: usize, threads: usize, keys: &[K]) {
        let keys = &keys[..self.operations];
        let cache = &*self.cache;
        let (_, times) = together(threads, keys, |keys| cache.time_each(keys));
        let mut times = times.concat();
        times.sort_unstable();
        self.tails[place].push(f64::from(times[times.len() * 999 / 1_000]));
    }

    fn hit_share(&self) -> Option<f64> {
        (self.reads > 0).then(|| self.hits as f64 / self.reads as f64)
    }

    fn figure(&self, metric: Metric, place: usize) -> Figure {
        let figures = match metric {
            Metric::Operation => &self.rounds[place],
            Metric::Tail => &self.tails[place],
        };
        Figure {
            nanoseconds: median(&mut figures.clone()),
            hits: self.hit_share(),
        }
    }
}

/// Runs the keys on some threads, each its part; returns the time from when
/// all were ready until the last was done.
fn together<K: Key, T: Send>(
    threads: usize,
    keys: &[K],
    work: impl Fn(&[K]) -> T + Sync,
) -> (Duration, Vec<T>) {
    if threads == 1 {
        let start = Instant::now();
        let result = work(keys);
        return (start.elapsed(), vec![result]);
    }
    let barrier = Barrier::new(threads + 1);
    let share = keys.len() / threads;
    std::thread::scope(|scope| {
        let handles: Vec<_> = keys
            .chunks(share)
            .take(threads)
            .map(|keys| {
                scope.spawn(|| {
                    barrier.wait();
                    let result = work(keys);
                    (Instant::now(), result)
                })
            })
            .collect();
        // Taken before the threads may go: this one may wake last.
        let start = Instant::now();
        barrier.wait();
        let done: Vec<_> = handles
            .into_iter()
            .map(|handle| handle.join().expect("no cache panics"))
            .collect();
        let end = done.iter().map(|&(end, _)| end).max().unwrap_or(start);
        (
            end - start,
            done.into_iter().map(|(_, result)| result).collect(),
        )
    })
}

/// Where the keys of a workload come from: the same for every contender.
struct Source {
    workload: Workload,
    rng: Rng,
    popular: Zipf,
    /// The next key that nobody has seen.
    unseen: u64,
}

impl Source {
    fn new(workload: Workload) -> Self {
        let keys = if workload == Workload::Hit {
            RESIDENT
        } else {
            KEYS
        };
        Self {
            workload,
            rng: Rng::with_seed(42),
            popular: Zipf::new(keys, EXPONENT),
            unseen: KEYS as u64,
        }
    }

    fn warm_up<K: Key>(&mut self) -> Vec<K> {
        match self.workload {
            Workload::Hit => (0..RESIDENT as u64).map(K::from_number).collect(),
            _ => self.keys(4 * CAPACITY),
        }
    }

    fn keys<K: Key>(&mut self, n: usize) -> Vec<K> {
        (0..n)
            .map(|_| {
                if self.workload == Workload::Churn {
                    self.unseen += 1;
                    return K::from_number(self.unseen);
                }
                K::from_number(self.popular.draw(&mut self.rng))
            })
            .collect()
    }
}

/// Operations that tell how slow a cache is.
const PILOT: usize = 500;

/// Keys drawn ahead, unless a round needs more.
const POOL: usize = 600_000;

fn print<K: Key>(contenders: &[Contender<K>], cells: &[Cell], tails: &[Cell]) {
    let all = || cells.iter().chain(tails);
    let head = all().map(|cell| {
        let name = if cell.metric == Metric::Tail {
            "p99.9"
        } else {
            cell.workload.name()
        };
        format!("{name} {}T", cell.threads)
    });
    let mut table = Table::new(
        std::iter::once(String::new())
            .chain(head)
            .chain(["goi hit %".to_owned()]),
    );
    let hits = |place: usize| {
        let goi = cells
            .iter()
            .find(|cell| cell.workload == Workload::GetOrInsert)?;
        goi.figures[place]
            .hits
            .map(|hits| format!("{:.1}", hits * 100.0))
    };
    let nanoseconds = |value: f64| {
        Some(if value < 100.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        })
    };
    for (place, contender) in contenders.iter().enumerate() {
        let figures = all().map(|cell| nanoseconds(cell.figures[place].nanoseconds));
        table.row(contender.name, figures.chain([hits(place)]));
    }
    table.row(
        "floor: 16 locked maps",
        all().map(|cell| nanoseconds(cell.floor())),
    );
    let times = |other: Option<f64>, cell: &Cell| {
        ratio(cell.ours(), other?, Better::Lower).map(|ratio| format!("{ratio:.2}x"))
    };
    table.row(
        "best judged rival",
        all().map(|cell| {
            cell.row(contenders)
                .best_peer()
                .map(|(name, _)| name.clone())
        }),
    );
    table.row(
        "ours against it",
        all().map(|cell| times(cell.row(contenders).best_peer().map(|peer| peer.1), cell)),
    );
    let plain = |cell: &Cell| cell.named(contenders, rivals::SCHNELLRU_16);
    table.row(
        "ours against schnellru-16",
        all().map(|cell| times(plain(cell), cell)),
    );
    table.row(
        "ours against the floor",
        all().map(|cell| times(Some(cell.floor()), cell)),
    );
    table.print(&format!(
        "{} keys, u64 values; ratios above 1 are ahead",
        K::NAME
    ));
    for contender in contenders {
        let reasons =
            all()
                .zip(contenders.iter().map(|_| contender))
                .find_map(|(cell, contender)| {
                    let place = contenders
                        .iter()
                        .position(|other| other.name == contender.name)?;
                    cell.context(contender, cell.figures[place])
                });
        if let Some(why) = reasons {
            println!("Not judged by {}: {why}.", contender.name);
        }
    }
}
