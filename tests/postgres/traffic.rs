//! Reads and writes through a pool, from many tasks at once, and what came of each.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program that has this module uses a part"
)]

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tenfold::postgres::{PostgresConnection, PostgresConnector, PostgresError};
use tenfold::replica::{Async, Op, ReplicaError, ReplicaPool};
use tokio::task::JoinHandle;

use super::cluster::{Server, wait_until};

pub type Pool = ReplicaPool<Async<PostgresConnector>>;

/// A write is a row that nobody else writes.
type Written = (i32, i32);

/// What came of everything that was asked so far.
#[derive(Default)]
pub struct Seen {
    acknowledged: Mutex<Vec<(Written, Instant)>>,
    /// They may be there, or not.
    uncertain: Mutex<HashSet<Written>>,
    failed_writes: Mutex<Vec<String>>,
    failed_reads: Mutex<Vec<String>>,
    /// How many reads each server has answered, by its port.
    reads: Mutex<BTreeMap<u16, usize>>,
    reading_on_primary: AtomicUsize,
    most_on_primary: AtomicUsize,
}

impl Seen {
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub fn uncertain(&self) -> usize {
        self.uncertain.lock().unwrap().len()
    }

    pub fn reads(&self) -> usize {
        self.reads.lock().unwrap().values().sum()
    }

    pub fn reads_of(&self, server: &Server) -> usize {
        let reads = self.reads.lock().unwrap();
        reads.get(&server.port()).copied().unwrap_or_default()
    }

    /// How many reads were on the primary at the same time, at most.
    pub fn most_on_primary(&self) -> usize {
        self.most_on_primary.load(Ordering::Relaxed)
    }

    /// When the first write after this moment was acknowledged.
    pub fn first_write_after(&self, moment: Instant) -> Option<Instant> {
        let acknowledged = self.acknowledged.lock().unwrap();
        let times = acknowledged.iter().map(|(_, at)| *at);
        times.filter(|at| *at > moment).min()
    }

    pub fn assert_no_read_failed(&self) {
        let failed = self.failed_reads.lock().unwrap();
        assert!(failed.is_empty(), "reads failed: {failed:?}");
    }

    /// Neither failed nor uncertain.
    pub fn assert_every_write_succeeded(&self) {
        self.assert_no_write_failed();
        assert_eq!(self.uncertain(), 0, "uncertain writes");
    }

    pub fn assert_no_write_failed(&self) {
        let failed = self.failed_writes.lock().unwrap();
        assert!(failed.is_empty(), "writes failed: {failed:?}");
    }

    /// Every write that was acknowledged is there, and nothing that was not written.
    pub fn assert_nothing_lost(&self, server: &Server) {
        let there = written(server);
        let acknowledged = self.acknowledged.lock().unwrap();
        let uncertain = self.uncertain.lock().unwrap();
        let asked: HashSet<Written> = acknowledged.iter().map(|(write, _)| *write).collect();
        let lost: Vec<_> = asked.difference(&there).collect();
        let (all, name) = (asked.len(), server.name());
        assert!(
            lost.is_empty(),
            "{} of {all} lost on {name}: {lost:?}",
            lost.len()
        );
        let unasked = there.iter().filter(|write| !asked.contains(write));
        let unasked: Vec<_> = unasked.filter(|write| !uncertain.contains(write)).collect();
        assert!(unasked.is_empty(), "nobody wrote {unasked:?}");
    }

    fn write(&self, write: Written, outcome: Result<u64, ReplicaError<PostgresError>>) {
        match outcome {
            Ok(_) => {
                let mut acknowledged = self.acknowledged.lock().unwrap();
                acknowledged.push((write, Instant::now()));
            }
            Err(ReplicaError::Uncertain(_) | ReplicaError::RoleChanged(_)) => {
                self.uncertain.lock().unwrap().insert(write);
            }
            Err(ReplicaError::Closed) => {}
            Err(error) => self.failed_writes.lock().unwrap().push(tell(&error)),
        }
    }

    fn read(&self, outcome: Result<u16, ReplicaError<PostgresError>>) {
        match outcome {
            Ok(port) => *self.reads.lock().unwrap().entry(port).or_default() += 1,
            Err(ReplicaError::Closed) => {}
            Err(error) => self.failed_reads.lock().unwrap().push(tell(&error)),
        }
    }
}

