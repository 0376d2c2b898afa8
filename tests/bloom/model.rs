//! The filters against a set: no key that was inserted is ever lost, in any
//! layout, by any way of inserting, uniting, copying or growing.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use tenfold::bloom::{
    AtomicBloomFilter, BloomBuilder, BloomFilter, BuildError, InstructionSet, Layout, Mismatch,
    RotatingBloomFilter, ScalableBloomFilter, SplitBlockFilter,
};
use tenfold::hash::StableKey;
use tenfold::time::ManualClock;

fn layouts() -> impl Strategy<Value = Layout> {
    prop::sample::select(&Layout::ALL[..])
}

fn builder(layout: Layout, bits: u64, seed: u64) -> BloomBuilder {
    let builder = BloomFilter::builder().bits(bits).items(50);
    builder.layout(layout).seed(seed)
}

proptest! {
    #[test]
    fn a_plain_filter_finds_every_key(
        layout in layouts(), bits in 0u64..5000, seed: u64, keys: Vec<String>,
    ) {
        let mut filter = builder(layout, bits, seed).build()?;
        let mut seen = HashSet::new();
        for key in &keys {
            let (found, new) = (filter.contains(key), filter.insert(key));
            prop_assert_eq!(found, !new, "a key is new or found, not both");
            prop_assert!(found || seen.insert(key));
            prop_assert!(filter.contains(key.as_str()));
        }
        prop_assert!(keys.iter().all(|key| filter.contains(key)));
        filter.clear();
        prop_assert_eq!(filter.len_estimate(), 0);
        prop_assert!(!keys.iter().any(|key| filter.contains(key)));
    }

    #[test]
    fn an_atomic_filter_answers_as_a_plain_one_of_its_layout(
        layout in layouts(), bits in 0u64..5000, seed: u64, keys: Vec<u64>, strangers: Vec<u64>,
    ) {
        let mut plain = builder(layout, bits, seed).build()?;
        let atomic = builder(layout, bits, seed).build_atomic()?;
        for key in &keys {
            prop_assert_eq!(plain.insert(key), atomic.insert(key));
        }
        for key in keys.iter().chain(&strangers) {
            prop_assert_eq!(plain.contains(key), atomic.contains(key));
        }
        prop_assert_eq!(plain.stats(), atomic.stats());
        prop_assert_eq!(plain.to_bytes(), atomic.to_bytes());
        prop_assert_eq!(&BloomFilter::from(atomic), &plain);
        let back = AtomicBloomFilter::from(plain);
        prop_assert!(keys.iter().all(|key| back.contains(key)));
    }

    #[test]
    fn many_at_once_are_the_same_as_one_by_one(
        layout in layouts(), bits in 0u64..50_000, keys in prop::collection::vec(any::<u64>(), 0..200),
        strangers in prop::collection::vec(any::<u64>(), 0..200),
    ) {
        let mut single = builder(layout, bits, 0).build()?;
        let mut many = builder(layout, bits, 0).build()?;
        let atomic = builder(layout, bits, 0).build_atomic()?;
        let new = keys.iter().filter(|key| single.insert(*key)).count() as u64;
        prop_assert_eq!(many.insert_many(&keys), new);
        prop_assert_eq!(atomic.insert_many(&keys), new);
        prop_assert_eq!(&many, &single);
        let all: Vec<u64> = keys.into_iter().chain(strangers).collect();
        let expected: Vec<_> = all.iter().map(|key| (key, single.contains(key))).collect();
        let mut answers = Vec::new();
        many.contains_many(&all, |key, found| answers.push((key, found)));
        prop_assert_eq!(&answers, &expected);
        answers.clear();
        atomic.contains_many(&all, |key, found| answers.push((key, found)));
        prop_assert_eq!(&answers, &expected);
    }

    #[test]
    fn every_instruction_set_makes_the_same_filter(
        bits in 0u64..5000, keys: Vec<u64>, strangers: Vec<u64>,
    ) {
        let mut portable = builder(Layout::Blocked, bits, 0)
            .instruction_set(InstructionSet::Portable)
            .build()?;
        portable.extend(&keys);
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let mut filter = builder(Layout::Blocked, bits, 0).instruction_set(set).build()?;
            filter.extend(&keys);
            prop_assert_eq!(filter.instruction_set(), set);
            prop_assert_eq!(&filter, &portable);
            for key in &strangers {
                prop_assert_eq!(filter.contains(key), portable.contains(key));
            }
        }
    }

    #[test]
    fn a_union_is_the_filter_of_all_keys(
        layout in layouts(), bits in 0u64..5000, a: Vec<u64>, b: Vec<u64>,
    ) {
        let of = |keys: &[u64]| -> Result<BloomFilter, BuildError> {
            let mut filter = builder(layout, bits, 0).build()?;
            filter.extend(keys);
            Ok(filter)
        };
        let (mut left, right) = (of(&a)?, of(&b)?);
        let shared = AtomicBloomFilter::from(left.clone());
        prop_assert_eq!(left.union(&right), Ok(()));
        prop_assert_eq!(&left, &of(&[a, b].concat())?);
        prop_assert_eq!(shared.union(&AtomicBloomFilter::from(right)), Ok(()));
        prop_assert_eq!(BloomFilter::from(shared), left);
    }

    #[test]
    fn a_filter_survives_its_bytes(
        layout in layouts(), bits in 0u64..5000, seed: u64, keys: Vec<String>,
    ) {
        let mut filter = builder(layout, bits, seed).build()?;
        filter.extend(keys.iter().map(String::as_str));
        let bytes = filter.to_bytes();
        prop_assert_eq!(bytes.len() as u64, 72 + filter.bits() / 8);
        let read = BloomFilter::from_bytes_with_seed(&bytes, seed)?;
        prop_assert_eq!(&read, &filter);
        prop_assert!(keys.iter().all(|key| read.contains(key)));
        let shared = AtomicBloomFilter::from_bytes_with_seed(&bytes, seed)?;
        prop_assert_eq!(shared.to_bytes(), bytes);
    }

    #[test]
    fn a_split_block_filter_finds_every_key(
        blocks in 0u64..40, a: Vec<i64>, b: Vec<String>,
    ) {
        let mut filter = SplitBlockFilter::with_blocks(blocks)?;
        let mut other = filter.clone();
        for key in &a {
            prop_assert_eq!(filter.contains(key), !filter.insert(key));
        }
        for key in &b {
            other.insert(key);
        }
        prop_assert_eq!(filter.union(&other), Ok(()));
        let read = SplitBlockFilter::from_bitset(&filter.to_bitset())?;
        let with_header = SplitBlockFilter::from_bytes(&filter.to_bytes())?;
        for filter in [&filter, &read, &with_header] {
            prop_assert!(a.iter().all(|key| filter.contains(key)));
            prop_assert!(b.iter().all(|key| filter.contains(key)));
        }
        filter.clear();
        prop_assert_eq!(filter.len_estimate(), 0);
    }

    #[test]
    fn a_scalable_filter_finds_every_key(
        items in 0u64..50, layout in prop::option::of(layouts()),
        keys in prop::collection::vec(any::<u64>(), 0..600),
    ) {
        let mut builder = BloomFilter::builder().items(items).rate(0.01);
        if let Some(layout) = layout {
            builder = builder.layout(layout);
        }
        let mut filter = builder.build_scalable()?;
        for key in &keys {
            prop_assert_eq!(filter.contains(key), !filter.insert(key));
            prop_assert!(filter.contains(key));
        }
        prop_assert!(keys.iter().all(|key| filter.contains(key)));
        prop_assert!(filter.inserted() <= keys.len() as u64);
        filter.clear();
        prop_assert!(!keys.iter().any(|key| filter.contains(key)));
        prop_assert_eq!(filter.inserted(), 0);
    }

    /// Against a list of insertions and their times.
    #[test]
    fn a_rotating_filter_finds_keys_for_their_lifetime(
        generations in 2usize..6,
        steps in prop::collection::vec((0u64..40, 0u8..20), 0..40),
    ) {
        let time = ManualClock::new();
        let lifetime = Duration::from_secs(60);
        let filter = RotatingBloomFilter::builder()
            .items(1000)
            .rate(1e-6)
            .generations(generations)
            .lifetime(lifetime)
            .clock(time.clock())
            .build()?;
        let longest = lifetime * generations as u32 / (generations as u32 - 1);
        let longest = longest + Duration::from_nanos(generations as u64);
        let mut last = std::collections::HashMap::new();
        for (pause, key) in steps {
            time.advance(Duration::from_secs(pause));
            let now = time.now();
            for key in 0..20u8 {
                let age = last.get(&key).map(|&at| now.saturating_since(at));
                if age.is_some_and(|age| age <= lifetime) {
                    prop_assert!(filter.contains(&key), "lost after {:?}", age);
                }
                // With this rate there is no stranger among so few.
                if age.is_none_or(|age| age > longest) {
                    prop_assert!(!filter.contains(&key), "kept for {:?}", age);
                }
            }
            let found = filter.contains(&key);
            prop_assert_eq!(filter.insert(&key), !found);
            prop_assert!(filter.contains(&key));
            last.insert(key, now);
        }
    }
}

