//! The router from the outside: balance, moves, copies, mistakes, swaps.

use std::collections::{BTreeMap, BTreeSet};

use crate::nodes::{HISTORY_FREE, name, names, of, owners};
use tenfold::hash::StableKey;
use tenfold::router::placement::{Directory, Ketama, Ranges};
use tenfold::router::{
    MAX_NODES, Node, Policy, Router, Spread, StaleTopology, SwapError, Topology, TopologyError,
};

/// The share of keys that lie elsewhere.
fn moved(old: &Topology, new: &Topology, keys: u64) -> f64 {
    let moved = (0..keys).filter(|&key| name(old, old.route(key)) != name(new, new.route(key)));
    moved.count() as f64 / keys as f64
}

/// Keys of the fullest node over the mean.
fn max_to_mean(topology: &Topology, keys: u64) -> f64 {
    let mut counts = vec![0_u64; topology.node_bound()];
    (0..keys).for_each(|key| counts[topology.route(key).index()] += 1);
    *counts.iter().max().unwrap() as f64 * topology.nodes().len() as f64 / keys as f64
}

#[test]
fn slots_are_the_top_bits_of_the_hash() {
    let (small, large) = (of(Policy::Balanced, 3), {
        let builder = Topology::builder().nodes(names(3)).slots(1 << 16);
        builder.build().unwrap()
    });
    for (key, of_14_bits, of_16_bits) in [
        ("", 2881, 11_526),
        ("abc", 7723, 30_895),
        ("123456789", 7351, 29_404),
        ("user:1000", 16_090, 64_360),
        ("tenant:7", 15_094, 60_379),
        ("key:1", 12_235, 48_941),
    ] {
        assert_eq!(small.slot_of(key), Some(of_14_bits), "{key}");
        assert_eq!(large.slot_of(key), Some(of_16_bits), "{key}");
    }
    for (key, of_14_bits, of_16_bits) in [
        (1_u64, 3055, 12_220),
        (42, 13_673, 54_694),
        (u64::MAX, 5188, 20_753),
    ] {
        assert_eq!(small.slot_of(key), Some(of_14_bits), "{key}");
        assert_eq!(large.slot_of(key), Some(of_16_bits), "{key}");
    }
}

#[test]
fn modulo_moves_four_fifths_and_balanced_one_fifth() {
    for (policy, expected) in [(Policy::Modulo, 0.8), (Policy::Balanced, 0.2)] {
        let four = of(policy.clone(), 4);
        let five = four.edit().node("node-4").build().unwrap();
        let moved = moved(&four, &five, 100_000);
        assert!((moved - expected).abs() < 0.01, "{policy}: {moved}");
    }
}

#[test]
fn adding_and_removing_a_node_moves_its_share_and_no_more() {
    for count in [10, 100, 1000] {
        let before = of(Policy::Balanced, count);
        let slots = f64::from(before.slots());
        let added = before.edit().node("new").build().unwrap();
        // Exactly the new node's slots, and those are its share to within one.
        let differ = |a: &Topology, b: &Topology| {
            let (a, b) = (owners(a), owners(b));
            a.iter().zip(&b).filter(|(a, b)| a != b).count()
        };
        let new = added.slots_of(added.id_of("new").unwrap());
        assert_eq!(differ(&before, &added), new);
        assert!((new as f64 - slots / (count + 1) as f64).abs() < 1.0);

        let middle = format!("node-{}", count / 2);
        let removed = before.edit().remove(&*middle).build().unwrap();
        let held = before.slots_of(before.id_of(&middle).unwrap());
        assert_eq!(differ(&before, &removed), held);
    }
}

