//! The failures that a router is bought for, each by its name.

use std::collections::BTreeSet;

use crate::nodes::{name, names, of};
use tenfold::hash::StableKey;
use tenfold::rng::Rng;
use tenfold::router::placement::Ranges;
use tenfold::router::{HotKeys, Loads, Node, NodeId, Policy, Router, Span, Spread, Topology};

const USERS: u64 = 200_000;

/// Four databases are full and a fifth is added: `user_id % n` moves four rows of
/// five, `Balanced` one of five, and only onto the new one.
#[test]
fn a_fifth_shard() {
    for (policy, expected) in [(Policy::Modulo, 0.8), (Policy::Balanced, 0.2)] {
        let four = of(policy.clone(), 4);
        let five = four.edit().node("node-4").build().unwrap();
        let new = five.id_of("node-4").unwrap();
        let moved: Vec<u64> = (0..USERS)
            .filter(|&user| four.route(user) != five.route(user))
            .collect();
        let share = moved.len() as f64 / USERS as f64;
        assert!((share - expected).abs() < 0.01, "{policy}: {share}");
        let onto_old = moved.iter().filter(|user| five.route(**user) != new);
        assert_eq!(onto_old.count() == 0, policy == Policy::Balanced);
    }
}

/// Whoever copies what the plan lists has copied every row that is looked for
/// elsewhere afterwards, and no other.
#[test]
fn rows_are_copied_by_the_plan() {
    for policy in [Policy::Modulo, Policy::Balanced] {
        let four = of(policy.clone(), 4);
        let five = four.edit().node("node-4").build().unwrap();
        let plan = four.plan(&five).unwrap();
        let mut stores = vec![BTreeSet::new(); 5];
        for user in 0..20_000_u64 {
            stores[four.route(user).index()].insert((user.stable_hash(0), user));
        }
        let mut copied = 0;
        for part in plan.moves() {
            let Span::Hashes(hashes) = part.span() else {
                panic!("{policy} places by hash: {}", part.span());
            };
            let from = four.id_of(part.from()).unwrap().index();
            let to = five.id_of(part.to()).unwrap().index();
            let rows: Vec<_> = stores[from]
                .range((*hashes.start(), 0)..=(*hashes.end(), u64::MAX))
                .copied()
                .collect();
            copied += rows.len();
            for row in rows {
                stores[from].remove(&row);
                stores[to].insert(row);
            }
        }
        for user in 0..20_000_u64 {
            let row = (user.stable_hash(0), user);
            assert!(stores[five.route(user).index()].contains(&row), "{user}");
        }
        // None was lost, and none is in two places.
        assert_eq!(stores.iter().map(BTreeSet::len).sum::<usize>(), 20_000);
        let needed = (plan.moved_share().unwrap() * 20_000.0).round();
        assert!((copied as f64 - needed).abs() < 200.0, "{policy}: {copied}");
    }
}

/// Rows by date: what is written today lies on the newest shard. Splitting the newest
/// range moves all of it to the shard that is new; hashing spreads it.
#[test]
fn the_newest_range_is_hot() {
    let years = Ranges::all("node-0")
        .split(20_250_101_u64, "node-1")
        .split(20_260_101_u64, "node-2");
    let by_year = of(Policy::Range(years.clone()), 3);
    let today = |minute: u64| 20_260_801 + minute % 100;
    let shards = |topology: &Topology| -> BTreeSet<String> {
        let routed = (0..10_000).map(|minute| topology.route(today(minute)));
        routed.map(|node| name(topology, node)).collect()
    };
    assert_eq!(shards(&by_year), BTreeSet::from(["node-2".into()]));
    let halved = Policy::Range(years.split(20_260_701_u64, "node-3"));
    let split = by_year
        .edit()
        .node("node-3")
        .policy(halved)
        .build()
        .unwrap();
    assert_eq!(shards(&split), BTreeSet::from(["node-3".into()]));
    let report = of(Policy::Balanced, 3).skew_report(0..10_000_u64);
    assert!(report.max_over_mean() < 1.05, "{report}");
}

fn in_zones(copies: usize, spread: Spread) -> Router {
    let nodes = (0..6)
        .map(|number| Node::new(format!("node-{number}")).zone(format!("zone-{}", number % 3)));
    let topology = Topology::builder()
        .nodes(nodes)
        .replicas(copies)
        .distinct_zones(spread)
        .build();
    Router::new(topology.unwrap())
}

/// Reads that find no copy of their row on any node that lives.
fn lost(router: &Router, dead: impl Fn(&Node) -> bool) -> u64 {
    let topology = router.topology();
    let alive = |id: NodeId| topology.node(id).is_some_and(|node| !dead(node));
    let answered = (0..USERS).filter(|&user| {
        let node = router.route_where(user, alive);
        node.is_some_and(|node| router.replicas(user).contains(&node))
    });
    USERS - answered.count() as u64
}

/// Whichever shard dies, every row has a copy elsewhere, and is read from it.
#[test]
fn a_dead_shard() {
    let (single, copied) = (in_zones(1, Spread::Nodes), in_zones(2, Spread::Require));
    for shard in names(6) {
        let sixth = lost(&single, |node| node.name() == shard);
        assert!(sixth.abs_diff(USERS / 6) < USERS / 100, "{shard}: {sixth}");
        assert_eq!(lost(&copied, |node| node.name() == shard), 0, "{shard}");
    }
}

