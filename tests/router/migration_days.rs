//! Migrations on many bad days: several processes that read, write, delete, fail, are
//! cancelled, die and hear late, while a driver moves their rows; each day foretold by
//! its seed.
//!
//! What must hold at every step:
//!
//! * Every key has an owner, in every process.
//! * A read that its route calls current has the last write that was acknowledged
//!   before it began, or a later one, deletions included.
//!
//! And at the end: the table's bytes are the new topology's, or after a roll-back the old
//! one's; every row lies on its owner and nowhere else; none is lost, none came
//! back, and no tombstone is left.
//!
//! `TENFOLD_SEEDS=10` runs ten times as many; `TENFOLD_SEED=7` runs one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tenfold::rng::Rng;
use tenfold::router::migration::{
    Acknowledgement, Announcement, Driver, DriverError, Follower, Journal, MemoryJournal,
    MemoryStore, Migration, MigrationError, Outcome, Part, ReadRoute, Row, Step, Store, WriteRoute,
};
use tenfold::router::placement::Ranges;
use tenfold::router::{NodeId, Policy, Router, Topology};

const SEEDS: u64 = 10_000;
const ACTIONS: usize = 100;
const KEYS: usize = 6;
const PROCESSES: usize = 3;
/// The version of rows that some node has from earlier.
const LEFT_OVER: u64 = 1 << 40;
const NODES: [&str; 3] = ["a", "b", "c"];

#[test]
fn no_bad_day_loses_doubles_or_resurrects_a_row() {
    let pairs = pairs();
    if let Some(seed) = number("TENFOLD_SEED") {
        println!("{:?}", Day::new(seed, &pairs).live());
        return;
    }
    let seeds = SEEDS * number("TENFOLD_SEEDS").unwrap_or(1);
    let next = AtomicU64::new(0);
    let all = Mutex::new(Seen::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Seen::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let live = std::panic::AssertUnwindSafe(|| Day::new(seed, &pairs).live());
                    match std::panic::catch_unwind(live) {
                        Ok(day) => own.add(&day),
                        Err(panic) => {
                            eprintln!("seed {seed}");
                            std::panic::resume_unwind(panic);
                        }
                    }
                }
                all.lock().unwrap().add(&own);
            });
        }
    });
    let seen = all.into_inner().unwrap();
    println!("{seeds} days: {seen:?}");
    for (what, count) in seen.counts() {
        assert!(count > seeds / 50, "too few {what}: {count}");
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// From where to where: more nodes, fewer, other slots, ranges.
fn pairs() -> Vec<[Topology; 2]> {
    let balanced = Topology::builder().nodes(["a", "b"]).slots(8);
    let two = balanced.build().unwrap();
    let three = two.edit().node("c").build().unwrap();
    let fewer = three.edit().remove("a").build().unwrap();
    let doubled = two.edit().node("c").slots(16).build().unwrap();
    let ranges = Ranges::all("a").split("k5", "b");
    let by_key = Topology::builder()
        .nodes(NODES)
        .policy(Policy::Range(ranges.clone()));
    let by_key = by_key.build().unwrap();
    let finer = ranges.split("k3", "c").split("k7", "a");
    let finer = by_key.edit().policy(Policy::Range(finer)).build().unwrap();
    vec![
        [two.clone(), three.clone()],
        [three, fewer],
        [two, doubled],
        [by_key, finer],
    ]
}

#[derive(Debug, Default)]
struct Seen {
    completed: u64,
    rolled_back: u64,
    acknowledged: u64,
    failed_seconds: u64,
    cancelled: u64,
    deletions: u64,
    reads: u64,
    double_reads: u64,
    outdated_reads: u64,
    leader_crashes: u64,
    journal_failures: u64,
    lost_processes: u64,
    repaired: u64,
}

impl Seen {
    fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("completed", self.completed),
            ("rolled back", self.rolled_back),
            ("acknowledged", self.acknowledged),
            ("failed seconds", self.failed_seconds),
            ("cancelled", self.cancelled),
            ("deletions", self.deletions),
            ("reads", self.reads),
            ("double reads", self.double_reads),
            ("outdated reads", self.outdated_reads),
            ("leader crashes", self.leader_crashes),
            ("journal failures", self.journal_failures),
            ("lost processes", self.lost_processes),
            ("repaired", self.repaired),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.rolled_back += other.rolled_back;
        self.acknowledged += other.acknowledged;
        self.failed_seconds += other.failed_seconds;
        self.cancelled += other.cancelled;
        self.deletions += other.deletions;
        self.reads += other.reads;
        self.double_reads += other.double_reads;
        self.outdated_reads += other.outdated_reads;
        self.leader_crashes += other.leader_crashes;
        self.journal_failures += other.journal_failures;
        self.lost_processes += other.lost_processes;
        self.repaired += other.repaired;
    }
}

