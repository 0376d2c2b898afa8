//! The recovery of writes that a promotion lost, held against a naive model: random histories with a fork,
//! writes on both sides of it, sources with gaps and failures, and a target that fails at every step.
//!
//! `TENFOLD_SEEDS=20 cargo test --release --features replica --test replica recovery::` tries twenty times as many histories.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use proptest::prelude::*;
use tenfold::replica::Position;
use tenfold::replica::recovery::memory::{MemoryLog, Put};
use tenfold::replica::recovery::{
    Applied, AsyncEntries, AsyncEntrySource, AsyncReplicationLog, Conflict, Coverage, Decision,
    Digest, Entry, EntrySource, ForkPoint, Incomplete, LogRange, Read, Reading, Ready, Recovery,
    RecoveryReport, ReplicationLog, Resolution,
};
use tenfold::task::block_on;

/// What callers do: a key, and its new value or that it is deleted.
type Ops = Vec<(u8, Option<u8>)>;

#[derive(Debug, Clone)]
struct History {
    before: Ops,
    /// On the old primary, behind the fork.
    lost: Ops,
    /// On the new one, behind the fork.
    since: Ops,
}

fn history() -> impl Strategy<Value = History> {
    let ops =
        |most| prop::collection::vec((0..6_u8, prop::option::weighted(0.8, 0..5_u8)), 0..most);
    let all = (ops(12), ops(14), ops(5));
    all.prop_map(|(before, lost, since)| History {
        before,
        lost,
        since,
    })
}

impl History {
    fn fork(&self) -> ForkPoint {
        ForkPoint::new(1, Position(self.before.len() as u64))
    }

    /// The old primary and the new.
    fn live(&self) -> (MemoryLog, MemoryLog) {
        let old = MemoryLog::new(1);
        play(&old, &self.before);
        play(&old, &self.lost);
        let new = old.promote(self.fork().position);
        play(&new, &self.since);
        (old, new)
    }

    /// By a model that knows nothing of logs: keys that only the old line has written since the fork get their last value
    /// of there; the others do where `overwritten` says so.
    fn outcome(&self, overwritten: impl Fn(u8) -> bool) -> Outcome {
        let mut rows = BTreeMap::new();
        for (key, value) in self.before.iter().chain(&self.since) {
            rows.insert(*key, *value);
        }
        let both: BTreeSet<u8> = self.since.iter().map(|(key, _)| *key).collect();
        let mut outcome = Outcome::default();
        for (at, (key, value)) in (1..).zip(&self.lost) {
            let position = Position(self.before.len() as u64 + at);
            if both.contains(key) && !overwritten(*key) {
                outcome.conflicts.insert(position);
                continue;
            }
            rows.insert(*key, *value);
            outcome.recovered.insert(position);
        }
        outcome.rows = rows;
        outcome
    }
}

#[derive(Debug, Default)]
struct Outcome {
    rows: BTreeMap<u8, Option<u8>>,
    recovered: BTreeSet<Position>,
    conflicts: BTreeSet<Position>,
}

impl Outcome {
    /// The sum over what the old primary itself says it wrote there.
    fn digest(&self, old: &MemoryLog, fork: ForkPoint) -> Digest {
        let mut digest = Digest::default();
        for entry in lost(old, fork) {
            if self.recovered.contains(&entry.id.position) {
                digest.add(entry.fingerprint());
            }
        }
        digest
    }

    fn check(&self, new: &MemoryLog) {
        for key in 0..6 {
            let expected = self.rows.get(&key).copied().flatten();
            let expected = expected.map(|value| value.to_string());
            assert_eq!(new.get(&name(key)), expected, "key {key}");
        }
    }
}

fn play(log: &MemoryLog, ops: &Ops) {
    for (key, value) in ops {
        match value {
            Some(value) => log.write(&name(*key), &value.to_string()),
            None => log.delete(&name(*key)),
        };
    }
}

fn name(key: u8) -> String {
    format!("k{key}")
}

