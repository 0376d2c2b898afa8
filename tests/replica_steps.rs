//! Whatever comes, in whatever order: the step of a replica pool's core neither panics nor forgets what it must keep. And the
//! failovers that it leads, told one by one.

mod replica_stage;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tenfold::replica::topology::{
    Action, Authority, Effect, Event, FailoverRefused, Grant, Input, Node, NodeId, NodeSet,
    NodeState, OldPrimary, OperationId, Outcome, Phase, ProbeId, Promotion, Settings,
    SettingsBuilder, Synchronous, Topology, select, step,
};
use tenfold::replica::{
    CausalToken, Endpoint, Epoch, Fault, Fork, Position, Probe, ReadPreference, RecoveryOrder,
    Role, SystemId,
};
use tenfold::time::Instant;

use replica_stage::{SYSTEM, Stage};

#[derive(Debug, Clone)]
enum Move {
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
struct Answer {
    primary: bool,
    alien: bool,
    timeline: u64,
    term: u64,
    position: u64,
    receiving: Option<bool>,
    fork: Option<u64>,
}

fn answers() -> impl Strategy<Value = Answer> {
    let timeline = prop_oneof![8 => 0..5u64, 1 => any::<u64>()];
    let position = prop_oneof![8 => 0..200u64, 1 => any::<u64>()];
    let fork = proptest::option::of(0..200u64);
    let parts = (
        any::<bool>(),
        0..12u8,
        timeline,
        0..3u64,
        position,
        any::<Option<bool>>(),
        fork,
    );
    parts.prop_map(
        |(primary, alien, timeline, term, position, receiving, fork)| Answer {
            primary,
            alien: alien == 0,
            timeline,
            term,
            position,
            receiving,
            fork,
        },
    )
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..3000u64).prop_map(Move::Wait),
        8 => (0..5u8, any::<bool>(), answers()).prop_map(|(n, latest, a)| Move::Answer(n, latest, a)),
        3 => (0..5u8).prop_map(Move::Miss),
        2 => (0..5u8, -1..2i8, 0..6u8).prop_map(|(n, generation, f)| Move::Fault(n, generation, f)),
        1 => (0..5u8).prop_map(Move::Hurry),
        1 => (0..5u8).prop_map(Move::Add),
        1 => (0..5u8).prop_map(Move::Drain),
        1 => (0..5u8).prop_map(Move::Remove),
        1 => (0..20u64, 0..5000u64).prop_map(|(term, for_ms)| Move::Lease(term, for_ms)),
        1 => Just(Move::LeaseLost),
        6 => (0..6u8, proptest::option::of(0..4u8), 0..200u64).prop_map(|(n, how, v)| Move::End(n, how, v)),
    ]
}

fn end(name: &str) -> Endpoint {
    Endpoint::new(name, &format!("{name}:1")).unwrap()
}

struct Run {
    topology: Option<Topology>,
    now: Instant,
    probes: Vec<Vec<ProbeId>>,
    operations: Vec<OperationId>,
    names: BTreeMap<NodeId, String>,
    newest_generation: u64,
}

impl Run {
    fn new(promotion: Promotion, order: RecoveryOrder, synchronous: bool) -> Self {
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
                Effect::Perform { operation, .. } => self.operations.push(*operation),
                _ => {}
            }
        }
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
        let acts =
            |effect: &Effect| matches!(effect, Effect::Perform { .. } | Effect::AcquireLease);
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

    fn make(&mut self, what: Move) {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_makes_it_forget_what_it_must_keep(
        promotion in prop_oneof![
            Just(Promotion::Observe),
            Just(Promotion::Active(Authority::Lease)),
            Just(Promotion::Active(Authority::SoleController)),
        ],
        data_first in any::<bool>(),
        synchronous in any::<bool>(),
        moves in proptest::collection::vec(moves(), 1..120),
    ) {
        let order = if data_first { RecoveryOrder::DataFirst } else { RecoveryOrder::AvailabilityFirst };
        let mut run = Run::new(promotion, order, synchronous);
        for what in moves {
            run.make(what);
        }
    }
}

/// A primary that is lost, with two replicas that receive no more.
const LOST: &str = "a:p b:r@100! c:r@90! a:eof a:x a:x a:x wait:900 b:r@100! c:r@90! wait:900 b:r@100! c:r@90! wait:300 a:x";

fn sole(settings: SettingsBuilder) -> SettingsBuilder {
    settings.promotion(Promotion::Active(Authority::SoleController))
}

/// What is to be done to whom, of the latest effects.
fn actions(stage: &Stage) -> Vec<(OperationId, Action)> {
    let all = stage.effects.iter().filter_map(|effect| match effect {
        Effect::Perform {
            operation, action, ..
        } => Some((*operation, *action)),
        _ => None,
    });
    all.collect()
}

