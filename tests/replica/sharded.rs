//! Shards that are clusters themselves: a router over nodes, each a primary with replicas behind a pool of its own. When one of them
//! fails over, nobody else notices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenfold::replica::recovery::Recovered;
use tenfold::replica::topology::{Authority, Event, NodeId, Promotion, Settings};
use tenfold::replica::{
    Connector, Endpoint, Epoch, Events, Fault, Monitor, Op, Position, Probe, Prober, Promoter,
    ReplicaError, ReplicaPool, Role, SystemId,
};
use tenfold::router::{Router, Topology};
use tenfold::time::{Instant, ManualClock};

const SHARDS: [&str; 4] = ["pg-1", "pg-2", "pg-3", "pg-4"];
const USERS: u64 = 400;

#[test]
fn one_shard_fails_over_and_the_others_never_notice() {
    let mut world = World::new();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.write_all(), BTreeMap::new());
    let router = world.router.topology().fingerprint();
    let before = world.shards.each_ref().map(Shard::standing);
    for shard in &mut world.shards {
        shard.forget_events();
    }

    let dead = world.router.route(7_u64).index();
    world.shards[dead]
        .servers
        .with("0", |server| server.up = false);
    let mut ended = None;
    for tenth in 1..=100 {
        let failed = world.write_all();
        assert!(failed.keys().all(|&shard| shard == dead), "{failed:?}");
        assert!(tenth > 1 || failed.contains_key(&dead));
        let failed = world.read_all();
        assert!(failed.is_empty(), "{failed:?}");
        if ended.is_none() && world.write_all().is_empty() {
            ended = Some(tenth);
        }
        world.pass(Duration::from_millis(100));
    }
    assert!(
        ended.is_some_and(|tenths| tenths < 50),
        "no new primary in five seconds: {ended:?}"
    );

    for (number, shard) in world.shards.iter_mut().enumerate() {
        let events = shard.forget_events();
        let (writer, epoch) = shard.standing();
        if number == dead {
            let promoted = |event: &Event| matches!(event, Event::PrimaryChanged { .. });
            assert!(events.iter().any(promoted), "{events:?}");
            assert_ne!(writer, before[number].0);
            assert!(epoch > before[number].1);
        } else {
            assert!(events.is_empty(), "{events:?}");
            assert_eq!((writer, epoch), before[number]);
        }
    }
    assert_eq!(world.router.topology().fingerprint(), router);
    // Every key lies where it lay, and what was written before is there.
    for user in 0..USERS {
        assert!(world.shard(user).has(user));
    }
}

struct World {
    clock: ManualClock,
    router: Router,
    /// By the number of the node.
    shards: [Shard; SHARDS.len()],
}

struct Shard {
    servers: Servers,
    pool: ReplicaPool<Servers>,
    monitor: Monitor<Servers>,
    events: Events,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let topology = Topology::builder().nodes(SHARDS).build().unwrap();
        let shards = SHARDS.map(|name| {
            let node = topology.id_of(name).unwrap();
            (node.index(), Shard::new(name, &clock))
        });
        let mut shards = Vec::from(shards);
        shards.sort_by_key(|(index, _)| *index);
        let shards = shards.into_iter().map(|(_, shard)| shard);
        Self {
            clock,
            router: Router::new(topology),
            shards: shards.collect::<Vec<_>>().try_into().ok().unwrap(),
        }
    }

    fn shard(&self, user: u64) -> &Shard {
        &self.shards[self.router.route(user).index()]
    }

    fn pass(&self, time: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            let turns = self.shards.iter().map(|shard| shard.monitor.turn());
            let next = turns.min().unwrap_or(until).min(until);
            let step = next.saturating_since(self.clock.now());
            self.clock.advance(step.max(Duration::from_millis(1)));
        }
    }

    /// How many of them fail, by shard.
    fn write_all(&self) -> BTreeMap<usize, u64> {
        self.all(|shard, user| shard.write(user).is_ok())
    }

    fn read_all(&self) -> BTreeMap<usize, u64> {
        self.all(|shard, _| shard.read().is_ok())
    }

    fn all(&self, ask: impl Fn(&Shard, u64) -> bool) -> BTreeMap<usize, u64> {
        let mut failed = BTreeMap::new();
        for user in 0..USERS {
            if !ask(self.shard(user), user) {
                *failed.entry(self.router.route(user).index()).or_default() += 1;
            }
        }
        failed
    }
}

impl Shard {
    fn new(name: &str, clock: &ManualClock) -> Self {
        let servers = Servers::default();
        let endpoint = |number: usize| {
            let endpoint = Endpoint::new(&format!("{name}-{number}"), &number.to_string());
            endpoint.unwrap()
        };
        let settings = Settings::builder()
            .primary(endpoint(0))
            .replica(endpoint(1))
            .replica(endpoint(2))
            .promotion(Promotion::Active(Authority::SoleController))
            .build()
            .unwrap();
        let options = tenfold::replica::pool::PoolOptions::new().max_wait(Duration::ZERO);
        let pool = ReplicaPool::builder(servers.clone(), settings)
            .pools(options)
            .clock(clock.clock())
            .seed(5)
            .build()
            .unwrap();
        Self {
            monitor: pool.monitor().promoting(),
            events: pool.events(),
            servers,
            pool,
        }
    }

