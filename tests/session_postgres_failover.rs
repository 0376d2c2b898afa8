//! Sessions in PostgreSQL while their primary dies and a replica takes over: with synchronous replication nothing that was acknowledged is
//! undone, and without it this is what is.

#[path = "postgres/bed.rs"]
mod bed;
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/loss.rs"]
mod loss;
#[path = "postgres/traffic.rs"]
mod traffic;
#[path = "postgres/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bed::Bed;
use cluster::{Cluster, Replication, tell, wait_until};
use loss::Loss;
use tenfold::postgres::recovery::PostgresRecovery;
use tenfold::postgres::sessions::PostgresStore;
use tenfold::replica::AsyncPromoter;
use tenfold::session::{
    AsyncSessionStore, CycleError, RevokeError, SaveError, SessionToken, Unavailable, Version,
};
use tokio::time::timeout;
use workload::on_runtime;

const SECOND: Duration = Duration::from_secs(1);

/// A store that is given all servers and finds the one that takes writes.
fn store(cluster: &Cluster) -> PostgresStore {
    let servers = [0, 1, 2].map(|number| cluster.server(number).address());
    let address = format!("postgres://postgres@{}/postgres", servers.join(","));
    let builder = PostgresStore::builder(&address).unwrap();
    // One that a busy machine does not take for a dead server.
    let builder = builder.op_timeout(SECOND * 30).breaker(u32::MAX, SECOND);
    builder.build().unwrap()
}

/// While the pool leads the failover, users come, save, log in and log out; the store is told nothing of it.
#[test]
fn what_was_acknowledged_outlives_a_primary_with_synchronous_replicas() {
    let mut bed = Bed::new(Replication::AnyOne, |settings| {
        settings.restart_grace(SECOND / 4).max_ejection(2 * SECOND)
    });
    let _here = bed.enter();
    let store = Arc::new(store(&bed.cluster));
    bed.block_on(store.create_table()).unwrap();
    bed.block_on(store.check()).unwrap();
    let (standing, over) = bed.block_on(async {
        let (standing, _) = store.create(None, *b"here").await.unwrap();
        let (over, _) = store.create(None, *b"").await.unwrap();
        assert!(store.revoke(&over).await.unwrap());
        (standing, over)
    });

    let done = Arc::new(AtomicUsize::new(0));
    let users = [(); 4].map(|()| tokio::spawn(visit(Arc::clone(&store), Arc::clone(&done))));
    wait_until("many have come and gone", || {
        done.load(Ordering::Relaxed) >= 60
    });
    // On loopback a replica has everything at once, asked for or not. So none receives any more.
    let alone = bed.block_on(async {
        for replica in &bed.cluster.endpoints()[1..] {
            bed.connector.stop_receiver(replica).await.unwrap();
        }
        timeout(SECOND / 4, store.create(None, *b"alone")).await
    });
    assert!(alone.is_err(), "acknowledged by the primary alone");
    let killed = bed.kill(0);
    let failed = bed.block_on(async {
        let mut failed = 0;
        while look(&store, &standing, &over).await.is_err() {
            failed += 1;
        }
        failed
    });
    assert!(failed > 0, "nobody answers before another is primary");
    // The new primary answers before everybody has heard that it is one.
    bed.wait_until_failed_over();
    tell(format_args!(
        "sessions are answered {:?} after the primary was killed, until then {failed} loads were not",
        killed.elapsed()
    ));

    let begun = Instant::now();
    let visits: Vec<Visit> = bed.block_on(async {
        let mut visits = Vec::new();
        for user in users {
            visits.extend(user.await.unwrap());
        }
        for visit in &visits {
            visit.check(&store).await;
        }
        visits
    });
    let ends = visits.iter().filter(|visit| visit.is_over).count();
    let unknown = visits
        .iter()
        .filter(|visit| visit.unknown.is_some())
        .count();
    tell(format_args!(
        "{} sessions, of which {ends} were ended and {unknown} were in a call when it died, looked at in {:?}",
        visits.len(),
        begun.elapsed()
    ));
    assert!(ends > 0 && ends + unknown < visits.len());

    // And life goes on, on two servers.
    let (saved, _) = bed.block_on(store.create(None, *b"new")).unwrap();
    bed.block_on(look(&store, &saved, &over)).unwrap();
}

/// What is there is there, what is over is over, or nobody knows.
async fn look(
    store: &PostgresStore,
    standing: &SessionToken,
    over: &SessionToken,
) -> Result<(), Unavailable> {
    let found = store.load(standing).await?;
    assert!(found.is_some(), "the session is there");
    let found = store.load(over).await?;
    assert!(found.is_none(), "the session is over");
    Ok(())
}

/// What one user did: the last that was acknowledged, and what may have come after it.
struct Visit {
    /// Good for nothing any more.
    old: Option<SessionToken>,
    token: SessionToken,
    version: Version,
    data: &'static [u8],
    is_over: bool,
    unknown: Option<Unknown>,
}

