//! The web layer over real HTTP: an axum server on this machine, and browsers that keep cookies.

#[path = "../examples/session_web/client.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod client;
#[path = "../examples/session_web/shop.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod shop;

use std::sync::Arc;
use std::time::Duration;

use client::{Browser, request};
use shop::Shop;
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, Loaded, MemoryStore, RevokeError, SaveError,
    SessionData, SessionInfo, SessionKey, SessionToken, Unavailable, UserId, Version,
};

struct World {
    store: Arc<MemoryStore>,
    shop: Arc<Shop>,
    browser: Browser,
}

fn run(test: impl AsyncFnOnce(World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(MemoryStore::builder().build().unwrap());
        let (server, shop) = shop::serve(Arc::clone(&store)).await.unwrap();
        let browser = Browser::new(server);
        test(World {
            store,
            shop,
            browser,
        })
        .await;
    });
}

const ID: &str = "__Host-id";

#[test]
fn a_request_that_needs_no_session_gets_none() {
    run(
        async |World {
                   store, mut browser, ..
               }| {
            let reply = browser.get("/cart").await.unwrap();
            assert_eq!((reply.status, reply.cookies().count()), (200, 0));
            assert_eq!(browser.get("/me").await.unwrap().status, 401);
            assert!(store.is_empty());
            assert_eq!(
                store.stats().misses,
                0,
                "without a cookie it was not even asked"
            );
        },
    );
}

