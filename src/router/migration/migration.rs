use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::error::MigrationError;
use super::journal::{ErasedJournal, Journal};
use super::members::Member;
use super::moving::Moving;
use super::part::{Part, PartId};
use super::phase::Phase;
use super::record::Record;
use super::replay::Replay;
use super::stats::Stats;
use crate::hash::StableKey;
use crate::router::StaleTopology;
use crate::router::router::Router;
use crate::router::topology::Topology;
use crate::sync::atomic::Ordering;

/// A migration under way: who has it decides what happens next.
///
/// It takes the parts through their [phases](Phase), one step at a time. Each step is
/// written to the journal, and then takes effect for whoever asks the router from
/// then on; and the next step of the part is refused until nobody goes by the phase before any
/// more. [`Driver`](super::Driver) takes all steps and moves the rows; these are the
/// steps, for those who move rows themselves.
///
/// Dropped before its end it leaves the router as it is: what moves goes on being
/// written to both nodes, and whoever [resumes](Self::resume) goes on.
///
/// ```
/// use tenfold::router::migration::{MemoryJournal, Migration, Phase};
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).slots(16).build()?);
/// let new = router.topology().edit().node("c").build()?;
/// let mut migration = Migration::begin(&router, &new, MemoryJournal::new())?;
/// for part in migration.part_ids() {
///     migration.prepare(part)?; // … empty the new node of it, then:
///     migration.start_copying(part)?; // … copy its rows, then:
///     migration.copied(part)?; // … compare both nodes, then:
///     let seen = migration.verification(part)?;
///     migration.verified(seen)?;
///     migration.switch(part)?;
///     migration.cut_over(part)?;
///     migration.clean_up(part)?; // … remove the old node's copies, then:
///     migration.cleaned(part)?;
/// }
/// migration.finish()?;
/// assert_eq!(router.topology().to_bytes(), new.to_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Migration {
    pub(super) router: Router,
    pub(super) moving: Arc<Moving>,
    journal: Box<dyn ErasedJournal>,
    pub(super) attempt: u64,
    /// How many steps were taken.
    pub(super) version: u64,
    /// The version that the phase of each part came with.
    pub(super) changed_at: Vec<u64>,
    /// How many parts are in each phase.
    counts: [usize; Phase::ALL.len()],
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) in_flight: usize,
    /// Whether the last record may be in the journal, or not.
    unsure: bool,
    /// Records since the journal was last made short.
    appended: usize,
    pub(super) outcome: Option<Outcome>,
}

/// How a migration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The new topology is in force.
    Completed,
    /// The old topology is, as if nothing had been.
    RolledBack,
}

/// That a part is being verified, from a moment on.
#[derive(Debug, Clone, Copy)]
#[must_use = "hand it back when the part is verified"]
pub struct Verification {
    part: PartId,
    round: u64,
}

/// A key of which one of both nodes may lack the last write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyKey {
    part: PartId,
    key: Box<[u8]>,
    mark: u64,
}

impl DirtyKey {
    /// The part that it is in.
    pub fn part(&self) -> PartId {
        self.part
    }

