use std::collections::BTreeSet;
use std::sync::Arc;

use super::bytes::malformed;
use super::error::MigrationError;
use super::journal::ErasedJournal;
use super::migration::Outcome;
use super::moving::{Moving, id};
use super::part::cut;
use super::phase::Phase;
use super::record::Record;
use crate::router::router::Router;
use crate::router::topology::Topology;
use crate::sync::atomic::Ordering;

/// What a journal says.
pub(super) struct Replay {
    pub(super) attempt: u64,
    pub(super) old: Topology,
    pub(super) new: Topology,
    pub(super) version: u64,
    pub(super) parts: Vec<Found>,
    pub(super) members: BTreeSet<Arc<str>>,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone)]
pub(super) struct Found {
    pub(super) phase: Phase,
    pub(super) turned: bool,
    pub(super) version: u64,
}

impl Replay {
    /// Reads a journal; nothing if it is empty.
    pub(super) fn read(journal: &mut dyn ErasedJournal) -> Result<Option<Self>, MigrationError> {
        let records = journal.replay().map_err(MigrationError::Journal)?;
        let mut records = records.iter().map(|bytes| Record::from_bytes(bytes));
        let Some(first) = records.next().transpose()? else {
            return Ok(None);
        };
        let Record::Begun { attempt, old, new } = first else {
            return Err(malformed("a migration's begin first of all").into());
        };
        let stable = Found {
            phase: Phase::Stable,
            turned: false,
            version: 0,
        };
        let parts = cut(&old, &new)?.len();
        let mut replay = Self {
            attempt,
            old,
            new,
            version: 0,
            parts: vec![stable; parts],
            members: BTreeSet::new(),
            outcome: None,
        };
        for record in records {
            replay.add(record?)?;
        }
        Ok(Some(replay))
    }

    fn add(&mut self, record: Record) -> Result<(), MigrationError> {
        match record {
            Record::Begun { .. } => return Err(malformed("one begin").into()),
            Record::Phase {
                version,
                part,
                count,
                phase,
                turned,
            } => {
                let end = part.index().saturating_add(count as usize);
                let Some(parts) = self.parts.get_mut(part.index()..end) else {
                    return Err(malformed("parts that there are").into());
                };
                parts.fill(Found {
                    phase,
                    turned,
                    version,
                });
                self.version = self.version.max(version);
            }
            Record::Joined { name } => {
                self.members.insert(name);
            }
            Record::Left { name } => {
                self.members.remove(&name);
            }
            Record::Ended { version, completed } => {
                self.version = self.version.max(version);
                self.outcome = Some(if completed {
                    Outcome::Completed
                } else {
                    Outcome::RolledBack
                });
            }
        }
        Ok(())
    }

    /// Finds the migration in a router that is in it already, or puts it in force in
    /// one that was started with the old topology.
    pub(super) fn put_in_force(&self, router: &Router) -> Result<Arc<Moving>, MigrationError> {
        let id = id(&self.old, &self.new, self.attempt);
        if let Some(moving) = router.moving() {
            let free = moving.id == id
                && moving
                    .owned
                    .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok();
            if free {
                return Ok(moving);
            }
            let to = moving.new.epoch();
            return Err(MigrationError::UnderWay { to });
        }
        let found = router.topology();
        let stamp = router.guards().stamp();
        let (old, new) = (self.old.clone(), self.new.clone());
        let is = |topology: &Topology| topology.to_bytes() == found.to_bytes();
        let over = self.outcome == Some(Outcome::Completed) && is(&self.new);
        if !over && !is(&self.old) {
            return Err(MigrationError::OtherMigration {
                from: self.old.epoch(),
                to: self.new.epoch(),
                found: found.epoch(),
            });
        }
        let moving = Arc::new(Moving::new(old, new, self.attempt, stamp)?);
        for (part, found) in moving.parts.iter().zip(&self.parts) {
            let stamp = router.guards().stamp();
            moving.set_phase(part.id(), found.phase, stamp);
        }
        if !over {
            router.set_moving(&moving)?;
        }
        Ok(moving)
    }
}
