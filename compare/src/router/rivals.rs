//! Everyone who places keys on nodes, behind one face.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use ::rendezvous_hash::{Capacity, DefaultNodeHasher, IdNode, RendezvousNodes, WeightedNode};
use tenfold::hash::StableKey;
use tenfold::router::{Node, Router, Topology};

/// Somebody's table of nodes.
pub(super) trait Placer {
    /// Routes numbers, and sums up the nodes so that none is skipped.
    fn numbers(&self, keys: &[u64]) -> usize;
    /// Routes texts.
    fn texts(&self, keys: &[&'static str]) -> usize;
    /// The node of a key.
    fn node(&self, key: u64) -> usize;
}

/// Two closures over the same table, compiled into the loop.
struct By<N, T> {
    number: N,
    text: T,
}

impl<N: Fn(u64) -> usize, T: Fn(&'static str) -> usize> Placer for By<N, T> {
    fn numbers(&self, keys: &[u64]) -> usize {
        keys.iter()
            .fold(0, |sum, &key| sum.wrapping_add((self.number)(key)))
    }

    fn texts(&self, keys: &[&'static str]) -> usize {
        keys.iter()
            .fold(0, |sum, &key| sum.wrapping_add((self.text)(key)))
    }

    fn node(&self, key: u64) -> usize {
        (self.number)(key)
    }
}

/// A way to build such a table.
#[derive(Clone, Copy)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// More nodes than this take seconds or gigabytes to build, or to ask.
    pub(super) most_nodes: usize,
    /// Of nodes 0, 1, …
    pub(super) build: fn(usize) -> Box<dyn Placer>,
    /// The table of one node more, made from the one before if it has to be.
    pub(super) grow: fn(usize) -> Box<dyn Placer>,
    /// The table without the last of so many nodes, likewise.
    pub(super) shrink: fn(usize) -> Box<dyn Placer>,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub(super) const OURS: &str = "tenfold";

/// Points per node on every ring that lets us choose, as ketama has it.
const POINTS: usize = 160;

/// The hash of a key alone, without a node: what nobody can be faster than.
pub(super) fn floor() -> Box<dyn Placer> {
    by(
        Rc::new(()),
        |(), key| key.stable_hash(0) as usize,
        |(), key| key.stable_hash(0) as usize,
    )
}

pub(super) fn all() -> Vec<Contender> {
    type Build = fn(usize) -> Box<dyn Placer>;
    let contender = |name, most_nodes, build: Build, shrink| Contender {
        name,
        most_nodes,
        build,
        grow: build,
        shrink,
    };
    vec![
        Contender {
            grow: tenfold_grown,
            ..contender(OURS, 10_000, tenfold, tenfold_shrunk)
        },
        contender("hashring", 10_000, hashring, |n| hashring(n - 1)),
        contender("hashring_coordinator", 10_000, hashring_coordinator, |n| {
            hashring_coordinator(n - 1)
        }),
        contender("consistent_hash_ring", 1000, consistent_hash_ring, |n| {
            consistent_hash_ring(n - 1)
        }),
        contender("conhash", 10_000, conhash, |n| conhash(n - 1)),
        contender("pingora-ketama", 10_000, pingora_ketama, |n| {
            pingora_ketama(n - 1)
        }),
        contender("jumphash", 10_000, jumphash, |n| jumphash(n - 1)),
        contender("jump-consistent-hash", 10_000, jump_consistent_hash, |n| {
            jump_consistent_hash(n - 1)
        }),
        contender("maglev", 100, maglev, |n| maglev(n - 1)),
        Contender {
            grow: anchorhash_grown,
            ..contender("anchorhash", 10_000, anchorhash, anchorhash_shrunk)
        },
        contender("rendezvous_hash", 10_000, rendezvous_hash, |n| {
            rendezvous_hash(n - 1)
        }),
        contender("hrw-hash", 10_000, hrw_hash, |n| hrw_hash(n - 1)),
    ]
}

pub(super) fn topology(nodes: usize, replicas: usize) -> Topology {
    Topology::builder()
        .nodes((0..nodes).map(|node| format!("node-{node:05}")))
        .replicas(replicas)
        .build()
        .expect("a plain topology can be built")
}

fn by<T: 'static>(
    table: Rc<T>,
    number: impl Fn(&T, u64) -> usize + 'static,
    text: impl Fn(&T, &'static str) -> usize + 'static,
) -> Box<dyn Placer> {
    let other = table.clone();
    Box::new(By {
        number: move |key| number(&table, key),
        text: move |key| text(&other, key),
    })
}

fn tenfold(nodes: usize) -> Box<dyn Placer> {
    by(
        Rc::new(Router::new(topology(nodes, 1))),
        |router, key| router.route(key).index(),
        |router, key| router.route(key).index(),
    )
}

fn tenfold_grown(nodes: usize) -> Box<dyn Placer> {
    let before = topology(nodes - 1, 1);
    let after = before.edit().node("the new one").build();
    by(
        Rc::new(after.expect("a node can be added")),
        |topology, key| topology.route(key).index(),
        |topology, key| topology.route(key).index(),
    )
}

fn tenfold_shrunk(nodes: usize) -> Box<dyn Placer> {
    let last = format!("node-{:05}", nodes - 1);
    let after = topology(nodes, 1).edit().remove(last).build();
    by(
        Rc::new(after.expect("a node can be removed")),
        |topology, key| topology.route(key).index(),
        |topology, key| topology.route(key).index(),
    )
}

fn hashring(nodes: usize) -> Box<dyn Placer> {
    let mut ring = ::hashring::HashRing::new();
    ring.batch_add(points(nodes));
    by(
        Rc::new(ring),
        |ring, key| ring.get(&key).map_or(0, |point: &(usize, usize)| point.0),
        |ring, key| ring.get(&key).map_or(0, |point: &(usize, usize)| point.0),
    )
}

fn hashring_coordinator(nodes: usize) -> Box<dyn Placer> {
    let mut ring = ::hashring_coordinator::HashRing::new(0, POINTS);
    ring.batch_add((0..nodes).collect());
    by(
        Rc::new(ring),
        |ring, key| ring.get(&key).first().copied().unwrap_or(0),
        |ring, key| ring.get(&key).first().copied().unwrap_or(0),
    )
}

fn consistent_hash_ring(nodes: usize) -> Box<dyn Placer> {
    let ring = ::consistent_hash_ring::RingBuilder::default()
        .vnodes(POINTS)
        .nodes_iter(0..nodes)
        .build();
    by(
        Rc::new(ring),
        |ring, key| *ring.get(key),
        |ring, key| *ring.get(key),
    )
}

#[derive(Clone)]
struct Named(usize);

impl ::conhash::Node for Named {
    fn name(&self) -> String {
        format!("node-{}", self.0)
    }
}

fn conhash(nodes: usize) -> Box<dyn Placer> {
    let mut ring = ::conhash::ConsistentHash::new();
    (0..nodes).for_each(|node| ring.add(&Named(node), POINTS));
    by(
        Rc::new(ring),
        |ring, key| ring.get(&key.to_le_bytes()).map_or(0, |node| node.0),
        |ring, key| ring.get_str(key).map_or(0, |node| node.0),
    )
}

fn pingora_ketama(nodes: usize) -> Box<dyn Placer> {
    let address = |node: usize| {
        let [.., b, c, d] = (node as u32).to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, b, c, d)), 80)
    };
    let buckets: Vec<_> = (0..nodes)
        .map(|node| ::pingora_ketama::Bucket::new(address(node), 1))
        .collect();
    let number = |address: Option<SocketAddr>| match address.map(|address| address.ip()) {
        Some(IpAddr::V4(ip)) => (u32::from(ip) & 0xff_ffff) as usize,
        _ => 0,
    };
    by(
        Rc::new(::pingora_ketama::Continuum::new(&buckets)),
        move |ring, key| number(ring.node(&key.to_le_bytes())),
        move |ring, key| number(ring.node(key.as_bytes())),
    )
}

