//! Tenfold's pools: of one server, and of a primary with eight replicas.

use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

use tenfold::balance::Balancer;
use tenfold::replica::pool::{Pool, PoolOptions, Pooled};
use tenfold::replica::topology::Settings;
use tenfold::replica::{
    Async, AsyncConnector, CausalToken, Connector, Endpoint, Epoch, Fault, Position, Probe, Prober,
    ReadPreference, ReplicaPool, Role, SystemId,
};
use tenfold::time::Instant;

use super::CONNECTIONS;
use super::rivals::Numbers;
use super::tasks::{Connection, Lend, TaskPool};
use crate::counting;
use crate::report::{Better, Row};

impl Connector for Numbers {
    type Connection = Connection;
    type Error = Infallible;

    fn connect(&self, _: &Endpoint, _: Instant) -> Result<Connection, Infallible> {
        Ok(self.next())
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

impl AsyncConnector for Numbers {
    type Connection = Connection;
    type Error = Infallible;

    async fn connect(&self, _: &Endpoint) -> Result<Connection, Infallible> {
        Ok(self.next())
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, name).expect("it has a name")
}

fn options() -> PoolOptions {
    PoolOptions::new().max_size(CONNECTIONS as usize)
}

pub(super) fn threads() -> Lend {
    let pool = options().build(Numbers::default(), endpoint("p"));
    let pool = pool.expect("coherent");
    let lent: Vec<_> = (0..CONNECTIONS).map(|_| pool.get()).collect();
    drop(lent);
    Box::new(move |times| {
        for _ in 0..times {
            black_box(*pool.get().expect("nobody else has one"));
        }
    })
}

pub(super) fn tasks() -> Pool<Async<Numbers>> {
    let pool = options().build(Async(Numbers::default()), endpoint("p"));
    pool.expect("coherent")
}

impl TaskPool for Pool<Async<Numbers>> {
    type Lent<'a> = Pooled<Async<Numbers>>;

    async fn lend(&self) -> Self::Lent<'_> {
        self.get_async().await.expect("it comes back")
    }
}

/// Servers with nothing behind them. What is lent is the server's number: replicas are 0 to 7, and each has applied one more
/// than the one before it.
struct Servers;

impl Connector for Servers {
    type Connection = u64;
    type Error = Infallible;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<u64, Infallible> {
        Ok(endpoint.name().parse().unwrap_or(PRIMARY))
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

impl Prober for Servers {
    fn probe(&self, server: &mut u64, _: Instant) -> Result<Probe, Infallible> {
        let role = if *server == PRIMARY {
            Role::Primary
        } else {
            Role::Replica
        };
        let epoch = Epoch {
            timeline: 1,
            term: 0,
        };
        let position = Position(FIRST + *server);
        Ok(Probe::new(role, SystemId(1), epoch, position))
    }
}

const REPLICAS: u64 = 8;
const PRIMARY: u64 = REPLICAS;
/// Where the last of the replicas is.
const FIRST: u64 = 1000;

/// A primary and eight replicas, as they stand after the first probes.
fn servers() -> ReplicaPool<Servers> {
    let builder = Settings::builder().primary(endpoint("p"));
    let settings = (0..REPLICAS).fold(builder, |builder, n| {
        builder.replica(endpoint(&n.to_string()))
    });
    let settings = settings.build().expect("coherent");
    let pool = ReplicaPool::builder(Servers, settings).pools(options());
    let pool = pool.build().expect("coherent");
    pool.monitor().turn();
    pool
}

/// By replicas of these numbers.
fn reads(preference: ReadPreference, by: Range<u64>) -> Lend {
    let pool = servers();
    for _ in 0..1_000 {
        assert!(by.contains(&*pool.read(&preference).expect("replicas serve")));
    }
    Box::new(move |times| {
        for _ in 0..times {
            black_box(*pool.read(black_box(&preference)).expect("replicas serve"));
        }
    })
}

/// What a read costs at least: the balancer's choice among eight pools, and a connection of the one that was chosen, without
/// anything that knows who of them may be read from.
pub(super) fn by_hand() -> Lend {
    let balancer = Balancer::new();
    for n in 0..REPLICAS {
        let pool = options().build(Servers, endpoint(&n.to_string()));
        balancer.add(pool.expect("coherent")).expect("room");
    }
    let read = move || {
        let server = balancer.pick().expect("there are eight");
        black_box(*server.get().expect("nobody else has one"));
        server.succeed();
    };
    (0..1_000).for_each(|_| read());
    Box::new(move |times| (0..times).for_each(|_| read()))
}

pub(super) fn replica() -> Lend {
    reads(ReadPreference::Replica, 0..REPLICAS)
}

/// All have applied what it stands for.
pub(super) fn by_old_token() -> Lend {
    reads(token(FIRST), 0..REPLICAS)
}

/// Half of them have.
pub(super) fn by_new_token() -> Lend {
    reads(token(FIRST + REPLICAS / 2), REPLICAS / 2..REPLICAS)
}

fn token(position: u64) -> ReadPreference {
    let token = CausalToken::new(SystemId(1), 1, Position(position));
    ReadPreference::AtLeast(token, Duration::ZERO)
}

pub(super) fn write() -> Lend {
    let pool = servers();
    Box::new(move |times| {
        for _ in 0..times {
            black_box(*pool.write().expect("there is a primary"));
        }
    })
}

/// How often memory is asked for per connection that is lent.
pub(super) fn allocations() -> Vec<Row> {
    let contests: [(_, fn() -> Lend); 5] = [
        ("a pool, threads", threads),
        ("a read, of 8 replicas", replica),
        ("a read by a token that all of 8 have", by_old_token),
        ("a read by a token that half of 8 have", by_new_token),
        ("a write", write),
    ];
    let count = |(workload, make): (&str, fn() -> Lend)| {
        let mut lend = make();
        lend(TIMES);
        counting::start();
        let before = counting::allocations();
        lend(TIMES);
        let asked = counting::allocations() - before;
        counting::stop();
        Row {
            block: "replica",
            workload: workload.to_owned(),
            metric: "allocations",
            unit: "allocations per connection lent",
            better: Better::Lower,
            ours: asked as f64 / TIMES as f64,
            peers: Vec::new(),
            floor: Some(0.0),
            goal: Some(0.0),
            context: Vec::new(),
            capacity: None,
        }
    };
    contests.into_iter().map(count).collect()
}

const TIMES: usize = 10_000;
