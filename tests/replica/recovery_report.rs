//! What a recovery reports: when it is complete, and what it says when it is not.

use std::convert::Infallible;

use tenfold::replica::Position;
use tenfold::replica::RecoveryOrder;
use tenfold::replica::recovery::memory::{MemoryLog, Put};
use tenfold::replica::recovery::{
    Applied, Conflict, Coverage, Decision, Digest, Entry, EntrySource, ForkPoint, Incomplete,
    LogRange, Read, Reading, Recovered, Recovery, ReplicationLog, Resolution, SourceEnd, Step,
};

/// A source that gives what it was made with, whatever it is asked for.
struct Given(Vec<Read<Put>>, Coverage);

impl EntrySource for Given {
    type Write = Put;
    type Error = Infallible;

    fn entries_after(
        &self,
        _: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Infallible> {
        Ok(self.0.iter().cloned().map(Ok))
    }

    fn coverage(&self, _: ForkPoint) -> Coverage {
        self.1.clone()
    }
}

fn whole(reads: Vec<Read<Put>>) -> Given {
    Given(reads, Coverage::Whole)
}

fn entry(timeline: u64, position: u64) -> Read<Put> {
    let put = Put {
        key: format!("k{position}"),
        over: None,
        value: Some("v".into()),
    };
    Read::Entry(Entry::new(timeline, Position(position), put, b"v"))
}

fn unreadable(position: u64) -> Read<Put> {
    Read::Unreadable {
        position: Position(position),
        why: "stored out of line".into(),
    }
}

fn partly(position: u64, rest: Option<Read<Put>>) -> Read<Put> {
    let rest = rest.map(|read| match read {
        Read::Entry(entry) => entry,
        other => panic!("{other:?}"),
    });
    Read::Partly {
        position: Position(position),
        rest,
        missing: "it made a table".into(),
    }
}

/// A primary whose answers are changed on their way.
struct Changed<'a> {
    log: &'a MemoryLog,
    refuses: Option<u64>,
    /// Somebody else writes to the row whenever it is about to be overwritten.
    races: bool,
    /// It forgets what it applied.
    forgets: bool,
}

impl<'a> Changed<'a> {
    fn not(log: &'a MemoryLog) -> Self {
        Self {
            log,
            refuses: None,
            races: false,
            forgets: false,
        }
    }
}

impl EntrySource for Changed<'_> {
    type Write = Put;
    type Error = Infallible;

    fn entries_after(
        &self,
        _: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Infallible> {
        Ok(std::iter::empty())
    }
}

impl ReplicationLog for Changed<'_> {
    fn last_applied(&self) -> Result<Position, Infallible> {
        self.log.last_applied()
    }

    fn apply(&self, entry: &Entry<Put>) -> Result<Applied, Infallible> {
        if self.refuses == Some(entry.id.position.0) {
            return Ok(Applied::Refused("table k has no primary key".into()));
        }
        self.log.apply(entry)
    }

    fn overwrite(&self, entry: &Entry<Put>, conflicts: &[Conflict]) -> Result<Applied, Infallible> {
        if self.races {
            let last = self.log.last_applied()?;
            self.log.write(&entry.write.key, &last.to_string());
        }
        self.log.overwrite(entry, conflicts)
    }

    fn digest(&self, range: LogRange) -> Result<Digest, Infallible> {
        if self.forgets {
            return Ok(Digest::default());
        }
        self.log.digest(range)
    }
}

const FORK: ForkPoint = ForkPoint {
    timeline: 1,
    position: Position(10),
};

fn recovery() -> Recovery<'static, Put> {
    Recovery::after(FORK)
}

