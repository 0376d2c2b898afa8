//! A shop: sessions for its pages, access and refresh tokens for its app.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tenfold::session::token::{KeyRing, Refreshed, TokenIssuer, TokenVerifier};
use tenfold::session::web::{Bearer, BearerLayer, Session, SessionError, SessionLayer};
use tenfold::session::{AsyncSessionStore, HostCookie, SameSite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What all handlers share.
pub(crate) struct Shop {
    pub(crate) issuer: TokenIssuer,
    /// Requests that wait in the middle of their work, and permits to go on.
    pub(crate) waiting: Semaphore,
    pub(crate) go_on: Semaphore,
}

impl Shop {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let issuer = TokenIssuer::builder(ring()?)
            .issuer("https://shop.example")
            .audience("shop")
            .build()
            .map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            issuer,
            waiting: Semaphore::new(0),
            go_on: Semaphore::new(0),
        }))
    }
}

fn ring() -> io::Result<KeyRing> {
    let ring = KeyRing::builder().hs256("2026-11", &[7; 32]);
    ring.active("2026-11").build().map_err(io::Error::other)
}

/// Serves the shop on a port of this machine, with these sessions.
pub(crate) async fn serve<S: AsyncSessionStore + 'static>(
    store: Arc<S>,
) -> io::Result<(SocketAddr, Arc<Shop>)> {
    let shop = Shop::new()?;
    let verifier = TokenVerifier::builder(ring()?)
        .issuer("https://shop.example")
        .audience("shop")
        .denylist(shop.issuer.denylist())
        .build()
        .map_err(io::Error::other)?;
    let pages = pages::<S>().layer(SessionLayer::new(store, id_cookie()));
    let api = Router::new()
        .route("/api/me", get(who))
        .layer(BearerLayer::new(Arc::new(verifier)));
    let app = pages.merge(api).route("/refresh", post(refresh));
    let app = app.with_state(Arc::clone(&shop));
    Ok((listen(app).await?, shop))
}

/// What needs a session, whatever store it is from.
pub(crate) fn pages<S: AsyncSessionStore + 'static>() -> Router<Arc<Shop>> {
    Router::new()
        .route("/me", get(me::<S>))
        .route("/cart", get(cart::<S>))
        .route("/cart/{item}", post(buy::<S>))
        .route("/slow-cart/{item}", post(buy_slowly::<S>))
        .route("/log-in/{user}", post(log_in::<S>))
        .route("/log-out", post(log_out::<S>))
        .route("/log-out-everywhere", post(log_out_everywhere::<S>))
}

/// Of the session's token.
pub(crate) fn id_cookie() -> HostCookie {
    cookie("id", SameSite::Lax)
}

/// Serves on a port that is free.
pub(crate) async fn listen(app: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn cookie(name: &str, same_site: SameSite) -> HostCookie {
    HostCookie::new(name, same_site).expect("a plain name")
}

fn refresh_cookie() -> HostCookie {
    cookie("rt", SameSite::Strict)
}

fn refresh_token(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("cookie")?.to_str().ok()?;
    refresh_cookie().find(text).map(str::to_owned)
}

async fn me<S: AsyncSessionStore>(session: Session<S>) -> Result<Response, SessionError> {
    Ok(match session.user().await? {
        Some(user) => user.to_string().into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    })
}

async fn cart<S: AsyncSessionStore>(session: Session<S>) -> Result<String, SessionError> {
    let mut cart = Vec::new();
    for item in ["chair", "lamp", "table"] {
        if session.get(item).await?.is_some() {
            cart.push(item);
        }
    }
    Ok(cart.join(" "))
}

async fn buy<S: AsyncSessionStore>(
    Path(item): Path<String>,
    session: Session<S>,
) -> Result<(), SessionError> {
    session.insert(&item, "1").await
}

/// Has the session in hand when something takes its time.
async fn buy_slowly<S: AsyncSessionStore>(
    State(shop): State<Arc<Shop>>,
    Path(item): Path<String>,
    session: Session<S>,
) -> Result<(), SessionError> {
    session.insert(&item, "1").await?;
    shop.waiting.add_permits(1);
    if let Ok(permit) = shop.go_on.acquire().await {
        permit.forget();
    }
    Ok(())
}

/// After the password was checked, which a shop would do here.
async fn log_in<S: AsyncSessionStore>(
    State(shop): State<Arc<Shop>>,
    Path(user): Path<String>,
    session: Session<S>,
) -> Result<Response, SessionError> {
    session.log_in(&*user).await?;
    let Ok(pair) = shop.issuer.log_in(&*user, "") else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let set = refresh_cookie()
        .set(pair.refresh(), None)
        .unwrap_or_default();
    Ok(([(SET_COOKIE, set)], pair.access().to_owned()).into_response())
}

async fn refresh(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Response {
    let Some(token) = refresh_token(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let (how, pair) = match shop.issuer.refresh(&token) {
        Ok(Refreshed::Rotated(pair)) => ("rotated", pair),
        Ok(Refreshed::Replayed(pair)) => ("replayed", pair),
        Err(error) => return (StatusCode::UNAUTHORIZED, error.to_string()).into_response(),
    };
    let set = refresh_cookie()
        .set(pair.refresh(), None)
        .unwrap_or_default();
    let headers = [("set-cookie", set), ("x-refresh", how.to_owned())];
    (headers, pair.access().to_owned()).into_response()
}

async fn log_out<S: AsyncSessionStore>(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    session: Session<S>,
) -> Result<Response, SessionError> {
    session.log_out().await?;
    if let Some(token) = refresh_token(&headers) {
        // One that is unknown is out already.
        let _ = shop.issuer.log_out(&token);
    }
    Ok([(SET_COOKIE, refresh_cookie().clear())].into_response())
}

async fn log_out_everywhere<S: AsyncSessionStore>(
    State(shop): State<Arc<Shop>>,
    session: Session<S>,
) -> Result<Response, SessionError> {
    if let Some(user) = session.user().await? {
        shop.issuer.log_out_everywhere(user.as_str());
    }
    let ended = session.log_out_everywhere().await?;
    let clear = [(SET_COOKIE, refresh_cookie().clear())];
    Ok((clear, ended.to_string()).into_response())
}

async fn who(bearer: Bearer) -> String {
    bearer.subject.unwrap_or_default()
}
