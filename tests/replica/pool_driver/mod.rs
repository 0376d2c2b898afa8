//! The pool of a whole cluster in virtual time: where reads and writes go, and what becomes of them when servers die, lag or
//! change their roles.

mod cluster;
mod hedges;
mod selection;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::client::DbError;
use cluster::Cluster;
use tenfold::balance::Policy;
use tenfold::replica::pool::{GetError, PoolOptions};
use tenfold::replica::topology::{Event, Phase, SelectError, Settings};
use tenfold::replica::{
    Async, Client, Endpoint, Fault, Lent, Monitor, Op, Position, ReadPreference, ReplicaBuildError,
    ReplicaError, ReplicaPool, Role, ServerError,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const REPLICA: ReadPreference = ReadPreference::Replica;

struct World {
    cluster: Cluster,
    clock: ManualClock,
    pool: ReplicaPool<Cluster>,
    monitor: Monitor<Cluster>,
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, name).unwrap()
}

fn settings(replicas: usize) -> Arc<Settings> {
    let builder = Settings::builder().primary(endpoint("p"));
    let replicas = (1..=replicas).map(|n| endpoint(&format!("r{n}")));
    replicas
        .fold(
            builder,
            tenfold::replica::topology::SettingsBuilder::replica,
        )
        .build()
        .unwrap()
}

/// Nobody waits unless a test says so.
fn options() -> PoolOptions {
    PoolOptions::new().max_size(4).max_wait(Duration::ZERO)
}

impl World {
    fn new(replicas: usize) -> Self {
        let (cluster, clock) = (Cluster::new(replicas), ManualClock::new());
        let builder = ReplicaPool::builder(cluster.clone(), settings(replicas));
        let builder = builder.pools(options()).clock(clock.clock()).seed(3);
        let builder = builder.policy(Policy::RoundRobin);
        let pool = builder.build().unwrap();
        let monitor = pool.monitor();
        monitor.turn();
        Self {
            cluster,
            clock,
            pool,
            monitor,
        }
    }

    /// Time passes, and the monitor does its part.
    fn pass(&self, time: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            let next = self.monitor.turn().min(until);
            let step = next.saturating_since(self.clock.now());
            self.clock.advance(step.max(Duration::from_millis(1)));
        }
        self.monitor.turn();
    }

    fn read(&self) -> Result<u64, ReplicaError<DbError>> {
        self.pool.run(&Op::read(), cluster::Conn::read)
    }

    /// How many of so many reads each server gets.
    fn spread(&self, reads: usize) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for _ in 0..reads {
            let name = self.pool.run(&Op::read(), |conn| {
                conn.read()?;
                Ok(conn.name().to_owned())
            });
            *spread.entry(name.unwrap()).or_default() += 1;
        }
        spread
    }
}

fn name<C: Client>(lent: &Lent<C>) -> &str {
    lent.endpoint().name()
}

mod routing {
    use super::*;

    #[test]
    fn writes_go_to_the_primary_and_reads_to_all_replicas() {
        let world = World::new(3);
        assert_eq!(name(&world.pool.write().unwrap()), "p");
        let spread = world.spread(300);
        assert_eq!(spread.keys().collect::<Vec<_>>(), ["r1", "r2", "r3"]);
        assert!(spread.values().all(|&reads| reads > 30), "{spread:?}");
    }

    #[test]
    fn a_preference_says_where_a_read_goes() {
        let world = World::new(1);
        let read = |preference| {
            world
                .pool
                .read(&preference)
                .map(|lent| name(&lent).to_owned())
        };
        assert_eq!(read(ReadPreference::Primary), Ok("p".to_owned()));
        assert_eq!(read(ReadPreference::ReplicaOnly), Ok("r1".to_owned()));
        let tag = ReadPreference::Tag("zone".into(), "a".into());
        assert!(matches!(
            read(tag),
            Err(ReplicaError::Select(SelectError::NoTagged { .. }))
        ));
    }

