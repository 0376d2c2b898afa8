use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use super::error::MigrationError;
use super::message::{Acknowledgement, Announcement};
use super::migration::Outcome;
use super::moving::Moving;
use super::part::PartId;
use crate::router::StaleTopology;
use crate::router::router::Router;
use crate::router::topology::Topology;
use crate::sync::atomic::Ordering;

/// A process's part in a migration that another one has: it puts in force what it
/// hears, and says so.
///
/// ```
/// use tenfold::router::migration::{Announcement, Follower, MemoryJournal, Migration};
/// use tenfold::router::{Router, Topology};
///
/// let old = Topology::builder().nodes(["a", "b"]).slots(16).build()?;
/// let new = old.edit().node("c").build()?;
/// let (here, there) = (Router::new(old.clone()), Router::new(old));
///
/// let mut migration = Migration::begin(&here, &new, MemoryJournal::new())?;
/// let bytes = migration.join("web-2", there.epoch())?.to_bytes(); // travels
/// let told = Announcement::from_bytes(&bytes)?;
/// let mut follower = Follower::join(&there, &new, "web-2", &told)?;
///
/// let part = migration.part_ids().next().unwrap();
/// migration.prepare(part)?;
/// assert!(migration.check_complete(part).is_err()); // the other does not know
/// follower.apply(&migration.announcement())?;
/// migration.acknowledge(&follower.acknowledgement())?;
/// migration.check_complete(part)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    router: Router,
    moving: Arc<Moving>,
    name: Arc<str>,
    number: u64,
    version: u64,
    outcome: Option<Outcome>,
    /// What the last messages said is dirty, with the marks it had then.
    told: BTreeMap<u64, Vec<Marked>>,
}

/// A dirty key and its mark.
type Marked = (PartId, Box<[u8]>, u64);

impl Follower {
    /// Joins a migration under this name, with what [`Migration::join`](super::Migration::join)
    /// answered. The process must not have written since before any part was begun.
    ///
    /// # Errors
    /// [`MigrationError::Stale`] if this router has not the topology that the migration
    /// begins with; [`MigrationError::OtherMessage`] if the topologies differ in another way;
    /// [`MigrationError::UnderWay`] if it takes part in one.
    pub fn join(
        router: &Router,
        new: &Topology,
        name: impl Into<Arc<str>>,
        told: &Announcement,
    ) -> Result<Self, MigrationError> {
        let old = router.topology();
        if old.epoch() != told.from_epoch {
            return Err(StaleTopology {
                have: old.epoch(),
                need: told.from_epoch,
            }
            .into());
        }
        let stamp = router.guards().stamp();
        let moving = Moving::new(old, new.clone(), told.attempt, stamp)?;
        let moving = Arc::new(moving);
        check_message(&moving, told)?;
        router.set_moving(&moving)?;
        let mut follower = Self {
            router: router.clone(),
            moving,
            name: name.into(),
            number: 0,
            version: 0,
            outcome: None,
            told: BTreeMap::new(),
        };
        follower.put_in_force(told);
        Ok(follower)
    }

    /// Puts in force what was heard. What is older than what was heard before is
    /// passed over.
    ///
    /// # Errors
    /// [`MigrationError::OtherMessage`]; [`MigrationError::LeftBehind`] if phases were left
    /// out, which happens to a process that was given up: it must stop writing, and join
    /// anew. Nothing is put in force then.
    pub fn apply(&mut self, told: &Announcement) -> Result<(), MigrationError> {
        check_message(&self.moving, told)?;
        self.forget_what_was_heard(told);
        if told.version < self.version || self.outcome.is_some() {
            return Ok(());
        }
        for (part, told) in self.moving.parts.iter().zip(told.phases()) {
            let found = self.moving.phase(part.id()).0;
            if !found.is_neighbour(told) {
                return Err(MigrationError::LeftBehind {
                    part: part.id(),
                    found,
                    told,
                });
            }
        }
        self.put_in_force(told);
        Ok(())
    }

    fn put_in_force(&mut self, told: &Announcement) {
        for (part, phase) in self.moving.parts.iter().zip(told.phases()) {
            if self.moving.phase(part.id()).0 != phase {
                let stamp = self.router.guards().stamp();
                self.moving.set_phase(part.id(), phase, stamp);
            }
        }
        self.version = told.version;
        if let Some(outcome) = told.outcome {
            self.outcome = Some(outcome);
            let topology = match outcome {
                Outcome::Completed => &self.moving.new,
                Outcome::RolledBack => &self.moving.old,
            };
            self.router.end_moving(&self.moving, topology);
        }
        self.router.guards().wake();
    }

    /// Keys that were told and heard are the other process's to repair.
    fn forget_what_was_heard(&mut self, told: &Announcement) {
        let heard = told.heard.iter().find(|(name, _)| *name == self.name);
        let Some(&(_, number)) = heard else { return };
        let later = self.told.split_off(&(number + 1));
        for (part, key, mark) in std::mem::replace(&mut self.told, later)
            .into_values()
            .flatten()
        {
            self.moving.with_trouble(part, |trouble| {
                if trouble.dirty.get(&key) == Some(&mark) {
                    trouble.dirty.remove(&key);
                }
            });
        }
    }

    /// What to tell the process that has the migration: after everything that was put
    /// in force, and again when write routes were [dropped](Self::drained).
    pub fn acknowledgement(&mut self) -> Acknowledgement {
        self.number += 1;
        let guards = self.router.guards();
        // Before the dirty keys: who has left has marked them.
        let (mut undrained, mut writers) = (Vec::new(), 0);
        for part in &self.moving.parts {
            if self.moving.undrained(guards, part) > 0 {
                undrained.push(part.id());
            }
            writers += guards.older(part, u64::MAX);
        }
        let (mut overflows, mut dirty) = (Vec::new(), Vec::new());
        for part in self.moving.parts.iter().map(super::Part::id) {
            self.moving.with_trouble(part, |trouble| {
                if trouble.overflows > 0 {
                    overflows.push((part, trouble.overflows));
                }
                let keys = trouble.dirty.iter();
                dirty.extend(keys.map(|(key, mark)| (part, key.clone(), *mark)));
            });
        }
        self.told.insert(self.number, dirty.clone());
        while self.told.len() > REMEMBERED {
            self.told.pop_first();
        }
        Acknowledgement {
            migration: self.moving.id,
            member: self.name.clone(),
            number: self.number,
            version: self.version,
            writers,
            undrained,
            overflows,
            dirty: dirty
                .into_iter()
                .map(|(part, key, _)| (part, key))
                .collect(),
        }
    }

    /// Waits until no write route of this process is older than what is in force.
    /// Needs no runtime.
    pub async fn drained(&self) {
        let guards = self.router.guards();
        std::future::poll_fn(|context| {
            guards.wait(context.waker());
            let mut parts = self.moving.parts.iter();
            if parts.any(|part| self.moving.undrained(guards, part) > 0) {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The version that is in force here.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How the migration ended, once that was heard.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.moving.owned.store(0, Ordering::SeqCst);
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

fn check_message(moving: &Moving, told: &Announcement) -> Result<(), MigrationError> {
    if told.migration != moving.id || told.parts() != moving.parts.len() as u64 {
        return Err(MigrationError::OtherMessage {
            expected: moving.id,
            found: told.migration,
        });
    }
    Ok(())
}

/// How many messages may be on their way before what they said is dirty is said again.
const REMEMBERED: usize = 8;
