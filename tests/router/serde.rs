//! Topologies through serde: readable where people may read, bytes where not, and
//! checked either way.

use crate::nodes::{names, of};
use proptest::prelude::*;
use serde_json::{Value, json};
use tenfold::router::placement::{Directory, Ketama, Ranges};
use tenfold::router::{Node, NodeId, Policy, Spread, StaleTopology, Topology};

fn policies() -> impl Strategy<Value = Policy> {
    let half = |slots: u32| {
        let first = Directory::new().assign(0..slots / 2, "node-0");
        first.assign(slots / 2..slots, "node-1")
    };
    prop::sample::select(vec![
        Policy::Balanced,
        Policy::Rendezvous,
        Policy::Ring { vnodes: 3 },
        Policy::Jump,
        Policy::Maglev,
        Policy::Modulo,
        Policy::Range(Ranges::all("node-0").split("m\u{fc}", "node-1")),
        Policy::Range(Ranges::all("node-0").split(7_i64, "node-1")),
        Policy::Directory(half(16_384)),
        Policy::RedisCluster(None),
        Policy::RedisCluster(Some(half(16_384))),
        Policy::Ketama(Ketama::Nginx),
        Policy::Ketama(Ketama::Libmemcached),
        Policy::Ketama(Ketama::LibmemcachedWeighted),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        policy in policies(),
        count in 2..20_usize,
        copies in 1..4_usize,
        removed in 2..20_usize,
        weight in 1..5_u64,
        tagged: bool,
        said: bool,
    ) {
        let weighs = matches!(policy, Policy::Balanced | Policy::Rendezvous | Policy::Maglev);
        let nodes = names(count).map(|name| {
            let node = Node::new(name.clone()).zone(format!("zone of \"{name}\""));
            let node = if weighs { node.weight(weight) } else { node };
            if tagged { node.tag("ssd").tag("eu") } else { node }
        });
        let builder = Topology::builder().nodes(nodes).policy(policy.clone());
        let builder = builder.replicas(copies.min(count)).distinct_zones(Spread::Require);
        let mut topology = builder.epoch(1 << 60).build().unwrap();
        if let Ok(edited) = topology.edit().remove(format!("node-{removed}")).build() {
            topology = edited;
        }
        let exceptions = topology
            .edit()
            .pin("celebrity", topology.nodes().next().unwrap().1.name())
            .pin(-7_i64, topology.nodes().last().unwrap().1.name())
            .split("everybody's", 3);
        if let (true, Ok(edited)) = (said, exceptions.build()) {
            topology = edited;
        }
        let bytes = topology.to_bytes();

        let text = serde_json::to_string(&topology).unwrap();
        let back: Topology = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.to_bytes(), &bytes[..]);
        let packed = postcard::to_stdvec(&topology).unwrap();
        let back: Topology = postcard::from_bytes(&packed).unwrap();
        prop_assert_eq!(back.to_bytes(), &bytes[..]);
        // No wider than they have to be.
        prop_assert!(packed.len() <= bytes.len() + 5);

        let text = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Policy>(&text).unwrap(), &policy);
        let packed = postcard::to_stdvec(&policy).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Policy>(&packed).unwrap(), &policy);
        for (id, node) in topology.nodes() {
            let packed = postcard::to_stdvec(&(id, node)).unwrap();
            let back: (NodeId, Node) = postcard::from_bytes(&packed).unwrap();
            prop_assert_eq!(back, (id, node.clone()));
            let text = serde_json::to_string(&(id, node)).unwrap();
            let back: (NodeId, Node) = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, (id, node.clone()));
        }
    }

    #[test]
    fn damaged_bytes_are_refused(at in 0..200_usize, bit in 0..8_u32) {
        let mut packed = postcard::to_stdvec(&of(Policy::Balanced, 3)).unwrap();
        let at = at % packed.len();
        packed[at] ^= 1 << bit;
        prop_assert!(postcard::from_bytes::<Topology>(&packed).is_err());
    }
}

