//! Finds out how the servers stand, and does what the topology wants done.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;

use super::builder::UPKEEP;
use super::core::{Core, Job, Order};
use crate::replica::topology::{
    Action, AsyncLease, Input, Lease, NodeId, OperationId, Outcome, ProbeId,
};
use crate::replica::ways::{Awaiting, Blocking, Ways, run, within};
use crate::replica::{
    Async, AsyncProber, AsyncPromoter, Client, Endpoint, Position, Prober, Promoter,
};
use crate::sync::Mutex;
use crate::time::Instant;

/// What a recovery is about: the arguments of [`Action::Recover`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recovery {
    /// The old primary.
    pub from: Endpoint,
    /// The new one.
    pub to: Endpoint,
    /// The line of the log that ended.
    pub timeline: u64,
    /// Where the new line left it, at the earliest.
    pub after: Position,
    /// Until when.
    pub deadline: Instant,
}

/// Asks the servers of a [`ReplicaPool`](super::ReplicaPool) what they are, on threads of its own while it
/// [runs](Self::run); made by [`monitor`](super::ReplicaPool::monitor).
///
/// It follows whoever else promotes, unless it is told how to [promote](Self::promoting) itself.
pub struct Monitor<C: Prober> {
    core: Arc<Core<C>>,
    connections: Connections<C>,
    perform: Option<fn(&C, &Order, Instant) -> Option<Outcome>>,
    lease: Option<LeaseOf<Instant>>,
    release: Option<LeaseOf<u64>>,
    recover: Option<Box<dyn Fn(&Recovery) -> Option<bool> + Send + Sync>>,
    upkeep: Mutex<Instant>,
}

/// Asks for a lease or gives it back, and says what came of it.
type LeaseOf<T> = Box<dyn Fn(T) -> Input + Send + Sync>;

/// Connections for probes alone: one per server, so that a pool that is used up says nothing about its server.
struct Connections<C: Client>(Mutex<BTreeMap<NodeId, (u64, C::Connection)>>);

impl<C: Client> Connections<C> {
    fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn take(&self, node: NodeId, generation: u64) -> Option<C::Connection> {
        let (made_in, connection) = self.0.lock().remove(&node)?;
        (made_in == generation).then_some(connection)
    }

    fn keep(&self, node: NodeId, generation: u64, connection: C::Connection) {
        let old = self.0.lock().insert(node, (generation, connection));
        drop(old);
    }
}

impl<C: Prober> Monitor<C> {
    pub(super) fn new(core: &Arc<Core<C>>) -> Self {
        Self {
            core: Arc::clone(core),
            connections: Connections::new(),
            perform: None,
            lease: None,
            release: None,
            recover: None,
            upkeep: Mutex::new(core.now()),
        }
    }

    /// Asks this lease for the right to promote.
    pub fn lease<L: Lease>(mut self, lease: L) -> Self {
        let lease = Arc::new(lease);
        let releases = Arc::clone(&lease);
        self.lease = Some(Box::new(move |now| match lease.acquire(now) {
            Ok(grant) => Input::LeaseGained(grant),
            Err(_) => Input::LeaseLost,
        }));
        self.release = Some(Box::new(move |term| {
            // It runs out by itself then.
            let _ = releases.release(term);
            Input::Tick
        }));
        self
    }

    /// Recovers with this closure what a former primary has and the new one has not: it answers whether that was all of
    /// it, or nothing if it failed.
    pub fn recovering(
        mut self,
        recover: impl Fn(&Recovery) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        self.recover = Some(Box::new(recover));
        self
    }