/// A call that failed, and may have been made.
#[derive(Debug, PartialEq, Eq)]
enum Unknown {
    Save,
    LogIn,
    End,
}

/// Visits, one after the other, until a call fails.
async fn visit(store: Arc<PostgresStore>, done: Arc<AtomicUsize>) -> Vec<Visit> {
    let mut visits = Vec::new();
    while let Ok((token, version)) = store.create(None, *b"empty").await {
        let mut visit = Visit {
            old: None,
            token,
            version,
            data: b"empty",
            is_over: false,
            unknown: None,
        };
        // Half of them stay.
        let leaves = visits.len() % 2 == 0;
        visit.unknown = visit.go_on(&store, leaves).await.err();
        let failed = visit.unknown.is_some();
        visits.push(visit);
        if failed {
            break;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    visits
}

impl Visit {
    async fn go_on(&mut self, store: &PostgresStore, leaves: bool) -> Result<(), Unknown> {
        let saved = store.save(&self.token, self.version, *b"1 lamp").await;
        self.version = saved.map_err(|error| {
            assert!(matches!(error, SaveError::Unavailable(_)), "{error:?}");
            Unknown::Save
        })?;
        self.data = b"1 lamp";
        let logged_in = store.log_in(&self.token, "ada").await;
        let token = logged_in.map_err(|error| {
            assert!(matches!(error, CycleError::Unavailable(_)), "{error:?}");
            Unknown::LogIn
        })?;
        self.old = Some(std::mem::replace(&mut self.token, token));
        if leaves {
            let ended = store.revoke(&self.token).await.map_err(|error| {
                assert!(matches!(error, RevokeError::Unavailable(_)), "{error:?}");
                Unknown::End
            })?;
            assert!(ended);
            self.is_over = true;
        }
        Ok(())
    }

    async fn check(&self, store: &PostgresStore) {
        if let Some(old) = &self.old {
            assert!(store.load(old).await.unwrap().is_none(), "an old token");
        }
        let found = store.load(&self.token).await.unwrap();
        if self.is_over {
            assert!(found.is_none(), "it was ended");
            let saved = store.save(&self.token, self.version, *b"back").await;
            assert_eq!(saved, Err(SaveError::Gone));
            return;
        }
        let Some(found) = found else {
            let why = [Some(Unknown::LogIn), Some(Unknown::End)];
            assert!(why.contains(&self.unknown), "it was not ended");
            return;
        };
        if self.unknown != Some(Unknown::Save) {
            assert_eq!(&found[..], self.data);
        }
        assert_eq!(found.user().is_some(), self.old.is_some());
    }
}

/// The table of `postgres::sessions` says what is forgotten; and what the replica block finds in the log of the dead.
#[test]
fn an_asynchronous_replica_forgets_what_it_had_not_received_until_that_is_recovered() {
    let mut kept = None;
    let mut late = None;
    let lost = Loss::of(
        true,
        |primary| {
            workload::create(primary);
            kept = Some(on_runtime(async {
                let store = of_one(primary);
                store.create_table().await.unwrap();
                store.create(Some("ada".into()), *b"1 lamp").await.unwrap()
            }));
        },
        |primary| {
            late = Some(on_runtime(async {
                let store = of_one(primary);
                let (token, _) = store.create(Some("bob".into()), *b"").await.unwrap();
                assert_eq!(store.revoke_user("ada", None).await.unwrap(), 1);
                token
            }));
        },
    );
    let ((ended, version), late) = (kept.unwrap(), late.unwrap());
    lost.runtime.block_on(async {
        let store = store(&lost.cluster);
        // Who logged out is logged in, and who logged in is logged out.
        let back = store.load(&ended).await.unwrap().unwrap();
        assert_eq!((&back[..], back.version()), (&b"1 lamp"[..], version));
        assert!(store.load(&late).await.unwrap().is_none());

        let (from, to) = (&lost.servers[0], &lost.servers[1]);
        let recovery = PostgresRecovery::open(&lost.connector, from, to)
            .await
            .unwrap();
        let report = recovery.run(&lost.connector).await.unwrap();
        report.complete().unwrap();
        assert!(store.load(&ended).await.unwrap().is_none());
        let saved = store.save(&ended, version, *b"back").await;
        assert_eq!(saved, Err(SaveError::Gone));
        let found = store.load(&late).await.unwrap().unwrap();
        assert_eq!(found.user(), Some(&"bob".into()));
    });
}

fn of_one(server: &cluster::Server) -> PostgresStore {
    let address = format!("postgres://postgres@{}/postgres", server.address());
    let builder = PostgresStore::builder(&address).unwrap();
    builder.op_timeout(SECOND * 30).build().unwrap()
}
