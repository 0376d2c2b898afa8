use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Context;

use super::builder::UPKEEP;
use super::core::{Core, Order};
use super::duties::{Connections, Hands, LostWrites, Regained, do_job, recovery};
use crate::replica::recovery::Recovered;
use crate::replica::topology::{Action, AsyncLease, Event, Input, NodeId, Outcome};
use crate::replica::ways::{Awaiting, Ways, within};
use crate::replica::{Async, AsyncProber, AsyncPromoter, Endpoint, Position, Probe};
use crate::time::Instant;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type PerformAsync<C> =
    for<'a> fn(&'a C, &'a Order, Option<&'a Recovered>) -> Boxed<'a, Option<Outcome>>;

type RecoverAsync = Box<dyn Fn(LostWrites) -> Boxed<'static, Regained> + Send + Sync>;

/// [`Monitor`](super::Monitor) as a future; made by [`monitor_async`](super::ReplicaPool::monitor_async).
#[must_use = "a monitor does nothing until it runs"]
pub struct AsyncMonitor<C: AsyncProber> {
    core: Arc<Core<Async<C>>>,
    connections: Connections<Async<C>>,
    perform: Option<PerformAsync<C>>,
    lease: Option<Box<dyn AsyncLeases>>,
    recover: Option<RecoverAsync>,
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

    /// Recovers with this closure what a former primary has and the new one has not; see [`Monitor::recovering`](super::Monitor::recovering).
    pub fn recovering<F>(
        mut self,
        recover: impl Fn(LostWrites) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Regained> + Send + 'static,
    {
        self.recover = Some(Box::new(move |recovery| Box::pin(recover(recovery))));
        self
    }

    /// Runs until the pool is [closed](super::ReplicaPool::close). All that is under way is under way at once; dropped, it
    /// is given up. A call of the client that panics counts as failed, and one that hangs does at its deadline.
    pub async fn run(self) {
        let core = &self.core;
        let mut upkeep = core.now();
        let mut jobs: Vec<Boxed<'_, ()>> = Vec::new();
        while !core.is_closed() {
            core.feed(Input::Tick);
            while let Some(job) = core.next_job() {
                jobs.push(Box::pin(do_job(core, &self, job)));
            }
            let now = core.now();
            if now >= upkeep {
                upkeep = now + UPKEEP;
                jobs.push(Box::pin(self.upkeep()));
            }
            let until = core.wake_at().min(upkeep);
            let due = || core.is_due_before(until).then_some(false);
            let mut next = pin!(core.watch(Awaiting, until, due));
            poll_fn(|context| {
                jobs.retain_mut(|job| self.is_pending(job, context));
                // What a job has found out is seen here, after it.
                next.as_mut().poll(context)
            })
            .await;
        }
    }

    /// A panic in the client was reported by the hook, and counts as a failure. The job is not polled again, and no lock of ours is
    /// held while it is, so that nothing is seen half done.
    fn is_pending(&self, job: &mut Boxed<'_, ()>, context: &mut Context<'_>) -> bool {
        let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(context)));
        polled.map_or_else(
            |_| {
                self.core.tell(Event::CallPanicked);
                false
            },
            |polled| polled.is_pending(),
        )
    }

    async fn upkeep(&self) {
        for target in self.core.routes.load_full().targets() {
            // What cannot be connected to is found out by probes.
            let _ = target.pool.upkeep_async().await;
        }
    }

    async fn answer(
        &self,
        node: NodeId,
        endpoint: &Endpoint,
        generation: u64,
        deadline: Instant,
    ) -> Option<Probe> {
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

    async fn done(&self, order: &Order, deadline: Instant) -> Option<Outcome> {
        if let Some(recovery) = recovery(order, deadline) {
            let regained = self.recover.as_ref()?(recovery.clone()).await;
            return self.core.proofs.keep(&recovery, regained);
        }
        let recovered = self.core.proofs.of(&order.server);
        self.perform?(&self.core.client.0, order, recovered.as_ref()).await
    }

    /// What is still to come of this by the deadline.
    async fn by<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        within(future, deadline, &self.core.times).await
    }
}

impl<C: AsyncProber> Hands<Async<C>> for AsyncMonitor<C> {
    async fn ask(
        &self,
        node: NodeId,
        endpoint: &Endpoint,
        generation: u64,
        deadline: Instant,
    ) -> Option<Probe> {
        let answer = self.answer(node, endpoint, generation, deadline);
        self.by(deadline, answer).await?
    }

    async fn outcome(&self, order: &Order, deadline: Instant) -> Option<Outcome> {
        self.by(deadline, self.done(order, deadline)).await?
    }

    async fn acquire(&self, now: Instant, deadline: Instant) -> Option<Input> {
        self.by(deadline, self.lease.as_ref()?.acquire(now)).await
    }

    async fn release(&self, term: u64, deadline: Instant) {
        if let Some(lease) = &self.lease {
            self.by(deadline, lease.release(term)).await;
        }
    }
}

impl<C: AsyncPromoter> AsyncMonitor<C> {
    /// Does itself what a failover takes, where the settings say that this process may.
    pub fn promoting(mut self) -> Self {
        self.perform =
            Some(|client, order, recovered| Box::pin(perform_async(client, order, recovered)));
        self
    }
}

async fn perform_async<C: AsyncPromoter>(
    client: &C,
    order: &Order,
    recovered: Option<&Recovered>,
) -> Option<Outcome> {
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
        Action::Rejoin { .. } => done(client.rejoin(server, other?, recovered?).await),
        Action::Recover { .. } => None,
    }
}

impl<C: AsyncProber> fmt::Debug for AsyncMonitor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncMonitor(..)")
    }
}
