//! A node is emptied, and loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tenfold::session::sticky::{NodeNumber, NodeState, Replication, StickyError};

use crate::sticky_world::{Cluster, START, VICTIM, share};

#[test]
fn users_come_and_go_while_a_node_is_drained() {
    let cluster = Cluster::of(5, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(1_000);
    let of_victim = share(&browsers, VICTIM);
    let until = START + 60;
    cluster.drain(VICTIM, until);

    assert_eq!(
        cluster.look(&mut browsers),
        (0, BTreeMap::new()),
        "the old stay"
    );
    let new = cluster.begin_many(200);
    assert_eq!(share(&new, VICTIM), 0, "the new go elsewhere");
    // In ten pieces, before the deadline; users come and go meanwhile.
    let piece = of_victim / 10 + 1;
    for _ in 0..10 {
        cluster.clock.advance(Duration::from_secs(5));
        let victim = cluster.at(VICTIM);
        let before = victim.sessions().len();
        let round = victim.maintain(piece);
        assert!(victim.settle_by(round, |order| cluster.send(order)));
        assert_eq!(victim.sessions().len(), before - piece.min(before));
        assert_eq!(cluster.look(&mut browsers).0, 0);
    }
    assert!(cluster.wall.now() < until);
    assert!(cluster.at(VICTIM).is_drained(), "all moved");
    assert_eq!(share(&browsers, VICTIM), 0);
    cluster.clock.advance(Duration::from_secs(20));
    assert!(cluster.maintain());
    assert_eq!(cluster.look(&mut browsers), (0, BTreeMap::new()));

    // Two copies of everything, none of them there.
    let mut cluster = cluster;
    cluster.nodes.remove(&VICTIM);
    cluster.router.remove(VICTIM);
    cluster.maintain();
    cluster.kill(NodeNumber::new(0));
    assert_eq!(cluster.look(&mut browsers).0, 0);
}

#[test]
fn who_comes_back_after_a_drain_is_sent_on() {
    let cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(300);
    cluster.drain(VICTIM, START + 60);
    assert!(cluster.maintain());
    // Called off: the cookies still say so, but their sessions are elsewhere.
    cluster
        .router
        .set_state(VICTIM, NodeState::Up { weight: 1 })
        .unwrap();
    let gone = browsers
        .iter()
        .find(|browser| browser.node == VICTIM)
        .unwrap();
    let moved = cluster.at(VICTIM).load(&gone.token);
    assert!(matches!(moved, Err(StickyError::Moved { to }) if to != VICTIM));
    let saved = cluster.at(VICTIM).revoke(&gone.token);
    assert!(matches!(saved, Err(StickyError::Moved { .. })));
    let of_victim = share(&browsers, VICTIM);
    let (lost, moved) = cluster.look(&mut browsers);
    assert_eq!((lost, moved), (0, BTreeMap::from([(VICTIM, of_victim)])));
}

#[test]
fn a_drain_whose_messages_fail_loses_nothing() {
    let cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(300);
    cluster.drain(VICTIM, START + 60);
    let victim = cluster.at(VICTIM);
    let round = victim.maintain(usize::MAX);
    assert!(victim.sessions().is_empty());
    assert!(!victim.settle_by(round, |_| None), "nothing arrives");
    let round = victim.maintain(usize::MAX);
    // It arrives, and the answer does not.
    assert!(!victim.settle_by(round, |order| cluster.send(order).and(None)));
    let round = victim.maintain(usize::MAX);
    assert!(victim.settle_by(round, |order| cluster.send(order)));
    assert_eq!(cluster.look(&mut browsers).0, 0);
    let held: usize = cluster
        .nodes
        .values()
        .map(|node| node.sessions().len())
        .sum();
    assert_eq!(held, 300);
}