fn lost(old: &MemoryLog, fork: ForkPoint) -> Vec<Entry<Put>> {
    let entries = old.entries_after(fork).unwrap();
    let entries = entries.map(|read| match read {
        Ok(Read::Entry(entry)) => entry,
        other => panic!("{other:?}"),
    });
    entries.collect()
}

/// Everything a run changes and says, so that a second one can be compared.
fn state(new: &MemoryLog, fork: ForkPoint) -> (Vec<Option<String>>, Digest, Position) {
    let rows = (0..6).map(|key| new.get(&name(key))).collect();
    let digest = new.digest(fork.lost()).unwrap();
    (rows, digest, new.last_applied().unwrap())
}

#[derive(Debug, thiserror::Error)]
#[error("the server closed the connection")]
struct Gone;

/// A primary that fails at one call: before it has done it, or after, when only the answer is lost.
struct Failing<'a> {
    log: &'a MemoryLog,
    calls: AtomicU64,
    fails_at: u64,
    done: bool,
}

impl<'a> Failing<'a> {
    fn at(log: &'a MemoryLog, fails_at: u64, done: bool) -> Self {
        Self {
            log,
            calls: AtomicU64::new(0),
            fails_at,
            done,
        }
    }

    fn call<T>(&self, call: impl FnOnce() -> T) -> Result<T, Gone> {
        let fails = self.calls.fetch_add(1, Ordering::Relaxed) == self.fails_at;
        if fails && !self.done {
            return Err(Gone);
        }
        let answer = call();
        if fails { Err(Gone) } else { Ok(answer) }
    }
}

impl EntrySource for Failing<'_> {
    type Write = Put;
    type Error = Gone;

    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Gone> {
        let entries = lost(self.log, from).into_iter();
        Ok(entries.map(|entry| Ok(Read::Entry(entry))))
    }
}

impl ReplicationLog for Failing<'_> {
    fn last_applied(&self) -> Result<Position, Gone> {
        self.call(|| self.log.last_applied().unwrap())
    }

    fn apply(&self, entry: &Entry<Put>) -> Result<Applied, Gone> {
        self.call(|| self.log.apply(entry).unwrap())
    }

    fn overwrite(&self, entry: &Entry<Put>, conflicts: &[Conflict]) -> Result<Applied, Gone> {
        self.call(|| self.log.overwrite(entry, conflicts).unwrap())
    }

    fn digest(&self, range: LogRange) -> Result<Digest, Gone> {
        self.call(|| self.log.digest(range).unwrap())
    }
}

/// The same for futures, none of which is ready at once.
struct Slow<'a>(Failing<'a>);

async fn later() {
    let mut polled = false;
    poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl AsyncEntrySource for Slow<'_> {
    type Write = Put;
    type Error = Gone;

    async fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl AsyncEntries<Write = Put, Error = Gone> + Send, Gone> {
        later().await;
        self.0.entries_after(from).map(Ready)
    }
}

impl AsyncReplicationLog for Slow<'_> {
    async fn last_applied(&self) -> Result<Position, Gone> {
        self.0.last_applied()
    }

    async fn apply(&self, entry: &Entry<Put>) -> Result<Applied, Gone> {
        later().await;
        self.0.apply(entry)
    }

    async fn overwrite(&self, entry: &Entry<Put>, conflicts: &[Conflict]) -> Result<Applied, Gone> {
        later().await;
        self.0.overwrite(entry, conflicts)
    }

    async fn digest(&self, range: LogRange) -> Result<Digest, Gone> {
        later().await;
        self.0.digest(range)
    }
}

/// A source that cannot read some entries, and breaks off before one.
struct Holed<'a> {
    log: &'a MemoryLog,
    unreadable: BTreeSet<u64>,
    breaks_at: Option<u64>,
    part: bool,
}

impl<'a> Holed<'a> {
    fn new(log: &'a MemoryLog) -> Self {
        Self {
            log,
            unreadable: BTreeSet::new(),
            breaks_at: None,
            part: false,
        }
    }
}

