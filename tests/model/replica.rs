//! Whatever may come to the core of a replica pool, and what must hold after each of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tenfold::replica::topology::{
    Action, Effect, Grant, Input, Node, NodeId, NodeSet, NodeState, OldPrimary, OperationId,
    Outcome, ProbeId, Promotion, Settings, Synchronous, Topology, select, step,
};
use tenfold::replica::{
    CausalToken, Endpoint, Epoch, Fault, Fork, Position, Probe, ReadPreference, RecoveryOrder,
    Role, SystemId,
};
use tenfold::time::Instant;

const SYSTEM: SystemId = SystemId(7);

/// Servers are `n0`, `n1`, …, of which the first three are there from the start; times are milliseconds.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    Wait(u64),
    /// Answers the probe of one node: the latest, or the one before.
    Answer(u8, bool, Answer),
    Miss(u8),
    Fault(u8, i8, u8),
    Hurry(u8),
    Add(u8),
    Drain(u8),
    Remove(u8),
    Lease(u64, u64),
    LeaseLost,
    /// Ends one of the last operations, perhaps for the second time.
    End(u8, Option<u8>, u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) primary: bool,
    pub(crate) alien: bool,
    pub(crate) timeline: u64,
    pub(crate) term: u64,
    pub(crate) position: u64,
    pub(crate) receiving: Option<bool>,
    pub(crate) fork: Option<u64>,
}

fn end(name: &str) -> Endpoint {
    Endpoint::new(name, &format!("{name}:1")).unwrap()
}

/// A topology that all of this happens to, and what of it must never change.
pub(crate) struct Run {
    topology: Option<Topology>,
    now: Instant,
    probes: Vec<Vec<ProbeId>>,
    operations: Vec<OperationId>,
    names: BTreeMap<NodeId, String>,
    newest_generation: u64,
    /// Whom writes went to last, and in which epoch.
    wrote: Option<(String, Epoch)>,
    /// The promotion that may be under way.
    promotes: Option<(OperationId, NodeId, Instant)>,
}

impl Run {
    pub(crate) fn new(promotion: Promotion, order: RecoveryOrder, synchronous: bool) -> Self {
        let mut settings = Settings::builder().primary(end("n0")).promotion(promotion);
        settings = settings.order(order).replica(end("n1")).replica(end("n2"));
        if synchronous {
            settings = settings.synchronous(Synchronous::any(1, ["n0", "n1", "n2"]));
        }
        let now = Instant::from_nanos(0);
        let (topology, effects) = Topology::new(settings.build().unwrap(), now);
        let mut run = Self {
            topology: Some(topology),
            now,
            probes: vec![Vec::new(); 64],
            operations: Vec::new(),
            names: BTreeMap::new(),
            newest_generation: 0,
            wrote: None,
            promotes: None,
        };
        run.note(&effects);
        run
    }

