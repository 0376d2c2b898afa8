//! The replica pool on a real PostgreSQL: concurrent reads and writes through it, while servers are killed, lag and
//! come back.

#[path = "postgres/bed.rs"]
mod bed;
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "postgres/traffic.rs"]
mod traffic;
#[path = "postgres/workload.rs"]
mod workload;

use std::time::{Duration, Instant};

use bed::{Bed, CONNECTIONS};
use cluster::{Cluster, Replication, tell, wait_until};
use tenfold::postgres::PostgresConnection;
use tenfold::replica::topology::{Event, Fenced, Node, Phase};
use tenfold::replica::{AsyncPromoter, Op, ReadPreference, RecoveryOrder};

const SECOND: Duration = Duration::from_secs(1);

/// Prints how long a failover took, after a server was killed at this moment.
fn print_failover(bed: &Bed, seen: &traffic::Seen, killed: Instant) {
    let decided = bed.story.entered(Phase::Fencing).unwrap();
    let promoting = bed.story.entered(Phase::Promoting).unwrap();
    let is_change = |event: &Event| matches!(event, Event::PrimaryChanged { from: Some(_), .. });
    let promoted = bed.story.when(is_change).unwrap();
    let written = seen.first_write_after(decided).unwrap();
    let ms = |from: Instant, to: Instant| to.duration_since(from).as_millis();
    tell(format_args!(
        "failover: detected after {} ms, first write {} ms after the decision, of which {} ms is the promotion",
        ms(killed, decided),
        ms(decided, written),
        ms(promoting, promoted)
    ));
    if let Some(salvaging) = bed.story.entered(Phase::Salvaging) {
        tell(format_args!(
            "failover: salvage took {} ms",
            ms(salvaging, promoting)
        ));
    }
}

#[test]
fn a_synchronous_primary_dies_and_no_acknowledged_write_is_lost() {
    let mut bed = Bed::new(Replication::AnyOne, |settings| {
        settings.order(RecoveryOrder::AvailabilityFirst)
    });
    let traffic = bed.traffic(4, 4);
    traffic.wait_for_writes(200);
    traffic.wait_for_reads(200);
    let killed = bed.kill(0);
    bed.wait_until_failed_over();
    traffic.wait_for_writes(200);
    let seen = bed.block_on(traffic.stop());
    print_failover(&bed, &seen, killed);
    bed.wait_until_complete();
    seen.assert_no_write_failed();
    seen.assert_no_read_failed();
    seen.assert_nothing_lost(bed.primary_server());
    assert_ne!(bed.primary(), 0);
}

/// Whoever leads failovers was started on the dead primary's machine, say, and has never seen it.
#[test]
fn a_primary_that_died_before_the_pool_began_is_failed_over() {
    let mut cluster = Cluster::start(Replication::AnyOne);
    traffic::create(cluster.server(0));
    let written = traffic::digest(cluster.server(0));
    cluster.server_mut(0).kill();
    // It is failed over and rejoins before this returns.
    let bed = Bed::over(cluster, Replication::AnyOne, |settings| {
        settings
            .restart_grace(SECOND / 4)
            .max_ejection(2 * SECOND)
            .operation_timeout(5 * SECOND)
    });
    assert_ne!(bed.primary(), 0);
    assert_eq!(traffic::digest(bed.primary_server()), written);
    let traffic = bed.traffic(3, 3);
    traffic.wait_for_writes(100);
    let seen = bed.block_on(traffic.stop());
    seen.assert_every_write_succeeded();
    seen.assert_nothing_lost(bed.primary_server());
}

/// A replica behind a replica receives for as long as that one lives, and says nothing about the primary.
#[test]
fn a_replica_behind_a_replica_keeps_no_dead_primary_from_being_failed_over() {
    let cluster = Cluster::start(Replication::Asynchronous);
    traffic::create(cluster.server(0));
    cluster.cascade(2, 1);
    let mut bed = Bed::over(cluster, Replication::Asynchronous, |settings| {
        settings.restart_grace(SECOND / 4).max_ejection(2 * SECOND)
    });
    let traffic = bed.traffic(3, 3);
    traffic.wait_for_writes(100);
    let killed = bed.kill(0);
    bed.wait_until_failed_over();
    traffic.wait_for_writes(100);
    let seen = bed.block_on(traffic.stop());
    print_failover(&bed, &seen, killed);
    seen.assert_no_write_failed();
    bed.wait_until_complete();
    seen.assert_nothing_lost(bed.primary_server());
}