#[test]
fn a_change_begins_a_session_and_a_login_renews_it() {
    run(
        async |World {
                   store, mut browser, ..
               }| {
            let reply = browser.post("/cart/lamp").await.unwrap();
            let set: Vec<_> = reply.cookies().collect();
            assert_eq!(set.len(), 1);
            assert!(set[0].starts_with("__Host-id=") && !set[0].contains("Domain"));
            assert!(set[0].ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let planted = browser.clone();

            let reply = browser.post("/log-in/ada").await.unwrap();
            assert_eq!(reply.status, 200);
            assert_ne!(browser.jar[ID], planted.jar[ID], "a new token");
            assert_eq!(browser.get("/me").await.unwrap().text(), "ada");
            assert_eq!(browser.get("/cart").await.unwrap().text(), "lamp");
            // Whoever planted the cookie before has nothing.
            let mut attacker = planted;
            assert_eq!(attacker.get("/me").await.unwrap().status, 401);
            assert_eq!(attacker.get("/cart").await.unwrap().text(), "");
            // Nothing changed: nothing is told.
            let reply = browser.post("/cart/lamp").await.unwrap();
            assert_eq!((reply.status, reply.cookies().count()), (200, 0));
            assert_eq!(store.len(), 1);
        },
    );
}

#[test]
fn a_token_that_a_browser_brings_is_never_taken() {
    run(async |World { mut browser, .. }| {
        let chosen = "A".repeat(43);
        browser.jar.insert(ID.to_owned(), chosen.clone());
        assert_eq!(browser.post("/cart/lamp").await.unwrap().status, 200);
        assert_ne!(browser.jar[ID], chosen);
        // Twice the same name: one of them was set by somebody else.
        let good = browser.jar[ID].clone();
        let twice = format!("{ID}={good}; {ID}={chosen}");
        for headers in [
            &[("cookie", &*twice)][..],
            &[("cookie", &twice[..54]), ("cookie", &twice[55..])],
        ] {
            let reply = request(browser.server, "GET", "/cart", headers, &[]).await;
            assert_eq!(reply.unwrap().text(), "");
        }
        for hostile in ["", "=", "x".repeat(9000).as_str(), "\u{e9}", "\"quoted\""] {
            let cookie = format!("{ID}={hostile}");
            let headers = [("cookie", &*cookie)];
            let reply = request(browser.server, "GET", "/cart", &headers, &[]).await;
            assert_eq!(reply.unwrap().status, 200);
        }
    });
}

#[test]
fn two_tabs_that_change_different_keys_lose_nothing() {
    run(
        async |World {
                   shop, mut browser, ..
               }| {
            browser.post("/log-in/ada").await.unwrap();
            let slow = tab(&browser, "/slow-cart/lamp");
            wait_for(&shop).await;
            assert_eq!(browser.post("/cart/chair").await.unwrap().status, 200);
            shop.go_on.add_permits(1);
            assert_eq!(slow.await.unwrap().status, 200);
            assert_eq!(browser.get("/cart").await.unwrap().text(), "chair lamp");
        },
    );
}

#[test]
fn a_slow_request_does_not_undo_a_logout() {
    run(
        async |World {
                   store,
                   shop,
                   mut browser,
               }| {
            browser.post("/log-in/ada").await.unwrap();
            let slow = tab(&browser, "/slow-cart/lamp");
            wait_for(&shop).await;
            let before = browser.jar[ID].clone();
            let reply = browser.post("/log-out").await.unwrap();
            assert!(
                reply
                    .cookies()
                    .any(|set| set.starts_with(ID) && set.ends_with("Max-Age=0"))
            );
            assert!(!browser.jar.contains_key(ID));
            shop.go_on.add_permits(1);
            let late = slow.await.unwrap();
            assert_eq!(late.status, 409, "nothing was saved, and it says so");
            assert_eq!(
                late.cookies().count(),
                0,
                "nor is a cookie set, or taken away"
            );
            browser.jar.insert(ID.to_owned(), before);
            assert_eq!(browser.get("/me").await.unwrap().status, 401);
            assert!(store.is_empty());
        },
    );
}

#[test]
fn a_slow_request_does_not_take_away_the_cookie_of_a_login() {
    run(
        async |World {
                   shop, mut browser, ..
               }| {
            browser.post("/cart/chair").await.unwrap();
            let slow = tab(&browser, "/slow-cart/lamp");
            wait_for(&shop).await;
            browser.post("/log-in/ada").await.unwrap();
            shop.go_on.add_permits(1);
            let late = slow.await.unwrap();
            assert_eq!((late.status, late.cookies().count()), (409, 0));
            assert_eq!(browser.get("/me").await.unwrap().text(), "ada");
            assert_eq!(browser.get("/cart").await.unwrap().text(), "chair");
        },
    );
}

#[test]
fn somebody_else_who_logs_in_begins_with_nothing() {
    run(
        async |World {
                   store, mut browser, ..
               }| {
            browser.post("/log-in/ada").await.unwrap();
            browser.post("/cart/lamp").await.unwrap();
            let hers = browser.clone();
            browser.post("/log-in/bob").await.unwrap();
            assert_eq!(browser.get("/me").await.unwrap().text(), "bob");
            assert_eq!(browser.get("/cart").await.unwrap().text(), "");
            let mut hers = hers;
            assert_eq!(hers.get("/me").await.unwrap().status, 401);
            assert_eq!(store.len(), 1);
        },
    );
}

#[test]
fn two_tabs_that_refresh_at_once_both_go_on() {
    run(async |World { mut browser, .. }| {
        let login = browser.post("/log-in/ada").await.unwrap();
        assert_eq!(
            bearer(&browser, &login.text()).await,
            (200, "ada".to_owned())
        );
        let tabs: Vec<_> = (0..8).map(|_| tab(&browser, "/refresh")).collect();
        let mut replies = Vec::new();
        for tab in tabs {
            replies.push(tab.await.unwrap());
        }
        let rotated = replies
            .iter()
            .filter(|r| r.header("x-refresh") == Some("rotated"));
        assert_eq!(rotated.count(), 1);
        for reply in &replies {
            assert_eq!(reply.status, 200);
            assert_eq!(reply.text(), replies[0].text(), "all have the same pair");
            assert_eq!(
                reply.cookies().collect::<Vec<_>>(),
                replies[0].cookies().collect::<Vec<_>>()
            );
        }
        // Whichever answer came last: the log-in goes on.
        assert_eq!(browser.post("/refresh").await.unwrap().status, 200);
        let access = browser.post("/refresh").await.unwrap().text();
        assert_eq!(bearer(&browser, &access).await, (200, "ada".to_owned()));
        // Out: neither tokens nor session.
        assert_eq!(browser.clone().post("/log-out").await.unwrap().status, 200);
        assert_eq!(bearer(&browser, &access).await.0, 401);
        assert_eq!(browser.post("/refresh").await.unwrap().status, 401);
        assert_eq!(browser.get("/me").await.unwrap().status, 401);
    });
}

#[test]
fn a_logout_everywhere_reaches_all_browsers_and_no_later_one() {
    run(async |World { mut browser, .. }| {
        let mut phone = Browser::new(browser.server);
        let mut bob = Browser::new(browser.server);
        browser.post("/log-in/ada").await.unwrap();
        let access = phone.post("/log-in/ada").await.unwrap().text();
        bob.post("/log-in/bob").await.unwrap();
        let ended = browser.post("/log-out-everywhere").await.unwrap();
        assert_eq!((ended.status, &*ended.text()), (200, "2"));
        assert!(browser.jar.is_empty());
        assert_eq!(phone.get("/me").await.unwrap().status, 401);
        assert_eq!(phone.post("/refresh").await.unwrap().status, 401);
        assert_eq!(bearer(&phone, &access).await.0, 401);
        assert_eq!(bob.get("/me").await.unwrap().text(), "bob");
        // Within the same second, perhaps.
        let access = phone.post("/log-in/ada").await.unwrap().text();
        assert_eq!(phone.get("/me").await.unwrap().text(), "ada");
        assert_eq!(bearer(&phone, &access).await, (200, "ada".to_owned()));
    });
}

#[test]
fn only_bearers_of_good_tokens_get_through() {
    run(async |World { mut browser, .. }| {
        let access = browser.post("/log-in/ada").await.unwrap().text();
        let good = format!("bearer  {access}");
        let bad = format!("Bearer {access}x");
        let basic = format!("Basic {access}");
        let cases: [(&[&str], u16, Option<&str>); 6] = [
            (&[&good], 200, None),
            (&[], 401, Some("Bearer")),
            (&[&basic], 401, Some("Bearer")),
            (&[&bad], 401, Some("Bearer error=\"invalid_token\"")),
            (&["Bearer"], 401, Some("Bearer")),
            (
                &[&good, &good],
                400,
                Some("Bearer error=\"invalid_request\""),
            ),
        ];
        for (values, status, challenge) in cases {
            let headers: Vec<_> = values
                .iter()
                .map(|value| ("authorization", *value))
                .collect();
            let reply = request(browser.server, "GET", "/api/me", &headers, &[])
                .await
                .unwrap();
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (status, challenge)
            );
        }
    });
}