    /// The bytes that placement goes by: [canonical](StableKey::write_canonical), or
    /// [ordered](StableKey::write_ordered) under [`Policy::Range`](crate::router::Policy::Range).
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Migration {
    /// Begins to carry the data of a router's topology to where a later one, an
    /// [edit](Topology::edit) of it, wants it. Nothing moves yet.
    ///
    /// The journal must be empty, or that of a migration that ended.
    ///
    /// # Errors
    /// [`MigrationError::UnderWay`] if a migration is; [`MigrationError::Stale`],
    /// [`MigrationError::Unrelated`], [`MigrationError::Incomparable`] if the topology does not
    /// fit; [`MigrationError::SingleKeys`] if a pin or the like would have to move, or stay behind; [`MigrationError::JournalInUse`] or what is wrong with the journal.
    pub fn begin(
        router: &Router,
        new: &Topology,
        journal: impl Journal + 'static,
    ) -> Result<Self, MigrationError> {
        let mut journal: Box<dyn ErasedJournal> = Box::new(journal);
        let attempt = match Replay::read(&mut *journal)? {
            None => 0,
            Some(replay) if replay.outcome.is_some() => replay.attempt.wrapping_add(1),
            Some(replay) => {
                return Err(MigrationError::JournalInUse {
                    from: replay.old.epoch(),
                    to: replay.new.epoch(),
                });
            }
        };
        let old = router.topology();
        let stamp = router.guards().stamp();
        let moving = Arc::new(Moving::new(old.clone(), new.clone(), attempt, stamp)?);
        router.set_moving(&moving)?;
        // Taken back if the journal fails or panics.
        let reserved = Reserved(router, &moving);
        let record = Record::Begun {
            attempt,
            old,
            new: new.clone(),
        };
        let records = [record.to_bytes()];
        journal.replace(&records).map_err(MigrationError::Journal)?;
        std::mem::forget(reserved);
        Ok(Self::new(router, moving, journal, attempt))
    }

    /// Goes on with the migration in a journal, after a crash or where another handle was
    /// dropped. The router must have the topology that it began with, or the migration.
    ///
    /// What this process wrote before a crash may have reached one node and not the
    /// other, so all that is in flight must be verified anew. Processes that had joined
    /// must be heard again, or said to be [lost](Self::lost).
    ///
    /// # Errors
    /// [`MigrationError::NoJournal`], [`MigrationError::OtherMigration`],
    /// [`MigrationError::UnderWay`] if another handle has it, or what is wrong with the journal.
    pub fn resume(
        router: &Router,
        journal: impl Journal + 'static,
    ) -> Result<Self, MigrationError> {
        let mut journal: Box<dyn ErasedJournal> = Box::new(journal);
        let replay = Replay::read(&mut *journal)?.ok_or(MigrationError::NoJournal)?;
        let moving = replay.put_in_force(router)?;
        let mut migration = Self::new(router, moving, journal, replay.attempt);
        migration.version = replay.version;
        migration.outcome = replay.outcome;
        for (id, found) in replay.parts.iter().enumerate() {
            let part = PartId(id as u32);
            migration.changed_at[id] = found.version;
            migration.counts[Phase::Stable as usize] -= 1;
            migration.counts[found.phase as usize] += 1;
            if migration.moving.phase(part).0 != found.phase {
                let stamp = router.guards().stamp();
                migration.moving.set_phase(part, found.phase, stamp);
            }
            migration.moving.with_trouble(part, |trouble| {
                trouble.turned |= found.turned;
                trouble.forget();
            });
        }
        let joined = replay.members.into_iter();
        migration.members = joined.map(|name| (name, Member::default())).collect();
        if let Some(outcome) = migration.outcome {
            migration.put_outcome_in_force(outcome);
        }
        Ok(migration)
    }

    fn new(
        router: &Router,
        moving: Arc<Moving>,
        journal: Box<dyn ErasedJournal>,
        attempt: u64,
    ) -> Self {
        let parts = moving.parts.len();
        let mut counts = [0; Phase::ALL.len()];
        counts[Phase::Stable as usize] = parts;
        Self {
            router: router.clone(),
            moving,
            journal,
            attempt,
            version: 0,
            changed_at: vec![0; parts],
            counts,
            members: BTreeMap::new(),
            in_flight: usize::MAX,
            unsure: false,
            appended: 0,
            outcome: None,
        }
    }

    /// Lets so many parts be in flight at once, and no more: from `Preparing` until
    /// they are cut over. As many as there are to begin with.
    pub fn limit_in_flight(&mut self, parts: usize) {
        self.in_flight = parts;
    }

    /// How far it is: parts, and what holds them up. Rows are counted by a
    /// [`Driver`](super::Driver).
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.look_at(self);
        stats
    }

    /// The router that it moves.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Where it began.
    pub fn old(&self) -> &Topology {
        &self.moving.old
    }

    /// Where it leads.
    pub fn new_topology(&self) -> &Topology {
        &self.moving.new
    }

    /// What moves, part by part.
    pub fn parts(&self) -> &[Part] {
        &self.moving.parts
    }

