//! The end of a session is one on every node.

use tenfold::session::UserId;
use tenfold::session::sticky::{NodeNumber, Order, Receipt, Replication, StickyError, StickyStore};

use crate::sticky_world::{Cluster, VICTIM};

#[test]
fn a_logout_is_not_undone_by_a_death_or_a_late_message() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let browser = cluster.begin(b"1 lamp");
    let home = cluster.at(browser.node);
    // A save whose message is late.
    let held = home.load(&browser.token).unwrap();
    let late = home
        .save(&browser.token, held.version(), b"2 lamps")
        .unwrap();
    let late: Vec<Order> = late.orders().to_vec();
    cluster.act(&browser, StickyStore::revoke).unwrap();
    for order in &late {
        assert_eq!(cluster.send(order), Some(Receipt::default()));
    }
    let death = browser.node;
    cluster.kill(death);
    cluster.maintain();
    for node in cluster.nodes.values() {
        assert!(matches!(node.load(&browser.token), Err(StickyError::Gone)));
    }
}

#[test]
fn a_logout_reaches_copies_wherever_they_may_be() {
    // The copy is on the old second; since the sixth joined, the sixth is second.
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    let mut browsers = cluster.begin_many(300);
    cluster.start(NodeNumber::new(5));
    for browser in &browsers {
        cluster.act(browser, StickyStore::revoke).unwrap();
    }
    cluster.kill(VICTIM);
    for browser in &mut browsers {
        assert!(cluster.find(browser).is_none());
    }
    let copies: usize = cluster.nodes.values().map(StickyStore::copies).sum();
    assert_eq!(copies, 0);
}

#[test]
fn a_logout_everywhere_ends_sessions_copies_and_what_is_under_way() {
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    let ada: UserId = "ada".into();
    let log_in = |cluster: &Cluster, user: &str| {
        let mut browser = cluster.begin(b"");
        let renewed = cluster.act(&browser, |node, token| node.log_in(token, user));
        browser.token = renewed.unwrap();
        browser
    };
    let mut hers: Vec<_> = (0..40).map(|_| log_in(&cluster, "ada")).collect();
    let mut others: Vec<_> = (0..40).map(|_| log_in(&cluster, "bob")).collect();
    let mut spared = log_in(&cluster, "ada");
    // Sessions of a node that died and were not asked for since; and copies under way.
    cluster.kill(VICTIM);
    let late: Vec<_> = hers
        .iter()
        .filter(|browser| browser.node != VICTIM)
        .flat_map(|browser| {
            let home = cluster.at(browser.node);
            let held = home.load(&browser.token).unwrap();
            let saved = home.save(&browser.token, held.version(), b"late").unwrap();
            saved.orders().to_vec()
        })
        .collect();
    if spared.node == VICTIM {
        cluster.find(&mut spared).unwrap();
    }
    cluster.revoke_user(&ada, Some(&spared.token));
    for order in &late {
        cluster.send(order);
    }
    let mut after = log_in(&cluster, "ada");
    cluster.maintain();
    cluster.kill(NodeNumber::new(0));
    for browser in &mut hers {
        assert!(cluster.find(browser).is_none());
    }
    for browser in &mut others {
        assert!(cluster.find(browser).is_some());
    }
    assert!(cluster.find(&mut spared).is_some());
    assert!(cluster.find(&mut after).is_some(), "logged in after it");
}
