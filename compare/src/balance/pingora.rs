//! The rival that needs cmake to build. It chooses and no more: nobody tells it when a request ends.

use std::hint::black_box;

use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{self, BackendIter, BackendSelection};

use super::lanes::{KEYS, Lane};

pub(super) fn round_robin(members: usize) -> Lane {
    lane::<selection::RoundRobin>("pingora RoundRobin", members)
}

pub(super) fn random(members: usize) -> Lane {
    lane::<selection::Random>("pingora Random", members)
}

pub(super) fn by_key(members: usize) -> [Lane; 2] {
    [
        lane::<selection::Consistent>("pingora Consistent", members),
        lane::<selection::FNVHash>("pingora FNVHash", members),
    ]
}

fn lane<S>(name: &'static str, members: usize) -> Lane
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let addresses = (0..members).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250));
    let balancer = LoadBalancer::<S>::try_from_iter(addresses).expect("addresses");
    let mut key = 0_u64;
    Lane::new(name, move || {
        key = (key + 1) & KEYS;
        let backend = balancer.select(&black_box(key).to_le_bytes(), 256);
        assert!(black_box(backend).is_some());
    })
}
