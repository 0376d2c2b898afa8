//! A pick and its end, by policy and by number of members; against rivals it is measured by
//! `compare`.
//!
//! `cargo bench --features balance --bench balance` measures, `… -- --test` runs each loop once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use tenfold::balance::{Balancer, Member, Policy};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    picks(&mut criterion);
    keys(&mut criterion);
    criterion.final_summary();
}

/// A balancer of so many members, in use for a while.
fn balancer(policy: Policy, members: usize, weigh: impl Fn(usize) -> f64) -> Balancer<usize> {
    let builder = Balancer::<usize>::builder().policy(policy);
    let balancer = builder.build().expect("coherent");
    for member in 0..members {
        let member = Member::new(member).weight(weigh(member));
        balancer.add_member(member).expect("there is room");
    }
    for _ in 0..100_000 {
        balancer.pick().expect("there are members").succeed();
    }
    balancer
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balance/pick");
    for members in [10, 100, 1000] {
        let policies = [
            Policy::Adaptive,
            Policy::LeastRequest,
            Policy::PeakEwma,
            Policy::RoundRobin,
            Policy::Random,
        ];
        for policy in policies {
            let balancer = balancer(policy, members, |_| 1.0);
            group.bench_function(BenchmarkId::new(policy.name(), members), |bencher| {
                bencher.iter(|| {
                    balancer
                        .pick()
                        .map(|pick| (black_box(*pick), pick.succeed()))
                });
            });
        }
        let weighted = balancer(Policy::RoundRobin, members, |member| 1.0 + member as f64);
        group.bench_function(BenchmarkId::new("smooth weighted", members), |bencher| {
            bencher.iter(|| {
                weighted
                    .pick()
                    .map(|pick| (black_box(*pick), pick.succeed()))
            });
        });
    }
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balance/sticky");
    for members in [10, 100, 1000] {
        let balancer = balancer(Policy::Adaptive, members, |_| 1.0);
        let mut key = 0_u64;
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter(|| {
                key = key.wrapping_add(1) & 0xffff;
                let pick = balancer.pick_sticky(black_box(key));
                pick.map(|pick| (black_box(*pick), pick.succeed()))
            });
        });
    }
    group.finish();
}
