//! The rival that needs cmake to build. It chooses and no more: nobody tells it when a request ends.

use std::hint::black_box;
use std::sync::Arc;

use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{self, BackendIter, BackendSelection};

use super::lane::Lane;
use super::lanes::KEYS;

type Shared<S> = (&'static str, Arc<LoadBalancer<S>>);

pub(super) fn round_robin(members: usize) -> Shared<selection::RoundRobin> {
    balancer("pingora RoundRobin", members)
}

pub(super) fn random(members: usize) -> Shared<selection::Random> {
    balancer("pingora Random", members)
}

pub(super) fn consistent(members: usize) -> Shared<selection::Consistent> {
    balancer("pingora Consistent", members)
}

pub(super) fn by_hash(members: usize) -> Shared<selection::FNVHash> {
    balancer("pingora FNVHash", members)
}

pub(super) fn alone<S>((name, balancer): Shared<S>) -> Lane
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    Lane::new(name, select(balancer))
}

pub(super) fn together<S>((name, balancer): Shared<S>) -> Lane
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    Lane::pair(name, || select(Arc::clone(&balancer)))
}

fn select<S>(balancer: Arc<LoadBalancer<S>>) -> impl FnMut() + Send + 'static
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let mut key = 0_u64;
    move || {
        key = (key + 1) & KEYS;
        let backend = balancer.select(&black_box(key).to_le_bytes(), 256);
        assert!(black_box(backend).is_some());
    }
}

fn balancer<S>(name: &'static str, members: usize) -> Shared<S>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let addresses = (0..members).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250));
    let balancer = LoadBalancer::<S>::try_from_iter(addresses).expect("addresses");
    (name, Arc::new(balancer))
}
