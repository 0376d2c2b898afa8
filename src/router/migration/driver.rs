use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::error::MigrationError;
use super::migration::{Migration, Outcome, Verification};
use super::part::{Part, PartId};
use super::phase::Phase;
use super::stats::Stats;
use super::store::{Row, Store};
use super::throttle::Throttle;
use crate::time::{Clock, Timer};

/// Takes a migration from its begin to its end, over a store that fits the trait:
/// copies, verifies, repairs, cuts over and cleans up.
///
/// Several parts are in flight at once, and each step is one call or two of the store. The
/// driver can be dropped at any point and its migration be resumed by another: what was
/// under way is done again, and does no harm.
pub struct Driver<S> {
    migration: Migration,
    store: S,
    page: usize,
    throttle: Throttle,
    timer: Option<Timer>,
    back: bool,
    hold: bool,
    /// What is known of each part besides its phase, while it is worked on.
    work: BTreeMap<PartId, Work>,
    /// The parts that are over, and have no tombstones left.
    purged: BTreeSet<PartId>,
    /// The parts that something is to be done about, as far as is known.
    queue: VecDeque<PartId>,
    stats: Stats,
}

/// How far the work of a phase is.
#[derive(Debug, Default)]
struct Work {
    /// The phase that this is about.
    phase: Option<Phase>,
    /// The last key that was copied.
    after: Option<Box<[u8]>>,
    /// The verification under way.
    verification: Option<Verification>,
    /// Whether the new node was found to have nothing, or the old one.
    removed: bool,
}

/// What a [step](Driver::step) did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Something: take the next.
    Worked,
    /// Nothing can be done before this long has passed.
    Throttled(Duration),
    /// Nothing can be done before write routes of this process are dropped, or other
    /// processes are heard; with one of the parts that wait.
    Waiting(PartId),
    /// All parts are cut over, and the driver was told to hold here.
    Held,
    /// The migration is over.
    Over(Outcome),
}

/// A driver that cannot go on. The step that failed can be taken again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError<E: std::error::Error + 'static> {
    /// The store failed.
    #[error("the store failed at {part}, which is {phase}")]
    Store {
        /// The part.
        part: PartId,
        /// Its phase.
        phase: Phase,
        /// What the store said.
        #[source]
        source: E,
    },
    /// The migration refused a step, or its journal failed.
    #[error("the migration cannot go on")]
    Migration(#[from] MigrationError),
    /// Two nodes have rows of one version that say different things: versions are
    /// not as they must be, and nobody knows which is right.
    #[error("{part} has two different rows of version {version} under one key")]
    Conflict {
        /// The part.
        part: PartId,
        /// The key's bytes.
        key: Box<[u8]>,
        /// The version that both have.
        version: u64,
    },
    /// A store broke its promise: rows out of order, or of another part.
    #[error("the store's scan of {part} gave rows out of order, or of another part")]
    Scan {
        /// The part.
        part: PartId,
    },
    /// Nothing can be done until other processes are heard.
    #[error("{part} waits for other processes")]
    Waiting {
        /// One of the parts that wait.
        part: PartId,
    },
}

