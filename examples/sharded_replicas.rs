//! Four shards, each a primary with two replicas behind a pool of its own: one of them fails over, and the others never notice.
//!
//! `cargo run --example sharded_replicas`

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenfold::replica::pool::PoolOptions;
use tenfold::replica::topology::Settings;
use tenfold::replica::{
    Connector, Endpoint, Epoch, Fault, Monitor, Op, Position, Probe, Prober, ReplicaPool, Role,
    SystemId,
};
use tenfold::router::{Router, Topology};
use tenfold::time::{Instant, ManualClock};

const USERS: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let topology = Topology::builder()
        .nodes(["pg-1", "pg-2", "pg-3", "pg-4"])
        .build()?;
    // In the order of the nodes' numbers.
    let shards = topology
        .nodes()
        .map(|(_, node)| Shard::new(node.name(), &clock));
    let shards = shards.collect::<Result<Vec<_>, _>>()?;
    let router = Router::new(topology);
    let pass = |time: Duration| {
        let until = clock.now() + time;
        while clock.now() < until {
            let turns = shards.iter().map(|shard| shard.monitor.turn());
            let next = turns.fold(until, Instant::min);
            clock.advance(next.saturating_since(clock.now()));
        }
    };
    // How many of the users' writes fail, on each shard.
    let write = || {
        let mut failed = vec![0; shards.len()];
        for user in 0..USERS {
            let shard = router.route(user).index();
            let written = shards[shard].pool.run(&Op::write(), Connection::write);
            failed[shard] += u32::from(written.is_err());
        }
        failed
    };
    pass(Duration::from_secs(1));
    assert_eq!(write(), [0; 4]);
    let before: Vec<_> = shards.iter().map(Shard::epoch).collect();

    let dead = router.route(42_u64).index();
    println!("the primary of shard {dead} dies");
    shards[dead]
        .servers
        .change(|servers| servers[0].role = None);
    pass(Duration::from_secs(3));
    let failed = write();
    println!("writes that fail, by shard: {failed:?}");
    for (shard, failed) in failed.into_iter().enumerate() {
        assert_eq!(failed > 0, shard == dead);
    }

    println!("its first replica is promoted, by whoever does that here");
    shards[dead].servers.change(|servers| {
        servers[1].role = Some(Role::Primary);
        servers[1].timeline += 1;
    });
    pass(Duration::from_secs(3));
    let failed = write();
    println!("writes that fail, by shard: {failed:?}");
    assert_eq!(failed, [0; 4]);
    for (number, shard) in shards.iter().enumerate() {
        assert_eq!(shard.epoch() != before[number], number == dead);
    }
    Ok(())
}

struct Shard {
    servers: Servers,
    pool: ReplicaPool<Servers>,
    monitor: Monitor<Servers>,
}

impl Shard {
    fn new(name: &str, clock: &ManualClock) -> Result<Self, Box<dyn Error>> {
        let servers = Servers::default();
        let endpoint =
            |number: usize| Endpoint::new(&format!("{name}-{number}"), &number.to_string());
        let settings = Settings::builder()
            .primary(endpoint(0)?)
            .replica(endpoint(1)?)
            .replica(endpoint(2)?)
            .build()?;
        let pool = ReplicaPool::builder(servers.clone(), settings)
            // Nobody else turns the clock while a call waits.
            .pools(PoolOptions::new().max_wait(Duration::ZERO))
            .clock(clock.clock())
            .build()?;
        Ok(Self {
            monitor: pool.monitor(),
            servers,
            pool,
        })
    }

    fn epoch(&self) -> Option<Epoch> {
        self.pool.topology().epoch()
    }
}

/// Three servers in memory; the first begins as the primary.
#[derive(Clone)]
struct Servers(Arc<Mutex<[Server; 3]>>);

#[derive(Clone, Copy)]
struct Server {
    /// None if it is down.
    role: Option<Role>,
    timeline: u64,
    position: u64,
}

struct Connection {
    number: usize,
    servers: Servers,
}

#[derive(Debug, thiserror::Error)]
#[error("the server is down, or takes no writes")]
struct Down;

impl Default for Servers {
    fn default() -> Self {
        let server = |role| Server {
            role: Some(role),
            timeline: 1,
            position: 0,
        };
        let roles = [Role::Primary, Role::Replica, Role::Replica];
        Self(Arc::new(Mutex::new(roles.map(server))))
    }
}

impl Servers {
    fn change<R>(&self, change: impl FnOnce(&mut [Server; 3]) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Connection {
    fn write(&mut self) -> Result<(), Down> {
        self.servers.change(|servers| {
            let server = &mut servers[self.number];
            if server.role != Some(Role::Primary) {
                return Err(Down);
            }
            server.position += 1;
            // Replicas have it at once.
            let position = server.position;
            for server in servers {
                server.position = position;
            }
            Ok(())
        })
    }
}

impl Connector for Servers {
    type Connection = Connection;
    type Error = Down;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<Connection, Down> {
        let number: usize = endpoint.address().parse().map_err(|_| Down)?;
        let role = self.change(|servers| servers[number].role);
        let servers = self.clone();
        role.map(|_| Connection { number, servers }).ok_or(Down)
    }

    fn classify(&self, _: &Down) -> Fault {
        Fault::ConnectionLost
    }
}

impl Prober for Servers {
    fn probe(&self, connection: &mut Connection, _: Instant) -> Result<Probe, Down> {
        let server = self.change(|servers| servers[connection.number]);
        let epoch = Epoch {
            timeline: server.timeline,
            term: 0,
        };
        let role = server.role.ok_or(Down)?;
        Ok(Probe::new(
            role,
            SystemId(1),
            epoch,
            Position(server.position),
        ))
    }
}
