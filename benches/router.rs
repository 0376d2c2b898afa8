//! The router's own times; against rivals it is measured by `compare`.
//!
//! `cargo bench --features router --bench router` measures, and `-- --test`
//! runs each loop once.

use std::convert::Infallible;

use criterion::{Criterion, Throughput};
use tenfold::rng::Rng;
use tenfold::router::placement::Ketama;
use tenfold::router::scatter::{Hedge, Scatter};
use tenfold::router::{HotKeys, Policy, Router, Topology};
use tenfold::task::block_on;

/// Look-ups per measured batch.
const KEYS: u64 = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    look_up(&mut criterion);
    policies(&mut criterion);
    build(&mut criterion);
    scatter(&mut criterion);
    celebrities(&mut criterion);
    criterion.final_summary();
}

fn topology(nodes: usize) -> Topology {
    let names = (0..nodes).map(|node| format!("node-{node}"));
    let topology = Topology::builder().nodes(names).build();
    topology.expect("a plain topology can be built")
}

/// One key, its copies, and a thousand keys by node.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/look-up");
    group.throughput(Throughput::Elements(KEYS));
    for nodes in [10, 1000] {
        let router = Router::new(topology(nodes));
        group.bench_function(format!("route, {nodes} nodes"), |bencher| {
            bencher.iter(|| {
                let sum: usize = (0..KEYS).map(|key| router.route(key).index()).sum();
                assert!(sum > 0);
            });
        });
        group.bench_function(format!("group, {nodes} nodes"), |bencher| {
            bencher.iter(|| {
                let groups = router.group_by_node(0..KEYS);
                let keys: usize = groups.iter().map(|(_, keys)| keys.len()).sum();
                assert_eq!(keys as u64, KEYS);
            });
        });
        let copies = router.topology().edit().replicas(3).build();
        let copies = Router::new(copies.expect("there are enough nodes"));
        group.bench_function(format!("3 copies, {nodes} nodes"), |bencher| {
            bencher.iter(|| {
                let copies = (0..KEYS).map(|key| copies.replicas(key));
                assert!(copies.map(|row| row[2].index()).sum::<usize>() > 0);
            });
        });
    }
    group.finish();
}

/// Policies that do not place by slots.
fn policies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/policy");
    group.throughput(Throughput::Elements(KEYS));
    for policy in [Policy::RedisCluster(None), Policy::Ketama(Ketama::Nginx)] {
        let name = policy.to_string();
        let other = topology(10).edit().policy(policy).build();
        let router = Router::new(other.expect("both place on any nodes"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let sum: usize = (0..KEYS).map(|key| router.route(key).index()).sum();
                assert!(sum > 0);
            });
        });
    }
    group.finish();
}

/// A table from nothing, and the next version.
fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/build");
    for nodes in [10, 1000] {
        group.bench_function(format!("first, {nodes} nodes"), |bencher| {
            bencher.iter(|| assert_eq!(topology(nodes).nodes().len(), nodes));
        });
        let before = topology(nodes);
        group.bench_function(format!("next, {nodes} nodes"), |bencher| {
            bencher.iter(|| {
                let next = before.edit().node("another").build();
                assert_eq!(next.expect("a node can be added").epoch(), 2);
            });
        });
    }
    group.finish();
}

/// What a read over many shards costs besides its calls, which answer at once.
fn scatter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/scatter");
    for (nodes, keys) in [(1, 1), (1, 1000), (10, 1000), (100, 1000), (1000, 1000)] {
        let router = Router::new(topology(nodes));
        let copies = router.topology().edit().replicas(nodes.min(2)).build();
        let copies = Router::new(copies.expect("there are enough nodes"));
        group.throughput(Throughput::Elements(keys));
        let name = |what| format!("{what}, {keys} keys, {nodes} nodes");
        group.bench_function(name("group alone"), |bencher| {
            bencher.iter(|| assert!(router.group_by_node(0..keys).iter().count() > 0));
        });
        group.bench_function(name("read"), |bencher| {
            bencher.iter(|| read(router.scatter(0..keys)));
        });
        group.bench_function(name("hedged read"), |bencher| {
            let hedge = || Hedge::after(std::time::Duration::from_millis(10));
            bencher.iter(|| read(copies.scatter(0..keys).hedge(hedge())));
        });
    }
    group.finish();
}

/// Looking out for celebrities, and routing beside them.
fn celebrities(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/celebrities");
    group.throughput(Throughput::Elements(KEYS));
    // Zipf's law, roughly: a rank's logarithm is uniform.
    let mut rng = Rng::with_seed(1);
    let draw = |_| (rng.below(1 << 32) as f64 / 2_f64.powi(32) * 1e6_f64.ln()).exp() as u64;
    let keys: Vec<u64> = (0..KEYS).map(draw).collect();
    let busy = HotKeys::new();
    // As sparsely as it gets: ten times as many samples as make it halve.
    let note_all = |hot: &HotKeys| {
        for key in &keys {
            hot.note(key);
        }
    };
    (0..7000).for_each(|_| note_all(&busy));
    group.bench_function("note, busy", |bencher| {
        bencher.iter(|| {
            note_all(&busy);
            assert!(busy.one_in() > 1);
        });
    });
    group.bench_function("note, quiet", |bencher| {
        bencher.iter_batched_ref(
            HotKeys::new,
            |quiet| {
                note_all(quiet);
                assert_eq!(quiet.one_in(), 1);
            },
            criterion::BatchSize::LargeInput,
        );
    });
    for count in [0, 1, 100] {
        let edit = (0..count).fold(topology(10).edit(), |edit, key| {
            edit.pin(u64::MAX - key, "node-0")
        });
        let router = Router::new(edit.build().expect("these nodes exist"));
        let topology = router.topology();
        group.bench_function(format!("router, {count} pins"), |bencher| {
            bencher.iter(|| {
                let sum: usize = (0..KEYS).map(|key| router.route(key).index()).sum();
                assert!(sum > 0);
            });
        });
        group.bench_function(format!("topology, {count} pins"), |bencher| {
            bencher.iter(|| {
                let sum: usize = (0..KEYS).map(|key| topology.route(key).index()).sum();
                assert!(sum > 0);
            });
        });
    }
    group.finish();
}

fn read(scatter: Scatter<u64>) {
    let read = scatter.run(|_, keys| std::future::ready(Ok::<_, Infallible>(keys.to_vec())));
    assert!(block_on(read).is_ok_and(|gathered| gathered.is_complete()));
}
