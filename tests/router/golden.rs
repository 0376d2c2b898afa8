//! Where 10,000 keys lie under each policy, written down once. These files never
//! change: who upgrades must find every row where it was put.

use tenfold::router::placement::{Directory, Ketama, Ranges};
use tenfold::router::{Node, Policy, Spread, Topology};

/// A digit per key, a hundred keys a line: the number of the node that holds it.
fn lines(digit: impl FnMut(u32) -> String) -> String {
    let digits: Vec<_> = (0..10_000).map(digit).collect();
    let lines = digits.chunks(100).map(<[_]>::concat);
    lines.map(|line| line + "\n").collect()
}

fn owner(topology: &Topology, id: tenfold::router::NodeId) -> String {
    topology
        .name(id)
        .unwrap()
        .trim_start_matches("node-")
        .to_owned()
}

fn placement(topology: &Topology) -> String {
    lines(|key| owner(topology, topology.route(format!("key:{key}"))))
}

fn nodes() -> impl Iterator<Item = Node> {
    (0..10).map(|number| {
        let zone = ["a", "b", "c"][number % 3];
        Node::new(format!("node-{number}")).zone(zone)
    })
}

fn of(policy: Policy) -> Topology {
    Topology::builder()
        .nodes(nodes())
        .policy(policy)
        .build()
        .unwrap()
}

/// Nodes of weight 1, 2, 3, 4, then 5 removed and added again: history counts.
fn with_history(policy: &Policy) -> Topology {
    let weighted = nodes().zip(1..).map(|(node, number)| match policy {
        Policy::Jump => node,
        _ => node.weight(number % 4 + 1),
    });
    let first = Topology::builder()
        .nodes(weighted)
        .policy(policy.clone())
        .build()
        .unwrap();
    let second = first.edit().remove("node-5").build().unwrap();
    second
        .edit()
        .remove("node-2")
        .node("node-5")
        .build()
        .unwrap()
}

#[test]
fn balanced_never_changes() {
    let found = placement(&of(Policy::Balanced));
    assert!(found == include_str!("../golden/router/balanced.txt"));
}

#[test]
fn balanced_with_history_never_changes() {
    let found = placement(&with_history(&Policy::Balanced));
    assert!(found == include_str!("../golden/router/balanced-history.txt"));
}

#[test]
fn rendezvous_never_changes() {
    let found = placement(&of(Policy::Rendezvous));
    assert!(found == include_str!("../golden/router/rendezvous.txt"));
}

#[test]
fn weighted_rendezvous_never_changes() {
    let found = placement(&with_history(&Policy::Rendezvous));
    assert!(found == include_str!("../golden/router/rendezvous-weighted.txt"));
}

#[test]
fn ring_never_changes() {
    let found = placement(&of(Policy::Ring { vnodes: 160 }));
    assert!(found == include_str!("../golden/router/ring.txt"));
}

#[test]
fn jump_never_changes() {
    let found = placement(&of(Policy::Jump));
    assert!(found == include_str!("../golden/router/jump.txt"));
}

#[test]
fn jump_with_history_never_changes() {
    let found = placement(&with_history(&Policy::Jump));
    assert!(found == include_str!("../golden/router/jump-history.txt"));
}

#[test]
fn maglev_never_changes() {
    let found = placement(&of(Policy::Maglev));
    assert!(found == include_str!("../golden/router/maglev.txt"));
}

#[test]
fn weighted_maglev_never_changes() {
    let found = placement(&with_history(&Policy::Maglev));
    assert!(found == include_str!("../golden/router/maglev-weighted.txt"));
}

#[test]
fn modulo_never_changes() {
    let found = placement(&of(Policy::Modulo));
    assert!(found == include_str!("../golden/router/modulo.txt"));
}

#[test]
fn redis_cluster_never_changes() {
    let found = placement(&of(Policy::RedisCluster(None)));
    assert!(found == include_str!("../golden/router/redis-cluster.txt"));
}

#[test]
fn redis_cluster_as_it_says_never_changes() {
    let slots = Directory::new()
        .assign(0..5461, "node-3")
        .assign(5461..10_923, "node-8")
        .assign(10_923..16_384, "node-0");
    let found = placement(&of(Policy::RedisCluster(Some(slots))));
    assert!(found == include_str!("../golden/router/redis-cluster-directory.txt"));
}

#[test]
fn ketama_of_nginx_never_changes() {
    let found = placement(&of(Policy::Ketama(Ketama::Nginx)));
    assert!(found == include_str!("../golden/router/ketama-nginx.txt"));
}

#[test]
fn ketama_of_libmemcached_never_changes() {
    let found = placement(&of(Policy::Ketama(Ketama::Libmemcached)));
    assert!(found == include_str!("../golden/router/ketama-libmemcached.txt"));
}

#[test]
fn weighted_ketama_of_libmemcached_never_changes() {
    let found = placement(&with_history(&Policy::Ketama(Ketama::LibmemcachedWeighted)));
    assert!(found == include_str!("../golden/router/ketama-libmemcached-weighted.txt"));
}

#[test]
fn directory_never_changes() {
    let found = placement(&of(Policy::Directory(
        Directory::new()
            .assign(0..4096, "node-7")
            .assign(4096..16_384, "node-1"),
    )));
    assert!(found == include_str!("../golden/router/directory.txt"));
}

#[test]
fn range_never_changes() {
    let found = placement(&of(Policy::Range(
        Ranges::all("node-3")
            .split("key:5", "node-4")
            .split("key:77", "node-9"),
    )));
    assert!(found == include_str!("../golden/router/range.txt"));
}

#[test]
fn overrides_never_change() {
    let topology = of(Policy::Balanced)
        .edit()
        .pin("key:5", "node-7")
        .pin(5_u64, "node-9")
        .replicate("key:77", 4)
        .split("key:1", 12)
        .build()
        .unwrap();
    let numbers = |nodes: &[tenfold::router::NodeId]| -> String {
        let digits = nodes.iter().map(|id| owner(&topology, *id));
        digits.collect::<String>() + "\n"
    };
    let parts: Vec<_> = topology
        .parts("key:1")
        .map(|part| topology.route(part))
        .collect();
    // Only the bytes of format 2, and after them where all of these keys lie.
    let hex = |byte: &u8| format!("{byte:02x}");
    let hex: Vec<String> = topology.to_bytes().iter().map(hex).collect();
    let bytes: Vec<String> = hex.chunks(50).map(|line| line.concat() + "\n").collect();
    let found = bytes.concat()
        + &numbers(&topology.replicas("key:5"))
        + &numbers(&topology.replicas(5_u64))
        + &numbers(&topology.replicas("key:77"))
        + &numbers(&parts);
    assert!(
        found == include_str!("../golden/router/overrides.txt"),
        "{found}"
    );
    // And all others lie where they do without.
    let others = lines(|key| {
        let key = format!("key:{key}");
        let there = topology
            .override_of(&key)
            .is_none()
            .then(|| topology.route(&key));
        owner(
            &topology,
            there.unwrap_or_else(|| of(Policy::Balanced).route(&key)),
        )
    });
    assert!(others == include_str!("../golden/router/balanced.txt"));
}

#[test]
fn copies_never_change() {
    let found = {
        let spread = of(Policy::Balanced)
            .edit()
            .replicas(3)
            .distinct_zones(Spread::Require);
        let topology = spread.build().unwrap();
        lines(|key| {
            let copies = topology.replicas(u64::from(key));
            copies.iter().map(|id| owner(&topology, *id)).collect()
        })
    };
    assert!(found == include_str!("../golden/router/copies.txt"));
}
