//! What users of other session stores complained of, and what an attacker would try, as
//! tests named after their stories.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tenfold::session::{
    CreateError, CycleError, LogRead, MemoryStore, MemoryStoreBuilder, OnFull, PerUser,
    RestoreError, RevocationFile, RevocationLog, Revocations, SaveError, SessionMap, SessionToken,
    SnapshotError, UserId, WallClock,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const NOTHING: &[u8] = b"";

/// A store of minutes, and its clock.
fn timed() -> (ManualClock, MemoryStoreBuilder) {
    let clock = ManualClock::new();
    let builder = MemoryStore::builder()
        .idle(60 * SECOND)
        .absolute(300 * SECOND)
        .touch_every(5 * SECOND)
        .clock(WallClock::manual(&clock, 1_700_000_000));
    (clock, builder)
}

fn store() -> MemoryStore {
    timed().1.build().unwrap()
}

/// A request was slow, its user logged out meanwhile, and its save logged them in again:
/// delete, then insert-or-update.
#[test]
fn a_late_save_does_not_undo_a_logout() {
    let store = store();
    let (token, version) = store.create(Some("ada".into()), NOTHING).unwrap();
    assert!(store.revoke(&token).unwrap());
    assert!(!store.revoke(&token).unwrap());
    let saved = store.save(&token, version, b"still here".as_slice());
    assert_eq!(saved, Err(SaveError::Gone));
    assert!(store.load(&token).is_none());
    assert!(store.modify(&token, |_| (Some(vec![1]), ())).is_err());
    assert!(matches!(store.cycle(&token), Err(CycleError::Gone)));
    assert!(store.sessions_of("ada").is_empty());
    assert!(store.is_empty());
}

/// Of two tabs that each changed their own key, one lost: the whole record was written.
#[test]
fn two_threads_that_change_different_keys_both_get_their_way() {
    const EACH: usize = 1000;
    let store = store();
    let (token, _) = store.create(None, SessionMap::new().to_bytes()).unwrap();
    thread::scope(|scope| {
        for name in ["left", "right"] {
            let (store, token) = (&store, &token);
            scope.spawn(move || {
                for key in 0..EACH {
                    let loaded = store.load(token).unwrap();
                    let mut map = SessionMap::from_bytes(&loaded).unwrap();
                    map.insert(&format!("{name} {key}"), b"x");
                    store.merge(token, &map).unwrap();
                }
            });
        }
    });
    let map = SessionMap::from_bytes(&store.load(&token).unwrap()).unwrap();
    assert_eq!(map.iter().count(), 2 * EACH);
}

/// An attacker planted a token of their own making, and the store took it.
#[test]
fn a_token_that_the_store_did_not_draw_opens_nothing_and_becomes_nothing() {
    let store = store();
    let planted = SessionToken::parse(&"Y".repeat(43)).unwrap();
    assert!(store.load(&planted).is_none());
    assert!(matches!(
        store.log_in(&planted, "ada"),
        Err(CycleError::Gone)
    ));
    assert_eq!(
        store.modify(&planted, |_| (Some(vec![1]), ())),
        Err(SaveError::Gone)
    );
    assert!(store.is_empty());
}

/// Fixation: who knew the token from before the log-in was logged in too.
#[test]
fn after_a_log_in_the_token_from_before_is_good_for_nothing() {
    let (clock, builder) = timed();
    let store = builder.build().unwrap();
    let (before, version) = store.create(None, b"cart".as_slice()).unwrap();
    clock.advance(50 * SECOND);
    let after = store.log_in(&before, "ada").unwrap();
    assert!(store.load(&before).is_none());
    assert_eq!(store.save(&before, version, NOTHING), Err(SaveError::Gone));
    let loaded = store.load(&after).unwrap();
    assert_eq!(&loaded[..], b"cart");
    assert_eq!(loaded.user().map(UserId::as_str), Some("ada"));
    assert_eq!(loaded.created(), 1_700_000_050);
    // Another user on the same browser: the first one's list has it no more.
    let other = store.log_in(&after, "bob").unwrap();
    assert!(store.sessions_of("ada").is_empty());
    assert_eq!(store.sessions_of("bob")[0].key, other.key());
    assert_eq!(store.len(), 1);
}

