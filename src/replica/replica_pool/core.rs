//! What all handles of a pool share: the topology behind a lock, and the routes that everybody reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use arc_swap::ArcSwap;

use super::bell::Bell;
use super::board::Board;
use super::budget::Budget;
use super::duties::Proofs;
use super::events::EventLog;
use super::routes::{Routes, Target};
use crate::balance::Balancer;
use crate::replica::pool::PoolOptions;
use crate::replica::topology::{
    Action, Effect, Event, Input, NodeId, OperationId, ProbeId, Settings, Topology, step,
};
use crate::replica::ways::{Look, Times, Ways};
use crate::replica::{Client, Endpoint};
use crate::sync::Mutex;
use crate::time::Instant;

pub(super) struct Core<C: Client> {
    pub(super) client: Arc<C>,
    pub(super) routes: ArcSwap<Routes<C>>,
    pub(super) board: Board,
    pub(super) balancer: Balancer<Arc<Target<C>>>,
    pub(super) events: Arc<EventLog>,
    pub(super) budget: Budget,
    pub(super) options: PoolOptions,
    pub(super) times: Times,
    /// Here, and not with a monitor: another one may go on where it stopped.
    pub(super) proofs: Proofs,
    driver: Mutex<Driver>,
    changed: Arc<Bell>,
}

struct Driver {
    topology: Topology,
    /// What is to be done by whoever monitors.
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Something for a monitor to do.
#[derive(Debug, Clone)]
pub(super) enum Job {
    Probe {
        node: NodeId,
        endpoint: Endpoint,
        generation: u64,
        probe: ProbeId,
        deadline: Instant,
    },
    Perform {
        operation: OperationId,
        order: Order,
        deadline: Instant,
    },
    AcquireLease {
        deadline: Instant,
    },
    ReleaseLease {
        term: u64,
        deadline: Instant,
    },
}

/// An action and the servers that it is about.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) action: Action,
    pub(super) server: Endpoint,
    /// The other one, where there are two.
    pub(super) other: Option<Endpoint>,
}

/// What follows a step when the lock is let go.
struct After<C: Client> {
    purges: Vec<(Arc<Target<C>>, u64)>,
    gone: Vec<Arc<Target<C>>>,
    /// Dropped here: it may be the last to know a pool.
    before: Arc<Routes<C>>,
    told: bool,
}

impl<C: Client> Core<C> {
    pub(super) fn new(
        client: Arc<C>,
        settings: Arc<Settings>,
        options: PoolOptions,
        balancer: Balancer<Arc<Target<C>>>,
        retry_share: f64,
    ) -> Self {
        let times = options.times();
        let (topology, effects) = Topology::new(settings, times.clock.now());
        let connections = topology.nodes().count().saturating_mul(options.size());
        let core = Self {
            client,
            routes: ArcSwap::from_pointee(Routes::new(topology.clone())),
            board: Board::new(),
            balancer,
            events: Arc::default(),
            budget: Budget::new(retry_share, connections),
            options,
            times,
            proofs: Proofs::new(),
            driver: Mutex::new(Driver {
                topology: topology.clone(),
                jobs: VecDeque::new(),
                closed: false,
            }),
            changed: Arc::default(),
        };
        let after = {
            let mut driver = core.driver.lock();
            core.publish(&mut driver, topology, effects)
        };
        core.follow(after);
        core
    }

    pub(super) fn now(&self) -> Instant {
        self.times.clock.now()
    }

    /// Says what has happened.
    pub(super) fn feed(&self, input: Input) {
        let after = {
            let mut driver = self.driver.lock();
            if driver.closed {
                return;
            }
            // Within the lock, so that time does not go backwards from step to step.
            let (topology, effects) = step(driver.topology.clone(), input, self.now());
            driver.topology = topology.clone();
            self.publish(&mut driver, topology, effects)
        };
        self.follow(after);
    }

    /// Tells of something that is none of the topology's.
    pub(super) fn tell(&self, event: Event) {
        self.events.note(event);
        self.events.tell();
    }

    fn publish(&self, driver: &mut Driver, topology: Topology, effects: Vec<Effect>) -> After<C> {
        let before = self.routes.load_full();
        let parts = (&self.client, &self.options, &self.balancer);
        self.board.begin();
        let (next, gone) = before.next(topology, parts.0, parts.1, parts.2);
        let next = Arc::new(next);
        self.routes.store(Arc::clone(&next));
        self.board.post(&next);
        let mut after = After {
            purges: Vec::new(),
            gone,
            before,
            told: false,
        };
        for effect in effects {
            match effect {
                Effect::Purge { node, generation } => {
                    let target = next.target(node).cloned();
                    after
                        .purges
                        .extend(target.map(|target| (target, generation)));
                }
                Effect::Emit(event) => {
                    self.events.note(event);
                    after.told = true;
                }
                Effect::WakeAt(_) => {}
                other => driver.queue(&other),
            }
        }
        after
    }

