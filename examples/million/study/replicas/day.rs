use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use tenfold::replica::pool::PoolOptions;
use tenfold::replica::topology::{Authority, Promotion, Settings, Synchronous};
use tenfold::replica::{
    Async, CausalToken, Endpoint, Op, Position, ReadPreference, ReplicaError, ReplicaPool,
};
use tenfold::time::{Instant, ManualClock};

use super::Replicas;
use super::cluster::{Cluster, Connection, Problem};
use super::tasks::{Tasks, before};
use crate::study::SEED;

/// A day of one primary and its replicas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    pub(super) reads_a_second: u64,
    pub(super) writes_a_second: u64,
    pub(super) lasts: Duration,
    pub(super) trouble: Trouble,
    pub(super) means: Means,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// One replica is dead from the end of the first third of the day to that of the second.
    Replica,
    /// All of them are.
    Replicas,
    /// The primary dies; with its disk, or it is started again later.
    Primary { disk: bool },
    /// Nothing goes wrong, and whoever writes reads it at once.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Lists in the configuration of each process.
    Lists,
    Pool {
        synchronous: bool,
    },
}

/// What callers saw.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Seen {
    pub(crate) reads: u64,
    pub(crate) failed_reads: u64,
    pub(crate) writes: u64,
    pub(crate) failed_writes: u64,
    /// Writes that failed, and may have been done.
    pub(crate) uncertain: u64,
    /// Reads after a write of one's own that did not show it, and those that the primary answered.
    pub(crate) own_reads: u64,
    pub(crate) stale: u64,
    pub(crate) own_on_primary: u64,
    /// Acknowledged by the primary when it was the only one, and gone.
    pub(crate) lost: u64,
    /// Taken by a former primary when there was a new one.
    pub(crate) misplaced: u64,
    /// How long the slowest write took that was done, and 99 of 100 while there was trouble.
    pub(crate) slowest_write: Duration,
    pub(crate) p99_write: Duration,
    /// Failed writes, by the second in which they began.
    pub(crate) seconds: Vec<u64>,
}

impl Day {
    pub(super) fn run(&self) -> Result<Seen, Box<dyn Error>> {
        let clock = ManualClock::new();
        let synchronous = self.means == Means::Pool { synchronous: true };
        let cluster = Cluster::new(&clock, synchronous);
        let pool = match self.means {
            Means::Lists => None,
            Means::Pool { synchronous } => Some(pool(&cluster, &clock, synchronous)?),
        };
        let world = World {
            day: *self,
            start: clock.now() + SETTLES,
            primaries: [const { Cell::new(0) }; Replicas::PROCESSES],
            acknowledged: RefCell::default(),
            writes_took: RefCell::default(),
            seen: RefCell::new(Seen {
                seconds: vec![0; self.lasts.as_secs() as usize],
                ..Seen::default()
            }),
            clock,
            cluster,
            pool,
        };
        world.run();
        Ok(world.into_seen())
    }

    /// When the trouble begins and when it ends.
    pub(super) fn trouble_lasts(&self) -> (Duration, Duration) {
        match self.trouble {
            Trouble::Primary { .. } => (Replicas::DIES, Replicas::RETURNS),
            _ => (self.lasts / 3, self.lasts * 2 / 3),
        }
    }
}

struct World {
    day: Day,
    clock: ManualClock,
    start: Instant,
    cluster: Cluster,
    pool: Option<Pool>,
    /// Whom each process takes for the primary, by its configuration.
    primaries: [Cell<usize>; Replicas::PROCESSES],
    acknowledged: RefCell<Vec<u64>>,
    writes_took: RefCell<Vec<Duration>>,
    seen: RefCell<Seen>,
}

type Pool = ReplicaPool<Async<Cluster>>;

/// A write that was acknowledged: what has to be seen of it, and by what token.
struct Written {
    position: Position,
    token: Option<CausalToken>,
}