fn jumphash(nodes: usize) -> Box<dyn Placer> {
    by(
        Rc::new((::jumphash::JumpHasher::new_with_keys(1, 2), nodes as u32)),
        |(hasher, nodes), key| hasher.slot(&key, *nodes) as usize,
        |(hasher, nodes), key| hasher.slot(&key, *nodes) as usize,
    )
}

fn jump_consistent_hash(nodes: usize) -> Box<dyn Placer> {
    by(
        Rc::new(nodes),
        |nodes, key| ::jump_consistent_hash::hash(key.stable_hash(0), *nodes) as usize,
        |nodes, key| ::jump_consistent_hash::hash(key.stable_hash(0), *nodes) as usize,
    )
}

fn maglev(nodes: usize) -> Box<dyn Placer> {
    use ::maglev::ConsistentHasher;
    by(
        Rc::new(::maglev::Maglev::new(0..nodes)),
        |table, key| table.get(&key).copied().unwrap_or(0),
        |table, key| table.get(key).copied().unwrap_or(0),
    )
}

type Fixed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

fn anchor<K: std::hash::Hash>(
    nodes: usize,
    capacity: usize,
) -> ::anchorhash::AnchorHash<K, usize, Fixed> {
    ::anchorhash::Builder::with_hasher(Fixed::default())
        .with_resources(0..nodes)
        .build(capacity as u16)
}

