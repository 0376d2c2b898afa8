//! The two faces of a pool, so that one test tries both; and a lease that says what a test has it say.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tenfold::replica::pool::PoolOptions;
use tenfold::replica::recovery::Recovered;
use tenfold::replica::topology::{
    AsyncLease, Grant, Lease, LeaseTaken, LocalLease, Settings, Topology,
};
use tenfold::replica::{Async, Events, Monitor, Op, Position, ReplicaError, ReplicaPool};
use tenfold::task::block_on;
use tenfold::time::{Instant, ManualClock};

use super::cluster::Cluster;
use crate::client::DbError;

pub(crate) trait Face: Sized {
    fn new(cluster: &Cluster, clock: &ManualClock, settings: Arc<Settings>, desk: Desk) -> Self;
    /// Time passes, and the monitor does its part.
    fn pass(&mut self, time: Duration);
    fn write(&self, key: &str) -> Result<Position, ReplicaError<DbError>>;
    fn topology(&self) -> Topology;
    fn events(&self) -> Events;
    fn clock(&self) -> ManualClock;
    fn remove(&self, name: &str) {
        self.removing(name)();
    }
    fn removing(&self, name: &str) -> Box<dyn FnOnce() + Send>;
    /// The monitor stops, and another one begins.
    fn another_monitor(&mut self, desk: Desk);
    /// The same, of one that recovers nothing, or shows this.
    fn monitor_that_recovers(&mut self, shows: Option<Recovered>);
}

/// Nobody waits.
fn options() -> PoolOptions {
    PoolOptions::new().max_size(4).max_wait(Duration::ZERO)
}

pub(crate) struct Threads {
    cluster: Cluster,
    clock: ManualClock,
    pool: ReplicaPool<Cluster>,
    monitor: Monitor<Cluster>,
}

impl Threads {
    pub(crate) fn pool(&self) -> ReplicaPool<Cluster> {
        self.pool.clone()
    }
}

impl Face for Threads {
    fn new(cluster: &Cluster, clock: &ManualClock, settings: Arc<Settings>, desk: Desk) -> Self {
        let builder = ReplicaPool::builder(cluster.clone(), settings).pools(options());
        let pool = builder.clock(clock.clock()).seed(3).build().unwrap();
        let mut face = Self {
            cluster: cluster.clone(),
            clock: clock.clone(),
            monitor: pool.monitor(),
            pool,
        };
        face.another_monitor(desk);
        face
    }

    fn pass(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            let next = self.monitor.turn().min(until);
            let step = next.saturating_since(self.clock.now());
            self.clock.advance(step.max(Duration::from_millis(1)));
        }
        self.monitor.turn();
    }

    fn write(&self, key: &str) -> Result<Position, ReplicaError<DbError>> {
        self.pool.run(&Op::write(), |conn| conn.write(key))
    }

    fn topology(&self) -> Topology {
        self.pool.topology()
    }

    fn events(&self) -> Events {
        self.pool.events()
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    fn removing(&self, name: &str) -> Box<dyn FnOnce() + Send> {
        let (pool, name) = (self.pool.clone(), name.to_owned());
        Box::new(move || pool.remove(&name).unwrap())
    }

    fn another_monitor(&mut self, desk: Desk) {
        let cluster = self.cluster.clone();
        let monitor = self.pool.monitor().promoting().lease(desk);
        self.monitor = monitor.recovering(move |lost| cluster.recover(lost));
    }

    fn monitor_that_recovers(&mut self, shows: Option<Recovered>) {
        let monitor = self.pool.monitor().promoting();
        self.monitor = match shows {
            Some(shows) => monitor.recovering(move |_| Some(Ok(shows.clone()))),
            None => monitor,
        };
    }
}