/// Nodes that let others in between before and after each call.
#[derive(Clone)]
struct SlowStore(MemoryStore);

async fn others() {
    let mut waited = false;
    poll_fn(|_| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

impl Store for SlowStore {
    type Error = Infallible;

    async fn scan(
        &self,
        node: &str,
        part: &Part,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Infallible> {
        let rows = self.0.scan(node, part, after, limit).await;
        others().await;
        rows
    }

    async fn get(&self, node: &str, key: &[u8]) -> Result<Option<Row>, Infallible> {
        let row = self.0.get(node, key).await;
        others().await;
        row
    }

    async fn apply(&self, node: &str, rows: &[Row]) -> Result<(), Infallible> {
        self.0.apply(node, rows).await?;
        others().await;
        Ok(())
    }

    async fn remove(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Infallible> {
        let removed = self.0.remove(node, part, limit).await;
        others().await;
        removed
    }

    async fn purge(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Infallible> {
        let purged = self.0.purge(node, part, limit).await;
        others().await;
        purged
    }
}

/// A journal that fails before it has kept a record, or after.
#[derive(Clone)]
struct BadJournal {
    kept: MemoryJournal,
    rng: Arc<Mutex<(Rng, u64)>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is having a bad day")]
struct BadDay;

impl BadJournal {
    fn fails(&self) -> bool {
        let mut rng = self.rng.lock().unwrap();
        let one_in = rng.1;
        one_in > 0 && rng.0.below(one_in) == 0
    }

    fn heal(&self) {
        self.rng.lock().unwrap().1 = 0;
    }
}

impl Journal for BadJournal {
    type Error = BadDay;

    fn append(&mut self, record: &[u8]) -> Result<(), BadDay> {
        if self.fails() {
            return Err(BadDay);
        }
        let Ok(()) = self.kept.append(record);
        if self.fails() { Err(BadDay) } else { Ok(()) }
    }

    fn replay(&mut self) -> Result<Vec<Vec<u8>>, BadDay> {
        let Ok(records) = self.kept.replay();
        Ok(records)
    }

    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), BadDay> {
        if self.fails() {
            return Err(BadDay);
        }
        let Ok(()) = self.kept.replace(records);
        Ok(())
    }
}

type Drive = Pin<Box<dyn Future<Output = Driven>>>;
type Driven = (Driver<SlowStore>, Result<Step, DriverError<Infallible>>);

/// The process that has the migration, besides its router.
enum Leader {
    Idle(Box<Driver<SlowStore>>),
    /// In the middle of a step.
    Working(Drive),
    /// Down until it resumes.
    Down,
}

struct Process {
    name: String,
    router: Router,
    follower: Option<Follower>,
    alive: bool,
    /// Given up by the leader's operator, and not back yet.
    lost: bool,
}

struct Writer {
    process: usize,
    key: usize,
    version: u64,
    delete: bool,
    route: WriteRoute,
    first_done: bool,
}

struct Reader {
    process: usize,
    key: usize,
    /// What was acknowledged when it began.
    floor: u64,
    route: ReadRoute,
    left: Vec<NodeId>,
    found: Option<Row>,
}

struct Day {
    rng: Rng,
    old: Topology,
    new: Topology,
    store: SlowStore,
    journal: BadJournal,
    leader: Leader,
    back: bool,
    processes: Vec<Process>,
    born: usize,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    to_followers: Vec<(usize, Vec<u8>)>,
    to_leader: Vec<Vec<u8>>,
    /// What was acknowledged last, by key.
    acknowledged: [u64; KEYS],
    /// Whether a write of a version was a deletion.
    was_deletion: BTreeMap<u64, bool>,
    next_version: u64,
    seen: Seen,
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(driver) => driver.fmt(f),
            Self::Working(_) => f.write_str("working"),
            Self::Down => f.write_str("down"),
        }
    }
}

fn name_of(key: usize) -> String {
    format!("k{key}")
}

impl Day {
    fn new(seed: u64, pairs: &[[Topology; 2]]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let [old, new] = pairs[rng.below(pairs.len() as u64) as usize].clone();
        let processes = 1 + rng.below(PROCESSES as u64) as usize;
        let store = SlowStore(MemoryStore::new(&old));
        let journal = BadJournal {
            kept: MemoryJournal::new(),
            rng: Arc::new(Mutex::new((Rng::with_seed(!seed), 0))),
        };
        let process = |number: usize| Process {
            name: format!("p{number}"),
            router: Router::new(old.clone()),
            follower: None,
            alive: true,
            lost: false,
        };
        let mut day = Self {
            processes: (0..processes).map(process).collect(),
            born: processes,
            rng,
            old,
            new,
            store,
            journal,
            leader: Leader::Down,
            back: false,
            writers: Vec::new(),
            readers: Vec::new(),
            to_followers: Vec::new(),
            to_leader: Vec::new(),
            acknowledged: [0; KEYS],
            was_deletion: BTreeMap::new(),
            next_version: 1,
            seen: Seen::default(),
        };
        // Leftovers of earlier days, on nodes that do not own their keys.
        for key in 0..KEYS {
            let stray = NODES[day.rng.below(3) as usize];
            let home = day.old.name(day.old.route(name_of(key).as_str()));
            if home != Some(stray) {
                let row = Row {
                    key: name_of(key).as_bytes().into(),
                    version: LEFT_OVER,
                    value: Some([0].into()),
                };
                let leads = day.new.name(day.new.route(name_of(key).as_str()));
                if leads == Some(stray) {
                    day.store.0.write(stray, row);
                }
            }
        }
        day
    }

    fn live(mut self) -> Seen {
        for _ in 0..10 {
            self.write_something();
        }
        let writes_before = self.rng.below(12);
        for _ in 0..writes_before {
            self.advance_a_writer();
        }
        self.begin();
        if self.rng.below(2) == 0 {
            self.journal.rng.lock().unwrap().1 = 20;
        }
        let turn_round = self.rng.below(2) == 0;
        let turn_at = self.rng.below(ACTIONS as u64) as usize;
        for action in 0..ACTIONS {
            if turn_round && action == turn_at {
                self.back = true;
            }
            self.act();
            self.every_key_has_an_owner();
        }
        self.end();
        self.seen
    }

    fn begin(&mut self) {
        let journal = self.journal.clone();
        let mut migration =
            Migration::begin(&self.processes[0].router, &self.new, journal).unwrap();
        for process in &mut self.processes[1..] {
            let told = migration
                .join(process.name.as_str(), 1.max(self.old.epoch()))
                .unwrap();
            let told = Announcement::from_bytes(&told.to_bytes()).unwrap();
            let name = process.name.as_str();
            let follower = Follower::join(&process.router, &self.new, name, &told);
            process.follower = Some(follower.unwrap());
        }
        self.lead(migration);
    }

    fn lead(&mut self, migration: Migration) {
        let driver = Driver::new(migration, self.store.clone());
        let page = 1 + self.rng.below(3) as usize;
        let flying = 1 + self.rng.below(3) as usize;
        self.leader = Leader::Idle(Box::new(driver.page(page).in_flight(flying)));
    }

    fn act(&mut self) {
        match self.rng.below(32) {
            0..=2 => self.write_something(),
            3..=9 => self.advance_a_writer(),
            10..=11 => self.read_something(),
            12..=15 => self.advance_a_reader(),
            16..=25 => (0..5).for_each(|_| self.drive()),
            26..=29 => {
                self.tell();
                (0..6).for_each(|_| self.hear());
            }
            30 if self.rng.below(8) == 0 => self.crash_the_leader(),
            30 => self.resume(),
            _ if self.rng.below(8) == 0 => self.kill_or_revive(),
            _ => self.resume(),
        }
    }

    fn pick_process(&mut self) -> Option<usize> {
        let process = self.rng.below(self.processes.len() as u64) as usize;
        self.processes[process].alive.then_some(process)
    }

    fn write_something(&mut self) {
        let key = self.rng.below(KEYS as u64) as usize;
        let Some(process) = self.pick_process() else {
            return;
        };
        if self.writers.len() > 3 {
            return;
        }
        let version = self.next_version;
        self.next_version += 1;
        let delete = self.rng.below(3) == 0;
        self.was_deletion.insert(version, delete);
        let route = self.processes[process]
            .router
            .write_route(name_of(key).as_str());
        self.writers.push(Writer {
            process,
            key,
            version,
            delete,
            route,
            first_done: false,
        });
    }

    fn node(&self, id: NodeId) -> String {
        let name = self.new.name(id).or(self.old.name(id));
        name.unwrap().to_owned()
    }

    fn advance_a_writer(&mut self) {
        if self.writers.is_empty() {
            return;
        }
        let at = self.rng.below(self.writers.len() as u64) as usize;
        let writer = &self.writers[at];
        let row = Row {
            key: name_of(writer.key).as_bytes().into(),
            version: writer.version,
            value: (!writer.delete).then(|| writer.version.to_le_bytes().into()),
        };
        let first = self.node(writer.route.first());
        let fate = self.rng.below(12);
        if fate == 0 {
            // Cancelled, with a word to nobody.
            self.seen.cancelled += 1;
            drop(self.writers.swap_remove(at));
            return;
        }
        if !writer.first_done {
            if fate == 1 {
                self.writers.swap_remove(at).route.not_written();
                return;
            }
            // Versions rise: where no tombstone would tell, the caller must.
            let overtaken = self.acknowledged[writer.key] > writer.version;
            if overtaken && !writer.route.keep_tombstone() {
                self.writers.swap_remove(at).route.not_written();
                return;
            }
            if writer.delete && !writer.route.keep_tombstone() {
                // Of an older write that comes later nothing would warn.
                let (key, version) = (writer.key, writer.version);
                if self
                    .writers
                    .iter()
                    .any(|w| w.key == key && w.version < version)
                {
                    return;
                }
                let there = self.store.0.read(&first, &row.key);
                if there.is_some_and(|there| there.version < row.version) {
                    self.store.0.delete(&first, &row.key);
                }
            } else {
                self.store.0.write(&first, row);
            }
            self.writers[at].first_done = true;
            return;
        }
        let writer = self.writers.swap_remove(at);
        match writer.route.second() {
            Some(_) if fate < 6 => {
                self.seen.failed_seconds += 1;
                writer.route.failed_second();
            }
            Some(second) => {
                let second = self.node(second);
                self.store.0.write(&second, row);
                writer.route.written();
            }
            None => writer.route.written(),
        }
        self.seen.acknowledged += 1;
        self.seen.deletions += u64::from(writer.delete);
        let last = &mut self.acknowledged[writer.key];
        *last = writer.version.max(*last);
    }

    fn read_something(&mut self) {
        let key = self.rng.below(KEYS as u64) as usize;
        let Some(process) = self.pick_process() else {
            return;
        };
        if self.readers.len() > 4 {
            return;
        }
        let route = self.processes[process]
            .router
            .read_route(name_of(key).as_str());
        let left: Vec<_> = route.nodes().collect();
        self.seen.double_reads += u64::from(left.len() > 1);
        let floor = self.acknowledged[key];
        self.readers.push(Reader {
            process,
            key,
            floor,
            route,
            left,
            found: None,
        });
    }

    fn advance_a_reader(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.rng.below(self.readers.len() as u64) as usize;
        let Some(node) =
            (!self.readers[at].left.is_empty()).then(|| self.readers[at].left.remove(0))
        else {
            let reader = self.readers.swap_remove(at);
            if !reader.route.is_current() {
                self.seen.outdated_reads += 1;
                return;
            }
            self.seen.reads += 1;
            self.check(reader.key, reader.floor, reader.found.as_ref(), "a reader");
            return;
        };
        let node = self.node(node);
        let reader = &mut self.readers[at];
        let found = self.store.0.read(&node, name_of(reader.key).as_bytes());
        if let Some(row) = found {
            let newer = |old: &Row| old.version < row.version;
            if reader.found.as_ref().is_none_or(newer) {
                reader.found = Some(row);
            }
        }
    }

    /// What was found is what was acknowledged last, or later.
    fn check(&self, key: usize, floor: u64, found: Option<&Row>, who: &str) {
        let found_version = found.map(|row| row.version);
        let right = match found {
            Some(row) => {
                row.version >= floor
                    && self.was_deletion.get(&row.version) == Some(&row.value.is_none())
            }
            None => {
                floor == 0
                    || self
                        .was_deletion
                        .range(floor..)
                        .any(|(_, deletion)| *deletion)
            }
        };
        assert!(
            right,
            "{who} found {found_version:?} of key {key}, and {floor} (deletion: {:?}) was acknowledged",
            self.was_deletion.get(&floor)
        );
    }

    fn drive(&mut self) {
        let leader = std::mem::replace(&mut self.leader, Leader::Down);
        let mut work = match leader {
            Leader::Down => return,
            Leader::Working(work) => work,
            Leader::Idle(mut driver) => {
                if self.back {
                    // Too late for it, maybe.
                    let _ = driver.roll_back();
                }
                Box::pin(async move {
                    let step = driver.step().await;
                    (*driver, step)
                })
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        self.leader = match work.as_mut().poll(&mut context) {
            Poll::Pending => Leader::Working(work),
            Poll::Ready((driver, step)) => {
                match step {
                    Err(DriverError::Migration(MigrationError::Journal(_))) => {
                        self.seen.journal_failures += 1;
                    }
                    Err(error) => panic!("{error:?}"),
                    Ok(_) => {}
                }
                Leader::Idle(Box::new(driver))
            }
        };
    }

    fn tell(&mut self) {
        let Leader::Idle(driver) = &mut self.leader else {
            return;
        };
        let told = driver.migration().announcement().to_bytes();
        for process in 1..self.processes.len() {
            if self.rng.below(4) > 0 {
                self.to_followers.push((process, told.clone()));
            }
        }
    }

    fn hear(&mut self) {
        if self.processes.len() == 1 {
            return;
        }
        if self.rng.below(3) > 0 && !self.to_followers.is_empty() {
            // In any order, and again.
            let at = self.rng.below(self.to_followers.len() as u64) as usize;
            let (process, bytes) = match self.rng.below(4) {
                0 => self.to_followers[at].clone(),
                _ => self.to_followers.remove(at),
            };
            let told = Announcement::from_bytes(&bytes).unwrap();
            let process = &mut self.processes[process];
            if let (Some(follower), true) = (&mut process.follower, process.alive) {
                follower.apply(&told).unwrap();
                let answer = follower.acknowledgement();
                self.to_leader.push(answer.to_bytes());
            }
        }
        let process = 1 + self.rng.below(self.processes.len() as u64 - 1) as usize;
        // One that is dead has no follower.
        if let Some(follower) = &mut self.processes[process].follower {
            self.to_leader.push(follower.acknowledgement().to_bytes());
        }
        if !self.to_leader.is_empty() {
            let at = self.rng.below(self.to_leader.len() as u64) as usize;
            let bytes = match self.rng.below(4) {
                0 => self.to_leader[at].clone(),
                _ => self.to_leader.swap_remove(at),
            };
            if let Leader::Idle(driver) = &mut self.leader {
                let answer = Acknowledgement::from_bytes(&bytes).unwrap();
                match driver.migration().acknowledge(&answer) {
                    Ok(()) | Err(MigrationError::UnknownMember { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            self.to_leader.truncate(20);
        }
    }

    fn die(&mut self, process: usize) {
        self.writers.retain(|writer| writer.process != process);
        self.readers.retain(|reader| reader.process != process);
        self.processes[process].alive = false;
        self.processes[process].follower = None;
    }

    fn crash_the_leader(&mut self) {
        if matches!(self.leader, Leader::Down) {
            return;
        }
        self.seen.leader_crashes += 1;
        if let Leader::Idle(driver) = &self.leader {
            self.seen.repaired += driver.stats().keys_repaired;
        }
        // In the same process, or with all of it.
        self.leader = Leader::Down;
        if self.rng.below(3) > 0 {
            self.die(0);
        }
    }

    fn resume(&mut self) {
        if !matches!(self.leader, Leader::Down) {
            return;
        }
        if !self.processes[0].alive {
            // It starts with what it knew when it was started first.
            self.processes[0].router = Router::new(self.old.clone());
        }
        let migration = Migration::resume(&self.processes[0].router, self.journal.clone());
        let migration = migration.unwrap();
        assert!(
            matches!(
                Migration::resume(&self.processes[0].router, self.journal.clone()),
                Err(MigrationError::UnderWay { .. } | MigrationError::OtherMigration { .. })
            ) || migration.outcome().is_some()
        );
        self.processes[0].alive = true;
        self.lead(migration);
    }

    fn kill_or_revive(&mut self) {
        if self.processes.len() == 1 {
            return;
        }
        let number = 1 + self.rng.below(self.processes.len() as u64 - 1) as usize;
        if self.processes[number].alive {
            if self.rng.below(2) == 0 {
                self.die(number);
            }
            return;
        }
        self.revive(number);
    }

    /// A process that died is given up, and comes back under another name.
    fn revive(&mut self, number: usize) {
        let Leader::Idle(driver) = &mut self.leader else {
            return;
        };
        let migration = driver.migration();
        let process = &mut self.processes[number];
        if !process.lost && migration.outcome().is_none() {
            match migration.lost(&process.name) {
                Ok(()) => self.seen.lost_processes += 1,
                // It may be written down all the same, and be found so by who resumes.
                Err(MigrationError::UnknownMember { .. }) => {}
                Err(MigrationError::Journal(_)) => return,
                Err(error) => panic!("{error}"),
            }
            process.lost = true;
        }
        process.name = format!("p{}", self.born);
        self.born += 1;
        process.router = Router::new(self.old.clone());
        match migration.outcome() {
            Some(_) => process.router = Router::new(migration.router().topology()),
            None => match migration.join(process.name.as_str(), self.old.epoch()) {
                Err(MigrationError::Journal(_)) => return,
                told => {
                    let told = told.unwrap();
                    let name = process.name.as_str();
                    let follower = Follower::join(&process.router, &self.new, name, &told);
                    process.follower = Some(follower.unwrap());
                }
            },
        }
        process.alive = true;
        process.lost = false;
    }

    fn every_key_has_an_owner(&mut self) {
        let key = name_of(self.rng.below(KEYS as u64) as usize);
        for process in &self.processes {
            let owner = process.router.route(key.as_str());
            let (old, new) = (self.old.route(key.as_str()), self.new.route(key.as_str()));
            assert!(owner == old || owner == new);
            let read = process.router.read_route(key.as_str());
            assert!(read.nodes().all(|node| node == old || node == new));
        }
    }

    fn end(&mut self) {
        self.journal.heal();
        let mut over = None;
        for round in 0..20_000 {
            self.resume();
            if round < 100 {
                match self.rng.below(8) {
                    0 => self.write_something(),
                    1 => self.read_something(),
                    2..=5 => self.advance_a_writer(),
                    _ => self.advance_a_reader(),
                }
            }
            if round >= 100 && !self.writers.is_empty() {
                self.advance_a_writer();
                continue;
            }
            self.drive();
            if let Leader::Idle(driver) = &mut self.leader {
                over = driver.migration().outcome();
                if over.is_some()
                    && self.writers.is_empty()
                    && driver.migration().all_know_the_outcome()
                {
                    break;
                }
            }
            for process in 1..self.processes.len() {
                if !self.processes[process].alive {
                    self.revive(process);
                }
            }
            // Some that were joined in vain are nobody now.
            if let Leader::Idle(driver) = &mut self.leader {
                let alive: Vec<_> = self.processes.iter().map(|p| p.name.clone()).collect();
                let strangers: Vec<_> = driver.migration().members().map(str::to_owned).collect();
                for stranger in strangers.iter().filter(|name| !alive.contains(name)) {
                    driver.migration().lost(stranger).unwrap();
                }
            }
            if self.to_followers.len() > 4 {
                self.to_followers.clear();
            }
            self.tell();
            self.hear();
        }
        let Leader::Idle(driver) = &mut self.leader else {
            panic!("no leader");
        };
        assert!(over.is_some(), "it never ends: {}", driver.stats());
        self.seen.repaired += driver.stats().keys_repaired;
        let topology = driver.migration().router().topology();
        let expected = if over == Some(Outcome::Completed) {
            self.seen.completed += 1;
            &self.new
        } else {
            self.seen.rolled_back += 1;
            &self.old
        };
        assert_eq!(topology.to_bytes(), expected.to_bytes());
        // Who is dead has not heard, and does not route.
        for process in self.processes.iter().filter(|process| process.alive) {
            assert_eq!(process.router.topology().to_bytes(), expected.to_bytes());
        }
        for key in 0..KEYS {
            let bytes = name_of(key).into_bytes();
            let home = topology
                .name(topology.route(name_of(key).as_str()))
                .unwrap();
            let row = self.store.0.read(home, &bytes);
            self.check(key, self.acknowledged[key], row.as_ref(), "who came last");
            let moves = self.old.name(self.old.route(name_of(key).as_str()))
                != self.new.name(self.new.route(name_of(key).as_str()));
            assert!(
                !moves || row.is_none_or(|row| row.value.is_some()),
                "a tombstone is left"
            );
            for node in NODES.iter().filter(|node| moves && **node != home) {
                let stray = self.store.0.read(node, &bytes);
                // A part that was never begun still has what it had.
                let left_over = |row: &Row| row.version == LEFT_OVER;
                if self.seen.rolled_back == 1 && stray.as_ref().is_some_and(left_over) {
                    continue;
                }
                assert_eq!(stray, None, "key {key} is on {home} and on {node}");
            }
        }
    }
}