/// Written once: whoever stored one must be able to read it.
#[test]
fn the_words_never_change() {
    let first = Topology::builder()
        .nodes([
            Node::new("a").weight(3),
            Node::new("b").zone("z").tag("ssd"),
        ])
        .slots(8)
        .replicas(2)
        .build()
        .unwrap();
    let topology = first.edit().remove("a").node("c").build().unwrap();
    let expected = json!({
        "epoch": 2,
        "policy": "balanced",
        "slots": 8,
        "slots_chosen": false,
        "replicas": 2,
        "spread": "nodes",
        "next_id": 3,
        "nodes": [
            {"id": 1, "name": "b", "weight": 1, "zone": "z", "tags": ["ssd"]},
            {"id": 2, "name": "c", "weight": 1},
        ],
        "owners": [["b", 2], ["c", 4], ["b", 2]],
        "fingerprint": format!("{:016x}", topology.fingerprint()),
    });
    assert_eq!(serde_json::to_value(&topology).unwrap(), expected);

    let ranges = Ranges::all("a").split("m", "b").split(1_i64, "c");
    for (policy, words) in [
        (
            Policy::Ring { vnodes: 160 },
            json!({"ring": {"vnodes": 160}}),
        ),
        (
            Policy::Range(ranges),
            json!({"range": [
                {"from": "", "node": "a"},
                {"from": "m", "node": "b"},
                {"from": {"hex": "8000000000000001"}, "node": "c"},
            ]}),
        ),
        (
            Policy::Directory(Directory::new().assign(0..8, "a")),
            json!({"directory": [{"slots": {"start": 0, "end": 8}, "node": "a"}]}),
        ),
        (Policy::RedisCluster(None), json!({"redis-cluster": null})),
        (Policy::Ketama(Ketama::Nginx), json!("ketama-nginx")),
    ] {
        assert_eq!(serde_json::to_value(&policy).unwrap(), words);
        assert_eq!(serde_json::from_value::<Policy>(words).unwrap(), policy);
    }
    let stale = json!({"have": 1, "need": 2});
    let read: StaleTopology = serde_json::from_value(stale).unwrap();
    assert_eq!(read, StaleTopology { have: 1, need: 2 });
}

#[test]
fn words_that_describe_no_topology_are_refused() {
    let good = serde_json::to_value(of(Policy::Balanced, 3)).unwrap();
    let read = |words: Value| serde_json::from_value::<Topology>(words);
    let jump = serde_json::to_value(of(Policy::Jump, 3)).unwrap();
    for (base, at, value, mistake) in [
        (
            &good,
            "/replicas",
            json!(4),
            "4 replicas need as many nodes, found 3",
        ),
        (
            &good,
            "/spread",
            json!("require"),
            "node \"node-0\" has no zone",
        ),
        (&good, "/spread", json!("racks"), "unknown variant `racks`"),
        (
            &good,
            "/policy",
            json!("random"),
            "unknown variant `random`",
        ),
        (
            &good,
            "/policy",
            json!("rendezvous"),
            "what its fingerprint is of",
        ),
        (&good, "/slots", json!(1000), "an owner for each slot"),
        (
            &good,
            "/slots",
            json!(1 << 30),
            "a power of two, up to 2^20",
        ),
        (&good, "/owners/0/1", json!(1), "an owner for each slot"),
        (
            &good,
            "/owners/0/1",
            json!(u32::MAX),
            "an owner for each slot",
        ),
        (
            &good,
            "/owners/0/0",
            json!("x"),
            "there is no node named \"x\"",
        ),
        (
            &good,
            "/nodes/1/weight",
            json!(0),
            "node \"node-1\" has weight 0",
        ),
        (&good, "/nodes/1/weight", json!(u64::MAX), "below 2^64"),
        (
            &good,
            "/nodes/1/name",
            json!("node-0"),
            "nodes in the order of names",
        ),
        (
            &good,
            "/policy",
            json!({"ring": {"vnodes": 0}}),
            "points in all, found 0",
        ),
        (&good, "/nodes/1/id", json!(0), "a distinct id of each node"),
        (&good, "/nodes/1/id", json!(7), "a distinct id of each node"),
        (&good, "/nodes", json!([]), "no node named \"node-0\""),
        (
            &good,
            "/next_id",
            json!(1 << 20),
            "an id that a node may have",
        ),
        (
            &good,
            "/fingerprint",
            json!("0"),
            "what its fingerprint is of",
        ),
        (
            &jump,
            "/buckets/0",
            json!("node-1"),
            "a bucket of each node",
        ),
        (&jump, "/buckets/0", json!("x"), "a bucket of each node"),
    ] {
        let mut words = base.clone();
        *words.pointer_mut(at).unwrap() = value.clone();
        let error = read(words).unwrap_err().to_string();
        assert!(error.contains(mistake), "{at} {value}: {error}");
    }
}

