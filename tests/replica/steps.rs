//! Whatever comes, in whatever order: the step of a replica pool's core neither panics nor forgets what it must keep. And the
//! failovers that it leads, told one by one.

#[path = "../model/replica.rs"]
mod model;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::stage::Stage;
use model::{Answer, Move, Run};
use proptest::prelude::*;
use tenfold::replica::topology::{
    Action, Authority, Effect, Event, FailoverRefused, Grant, Input, NodeId, OldPrimary,
    OperationId, Outcome, Phase, Promotion, SettingsBuilder, Synchronous,
};
use tenfold::replica::{Epoch, Position, RecoveryOrder};

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

/// The orders of the latest effects, without their numbers.
fn orders(stage: &Stage) -> Vec<Action> {
    actions(stage).into_iter().map(|(_, order)| order).collect()
}

/// Lets time pass in which these answer every 100 ms, and whatever is ordered ends like this. Answers what was ordered.
fn drive(
    stage: &mut Stage,
    millis: u64,
    answers: &[&str],
    how: impl Fn(Action) -> Option<Outcome>,
) -> Vec<Action> {
    let mut ordered = Vec::new();
    for _ in 0..millis / 100 {
        for word in ["wait:100"].iter().chain(answers) {
            loop {
                let next = orders(stage);
                if next.is_empty() {
                    break;
                }
                ordered.extend(next);
                end_all(stage, &how);
            }
            stage.act(word);
        }
    }
    ordered
}

/// As [`well`], but no promotion is known to have worked.
fn unpromoted(action: Action) -> Option<Outcome> {
    match action {
        Action::Promote { .. } => None,
        other => well(other),
    }
}

/// A replica told of a later epoch before its primary was found. That primary then claimed an epoch that was known already, and
/// was refused for ever as a second one of it.
#[test]
fn a_primary_that_was_heard_of_before_it_was_found_is_accepted() {
    let mut stage = Stage::play_with(LOST, sole);
    let fencing = actions(&stage)[0].0;
    stage.act("c:r@90/2!");
    stage.give(Input::Finished {
        operation: fencing,
        outcome: Outcome::Done,
    });
    assert_eq!(stage.topology().phase(), Phase::PrimarySuspect);
    stage.effects.clear();
    stage.act("b:p@100/2<95");
    let (a, b) = (stage.node("a").id(), stage.node("b").id());
    assert_eq!(stage.topology().writer(), Some(b));
    // What it left behind is told and put in order, as if nobody had told of its epoch before.
    let missing = Event::WritesMissing {
        timeline: 1,
        after: Position(95),
        known: Position(100),
    };
    assert!(stage.effects.contains(&Effect::Emit(missing)));
    let epoch = Epoch {
        timeline: 1,
        term: 0,
    };
    assert!(orders(&stage).contains(&Action::Fence { node: a, epoch }));
}

/// Who could not be promoted was left out from then on, until there was a primary. There was none, where the others were too few.
#[test]
fn who_could_not_be_promoted_is_tried_again_where_nobody_else_is_left() {
    let mut stage = Stage::play_with(
        "a:p b:r! a:eof a:x a:x a:x wait:900 b:r! wait:900 b:r! wait:300",
        sole,
    );
    let promote = Action::Promote {
        node: stage.node("b").id(),
    };
    let ordered = drive(&mut stage, 60_000, &["a:x", "b:r@100!"], unpromoted);
    let times = ordered.iter().filter(|order| **order == promote).count();
    assert!(times > 6, "{times}");
}

/// It had been fenced when the failover was refused, and then somebody received again, from whomever. It was waited for.
#[test]
fn nobody_vouches_for_a_primary_that_was_fenced() {
    let mut stage = Stage::play_with(LOST, sole);
    end_all(&mut stage, well);
    end_all(&mut stage, |_| None);
    assert_eq!(refusals(&stage), [FailoverRefused::NoCandidate]);
    let answers = ["a:x", "b:r@100^", "c:r@90^"];
    let ordered = drive(&mut stage, 2000, &answers, |_| None);
    assert!(!ordered.is_empty());
}

