//! The journal of one's own writes against a model, alone and as the source of a recovery.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use tenfold::hash::{CanonicalBytes, StableKey};
use tenfold::replica::Position;
use tenfold::replica::recovery::memory::{MemoryLog, Put};
use tenfold::replica::recovery::{
    Coverage, EntrySource, ForkPoint, Incomplete, JournalError, JournalFull, Read, Recovered,
    Recovery, WhenFull, WriteJournal, WriteJournalStats,
};

#[derive(Debug, Clone)]
enum Op {
    Begin,
    /// Of the places that are kept, the last: acknowledged.
    Acknowledge(u64, u64),
    /// The last: the write failed.
    Fail,
    Record(u64, u64),
    Trim(u64, u64),
    Settle(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (timeline, position) = (1..4_u64, 1..30_u64);
    let place = (timeline, position);
    prop_oneof![
        4 => Just(Op::Begin),
        4 => place.clone().prop_map(|(t, p)| Op::Acknowledge(t, p)),
        1 => Just(Op::Fail),
        3 => place.clone().prop_map(|(t, p)| Op::Record(t, p)),
        2 => place.clone().prop_map(|(t, p)| Op::Trim(t, p)),
        1 => place.prop_map(|(t, p)| Op::Settle(t, p)),
    ]
}

#[derive(Debug, Default)]
struct Model {
    /// Timeline, position, write, and whether its timeline is settled.
    writes: Vec<(u64, u64, u64, bool)>,
    begun: usize,
    /// By timeline, how many and up to where.
    forgotten: BTreeMap<u64, (u64, u64)>,
    stats: [u64; 3],
}

impl Model {
    fn record(&mut self, capacity: usize, timeline: u64, position: u64, write: u64) {
        self.writes.push((timeline, position, write, false));
        self.stats[0] += 1;
        if self.writes.len() > capacity {
            let (timeline, position, ..) = self.writes.remove(0);
            let forgotten = self.forgotten.entry(timeline).or_default();
            *forgotten = (forgotten.0 + 1, forgotten.1.max(position));
            self.stats[2] += 1;
        }
    }

    fn remove(&mut self, gone: impl Fn(&(u64, u64, u64, bool)) -> bool) {
        let held = self.writes.len();
        self.writes.retain(|write| !gone(write));
        self.stats[1] += (held - self.writes.len()) as u64;
    }

    fn apply(&mut self, capacity: usize, op: &Op, write: u64) {
        match *op {
            Op::Begin => self.begun += 1,
            Op::Fail => self.begun -= 1,
            Op::Acknowledge(timeline, position) => {
                self.begun -= 1;
                self.record(capacity, timeline, position, write);
            }
            Op::Record(timeline, position) => self.record(capacity, timeline, position, write),
            Op::Trim(timeline, upto) => {
                self.remove(|&(of, position, _, settled)| {
                    position <= upto && (of == timeline || of < timeline && settled)
                });
                let gone = |&(_, last): &(u64, u64)| last <= upto;
                if self.forgotten.get(&timeline).is_some_and(gone) {
                    self.forgotten.remove(&timeline);
                }
            }
            Op::Settle(timeline, fork) => {
                self.remove(|&(of, position, ..)| of == timeline && position > fork);
                for write in self.writes.iter_mut().filter(|write| write.0 == timeline) {
                    write.3 = true;
                }
                self.forgotten.remove(&timeline);
            }
        }
    }

