//! A primary that was gone before whoever leads the failovers was started, and replicas that receive from each other: who of the
//! silent may be taken for a lost primary, as tables.

use std::time::Duration;

use crate::stage::Stage;
use tenfold::replica::topology::{
    Action, Authority, Effect, Event, FailoverRefused, Grant, Input, OldPrimary, OperationId,
    Outcome, Promotion, SettingsBuilder, Synchronous,
};
use tenfold::replica::{Epoch, Position};

/// What happens after the start, and what it comes to: `phase | what is ordered or refused`.
struct Case(&'static str, &'static str, &'static str);

#[test]
fn who_leads_without_having_seen_the_primary_does_what_the_table_says() {
    let wrong = CASES.iter().filter_map(|Case(name, scene, expected)| {
        let found = play(scene, |settings| settings).found();
        (found != *expected).then(|| format!("{name}: expected {expected}, found {found}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Written shorter: `gone` is everybody asked, `a` silent, the others replicas that receive from nobody, for as long as it
/// takes to presume who is primary; `late` the time to restart, over which nothing changes.
#[rustfmt::skip]
const CASES: &[Case] = &[
    Case("the silent one among replicas is suspected", "gone", "primary suspect |"),
    Case("it has the time to be restarted", "gone wait:900 b:r! c:r!", "primary suspect |"),
    Case("it is fenced then", "gone late", "fencing | fence a"),
    Case("nobody is presumed while an order of an earlier leader may be under way", "a:x b:r! c:r! a:x a:x", "leaderless |"),
    Case("two that are silent may each be it", "a:x b:r! c:x a:x c:x wait:900 a:x c:x b:r! wait:900 b:r! a:x c:x", "leaderless | 2 silent"),
    Case("where nobody is silent nobody is presumed", "a:r! b:r! c:r! wait:900 a:r! b:r! c:r!", "leaderless | 0 silent"),
    Case("who receives vouches for somebody", "a:x b:r^ c:r! a:x a:x wait:900 a:x b:r^ c:r! a:x", "leaderless | 1 silent"),
    Case("who cannot tell whether it receives proves nothing", "a:x b:r c:r! a:x a:x wait:900 a:x b:r c:r! a:x", "leaderless | 1 silent"),
    Case("replicas on two lines do not tell who was primary of the last", "a:x b:r/2! c:r! a:x a:x wait:900 a:x b:r/2! c:r! a:x", "leaderless | 1 silent"),
    Case("a replica of another cluster is no witness", "a:x b:r! c:zr! d:r! a:x a:x wait:900 a:x b:r! c:zr! d:r! a:x", "leaderless | 1 silent"),
    Case("who receives from another replica vouches for nobody", "a:x b:r! c:r>b a:x a:x wait:900 a:x b:r! c:r>b a:x wait:900 b:r! c:r>b wait:900 b:r! c:r>b wait:300 a:x", "fencing | fence a"),
    Case("who receives from the silent one does", "a:x b:r! c:r>a a:x a:x wait:900 a:x b:r! c:r>a a:x", "leaderless | 1 silent"),
    Case("it comes back as a primary", "gone a:p", "normal |"),
    Case("it comes back on the next line", "gone a:p/2", "normal | 1 missing after 100, follow b, follow c"),
    Case("it comes back on a line of the past", "gone a:p/0", "leaderless | 0 silent"),
    Case("it comes back as a replica, and another one may be missing", "gone a:r!", "leaderless | 0 silent"),
    Case("it comes back as somebody else's", "gone a:zp", "leaderless | 0 silent"),
    Case("another one becomes silent, and may be it as well", "gone b:x b:x b:x", "leaderless | 2 silent"),
    Case("another one receives again", "gone b:r^", "leaderless | 1 silent"),
    Case("another one is found to be primary", "gone b:p", "normal |"),
    Case("another one was promoted", "gone b:p/2", "recovering | 1 missing after 100, follow c, fence a"),
    Case("another one lives on a later line", "gone b:r/2!", "leaderless | 1 silent"),
    Case("it is taken away, and whoever does so promotes", "gone a:remove", "leaderless | 0 silent"),
    Case("it is found during the failover after the fence", "gone late fenced b:p/2", "recovering | fence a, stop b, stop c, 1 missing after 100, follow c, fence a"),
    Case("it says something when it has been told to stop", "gone late a:p", "fencing | fence a"),
];

const GONE: &str = "a:x b:r@100! c:r@90! a:x a:x wait:600 a:x b:r@100! c:r@90! a:x";
const LATE: &str =
    "wait:900 b:r@100! c:r@90! wait:900 b:r@100! c:r@90! wait:300 a:x b:r@100! c:r@90!";

/// A stage, and all that was ordered and refused on it.
struct Play {
    stage: Stage,
    story: Vec<String>,
    under_way: Vec<(OperationId, Action)>,
}

fn play(scene: &str, change: impl FnOnce(SettingsBuilder) -> SettingsBuilder) -> Play {
    let scene = scene.replace("gone", GONE).replace("late", LATE);
    let (first, rest) = scene.split_once(' ').unwrap();
    let letters = ["c:hurry", "d:hurry"];
    let letter = letters[usize::from(rest.contains("d:"))];
    let stage = Stage::play_with(letter, |settings| {
        change(
            settings
                .operation_timeout(Duration::from_millis(500))
                .promotion(Promotion::Active(Authority::SoleController)),
        )
    });
    let mut play = Play {
        stage,
        story: Vec::new(),
        under_way: Vec::new(),
    };
    play.act(first);
    for word in rest.split_whitespace() {
        match word {
            "fenced" => play.end(|_| Some(Outcome::Done)),
            word => play.act(word),
        }
    }
    play
}

impl Play {
    fn act(&mut self, word: &str) {
        self.stage.effects.clear();
        self.stage.act(word);
        self.note();
    }

    /// Ends all that is under way.
    fn end(&mut self, how: impl Fn(Action) -> Option<Outcome>) {
        for (operation, action) in std::mem::take(&mut self.under_way) {
            self.stage.effects.clear();
            self.stage.give(match how(action) {
                Some(outcome) => Input::Finished { operation, outcome },
                None => Input::Failed { operation },
            });
            self.note();
        }
    }

    fn note(&mut self) {
        for effect in &self.stage.effects {
            match effect {
                Effect::Perform {
                    operation, action, ..
                } => {
                    self.under_way.push((*operation, *action));
                    self.story.push(self.told(*action));
                }
                Effect::AcquireLease { .. } => self.story.push("ask for the lease".into()),
                Effect::Emit(Event::FailoverRefused(FailoverRefused::NeverSeen { silent })) => {
                    self.story.push(format!("{silent} silent"));
                }
                Effect::Emit(Event::FailoverRefused(why)) => self.story.push(why.to_string()),
                Effect::Emit(Event::WritesMissing {
                    timeline, after, ..
                }) => self
                    .story
                    .push(format!("{timeline} missing after {}", after.0)),
                _ => {}
            }
        }
    }

    fn told(&self, action: Action) -> String {
        let node = self.stage.topology().node(action.node()).unwrap();
        let what = match action {
            Action::Fence { .. } => "fence",
            Action::StopReceiver { .. } => "stop",
            Action::Salvage { .. } => "salvage from",
            Action::Promote { .. } => "promote",
            Action::Follow { .. } => "follow",
            Action::Recover { .. } => "recover from",
            Action::Rejoin { .. } => "rejoin",
            other => panic!("{other}"),
        };
        format!("{what} {}", node.endpoint().name())
    }

    /// `phase | story`
    fn found(&self) -> String {
        let story = self.story.join(", ");
        let found = format!("{} | {story}", self.stage.topology().phase());
        found.trim_end().to_owned()
    }
}

fn well(action: Action) -> Option<Outcome> {
    Some(match action {
        Action::StopReceiver { node } => Outcome::Reached(Position([0, 100, 90][node.index()])),
        Action::Salvage { .. } => return None,
        Action::Promote { .. } => Outcome::Promoted(Epoch {
            timeline: 2,
            term: 0,
        }),
        Action::Recover { .. } => Outcome::Recovered { complete: true },
        _ => Outcome::Done,
    })
}

/// From the fence to the rejoin, and what may be missing is told though nobody here has ever acknowledged a write of it.
#[test]
fn a_primary_that_was_never_seen_is_failed_over_like_any_other() {
    let mut play = play("gone late", |settings| settings);
    for _ in 0..6 {
        play.end(well);
    }
    let told = "fence a, stop b, stop c, salvage from a, promote b, 1 missing after 100, \
                follow c, fence a, recover from a, rejoin a";
    assert_eq!(play.found(), format!("recovering | {told}"));
    assert_eq!(
        play.stage.topology().writer(),
        Some(play.stage.node("b").id())
    );
}

#[test]
fn nobody_is_promoted_beside_a_presumed_primary_that_may_take_writes() {
    let mut play = play("gone late", |settings| settings);
    play.end(|_| None);
    assert_eq!(play.stage.topology().writer(), None);
    let refused = "it is not certain that node 0 takes no writes";
    assert_eq!(
        play.found(),
        format!("primary suspect | fence a, {refused}")
    );
}

/// The standbys are the user's word, as in every failover; that too few of them are left is said before anybody is fenced.
#[test]
fn of_the_synchronous_standbys_enough_must_answer() {
    let two = |s: SettingsBuilder| s.synchronous(Synchronous::any(1, ["a", "b", "c"]));
    assert_eq!(play("gone late", two).found(), "fencing | fence a");
    let mut play = play("gone late", two);
    let not_b = |action| match action {
        Action::StopReceiver { node } if node.index() == 1 => None,
        other => well(other),
    };
    play.end(not_b);
    play.end(not_b);
    let refused = "of the synchronous standbys 2 must be stopped, and 1 could be";
    let told = format!("fence a, stop b, stop c, {refused}");
    assert_eq!(play.found(), format!("primary suspect | {told}"));
}

/// A lease that the primary itself depends on stands in for a fence; one that says nothing of it does not.
#[test]
fn a_presumed_primary_whose_lease_has_run_out_needs_no_fence() {
    let leased = |s: SettingsBuilder| s.promotion(Promotion::Active(Authority::Lease));
    for (name, next) in [
        (Some("a"), "stop b, stop c"),
        (None, "stop b, stop c"),
        (Some("b"), "stop b, stop c"),
    ] {
        let mut play = play("gone late", leased);
        assert_eq!(play.found(), "fencing | ask for the lease");
        play.stage.give(Input::LeaseGained(Grant {
            term: 1,
            until: play.stage.now + Duration::from_secs(30),
            old_primary: OldPrimary::Stops {
                name: name.map(Into::into),
                at: play.stage.now,
            },
        }));
        // Whoever had the lease before may have promoted: they are asked again.
        play.act("b:r@100!");
        play.act("c:r@90!");
        play.end(|_| None);
        play.act("wait:600");
        let found = play.found();
        assert!(found.contains(next), "{name:?}: {found}");
    }
}

/// A replica behind a replica, set up so before this process began: its receiver lives as long as the other one does, and kept a
/// dead primary from being lost.
#[test]
fn a_replica_behind_a_replica_does_not_vouch_for_the_primary() {
    let scene = |b: &str, c: &str| {
        let both = format!("b:r{b} c:r{c}");
        format!("a:p {both} a:eof a:x a:x a:x wait:900 {both} wait:900 {both} wait:300 a:x")
    };
    let found = |b, c| play(&scene(b, c), |settings| settings).found();
    assert_eq!(found("!", ">b"), "fencing | fence a");
    // Unless that one receives from the primary, says nothing of it, or is unknown.
    assert_eq!(found(">a", ">b"), "primary suspect |");
    assert_eq!(found("^", ">b"), "primary suspect |");
    assert_eq!(found("!", ">z"), "primary suspect |");
    assert_eq!(found("!", "^"), "primary suspect |");
    // In a circle nothing comes from outside.
    assert_eq!(found(">c", ">b"), "fencing | fence a");
}

/// What it hands on is no fresher than what it was sent.
#[test]
fn what_a_replica_hands_on_is_as_old_as_what_it_has() {
    let lag = |scene: &str| Stage::play(scene).node("c").lag();
    let cut = "a:p@200 b:r@90~0! c:r@90~0>b";
    let scene = format!("a:p b:r@90~0 c:r@90~0>b wait:900 {cut} wait:900 {cut}");
    assert_eq!(lag(&scene), Some(Duration::from_millis(1800)));
    let well = "a:p@200 b:r@90~0^ c:r@90~0>b";
    let scene = format!("a:p b:r@90~0 c:r@90~0>b wait:900 {well} wait:900 {well}");
    assert_eq!(lag(&scene), Some(Duration::ZERO));
}

/// A leader that ended between stopping the receivers and having them follow left them so for good: the next one saw nothing
/// wrong with a replica on the primary's line.
#[test]
fn a_replica_that_was_stopped_by_a_leader_before_is_made_to_follow() {
    let ordered = |scene| play(scene, |settings| settings).found();
    let stopped = "a:p b:r! c:r^ wait:400 a:p b:r! c:r^";
    assert_eq!(
        ordered(stopped),
        "normal |",
        "it may receive again by itself"
    );
    let scene = format!("{stopped} wait:200 a:p b:r! c:r^");
    assert_eq!(ordered(&scene), "normal | follow b");
    let back = format!("{stopped} b:r^ wait:200 a:p b:r^ c:r^");
    assert_eq!(ordered(&back), "normal |", "it did");
    // One that was seen to receive is somebody else's to stop.
    let by_hand =
        "a:p b:r^ c:r^ wait:400 a:p b:r! c:r^ wait:400 a:p b:r! c:r^ wait:400 a:p b:r! c:r^";
    assert_eq!(ordered(by_hand), "normal |");
}