    #[test]
    fn where_only_the_primary_will_do_a_read_goes_there() {
        let (cluster, clock) = (Cluster::new(1), ManualClock::new());
        let primary = endpoint("p").tag("zone", "a");
        let settings = Settings::builder().primary(primary).replica(endpoint("r1"));
        let builder = ReplicaPool::builder(cluster.clone(), settings.build().unwrap());
        let builder = builder.pools(options()).clock(clock.clock()).seed(3);
        let pool = builder.build().unwrap();
        let monitor = pool.monitor();
        monitor.turn();
        let read = |preference| name(&pool.read(&preference).unwrap()).to_owned();
        assert_eq!(read(ReadPreference::Tag("zone".into(), "a".into())), "p");
        assert_eq!(read(ReadPreference::Any), "r1");
        let world = World {
            cluster,
            clock,
            pool: pool.clone(),
            monitor,
        };
        world.cluster.kill("r1");
        world.pass(5 * SECOND);
        assert_eq!(read(ReadPreference::Any), "p");
    }

    #[test]
    fn before_anything_is_known_nobody_is_lent_anything() {
        let (cluster, clock) = (Cluster::new(1), ManualClock::new());
        let builder = ReplicaPool::builder(cluster, settings(1)).pools(options());
        let pool = builder.clock(clock.clock()).build().unwrap();
        let phase = Phase::Discovering;
        let none = SelectError::NoPrimary { phase };
        assert_eq!(pool.write().unwrap_err(), ReplicaError::Select(none));
    }

    #[test]
    fn who_waits_for_a_primary_gets_it_when_it_is_found() {
        let world = World::new(1);
        world.cluster.kill("p");
        world.pass(5 * SECOND);
        let pool = world.pool.clone();
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let lent = pool.write_within(Duration::MAX).unwrap();
                name(&lent).to_owned()
            });
            world.cluster.promote("r1");
            while !writer.is_finished() {
                world.pass(SECOND);
                thread::yield_now();
            }
            assert_eq!(writer.join().unwrap(), "r1");
        });
    }

    #[test]
    fn servers_come_and_go() {
        let world = World::new(1);
        world.cluster.add("r2", Role::Replica);
        world.cluster.with("r2", |server| server.position = 10);
        world.pool.add_replica(endpoint("r2")).unwrap();
        world.pass(3 * SECOND);
        // Not before it has caught up.
        assert_eq!(world.spread(50).get("r2"), None);
        world.cluster.replicate();
        world.pass(3 * SECOND);
        assert!(world.spread(200)["r2"] > 0);

        let lent = world.pool.read(&REPLICA).unwrap();
        let other = if name(&lent) == "r1" { "r2" } else { "r1" };
        let drain = world.pool.drain(name(&lent)).unwrap();
        assert_eq!(world.spread(50).keys().collect::<Vec<_>>(), [other]);
        let mut drain = pin!(drain);
        let mut context = Context::from_waker(Waker::noop());
        assert!(drain.as_mut().poll(&mut context).is_pending());
        let drained = name(&lent).to_owned();
        drop(lent);
        assert!(drain.as_mut().poll(&mut context).is_ready());
        world.pool.remove(&drained).unwrap();
        assert!(world.pool.topology().find(&drained).is_none());
        assert_eq!(world.pool.stats().len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let world = World::new(1);
        let unknown = ServerError::Unknown("r9".into());
        assert_eq!(world.pool.drain("r9").unwrap_err(), unknown);
        let primary = ServerError::Primary("p".into());
        assert_eq!(world.pool.remove("p").unwrap_err(), primary);
        let again = world.pool.add_replica(endpoint("r1")).unwrap_err();
        assert!(matches!(again, ServerError::NotAdded(_)));
        let builder = ReplicaPool::builder(Cluster::new(1), settings(1));
        let knob = "primary_read_share";
        let share = ReplicaBuildError::Share { knob, found: 1.5 };
        assert_eq!(builder.primary_read_share(1.5).build().unwrap_err(), share);
        let builder = ReplicaPool::builder(Cluster::new(1), settings(1));
        let none = builder.pools(PoolOptions::new().max_size(0)).build();
        assert!(matches!(none, Err(ReplicaBuildError::Pool(_))));
    }
}

mod replicas {
    use super::*;

    /// Reads and writes that could not be served at once used to lose what they had found, and its place in the pool.
    #[test]
    fn a_connection_that_has_to_be_tested_first_is_not_lost() {
        let world = World::new(1);
        for _ in 0..10 {
            world.pass(120 * SECOND);
            assert!(world.pool.read(&REPLICA).is_ok());
            assert!(world.pool.read(&ReadPreference::MaxLag(SECOND)).is_ok());
            assert!(world.pool.write().is_ok());
        }
        for (_, stats) in world.pool.stats() {
            assert_eq!(stats.lent, 0, "{stats:?}");
        }
    }

