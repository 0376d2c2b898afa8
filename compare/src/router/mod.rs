//! The router beside the crates that place keys on nodes. Every node has 160
//! points on every ring that lets us choose; times are those of this thread
//! on a processor.

mod balance;
mod rivals;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use tenfold::rng::Rng;
use tenfold::router::{HotKeys, Router};

use crate::arguments::Arguments;
use crate::report::{Better, JsonFile, Progress, Row, Table, median};
use rivals::{Contender, OURS, Placer};

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// Keys that one batch has at most; few enough to stay in the fast caches.
const KEYS: usize = 8192;

/// How long a batch should take.
const BATCH: Duration = Duration::from_millis(1);

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a figure that cannot be true, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    let json = arguments
        .json
        .as_deref()
        .map(JsonFile::create)
        .transpose()?;
    let quick = arguments.quick;
    let rounds = if quick { 5 } else { 15 };
    let mut rows = Vec::new();
    let mut progress = Progress::new("router", SIZES.len() * 3 + 4);
    for nodes in SIZES {
        let built = build_all(nodes);
        progress.step(&format!("builds, {nodes} nodes"));
        let times = lookups(nodes, &built, rounds, &mut rows);
        progress.step(&format!("look-ups, {nodes} nodes"));
        builds(nodes, &built, &mut rows);
        balance::shares_and_moves(nodes, &built, &times, quick, &mut rows)?;
        progress.step(&format!("balance, {nodes} nodes"));
    }
    for nodes in [10, 100, 1000] {
        copies(nodes, quick, rounds, &mut rows);
        progress.step(&format!("copies, {nodes} nodes"));
    }
    balance::weights(&mut rows)?;
    hot_keys(rounds, &mut rows);
    progress.step("weights and hot keys");
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// Somebody's table, and how many milliseconds it took to build.
struct Built {
    contender: Contender,
    placer: Box<dyn Placer>,
    millis: f64,
}

fn build_all(nodes: usize) -> Vec<Built> {
    let build = |contender: Contender| {
        let start = ThreadTime::now();
        let placer = (contender.build)(nodes);
        let mut times = vec![millis(start)];
        // Who takes long is timed once.
        while times[0] < 300.0 && times.len() < 3 {
            let start = ThreadTime::now();
            black_box((contender.build)(nodes));
            times.push(millis(start));
        }
        Built {
            contender,
            placer,
            millis: median(&mut times),
        }
    };
    able(nodes).map(build).collect()
}

/// Nanoseconds per look-up, for numbers and for texts of 24 bytes; answers with those for
/// numbers.
fn lookups(
    nodes: usize,
    built: &[Built],
    rounds: usize,
    rows: &mut Vec<Row>,
) -> Vec<(String, f64)> {
    let numbers: Vec<u64> = (0..KEYS as u64)
        .map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let texts: Vec<&'static str> = (0..KEYS)
        .map(|key| &*String::leak(format!("user:{key:019}")))
        .collect();
    let floor = rivals::floor();
    let mut all = vec![("floor", &*floor)];
    all.extend(built.iter().map(|one| (one.contender.name, &*one.placer)));
    let mut of_numbers = Vec::new();
    for kind in ["u64", "24 bytes"] {
        let run = |placer: &dyn Placer, count: usize| match kind {
            "u64" => placer.numbers(&numbers[..count]),
            _ => placer.texts(&texts[..count]),
        };
        let mut times = race(&all, rounds, run);
        let (_, floor) = times.remove(0);
        if kind == "u64" {
            of_numbers.clone_from(&times);
        }
        let (_, ours) = times.remove(0);
        // Beyond that the table leaves the fast caches.
        let goal = if nodes <= 1000 { 2.0 * floor } else { 6.0 };
        rows.push(Row {
            floor: Some(floor),
            goal: Some(goal),
            context: missing(nodes),
            ..row(format!("{nodes} nodes, {kind}"), "route", "ns", ours, times)
        });
    }
    of_numbers
}

