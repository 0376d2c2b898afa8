//! Failovers led by a pool itself, in virtual time: the primary dies, and its monitor fences, elects, salvages, promotes, recovers and
//! lets rejoin, on threads and as a task; each of these fails, monitors stop half-way, leases are refused, and others promote meanwhile.

mod cluster;
mod faces;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::client::DbError;
use cluster::{Cluster, Fails};
use faces::{Desk, Face, Says, Tasks, Threads};
use tenfold::replica::recovery::{ForkPoint, Recovered};
use tenfold::replica::topology::{
    Authority, Event, FailoverRefused, Phase, Promotion, Settings, SettingsBuilder,
};
use tenfold::replica::{Endpoint, Fault, Op, Position, RecoveryOrder, ReplicaError, ReplicaPool};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, name).unwrap()
}

fn settings(authority: Authority, order: RecoveryOrder) -> Arc<Settings> {
    let servers: SettingsBuilder = Settings::builder().primary(endpoint("p"));
    let servers = servers.replica(endpoint("r1")).replica(endpoint("r2"));
    let promotion = Promotion::Active(authority);
    servers.promotion(promotion).order(order).build().unwrap()
}

struct World<F> {
    cluster: Cluster,
    desk: Desk,
    face: F,
    /// What clients were told is written.
    acknowledged: Vec<String>,
    /// What may be written or not.
    uncertain: usize,
    refused: usize,
    written: usize,
}

impl<F: Face> World<F> {
    fn new(authority: Authority, order: RecoveryOrder) -> Self {
        let clock = ManualClock::new();
        let (cluster, desk) = (Cluster::new(&clock), Desk::new(&clock));
        let settings = settings(authority, order);
        let mut face = F::new(&cluster, &clock, settings, desk.clone());
        face.pass(2 * SECOND);
        Self {
            cluster,
            desk,
            face,
            acknowledged: Vec::new(),
            uncertain: 0,
            refused: 0,
            written: 0,
        }
    }

    fn sole(order: RecoveryOrder) -> Self {
        Self::new(Authority::SoleController, order)
    }

    fn write(&mut self) {
        let key = format!("k{}", self.written);
        self.written += 1;
        match self.face.write(&key) {
            Ok(_) => self.acknowledged.push(key),
            Err(ReplicaError::Uncertain(_) | ReplicaError::RoleChanged(_)) => self.uncertain += 1,
            Err(_) => self.refused += 1,
        }
    }

    fn writes(&mut self, count: usize) {
        for _ in 0..count {
            self.write();
        }
    }

    /// `r2` is ahead of `r1`, and both have less than `p` has acknowledged.
    fn lag(&mut self) {
        self.writes(5);
        let receiver = self.cluster.with("r1", |r1| r1.receives_from.take());
        self.writes(3);
        self.cluster.with("r1", |r1| r1.receives_from = receiver);
        self.cluster.with("p", |p| p.sends = false);
        self.writes(4);
        assert_eq!(self.acknowledged.len(), 12);
    }

    /// Time passes, and somebody writes all the while.
    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.face.pass(SECOND / 10);
            self.write();
        }
    }

    fn writer(&self) -> Option<String> {
        let topology = self.face.topology();
        let node = topology.node(topology.writer()?)?;
        Some(node.endpoint().name().to_owned())
    }

    fn phase(&self) -> Phase {
        self.face.topology().phase()
    }

    fn missing(&self) -> Vec<&String> {
        let writer = self.writer().expect("there is a primary");
        let there = |key: &&String| self.cluster.value(&writer, key).is_none();
        self.acknowledged.iter().filter(there).collect()
    }

    /// All is as it should be after a failover.
    #[track_caller]
    fn is_well(&self, story: &str) {
        let done = self.cluster.done();
        let writer = self.writer();
        assert_eq!(self.cluster.broken(), [""; 0], "{story}: {done:?}");
        let primary = writer.unwrap_or_else(|| panic!("{story}: no primary after {done:?}"));
        assert_eq!(
            self.cluster.writable(),
            std::slice::from_ref(&primary),
            "{story}: {done:?}"
        );
        assert_eq!(self.missing(), [""; 0], "{story}: {done:?}");
        assert_eq!(self.phase(), Phase::Normal, "{story}: {done:?}");
        for other in ["p", "r1", "r2"]
            .into_iter()
            .filter(|other| *other != primary)
        {
            let follows = self.cluster.follows(other, &primary);
            assert!(follows, "{story}: {other} does not follow after {done:?}");
        }
    }
}

