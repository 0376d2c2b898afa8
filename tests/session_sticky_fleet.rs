//! The acceptance of sticky sessions at full size, and whatever may happen to a fleet in any order.

mod sticky_world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sticky_world::{Browser, Cluster, START, VICTIM, factor, share};
use tenfold::rng::Rng;
use tenfold::session::sticky::{NodeNumber, NodeState, Replication, Why};

const SESSIONS: u32 = 100_000;

/// Five nodes; one dies, and when there are two copies of everything again, another.
#[test]
fn the_death_of_one_of_five_loses_nobody() {
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(SESSIONS);
    let of_victim = share(&browsers, VICTIM);
    let expected = browsers.len() / 5;
    assert!(of_victim.abs_diff(expected) < expected / 20, "{of_victim}");

    cluster.kill(VICTIM);
    let (lost, moved) = cluster.look(&mut browsers);
    assert_eq!(lost, 0);
    let only_those = BTreeMap::from([(VICTIM, of_victim)]);
    assert_eq!(moved, only_those, "nobody else moves");
    // They were shared by all who are left.
    for node in cluster.nodes.keys() {
        let has = share(&browsers, *node);
        assert!(has > expected, "{node} has {has}");
    }

    assert!(cluster.maintain());
    for node in cluster.nodes.values() {
        assert_eq!(node.unprotected(), 0);
    }
    let second = NodeNumber::new(4);
    let of_second = share(&browsers, second);
    cluster.kill(second);
    let (lost, moved) = cluster.look(&mut browsers);
    assert_eq!((lost, moved), (0, BTreeMap::from([(second, of_second)])));
    println!(
        "{} sessions, two deaths: 0 lost, {of_victim} and {of_second} moved",
        browsers.len()
    );
}

/// What is measured against: memory of one server and nothing else.
#[test]
fn without_copies_the_death_of_one_of_five_loses_a_fifth() {
    let mut cluster = Cluster::of(5, Replication::Later);
    let mut browsers = cluster.begin_many(SESSIONS);
    let of_victim = share(&browsers, VICTIM);
    cluster.kill(VICTIM);
    let (lost, moved) = cluster.look(&mut browsers);
    assert_eq!((lost, moved.len()), (of_victim, 0), "and no more");
    let fifth = browsers.len() / 5;
    assert!(lost <= fifth + fifth / 50, "{lost} of {}", browsers.len());
    println!("{} sessions without copies: {lost} lost", browsers.len());
}

/// Five nodes become six, and one of them is drained by its deadline.
#[test]
fn a_sixth_node_moves_nobody_and_a_drain_loses_nobody() {
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(SESSIONS);
    cluster.start(NodeNumber::new(5));
    assert_all_pinned(&cluster, &browsers);
    assert_eq!(cluster.look(&mut browsers), (0, BTreeMap::new()));
    assert!(cluster.maintain());
    assert_eq!(cluster.look(&mut browsers), (0, BTreeMap::new()));

    let of_victim = share(&browsers, VICTIM);
    let until = START + 60;
    cluster.drain(VICTIM, until);
    assert_eq!(
        cluster.look(&mut browsers),
        (0, BTreeMap::new()),
        "the old stay"
    );
    // In ten pieces, before the deadline.
    let piece = of_victim / 10 + 1;
    for _ in 0..10 {
        cluster.clock.advance(Duration::from_secs(5));
        let victim = cluster.at(VICTIM);
        let round = victim.maintain(piece);
        assert!(victim.settle_by(round, |order| cluster.send(order)));
    }
    assert!(cluster.wall.now() < until && cluster.at(VICTIM).is_drained());
    let only_those = BTreeMap::from([(VICTIM, of_victim)]);
    assert_eq!(cluster.look(&mut browsers), (0, only_those));
    println!(
        "{} sessions: a sixth node moved 0, a drain lost 0 and moved {of_victim}",
        browsers.len()
    );
}

/// Each is sent to its server at once, and not round by another.
fn assert_all_pinned(cluster: &Cluster, browsers: &[Browser]) {
    for browser in browsers {
        let route = cluster.router.route(Some(&browser.cookie)).unwrap();
        assert_eq!((route.node, route.why), (browser.node, Why::Pinned));
    }
}

/// What may be true of a browser's session.
#[derive(Debug, Clone)]
struct Said {
    /// What it may say; more than one thing after a change that was not confirmed.
    data: BTreeSet<u32>,
    may_be_gone: bool,
}

#[test]
fn whatever_was_confirmed_outlives_any_order_of_deaths() {
    for seed in 0..u64::from(30 * factor()) {
        random_life(seed);
    }
}

