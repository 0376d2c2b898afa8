//! What users of sticky balancers reported, and what a node may be told: each is a story of a few servers.

mod sticky_world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sticky_world::{Cluster, START, VICTIM, cookie, share};
use tenfold::session::sticky::{
    Cause, Message, NodeNumber, NodeState, Order, Receipt, Replication, RoutingId, StateError,
    StickyError, StickyKeys, StickyRouter, StickyStore, Why,
};
use tenfold::session::{FrameError, MemoryStore, UserId};

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

#[test]
fn a_login_breaks_no_stickiness() {
    let mut cluster = Cluster::of(5, Replication::Acknowledged);
    for _ in 0..50 {
        let mut browser = cluster.begin(b"cart");
        let old = browser.token.clone();
        let renewed = cluster.act(&browser, |node, token| node.log_in(token, "ada"));
        browser.token = renewed.unwrap();
        let renewed = cluster.act(&browser, StickyStore::cycle);
        browser.token = renewed.unwrap();

        let route = cluster.router.route(Some(&browser.cookie)).unwrap();
        assert_eq!((route.node, route.why), (browser.node, Why::Pinned));
        let held = cluster.find(&mut browser).unwrap();
        assert_eq!(
            (&held[..], held.user()),
            (&b"cart"[..], Some(&"ada".into()))
        );
        assert_eq!(held.routing(), route.routing);

        // The death of the node brings the new token over, and not the old one.
        let home = browser.node;
        cluster.kill(home);
        assert_eq!(&cluster.find(&mut browser).unwrap()[..], b"cart");
        for node in cluster.nodes.values() {
            assert!(matches!(node.load(&old), Err(StickyError::Gone)));
        }
        cluster.start(home);
        cluster.maintain();
    }
}

#[test]
fn a_forged_cookie_is_no_cookie() {
    let cluster = Cluster::of(5, Replication::Acknowledged);
    let own = loop {
        let browser = cluster.begin(b"");
        if browser.node != VICTIM {
            break browser.cookie;
        }
    };
    let stranger = StickyRouter::new(StickyKeys::new(&[8; 32]).unwrap(), cookie());
    stranger.join(VICTIM, 3, 1).unwrap();
    let mut nodes = BTreeSet::new();
    for n in 0..200 {
        let forged = match n % 4 {
            // Signed by somebody else, to aim at a node.
            0 => stranger.route(None).unwrap().value,
            // Ours, with another node in front.
            1 => format!("{}{}", &stranger.route(None).unwrap().value[..4], &own[4..]),
            2 => own[..n % 32].to_owned(),
            _ => "A".repeat(n),
        };
        let route = cluster.router.route(Some(&forged)).unwrap();
        assert_eq!(route.why, Why::New, "{forged}");
        assert!(route.set_cookie.is_some());
        nodes.insert(route.node);
    }
    assert_eq!(nodes.len(), 5, "placed anew, wherever it aimed");
    assert_eq!(cluster.router.stats().refused, 200);
    assert!(cluster.router.routing(&own).is_some());
}

#[test]
fn secrets_are_rotated_without_moving_anybody() {
    let router = |keys| {
        let router = StickyRouter::new(keys, cookie());
        (0..5).for_each(|n| router.join(NodeNumber::new(n), 1, 1).unwrap());
        router
    };
    let old = router(StickyKeys::new(&[1; 32]).unwrap());
    let next = StickyKeys::new(&[2; 32]).unwrap();
    let both = router(next.clone().and_previous(&[1; 32]).unwrap());
    let next = router(next);
    for _ in 0..50 {
        let first = old.route(None).unwrap();
        let again = both.route(Some(&first.value)).unwrap();
        assert_eq!((again.node, again.why), (first.node, Why::Pinned));
        assert_eq!(again.routing, first.routing);
        assert!(again.set_cookie.is_some(), "signed anew");
        let then = next.route(Some(&again.value)).unwrap();
        assert_eq!(
            (then.node, then.why, then.set_cookie),
            (first.node, Why::Pinned, None)
        );
        assert_eq!(next.route(Some(&first.value)).unwrap().why, Why::New);
    }
}

