//! The router beside naive models, and its bytes.
#![cfg(all(feature = "router", not(tenfold_shuttle)))]

mod router_nodes;

use std::collections::BTreeSet;

use proptest::prelude::*;
use router_nodes::{names, of, owners};
use tenfold::router::placement::Ketama;
use tenfold::router::{DecodeError, Node, Policy, Spread, Topology};

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Balanced),
        Just(Policy::Rendezvous),
        Just(Policy::Ring { vnodes: 3 }),
        Just(Policy::Jump),
        Just(Policy::Maglev),
        Just(Policy::Modulo),
        Just(Policy::RedisCluster(None)),
        Just(Policy::Ketama(Ketama::Libmemcached)),
    ]
}

#[derive(Debug, Clone)]
enum Edit {
    Add(u8, u64),
    Remove(u8),
    Weigh(u8, u64),
    Double,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0..12_u8, 1..9_u64).prop_map(|(node, weight)| Edit::Add(node, weight)),
        (0..12_u8).prop_map(Edit::Remove),
        (0..12_u8, 1..9_u64).prop_map(|(node, weight)| Edit::Weigh(node, weight)),
        Just(Edit::Double),
    ];
    proptest::collection::vec(edit, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: quotas by weight, and what must move is what exceeds them.
    #[test]
    fn any_history_of_balanced_moves_as_little_as_can_be(edits in edits()) {
        let mut topology = Topology::builder().node("seed").slots(256).build().unwrap();
        for edit in edits {
            let builder = topology.edit();
            let next = match edit {
                Edit::Add(n, weight) => builder.node(Node::new(format!("{n}")).weight(weight)),
                Edit::Remove(n) => builder.remove(format!("{n}")),
                Edit::Weigh(n, weight) => builder.update(Node::new(format!("{n}")).weight(weight)),
                Edit::Double if topology.slots() < 4096 => builder.slots(topology.slots() * 2),
                Edit::Double => continue,
            };
            let Ok(next) = next.build() else { continue };
            let factor = (next.slots() / topology.slots()) as usize;
            let old: Vec<_> = owners(&topology)
                .into_iter()
                .flat_map(|owner| std::iter::repeat_n(owner, factor))
                .collect();
            let new = owners(&next);
            let count = |owners: &[String], name: &str| owners.iter().filter(|o| *o == name).count();
            let moved = old.iter().zip(&new).filter(|(a, b)| a != b).count();
            if factor > 1 {
                prop_assert_eq!(moved, 0);
            } else {
                let names: BTreeSet<_> = old.iter().chain(&new).collect();
                let must: usize = names
                    .iter()
                    .map(|name| count(&old, name).saturating_sub(count(&new, name)))
                    .sum();
                prop_assert_eq!(moved, must);
                let total: u64 = next.nodes().map(|(_, node)| node.relative_weight()).sum();
                for (_, node) in next.nodes() {
                    let share = node.relative_weight() as f64 * f64::from(next.slots()) / total as f64;
                    let found = count(&new, node.name()) as f64;
                    prop_assert!((found - share).abs() < 1.0, "{} of {share}", found);
                }
                // And of all even divisions, one with the fewest moves: nobody who
                // gave a slot could have kept it within its share rounded up.
                let gave = |name: &str| count(&old, name) > count(&new, name);
                let took = |name: &str| count(&old, name) < count(&new, name);
                let over = |node: &Node| {
                    let share = node.relative_weight() as f64 * f64::from(next.slots()) / total as f64;
                    count(&new, node.name()) as f64 > share
                };
                let cut = next.nodes().any(|(_, node)| {
                    gave(node.name()) && !over(node) && {
                        let share = node.relative_weight() as f64 * f64::from(next.slots()) / total as f64;
                        share.fract() > 1e-9
                    }
                });
                let lifted = next.nodes().any(|(_, node)| took(node.name()) && over(node));
                prop_assert!(!(cut && lifted), "one gave what another took beyond its share");
            }
            topology = next;
        }
    }

    #[test]
    fn bytes_bring_back_the_same_topology(
        policy in policies(),
        count in 1..20_usize,
        copies in 1..4_usize,
        removed in 0..20_usize,
        tagged: bool,
    ) {
        let nodes = names(count).map(|name| {
            let node = Node::new(name.clone()).zone(format!("zone of {name}"));
            if tagged { node.tag("ssd").tag("eu") } else { node }
        });
        let builder = Topology::builder().nodes(nodes).policy(policy);
        let builder = builder.replicas(copies.min(count)).distinct_zones(Spread::Require);
        let mut topology = builder.epoch(41).build().unwrap();
        if let Ok(edited) = topology.edit().remove(format!("node-{removed}")).build() {
            topology = edited;
        }
        let bytes = topology.to_bytes();
        let back = Topology::from_bytes(&bytes).unwrap();
        prop_assert_eq!(back.to_bytes(), bytes);
        prop_assert_eq!(back.fingerprint(), topology.fingerprint());
        prop_assert_eq!(back.epoch(), topology.epoch());
        for key in 0..200_u64 {
            prop_assert_eq!(back.replicas(key), topology.replicas(key));
        }
        // And it has the same future.
        let next = |topology: &Topology| topology
                .edit()
                .node(Node::new("next").zone("z"))
                .build().unwrap().to_bytes();
        prop_assert_eq!(next(&back), next(&topology));
    }

    #[test]
    fn damaged_bytes_are_refused(at in 0..200_usize, bit in 0..8_u32, cut in 0..200_usize) {
        let bytes = of(Policy::Balanced, 3).to_bytes();
        let mut flipped = bytes.clone();
        let at = at % flipped.len();
        flipped[at] ^= 1 << bit;
        prop_assert!(Topology::from_bytes(&flipped).is_err());
        prop_assert!(Topology::from_bytes(&bytes[..cut % bytes.len()]).is_err());
    }
}

#[test]
fn bytes_from_the_future_are_told_from_damage() {
    let mut bytes = of(Policy::Balanced, 3).to_bytes();
    assert_eq!(
        Topology::from_bytes(b"something else").unwrap_err(),
        DecodeError::Magic
    );
    bytes[8] = 3;
    assert_eq!(
        Topology::from_bytes(&bytes).unwrap_err(),
        DecodeError::FutureVersion {
            found: 3,
            supported: 2
        }
    );
    bytes[8] = 1;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(
        Topology::from_bytes(&bytes),
        Err(DecodeError::Checksum { .. })
    ));
}

#[test]
fn a_fingerprint_changes_with_whatever_moves_keys() {
    let base = of(Policy::Balanced, 5);
    let mut seen = BTreeSet::from([base.fingerprint()]);
    for other in [
        base.edit().node("x").build(),
        base.edit().remove("node-1").build(),
        base.edit().update(Node::new("node-1").weight(2)).build(),
        base.edit().update(Node::new("node-1").zone("z")).build(),
        base.edit().policy(Policy::Modulo).build(),
        base.edit().replicas(2).build(),
        base.edit().slots(1 << 15).build(),
    ] {
        assert!(seen.insert(other.unwrap().fingerprint()));
    }
    let tagged = base
        .edit()
        .update(Node::new("node-1").tag("ssd"))
        .build()
        .unwrap();
    assert_eq!(tagged.fingerprint(), base.fingerprint());
}
