//! Sessions and access tokens in a web server: layers for [tower](https://docs.rs/tower), and with
//! the feature `axum` extractors.
//!
//! # The bad day
//!
//! A handler changes the cart; it is slow, and meanwhile Ada logs out in another tab. The
//! layer saves the cart when the handler is done: under the token that no longer exists, or under a new
//! one that it sends along, and Ada is logged in again. Or the store is down for a second: the layer finds
//! no session, and the answer says "please log in" to everybody, and removes their cookies.
//!
//! Here the first is a [409](SessionError::Gone) and the second a [503](SessionError::Unavailable); neither
//! touches a cookie.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use std::sync::Arc;
//! use axum::{Router, routing::{get, post}};
//! use tenfold::session::web::{Session, SessionError, SessionLayer};
//! use tenfold::session::{HostCookie, MemoryStore, SameSite};
//!
//! async fn visits(session: Session) -> Result<String, SessionError> {
//!     let before = session.get("visits").await?.unwrap_or_default();
//!     let visits = before.len() + 1;
//!     session.insert("visits", vec![1; visits]).await?;
//!     Ok(format!("{visits} visits"))
//! }
//!
//! async fn log_in(session: Session) -> Result<(), SessionError> {
//!     // After the password was checked.
//!     session.log_in("ada").await
//! }
//!
//! let store = Arc::new(MemoryStore::builder().build().unwrap());
//! let cookie = HostCookie::new("id", SameSite::Lax).unwrap();
//! let app: Router = Router::new()
//!     .route("/", get(visits))
//!     .route("/log-in", post(log_in))
//!     .layer(SessionLayer::new(store, cookie));
//! # }
//! ```
//!
//! # What you can rely on
//!
//! * **Nothing is asked that need not be**: the store hears of a request when its handler first
//!   touches the session, and is written to if something was changed.
//! * **Saved before the answer**, key by key into what is there now: of two tabs that change different keys
//!   neither loses. A session that is gone is not saved and does not come back.
//! * **The cookie is set when there is a new token**, after a first change, a log-in, a
//!   [`cycle`](Session::cycle); it is removed by a log-out, and by nothing else. An answer that comes too
//!   late never takes away the cookie of a newer one.
//! * **A token that a browser brings is never taken** for a new session, and every log-in has a new one.
//! * **Nobody is logged out by a store that is down.** What it answers meanwhile is the store's to decide: a 503, or over
//!   a `serve_stale::ServeStale` pages from copies, of which a handler [can tell](Session::stale).
//! * **Sticky sessions are sessions like others** (feature `sticky`): `StickyLayer` has each request at the server that has its
//!   session, and everything here works there as it does with any store.
//!
//! # What it is not
//!
//! Not a log-in: it remembers what your code has found out. Nor does it protect from requests forged by other sites
//! beyond `SameSite`; check the `Origin` of what changes something.

mod answers;
#[cfg(feature = "axum")]
mod axum;
mod bearer;
mod cookies;
mod error;
mod layer;
mod session;
#[cfg(feature = "sticky")]
mod sticky;

pub use bearer::{Bearer, BearerLayer, BearerService};
pub use error::SessionError;
pub use layer::{SessionLayer, SessionService};
pub use session::Session;
#[cfg(feature = "sticky")]
pub use sticky::{StickyLayer, StickyService};
