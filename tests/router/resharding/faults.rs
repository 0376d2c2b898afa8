//! What goes wrong: the power, single calls.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tenfold::router::migration::{FileJournal, FileJournalError, Journal, Part, Row, Store};

use super::shards::Shards;

/// What is to go wrong, and who waits for whom.
#[derive(Default)]
pub(crate) struct Faults {
    /// Calls of the driver and its journal until the power goes; negative is never.
    power: AtomicI64,
    /// The same, in second writes of clients.
    power_of_seconds: AtomicI64,
    out: AtomicU64,
    /// Every so many calls one fails; zero is none.
    every: u64,
    calls: AtomicU64,
    pace: u64,
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Default)]
struct Turns {
    clients: usize,
    operations: u64,
    driver: u64,
    /// Whether the driver has something to do: otherwise nobody waits for it.
    driver_is_busy: bool,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The process is dead: whatever it tries does not happen.
    PowerCut,
    /// It did not happen.
    Refused,
    /// It happened, and nobody was told.
    AnswerLost,
    Sqlite(rusqlite::Error),
    Journal(#[allow(dead_code, reason = "shown")] FileJournalError),
}

impl Faults {
    /// Nothing goes wrong, and nobody waits.
    pub(crate) fn none() -> Self {
        let faults = Self::default();
        faults.power.store(-1, Ordering::SeqCst);
        faults.power_of_seconds.store(-1, Ordering::SeqCst);
        faults
    }

    /// So many operations of clients happen for each call of the driver, as long as both
    /// have something to do.
    pub(crate) fn paced(pace: u64) -> Self {
        let none = Self::none();
        Self { pace, ..none }
    }

    /// Every so many calls one fails.
    pub(crate) fn fail_every(self, every: u64) -> Self {
        Self { every, ..self }
    }

    /// Lets the power go at a call of the driver.
    pub(crate) fn cut_power_after(self, calls: u64) -> Self {
        self.power.store(calls as i64, Ordering::SeqCst);
        self
    }

    /// Lets the power go when a client's write has reached one node of two.
    pub(crate) fn cut_power_after_seconds(self, writes: u64) -> Self {
        self.power_of_seconds.store(writes as i64, Ordering::SeqCst);
        self
    }

    pub(crate) fn power_is_out(&self) -> bool {
        self.out.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn clients(&self, clients: usize) {
        self.turns.lock().unwrap().clients = clients;
    }

    /// A client has done something.
    pub(crate) fn operated(&self) {
        let mut turns = self.turns.lock().unwrap();
        turns.operations += 1;
        self.changed.notify_all();
        let early = |turns: &mut Turns| {
            turns.driver_is_busy && turns.operations > (turns.driver + 2) * self.pace
        };
        drop(self.changed.wait_while(turns, early).unwrap());
    }

    /// The driver has something to do, or waits for clients.
    pub(crate) fn driver_is_busy(&self, busy: bool) {
        self.turns.lock().unwrap().driver_is_busy = busy && self.pace > 0;
        self.changed.notify_all();
    }

    /// A client does nothing more, and nobody waits for it.
    pub(crate) fn leave(&self) {
        self.turns.lock().unwrap().clients -= 1;
        self.changed.notify_all();
    }

    /// A call that works, as long as there is power.
    pub(crate) fn plain<T>(
        &self,
        call: impl FnOnce() -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        if self.power_is_out() {
            return Err(Fault::PowerCut);
        }
        call().map_err(Fault::Sqlite)
    }

    /// A call that may fail, before or after it took effect.
    pub(crate) fn call<T>(
        &self,
        call: impl FnOnce() -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.every == 0 || !number.is_multiple_of(self.every) {
            return self.plain(call);
        }
        if (number / self.every).is_multiple_of(2) {
            return Err(Fault::Refused);
        }
        self.plain(call).and(Err(Fault::AnswerLost))
    }

    /// A client's write to the second node.
    pub(crate) fn second<T>(
        &self,
        call: impl FnOnce() -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        if self.power_of_seconds.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.out.store(1, Ordering::SeqCst);
        }
        self.call(call)
    }

    /// A call of the driver: in its turn, and perhaps the last.
    fn of_driver<T>(&self, call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.wait_for_turn();
        match self.power.fetch_sub(1, Ordering::SeqCst) {
            0 => {
                // Every other time the last call is done, and nobody hears of it.
                if self.calls.load(Ordering::SeqCst).is_multiple_of(2) {
                    call()?;
                }
                self.out.store(1, Ordering::SeqCst);
                Err(Fault::PowerCut)
            }
            _ if self.power_is_out() => Err(Fault::PowerCut),
            _ => call(),
        }
    }

    fn wait_for_turn(&self) {
        let mut turns = self.turns.lock().unwrap();
        turns.driver += 1;
        self.changed.notify_all();
        let early =
            |turns: &mut Turns| turns.clients > 0 && turns.operations < turns.driver * self.pace;
        drop(self.changed.wait_while(turns, early).unwrap());
    }
}

/// Shards, or a journal, as the driver finds them.
pub(crate) struct Faulty<T>(pub(crate) T, pub(crate) Arc<Faults>);

impl Faulty<Arc<Shards>> {
    fn call<T>(&self, call: impl FnOnce() -> Result<T, rusqlite::Error>) -> Result<T, Fault> {
        self.1.of_driver(|| self.1.call(call))
    }
}

impl Store for Faulty<Arc<Shards>> {
    type Error = Fault;

    async fn scan(
        &self,
        node: &str,
        part: &Part,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Fault> {
        self.call(|| now(self.0.scan(node, part, after, limit)))
    }

    async fn get(&self, node: &str, key: &[u8]) -> Result<Option<Row>, Fault> {
        self.call(|| now(self.0.get(node, key)))
    }

    async fn apply(&self, node: &str, rows: &[Row]) -> Result<(), Fault> {
        self.call(|| now(self.0.apply(node, rows)))
    }

    async fn remove(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Fault> {
        self.call(|| now(self.0.remove(node, part, limit)))
    }

    async fn purge(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Fault> {
        self.call(|| now(self.0.purge(node, part, limit)))
    }
}

impl Journal for Faulty<FileJournal> {
    type Error = Fault;

    fn append(&mut self, record: &[u8]) -> Result<(), Fault> {
        let Self(journal, faults) = self;
        faults.of_driver(|| journal.append(record).map_err(Fault::Journal))
    }

    fn replay(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        self.0.replay().map_err(Fault::Journal)
    }

    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Fault> {
        let Self(journal, faults) = self;
        faults.of_driver(|| journal.replace(records).map_err(Fault::Journal))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Error for Fault {}

fn now<T>(blocking: impl Future<Output = T>) -> T {
    tenfold::task::block_on(blocking)
}
