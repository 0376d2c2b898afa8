//! The router beside the crates that place keys on nodes. Every node has 160
//! points on every ring that lets us choose; times are those of this thread
//! on a processor.

mod rivals;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use tenfold::hash::StableKey;
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
    let rounds = if arguments.quick { 5 } else { 15 };
    let keys = if arguments.quick { 300_000 } else { 1_000_000 };
    let mut rows = Vec::new();
    let mut progress = Progress::new("router", SIZES.len() * 2 + 3);
    for nodes in SIZES {
        lookups(nodes, rounds, &mut rows);
        progress.step(&format!("look-ups, {nodes} nodes"));
    }
    for nodes in [10, 100, 1000] {
        copies(nodes, rounds, &mut rows);
        progress.step(&format!("copies, {nodes} nodes"));
    }
    for nodes in SIZES {
        builds(nodes, &mut rows);
        balance(nodes, keys, &mut rows)?;
        progress.step(&format!("builds and balance, {nodes} nodes"));
    }
    hot_keys(rounds, &mut rows);
    print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// Nanoseconds per look-up, for numbers and for texts of 24 bytes.
fn lookups(nodes: usize, rounds: usize, rows: &mut Vec<Row>) {
    let numbers: Vec<u64> = (0..KEYS as u64)
        .map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let texts: Vec<&'static str> = (0..KEYS)
        .map(|key| &*String::leak(format!("user:{key:019}")))
        .collect();
    let mut built: Vec<(&str, Box<dyn Placer>)> = vec![("floor", rivals::floor())];
    for contender in able(nodes) {
        built.push((contender.name, (contender.build)(nodes)));
    }
    for kind in ["u64", "24 bytes"] {
        let run = |placer: &dyn Placer, count: usize| match kind {
            "u64" => placer.numbers(&numbers[..count]),
            _ => placer.texts(&texts[..count]),
        };
        let mut times = race(&built, rounds, run);
        let (_, floor) = times.remove(0);
        let (_, ours) = times.remove(0);
        let goal = if nodes <= 1000 {
            Some(2.0 * floor)
        } else {
            None
        };
        rows.push(Row {
            floor: Some(floor),
            goal,
            context: missing(nodes),
            ..row(format!("{nodes} nodes, {kind}"), "route", "ns", ours, times)
        });
    }
}

/// Nanoseconds to name the three nodes of a key's copies.
fn copies(nodes: usize, rounds: usize, rows: &mut Vec<Row>) {
    let numbers: Vec<u64> = (0..KEYS as u64).collect();
    let built = rivals::copies(nodes);
    let run = |placer: &dyn Placer, count: usize| placer.numbers(&numbers[..count]);
    let mut times = race(&built, rounds, run);
    let (_, ours) = times.remove(0);
    let why = "its nodes are points of the ring, so that copies may share a machine";
    rows.push(Row {
        goal: Some(5.0),
        context: vec![("hashring".into(), why.into())],
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
        ..row("zipf".into(), "note", "ns", median(&mut ours), Vec::new())
    });
}

/// Milliseconds from nothing to a table, and ours from one version to the next.
fn builds(nodes: usize, rows: &mut Vec<Row>) {
    let mut times = Vec::new();
    for contender in able(nodes) {
        let mut all: Vec<f64> = (0..3)
            .map(|_| {
                let start = ThreadTime::now();
                black_box((contender.build)(nodes));
                millis(start)
            })
            .collect();
        times.push((contender.name.to_owned(), median(&mut all)));
    }
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
        ..row(
            format!("{nodes} nodes, one more"),
            "rebuild",
            "ms",
            ours,
            Vec::new(),
        )
    });
}

/// Keys of the fullest node over the mean, and keys that moved to a new node
/// over those that had to.
fn balance(nodes: usize, keys: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let (mut fullest, mut moved) = (Vec::new(), Vec::new());
    for contender in able(nodes) {
        // These need a tenth of a millisecond and more per key.
        let slow = ["hashring_coordinator", "rendezvous_hash", "hrw-hash"];
        if nodes >= 1000 && slow.contains(&contender.name) {
            continue;
        }
        let (before, after) = ((contender.build)(nodes), (contender.grow)(nodes + 1));
        let keys = if slow.contains(&contender.name) {
            keys / 10
        } else {
            keys
        };
        let (mut counts, mut differ) = (vec![0_u64; nodes], 0);
        for key in 0..keys {
            let node = before.node(key);
            *counts.get_mut(node).ok_or(format!(
                "{} placed a key on node {node} of {nodes}",
                contender.name
            ))? += 1;
            differ += u64::from(after.node(key) != node);
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        let name = contender.name.to_owned();
        fullest.push((name.clone(), (most * nodes as u64) as f64 / keys as f64));
        moved.push((name, (differ * (nodes as u64 + 1)) as f64 / keys as f64));
    }
    let (_, ours) = fullest.remove(0);
    let noise = noise(nodes, keys);
    rows.push(Row {
        floor: Some(noise),
        goal: Some(noise * 1.01),
        context: missing(nodes),
        ..row(
            format!("{nodes} nodes"),
            "max_over_mean",
            "x",
            ours,
            fullest,
        )
    });
    let (_, ours) = moved.remove(0);
    // With more nodes too few keys move to tell three percent from chance.
    rows.push(Row {
        goal: (nodes <= 100).then_some(1.03),
        context: missing(nodes),
        ..row(
            format!("{nodes} nodes, one more"),
            "moved_over_ideal",
            "x",
            ours,
            moved,
        )
    });
    Ok(())
}

/// What chance alone makes of keys that are placed evenly.
fn noise(nodes: usize, keys: u64) -> f64 {
    let mut counts = vec![0_u64; nodes];
    for key in 0..keys {
        let node = (u128::from(key.stable_hash(0)) * nodes as u128) >> 64;
        counts[node as usize] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    (most * nodes as u64) as f64 / keys as f64
}

/// The median of rounds in which all take their turn, in nanoseconds per key.
fn race(
    built: &[(&str, Box<dyn Placer>)],
    rounds: usize,
    run: impl Fn(&dyn Placer, usize) -> usize,
) -> Vec<(String, f64)> {
    let counts: Vec<usize> = built
        .iter()
        .map(|(_, placer)| {
            let start = ThreadTime::now();
            black_box(run(&**placer, 4));
            let each = start.elapsed().as_nanos().max(4) / 4;
            ((BATCH.as_nanos() / each) as usize).clamp(16, KEYS)
        })
        .collect();
    let mut times = vec![Vec::new(); built.len()];
    for _ in 0..rounds {
        for (((_, placer), &count), times) in built.iter().zip(&counts).zip(&mut times) {
            // Long enough for the clock, whose steps are some hundred nanoseconds.
            let repeats = (100_000 / count).clamp(1, 24);
            black_box(run(&**placer, count));
            let start = ThreadTime::now();
            for _ in 0..repeats {
                black_box(run(&**placer, count));
            }
            let took = start.elapsed().as_nanos() as f64;
            times.push(took / (repeats * count) as f64);
        }
    }
    built
        .iter()
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
    let why = |name| match name {
        "maglev" => "not run: needs 800 MB for 1,000 nodes",
        "hashring_coordinator" => "not run: copies the ring at every look-up, 36 ms each",
        _ => "not run: takes seconds to minutes to build",
    };
    let all = rivals::all().into_iter();
    all.filter(|contender| contender.most_nodes < nodes)
        .map(|contender| (contender.name.to_owned(), why(contender.name).to_owned()))
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
            "Keys moved by one more node, over the least",
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