fn anchorhash(nodes: usize) -> Box<dyn Placer> {
    by(
        Rc::new((anchor(nodes, 2 * nodes), anchor(nodes, 2 * nodes))),
        |(numbers, _), key: u64| numbers.get_resource(key).copied().unwrap_or(0),
        |(_, texts), key: &'static str| texts.get_resource(key).copied().unwrap_or(0),
    )
}

fn anchorhash_grown(nodes: usize) -> Box<dyn Placer> {
    let mut numbers = anchor::<u64>(nodes - 1, 2 * (nodes - 1));
    let mut texts = anchor::<&'static str>(nodes - 1, 2 * (nodes - 1));
    let added = numbers.add_resource(nodes - 1).is_ok() && texts.add_resource(nodes - 1).is_ok();
    assert!(added, "there is room for another node");
    by(
        Rc::new((numbers, texts)),
        |(numbers, _), key| numbers.get_resource(key).copied().unwrap_or(0),
        |(_, texts), key| texts.get_resource(key).copied().unwrap_or(0),
    )
}

fn anchorhash_shrunk(nodes: usize) -> Box<dyn Placer> {
    let mut numbers = anchor::<u64>(nodes, 2 * nodes);
    let mut texts = anchor::<&'static str>(nodes, 2 * nodes);
    let last = nodes - 1;
    let removed = numbers.remove_resource(&last).is_ok() && texts.remove_resource(&last).is_ok();
    assert!(removed, "the node is there");
    by(
        Rc::new((numbers, texts)),
        |(numbers, _), key| numbers.get_resource(key).copied().unwrap_or(0),
        |(_, texts), key| texts.get_resource(key).copied().unwrap_or(0),
    )
}

fn rendezvous_hash(nodes: usize) -> Box<dyn Placer> {
    let mut all = RendezvousNodes::new(DefaultNodeHasher::new());
    for node in 0..nodes {
        all.insert(IdNode::new(node));
    }
    by(
        Rc::new(all),
        |all, key| all.calc_candidates(&key).next().map_or(0, |node| **node),
        |all, key| all.calc_candidates(&key).next().map_or(0, |node| **node),
    )
}

fn hrw_hash(nodes: usize) -> Box<dyn Placer> {
    by(
        Rc::new(::hrw_hash::HrwNodes::new(0..nodes)),
        |all, key| all.sorted(&key).next().copied().unwrap_or(0),
        |all, key| all.sorted(&key).next().copied().unwrap_or(0),
    )
}

fn points(nodes: usize) -> Vec<(usize, usize)> {
    (0..nodes)
        .flat_map(|node| (0..POINTS).map(move |point| (node, point)))
        .collect()
}

/// Those who can name three distinct nodes for a key, or say that they do.
/// The slowest to build only if `slow`.
pub(super) fn copies(nodes: usize, slow: bool) -> Vec<(&'static str, Box<dyn Placer>)> {
    let ours = by(
        Rc::new(Router::new(topology(nodes, 3))),
        |router, key| router.replicas(key).iter().map(|node| node.index()).sum(),
        |router, key| router.replicas(key).iter().map(|node| node.index()).sum(),
    );
    let mut ring = ::hashring::HashRing::new();
    ring.batch_add(points(nodes));
    let hashring = by(
        Rc::new(ring),
        |ring, key| {
            let copies: Vec<(usize, usize)> = ring.get_with_replicas(&key, 2).unwrap_or_default();
            copies.iter().map(|point| point.0).sum()
        },
        |_, _| 0,
    );
    let mut ring = ::hashring_coordinator::HashRing::new(2, POINTS);
    ring.batch_add((0..nodes).collect());
    let coordinator = by(
        Rc::new(ring),
        |ring, key| ring.get(&key).into_iter().sum(),
        |_, _| 0,
    );
    let hrw = by(
        Rc::new(::hrw_hash::HrwNodes::new(0..nodes)),
        |all, key| all.sorted(&key).take(3).sum(),
        |_, _| 0,
    );
    let mut rendezvous = RendezvousNodes::new(DefaultNodeHasher::new());
    for node in 0..nodes {
        rendezvous.insert(IdNode::new(node));
    }
    let rendezvous = by(
        Rc::new(rendezvous),
        |all, key| all.calc_candidates(&key).take(3).map(|node| **node).sum(),
        |_, _| 0,
    );
    let mut all = vec![
        (OURS, ours),
        ("hashring", hashring),
        ("hashring_coordinator", coordinator),
        ("hrw-hash", hrw),
        ("rendezvous_hash", rendezvous),
    ];
    if slow {
        let ring = ::consistent_hash_ring::RingBuilder::default()
            .vnodes(POINTS)
            .nodes_iter(0..nodes)
            .build();
        let ring = by(
            Rc::new(ring),
            |ring, key| ring.replicas(key).take(3).sum(),
            |_, _| 0,
        );
        all.push(("consistent_hash_ring", ring));
    }
    all
}

