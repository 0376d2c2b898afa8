//! What the monitors of threads and of tasks have in common.

use std::collections::BTreeMap;
use std::future::Future;

use super::core::{Core, Job, Order};
use crate::replica::recovery::{Incomplete, Recovered};
use crate::replica::topology::{Action, Input, NodeId, Outcome};
use crate::replica::{Client, Endpoint, Position, Probe};
use crate::sync::Mutex;
use crate::time::Instant;

/// What a recovery is about: the arguments of [`Action::Recover`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LostWrites {
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

/// Connections for probes alone: one per server, so that a pool that is used up says nothing about its server.
pub(super) struct Connections<C: Client>(Mutex<BTreeMap<NodeId, (u64, C::Connection)>>);

impl<C: Client> Connections<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(super) fn take(&self, node: NodeId, generation: u64) -> Option<C::Connection> {
        let (made_in, connection) = self.0.lock().remove(&node)?;
        (made_in == generation).then_some(connection)
    }

    pub(super) fn keep(&self, node: NodeId, generation: u64, connection: C::Connection) {
        let old = self.0.lock().insert(node, (generation, connection));
        drop(old);
    }
}

/// What came of a recovery: that all was recovered, or declared to be given up; or what is left. `None` if it failed and
/// is to be tried again.
pub type Regained = Option<Result<Recovered, Incomplete>>;

/// Who may rejoin, because what only they had was recovered, by name.
pub(super) struct Proofs(Mutex<BTreeMap<Box<str>, Recovered>>);

impl Proofs {
    pub(super) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Keeps what is to be shown when the server rejoins. A proof for another line of the log is none.
    pub(super) fn keep(&self, lost: &LostWrites, regained: Regained) -> Option<Outcome> {
        let complete = match regained? {
            Ok(recovered) if recovered.fork().timeline != lost.timeline => return None,
            Ok(recovered) => {
                self.0.lock().insert(lost.from.name().into(), recovered);
                true
            }
            Err(_) => false,
        };
        Some(Outcome::Recovered { complete })
    }

    pub(super) fn of(&self, server: &Endpoint) -> Option<Recovered> {
        self.0.lock().get(server.name()).cloned()
    }
}

/// What an order to recover says.
pub(super) fn recovery(order: &Order, deadline: Instant) -> Option<LostWrites> {
    let Action::Recover {
        timeline, after, ..
    } = order.action
    else {
        return None;
    };
    Some(LostWrites {
        from: order.server.clone(),
        to: order.other.clone()?,
        timeline,
        after,
        deadline,
    })
}

/// How a monitor does what it is told to: on a thread, where these block, or in a task.
pub(super) trait Hands<C: Client>: Sync {
    /// What a server says of itself, unless it does not by the deadline.
    fn ask(
        &self,
        node: NodeId,
        endpoint: &Endpoint,
        generation: u64,
        deadline: Instant,
    ) -> impl Future<Output = Option<Probe>> + Send;

    /// What has come of an order, if anything has.
    fn outcome(
        &self,
        order: &Order,
        deadline: Instant,
    ) -> impl Future<Output = Option<Outcome>> + Send;

    /// What the lease says; nothing if there is none, or it says nothing by the deadline.
    fn acquire(
        &self,
        now: Instant,
        deadline: Instant,
    ) -> impl Future<Output = Option<Input>> + Send;

    fn release(&self, term: u64, deadline: Instant) -> impl Future<Output = ()> + Send;
}

/// Does a job, and reports what came of it.
pub(super) async fn do_job<C: Client>(core: &Core<C>, hands: &impl Hands<C>, job: Job) {
    match job {
        Job::Probe {
            node,
            endpoint,
            generation,
            probe,
            deadline,
        } => {
            let mut report = Report(core, Some(Input::Unanswered { node, probe }));
            let began = core.now();
            if let Some(answer) = hands.ask(node, &endpoint, generation, deadline).await {
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
            let mut report = Report(core, Some(Input::Failed { operation }));
            if let Some(outcome) = hands.outcome(&order, deadline).await {
                report.1 = Some(Input::Finished { operation, outcome });
            }
        }
        Job::AcquireLease { deadline } => {
            let mut report = Report(core, Some(Input::LeaseLost));
            if let Some(answer) = hands.acquire(core.now(), deadline).await {
                report.1 = Some(answer);
            }
        }
        Job::ReleaseLease { term, deadline } => hands.release(term, deadline).await,
    }
}

/// What is reported of a job: the worst, unless something better has come of it, a panic and a dropped future included.
struct Report<'a, C: Client>(&'a Core<C>, Option<Input>);

impl<C: Client> Drop for Report<'_, C> {
    fn drop(&mut self) {
        if let Some(input) = self.1.take() {
            self.0.feed(input);
        }
    }
}
