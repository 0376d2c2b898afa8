//! A server that is dead, hangs, is not there yet, reads only, or answers rubbish: nothing is known then, and that is said.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenfold::cache::tier::BreakerState;
use tenfold::postgres::sessions::PostgresStore;
use tenfold::session::{
    AsyncSessionStore, CreateError, CycleError, RevokeError, SaveError, SessionToken, Unavailable,
    Version,
};
use tenfold::time::ManualClock;
use tokio_postgres::NoTls;

use crate::cluster::{Cluster, Server, tell, wait_until};
use crate::session_store::{begin, is_there, run};
use crate::{patient, rubbish};

#[test]
fn while_the_server_is_dead_nothing_is_known_and_then_all_is_there_again() {
    run(async {
        let clock = ManualClock::new();
        let mut cluster = Cluster::single();
        let store = patient(cluster.server(0), "sessions")
            .breaker(20, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        store.create_table().await.unwrap();
        let (token, version) = begin(&store, Some("ada"), b"1 lamp").await;

        cluster.server_mut(0).kill();
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
        assert_every_call_fails(&store, &token, version, |why| {
            matches!(why, Unavailable::Suspended { .. }) && !why.may_have_happened()
        })
        .await;

        cluster.server_mut(0).start();
        clock.advance(Duration::from_secs(1));
        let begun = Instant::now();
        let loaded = store.load(&token).await.unwrap().unwrap();
        tell(format_args!("back: loaded after {:?}", begun.elapsed()));
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        assert_eq!(store.breaker(), BreakerState::Closed);

        // One that comes back at once fails no load, and has kept whose session it is.
        cluster.server_mut(0).kill();
        cluster.server_mut(0).start();
        assert!(store.load(&token).await.unwrap().is_some());
        store.save(&token, version, b"2".as_slice()).await.unwrap();
        assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
    });
}

#[test]
fn a_server_that_is_not_there_at_first_is_found_later() {
    run(async {
        let clock = ManualClock::new();
        let mut cluster = Cluster::single();
        cluster.server_mut(0).stop();
        let address = cluster.server(0).address();
        let store = PostgresStore::builder(&format!("postgres://app@{address}/postgres"))
            .unwrap()
            .op_timeout(Duration::from_secs(30))
            .breaker(2, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        for _ in 0..2 {
            let created = store.create(None, b"".as_slice()).await;
            assert!(
                matches!(
                    created,
                    Err(CreateError::Unavailable(Unavailable::Unreachable(_)))
                ),
                "{created:?}"
            );
        }
        assert_eq!(store.breaker(), BreakerState::Open);
        cluster.server_mut(0).start();
        // It knows nobody of that name yet, and nothing of a table.
        for grant in [
            "CREATE ROLE app LOGIN",
            "GRANT CREATE ON SCHEMA public TO app",
        ] {
            clock.advance(Duration::from_secs(1));
            let created = store.create(None, b"".as_slice()).await;
            let Err(CreateError::Unavailable(Unavailable::Refused(why))) = created else {
                panic!("{created:?}")
            };
            tell(format_args!("{why}"));
            cluster.server(0).sql(grant);
        }
        store.create_table().await.unwrap();
        begin(&store, None, b"").await;
    });
}

/// Only the server's own processes know how to hang: the one that takes connections, and that of each connection.
#[test]
fn a_server_that_hangs_is_given_up_in_time_and_taken_up_again() {
    run(async {
        let clock = ManualClock::new();
        let cluster = Cluster::single();
        let limit = Duration::from_millis(300);
        let patient = patient(cluster.server(0), "patient").build().unwrap();
        patient.create_table().await.unwrap();
        let (token, _) = begin(&patient, Some("ada"), b"1 lamp").await;
        let store = crate::patient(cluster.server(0), "hasty")
            .op_timeout(limit)
            .breaker(3, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        while !matches!(store.load(&token).await, Ok(Some(_))) {
            clock.advance(Duration::from_secs(1));
        }

        let frozen = Frozen::all_of(cluster.server(0), "hasty");
        while store.breaker() == BreakerState::Closed {
            let begun = Instant::now();
            let why = store.load(&token).await.unwrap_err();
            assert_eq!(why, Unavailable::TimedOut { limit });
            tell(format_args!("hangs: given up after {:?}", begun.elapsed()));
        }
        let why = store.load(&token).await.unwrap_err();
        assert!(matches!(why, Unavailable::Suspended { .. }));

        drop(frozen);
        // However long a slow machine takes.
        while !matches!(store.load(&token).await, Ok(Some(_))) {
            clock.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn connections_that_the_server_ended_are_replaced() {
    run(async {
        let cluster = Cluster::single();
        let server = cluster.server(0);
        let store = patient(server, "sessions").build().unwrap();
        store.create_table().await.unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = 'sessions'";
        for _ in 0..3 {
            assert_eq!(server.sql(end), "1");
            assert!(is_there(&store, &token).await);
        }
    });
}

#[test]
fn what_was_lost_in_the_middle_is_asked_again_if_it_only_reads() {
    run(async {
        let cluster = Cluster::single();
        let server = cluster.server(0);
        let store = Arc::new(patient(server, "sessions").build().unwrap());
        store.create_table().await.unwrap();
        let (token, version) = begin(&*store, Some("ada"), b"").await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = 'sessions' AND wait_event_type = 'Lock'";
        let address = format!("postgres://postgres@{}/postgres", server.address());
        let (holder, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        for reads in [true, false] {
            let lock = "BEGIN; LOCK TABLE public.tenfold_sessions IN ACCESS EXCLUSIVE MODE";
            holder.batch_execute(lock).await.unwrap();
            let (caller, token) = (Arc::clone(&store), token.clone());
            let call = tokio::spawn(async move {
                if reads {
                    let loaded = caller.load(&token).await;
                    assert!(matches!(loaded, Ok(Some(_))), "{loaded:?}");
                } else {
                    let saved = caller.save(&token, version, b"".as_slice()).await;
                    let Err(SaveError::Unavailable(why)) = saved else {
                        panic!("{saved:?}")
                    };
                    assert!(why.may_have_happened(), "{why:?}");
                }
            });
            wait_until("the call waits, and is ended", || server.sql(end) == "1");
            holder.batch_execute("COMMIT").await.unwrap();
            call.await.unwrap();
        }
    });
}

#[test]
fn a_server_that_only_reads_is_not_believed() {
    run(async {
        let cluster = Cluster::single();
        let server = cluster.server(0);
        let builder = patient(server, "sessions").breaker(1000, Duration::from_secs(1));
        let store = builder.build().unwrap();
        store.create_table().await.unwrap();
        let (token, version) = begin(&store, Some("ada"), b"").await;
        let unknown = SessionToken::draw().unwrap();
        let set = |value: &str| {
            server.sql_each(&[
                format!("ALTER SYSTEM SET default_transaction_read_only = {value}"),
                "SELECT pg_reload_conf()".to_owned(),
            ]);
            wait_until("it is set", || {
                server.sql("SHOW default_transaction_read_only") == value
            });
        };
        // As who fences a primary does.
        set("on");
        // First on a connection from before.
        assert!(store.load(&unknown).await.is_err());
        assert_every_call_fails(&store, &token, version, |_| true).await;
        assert!(store.load(&unknown).await.is_err());
        set("off");
        assert!(is_there(&store, &token).await);
        assert!(!is_there(&store, &unknown).await);
    });
}

#[test]
fn rubbish_is_an_error_and_never_no_session() {
    run(async {
        for (name, answer) in rubbish::answers() {
            let address = rubbish::answering(answer);
            let store = PostgresStore::builder(&address)
                .unwrap()
                .op_timeout(Duration::from_millis(500))
                .breaker(1_000, Duration::from_secs(1))
                .build()
                .unwrap();
            let token = SessionToken::draw().unwrap();
            eprintln!("{name}");
            assert_every_call_fails(&store, &token, Version::from_u64(1), |why| {
                !matches!(why, Unavailable::Suspended { .. })
            })
            .await;
        }
    });
}

/// Processes of a server that stand still while this lives.
struct Frozen(Vec<String>);

impl Frozen {
    /// Those of all connections of this name, and the one that makes more.
    fn all_of(server: &Server, name: &str) -> Self {
        let pids = server.sql(&format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'"
        ));
        let frozen = Self(pids.lines().map(str::to_owned).collect());
        assert!(!frozen.0.is_empty());
        frozen.signal("-STOP");
        server.freeze();
        let data = server.data().join("postmaster.pid");
        let postmaster = std::fs::read_to_string(data).unwrap();
        let mut all = frozen;
        all.0.extend(postmaster.lines().next().map(str::to_owned));
        all
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").arg(signal).args(&self.0).status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// As many as [`assert_every_call_fails`] makes.
const CALLS: usize = 11;

/// None of them says "there is no session".
async fn assert_every_call_fails(
    store: &PostgresStore,
    token: &SessionToken,
    version: Version,
    is_right: impl Fn(&Unavailable) -> bool,
) {
    let check = |call: &str, why: Option<Unavailable>| {
        assert!(why.as_ref().is_some_and(&is_right), "{call}: {why:?}");
    };
    for user in [None, Some("ada".into())] {
        let created = store.create(user, b"".as_slice()).await;
        let Err(CreateError::Unavailable(why)) = created else {
            panic!("create: {created:?}")
        };
        check("create", Some(why));
    }
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
    for cycled in [store.cycle(token).await, store.log_in(token, "ada").await] {
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