#[test]
fn a_replica_dies_and_no_client_notices() {
    let mut bed = Bed::new(Replication::Asynchronous, |settings| settings);
    let traffic = bed.traffic(2, 6);
    for server in [1, 2] {
        wait_until("every replica reads", || {
            traffic.seen.reads_of(bed.cluster.server(server)) > 100
        });
    }
    bed.kill(1);
    let by_the_other = traffic.seen.reads_of(bed.cluster.server(2));
    traffic.wait_for_reads(500);
    traffic.wait_for_writes(100);
    // Back after it has caught up.
    bed.cluster.server_mut(1).start();
    let before = traffic.seen.reads_of(bed.cluster.server(1));
    wait_until("it reads again", || {
        traffic.seen.reads_of(bed.cluster.server(1)) > before + 100
    });
    let seen = bed.block_on(traffic.stop());
    seen.assert_no_read_failed();
    seen.assert_every_write_succeeded();
    assert!(seen.reads_of(bed.cluster.server(2)) > by_the_other);
    assert_eq!(bed.primary(), 0);
    seen.assert_nothing_lost(bed.primary_server());
}

#[test]
fn both_replicas_die_and_reads_leave_writes_their_reserve() {
    let mut bed = Bed::new(Replication::Asynchronous, |settings| settings);
    let traffic = bed.traffic(4, 3 * CONNECTIONS);
    traffic.wait_for_reads(500);
    bed.kill(1);
    bed.kill(2);
    let before = traffic.seen.reads_of(bed.cluster.server(0));
    wait_until("the primary reads", || {
        traffic.seen.reads_of(bed.cluster.server(0)) > before + 500
    });
    traffic.wait_for_writes(100);
    let seen = bed.block_on(traffic.stop());
    seen.assert_no_read_failed();
    seen.assert_every_write_succeeded();
    let most = seen.most_on_primary();
    tell(format_args!(
        "without replicas: {most} reads at once on the primary, of {CONNECTIONS} connections"
    ));
    assert!(most <= CONNECTIONS / 2, "{most}");
    seen.assert_nothing_lost(bed.primary_server());
}

/// What is written is read at once, again and again, on replicas that are always a little late.
#[test]
fn with_a_token_nobody_reads_what_was_before_his_own_write() {
    let bed = Bed::new(Replication::Asynchronous, |settings| settings);
    for replica in [1, 2] {
        let server = bed.cluster.server(replica);
        server.sql("ALTER SYSTEM SET recovery_min_apply_delay = '20ms'");
        server.sql("SELECT pg_reload_conf()");
    }
    let traffic = bed.traffic(2, 2);
    let timed = |tokens| {
        let begun = Instant::now();
        let stale = bed.block_on(stale_reads(&bed.pool, tokens));
        (stale, begun.elapsed().as_millis())
    };
    let (stale_without, without) = timed(false);
    let (stale_with, with) = timed(true);
    tell(format_args!(
        "read your writes: of {} reads {stale_with} stale with a token ({with} ms), {stale_without} without ({without} ms)",
        CLIENTS * ROUNDS
    ));
    bed.block_on(traffic.stop()).assert_no_read_failed();
    assert_eq!(stale_with, 0);
    assert!(stale_without > 0);
}

const CLIENTS: i32 = 6;
const ROUNDS: i32 = 25;