/// Nanoseconds to name the three nodes of a key's copies.
fn copies(nodes: usize, quick: bool, rounds: usize, rows: &mut Vec<Row>) {
    let numbers: Vec<u64> = (0..KEYS as u64).collect();
    // The slowest to build takes two seconds for a thousand nodes.
    let most_nodes = if quick { 100 } else { 1000 };
    let built = rivals::copies(nodes, nodes <= most_nodes);
    let all: Vec<_> = built
        .iter()
        .map(|(name, placer)| (*name, &**placer))
        .collect();
    let run = |placer: &dyn Placer, count: usize| placer.numbers(&numbers[..count]);
    let mut times = race(&all, rounds, run);
    let (_, ours) = times.remove(0);
    let why = "its nodes are points of the ring, so that copies may share a machine";
    let mut context = vec![("hashring".to_owned(), why.to_owned())];
    if nodes > most_nodes {
        let why = "not run with --quick: takes two seconds to build";
        context.push(("consistent_hash_ring".into(), why.into()));
    }
    let why = "not run: its iterator names nodes more than once";
    context.push(("pingora-ketama".into(), why.into()));
    for name in [
        "conhash",
        "jumphash",
        "jump-consistent-hash",
        "maglev",
        "anchorhash",
    ] {
        let why = "not run: names one node for a key, and no copies";
        context.push((name.into(), why.into()));
    }
    rows.push(Row {
        goal: Some(5.0),
        context,
        ..row(
            format!("{nodes} nodes, 3 copies"),
            "replicas",
            "ns",
            ours,
            times,
        )
    });
}

/// Nanoseconds to note a key of traffic with celebrities, once sampling has
/// adapted to it. The floor is the loop over the keys.
fn hot_keys(rounds: usize, rows: &mut Vec<Row>) {
    // Zipf's law, roughly: a rank's logarithm is uniform.
    let mut rng = Rng::with_seed(1);
    let draw = |_| (rng.below(1 << 32) as f64 / 2_f64.powi(32) * 1e6_f64.ln()).exp() as u64;
    let keys: Vec<u64> = (0..KEYS).map(draw).collect();
    let hot = HotKeys::new();
    let note_all = || {
        for key in &keys {
            hot.note(*key);
        }
    };
    // Ten times 65,536 samples, each standing for twice as many as the one before: 67 million keys.
    for _ in 0..9000 {
        note_all();
    }
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..4 * rounds {
        let start = ThreadTime::now();
        for _ in 0..20 {
            note_all();
        }
        ours.push(start.elapsed().as_nanos() as f64 / (20 * KEYS) as f64);
        let start = ThreadTime::now();
        for _ in 0..20 {
            black_box(keys.iter().fold(0_u64, |sum, key| sum ^ black_box(*key)));
        }
        floor.push(start.elapsed().as_nanos() as f64 / (20 * KEYS) as f64);
    }
    rows.push(Row {
        floor: Some(median(&mut floor)),
        goal: Some(2.0),
        context: everyone("not run: does not watch for hot keys"),
        ..row("zipf".into(), "note", "ns", median(&mut ours), Vec::new())
    });
}

/// Milliseconds from nothing to a table, and ours from one version to the next.
fn builds(nodes: usize, built: &[Built], rows: &mut Vec<Row>) {
    let mut times: Vec<_> = built
        .iter()
        .map(|one| (one.contender.name.to_owned(), one.millis))
        .collect();
    let (_, ours) = times.remove(0);
    let none = "has nothing to build: a look-up computes everything";
    let mut context = missing(nodes);
    context.push(("jumphash".into(), none.into()));
    context.push(("jump-consistent-hash".into(), none.into()));
    let none = "builds a list of nodes: a look-up computes and sorts everything";
    context.push(("hrw-hash".into(), none.into()));
    context.push(("rendezvous_hash".into(), none.into()));
    rows.push(Row {
        context,
        ..row(format!("{nodes} nodes"), "build", "ms", ours, times)
    });
    let topology = rivals::topology(nodes, 1);
    let mut all: Vec<f64> = (0..7)
        .map(|_| {
            let router = Router::new(topology.clone());
            let start = ThreadTime::now();
            let next = topology.edit().node("another").build();
            let swapped = next.map(|next| router.swap(next));
            let took = millis(start);
            assert!(swapped.is_ok_and(|swapped| swapped.is_ok()));
            took
        })
        .collect();
    let ours = median(&mut all);
    rows.push(Row {
        goal: (nodes == 1000).then_some(1.0),
        context: everyone("not run: has no versions to go from one to the next, and builds anew"),
        ..row(
            format!("{nodes} nodes, one more"),
            "rebuild",
            "ms",
            ours,
            Vec::new(),
        )
    });
}