impl<S: Store> Driver<S> {
    /// A driver of this migration: forward, 256 rows at a time, 64 parts in flight, no
    /// limit on the rate.
    pub fn new(mut migration: Migration, store: S) -> Self {
        migration.limit_in_flight(64);
        Self {
            migration,
            store,
            page: 256,
            throttle: Throttle::new(Clock::default(), None, None),
            timer: None,
            back: false,
            hold: false,
            work: BTreeMap::new(),
            purged: BTreeSet::new(),
            queue: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Asks the store for so many rows at a time; at least one.
    #[must_use]
    pub fn page(mut self, rows: usize) -> Self {
        self.page = rows.max(1);
        self
    }

    /// Lets so many parts be in flight at once; at least one.
    #[must_use]
    pub fn in_flight(mut self, parts: usize) -> Self {
        self.migration.limit_in_flight(parts.max(1));
        self
    }

    /// Moves at most so many rows a second, by this clock; the timer wakes
    /// [`run`](Self::run) when it may go on.
    #[must_use]
    pub fn throttle(
        mut self,
        rows_per_second: Option<u64>,
        bytes_per_second: Option<u64>,
        clock: Clock,
        timer: Timer,
    ) -> Self {
        self.throttle = Throttle::new(clock, rows_per_second, bytes_per_second);
        self.timer = Some(timer);
        self
    }

    /// Stops when all parts are cut over, while there is a way back: look at the new
    /// nodes for a day, and then [clean up](Self::release) or [go back](Self::roll_back).
    #[must_use]
    pub fn hold_before_clean_up(mut self) -> Self {
        self.hold = true;
        self
    }

    /// Goes on to the clean-up.
    pub fn release(&mut self) {
        self.hold = false;
        self.queue.clear();
    }

    /// Turns round: from the next step on everything goes back to where it was.
    ///
    /// # Errors
    /// [`MigrationError::OutOfOrder`] if the clean-up of a part has begun.
    pub fn roll_back(&mut self) -> Result<(), MigrationError> {
        for part in self.migration.part_ids() {
            let found = self.migration.phase(part)?;
            if matches!(found, Phase::CleaningUp | Phase::Done) {
                return Err(MigrationError::OutOfOrder {
                    part,
                    found,
                    expected: Phase::CutOver,
                    wanted: Phase::Stable,
                });
            }
        }
        self.back = true;
        self.queue.clear();
        Ok(())
    }

    /// The migration: to hear other processes between steps.
    pub fn migration(&mut self) -> &mut Migration {
        &mut self.migration
    }

    /// Gives the migration back.
    pub fn into_migration(self) -> Migration {
        self.migration
    }

    /// How far it is.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.look_at(&self.migration);
        stats
    }

    /// Goes on until the migration is over, or is held. Waits for this process's write
    /// routes and for the throttle; needs no runtime. Within
    /// [`block_on`](crate::task::block_on) it runs on a plain thread.
    ///
    /// # Errors
    /// [`DriverError`]: call it again to go on. [`DriverError::Waiting`] if other processes
    /// must be heard first.
    pub async fn run(&mut self) -> Result<Step, DriverError<S::Error>> {
        loop {
            match self.step().await? {
                Step::Worked => {}
                Step::Throttled(wait) => match &self.timer {
                    Some(timer) => timer.sleep(wait).await,
                    None => return Ok(Step::Throttled(wait)),
                },
                Step::Waiting(part) => {
                    let drained = self.migration.drained(part);
                    drained.await?;
                    if self.migration.check_complete(part).is_err() {
                        return Err(DriverError::Waiting { part });
                    }
                }
                end @ (Step::Held | Step::Over(_)) => return Ok(end),
            }
        }
    }

    /// Takes one step of one part. Once the migration is over it does nothing, and answers
    /// [`Step::Over`] again and again.
    ///
    /// # Errors
    /// [`DriverError`]; the same step comes again.
    pub async fn step(&mut self) -> Result<Step, DriverError<S::Error>> {
        if let Some(outcome) = self.migration.outcome() {
            return Ok(Step::Over(outcome));
        }
        if let Some(wait) = self.throttle.wait() {
            return Ok(Step::Throttled(wait));
        }
        if self.queue.is_empty() {
            self.queue = self.what_is_left();
        }
        let (mut waiting, mut at, mut refused) = (None, 0, 0);
        while let Some(&part) = self.queue.get(at) {
            match self.step_of(part).await? {
                Turn::Worked => {
                    // Each in its turn, and no more begun than there is room for.
                    let back = self.migration.in_flight.min(self.queue.len() - 1);
                    self.queue.remove(at);
                    self.queue.insert(back, part);
                    return Ok(Step::Worked);
                }
                Turn::Waiting => {
                    waiting = waiting.or(Some(part));
                    at += 1;
                }
                Turn::Rests => {
                    self.queue.remove(at);
                }
                Turn::NoRoom => {
                    // Those that have begun are behind it, if there are any.
                    refused += 1;
                    if refused > self.queue.len() {
                        break;
                    }
                    self.queue.remove(at);
                    self.queue.push_back(part);
                }
            }
        }
        if let Some(part) = waiting {
            return Ok(Step::Waiting(part));
        }
        if !self.what_is_left().is_empty() {
            return Ok(Step::Worked);
        }
        let ended = match (self.back, self.hold) {
            (true, _) => self.migration.abandon(),
            (false, true) => return Ok(Step::Held),
            (false, false) => self.migration.finish(),
        };
        match ended {
            // A process that joined late, perhaps.
            Err(MigrationError::Draining { part, .. }) => Ok(Step::Waiting(part)),
            Err(other) => Err(other.into()),
            Ok(()) => Ok(self.migration.outcome().map_or(Step::Worked, Step::Over)),
        }
    }

    /// The parts that something is to be done about now, those that have begun first.
    fn what_is_left(&self) -> VecDeque<PartId> {
        let left = |part: &PartId| {
            let phase = self.migration.phase(*part);
            phase.is_ok_and(|phase| !self.rests(*part, phase))
        };
        let mut left: Vec<_> = self.migration.part_ids().filter(left).collect();
        left.sort_by_key(|part| self.migration.phase(*part).ok() == Some(Phase::Stable));
        left.into()
    }

    fn rests(&self, part: PartId, phase: Phase) -> bool {
        match phase {
            Phase::Done => self.purged.contains(&part),
            Phase::Stable => self.back && self.purged.contains(&part),
            // The old copies are kept until every part is where it should be.
            Phase::CutOver => !self.back && (self.hold || !self.all_are_cut_over()),
            _ => false,
        }
    }

    async fn step_of(&mut self, part: PartId) -> Result<Turn, DriverError<S::Error>> {
        let phase = self.migration.phase(part)?;
        if self.rests(part, phase) {
            return Ok(Turn::Rests);
        }
        if self.migration.check_complete(part).is_err() {
            return Ok(Turn::Waiting);
        }
        if self
            .work
            .get(&part)
            .is_some_and(|work| work.phase != Some(phase))
        {
            self.work.remove(&part);
        }
        let work = self.work.entry(part).or_default();
        work.phase = Some(phase);
        match phase {
            Phase::Stable if self.back => self.purge(part, false).await,
            Phase::Stable if self.migration.has_no_room() => {
                self.work.remove(&part);
                Ok(Turn::NoRoom)
            }
            Phase::Stable => {
                self.migration.prepare(part)?;
                Ok(Turn::Worked)
            }
            Phase::Preparing => {
                let to = self.migration.part(part)?.clone();
                if self.empty(&to, to.to_name(), phase).await? {
                    if self.back {
                        self.migration.step_back(part)?;
                    } else {
                        self.migration.start_copying(part)?;
                    }
                }
                Ok(Turn::Worked)
            }
            Phase::Copying if self.back => self.go_back(part),
            Phase::Copying => self.copy(part).await,
            Phase::Verifying | Phase::Switching | Phase::CutOver if self.back => {
                if phase == Phase::Verifying
                    && self.migration.has_turned(part)
                    && !self.make_equal(part).await?
                {
                    return Ok(Turn::Worked);
                }
                self.go_back(part)
            }
            Phase::Verifying | Phase::Switching => {
                if self.make_equal(part).await? {
                    match phase {
                        Phase::Verifying => self.migration.switch(part)?,
                        _ => self.migration.cut_over(part)?,
                    }
                }
                Ok(Turn::Worked)
            }
            Phase::CutOver => {
                self.migration.clean_up(part)?;
                Ok(Turn::Worked)
            }
            Phase::CleaningUp => {
                let from = self.migration.part(part)?.clone();
                if self.empty(&from, from.from_name(), phase).await? {
                    self.migration.cleaned(part)?;
                }
                Ok(Turn::Worked)
            }
            Phase::Done => self.purge(part, true).await,
        }
    }

    fn all_are_cut_over(&self) -> bool {
        let over = [Phase::CutOver, Phase::CleaningUp, Phase::Done];
        let over: usize = over.map(|phase| self.migration.count(phase)).iter().sum();
        over == self.migration.parts().len()
    }

    fn go_back(&mut self, part: PartId) -> Result<Turn, DriverError<S::Error>> {
        self.migration.step_back(part)?;
        Ok(Turn::Worked)
    }

    async fn copy(&mut self, id: PartId) -> Result<Turn, DriverError<S::Error>> {
        let part = self.migration.part(id)?.clone();
        let after = self.work.get(&id).and_then(|work| work.after.clone());
        let rows = self.scan(&part, part.from_name(), after.as_deref()).await?;
        if !rows.is_empty() {
            let applied = self.store.apply(part.to_name(), &rows).await;
            applied.map_err(|source| failed(id, Phase::Copying, source))?;
            let bytes = rows.iter().map(Row::size).sum();
            self.throttle.spend(rows.len() as u64, bytes);
            self.stats.rows_copied += rows.len() as u64;
            self.stats.bytes_copied += bytes;
        }
        if rows.len() < self.page {
            self.migration.copied(id)?;
        } else if let Some(last) = rows.last() {
            self.work.entry(id).or_default().after = Some(last.key.clone());
        }
        Ok(Turn::Worked)
    }

    /// Works on making both nodes equal, and says whether they are.
    async fn make_equal(&mut self, id: PartId) -> Result<bool, DriverError<S::Error>> {
        let part = self.migration.part(id)?.clone();
        if self.migration.is_verified(id)? {
            let dirty = self.migration.dirty(id)?;
            let Some(key) = dirty.first() else {
                return Ok(true);
            };
            self.repair(&part, key.key()).await?;
            self.migration.repaired(key);
            self.stats.keys_repaired += 1;
            return Ok(false);
        }
        let work = self.work.entry(id).or_default();
        let verification = if let Some(verification) = work.verification {
            verification
        } else {
            work.after = None;
            let begun = self.migration.verification(id)?;
            *work.verification.insert(begun)
        };
        let after = work.after.clone();
        let new = self.scan(&part, part.to_name(), after.as_deref()).await?;
        let old = self.scan(&part, part.from_name(), after.as_deref()).await?;
        let spent = new.iter().chain(&old).map(Row::size).sum();
        self.throttle.spend((new.len() + old.len()) as u64, spent);
        // Beyond the last key of a full page, the other page may know more.
        let end = [&new, &old]
            .into_iter()
            .filter(|rows| rows.len() >= self.page)
            .filter_map(|rows| rows.last().map(|row| row.key.clone()))
            .min();
        let within = |row: &&Row| end.as_ref().is_none_or(|end| row.key <= *end);
        let by_key = |rows: &[Row]| -> BTreeMap<Box<[u8]>, Row> {
            let rows = rows.iter().filter(within);
            rows.map(|row| (row.key.clone(), row.clone())).collect()
        };
        let (new, old) = (by_key(&new), by_key(&old));
        for (key, row) in &new {
            if old.get(key) != Some(row) {
                self.stats.keys_differed += 1;
                self.repair(&part, key).await?;
            }
        }
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.stats.keys_differed += 1;
            self.repair(&part, key).await?;
        }
        self.stats.rows_verified += new.len().max(old.len()) as u64;
        let work = self.work.entry(id).or_default();
        if end.is_some() {
            work.after = end;
            return Ok(false);
        }
        work.after = None;
        work.verification = None;
        match self.migration.verified(verification) {
            // Begun anew with the next step.
            Ok(()) | Err(MigrationError::Overtaken { .. }) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Gives both nodes the newer row of a key.
    async fn repair(&mut self, part: &Part, key: &[u8]) -> Result<(), DriverError<S::Error>> {
        let id = part.id();
        let phase = self.migration.phase(id)?;
        let failed = |source| failed(id, phase, source);
        let new = self.store.get(part.to_name(), key).await.map_err(failed)?;
        let old = self
            .store
            .get(part.from_name(), key)
            .await
            .map_err(failed)?;
        let (row, node) = match (new, old) {
            (Some(new), Some(old)) if new.version == old.version && new != old => {
                return Err(DriverError::Conflict {
                    part: id,
                    key: key.into(),
                    version: new.version,
                });
            }
            (None, None) => return Ok(()),
            (Some(new), Some(old)) if new.version == old.version => return Ok(()),
            (Some(new), Some(old)) if new.version < old.version => (old, part.to_name()),
            (Some(new), _) => (new, part.from_name()),
            (None, Some(old)) => (old, part.to_name()),
        };
        self.store.apply(node, &[row]).await.map_err(failed)
    }

    async fn scan(
        &self,
        part: &Part,
        node: &str,
        after: Option<&[u8]>,
    ) -> Result<Vec<Row>, DriverError<S::Error>> {
        let id = part.id();
        let phase = self.migration.phase(id)?;
        let rows = self.store.scan(node, part, after, self.page).await;
        let rows = rows.map_err(|source| failed(id, phase, source))?;
        let mut last = after;
        for row in &rows {
            let in_order = last.is_none_or(|last| *last < *row.key);
            if !in_order || self.migration.part_of_bytes(&row.key).map(Part::id) != Some(id) {
                return Err(DriverError::Scan { part: id });
            }
            last = Some(&row.key);
        }
        Ok(rows)
    }

    /// Removes a page of the part's rows from a node, and says whether none is left.
    async fn empty(
        &mut self,
        part: &Part,
        node: &str,
        phase: Phase,
    ) -> Result<bool, DriverError<S::Error>> {
        let id = part.id();
        if self.work.get(&id).is_some_and(|work| work.removed) {
            return Ok(true);
        }
        let removed = self.store.remove(node, part, self.page).await;
        let removed = removed.map_err(|source| failed(id, phase, source))?;
        self.throttle.spend(removed as u64, 0);
        self.stats.rows_removed += removed as u64;
        let done = removed < self.page;
        self.work.entry(id).or_default().removed = done;
        Ok(done)
    }

    /// Removes tombstones where rows lie now: only when nobody goes by a phase that
    /// keeps them, so that none comes after.
    async fn purge(&mut self, id: PartId, new: bool) -> Result<Turn, DriverError<S::Error>> {
        let part = self.migration.part(id)?.clone();
        let node = if new {
            part.to_name()
        } else {
            part.from_name()
        };
        let purged = self.store.purge(node, &part, self.page).await;
        let phase = self.migration.phase(id)?;
        let purged = purged.map_err(|source| failed(id, phase, source))?;
        self.throttle.spend(purged as u64, 0);
        if purged < self.page {
            self.purged.insert(id);
            self.work.remove(&id);
        }
        Ok(Turn::Worked)
    }
}

/// What became of a part's turn.
enum Turn {
    Worked,
    Waiting,
    /// There is nothing to do about it now.
    Rests,
    /// It may not begin yet.
    NoRoom,
}

fn failed<E: std::error::Error>(part: PartId, phase: Phase, source: E) -> DriverError<E> {
    DriverError::Store {
        part,
        phase,
        source,
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("migration", &self.migration)
            .field("back", &self.back)
            .finish_non_exhaustive()
    }
}
