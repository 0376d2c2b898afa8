//! False positives as promised: theory stays within the requested rate, and what
//! is measured within three standard errors of theory. Keys and strangers are the
//! same in every run.

use tenfold::bloom::{
    AtomicBloomFilter, BloomFilter, BuildError, Layout, ScalableBloomFilter, SplitBlockFilter,
};
use tenfold::rng::Rng;

/// So many keys that are no neighbours, of one of several sets.
fn keys(set: u64, count: u64) -> impl Iterator<Item = u64> {
    let first = set << 40;
    (first..first + count).map(|number| Rng::with_seed(number).next_u64())
}

/// The share of strangers that are found, and its standard error around `theory`:
/// of the strangers drawn, and of this filling among all possible.
///
/// The median of the first three sets of strangers: of the forty comparisons
/// below, one set fails one at every tenth try by chance, and so would be chosen
/// for not doing so.
fn measured(theory: f64, lines: f64, contains: impl Fn(&u64) -> bool) -> (f64, f64) {
    let strangers = 400_000;
    let mut found = [1, 2, 3].map(|set| keys(set, strangers).filter(&contains).count());
    found.sort_unstable();
    let drawn = theory * (1.0 - theory) / strangers as f64;
    // The rates of single lines spread about as wide as they are high.
    let filling = (1.5 * theory).powi(2) / lines;
    (found[1] as f64 / strangers as f64, (drawn + filling).sqrt())
}

fn assert_within(name: &str, found: f64, theory: f64, error: f64) {
    assert!(
        (found - theory).abs() <= 3.0 * error,
        "{name}: {found} measured, {theory} by theory, standard error {error}"
    );
}

#[test]
fn false_positive_rate_is_within_three_standard_errors_of_theory() {
    for layout in Layout::ALL {
        for items in [3000, 60_000] {
            for rate in [0.1, 0.01, 0.001] {
                let builder = BloomFilter::builder().items(items).rate(rate);
                let mut filter = builder.layout(layout).build().unwrap();
                keys(0, items).for_each(|key| {
                    filter.insert(&key);
                });
                let theory = filter.expected_rate(items);
                assert!(theory <= rate, "{layout}: {theory} > {rate}");
                let lines = filter.bits() as f64 / 512.0;
                let (found, error) = measured(theory, lines, |key| filter.contains(key));
                let name = format!("{layout}, {items} keys at {rate}");
                assert_within(&name, found, theory, error);
                // What the filter says of itself has seen every bit.
                let (now, drawn) = (filter.current_rate(), (theory / 400_000.0).sqrt());
                assert_within(&name, found, now, drawn);
                let estimate = filter.len_estimate().abs_diff(items);
                assert!(estimate < items / 40, "{name}: off by {estimate}");
            }
        }
    }
}

#[test]
fn a_split_block_filter_has_the_rate_of_theory() {
    let mut filter = SplitBlockFilter::with_rate(50_000, 0.01).unwrap();
    keys(0, 50_000).for_each(|key| {
        filter.insert(&key);
    });
    let theory = filter.expected_rate(50_000);
    assert!(theory <= 0.01);
    let blocks = filter.bits() as f64 / 256.0;
    let (found, error) = measured(theory, blocks, |key| filter.contains(key));
    assert_within("split block", found, theory, error);
    assert_within("split block", found, filter.current_rate(), error);
}

#[test]
fn an_atomic_filter_has_the_rate_of_theory() {
    let filter = AtomicBloomFilter::with_rate(50_000, 0.01).unwrap();
    assert_eq!(filter.layout(), Layout::Paired);
    keys(0, 50_000).for_each(|key| {
        filter.insert(&key);
    });
    let theory = filter.expected_rate(50_000);
    assert!(theory <= 0.01);
    let (found, error) = measured(theory, filter.bits() as f64 / 512.0, |key| {
        filter.contains(key)
    });
    assert_within("atomic", found, theory, error);
}