/// Of nodes 0, 1, and 2.
pub(super) const WEIGHTS: [u64; 3] = [1, 2, 7];

#[derive(Hash, PartialEq, Eq)]
struct Capable(usize);

impl ::hrw_hash::HrwNode for Capable {
    fn capacity(&self) -> usize {
        WEIGHTS[self.0] as usize
    }
}

pub(super) fn weighted_topology() -> Topology {
    let nodes = WEIGHTS.iter().zip(["0", "1", "2"]);
    let nodes = nodes.map(|(weight, name)| Node::new(name).weight(*weight));
    let topology = Topology::builder().nodes(nodes).build();
    topology.expect("weights can be given")
}

/// Those who know weights; a ring has points in proportion.
pub(super) fn weighted() -> Vec<(&'static str, Box<dyn Placer>)> {
    let points = WEIGHTS.map(|weight| POINTS * weight as usize);
    let ours = by(
        Rc::new(weighted_topology()),
        |topology, key| topology.route(key).index(),
        |_, _| 0,
    );
    let mut ring = ::hashring::HashRing::new();
    let all = points.iter().enumerate();
    ring.batch_add(
        all.flat_map(|(node, &n)| (0..n).map(move |p| (node, p)))
            .collect(),
    );
    let hashring = by(
        Rc::new(ring),
        |ring, key| ring.get(&key).map_or(0, |point: &(usize, usize)| point.0),
        |_, _| 0,
    );
    let ring = ::consistent_hash_ring::RingBuilder::default()
        .weighted_nodes_iter(points.into_iter().enumerate())
        .build();
    let consistent = by(Rc::new(ring), |ring, key| *ring.get(key), |_, _| 0);
    let mut ring = ::conhash::ConsistentHash::new();
    (0..3).for_each(|node| ring.add(&Named(node), points[node]));
    let conhash = by(
        Rc::new(ring),
        |ring, key| ring.get(&key.to_le_bytes()).map_or(0, |node| node.0),
        |_, _| 0,
    );
    let address = |node: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, node)), 80);
    let bucket =
        |node: u8| ::pingora_ketama::Bucket::new(address(node), WEIGHTS[usize::from(node)] as u32);
    let ketama = by(
        Rc::new(::pingora_ketama::Continuum::new(&[0, 1, 2].map(bucket))),
        |ring, key| match ring.node(&key.to_le_bytes()).map(|address| address.ip()) {
            Some(IpAddr::V4(ip)) => usize::from(ip.octets()[3]),
            _ => 0,
        },
        |_, _| 0,
    );
    let mut all = RendezvousNodes::new(DefaultNodeHasher::new());
    for (node, weight) in WEIGHTS.iter().enumerate() {
        let capacity = Capacity::new(*weight as f64).expect("a positive number");
        all.insert(WeightedNode::new(IdNode::new(node), capacity));
    }
    let rendezvous = by(
        Rc::new(all),
        |all, key| {
            all.calc_candidates(&key)
                .next()
                .map_or(0, |node| *node.node)
        },
        |_, _| 0,
    );
    let hrw = by(
        Rc::new(::hrw_hash::HrwNodes::new((0..3).map(Capable))),
        |all, key| all.sorted(&key).next().map_or(0, |node| node.0),
        |_, _| 0,
    );
    vec![
        (OURS, ours),
        ("hashring", hashring),
        ("consistent_hash_ring", consistent),
        ("conhash", conhash),
        ("pingora-ketama", ketama),
        ("rendezvous_hash", rendezvous),
        ("hrw-hash", hrw),
    ]
}