#[test]
fn balanced_shares_differ_by_the_noise_of_keys_alone() {
    // The most of n binomial counts, from a hash without a table.
    for count in [10_usize, 100, 1000] {
        let keys = 1_000_000;
        let mut plain = vec![0_u64; count];
        (0..keys).for_each(|key: u64| {
            let bucket = (u128::from(key.stable_hash(0)) * count as u128) >> 64;
            plain[bucket as usize] += 1;
        });
        let noise = *plain.iter().max().unwrap() as f64 * count as f64 / keys as f64;
        let found = max_to_mean(&of(Policy::Balanced, count), keys);
        let tolerance = 0.01 + 2.0 * (count as f64 / keys as f64).sqrt() * 0.5;
        assert!(
            found < noise + tolerance,
            "{count} nodes: {found}, noise {noise}"
        );
    }
}

#[test]
fn weights_are_kept_to_the_percent() {
    let weighted = |policy| {
        let nodes = [("a", 1), ("b", 2), ("c", 7)];
        let nodes = nodes.map(|(name, weight)| Node::new(name).weight(weight));
        Topology::builder()
            .nodes(nodes)
            .policy(policy)
            .build()
            .unwrap()
    };
    for policy in [Policy::Balanced, Policy::Maglev, Policy::RedisCluster(None)] {
        let topology = weighted(policy.clone());
        for (name, share) in [("a", 0.1), ("b", 0.2), ("c", 0.7)] {
            let slots = topology.slots_of(topology.id_of(name).unwrap()) as f64;
            let found = slots / f64::from(topology.slots());
            assert!(
                (found / share - 1.0).abs() < 0.01,
                "{policy}, {name}: {found}"
            );
        }
    }
    // Dealt out at random, and so is their error.
    for policy in [Policy::Rendezvous, Policy::Ring { vnodes: 400 }] {
        let topology = weighted(policy.clone());
        for (name, share) in [("a", 0.1), ("b", 0.2), ("c", 0.7)] {
            let slots = topology.slots_of(topology.id_of(name).unwrap()) as f64;
            let found = slots / f64::from(topology.slots());
            assert!(
                (found / share - 1.0).abs() < 0.15,
                "{policy}, {name}: {found}"
            );
        }
    }
}

#[test]
fn history_free_policies_move_only_to_and_from_the_changed_node() {
    for policy in [
        Policy::Rendezvous,
        Policy::Ring { vnodes: 40 },
        Policy::Jump,
    ] {
        let before = of(policy.clone(), 20);
        let added = before.edit().node("new").build().unwrap();
        for (old, new) in owners(&before).iter().zip(&owners(&added)) {
            assert!(new == old || new == "new", "{policy}");
        }
        let removed = before.edit().remove("node-7").build().unwrap();
        for (old, new) in owners(&before).iter().zip(&owners(&removed)) {
            assert!(new == old || old == "node-7", "{policy}");
        }
        let heavier = before.edit().update(Node::new("node-7").weight(3)).build();
        match heavier {
            Ok(heavier) => {
                for (old, new) in owners(&before).iter().zip(&owners(&heavier)) {
                    assert!(new == old || new == "node-7", "{policy}");
                }
            }
            Err(error) => assert_eq!(error, TopologyError::Unweighted { policy: "jump" }),
        }
    }
}

#[test]
fn a_bucket_of_jump_is_taken_over_by_who_comes_next() {
    let before = of(Policy::Jump, 10);
    let without = before.edit().remove("node-3").build().unwrap();
    let replaced = without.edit().node("another").build().unwrap();
    for (old, new) in owners(&before).iter().zip(&owners(&replaced)) {
        let expected = if old == "node-3" { "another" } else { old };
        assert_eq!(new, expected);
    }
}

/// Slots that land in empty buckets jump again, and when nearly all are empty that took
/// minutes: a fleet that is scaled down hung whoever edited it, and whoever read its bytes.
#[test]
fn jump_shrinks_from_thousands_of_nodes_to_a_few() {
    let many = of(Policy::Jump, 2000);
    let edit = (3..2000).fold(many.edit(), |edit, n| edit.remove(format!("node-{n}")));
    let few = edit.build().unwrap();
    for (_, node) in few.nodes() {
        let share = few.slots_of(few.id_of(node.name()).unwrap()) as f64 / f64::from(few.slots());
        assert!((share - 1.0 / 3.0).abs() < 0.01, "{share}");
    }
    let two = few.edit().remove("node-1").build().unwrap();
    let four = few.edit().node("new").build().unwrap();
    let (before, without, with) = (owners(&few), owners(&two), owners(&four));
    for slot in 0..before.len() {
        assert!(without[slot] == before[slot] || before[slot] == "node-1");
        assert!(with[slot] == before[slot] || with[slot] == "new");
    }
    let back = Topology::from_bytes(&few.to_bytes()).unwrap();
    assert_eq!(owners(&back), before);
}

