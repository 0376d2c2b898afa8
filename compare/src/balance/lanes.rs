//! Who picks, and how: each lane picks a member, and ends the use of it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tenfold::balance::{Balancer, Policy};
use tenfold::rng::Rng;
use tower::load::{PeakEwma, PendingRequests};

use super::lane::Lane;
#[cfg(feature = "pingora")]
use super::pingora;
use super::towers::{self, Member};

/// The floor, ours, and the rivals.
pub(super) type Lanes = (Lane, Vec<Lane>);

/// One policy, among so many members, on one thread or on two.
pub(super) struct Contest {
    pub(super) policy: &'static str,
    pub(super) goal: Option<f64>,
    pub(super) alone: fn(usize) -> Lanes,
    pub(super) together: fn(usize) -> Lanes,
}

pub(super) const CONTESTS: [Contest; 5] = [
    Contest {
        policy: "adaptive",
        goal: Some(30.0),
        alone: |members| {
            let lanes = [ours(Policy::Adaptive, members)].into_iter();
            let lanes = lanes.chain(towers::alone::<PeakEwma<Member>>(members));
            (Lane::new(TWO, floor_of_two(members)()), lanes.collect())
        },
        together: |members| {
            let lanes = [ours_together(Policy::Adaptive, members)].into_iter();
            let lanes = lanes.chain(towers::together::<PeakEwma<Member>>(members));
            (Lane::pair(TWO, floor_of_two(members)), lanes.collect())
        },
    },
    Contest {
        policy: "least request",
        goal: Some(15.0),
        alone: |members| {
            let lanes = [ours(Policy::LeastRequest, members)].into_iter();
            let lanes = lanes.chain(towers::alone::<PendingRequests<Member>>(members));
            (Lane::new(TWO, floor_of_two(members)()), lanes.collect())
        },
        together: |members| {
            let lanes = [ours_together(Policy::LeastRequest, members)].into_iter();
            let lanes = lanes.chain(towers::together::<PendingRequests<Member>>(members));
            (Lane::pair(TWO, floor_of_two(members)), lanes.collect())
        },
    },
    Contest {
        policy: "round robin",
        goal: Some(7.0),
        alone: |members| {
            let lanes = [ours(Policy::RoundRobin, members)].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([pingora::alone(pingora::round_robin(members))]);
            (Lane::new(TURN, floor_of_turns(members)()), lanes.collect())
        },
        together: |members| {
            let lanes = [ours_together(Policy::RoundRobin, members)].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([pingora::together(pingora::round_robin(members))]);
            (Lane::pair(TURN, floor_of_turns(members)), lanes.collect())
        },
    },
    Contest {
        policy: "random",
        goal: None,
        alone: |members| {
            let lanes = [ours(Policy::Random, members)].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([pingora::alone(pingora::random(members))]);
            (Lane::new(DICE, floor_of_dice(members)()), lanes.collect())
        },
        together: |members| {
            let lanes = [ours_together(Policy::Random, members)].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([pingora::together(pingora::random(members))]);
            (Lane::pair(DICE, floor_of_dice(members)), lanes.collect())
        },
    },
    Contest {
        policy: "by key",
        goal: None,
        alone: |members| {
            let lanes = [Lane::new("tenfold", by_key(members)())].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([
                pingora::alone(pingora::consistent(members)),
                pingora::alone(pingora::by_hash(members)),
            ]);
            (Lane::new(TWO, floor_of_two(members)()), lanes.collect())
        },
        together: |members| {
            let lanes = [Lane::pair("tenfold", by_key(members))].into_iter();
            #[cfg(feature = "pingora")]
            let lanes = lanes.chain([
                pingora::together(pingora::consistent(members)),
                pingora::together(pingora::by_hash(members)),
            ]);
            (Lane::pair(TWO, floor_of_two(members)), lanes.collect())
        },
    },
];

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
    Lane::new("tenfold", move || pick(&balancer, members))
}

fn ours_together(policy: Policy, members: usize) -> Lane {
    let balancer = balancer(policy, members);
    Lane::pair("tenfold", || {
        let balancer = balancer.clone();
        move || pick(&balancer, members)
    })
}

// As it is where it is called once: a call around it would be a fifth of what is measured.
#[allow(clippy::inline_always, reason = "see above")]
#[inline(always)]
fn pick(balancer: &Balancer<usize>, members: usize) {
    let pick = balancer.pick().expect("there are members");
    assert!(black_box(*pick) < members);
    pick.succeed();
}

fn by_key(members: usize) -> impl FnMut() -> Box<dyn FnMut() + Send> {
    let balancer = balancer(Policy::Adaptive, members);
    move || {
        let balancer = balancer.clone();
        let mut key = 0_u64;
        Box::new(move || {
            key = (key + 1) & KEYS;
            let pick = balancer.pick_sticky(black_box(key));
            let pick = pick.expect("there are members");
            black_box(*pick);
            pick.succeed();
        })
    }
}

/// Two of the counts compared, one raised and lowered: the least that a shared choice of two can do.
fn floor_of_two(members: usize) -> impl FnMut() -> Box<dyn FnMut() + Send> {
    let counts: Arc<[_]> = (0..members).map(|_| Padded(AtomicU64::new(0))).collect();
    let mut seed = 0;
    move || {
        seed += 1;
        let (counts, mut rng) = (Arc::clone(&counts), Rng::with_seed(seed));
        Box::new(move || {
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
}

#[repr(align(64))]
struct Padded(AtomicU64);

fn floor_of_turns(members: usize) -> impl FnMut() -> Box<dyn FnMut() + Send> {
    let turn = Arc::new(AtomicUsize::new(0));
    move || {
        let turn = Arc::clone(&turn);
        Box::new(move || {
            black_box(turn.fetch_add(1, Ordering::Relaxed) % black_box(members));
        })
    }
}

fn floor_of_dice(members: usize) -> impl FnMut() -> Box<dyn FnMut() + Send> {
    move || {
        let mut rng = Rng::with_seed(1);
        Box::new(move || {
            black_box(rng.below(black_box(members as u64)));
        })
    }
}

const TWO: &str = "two loads, an addition, a subtraction";
const TURN: &str = "an addition and a remainder";
const DICE: &str = "a random number";
pub(super) const KEYS: u64 = 0xfff;