/// Reads did not prolong a session, and a busy one lived for ever.
#[test]
fn reading_prolongs_a_session_up_to_its_absolute_end() {
    let (clock, builder) = timed();
    let store = builder.build().unwrap();
    let (read, _) = store.create(None, NOTHING).unwrap();
    let (peeked, _) = store.create(None, NOTHING).unwrap();
    clock.advance(59 * SECOND);
    assert!(store.load(&read).is_some() && store.peek(&peeked).is_some());
    clock.advance(SECOND);
    assert!(store.load(&read).is_some());
    assert!(store.load(&peeked).is_none());
    for _ in 0..4 {
        clock.advance(50 * SECOND);
        let _ = store.load(&read);
    }
    // 260 s. It would be idle until 320 s, and is over at 300 s.
    assert_eq!(store.load(&read).unwrap().ends(), 1_700_000_300);
    clock.advance(39 * SECOND);
    assert!(store.load(&read).is_some());
    clock.advance(SECOND);
    assert!(store.load(&read).is_none());
    assert_eq!(store.sweep(usize::MAX).removed, 2);
    assert!(store.is_empty());
}

/// Expired sessions were never freed, or kept others out.
#[test]
fn what_has_expired_makes_room() {
    let (clock, builder) = timed();
    let store = builder.max_sessions(100, OnFull::Refuse).build().unwrap();
    for user in 0..100 {
        store
            .create(Some(format!("{user}").into()), NOTHING)
            .unwrap();
    }
    let refused = store.create(None, NOTHING);
    assert!(matches!(refused, Err(CreateError::Full { max: 100 })));
    clock.advance(60 * SECOND);
    store.create(None, NOTHING).unwrap();
    assert_eq!(store.len(), 1);
    assert_eq!(store.stats().refused, 1);
}

#[test]
fn a_full_store_lets_the_idle_go_if_told_to() {
    let (clock, builder) = timed();
    let store = builder.max_sessions(50, OnFull::EvictIdle).build().unwrap();
    for _ in 0..500 {
        clock.advance(Duration::from_millis(10));
        let (token, _) = store.create(None, NOTHING).unwrap();
        assert!(store.load(&token).is_some());
        assert!(store.len() <= 50);
    }
    assert_eq!(store.stats().evicted, 450);
}

#[test]
fn a_user_has_as_many_sessions_as_they_may() {
    let (clock, builder) = timed();
    let store = builder.max_per_user(2, PerUser::Refuse).build().unwrap();
    let (first, _) = store.create(Some("ada".into()), NOTHING).unwrap();
    clock.advance(SECOND);
    store.create(Some("ada".into()), NOTHING).unwrap();
    let third = store.create(Some("ada".into()), NOTHING);
    assert!(matches!(third, Err(CreateError::UserFull { max: 2 })));
    let (anonymous, _) = store.create(None, NOTHING).unwrap();
    let third = store.log_in(&anonymous, "ada");
    assert!(matches!(third, Err(CycleError::UserFull { max: 2 })));
    assert!(store.load(&anonymous).is_some(), "it stays what it was");
    // To log in again on one of the two is no third.
    let again = store.log_in(&first, "ada").unwrap();
    store.revoke(&again).unwrap();
    store.log_in(&anonymous, "ada").unwrap();
    assert_eq!((store.sessions_of("ada").len(), store.len()), (2, 2));
}