    fn after(&self, fork: ForkPoint) -> Vec<(u64, u64)> {
        let lost = |&&(timeline, position, ..): &&(u64, u64, u64, bool)| {
            timeline == fork.timeline && position > fork.position.0
        };
        let lost = self.writes.iter().filter(lost);
        let mut lost: Vec<_> = lost
            .map(|&(_, position, write, _)| (position, write))
            .collect();
        lost.sort_by_key(|&(position, _)| position);
        lost
    }
}

fn after(journal: &WriteJournal<u64>, fork: ForkPoint) -> Vec<(u64, u64)> {
    let entries = journal.entries_after(fork).unwrap();
    let entries = entries.map(|read| match read {
        Ok(Read::Entry(entry)) => (entry.id.position.0, entry.write),
        other => panic!("{other:?}"),
    });
    entries.collect()
}

fn policy(number: u8) -> WhenFull {
    [WhenFull::ForgetOldest, WhenFull::Refuse, WhenFull::Block][usize::from(number)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_journal_holds_what_the_model_does(ops in prop::collection::vec(op(), 0..60), capacity in 1..8_usize, number in 0..3_u8) {
        let when_full = policy(number);
        let journal = WriteJournal::builder().capacity(capacity).when_full(when_full).seed(9);
        let journal = journal.build::<u64>().unwrap();
        let mut model = Model::default();
        let mut places = Vec::new();
        for (write, op) in (0..).zip(&ops) {
            match *op {
                Op::Begin => {
                    let full = model.writes.len() + model.begun >= capacity;
                    let mut begin = pin!(journal.begin_async());
                    match begin.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(Ok(place)) => {
                            prop_assert!(!full || when_full == WhenFull::ForgetOldest);
                            places.push(place);
                        }
                        Poll::Ready(Err(JournalFull { .. })) => {
                            prop_assert!(full && when_full == WhenFull::Refuse);
                            continue;
                        }
                        Poll::Pending => {
                            prop_assert!(full && when_full == WhenFull::Block);
                            continue;
                        }
                    }
                }
                Op::Acknowledge(timeline, position) => match places.pop() {
                    Some(place) => place.acknowledged(timeline, Position(position), write),
                    None => continue,
                },
                Op::Fail => {
                    if places.pop().is_none() {
                        continue;
                    }
                }
                Op::Record(timeline, position) => journal.record(timeline, Position(position), write),
                Op::Trim(timeline, upto) => journal.trim(timeline, Position(upto)),
                Op::Settle(timeline, position) => {
                    let fork = ForkPoint::new(timeline, Position(position));
                    journal.settle(&Recovered::declared(fork, "a test"));
                }
            }
            model.apply(capacity, op, write);
            let stats = journal.stats();
            prop_assert_eq!((stats.held, stats.begun), (model.writes.len() as u64, model.begun as u64));
            prop_assert!(stats.held <= capacity as u64);
            prop_assert_eq!([stats.recorded, stats.trimmed, stats.forgotten], model.stats);
            for timeline in 1..4 {
                for position in [0, 7, 15] {
                    let fork = ForkPoint::new(timeline, Position(position));
                    prop_assert_eq!(after(&journal, fork), model.after(fork));
                    let forgotten = model.forgotten.get(&timeline).filter(|(_, last)| *last > position);
                    let Coverage::Part(part) = journal.coverage(fork) else { panic!("one of many writers") };
                    match forgotten {
                        Some((count, _)) => prop_assert!(part.contains(&format!("without {count} ")), "{}", part),
                        None => prop_assert!(!part.contains("without"), "{}", part),
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_journal_has_is_recovered_when_the_disk_is_gone(
        lost in prop::collection::vec((0..5_u8, 0..4_u8), 1..20),
        since in prop::collection::vec(0..5_u8, 0..3),
        capacity in 1..24_usize,
        sole: bool,
    ) {
        let old = MemoryLog::new(1);
        old.write("k0", "before");
        let builder = WriteJournal::builder().capacity(capacity);
        let builder = if sole { builder.sole_writer() } else { builder };
        let journal = builder.build().unwrap();
        for (key, value) in &lost {
            let place = journal.begin().unwrap();
            let position = old.write(&format!("k{key}"), &value.to_string());
            place.acknowledged(1, position, put(&old, position));
        }
        let fork = ForkPoint::new(1, Position(1));
        let new = old.promote(fork.position);
        for key in &since {
            new.write(&format!("k{key}"), "since");
        }
        let run = || Recovery::after(fork).source("journal", &journal).run(&new);
        let report = run();
        let forgot = lost.len() > capacity;
        let conflicts = report.conflicts().len();
        match report.complete() {
            Ok(_) => prop_assert!(sole && !forgot && conflicts == 0),
            Err(Incomplete::Undecided(open)) => prop_assert!(sole && !forgot && open == conflicts as u64),
            Err(Incomplete::Lost(1)) => {
                let why = format!("{} writes up to here were forgotten", lost.len() - capacity);
                prop_assert!(sole && forgot && report.to_string().contains(&why), "{}", report);
            }
            Err(Incomplete::Unread { .. }) => prop_assert!(!sole, "{}", report),
            Err(other) => panic!("{other}"),
        }
        if !forgot {
            for key in 0..5 {
                let last = lost.iter().rev().find(|(of, _)| *of == key);
                let name = format!("k{key}");
                if let (Some((_, value)), false) = (last, since.contains(&key)) {
                    prop_assert_eq!(new.get(&name), Some(value.to_string()));
                }
            }
        }
        for key in &since {
            prop_assert_eq!(new.get(&format!("k{key}")), Some("since".to_owned()));
        }
        let again = run();
        prop_assert_eq!((again.recovered(), again.already()), (0, report.recovered()));
    }
}

/// What the old primary committed at this position.
fn put(old: &MemoryLog, position: Position) -> Put {
    let from = ForkPoint::new(1, Position(position.0 - 1));
    match old.entries_after(from).unwrap().next() {
        Some(Ok(Read::Entry(entry))) => entry.write,
        other => panic!("{other:?}"),
    }
}

/// A source that has all of the log is believed before one that has a part, whatever their order.
#[test]
fn a_journal_is_not_asked_when_the_log_was_read() {
    let old = MemoryLog::new(1);
    old.write("a", "1");
    let journal = WriteJournal::builder().build().unwrap();
    journal.record(1, Position(1), put(&old, Position(1)));
    let new = old.promote(Position(0));
    let report = Recovery::after(ForkPoint::new(1, Position(0)))
        .source("journal", &journal)
        .source("log", &old)
        .run(&new);
    assert_eq!(report.sources()[0].reached, None);
    assert_eq!(report.sources()[1].recovered, 1);
    assert!(report.complete().is_ok());
    // What was recovered need not be remembered.
    journal.settle(&report.complete().unwrap());
    assert_eq!(journal.stats().held, 0);
}

#[test]
fn a_thread_and_a_task_wait_until_there_is_room() {
    let journal = WriteJournal::builder()
        .capacity(2)
        .when_full(WhenFull::Block);
    let journal = journal.build::<u64>().unwrap();
    journal.record(1, Position(1), 1);
    let place = journal.begin().unwrap();
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut left = Box::pin(journal.begin_async());
    assert!(left.as_mut().poll(&mut context).is_pending());
    // Who leaves the line is not woken.
    drop(left);
    let mut stays = pin!(journal.begin_async());
    assert!(stays.as_mut().poll(&mut context).is_pending());
    assert!(stays.as_mut().poll(&mut context).is_pending());
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| journal.begin().unwrap().acknowledged(1, Position(9), 9));
        drop(place);
        journal.trim(1, Position(1));
        thread.join().unwrap();
    });
    assert!(woken.0.load(Ordering::SeqCst) >= 1);
    let Poll::Ready(Ok(place)) = stays.as_mut().poll(&mut context) else {
        panic!("there is room");
    };
    assert_eq!(journal.stats().begun, 1);
    drop(place);
    assert_eq!(after(&journal, ForkPoint::new(1, Position(0))), [(9, 9)]);
}

#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn threads_lose_no_write() {
    let journal = WriteJournal::builder()
        .capacity(64)
        .when_full(WhenFull::Block);
    let journal = journal.build::<u64>().unwrap();
    let last = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let place = journal.begin().unwrap();
                    let position = last.fetch_add(1, Ordering::SeqCst) + 1;
                    place.acknowledged(1, Position(position), position);
                }
            });
        }
        while journal.stats().recorded < 2000 {
            let upto = last.load(Ordering::SeqCst).saturating_sub(10);
            journal.trim(1, Position(upto));
            assert!(journal.stats().held <= 64);
            std::thread::yield_now();
        }
    });
    let WriteJournalStats {
        held,
        trimmed,
        forgotten,
        recorded,
        ..
    } = journal.stats();
    assert_eq!((recorded, forgotten, held + trimmed), (2000, 0, 2000));
    let left = after(&journal, ForkPoint::new(1, Position(0)));
    assert_eq!(left.len() as u64, held);
}