    #[test]
    fn a_read_on_a_dead_replica_is_done_on_another() {
        let world = World::new(2);
        world.spread(50);
        world.cluster.kill("r1");
        // Not one of them fails, and nobody had to probe.
        let spread = world.spread(100);
        assert_eq!(spread.keys().collect::<Vec<_>>(), ["r2"]);
    }

    #[test]
    fn one_that_comes_back_serves_again_once_it_has_caught_up() {
        let world = World::new(2);
        world.cluster.kill("r1");
        world.spread(50);
        world.pass(60 * SECOND);
        world.cluster.with("p", |server| server.position = 900);
        world.cluster.with("r2", |server| server.position = 900);
        world.cluster.start("r1");
        world.pass(60 * SECOND);
        assert_eq!(world.spread(50).get("r1"), None);
        world.cluster.replicate();
        world.pass(60 * SECOND);
        assert!(world.spread(300)["r1"] > 0);
    }

    #[test]
    fn with_all_replicas_gone_reads_have_their_share_of_the_primary_and_writes_the_rest() {
        let world = World::new(2);
        world.cluster.kill("r1");
        world.cluster.kill("r2");
        world.pass(5 * SECOND);
        let reads = [
            world.pool.read(&REPLICA).unwrap(),
            world.pool.read(&REPLICA).unwrap(),
        ];
        assert!(reads.iter().all(|lent| name(lent) == "p"));
        let surplus = world.pool.read(&REPLICA).unwrap_err();
        assert!(
            matches!(surplus, ReplicaError::Overloaded { .. }),
            "{surplus}"
        );
        let writes = [world.pool.write().unwrap(), world.pool.write().unwrap()];
        // Four there are, and all are lent.
        assert!(matches!(world.pool.write(), Err(ReplicaError::Get { .. })));
        drop(reads);
        let again = world.pool.read(&REPLICA).unwrap();
        drop((again, writes));
        // Who asks for the primary by name is not held to the share.
        let primary = [(); 4].map(|()| world.pool.read(&ReadPreference::Primary).unwrap());
        drop(primary);
    }

    #[test]
    fn reads_that_wait_for_their_share_do_not_hold_up_writes() {
        let world = World::new(1);
        world.cluster.kill("r1");
        world.pass(5 * SECOND);
        let held = [
            world.pool.read(&REPLICA).unwrap(),
            world.pool.read(&REPLICA).unwrap(),
        ];
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let lent = world.pool.read_within(&REPLICA, Duration::MAX).unwrap();
                name(&lent).to_owned()
            });
            let waiting = || {
                world
                    .pool
                    .stats()
                    .iter()
                    .map(|(_, stats)| stats.waiting)
                    .sum::<usize>()
            };
            while waiting() == 0 {
                thread::yield_now();
            }
            // Came later, and need not wait.
            drop(world.pool.write().unwrap());
            drop(held);
            assert_eq!(reader.join().unwrap(), "p");
        });
    }

    #[test]
    fn a_read_that_came_before_a_write_is_served_before_it() {
        let world = World::new(1);
        world.cluster.kill("r1");
        world.pass(5 * SECOND);
        let mut held = [(); 4].map(|()| Some(world.pool.write().unwrap()));
        let waiting = || {
            let stats = world.pool.stats();
            stats.iter().map(|(_, stats)| stats.waiting).sum::<usize>()
        };
        thread::scope(|scope| {
            let reader = scope.spawn(|| world.pool.read_within(&REPLICA, Duration::MAX).unwrap());
            while waiting() < 1 {
                thread::yield_now();
            }
            let writer = scope.spawn(|| world.pool.write_within(Duration::MAX).unwrap());
            while waiting() < 2 {
                thread::yield_now();
            }
            drop(held[0].take());
            let first = reader.join().unwrap();
            assert!(!writer.is_finished());
            drop(first);
            assert_eq!(name(&writer.join().unwrap()), "p");
        });
    }

    #[test]
    fn retries_end_with_their_budget() {
        let world = World::new(2);
        let attempts = std::cell::Cell::new(0);
        let mut failed = 0;
        for _ in 0..1000 {
            let answer = world.pool.run(&Op::read(), |_| {
                attempts.set(attempts.get() + 1);
                Err::<(), _>(DbError::Deadlock)
            });
            failed += u32::from(answer == Err(ReplicaError::Failed(DbError::Deadlock)));
        }
        assert_eq!(failed, 1000);
        // One saved up for each of twelve connections, and one in ten.
        assert!(
            (1105..=1115).contains(&attempts.get()),
            "{}",
            attempts.get()
        );
    }

    #[test]
    fn a_wrong_statement_is_not_repeated_and_nobody_is_blamed() {
        let world = World::new(1);
        let mut attempts = 0;
        let answer = world.pool.run(&Op::read(), |_| {
            attempts += 1;
            Err::<(), _>(DbError::Syntax)
        });
        assert_eq!(
            (answer, attempts),
            (Err(ReplicaError::Failed(DbError::Syntax)), 1)
        );
        assert_eq!(world.read(), Ok(100));
        assert_eq!(world.cluster.with("r1", |server| server.connected), 2);
    }
}