pub(crate) struct Tasks {
    cluster: Cluster,
    clock: ManualClock,
    pool: ReplicaPool<Async<Cluster>>,
    monitor: RefCell<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Tasks {
    fn monitors(&mut self, monitor: impl Future<Output = ()> + 'static) {
        self.monitor = RefCell::new(Box::pin(monitor));
        self.woken.0.store(true, Ordering::Release);
    }

    /// Polls it if it was woken, as a runtime does.
    fn poll(&self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        while self.woken.0.swap(false, Ordering::AcqRel) {
            let mut monitor = self.monitor.borrow_mut();
            let polled = monitor.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        let next = self.pool.topology().wake_at();
        assert!(next > self.clock.now(), "the monitor was not woken in time");
    }
}

impl Face for Tasks {
    fn new(cluster: &Cluster, clock: &ManualClock, settings: Arc<Settings>, desk: Desk) -> Self {
        let client = Async(cluster.clone());
        let builder = ReplicaPool::builder(client, settings).pools(options());
        let pool = builder.clock(clock.clock()).seed(3).build().unwrap();
        let mut face = Self {
            cluster: cluster.clone(),
            clock: clock.clone(),
            pool,
            monitor: RefCell::new(Box::pin(async {})),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        };
        face.another_monitor(desk);
        face
    }

    fn pass(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        self.poll();
        while self.clock.now() < until {
            self.clock.advance(Duration::from_millis(20));
            self.poll();
        }
    }

    fn write(&self, key: &str) -> Result<Position, ReplicaError<DbError>> {
        let op = Op::write();
        block_on(self.pool.run_async(&op, async |conn| conn.write(key)))
    }

    fn topology(&self) -> Topology {
        self.pool.topology()
    }

    fn events(&self) -> Events {
        self.pool.events()
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    fn removing(&self, name: &str) -> Box<dyn FnOnce() + Send> {
        let (pool, name) = (self.pool.clone(), name.to_owned());
        Box::new(move || pool.remove(&name).unwrap())
    }

    fn another_monitor(&mut self, desk: Desk) {
        let cluster = self.cluster.clone();
        let monitor = self.pool.monitor_async().promoting().lease(desk);
        let monitor = monitor.recovering(move |lost| {
            let cluster = cluster.clone();
            async move { cluster.recover(&lost) }
        });
        self.monitors(monitor.run());
    }

    fn monitor_that_recovers(&mut self, shows: Option<Recovered>) {
        let monitor = self.pool.monitor_async().promoting();
        let monitor = match shows {
            Some(shows) => monitor.recovering(move |_| {
                let shows = shows.clone();
                async move { Some(Ok(shows)) }
            }),
            None => monitor,
        };
        self.monitors(monitor.run());
    }
}

/// A lease, and what is said of it. Each clone asks for itself.
#[derive(Clone)]
pub(crate) struct Desk {
    lease: LocalLease,
    state: Arc<Mutex<State>>,
    clock: ManualClock,
}

struct State {
    says: Says,
    grants: u64,
    /// How many wait for an answer.
    waiting: u64,
    first: Option<Box<dyn FnOnce() + Send>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// That it is free, if it is.
    Granted,
    /// That it is somebody else's.
    Taken,
    /// That it is granted, with a term of the past.
    Old,
    /// That it is granted, and the next time that it is taken.
    Once,
    /// Nothing, ever, to a task that asks.
    Nothing,
}

impl Desk {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let state = State {
            says: Says::Granted,
            grants: 0,
            waiting: 0,
            first: None,
        };
        Self {
            lease: LocalLease::new(Duration::from_secs(10), clock.clock()),
            state: Arc::new(Mutex::new(state)),
            clock: clock.clone(),
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn says(&self, says: Says) {
        self.with(|state| state.says = says);
    }

    /// This happens while it is asked for.
    pub(crate) fn when_asked(&self, act: Box<dyn FnOnce() + Send>) {
        self.with(|state| state.first = Some(act));
    }

    pub(crate) fn grants(&self) -> u64 {
        self.with(|state| state.grants)
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.with(|state| state.waiting)
    }

    /// Whether anybody has it.
    pub(crate) fn is_held(&self) -> bool {
        let free = Lease::acquire(&self.lease.clone(), self.clock.now());
        free.is_err()
    }

    fn ask(&self, now: Instant) -> Result<Grant, LeaseTaken> {
        if let Some(act) = self.with(|state| state.first.take()) {
            act();
        }
        let says = self.with(|state| state.says);
        if says == Says::Taken {
            return Err(LeaseTaken {
                left: Duration::from_secs(1),
            });
        }
        let mut grant = Lease::acquire(&self.lease, now)?;
        self.with(|state| {
            match says {
                Says::Old => grant.term = 0,
                _ => state.grants += 1,
            }
            if says == Says::Once {
                state.says = Says::Taken;
            }
        });
        Ok(grant)
    }
}

impl Lease for Desk {
    type Error = LeaseTaken;

    fn acquire(&self, now: Instant) -> Result<Grant, LeaseTaken> {
        self.ask(now)
    }

    fn release(&self, term: u64) -> Result<(), LeaseTaken> {
        Lease::release(&self.lease, term)
    }
}

impl AsyncLease for Desk {
    type Error = LeaseTaken;

    async fn acquire(&self, now: Instant) -> Result<Grant, LeaseTaken> {
        if self.with(|state| state.says) == Says::Nothing {
            let _waits = Waits::new(self);
            std::future::pending::<()>().await;
        }
        self.ask(now)
    }

    async fn release(&self, term: u64) -> Result<(), LeaseTaken> {
        Lease::release(&self.lease, term)
    }
}

/// Somebody who waits for an answer.
struct Waits<'a>(&'a Desk);

impl<'a> Waits<'a> {
    fn new(desk: &'a Desk) -> Self {
        desk.with(|state| state.waiting += 1);
        Self(desk)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.waiting -= 1);
    }
}