/// Anything in any order; never two deaths without a settled round in between.
#[allow(
    clippy::too_many_lines,
    reason = "one thing that can happen after the other"
)]
fn random_life(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut cluster = Cluster::of(4, Replication::Acknowledged);
    let mut browsers: Vec<(Browser, Said)> = Vec::new();
    let mut ended: Vec<Browser> = Vec::new();
    let mut is_settled = true;
    let mut undetected: Option<NodeNumber> = None;
    for step in 0..400_u32 {
        let pick = rng.below(browsers.len().max(1) as u64) as usize;
        // A node that died and counts as up answers nobody: its users wait.
        let waits = browsers.get(pick).is_none_or(|(browser, _)| {
            Some(cluster.router.route(Some(&browser.cookie)).unwrap().node) == undetected
        });
        match rng.below(16) {
            0..4 => {
                let route = cluster.router.route(None).unwrap();
                if Some(route.node) == undetected {
                    continue;
                }
                let home = cluster.at(route.node);
                let created = home.create(route.routing, None, &step.to_le_bytes());
                let Ok((token, _)) = cluster.confirm(home, created) else {
                    continue;
                };
                let data = BTreeSet::from([step]);
                let browser = Browser {
                    cookie: route.value,
                    token,
                    node: route.node,
                };
                let may_be_gone = false;
                browsers.push((browser, Said { data, may_be_gone }));
            }
            4..10 if !waits => {
                let (browser, said) = &mut browsers[pick];
                let Ok(found) = cluster.try_find(browser) else {
                    assert!(undetected.is_some());
                    continue;
                };
                let Some(held) = found else {
                    assert!(said.may_be_gone, "seed {seed}, step {step}: lost {said:?}");
                    browsers.swap_remove(pick);
                    continue;
                };
                let found = u32::from_le_bytes(held[..].try_into().unwrap());
                assert!(
                    said.data.contains(&found),
                    "seed {seed}, step {step}: {found}, {said:?}"
                );
                let home = cluster.at(browser.node);
                match rng.below(5) {
                    0 | 1 => {
                        let data = step.to_le_bytes();
                        let saved = home.save(&browser.token, held.version(), &data);
                        match cluster.confirm(home, saved) {
                            Ok(_) => said.data = BTreeSet::from([step]),
                            Err(_) => said.data = BTreeSet::from([step, found]),
                        }
                    }
                    2 => {
                        match cluster.confirm(home, home.log_in(&browser.token, "ada")) {
                            Ok(token) => {
                                let old = std::mem::replace(&mut browser.token, token);
                                ended.push(Browser {
                                    token: old,
                                    cookie: browser.cookie.clone(),
                                    node: browser.node,
                                });
                            }
                            // The browser never heard of its new token.
                            Err(_) => {
                                browsers.swap_remove(pick);
                            }
                        }
                    }
                    3 => {
                        let done = cluster.confirm(home, home.revoke(&browser.token));
                        let (browser, _) = browsers.swap_remove(pick);
                        if done.is_ok() {
                            ended.push(browser);
                        }
                    }
                    _ => {}
                }
            }
            10 if is_settled && undetected.is_none() && cluster.nodes.len() > 2 => {
                let nodes: Vec<_> = cluster.nodes.keys().copied().collect();
                let node = nodes[rng.below(nodes.len() as u64) as usize];
                cluster.nodes.remove(&node);
                undetected = Some(node);
                is_settled = false;
            }
            11 if undetected.is_none() => {
                let number = NodeNumber::new(rng.below(7) as u16);
                if !cluster.nodes.contains_key(&number) {
                    cluster.start(number);
                    is_settled = false;
                }
            }
            12 if undetected.is_none() => {
                let up = cluster.nodes.keys().copied().collect::<Vec<_>>();
                let node = up[rng.below(up.len() as u64) as usize];
                let until = cluster.wall.now() + 10;
                if up.len() > 3 {
                    cluster.drain(node, until);
                    while !cluster.at(node).is_drained() {
                        let round = cluster.at(node).maintain(7);
                        assert!(
                            cluster
                                .at(node)
                                .settle_by(round, |order| cluster.send(order))
                        );
                    }
                    cluster.clock.advance(Duration::from_secs(10));
                    cluster.nodes.remove(&node);
                    cluster.router.remove(node);
                    is_settled = false;
                }
            }
            13 => cluster.clock.advance(Duration::from_secs(1)),
            _ => {
                if let Some(node) = undetected.take() {
                    cluster.router.set_state(node, NodeState::Down).unwrap();
                } else {
                    is_settled = cluster.maintain() && cluster.maintain();
                    assert!(is_settled, "seed {seed}: nobody is missing");
                }
            }
        }
    }
    if let Some(node) = undetected {
        cluster.router.set_state(node, NodeState::Down).unwrap();
    }
    for (browser, said) in &mut browsers {
        let found = cluster.find(browser);
        let found = found.map(|held| u32::from_le_bytes(held[..].try_into().unwrap()));
        let is_right = found.map_or(said.may_be_gone, |found| said.data.contains(&found));
        assert!(is_right, "seed {seed}: {found:?}, {said:?}");
    }
    for browser in &mut ended {
        assert!(cluster.find(browser).is_none(), "seed {seed}: it is back");
        for node in cluster.nodes.values() {
            assert!(node.load(&browser.token).is_err());
        }
    }
}