#[test]
fn maglev_is_even_and_nearly_minimal() {
    let before = of(Policy::Maglev, 10);
    assert_eq!(before.slots(), 65_537);
    let counts: Vec<_> = before.nodes().map(|(id, _)| before.slots_of(id)).collect();
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    let removed = before.edit().remove("node-3").build().unwrap();
    let moved = moved(&before, &removed, 100_000);
    assert!((0.1..0.2).contains(&moved), "{moved}");
}

#[test]
fn the_order_of_insertion_does_not_matter() {
    for policy in HISTORY_FREE
        .into_iter()
        .chain([Policy::Balanced, Policy::Jump])
    {
        let forth = of(policy.clone(), 20);
        let mut back: Vec<_> = names(20).collect();
        back.reverse();
        let back = Topology::builder()
            .nodes(back)
            .policy(policy.clone())
            .build()
            .unwrap();
        assert_eq!(forth.to_bytes(), back.to_bytes(), "{policy}");
    }
    for policy in HISTORY_FREE {
        let grown = of(policy.clone(), 19)
            .edit()
            .node("node-19")
            .build()
            .unwrap();
        assert_eq!(owners(&grown), owners(&of(policy.clone(), 20)), "{policy}");
        assert_eq!(grown.fingerprint(), of(policy, 20).fingerprint());
    }
}

#[test]
fn doubling_the_slots_moves_no_key() {
    let before = Topology::builder()
        .nodes(names(7))
        .replicas(1)
        .build()
        .unwrap();
    let doubled = before.edit().slots(before.slots() * 2).build().unwrap();
    let eight_times = doubled.edit().slots(before.slots() * 8).build().unwrap();
    for key in 0..50_000_u64 {
        assert_eq!(before.route(key), doubled.route(key));
        assert_eq!(before.route(key), eight_times.route(key));
    }
    // The next edit evens out what doubling left as it was.
    let evened = eight_times.edit().build().unwrap();
    let counts: Vec<_> = evened.nodes().map(|(id, _)| evened.slots_of(id)).collect();
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    let halved = before.edit().slots(8192).build();
    assert_eq!(
        halved.unwrap_err(),
        TopologyError::FewerSlotsThanBefore {
            have: 16_384,
            found: 8192
        }
    );
}

#[test]
fn a_table_that_gets_too_small_grows_by_itself() {
    let mut topology = of(Policy::Balanced, 160);
    assert_eq!(topology.slots(), 16_384);
    for number in 160..170 {
        let next = topology
            .edit()
            .node(format!("node-{number}"))
            .build()
            .unwrap();
        let moved = moved(&topology, &next, 20_000);
        assert!(moved < 2.0 / f64::from(number), "{moved}");
        topology = next;
    }
    assert_eq!(topology.slots(), 32_768);
}

#[test]
fn copies_are_distinct_and_begin_with_the_owner() {
    for policy in HISTORY_FREE.into_iter().chain([
        Policy::Balanced,
        Policy::Jump,
        Policy::RedisCluster(None),
        Policy::Ketama(Ketama::Nginx),
        Policy::Range(Ranges::all("node-0").split(1000_u64, "node-1")),
    ]) {
        for copies in [2, 3, 5, 8] {
            let builder = Topology::builder().nodes(names(8)).policy(policy.clone());
            let topology = builder.replicas(copies).build().unwrap();
            let router = Router::new(topology.clone());
            for key in 0..2000_u64 {
                let row = topology.replicas(key);
                assert_eq!(row[0], topology.route(key), "{policy}");
                assert_eq!(
                    row.iter().collect::<BTreeSet<_>>().len(),
                    copies,
                    "{policy}"
                );
                assert_eq!(router.replicas(key), row, "{policy}");
            }
        }
    }
}

