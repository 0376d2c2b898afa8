//! What is said about single keys: pinned, copied, split. Whoever is not meant
//! must not notice.

use std::collections::{BTreeMap, BTreeSet};

use crate::nodes::{HISTORY_FREE, name, names, of};
use proptest::prelude::*;
use tenfold::hash::{CanonicalBytes, StableKey};
use tenfold::router::placement::{Directory, Ketama, Ranges};
use tenfold::router::{
    DecodeError, Loads, MAX_OVERRIDES, Move, Node, NodeId, Override, Plan, Policy, Router, Salted,
    Span, Spread, Topology, TopologyBuilder, TopologyError, parts_for,
};

/// All but Redis Cluster, on nodes named "node-0" to "node-5" at least.
fn policies() -> impl Iterator<Item = Policy> {
    let ranges = Ranges::all("node-0").split(100_u64, "node-1");
    let ranges = ranges.split(200_u64, "node-2").split(1000_u64, "node-5");
    let directory = Directory::new().assign(0..9000, "node-3");
    let directory = directory.assign(9000..1 << 14, "node-4");
    HISTORY_FREE.into_iter().chain([
        Policy::Balanced,
        Policy::Jump,
        Policy::Range(ranges),
        Policy::Directory(directory),
        Policy::Ketama(Ketama::Nginx),
    ])
}

#[test]
fn a_pinned_key_goes_to_its_node_and_all_others_stay() {
    for policy in policies() {
        for copies in [1, 3] {
            let before = of(policy.clone(), 6).edit().replicas(copies);
            let before = before.build().unwrap();
            let after = before.edit().pin(7_u64, "node-5").pin(400_u64, "node-0");
            let after = after.build().unwrap();
            let router = Router::new(after.clone());
            let (vip, first) = (after.id_of("node-5"), after.id_of("node-0"));
            for key in 0..20_000_u64 {
                let (home, rows) = (before.route(key), before.replicas(key));
                let expected = match key {
                    7 => vip.unwrap(),
                    400 => first.unwrap(),
                    _ => home,
                };
                assert_eq!(after.route(key), expected, "{policy}: key {key}");
                assert_eq!(router.route(key), expected, "{policy}: key {key}");
                assert_eq!(router.replicas(key), after.replicas(key));
                assert_eq!(after.replicas(key)[0], expected);
                assert_eq!(after.slot_of(key), before.slot_of(key));
                if ![7, 400].contains(&key) {
                    assert_eq!(after.replicas(key), rows);
                }
            }
            assert!(
                (0..before.slots())
                    .all(|slot| { after.owner_of_slot(slot) == before.owner_of_slot(slot) })
            );
        }
    }
}

#[test]
fn a_key_that_only_shares_its_slot_is_not_pinned() {
    let topology = of(Policy::Balanced, 6).edit().pin(7_u64, "node-5");
    let topology = topology.build().unwrap();
    let router = Router::new(topology.clone());
    let slot = topology.slot_of(7_u64);
    let mut neighbours = (8_u64..).filter(|key| topology.slot_of(key) == slot);
    let home = topology.owner_of_slot(slot.unwrap()).unwrap();
    for key in neighbours.by_ref().take(20) {
        assert_eq!((router.route(key), topology.route(key)), (home, home));
        assert_eq!(router.part(key, 3), Salted::new(key, 0));
    }
}

/// A key whose hash happens to be that of "celebrity".
struct Collision;

impl StableKey for Collision {
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        bytes.append(b"somebody else");
    }

    fn stable_hash(&self, seed: u64) -> u64 {
        "celebrity".stable_hash(seed)
    }
}

#[test]
fn a_key_that_only_shares_its_hash_is_not_pinned() {
    let before = of(Policy::Balanced, 6);
    let home = before.route("celebrity");
    let other = before.nodes().find(|(id, _)| *id != home).unwrap();
    let after = before
        .edit()
        .pin("celebrity", other.1.name())
        .build()
        .unwrap();
    assert_eq!(after.route("celebrity"), other.0);
    assert_eq!(
        [after.route(Collision), Router::new(after).route(Collision)],
        [home, home]
    );
}