#[test]
fn a_source_that_gives_what_it_was_not_asked_for_is_not_believed() {
    for (nonsense, says) in [
        (vec![entry(1, 12), entry(1, 11)], "behind 0/C, and gave 0/B"),
        (vec![entry(1, 10)], "behind 0/A, and gave 0/A"),
        (vec![entry(2, 12)], "should give timeline 1"),
        (vec![unreadable(9)], "behind 0/A, and gave 0/9"),
        (
            vec![entry(1, 12), Read::Upto(Position(11))],
            "behind 0/C, and gave 0/B",
        ),
    ] {
        let (source, new) = (whole(nonsense), MemoryLog::new(2));
        let other = whole(vec![entry(1, 11), entry(1, 12)]);
        let report = recovery().source("odd", &source).run(&new);
        let SourceEnd::Failed(why) = &report.sources()[0].end else {
            panic!("{report}")
        };
        assert!(why.contains(says), "{why}");
        assert!(matches!(report.complete(), Err(Incomplete::Unread { .. })));
        // And nothing of it keeps the next one from being read.
        let report = recovery()
            .source("odd", &source)
            .source("log", &other)
            .run(&MemoryLog::new(2));
        assert_eq!(report.sources()[1].end, SourceEnd::Read, "{report}");
    }
}

/// Of two writes at one position, as a journal may have them, one came before the source failed.
#[test]
fn what_shares_a_position_is_read_again_elsewhere() {
    struct Journal(Option<u64>);
    impl EntrySource for Journal {
        type Write = Put;
        type Error = std::io::Error;

        fn entries_after(
            &self,
            from: ForkPoint,
        ) -> Result<impl Iterator<Item = Reading<Self>> + Send, std::io::Error> {
            let entry = |key: &str, tag| {
                let put = Put {
                    key: key.into(),
                    over: None,
                    value: Some("v".into()),
                };
                Entry::new(1, Position(tag + 10), put, b"v").tagged(tag)
            };
            let mut entries = vec![entry("a", 1), entry("b", 2)];
            entries[1].id.position = entries[0].id.position;
            entries.retain(|entry| from.lost().contains(entry.id));
            let fails_behind = self.0;
            Ok(entries.into_iter().map(move |entry| match fails_behind {
                Some(tag) if entry.id.tag > tag => Err(std::io::Error::other("gone")),
                _ => Ok(Read::Entry(entry)),
            }))
        }
    }
    let new = MemoryLog::new(2);
    let (first, second) = (Journal(Some(1)), Journal(None));
    let report = recovery()
        .source("first", &first)
        .source("second", &second)
        .run(&new);
    assert_eq!(report.sources()[0].recovered, 1);
    // To a target that knows positions only, the other one looks like the first.
    assert_eq!(report.sources()[1].already, 2, "{report}");
}

#[test]
fn a_source_that_ends_before_what_was_acknowledged_is_not_complete() {
    let (source, new) = (whole(vec![entry(1, 11)]), MemoryLog::new(2));
    let run = |source| {
        recovery()
            .acknowledged(Position(15))
            .acknowledged(Position(12))
            .source("log", source)
            .run(&new)
    };
    let short = run(&source).complete().unwrap_err();
    assert_eq!(
        short,
        Incomplete::Unread {
            from: Position(11),
            upto: Some(Position(15))
        }
    );
    assert!(short.to_string().contains("up to 0/F"));
    // Nothing but commits of other tables came behind: the source says so.
    let source = whole(vec![entry(1, 11), Read::Upto(Position(15))]);
    assert!(run(&source).complete().is_ok());
}

#[test]
fn a_part_is_never_complete() {
    let source = Given(
        vec![entry(1, 11)],
        Coverage::Part("the writes of one client".into()),
    );
    let new = MemoryLog::new(2);
    let report = recovery().source("journal", &source).run(&new);
    assert_eq!(report.recovered(), 1);
    assert!(matches!(
        report.complete(),
        Err(Incomplete::Unread {
            from: Position(10),
            ..
        })
    ));
    assert!(
        report
            .to_string()
            .contains("has only the writes of one client")
    );
    let nobody = recovery().run(&new);
    assert!(matches!(nobody.complete(), Err(Incomplete::Unread { .. })));
}