#[test]
fn no_two_copies_share_a_zone() {
    // Zones of very different size: most draws for a copy hit the large one.
    let in_zone = |name: String, zone: &str, weight| Node::new(name).zone(zone).weight(weight);
    let nodes = (0..20)
        .map(|n| in_zone(format!("a{n}"), "a", 1000))
        .chain((0..2).map(|n| in_zone(format!("b{n}"), "b", 1)))
        .chain([in_zone("c".to_owned(), "c", 1)]);
    let builder = Topology::builder().nodes(nodes).replicas(3);
    for spread in [Spread::Require, Spread::Prefer] {
        let topology = builder.clone().distinct_zones(spread).build().unwrap();
        for key in 0..20_000_u64 {
            let zones: BTreeSet<_> = topology
                .replicas(key)
                .iter()
                .map(|&id| topology.node(id).unwrap().zone_name())
                .collect();
            assert_eq!(zones.len(), 3);
        }
    }
    let four = builder.clone().replicas(4);
    assert_eq!(
        four.clone()
            .distinct_zones(Spread::Require)
            .build()
            .unwrap_err(),
        TopologyError::TooFewZones {
            replicas: 4,
            zones: 3
        }
    );
    let preferred = four.distinct_zones(Spread::Prefer).build().unwrap();
    let row = preferred.replicas(1_u64);
    assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), 4);
    let without = builder
        .node("nowhere")
        .distinct_zones(Spread::Require)
        .build();
    let name = "nowhere".into();
    assert_eq!(
        without.unwrap_err(),
        TopologyError::NodeWithoutZone { name }
    );
}

#[test]
fn keys_of_a_refused_node_go_to_all_others() {
    let topology = of(Policy::Balanced, 10);
    let dead = topology.id_of("node-3").unwrap();
    let mut taken = BTreeMap::new();
    for key in 0..100_000_u64 {
        let home = topology.route(key);
        let found = topology.route_where(key, |id| id != dead).unwrap();
        if home == dead {
            *taken.entry(found).or_insert(0) += 1;
        } else {
            assert_eq!(found, home);
        }
    }
    // About 10,000 keys over nine nodes: ten standard deviations.
    assert_eq!(taken.len(), 9);
    assert!(
        taken.values().all(|&keys: &i32| (keys - 1111).abs() < 333),
        "{taken:?}"
    );
}

#[test]
fn the_last_node_alive_is_found() {
    let heavy = Node::new("heavy").weight(1 << 40);
    let light = [Node::new("light"), Node::new("lighter")];
    for policy in [Policy::Balanced, Policy::Rendezvous] {
        let builder = Topology::builder().node(heavy.clone()).nodes(light.clone());
        let topology = builder.policy(policy).build().unwrap();
        let last = topology.id_of("lighter").unwrap();
        for key in 0..100_u64 {
            assert_eq!(topology.route_where(key, |id| id == last), Some(last));
            assert_eq!(topology.route_where(key, |_| false), None);
        }
        let two = topology.edit().replicas(2).build().unwrap();
        assert_eq!(two.replicas(1_u64).len(), 2);
    }
}

#[test]
fn groups_hold_every_key_once_and_at_its_node() {
    let topology = of(Policy::Balanced, 10);
    let keys: Vec<u64> = (0..5000).collect();
    let groups = topology.group_by_node(&keys);
    let mut seen = BTreeSet::new();
    for (node, positions) in groups.iter() {
        assert_eq!(groups.of(node), positions);
        assert!(positions.is_sorted());
        for &at in positions {
            assert_eq!(topology.route(keys[at as usize]), node);
            assert!(seen.insert(at));
        }
    }
    assert_eq!(seen.len(), keys.len());
    assert_eq!(topology.group_by_node([0_u64; 0]).iter().count(), 0);
}

