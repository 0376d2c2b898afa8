//! Sticky memory behind the web layer, over real HTTP: servers with sessions in memory behind a balancer, all of them
//! on sockets, and browsers that keep cookies.

#[path = "../examples/session_web/client.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod client;
#[path = "../examples/session_web/cluster.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod cluster;
#[path = "../examples/session_web/shop.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod shop;

use std::net::SocketAddr;

use client::{Browser, Reply};
use cluster::Cluster;
use tenfold::session::sticky::{NodeNumber, NodeState};

fn run(servers: u16, test: impl AsyncFnOnce(Cluster, SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new().unwrap();
        for number in 0..servers {
            cluster.start(number, 1).await.unwrap();
        }
        let front = cluster.balance().await.unwrap();
        test(cluster, front).await;
    });
}

/// So many browsers, each with a user of its own.
async fn logged_in(front: SocketAddr, count: usize) -> Vec<Browser> {
    let mut browsers: Vec<_> = (0..count).map(|_| Browser::new(front)).collect();
    for (n, browser) in browsers.iter_mut().enumerate() {
        let reply = browser.post(&format!("/log-in/user-{n}")).await.unwrap();
        assert_eq!(reply.status, 200);
        assert!(browser.jar.contains_key(ID) && browser.jar.contains_key(NODE));
    }
    browsers
}

/// Which server answers each of them, and why that; all are logged in.
async fn whys(browsers: &mut [Browser]) -> Vec<String> {
    let mut whys = Vec::new();
    for (n, browser) in browsers.iter_mut().enumerate() {
        let reply = browser.get("/me").await.unwrap();
        let why = reply.header("x-route").unwrap_or_default().to_owned();
        assert_eq!(
            (reply.status, reply.text()),
            (200, format!("user-{n}")),
            "{why}"
        );
        whys.push(why);
    }
    whys
}

/// Where a request of the browser ends if it is sent to a server itself.
async fn ask_directly(browser: &Browser, server: SocketAddr, method: &str, path: &str) -> Reply {
    let mut direct = browser.clone();
    direct.server = server;
    direct.send(method, path, &[]).await.unwrap()
}

const ID: &str = "__Host-id";
const NODE: &str = "__Host-node";

#[test]
fn the_death_of_a_server_logs_nobody_out() {
    run(5, async |cluster, front| {
        let mut browsers = logged_in(front, 40).await;
        let mut gone = browsers.pop().unwrap();
        let stolen = gone.clone();
        assert_eq!(gone.post("/log-out").await.unwrap().status, 200);
        for browser in &mut browsers {
            assert_eq!(browser.post("/cart/lamp").await.unwrap().status, 200);
        }
        let before = whys(&mut browsers).await;
        assert!(
            before.iter().all(|why| why.ends_with("Pinned")),
            "{before:?}"
        );
        cluster.kill(NodeNumber::new(2)).await;
        let after = whys(&mut browsers).await;
        for (before, after) in before.iter().zip(&after) {
            let was_there = before.starts_with("node 2");
            assert_eq!(after.contains("Down"), was_there, "{before} -> {after}");
        }
        // What was put into the cart is there, too, and more can be.
        for browser in &mut browsers {
            assert_eq!(browser.post("/cart/chair").await.unwrap().status, 200);
            assert_eq!(browser.get("/cart").await.unwrap().text(), "chair lamp");
        }
        // A second one, once the others have made new copies; and one that joins moves nobody.
        cluster.maintain().await;
        cluster.start(7, 1).await.unwrap();
        cluster.maintain().await;
        let again = whys(&mut browsers).await;
        assert!(again.iter().all(|why| why.ends_with("Pinned")), "{again:?}");
        cluster.kill(NodeNumber::new(0)).await;
        whys(&mut browsers).await;
        // Who was out before it all is out.
        for mut out in [gone, stolen] {
            assert_eq!(out.get("/me").await.unwrap().status, 401);
        }
    });
}

#[test]
fn a_request_at_the_wrong_server_is_told_where_it_belongs_and_does_nothing() {
    run(3, async |cluster, front| {
        let mut browser = logged_in(front, 1).await.remove(0);
        let why = whys(std::slice::from_mut(&mut browser)).await.remove(0);
        let home: u16 = why["node ".len()..][..1].parse().unwrap();
        for number in 0..3 {
            let server = cluster.address(NodeNumber::new(number)).unwrap();
            let reply = ask_directly(&browser, server, "POST", "/cart/lamp").await;
            if number == home {
                assert_eq!(reply.status, 200);
                assert_eq!(reply.cookies().count(), 0, "there is nothing new to say");
                assert_eq!(browser.post("/cart/lamp").await.unwrap().status, 200);
                continue;
            }
            assert_eq!((reply.status, reply.text()), (421, String::new()));
            assert_eq!(reply.header("x-sticky-node"), Some(&*home.to_string()));
            let pin = reply.header("x-sticky").unwrap();
            assert_eq!(
                cluster.router.routing(pin),
                cluster.router.routing(&browser.jar[NODE])
            );
        }
        // What somebody made up is neither followed nor believed.
        let pin = browser.jar[NODE].clone();
        let forged = format!("{}A{}", &pin[..8], &pin[9..]);
        let server = cluster.address(NodeNumber::new(home)).unwrap();
        browser.server = server;
        let reply = browser.send("GET", "/me", &[("x-sticky", &forged)]).await;
        assert_eq!(reply.unwrap().text(), "user-0");
        browser.jar.insert(NODE.to_owned(), forged);
        let reply = browser.get("/cart").await.unwrap();
        assert!(matches!(reply.status, 200 | 421), "placed anew");
    });
}