    /// Runs until the pool is [closed](super::ReplicaPool::close), on this thread and one more for each probe and operation
    /// that is under way: one that hangs holds up no other.
    pub fn run(&self) {
        let core = &self.core;
        thread::scope(|scope| {
            let mut hands = Vec::new();
            while !core.is_closed() {
                core.feed(Input::Tick);
                while let Some(job) = core.next_job() {
                    hands.push(scope.spawn(move || self.do_job(job)));
                }
                if self.is_upkeep_due() {
                    hands.push(scope.spawn(|| self.upkeep()));
                }
                let (over, going): (Vec<_>, _) = hands
                    .into_iter()
                    .partition(thread::ScopedJoinHandle::is_finished);
                hands = going;
                // A panic in the client was reported by the hook, and counts as a failure.
                over.into_iter().for_each(|hand| drop(hand.join()));
                let until = core.wake_at().min(*self.upkeep.lock());
                let due = || core.is_due().then_some(false);
                run(core.watch::<Blocking>(Blocking, until, due));
            }
            hands.into_iter().for_each(|hand| drop(hand.join()));
        });
    }

    /// Does all that is due on this thread, one after the other, and answers when the next is: for tests in virtual
    /// time, and for programs with a loop of their own.
    pub fn turn(&self) -> Instant {
        self.core.feed(Input::Tick);
        while let Some(job) = self.core.next_job() {
            self.do_job(job);
        }
        if self.is_upkeep_due() {
            self.upkeep();
        }
        self.core.wake_at().min(*self.upkeep.lock())
    }

    fn is_upkeep_due(&self) -> bool {
        let now = self.core.now();
        let mut next = self.upkeep.lock();
        let due = now >= *next;
        if due {
            *next = now + UPKEEP;
        }
        due
    }

    fn upkeep(&self) {
        for target in self.core.routes.load_full().targets() {
            // What cannot be connected to is found out by probes.
            let _ = target.pool.upkeep();
        }
    }

    fn do_job(&self, job: Job) {
        let core = &self.core;
        match job {
            Job::Probe {
                node,
                endpoint,
                generation,
                probe,
                deadline,
            } => {
                let mut report = Report::unanswered(core, node, probe);
                let began = core.now();
                let known = self.connections.take(node, generation);
                let connected = known.map_or_else(
                    || core.client.connect(&endpoint, deadline),
                    Ok::<_, C::Error>,
                );
                let Ok(mut connection) = connected else {
                    return;
                };
                if let Ok(answer) = core.client.probe(&mut connection, deadline) {
                    let rtt = core.now().saturating_since(began);
                    report.1 = Some(Input::Answered {
                        node,
                        probe,
                        answer,
                        rtt,
                    });
                    self.connections.keep(node, generation, connection);
                }
            }
            Job::Perform {
                operation,
                order,
                deadline,
            } => {
                let mut report = Report::failed(core, operation);
                if let Some(outcome) = self.outcome(&order, deadline) {
                    report.1 = Some(Input::Finished { operation, outcome });
                }
            }
            Job::AcquireLease => {
                let mut report = Report(core, Some(Input::LeaseLost));
                if let Some(acquire) = &self.lease {
                    report.1 = Some(acquire(core.now()));
                }
            }
            Job::ReleaseLease(term) => {
                if let Some(release) = &self.release {
                    core.feed(release(term));
                }
            }
        }
    }
}

impl<C: Prober> Monitor<C> {
    fn outcome(&self, order: &Order, deadline: Instant) -> Option<Outcome> {
        if let Some(recovery) = recovery(order, deadline) {
            let complete = self.recover.as_ref()?(&recovery)?;
            return Some(Outcome::Recovered { complete });
        }
        self.perform?(&self.core.client, order, deadline)
    }
}

impl<C: Promoter> Monitor<C> {
    /// Does itself what a failover takes, where the settings say that this process may.
    pub fn promoting(mut self) -> Self {
        self.perform = Some(perform::<C>);
        self
    }
}

fn perform<C: Promoter>(client: &C, order: &Order, deadline: Instant) -> Option<Outcome> {
    let server = &order.server;
    let other = order.other.as_ref();
    let done = |done: Result<(), C::Error>| done.ok().map(|()| Outcome::Done);
    let reached = |position: Result<Position, C::Error>| position.ok().map(Outcome::Reached);
    match order.action {
        Action::Fence { epoch, .. } => done(client.fence(server, epoch, deadline)),
        Action::StopReceiver { .. } => reached(client.stop_receiver(server, deadline)),
        Action::Salvage { .. } => reached(client.salvage(server, other?, deadline)),
        Action::Promote { .. } => client.promote(server, deadline).ok().map(Outcome::Promoted),
        Action::Follow { .. } => done(client.follow(server, other?, deadline)),
        Action::Rejoin { .. } => done(client.rejoin(server, other?, deadline)),
        Action::Recover { .. } => None,
    }
}