#[test]
fn logged_out_everywhere_else_means_everywhere_else() {
    let store = store();
    let begin = |user: &str| store.create(Some(user.into()), NOTHING).unwrap().0;
    let (here, there, other) = (begin("ada"), begin("ada"), begin("bob"));
    assert_eq!(store.revoke_user("ada", Some(&here)).unwrap(), 1);
    assert!(store.load(&here).is_some() && store.load(&other).is_some());
    assert!(store.load(&there).is_none());
    // Somebody else's session is not a way to be spared.
    assert_eq!(store.revoke_user("ada", Some(&other)).unwrap(), 1);
    assert!(store.load(&here).is_none() && store.load(&other).is_some());
    // Who logs in afterwards is not caught by it.
    let later = begin("ada");
    assert!(store.load(&later).is_some());
    assert_eq!(store.len(), 2);
}

/// Cycled, begun and logged in on other threads while their user is logged out
/// everywhere: everything that existed before is gone when that returns.
#[test]
fn no_session_escapes_a_concurrent_revoke_user() {
    let store = store();
    let done = AtomicBool::new(false);
    let held = Mutex::new(Vec::new());
    let finished = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (token, _) = store.create(None, NOTHING).unwrap();
                    let mut tokens = vec![store.log_in(&token, "ada").unwrap()];
                    // Known before the next revocation begins, under this or a later token.
                    for _ in 0..10 {
                        match store.cycle(&tokens[tokens.len() - 1]) {
                            Ok(token) => tokens.push(token),
                            Err(_) => break,
                        }
                    }
                    let round = finished.load(Ordering::SeqCst);
                    held.lock().unwrap().push((round, tokens));
                }
            });
        }
        for round in 1..=50 {
            thread::yield_now();
            store.revoke_user("ada", None).unwrap();
            finished.store(round, Ordering::SeqCst);
            held.lock()
                .unwrap()
                .retain(|(until, tokens): &(usize, Vec<_>)| {
                    // Drawn before the last revocation but one had returned: so before the
                    // last one began.
                    let is_old = until + 1 < round;
                    assert!(!is_old || tokens.iter().all(|token| store.load(token).is_none()));
                    !is_old
                });
        }
        done.store(true, Ordering::Relaxed);
    });
    store.revoke_user("ada", None).unwrap();
    assert!(store.sessions_of("ada").is_empty());
    let held = held.into_inner().unwrap();
    let mut tokens = held.iter().flat_map(|(_, tokens)| tokens);
    assert!(tokens.all(|token| store.load(token).is_none()));
    assert!(store.is_empty());
}

