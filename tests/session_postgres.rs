//! Sessions in a real PostgreSQL server: the promises of every store, races between connections, and the server's bad days.

#[path = "postgres/session_outages.rs"]
mod bad_days;
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "session_store/outages.rs"]
mod outages;
#[path = "postgres/session_races.rs"]
mod races;
#[path = "postgres/session_rates.rs"]
mod rates;
#[path = "postgres/session_rows.rs"]
mod rows;
#[path = "postgres/rubbish.rs"]
mod rubbish;
mod session_store;
#[path = "postgres/stall.rs"]
mod stall;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cluster::{Cluster, Server, tell};
use session_store::{Bed, Knobs, begin, every_promise, is_there, run};
use stall::Stall;
use tenfold::postgres::sessions::{
    CheckError, PostgresBuildError, PostgresStore, PostgresStoreBuilder,
};
use tenfold::session::{AsyncSessionStore, PerUser, SaveError, Unavailable};

mod promises {
    super::every_promise!(super::Postgres::new());
}

/// A table of its own on a server that all tests use.
struct Postgres {
    server: &'static Server,
    table: String,
}

impl Postgres {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SERVER: OnceLock<Cluster> = OnceLock::new();
        Self {
            server: SERVER.get_or_init(Self::start).server(0),
            table: format!("sessions{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn start() -> Cluster {
        let cluster = Cluster::single();
        Stall::prepare(cluster.server(0));
        cluster
    }

    fn builder(&self) -> PostgresStoreBuilder {
        patient(self.server, &self.table).table(&self.table)
    }
}

impl Bed for Postgres {
    type Store = PostgresStore;

    async fn store(&self, knobs: Knobs) -> PostgresStore {
        let store = self
            .builder()
            .idle(knobs.idle)
            .absolute(knobs.absolute)
            .touch_every(knobs.touch_every)
            .max_per_user(knobs.max_per_user, knobs.per_user)
            .max_data(knobs.max_data)
            .build()
            .unwrap();
        store.create_table().await.unwrap();
        store
    }

    /// The server's clock cannot be turned, so all that it holds is turned back.
    async fn pass(&self, _store: &PostgresStore, seconds: u64) {
        let turned = ["created", "seen", "ends", "last", "filed"]
            .map(|column| format!("{column} = {column} - {seconds}000000"))
            .join(", ");
        self.server
            .sql(&format!("UPDATE {} SET {turned}", self.table));
    }
}

/// A store that a busy machine does not take for a dead server, and that the server knows by a name.
fn patient(server: &Server, name: &str) -> PostgresStoreBuilder {
    let address = server.address();
    let address = format!("postgres://postgres@{address}/postgres?application_name={name}");
    let builder = PostgresStore::builder(&address).unwrap();
    builder.op_timeout(Duration::from_secs(30))
}

#[test]
fn processes_share_sessions_and_see_each_others_saves() {
    run(async {
        let bed = Postgres::new();
        let one = bed.store(Knobs::default()).await;
        let two = bed.store(Knobs::default()).await;
        let (token, version) = begin(&one, Some("ada"), b"1 lamp").await;
        let loaded = two.load(&token).await.unwrap().unwrap();
        assert_eq!((&loaded[..], loaded.version()), (&b"1 lamp"[..], version));
        let newer = two.save(&token, version, b"2".as_slice()).await.unwrap();
        let late = one.save(&token, version, b"0".as_slice()).await;
        assert_eq!(late, Err(SaveError::Conflict { current: newer }));
        assert_eq!(one.revoke_user("ada", None).await.unwrap(), 1);
        assert!(!is_there(&two, &token).await);
        // Another table is another store.
        let other = Postgres::new().store(Knobs::default()).await;
        let (token, _) = begin(&one, None, b"").await;
        assert!(!is_there(&other, &token).await);
    });
}

/// Whatever the role says about isolation, the statements have theirs.
#[test]
fn a_role_that_would_have_transactions_serializable_has_none() {
    run(async {
        let bed = Postgres::new();
        let role = format!("{}_role", bed.table);
        bed.server.sql_each(&[
            format!("CREATE ROLE {role} LOGIN SUPERUSER"),
            format!("ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"),
        ]);
        let address = format!("postgres://{role}@{}/postgres", bed.server.address());
        let builder = PostgresStore::builder(&address).unwrap().table(&bed.table);
        let store = builder.op_timeout(Duration::from_secs(30)).build().unwrap();
        store.create_table().await.unwrap();
        let (token, _) = begin(&store, Some("ada"), b"").await;
        let locks = format!(
            "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = '{}'::regclass",
            bed.table
        );
        assert!(is_there(&store, &token).await);
        assert_eq!(bed.server.sql(&locks), "0");
    });
}

#[test]
fn many_processes_make_the_table_at_once() {
    run(async {
        for _ in 0..3 {
            let bed = Postgres::new();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let store = bed.builder().build().unwrap();
                tasks.spawn(async move {
                    store.create_table().await.unwrap();
                    store.check().await.unwrap();
                });
            }
            tasks.join_all().await;
            // Nor does it harm to do it by hand.
            bed.server.sql(&bed.builder().build().unwrap().definition());
            let indexes = format!(
                "SELECT count(*) FROM pg_indexes WHERE tablename = '{}'",
                bed.table
            );
            assert_eq!(bed.server.sql(&indexes), "3");
        }
    });
}

