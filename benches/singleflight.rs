//! The group's own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --bench singleflight` measures, `cargo bench -- --test` runs each
//! loop once.

use std::future::{pending, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use tenfold::singleflight::Group;

/// Callers that wait for one key.
const FOLLOWERS: usize = 2_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    alone(&mut criterion);
    followers(&mut criterion);
    criterion.final_summary();
}

/// A key of its own for every call, and work that is done at once.
fn alone(criterion: &mut Criterion) {
    let mut benchmarks = criterion.benchmark_group("singleflight/alone");
    let group: Group<u64, u64> = Group::new();
    let mut key = 0;
    benchmarks.bench_function("sync", |bencher| {
        bencher.iter(|| {
            key += 1;
            group
                .work(black_box(key), || black_box(key))
                .map(|o| o.value)
        });
    });
    benchmarks.bench_function("async", |bencher| {
        bencher.iter(|| {
            key += 1;
            let mut call = pin!(group.work_async(black_box(key), || ready(black_box(key))));
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready());
        });
    });
    let leased: Group<u64, u64> = Group::builder()
        .lease(Duration::from_secs(1))
        .build()
        .expect("coherent");
    benchmarks.bench_function("sync, leased", |bencher| {
        bencher.iter(|| {
            key += 1;
            leased
                .work(black_box(key), || black_box(key))
                .map(|o| o.value)
        });
    });
    benchmarks.finish();
}

/// From the call to standing in line, and from the landing to the value.
fn followers(criterion: &mut Criterion) {
    let mut benchmarks = criterion.benchmark_group("singleflight/followers");
    benchmarks.throughput(Throughput::Elements(FOLLOWERS as u64));
    let group: Group<u64, u64> = Group::new();
    let mut context = Context::from_waker(Waker::noop());
    benchmarks.bench_function("join and leave", |bencher| {
        let mut leader = pin!(group.work_async(1, pending));
        assert!(leader.as_mut().poll(&mut context).is_pending());
        bencher.iter_batched(
            || Vec::with_capacity(FOLLOWERS),
            |mut calls| {
                for _ in 0..FOLLOWERS {
                    let mut call = Box::pin(group.work_async(1, || ready(2)));
                    assert_eq!(call.as_mut().poll(&mut context).map(drop), Poll::Pending);
                    calls.push(call);
                }
                calls
            },
            BatchSize::LargeInput,
        );
    });
    benchmarks.finish();
}
