//! Writes while the role of the primary goes elsewhere, under every interleaving that shuttle's scheduler
//! tries.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;

use super::ReplicaPool;
use crate::replica::pool::PoolOptions;
use crate::replica::topology::{Node, Settings};
use crate::replica::{Connector, Endpoint, Epoch, Fault, Position, Probe, Prober, Role, SystemId};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::explore;
use crate::time::{Instant, ManualClock};

/// Two servers, which are their own connections: the first is primary of the first timeline, the second of the
/// second.
#[derive(Clone)]
struct Servers {
    timeline: Arc<AtomicU64>,
}

const SERVERS: [&str; 2] = ["first", "second"];

impl Connector for Servers {
    type Connection = u64;
    type Error = Infallible;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<u64, Infallible> {
        Ok(u64::from(endpoint.name() == SERVERS[1]))
    }

    fn classify(&self, error: &Infallible) -> Fault {
        match *error {}
    }
}

impl Prober for Servers {
    fn probe(&self, server: &mut u64, _: Instant) -> Result<Probe, Infallible> {
        let timeline = self.timeline.load(Ordering::SeqCst);
        let role = if *server + 1 == timeline {
            Role::Primary
        } else {
            Role::Replica
        };
        let epoch = Epoch { timeline, term: 0 };
        Ok(Probe::new(role, SystemId(7), epoch, Position(100)))
    }
}

struct World {
    pool: ReplicaPool<Servers>,
    clock: ManualClock,
    servers: Servers,
    /// The timeline whose primary the pool has found.
    found: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let servers = Servers {
            timeline: Arc::new(AtomicU64::new(1)),
        };
        let endpoint = |name| Endpoint::new(name, name).expect("it has a name");
        let settings = Settings::builder()
            .primary(endpoint(SERVERS[0]))
            .replica(endpoint(SERVERS[1]));
        let settings = settings.build().expect("coherent");
        let clock = ManualClock::new();
        let builder = ReplicaPool::builder(servers.clone(), settings).clock(clock.clock());
        let options = PoolOptions::new().max_size(2).max_wait(Duration::ZERO);
        let pool = builder.pools(options).seed(1).build().expect("coherent");
        pool.monitor().turn();
        Self {
            pool,
            clock,
            servers,
            found: Arc::new(AtomicU64::new(1)),
        }
    }

    /// The second server is promoted, and the pool finds out.
    fn change(&self) {
        self.servers.timeline.store(2, Ordering::SeqCst);
        let monitor = self.pool.monitor();
        let second = |pool: &ReplicaPool<Servers>| {
            let topology = pool.topology();
            topology.writer() == topology.find(SERVERS[1]).map(Node::id)
        };
        while !second(&self.pool) {
            self.clock.advance(Duration::from_secs(1));
            monitor.turn();
        }
        self.found.store(2, Ordering::SeqCst);
    }
}

/// A write goes to the primary of the epoch that it is lent for, and to the last that was found.
#[test]
fn a_write_is_of_one_epoch_and_of_the_last() {
    explore(300, || {
        let world = World::new();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (pool, found) = (world.pool.clone(), Arc::clone(&world.found));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let least = found.load(Ordering::SeqCst);
                        let lent = pool.write_within(Duration::MAX).expect("it waits");
                        let epoch = lent.epoch().expect("it is for writes");
                        assert_eq!(*lent + 1, epoch.timeline, "of two topologies at once");
                        assert!(epoch.timeline >= least, "of a former primary");
                    }
                })
            })
            .collect();
        world.change();
        for writer in writers {
            writer.join().expect("no panic");
        }
        for (_, stats) in world.pool.stats() {
            assert_eq!((stats.lent, stats.waiting), (0, 0));
        }
    });
}
