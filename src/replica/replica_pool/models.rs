//! Writes and reads while the role of the primary goes elsewhere, under every interleaving that shuttle's scheduler
//! tries, and the board that most of them look at. All of it with atomics in sequence: what a weaker order of memory allows is not
//! explored.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;

use super::ReplicaPool;
use crate::replica::pool::PoolOptions;
use crate::replica::topology::{Node, Settings};
use crate::replica::{
    CausalToken, Connector, Endpoint, Epoch, Fault, Fork, Position, Probe, Prober, ReadPreference,
    Role, SystemId,
};
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
const SYSTEM: SystemId = SystemId(7);

/// How far each server has come in a timeline.
const fn written(timeline: u64) -> u64 {
    100 * timeline
}

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
        let mut probe = Probe::new(role, SYSTEM, epoch, Position(written(timeline)));
        probe.history.extend((timeline == 2).then_some(Fork {
            timeline: 2,
            parent: 1,
            at: Position(written(1)),
        }));
        Ok(probe)
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

    /// The former primary is found to be a replica.
    fn settle(&self) {
        let monitor = self.pool.monitor();
        while self.pool.topology().serving().is_empty() {
            self.clock.advance(Duration::from_secs(1));
            monitor.turn();
        }
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

/// What is accepted of the board was on it at one moment: a timeline, and what the replicas on it have. Of each one the primary was never
/// a replica, and nobody has more than was written.
#[test]
fn a_view_of_the_board_is_of_one_topology() {
    explore(400, || {
        let world = World::new();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let core = Arc::clone(&world.pool.0);
                thread::spawn(move || {
                    let places = SERVERS.map(|name| {
                        let routes = core.routes.load();
                        let node = routes.topology.find(name).map(Node::id);
                        let member = node.and_then(|node| routes.member(node));
                        member.expect("it is a member").place()
                    });
                    // Who has this much of a timeline; `None` if it is not the board's.
                    let have = |timeline, position| {
                        let token = CausalToken::new(SYSTEM, timeline, Position(position));
                        let token = ReadPreference::AtLeast(token, Duration::ZERO);
                        let least = core.board.least(&token)?;
                        Some(places.map(|place| core.board.has(place, least)))
                    };
                    for _ in 0..3 {
                        let Some(stamp) = core.board.stamp() else {
                            continue;
                        };
                        let something = [1, 2].map(|timeline| have(timeline, 0));
                        let too_much = [1, 2].map(|timeline| have(timeline, written(timeline) + 1));
                        if !core.board.is_still(stamp) {
                            continue;
                        }
                        match something {
                            [Some(replicas), None] => assert!(!replicas[0], "the first's own"),
                            [None, Some(replicas)] => assert!(!replicas[1], "the second's own"),
                            both => panic!("it is of one timeline: {both:?}"),
                        }
                        let anybody = too_much.into_iter().flatten().flatten().any(|has| has);
                        assert!(!anybody, "more than was written");
                    }
                })
            })
            .collect();
        world.change();
        world.settle();
        for reader in readers {
            reader.join().expect("no panic");
        }
    });
}

/// A read goes to who is a replica at some moment of it, and by a token to who has what that stands for.
#[test]
fn a_read_is_of_a_server_that_is_a_replica_meanwhile() {
    explore(300, || {
        let world = World::new();
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let pool = world.pool.clone();
                thread::spawn(move || {
                    let token = CausalToken::new(SYSTEM, 1, Position(written(1)));
                    let preference = match reader {
                        0 => ReadPreference::ReplicaOnly,
                        _ => ReadPreference::AtLeast(token, Duration::MAX),
                    };
                    for _ in 0..2 {
                        let before = pool.topology();
                        let lent = pool.read_within(&preference, Duration::MAX);
                        let after = pool.topology();
                        let server = *lent.expect("it waits");
                        // Nobody becomes a replica twice here.
                        if reader == 0 && before.serving() == after.serving() {
                            let node = after.find(SERVERS[server as usize]).map(Node::id);
                            let serves = node.is_some_and(|node| after.serving().contains(node));
                            assert!(serves, "{server} is no replica meanwhile");
                        }
                    }
                })
            })
            .collect();
        world.change();
        world.settle();
        for reader in readers {
            reader.join().expect("no panic");
        }
        for (_, stats) in world.pool.stats() {
            assert_eq!((stats.lent, stats.waiting), (0, 0));
        }
    });
}