#[test]
fn a_role_needs_no_right_to_create_where_there_is_a_table() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        let (token, _) = begin(&store, Some("ada"), b"").await;
        let (role, table) = (format!("{}_role", bed.table), &bed.table);
        bed.server.sql_each(&[
            format!("CREATE ROLE {role} LOGIN"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}"),
        ]);
        let address = format!("postgres://{role}@{}/postgres", bed.server.address());
        let builder = || {
            let builder = PostgresStore::builder(&address).unwrap();
            builder.op_timeout(Duration::from_secs(30))
        };
        let modest = builder().table(table).build().unwrap();
        modest.create_table().await.unwrap();
        modest.check().await.unwrap();
        begin(&modest, Some("ada"), b"").await;
        let token = modest.cycle(&token).await.unwrap();
        assert_eq!(modest.revoke_user("ada", Some(&token)).await.unwrap(), 1);
        // Where there is none, it does.
        let none = builder().table(format!("{table}_none")).build().unwrap();
        let refused = none.create_table().await;
        assert!(
            matches!(&refused, Err(Unavailable::Refused(_))),
            "{refused:?}"
        );
        let checked = none.check().await;
        assert!(matches!(checked, Err(CheckError::NoTable { .. })));
    });
}

#[test]
fn a_server_that_forgets_is_found_out() {
    run(async {
        let bed = Postgres::new();
        let store = bed.store(Knobs::default()).await;
        store.check().await.unwrap();
        let address = bed.server.address();
        let hasty =
            format!("postgres://postgres@{address}/postgres?options=-c%20synchronous_commit%3Doff");
        let hasty = PostgresStore::builder(&hasty).unwrap().table(&bed.table);
        let checked = hasty.build().unwrap().check().await;
        assert!(
            matches!(
                checked,
                Err(CheckError::Forgets {
                    setting: "synchronous_commit"
                })
            ),
            "{checked:?}"
        );
        bed.server
            .sql(&format!("ALTER TABLE {} SET UNLOGGED", bed.table));
        let checked = store.check().await;
        assert!(
            matches!(checked, Err(CheckError::Unlogged { .. })),
            "{checked:?}"
        );
    });
}

#[test]
fn names_are_taken_as_they_are() {
    run(async {
        let bed = Postgres::new();
        let (schema, table) = ("Web\"app", "a {now} 'b'); DROP SCHEMA public; --\\");
        bed.server.sql("CREATE SCHEMA \"Web\"\"app\"");
        let store = bed.builder().schema(schema).table(table).build().unwrap();
        store.create_table().await.unwrap();
        store.check().await.unwrap();
        let (guest, _) = begin(&store, None, b"").await;
        let name = "x".repeat(100_000);
        let token = store.log_in(&guest, name.as_str()).await.unwrap();
        begin(&store, Some(&name), b"").await;
        assert_eq!(
            store
                .revoke_user(name.as_str(), Some(&token))
                .await
                .unwrap(),
            1
        );
        assert_eq!(store.sessions_of(name).await.unwrap().len(), 1);
        assert!(store.revoke(&token).await.unwrap());
    });
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let builder = || PostgresStore::builder("postgres://app@127.0.0.1:1/shop").unwrap();
    let second = Duration::from_secs(1);
    let wrong = [
        builder().idle(Duration::ZERO),
        builder().idle(second * 10).absolute(second * 9),
        builder().idle(second).touch_every(second),
        builder().absolute(second * u32::MAX),
        builder().max_per_user(0, PerUser::Refuse),
        builder().max_connections(0),
        builder().op_timeout(Duration::ZERO),
    ];
    for builder in wrong {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, PostgresBuildError::Setting(_)), "{error:?}");
    }
    for wrong in ["", "a\0b", &"x".repeat(64), &"\"".repeat(64)] {
        for builder in [builder().schema(wrong), builder().table(wrong)] {
            let error = builder.build().unwrap_err();
            assert!(matches!(&error, PostgresBuildError::Name { found, .. } if found == wrong));
        }
    }
    let error = PostgresStore::builder("postgres://[/").unwrap_err();
    assert!(matches!(error, PostgresBuildError::Address(_)));
    let error = PostgresStore::builder("user=app").unwrap().build();
    assert!(matches!(error, Err(PostgresBuildError::NoHost)));
    let secret = PostgresStore::builder("postgres://app:secret@db0/shop").unwrap();
    assert!(!format!("{secret:?}").contains("secret"));
    let secret = secret.build().unwrap();
    assert!(!format!("{secret:?}").contains("secret"));
}

#[test]
fn without_a_runtime_nothing_is_known() {
    let store = PostgresStore::builder("postgres://app@127.0.0.1:1/shop").unwrap();
    let store = store.build().unwrap();
    let token = tenfold::session::SessionToken::draw().unwrap();
    let loaded = tenfold::task::block_on(store.load(&token));
    assert!(matches!(loaded, Err(Unavailable::Unreachable(_))));
}