mod writes {
    use super::*;

    #[test]
    fn a_read_after_a_write_shows_it() {
        let world = World::new(1);
        let mut lent = world.pool.write().unwrap();
        let position = lent.write(1).unwrap();
        let token = lent.commit_token(position).unwrap();
        lent.finish().unwrap();
        // The replica has not got it: the primary has.
        let at_least = ReadPreference::AtLeast(token, Duration::ZERO);
        assert_eq!(name(&world.pool.read(&at_least).unwrap()), "p");
        world.cluster.replicate();
        world.pass(SECOND);
        let mut lent = world.pool.read(&at_least).unwrap();
        assert_eq!(name(&lent), "r1");
        assert!(lent.read().unwrap() >= position.0);
    }

    #[test]
    fn a_read_waits_for_a_replica_to_catch_up() {
        let world = World::new(1);
        let mut lent = world.pool.write().unwrap();
        let position = lent.write(1).unwrap();
        let token = lent.commit_token(position).unwrap();
        drop(lent);
        let at_least = ReadPreference::AtLeast(token, 5 * SECOND);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let lent = world.pool.read_within(&at_least, Duration::MAX).unwrap();
                name(&lent).to_owned()
            });
            world.cluster.replicate();
            while !reader.is_finished() {
                // Its hurry is what has the replica asked: no time passes.
                world.monitor.turn();
                thread::yield_now();
            }
            assert_eq!(reader.join().unwrap(), "r1");
        });
    }

    #[test]
    fn a_write_whose_answer_is_lost_is_uncertain_and_not_repeated() {
        let world = World::new(1);
        world.cluster.with("p", |server| server.loses_answer = true);
        let answer = world.pool.run(&Op::write(), |conn| conn.write(7));
        assert_eq!(answer, Err(ReplicaError::Uncertain(DbError::Reset)));
        assert_eq!(world.cluster.with("p", |server| server.writes.clone()), [7]);
    }

    #[test]
    fn an_idempotent_write_is_repeated() {
        let world = World::new(1);
        world.cluster.with("p", |server| server.loses_answer = true);
        let op = Op::write().idempotent().within(60 * SECOND);
        thread::scope(|scope| {
            let writer = scope.spawn(|| world.pool.run(&op, |conn| conn.write(7)));
            while !writer.is_finished() {
                world.pass(SECOND);
                thread::yield_now();
            }
            assert!(writer.join().unwrap().is_ok());
        });
        assert_eq!(
            world.cluster.with("p", |server| server.writes.clone()),
            [7, 7]
        );
    }

    #[test]
    fn a_demoted_primary_costs_each_connection_one_write_and_all_are_purged() {
        let world = World::new(2);
        let lent = [(); 4].map(|()| world.pool.write().unwrap());
        let old = world.pool.write();
        assert!(old.is_err());
        let [mut one, two, three, four] = lent;
        drop((two, three));
        let before = world.cluster.with("p", |server| server.connected);
        world.cluster.promote("r1");
        let error = one.write(1).unwrap_err();
        assert_eq!(one.failed(&error), Fault::RoleChanged);
        assert!(!four.is_current());
        let changed = four.finish().unwrap_err();
        assert_eq!(&*changed.endpoint, "p");
        drop(one);
        world.pass(2 * SECOND);
        let mut lent = world.pool.write().unwrap();
        assert_eq!(name(&lent), "r1");
        assert!(lent.write(2).is_ok());
        // Reads may go to the former primary, and by new connections.
        world.pass(5 * SECOND);
        assert!(world.spread(100)["p"] > 0);
        assert!(world.cluster.with("p", |server| server.connected) > before);
        for (endpoint, stats) in world.pool.stats() {
            if endpoint.name() == "p" {
                assert!(stats.purged >= 2, "{stats}");
            }
        }
    }

    #[test]
    fn a_write_that_a_former_primary_acknowledged_is_told() {
        let world = World::new(2);
        let mut lent = world.pool.write().unwrap();
        let position = lent.write(1).unwrap();
        world.cluster.kill("p");
        world.pass(10 * SECOND);
        world.cluster.promote("r1");
        world.pass(10 * SECOND);
        assert_eq!(world.pool.topology().epoch().unwrap().timeline, 2);
        let changed = lent.commit_token(position).unwrap_err();
        assert!(changed.to_string().contains("timeline 2"), "{changed}");
        assert!(lent.finish().is_err());
    }

    #[test]
    fn a_token_that_is_lost_is_refused_and_never_a_stale_read() {
        let world = World::new(2);
        let mut lent = world.pool.write().unwrap();
        world.cluster.with("p", |server| server.position = 500);
        let position = lent.write(1).unwrap();
        let token = lent.commit_token(position).unwrap();
        drop(lent);
        world.cluster.kill("p");
        world.pass(10 * SECOND);
        world.cluster.promote("r1");
        world.pass(10 * SECOND);
        let read = world
            .pool
            .read(&ReadPreference::AtLeast(token, Duration::ZERO));
        let refused = matches!(
            read,
            Err(ReplicaError::Select(
                SelectError::TokenLost { .. } | SelectError::TokenUnproven { .. }
            ))
        );
        assert!(refused, "{read:?}");
    }

    #[test]
    fn a_connection_lent_for_reads_has_no_token() {
        let world = World::new(1);
        let lent = world.pool.read(&REPLICA).unwrap();
        assert!(lent.is_current());
        assert!(lent.commit_token(Position(1)).is_err());
        assert!(lent.finish().is_ok());
    }
}

