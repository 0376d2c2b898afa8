//! A server that is dead, hangs, is not there yet or answers rubbish: nothing is known then, and that is said.

use std::time::{Duration, Instant};

use tenfold::cache::tier::BreakerState;
use tenfold::redis::RedisStore;
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, RevokeError, SaveError, SessionToken, Unavailable,
    Version,
};
use tenfold::time::ManualClock;

use crate::server::{Server, tell};
use crate::session_store::{begin, run};
use crate::{patient, rubbish};

#[test]
fn while_the_server_is_dead_nothing_is_known_and_then_all_is_there_again() {
    run(async {
        let clock = ManualClock::new();
        let mut server = Server::start_durable();
        let store = patient(&server.url())
            .breaker(20, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;

        server.kill();
        let begun = Instant::now();
        assert_every_call_fails(&store, &token, version, |why| {
            matches!(why, Unavailable::Unreachable(_))
        })
        .await;
        tell(format_args!(
            "dead: {CALLS} calls failed in {:?}",
            begun.elapsed()
        ));
        while store.breaker() == BreakerState::Closed {
            assert!(store.load(&token).await.is_err());
        }
        // Nobody waits for it any more.
        let begun = Instant::now();
        assert_every_call_fails(&store, &token, version, |why| {
            matches!(why, Unavailable::Suspended { .. }) && !why.may_have_happened()
        })
        .await;
        tell(format_args!(
            "left alone: {CALLS} calls failed in {:?}",
            begun.elapsed()
        ));

        server.resume();
        clock.advance(Duration::from_secs(1));
        let begun = Instant::now();
        let loaded = store.load(&token).await.unwrap().unwrap();
        tell(format_args!("back: loaded after {:?}", begun.elapsed()));
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        assert_eq!(store.breaker(), BreakerState::Closed);
        store.save(&token, version, b"2".as_slice()).await.unwrap();
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
    });
}

#[test]
fn a_server_that_comes_back_at_once_fails_no_load() {
    run(async {
        let mut server = Server::start_durable();
        let store = patient(&server.url()).build().unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        for _ in 0..3 {
            server.kill();
            server.resume();
            let begun = Instant::now();
            assert!(store.load(&token).await.unwrap().is_some());
            tell(format_args!(
                "restarted: loaded after {:?}",
                begun.elapsed()
            ));
        }
        // What it kept includes whose session it is.
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
    });
}

#[test]
fn a_server_that_hangs_is_given_up_in_time_and_taken_up_again() {
    run(async {
        let clock = ManualClock::new();
        let server = Server::start();
        let limit = Duration::from_millis(200);
        let store = RedisStore::builder(server.url())
            .unwrap()
            .op_timeout(limit)
            .breaker(3, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        let patient = patient(&server.url()).build().unwrap();
        let (token, _) = begin(&patient, Some("ada"), b"1 lamp").await;

        server.freeze();
        while store.breaker() == BreakerState::Closed {
            let begun = Instant::now();
            let why = store.load(&token).await.unwrap_err();
            assert!(matches!(why, Unavailable::TimedOut { .. }), "{why:?}");
            tell(format_args!("hangs: given up after {:?}", begun.elapsed()));
        }
        let why = store.load(&token).await.unwrap_err();
        assert!(matches!(why, Unavailable::Suspended { .. }));

        server.thaw();
        // However long a slow machine takes.
        while !matches!(store.load(&token).await, Ok(Some(_))) {
            clock.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn a_server_that_is_not_there_at_first_is_found_later() {
    run(async {
        let clock = ManualClock::new();
        let mut server = Server::start();
        server.kill();
        let store = patient(&server.url())
            .breaker(2, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        for _ in 0..2 {
            let created = store.create(None, b"".as_slice()).await;
            assert!(matches!(
                created,
                Err(CreateError::Unavailable(Unavailable::Unreachable(_)))
            ));
        }
        server.resume();
        clock.advance(Duration::from_secs(1));
        begin(&store, None, b"").await;
    });
}

#[test]
fn an_error_of_the_first_greeting_does_not_stick() {
    run(async {
        let clock = ManualClock::new();
        let server = Server::start();
        let url = server.url().replace("://", "://:secret@");
        let store = patient(&url)
            .breaker(2, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        // It has no password yet, so that this one is wrong.
        while store.breaker() == BreakerState::Closed {
            let created = store.create(None, b"".as_slice()).await;
            assert!(matches!(created, Err(CreateError::Unavailable(_))));
        }
        let () = server.ask(&["CONFIG", "SET", "requirepass", "secret"]);
        clock.advance(Duration::from_secs(1));
        begin(&store, None, b"").await;
    });
}

#[test]
fn rubbish_is_an_error_and_never_no_session() {
    let answers: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\r\n",
        b"+OK\r\n",
        b":5\r\n",
        b"$2\r\nok\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n$2\r\nok\r\n",
        b"*2\r\n$2\r\nok\r\n$3\r\nabc\r\n",
        b"*2\r\n$4\r\nfull\r\n$5",
        b"*2\r\n$4\r\ngone\r\n:1\r\n",
        b"-ERR what?\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MOVED 5 127.0.0.1:1\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-\r\n",
        b"$-7\r\n",
        b"*99999999999\r\n",
        b"(12345678901234567890123\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"",
    ];
    run(async {
        for &bytes in answers {
            let store = RedisStore::builder(rubbish::answering(bytes))
                .unwrap()
                .op_timeout(Duration::from_millis(300))
                .breaker(1_000, Duration::from_secs(1))
                .build()
                .unwrap();
            let token = SessionToken::draw().unwrap();
            let version = Version::from_u64(1);
            eprintln!("{:?}", bytes.escape_ascii().to_string());
            // `revoke_user` understands a number.
            if bytes == b":5\r\n" {
                assert!(store.load(&token).await.is_err());
                continue;
            }
            // And a list may be empty.
            if bytes == b"*0\r\n" {
                assert!(store.load(&token).await.is_err());
                assert!(store.revoke(&token).await.is_err());
                continue;
            }
            assert_every_call_fails(&store, &token, version, |why| {
                !matches!(why, Unavailable::Suspended { .. })
            })
            .await;
        }
    });
}

/// As many as [`assert_every_call_fails`] makes.
const CALLS: usize = 11;

/// None of them says "there is no session".
async fn assert_every_call_fails(
    store: &RedisStore,
    token: &SessionToken,
    version: Version,
    is_right: impl Fn(&Unavailable) -> bool,
) {
    let check = |call: &str, why: Option<Unavailable>| {
        assert!(why.as_ref().is_some_and(&is_right), "{call}: {why:?}");
    };
    let created = store.create(Some("ada".into()), b"".as_slice()).await;
    let Err(CreateError::Unavailable(why)) = created else {
        panic!("create: {created:?}")
    };
    check("create", Some(why));
    check("load", store.load(token).await.err());
    check("peek", store.peek(token).await.err());
    let saves = [
        store.save(token, version, b"".as_slice()).await.map(drop),
        store.modify(token, |_| (Some(Vec::new()), ())).await,
    ];
    for saved in saves {
        let Err(SaveError::Unavailable(why)) = saved else {
            panic!("save: {saved:?}")
        };
        check("save", Some(why));
    }
    // Of which one goes the way between slots.
    let mut cycles = vec![store.cycle(token).await];
    for user in ["ada", "bob"] {
        cycles.push(store.log_in(token, user).await);
    }
    for cycled in cycles {
        let Err(CycleError::Unavailable(why)) = cycled else {
            panic!("cycle: {cycled:?}")
        };
        check("cycle", Some(why));
    }
    let revokes = [
        store.revoke(token).await.map(drop),
        store.revoke_user("ada", None).await.map(drop),
    ];
    for revoked in revokes {
        let Err(RevokeError::Unavailable(why)) = revoked else {
            panic!("revoke: {revoked:?}")
        };
        check("revoke", Some(why));
    }
    check("sessions_of", store.sessions_of("ada").await.err());
}