#[test]
fn what_cannot_be_had_or_applied_is_named() {
    let source = whole(vec![
        entry(1, 11),
        unreadable(12),
        entry(1, 13),
        entry(1, 14),
    ]);
    let new = MemoryLog::new(2);
    let target = Changed {
        refuses: Some(13),
        ..Changed::not(&new)
    };
    let report = recovery().source("log", &source).run(&target);
    assert_eq!((report.recovered(), report.lost()), (2, 2));
    let losses: Vec<_> = report
        .losses()
        .map(|loss| (loss.position.0, &*loss.why))
        .collect();
    assert_eq!(
        losses,
        [
            (12, "stored out of line"),
            (13, "table k has no primary key")
        ]
    );
    assert_eq!(report.complete().unwrap_err(), Incomplete::Lost(2));
    let text = report.to_string();
    assert!(
        text.contains("LOST at 0/D (log): table k has no primary key"),
        "{text}"
    );
    assert!(
        text.ends_with("INCOMPLETE: 2 writes cannot be recovered"),
        "{text}"
    );
}

#[test]
fn lists_are_bounded_and_counts_are_not() {
    let source = whole((11..=30).map(unreadable).collect());
    let new = MemoryLog::new(2);
    let report = recovery().list_at_most(3).source("log", &source).run(&new);
    assert_eq!((report.losses().len(), report.lost()), (3, 20));
    assert!(report.to_string().contains("and 17 more lost writes"));

    let source = whole((11..=30).map(|position| entry(1, position)).collect());
    let new = MemoryLog::new(2);
    (11..=30).for_each(|key| {
        new.write(&format!("k{key}"), "since");
    });
    let report = recovery().list_at_most(3).source("log", &source).run(&new);
    assert_eq!((report.conflicts().len(), report.undecided()), (3, 20));
    assert_eq!(report.complete().unwrap_err(), Incomplete::Undecided(20));
    assert!(report.to_string().contains("and 17 more conflicts"));
}

#[test]
fn a_row_that_changes_whenever_it_is_decided_about_is_left_alone() {
    let source = whole(vec![entry(1, 11)]);
    let new = MemoryLog::new(2);
    new.write("k11", "since");
    let target = Changed {
        races: true,
        ..Changed::not(&new)
    };
    let mut asked = Vec::new();
    let report = recovery()
        .source("log", &source)
        .decide(|_, conflicts| {
            asked.push(conflicts[0].found.clone());
            Resolution::Overwrite
        })
        .run(&target);
    // Each time about what is found then.
    assert_eq!(asked.len(), 3);
    assert!(asked[0] != asked[1] && asked[1] != asked[2]);
    let conflict = report.conflicts().next().unwrap();
    assert_eq!(conflict.decision, Decision::Open);
    assert_eq!(conflict.conflicts[0].found, new.get("k11"));
    assert_eq!(report.complete().unwrap_err(), Incomplete::Undecided(1));
}

#[test]
fn a_target_that_has_not_what_it_applied_is_found_out() {
    let source = whole(vec![entry(1, 11)]);
    let new = MemoryLog::new(2);
    let target = Changed {
        forgets: true,
        ..Changed::not(&new)
    };
    let report = recovery().source("log", &source).run(&target);
    let Err(Incomplete::Digest { expected, found }) = report.complete() else {
        panic!("{report}")
    };
    assert_eq!((expected.count, found.count), (1, 0));
}