/// Whoever changes data may look into the store, change it, and panic.
#[test]
fn no_lock_is_held_while_data_is_changed() {
    let store = store();
    let (token, _) = store.create(Some("ada".into()), b"1".as_slice()).unwrap();
    let mut calls = 0;
    let changed = store.modify(&token, |data| {
        calls += 1;
        if calls == 1 {
            let version = store.load(&token).unwrap().version();
            store.save(&token, version, b"2".as_slice()).unwrap();
        }
        (Some([data, b"!"].concat()), ())
    });
    assert_eq!((changed, calls), (Ok(()), 2));
    assert_eq!(&store.load(&token).unwrap()[..], b"2!");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.modify(&token, |_| -> (Option<Vec<u8>>, ()) {
            panic!("in the closure")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(&store.load(&token).unwrap()[..], b"2!");
    let gone = store.modify(&token, |_| {
        store.revoke_user("ada", None).unwrap();
        (Some(vec![1]), ())
    });
    assert_eq!(gone, Err(SaveError::Gone));
}

#[test]
fn too_much_data_is_refused_and_changes_nothing() {
    let store = timed().1.max_data(4).build().unwrap();
    let refused = store.create(None, b"12345".as_slice());
    assert!(matches!(
        refused,
        Err(CreateError::TooLarge { len: 5, max: 4 })
    ));
    let (token, version) = store.create(None, b"1234".as_slice()).unwrap();
    let refused = store.save(&token, version, b"12345".as_slice());
    assert_eq!(refused, Err(SaveError::TooLarge { len: 5, max: 4 }));
    let mut map = SessionMap::new();
    map.insert("key", "value");
    assert_eq!(store.merge(&token, &map), Err(SaveError::NotAMap));
    assert_eq!(&store.load(&token).unwrap()[..], b"1234");
}

#[test]
fn nothing_that_is_printed_opens_a_session() {
    let store = store();
    let (token, _) = store
        .create(Some("ada".into()), b"secret".as_slice())
        .unwrap();
    let loaded = store.load(&token).unwrap();
    let key = token.key();
    let printed = format!(
        "{token:?} {key:?} {key} {store:?} {loaded:?} {}",
        store.stats()
    );
    assert!(!printed.contains(&token.reveal()) && !printed.contains("secret"));
    assert!(!printed.contains("[115, 101"), "nor its bytes");
    assert!(SessionToken::parse(&key.to_string()).is_none());
}

/// A restart logged everybody out.
#[test]
fn a_restart_logs_nobody_out_and_nobody_in() {
    let (clock, builder) = timed();
    let log = Log::default();
    let store = builder.revocation_log(log.clone()).build().unwrap();
    let begin = |user: &str| store.create(Some(user.into()), user.as_bytes()).unwrap().0;
    let (stays, out, cycled) = (begin("ada"), begin("ada"), begin("ada"));
    let (everywhere, spared) = (begin("bob"), begin("bob"));
    clock.advance(10 * SECOND);
    let mut bytes = Vec::new();
    assert_eq!(store.snapshot(&mut bytes).unwrap().sessions, 5);
    for token in [&stays, &out, &cycled, &everywhere, &spared] {
        let cookie = token.reveal();
        assert!(!contains(&bytes, cookie.as_bytes()));
    }
    // All of that after the snapshot.
    assert!(store.revoke(&out).unwrap());
    let lost = store.cycle(&cycled).unwrap();
    store.revoke_user("bob", Some(&spared)).unwrap();

    let (_, again) = timed();
    let mut revocations = Revocations::new();
    revocations.read(&log.0.lock().unwrap()[..]).unwrap();
    let (again, restored) = again.restore(&bytes[..], Some(revocations)).unwrap();
    let log_read = restored.log.unwrap();
    assert_eq!((log_read.records, log_read.damaged), (3, 0));
    assert_eq!((restored.sessions, restored.revoked), (2, 3));
    assert!(again.load(&stays).is_some() && again.load(&spared).is_some());
    for token in [&out, &cycled, &lost, &everywhere] {
        assert!(again.load(token).is_none());
    }
    assert_eq!(again.sessions_of("bob").len(), 1);
    // A log-in after the restart is after all that the log knows, whatever the clock says.
    let (later, _) = again.create(Some("bob".into()), NOTHING).unwrap();
    let mut second = Vec::new();
    again.snapshot(&mut second).unwrap();
    let mut revocations = Revocations::new();
    revocations.read(&log.0.lock().unwrap()[..]).unwrap();
    let (third, _) = timed().1.restore(&second[..], Some(revocations)).unwrap();
    assert!(third.load(&later).is_some() && third.load(&spared).is_some());
    again.revoke(&later).unwrap();
    // The one that was spared is not spared by the next.
    again.revoke_user("bob", None).unwrap();
    assert!(again.load(&spared).is_none());

    // Without the log they are back, and that is said.
    let (_, blind) = timed();
    let (blind, restored) = blind.restore(&bytes[..], None).unwrap();
    assert_eq!((restored.sessions, restored.log), (5, None));
    assert!(restored.to_string().contains("WITHOUT"));
    assert!(blind.load(&out).is_some());
}

/// A form that was loaded before a restart must not win over a save of after it.
#[test]
fn no_version_comes_again_after_a_restart() {
    let (clock, builder) = timed();
    let store = builder.build().unwrap();
    let (token, first) = store.create(None, b"a".as_slice()).unwrap();
    let mut bytes = Vec::new();
    store.snapshot(&mut bytes).unwrap();
    let lost = store.save(&token, first, b"b".as_slice()).unwrap();
    drop(clock);
    // Its clock shows no later time than the first one's.
    let (store, _) = timed().1.restore(&bytes[..], None).unwrap();
    for stale in [first, lost] {
        let saved = store.save(&token, stale, b"c".as_slice());
        assert!(matches!(saved, Err(SaveError::Conflict { current }) if current > lost));
    }
}

/// Copied, and cycled from a shard that was still to come to one that had been: the
/// user was logged out, or the old token back.
#[test]
fn what_is_cycled_or_revoked_while_a_snapshot_is_written_is_so_in_it() {
    /// Does something at the first write: then some shards have been copied.
    struct Meddler<'a>(Option<Box<dyn FnOnce() + 'a>>, Vec<u8>);
    impl Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(meddle) = self.0.take() {
                meddle();
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let store = store();
    let data = [7; 200];
    let begin = |user: &str| store.create(Some(user.into()), &data[..]).unwrap().0;
    let cycled: Vec<_> = (0..500).map(|_| begin("ada")).collect();
    let revoked: Vec<_> = (0..500).map(|_| begin("bob")).collect();
    let everywhere: Vec<_> = (0..500).map(|_| begin("eve")).collect();
    let fresh = Mutex::new(Vec::new());
    let meddle = || {
        for token in &cycled {
            let once = store.cycle(token).unwrap();
            fresh.lock().unwrap().push(store.cycle(&once).unwrap());
        }
        for token in &revoked {
            store.revoke(token).unwrap();
        }
        store.revoke_user("eve", None).unwrap();
        assert!(matches!(
            store.snapshot(io::sink()),
            Err(SnapshotError::Busy)
        ));
    };
    let mut meddler = Meddler(Some(Box::new(meddle)), Vec::new());
    let written = store.snapshot(&mut meddler).unwrap();
    assert!(written.revocations >= 1501, "{written:?}");
    let bytes = std::mem::take(&mut meddler.1);
    drop(meddler);
    let (again, restored) = timed().1.restore(&bytes[..], None).unwrap();
    assert_eq!(restored.sessions, 500);
    assert!(
        fresh
            .into_inner()
            .unwrap()
            .iter()
            .all(|token| again.load(token).is_some())
    );
    for token in cycled.iter().chain(&revoked).chain(&everywhere) {
        assert!(again.load(token).is_none());
    }
    // The next may be written.
    assert_eq!(store.snapshot(io::sink()).unwrap().revocations, 0);
}

#[test]
fn a_snapshot_that_is_not_whole_makes_no_store() {
    let store = store();
    for user in ["ada", "bob"] {
        store.create(Some(user.into()), b"data".as_slice()).unwrap();
    }
    let mut bytes = Vec::new();
    store.snapshot(&mut bytes).unwrap();
    let restore = |bytes: &[u8]| timed().1.restore(bytes, None).map(|(_, restored)| restored);
    assert_eq!(restore(&bytes).unwrap().sessions, 2);
    let mut frames = 0;
    for end in 1..bytes.len() {
        match restore(&bytes[..end]) {
            Err(RestoreError::Truncated { frames: found }) => {
                assert!(found >= frames);
                frames = found;
            }
            other => panic!("{end}: {other:?}"),
        }
    }
    assert_eq!(frames, 3, "a header and two sessions");
    assert!(matches!(restore(&[]), Err(RestoreError::Magic)));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = restore(&flipped).unwrap_err();
        let is_right = match at {
            0..8 => matches!(error, RestoreError::Magic),
            8..10 => matches!(error, RestoreError::Version { supported: 1, .. }),
            // A length that claims more than there is.
            _ => matches!(
                error,
                RestoreError::Checksum { .. } | RestoreError::Truncated { .. }
            ),
        };
        assert!(is_right, "{at}: {error:?}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(
        restore(&longer),
        Err(RestoreError::Malformed { .. })
    ));
}

#[test]
fn a_snapshot_that_cannot_be_written_hinders_no_later_one() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let store = store();
    store.create(None, NOTHING).unwrap();
    assert!(matches!(store.snapshot(Full), Err(SnapshotError::Io(_))));
    assert_eq!(store.snapshot(io::sink()).unwrap().sessions, 1);
}