impl World {
    fn run(&self) {
        let mut tasks = Tasks::new();
        if let Some(pool) = &self.pool {
            let cluster = self.cluster.clone();
            let monitor = pool.monitor_async().promoting();
            let monitor = monitor.recovering(move |lost| {
                let regained = cluster.regain(&lost);
                async move { regained }
            });
            tasks.spawn(monitor.run());
        }
        let mut numbers = 0..;
        let end = self.start + self.day.lasts;
        while self.clock.now() < end + Replicas::PATIENCE + STEP {
            let now = self.clock.now();
            self.cluster.replicate();
            if now >= self.start && now < end {
                let step = (now.saturating_since(self.start).as_millis() / STEP.as_millis()) as u64;
                self.trouble(step);
                let due = |rate: u64| rate * (step + 1) / STEPS - rate * step / STEPS;
                for number in numbers.by_ref().take(due(self.day.reads_a_second) as usize) {
                    tasks.spawn(self.reader(number));
                }
                for number in numbers
                    .by_ref()
                    .take(due(self.day.writes_a_second) as usize)
                {
                    tasks.spawn(self.writer(number));
                }
            }
            tasks.run();
            self.clock.advance(STEP);
        }
    }

    fn trouble(&self, step: u64) {
        let at = |moment: Duration| moment.as_millis() == u128::from(step) * STEP.as_millis();
        let (begins, ends) = self.day.trouble_lasts();
        let affected = match self.day.trouble {
            Trouble::None => return,
            Trouble::Replica => 1..2,
            Trouble::Replicas => 1..Replicas::REPLICAS + 1,
            Trouble::Primary { .. } => 0..1,
        };
        let disk = self.day.trouble != Trouble::Primary { disk: false };
        for server in affected {
            if at(begins) {
                self.cluster.kill(server, disk);
            } else if at(ends) && disk {
                self.cluster.start(server);
            }
        }
        let by_hand = disk && self.pool.is_none() && begins == Replicas::DIES;
        if by_hand && at(Replicas::DIES + Replicas::EDITED_AFTER) {
            self.cluster.promote_by_hand(1);
            // One process is forgotten.
            self.primaries[1..]
                .iter()
                .for_each(|primary| primary.set(1));
        }
    }

    async fn reader(&self, number: u64) {
        let read = async {
            match &self.pool {
                None => self.read_by_list(number).await.is_ok(),
                Some(pool) => {
                    let op = Op::read().within(Replicas::READ_WAITS);
                    let read = pool.run_async(&op, async |connection| connection.read().await);
                    read.await.is_ok()
                }
            }
        };
        let done = before(self.patience(), read).await == Some(true);
        let mut seen = self.seen.borrow_mut();
        seen.reads += 1;
        seen.failed_reads += u64::from(!done);
    }

    /// Round robin. Where all are expected to be dead, somebody has thought of the primary, but not of how much it takes.
    async fn read_by_list(&self, number: u64) -> Result<(Position, usize), Problem> {
        let replica = 1 + (number % Replicas::REPLICAS as u64) as usize;
        let connection = match self.cluster.open(replica) {
            Err(_) if self.day.trouble == Trouble::Replicas => self.cluster.open(0)?,
            opened => opened?,
        };
        Ok((connection.read().await?, connection.server()))
    }

    async fn writer(&self, number: u64) {
        let began = self.clock.now();
        let write = async {
            match &self.pool {
                None => self.write_by_list(number).await,
                Some(pool) => self.write_by_pool(pool, number).await,
            }
        };
        let written = before(self.patience(), write).await.flatten();
        let now = self.clock.now();
        self.note_write(number, began, now, written.is_some());
        if let Some(written) = written
            && self.day.trouble == Trouble::None
        {
            for pause in OWN_READS {
                self.pause(pause).await;
                self.read_own(number, &written).await;
            }
        }
    }

    fn note_write(&self, number: u64, began: Instant, now: Instant, done: bool) {
        let mut seen = self.seen.borrow_mut();
        let at = began.saturating_since(self.start);
        seen.writes += 1;
        if !done {
            seen.failed_writes += 1;
            if let Some(second) = seen.seconds.get_mut(at.as_secs() as usize) {
                *second += 1;
            }
            return;
        }
        let took = now.saturating_since(began);
        seen.slowest_write = seen.slowest_write.max(took);
        let (begins, ends) = self.day.trouble_lasts();
        if (begins..ends).contains(&at) {
            self.writes_took.borrow_mut().push(took);
        }
        self.acknowledged.borrow_mut().push(number);
    }