/// Ends all that is under way, and answers what is to be done next.
fn end_all(stage: &mut Stage, how: impl Fn(Action) -> Option<Outcome>) -> Vec<Action> {
    let under_way = actions(stage);
    stage.effects.clear();
    for (operation, action) in under_way {
        stage.give(match how(action) {
            Some(outcome) => Input::Finished { operation, outcome },
            None => Input::Failed { operation },
        });
    }
    actions(stage)
        .into_iter()
        .map(|(_, action)| action)
        .collect()
}

#[allow(clippy::unnecessary_wraps, reason = "in the form of what may fail")]
fn well(action: Action) -> Option<Outcome> {
    Some(match action {
        Action::StopReceiver { node } => Outcome::Reached(Position([0, 100, 90][node.index()])),
        Action::Salvage { .. } => Outcome::Reached(Position(120)),
        Action::Promote { .. } => Outcome::Promoted(Epoch {
            timeline: 2,
            term: 0,
        }),
        Action::Recover { .. } => Outcome::Recovered { complete: true },
        _ => Outcome::Done,
    })
}

fn refusals(stage: &Stage) -> Vec<FailoverRefused> {
    let all = stage.effects.iter().filter_map(|effect| match effect {
        Effect::Emit(Event::FailoverRefused(why)) => Some(*why),
        _ => None,
    });
    all.collect()
}

#[test]
fn a_failover_goes_from_fence_to_rejoin() {
    let mut stage = Stage::play_with(LOST, sole);
    let id = |stage: &Stage, name: &str| stage.node(name).id();
    let (a, b, c) = (id(&stage, "a"), id(&stage, "b"), id(&stage, "c"));
    let epoch = Epoch {
        timeline: 1,
        term: 0,
    };
    let fence: Vec<_> = actions(&stage)
        .into_iter()
        .map(|(_, action)| action)
        .collect();
    assert_eq!(fence, [Action::Fence { node: a, epoch }]);
    assert_eq!(stage.topology().phase(), Phase::Fencing);
    let next = end_all(&mut stage, well);
    assert_eq!(
        next,
        [
            Action::StopReceiver { node: b },
            Action::StopReceiver { node: c }
        ]
    );
    let next = end_all(&mut stage, well);
    assert_eq!(next, [Action::Salvage { from: a, to: b }]);
    let next = end_all(&mut stage, well);
    assert_eq!(next, [Action::Promote { node: b }]);
    assert_eq!(stage.topology().writer(), None);
    let next = end_all(&mut stage, well);
    assert_eq!(stage.topology().writer(), Some(b));
    assert_eq!(stage.topology().phase(), Phase::Recovering);
    assert!(
        next.contains(&Action::Follow {
            node: c,
            primary: b
        }),
        "{next:?}"
    );
    assert!(next.contains(&Action::Fence { node: a, epoch }), "{next:?}");
    let next = end_all(&mut stage, well);
    let recover = Action::Recover {
        from: a,
        to: b,
        timeline: 1,
        after: Position(120),
    };
    assert_eq!(next, [recover]);
    let next = end_all(&mut stage, well);
    assert_eq!(
        next,
        [Action::Rejoin {
            node: a,
            primary: b
        }]
    );
    end_all(&mut stage, well);
    assert_eq!(stage.topology().phase(), Phase::Normal);
}

#[test]
fn availability_first_does_not_wait_for_the_old_disk() {
    let quick = |s| sole(s).order(RecoveryOrder::AvailabilityFirst);
    let mut stage = Stage::play_with(LOST, quick);
    end_all(&mut stage, well);
    let next = end_all(&mut stage, well);
    let b = stage.node("b").id();
    assert_eq!(next, [Action::Promote { node: b }]);
    end_all(&mut stage, well);
    let missing = |effect: &Effect| matches!(effect, Effect::Emit(Event::WritesMissing { .. }));
    assert!(
        stage.effects.iter().any(missing),
        "what may be missing is told"
    );
}

#[test]
fn nobody_is_promoted_beside_one_that_may_take_writes() {
    let mut stage = Stage::play_with(LOST, sole);
    let next = end_all(&mut stage, |_| None);
    assert!(next.is_empty(), "{next:?}");
    assert_eq!(
        refusals(&stage),
        [FailoverRefused::NotFenced(stage.node("a").id())]
    );
    assert_eq!(stage.topology().phase(), Phase::PrimarySuspect);
}