#[test]
fn a_store_with_less_room_keeps_those_that_were_used_last() {
    let (clock, builder) = timed();
    let store = builder.build().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..10 {
        clock.advance(SECOND);
        tokens.push(store.create(None, NOTHING).unwrap().0);
    }
    let mut bytes = Vec::new();
    store.snapshot(&mut bytes).unwrap();
    let (_, small) = timed();
    let small = small.max_sessions(4, OnFull::Refuse);
    let (again, restored) = small.restore(&bytes[..], None).unwrap();
    assert_eq!(
        (restored.sessions, restored.dropped, again.len()),
        (4, 6, 4)
    );
    assert!(tokens[6..].iter().all(|token| again.load(token).is_some()));
}

/// The log's disk is full.
#[test]
fn a_revocation_that_is_not_logged_holds_and_is_said_not_to_last() {
    let log = Log::default();
    let store = timed().1.revocation_log(log.clone()).build().unwrap();
    let (token, _) = store.create(Some("ada".into()), NOTHING).unwrap();
    let (other, _) = store.create(Some("ada".into()), NOTHING).unwrap();
    log.1.store(true, Ordering::Relaxed);
    assert!(matches!(store.cycle(&token), Err(CycleError::Log(_))));
    assert!(store.load(&token).is_some(), "it keeps its token");
    assert!(store.revoke(&token).is_err());
    assert!(store.load(&token).is_none());
    assert!(store.revoke_user("ada", None).is_err());
    assert!(store.load(&other).is_none());
}