impl EntrySource for Holed<'_> {
    type Write = Put;
    type Error = Gone;

    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Gone> {
        let mut entries = lost(self.log, from).into_iter();
        Ok(std::iter::from_fn(move || {
            let entry = entries.next()?;
            let position = entry.id.position;
            if self.breaks_at.is_some_and(|at| at <= position.0) {
                return Some(Err(Gone));
            }
            Some(Ok(if self.unreadable.contains(&position.0) {
                let why = "a value is stored out of line".to_owned();
                Read::Unreadable { position, why }
            } else {
                Read::Entry(entry)
            }))
        }))
    }

    fn coverage(&self, _: ForkPoint) -> Coverage {
        if self.part {
            Coverage::Part("some tables".into())
        } else {
            Coverage::Whole
        }
    }
}

fn cases() -> ProptestConfig {
    let factor = std::env::var("TENFOLD_SEEDS").ok();
    let factor: u32 = factor.map_or(1, |factor| factor.parse().unwrap());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300 * factor)
    }
}

/// The keys of which a mask has the bit.
fn in_mask(mask: u8) -> impl Fn(u8) -> bool + Copy {
    move |key| mask & 1 << key != 0
}

/// Conflicts about the keys of the mask are overwritten, others kept.
fn deciding(mask: u8) -> impl FnMut(&Entry<Put>, &[Conflict]) -> Resolution + Send {
    move |entry, _| {
        let key = entry.write.key[1..].parse().unwrap();
        if in_mask(mask)(key) {
            Resolution::Overwrite
        } else {
            Resolution::Keep
        }
    }
}

