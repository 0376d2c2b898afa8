//! Servers that hold sessions in memory, each with copies of others', behind a balancer that sends every
//! browser to its own. Messages between them are requests, too.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tenfold::session::sticky::{
    Change, Message, NodeNumber, NodeState, Order, Receipt, Replication, Route, StickyKeys,
    StickyRouter, StickyStore, Why,
};
use tenfold::session::{HostCookie, MemoryStore, SameSite, SessionToken};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::{self, Reply};
use super::shop::listen;

/// The servers, and how to reach them.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) router: Arc<StickyRouter>,
    servers: Arc<Mutex<BTreeMap<NodeNumber, Server>>>,
}

struct Server {
    address: SocketAddr,
    node: Arc<Node>,
    task: JoinHandle<()>,
}

/// One server.
struct Node {
    store: StickyStore,
    cluster: Cluster,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let keys = StickyKeys::new(&[7; 32]).expect("32 bytes");
        let cookie = HostCookie::new("node", SameSite::Lax).expect("a plain name");
        Self {
            router: Arc::new(StickyRouter::new(keys, cookie)),
            servers: Arc::default(),
        }
    }

    /// Starts a server, in a life of this number.
    pub(crate) async fn start(&self, number: u16, life: u32) -> io::Result<()> {
        let number = NodeNumber::new(number);
        self.router
            .join(number, life, 1)
            .map_err(io::Error::other)?;
        let acknowledged = Replication::Acknowledged;
        let settings = MemoryStore::builder();
        let router = Arc::clone(&self.router);
        let store = StickyStore::new(number, life, router, acknowledged, settings);
        let node = Arc::new(Node {
            store: store.map_err(io::Error::other)?,
            cluster: self.clone(),
        });
        let app = Router::new()
            .route("/peer", post(peer))
            .route("/me", get(me))
            .route("/log-in/{user}", post(log_in))
            .route("/log-out", post(log_out))
            .with_state(Arc::clone(&node));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        let server = Server {
            address,
            node,
            task,
        };
        self.servers().insert(number, server);
        Ok(())
    }

    /// Kills a server: its port is closed, its memory gone. Nobody is told.
    pub(crate) async fn kill(&self, number: NodeNumber) {
        let server = self.servers().remove(&number);
        if let Some(server) = server {
            server.task.abort();
            let _ = server.task.await;
        }
    }

    /// Has all servers do what others that came or went left to do.
    pub(crate) async fn maintain(&self) {
        let nodes: Vec<_> = self
            .servers()
            .values()
            .map(|s| Arc::clone(&s.node))
            .collect();
        for node in nodes {
            let round = node.store.maintain(1000);
            let mut receipts = Vec::new();
            for order in round.orders() {
                receipts.push(node.cluster.send(order).await);
            }
            node.store.settle(round, &receipts);
        }
    }

    /// Serves all of it behind one address.
    pub(crate) async fn balance(&self) -> io::Result<SocketAddr> {
        listen(Router::new().fallback(forward).with_state(self.clone())).await
    }

    /// Carries an order out.
    async fn send(&self, order: &Order) -> Option<Receipt> {
        let to = self.address(order.to())?;
        let body = order.message().to_bytes();
        let reply = client::request(to, "POST", "/peer", &[], &body)
            .await
            .ok()?;
        let receipt = Receipt::from_bytes(&reply.body).ok();
        receipt.filter(|_| reply.status == 200)
    }

    fn address(&self, node: NodeNumber) -> Option<SocketAddr> {
        self.servers().get(&node).map(|server| server.address)
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeNumber, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The balancer: to the server that the cookie says; if that does not answer it is down from now on,
/// and the request goes to who takes over.
async fn forward(State(cluster): State<Cluster>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 1 << 20).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let cookies = parts
        .headers
        .get("cookie")
        .and_then(|value| value.to_str().ok());
    let cookies = cookies.unwrap_or_default().to_owned();
    let mut pin = cluster.router.cookie().find(&cookies).map(str::to_owned);
    let mut told = None;
    for _ in 0..4 {
        let Ok(route) = cluster.router.route(pin.as_deref()) else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        told = route.set_cookie.clone().or(told);
        let headers = [("cookie", &*cookies), ("x-sticky", &*route.value)];
        let to = cluster.address(route.node);
        let reply = match to {
            Some(to) => {
                let path = parts.uri.path();
                client::request(to, parts.method.as_str(), path, &headers, &body).await
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match reply {
            Ok(reply) => return answer(&reply, &route, told),
            Err(_) => {
                let _ = cluster.router.set_state(route.node, NodeState::Down);
            }
        }
        // Who is new is placed anew; who was pinned goes to the copy.
        pin = (route.why != Why::New).then_some(route.value).or(pin);
    }
    StatusCode::BAD_GATEWAY.into_response()
}

fn answer(reply: &Reply, route: &Route, told: Option<String>) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, reply.body.clone()).into_response();
    let cookies = reply.cookies().map(str::to_owned).chain(told);
    for value in cookies.filter_map(|set| set.try_into().ok()) {
        response.headers_mut().append("set-cookie", value);
    }
    let why = format!("{} {:?}", route.node, route.why);
    if let Ok(why) = why.try_into() {
        response.headers_mut().insert("x-route", why);
    }
    response
}

impl Node {
    /// The result of a change, once its orders were carried out.
    async fn confirm<T>(&self, change: Change<T>) -> Result<T, StatusCode> {
        let mut receipts = Vec::new();
        for order in change.orders() {
            receipts.extend(self.cluster.send(order).await);
        }
        let confirmed = change.confirm(&self.store, &receipts);
        confirmed.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }
}

fn cookie() -> HostCookie {
    HostCookie::new("id", SameSite::Lax).expect("a plain name")
}

fn token(headers: &HeaderMap) -> Option<SessionToken> {
    let text = headers.get("cookie")?.to_str().ok()?;
    SessionToken::parse(cookie().find(text)?)
}

/// What other servers tell.
async fn peer(State(node): State<Arc<Node>>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let message = Message::from_bytes(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let received = node.store.receive(&message);
    for order in &received.orders {
        let sent = node.cluster.send(order).await;
        sent.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    }
    Ok(received.receipt.to_bytes())
}

async fn me(State(node): State<Arc<Node>>, headers: HeaderMap) -> Result<String, StatusCode> {
    let token = token(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let held = node.store.load(&token);
    let held = held.map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(held.user().map(ToString::to_string).unwrap_or_default())
}

async fn log_in(
    State(node): State<Arc<Node>>,
    axum::extract::Path(user): axum::extract::Path<String>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let pin = headers
        .get("x-sticky")
        .and_then(|value| value.to_str().ok());
    let routing = pin.and_then(|pin| node.cluster.router.routing(pin));
    let routing = routing.ok_or(StatusCode::BAD_REQUEST)?;
    let created = node.store.create(routing, Some((*user).into()), b"");
    let created = created.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let (token, _) = node.confirm(created).await?;
    let set = cookie().set(&token.reveal(), None).unwrap_or_default();
    Ok([("set-cookie", set)].into_response())
}

async fn log_out(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let token = token(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let revoked = node.store.revoke(&token);
    node.confirm(revoked.map_err(|_| StatusCode::UNAUTHORIZED)?)
        .await?;
    Ok([("set-cookie", cookie().clear())].into_response())
}