#[test]
fn a_cookie_says_what_became_of_its_node() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let browsers: Vec<_> = (0..3)
        .map(|n| {
            loop {
                let browser = cluster.begin(b"");
                if browser.node == NodeNumber::new(n) {
                    break browser;
                }
            }
        })
        .collect();
    let why = |cluster: &Cluster, n: usize| {
        let route = cluster.router.route(Some(&browsers[n].cookie)).unwrap();
        assert_eq!(route.set_cookie.is_some(), route.why != Why::Pinned);
        assert_eq!(route.node == browsers[n].node, route.why == Why::Pinned);
        route.why
    };
    let cause = |n: usize, cause| {
        let from = browsers[n].node;
        Why::Repinned { from, cause }
    };
    let [zero, one, two] = [0, 1, 2].map(NodeNumber::new);
    assert_eq!(why(&cluster, 0), Why::Pinned);
    cluster.kill(zero);
    assert_eq!(why(&cluster, 0), cause(0, Cause::Down));
    let up = NodeState::Up { weight: 1 };
    let error = cluster.router.set_state(zero, up).unwrap_err();
    assert_eq!(
        error,
        StateError::Down { node: zero },
        "others have taken over"
    );
    cluster.start(zero);
    assert_eq!(why(&cluster, 0), cause(0, Cause::OldEpoch));
    let error = cluster.router.join(zero, 1, 1).unwrap_err();
    assert!(matches!(
        error,
        StateError::Incarnation {
            before: 4,
            found: 1,
            ..
        }
    ));

    cluster.drain(one, START + 10);
    assert_eq!(why(&cluster, 1), Why::Pinned);
    cluster.clock.advance(Duration::from_secs(10));
    assert_eq!(why(&cluster, 1), cause(1, Cause::Drained));
    cluster.router.remove(two);
    assert_eq!(why(&cluster, 2), cause(2, Cause::Removed));
    let error = cluster.router.set_state(two, up).unwrap_err();
    assert_eq!(error, StateError::Unknown { node: two });
    cluster.router.remove(zero);
    assert!(cluster.router.route(None).is_err(), "nobody takes sessions");
}

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
fn an_unconfirmed_change_is_an_error_and_is_copied_later() {
    let mut cluster = Cluster::of(3, Replication::Acknowledged);
    let mut browser = cluster.begin(b"1 lamp");
    let home = cluster.at(browser.node);
    let held = home.load(&browser.token).unwrap();
    let change = home
        .save(&browser.token, held.version(), b"2 lamps")
        .unwrap();
    let failed = change.confirm_by(home, |_| None);
    let missing = matches!(
        failed,
        Err(StickyError::Unconfirmed {
            missing: 1,
            expected: 1
        })
    );
    assert!(missing, "{failed:?}");
    assert_eq!(home.unprotected(), 1);
    assert!(cluster.maintain());
    assert_eq!(cluster.at(browser.node).unprotected(), 0);
    cluster.kill(browser.node);
    assert_eq!(&cluster.find(&mut browser).unwrap()[..], b"2 lamps");
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

#[test]
fn damaged_messages_are_refused() {
    let cluster = Cluster::of(2, Replication::Acknowledged);
    let route = cluster.router.route(None).unwrap();
    let home = cluster.at(route.node);
    let change = home
        .create(route.routing, Some("ada".into()), b"cart")
        .unwrap();
    let bytes = change.orders()[0].message().to_bytes();
    assert!(Message::from_bytes(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Message::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let last = bytes.len() - 1;
    let mut wrong = bytes;
    wrong[last] ^= 1;
    let error = Message::from_bytes(&wrong).unwrap_err();
    assert_eq!(error, FrameError::Checksum.into());
    for wrong in [&[][..], &[2, 0, 0, 0, 0], &[0, 0, 0, 0], &[0; 6]] {
        assert!(Receipt::from_bytes(wrong).is_err());
    }
}

#[test]
fn only_a_newer_version_wins() {
    let settings = MemoryStore::builder;
    let (one, two) = (settings().build().unwrap(), settings().build().unwrap());
    let (token, first) = one.create(Some("ada".into()), b"1".as_slice()).unwrap();
    let old: Vec<_> = one.export(|_| true).collect();
    one.save(&token, first, b"2".as_slice()).unwrap();
    let new: Vec<_> = one.export(|_| true).collect();
    let import = |frames: &Vec<_>| two.import(frames.clone(), None);
    assert_eq!((import(&new).taken, two.len()), (1, 1));
    assert_eq!((import(&old).older, import(&new).older), (1, 1));
    assert_eq!(&two.load(&token).unwrap()[..], b"2");
    two.revoke(&token).unwrap();
    assert_eq!(
        (import(&old).taken, import(&new).taken),
        (1, 1),
        "newer wins"
    );
    assert_eq!((&two.load(&token).unwrap()[..], two.len()), (&b"2"[..], 1));
    assert_eq!(two.sessions_of("ada").len(), 1);
    // What came from elsewhere ends with the rest.
    assert_eq!(two.revoke_user("ada", None).unwrap(), 1);
    assert!(two.load(&token).is_none() && two.is_empty());
}

#[test]
fn routing_ids_open_nothing_and_tokens_are_not_in_messages() {
    let cluster = Cluster::of(2, Replication::Acknowledged);
    let route = cluster.router.route(None).unwrap();
    let routing: RoutingId = route.routing;
    let home = cluster.at(route.node);
    let change = home.create(routing, None, b"cart").unwrap();
    let bytes = change.orders()[0].message().to_bytes();
    let (token, _) = change
        .confirm_by(home, |order| cluster.send(order))
        .unwrap();
    let secret = token.reveal();
    let shown = format!(
        "{home:?} {:?} {:?}",
        cluster.router,
        home.load(&token).unwrap()
    );
    assert!(!shown.contains(&secret) && !shown.contains("cart"));
    let hash = token.key().to_bytes();
    assert!(
        bytes.windows(16).any(|window| window == hash),
        "its hash is"
    );
    assert!(!bytes.windows(43).any(|window| window == secret.as_bytes()));
}