fn recover(history: &History, old: &MemoryLog, new: &MemoryLog) -> RecoveryReport {
    Recovery::after(history.fork()).source("log", old).run(new)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_was_lost_is_recovered_as_the_model_says_and_a_second_run_changes_nothing(history in history()) {
        let (old, new) = history.live();
        let fork = history.fork();
        let outcome = history.outcome(|_| false);
        let report = recover(&history, &old, &new);
        outcome.check(&new);
        let digest = outcome.digest(&old, fork);
        prop_assert_eq!(report.before(), Some(Digest::default()));
        prop_assert_eq!(report.after(), Some(digest));
        prop_assert_eq!(new.digest(fork.lost()).unwrap(), digest);
        prop_assert_eq!(report.recovered(), digest.count);
        let found: BTreeSet<_> = report.conflicts().map(|c| c.entry.position).collect();
        prop_assert_eq!(&found, &outcome.conflicts);
        prop_assert_eq!(report.complete().is_ok(), outcome.conflicts.is_empty());

        let between = state(&new, fork);
        let again = recover(&history, &old, &new);
        prop_assert_eq!(state(&new, fork), between);
        prop_assert_eq!(again.recovered(), 0);
        prop_assert_eq!(again.already(), digest.count);
        prop_assert_eq!(again.conflicts().len(), outcome.conflicts.len());
        prop_assert_eq!((again.before(), again.after()), (Some(digest), Some(digest)));
    }

    #[test]
    fn conflicts_become_what_was_decided_each_by_itself(history in history(), mask: u8) {
        let (old, new) = history.live();
        let fork = history.fork();
        let outcome = history.outcome(in_mask(mask));
        for run in 0..2 {
            let report = Recovery::after(fork).source("log", &old).decide(deciding(mask)).run(&new);
            outcome.check(&new);
            prop_assert_eq!(report.after(), Some(outcome.digest(&old, fork)));
            // A person has decided about every one, so the recovery is complete.
            prop_assert_eq!(report.undecided(), 0);
            prop_assert!(report.complete().is_ok(), "{}", report);
            let kept = report.conflicts().filter(|c| c.decision == Decision::Kept);
            prop_assert_eq!(kept.count(), outcome.conflicts.len());
            if run == 1 {
                prop_assert_eq!(report.recovered(), 0);
            }
        }
    }

    #[test]
    fn a_run_after_a_crash_at_any_step_ends_where_one_without_does(history in history(), mask: u8, done: bool, tasks: bool) {
        let outcome = history.outcome(in_mask(mask));
        let fork = history.fork();
        for step in 0.. {
            let (old, new) = history.live();
            let failing = Failing::at(&new, step, done);
            let plan = Recovery::after(fork).source("log", &old).decide(deciding(mask));
            let report = if tasks {
                block_on(plan.run_async(&Slow(failing)))
            } else {
                plan.run(&failing)
            };
            let Some(stopped) = report.stopped() else {
                outcome.check(&new);
                break;
            };
            prop_assert!(stopped.why.contains("closed the connection"));
            prop_assert!(matches!(report.complete(), Err(Incomplete::Stopped(_))));
            // All before the step were dealt with, none behind it was begun.
            let reached = new.digest(LogRange { upto: stopped.position, ..fork.lost() }).unwrap();
            prop_assert_eq!(new.digest(fork.lost()).unwrap(), reached);
            let known = new.digest(LogRange { upto: Position(stopped.position.0.saturating_sub(1)), ..fork.lost() }).unwrap();
            prop_assert!(known.count <= report.recovered());

            let report = Recovery::after(fork).source("log", &old).decide(deciding(mask)).run(&new);
            outcome.check(&new);
            prop_assert_eq!(report.after(), Some(outcome.digest(&old, fork)));
            prop_assert!(report.complete().is_ok(), "{}", report);
        }
    }

    #[test]
    fn threads_and_tasks_recover_alike(history in history(), mask: u8, fails_at in 0..20_u64) {
        let (old, one) = history.live();
        let two = old.promote(history.fork().position);
        play(&two, &history.since);
        let plan = || Recovery::after(history.fork()).decide(deciding(mask));
        let source = Failing::at(&old, u64::MAX, false);
        let slow = Slow(Failing::at(&old, u64::MAX, false));
        let threads = plan().source("log", &source).run(&Failing::at(&one, fails_at, true));
        let target = Slow(Failing::at(&two, fails_at, true));
        let tasks = block_on(plan().async_source("log", &slow).run_async(&target));
        prop_assert_eq!(threads, tasks);
        prop_assert_eq!(state(&one, history.fork()), state(&two, history.fork()));
    }

    #[test]
    fn what_one_source_cannot_give_the_next_one_does(
        history in history(),
        holes in prop::collection::btree_set(0..26_u64, 0..4),
        first_breaks in prop::option::of(0..26_u64),
        second_holes in prop::collection::btree_set(0..26_u64, 0..4),
        part: bool,
    ) {
        let (old, new) = history.live();
        let fork = history.fork();
        let end = fork.position.0 + history.lost.len() as u64;
        let first = Holed { unreadable: holes.clone(), breaks_at: first_breaks, part, ..Holed::new(&old) };
        let second = Holed { unreadable: second_holes.clone(), ..Holed::new(&old) };
        let report = Recovery::after(fork)
            .source("first", &first)
            .source("second", &second)
            .decide(|_, _| Resolution::Overwrite)
            .run(&new);
        let first_has = |at: u64| !holes.contains(&at) && first_breaks.is_none_or(|breaks| at < breaks);
        let missing: BTreeSet<_> = (fork.position.0 + 1..=end)
            .filter(|at| !first_has(*at) && second_holes.contains(at))
            .map(Position)
            .collect();
        let lost: BTreeSet<_> = report.losses().map(|loss| loss.position).collect();
        prop_assert_eq!(&lost, &missing, "{}", report);
        if missing.is_empty() && !part {
            // In order, whoever gave which.
            history.outcome(|_| true).check(&new);
        }
        prop_assert_eq!(report.complete().is_ok(), missing.is_empty(), "{}", report);
        prop_assert_eq!(report.recovered(), history.lost.len() as u64 - missing.len() as u64);
    }
}