fn tell(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The table that everybody writes to.
pub fn create(primary: &Server) {
    primary.sql("CREATE TABLE written (writer int, number int, PRIMARY KEY (writer, number))");
    primary.sql("INSERT INTO written VALUES (-1, -1)");
}

/// What is in it, but for the first row.
fn written(server: &Server) -> HashSet<Written> {
    let rows = server.sql("SELECT writer, number FROM written WHERE writer >= 0");
    let row = |line: &str| {
        let (writer, number) = line.split_once('|').unwrap();
        (writer.parse().unwrap(), number.parse().unwrap())
    };
    rows.lines().map(row).collect()
}

/// Count and checksum of its rows.
pub fn digest(server: &Server) -> String {
    server.sql(
        "SELECT count(*), md5(string_agg(w::text, ',' ORDER BY writer, number)) FROM written w",
    )
}

/// Tasks that read and write until they are stopped.
pub struct Traffic {
    pub seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// On the runtime that the caller has entered.
    pub fn start(pool: &Pool, writers: i32, readers: usize) -> Self {
        let traffic = Self {
            seen: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        let parts = || {
            let stop = Arc::clone(&traffic.stop);
            (pool.clone(), Arc::clone(&traffic.seen), stop)
        };
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let (pool, seen, stop) = parts();
            tasks.push(tokio::spawn(write(pool, seen, stop, writer)));
        }
        for _ in 0..readers {
            let (pool, seen, stop) = parts();
            tasks.push(tokio::spawn(read(pool, seen, stop)));
        }
        Self { tasks, ..traffic }
    }

    pub fn wait_for_writes(&self, more: usize) {
        let until = self.seen.acknowledged() + more;
        wait_until("more writes are acknowledged", || {
            self.seen.acknowledged() >= until
        });
    }

    pub fn wait_for_reads(&self, more: usize) {
        let until = self.seen.reads() + more;
        wait_until("more reads are answered", || self.seen.reads() >= until);
    }

    /// Lets what is under way come to its end.
    pub async fn stop(self) -> Arc<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.seen
    }
}

async fn write(pool: Pool, seen: Arc<Seen>, stop: Arc<AtomicBool>, writer: i32) {
    let (op, mut number) = (Op::write(), 0);
    while !stop.load(Ordering::Relaxed) {
        let insert = async move |connection: &mut PostgresConnection| {
            let insert = "INSERT INTO written VALUES ($1, $2)";
            Ok(connection.execute(insert, &[&writer, &number]).await?)
        };
        let outcome = pool.run_async(&op, insert).await;
        seen.write((writer, number), outcome);
        number += 1;
        // A closed pool answers at once, and the runtime has to end.
        tokio::task::yield_now().await;
    }
}

async fn read(pool: Pool, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    let op = Op::read();
    while !stop.load(Ordering::Relaxed) {
        let noted = Arc::clone(&seen);
        let select = async move |connection: &mut PostgresConnection| {
            let _here = OnPrimary::count(&noted, connection);
            port_of(connection).await
        };
        seen.read(pool.run_async(&op, select).await);
        tokio::task::yield_now().await;
    }
}

/// The port of whoever answers, with a row of the table.
pub async fn port_of(connection: &mut PostgresConnection) -> Result<u16, PostgresError> {
    let select = "SELECT inet_server_port() FROM written WHERE writer = -1";
    let port: i32 = connection.query_one(select, &[]).await?.get(0);
    Ok(u16::try_from(port).unwrap())
}

/// A read that is on the primary while this lives.
struct OnPrimary<'a>(Option<&'a Seen>);

impl<'a> OnPrimary<'a> {
    fn count(seen: &'a Seen, connection: &PostgresConnection) -> Self {
        let here = connection.in_hot_standby() == Some(false);
        let seen = here.then_some(seen);
        if let Some(seen) = seen {
            let now = seen.reading_on_primary.fetch_add(1, Ordering::Relaxed) + 1;
            seen.most_on_primary.fetch_max(now, Ordering::Relaxed);
        }
        Self(seen)
    }
}

impl Drop for OnPrimary<'_> {
    fn drop(&mut self) {
        if let Some(seen) = self.0 {
            seen.reading_on_primary.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
