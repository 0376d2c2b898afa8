//! A process after another, all with the same databases and the same journal.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tenfold::rng::Rng;
use tenfold::router::migration::{
    Driver, DriverError, FileJournal, Migration, MigrationError, Outcome, PartId, Phase, ReadRoute,
    Row, Stats, Step, WriteRoute,
};
use tenfold::router::{NodeId, Router, Topology};
use tenfold::task::block_on;

use super::faults::{Fault, Faults, Faulty};
use super::history::{History, Read, Write, name, value};
use super::shards::Shards;

pub(crate) type Drive = Driver<Faulty<Arc<Shards>>>;

/// How the work of a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Over(Outcome),
    /// It died.
    PowerCut,
}

/// What outlives a process, and what clients remember.
pub(crate) struct World {
    directory: PathBuf,
    /// Those of both topologies.
    nodes: Vec<&'static str>,
    pub(crate) old: Topology,
    pub(crate) new: Topology,
    shards: Arc<Shards>,
    history: Mutex<History>,
    ticks: AtomicU64,
    /// Writes that went to two nodes, and reads.
    pub(crate) second_writes: AtomicU64,
    pub(crate) reads_of_two: AtomicU64,
    pub(crate) stats: Stats,
}

impl World {
    /// Shards with a row for every other key.
    pub(crate) fn new(test: &str, nodes: &[&'static str], old: Topology, new: Topology) -> Self {
        let directory = format!("tenfold-{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let world = Self {
            shards: Arc::new(Shards::open(&directory, nodes).unwrap()),
            directory,
            nodes: nodes.to_vec(),
            old,
            new,
            history: Mutex::default(),
            ticks: AtomicU64::new(0),
            second_writes: AtomicU64::new(0),
            reads_of_two: AtomicU64::new(0),
            stats: Stats::default(),
        };
        let (router, faults) = (Router::new(world.old.clone()), Faults::none());
        let mut history = History::default();
        for key in (0..KEYS).step_by(2) {
            let fine = world.write(&router, &faults, key, false, &mut history);
            fine.unwrap();
        }
        world.history.lock().unwrap().append(history);
        world
    }

    /// A process: begins the migration or resumes it, and drives it while clients work.
    pub(crate) fn process(
        &mut self,
        faults: Faults,
        operations: u64,
        drive: impl FnOnce(&mut Drive, &Faults) -> Result<Step, DriverError<Fault>> + Send,
    ) -> End {
        let (router, faults) = (Router::new(self.old.clone()), Arc::new(faults));
        let seed = self.tick();
        let ended = thread::scope(|scope| {
            let mut driver = self.driver(&router, &faults)?;
            let clients = if operations > 0 { CLIENTS } else { 0 };
            faults.clients(clients as usize);
            faults.driver_is_busy(true);
            for client in 0..clients {
                let (this, router, faults) = (&*self, &router, &*faults);
                let rng = Rng::with_seed(seed * u64::from(CLIENTS) + u64::from(client));
                scope.spawn(move || this.client(router, faults, client, operations, rng));
            }
            let faults = &faults;
            let driving = scope.spawn(move || {
                let _idle_at_last = Idles(faults);
                let mut ended = drive(&mut driver, faults);
                loop {
                    match ended {
                        Ok(Step::Over(outcome)) => return Some((outcome, driver.stats())),
                        Ok(Step::Held) => {
                            driver.release();
                            ended = run(&mut driver, faults);
                        }
                        Err(_) if faults.power_is_out() => return None,
                        Err(DriverError::Store { .. }) => ended = run(&mut driver, faults),
                        other => panic!("{other:?}"),
                    }
                }
            });
            driving.join().unwrap()
        });
        let Some((outcome, stats)) = ended else {
            // Nothing in memory is left.
            self.shards = Arc::new(Shards::open(&self.directory, &self.nodes).unwrap());
            return End::PowerCut;
        };
        self.stats = stats;
        let topology = match outcome {
            Outcome::Completed => &self.new,
            Outcome::RolledBack => &self.old,
        };
        assert_eq!(router.topology().to_bytes(), topology.to_bytes());
        self.check(topology);
        End::Over(outcome)
    }

    /// A process that dies when its part is in this phase, after a write's first node and before
    /// the second.
    pub(crate) fn die_between_writes(&mut self, phase: Phase) {
        let (router, faults) = (Router::new(self.old.clone()), Arc::new(Faults::none()));
        let mut driver = self.driver(&router, &faults).unwrap();
        let mut keys = (0..KEYS).map(|key| (key, name(key)));
        let (key, name) = keys
            .find(|(_, name)| driver.migration().part_of(name.as_str()).is_some())
            .unwrap();
        let part = driver.migration().part_of(name.as_str()).unwrap().id();
        while driver.migration().phase(part).unwrap() != phase {
            block_on(driver.step()).unwrap();
        }
        let version = self.tick();
        let route = router.write_route(name.as_str());
        let row = Row {
            key: name.as_bytes().into(),
            version,
            value: Some(value(name.as_bytes(), version)),
        };
        self.shards.put(self.node(route.first()), &row).unwrap();
        std::mem::forget(route);
        self.history.lock().unwrap().writes.push(Write {
            key,
            version,
            end: Some(self.tick()),
            deletes: false,
        });
    }

    /// Nothing if the power was cut over it.
    fn driver(&self, router: &Router, faults: &Arc<Faults>) -> Option<Drive> {
        let journal = || {
            let journal = FileJournal::open(self.directory.join("journal")).unwrap();
            Faulty(journal, faults.clone())
        };
        let mut migration = Migration::resume(router, journal());
        if matches!(migration, Err(MigrationError::NoJournal)) {
            migration = Migration::begin(router, &self.new, journal());
        }
        match migration {
            Err(MigrationError::Journal(_)) if faults.power_is_out() => None,
            migration => {
                let store = Faulty(self.shards.clone(), faults.clone());
                let driver = Driver::new(migration.unwrap(), store);
                Some(driver.page(4).in_flight(4).hold_before_clean_up())
            }
        }
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// What is in the databases.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Vec<Row>)> {
        let rows = |node: &&'static str| (*node, self.shards.rows(node).unwrap());
        self.nodes.iter().map(rows).collect()
    }

    /// Every row lies where it should, only there, is no tombstone, and is what clients
    /// were told.
    fn check(&self, topology: &Topology) {
        let mut history = self.history.lock().unwrap();
        let mut found = BTreeSet::new();
        let (start, end) = (self.tick(), self.tick());
        for (node, rows) in self.rows() {
            for row in rows {
                let text = std::str::from_utf8(&row.key).unwrap();
                let home = topology.name(topology.route(text)).unwrap();
                assert_eq!(home, node, "{text} is on the wrong shard");
                assert!(found.insert(text.to_owned()), "{text} is there twice");
                let expected = Some(value(&row.key, row.version));
                assert_eq!(row.value, expected, "{text}");
                history.reads.push(Read {
                    key: text.strip_prefix("user:").unwrap().parse().unwrap(),
                    start,
                    end,
                    seen: Some(row.version),
                });
            }
        }
        let absent = (0..KEYS).filter(|key| !found.contains(&name(*key)));
        history.reads.extend(absent.map(|key| Read {
            key,
            start,
            end,
            seen: None,
        }));
        history.check();
    }

    /// Works until it has done so much, or the process dies.
    fn client(&self, router: &Router, faults: &Faults, client: u32, operations: u64, mut rng: Rng) {
        let _leaves = Leaves(faults);
        let mut history = History::default();
        // Some begin to read now, and go on when all is over.
        let own = (client..KEYS).step_by(7 * CLIENTS as usize);
        let begun = |key| (key, self.tick(), router.read_route(name(key).as_str()));
        let begun: Vec<_> = own.map(begun).collect();
        let moves = |key: &u32| {
            let name = name(*key);
            self.old.route(name.as_str()) != self.new.route(name.as_str())
        };
        let moving: Vec<_> = (0..KEYS).filter(moves).collect();
        let own = |key: &u32| key % CLIENTS == client;
        let moving_own: Vec<_> = moving.iter().copied().filter(own).collect();
        // And one begins to write, and is held up.
        let route = |key| (key, router.write_route(name(key).as_str()));
        let mut held = (client == 0).then(|| route(moving_own[0]));
        for operation in 0..operations {
            if operation == operations / 2
                && let Some((key, route)) = held.take()
            {
                let key = [key.into(), self.tick()];
                let _ = self.write_by(router, faults, route, key, false, &mut history);
            }
            // Half of what they do is about what moves, and some of that is everybody's.
            let key = match rng.below(4) {
                0 => moving[rng.below(SHARED) as usize],
                1 => moving_own[rng.below(moving_own.len() as u64) as usize],
                _ => rng.below(u64::from(KEYS / CLIENTS)) as u32 * CLIENTS + client,
            };
            let done = match rng.below(10) {
                choice @ 0..5 => self.read(router, faults, key, choice == 0, &mut history),
                choice => self.write(router, faults, key, choice < 7, &mut history),
            };
            faults.operated();
            match done {
                Err(Fault::PowerCut) => break,
                Err(Fault::Sqlite(error)) => panic!("{error}"),
                _ => {}
            }
        }
        for (key, start, route) in begun {
            // Who is late reads anew, which has been tried enough.
            let _ = self.read_by(&route, faults, key, start, &mut history);
        }
        self.history.lock().unwrap().append(history);
    }

    fn write(
        &self,
        router: &Router,
        faults: &Faults,
        key: u32,
        deletes: bool,
        history: &mut History,
    ) -> Result<(), Fault> {
        let name = name(key);
        let (before, route) = (self.tick(), router.write_route(name.as_str()));
        let slow = before.is_multiple_of(8);
        let version = if slow {
            if let Err(fault) = self.linger(router, faults, key, history) {
                route.not_written();
                return Err(fault);
            }
            self.tick()
        } else {
            before
        };
        self.write_by(
            router,
            faults,
            route,
            [key.into(), version],
            deletes,
            history,
        )
    }

    /// Writes by a route, and lets others go on before the second write, perhaps.
    fn write_by(
        &self,
        router: &Router,
        faults: &Faults,
        route: WriteRoute,
        [key, version]: [u64; 2],
        deletes: bool,
        history: &mut History,
    ) -> Result<(), Fault> {
        let (key, slow) = (key as u32, version.is_multiple_of(8));
        let name = name(key);
        let row = Row {
            key: name.as_bytes().into(),
            version,
            value: (!deletes).then(|| value(name.as_bytes(), version)),
        };
        let mut write = Write {
            key,
            version,
            end: None,
            deletes,
        };
        let put = |node| {
            assert_eq!(route.name(node), Some(self.node(node)));
            if deletes && !route.keep_tombstone() {
                return self.shards.delete(self.node(node), &row.key, version);
            }
            self.shards.put(self.node(node), &row)
        };
        let first = faults.call(|| put(route.first()));
        match first {
            Ok(()) => write.end = Some(self.tick()),
            Err(Fault::Refused) => {
                route.not_written();
                return Ok(());
            }
            // Perhaps it has it.
            Err(fault) => {
                history.writes.push(write);
                return Err(fault);
            }
        }
        history.writes.push(write);
        let Some(second) = route.second() else {
            route.written();
            return Ok(());
        };
        self.second_writes.fetch_add(1, Ordering::Relaxed);
        if slow {
            self.linger(router, faults, key, history)?;
        }
        match faults.second(|| put(second)) {
            Ok(()) => route.written(),
            Err(fault) => {
                route.failed_second();
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Lets others go on, and looks what they do.
    fn linger(
        &self,
        router: &Router,
        faults: &Faults,
        key: u32,
        history: &mut History,
    ) -> Result<(), Fault> {
        for other in [key, key + 1, key, key + 2] {
            for _ in 0..4 {
                faults.operated();
                thread::yield_now();
            }
            self.read(router, faults, other % KEYS, false, history)?;
        }
        Ok(())
    }

    fn read(
        &self,
        router: &Router,
        faults: &Faults,
        key: u32,
        slow: bool,
        history: &mut History,
    ) -> Result<(), Fault> {
        let (name, start) = (name(key), self.tick());
        loop {
            let route = router.read_route(name.as_str());
            if slow {
                self.linger(router, faults, key, history)?;
            }
            if self.read_by(&route, faults, key, start, history)? {
                return Ok(());
            }
        }
    }

    /// Reads what a route says, and notes it if that is still so afterwards.
    fn read_by(
        &self,
        route: &ReadRoute,
        faults: &Faults,
        key: u32,
        start: u64,
        history: &mut History,
    ) -> Result<bool, Fault> {
        let name = name(key);
        let find = |node| {
            assert_eq!(route.name(node), Some(self.node(node)));
            faults.plain(|| self.shards.find(self.node(node), name.as_bytes()))
        };
        let rows: Vec<_> = route.nodes().map(find).collect::<Result<_, _>>()?;
        if let [new, old] = &rows[..] {
            self.reads_of_two.fetch_add(1, Ordering::Relaxed);
            if new != old {
                route.differed();
            }
        }
        if !route.is_current() {
            return Ok(false);
        }
        let newest = rows.into_iter().flatten().max_by_key(|row| row.version);
        let seen = newest.filter(|row| row.value.is_some());
        if let Some(row) = &seen {
            let expected = value(&row.key, row.version);
            assert_eq!(row.value.as_ref(), Some(&expected), "{name}");
        }
        history.reads.push(Read {
            key,
            start,
            end: self.tick(),
            seen: seen.map(|row| row.version),
        });
        Ok(true)
    }

    /// The name of a node of either topology.
    fn node(&self, id: NodeId) -> &str {
        let name = self.new.name(id).or_else(|| self.old.name(id));
        name.expect("routes answer nodes of both topologies")
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// As [`Driver::run`], and lets clients go on while it waits for them.
pub(crate) fn run(driver: &mut Drive, faults: &Faults) -> Result<Step, DriverError<Fault>> {
    loop {
        match block_on(driver.step())? {
            Step::Worked => {}
            Step::Waiting(part) => wait(driver, part, faults)?,
            end => return Ok(end),
        }
    }
}

pub(crate) fn wait(
    driver: &mut Drive,
    part: PartId,
    faults: &Faults,
) -> Result<(), DriverError<Fault>> {
    faults.driver_is_busy(false);
    block_on(driver.migration().drained(part))?;
    faults.driver_is_busy(true);
    Ok(())
}

struct Idles<'a>(&'a Faults);

impl Drop for Idles<'_> {
    fn drop(&mut self) {
        self.0.driver_is_busy(false);
    }
}

struct Leaves<'a>(&'a Faults);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

const CLIENTS: u32 = 4;
const KEYS: u32 = 1200;
/// The first keys are everybody's.
const SHARED: u64 = 24;