/// Whichever zone dies, no row is lost if its copies had to be in two; some are if
/// they only had to be on two nodes.
#[test]
fn a_dead_zone() {
    let (anywhere, zones) = (in_zones(2, Spread::Nodes), in_zones(2, Spread::Require));
    for zone in ["zone-0", "zone-1", "zone-2"] {
        let dead = |node: &Node| node.zone_name() == Some(zone);
        assert!(lost(&anywhere, dead) > USERS / 50, "{zone}");
        assert_eq!(lost(&zones, dead), 0, "{zone}");
    }
}

/// A flash crowd: a fifth or a quarter of all requests are for one of many keys.
fn stream(share: f64, seed: u64) -> impl Iterator<Item = u64> {
    let mut rng = Rng::with_seed(seed);
    let out_of = (share * 1000.0) as u64;
    std::iter::repeat_with(move || {
        if rng.below(1000) < out_of {
            STAR
        } else {
            rng.below(STAR)
        }
    })
}

const STAR: u64 = 1_000_000;

/// One key has more requests than its shard can answer: it is found within 2 000
/// requests, and spread so that no shard has more than 1.3 times the mean.
#[test]
fn celebrity() {
    for (shards, share) in [
        (4, 0.2),
        (4, 0.25),
        (8, 0.2),
        (8, 0.25),
        (16, 0.2),
        (16, 0.25),
    ] {
        let topology = of(Policy::Balanced, shards);
        let hot = HotKeys::new();
        let window: Vec<u64> = stream(share, 7).take(2_000).collect();
        for key in &window {
            hot.note(key);
        }
        let top = &hot.top(1)[0];
        assert_eq!(top.bytes(), STAR.to_le_bytes());
        let seen = (top.count() - top.error()) as f64 / hot.total() as f64;
        assert!((seen - share).abs() < 0.04, "{seen} of {share}");

        let parts = topology.skew_report(&window).parts_for_heaviest();
        let copies = topology.spread_over(top.bytes(), parts);
        let load = |spread: bool| {
            let mut rng = Rng::with_seed(9);
            let mut loads = vec![0_u64; shards];
            for key in stream(share, 8).take(USERS as usize) {
                let node = if spread && key == STAR {
                    copies[rng.below(copies.len() as u64) as usize]
                } else {
                    topology.route(key)
                };
                loads[node.index()] += 1;
            }
            let fullest = loads.into_iter().max().unwrap();
            fullest as f64 * shards as f64 / USERS as f64
        };
        let (before, after) = (load(false), load(true));
        assert!(before > 1.5, "{shards} {share}: {before}");
        assert!(after <= 1.3, "{shards} {share}: {after} over {parts}");
    }
}

/// Nobody is taken for a celebrity who is none.
#[test]
fn no_celebrity() {
    let topology = of(Policy::Balanced, 8);
    let hot = HotKeys::new();
    let window: Vec<u64> = stream(0.0, 7).take(2_000).collect();
    for key in &window {
        hot.note(key);
    }
    let top = &hot.top(1)[0];
    assert!(top.count() - top.error() < 10, "{top:?}");
    assert_eq!(topology.skew_report(&window).parts_for_heaviest(), 1);
}

/// A counter that is written too often is kept in parts: none of the likes is lost, also
/// not when it gets more parts on the way.
#[test]
fn a_counter_in_parts() {
    let topology = of(Policy::Balanced, 10);
    let mut rng = Rng::with_seed(3);
    let mut likes = vec![0_u64; topology.node_bound()];
    let mut parts = topology.spread_over("post:1", 1);
    assert_eq!(parts, [topology.route("post:1")]);
    for like in 0..10_000_u64 {
        if like % 1_000 == 999 {
            let more = topology.spread_over("post:1", parts.len() + 1);
            assert!(more.starts_with(&parts), "{more:?} after {parts:?}");
            parts = more;
        }
        likes[parts[rng.below(parts.len() as u64) as usize].index()] += 1;
        let gathered: u64 = parts.iter().map(|part| likes[part.index()]).sum();
        assert_eq!(gathered, like + 1);
    }
}

/// A tier of caches in the same crowd: none has more under way than 1.25 times its share,
/// and a key leaves its cache only when that is full.
#[test]
fn bounded_caches() {
    let topology = of(Policy::Balanced, 8);
    let loads = Loads::new(&topology);
    let mut rng = Rng::with_seed(5);
    let mut under_way: Vec<NodeId> = Vec::new();
    let mut elsewhere = 0;
    for key in stream(0.25, 6).take(100_000) {
        while under_way.len() >= 64 {
            let done = under_way.swap_remove(rng.below(under_way.len() as u64) as usize);
            loads.end(done);
        }
        let room = |of: u64| (of as f64) < (1.25 * (loads.total() + 1) as f64 / 8.0).ceil();
        let home = topology.route(key);
        let node = topology.route_bounded(key, &loads, 1.25);
        assert_eq!(node == home, room(loads.of(home)), "{key}");
        elsewhere += u64::from(node != home);
        loads.begin(node);
        under_way.push(node);
        let bound = (1.25 * loads.total() as f64 / 8.0).ceil() as u64;
        assert!(loads.of(node) <= bound, "{} of {bound}", loads.of(node));
    }
    // The celebrity must: it has twice a cache's share.
    assert!(elsewhere > 12_000, "{elsewhere}");
}