    /// The numbers of all parts.
    pub fn part_ids(&self) -> impl Iterator<Item = PartId> + use<> {
        (0..self.moving.parts.len() as u32).map(PartId)
    }

    /// A part by its number.
    ///
    /// # Errors
    /// [`MigrationError::UnknownPart`].
    pub fn part(&self, part: PartId) -> Result<&Part, MigrationError> {
        self.moving.part(part)
    }

    /// The part that a key is in, if it moves.
    pub fn part_of(&self, key: impl StableKey) -> Option<&Part> {
        self.moving.part_at(&self.moving.old.0.point(&key))
    }

    /// The part that a key is in, of which the bytes are known.
    pub fn part_of_bytes(&self, key: &[u8]) -> Option<&Part> {
        self.moving.part_at(&self.moving.old.0.point_of_bytes(key))
    }

    /// The phase of a part.
    ///
    /// # Errors
    /// [`MigrationError::UnknownPart`].
    pub fn phase(&self, part: PartId) -> Result<Phase, MigrationError> {
        self.moving.part(part)?;
        Ok(self.moving.phase(part).0)
    }

    /// How many parts are in a phase.
    pub fn count(&self, phase: Phase) -> usize {
        self.counts[phase as usize]
    }

    /// How many steps were taken so far. What other processes hear and acknowledge.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How it ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Begins a part: from now on deletions leave tombstones. Once that is
    /// [complete](Self::check_complete), remove whatever the new node has of the part from
    /// earlier.
    ///
    /// # Errors
    /// [`MigrationError::TooManyInFlight`], and as every step: [`MigrationError::OutOfOrder`],
    /// [`MigrationError::Draining`], [`MigrationError::UnknownPart`],
    /// [`MigrationError::Over`], [`MigrationError::Journal`].
    pub fn prepare(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::Stable, Phase::Preparing)?;
        self.check_complete(part)?;
        if self.has_no_room() {
            let limit = self.in_flight;
            return Err(MigrationError::TooManyInFlight { limit });
        }
        self.put(part, Phase::Preparing)
    }

    /// Says that the new node has nothing of the part: from now on writes go to both
    /// nodes. Once that is [complete](Self::check_complete), copy the rows.
    ///
    /// # Errors
    /// As every step.
    pub fn start_copying(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::Preparing, Phase::Copying)?;
        self.check_complete(part)?;
        self.put(part, Phase::Copying)
    }

    pub(super) fn has_no_room(&self) -> bool {
        let flying = [
            Phase::Preparing,
            Phase::Copying,
            Phase::Verifying,
            Phase::Switching,
        ];
        let flying: usize = flying.map(|phase| self.count(phase)).iter().sum();
        flying >= self.in_flight
    }

    /// Says that all rows which were there when copying was complete are on the new
    /// node too: from now on both are read.
    ///
    /// # Errors
    /// As every step.
    pub fn copied(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::Copying, Phase::Verifying)?;
        self.check_complete(part)?;
        self.put(part, Phase::Verifying)
    }

    /// Begins to verify a part: compare all rows of both nodes after this, make equal
    /// what is not, and hand back what this gives.
    ///
    /// # Errors
    /// [`MigrationError::OutOfOrder`] if the part was not copied.
    pub fn verification(&self, part: PartId) -> Result<Verification, MigrationError> {
        let found = self.phase(part)?;
        if !found.writes_both() || found == Phase::Copying {
            return Err(MigrationError::OutOfOrder {
                part,
                found,
                expected: Phase::Verifying,
                wanted: Phase::Switching,
            });
        }
        let round = self.moving.with_trouble(part, |trouble| trouble.round);
        Ok(Verification { part, round })
    }

    /// Says that both nodes had the same rows, but for those of dirty keys.
    ///
    /// # Errors
    /// [`MigrationError::Overtaken`] if a process was lost meanwhile, or there were more
    /// dirty keys than are remembered.
    pub fn verified(&mut self, verification: Verification) -> Result<(), MigrationError> {
        let Verification { part, round } = verification;
        self.moving.part(part)?;
        self.moving.with_trouble(part, |trouble| {
            if trouble.round != round {
                return Err(MigrationError::Overtaken { part });
            }
            trouble.verified = true;
            Ok(())
        })
    }

    /// Whether a part was verified, and nothing happened since that would void it.
    ///
    /// # Errors
    /// [`MigrationError::UnknownPart`].
    pub fn is_verified(&self, part: PartId) -> Result<bool, MigrationError> {
        self.moving.part(part)?;
        Ok(self.moving.with_trouble(part, |trouble| trouble.verified))
    }

    /// The keys of a part of which one node may lack the last write. For each: read both
    /// nodes, give each the newer row, and say that it is [repaired](Self::repaired).
    ///
    /// # Errors
    /// [`MigrationError::UnknownPart`].
    pub fn dirty(&self, part: PartId) -> Result<Vec<DirtyKey>, MigrationError> {
        self.moving.part(part)?;
        Ok(self.moving.with_trouble(part, |trouble| {
            let dirty = trouble.dirty.iter().map(|(key, &mark)| {
                let key = key.clone();
                DirtyKey { part, key, mark }
            });
            dirty.collect()
        }))
    }

    /// Says that both nodes have the same row of a key that was dirty. If a write
    /// failed again since it was listed, it stays dirty.
    pub fn repaired(&mut self, key: &DirtyKey) {
        if self.moving.part(key.part).is_err() {
            return;
        }
        self.moving.with_trouble(key.part, |trouble| {
            if trouble.dirty.get(&key.key) == Some(&key.mark) {
                trouble.dirty.remove(&key.key);
            }
        });
    }

    /// Lets the new node have the first and decisive say in writes.
    ///
    /// # Errors
    /// [`MigrationError::Unverified`], [`MigrationError::Dirty`], and as every step.
    pub fn switch(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::Verifying, Phase::Switching)?;
        self.check_complete(part)?;
        self.moving.check_equal(part)?;
        self.put(part, Phase::Switching)
    }

    /// Lets only the new node be read.
    ///
    /// # Errors
    /// [`MigrationError::Unverified`], [`MigrationError::Dirty`], and as every step.
    pub fn cut_over(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::Switching, Phase::CutOver)?;
        self.check_complete(part)?;
        self.moving.check_equal(part)?;
        self.put(part, Phase::CutOver)
    }

    /// Gives up the way back: writes go to the new node only. When that is
    /// [complete](Self::check_complete), remove the old node's copies, and the tombstones of
    /// both.
    ///
    /// # Errors
    /// As every step.
    pub fn clean_up(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::CutOver, Phase::CleaningUp)?;
        self.check_complete(part)?;
        self.put(part, Phase::CleaningUp)
    }

    /// Says that the old node has nothing of the part any more.
    ///
    /// # Errors
    /// As every step.
    pub fn cleaned(&mut self, part: PartId) -> Result<(), MigrationError> {
        self.expect(part, Phase::CleaningUp, Phase::Done)?;
        self.check_complete(part)?;
        self.put(part, Phase::Done)
    }

    /// Takes one step back, from any phase before the clean-up, and answers the phase it
    /// went to. From `Preparing`, it says that the new node has nothing of the part any more.
    ///
    /// # Errors
    /// As every step. Once the new node's writes came first, the way from `Verifying`
    /// to `Copying` also needs a part that is verified and without dirty keys, since the old node
    /// may lack some: [`MigrationError::Unverified`], [`MigrationError::Dirty`].
    pub fn step_back(&mut self, part: PartId) -> Result<Phase, MigrationError> {
        let found = self.phase(part)?;
        let back = match found {
            Phase::CutOver => Phase::Switching,
            Phase::Switching => Phase::Verifying,
            Phase::Verifying => Phase::Copying,
            Phase::Copying => Phase::Preparing,
            Phase::Preparing => Phase::Stable,
            _ => {
                return Err(MigrationError::OutOfOrder {
                    part,
                    found,
                    expected: Phase::CutOver,
                    wanted: Phase::Stable,
                });
            }
        };
        self.expect(part, found, back)?;
        self.check_complete(part)?;
        if found == Phase::Verifying && self.has_turned(part) {
            self.moving.check_equal(part)?;
        }
        self.put(part, back)?;
        Ok(back)
    }

    /// Whether the new node's writes came first at some time, so that the old node
    /// alone may not have all.
    pub(super) fn has_turned(&self, part: PartId) -> bool {
        self.moving.with_trouble(part, |trouble| trouble.turned)
    }

    /// Puts the new topology in force, when all parts are done.
    ///
    /// # Errors
    /// [`MigrationError::Unfinished`], [`MigrationError::Over`],
    /// [`MigrationError::Journal`].
    pub fn finish(&mut self) -> Result<(), MigrationError> {
        self.end(Outcome::Completed, Phase::Done)
    }

    /// Puts the old topology in force alone, when all parts are as they were.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn abandon(&mut self) -> Result<(), MigrationError> {
        self.end(Outcome::RolledBack, Phase::Stable)
    }

    fn end(&mut self, outcome: Outcome, expected: Phase) -> Result<(), MigrationError> {
        self.check_open()?;
        let parts = self.moving.parts.len() - self.count(expected);
        if parts > 0 {
            return Err(MigrationError::Unfinished { parts, expected });
        }
        // Who goes by the phase before the last still counts.
        self.part_ids()
            .try_for_each(|part| self.check_complete(part))?;
        let version = self.version + 1;
        self.append(&Record::Ended {
            version,
            completed: outcome == Outcome::Completed,
        })?;
        self.version = version;
        self.outcome = Some(outcome);
        self.put_outcome_in_force(outcome);
        Ok(())
    }

    fn put_outcome_in_force(&self, outcome: Outcome) {
        let topology = match outcome {
            Outcome::Completed => &self.moving.new,
            Outcome::RolledBack => &self.moving.old,
        };
        self.router.end_moving(&self.moving, topology);
        self.router.guards().wake();
    }

    /// Whether the phase of a part is complete: nobody, here or in another process,
    /// goes by the phase before.
    ///
    /// # Errors
    /// [`MigrationError::Draining`], with those who do; [`MigrationError::UnknownPart`].
    pub fn check_complete(&self, part: PartId) -> Result<(), MigrationError> {
        let changed_at = self.changed_at.get(part.index()).copied();
        let writers = self
            .moving
            .undrained(self.router.guards(), self.part(part)?);
        let late = |(name, member): (&Arc<str>, &Member)| {
            let told = member.has_left_behind(part, changed_at.unwrap_or(0));
            (!told).then(|| name.clone())
        };
        let members: Vec<_> = self.members.iter().filter_map(late).collect();
        if writers == 0 && members.is_empty() {
            return Ok(());
        }
        Err(MigrationError::Draining {
            part,
            phase: self.moving.phase(part).0,
            writers,
            members,
        })
    }

    /// Waits until this process's write routes of the phase before are dropped. Needs no
    /// runtime; other processes it does not wait for.
    ///
    /// # Errors
    /// [`MigrationError::UnknownPart`].
    pub async fn drained(&self, part: PartId) -> Result<(), MigrationError> {
        let part = self.part(part)?;
        let guards = self.router.guards();
        std::future::poll_fn(|context| {
            // Before looking, so that no one slips between.
            guards.wait(context.waker());
            match self.moving.undrained(guards, part) {
                0 => std::task::Poll::Ready(Ok(())),
                _ => std::task::Poll::Pending,
            }
        })
        .await
    }

    /// Whether a caller who knows this epoch knows enough to take part.
    ///
    /// # Errors
    /// [`StaleTopology`] if it is not the epoch in force.
    pub fn check_epoch(&self, have: u64) -> Result<(), StaleTopology> {
        self.router.check(have)
    }

    fn check_open(&self) -> Result<(), MigrationError> {
        match self.outcome {
            Some(_) => Err(MigrationError::Over),
            None => Ok(()),
        }
    }

    fn expect(&self, part: PartId, expected: Phase, wanted: Phase) -> Result<(), MigrationError> {
        self.check_open()?;
        let found = self.phase(part)?;
        if found == expected {
            return Ok(());
        }
        Err(MigrationError::OutOfOrder {
            part,
            found,
            expected,
            wanted,
        })
    }

    /// First the journal, then the effect: after a crash between them the step is found
    /// done, and neighbouring phases go together.
    fn put(&mut self, part: PartId, phase: Phase) -> Result<(), MigrationError> {
        let version = self.version + 1;
        let found = self.moving.phase(part).0;
        let turned = phase.writes_both() && (phase.new_first() || self.has_turned(part));
        self.append(&Record::Phase {
            version,
            part,
            count: 1,
            phase,
            turned,
        })?;
        self.version = version;
        self.changed_at[part.index()] = version;
        self.counts[found as usize] -= 1;
        self.counts[phase as usize] += 1;
        let stamp = self.router.guards().stamp();
        self.moving.set_phase(part, phase, stamp);
        self.router.guards().wake();
        Ok(())
    }

    /// Appends a record, and makes the journal short when it has grown long.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), MigrationError> {
        let failed = MigrationError::Journal;
        if self.unsure {
            // A step may be in there that was never taken. Others would acknowledge
            // a later one, and seem to have heard of it.
            self.compact()?;
        }
        // Should it panic, nobody knows either.
        self.unsure = true;
        self.journal.append(&record.to_bytes()).map_err(failed)?;
        self.unsure = false;
        self.appended += 1;
        if self.appended > LONG + 4 * self.moving.parts.len() {
            self.appended = 0;
            // The step is safe already; a journal that stays long does no harm.
            let mut records = self.snapshot();
            records.push(record.clone());
            let records: Vec<_> = records.iter().map(Record::to_bytes).collect();
            let _ = self.journal.replace(&records);
        }
        Ok(())
    }

    /// Records that say where everything is.
    fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Begun {
            attempt: self.attempt,
            old: self.moving.old.clone(),
            new: self.moving.new.clone(),
        }];
        let joined = self.members.keys();
        records.extend(joined.map(|name| Record::Joined { name: name.clone() }));
        for (id, &changed) in self.changed_at.iter().enumerate() {
            let part = PartId(id as u32);
            let (now, turned) = (self.moving.phase(part).0, self.has_turned(part));
            let next = Record::Phase {
                version: changed,
                part,
                count: 1,
                phase: now,
                turned,
            };
            match records.last_mut() {
                Some(Record::Phase {
                    version,
                    count,
                    phase,
                    turned: same,
                    ..
                }) if *phase == now && *same == turned => {
                    // The later version: who has acknowledged that has all of them.
                    *version = changed.max(*version);
                    *count += 1;
                }
                _ => records.push(next),
            }
        }
        records
    }

    /// Makes the journal short now.
    ///
    /// # Errors
    /// [`MigrationError::Journal`]; the journal is as it was.
    pub fn compact(&mut self) -> Result<(), MigrationError> {
        let mut records = self.snapshot();
        if let Some(outcome) = self.outcome {
            records.push(Record::Ended {
                version: self.version,
                completed: outcome == Outcome::Completed,
            });
        }
        let records: Vec<_> = records.iter().map(Record::to_bytes).collect();
        let failed = MigrationError::Journal;
        self.journal.replace(&records).map_err(failed)?;
        self.unsure = false;
        self.appended = 0;
        Ok(())
    }

    /// Lets parts of which nothing is known be verified anew.
    pub(super) fn distrust(&self, parts: impl IntoIterator<Item = PartId>) {
        let parts: BTreeSet<_> = parts.into_iter().collect();
        for part in parts {
            if self.moving.part(part).is_ok() {
                self.moving
                    .with_trouble(part, super::moving::Trouble::forget);
            }
        }
    }
}

impl Drop for Migration {
    fn drop(&mut self) {
        self.moving.owned.store(0, Ordering::SeqCst);
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("from", &self.moving.old.epoch())
            .field("to", &self.moving.new.epoch())
            .field("version", &self.version)
            .field("parts", &self.moving.parts.len())
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// A migration that is in force and not yet in the journal.
struct Reserved<'a>(&'a Router, &'a Arc<Moving>);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let Self(router, moving) = self;
        router.end_moving(moving, &moving.old);
    }
}

/// Records that a journal may have before it is made short, besides some per part.
const LONG: usize = 256;
