//! A primary dies with writes that no replica has, a replica takes its place at once, and the writes come back: on a real
//! PostgreSQL, started in a temporary directory.
//!
//! ```text
//! cargo run --release --features postgres --example postgres_failover
//! ```
//!
//! Needs PostgreSQL's programs: the Debian package `postgresql`.

#[path = "../tests/postgres/cluster.rs"]
mod cluster;

use std::error::Error;
use std::time::{Duration, Instant};

use cluster::{Cluster, Replication};
use tenfold::postgres::PostgresConnector;
use tenfold::postgres::recovery::PostgresRecovery;
use tenfold::replica::{AsyncConnector, AsyncProber, AsyncPromoter, Endpoint, Epoch};

fn main() -> Result<(), Box<dyn Error>> {
    let mut story = Story::begin();
    let mut cluster = Cluster::start(Replication::Asynchronous);
    story.tell("db0 is primary, db1 and db2 follow it");
    let connector = cluster.connector();
    let servers = cluster.endpoints();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;

    runtime.block_on(async {
        connector.keep_recovery_slot(&servers[0]).await?;
        let shop = connector.connect(&servers[0]).await?;
        shop.batch_execute(
            "CREATE TABLE orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), what text, paid bool DEFAULT false)",
        )
        .await?;
        order(&shop, 1_000).await?;
        story.tell("1000 orders, and the replicas have them all");
        // As if the network to the replicas were gone.
        wait_for(&connector, &servers[1], &shop).await?;
        wait_for(&connector, &servers[2], &shop).await?;
        connector.stop_receiver(&servers[1]).await?;
        connector.stop_receiver(&servers[2]).await?;
        order(&shop, 50).await?;
        shop.execute( "UPDATE orders SET paid = true WHERE what IN ('order 1', 'order 2')", &[]).await?;
        story.tell("50 more orders and 4 payments, acknowledged, on db0 only");
        Ok::<_, Box<dyn Error>>(())
    })?;
    cluster.server_mut(0).kill();
    story.tell("kill -9 db0");

    runtime.block_on(async {
        connector.fence(&servers[0], Epoch::default()).await?;
        story.tell("db0 is fenced: whoever starts it gets a replica");
        let decided = Instant::now();
        let epoch = connector.promote(&servers[1]).await?;
        let promoted = decided.elapsed();
        let shop = connector.connect(&servers[1]).await?;
        order(&shop, 1).await?;
        story.tell(&format!(
            "db1 is primary, {epoch}: promoted in {promoted:.0?}, first order {:.0?} after the decision",
            decided.elapsed()
        ));
        connector.follow(&servers[2], &servers[1]).await?;
        story.tell("db2 follows db1");
        count(&mut story, &shop).await?;

        let recovery = PostgresRecovery::open(&connector, &servers[0], &servers[1]).await?;
        story.tell(&format!(
            "db0's log is safe; db1 lacks {} transactions behind {}",
            recovery.lost(),
            recovery.fork().position
        ));
        let report = recovery.run(&connector).await?;
        story.tell("recovered:");
        for line in report.to_string().lines() {
            println!("            {line}");
        }
        count(&mut story, &shop).await?;
        let Ok(complete) = report.complete() else {
            story.tell("not everything could be applied: both sides are in the report, and db0 keeps its log");
            return Ok(());
        };
        connector.rejoin(&servers[0], &servers[1], &complete).await?;
        story.tell("db0 is rewound, and follows db1");
        Ok::<_, Box<dyn Error>>(())
    })
}

async fn order(shop: &tokio_postgres::Client, orders: i32) -> Result<(), tokio_postgres::Error> {
    for number in 0..orders {
        let what = format!("order {number}");
        shop.execute("INSERT INTO orders (what) VALUES ($1)", &[&what])
            .await?;
    }
    Ok(())
}

async fn count(story: &mut Story, shop: &tokio_postgres::Client) -> Result<(), Box<dyn Error>> {
    let row = shop
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE paid) FROM orders",
            &[],
        )
        .await?;
    let (orders, paid): (i64, i64) = (row.get(0), row.get(1));
    story.tell(&format!("the new primary has {orders} orders, {paid} paid"));
    Ok(())
}

async fn wait_for(
    connector: &PostgresConnector,
    replica: &Endpoint,
    primary: &tenfold::postgres::PostgresConnection,
) -> Result<(), Box<dyn Error>> {
    let written = primary.position().await?;
    let mut connection = connector.connect(replica).await?;
    while connector.probe(&mut connection).await?.position < written {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// What happened when.
struct Story {
    begun: Instant,
}

impl Story {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    fn tell(&mut self, what: &str) {
        println!("{:>8.3} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}
