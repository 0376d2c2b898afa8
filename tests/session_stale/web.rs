//! Behind the web layer: a server whose store goes down under its users.

#[path = "../../examples/session_web/client.rs"]
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod client;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use client::{Browser, Reply};
use tenfold::session::serve_stale::ServeStale;
use tenfold::session::web::{Session, SessionError, SessionLayer};
use tenfold::session::{HostCookie, Made, MemoryStore, NotReplicated, SameSite};
use tenfold::time::ManualClock;
use tokio::net::TcpListener;

use super::flaky::Flaky;

type Visit = Session<ServeStale<Flaky>>;

async fn log_in(session: Visit) -> Result<(), SessionError> {
    session.log_in("ada").await
}

async fn log_out(session: Visit) -> Result<(), SessionError> {
    session.log_out().await
}

/// Who is there, and whether that is sure.
async fn me(session: Visit) -> Result<String, SessionError> {
    let user = session.user().await?;
    let name = user.map_or_else(|| "nobody".to_owned(), |user| user.to_string());
    Ok(match session.stale().await? {
        Some(stale) => format!("{name}, {} s ago", stale.age().as_secs()),
        None => name,
    })
}

async fn buy(session: Visit) -> Result<(), SessionError> {
    session.insert("cart", "lamp").await
}

#[test]
fn pages_are_served_while_the_store_is_down_and_changes_are_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = ManualClock::new();
        let below = Flaky::new(MemoryStore::builder().build().unwrap());
        let builder = ServeStale::builder(below).clock(clock.clock());
        let store = Arc::new(builder.build().unwrap());
        let mut ada = serve(&store).await;
        let told = |reply: Reply| (reply.status, reply.text(), reply.cookies().count());
        let right = |text: &str| (200, text.to_owned(), 0);
        let unavailable = || (503, String::new(), 0);

        assert_eq!(ada.post("/log-in").await.unwrap().status, 200);
        assert_eq!(told(ada.get("/me").await.unwrap()), right("ada"));
        let mut other = Browser::new(ada.server);
        other.post("/log-in").await.unwrap();
        assert_eq!(told(other.get("/me").await.unwrap()), right("ada"));

        store.store().go_down();
        clock.advance(Duration::from_secs(7));
        // Until it is left alone, which no page tells.
        for _ in 0..10 {
            assert_eq!(told(ada.get("/me").await.unwrap()), right("ada, 7 s ago"));
        }
        assert_eq!(told(ada.post("/buy").await.unwrap()), unavailable());
        assert_eq!(told(ada.get("/me").await.unwrap()), right("ada, 7 s ago"));
        let mut stranger = Browser::new(ada.server);
        assert_eq!(told(stranger.post("/log-in").await.unwrap()), unavailable());
        // Who logs out here is not shown to anybody, though nobody knows whether it holds elsewhere.
        assert_eq!(told(other.post("/log-out").await.unwrap()), unavailable());
        assert_eq!(told(other.get("/me").await.unwrap()), unavailable());

        store.store().come_back();
        clock.advance(Duration::from_secs(1));
        assert_eq!(told(ada.get("/me").await.unwrap()), right("ada"));
        assert_eq!(ada.post("/buy").await.unwrap().status, 200);
        assert_eq!(other.post("/log-out").await.unwrap().status, 200);
        assert_eq!(told(other.get("/me").await.unwrap()), right("nobody"));
    });
}

#[test]
fn a_login_that_no_replica_has_yet_is_an_error_that_leaves_the_cookie() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let below = Flaky::new(MemoryStore::builder().build().unwrap());
        let store = Arc::new(ServeStale::builder(below).build().unwrap());
        let mut ada = serve(&store).await;
        ada.post("/buy").await.unwrap();
        ada.get("/me").await.unwrap();
        let memory = &store.store().memory;
        let (token, _) = memory.create(Some("ada".into()), b"".as_slice()).unwrap();
        let made = Made::Renewed(token);
        store.store().fail(NotReplicated::new(made, 1, 0).into());
        // Its load is answered from the copy; its log-in is made, and not safe.
        let reply = ada.post("/log-in").await.unwrap();
        assert_eq!((reply.status, reply.cookies().count()), (503, 1));
        store.store().come_back();
        assert_eq!(ada.get("/me").await.unwrap().text(), "ada");
    });
}

/// Serves the pages, to a browser that knows where.
async fn serve(store: &Arc<ServeStale<Flaky>>) -> Browser {
    let cookie = HostCookie::new("id", SameSite::Lax).unwrap();
    let app: Router = Router::new()
        .route("/me", get(me))
        .route("/log-in", post(log_in))
        .route("/log-out", post(log_out))
        .route("/buy", post(buy))
        .layer(SessionLayer::new(Arc::clone(store), cookie));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let browser = Browser::new(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    browser
}
