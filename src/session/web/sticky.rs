use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::answers::{empty, set_cookie, take_ready};
use super::cookies::cookie;
use crate::session::sticky::{Peers, Route, StickyError, StickyNode, StickyRouter};
use crate::session::{HostCookie, SessionToken};

/// Sees to it that a request is at the server that has its session, for one of several servers with sticky
/// sessions: gives it its [`Seat`](crate::session::sticky::Seat), or says which server it should go to.
///
/// It goes around a [`SessionLayer::of_request`](super::SessionLayer::of_request), which finds the seat there:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use std::sync::Arc;
/// use axum::{Router, routing::get};
/// use tenfold::session::HostCookie;
/// use tenfold::session::sticky::{Peers, Seat, StickyNode};
/// use tenfold::session::web::{Session, SessionError, SessionLayer, StickyLayer};
///
/// async fn me<P: Peers + 'static>(session: Session<Seat<P>>) -> Result<String, SessionError> {
///     Ok(session.user().await?.map(|user| user.to_string()).unwrap_or_default())
/// }
///
/// fn app<P: Peers + 'static>(node: Arc<StickyNode<P>>, id: HostCookie) -> Router {
///     Router::new()
///         .route("/me", get(me::<P>))
///         .layer(SessionLayer::<Seat<P>>::of_request(id.clone()))
///         .layer(StickyLayer::new(node, id))
/// }
/// # }
/// ```
///
/// # The balancer's part
///
/// It has a [`StickyRouter`] of the same nodes and secrets, sends a request where that says, and adds the
/// [value](Route::value) of the route as the header `x-sticky`. A server that should not have got the request has
/// done nothing with it and answers 421, with the number of the one that should in `x-sticky-node`, and the `x-sticky`
/// to send along there. The cookie is set by the server that answers. Both headers say nothing that a browser cannot know,
/// and values are signed, so it does no harm if a client sends them.
pub struct StickyLayer<P> {
    node: Arc<StickyNode<P>>,
    /// Of the session's token.
    id: Arc<HostCookie>,
}

impl<P: Peers> StickyLayer<P> {
    /// For the requests that come to this node, whose session's token is in this cookie.
    pub fn new(node: Arc<StickyNode<P>>, id: HostCookie) -> Self {
        let id = Arc::new(id);
        Self { node, id }
    }

    /// Finds out whose request it is.
    async fn place(&self, headers: &HeaderMap) -> Place {
        let router = self.router();
        let known = cookie(headers, router.cookie());
        let told = headers.get(&PIN).and_then(|value| value.to_str().ok());
        let told = told.filter(|value| router.routing(value).is_some());
        let Ok(route) = router.route(told.or(known.as_deref())) else {
            return Place::Nowhere;
        };
        if route.node != self.node.store().node() {
            return Place::There(route);
        }
        let is_new = known.as_deref() != Some(&*route.value);
        let here = |route| Place::Here { route, is_new };
        let token = cookie(headers, &self.id);
        let Some(token) = token.as_deref().and_then(SessionToken::parse) else {
            return here(route);
        };
        let to = match self.node.store().locate_key(token.key()) {
            Ok(()) => return here(route),
            Err(StickyError::Moved { to }) => Some(to),
            Err(StickyError::Gone) => {
                // Nodes came and went since its browser was here last: the session may be with one that is not the
                // first in order any more. Asked for nobody but browsers of ours, and once for each move.
                let was_ours = known.is_some_and(|known| router.routing(&known).is_some());
                if !(is_new && was_ours) {
                    return here(route);
                }
                let found = self.node.find_elsewhere(token.key(), route.routing).await;
                match found {
                    Ok(found) => found,
                    Err(_) => return Place::Nowhere,
                }
            }
            Err(_) => return Place::Nowhere,
        };
        match to.map(|to| router.repin(&route, to)) {
            Some(Some(route)) => Place::There(route),
            Some(None) => Place::Nowhere,
            None => here(route),
        }
    }

    fn router(&self) -> &StickyRouter {
        self.node.store().router()
    }
}

/// Where a request belongs.
enum Place {
    /// Here; and whether its browser does not know yet.
    Here {
        route: Route,
        is_new: bool,
    },
    There(Route),
    /// Nobody can tell now.
    Nowhere,
}

impl<P, I> Layer<I> for StickyLayer<P> {
    type Service = StickyService<P, I>;

    fn layer(&self, inner: I) -> Self::Service {
        let layer = self.clone();
        StickyService { layer, inner }
    }
}

/// The service of a [`StickyLayer`].
#[derive(Debug)]
pub struct StickyService<P, I> {
    layer: StickyLayer<P>,
    inner: I,
}

impl<P, I, B, R> Service<Request<B>> for StickyService<P, I>
where
    P: Peers + 'static,
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
        let headers = request.headers().clone();
        Box::pin(async move {
            match layer.place(&headers).await {
                Place::Here { route, is_new } => {
                    let seat = Arc::new(layer.node.seat(route.routing));
                    request.extensions_mut().insert(seat);
                    let mut response = inner.call(request).await?;
                    if is_new {
                        layer.tell(&route, &mut response);
                    }
                    Ok(response)
                }
                Place::There(route) => {
                    let mut response = empty(StatusCode::MISDIRECTED_REQUEST);
                    let node = HeaderValue::from(route.node.get());
                    response.headers_mut().insert(NODE, node);
                    if let Ok(pin) = HeaderValue::try_from(&route.value) {
                        response.headers_mut().insert(PIN, pin);
                    }
                    layer.tell(&route, &mut response);
                    Ok(response)
                }
                Place::Nowhere => Ok(empty(StatusCode::SERVICE_UNAVAILABLE)),
            }
        })
    }
}

impl<P: Peers> StickyLayer<P> {
    /// Has the browser keep where it is.
    fn tell<R>(&self, route: &Route, response: &mut Response<R>) {
        let set = self.router().cookie().set(&route.value, None).ok();
        let set = set.and_then(|set| HeaderValue::try_from(set).ok());
        if let Some(set) = set {
            set_cookie(response, set);
        }
    }
}

impl<P> Clone for StickyLayer<P> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            id: Arc::clone(&self.id),
        }
    }
}

impl<P, I: Clone> Clone for StickyService<P, I> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<P> fmt::Debug for StickyLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyLayer")
            .field("node", &self.node)
            .field("id", &self.id)
            .finish()
    }
}

const PIN: HeaderName = HeaderName::from_static("x-sticky");
const NODE: HeaderName = HeaderName::from_static("x-sticky-node");
