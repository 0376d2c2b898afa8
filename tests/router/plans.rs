//! What a change moves, who is overloaded, and which keys are celebrities.

use crate::nodes::{HISTORY_FREE, name, of};
use tenfold::hash::StableKey;
use tenfold::router::placement::{Ketama, Ranges};
use tenfold::router::{Loads, Move, Node, Policy, Span, Topology};

/// A plan is exact: applied to the old owner of any key it gives the new one.
fn check_plan(old: &Topology, new: &Topology) {
    let plan = old.plan(new).unwrap();
    let sum: f64 = plan.moves().iter().filter_map(Move::share).sum();
    assert!((sum - plan.moved_share().unwrap()).abs() < 1e-9);
    assert!(plan.lower_bound().unwrap() <= plan.moved_share().unwrap() + 1e-12);
    for key in 0..300_u64 {
        let (before, after) = (name(old, old.route(key)), name(new, new.route(key)));
        let within = |part: &&Move| match part.span() {
            Span::Hashes(range) => range.contains(&key.stable_hash(0)),
            Span::RedisSlots(range) => range.contains(&u64::from(new.slot_of(key).unwrap())),
            Span::RingHashes(range) => {
                let Policy::Ketama(flavour) = new.policy() else {
                    unreachable!()
                };
                range.contains(&u64::from(flavour.hash(&key.to_le_bytes())))
            }
            _ => unreachable!("no ranges of keys here"),
        };
        let parts: Vec<_> = plan.moves().iter().filter(within).collect();
        match parts[..] {
            [] => assert_eq!(before, after),
            [part] => assert_eq!((part.from(), part.to()), (&*before, &*after)),
            _ => panic!("two moves of one key"),
        }
        assert!(parts.is_empty() || before != after, "moved to where it was");
    }
}

#[test]
fn a_plan_lists_exactly_what_moves() {
    for policy in HISTORY_FREE.into_iter().chain([
        Policy::Balanced,
        Policy::Jump,
        Policy::RedisCluster(None),
        Policy::Ketama(Ketama::Nginx),
        Policy::Ketama(Ketama::LibmemcachedWeighted),
    ]) {
        let old = of(policy.clone(), 6);
        for edit in [
            old.edit().node("new"),
            old.edit().remove("node-2"),
            old.edit(),
        ] {
            check_plan(&old, &edit.build().unwrap());
        }
        check_plan(&old, &old);
        assert!(old.plan(&old).unwrap().is_empty());
    }
    // From one policy to another, and to another number of slots.
    check_plan(&of(Policy::Balanced, 5), &of(Policy::Maglev, 6));
    let old = of(Policy::Balanced, 5);
    check_plan(&old, &old.edit().slots(1 << 16).build().unwrap());
    assert!(old.plan(&of(Policy::RedisCluster(None), 5)).is_err());
}

#[test]
fn a_plan_of_ranges_names_their_keys() {
    let of = |ranges| {
        let builder = Topology::builder().nodes(["a", "b", "c"]);
        builder.policy(Policy::Range(ranges)).build().unwrap()
    };
    let old = of(Ranges::all("a").split("m", "b"));
    let new = of(Ranges::all("a").split("k", "c").split("p", "b"));
    let plan = old.plan(&new).unwrap();
    let keys = |from: &str, to: &str| Span::Keys {
        from: from.as_bytes().into(),
        to: Some(to.as_bytes().into()),
    };
    let found: Vec<_> = plan
        .moves()
        .iter()
        .map(|m| (m.from(), m.to(), m.span().clone()))
        .collect();
    assert_eq!(
        found,
        [("a", "c", keys("k", "m")), ("b", "c", keys("m", "p"))]
    );
    assert_eq!(plan.moved_share(), None);
    let text = plan.to_string();
    assert!(
        text.contains(r#"a -> c: keys from "k" to before "m""#),
        "{text}"
    );
}

#[test]
fn no_node_is_loaded_beyond_its_bound() {
    let nodes = [("a", 1), ("b", 2), ("c", 5)].map(|(name, weight)| Node::new(name).weight(weight));
    let topology = Topology::builder().nodes(nodes).build().unwrap();
    for factor in [1.25, 1.0, 0.0, f64::NAN] {
        let loads = Loads::new(&topology);
        for request in 0..2000_u64 {
            // Half of all requests are for one key.
            let node = topology.route_bounded(request % 2 * request, &loads, factor);
            loads.begin(node);
            let bound = factor.max(1.0) * loads.total() as f64;
            for (id, node) in topology.nodes() {
                let share = bound * node.relative_weight() as f64 / 8.0;
                assert!(loads.of(id) as f64 <= share.ceil(), "{}", node.name());
            }
        }
        loads.end(topology.id_of("a").unwrap());
        assert_eq!(loads.total(), 1999);
    }
    // While nobody is busy, keys are at home.
    let idle = Loads::new(&topology);
    assert!(
        (0..100_u64).all(|key| topology.route_bounded(key, &idle, 1.25) == topology.route(key))
    );
}