async fn stale_reads(pool: &traffic::Pool, tokens: bool) -> usize {
    let clients = (0..CLIENTS).map(|client| {
        // Beside those of the traffic.
        let (pool, writer) = (pool.clone(), 100 + 2 * client + i32::from(tokens));
        tokio::spawn(async move {
            let mut stale = 0;
            for number in 0..ROUNDS {
                stale += usize::from(!reads_back(&pool, (writer, number), tokens).await);
            }
            stale
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut stale = 0;
    for client in clients {
        stale += client.await.unwrap();
    }
    stale
}

/// Whether a read finds the row that was written just before.
async fn reads_back(pool: &traffic::Pool, row: (i32, i32), with_token: bool) -> bool {
    let (writer, number) = row;
    let lent = pool.write_async().await.unwrap();
    let insert = "INSERT INTO written VALUES ($1, $2)";
    lent.execute(insert, &[&writer, &number]).await.unwrap();
    let position = lent.position().await.unwrap();
    let token = lent.commit_token(position).unwrap();
    drop(lent);
    let preference = if with_token {
        ReadPreference::AtLeast(token, 5 * SECOND)
    } else {
        ReadPreference::Replica
    };
    let op = Op::read().preference(preference);
    let select = async move |connection: &mut PostgresConnection| {
        let select = "SELECT FROM written WHERE writer = $1 AND number = $2";
        let found = connection.query_opt(select, &[&writer, &number]).await?;
        Ok(found.is_some())
    };
    pool.run_async(&op, select).await.unwrap()
}

/// The former primary is started by somebody who knows nothing of the failover, and takes writes.
#[test]
fn a_former_primary_that_comes_back_is_fenced_and_rejoins() {
    let mut bed = Bed::new(Replication::AnyOne, |settings| {
        settings.restart_grace(SECOND / 4).max_ejection(2 * SECOND)
    });
    bed.recovers(false);
    let traffic = bed.traffic(3, 3);
    traffic.wait_for_writes(100);
    bed.kill(0);
    bed.wait_until_failed_over();
    traffic.wait_for_writes(100);

    let signal = bed.cluster.server(0).data().join("standby.signal");
    wait_until("it is fenced", || signal.exists());
    std::fs::remove_file(&signal).unwrap();
    bed.cluster
        .server_mut(0)
        .configure("synchronous_standby_names = ''\n");
    let before = bed.cluster.server_mut(0).aside(traffic::digest);
    let reads = traffic.seen.reads_of(bed.cluster.server(0));
    bed.cluster.server_mut(0).start();
    bed.story.wait_for("it is refused", |event| {
        matches!(
            event,
            Event::Refused {
                why: Fenced::StalePrimary,
                ..
            }
        )
    });
    traffic.wait_for_writes(200);
    traffic.wait_for_reads(200);
    wait_until("it is fenced once more", || signal.exists());
    let old = bed.cluster.server_mut(0);
    old.reap();
    assert_eq!(old.aside(traffic::digest), before, "it was written to");
    assert_eq!(traffic.seen.reads_of(old), reads, "it was read");

    bed.recovers(true);
    bed.wait_until_complete();
    let seen = bed.block_on(traffic.stop());
    seen.assert_no_write_failed();
    seen.assert_no_read_failed();
    let primary = bed.primary();
    seen.assert_nothing_lost(bed.cluster.server(primary));
    bed.cluster.wait_until_applied(primary, 0);
    assert_eq!(
        traffic::digest(bed.cluster.server(0)),
        traffic::digest(bed.cluster.server(primary))
    );
}

/// Asynchronous replication, and what was acknowledged last is nowhere but on the primary that dies.
fn lose_what_was_not_sent(order: RecoveryOrder) {
    let mut bed = Bed::new(Replication::Asynchronous, |settings| {
        settings
            .order(order)
            .restart_grace(SECOND / 4)
            .max_ejection(2 * SECOND)
    });
    let servers = bed.cluster.endpoints();
    workload::create(bed.cluster.server(0));
    bed.block_on(bed.connector.keep_recovery_slot(&servers[0]))
        .unwrap();
    let traffic = bed.traffic(3, 3);
    traffic.wait_for_writes(100);
    bed.block_on(async {
        for replica in &servers[1..] {
            bed.connector.stop_receiver(replica).await.unwrap();
        }
    });
    let sent = traffic.seen.acknowledged();
    workload::write_unsent(bed.cluster.server(0));
    let expected = workload::digest(bed.cluster.server(0));
    traffic.wait_for_writes(200);
    bed.recovers(false);
    let killed = bed.kill(0);
    let unsent = traffic.seen.acknowledged() - sent;
    bed.wait_until_failed_over();
    let has_all = workload::digest(bed.primary_server()) == expected;
    assert_eq!(has_all, order == RecoveryOrder::DataFirst);
    traffic.wait_for_writes(200);
    bed.recovers(true);
    bed.wait_until_complete();
    let back = killed.elapsed();
    let seen = bed.block_on(traffic.stop());
    print_failover(&bed, &seen, killed);
    tell(format_args!(
        "failover: {order:?}: about {unsent} writes were on the dead primary only; it is a replica {} ms after its death",
        back.as_millis()
    ));
    let primary = bed.primary_server();
    seen.assert_no_read_failed();
    seen.assert_no_write_failed();
    seen.assert_nothing_lost(primary);
    assert_eq!(workload::digest(primary), expected);
    for replica in (0..3).filter(|&replica| replica != bed.primary()) {
        bed.cluster.wait_until_applied(bed.primary(), replica);
        let replica = bed.cluster.server(replica);
        assert_eq!(traffic::digest(replica), traffic::digest(primary));
        assert_eq!(workload::digest(replica), expected);
    }
}

#[test]
fn what_was_not_sent_is_salvaged_first() {
    lose_what_was_not_sent(RecoveryOrder::DataFirst);
}

#[test]
fn what_was_not_sent_is_recovered_behind_the_new_primary() {
    lose_what_was_not_sent(RecoveryOrder::AvailabilityFirst);
}

/// How long a primary may be away, if nobody says otherwise.
const GRACE: Duration = Duration::from_secs(2);

/// So often a server may take too long to start.
const RESTARTS: u32 = 6;

/// With nothing set. How long a server takes to start is the machine's business, so it is tried again until one was back
/// in time.
#[test]
fn a_primary_that_restarts_within_two_seconds_is_not_failed_over() {
    let back_in_time = (0..RESTARTS).any(|_| restarts_in_time());
    assert!(
        back_in_time,
        "none of {RESTARTS} servers was back within {GRACE:?}"
    );
}

/// Whether a killed primary was back within the grace; if it was, nobody took its place.
fn restarts_in_time() -> bool {
    let mut bed = Bed::new(Replication::Asynchronous, |settings| settings);
    // If somebody takes its place, nobody but this test starts it again.
    bed.recovers(false);
    let traffic = bed.traffic(3, 3);
    traffic.wait_for_writes(100);
    let killed = bed.kill(0);
    // Long enough for every other sign of its death.
    wait_until("it has been away for a while", || {
        killed.elapsed() > 7 * SECOND / 10
    });
    let started = bed.cluster.server_mut(0).starts_by(killed + GRACE);
    let back = killed.elapsed();
    let too_early = bed.story.entered(Phase::Fencing);
    assert!(
        too_early.is_none_or(|at| at >= killed + GRACE),
        "failed over"
    );
    if !started || back >= GRACE {
        bed.block_on(traffic.stop());
        return false;
    }
    traffic.wait_for_writes(100);
    bed.wait_until_complete();
    let seen = bed.block_on(traffic.stop());
    let written = seen.first_write_after(killed + back).unwrap();
    tell(format_args!(
        "restart: the primary was back after {} ms, and written to {} ms later",
        back.as_millis(),
        written.duration_since(killed + back).as_millis()
    ));
    assert_eq!(bed.story.entered(Phase::Fencing), None);
    assert_eq!(bed.pool.topology().epoch().unwrap().timeline, 1);
    assert_eq!(bed.primary(), 0);
    seen.assert_no_write_failed();
    seen.assert_no_read_failed();
    seen.assert_nothing_lost(bed.primary_server());
    true
}

#[test]
fn a_replica_that_lags_is_not_read_where_that_matters() {
    let bed = Bed::new(Replication::Asynchronous, |settings| {
        settings.probe_interval(SECOND / 10)
    });
    let traffic = bed.traffic(2, 2);
    bed.cluster.server(2).sql("SELECT pg_wal_replay_pause()");
    wait_until("it lags", || {
        let topology = bed.pool.topology();
        let lag = topology.find("db2").and_then(Node::lag);
        lag.is_some_and(|lag| lag > SECOND)
    });
    let token = bed.block_on(async {
        let lent = bed.pool.write_async().await.unwrap();
        lent.execute("INSERT INTO written VALUES (100, 0)", &[])
            .await
            .unwrap();
        lent.commit_token(lent.position().await.unwrap()).unwrap()
    });
    let lagging = bed.cluster.server(2).port();
    let read = |preference: &ReadPreference| {
        let op = Op::read().preference(preference.clone());
        bed.block_on(bed.pool.run_async(&op, traffic::port_of))
            .unwrap()
    };
    for preference in [
        ReadPreference::MaxLag(SECOND),
        ReadPreference::AtLeast(token, 5 * SECOND),
    ] {
        let late = (0..100).filter(|_| read(&preference) == lagging).count();
        assert_eq!(late, 0, "{preference:?}");
    }
    // Who does not mind is sent there as well.
    wait_until("it is read", || read(&ReadPreference::Replica) == lagging);
    bed.cluster.server(2).sql("SELECT pg_wal_replay_resume()");
    wait_until("it has caught up", || {
        read(&ReadPreference::MaxLag(SECOND)) == lagging
    });
    bed.block_on(traffic.stop()).assert_no_read_failed();
}
