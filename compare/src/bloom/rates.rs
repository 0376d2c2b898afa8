//! Whether the requested rate of false positives is met, and with how much memory.

use bloomfilter::Bloom;
use probabilistic_collections::bloom::BloomFilter as Probabilistic;
use tenfold::bloom::{AtomicBloomFilter, BloomFilter, ScalableBloomFilter};

use super::Effort;
use super::speed::STRANGERS;
use super::subject::Key;
use crate::report::{Better, Row, Table};

/// Measures each rate for everyone who takes a rate.
///
/// # Errors
///
/// If ours lie further than three standard errors from theory, or above the
/// rate requested.
pub(super) fn measure(effort: &Effort) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut table = Table::new(["", "requested", "theory", "measured", "bits per key"]);
    for rate in [1e-2, 1e-3, 1e-4] {
        let ours = ours(rate, effort)?;
        let rivals = rivals(rate, effort);
        for measured in ours.iter().chain(&rivals) {
            let percent = |rate: f64| format!("{:.4} %", rate * 100.0);
            table.row(
                measured.name,
                [
                    Some(percent(rate)),
                    measured.theory.map(percent),
                    Some(percent(measured.rate)),
                    Some(format!("{:.2}", measured.bits_per_key)),
                ],
            );
        }
        for (metric, goal, figure) in [
            (
                "measured_over_requested_rate",
                Some(1.0),
                (|m, rate| m.rate / rate) as fn(&Measured, f64) -> f64,
            ),
            ("bits_per_key", None, |m, _| m.bits_per_key),
        ] {
            for ours in &ours {
                rows.push(Row {
                    block: "bloom",
                    workload: format!("requested {rate:e}/{}", ours.name),
                    metric,
                    unit: if goal.is_some() { "times" } else { "bits" },
                    better: Better::Lower,
                    ours: figure(ours, rate),
                    peers: rivals
                        .iter()
                        .map(|m| (m.name.to_owned(), figure(m, rate)))
                        .collect(),
                    floor: None,
                    goal,
                    context: Vec::new(),
                    capacity: None,
                });
            }
        }
    }
    table.print(&format!(
        "Requested rates: {ITEMS} u64 keys, {} strangers",
        effort.strangers
    ));
    Ok(rows)
}

struct Measured {
    name: &'static str,
    rate: f64,
    /// Where the filter says what it expects.
    theory: Option<f64>,
    bits_per_key: f64,
}

fn ours(rate: f64, effort: &Effort) -> Result<Vec<Measured>, String> {
    let mut plain = BloomFilter::with_rate(ITEMS, rate).map_err(|e| e.to_string())?;
    let atomic = AtomicBloomFilter::with_rate(ITEMS, rate).map_err(|e| e.to_string())?;
    let mut growing =
        ScalableBloomFilter::with_rate(ITEMS / 100, rate).map_err(|e| e.to_string())?;
    for key in (0..ITEMS).map(u64::from_number) {
        plain.insert(&key);
        atomic.insert(&key);
        growing.insert(&key);
    }
    let measured = |name, theory, bits, contains: &dyn Fn(&u64) -> bool| Measured {
        name,
        rate: share(effort.strangers, contains),
        theory,
        bits_per_key: bits as f64 / ITEMS as f64,
    };
    let (now, later) = (plain.expected_rate(ITEMS), atomic.expected_rate(ITEMS));
    let all = vec![
        measured("tenfold", Some(now), plain.bits(), &|k| plain.contains(k)),
        measured("tenfold, atomic", Some(later), atomic.bits(), &|k| {
            atomic.contains(k)
        }),
        measured("tenfold, scalable", None, growing.bits(), &|k| {
            growing.contains(k)
        }),
    ];
    for measured in &all {
        let theory = measured.theory.unwrap_or(rate);
        let error = (rate / effort.strangers as f64).sqrt() + SPREAD * theory;
        if theory > rate || measured.rate > theory + 3.0 * error {
            return Err(format!(
                "{} has {:e} false positives, {theory:e} by theory, {rate:e} requested",
                measured.name, measured.rate
            ));
        }
    }
    Ok(all)
}

fn rivals(rate: f64, effort: &Effort) -> Vec<Measured> {
    let items = ITEMS as usize;
    let builder = fastbloom::BloomFilter::with_false_pos(rate).seed(&1);
    let mut fast = builder.expected_items(items);
    let seed = std::array::from_fn(|i| i as u8);
    let mut bloom = Bloom::new_for_fp_rate_with_seed(items, rate, &seed).expect("a valid rate");
    let mut growing = growable_bloom_filter::GrowableBloom::new(rate, items / 100);
    let mut probabilistic = Probabilistic::<u64>::new(items, rate);
    for key in (0..ITEMS).map(u64::from_number) {
        fast.insert(&key);
        bloom.set(&key);
        growing.insert(key);
        probabilistic.insert(&key);
    }
    let measured = |name, bits: usize, contains: &dyn Fn(&u64) -> bool| Measured {
        name,
        rate: share(effort.strangers, contains),
        theory: None,
        bits_per_key: bits as f64 / ITEMS as f64,
    };
    vec![
        measured("fastbloom", fast.num_bits(), &|k| fast.contains(k)),
        measured("bloomfilter", bloom.len() as usize, &|k| bloom.check(k)),
        measured("growable-bloom-filter", bits_written(&growing), &|k| {
            growing.contains(k)
        }),
        measured("probabilistic-collections", probabilistic.len(), &|k| {
            probabilistic.contains(k)
        }),
    ]
}

/// The bits of a filter that says nothing of its memory, but writes all of it:
/// a list of bytes, with a comma after each but the last.
fn bits_written(filter: &growable_bloom_filter::GrowableBloom) -> usize {
    let json = serde_json::to_vec(filter).unwrap_or_default();
    json.split(|&byte| byte == b',').count() * 8
}

/// The share of strangers that are taken for members.
fn share(strangers: u64, contains: &dyn Fn(&u64) -> bool) -> f64 {
    let keys = (STRANGERS..STRANGERS + strangers).map(u64::from_number);
    keys.filter(contains).count() as f64 / strangers as f64
}

const ITEMS: u64 = 200_000;

/// How far one filling of a filter lies from the mean of all, as a share.
const SPREAD: f64 = 0.01;