/// A replica that had not been made to follow the new primary received from the old one, a replica by then, and was taken for a
/// witness that the new one lived: nobody was promoted in its place.
#[test]
fn who_was_not_pointed_at_the_primary_is_no_witness_of_it() {
    let settings = |s| sole(s).between_failovers(Duration::ZERO);
    for follows in [false, true] {
        let mut stage = Stage::play_with(LOST, settings);
        for _ in 0..4 {
            end_all(&mut stage, well);
        }
        assert_eq!(stage.topology().writer(), Some(stage.node("b").id()));
        end_all(&mut stage, |order| match order {
            Action::Follow { .. } if !follows => None,
            _ => well(order),
        });
        stage.act("b:p@120/2");
        stage.act("b:eof");
        let fence = Action::Fence {
            node: stage.node("b").id(),
            epoch: Epoch {
                timeline: 2,
                term: 0,
            },
        };
        let ordered = drive(&mut stage, 4000, &["b:x", "c:r@120/2^"], |_| None);
        assert_eq!(!ordered.contains(&fence), follows, "{ordered:?}");
    }
}

/// It was to be fenced in the epoch before, which is not the one that it takes writes in if its promotion has worked.
#[test]
fn who_may_have_been_promoted_is_fenced_in_the_epoch_that_it_may_be_of() {
    let mut stage = Stage::play_with(LOST, sole);
    let (a, b) = (stage.node("a").id(), stage.node("b").id());
    let ordered = drive(&mut stage, 40_000, &["a:x", "b:x", "c:r@90!"], unpromoted);
    let line_of = |of: NodeId| {
        let fences = ordered.iter().filter_map(move |order| match order {
            Action::Fence { node, epoch } if *node == of => Some(epoch.timeline),
            _ => None,
        });
        fences.collect::<BTreeSet<_>>()
    };
    assert_eq!(line_of(a), BTreeSet::from([1]));
    assert_eq!(line_of(b), BTreeSet::from([2]));
}

/// A server that had to be fenced and was removed held up every failover: nobody could fence it.
#[test]
fn who_was_removed_need_not_be_fenced() {
    let mut stage = Stage::play_with(LOST, sole);
    let answers = ["a:x", "c:r@90!"];
    let unfenced = |action| match action {
        Action::Fence { node, .. } if node.index() == 1 => None,
        other => unpromoted(other),
    };
    drive(&mut stage, 5000, &answers, unfenced);
    stage.act("b:remove");
    // Nobody does anything to it any more.
    let there = |action: Action| (action.node().index() != 1).then(|| well(action)).flatten();
    let ordered = drive(&mut stage, 15_000, &answers, there);
    let node = stage.node("c").id();
    assert!(ordered.contains(&Action::Promote { node }), "{ordered:?}");
}

/// Whether the lease was asked for.
fn asks(stage: &Stage) -> bool {
    let asks = |effect: &Effect| matches!(effect, Effect::AcquireLease { .. });
    stage.effects.iter().any(asks)
}

/// The terms of the leases that were given back.
fn returned(stage: &Stage) -> Vec<u64> {
    let all = stage.effects.iter().filter_map(|effect| match effect {
        Effect::ReleaseLease { term, .. } => Some(*term),
        _ => None,
    });
    all.collect()
}

