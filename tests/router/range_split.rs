//! Ranges of keys: one that gets more than its share is split, and nobody else notices.

use std::collections::BTreeMap;

use crate::nodes::{Zipf, name, names, of};
use proptest::prelude::*;
use tenfold::rng::Rng;
use tenfold::router::placement::{RangePiece, RangeSplit, Ranges};
use tenfold::router::{Node, Policy, Topology, TopologyError};

fn ranges(ranges: Ranges, nodes: usize) -> Topology {
    let builder = Topology::builder().nodes(names(nodes));
    builder.policy(Policy::Range(ranges)).build().unwrap()
}

fn apply(topology: &Topology, split: &RangeSplit) -> Topology {
    assert_eq!(split.epoch(), topology.epoch());
    let policy = Policy::Range(split.ranges().clone());
    topology.edit().policy(policy).build().unwrap()
}

/// The load of the fullest node over the mean.
fn fullest(topology: &Topology, keys: impl Iterator<Item = u64>) -> f64 {
    let mut loads = vec![0.0; topology.node_bound()];
    let mut total = 0.0;
    for key in keys {
        loads[topology.route(key).index()] += 1.0;
        total += 1.0;
    }
    loads.iter().copied().fold(0.0, f64::max) * loads.len() as f64 / total
}

/// Keys that crowd towards the end of what there is.
fn crowded(seed: u64) -> impl Iterator<Item = u64> {
    let mut rng = Rng::with_seed(seed);
    std::iter::repeat_with(move || 100_000 - rng.below(100) * rng.below(100))
}

#[test]
fn a_range_with_too_much_is_cut_into_fair_pieces_for_the_lightest() {
    let months = Ranges::all("node-0").split(30_000_u64, "node-1");
    let before = ranges(months.split(60_000_u64, "node-2"), 8);
    assert!(fullest(&before, crowded(1).take(10_000)) > 7.9);
    let split = before
        .propose_split(crowded(2).take(4000))
        .unwrap()
        .unwrap();
    assert_eq!(
        (split.node(), split.share(), split.fair_share()),
        ("node-2", 1.0, 0.125)
    );
    assert!(!split.is_in_order());
    assert_eq!(split.pieces().len(), 8);
    assert_eq!(split.pieces()[0].node(), "node-2");
    let from: Vec<_> = split
        .pieces()
        .iter()
        .map(|piece| piece.from().to_vec())
        .collect();
    assert_eq!(from[0], 60_000_u64.to_be_bytes());
    assert!(from.is_sorted());
    assert!(split.pieces().iter().all(|piece| piece.share() < 0.14));
    let after = apply(&before, &split);
    assert!(fullest(&after, crowded(3).take(20_000)) < 1.2, "{split}");
    // And then all is well.
    assert_eq!(after.propose_split(crowded(4).take(4000)).unwrap(), None);
    let text = split.to_string();
    assert!(
        text.contains("on node-2 are 100.0 % of all, its share is 12.5 %"),
        "{text}"
    );
}

#[test]
fn pieces_go_to_who_has_least_for_its_weight() {
    let nodes = [("big", 6), ("busy", 1), ("idle", 1)];
    let nodes = nodes.map(|(name, weight)| Node::new(name).weight(weight));
    let own = Ranges::all("busy")
        .split(1000_u64, "idle")
        .split(2000_u64, "big");
    let topology = Topology::builder()
        .nodes(nodes)
        .policy(Policy::Range(own.clone()));
    let topology = topology.build().unwrap();
    // "busy" has three of ten, one of eight is fair.
    let sample = (0..10_000_u64).map(|n| n * 7919 % 1000 + if n % 10 < 3 { 0 } else { 5000 });
    let split = topology.propose_split(sample).unwrap().unwrap();
    let pieces: Vec<_> = split.pieces().iter().map(RangePiece::node).collect();
    // 0.1 each: "idle" takes one, and with another "big" has 0.8 of 0.75, which is less than twice.
    assert_eq!(
        (split.node(), pieces),
        ("busy", vec!["busy", "idle", "big"])
    );
    // What lies elsewhere stays elsewhere.
    assert_eq!(split.ranges().node_of(1000_u64), "idle");
    assert_eq!(split.ranges().node_of(9999_u64), "big");
}

#[test]
fn a_tail_that_grows_is_handed_on_without_moving_anything() {
    let topology = ranges(Ranges::all("node-0").split(5000_u64, "node-1"), 4);
    // Timestamps, a little out of order.
    let mut rng = Rng::with_seed(1);
    let sample: Vec<u64> = (0..4000)
        .map(|n| 10_000 + n * 10 + rng.below(100))
        .collect();
    let newest = *sample.iter().max().unwrap();
    let split = topology
        .propose_split(sample.iter().copied())
        .unwrap()
        .unwrap();
    assert!(split.is_in_order());
    assert!(split.to_string().contains("only another key spreads them"));
    let after = apply(&topology, &split);
    assert!((0..=newest).all(|key| after.route(key) == topology.route(key)));
    assert!(["node-2", "node-3", "node-0"].contains(&&*name(&after, after.route(newest + 1))));
    assert_ne!(after.route(newest + 1), topology.route(newest + 1));
}