#[test]
fn redis_cluster_divides_slots_as_redis_cli_does() {
    let topology = of(Policy::RedisCluster(None), 3);
    let ends: Vec<_> = (1..16_384)
        .filter(|&slot| topology.owner_of_slot(slot) != topology.owner_of_slot(slot - 1))
        .collect();
    assert_eq!(ends, [5461, 10_923]);
    assert_eq!(topology.slot_of("{user1000}.following"), Some(3443));
    assert_eq!(
        topology.route("{user1000}.followers"),
        topology.route("user1000")
    );
}

#[test]
fn nginx_would_choose_the_same_server() {
    let builder = Topology::builder().nodes(["127.0.0.1:7777", "127.0.0.1:7778"]);
    let topology = builder
        .policy(Policy::Ketama(Ketama::Nginx))
        .build()
        .unwrap();
    for (key, port) in [
        ("/some/path", "7778"),
        ("/some/longer/path", "7777"),
        ("/sad/zaidoon", "7778"),
        ("/g", "7777"),
        ("/pingora/team/is/cool/and/this/is/a/long/uri", "7778"),
        ("/i/am/not/confident/in/this/code", "7777"),
    ] {
        assert!(
            name(&topology, topology.route(key)).ends_with(port),
            "{key}"
        );
    }
}

/// Server numbers as libmemcached 1.1.4 gives them, for the keys "key:0" on: the
/// first 40, and a checksum over 100,000.
#[test]
fn libmemcached_would_choose_the_same_server() {
    let hosts = |ports: [u16; 8]| -> Vec<String> {
        let host = |(n, port)| format!("10.0.1.{}:{port}", n + 1);
        ports.into_iter().enumerate().map(host).collect()
    };
    let (default, mixed) = (
        hosts([11_211; 8]),
        hosts([7001, 7002, 7003, 7004, 11_211, 7006, 7007, 7008]),
    );
    let three = ["a:11211", "b:11211", "c:11211"]
        .map(str::to_owned)
        .to_vec();
    let equal: &[u64] = &[1; 8];
    for (flavour, hosts, weights, first, checksum) in [
        (
            Ketama::LibmemcachedWeighted,
            &default,
            &[600, 300, 200, 350, 1000, 800, 950, 100][..],
            "5753654203545640176552406700445666464364",
            0x3c09_2b56_16d4_284a,
        ),
        (
            Ketama::LibmemcachedWeighted,
            &mixed,
            equal,
            "4761654637561023203463040002531160236703",
            0x908f_ab4c_ecbd_0dcc,
        ),
        (
            Ketama::Libmemcached,
            &mixed,
            equal,
            "2746152267260011157776431040635015156605",
            0x91a6_7da7_2dec_dc0d,
        ),
        (
            Ketama::LibmemcachedWeighted,
            &three,
            &[1, 2, 7],
            "2220222110222220221221211022122221221212",
            0xcae3_7646_38b8_70dd,
        ),
    ] {
        let nodes = hosts.iter().zip(weights);
        let nodes = nodes.map(|(host, weight)| Node::new(host.as_str()).weight(*weight));
        let topology = Topology::builder()
            .nodes(nodes)
            .policy(Policy::Ketama(flavour))
            .build()
            .unwrap();
        let server = |key: u32| {
            let id = topology.route(format!("key:{key}"));
            hosts
                .iter()
                .position(|host| Some(host.as_str()) == topology.name(id))
                .unwrap()
        };
        let start: String = (0..40).map(|key| server(key).to_string()).collect();
        assert_eq!(start, first);
        let found = (0..100_000).fold(1_469_598_103_934_665_603_u64, |sum, key| {
            (sum ^ server(key) as u64).wrapping_mul(1_099_511_628_211)
        });
        assert_eq!(found, checksum, "{first}");
    }
}