#[test]
fn too_few_standbys_are_no_quorum() {
    let synchronous = |s| sole(s).synchronous(Synchronous::any(1, ["a", "b", "c"]));
    let mut stage = Stage::play_with(LOST, synchronous);
    end_all(&mut stage, well);
    let only_c = |action| match action {
        Action::StopReceiver { node } if node.index() == 1 => None,
        other => well(other),
    };
    end_all(&mut stage, only_c);
    let why = FailoverRefused::NoQuorum {
        stopped: 1,
        needed: 2,
    };
    assert_eq!(refusals(&stage), [why]);
}

#[test]
fn a_standby_that_does_not_answer_is_no_quorum_before_anybody_is_fenced() {
    let synchronous = |s| sole(s).synchronous(Synchronous::any(1, ["a", "b", "c"]));
    let scene =
        "a:p b:r c:r c:x a:eof a:x a:x a:x wait:900 b:r! c:x wait:900 b:r! c:x wait:300 a:x";
    let stage = Stage::play_with(scene, synchronous);
    assert_eq!(
        refusals(&stage),
        [FailoverRefused::NoQuorum {
            stopped: 1,
            needed: 2
        }]
    );
    assert!(actions(&stage).is_empty());
}

#[test]
fn a_promotion_of_unknown_outcome_ends_the_old_epoch() {
    let mut stage = Stage::play_with(LOST, sole);
    for _ in 0..3 {
        end_all(&mut stage, well);
    }
    // Nobody knows whether it was done.
    end_all(&mut stage, |_| None);
    stage.act("a:p/1");
    assert_eq!(stage.topology().writer(), None, "the old epoch is over");
    stage.act("b:p/2");
    assert_eq!(stage.topology().writer(), Some(stage.node("b").id()));
}

#[test]
fn who_is_promoted_meanwhile_is_followed() {
    let mut stage = Stage::play_with(LOST, sole);
    end_all(&mut stage, well);
    stage.act("c:p/2");
    assert_eq!(stage.topology().writer(), Some(stage.node("c").id()));
    // The answers to what was asked for before change nothing any more.
    let before = stage.describe();
    end_all(&mut stage, well);
    assert_eq!(
        stage.topology().writer(),
        Some(stage.node("c").id()),
        "{before}"
    );
}

/// Somebody promoted, and was lost before this process found out who: it knew of that epoch from a replica alone. What the next
/// failover told was missing was what *that* line had, and not the line whose writes this process had acknowledged; and
/// the first primary was to be recovered from a line that it never had.
#[test]
fn the_line_before_one_that_was_never_found_is_missed_as_well() {
    let mut stage = Stage::play_with(LOST, sole);
    let fencing = actions(&stage)[0].0;
    stage.act("c:r@90/2!");
    stage.give(Input::Finished {
        operation: fencing,
        outcome: Outcome::Done,
    });
    let line = stage.topology().epoch().map(|epoch| epoch.timeline);
    assert_eq!((stage.topology().writer(), line), (None, Some(2)));
    stage.act("b:p@100/3<95");
    let (a, b) = (stage.node("a").id(), stage.node("b").id());
    assert_eq!(stage.topology().writer(), Some(b));
    let missing = stage.effects.iter().filter_map(|effect| match effect {
        Effect::Emit(Event::WritesMissing {
            timeline, after, ..
        }) => Some((*timeline, *after)),
        _ => None,
    });
    // Where the second line left the first, nobody has told.
    let missing: Vec<_> = missing.collect();
    assert_eq!(missing, [(1, Position(0)), (2, Position(95))]);
    let epoch = Epoch {
        timeline: 1,
        term: 0,
    };
    let fence = Action::Fence { node: a, epoch };
    let orders: Vec<_> = actions(&stage).into_iter().map(|(_, o)| o).collect();
    assert!(orders.contains(&fence), "{orders:?}");
}

/// A former primary that was fenced, and is started again while what it has is being recovered, used to be left to
/// take writes until that had worked.
#[test]
fn a_former_primary_that_comes_back_before_it_is_recovered_is_fenced_again() {
    let mut stage = Stage::play_with(LOST, sole);
    for _ in 0..4 {
        end_all(&mut stage, well);
    }
    let (a, b) = (stage.node("a").id(), stage.node("b").id());
    assert_eq!(stage.topology().writer(), Some(b));
    let recovers = |order: &Action| matches!(order, Action::Recover { from, .. } if *from == a);
    let fences = |order: &Action| matches!(order, Action::Fence { node, .. } if *node == a);
    let mut orders = end_all(&mut stage, well);
    assert!(orders.iter().any(recovers), "{orders:?}");
    orders = end_all(&mut stage, |_| None);
    assert!(orders.is_empty(), "it is tried again later: {orders:?}");
    stage.act("a:p@130");
    for _ in 0..20 {
        stage.act("wait:500");
        orders = actions(&stage).into_iter().map(|(_, o)| o).collect();
        if !orders.is_empty() {
            break;
        }
    }
    assert!(orders.iter().any(fences), "{orders:?}");
}

