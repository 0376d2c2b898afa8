//! The replica block on a real PostgreSQL: a primary and two streaming replicas, killed, lagging, promoted and brought
//! back.

#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/workload.rs"]
mod workload;

use std::time::{Duration, Instant};

use cluster::{Cluster, Replication, Server, wait_until};
use tenfold::postgres::recovery::PostgresRecovery;
use tenfold::postgres::{PostgresConnection, PostgresConnector, PostgresError};
use tenfold::replica::{
    AsyncConnector, AsyncProber, AsyncPromoter, Endpoint, Epoch, Fault, Probe, Role,
};
use workload::on_runtime;

#[test]
fn a_server_says_what_it_is_and_how_far() {
    let cluster = Cluster::start(Replication::Asynchronous);
    let connector = cluster.connector();
    let servers = cluster.endpoints();
    cluster
        .server(0)
        .sql("CREATE TABLE item (id int PRIMARY KEY, name text)");
    cluster.wait_until_applied(0, 1);
    cluster.wait_until_applied(0, 2);
    on_runtime(async {
        let mut primary = connector.connect(&servers[0]).await.unwrap();
        let mut replica = connector.connect(&servers[1]).await.unwrap();
        assert_eq!(primary.in_hot_standby(), Some(false));
        assert_eq!(replica.in_hot_standby(), Some(true));

        let of_primary = connector.probe(&mut primary).await.unwrap();
        let of_replica = connector.probe(&mut replica).await.unwrap();
        assert_eq!(of_primary.role, Role::Primary);
        assert_eq!(of_replica.role, Role::Replica);
        assert_eq!(of_primary.system, of_replica.system);
        assert_eq!(
            of_primary.epoch,
            Epoch {
                timeline: 1,
                term: 0
            }
        );
        assert_eq!(of_replica.epoch, of_primary.epoch);
        assert_eq!(of_replica.receiving, Some(true));
        assert_eq!(of_primary.receiving, None);

        // What is received and not applied is not what a read sees.
        replica
            .execute("SELECT pg_wal_replay_pause()", &[])
            .await
            .unwrap();
        until("replay stands", || async {
            let state = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
            replica.query_one(state, &[]).await.unwrap().get(0)
        })
        .await;
        primary
            .execute("INSERT INTO item VALUES (1, 'ada')", &[])
            .await
            .unwrap();
        let committed = primary.position().await.unwrap();
        let mut lagging = connector.probe(&mut replica).await.unwrap();
        while lagging.received < Some(committed) {
            lagging = connector.probe(&mut replica).await.unwrap();
        }
        assert!(lagging.position < committed);
        assert_eq!(lagging.reach(), lagging.received.unwrap());
        assert!(lagging.lag.unwrap() > Duration::ZERO);

        replica
            .execute("SELECT pg_wal_replay_resume()", &[])
            .await
            .unwrap();
        let caught_up = probe_until(&connector, &mut replica, |probe| {
            probe.position >= committed && probe.lag.is_some_and(|lag| lag.is_zero())
        })
        .await;
        assert!(caught_up.position >= committed);
    });
}