mod running {
    use super::*;

    #[test]
    fn events_say_what_happened() {
        let world = World::new(2);
        let mut events = world.pool.events();
        world.cluster.kill("p");
        world.pass(10 * SECOND);
        world.cluster.promote("r2");
        world.pass(10 * SECOND);
        let to = world.pool.topology().find("r2").unwrap().id();
        let mut seen = Vec::new();
        while let Some(event) = events.try_next() {
            seen.push(event);
        }
        let changed =
            |event: &Event| matches!(event, Event::PrimaryChanged { to: new, .. } if *new == to);
        assert_eq!(
            seen.iter().filter(|event| changed(event)).count(),
            1,
            "{seen:?}"
        );
        assert_eq!(events.missed(), 0);
    }

    #[test]
    fn a_thread_monitors_until_the_pool_is_closed() {
        let (cluster, clock) = (Cluster::new(1), ManualClock::new());
        let builder = ReplicaPool::builder(cluster, settings(1));
        let pool = builder.clock(clock.clock()).build().unwrap();
        let mut events = pool.events();
        thread::scope(|scope| {
            scope.spawn(|| pool.monitor().run());
            assert_eq!(name(&pool.write_within(Duration::MAX).unwrap()), "p");
            assert_eq!(
                name(&pool.read_within(&REPLICA, Duration::MAX).unwrap()),
                "r1"
            );
            assert!(events.wait().is_some());
            pool.close();
        });
        assert_eq!(pool.write().unwrap_err(), ReplicaError::Closed);
        while events.wait().is_some() {}
    }

