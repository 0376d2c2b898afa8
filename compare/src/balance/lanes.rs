//! Who picks, and how: each lane picks a member, and ends the use of it, a thousand times a round.

#[cfg(feature = "pingora")]
use super::pingora;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tenfold::balance::{Balancer, Policy};
use tenfold::rng::Rng;
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, Load, PeakEwma, PendingRequests};

/// One contender, and its nanoseconds per pick, round by round.
pub(super) struct Lane {
    pub(super) name: &'static str,
    pick: Box<dyn FnMut(u64)>,
    pub(super) figures: Vec<f64>,
}

impl Lane {
    /// The closure picks so many times.
    pub(super) fn new(name: &'static str, mut pick: impl FnMut() + 'static) -> Self {
        Self {
            name,
            pick: Box::new(move |times| (0..times).for_each(|_| pick())),
            figures: Vec::new(),
        }
    }

    pub(super) fn round(&mut self) {
        let start = Instant::now();
        (self.pick)(PICKS);
        let nanos = start.elapsed().as_nanos() as f64;
        self.figures.push(nanos / PICKS as f64);
    }
}

/// The floor, ours, and the rivals.
type Lanes = (Lane, Vec<Lane>);

pub(super) fn adaptive(members: usize) -> Lanes {
    let lanes = vec![
        ours(Policy::Adaptive, members),
        tower("tower PeakEwma, not shared", members, peak_ewma),
        tower_locked("tower PeakEwma in a Mutex", members, peak_ewma),
    ];
    (floor_of_two(members), lanes)
}

pub(super) fn least_request(members: usize) -> Lanes {
    let lanes = vec![
        ours(Policy::LeastRequest, members),
        tower("tower PendingRequests, not shared", members, pending),
        tower_locked("tower PendingRequests in a Mutex", members, pending),
    ];
    (floor_of_two(members), lanes)
}

pub(super) fn round_robin(members: usize) -> Lanes {
    let turn = AtomicUsize::new(0);
    let floor = Lane::new("an addition and a remainder", move || {
        black_box(turn.fetch_add(1, Ordering::Relaxed) % black_box(members));
    });
    #[cfg_attr(
        not(feature = "pingora"),
        allow(unused_mut, reason = "the rival is not built")
    )]
    let mut lanes = vec![ours(Policy::RoundRobin, members)];
    #[cfg(feature = "pingora")]
    lanes.push(pingora::round_robin(members));
    (floor, lanes)
}

pub(super) fn random(members: usize) -> Lanes {
    let mut rng = Rng::with_seed(1);
    let floor = Lane::new("a random number", move || {
        black_box(rng.below(black_box(members as u64)));
    });
    #[cfg_attr(
        not(feature = "pingora"),
        allow(unused_mut, reason = "the rival is not built")
    )]
    let mut lanes = vec![ours(Policy::Random, members)];
    #[cfg(feature = "pingora")]
    lanes.push(pingora::random(members));
    (floor, lanes)
}

pub(super) fn sticky(members: usize) -> Lanes {
    let balancer = balancer(Policy::Adaptive, members);
    let mut key = 0_u64;
    let ours = Lane::new("tenfold", move || {
        key = (key + 1) & KEYS;
        let pick = balancer
            .pick_sticky(black_box(key))
            .expect("there are members");
        black_box(*pick);
        pick.succeed();
    });
    #[cfg_attr(
        not(feature = "pingora"),
        allow(unused_mut, reason = "the rival is not built")
    )]
    let mut lanes = vec![ours];
    #[cfg(feature = "pingora")]
    lanes.extend(pingora::by_key(members));
    (floor_of_two(members), lanes)
}

fn balancer(policy: Policy, members: usize) -> Balancer<usize> {
    let balancer = Balancer::builder()
        .policy(policy)
        .build()
        .expect("coherent");
    for member in 0..members {
        balancer.add(member).expect("there is room");
    }
    balancer
}

fn ours(policy: Policy, members: usize) -> Lane {
    let balancer = balancer(policy, members);
    Lane::new("tenfold", move || {
        let pick = balancer.pick().expect("there are members");
        assert!(black_box(*pick) < members);
        pick.succeed();
    })
}

/// Two of the counts compared, one raised and lowered: the least that a shared choice of two can do.
fn floor_of_two(members: usize) -> Lane {
    let counts: Vec<_> = (0..members).map(|_| Padded(AtomicU64::new(0))).collect();
    let mut rng = Rng::with_seed(1);
    Lane::new("two loads, an addition, a subtraction", move || {
        let [one, other] = [0, 0].map(|_| &counts[rng.below(members as u64) as usize].0);
        let least = if other.load(Ordering::Relaxed) < one.load(Ordering::Relaxed) {
            other
        } else {
            one
        };
        least.fetch_add(1, Ordering::Acquire);
        black_box(least);
        least.fetch_sub(1, Ordering::Release);
    })
}

#[repr(align(64))]
struct Padded(AtomicU64);

/// A member that answers at once.
struct Member(usize);

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

fn peak_ewma(member: Member) -> PeakEwma<Member> {
    let (rtt, decay) = (Duration::from_millis(1), 10e9);
    PeakEwma::new(member, rtt, decay, CompleteOnResponse::default())
}

fn pending(member: Member) -> PendingRequests<Member> {
    PendingRequests::new(member, CompleteOnResponse::default())
}

type Towers<S> = Balance<ServiceList<Vec<S>>, u64>;

fn towers<S>(members: usize, load: impl Fn(Member) -> S) -> Towers<S>
where
    S: Service<u64, Error = Infallible, Response = usize> + Load,
    S::Metric: std::fmt::Debug,
{
    Balance::new(ServiceList::new(
        (0..members).map(|n| load(Member(n))).collect::<Vec<_>>(),
    ))
}

fn tower<S>(name: &'static str, members: usize, load: impl Fn(Member) -> S) -> Lane
where
    S: Service<u64, Error = Infallible, Response = usize> + Load + 'static,
    S::Metric: std::fmt::Debug,
{
    let mut balance = towers(members, load);
    Lane::new(name, move || request(&mut balance))
}

fn tower_locked<S>(name: &'static str, members: usize, load: impl Fn(Member) -> S) -> Lane
where
    S: Service<u64, Error = Infallible, Response = usize> + Load + 'static,
    S::Metric: std::fmt::Debug,
{
    let balance = Mutex::new(towers(members, load));
    Lane::new(name, move || {
        request(&mut balance.lock().expect("nobody panics"));
    })
}

fn request<S>(balance: &mut Towers<S>)
where
    S: Service<u64, Error = Infallible, Response = usize> + Load,
    S::Metric: std::fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(balance.poll_ready(&mut context).is_ready());
    let answer = pin!(balance.call(black_box(1))).poll(&mut context);
    assert!(matches!(answer, Poll::Ready(Ok(_))));
}

const PICKS: u64 = 1_000;
pub(super) const KEYS: u64 = 0xfff;