#[test]
fn a_drained_server_hands_its_sessions_over_and_sends_browsers_after_them() {
    run(4, async |cluster, front| {
        let mut browsers = logged_in(front, 40).await;
        let before = whys(&mut browsers).await;
        let drained = NodeNumber::new(1);
        // Until a moment that does not come.
        let until = u64::MAX;
        cluster
            .router
            .set_state(drained, NodeState::Draining { until })
            .unwrap();
        let stay = whys(&mut browsers).await;
        assert_eq!(before, stay, "the old stay");
        cluster.maintain().await;
        let after = whys(&mut browsers).await;
        for (before, after) in before.iter().zip(&after) {
            let was_there = before.starts_with("node 1");
            assert_eq!(before[..6] != after[..6], was_there, "{before} -> {after}");
        }
        // Their cookies say so now.
        let again = whys(&mut browsers).await;
        assert!(
            again
                .iter()
                .all(|why| why.ends_with("Pinned") && !why.starts_with("node 1"))
        );
        cluster.kill(drained).await;
        assert_eq!(whys(&mut browsers).await, again);
    });
}

/// One died and one joined before anybody looked: some sessions are not with who is first in
/// order now.
#[test]
fn a_session_is_found_wherever_its_copy_is() {
    run(4, async |cluster, front| {
        let mut browsers = logged_in(front, 60).await;
        let before = whys(&mut browsers).await;
        cluster.kill(NodeNumber::new(2)).await;
        cluster
            .router
            .set_state(NodeNumber::new(2), NodeState::Down)
            .unwrap();
        cluster.start(7, 1).await.unwrap();
        // Where those are sent first who were there, by the new order: not to who has the copy.
        let routed = browsers.iter().zip(&before).filter(|(browser, before)| {
            let route = cluster.router.route(Some(&browser.jar[NODE])).unwrap();
            before.starts_with("node 2") && route.node == NodeNumber::new(7)
        });
        assert!(routed.count() > 0);
        let after = whys(&mut browsers).await;
        for (before, after) in before.iter().zip(&after) {
            let was_there = before.starts_with("node 2");
            assert_eq!(before[..6] != after[..6], was_there, "{before} -> {after}");
            assert!(!after.starts_with("node 7"), "it has nobody's copy");
        }
        whys(&mut browsers).await;
    });
}

#[test]
fn a_logout_everywhere_reaches_all_servers_or_says_that_it_did_not() {
    run(4, async |cluster, front| {
        let mut devices: Vec<_> = (0..12).map(|_| Browser::new(front)).collect();
        for device in &mut devices {
            device.post("/log-in/ada").await.unwrap();
        }
        let mut bob = Browser::new(front);
        bob.post("/log-in/bob").await.unwrap();
        let at = |browser: &Browser| cluster.router.route(Some(&browser.jar[NODE])).unwrap().node;
        let home = at(&devices[0]);
        let others: Vec<_> = devices.iter().map(at).collect();
        let victim = *others.iter().find(|node| **node != home).unwrap();
        let there = others.iter().position(|node| *node == victim).unwrap();

        // A server is dead, and nobody knows: some of the sessions may be over, and some may not.
        cluster.kill(victim).await;
        let reply = devices[0].post("/log-out-everywhere").await.unwrap();
        assert_eq!((reply.status, reply.cookies().count()), (503, 0));
        assert_eq!(
            devices[0].get("/me").await.unwrap().text(),
            "ada",
            "she can try again"
        );
        // Somebody finds out.
        devices[there].get("/me").await.unwrap();
        let reply = devices[0].post("/log-out-everywhere").await.unwrap();
        assert_eq!(reply.status, 200);
        for device in &mut devices {
            assert_eq!(device.get("/me").await.unwrap().status, 401);
        }
        if at(&bob) != victim {
            assert_eq!(bob.get("/me").await.unwrap().text(), "bob");
        }
        devices[0].post("/log-in/ada").await.unwrap();
        assert_eq!(devices[0].get("/me").await.unwrap().text(), "ada");
    });
}
