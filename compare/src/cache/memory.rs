//! Bytes per entry beyond the key and the value, by a counting allocator.

use std::time::{Duration, Instant};

use super::subject::{Contender, Key};
use super::{ours, rivals};
use crate::arguments::Arguments;
use crate::counting;
use crate::report::{Better, Progress, Row, Table};

/// Measures every cache, freshly filled and after many more inserts.
pub(crate) fn measure(arguments: &Arguments) -> Vec<Row> {
    counting::start();
    let mut contenders = vec![ours::default()];
    contenders.extend(rivals::all());
    contenders.push(rivals::tiny_ufo_compact());
    let mut progress = Progress::new("bytes per entry", contenders.len());
    let measured: Vec<_> = contenders
        .iter()
        .map(|contender| {
            let measured = fill(
                contender,
                if arguments.quick {
                    QUICK_TIME
                } else {
                    FULL_TIME
                },
            );
            progress.step(contender.name);
            measured
        })
        .collect();
    print(&contenders, &measured);
    rows(&contenders, &measured)
}

const CAPACITY: usize = 1_000_000;
const FURTHER: usize = 3_000_000;

/// A cache that takes longer for one of the two fillings stops there and is
/// printed with the number of inserts it got.
const QUICK_TIME: Duration = Duration::from_secs(2);
const FULL_TIME: Duration = Duration::from_secs(30);

struct Measured {
    fresh: Held,
    churned: Held,
}

struct Held {
    inserts: usize,
    entries: usize,
    bytes: isize,
}

impl Held {
    /// Without the key and the value themselves.
    fn overhead(&self) -> f64 {
        self.bytes as f64 / self.entries as f64 - 16.0
    }
}

fn fill(contender: &Contender<u64>, time: Duration) -> Measured {
    let before = counting::live_bytes();
    let cache = (contender.build)(CAPACITY);
    let mut next = 0;
    let mut held = |inserts: usize| {
        let (start, first) = (Instant::now(), next);
        while next < first + inserts && start.elapsed() < time {
            // In an array: the keys are no part of what is counted.
            let keys: [u64; 250] = std::array::from_fn(|i| u64::from_number((next + i) as u64));
            cache.write(&keys);
            // So that no backlog grows behind the clock's back.
            cache.settle();
            next += keys.len();
        }
        cache.settle();
        let bytes = counting::live_bytes() - before;
        // One that doesn't know is asked for every key; only then, because
        // that may change what it does next.
        let entries = cache.len().unwrap_or_else(|| {
            (0..next as u64)
                .filter(|&number| cache.get(&u64::from_number(number)).is_some())
                .count()
        });
        Held {
            inserts: next - first,
            entries,
            bytes,
        }
    };
    Measured {
        fresh: held(CAPACITY),
        churned: held(FURTHER),
    }
}

fn print(contenders: &[Contender<u64>], measured: &[Measured]) {
    println!(
        "Bytes per entry beyond key and value, u64 to u64, capacity {CAPACITY}: what was asked of the allocator,"
    );
    println!("less 16 bytes per entry held, divided by the entries held.");
    let mut table = Table::new(["", "fresh", "held", "inserts", "churned", "held", "inserts"]);
    for (contender, measured) in contenders.iter().zip(measured) {
        let figures = [&measured.fresh, &measured.churned].map(|held| {
            [
                format!("{:.1}", held.overhead()),
                held.entries.to_string(),
                held.inserts.to_string(),
            ]
            .map(Some)
        });
        table.row(contender.name, figures.concat());
    }
    table.print("Freshly filled with 1 M keys, and after 3 M further ones");
    for row in rows(contenders, measured) {
        if let (Some((name, best)), Some(ratio)) = (row.best_peer(), row.ratio()) {
            println!(
                "{}: ours {:.1}, best judged rival {name} {best:.1}: {ratio:.2} times better",
                row.workload, row.ours
            );
        }
    }
    for (name, why) in contenders.iter().filter_map(context) {
        println!("Not judged by {name}: {why}.");
    }
}

fn rows(contenders: &[Contender<u64>], measured: &[Measured]) -> Vec<Row> {
    // The goals are the leanest rival's figures with a policy better than LRU.
    [("fresh", 36.5), ("churned", 78.0)]
        .into_iter()
        .map(|(workload, goal)| {
            let held = |measured: &Measured| {
                let held = if workload == "fresh" {
                    &measured.fresh
                } else {
                    &measured.churned
                };
                held.overhead()
            };
            let peers = contenders.iter().zip(measured).skip(1);
            let cut_short = peers.clone().filter_map(|(contender, measured)| {
                let (held, all) = match workload {
                    "fresh" => (&measured.fresh, CAPACITY),
                    _ => (&measured.churned, FURTHER),
                };
                let why = || format!("too slow: stopped after {} of {all} inserts", held.inserts);
                (held.inserts < all).then(|| (contender.name.to_owned(), why()))
            });
            Row {
                block: "cache-memory",
                workload: workload.to_owned(),
                metric: "bytes_per_entry",
                unit: "B",
                better: Better::Lower,
                ours: held(&measured[0]),
                peers: peers
                    .map(|(contender, measured)| (contender.name.to_owned(), held(measured)))
                    .collect(),
                floor: None,
                goal: Some(goal),
                context: contenders
                    .iter()
                    .filter_map(context)
                    .chain(cut_short)
                    .collect(),
                capacity: Some(CAPACITY),
            }
        })
        .collect()
}

/// For memory we are judged by every policy better than LRU, however it locks.
fn context(contender: &Contender<u64>) -> Option<(String, String)> {
    let why = contender
        .context
        .filter(|_| contender.name != rivals::ARC)?;
    Some((contender.name.to_owned(), why.to_owned()))
}