fn recovery(order: &Order, deadline: Instant) -> Option<Recovery> {
    let Action::Recover {
        timeline, after, ..
    } = order.action
    else {
        return None;
    };
    Some(Recovery {
        from: order.server.clone(),
        to: order.other.clone()?,
        timeline,
        after,
        deadline,
    })
}

/// What is reported of a job: the worst, unless something better has come of it, a panic and a dropped future included.
struct Report<'a, C: Client>(&'a Core<C>, Option<Input>);

impl<'a, C: Client> Report<'a, C> {
    fn unanswered(core: &'a Core<C>, node: NodeId, probe: ProbeId) -> Self {
        Self(core, Some(Input::Unanswered { node, probe }))
    }

    fn failed(core: &'a Core<C>, operation: OperationId) -> Self {
        Self(core, Some(Input::Failed { operation }))
    }
}

impl<C: Client> Drop for Report<'_, C> {
    fn drop(&mut self) {
        if let Some(input) = self.1.take() {
            self.0.feed(input);
        }
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Monitor`] as a future; made by [`monitor_async`](super::ReplicaPool::monitor_async).
#[must_use = "a monitor does nothing until it runs"]
pub struct AsyncMonitor<C: AsyncProber> {
    core: Arc<Core<Async<C>>>,
    connections: Connections<Async<C>>,
    perform: Option<for<'a> fn(&'a C, &'a Order) -> Boxed<'a, Option<Outcome>>>,
    lease: Option<Box<dyn AsyncLeases>>,
    recover: Option<Box<dyn Fn(Recovery) -> Boxed<'static, Option<bool>> + Send + Sync>>,
}

trait AsyncLeases: Send + Sync {
    fn acquire(&self, now: Instant) -> Boxed<'_, Input>;
    fn release(&self, term: u64) -> Boxed<'_, ()>;
}

impl<L: AsyncLease> AsyncLeases for L {
    fn acquire(&self, now: Instant) -> Boxed<'_, Input> {
        Box::pin(async move {
            match AsyncLease::acquire(self, now).await {
                Ok(grant) => Input::LeaseGained(grant),
                Err(_) => Input::LeaseLost,
            }
        })
    }

    fn release(&self, term: u64) -> Boxed<'_, ()> {
        Box::pin(async move {
            // It runs out by itself then.
            let _ = AsyncLease::release(self, term).await;
        })
    }
}

impl<C: AsyncProber> AsyncMonitor<C> {
    pub(super) fn new(core: &Arc<Core<Async<C>>>) -> Self {
        Self {
            core: Arc::clone(core),
            connections: Connections::new(),
            perform: None,
            lease: None,
            recover: None,
        }
    }

    /// Asks this lease for the right to promote.
    pub fn lease(mut self, lease: impl AsyncLease) -> Self {
        self.lease = Some(Box::new(lease));
        self
    }

    /// Recovers with this closure what a former primary has and the new one has not; see [`Monitor::recovering`].
    pub fn recovering<F>(mut self, recover: impl Fn(Recovery) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<bool>> + Send + 'static,
    {
        self.recover = Some(Box::new(move |recovery| Box::pin(recover(recovery))));
        self
    }

    /// Runs until the pool is [closed](super::ReplicaPool::close). All that is under way is under way at once; dropped, it
    /// is given up.
    pub async fn run(self) {
        let core = &self.core;
        let mut upkeep = core.now();
        let mut jobs: Vec<Boxed<'_, ()>> = Vec::new();
        while !core.is_closed() {
            core.feed(Input::Tick);
            while let Some(job) = core.next_job() {
                jobs.push(Box::pin(self.do_job(job)));
            }
            let now = core.now();
            if now >= upkeep {
                upkeep = now + UPKEEP;
                jobs.push(Box::pin(self.upkeep()));
            }
            let until = core.wake_at().min(upkeep);
            let due = || core.is_due().then_some(false);
            let mut next = pin!(core.watch(Awaiting, until, due));
            poll_fn(|context| {
                jobs.retain_mut(|job| job.as_mut().poll(context).is_pending());
                // What a job has found out is seen here, after it.
                next.as_mut().poll(context)
            })
            .await;
        }
    }

    async fn upkeep(&self) {
        for target in self.core.routes.load_full().targets() {
            // What cannot be connected to is found out by probes.
            let _ = target.pool.upkeep_async().await;
        }
    }

    async fn do_job(&self, job: Job) {
        let core = &*self.core;
        match job {
            Job::Probe {
                node,
                endpoint,
                generation,
                probe,
                deadline,
            } => {
                let mut report = Report::unanswered(core, node, probe);
                let began = core.now();
                let asked = self.ask(node, &endpoint, generation, deadline);
                if let Some(Some(answer)) = within(asked, deadline, &core.times).await {
                    let rtt = core.now().saturating_since(began);
                    report.1 = Some(Input::Answered {
                        node,
                        probe,
                        answer,
                        rtt,
                    });
                }
            }
            Job::Perform {
                operation,
                order,
                deadline,
            } => {
                let mut report = Report::failed(core, operation);
                let outcome = self.outcome(&order, deadline);
                if let Some(Some(outcome)) = within(outcome, deadline, &core.times).await {
                    report.1 = Some(Input::Finished { operation, outcome });
                }
            }
            Job::AcquireLease => {
                let mut report = Report(core, Some(Input::LeaseLost));
                if let Some(lease) = &self.lease {
                    report.1 = Some(lease.acquire(core.now()).await);
                }
            }
            Job::ReleaseLease(term) => {
                if let Some(lease) = &self.lease {
                    lease.release(term).await;
                }
            }
        }
    }

    async fn ask(
        &self,
        node: NodeId,
        endpoint: &Endpoint,
        generation: u64,
        deadline: Instant,
    ) -> Option<crate::replica::Probe> {
        let core = &self.core;
        let mut connection = match self.connections.take(node, generation) {
            Some(connection) => connection,
            None => Awaiting
                .connect(&core.client, endpoint, deadline, &core.times)
                .await
                .ok()?,
        };
        let answer = core.client.0.probe(&mut connection).await.ok()?;
        self.connections.keep(node, generation, connection);
        Some(answer)
    }

    async fn outcome(&self, order: &Order, deadline: Instant) -> Option<Outcome> {
        if let Some(recovery) = recovery(order, deadline) {
            let complete = self.recover.as_ref()?(recovery).await?;
            return Some(Outcome::Recovered { complete });
        }
        self.perform?(&self.core.client.0, order).await
    }
}

impl<C: AsyncPromoter> AsyncMonitor<C> {
    /// Does itself what a failover takes, where the settings say that this process may.
    pub fn promoting(mut self) -> Self {
        self.perform = Some(|client, order| Box::pin(perform_async(client, order)));
        self
    }
}

async fn perform_async<C: AsyncPromoter>(client: &C, order: &Order) -> Option<Outcome> {
    let server = &order.server;
    let other = order.other.as_ref();
    let done = |done: Result<(), C::Error>| done.ok().map(|()| Outcome::Done);
    let reached = |position: Result<Position, C::Error>| position.ok().map(Outcome::Reached);
    match order.action {
        Action::Fence { epoch, .. } => done(client.fence(server, epoch).await),
        Action::StopReceiver { .. } => reached(client.stop_receiver(server).await),
        Action::Salvage { .. } => reached(client.salvage(server, other?).await),
        Action::Promote { .. } => client.promote(server).await.ok().map(Outcome::Promoted),
        Action::Follow { .. } => done(client.follow(server, other?).await),
        Action::Rejoin { .. } => done(client.rejoin(server, other?).await),
        Action::Recover { .. } => None,
    }
}

impl<C: Prober> fmt::Debug for Monitor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor(..)")
    }
}

impl<C: AsyncProber> fmt::Debug for AsyncMonitor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncMonitor(..)")
    }
}