#[test]
fn words_may_be_written_by_hand() {
    let good = serde_json::to_value(of(Policy::Balanced, 3)).unwrap();
    let read = |words: Value| serde_json::from_value::<Topology>(words);
    let mut misspelt = good.clone();
    misspelt["replica"] = json!(2);
    assert!(
        read(misspelt)
            .unwrap_err()
            .to_string()
            .contains("unknown field `replica`")
    );
    // Nodes may be in any order, and the fingerprint left out.
    let mut by_hand = good.clone();
    by_hand["nodes"].as_array_mut().unwrap().reverse();
    by_hand.as_object_mut().unwrap().remove("fingerprint");
    let read = read(by_hand).unwrap();
    assert_eq!(read.to_bytes(), of(Policy::Balanced, 3).to_bytes());
}

#[test]
fn what_is_said_about_single_keys_is_written_and_checked() {
    let topology = of(Policy::Balanced, 3);
    let edited = topology.edit().pin("celebrity", "node-1").split(7_u64, 2);
    let edited = edited.build().unwrap();
    let words = serde_json::to_value(&edited).unwrap();
    let said = &words["overrides"];
    assert!(
        said.to_string()
            .contains(r#""key":"celebrity","what":{"pin":"node-1"}"#)
    );
    assert!(said.to_string().contains(r#""what":{"split":2}"#), "{said}");
    assert!(
        serde_json::to_value(&topology)
            .unwrap()
            .get("overrides")
            .is_none()
    );

    let wrong = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut words = words.clone();
        words.as_object_mut().unwrap().remove("fingerprint");
        change(&mut words["overrides"]);
        serde_json::from_value::<Topology>(words)
            .unwrap_err()
            .to_string()
    };
    let unknown = wrong(&|said| said[0]["what"] = serde_json::json!({"pin": "nobody"}));
    assert!(
        unknown.contains("nobody") || unknown.contains("override"),
        "{unknown}"
    );
    let twice = wrong(&|said| said[1] = said[0].clone());
    assert!(twice.contains("one override for a key"), "{twice}");
    let parts = wrong(&|said| {
        for said in said.as_array_mut().unwrap() {
            said["what"] = serde_json::json!({"split": 0});
        }
    });
    assert!(parts.contains('0'), "{parts}");
}

#[test]
fn words_that_describe_no_policy_are_refused() {
    let policy = |words| {
        serde_json::from_value::<Policy>(words)
            .unwrap_err()
            .to_string()
    };
    for ranges in [
        json!([]),
        json!([{"from": "b", "node": "a"}]),
        json!([{"from": "", "node": "a"}, {"from": "", "node": "b"}]),
    ] {
        assert!(policy(json!({"range": ranges})).contains("in the order of keys"));
    }
    for hex in ["0", "0g", "+1", "\u{e9}"] {
        let from = json!({"range": [{"from": {"hex": hex}, "node": "a"}]});
        assert!(policy(from).contains("two hexadecimal digits"), "{hex}");
    }
    assert!(serde_json::from_value::<NodeId>(json!(1 << 15)).is_err());
    assert!(postcard::from_bytes::<Policy>(&[2, 0, 0]).is_err());
}

#[test]
fn plans_can_be_written() {
    let old = Topology::builder()
        .nodes(["a", "b"])
        .slots(8)
        .build()
        .unwrap();
    let new = old.edit().node("c").remove("b").build().unwrap();
    let expected = json!({
        "from_epoch": 1,
        "to_epoch": 2,
        "moved_share": 0.5,
        "lower_bound": 0.5,
        "moves": [{
            "from": "b",
            "to": "c",
            "share": 0.5,
            "span": {"hashes": {"first": "8000000000000000", "last": "ffffffffffffffff"}},
        }],
    });
    let plan = old.plan(&new).unwrap();
    assert_eq!(serde_json::to_value(&plan).unwrap(), expected);
    assert_eq!(
        serde_json::to_value(&plan.moves()[0]).unwrap(),
        expected["moves"][0]
    );
    assert!(!postcard::to_stdvec(&plan).unwrap().is_empty());
}