/// User code that fails or calls back while a write is noted.
#[test]
fn a_write_whose_bytes_panic_gives_its_place_back() {
    struct Bad(bool);
    impl StableKey for Bad {
        fn write_canonical(&self, _: &mut CanonicalBytes) {
            assert!(!self.0, "no bytes");
        }
    }
    let journal = WriteJournal::builder()
        .capacity(1)
        .when_full(WhenFull::Refuse);
    let journal = journal.build::<Bad>().unwrap();
    let place = journal.begin().unwrap();
    let full = journal.begin().unwrap_err();
    assert_eq!(full, JournalFull { capacity: 1 });
    let noted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        place.acknowledged(1, Position(1), Bad(true));
    }));
    assert!(noted.is_err());
    assert_eq!((journal.stats().begun, journal.stats().held), (0, 0));
    journal
        .begin()
        .unwrap()
        .acknowledged(1, Position(2), Bad(false));
    assert_eq!(journal.stats().held, 1);
}

#[test]
fn a_dropped_write_may_call_back() {
    struct Calls(Option<Arc<WriteJournal<Calls>>>);
    impl StableKey for Calls {
        fn write_canonical(&self, _: &mut CanonicalBytes) {}
    }
    impl Drop for Calls {
        fn drop(&mut self) {
            if let Some(journal) = self.0.take() {
                assert!(journal.stats().capacity == 1);
            }
        }
    }
    let journal = Arc::new(WriteJournal::builder().capacity(1).build().unwrap());
    journal.record(1, Position(1), Calls(Some(journal.clone())));
    // Forgotten, and then trimmed.
    journal.record(1, Position(2), Calls(Some(journal.clone())));
    journal.trim(1, Position(2));
    assert_eq!((journal.stats().forgotten, journal.stats().trimmed), (1, 1));
}

#[test]
fn a_journal_that_would_hold_nothing_is_refused() {
    let none = WriteJournal::builder().capacity(0).build::<u64>();
    assert_eq!(none.unwrap_err(), JournalError::Capacity);
}