/// Others halve their rate per stage and waste memory, or forget that the rates
/// of the stages add up and have 170 % of what was asked for.
#[test]
fn the_total_rate_of_a_scalable_filter_holds_at_every_size() {
    for rate in [0.03, 0.01, 0.001] {
        let mut filter = ScalableBloomFilter::with_rate(500, rate).unwrap();
        let mut inserted = 0;
        for upto in [500, 1500, 20_000, 200_000] {
            for key in keys(0, upto).skip(inserted) {
                filter.insert(&key);
            }
            inserted = upto as usize;
            let now = filter.current_rate();
            assert!(now <= rate, "{now} > {rate} with {upto} keys");
            let found = keys(1, 100_000).filter(|key| filter.contains(key)).count();
            let error = (rate / 100_000.0).sqrt();
            assert_within("scalable", found as f64 / 100_000.0, now, error);
        }
        assert!(filter.stages() > 5);
        assert!(!filter.is_saturated());
    }
}

/// A rate below that of coinciding hashes was promised by others, and missed a
/// thousandfold.
#[test]
fn a_rate_that_64_bit_hashes_cannot_meet_is_refused() {
    let error = BloomFilter::with_rate(500_000_000, 1e-12).unwrap_err();
    assert!(matches!(error, BuildError::RateBelowHashes { .. }));
    assert_eq!(
        error.to_string(),
        "a rate of 1e-12 cannot be met with 500000000 keys: their 64-bit hashes alone coincide at 2.710505431213761e-11"
    );
    assert!(BloomFilter::with_rate(1000, 1e-12).is_ok());
}

/// Low rates take the standard layout by themselves, and are met: no stranger
/// among 400 000 where one in a million is allowed (0.4 expected).
#[test]
fn a_low_rate_takes_the_layout_that_can_meet_it() {
    let mut filter = BloomFilter::with_rate(20_000, 1e-6).unwrap();
    assert_eq!(filter.layout(), Layout::Standard);
    assert_eq!(filter.hashes(), 20);
    keys(0, 20_000).for_each(|key| {
        filter.insert(&key);
    });
    let found = keys(1, 400_000).filter(|key| filter.contains(key)).count();
    assert!(found <= 3, "{found}");
    assert!(filter.current_rate() < 1.1e-6);
}

/// An even step, or two halves of a hash that are equal, sent others' probes
/// round in circles: ten times the rate of theory.
#[test]
fn keys_with_a_pattern_have_the_rate_of_theory_too() {
    for layout in Layout::ALL {
        for step in [1u64, 2, 1 << 16, 1 << 32, 0x1_0000_0001] {
            let key = |i: u64| i.wrapping_mul(step);
            let builder = BloomFilter::builder().items(50_000).rate(0.01);
            let mut filter = builder.layout(layout).build().unwrap();
            (0..50_000).for_each(|i| {
                filter.insert(&key(i));
            });
            let found = (50_000..150_000)
                .filter(|&i| filter.contains(&key(i)))
                .count();
            let error = (0.01_f64 / 100_000.0).sqrt() + 0.0005;
            let theory = filter.expected_rate(50_000);
            assert_within("pattern", found as f64 / 100_000.0, theory, error);
        }
    }
}

/// Says of itself when it is overfull, so that nobody serves with a rate ten times
/// too high and does not know.
#[test]
fn an_overfull_filter_says_so() {
    let mut filter = BloomFilter::with_rate(10_000, 0.01).unwrap();
    keys(0, 30_000).for_each(|key| {
        filter.insert(&key);
    });
    assert!(filter.current_rate() > 0.1);
    assert!(filter.len_estimate().abs_diff(30_000) < 900);
    assert!(filter.fill() > 0.8);
    let stats = filter.stats();
    assert!((stats.rate - filter.current_rate()).abs() < 1e-12);
}

#[test]
fn memory_is_what_theory_asks_for_and_no_more() {
    // Bits per key at 1 % and 0.1 %, from the table of the layouts.
    for (layout, at_1_percent, at_1_permille) in [
        (Layout::Blocked, 10.15, 15.75),
        (Layout::Paired, 10.2, 15.95),
        (Layout::Standard, 9.6, 14.4),
    ] {
        for (rate, most) in [(0.01, at_1_percent), (0.001, at_1_permille)] {
            let builder = BloomFilter::builder().items(100_000).rate(rate);
            let filter = builder.layout(layout).build().unwrap();
            let bits = filter.bits() as f64 / 100_000.0;
            assert!(bits <= most && bits > most - 0.2, "{layout}: {bits}");
        }
    }
}
