//! What sticky routing and the layer for sessions cost a request, without a server around them.
//!
//! `cargo bench --features tower,sticky --bench session_web` measures, and `-- --test` runs
//! each loop once.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Response};
use tenfold::session::sticky::{NodeNumber, StickyKeys, StickyRouter, Why};
use tenfold::session::web::{Session, SessionLayer};
use tenfold::session::{HostCookie, MemoryStore, SameSite, SessionMap};
use tower_layer::Layer;
use tower_service::Service;

/// Servers that are routed to.
const NODES: u16 = 5;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    route(&mut criterion);
    requests(&mut criterion);
    criterion.final_summary();
}

fn cookie(name: &str) -> HostCookie {
    HostCookie::new(name, SameSite::Lax).expect("a plain name")
}

fn route(criterion: &mut Criterion) {
    let router = |secret| {
        let keys = StickyKeys::new(&[secret; 32]).expect("32 bytes");
        let router = StickyRouter::new(keys, cookie("node"));
        for number in 0..NODES {
            let joined = router.join(NodeNumber::new(number), 1, 1);
            joined.expect("it never did before");
        }
        router
    };
    let (router, stranger) = (router(7), router(8));
    let ours = router.route(None).expect("all are up").value;
    let forged = stranger.route(None).expect("all are up").value;
    let short = &ours[1..];
    let mut group = criterion.benchmark_group("session/sticky");
    group.throughput(Throughput::Elements(1));
    for (name, cookie, why) in [
        ("with a cookie", Some(&*ours), Why::Pinned),
        ("without one", None, Why::New),
        ("with a forged one", Some(&*forged), Why::New),
        ("with one that is none", Some(short), Why::New),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let route = router.route(black_box(cookie)).expect("all are up");
                assert_eq!(route.why, why);
                route
            });
        });
    }
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let store = Arc::new(MemoryStore::builder().build().expect("these make sense"));
    let mut data = SessionMap::new();
    data.insert("cart", [b'x'; 100]);
    let (token, _) = store
        .create(Some("ada".into()), data.to_bytes())
        .expect("there is room");
    let brought = format!("__Host-id={}", token.reveal());
    let brought = HeaderValue::try_from(brought).expect("a cookie is plain");
    let request = |brought: Option<&HeaderValue>| {
        let mut request = Request::new(());
        if let Some(brought) = brought {
            request.headers_mut().insert(COOKIE, brought.clone());
        }
        request
    };
    let mut group = criterion.benchmark_group("session/web");
    group.throughput(Throughput::Elements(1));
    for (name, handler, brought) in [
        ("without a session", Handler::Ignore, None),
        (
            "with one that is not asked for",
            Handler::Ignore,
            Some(&brought),
        ),
        ("with one that is read", Handler::Read, Some(&brought)),
        ("with one that is changed", Handler::Change, Some(&brought)),
    ] {
        let layer = SessionLayer::new(Arc::clone(&store), cookie("id"));
        let mut service = layer.layer(handler);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let response = done(service.call(request(brought)));
                let Ok(response) = response;
                assert!(response.status().is_success());
                assert!(!response.headers().contains_key(SET_COOKIE));
            });
        });
    }
    group.finish();
    let mut bare = Handler::Ignore;
    criterion.bench_function("session/web/without the layer", |bencher| {
        bencher.iter(|| {
            let Ok(response) = done(bare.call(request(Some(&brought))));
            assert!(response.status().is_success());
        });
    });
}

/// What an application does with the session.
#[derive(Clone, Copy)]
enum Handler {
    Ignore,
    Read,
    Change,
}

impl Service<Request<()>> for Handler {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let handler = *self;
        Box::pin(async move {
            let session = request.extensions().get::<Session>();
            match (handler, session) {
                (Self::Read, Some(session)) => {
                    let cart = session.get("cart").await;
                    assert!(cart.is_ok_and(|cart| cart.is_some()));
                }
                (Self::Change, Some(session)) => {
                    assert!(session.insert("cart", [b'y'; 100]).await.is_ok());
                }
                _ => {}
            }
            Ok(Response::new(()))
        })
    }
}

/// The result of what waits for nothing.
fn done<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for something"),
    }
}