#[test]
fn marks_come_and_go_with_swaps() {
    let first = of(Policy::Balanced, 6);
    let router = Router::new(first.clone());
    let home = name(&first, first.route("celebrity"));
    let other = if home == "node-5" { "node-4" } else { "node-5" };
    for _ in 0..3 {
        let pinned = router.topology().edit().pin("celebrity", other);
        router.swap(pinned.build().unwrap()).unwrap();
        assert_eq!(
            router.topology().name(router.route("celebrity")),
            Some(other)
        );
        let released = router.topology().edit().release("celebrity");
        router.swap(released.build().unwrap()).unwrap();
        assert_eq!(name(&first, router.route("celebrity")), home);
    }
    assert_eq!(router.topology().fingerprint(), first.fingerprint());
}

#[test]
fn copies_of_one_key_begin_with_those_it_had() {
    let zones = (0..6).map(|n| Node::new(format!("node-{n}")).zone(format!("zone-{}", n % 3)));
    let before = Topology::builder().nodes(zones).replicas(3);
    let before = before.distinct_zones(Spread::Require).build().unwrap();
    let after = before.edit().replicate("celebrity", 5).build().unwrap();
    let router = Router::new(after.clone());
    let copies = router.replicas("celebrity");
    assert_eq!(copies.len(), 5);
    assert_eq!(copies[..3], before.replicas("celebrity")[..]);
    assert_eq!(copies.iter().collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(copies[..], after.spread_over("celebrity", 5));
    assert_eq!(copies[..], before.spread_over("celebrity", 5));
    // When every key has more, so has this one.
    let more = of(Policy::Balanced, 6).edit().replicate("celebrity", 2);
    let more = more.replicas(4).build().unwrap();
    assert_eq!(more.replicas("celebrity").len(), 4);
    // A pin keeps the zones of its copies apart.
    for pin in names(6) {
        let pinned = before.edit().pin("celebrity", &*pin).build().unwrap();
        let copies = pinned.replicas("celebrity");
        let zones = copies
            .iter()
            .map(|id| pinned.node(*id).unwrap().zone_name());
        assert_eq!((copies.len(), zones.collect::<BTreeSet<_>>().len()), (3, 3));
        assert_eq!(pinned.name(copies[0]), Some(&*pin));
    }
}

#[test]
fn a_split_celebrity_loads_no_node_beyond_the_promise() {
    for nodes in [2, 3, 5, 10, 33, 100, 300] {
        let whole = of(Policy::Balanced, nodes);
        for percent in [1, 5, 10, 20, 30, 50, 75, 90, 100] {
            let share = f64::from(percent) / 100.0;
            let parts = parts_for(share, nodes);
            let topology = match parts {
                1 => whole.clone(),
                _ => whole.edit().split("celebrity", parts).build().unwrap(),
            };
            // All other keys are as even as slots are.
            let mut loads = vec![0.0; nodes];
            for (id, _) in topology.nodes() {
                let slots = topology.slots_of(id) as f64 / f64::from(topology.slots());
                loads[id.index()] = (1.0 - share) * slots * nodes as f64;
            }
            let found: Vec<_> = topology.parts("celebrity").collect();
            assert_eq!(found.len(), parts as usize);
            for part in found {
                let node = topology.route(part);
                loads[node.index()] += share / f64::from(parts) * nodes as f64;
            }
            let most = loads.iter().copied().fold(0.0, f64::max);
            let rounding = nodes as f64 / f64::from(topology.slots());
            assert!(
                most <= 1.3 + rounding,
                "{percent} % of {nodes}: {most} with {parts} parts"
            );
            // One part fewer would be too few, unless one is the least there is.
            let fewer = (1.0 - share) + share * nodes as f64 / f64::from(parts - 1);
            assert!(parts == 1 || fewer > 1.3, "{percent} % of {nodes}: {parts}");
        }
    }
    assert_eq!(
        [
            parts_for(f64::NAN, 9),
            parts_for(2.0, 9),
            parts_for(-1.0, 9)
        ],
        [1, 7, 1]
    );
}

#[test]
fn a_report_counts_a_split_key_for_its_parts_and_copies_for_their_nodes() {
    let whole = of(Policy::Balanced, 10);
    // A quarter of all requests are for one key.
    let sample = || (0..100_000_u64).map(|n| if n % 4 == 0 { 7 } else { n });
    let report = whole.skew_report(sample());
    assert!(report.max_over_mean() > 2.9, "{report}");
    assert_eq!(report.parts_for_heaviest(), 5);
    let split = whole.edit().split(7_u64, 5).build().unwrap();
    let report = split.skew_report(sample());
    assert!(report.max_over_mean() < 1.32, "{report}");
    let copied = whole.edit().replicate(7_u64, 5).build().unwrap();
    assert!(copied.skew_report(sample()).max_over_mean() < 1.32);
    let home = whole.route(7_u64);
    let other = whole.nodes().find(|(id, _)| *id != home).unwrap();
    let pinned = whole.edit().pin(7_u64, other.1.name()).build().unwrap();
    let load = |topology: &Topology| {
        let report = topology.skew_report(sample());
        report.loads().find(|(id, _)| *id == other.0).unwrap().1
    };
    assert_eq!(load(&pinned), load(&whole) + 25_001);
}

#[test]
fn a_part_more_or_a_node_more_concerns_few_parts() {
    for policy in policies() {
        let base = of(policy.clone(), 30);
        let nodes = |topology: &Topology, parts| -> Vec<String> {
            let split = topology.edit().split(7_u64, parts).build().unwrap();
            let parts = split.parts(7_u64);
            parts.map(|part| name(&split, split.route(part))).collect()
        };
        let many = nodes(&base, 64);
        // As far as there are enough nodes; then in turns.
        assert_eq!(many[..30].iter().collect::<BTreeSet<_>>().len(), 30);
        assert_eq!(many[30..60], many[..30]);
        for parts in [2, 3, 10, 29, 30, 31, 40] {
            assert_eq!(nodes(&base, parts), many[..parts as usize], "{policy}");
        }
        let keeps = !matches!(policy, Policy::Modulo | Policy::Ketama(_));
        if policy.is_history_free() && keeps && !matches!(policy, Policy::Maglev) {
            let more = base.edit().node("another").build().unwrap();
            let (old, new) = (nodes(&base, 12), nodes(&more, 12));
            let moved = old.iter().zip(&new).filter(|(a, b)| a != b).count();
            assert!(moved <= 3, "{policy}: {moved} of 12 moved");
        }
    }
}

#[test]
fn a_salted_key_has_bytes_that_other_programs_can_build() {
    let canonical = |key: &dyn Fn(&mut CanonicalBytes)| {
        let mut bytes = CanonicalBytes::new();
        key(&mut bytes);
        bytes.as_slice().to_vec()
    };
    let part = Salted::new("user:1", 3);
    assert_eq!((part.key(), part.part()), (&"user:1", 3));
    assert_eq!(
        canonical(&|bytes| part.write_canonical(bytes)),
        canonical(&|bytes| ("user:1", "part", 3_u32).write_canonical(bytes)),
    );
    assert_eq!(
        part.stable_hash(0),
        ("user:1", "part", 3_u32).stable_hash(0)
    );
    assert_eq!(Salted::new(5_u64, 0).stable_hash(1), 5_u64.stable_hash(1));
    let ordered = |part| canonical(&|bytes| Salted::new(5_u64, part).write_ordered(bytes));
    assert_eq!(ordered(0), 5_u64.to_be_bytes());
    assert!(ordered(0) < ordered(1) && ordered(1) < ordered(256));
    assert!(ordered(256) < 6_u64.to_be_bytes().to_vec());
}

#[test]
fn what_cannot_be_said_is_refused_and_nothing_changes() {
    let base = of(Policy::Balanced, 6);
    let error = |builder: TopologyBuilder| builder.build().unwrap_err();
    let key = "\"k\"".to_owned();
    assert_eq!(
        error(base.edit().pin("k", "nobody")),
        TopologyError::UnknownNode {
            name: "nobody".into()
        }
    );
    for again in [
        base.edit().pin("k", "node-1").pin("k", "node-2"),
        base.edit().pin("k", "node-1").split("k", 2),
        base.edit().split("k", 2).replicate("k", 2),
    ] {
        assert_eq!(
            error(again),
            TopologyError::OverriddenTwice { key: key.clone() }
        );
    }
    let part = base.edit().split("k", 3).pin(Salted::new("k", 2), "node-1");
    assert!(matches!(error(part), TopologyError::OverriddenTwice { .. }));
    assert_eq!(
        error(base.edit().release("k")),
        TopologyError::NotOverridden { key: key.clone() }
    );
    for found in [0, 1, 1025, u32::MAX] {
        let expected = TopologyError::Parts {
            key: key.clone(),
            found,
            max: 1024,
        };
        assert_eq!(error(base.edit().split("k", found)), expected);
    }
    for found in [0, 1, 9] {
        let expected = TopologyError::Copies {
            key: key.clone(),
            found,
            max: 8,
        };
        assert_eq!(error(base.edit().replicate("k", found)), expected);
    }
    assert_eq!(
        error(base.edit().replicate("k", 7)),
        TopologyError::TooFewNodes {
            replicas: 7,
            nodes: 6
        }
    );
    assert_eq!(
        error(base.edit().pin("x".repeat(1025), "node-1")),
        TopologyError::KeyLength {
            found: 1025,
            max: 1024
        }
    );
    let most = MAX_OVERRIDES as u32;
    let full = base
        .edit()
        .split("k", most - 2)
        .pin("a", "node-1")
        .pin("b", "node-1");
    let full = full.build().unwrap();
    assert_eq!(
        error(full.edit().pin("c", "node-1")),
        TopologyError::TooManyOverrides {
            found: 1025,
            max: 1024
        }
    );
    let redis = of(Policy::RedisCluster(None), 6);
    assert_eq!(
        error(redis.edit().pin("k", "node-1")),
        TopologyError::NoOverrides {
            policy: "redis-cluster"
        }
    );
    // One said under another policy as well.
    let late = full.edit().policy(Policy::RedisCluster(None));
    assert!(matches!(error(late), TopologyError::NoOverrides { .. }));
}

#[test]
fn a_node_that_a_key_is_pinned_to_stays_until_the_key_goes() {
    let pinned = of(Policy::Balanced, 3).edit().pin("k", "node-1");
    let pinned = pinned.build().unwrap();
    let expected = TopologyError::PinnedNode {
        node: "node-1".into(),
        key: "\"k\"".into(),
    };
    assert_eq!(
        expected.to_string(),
        "key \"k\" is pinned to node \"node-1\": release it, or pin it to another"
    );
    assert_eq!(
        pinned.edit().remove("node-1").build().unwrap_err(),
        expected
    );
    let moved = pinned
        .edit()
        .remove("node-1")
        .release("k")
        .pin("k", "node-2");
    let moved = moved.build().unwrap();
    assert_eq!(moved.name(moved.route("k")), Some("node-2"));
    // An exchange keeps the name, and so the pin.
    let new = Node::new("node-1").weight(2);
    let exchanged = pinned.edit().remove("node-1").node(new).build().unwrap();
    assert_eq!(exchanged.name(exchanged.route("k")), Some("node-1"));
}

#[test]
fn a_plan_lists_keys_that_move_by_themselves_and_those_that_stay() {
    let base = of(Policy::Balanced, 4);
    let home = name(&base, base.route("k"));
    let other = if home == "node-2" { "node-1" } else { "node-2" };
    let pinned = base.edit().pin("k", other).build().unwrap();
    let plan = base.plan(&pinned).unwrap();
    let moves: Vec<_> = plan
        .moves()
        .iter()
        .map(|m| (m.span(), m.from(), m.to()))
        .collect();
    assert_eq!(moves, [(&Span::Key(b"k"[..].into()), &*home, other)]);
    assert_eq!(
        (plan.moved_share(), plan.exceptions().len()),
        (Some(0.0), 0)
    );
    assert!(
        plan.to_string()
            .contains(&format!("{home} -> {other}: key \"k\"")),
        "{plan}"
    );
    // Its range goes, it stays.
    let gone = pinned.edit().remove(&*home).build().unwrap();
    let plan = pinned.plan(&gone).unwrap();
    assert!(
        plan.moves()
            .iter()
            .all(|m| matches!(m.span(), Span::Hashes(_)))
    );
    assert_eq!(plan.exceptions().collect::<Vec<_>>(), [b"k"]);
    assert!(plan.to_string().contains("stays: key \"k\""), "{plan}");
    // And back again.
    let back = pinned.plan(&base).unwrap();
    assert_eq!(
        (back.moves()[0].from(), back.moves()[0].to()),
        (other, &*home)
    );
}

/// Where plans say that a key goes, from the old topology's answer.
fn planned(plan: &Plan, old: &Topology, key: &[u8]) -> String {
    let before = name(old, old.route(key));
    let single = |part: &&Move| matches!(part.span(), Span::Key(bytes) if **bytes == *key);
    let within = |part: &&Move| {
        let Span::Hashes(range) = part.span() else {
            return false;
        };
        range.contains(&key.stable_hash(0))
    };
    if let Some(part) = plan.moves().iter().find(single) {
        assert_eq!(part.from(), before);
        return part.to().to_owned();
    }
    if plan.exceptions().any(|stays| stays == key) {
        return before;
    }
    let part = plan.moves().iter().find(within);
    part.map_or(before, |part| part.to().to_owned())
}

fn said() -> impl Strategy<Value = Override> {
    prop_oneof![
        (0..6_usize).prop_map(|node| Override::Pin(format!("node-{node}").into())),
        (2..6_usize).prop_map(Override::Replicate),
        (2..9_u32).prop_map(Override::Split),
    ]
}

fn with(builder: TopologyBuilder, key: u8, what: &Override) -> TopologyBuilder {
    match what {
        Override::Pin(node) => builder.pin(key, node.clone()),
        Override::Replicate(copies) => builder.replicate(key, *copies),
        Override::Split(parts) => builder.split(key, *parts),
        _ => unreachable!("no other is made here"),
    }
}

proptest! {
    /// A topology with overrides is a look-up in a map, and the topology without.
    #[test]
    fn a_topology_with_overrides_is_a_map_before_one_without(
        policy in prop::sample::select(policies().collect::<Vec<_>>()),
        said in prop::collection::btree_map(0..40_u8, said(), 0..8),
        copies in 1..5_usize,
    ) {
        // Keys of one byte are all in one of these ranges: others follow.
        let base = of(policy, 6).edit().replicas(copies).build().unwrap();
        let builder = said.iter().fold(base.edit(), |edit, (key, what)| with(edit, *key, what));
        let topology = builder.build().unwrap();
        let router = Router::new(topology.clone());
        let idle = Loads::new(&topology);
        for key in 0..50_u8 {
            let rows = topology.replicas(key);
            match said.get(&key) {
                None => {
                    prop_assert_eq!(rows, base.replicas(key));
                    prop_assert_eq!(topology.parts(key).count(), 1);
                    prop_assert_eq!(topology.spread_over(key, 5), base.spread_over(key, 5));
                }
                Some(Override::Pin(node)) => {
                    prop_assert_eq!(topology.name(rows[0]), Some(&**node));
                    prop_assert_eq!(rows.len(), copies);
                }
                Some(Override::Replicate(more)) => {
                    prop_assert_eq!(rows.len(), copies.max(*more));
                    prop_assert_eq!(&rows[..copies], &base.replicas(key)[..]);
                }
                Some(Override::Split(parts)) => {
                    prop_assert_eq!(rows, base.replicas(key));
                    let nodes: Vec<_> = topology.parts(key).map(|part| topology.route(part)).collect();
                    prop_assert_eq!(nodes.len(), *parts as usize);
                    let distinct = nodes.iter().collect::<BTreeSet<_>>().len();
                    prop_assert_eq!(distinct, nodes.len().min(6));
                    prop_assert_eq!(&nodes[..distinct], topology.spread_over(key, distinct));
                    for (part, &node) in topology.parts(key).zip(&nodes) {
                        prop_assert_eq!(router.route(part), node);
                        prop_assert_eq!(router.part(key, u64::from(part.part())), part);
                        prop_assert_eq!(topology.part(key, u64::from(part.part() + 3 * parts)), part);
                    }
                }
                _ => unreachable!(),
            }
            prop_assert_eq!(topology.override_of(key), said.get(&key));
            prop_assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
            let home = rows[0];
            prop_assert_eq!((topology.route(key), router.route(key)), (home, home));
            prop_assert_eq!(router.replicas(key), rows);
            prop_assert_eq!(topology.route_bounded(key, &idle, 1.25), home);
            prop_assert_eq!(&topology.spread_over(key, rows.len())[..], &rows[..]);
            // Its copies come first, then everyone.
            let mut refused: Vec<NodeId> = Vec::new();
            while let Some(id) = topology.route_where(key, |id| !refused.contains(&id)) {
                refused.push(id);
            }
            prop_assert_eq!(&refused[..rows.len()], &rows[..]);
            prop_assert_eq!(refused.len(), 6);
        }
        let mut many = Vec::new();
        topology.route_many(0..50_u8, &mut many);
        prop_assert!((0..50_u8).map(|key| topology.route(key)).eq(many.iter().copied()));
        let groups = router.group_by_node(0..50_u8);
        for (node, keys) in groups.iter() {
            prop_assert!(keys.iter().all(|&key| many[key as usize] == node));
        }
        // Written down, read back, and taken back.
        let bytes = topology.to_bytes();
        prop_assert_eq!(bytes[8], if said.is_empty() { 1 } else { 2 });
        let back = Topology::from_bytes(&bytes).unwrap();
        prop_assert_eq!(back.to_bytes(), bytes);
        prop_assert_eq!(back.fingerprint(), topology.fingerprint());
        prop_assert_eq!(topology.fingerprint() == base.fingerprint(), said.is_empty());
        for key in 0..50_u8 {
            prop_assert_eq!(back.replicas(key), topology.replicas(key));
            prop_assert_eq!(back.override_of(key), said.get(&key));
        }
        let released = said.keys().fold(topology.edit(), |edit, key| edit.release(*key));
        let released = released.epoch(base.epoch()).build().unwrap();
        prop_assert_eq!(released.to_bytes(), base.to_bytes());
    }

    #[test]
    fn plans_with_overrides_say_where_every_key_goes(
        before in prop::collection::btree_map(0..20_u8, said(), 0..6),
        after in prop::collection::btree_map(0..20_u8, said(), 0..6),
        grow: bool,
    ) {
        let base = of(Policy::Balanced, 6);
        let build = |edit, said: &BTreeMap<u8, Override>| {
            let edit = said.iter().fold(edit, |edit, (key, what)| with(edit, *key, what));
            edit.build().unwrap()
        };
        let old = build(base.edit(), &before);
        let edit = if grow { base.edit().node("more") } else { base.edit() };
        let new = build(edit, &after);
        let plan = old.plan(&new).unwrap();
        for key in 0..30_u8 {
            for part in 0..8 {
                let mut bytes = CanonicalBytes::new();
                Salted::new(key, part).write_canonical(&mut bytes);
                let key = bytes.as_slice();
                prop_assert_eq!(planned(&plan, &old, key), name(&new, new.route(key)));
            }
        }
    }
}

#[test]
fn bytes_with_senseless_overrides_are_refused() {
    let good = of(Policy::Balanced, 3)
        .edit()
        .pin("a", "node-1")
        .split("b", 4);
    let good = good.build().unwrap().to_bytes();
    let end = good.len() - 8;
    let sealed = |mut bytes: Vec<u8>| {
        let checksum = bytes.stable_hash(0);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Topology::from_bytes(&bytes)
    };
    assert!(sealed(good[..end].to_vec()).is_ok());
    // The section: its number, its length, then "a" pinned and "b" split.
    let first = [1, 0, 0, 0, b'a', 0, 0, 6, 0].len() + 6;
    let second = [1, 0, 0, 0, b'b', 0, 2, 4, 0, 0, 0].len();
    let begin = end - first - second - 5;
    assert_eq!((good[begin], good[begin + 1]), (1, (first + second) as u8));
    let changed = |at: usize, to: u8| {
        let mut bytes = good[..end].to_vec();
        bytes[at] = to;
        sealed(bytes)
    };
    let malformed =
        |found: Result<Topology, DecodeError>| matches!(found, Err(DecodeError::Malformed { .. }));
    assert!(malformed(changed(begin, 9)), "an unknown section");
    assert!(malformed(changed(begin + 1, 3)), "a section too short");
    assert!(malformed(changed(begin + 9, b'c')), "keys in no order");
    assert!(malformed(changed(begin + 11, 7)), "an unknown override");
    assert!(matches!(
        changed(end - 4, 1),
        Err(DecodeError::Invalid(TopologyError::Parts { .. }))
    ));
    assert!(matches!(
        changed(begin + 5 + first - 1, b'7'),
        Err(DecodeError::Invalid(TopologyError::UnknownNode { .. }))
    ));
    let mut nothing = good[..begin].to_vec();
    nothing.extend_from_slice(&[1, 0, 0, 0, 0]);
    assert!(malformed(sealed(nothing)), "a section of nothing");
}