/// Runs a test on both faces.
macro_rules! on_threads_and_as_a_task {
    ($($name:ident)*) => {
        mod threads {
            $(#[test] fn $name() { super::$name::<super::Threads>(); })*
        }
        mod task {
            $(#[test] fn $name() { super::$name::<super::Tasks>(); })*
        }
    };
}

on_threads_and_as_a_task! {
    a_dead_primary_is_replaced_by_the_one_that_has_most
    what_was_not_sent_is_recovered_where_availability_comes_first
    every_operation_may_fail_once
    another_monitor_goes_on_where_one_stopped
    without_a_lease_nobody_is_promoted
    a_lease_from_the_past_is_not_used
    who_has_lost_its_lease_promotes_nobody
    of_two_pools_with_one_lease_one_promotes
    who_cannot_fence_promotes_nobody_and_follows_who_does
    a_primary_that_restarts_in_time_is_not_failed_over
    what_was_changed_on_both_sides_keeps_the_old_primary_out
    without_a_proof_nobody_rejoins
    a_former_primary_that_comes_back_by_itself_is_fenced_again
    a_lease_that_comes_too_late_is_given_back
    two_failovers_lose_nothing
}

fn a_dead_primary_is_replaced_by_the_one_that_has_most<F: Face>() {
    for authority in [Authority::SoleController, Authority::Lease] {
        let mut world = World::<F>::new(authority, RecoveryOrder::DataFirst);
        world.lag();
        world.cluster.kill("p");
        world.pass(20 * SECOND);
        world.is_well("data first");
        assert_eq!(world.writer().as_deref(), Some("r2"));
        assert!(world.refused > 0 && world.uncertain <= 1);
        let done = world.cluster.done();
        let order = |what: &str| done.iter().position(|done| done == what).expect(what);
        let steps = [
            "fence p",
            "stop_receiver r2",
            "salvage p r2",
            "promote r2",
            "recover p r2",
        ];
        assert!(steps.map(order).is_sorted(), "{done:?}");
        assert!(order("recover p r2") < order("rejoin p r2"));
        assert!(order("promote r2") < order("follow r1 r2"));
        assert_eq!(
            world.desk.grants(),
            u64::from(authority == Authority::Lease)
        );
        assert!(!world.desk.is_held());
    }
}

fn what_was_not_sent_is_recovered_where_availability_comes_first<F: Face>() {
    let mut world = World::<F>::sole(RecoveryOrder::AvailabilityFirst);
    world.lag();
    let mut events = world.face.events();
    world.cluster.kill("p");
    world.pass(20 * SECOND);
    world.is_well("availability first");
    assert_eq!(world.cluster.count("salvage"), 0);
    let mut missing = Vec::new();
    while let Some(event) = events.try_next() {
        match event {
            Event::WritesMissing { .. } => missing.push("missing"),
            Event::WritesRecovered { complete: true, .. } => missing.push("recovered"),
            _ => {}
        }
    }
    assert_eq!(missing, ["missing", "recovered"]);
}

fn every_operation_may_fail_once<F: Face>() {
    let operations = [
        "fence p",
        "stop_receiver r1",
        "stop_receiver r2",
        "salvage",
        "promote",
        "follow",
        "recover",
        "rejoin",
    ];
    for order in [RecoveryOrder::DataFirst, RecoveryOrder::AvailabilityFirst] {
        for operation in operations {
            for how in [Fails::Before, Fails::After] {
                let mut world = World::<F>::sole(order);
                world.lag();
                world.cluster.fail(operation, how);
                world.cluster.kill("p");
                world.pass(40 * SECOND);
                world.is_well(&format!("{operation} fails {how:?}, {order}"));
                let salvaged = order == RecoveryOrder::DataFirst || operation != "salvage";
                assert!(world.cluster.count(operation) > 0 || !salvaged);
            }
        }
    }
}

fn another_monitor_goes_on_where_one_stopped<F: Face>() {
    let operations = [
        "fence p",
        "stop_receiver r1",
        "stop_receiver r2",
        "salvage",
        "promote",
        "follow r1",
        "recover",
        "rejoin",
    ];
    for operation in operations {
        let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
        world.lag();
        world.cluster.fail(operation, Fails::Before);
        world.cluster.kill("p");
        for _ in 0..300 {
            if world.cluster.count(operation) > 0 {
                break;
            }
            world.pass(SECOND / 10);
        }
        assert_eq!(world.cluster.count(operation), 1, "{operation}");
        world.face.another_monitor(world.desk.clone());
        world.pass(60 * SECOND);
        world.is_well(&format!("the monitor stopped at {operation}"));
    }
}

fn without_a_lease_nobody_is_promoted<F: Face>() {
    let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
    world.lag();
    world.desk.says(Says::Taken);
    let mut events = world.face.events();
    world.cluster.kill("p");
    world.pass(20 * SECOND);
    assert_eq!(world.writer(), None);
    assert_eq!(world.cluster.done(), [""; 0]);
    let refused = std::iter::from_fn(|| events.try_next());
    let no_lease = Event::FailoverRefused(FailoverRefused::NoLease);
    assert_eq!(refused.filter(|event| *event == no_lease).count(), 1);
    world.desk.says(Says::Granted);
    world.pass(20 * SECOND);
    world.is_well("the lease was granted later");
}

fn a_lease_from_the_past_is_not_used<F: Face>() {
    let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
    world.lag();
    world.desk.says(Says::Old);
    let mut events = world.face.events();
    world.cluster.kill("p");
    world.pass(10 * SECOND);
    assert_eq!(world.cluster.done(), [""; 0]);
    let mut events = std::iter::from_fn(|| events.try_next());
    assert!(events.any(|event| matches!(event, Event::LeaseFromThePast { term: 0, known: 0 })));
    world.desk.says(Says::Granted);
    world.pass(20 * SECOND);
    world.is_well("a lease of today");
}

fn who_has_lost_its_lease_promotes_nobody<F: Face>() {
    let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
    world.lag();
    // It takes longer than the lease lasts, and then somebody else has it.
    world.cluster.delay("salvage", 20 * SECOND);
    world.desk.says(Says::Once);
    world.cluster.kill("p");
    world.pass(40 * SECOND);
    assert_eq!(
        world.cluster.count("promote"),
        0,
        "{:?}",
        world.cluster.done()
    );
    assert_eq!(world.writer(), None);
    assert_eq!(world.desk.grants(), 1);
    world.desk.says(Says::Granted);
    world.pass(40 * SECOND);
    world.is_well("it got the lease again");
}

fn of_two_pools_with_one_lease_one_promotes<F: Face>() {
    let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
    let settings = settings(Authority::Lease, RecoveryOrder::DataFirst);
    let clock = world.face.clock();
    let mut other = F::new(&world.cluster, &clock, settings, world.desk.clone());
    other.pass(SECOND);
    world.lag();
    world.cluster.kill("p");
    let mut theirs = 0;
    for _ in 0..300 {
        world.pass(SECOND / 10);
        other.pass(Duration::ZERO);
        theirs += usize::from(other.write("theirs").is_ok());
    }
    world.is_well("two pools");
    assert_eq!(world.cluster.count("promote"), 1);
    assert_eq!(other.topology().writer(), world.face.topology().writer());
    assert!(theirs > 100, "{theirs}");
}

fn who_cannot_fence_promotes_nobody_and_follows_who_does<F: Face>() {
    let mut world = World::<F>::sole(RecoveryOrder::DataFirst);
    world.writes(5);
    world.cluster.with("p", |p| p.unfenceable = true);
    world.cluster.kill("p");
    let mut events = world.face.events();
    world.pass(10 * SECOND);
    assert!(world.cluster.count("fence") > 1);
    assert_eq!(world.cluster.count("stop_receiver"), 0);
    let p = world.face.topology().find("p").unwrap().id();
    let told = std::iter::from_fn(|| events.try_next())
        .filter(|event| *event == Event::FailoverRefused(FailoverRefused::NotFenced(p)));
    assert_eq!(told.count(), 1);

    world.cluster.promoted_by_another("r1");
    world.cluster.with("p", |p| p.unfenceable = false);
    world.pass(30 * SECOND);
    world.is_well("somebody else promoted");
    assert_eq!(world.writer().as_deref(), Some("r1"));
    assert_eq!(world.cluster.count("promote"), 0);
}

fn a_primary_that_restarts_in_time_is_not_failed_over<F: Face>() {
    for authority in [Authority::SoleController, Authority::Lease] {
        let mut world = World::<F>::new(authority, RecoveryOrder::DataFirst);
        world.writes(5);
        world.cluster.kill("p");
        world.pass(17 * SECOND / 10);
        assert!(world.refused > 0);
        world.cluster.start("p");
        world.pass(20 * SECOND);
        assert_eq!(world.cluster.done(), [""; 0]);
        assert_eq!(world.desk.grants(), 0);
        world.is_well("restarted");
        assert_eq!(world.writer().as_deref(), Some("p"));
    }
}

fn what_was_changed_on_both_sides_keeps_the_old_primary_out<F: Face>() {
    let mut world = World::<F>::sole(RecoveryOrder::AvailabilityFirst);
    world.writes(5);
    world.cluster.with("p", |p| p.sends = false);
    world.face.write("both").unwrap();
    // The disk cannot be read before the new primary has taken the same key.
    world.cluster.with("p", |p| p.disk = false);
    world.cluster.kill("p");
    world.pass(10 * SECOND);
    world.face.write("both").unwrap();
    world.cluster.with("p", |p| p.disk = true);
    let mut events = world.face.events();
    world.pass(60 * SECOND);
    assert_eq!(world.phase(), Phase::Recovering);
    assert_eq!(world.cluster.count("rejoin"), 0);
    let seen: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
    let part = |event: &Event| {
        matches!(
            event,
            Event::WritesRecovered {
                complete: false,
                ..
            }
        )
    };
    assert_eq!(
        seen.iter().filter(|event| part(event)).count(),
        1,
        "{seen:?}"
    );
    // Somebody says that it may go.
    world.face.remove("p");
    assert_eq!(world.phase(), Phase::Normal);
    let mut given_up = std::iter::from_fn(|| events.try_next());
    assert!(given_up.any(|event| matches!(event, Event::WritesGivenUp { timeline: 1, .. })));
}

fn without_a_proof_nobody_rejoins<F: Face>() {
    // Nobody recovers; or what is shown is about another line of the log.
    let stranger = Recovered::declared(ForkPoint::new(9, Position(0)), "a mistake");
    for recovers in [None, Some(stranger)] {
        let mut world = World::<F>::sole(RecoveryOrder::DataFirst);
        world.lag();
        world.face.monitor_that_recovers(recovers);
        world.cluster.kill("p");
        world.pass(90 * SECOND);
        assert_eq!(world.writer().as_deref(), Some("r2"));
        assert_eq!(world.phase(), Phase::Recovering);
        assert_eq!(world.cluster.count("rejoin"), 0);
        world.face.another_monitor(world.desk.clone());
        world.pass(60 * SECOND);
        world.is_well("recovered later");
    }
}

fn a_former_primary_that_comes_back_by_itself_is_fenced_again<F: Face>() {
    let mut world = World::<F>::sole(RecoveryOrder::AvailabilityFirst);
    world.lag();
    world.cluster.fail("recover", Fails::Before);
    world.cluster.kill("p");
    while world.cluster.count("recover") == 0 {
        world.pass(SECOND / 10);
    }
    // Somebody switches it on, and it takes writes, of others than this pool.
    world.cluster.start("p");
    world.pass(40 * SECOND);
    assert!(
        world.cluster.count("fence p") > 1,
        "{:?}",
        world.cluster.done()
    );
    world.is_well("it came back");
}

fn a_lease_that_comes_too_late_is_given_back<F: Face>() {
    let mut world = World::<F>::new(Authority::Lease, RecoveryOrder::DataFirst);
    world.writes(5);
    world.cluster.kill("p");
    // While it is asked for, the server is taken away from the pool, and there is nobody to be failed over.
    world.desk.when_asked(world.face.removing("p"));
    world.pass(10 * SECOND);
    assert_eq!(world.cluster.done(), [""; 0]);
    assert_eq!(world.desk.grants(), 1);
    assert!(!world.desk.is_held());
}

/// It used to be waited for without end, once more with every time it was asked for.
#[test]
fn a_lease_that_does_not_answer_is_given_up_at_its_deadline() {
    let mut world = World::<Tasks>::new(Authority::Lease, RecoveryOrder::DataFirst);
    world.lag();
    world.desk.says(Says::Nothing);
    world.cluster.kill("p");
    world.pass(10 * SECOND);
    assert_eq!(world.desk.waiting(), 1);
    for _ in 0..10 {
        world.pass(5 * SECOND);
        assert!(world.desk.waiting() <= 1);
    }
    world.desk.says(Says::Granted);
    world.pass(40 * SECOND);
    assert_eq!(world.desk.waiting(), 0);
    world.is_well("it answers again");
}

/// It ended the task that monitors, and nobody led the failover any more. On threads it always was a failure like any other.
#[test]
fn a_client_that_panics_in_a_task_has_failed() {
    for what in [
        "fence p",
        "stop_receiver r1",
        "promote",
        "recover",
        "rejoin",
    ] {
        let mut world = World::<Tasks>::sole(RecoveryOrder::AvailabilityFirst);
        let mut events = world.face.events();
        world.lag();
        world.cluster.fail(what, Fails::Panics);
        world.cluster.kill("p");
        world.pass(60 * SECOND);
        world.is_well(what);
        let told = std::iter::from_fn(|| events.try_next());
        assert_eq!(
            told.filter(|event| *event == Event::CallPanicked).count(),
            1
        );
    }
}

fn two_failovers_lose_nothing<F: Face>() {
    let mut world = World::<F>::sole(RecoveryOrder::AvailabilityFirst);
    world.lag();
    world.cluster.kill("p");
    world.pass(20 * SECOND);
    world.is_well("the first");
    world.pass(60 * SECOND);
    world.cluster.with("r2", |r2| r2.sends = false);
    world.writes(3);
    world.cluster.kill("r2");
    world.pass(30 * SECOND);
    world.is_well("the second");
    assert_ne!(world.writer().as_deref(), Some("r2"));
    assert_eq!(world.face.topology().epoch().unwrap().timeline, 3);
}

#[test]
fn what_is_left_of_a_stopped_monitor_is_not_begun_too_late() {
    let mut world = World::<Threads>::sole(RecoveryOrder::DataFirst);
    world.lag();
    world.cluster.fail("stop_receiver r1", Fails::Panics);
    world.cluster.kill("p");
    let turns = catch_unwind(AssertUnwindSafe(|| world.face.pass(10 * SECOND)));
    assert!(turns.is_err());
    // `r2` was to be stopped as well, and nobody has come to it.
    world.face.clock().advance(20 * SECOND);
    world.face.another_monitor(world.desk.clone());
    world.pass(40 * SECOND);
    world.is_well("20 seconds later");
}

#[test]
fn a_write_of_the_old_epoch_is_told_so_and_one_under_way_is_uncertain() {
    let mut world = World::<Threads>::sole(RecoveryOrder::DataFirst);
    let pool = world.face.pool();
    let mut held = pool.write().unwrap();
    let cluster = world.cluster.clone();
    let answer: Result<(), _> = pool.run(&Op::write(), |conn| {
        conn.write("under way")?;
        cluster.kill("p");
        Err(DbError::Reset)
    });
    assert_eq!(answer, Err(ReplicaError::Uncertain(DbError::Reset)));
    assert!(!held.is_current());
    world.pass(20 * SECOND);
    world.is_well("a write under way");
    assert_eq!(
        world.cluster.value("r2", "under way").as_deref(),
        Some("under way")
    );
    let error = held.write("late").unwrap_err();
    assert_eq!(held.failed(&error), Fault::Unknown);
    assert!(
        held.finish()
            .unwrap_err()
            .to_string()
            .contains("timeline 2")
    );
}

/// A primary that begins to tell its term has changed no role. The comparison of epochs once said so, and a write that was
/// well was reported as one that may be lost.
#[test]
fn a_term_that_becomes_known_is_no_change_of_roles() {
    let mut world = World::<Threads>::sole(RecoveryOrder::DataFirst);
    let pool = world.face.pool();
    let mut lent = pool.write().unwrap();
    world.cluster.tell_term(5);
    world.face.pass(3 * SECOND);
    assert_eq!(pool.topology().epoch().unwrap().term, 5);
    let position = lent.write("a").unwrap();
    assert!(lent.commit_token(position).is_ok());
    assert!(lent.finish().is_ok());
}

#[test]
fn a_monitor_on_threads_of_its_own_leads_a_failover() {
    let clock = ManualClock::new();
    let cluster = Cluster::new(&clock);
    let settings = settings(Authority::SoleController, RecoveryOrder::DataFirst);
    let builder = ReplicaPool::builder(cluster.clone(), settings);
    let pool = builder.clock(clock.clock()).seed(3).build().unwrap();
    let recovers = cluster.clone();
    let monitor = pool.monitor().promoting();
    let monitor = monitor.recovering(move |lost| recovers.recover(lost));
    let mut events = pool.events();
    thread::scope(|scope| {
        scope.spawn(|| monitor.run());
        drop(pool.write_within(Duration::MAX).unwrap());
        cluster.fail("fence p", Fails::Panics);
        cluster.kill("p");
        while !(cluster.follows("p", "r1") && cluster.follows("r2", "r1")) {
            clock.advance(SECOND / 20);
            thread::yield_now();
        }
        while pool.topology().phase() != Phase::Normal {
            clock.advance(SECOND / 20);
            thread::yield_now();
        }
        pool.close();
    });
    // The clock goes on between a look at it and what follows from that.
    let mut broken = cluster.broken();
    broken.retain(|rule| !rule.ends_with("too late"));
    assert_eq!(broken, [""; 0]);
    assert_eq!(cluster.count("promote"), 1);
    let mut told = std::iter::from_fn(|| events.try_next());
    assert!(told.any(|event| event == Event::CallPanicked));
}