#[test]
fn a_record_that_was_cut_short_does_not_hide_those_behind_it() {
    let path = std::env::temp_dir().join(format!("tenfold-revocations-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let (store, mut bytes) = (store(), Vec::new());
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(store.create(None, NOTHING).unwrap().0);
    }
    store.snapshot(&mut bytes).unwrap();
    for (round, token) in tokens.iter().enumerate() {
        let file = RevocationFile::open(&path).unwrap();
        let builder = timed().1.revocation_log(file);
        let (store, _) = builder.restore(&bytes[..], None).unwrap();
        assert!(store.revoke(token).unwrap());
        if round == 1 {
            // The crash.
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(64 + 20).unwrap();
        }
    }
    let mut revocations = Revocations::new();
    revocations
        .read(std::fs::File::open(&path).unwrap())
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let (again, restored) = timed().1.restore(&bytes[..], Some(revocations)).unwrap();
    let expected = (2, 1);
    let LogRead {
        records, damaged, ..
    } = restored.log.unwrap();
    assert_eq!((records, damaged), expected);
    let lives: Vec<_> = tokens
        .iter()
        .map(|token| again.load(token).is_some())
        .collect();
    assert_eq!(lives, [false, true, false]);
}

#[test]
fn settings_that_make_no_sense_build_nothing() {
    let wrong = [
        MemoryStore::builder().idle(Duration::ZERO),
        MemoryStore::builder().absolute(Duration::ZERO),
        MemoryStore::builder().absolute(60 * SECOND),
        MemoryStore::builder().idle(Duration::MAX),
        MemoryStore::builder().touch_every(1800 * SECOND),
        MemoryStore::builder().max_sessions(0, OnFull::Refuse),
        MemoryStore::builder().max_sessions(usize::MAX, OnFull::Refuse),
        MemoryStore::builder().max_per_user(0, PerUser::Refuse),
    ];
    for builder in wrong {
        let said = format!("{builder:?}");
        assert!(builder.build().is_err(), "{said}");
    }
}

/// A log in memory that can be made to fail.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl RevocationLog for Log {
    fn append(&self, record: &[u8; 64]) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().unwrap().extend_from_slice(record);
        Ok(())
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