#[test]
fn a_report_reads_like_one() {
    let old = MemoryLog::new(1);
    for (key, value) in [("ada", "1"), ("bob", "2"), ("cy", "3")] {
        old.write(key, value);
    }
    old.delete("bob");
    let new = old.promote(Position(2));
    new.write("bob", "7");
    let report = Recovery::after(ForkPoint::new(1, Position(2)))
        .order(RecoveryOrder::DataFirst)
        .source("old primary's log", &old)
        .source("journal", &old)
        .run(&new);
    let digest = report.after().unwrap();
    let expected = format!(
        "recovery of timeline 1 behind 0/2, data first
  old primary's log: read to its end at 0/4; 1 recovered, 0 there already, 1 in conflict, 0 lost
  journal: not asked
  conflict at 0/4 (NOT DECIDED, left as found): bob: found 7, lost nothing
  on the target before: 0 entries, 0000000000000000; after: 1 entry, {:016x}
INCOMPLETE: 1 conflict not decided",
        digest.checksum
    );
    assert_eq!(report.to_string(), expected);
    // Decided, it is complete, and the old primary may be erased.
    let report = Recovery::after(ForkPoint::new(1, Position(2)))
        .source("old primary's log", &old)
        .decide(|_, _| Resolution::Overwrite)
        .run(&new);
    assert!(
        report
            .to_string()
            .contains("(overwritten): bob: found 7, lost nothing")
    );
    assert!(
        report.to_string().ends_with("complete: 2 writes recovered"),
        "{report}"
    );
    let recovered = report.complete().unwrap();
    assert_eq!(recovered.fork(), report.fork());
    assert!(!recovered.is_declared() && new.get("bob").is_none());
}

#[test]
fn what_may_be_erased_was_recovered_or_given_up_by_somebody() {
    assert_eq!(
        Recovered::nothing_lost(FORK, Position(9))
            .unwrap()
            .to_string(),
        "nothing was lost"
    );
    assert!(Recovered::nothing_lost(FORK, Position(10)).is_ok());
    let lost = Recovered::nothing_lost(FORK, Position(11)).unwrap_err();
    assert_eq!(
        lost,
        Incomplete::Unread {
            from: Position(10),
            upto: Some(Position(11))
        }
    );
    assert!(Recovered::declared(FORK, "no disk").is_declared());
}

#[test]
fn an_order_says_its_steps() {
    assert!(RecoveryOrder::DataFirst.salvages() && !RecoveryOrder::AvailabilityFirst.salvages());
    assert_eq!(RecoveryOrder::DataFirst.steps()[0], Step::Salvage);
    assert_eq!(RecoveryOrder::AvailabilityFirst.steps()[0], Step::Promote);
    for order in [RecoveryOrder::DataFirst, RecoveryOrder::AvailabilityFirst] {
        // Nothing is erased before it was recovered and counted again.
        assert!(
            order
                .steps()
                .ends_with(&[Step::Recover, Step::Verify, Step::Rejoin])
        );
    }
}

/// What no source has is a loss, whatever becomes of the rest.
#[test]
fn of_what_is_not_all_there_the_rest_is_applied_and_what_is_missing_is_lost() {
    let old = whole(vec![
        partly(11, Some(entry(1, 11))),
        partly(12, None),
        partly(13, Some(entry(1, 13))),
        entry(1, 14),
    ]);
    let log = MemoryLog::new(2);
    let new = Changed {
        refuses: Some(13),
        ..Changed::not(&log)
    };
    let report = recovery().source("old", &old).run(&new);
    assert_eq!((report.recovered(), report.lost()), (2, 3));
    assert_eq!(report.complete(), Err(Incomplete::Lost(3)));
    assert_eq!(log.get("k11").as_deref(), Some("v"));
    assert_eq!(log.get("k13"), None);
    let why: Vec<_> = report.losses().map(|loss| &*loss.why).collect();
    let refused = "table k has no primary key; and it made a table";
    assert_eq!(why, ["it made a table", "it made a table", refused]);
    // Nobody else has it, so nobody else is asked.
    let next = whole(vec![]);
    let again = recovery()
        .source("old", &old)
        .source("next", &next)
        .run(&new);
    assert_eq!(
        (again.recovered(), again.already(), again.lost()),
        (0, 2, 3)
    );
    assert_eq!(again.sources()[1].end, SourceEnd::NotAsked);
}