    fn follow(&self, after: After<C>) {
        let After {
            purges,
            gone,
            before,
            told,
        } = after;
        for (target, generation) in purges {
            target.pool.advance(generation);
        }
        for target in gone {
            target.pool.close();
        }
        self.changed.ring();
        if told {
            self.events.tell();
        }
        drop(before);
    }

    pub(super) fn topology(&self) -> Topology {
        self.routes.load().topology.clone()
    }

    /// What is to be done next. What nobody waits for any more is left out: it may be here since another monitor stopped, and a
    /// promotion that comes late makes a second primary.
    pub(super) fn next_job(&self) -> Option<Job> {
        let mut driver = self.driver.lock();
        let now = self.now();
        while let Some(job) = driver.jobs.pop_front() {
            match &job {
                Job::Perform {
                    operation,
                    deadline,
                    ..
                } if now >= *deadline || !driver.topology.awaits(*operation) => {}
                Job::AcquireLease { deadline } if now >= *deadline => {}
                _ => return Some(job),
            }
        }
        None
    }

    pub(super) fn close(&self) {
        let mut driver = self.driver.lock();
        driver.closed = true;
        let jobs = std::mem::take(&mut driver.jobs);
        drop(driver);
        drop(jobs);
        for target in self.routes.load_full().targets() {
            target.pool.close();
        }
        self.changed.ring();
        self.events.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.driver.lock().closed
    }

    /// Waits until the routes are others than these, the pool is closed, or the moment has come. Answers whether it
    /// has.
    pub(super) async fn change<W: Ways<C>>(
        &self,
        ways: W,
        seen: &Arc<Routes<C>>,
        until: Instant,
    ) -> bool {
        let look =
            || (!Arc::ptr_eq(&self.routes.load(), seen) || self.is_closed()).then_some(false);
        self.watch(ways, until, look).await
    }

    /// Looks after every change; answers `true` if nothing was seen by the moment.
    pub(super) async fn watch<W: Ways<C>>(
        &self,
        ways: W,
        until: Instant,
        mut look: impl FnMut() -> Option<bool> + Send,
    ) -> bool {
        let listener = self.changed.listen();
        let look = |waker: &Waker| {
            listener.hear(waker);
            match look() {
                Some(seen) => Look::Seen(seen),
                None if self.now() >= until => Look::Seen(true),
                None => Look::Wait(until),
            }
        };
        ways.watch(&self.times, look).await
    }

    /// Whether there is a job, it is time for a tick, or the end has come.
    pub(super) fn is_due(&self) -> bool {
        let driver = self.driver.lock();
        driver.closed || !driver.jobs.is_empty() || self.now() >= driver.topology.wake_at()
    }

    /// Whether [`is_due`](Self::is_due), or will be before this moment.
    pub(super) fn is_due_before(&self, until: Instant) -> bool {
        self.is_due() || self.wake_at() < until
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.driver.lock().topology.wake_at()
    }
}

impl Driver {
    fn queue(&mut self, effect: &Effect) {
        let topology = &self.topology;
        let endpoint = |node: NodeId| topology.node(node).map(|node| node.endpoint().clone());
        let job = match *effect {
            Effect::Probe {
                node: id,
                probe,
                deadline,
            } => {
                // One that nobody has come to yet is as late as can be.
                self.jobs
                    .retain(|job| !matches!(job, Job::Probe { node, .. } if *node == id));
                topology.node(id).map(|node| Job::Probe {
                    node: id,
                    endpoint: node.endpoint().clone(),
                    generation: node.generation(),
                    probe,
                    deadline,
                })
            }
            Effect::Perform {
                operation,
                action,
                deadline,
            } => {
                // While nobody monitors, orders do not pile up.
                self.jobs.retain(|job| match job {
                    Job::Perform { operation, .. } => topology.awaits(*operation),
                    _ => true,
                });
                endpoint(action.node()).map(|server| Job::Perform {
                    operation,
                    order: Order {
                        other: other(action).and_then(endpoint),
                        action,
                        server,
                    },
                    deadline,
                })
            }
            Effect::AcquireLease { deadline } => {
                self.jobs
                    .retain(|job| !matches!(job, Job::AcquireLease { .. }));
                Some(Job::AcquireLease { deadline })
            }
            Effect::ReleaseLease { term, deadline } => Some(Job::ReleaseLease { term, deadline }),
            _ => None,
        };
        self.jobs.extend(job);
    }
}

fn other(action: Action) -> Option<NodeId> {
    match action {
        Action::Salvage { to, .. } | Action::Recover { to, .. } => Some(to),
        Action::Follow { primary, .. } | Action::Rejoin { primary, .. } => Some(primary),
        _ => None,
    }
}