#[test]
fn who_has_no_lease_fences_nobody() {
    let lease = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    let mut stage = Stage::play_with(LOST, lease);
    assert!(stage.effects.contains(&Effect::AcquireLease) && actions(&stage).is_empty());
    stage.give(Input::LeaseLost);
    assert_eq!(refusals(&stage), [FailoverRefused::NoLease]);
    assert!(actions(&stage).is_empty());
}

#[test]
fn a_lease_that_has_run_out_stands_in_for_a_fence() {
    let lease = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    let mut stage = Stage::play_with(LOST, lease);
    let grant = |stage: &Stage, term, stops| Grant {
        term,
        until: stage.now + Duration::from_secs(60),
        old_primary: OldPrimary::Stops {
            name: Some("a".into()),
            at: stage.now + Duration::from_secs(stops),
        },
    };
    stage.effects.clear();
    stage.give(Input::LeaseGained(grant(&stage, 5, 3)));
    let done = actions(&stage);
    assert!(
        done.is_empty(),
        "before the replicas were asked again: {done:?}"
    );
    stage.act("b:r@100!");
    stage.act("c:r@90!");
    assert_eq!(actions(&stage).len(), 1);
    end_all(&mut stage, |_| None);
    assert_eq!(stage.topology().phase(), Phase::Fencing, "it is waited for");
    stage.act("b:r@100!");
    stage.act("wait:3400");
    assert_eq!(
        stage.topology().phase(),
        Phase::Fencing,
        "and for the skew of clocks"
    );
    stage.act("b:r@100!");
    stage.effects.clear();
    stage.act("wait:200");
    assert_eq!(stage.topology().phase(), Phase::Electing);
}

/// Whoever had the lease before may have promoted somebody while it was waited for. Once only what had been seen by
/// then was looked at, and a second primary was promoted beside the first.
#[test]
fn who_gets_the_lease_looks_again_and_follows_who_was_promoted_meanwhile() {
    let lease = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    let mut stage = Stage::play_with(LOST, lease);
    stage.effects.clear();
    stage.give(Input::LeaseGained(Grant {
        term: 5,
        until: stage.now + Duration::from_secs(60),
        old_primary: OldPrimary::Unknown,
    }));
    stage.act("c:r@90!");
    stage.act("b:p@100/2");
    assert_eq!(stage.topology().writer(), Some(stage.node("b").id()));
    let leads =
        |action: &Action| matches!(action, Action::StopReceiver { .. } | Action::Promote { .. });
    assert!(!actions(&stage).iter().any(|(_, action)| leads(action)));
    assert!(stage.effects.contains(&Effect::ReleaseLease { term: 5 }));
}

#[test]
fn a_lease_of_an_older_term_is_not_used() {
    let lease = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    let mut stage = Stage::play_with(LOST, lease);
    let grant = |stage: &Stage, term| Grant {
        term,
        until: stage.now + Duration::from_secs(60),
        old_primary: OldPrimary::Unknown,
    };
    stage.give(Input::LeaseGained(grant(&stage, 5)));
    stage.give(Input::LeaseLost);
    stage.effects.clear();
    stage.give(Input::LeaseGained(grant(&stage, 4)));
    let refused = Effect::Emit(Event::LeaseFromThePast { term: 4, known: 5 });
    assert!(stage.effects.contains(&refused), "{:?}", stage.effects);
}

/// The last time that it was asked, it was away; but that was before its time was over.
#[test]
fn a_primary_is_asked_once_more_when_its_time_is_over() {
    let before = LOST.strip_suffix(" a:x").unwrap();
    let mut back = Stage::play_with(before, sole);
    assert_eq!(back.topology().phase(), Phase::PrimarySuspect);
    back.act("a:p");
    assert_eq!(back.topology().phase(), Phase::Normal);
    let mut away = Stage::play_with(before, sole);
    away.act("a:x");
    assert!(away.topology().phase().is_failover());
}

#[test]
fn a_second_failover_waits() {
    let mut stage = Stage::play_with(LOST, sole);
    for _ in 0..4 {
        end_all(&mut stage, well);
    }
    assert_eq!(stage.topology().writer(), Some(stage.node("b").id()));
    for word in LOST
        .replace("a:eof a:x a:x a:x", "b:eof b:x b:x b:x")
        .replace("wait:300 a:x", "wait:300 b:x")
        .split_whitespace()
        .skip(3)
    {
        let word = word
            .replace("b:r@100!", "b:x")
            .replace("c:r@90!", "c:r@90/2!");
        stage.act(&word);
    }
    let told = refusals(&stage);
    assert!(
        matches!(told[..], [FailoverRefused::TooSoon { .. }]),
        "{told:?}"
    );
}