/// The median of rounds in which all take their turn, in nanoseconds per key.
fn race(
    all: &[(&str, &dyn Placer)],
    rounds: usize,
    run: impl Fn(&dyn Placer, usize) -> usize,
) -> Vec<(String, f64)> {
    // How many keys at once, and how often: as long as a batch should take, which is
    // long enough for a clock whose steps are some hundred nanoseconds.
    let shape = |(_, placer): &(&str, &dyn Placer)| {
        let start = ThreadTime::now();
        black_box(run(*placer, 2));
        let each = start.elapsed().as_nanos().max(4) / 2;
        let count = ((BATCH.as_nanos() / each) as usize).clamp(2, KEYS);
        let start = ThreadTime::now();
        black_box(run(*placer, count));
        let took = start.elapsed().as_nanos().max(1);
        (count, ((BATCH.as_nanos() / took) as usize).clamp(1, 24))
    };
    let shapes: Vec<_> = all.iter().map(shape).collect();
    let mut times = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (((_, placer), &(count, repeats)), times) in all.iter().zip(&shapes).zip(&mut times) {
            // What the one before left in the caches is not ours to pay for.
            black_box(run(*placer, count));
            let start = ThreadTime::now();
            for _ in 0..repeats {
                black_box(run(*placer, count));
            }
            let took = start.elapsed().as_nanos() as f64;
            times.push(took / (repeats * count) as f64);
        }
    }
    all.iter()
        .zip(&mut times)
        .map(|((name, _), times)| ((*name).to_owned(), median(times)))
        .collect()
}

fn able(nodes: usize) -> impl Iterator<Item = Contender> {
    let all = rivals::all().into_iter();
    all.filter(move |contender| contender.most_nodes >= nodes)
}

/// Who is not in a row, and why.
fn missing(nodes: usize) -> Vec<(String, String)> {
    let why = |name| match (name, nodes) {
        ("maglev", 1000) => "not run: needs 800 MB for 1,000 nodes",
        ("maglev", _) => "not run: needs 80 GB for 10,000 nodes",
        _ => "not run: takes minutes to build for 10,000 nodes",
    };
    let all = rivals::all().into_iter();
    all.filter(|contender| contender.most_nodes < nodes)
        .map(|contender| (contender.name.to_owned(), why(contender.name).to_owned()))
        .collect()
}

/// No rival is in a row.
fn everyone(why: &str) -> Vec<(String, String)> {
    let names = rivals::all().into_iter().map(|contender| contender.name);
    names
        .filter(|name| *name != OURS)
        .map(|name| (name.to_owned(), why.to_owned()))
        .collect()
}

fn row(
    workload: String,
    metric: &'static str,
    unit: &'static str,
    ours: f64,
    peers: Vec<(String, f64)>,
) -> Row {
    Row {
        block: "router",
        workload,
        metric,
        unit,
        better: Better::Lower,
        ours,
        peers,
        floor: None,
        goal: None,
        context: Vec::new(),
        capacity: None,
    }
}

fn print(rows: &[Row]) {
    for (metric, title) in [
        ("route", "Nanoseconds per look-up; the floor is XXH3 alone"),
        ("replicas", "Nanoseconds for three copies"),
        ("note", "Nanoseconds to look out for hot keys"),
        ("build", "Milliseconds to build"),
        (
            "rebuild",
            "Milliseconds to the next version, and to swap it",
        ),
        (
            "max_over_mean",
            "Keys of the fullest node over the mean; the floor is chance",
        ),
        (
            "moved_over_ideal",
            "Keys moved by one more node, over its share",
        ),
        (
            "moved_over_held",
            "Keys moved by one node less, over those it held",
        ),
        (
            "weight_error",
            "Percent that a node's keys are off its weight, the worst of three; the floor is the chance in keys",
        ),
    ] {
        let names = rivals::all().into_iter().map(|contender| contender.name);
        let names: Vec<_> = names.filter(|name| *name != OURS).collect();
        let head = ["", "goal", "floor", OURS]
            .into_iter()
            .chain(names.iter().copied());
        let mut table = Table::new(head);
        for row in rows.iter().filter(|row| row.metric == metric) {
            let peer = |name: &&str| {
                let found = row.peers.iter().find(|(peer, _)| peer == name);
                found.map(|(_, value)| figure(*value))
            };
            let own = [
                row.goal.map(figure),
                row.floor.map(figure),
                Some(figure(row.ours)),
            ];
            table.row(&row.workload, own.into_iter().chain(names.iter().map(peer)));
        }
        table.print(title);
    }
    let mut reasons: Vec<_> = rows.iter().flat_map(|row| &row.context).collect();
    reasons.sort();
    reasons.dedup();
    println!();
    for (peer, why) in reasons {
        println!("  {peer}: {why}");
    }
}

fn figure(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.0}")
    }
}

fn millis(start: ThreadTime) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