    fn give(&mut self, input: Input) {
        let before = self.topology.take().unwrap();
        let again = step(before.clone(), input.clone(), self.now);
        let (after, effects) = step(before.clone(), input, self.now);
        assert_eq!(again.1, effects, "the same has the same effects");
        self.check(&before, &after, &effects);
        self.topology = Some(after);
        self.note(&effects);
    }

    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Probe {
                    node,
                    probe,
                    deadline,
                } => {
                    assert!(*deadline > self.now);
                    self.probes[node.index()].push(*probe);
                }
                Effect::Perform {
                    operation,
                    action,
                    deadline,
                } => {
                    assert!(*deadline > self.now, "{action} was to be done before");
                    let newest = self.operations.last();
                    assert!(
                        newest.is_none_or(|newest| newest < operation),
                        "{operation:?} again"
                    );
                    self.operations.push(*operation);
                    self.note_promotion(*operation, *action, *deadline);
                }
                Effect::AcquireLease { deadline } => assert!(*deadline > self.now),
                _ => {}
            }
        }
    }

    /// One at a time, whatever has become of the failover that it was ordered for.
    fn note_promotion(&mut self, operation: OperationId, action: Action, deadline: Instant) {
        let Action::Promote { node } = action else {
            return;
        };
        if let Some((_, other, until)) = self.promotes {
            let is_over = until <= self.now || other == node;
            assert!(is_over, "{node} is promoted while {other} may be");
        }
        self.promotes = Some((operation, node, deadline));
    }

    /// Of one epoch there is one primary, unless it has handed over; and none is of another cluster.
    fn check_writer(&mut self, after: &Topology) {
        let Some((writer, epoch)) = after.writer().zip(after.epoch()) else {
            return;
        };
        let node = after.node(writer).unwrap();
        assert!(
            node.epoch().is_none_or(|its| its <= epoch),
            "{node:?} in {epoch}"
        );
        let name = node.endpoint().name().to_owned();
        if let Some((other, of)) = &self.wrote
            && *of == epoch
            && *other != name
            && let Some(former) = after.find(other)
        {
            let role = former.role();
            assert_eq!(role, Some(Role::Replica), "{other} and {name} in {epoch}");
        }
        self.wrote = Some((name, epoch));
    }

    fn check(&mut self, before: &Topology, after: &Topology, effects: &[Effect]) {
        if let Some(old) = before.epoch() {
            assert!(
                after.epoch().is_some_and(|new| !old.is_after(new)),
                "the epoch went back"
            );
        }
        if let Some(writer) = after.writer() {
            assert!(after.node(writer).is_some() && after.phase().takes_writes());
            assert!(
                !after.serving().contains(writer),
                "the primary is no replica"
            );
            let state = after.node(writer).unwrap().state();
            assert!(!matches!(state, NodeState::Fenced(_)), "{state:?}");
        }
        self.check_writer(after);
        assert!(before.system().is_none() || before.system() == after.system());
        for effect in effects {
            if let Effect::Perform { action, .. } = effect {
                let there = |node| after.node(node).is_some();
                assert!(
                    concerned(*action).into_iter().all(there),
                    "{action} to nobody"
                );
            }
        }
        for id in after.serving().iter() {
            let node = after.node(id).unwrap();
            assert_eq!(
                (node.state(), node.role()),
                (NodeState::Healthy, Some(Role::Replica))
            );
        }
        assert!(after.wake_at() > self.now, "woken at once, for ever");
        let mut names = BTreeMap::new();
        for node in after.nodes() {
            let name = node.endpoint().name().to_owned();
            if let Some(known) = self.names.get(&node.id())
                && before.find(known).is_some()
                && after.find(known).is_some()
            {
                assert_eq!(*known, name, "a number went to another server");
            }
            if let Some(old) = before.find(&name) {
                assert!(old.id() == node.id() && node.generation() >= old.generation());
            }
            names.insert(node.id(), name);
        }
        self.names = names;
        for effect in effects {
            if let Effect::Purge { generation, .. } = effect {
                assert!(
                    *generation > self.newest_generation,
                    "a generation came twice"
                );
                self.newest_generation = *generation;
            }
        }
        let observes = after.settings().promotion() == Promotion::Observe;
        let acts = |effect: &Effect| {
            matches!(effect, Effect::Perform { .. } | Effect::AcquireLease { .. })
        };
        assert!(
            !observes || !effects.iter().any(acts),
            "who observes does nothing"
        );
        let token = CausalToken::new(SYSTEM, 2, Position(90));
        for preference in [
            ReadPreference::Any,
            ReadPreference::Replica,
            ReadPreference::Primary,
            ReadPreference::AtLeast(token, Duration::from_millis(1)),
        ] {
            let _ = select(after, &preference, NodeSet::default());
        }
    }

    pub(crate) fn make(&mut self, what: Move) {
        let topology = self.topology.as_ref().unwrap();
        let id = |n: u8| topology.find(&format!("n{n}")).map(Node::id);
        let input = match what {
            Move::Wait(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                Some(Input::Tick)
            }
            Move::Answer(n, latest, answer) => id(n).and_then(|node| {
                let probes = &self.probes[node.index()];
                let back = if latest { 1 } else { 2 };
                let probe = *probes.get(probes.len().checked_sub(back)?)?;
                Some(Input::Answered {
                    node,
                    probe,
                    answer: answer.into_probe(),
                    rtt: Duration::from_millis(1),
                })
            }),
            Move::Miss(n) => id(n).and_then(|node| {
                let probe = *self.probes[node.index()].last()?;
                Some(Input::Unanswered { node, probe })
            }),
            Move::Fault(n, off, fault) => id(n).map(|node| Input::Faulted {
                node,
                generation: topology
                    .node(node)
                    .unwrap()
                    .generation()
                    .wrapping_add_signed(off.into()),
                fault: [
                    Fault::Query,
                    Fault::Transient,
                    Fault::Overload,
                    Fault::RoleChanged,
                    Fault::ConnectionLost,
                    Fault::Unknown,
                ][usize::from(fault)],
            }),
            Move::Hurry(n) => id(n).map(Input::Hurry),
            Move::Add(n) => Some(Input::Add(end(&format!("n{n}")))),
            Move::Drain(n) => id(n).map(Input::Drain),
            Move::Remove(n) => id(n).map(Input::Remove),
            Move::Lease(term, ms) => Some(Input::LeaseGained(Grant {
                term,
                until: self.now + Duration::from_millis(ms),
                old_primary: match term % 3 {
                    0 => OldPrimary::Unknown,
                    n => OldPrimary::Stops {
                        name: (n == 1).then(|| "n0".into()),
                        at: self.now + Duration::from_millis(ms / 2),
                    },
                },
            })),
            Move::LeaseLost => Some(Input::LeaseLost),
            Move::End(n, how, value) => {
                let back = usize::from(n) + 1;
                let at = self.operations.len().checked_sub(back);
                at.map(|at| {
                    let operation = self.operations[at];
                    let worked = matches!(how, Some(2));
                    self.promotes
                        .take_if(|(promotes, ..)| worked && *promotes == operation);
                    let epoch = Epoch {
                        timeline: value % 6,
                        term: 0,
                    };
                    match how {
                        None => Input::Failed { operation },
                        Some(0) => Input::Finished {
                            operation,
                            outcome: Outcome::Done,
                        },
                        Some(1) => Input::Finished {
                            operation,
                            outcome: Outcome::Reached(Position(value)),
                        },
                        Some(2) => Input::Finished {
                            operation,
                            outcome: Outcome::Promoted(epoch),
                        },
                        Some(_) => Input::Finished {
                            operation,
                            outcome: Outcome::Recovered {
                                complete: value % 2 == 0,
                            },
                        },
                    }
                })
            }
        };
        if let Some(input) = input {
            self.give(input);
        }
    }
}

impl Answer {
    fn into_probe(self) -> Probe {
        let role = if self.primary {
            Role::Primary
        } else {
            Role::Replica
        };
        let system = if self.alien { SystemId(8) } else { SYSTEM };
        let epoch = Epoch {
            timeline: self.timeline,
            term: self.term,
        };
        let mut probe = Probe::new(role, system, epoch, Position(self.position));
        probe.receiving = self.receiving;
        let fork = |at| Fork {
            timeline: self.timeline,
            parent: self.timeline.saturating_sub(1),
            at: Position(at),
        };
        probe.history = self.fork.map(fork).into_iter().collect();
        probe
    }
}

/// Whom an action is about.
fn concerned(action: Action) -> Vec<NodeId> {
    let other = match action {
        Action::Salvage { to, .. } | Action::Recover { to, .. } => Some(to),
        Action::Follow { primary, .. } | Action::Rejoin { primary, .. } => Some(primary),
        _ => None,
    };
    [action.node()].into_iter().chain(other).collect()
}
