//! What the cookie says, and who believes it.

use std::collections::BTreeSet;
use std::time::Duration;

use tenfold::session::sticky::{
    Cause, NodeNumber, NodeState, Replication, RoutingId, StateError, StickyError, StickyKeys,
    StickyRouter, StickyStore, Why,
};

use crate::sticky_world::{Cluster, START, VICTIM, cookie};

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