#[test]
fn what_needs_no_split_gets_none() {
    let topology = ranges(Ranges::all("node-0").split(500_u64, "node-1"), 2);
    let none = |sample: Vec<u64>| topology.propose_split(sample).unwrap().is_none();
    assert!(none(Vec::new()));
    assert!(none((0..1000).collect()), "even");
    assert!(none(vec![7; 5000]), "one key cannot be cut");
    assert!(none((0..19).collect()), "too few to tell");
    assert!(!none((0..20).map(|n| n * 7 % 20).collect()));
    assert_eq!(
        of(Policy::Balanced, 2).propose_split([1_u64]).unwrap_err(),
        TopologyError::NotRanges { policy: "balanced" }
    );
}

#[test]
fn a_celebrity_in_a_range_gets_a_piece_of_its_own() {
    let topology = ranges(Ranges::all("node-0"), 4);
    let mut rng = Rng::with_seed(1);
    let mut sample = || match rng.below(2) {
        0 => 500,
        _ => rng.below(1000),
    };
    let sample: Vec<u64> = std::iter::repeat_with(&mut sample).take(4000).collect();
    let split = topology.propose_split(sample).unwrap().unwrap();
    let after = apply(&topology, &split);
    let vip = after.route(500_u64);
    let alone = (0..1000_u64).filter(|key| after.route(*key) == vip).count();
    assert!(alone < 10, "{split}");
}

#[test]
fn ranges_are_divided_assigned_and_merged() {
    let ranges = Ranges::all("a").divide("m", "b").unwrap();
    let at = |key: &str| TopologyError::Boundary {
        at: format!("{key:?}"),
    };
    assert_eq!(ranges.clone().divide("m", "c").unwrap_err(), at("m"));
    let assigned = ranges.clone().assign("zebra", "c");
    assert_eq!(assigned, Ranges::all("a").split("m", "c"));
    assert_eq!(
        [assigned.node_of("lion"), assigned.node_of("m")],
        ["a", "c"]
    );
    assert_eq!(
        ranges.clone().merge("n").unwrap_err(),
        TopologyError::NoBoundary { at: "\"n\"".into() }
    );
    assert_eq!(ranges.merge("m").unwrap(), Ranges::all("a"));
}

proptest! {
    #[test]
    fn a_split_concerns_no_key_outside_and_a_merge_undoes_it(
        bounds in prop::collection::btree_map(1..200_u8, 0..6_usize, 0..10),
        at in 1..200_u8,
        node in 0..6_usize,
    ) {
        let node = format!("node-{node}");
        // The model: each key's owner by itself.
        let mut owners: BTreeMap<u8, String> = (0..=u8::MAX).map(|key| (key, "node-0".into())).collect();
        let mut ranges = Ranges::all("node-0");
        for (&from, owner) in &bounds {
            ranges = ranges.split(from, format!("node-{owner}"));
            owners.range_mut(from..).for_each(|(_, name)| *name = format!("node-{owner}"));
        }
        let whole = ranges.clone();
        let Ok(divided) = ranges.divide(at, &*node) else {
            prop_assert!(bounds.contains_key(&at));
            return Ok(());
        };
        let end = bounds.range(at..).next().map_or(u8::MAX, |(end, _)| end - 1);
        owners.range_mut(at..=end).for_each(|(_, name)| name.clone_from(&node));
        let topology = self::ranges(divided.clone(), 6);
        for (key, owner) in &owners {
            prop_assert_eq!(divided.node_of(*key), owner);
            prop_assert_eq!(&name(&topology, topology.route(*key)), owner);
        }
        prop_assert_eq!(divided.merge(at).unwrap(), whole);
    }

    #[test]
    fn a_proposal_concerns_no_key_outside_of_its_range(
        bounds in prop::collection::btree_set(1..2000_u64, 0..6),
        seed: u64,
        middle in 0..2000_u64,
    ) {
        let number = |at: usize| format!("node-{}", at % 5);
        let starts = bounds.iter().enumerate();
        let ranges = starts.fold(Ranges::all("node-4"), |all, (at, from)| all.split(*from, number(at)));
        let before = self::ranges(ranges.clone(), 5);
        let offsets = Zipf::new(300);
        let sample = offsets.stream(seed).take(500).map(|offset| (middle + offset * 7) % 2000);
        let Some(split) = before.propose_split(sample).unwrap() else { return Ok(()) };
        let after = apply(&before, &split);
        let (from, to) = split.range();
        for key in 0..2100_u64 {
            let bytes = key.to_be_bytes();
            let inside = *from <= bytes[..] && to.is_none_or(|to| bytes[..] < *to);
            prop_assert!(inside || before.route(key) == after.route(key));
        }
        let sum: f64 = split.pieces().iter().map(RangePiece::share).sum();
        prop_assert!((sum - split.share()).abs() < 1e-9);
        // Merged again, it is what it was.
        let bounds = split.pieces()[1..].iter();
        let merged = bounds.fold(split.ranges().clone(), |all, piece| all.merge(piece.from()).unwrap());
        prop_assert_eq!(merged, ranges);
    }
}
