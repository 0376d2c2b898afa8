//! Nodes die, come back and are added: whose sessions move, and where to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenfold::session::sticky::{
    NodeNumber, NodeState, Replication, StickyError, StickyKeys, StickyRouter, StickyStore,
};
use tenfold::session::{CreateError, MemoryStore, PerUser};

use crate::sticky_world::{Cluster, VICTIM, cookie, share};

#[test]
fn the_dead_are_taken_over_before_their_users_come_back() {
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(2_000);
    for victim in [2, 4, 0] {
        // Nobody asks for anything between the deaths.
        cluster.kill(NodeNumber::new(victim));
        assert!(cluster.maintain());
    }
    assert_eq!(cluster.look(&mut browsers).0, 0);
    let held: usize = cluster
        .nodes
        .values()
        .map(|node| node.sessions().len())
        .sum();
    assert_eq!(held, browsers.len(), "each session is one node's");
    let copies: usize = cluster.nodes.values().map(StickyStore::copies).sum();
    assert_eq!(copies, browsers.len(), "and has one copy");
}

/// The copy was on a node that died and was back, empty, before anybody looked: it has the
/// same number, and nothing else of before.
#[test]
fn a_restart_between_two_rounds_is_noticed() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(300);
    cluster.kill(VICTIM);
    cluster.start(VICTIM);
    assert!(cluster.maintain());
    cluster.kill(NodeNumber::new(0));
    assert_eq!(cluster.look(&mut browsers).0, 0);
}

#[test]
fn copies_that_are_made_later_are_reported_as_missing() {
    let mut cluster = Cluster::of(5, Replication::Later);
    let mut browsers = cluster.begin_many(2_000);
    let of_victim = share(&browsers, VICTIM);
    let reported = cluster.at(VICTIM).unprotected();
    assert_eq!(reported, of_victim);
    cluster.kill(VICTIM);
    let (lost, moved) = cluster.look(&mut browsers);
    assert_eq!((lost, moved.len()), (reported, 0));

    // What a round has sent is safe; what came after it is reported again.
    let mut kept: Vec<_> = cluster.begin_many(1_000);
    assert!(cluster.maintain());
    let other = NodeNumber::new(1);
    assert_eq!(cluster.at(other).unprotected(), 0);
    let late: Vec<_> = (0..500).map(|_| cluster.begin(b"late")).collect();
    let reported = cluster.at(other).unprotected();
    assert_eq!(reported, share(&late, other));
    cluster.kill(other);
    assert_eq!(cluster.look(&mut kept).0, 0);
    let mut late = late;
    let lost = late
        .iter_mut()
        .filter_map(|b| cluster.find(b).is_none().then_some(()));
    assert_eq!(lost.count(), reported);
}

#[test]
fn a_sixth_node_gets_its_share_and_moves_nobody() {
    for settles in [true, false] {
        let mut cluster = Cluster::of(5, Replication::Acknowledged);
        let mut browsers = cluster.begin_many(1_000);
        let sixth = NodeNumber::new(5);
        cluster.start(sixth);
        assert_eq!(cluster.look(&mut browsers), (0, BTreeMap::new()));
        // It has its share of those who are new.
        let new = cluster.begin_many(1_200);
        let has = share(&new, sixth);
        assert!((140..260).contains(&has), "{has} of 1200");
        if settles {
            assert!(cluster.maintain());
            let copies = cluster.at(sixth).copies();
            assert!(copies > 0, "it keeps its share of copies, too");
        }
        // Some copies should be on the sixth now, whether or not they are there yet.
        cluster.kill(VICTIM);
        let of_victim = share(&browsers, VICTIM);
        let (lost, moved) = cluster.look(&mut browsers);
        assert_eq!((lost, moved), (0, BTreeMap::from([(VICTIM, of_victim)])));
    }
}

#[test]
fn who_is_taken_for_dead_finds_out() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browser = cluster.begin(b"1 lamp");
    let home = browser.node;
    let held = cluster.at(home).load(&browser.token).unwrap();
    // A change that it had begun when the others took over.
    let change = cluster
        .at(home)
        .save(&browser.token, held.version(), b"2 lamps");
    let change = change.unwrap();
    let dead = cluster.nodes.remove(&home).unwrap();
    cluster.router.set_state(home, NodeState::Down).unwrap();
    assert_eq!(&cluster.find(&mut browser).unwrap()[..], b"1 lamp");
    let refused = change.confirm_by(&dead, |order| cluster.send(order));
    assert!(matches!(refused, Err(StickyError::Retired)));
    assert!(matches!(
        dead.load(&browser.token),
        Err(StickyError::Retired)
    ));
    assert!(dead.maintain(usize::MAX).orders().is_empty());
}

#[test]
fn a_session_that_is_read_does_not_expire_with_its_server() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browser = cluster.begin(b"");
    let mut idle = cluster.begin(b"");
    // Half an hour is the idle deadline; it is read all the time and never saved.
    for _ in 0..40 {
        cluster.clock.advance(Duration::from_secs(70));
        assert!(cluster.find(&mut browser).is_some());
        cluster.maintain();
    }
    cluster.kill(browser.node);
    assert!(cluster.find(&mut browser).is_some());
    assert!(cluster.find(&mut idle).is_none(), "who was idle is out");
}

/// As the documentation says: nobody counts for all nodes.
#[test]
fn limits_per_user_are_each_nodes_own() {
    let keys = StickyKeys::new(&[7; 32]).unwrap();
    let router = Arc::new(StickyRouter::new(keys, cookie()));
    let nodes = [0, 1].map(NodeNumber::new);
    let stores = nodes.map(|node| {
        router.join(node, 1, 1).unwrap();
        let settings = MemoryStore::builder().max_per_user(1, PerUser::Refuse);
        let router = Arc::clone(&router);
        StickyStore::new(node, 1, router, Replication::Later, settings).unwrap()
    });
    let routing = router.route(None).unwrap().routing;
    for store in &stores {
        let begin = || store.create(routing, Some("ada".into()), b"");
        drop(begin().unwrap());
        let full = begin().unwrap_err();
        assert!(
            matches!(full, StickyError::Create(CreateError::UserFull { max: 1 })),
            "{full:?}"
        );
    }
}
