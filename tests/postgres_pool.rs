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
use cluster::{Replication, wait_until};
use tenfold::postgres::PostgresConnection;
use tenfold::replica::topology::{Event, Phase, RecoveryOrder};
use tenfold::replica::{Op, ReadPreference};

const SECOND: Duration = Duration::from_secs(1);

/// Prints how long a failover took, after a server was killed at this moment.
fn print_failover(bed: &Bed, seen: &traffic::Seen, killed: Instant) {
    let decided = bed.story.entered(Phase::Fencing).unwrap();
    let promoting = bed.story.entered(Phase::Promoting).unwrap();
    let is_change = |event: &Event| matches!(event, Event::PrimaryChanged { from: Some(_), .. });
    let promoted = bed.story.when(is_change).unwrap();
    let written = seen.first_write_after(decided).unwrap();
    let ms = |from: Instant, to: Instant| to.duration_since(from).as_millis();
    eprintln!(
        "failover: detected after {} ms, first write {} ms after the decision, of which {} ms is the promotion",
        ms(killed, decided),
        ms(decided, written),
        ms(promoting, promoted),
    );
    if let Some(salvaging) = bed.story.entered(Phase::Salvaging) {
        eprintln!("failover: salvage took {} ms", ms(salvaging, promoting));
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
    bed.story.wait_for("another is primary", |event| {
        matches!(event, Event::PrimaryChanged { from: Some(_), .. })
    });
    traffic.wait_for_writes(200);
    let seen = bed.block_on(traffic.stop());
    print_failover(&bed, &seen, killed);
    bed.wait_until_complete();
    seen.assert_no_write_failed();
    seen.assert_no_read_failed();
    seen.assert_nothing_lost(bed.primary_server());
    assert_ne!(bed.primary(), 0);
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
    eprintln!(
        "without replicas: {most} reads at once on the primary, of {CONNECTIONS} connections"
    );
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
    let begun = Instant::now();
    let stale_without = bed.block_on(stale_reads(&bed.pool, false));
    let without = begun.elapsed();
    let stale_with = bed.block_on(stale_reads(&bed.pool, true));
    eprintln!(
        "read your writes: {stale_with} of {} reads stale with a token, {stale_without} without; {} and {} ms",
        CLIENTS * ROUNDS,
        (begun.elapsed() - without).as_millis(),
        without.as_millis(),
    );
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
