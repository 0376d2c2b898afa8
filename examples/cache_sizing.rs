//! How near the estimate of other sizes comes to the truth.
//!
//! ```sh
//! cargo run --release --example cache_sizing                 # the traces there are, and made-up traffic
//! cargo run --release --example cache_sizing -- trace.u64 …  # little-endian u64 keys
//! ```
//!
//! The truth is a simulation of LRU, exact for every size at once. The
//! estimates are the one a `Cache` makes of its own traffic, at less than a
//! nanosecond per look-up in the long run, and `SizeEstimator`, which samples
//! as many keys as it is told to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tenfold::cache::Cache;
use tenfold::cache::sizing::{MissRatioCurve, SizeEstimator};
use tenfold::rng::Rng;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let named = !files.is_empty();
    if !named {
        files = traces();
    }
    println!(
        "error of the miss ratio in points: mean over 100 even sizes (largest), mean over 41 sizes a quarter octave apart\n"
    );
    println!(
        "{:<16} {:>8} {:>7}  {:<26} {:<26} at 0.1, 1, 5, 10, 20, 50 % of the keys: LRU misses, and the cache's estimate",
        "trace", "requests", "keys", "cache", "8192 sampled keys"
    );
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        report(&name, &read(&file)?);
    }
    if !named {
        let mut rng = Rng::with_seed(1);
        let zipf: Vec<u64> = (0..1_000_000).map(|_| zipf(&mut rng, 200_000)).collect();
        report("(zipf)", &zipf);
        report(
            "(loop)",
            &(0..1_000_000).map(|i| i % 20_000).collect::<Vec<_>>(),
        );
        let scan = |i: u64| {
            if i.is_multiple_of(2) {
                rng.below(5_000)
            } else {
                1_000_000 + i
            }
        };
        report("(scan)", &(0..1_000_000).map(scan).collect::<Vec<_>>());
    }
    Ok(())
}

fn report(name: &str, keys: &[u64]) {
    let exact = Exact::of(keys);
    let cache = Cache::builder()
        .max_entries((exact.unique / 10).max(1))
        .estimate_sizes()
        .seed(1)
        .build()
        .expect("it has a bound");
    let mut estimator = SizeEstimator::new(8192);
    for key in keys {
        if cache.get(key).is_none() {
            cache.insert(*key, ());
        }
        estimator.record(key);
    }
    let cached = cache.sizing().expect("it was asked for");
    let share = |percent: f64| ((exact.unique as f64 * percent / 100.0) as u64).max(1);
    let sizes = [0.1, 1.0, 5.0, 10.0, 20.0, 50.0].map(share);
    let pairs: Vec<String> = sizes
        .iter()
        .map(|&size| {
            let (truth, estimate) = (exact.miss_ratio_at(size), cached.miss_ratio_at(size));
            format!("{:.1} {:.1}", truth * 100.0, estimate * 100.0)
        })
        .collect();
    println!(
        "{name:<16} {:>8} {:>7}  {:<26} {:<26} {}",
        keys.len(),
        exact.unique,
        errors(&exact, &cached),
        errors(&exact, &estimator.curve()),
        pairs.join(" | ")
    );
}

fn errors(exact: &Exact, curve: &MissRatioCurve) -> String {
    let unique = exact.unique as f64;
    let error = |size: f64| {
        let size = (size.round() as u64).max(1);
        (exact.miss_ratio_at(size) - curve.miss_ratio_at(size)).abs() * 100.0
    };
    let even: Vec<f64> = (1..=100)
        .map(|i| error(unique * f64::from(i) / 100.0))
        .collect();
    let octaves: Vec<f64> = (0..41)
        .map(|i| error(unique * 0.5f64.powf(f64::from(i) / 4.0)))
        .collect();
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let largest = even.iter().copied().fold(0.0, f64::max);
    format!(
        "{:.2} ({largest:.1}), {:.2} @{:.4}",
        mean(&even),
        mean(&octaves),
        curve.rate()
    )
}

/// LRU caches of every size: how many references each distance has.
struct Exact {
    /// Hits of a cache of so many entries.
    hits: Vec<u64>,
    references: u64,
    unique: usize,
}

impl Exact {
    /// Mattson's stack, as a Fenwick tree over the requests: one is counted if
    /// it is the latest for its key.
    fn of(keys: &[u64]) -> Self {
        let mut tree = vec![0i32; keys.len() + 1];
        let mut latest: HashMap<u64, usize> = HashMap::new();
        let mut hits = vec![0];
        let add = |tree: &mut Vec<i32>, mut at: usize, by: i32| {
            while at < tree.len() {
                tree[at] += by;
                at += at & at.wrapping_neg();
            }
        };
        for (at, &key) in (1..).zip(keys) {
            if let Some(before) = latest.insert(key, at) {
                let (mut below, mut node) = (0, before);
                while node > 0 {
                    below += tree[node];
                    node -= node & node.wrapping_neg();
                }
                let distance = latest.len() - below as usize + 1;
                hits.resize(hits.len().max(distance + 1), 0);
                hits[distance] += 1;
                add(&mut tree, before, -1);
            }
            add(&mut tree, at, 1);
        }
        for size in 1..hits.len() {
            hits[size] += hits[size - 1];
        }
        Self {
            hits,
            references: keys.len() as u64,
            unique: latest.len(),
        }
    }

    fn miss_ratio_at(&self, entries: u64) -> f64 {
        let hits = self.hits[(entries as usize).min(self.hits.len() - 1)];
        1.0 - hits as f64 / self.references as f64
    }
}

/// A key of Zipf's law with exponent 1, nearly.
fn zipf(rng: &mut Rng, keys: u64) -> u64 {
    let uniform = rng.next_u64() as f64 / u64::MAX as f64;
    (keys as f64).powf(uniform) as u64
}

/// The traces beside the repository, or in the folder that is named.
fn traces() -> Vec<PathBuf> {
    let folder = match std::env::var_os("TENFOLD_TRACES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"),
    };
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "u64"))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> std::io::Result<Vec<u64>> {
    let bytes = std::fs::read(file)?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}
