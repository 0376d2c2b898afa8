//! The replica block on a real PostgreSQL: a primary and two streaming replicas, killed, lagging, promoted and brought
//! back.

#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/workload.rs"]
mod workload;

use std::time::{Duration, Instant};

use cluster::{Cluster, Replication, tell, wait_until};
use tenfold::postgres::recovery::PostgresRecovery;
use tenfold::postgres::{PostgresConnection, PostgresConnector, PostgresError};
use tenfold::replica::{AsyncConnector, AsyncProber, AsyncPromoter, Epoch, Fault, Probe, Role};
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
        assert_eq!(of_replica.upstream.as_deref(), Some(servers[0].address()));
        assert_eq!(of_primary.receiving, None);
        assert_eq!(of_primary.upstream, None);

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
        tell(format_args!(
            "salvaged {} bytes in {:?}",
            after.bytes_after(before),
            begun.elapsed()
        ));
        assert!(after > before);
        // Once more finds nothing more.
        assert_eq!(
            connector.salvage(&servers[0], &servers[1]).await.unwrap(),
            after
        );

        let begun = Instant::now();
        let epoch = connector.promote(&servers[1]).await.unwrap();
        tell(format_args!("promoted in {:?}", begun.elapsed()));
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
        tell(format_args!("rejoined in {:?}", begun.elapsed()));
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
