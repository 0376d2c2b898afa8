use std::fmt;
use std::sync::Arc;
use std::thread;

use super::builder::UPKEEP;
use super::core::{Core, Job, Order};
use super::duties::{Connections, Hands, LostWrites, Regained, do_job, recovery};
use crate::replica::recovery::Recovered;
use crate::replica::topology::{Action, Event, Input, Lease, NodeId, Outcome};
use crate::replica::ways::{Blocking, run};
use crate::replica::{Endpoint, Position, Probe, Prober, Promoter};
use crate::sync::Mutex;
use crate::time::Instant;

/// Asks the servers of a [`ReplicaPool`](super::ReplicaPool) what they are, on threads of its own while it
/// [runs](Self::run); made by [`monitor`](super::ReplicaPool::monitor).
///
/// It follows whoever else promotes, unless it is told how to [promote](Self::promoting) itself.
pub struct Monitor<C: Prober> {
    core: Arc<Core<C>>,
    connections: Connections<C>,
    perform: Option<Perform<C>>,
    lease: Option<LeaseOf<Instant, Input>>,
    release: Option<LeaseOf<u64, ()>>,
    recover: Option<Recover>,
    upkeep: Mutex<Instant>,
}

/// Does what a failover takes; nothing comes of it if it fails.
type Perform<C> = fn(&C, &Order, Option<&Recovered>, Instant) -> Option<Outcome>;

type Recover = Box<dyn Fn(&LostWrites) -> Regained + Send + Sync>;

/// Asks for a lease or gives it back, and says what came of it.
type LeaseOf<T, A> = Box<dyn Fn(T) -> A + Send + Sync>;

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
    #[must_use]
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
        }));
        self
    }

    /// Recovers with this closure what a former primary has and the new one has not. Without it, or with less than all of
    /// it, that server does not rejoin.
    #[must_use]
    pub fn recovering(
        mut self,
        recover: impl Fn(&LostWrites) -> Regained + Send + Sync + 'static,
    ) -> Self {
        self.recover = Some(Box::new(recover));
        self
    }

    /// Runs until the pool is [closed](super::ReplicaPool::close), on this thread and one more for each probe and operation
    /// that is under way: one that hangs or panics holds up no other.
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
                for hand in over {
                    self.join(hand);
                }
                let until = core.wake_at().min(*self.upkeep.lock());
                let due = || core.is_due_before(until).then_some(false);
                run(core.watch::<Blocking>(Blocking, until, due));
            }
            for hand in hands {
                self.join(hand);
            }
        });
    }

    /// A panic in the client was reported by the hook, and counts as a failure.
    fn join(&self, hand: thread::ScopedJoinHandle<'_, ()>) {
        if hand.join().is_err() {
            self.core.tell(Event::CallPanicked);
        }
    }

    /// Does all that is due on this thread, one after the other, and answers when the next is: for tests in virtual
    /// time, and for programs with a loop of their own. A panic of the client goes on to the caller, and counts as a failure.
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
        run(do_job(&self.core, self, job));
    }
}

impl<C: Prober> Hands<C> for Monitor<C> {
    async fn ask(
        &self,
        node: NodeId,
        endpoint: &Endpoint,
        generation: u64,
        deadline: Instant,
    ) -> Option<Probe> {
        let client = &self.core.client;
        let mut connection = match self.connections.take(node, generation) {
            Some(connection) => connection,
            None => client.connect(endpoint, deadline).ok()?,
        };
        let answer = client.probe(&mut connection, deadline).ok()?;
        self.connections.keep(node, generation, connection);
        Some(answer)
    }

    async fn outcome(&self, order: &Order, deadline: Instant) -> Option<Outcome> {
        if let Some(recovery) = recovery(order, deadline) {
            let regained = self.recover.as_ref()?(&recovery);
            return self.core.proofs.keep(&recovery, regained);
        }
        let recovered = self.core.proofs.of(&order.server);
        self.perform?(&self.core.client, order, recovered.as_ref(), deadline)
    }

    async fn acquire(&self, now: Instant, _: Instant) -> Option<Input> {
        self.lease.as_ref().map(|acquire| acquire(now))
    }

    async fn release(&self, term: u64, _: Instant) {
        if let Some(release) = &self.release {
            release(term);
        }
    }
}

impl<C: Promoter> Monitor<C> {
    /// Does itself what a failover takes, where the settings say that this process may.
    #[must_use]
    pub fn promoting(mut self) -> Self {
        self.perform = Some(perform::<C>);
        self
    }
}

fn perform<C: Promoter>(
    client: &C,
    order: &Order,
    recovered: Option<&Recovered>,
    deadline: Instant,
) -> Option<Outcome> {
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
        Action::Rejoin { .. } => done(client.rejoin(server, other?, recovered?, deadline)),
        Action::Recover { .. } => None,
    }
}

impl<C: Prober> fmt::Debug for Monitor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor(..)")
    }
}