#[test]
fn who_has_no_lease_fences_nobody() {
    let lease = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    let mut stage = Stage::play_with(LOST, lease);
    assert!(asks(&stage) && actions(&stage).is_empty());
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
    assert_eq!(returned(&stage), [5]);
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

fn granted(stage: &Stage, term: u64) -> Input {
    Input::LeaseGained(Grant {
        term,
        until: stage.now + Duration::from_secs(10),
        old_primary: OldPrimary::Unknown,
    })
}

/// A failover with a lease of ten seconds, of which half a one does not count, while what the old primary has is salvaged.
fn salvaging() -> Stage {
    let mut stage = Stage::play_with(LOST, |s| s.promotion(Promotion::Active(Authority::Lease)));
    stage.give(granted(&stage, 5));
    stage.act("b:r@100!");
    stage.act("c:r@90!");
    end_all(&mut stage, well);
    end_all(&mut stage, well);
    assert_eq!(stage.topology().phase(), Phase::Salvaging);
    stage
}

/// The lease used to run out in the middle, and the promotion was made with a new one, without a look at who had been promoted
/// in between.
#[test]
fn a_lease_is_extended_at_half_of_its_time() {
    let mut stage = salvaging();
    let salvage = actions(&stage)[0].0;
    for _ in 0..3 {
        stage.effects.clear();
        stage.act("wait:4600");
        assert!(!asks(&stage));
        stage.act("wait:300");
        assert!(asks(&stage));
        stage.give(granted(&stage, 5));
    }
    stage.give(Input::Finished {
        operation: salvage,
        outcome: Outcome::Reached(Position(120)),
    });
    let promotes_until = stage.effects.iter().find_map(|effect| match effect {
        Effect::Perform {
            action: Action::Promote { .. },
            deadline,
            ..
        } => Some(*deadline),
        _ => None,
    });
    // And no promotion outlasts it.
    assert_eq!(
        promotes_until,
        Some(stage.now + Duration::from_millis(9500))
    );
}

#[test]
fn a_failover_ends_with_a_lease_that_cannot_be_extended() {
    let mut stage = salvaging();
    let salvage = actions(&stage)[0].0;
    stage.act("wait:5000");
    assert!(asks(&stage));
    stage.effects.clear();
    stage.give(Input::LeaseLost);
    stage.act("wait:2000");
    assert!(asks(&stage), "it is asked for again");
    stage.act("wait:2400");
    assert_eq!(stage.topology().phase(), Phase::Salvaging);
    stage.act("wait:200");
    assert_eq!(refusals(&stage), [FailoverRefused::NoLease]);
    stage.effects.clear();
    stage.give(Input::Finished {
        operation: salvage,
        outcome: Outcome::Reached(Position(120)),
    });
    assert!(orders(&stage).is_empty(), "{:?}", orders(&stage));
}

#[test]
fn a_failover_ends_at_once_with_a_lease_that_is_lost() {
    let mut stage = salvaging();
    stage.give(Input::LeaseLost);
    assert_eq!(refusals(&stage), [FailoverRefused::NoLease]);
}

/// Somebody else may have had it in between.
#[test]
fn a_failover_begins_anew_with_a_lease_of_another_term() {
    let mut stage = salvaging();
    stage.act("wait:5000");
    stage.effects.clear();
    stage.give(granted(&stage, 6));
    assert_eq!(refusals(&stage), [FailoverRefused::NoLease]);
    assert_eq!(returned(&stage), [6]);
    stage.act("b:r@100!");
    stage.act("c:r@90!");
    stage.act("wait:1000");
    assert!(asks(&stage), "{}", stage.describe());
    stage.effects.clear();
    stage.give(granted(&stage, 7));
    assert!(orders(&stage).is_empty(), "before another look");
}

/// Whoever got the lease meanwhile would not see the promotion, and promote another one beside it.
#[test]
fn a_lease_is_not_given_back_while_a_promotion_may_be_under_way() {
    let mut stage = salvaging();
    end_all(&mut stage, well);
    stage.act("c:p@90/2");
    assert_eq!(stage.topology().writer(), Some(stage.node("c").id()));
    assert!(returned(&stage).is_empty());
}

/// What is asked for again while it has not been heard that it was given back is an extension, with its term: as if it were of the
/// past it was refused for ever.
#[test]
fn a_lease_whose_return_was_not_heard_is_given_back_again() {
    let mut stage = salvaging();
    stage.act("c:p@90/2");
    assert_eq!(returned(&stage), [5]);
    stage.effects.clear();
    stage.give(granted(&stage, 5));
    assert_eq!(returned(&stage), [5]);
}

/// A promotion was to be done by the end of a lease that nobody needed, and that was over.
#[test]
fn who_needs_no_lease_gives_it_back() {
    let mut stage = Stage::play_with(LOST, sole);
    stage.effects.clear();
    stage.give(granted(&stage, 5));
    assert_eq!(returned(&stage), [5]);
}
