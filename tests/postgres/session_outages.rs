//! A PostgreSQL server that is dead, hangs, is not there yet, reads only, or answers rubbish.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tenfold::cache::tier::BreakerState;
use tenfold::postgres::sessions::PostgresStore;
use tenfold::session::{
    AsyncSessionStore, CreateError, SaveError, SessionToken, Unavailable, Version,
};
use tenfold::time::ManualClock;
use tokio_postgres::NoTls;

use crate::cluster::{Cluster, Server, tell, wait_until};
use crate::outages::{Outages, Patience, assert_every_call_fails, every_outage};
use crate::session_store::{begin, is_there, run};
use crate::{patient, rubbish};

every_outage!(Cluster);

impl Outages for Cluster {
    type Store = PostgresStore;

    fn start() -> Self {
        let cluster = Self::single();
        let store = patient(cluster.server(0), "definition").build().unwrap();
        cluster.server(0).sql(&store.definition());
        cluster
    }

    fn kill(&mut self) {
        self.server_mut(0).kill();
    }

    fn resume(&mut self) {
        self.server_mut(0).start();
    }

    fn freeze(&self, name: &str) -> impl Sized {
        Frozen::all_of(self.server(0), name)
    }

    fn store(&self, name: &str, patience: Patience) -> PostgresStore {
        patient(self.server(0), name)
            .op_timeout(patience.limit)
            .breaker(patience.failures, Duration::from_secs(1))
            .clock(patience.clock)
            .build()
            .unwrap()
    }

    fn breaker(store: &PostgresStore) -> BreakerState {
        store.breaker()
    }
}

#[test]
fn whom_the_server_does_not_know_yet_is_let_in_later() {
    run(async {
        let clock = ManualClock::new();
        let cluster = Cluster::single();
        let address = cluster.server(0).address();
        let store = PostgresStore::builder(&format!("postgres://app@{address}/postgres"))
            .unwrap()
            .op_timeout(Duration::from_secs(30))
            .breaker(1, Duration::from_secs(1))
            .clock(clock.clock())
            .build()
            .unwrap();
        // Nor a table.
        for grant in [
            "CREATE ROLE app LOGIN",
            "GRANT CREATE ON SCHEMA public TO app",
        ] {
            let created = store.create(None, b"".as_slice()).await;
            let Err(CreateError::Unavailable(Unavailable::Refused(why))) = created else {
                panic!("{created:?}")
            };
            tell(format_args!("{why}"));
            cluster.server(0).sql(grant);
            clock.advance(Duration::from_secs(1));
        }
        store.create_table().await.unwrap();
        begin(&store, None, b"").await;
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

/// Processes of a server that stand still while this lives: only they know how to hang, the one that takes connections and that of
/// each connection.
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
