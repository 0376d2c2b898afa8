//! Servers that hold sessions in memory, each with copies of others', behind a balancer that sends every
//! browser to its own. Messages between them are requests, too.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tenfold::session::sticky::{
    NodeNumber, NodeState, Peers, Replication, Route, Seat, StickyKeys, StickyNode, StickyRouter,
    StickyStore, Why,
};
use tenfold::session::web::{SessionLayer, StickyLayer};
use tenfold::session::{HostCookie, MemoryStore, SameSite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::{self, Reply};
use super::shop::{self, Shop, listen};

/// The servers, and how to reach them.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) router: Arc<StickyRouter>,
    /// Issues tokens, on a machine of its own.
    shop: Arc<Shop>,
    servers: Arc<Mutex<BTreeMap<NodeNumber, Server>>>,
}

struct Server {
    address: SocketAddr,
    node: Arc<StickyNode<Cluster>>,
    task: JoinHandle<()>,
}

impl Peers for Cluster {
    async fn ask(&self, node: NodeNumber, question: Vec<u8>) -> Option<Vec<u8>> {
        let to = self.address(node)?;
        let reply = client::request(to, "POST", "/peer", &[], &question).await;
        let reply = reply.ok().filter(|reply| reply.status == 200)?;
        Some(reply.body)
    }
}

impl Cluster {
    pub(crate) fn new() -> io::Result<Self> {
        let keys = StickyKeys::new(&[7; 32]).expect("32 bytes");
        let cookie = HostCookie::new("node", SameSite::Lax).expect("a plain name");
        Ok(Self {
            router: Arc::new(StickyRouter::new(keys, cookie)),
            shop: Shop::new()?,
            servers: Arc::default(),
        })
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
        let store = store.map_err(io::Error::other)?;
        let node = Arc::new(StickyNode::new(store, self.clone()));
        let app = shop::pages::<Seat<Self>>()
            .layer(SessionLayer::<Seat<Self>>::of_request(shop::id_cookie()))
            .layer(StickyLayer::new(Arc::clone(&node), shop::id_cookie()))
            .with_state(Arc::clone(&self.shop));
        let peer = Router::new().route("/peer", post(peer));
        let app = app.merge(peer.with_state(Arc::clone(&node)));
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
            node.maintain(1000).await;
        }
    }

    /// Serves all of it behind one address.
    pub(crate) async fn balance(&self) -> io::Result<SocketAddr> {
        listen(Router::new().fallback(forward).with_state(self.clone())).await
    }

    pub(crate) fn address(&self, node: NodeNumber) -> Option<SocketAddr> {
        self.servers().get(&node).map(|server| server.address)
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeNumber, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The balancer: to the server that the cookie says, and on to the one that this may say; if one does not
/// answer it is down from now on, and the request goes to who takes over.
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
    let known = cluster.router.cookie().find(&cookies).map(str::to_owned);
    let Ok(mut route) = cluster.router.route(known.as_deref()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (mut node, mut pin) = (route.node, route.value.clone());
    for _ in 0..6 {
        let headers = [("cookie", &*cookies), ("x-sticky", &*pin)];
        let reply = match cluster.address(node) {
            Some(to) => {
                let (method, path) = (parts.method.as_str(), parts.uri.path());
                client::request(to, method, path, &headers, &body).await
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match reply {
            Ok(reply) if reply.status == 421 => match misdirected(&reply) {
                Some(there) => (node, pin) = there,
                None => break,
            },
            Ok(reply) => return answer(&reply, node, &route),
            Err(_) => {
                let _ = cluster.router.set_state(node, NodeState::Down);
                // Who is new is placed anew; who was pinned goes to the copy.
                let pinned = (route.why != Why::New).then_some(&*pin);
                let Ok(other) = cluster.router.route(pinned) else {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                };
                route = other;
                (node, pin) = (route.node, route.value.clone());
            }
        }
    }
    StatusCode::BAD_GATEWAY.into_response()
}

/// Where the server that was asked says that the request belongs.
fn misdirected(reply: &Reply) -> Option<(NodeNumber, String)> {
    let node = reply.header("x-sticky-node")?.parse().ok()?;
    Some((NodeNumber::new(node), reply.header("x-sticky")?.to_owned()))
}

fn answer(reply: &Reply, node: NodeNumber, route: &Route) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, reply.body.clone()).into_response();
    for value in reply.cookies().filter_map(|set| set.try_into().ok()) {
        response.headers_mut().append("set-cookie", value);
    }
    let why = format!("{node} {:?}", route.why);
    if let Ok(why) = why.try_into() {
        response.headers_mut().insert("x-route", why);
    }
    response
}

/// What other servers ask. Who can do so can be anybody, so this is not for the world's ears.
async fn peer(
    State(node): State<Arc<StickyNode<Cluster>>>,
    question: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    let answer = node.answer(&question).await;
    answer.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}