#[test]
fn ranges_begin_with_their_boundary() {
    let ranges = Ranges::all("a").split(-5_i64, "b").split(100_i64, "c");
    let topology = Topology::builder()
        .nodes(["a", "b", "c"])
        .policy(Policy::Range(ranges.clone()))
        .build()
        .unwrap();
    for (key, owner) in [
        (i64::MIN, "a"),
        (-6, "a"),
        (-5, "b"),
        (0, "b"),
        (99, "b"),
        (100, "c"),
        (i64::MAX, "c"),
    ] {
        assert_eq!(name(&topology, topology.route(key)), owner, "{key}");
    }
    let merged = ranges.clone().merge(100_i64).unwrap();
    let topology = topology
        .edit()
        .policy(Policy::Range(merged))
        .build()
        .unwrap();
    assert_eq!(name(&topology, topology.route(i64::MAX)), "b");
    assert!(matches!(
        ranges.merge(7_i64),
        Err(TopologyError::NoBoundary { .. })
    ));
}

#[test]
fn mistakes_are_told_by_name() {
    let build = |builder: tenfold::router::TopologyBuilder| builder.build().unwrap_err();
    let two = || Topology::builder().nodes(["a", "b"]);
    assert_eq!(build(Topology::builder()), TopologyError::NoNodes);
    assert_eq!(
        build(two().node("a")),
        TopologyError::DuplicateNode { name: "a".into() }
    );
    assert_eq!(
        build(two().remove("c")),
        TopologyError::UnknownNode { name: "c".into() }
    );
    assert_eq!(
        build(two().update("c")),
        TopologyError::UnknownNode { name: "c".into() }
    );
    let zero = two().node(Node::new("z").weight(0));
    assert_eq!(build(zero), TopologyError::ZeroWeight { name: "z".into() });
    let heavy = two().node(Node::new("z").weight(u64::MAX));
    assert_eq!(build(heavy), TopologyError::WeightOverflow);
    let uneven = two().node(Node::new("z").weight(2));
    for (policy, name) in [(Policy::Modulo, "modulo"), (Policy::Jump, "jump")] {
        let error = TopologyError::Unweighted { policy: name };
        assert_eq!(build(uneven.clone().policy(policy)), error);
    }
    assert_eq!(
        build(two().replicas(3)),
        TopologyError::TooFewNodes {
            replicas: 3,
            nodes: 2
        }
    );
    for found in [0, 9] {
        assert_eq!(
            build(two().replicas(found)),
            TopologyError::Replicas { found, max: 8 }
        );
    }
    assert_eq!(
        build(two().node("")),
        TopologyError::NameLength {
            found: 0,
            max: 1024
        }
    );
    let slots = |slots| build(two().slots(slots));
    assert!(matches!(
        slots(1000),
        TopologyError::Slots { found: 1000, .. }
    ));
    assert!(matches!(slots(1 << 21), TopologyError::Slots { .. }));
    assert_eq!(
        slots(1),
        TopologyError::FewerSlotsThanNodes { nodes: 2, slots: 1 }
    );
    assert!(matches!(
        build(two().policy(Policy::Maglev).slots(1 << 16)),
        TopologyError::Slots { .. }
    ));
    for vnodes in [0, u32::MAX] {
        assert!(matches!(
            build(two().policy(Policy::Ring { vnodes })),
            TopologyError::Points { .. }
        ));
    }
    let many = Topology::builder().nodes((0..=MAX_NODES).map(|n| format!("{n}")));
    assert_eq!(
        build(many),
        TopologyError::TooManyNodes {
            found: MAX_NODES + 1,
            max: MAX_NODES
        }
    );

    let directory = |directory| build(two().policy(Policy::Directory(directory)));
    let half = Directory::new().assign(0..8192, "a");
    assert!(matches!(directory(half.clone()), TopologyError::Gap { .. }));
    let unknown = half.clone().assign(8192..16_384, "c");
    assert_eq!(
        directory(unknown),
        TopologyError::UnknownNode { name: "c".into() }
    );
    let overlap = half.clone().assign(8191..16_384, "b");
    assert!(matches!(
        directory(overlap),
        TopologyError::OverlappingRanges { .. }
    ));
    let beyond = half.assign(8192..16_385, "b");
    assert!(matches!(directory(beyond), TopologyError::Range { .. }));
    let ranges = Policy::Range(Ranges::all("c"));
    assert_eq!(
        build(two().policy(ranges)),
        TopologyError::UnknownNode { name: "c".into() }
    );
}

