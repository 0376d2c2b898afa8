//! tower's balancer. It is not shared (`&mut self`), so it is measured as such, and in the two ways in which its
//! users share it: in a mutex, and behind tower's `Buffer`, as the clients of tonic have it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, Load, PeakEwma, PendingRequests};
use tower::{Service, ServiceExt};

use super::lane::{ALONE, Lane, TOGETHER};

/// A member that answers at once.
pub(super) struct Member(usize);

impl Service<u64> for Member {
    type Response = usize;
    type Error = Infallible;
    type Future = Ready<Result<usize, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        ready(Ok(self.0))
    }
}

/// A member with what tower compares.
pub(super) trait Loaded:
    Service<u64, Error = Infallible, Response = usize, Future: Send + 'static>
    + Load<Metric: Debug>
    + Send
    + 'static
{
    const NAMES: [&'static str; 3];
    fn new(member: Member) -> Self;
}

impl Loaded for PeakEwma<Member> {
    const NAMES: [&'static str; 3] = [
        "tower PeakEwma, not shared",
        "tower PeakEwma in a Mutex",
        "tower PeakEwma behind Buffer",
    ];

    fn new(member: Member) -> Self {
        let (rtt, decay) = (Duration::from_millis(1), 10e9);
        Self::new(member, rtt, decay, CompleteOnResponse::default())
    }
}

impl Loaded for PendingRequests<Member> {
    const NAMES: [&'static str; 3] = [
        "tower PendingRequests, not shared",
        "tower PendingRequests in a Mutex",
        "tower PendingRequests behind Buffer",
    ];

    fn new(member: Member) -> Self {
        Self::new(member, CompleteOnResponse::default())
    }
}

/// On one thread.
pub(super) fn alone<S: Loaded>(members: usize) -> [Lane; 3] {
    let [free, locked, buffered] = S::NAMES;
    let mut own = balance::<S>(members);
    let shared = Mutex::new(balance::<S>(members));
    let runtime = runtime(&mut Builder::new_current_thread());
    let buffer = runtime.block_on(async { Buffer::new(balance::<S>(members), QUEUE) });
    [
        Lane::new(free, move || request(&mut own)),
        Lane::new(locked, move || {
            request(&mut shared.lock().expect("nobody panics"));
        }),
        Lane::rounds(buffered, move || {
            runtime.block_on(requests(buffer.clone(), ALONE))
        }),
    ]
}

/// On two threads at once.
pub(super) fn together<S: Loaded>(members: usize) -> [Lane; 2] {
    let [_, locked, buffered] = S::NAMES;
    let shared = Arc::new(Mutex::new(balance::<S>(members)));
    let runtime = runtime(Builder::new_multi_thread().worker_threads(2));
    let buffer = runtime.block_on(async { Buffer::new(balance::<S>(members), QUEUE) });
    [
        Lane::pair(locked, || {
            let shared = Arc::clone(&shared);
            move || request(&mut shared.lock().expect("nobody panics"))
        }),
        Lane::rounds(buffered, move || {
            let tasks = [0; 2].map(|_| runtime.spawn(requests(buffer.clone(), TOGETHER / 4)));
            let times = tasks.map(|task| runtime.block_on(task).expect("no task panics"));
            times.into_iter().sum::<f64>() / 2.0
        }),
    ]
}

type Towers<S> = Balance<ServiceList<Vec<S>>, u64>;

fn balance<S: Loaded>(members: usize) -> Towers<S> {
    let members = (0..members).map(|n| S::new(Member(n)));
    Balance::new(ServiceList::new(members.collect::<Vec<_>>()))
}

fn request<S: Loaded>(balance: &mut Towers<S>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(balance.poll_ready(&mut context).is_ready());
    let answer = pin!(balance.call(black_box(1))).poll(&mut context);
    assert!(matches!(answer, Poll::Ready(Ok(_))));
}

/// So many requests through a buffer, one after the other: how long one takes, in nanoseconds.
async fn requests<F>(mut buffer: Buffer<u64, F>, times: u32) -> f64
where
    Buffer<u64, F>: Service<u64, Response = usize, Error: Debug>,
{
    let start = Instant::now();
    for _ in 0..times {
        let service = buffer.ready().await.expect("the worker runs");
        let answer = service.call(black_box(1)).await;
        assert!(answer.is_ok());
    }
    start.elapsed().as_nanos() as f64 / f64::from(times)
}

fn runtime(builder: &mut Builder) -> Runtime {
    builder.build().expect("a runtime")
}

/// Requests that may wait for the worker.
const QUEUE: usize = 1024;
