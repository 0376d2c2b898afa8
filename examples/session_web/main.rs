//! Log-in, two tabs that refresh at once, log-out, log-out everywhere, and a server that dies under its
//! users: over HTTP, on ports of this machine.
//!
//! ```text
//! cargo run --release --features axum,sticky --example session_web
//! ```

#[allow(dead_code, reason = "the test needs more of it")]
mod client;
mod cluster;
mod shop;

use std::error::Error;
use std::sync::Arc;

use client::{Browser, request};
use cluster::Cluster;
use tenfold::session::MemoryStore;
use tenfold::session::sticky::NodeNumber;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        a_shop().await?;
        five_servers().await
    })
}

/// One server with sessions in memory.
async fn a_shop() -> Result<(), Box<dyn Error>> {
    let store = Arc::new(MemoryStore::builder().build()?);
    let (server, shop) = shop::serve(Arc::clone(&store)).await?;
    println!("A shop on http://{server}");
    let mut browser = Browser::new(server);
    browser.post("/cart/lamp").await?;
    let before = browser.jar["__Host-id"].clone();
    let access = browser.post("/log-in/ada").await?.text();
    let me = browser.get("/me").await?.text();
    let cart = browser.get("/cart").await?.text();
    let is_new = browser.jar["__Host-id"] != before;
    println!("  log-in: {me} has the {cart} of before, under a new token: {is_new}");

    let tabs: Vec<_> = (0..2)
        .map(|_| {
            let mut tab = browser.clone();
            tokio::spawn(async move { tab.post("/refresh").await })
        })
        .collect();
    let mut answers = Vec::new();
    for tab in tabs {
        let reply = tab.await??;
        answers.push((
            reply.header("x-refresh").unwrap_or("refused").to_owned(),
            reply.text(),
        ));
    }
    answers.sort();
    let same = answers[0].1 == answers[1].1;
    println!(
        "  two tabs refresh at once: {} and {}, the same pair: {same}",
        answers[1].0, answers[0].0
    );

    let mut slow = browser.clone();
    let slow = tokio::spawn(async move { slow.post("/slow-cart/table").await });
    shop.waiting.acquire().await?.forget();
    let mut thief = browser.clone();
    browser.post("/log-out").await?;
    shop.go_on.add_permits(1);
    let late = slow.await??.status;
    let stolen = thief.get("/me").await?.status;
    let bearer = format!("Bearer {access}");
    let headers = [("authorization", &*bearer)];
    let api = request(server, "GET", "/api/me", &headers, &[])
        .await?
        .status;
    println!("  log-out while a request is under way: it is answered {late};");
    println!("    the old cookie then: {stolen}, the access token: {api}");

    let mut devices = [
        Browser::new(server),
        Browser::new(server),
        Browser::new(server),
    ];
    for device in &mut devices {
        device.post("/log-in/ada").await?;
    }
    let ended = devices[0].post("/log-out-everywhere").await?.text();
    let mut answers = Vec::new();
    for device in &mut devices {
        answers.push(device.get("/me").await?.status);
    }
    println!("  log-out everywhere ended {ended} sessions; her devices then: {answers:?}");
    println!("  the store: {}", store.stats());
    Ok(())
}

/// Five servers with sessions in memory, and copies of them, behind a balancer.
async fn five_servers() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::new()?;
    for number in 0..5 {
        cluster.start(number, 1).await?;
    }
    let front = cluster.balance().await?;
    println!("Five servers behind http://{front}");
    let mut browsers: Vec<_> = (0..100).map(|_| Browser::new(front)).collect();
    for (n, browser) in browsers.iter_mut().enumerate() {
        browser.post(&format!("/log-in/user-{n}")).await?;
    }
    let (found, _) = look(&mut browsers).await?;
    println!("  {found} of 100 users are logged in");
    cluster.kill(NodeNumber::new(2)).await;
    let (found, moved) = look(&mut browsers).await?;
    println!("  server 2 dies: {found} are logged in still, {moved} of them on another server now");
    cluster.maintain().await;
    cluster.start(5, 1).await?;
    cluster.maintain().await;
    let (found, moved) = look(&mut browsers).await?;
    println!("  a sixth server joins: {found} are logged in, {moved} moved");
    cluster.kill(NodeNumber::new(0)).await;
    let (found, moved) = look(&mut browsers).await?;
    println!("  server 0 dies, too: {found} are logged in, {moved} moved");
    println!("  the balancer: {}", cluster.router.stats());
    Ok(())
}

/// How many are logged in, and how many were answered by another server than before.
async fn look(browsers: &mut [Browser]) -> Result<(usize, usize), Box<dyn Error>> {
    let (mut found, mut moved) = (0, 0);
    for (n, browser) in browsers.iter_mut().enumerate() {
        let reply = browser.get("/me").await?;
        found += usize::from(reply.status == 200 && reply.text() == format!("user-{n}"));
        let route = reply.header("x-route").unwrap_or_default();
        moved += usize::from(!route.ends_with("Pinned"));
    }
    Ok((found, moved))
}