/// A filter beyond the processor's second cache fetches the memory of a group while
/// another is at work: the ends of groups, and a key that comes again in the next one.
#[test]
fn many_at_once_are_the_same_as_one_by_one_in_a_large_filter() {
    let large = || BloomFilter::builder().bits(3 << 23).items(1000);
    for set in InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available())
    {
        for len in [0, 1, 31, 32, 33, 63, 64, 65, 96, 1000] {
            let mut single = large().instruction_set(set).build().unwrap();
            let mut many = large().instruction_set(set).build().unwrap();
            let keys: Vec<u64> = (0..len).map(|i| i / 40 * 20 + i % 40).collect();
            let new = keys.iter().filter(|key| single.insert(*key)).count() as u64;
            assert_eq!(many.insert_many(&keys), new, "{set}, {len} keys");
            assert_eq!(many, single, "{set}, {len} keys");
            let all: Vec<u64> = (0..len).map(|i| i * 7 % 1500).collect();
            let mut answers = Vec::new();
            many.contains_many(&all, |key, found| answers.push((*key, found)));
            let expected: Vec<_> = all.iter().map(|key| (*key, single.contains(key))).collect();
            assert_eq!(answers, expected, "{set}, {len} keys");
        }
    }
}

#[test]
fn filters_that_place_keys_differently_are_not_united() {
    let of = |layout, bits, items, seed| {
        let builder = BloomFilter::builder().layout(layout).bits(bits);
        builder.items(items).seed(seed).build().unwrap()
    };
    let mut filter = of(Layout::Standard, 5120, 500, 1);
    let before = filter.clone();
    for (other, expected) in [
        (
            of(Layout::Blocked, 5120, 500, 1),
            "expected a filter of the standard layout, found blocked",
        ),
        (
            of(Layout::Standard, 6144, 500, 1),
            "expected a filter of 5120 bits, found 6144",
        ),
        (
            of(Layout::Standard, 5120, 300, 1),
            "expected a filter that sets 7 bits per key, found 12",
        ),
        (
            of(Layout::Standard, 5120, 500, 2),
            "expected a filter of seed 0x1, found 0x2",
        ),
    ] {
        let found: Mismatch = filter.union(&other).unwrap_err();
        assert_eq!(found.to_string(), expected);
        assert_eq!(filter, before);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let new = BloomFilter::builder;
    for rate in [0.0, 1.0, -0.1, 7.0, f64::NAN, f64::INFINITY] {
        let error = BloomFilter::with_rate(10, rate).unwrap_err();
        assert!(matches!(error, BuildError::Rate { .. }), "{rate}");
        assert!(ScalableBloomFilter::with_rate(10, rate).is_err());
        assert!(SplitBlockFilter::with_rate(10, rate).is_err());
        assert!(AtomicBloomFilter::with_rate(10, rate).is_err());
    }
    let error = |builder: BloomBuilder| builder.build().unwrap_err();
    assert_eq!(error(new()), BuildError::Unsized);
    assert_eq!(error(new().rate(0.1)), BuildError::Unsized);
    assert_eq!(
        error(new().items(1).rate(0.1).bits(9)),
        BuildError::RateAndBits
    );
    assert_eq!(
        error(new().bits(512).layout(Layout::Standard)),
        BuildError::HashesUnknown
    );
    assert!(matches!(
        error(new().items(1000).rate(0.01).max_bytes(1000)),
        BuildError::OverMaxBytes { .. }
    ));
    assert!(matches!(
        error(new().bits(u64::MAX)),
        BuildError::OutOfMemory { .. } | BuildError::TooLarge { .. }
    ));
    assert!(SplitBlockFilter::with_blocks(1 << 32).is_err());
    let rotating = RotatingBloomFilter::builder().items(10).rate(0.01);
    assert!(rotating.clone().generations(1).build().is_err());
    assert!(rotating.clone().generations(65).build().is_err());
    assert!(rotating.rate(0.0).build().is_err());
}

#[test]
fn no_items_are_one_item() {
    let mut filter = BloomFilter::with_rate(0, 0.01).unwrap();
    assert!(filter.insert("a") && filter.contains("a"));
}

#[test]
fn a_seed_changes_every_place() {
    let of = |seed| {
        let mut filter = builder(Layout::Blocked, 1 << 20, seed).build().unwrap();
        (0..1000u64).for_each(|key| {
            filter.insert(&key);
        });
        filter
    };
    let (plain, seeded) = (of(0), of(1));
    assert_ne!(plain, seeded);
    assert_eq!(seeded.seed(), 1);
    let hash = 7u64.stable_hash(1);
    assert!(seeded.contains_hash(hash) && !plain.contains_hash(hash));
}

#[test]
fn a_growing_filter_stays_within_its_bound_and_says_that_it_is_full() {
    let builder = BloomFilter::builder().items(100).rate(0.01);
    let mut filter = builder.max_bytes(10_000).build_scalable().unwrap();
    assert!(!filter.is_saturated());
    for key in 0..50_000u64 {
        filter.insert(&key);
        assert!(filter.contains(&key));
        assert!(filter.bits() / 8 <= 10_000);
    }
    assert!(filter.is_saturated());
    assert!(filter.current_rate() > 0.01);
    assert!((0..50_000u64).all(|key| filter.contains(&key)));
}