#[test]
fn errors_are_told_apart() {
    let mut cluster = Cluster::start(Replication::Asynchronous);
    let connector = cluster.connector();
    let servers = cluster.endpoints();
    cluster
        .server(0)
        .sql("CREATE TABLE item (id int PRIMARY KEY, name text)");
    cluster.wait_until_applied(0, 1);
    let (mut idle, runtime) = (None, workload::runtime());
    runtime.block_on(async {
        let primary = connector.connect(&servers[0]).await.unwrap();
        let mut replica = connector.connect(&servers[1]).await.unwrap();
        let fault = |error: tokio_postgres::Error| connector.classify(&PostgresError::from(error));
        let insert = "INSERT INTO item VALUES (1, 'ada')";

        let refused = replica.execute(insert, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006");
        assert_eq!(fault(refused), Fault::RoleChanged);

        primary.execute(insert, &[]).await.unwrap();
        let twice = primary.execute(insert, &[]).await.unwrap_err();
        assert_eq!(fault(twice), Fault::Query);
        let parameters = primary.execute(insert, &[&1]).await.unwrap_err();
        assert_eq!(fault(parameters), Fault::Query);
        let wrong_type = primary
            .execute("SELECT $1::int", &[&"one"])
            .await
            .unwrap_err();
        assert_eq!(fault(wrong_type), Fault::Query);

        // A session is as new after recycling.
        replica
            .execute("SET search_path = nowhere", &[])
            .await
            .unwrap();
        replica.simple_query("BEGIN").await.unwrap();
        connector.recycle(&mut replica).await.unwrap();
        replica.query("SELECT name FROM item", &[]).await.unwrap();

        // One that is ended from elsewhere may have done what it was asked.
        let pid: i32 = replica
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let other = connector.connect(&servers[1]).await.unwrap();
        let long = tokio::spawn(async move {
            let ended = replica.execute("SELECT pg_sleep(600)", &[]).await;
            (ended.unwrap_err(), replica)
        });
        other
            .execute("SELECT pg_terminate_backend($1)", &[&pid])
            .await
            .unwrap();
        let (ended, replica) = long.await.unwrap();
        assert_eq!(fault(ended), Fault::Unknown);
        // Known to be so when its other half has ended.
        until("it is broken", || async { connector.is_broken(&replica) }).await;
        idle = Some(primary);
    });
    cluster.server_mut(0).kill();
    runtime.block_on(async {
        let idle = idle.unwrap();
        let gone = idle.execute("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(connector.classify(&gone.into()), Fault::Unknown);
        until("it is broken", || async { connector.is_broken(&idle) }).await;
        let nobody = connector.connect(&servers[0]).await.unwrap_err();
        assert_eq!(connector.classify(&nobody), Fault::ConnectionLost);
    });
}

/// Asynchronous replication, the data first: what the dead primary had not sent is handed over before anybody is
/// promoted.
#[test]
fn what_was_not_sent_is_salvaged_before_the_promotion() {
    let mut cluster = Cluster::start(Replication::Asynchronous);
    let connector = cluster.connector();
    let servers = cluster.endpoints();
    let runtime = workload::runtime();
    workload::create(cluster.server(0));
    cluster.wait_until_applied(0, 1);
    cluster.wait_until_applied(0, 2);
    runtime.block_on(async {
        for replica in &servers[1..] {
            connector.stop_receiver(replica).await.unwrap();
        }
    });
    workload::write_unsent(cluster.server(0));
    let expected = workload::digest(cluster.server(0));
    cluster.server_mut(0).kill();
    assert_ne!(workload::digest(cluster.server(1)), expected);

    runtime.block_on(async {
        connector
            .fence(&servers[0], Epoch::default())
            .await
            .unwrap();
        let before = connector.stop_receiver(&servers[1]).await.unwrap();
        let begun = Instant::now();
        let after = connector.salvage(&servers[0], &servers[1]).await.unwrap();
        eprintln!(
            "salvaged {} bytes in {:?}",
            after.bytes_after(before),
            begun.elapsed()
        );
        assert!(after > before);
        // Once more finds nothing more.
        assert_eq!(
            connector.salvage(&servers[0], &servers[1]).await.unwrap(),
            after
        );

        let begun = Instant::now();
        let epoch = connector.promote(&servers[1]).await.unwrap();
        eprintln!("promoted in {:?}", begun.elapsed());
        assert_eq!(
            epoch,
            Epoch {
                timeline: 2,
                term: 0
            }
        );
        assert_eq!(connector.promote(&servers[1]).await.unwrap(), epoch);
    });
    assert_eq!(workload::digest(cluster.server(1)), expected);

    // The other replica goes on from there.
    runtime
        .block_on(connector.follow(&servers[2], &servers[1]))
        .unwrap();
    workload::write_more(cluster.server(1));
    cluster.wait_until_applied(1, 2);
    assert_eq!(
        workload::digest(cluster.server(2)),
        workload::digest(cluster.server(1))
    );

    // Whoever starts the old one gets a replica, whose log is on a line of its own; and rejoining mends that.
    cluster.server_mut(0).start();
    assert_eq!(cluster.server(0).sql("SELECT pg_is_in_recovery()"), "t");
    cluster.server_mut(0).stop();
    runtime.block_on(async {
        let begun = Instant::now();
        let recovery = PostgresRecovery::open(&connector, &servers[0], &servers[1])
            .await
            .unwrap();
        let salvaged = recovery.nothing_lost().unwrap();
        connector
            .rejoin(&servers[0], &servers[1], &salvaged)
            .await
            .unwrap();
        eprintln!("rejoined in {:?}", begun.elapsed());
        let mut old = connector.connect(&servers[0]).await.unwrap();
        let probe = probe_until(&connector, &mut old, |probe| {
            // It is sent the rest of the old line first.
            probe.receiving == Some(true) && probe.epoch.timeline == 2
        })
        .await;
        assert_eq!(probe.role, Role::Replica);
        let fork = recovery.fork();
        let history: Vec<_> = probe
            .history
            .iter()
            .map(|fork| (fork.timeline, fork.parent, fork.at))
            .collect();
        assert_eq!(history, [(2, fork.timeline, fork.position)]);
    });
    workload::write_more(cluster.server(1));
    cluster.wait_until_applied(1, 0);
    assert_eq!(
        workload::digest(cluster.server(0)),
        workload::digest(cluster.server(1))
    );
}

/// Asynchronous replication, availability first: a replica is promoted at once, the application goes on, and what the
/// old primary had not sent is decoded from its log.
#[test]
fn what_was_not_sent_is_decoded_after_the_promotion() {
    let lost = Loss::new(true);
    let (cluster, connector, servers) = (&lost.cluster, &lost.connector, &lost.servers);
    lost.runtime.block_on(async {
        let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
            .await
            .unwrap();
        let begun = Instant::now();
        let report = recovery.run(connector).await.unwrap();
        eprintln!("decoded and applied in {:?}\n{report}", begun.elapsed());
        assert_eq!(report.recovered(), 56);
        assert_eq!(report.sources().len(), 2);
        let complete = report.complete().unwrap();
        assert_eq!(lost.digest(1), lost.expected);

        let again = recovery.run(connector).await.unwrap();
        assert_eq!((again.recovered(), again.already()), (0, 56));
        assert_eq!(lost.digest(1), lost.expected);

        connector
            .rejoin(&servers[0], &servers[1], &complete)
            .await
            .unwrap();
    });
    // No number is given twice.
    workload::write_more(cluster.server(1));
    cluster.wait_until_applied(1, 0);
    assert_eq!(lost.digest(0), lost.digest(1));
}

/// The same without a slot: rows are found by what the log says of where they lie.
#[test]
fn what_was_not_sent_is_found_without_a_slot() {
    let lost = Loss::new(false);
    let (connector, servers) = (&lost.connector, &lost.servers);
    lost.runtime.block_on(async {
        let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
            .await
            .unwrap();
        assert_eq!(recovery.lost(), 56);
        let begun = Instant::now();
        let report = recovery.run(connector).await.unwrap();
        eprintln!("inspected and applied in {:?}\n{report}", begun.elapsed());
        assert_eq!(report.recovered(), 56);
        report.complete().unwrap();
        assert_eq!(lost.digest(1), lost.expected);

        let again = recovery.run(connector).await.unwrap();
        assert_eq!((again.recovered(), again.already()), (0, 56));
        assert_eq!(lost.digest(1), lost.expected);
    });
}

/// What both lines have written stays as the new primary has it, and is told with both sides.
#[test]
fn what_the_new_primary_has_changed_is_not_overwritten() {
    for kept in [true, false] {
        let lost = Loss::new(kept);
        let (connector, servers) = (&lost.connector, &lost.servers);
        let new = lost.cluster.server(1);
        new.sql("UPDATE account SET balance = 7777 WHERE id = 105");
        new.sql("DELETE FROM account WHERE id = 301");
        new.sql("UPDATE account SET note = 'kept' WHERE id = 203");
        let row = "SELECT balance, coalesce(note, '') = 'kept' FROM account WHERE id IN (105, 203, 301) ORDER BY id";
        let before = new.sql(row);
        lost.runtime.block_on(async {
            let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
                .await
                .unwrap();
            let report = recovery.run(connector).await.unwrap();
            assert!(report.complete().is_err());
            assert!(report.recovered() < 56);
            if kept {
                let told: Vec<&str> = report
                    .conflicts()
                    .flat_map(|conflict| &conflict.conflicts)
                    .map(|conflict| &*conflict.what)
                    .collect();
                assert!(
                    told.iter().any(|what| what.contains("id='105'")),
                    "{told:?}"
                );
                assert!(
                    told.iter().any(|what| what.contains("id='301'")),
                    "{told:?}"
                );
                assert!(
                    told.iter().any(|what| what.contains("id='203'")),
                    "{told:?}"
                );
            }
        });
        assert_eq!(new.sql(row), before);
    }
}

/// What cannot be recovered is in the report, by the name of its table; what can be is recovered.
#[test]
fn what_cannot_be_recovered_is_refused_by_name() {
    for slot in [true, false] {
        let lost = Loss::with(
            slot,
            &[
                "CREATE TABLE event (what text)",
                "INSERT INTO event VALUES ('first')",
                "CREATE TABLE cart (id int PRIMARY KEY)",
                "INSERT INTO cart VALUES (1)",
                "CREATE SEQUENCE ticket",
                "SELECT nextval('ticket')",
            ],
            &[
                "INSERT INTO event VALUES ('second')",
                "UPDATE event SET what = 'third' WHERE what = 'first'",
                "DELETE FROM event WHERE what = 'third'",
                "TRUNCATE cart",
                "CREATE TABLE added (id int PRIMARY KEY)",
                "INSERT INTO added VALUES (1)",
                "SELECT setval('ticket', 4711)",
            ],
        );
        let (connector, servers) = (&lost.connector, &lost.servers);
        let report = lost.runtime.block_on(async {
            let recovery = PostgresRecovery::open(connector, &servers[0], &servers[1])
                .await
                .unwrap();
            recovery.run(connector).await.unwrap()
        });
        assert!(report.complete().is_err());
        let told = report.to_string();
        for named in [
            // Without a slot only what a row was last is found, and this one is gone.
            if slot {
                "table public.event has no primary key"
            } else {
                "a row of table public.event was deleted"
            },
            if slot {
                "table public.cart was truncated"
            } else {
                "it truncated, dropped or wrote anew a table"
            },
            "there is no table public.added",
        ] {
            assert!(told.contains(named), "{named}: {told}");
        }
        let new = lost.cluster.server(1);
        assert_eq!(
            new.sql("SELECT what FROM event ORDER BY 1"),
            "first\nsecond"
        );
        assert_eq!(new.sql("SELECT count(*) FROM cart"), "1");
        assert_eq!(new.sql("SELECT nextval('ticket')"), "4712");
    }
}

/// A former primary with what it has not sent, dead, and a new one.
struct Loss {
    cluster: Cluster,
    connector: PostgresConnector,
    servers: Vec<Endpoint>,
    runtime: tokio::runtime::Runtime,
    expected: String,
}

impl Loss {
    fn new(slot: bool) -> Self {
        Self::of(slot, workload::create, workload::write_unsent)
    }

    /// With these statements, sent and not sent, each in a transaction of its own.
    fn with(slot: bool, sent: &[&str], unsent: &[&str]) -> Self {
        let (sent, unsent) = (sent.to_vec(), unsent.to_vec());
        Self::of(
            slot,
            move |primary| {
                workload::create(primary);
                primary.sql_each(&sent);
            },
            move |primary| {
                primary.sql_each(&unsent);
            },
        )
    }

    fn of(slot: bool, sent: impl FnOnce(&Server), unsent: impl FnOnce(&Server)) -> Self {
        let mut cluster = Cluster::start(Replication::Asynchronous);
        let connector = cluster.connector();
        let servers = cluster.endpoints();
        let runtime = workload::runtime();
        let keep_slot = || {
            if slot {
                runtime
                    .block_on(connector.keep_recovery_slot(&servers[0]))
                    .unwrap();
            }
        };
        keep_slot();
        sent(cluster.server(0));
        cluster.wait_until_applied(0, 1);
        cluster.wait_until_applied(0, 2);
        keep_slot();
        runtime.block_on(async {
            for replica in &servers[1..] {
                connector.stop_receiver(replica).await.unwrap();
            }
        });
        let before = workload::digest(cluster.server(0));
        unsent(cluster.server(0));
        let expected = workload::digest(cluster.server(0));
        cluster.server_mut(0).kill();
        runtime.block_on(async {
            connector
                .fence(&servers[0], Epoch::default())
                .await
                .unwrap();
            connector.promote(&servers[1]).await.unwrap();
        });
        assert_eq!(workload::digest(cluster.server(1)), before);
        Self {
            cluster,
            connector,
            servers,
            runtime,
            expected,
        }
    }

    fn digest(&self, server: usize) -> String {
        workload::digest(self.cluster.server(server))
    }
}

/// Synchronous replication: what a client was told is done, a replica has.
#[test]
fn no_acknowledged_write_is_lost_with_a_synchronous_replica() {
    let mut cluster = Cluster::start(Replication::AnyOne);
    let connector = cluster.connector();
    let servers = cluster.endpoints();
    let runtime = workload::runtime();
    cluster
        .server(0)
        .sql("CREATE TABLE written (writer int, number int, PRIMARY KEY (writer, number))");
    let writers = runtime.block_on(workload::Writers::start(&connector, &servers[0], 4));
    wait_until("there is something to lose", || {
        writers.acknowledged() > 200
    });
    cluster.server_mut(0).kill();
    let acknowledged = runtime.block_on(writers.finish());

    let candidate = runtime.block_on(async {
        connector
            .fence(&servers[0], Epoch::default())
            .await
            .unwrap();
        let one = connector.stop_receiver(&servers[1]).await.unwrap();
        let two = connector.stop_receiver(&servers[2]).await.unwrap();
        let (candidate, other) = if one >= two { (1, 2) } else { (2, 1) };
        connector.promote(&servers[candidate]).await.unwrap();
        // No replica follows yet, and the first write does not wait for one.
        let primary = connector.connect(&servers[candidate]).await.unwrap();
        let first = primary.execute("INSERT INTO written VALUES (-1, -1)", &[]);
        tokio::time::timeout(Duration::from_secs(30), first)
            .await
            .expect("the first write waits for a replica")
            .unwrap();
        connector
            .follow(&servers[other], &servers[candidate])
            .await
            .unwrap();
        candidate
    });
    let there = cluster
        .server(candidate)
        .sql("SELECT writer || ' ' || number FROM written");
    let there: std::collections::HashSet<&str> = there.lines().collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(writer, number)| !there.contains(&*format!("{writer} {number}")))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

#[test]
fn a_primary_that_does_not_answer_is_not_taken_for_dead() {
    let mut cluster = Cluster::start(Replication::Asynchronous);
    let servers = cluster.endpoints();
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").dbname("postgres");
    let bare = PostgresConnector::new(config).unwrap();
    let runtime = workload::runtime();

    // One that answers is told to write no more.
    runtime.block_on(async {
        let client = bare.connect(&servers[0]).await.unwrap();
        bare.fence(&servers[0], Epoch::default()).await.unwrap();
        assert!(
            client
                .execute("CREATE TABLE late (id int)", &[])
                .await
                .is_err()
        );
        let client = bare.connect(&servers[0]).await.unwrap();
        let refused = client
            .execute("CREATE TABLE late (id int)", &[])
            .await
            .unwrap_err();
        assert_eq!(bare.classify(&refused.into()), Fault::RoleChanged);
    });
    cluster.server_mut(0).kill();
    runtime.block_on(async {
        let unsure = bare.fence(&servers[0], Epoch::default()).await.unwrap_err();
        assert!(
            matches!(unsure, PostgresError::Unfenced { .. }),
            "{unsure:?}"
        );
        let no_host = bare.salvage(&servers[0], &servers[1]).await.unwrap_err();
        assert!(
            matches!(no_host, PostgresError::NoHost { .. }),
            "{no_host:?}"
        );

        let told = bare
            .clone()
            .fence_with(|endpoint, _| match endpoint.name() {
                "db0" => Ok(()),
                other => Err(format!("{other} has no power switch").into()),
            });
        told.fence(&servers[0], Epoch::default()).await.unwrap();
        let failed = told.fence(&servers[1], Epoch::default()).await.unwrap_err();
        assert!(matches!(failed, PostgresError::Fence { .. }), "{failed:?}");
    });
}

async fn probe_until(
    connector: &PostgresConnector,
    connection: &mut PostgresConnection,
    is_so: impl Fn(&Probe) -> bool,
) -> Probe {
    loop {
        let probe = connector.probe(connection).await.unwrap();
        if is_so(&probe) {
            return probe;
        }
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed().as_secs() < 60,
            "waited in vain until {what}"
        );
    }
}
