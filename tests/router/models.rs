//! The router beside naive models, and its bytes.

#[path = "../model/router/mod.rs"]
mod model;

use std::collections::BTreeSet;

use crate::nodes::{names, of};
use model::Op;
use proptest::prelude::*;
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

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        3 => (byte(), byte(), byte()).prop_map(|(n, weight, zone)| Op::Add(n, weight, zone)),
        1 => (byte(), byte(), byte()).prop_map(|(n, weight, zone)| Op::Update(n, weight, zone)),
        2 => byte().prop_map(Op::Remove),
        1 => byte().prop_map(Op::Policy),
        1 => Just(Op::Double),
        1 => (0..4_u8).prop_map(Op::Copies),
        1 => byte().prop_map(Op::Copies),
        1 => byte().prop_map(Op::Spread),
        6 => Just(Op::Build),
        3 => byte().prop_map(Op::Swap),
        1 => byte().prop_map(Op::RollBack),
        2 => (byte(), any::<u16>()).prop_map(|(key, refused)| Op::Look(key, refused)),
        1 => byte().prop_map(Op::Many),
        1 => (byte(), byte()).prop_map(|(key, times)| Op::Bounded(key, times)),
        2 => (byte(), byte()).prop_map(|(from, to)| Op::Plan(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Edits, plans, roll-backs and swaps under every policy.
    #[test]
    fn any_history_is_as_the_model_says(ops in proptest::collection::vec(op(), 1..120)) {
        model::run(&ops);
    }

    /// Edits that never fail, so that histories get long: nodes of small weight come
    /// and go, and slots are doubled.
    #[test]
    fn any_history_of_balanced_moves_as_little_as_can_be(
        edits in proptest::collection::vec((any::<u8>(), any::<u8>(), 0..200_u8), 1..24),
    ) {
        let edit = |(kind, node, weight)| match kind {
            0..120 => Op::Add(node, weight, 0),
            120..190 => Op::Remove(node),
            190..240 => Op::Update(node, weight, 0),
            _ => Op::Double,
        };
        let ops: Vec<_> = edits.into_iter().flat_map(|e| [edit(e), Op::Build]).collect();
        model::run(&ops);
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

/// Doubling moves nothing, and that held when the policy changed in the same edit, too: the
/// shares that rendezvous had dealt out stayed, and nobody's was even.
#[test]
fn balanced_evens_out_what_another_policy_dealt_even_if_slots_are_doubled() {
    let add = [1, 2, 3].map(|node| Op::Add(node, 0, 0));
    let (rendezvous, balanced) = (Op::Policy(0), Op::Policy(13));
    let dealt = [rendezvous, Op::Build, balanced, Op::Double, Op::Build];
    model::run(&[&add[..], &dealt[..]].concat());
}
