use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::answers::{empty, set_cookie, take_ready};
use super::cookies::cookie;
use super::session::{Session, Tell};
use crate::session::{AsyncSessionStore, HostCookie, MemoryStore, SessionToken};

/// Gives every request a [`Session`], saves what was changed, and tells the browser what it
/// has to know.
pub struct SessionLayer<S = MemoryStore> {
    /// None: each request brings its own.
    store: Option<Arc<S>>,
    cookie: Arc<HostCookie>,
    max_age: Option<Duration>,
}

impl<S: AsyncSessionStore> SessionLayer<S> {
    /// Sessions of this store, by tokens in this cookie, which browsers forget when they are
    /// closed.
    pub fn new(store: Arc<S>, cookie: HostCookie) -> Self {
        Self {
            store: Some(store),
            cookie: Arc::new(cookie),
            max_age: None,
        }
    }

    /// Sessions of the store that an outer layer has put into the request's extensions, as an `Arc<S>`: a
    /// tenant's, or the `Seat` that a `StickyLayer` (feature `sticky`) gives. A request without one is answered
    /// with a 500. Limits per user are each such store's own: with sticky sessions, each server's.
    pub fn of_request(cookie: HostCookie) -> Self {
        Self {
            store: None,
            cookie: Arc::new(cookie),
            max_age: None,
        }
    }

    /// Browsers keep the cookie for so long after it was set: the absolute deadline of the store is
    /// a good choice.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }
}

impl<S, I> Layer<I> for SessionLayer<S> {
    type Service = SessionService<S, I>;

    fn layer(&self, inner: I) -> Self::Service {
        let layer = self.clone();
        SessionService { layer, inner }
    }
}

/// The service of a [`SessionLayer`].
#[derive(Debug)]
pub struct SessionService<S, I> {
    layer: SessionLayer<S>,
    inner: I,
}

impl<S, I, B, R> Service<Request<B>> for SessionService<S, I>
where
    S: AsyncSessionStore + 'static,
    I: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send,
    B: Send + 'static,
    R: Default + Send,
{
    type Response = Response<R>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, I::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = take_ready(&mut self.inner);
        let layer = self.layer.clone();
        let store = layer.store.clone();
        let store = store.or_else(|| request.extensions().get().cloned());
        let session = store.map(|store| Session::new(store, layer.token(request.headers())));
        if let Some(session) = &session {
            request.extensions_mut().insert(session.clone());
        }
        Box::pin(async move {
            let Some(session) = session else {
                return Ok(empty(StatusCode::INTERNAL_SERVER_ERROR));
            };
            let mut response = inner.call(request).await?;
            if let Err(error) = session.finish().await {
                response = empty(error.status());
                response.extensions_mut().insert(Arc::new(error));
            }
            layer.tell(&session.tell(), &mut response);
            Ok(response)
        })
    }
}

impl<S> SessionLayer<S> {
    /// The token that a request brings.
    fn token(&self, headers: &HeaderMap) -> Option<SessionToken> {
        SessionToken::parse(&cookie(headers, &self.cookie)?)
    }

    fn tell<R: Default>(&self, tell: &Tell, response: &mut Response<R>) {
        let text = match tell {
            Tell::Nothing => return,
            Tell::Set(token) => self.cookie.set(&token.reveal(), self.max_age).ok(),
            Tell::Clear => Some(self.cookie.clear()),
        };
        let value = text.and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(mut value) = value {
            value.set_sensitive(true);
            set_cookie(response, value);
        } else {
            // A token is a cookie's value, so this is not reached.
            *response = empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
}

impl<S> Clone for SessionLayer<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            cookie: Arc::clone(&self.cookie),
            max_age: self.max_age,
        }
    }
}

impl<S, I: Clone> Clone for SessionService<S, I> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<S> fmt::Debug for SessionLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("cookie", &self.cookie)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