    fn write(&self, user: u64) -> Result<(), ReplicaError<Down>> {
        self.pool
            .run(&Op::write(), |connection| connection.write(user))
    }

    fn read(&self) -> Result<usize, ReplicaError<Down>> {
        self.pool.run(&Op::read(), Connection::read)
    }

    fn has(&self, user: u64) -> bool {
        let writer = self.pool.topology().writer().unwrap().index();
        self.servers
            .with(&writer.to_string(), |server| server.log.contains(&user))
    }

    fn standing(&self) -> (Option<usize>, Option<Epoch>) {
        let topology = self.pool.topology();
        (topology.writer().map(NodeId::index), topology.epoch())
    }

    fn forget_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_next()).collect()
    }
}

/// Three databases in memory, of which all that are up have all that is written.
#[derive(Clone)]
struct Servers(Arc<Mutex<[Server; 3]>>);

#[derive(Clone)]
struct Server {
    up: bool,
    role: Role,
    timeline: u64,
    log: Vec<u64>,
}

struct Connection {
    number: usize,
    servers: Servers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server does not answer, or takes no writes")]
struct Down;

impl Default for Servers {
    fn default() -> Self {
        let server = |role| Server {
            up: true,
            role,
            timeline: 1,
            log: Vec::new(),
        };
        let roles = [Role::Primary, Role::Replica, Role::Replica];
        Self(Arc::new(Mutex::new(roles.map(server))))
    }
}

impl Servers {
    fn all<R>(&self, act: impl FnOnce(&mut [Server; 3]) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with<R>(&self, address: &str, act: impl FnOnce(&mut Server) -> R) -> R {
        let number: usize = address.parse().unwrap();
        self.all(|servers| act(&mut servers[number]))
    }

    fn ask<R>(&self, number: usize, ask: impl FnOnce(&mut Server) -> R) -> Result<R, Down> {
        self.all(|servers| servers[number].up.then(|| ask(&mut servers[number])))
            .ok_or(Down)
    }
}

impl Connection {
    fn read(&mut self) -> Result<usize, Down> {
        self.servers.ask(self.number, |server| server.log.len())
    }

    fn write(&mut self, user: u64) -> Result<(), Down> {
        self.servers.all(|servers| {
            let server = &servers[self.number];
            if !server.up || server.role == Role::Replica {
                return Err(Down);
            }
            let up = servers.iter_mut().filter(|server| server.up);
            up.for_each(|server| server.log.push(user));
            Ok(())
        })
    }
}

impl Connector for Servers {
    type Connection = Connection;
    type Error = Down;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<Connection, Down> {
        let number = endpoint.address().parse().unwrap();
        self.ask(number, |_| ())?;
        Ok(Connection {
            number,
            servers: self.clone(),
        })
    }

    fn classify(&self, _: &Down) -> Fault {
        Fault::ConnectionLost
    }
}

impl Prober for Servers {
    fn probe(&self, connection: &mut Connection, _: Instant) -> Result<Probe, Down> {
        let is_primary = |server: &Server| server.up && server.role == Role::Primary;
        let has_primary = self.all(|servers| servers.iter().any(is_primary));
        self.ask(connection.number, |server| {
            let epoch = Epoch {
                timeline: server.timeline,
                term: 0,
            };
            let position = Position(server.log.len() as u64);
            let mut probe = Probe::new(server.role, SystemId(1), epoch, position);
            probe.receiving = (server.role == Role::Replica).then_some(has_primary);
            probe
        })
    }
}

impl Promoter for Servers {
    fn fence(&self, _: &Endpoint, _: Epoch, _: Instant) -> Result<(), Down> {
        Ok(())
    }

    fn stop_receiver(&self, replica: &Endpoint, _: Instant) -> Result<Position, Down> {
        let reach = |server: &mut Server| Position(server.log.len() as u64);
        Ok(self.with(replica.address(), reach))
    }

    fn salvage(&self, _: &Endpoint, candidate: &Endpoint, _: Instant) -> Result<Position, Down> {
        // Everybody has all of it.
        let reach = |server: &mut Server| Position(server.log.len() as u64);
        Ok(self.with(candidate.address(), reach))
    }

    fn promote(&self, candidate: &Endpoint, _: Instant) -> Result<Epoch, Down> {
        Ok(self.with(candidate.address(), |server| {
            (server.role, server.timeline) = (Role::Primary, server.timeline + 1);
            Epoch {
                timeline: server.timeline,
                term: 0,
            }
        }))
    }

    fn follow(&self, replica: &Endpoint, primary: &Endpoint, _: Instant) -> Result<(), Down> {
        let timeline = self.with(primary.address(), |server| server.timeline);
        self.with(replica.address(), |server| server.timeline = timeline);
        Ok(())
    }

    fn rejoin(&self, _: &Endpoint, _: &Endpoint, _: &Recovered, _: Instant) -> Result<(), Down> {
        Err(Down)
    }
}
