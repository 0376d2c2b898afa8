//! Instructions of one hit, one miss and one eviction, counted by callgrind:
//! the one figure of speed that is the same in every run.

use std::process::ExitCode;

use super::ours::Ours;
use super::rivals::{Moka, QuickCache};
use super::subject::{Key, Subject};
use crate::callgrind;
use crate::report::{Better, Row, Table};

/// Counts for every cache and kind of operation.
///
/// # Errors
///
/// If valgrind is missing or fails.
pub(crate) fn measure() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut table = Table::new([String::new()].into_iter().chain(CACHES.map(str::to_owned)));
    for operation in OPERATIONS {
        let counted: Vec<f64> = std::thread::scope(|scope| {
            let runs = CACHES.map(|cache| scope.spawn(move || per_operation(cache, operation)));
            runs.into_iter()
                .map(|run| run.join().expect("counting doesn't panic"))
                .collect::<Result<_, _>>()
        })?;
        table.row(
            operation,
            counted.iter().map(|count| Some(format!("{count:.0}"))),
        );
        rows.push(Row {
            block: "cache-throughput",
            workload: format!("{operation}/u64/1T"),
            metric: "instructions",
            unit: "instructions per operation",
            better: Better::Lower,
            ours: counted[0],
            peers: CACHES
                .iter()
                .zip(&counted)
                .skip(1)
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            floor: None,
            goal: None,
            context: Vec::new(),
            capacity: Some(CAPACITY),
        });
    }
    table.print(
        "Instructions per operation, u64 keys, capacity 10 000, half full for hits and misses, full for evictions \
         (callgrind; twice as many operations less once)",
    );
    Ok(rows)
}

const CACHES: [&str; 3] = ["tenfold", "quick_cache", "moka"];
const OPERATIONS: [&str; 3] = ["hit", "miss", "evict"];
const CAPACITY: usize = 10_000;

/// Operations of the shorter run.
const N: usize = 40_000;

/// What twice as many operations cost more: the start of the program and the
/// filling of the cache cancel out.
fn per_operation(cache: &str, operation: &str) -> Result<f64, String> {
    let (once, twice) = (count(cache, operation, N)?, count(cache, operation, 2 * N)?);
    Ok((twice as f64 - once as f64) / N as f64)
}

fn count(cache: &str, operation: &str, n: usize) -> Result<u64, String> {
    callgrind::count(&[CHILD, cache, operation, &n.to_string()])
}

/// The first argument of the child that valgrind runs.
const CHILD: &str = "count-instructions-of";

/// Runs one kind of operation, if the arguments are those of the child.
pub fn child() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, cache, operation, n] = arguments.as_slice() else {
        return None;
    };
    if first != CHILD {
        return None;
    }
    let n = n.parse().ok()?;
    match cache.as_str() {
        "tenfold" => run(&Ours::new(CAPACITY), operation, n),
        "quick_cache" => run(&QuickCache::new(CAPACITY), operation, n),
        "moka" => run(&Moka::new(CAPACITY), operation, n),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn run(cache: &impl Subject<u64>, operation: &str, n: usize) {
    let resident = if operation == "evict" {
        CAPACITY
    } else {
        CAPACITY / 2
    };
    let key = |number: usize| u64::from_number(number as u64);
    for number in 0..resident {
        cache.insert(key(number), key(number).value());
    }
    cache.settle();
    for i in 0..n {
        match operation {
            "hit" => assert_eq!(
                cache.get(&key(i % resident)),
                Some(key(i % resident).value())
            ),
            "miss" => assert_eq!(cache.get(&key(resident + i)), None),
            _ => cache.insert(key(resident + i), key(resident + i).value()),
        }
    }
}