#[test]
fn a_store_that_is_down_logs_nobody_out() {
    run(
        async |World {
                   store, mut browser, ..
               }| {
            browser.post("/log-in/ada").await.unwrap();
            let down = Arc::new(Down(store));
            let (server, _) = shop::serve(down).await.unwrap();
            let jar = browser.jar.clone();
            let home = std::mem::replace(&mut browser.server, server);
            for (method, path) in [
                ("GET", "/me"),
                ("GET", "/cart"),
                ("POST", "/cart/lamp"),
                ("POST", "/log-in/ada"),
                ("POST", "/log-out"),
                ("POST", "/log-out-everywhere"),
            ] {
                let reply = browser.send(method, path, &[]).await.unwrap();
                assert_eq!((reply.status, reply.cookies().count()), (503, 0), "{path}");
            }
            assert_eq!(browser.jar, jar);
            browser.server = home;
            assert_eq!(browser.get("/me").await.unwrap().text(), "ada");
        },
    );
}

#[test]
fn a_store_that_fails_at_the_end_is_a_503_and_no_success() {
    run(
        async |World {
                   store, mut browser, ..
               }| {
            // Loads work; what is to be begun or saved does not.
            let (server, _) = shop::serve(Arc::new(Down(store))).await.unwrap();
            browser.server = server;
            let reply = browser.post("/cart/lamp").await.unwrap();
            assert_eq!((reply.status, reply.cookies().count()), (503, 0));
            assert_eq!(reply.text(), "");
        },
    );
}

/// Sends a request in a task of its own, as another tab of the browser.
fn tab(
    browser: &Browser,
    path: &'static str,
) -> impl Future<Output = Option<client::Reply>> + use<> {
    let mut browser = browser.clone();
    let task = tokio::spawn(async move { browser.post(path).await });
    async { task.await.ok()?.ok() }
}

/// Until a request is in the middle of its work.
async fn wait_for(shop: &Shop) {
    shop.waiting.acquire().await.unwrap().forget();
}

async fn bearer(browser: &Browser, access: &str) -> (u16, String) {
    let value = format!("Bearer {access}");
    let headers = [("authorization", &*value)];
    let reply = request(browser.server, "GET", "/api/me", &headers, &[])
        .await
        .unwrap();
    (reply.status, reply.text())
}

/// A store elsewhere that does not answer.
struct Down(#[allow(dead_code, reason = "what it would be")] Arc<MemoryStore>);

const fn late() -> Unavailable {
    let limit = Duration::from_millis(50);
    Unavailable::TimedOut { limit }
}

impl AsyncSessionStore for Down {
    async fn create(
        &self,
        _: Option<UserId>,
        _: impl Into<SessionData> + Send,
    ) -> Result<(SessionToken, Version), CreateError> {
        Err(late().into())
    }

    async fn load(&self, _: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        Err(late())
    }

    async fn peek(&self, _: &SessionToken) -> Result<Option<Loaded>, Unavailable> {
        Err(late())
    }

    async fn save(
        &self,
        _: &SessionToken,
        _: Version,
        _: impl Into<SessionData> + Send,
    ) -> Result<Version, SaveError> {
        Err(late().into())
    }

    async fn cycle(&self, _: &SessionToken) -> Result<SessionToken, CycleError> {
        Err(late().into())
    }

    async fn log_in(
        &self,
        _: &SessionToken,
        _: impl Into<UserId> + Send,
    ) -> Result<SessionToken, CycleError> {
        Err(late().into())
    }

    async fn revoke_key(&self, _: SessionKey) -> Result<bool, RevokeError> {
        Err(late().into())
    }

    async fn revoke_user(
        &self,
        _: impl Into<UserId> + Send,
        _: Option<&SessionToken>,
    ) -> Result<usize, RevokeError> {
        Err(late().into())
    }

    async fn sessions_of(
        &self,
        _: impl Into<UserId> + Send,
    ) -> Result<Vec<SessionInfo>, Unavailable> {
        Err(late())
    }
}