    #[test]
    fn a_task_does_the_same() {
        let (cluster, clock) = (Cluster::new(1), ManualClock::new());
        let builder = ReplicaPool::builder(Async(cluster.clone()), settings(1));
        let pool = builder
            .clock(clock.clock())
            .pools(options())
            .build()
            .unwrap();
        let mut monitor = pin!(pool.monitor_async().run());
        let mut context = Context::from_waker(Waker::noop());
        assert!(monitor.as_mut().poll(&mut context).is_pending());
        tenfold::task::block_on(async {
            let mut lent = pool.write_async().await.unwrap();
            let position = lent.write(1).unwrap();
            assert!(lent.commit_token(position).is_ok());
            drop(lent);
            let read = pool.run_async(&Op::read(), async |conn| conn.read()).await;
            assert_eq!(read, Ok(100));
            assert_eq!(name(&pool.read_async(&REPLICA).await.unwrap()), "r1");
        });
        cluster.kill("r1");
        let mut reads = 0;
        for _ in 0..40 {
            clock.advance(SECOND / 4);
            assert!(monitor.as_mut().poll(&mut context).is_pending());
            let op = Op::read();
            let read = pool.run_async(&op, async |conn| conn.read());
            reads += u32::from(tenfold::task::block_on(read).is_ok());
        }
        assert_eq!(reads, 40);
        pool.close();
        assert!(monitor.as_mut().poll(&mut context).is_ready());
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each had the replica asked ahead of its time, which woke the others, who had it asked as well, and so on without end.
    #[test]
    fn readers_that_wait_for_a_replica_do_not_keep_each_other_awake() {
        let (cluster, clock) = (Cluster::new(1), ManualClock::new());
        let builder = ReplicaPool::builder(Async(cluster.clone()), settings(1));
        let builder = builder.clock(clock.clock()).pools(options());
        let pool = builder.build().unwrap();
        let mut monitor = pin!(pool.monitor_async().run());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(monitor.as_mut().poll(&mut context).is_pending());
        let token = tenfold::task::block_on(async {
            let mut lent = pool.write_async().await.unwrap();
            let position = lent.write(1).unwrap();
            lent.commit_token(position).unwrap()
        });
        let at_least = ReadPreference::AtLeast(token, 5 * SECOND);
        let mut readers =
            [(); 3].map(|()| Box::pin(pool.read_within_async(&at_least, Duration::MAX)));
        let rounds = (1..10).find(|_| {
            woken.0.store(0, Ordering::Relaxed);
            for reader in &mut readers {
                assert!(reader.as_mut().poll(&mut context).is_pending());
            }
            woken.0.load(Ordering::Relaxed) == 0
        });
        assert!(rounds.is_some());
        cluster.replicate();
        assert!(monitor.as_mut().poll(&mut context).is_pending());
        for reader in &mut readers {
            let Poll::Ready(Ok(lent)) = reader.as_mut().poll(&mut context) else {
                panic!("the replica has it, and was asked");
            };
            assert_eq!(name(&lent), "r1");
        }
    }

    #[test]
    fn a_saturated_replica_says_so_at_the_deadline() {
        let world = World::new(1);
        let held = [(); 4].map(|()| world.pool.read(&REPLICA).unwrap());
        match world.pool.read(&REPLICA) {
            Err(ReplicaError::Get { endpoint, source }) => {
                assert_eq!(&*endpoint, "r1");
                assert!(matches!(source, GetError::Timeout(_)));
            }
            other => panic!("expected a timeout, found {other:?}"),
        }
        drop(held);
    }

    /// A server that turns callers away is not asked again by the same read; once it was tried forever if that is forgotten.
    #[test]
    fn where_too_many_wait_another_replica_is_had_and_with_none_it_is_said() {
        let (cluster, clock) = (Cluster::new(2), ManualClock::new());
        let builder = ReplicaPool::builder(cluster, settings(2));
        let builder = builder.pools(options().max_waiting(0)).clock(clock.clock());
        let pool = builder.seed(3).policy(Policy::RoundRobin).build().unwrap();
        pool.monitor().turn();
        let only = ReadPreference::ReplicaOnly;
        // Each finds one of the four and four, whosever turn it is.
        let held: Vec<_> = (0..8).map(|_| pool.read(&only).unwrap()).collect();
        let read = thread::scope(|scope| {
            let reader = scope.spawn(|| pool.read(&only));
            // If it goes on for ever, it hears that the pool is closed.
            for _ in 0..10_000_000 {
                if reader.is_finished() {
                    return reader.join().unwrap();
                }
                thread::yield_now();
            }
            pool.close();
            reader.join().unwrap()
        });
        match read {
            Err(ReplicaError::Get { source, .. }) => {
                assert!(
                    matches!(source, GetError::TooManyWaiting { .. }),
                    "{source:?}"
                );
            }
            other => panic!("expected too many to wait, found {other:?}"),
        }
        drop(held);
        assert!(pool.read(&only).is_ok());
    }
}