    async fn write_by_list(&self, number: u64) -> Option<Written> {
        // Every other call is a read.
        let process = &self.primaries[(number / 2 % Replicas::PROCESSES as u64) as usize];
        let connection = self.cluster.open(process.get()).ok()?;
        let position = connection.write(number).await.ok()?;
        let token = None;
        Some(Written { position, token })
    }

    async fn write_by_pool(&self, pool: &Pool, number: u64) -> Option<Written> {
        let lent = pool.write_within_async(Replicas::PATIENCE).await;
        let mut lent = lent.ok()?;
        match lent.write(number).await {
            Ok(position) => {
                let token = lent.commit_token(position).ok();
                lent.finish().ok()?;
                Some(Written { position, token })
            }
            Err(problem) => {
                let fault = lent.failed(&problem);
                self.seen.borrow_mut().uncertain += u64::from(!fault.not_done());
                None
            }
        }
    }

    async fn read_own(&self, number: u64, written: &Written) {
        let read = match (&self.pool, written.token) {
            (Some(pool), Some(token)) => read_at_least(pool, token).await.ok(),
            _ => self.read_by_list(number).await.ok(),
        };
        let mut seen = self.seen.borrow_mut();
        seen.own_reads += 1;
        let Some((position, server)) = read else {
            seen.failed_reads += 1;
            return;
        };
        seen.stale += u64::from(position < written.position);
        seen.own_on_primary += u64::from(server == 0);
    }

    async fn patience(&self) {
        self.pause(Replicas::PATIENCE).await;
    }

    async fn pause(&self, pause: Duration) {
        self.clock.timer().sleep(pause).await;
    }

    fn into_seen(self) -> Seen {
        let kept: BTreeSet<u64> = self.cluster.kept().into_iter().collect();
        let misplaced = self.cluster.misplaced();
        let elsewhere: BTreeSet<u64> = misplaced.iter().copied().collect();
        let acknowledged = self.acknowledged.into_inner();
        let lost = acknowledged
            .iter()
            .filter(|number| !kept.contains(number) && !elsewhere.contains(number));
        let mut took = self.writes_took.into_inner();
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied();
        Seen {
            lost: lost.count() as u64,
            misplaced: misplaced.len() as u64,
            p99_write: p99.unwrap_or_default(),
            ..self.seen.into_inner()
        }
    }
}

async fn read_at_least(
    pool: &Pool,
    token: CausalToken,
) -> Result<(Position, usize), ReplicaError<Problem>> {
    let op = Op::read().preference(ReadPreference::AtLeast(token, Replicas::READ_WAITS));
    let read = async |connection: &mut Connection| {
        let position = connection.read().await?;
        Ok((position, connection.server()))
    };
    pool.run_async(&op, read).await
}

fn pool(cluster: &Cluster, clock: &ManualClock, synchronous: bool) -> Result<Pool, Box<dyn Error>> {
    let names = (0..=Replicas::REPLICAS).map(|number| format!("db-{number}"));
    let names: Vec<String> = names.collect();
    let endpoint = |number: usize| Endpoint::new(&names[number], &number.to_string());
    let mut settings = Settings::builder()
        .primary(endpoint(0)?)
        .promotion(Promotion::Active(Authority::SoleController))
        .seed(SEED);
    for number in 1..=Replicas::REPLICAS {
        settings = settings.replica(endpoint(number)?);
    }
    if synchronous {
        let all = names.iter().map(String::as_str);
        settings = settings.synchronous(Synchronous::any(1, all));
    }
    let options = PoolOptions::new()
        .max_size(Replicas::connections(synchronous))
        .max_wait(Replicas::PATIENCE);
    let pool = ReplicaPool::builder(Async(cluster.clone()), settings.build()?)
        .pools(options)
        .clock(clock.clock())
        .seed(SEED)
        .build()?;
    Ok(pool)
}

/// Before the first caller comes.
const SETTLES: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(1);
/// So many are a second.
const STEPS: u64 = 1000;
/// How long after a write, and after the last time, it is read.
const OWN_READS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(400),
];