#[test]
fn a_node_has_no_more_tags_than_can_be_written_down() {
    let tagged = (0..=65_535).fold(Node::new("t"), |node, n| node.tag(format!("{n}")));
    assert_eq!(
        Topology::builder().node(tagged).build().unwrap_err(),
        TopologyError::TooManyTags {
            name: "t".into(),
            found: 65_536,
            max: 65_535
        }
    );
}

#[test]
fn mistakes_in_ranges_of_keys_are_told_by_name() {
    let of = |bounds: [(Option<u64>, Option<u64>, &'static str); 2]| Ranges::from_bounds(bounds);
    let overlap = of([(None, Some(7), "a"), (Some(6), None, "b")]);
    assert!(matches!(
        overlap,
        Err(TopologyError::OverlappingRanges { .. })
    ));
    for gap in [
        of([(None, Some(6), "a"), (Some(7), None, "b")]),
        of([(Some(1), Some(7), "a"), (Some(7), None, "b")]),
        of([(None, Some(7), "a"), (Some(7), Some(9), "b")]),
    ] {
        assert!(matches!(gap, Err(TopologyError::Gap { .. })), "{gap:?}");
    }
    let empty = of([(None, Some(7), "a"), (Some(7), Some(7), "b")]);
    assert!(matches!(empty, Err(TopologyError::Range { .. })));
    let nothing = Ranges::from_bounds::<u64, &str>([]);
    assert!(matches!(nothing, Err(TopologyError::Gap { .. })));
    // A node that holds a range cannot go before its range does.
    let builder = Topology::builder().nodes(["a", "b"]);
    let ranges = Policy::Range(Ranges::all("a").split(7_u64, "b"));
    let topology = builder.policy(ranges).build().unwrap();
    assert_eq!(
        topology.edit().remove("b").build().unwrap_err(),
        TopologyError::UnknownNode { name: "b".into() }
    );
}

#[test]
fn the_largest_topology_there_may_be_works() {
    let topology = of(Policy::Balanced, MAX_NODES);
    assert_eq!(
        (topology.slots(), topology.nodes().len()),
        (1 << 20, MAX_NODES)
    );
    let used: BTreeSet<_> = (0..200_000_u64).map(|key| topology.route(key)).collect();
    assert!(used.len() > MAX_NODES * 9 / 10);
}

#[test]
fn numbers_of_nodes_are_kept_and_not_given_again() {
    let one = of(Policy::Balanced, 3);
    let ids: Vec<_> = one.nodes().map(|(id, _)| id).collect();
    let two = one.edit().remove("node-1").node("new").build().unwrap();
    assert_eq!(two.id_of("node-0"), Some(ids[0]));
    assert_eq!(two.id_of("node-2"), Some(ids[2]));
    assert_eq!(two.name(ids[1]), None);
    assert!(!ids.contains(&two.id_of("new").unwrap()));
    // After all numbers were given, those that are free come again.
    let mut topology = two;
    let next: Vec<String> = (0..MAX_NODES - 3).map(|n| format!("extra-{n}")).collect();
    topology = topology.edit().nodes(next.clone()).build().unwrap();
    let mut edit = topology.edit();
    for name in &next[..10] {
        edit = edit.remove(&**name);
    }
    let reused = edit.nodes(["x", "y"]).build().unwrap();
    assert_ne!(reused.id_of("x"), reused.id_of("y"));
    assert!(
        reused
            .nodes()
            .all(|(id, node)| reused.id_of(node.name()) == Some(id))
    );
}

#[test]
fn an_older_topology_is_refused_and_nothing_changes() {
    let first = of(Policy::Balanced, 3);
    let router = Router::new(first.clone());
    let second = first.edit().node("x").build().unwrap();
    let rival = first.edit().node("y").build().unwrap();
    assert_eq!(router.swap(second.clone()).unwrap().epoch(), 1);
    assert_eq!(
        router.swap(rival).unwrap_err(),
        SwapError::Stale(StaleTopology { have: 2, need: 3 })
    );
    assert_eq!(router.topology().to_bytes(), second.to_bytes());
    assert_eq!(router.check(1), Err(StaleTopology { have: 1, need: 2 }));
    assert_eq!(router.check(2), Ok(()));
    assert_eq!(router.check(3), Ok(()));
}

#[test]
fn stats_say_what_is_in_force_and_what_it_takes() {
    let first = of(Policy::Balanced, 3);
    let router = Router::new(first.clone());
    // The topology's own table and a copy, two bytes a slot.
    assert_eq!(router.stats().table_bytes, 2 * 2 * 16_384);
    let copies = first.edit().replicas(3).slots(1 << 15).build().unwrap();
    router.swap(copies.clone()).unwrap();
    router.swap(first.edit().build().unwrap()).unwrap_err();
    let stats = router.stats();
    let text = "epoch 2: 3 nodes, balanced, 32768 slots, 3 copies; 622608 bytes of tables; \
                1 swaps, 1 refused";
    assert_eq!(stats.to_string(), text);
    // Of slots that were, one copy is kept; copies of keys take 6 and 8 bytes a slot.
    let slots = 1 << 15;
    assert_eq!(stats.table_bytes, slots + (2 + 6 + 2 + 8) * slots + 16);
    for policy in [
        Policy::Ketama(Ketama::Nginx),
        Policy::Range(Ranges::all("node-1")),
    ] {
        let next = copies.edit().policy(policy).epoch(9).build().unwrap();
        let router = Router::new(next);
        assert_eq!(router.stats().slots, 0);
        assert!(router.stats().table_bytes > 0);
    }
}

#[test]
fn a_router_answers_as_its_topology_through_every_swap() {
    let mut topology = Topology::builder()
        .nodes(names(4))
        .replicas(3)
        .build()
        .unwrap();
    let router = Router::new(topology.clone());
    let policies = [
        Policy::Rendezvous,
        Policy::Maglev,
        Policy::Ketama(Ketama::Nginx),
        Policy::RedisCluster(None),
        Policy::Range(Ranges::all("node-1")),
        Policy::Balanced,
        Policy::Jump,
    ];
    for (round, policy) in policies.into_iter().cycle().take(30).enumerate() {
        let edit = topology.edit().policy(policy).replicas(1 + round % 4);
        topology = edit.node(format!("extra-{round}")).build().unwrap();
        router.swap(topology.clone()).unwrap();
        for key in 0..500_u64 {
            assert_eq!(router.route(key), topology.route(key));
            assert_eq!(router.replicas(key), topology.replicas(key));
        }
    }
}

#[test]
fn readers_see_the_old_or_the_new_owner_while_topologies_are_swapped() {
    let first = of(Policy::Balanced, 5);
    let router = Router::new(first.clone());
    let (a, b) = (
        first.id_of("node-0").unwrap(),
        first.id_of("node-1").unwrap(),
    );
    let all = |name: &str| Policy::Directory(Directory::new().assign(0..16_384, name));
    let start = first.edit().policy(all("node-0")).build().unwrap();
    router.swap(start.clone()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut topology = start;
            for round in 0..200 {
                let owner = if round % 2 == 0 { "node-1" } else { "node-0" };
                topology = topology.edit().policy(all(owner)).build().unwrap();
                router.swap(topology.clone()).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..300 {
                    for key in 0..1000_u64 {
                        let id = router.route(key);
                        assert!(id == a || id == b);
                    }
                }
            });
        }
    });
    assert_eq!(router.epoch(), 202);
}
