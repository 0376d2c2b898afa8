//! A cluster of PostgreSQL servers, the pool over it, and what the pool says meanwhile.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program that has this module uses a part"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tenfold::postgres::PostgresConnector;
use tenfold::postgres::recovery::PostgresRecovery;
use tenfold::replica::pool::PoolOptions;
use tenfold::replica::topology::{
    Authority, Event, Phase, Promotion, Settings, SettingsBuilder, Synchronous,
};
use tenfold::replica::{LostWrites, Regained, ReplicaPool};
use tenfold::time::Timer;
use tokio::runtime::{EnterGuard, Runtime};

use super::cluster::{Cluster, Replication, Server, tell, wait_until};
use super::traffic::{self, Pool, Traffic};
use super::workload;

/// Connections to each server.
pub const CONNECTIONS: usize = 8;

pub struct Bed {
    pub pool: Pool,
    pub connector: PostgresConnector,
    pub story: Story,
    recovers: Arc<AtomicBool>,
    /// Goes before the servers do.
    runtime: Runtime,
    pub cluster: Cluster,
}

impl Bed {
    /// With a monitor that leads failovers and recovers what was lost.
    pub fn new(
        replication: Replication,
        settings: impl FnOnce(SettingsBuilder) -> SettingsBuilder,
    ) -> Self {
        let cluster = Cluster::start(replication);
        traffic::create(cluster.server(0));
        Self::over(cluster, replication, settings)
    }

    /// Over a cluster that is there already, and that something may have happened to.
    pub fn over(
        cluster: Cluster,
        replication: Replication,
        settings: impl FnOnce(SettingsBuilder) -> SettingsBuilder,
    ) -> Self {
        let [primary, one, two] = cluster.endpoints().try_into().unwrap();
        let builder = Settings::builder()
            .primary(primary)
            .replica(one)
            .replica(two)
            .promotion(Promotion::Active(Authority::SoleController));
        let builder = match replication {
            Replication::Asynchronous => builder,
            Replication::AnyOne => builder.synchronous(Synchronous::any(1, ["db1", "db2"])),
        };
        let settings = settings(builder).build().unwrap();
        let connector = cluster.connector();
        let runtime = workload::runtime();
        let pool = ReplicaPool::builder(tenfold::replica::Async(connector.clone()), settings)
            .pools(PoolOptions::new().max_size(CONNECTIONS))
            .timer(Timer::from_sleep(tokio::time::sleep))
            .build()
            .unwrap();
        let story = Story::follow(&pool, &runtime);
        let recovers = Arc::new(AtomicBool::new(true));
        let (may, client) = (Arc::clone(&recovers), connector.clone());
        let monitor = pool.monitor_async().promoting().recovering(move |lost| {
            let (may, client) = (may.load(Ordering::Relaxed), client.clone());
            async move {
                if may {
                    recover(&client, lost).await
                } else {
                    None
                }
            }
        });
        runtime.spawn(monitor.run());
        let bed = Self {
            pool,
            connector,
            story,
            recovers,
            runtime,
            cluster,
        };
        bed.wait_until_complete();
        bed
    }

    /// One primary, and both others serve.
    pub fn wait_until_complete(&self) {
        wait_until("all servers serve", || {
            let topology = self.pool.topology();
            topology.phase() == Phase::Normal && topology.serving().len() == 2
        });
    }

    /// Until writes go to another server than at first.
    pub fn wait_until_failed_over(&self) {
        self.story.wait_for("another is primary", |event| {
            matches!(event, Event::PrimaryChanged { from: Some(_), .. })
        });
    }

    /// Whether what a former primary has is recovered, or is to wait.
    pub fn recovers(&self, may: bool) {
        self.recovers.store(may, Ordering::Relaxed);
    }

    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn traffic(&self, writers: i32, readers: usize) -> Traffic {
        let _here = self.enter();
        Traffic::start(&self.pool, writers, readers)
    }

    /// The number of the primary in the cluster.
    pub fn primary(&self) -> usize {
        let topology = self.pool.topology();
        let writer = topology.writer().and_then(|node| topology.node(node));
        let name = writer.expect("there is a primary").endpoint().name();
        (0..3)
            .find(|&number| self.cluster.server(number).name() == name)
            .unwrap()
    }

    pub fn primary_server(&self) -> &Server {
        self.cluster.server(self.primary())
    }

    /// Kills the primary, and says when.
    pub fn kill(&mut self, number: usize) -> Instant {
        let at = Instant::now();
        self.cluster.server_mut(number).kill();
        at
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.story.print();
        }
        self.pool.close();
    }
}

async fn recover(connector: &PostgresConnector, lost: LostWrites) -> Regained {
    let failed = |error: tenfold::postgres::PostgresError| eprintln!("recovery: {error:?}");
    let recovery = PostgresRecovery::open(connector, &lost.from, &lost.to).await;
    let recovery = recovery.map_err(failed).ok()?;
    if let Ok(nothing_lost) = recovery.nothing_lost() {
        return Some(Ok(nothing_lost));
    }
    let begun = Instant::now();
    let report = recovery.run(connector).await.map_err(failed).ok()?;
    tell(format_args!(
        "recovery: {} writes in {} ms",
        report.recovered(),
        begun.elapsed().as_millis()
    ));
    if let Err(incomplete) = report.complete() {
        tell(format_args!("recovery: {incomplete}\n{report}"));
    }
    Some(report.complete())
}

/// What the pool has told, and when.
#[derive(Clone)]
pub struct Story {
    begun: Instant,
    told: Arc<Mutex<Vec<(Instant, Event)>>>,
}

impl Story {
    fn follow(pool: &Pool, runtime: &Runtime) -> Self {
        let story = Self {
            begun: Instant::now(),
            told: Arc::default(),
        };
        let (told, mut events) = (Arc::clone(&story.told), pool.events());
        runtime.spawn(async move {
            while let Some(event) = events.next().await {
                told.lock().unwrap().push((Instant::now(), event));
            }
        });
        story
    }

    /// When the last such event was told.
    pub fn when(&self, is_it: impl Fn(&Event) -> bool) -> Option<Instant> {
        let told = self.told.lock().unwrap();
        let last = told.iter().rev().find(|(_, event)| is_it(event));
        last.map(|(at, _)| *at)
    }

    /// When the cluster last entered this phase.
    pub fn entered(&self, phase: Phase) -> Option<Instant> {
        self.when(|event| matches!(event, Event::Phase { to, .. } if *to == phase))
    }

    /// Waits for an event that may have been told already.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Instant {
        wait_until(what, || self.when(&is_it).is_some());
        self.when(is_it).unwrap()
    }

    pub fn print(&self) {
        for (at, event) in &*self.told.lock().unwrap() {
            let at = at.duration_since(self.begun);
            eprintln!("{:8.3} s  {event}", at.as_secs_f64());
        }
    }
}
