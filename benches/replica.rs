//! A connection lent and given back, alone, by route, and handed over; against rivals it is measured by `compare`.
//!
//! `cargo bench --features replica --bench replica` measures, `… -- --test` runs each loop once.

use std::convert::Infallible;
use std::hint::black_box;

use criterion::Criterion;
use tenfold::replica::pool::PoolOptions;
use tenfold::replica::topology::Settings;
use tenfold::replica::{
    CausalToken, Connector, Endpoint, Epoch, Fault, Position, Probe, Prober, ReadPreference,
    ReplicaPool, Role, SystemId,
};
use tenfold::time::Instant;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bare(&mut criterion);
    routed(&mut criterion);
    criterion.final_summary();
}

/// Servers without anything behind them: `p` is primary.
struct Nothing;

impl Connector for Nothing {
    type Connection = bool;
    type Error = Infallible;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<bool, Infallible> {
        Ok(endpoint.name() == "p")
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

impl Prober for Nothing {
    fn probe(&self, is_primary: &mut bool, _: Instant) -> Result<Probe, Infallible> {
        let role = if *is_primary {
            Role::Primary
        } else {
            Role::Replica
        };
        let epoch = Epoch {
            timeline: 1,
            term: 0,
        };
        Ok(Probe::new(role, SystemId(1), epoch, Position(1000)))
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, name).expect("it has a name")
}

fn bare(criterion: &mut Criterion) {
    let pool = PoolOptions::new().max_size(8);
    let pool = pool.build(Nothing, endpoint("p")).expect("coherent");
    let lent: Vec<_> = (0..8).map(|_| pool.get().expect("there is room")).collect();
    drop(lent);
    criterion.bench_function("replica/lend and take back", |bencher| {
        bencher.iter(|| pool.get().map(|lent| black_box(*lent)));
    });
}

fn routed(criterion: &mut Criterion) {
    let settings = (0..8).fold(Settings::builder().primary(endpoint("p")), |builder, n| {
        builder.replica(endpoint(&format!("r{n}")))
    });
    let settings = settings.build().expect("coherent");
    let pool = ReplicaPool::builder(Nothing, settings)
        .build()
        .expect("coherent");
    pool.monitor().turn();
    let token = CausalToken::new(SystemId(1), 1, Position(900));
    let preferences = [
        ("a replica of 8", ReadPreference::Replica),
        (
            "a replica of 8, by token",
            ReadPreference::AtLeast(token, std::time::Duration::ZERO),
        ),
        ("the primary", ReadPreference::Primary),
    ];
    for (name, preference) in preferences {
        // Connections are there before it is measured.
        for _ in 0..1000 {
            assert!(pool.read(&preference).is_ok());
        }
        criterion.bench_function(&format!("replica/read from {name}"), |bencher| {
            bencher.iter(|| {
                pool.read(black_box(&preference))
                    .map(|lent| black_box(*lent))
            });
        });
    }
    criterion.bench_function("replica/write", |bencher| {
        bencher.iter(|| pool.write().map(|lent| black_box(*lent)));
    });
}
