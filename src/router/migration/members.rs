use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::MigrationError;
use super::message::{Acknowledgement, Announcement};
use super::migration::Migration;
use super::part::PartId;
use super::record::Record;
use crate::router::StaleTopology;

/// Another process, as far as it was heard.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// The number of its last message.
    number: u64,
    /// What it has put in force.
    applied: u64,
    /// The parts in which someone still goes by the phase before.
    undrained: BTreeSet<PartId>,
    /// How often it had more dirty keys than it remembers, by part.
    overflows: BTreeMap<PartId, u64>,
    /// How many write routes to moving keys it has.
    writers: u64,
}

impl Member {
    /// Whether nobody there goes by a phase of this part before that version.
    pub(super) fn has_left_behind(&self, part: PartId, version: u64) -> bool {
        self.applied >= version && !self.undrained.contains(&part)
    }
}

impl Migration {
    /// Lets another process take part: from now on a phase is complete only when
    /// that one has acknowledged it. What it must put in force comes back.
    ///
    /// All processes that write join before the first part is begun; one that comes
    /// later joins before it serves its first caller.
    ///
    /// # Errors
    /// [`MigrationError::Stale`] if its epoch is not the one that the migration began
    /// with; [`MigrationError::MemberExists`], [`MigrationError::Over`],
    /// [`MigrationError::Journal`].
    pub fn join(
        &mut self,
        name: impl Into<Arc<str>>,
        epoch: u64,
    ) -> Result<Announcement, MigrationError> {
        let name = name.into();
        if self.outcome().is_some() {
            return Err(MigrationError::Over);
        }
        let need = self.old().epoch();
        if epoch != need {
            return Err(StaleTopology { have: epoch, need }.into());
        }
        if self.members.contains_key(&name) {
            return Err(MigrationError::MemberExists { name });
        }
        self.append(&Record::Joined { name: name.clone() })?;
        self.members.insert(name, Member::default());
        Ok(self.announcement())
    }

    /// The processes that take part, besides this one.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(|name| &**name)
    }

    /// What every other process must know now. Sent again it does no harm, and
    /// of several only the last counts.
    pub fn announcement(&self) -> Announcement {
        let mut phases: Vec<(_, u32)> = Vec::new();
        for part in self.part_ids() {
            let now = self.moving.phase(part).0;
            match phases.last_mut() {
                Some((phase, count)) if *phase == now => *count += 1,
                _ => phases.push((now, 1)),
            }
        }
        let heard = self.members.iter();
        Announcement {
            migration: self.moving.id,
            attempt: self.attempt,
            from_epoch: self.moving.old.epoch(),
            to_epoch: self.moving.new.epoch(),
            version: self.version,
            phases,
            outcome: self.outcome,
            heard: heard.map(|(name, m)| (name.clone(), m.number)).collect(),
        }
    }

    /// Hears what a process has put in force, and what went wrong there.
    ///
    /// # Errors
    /// [`MigrationError::UnknownMember`] if it has not joined, or is lost;
    /// [`MigrationError::OtherMessage`].
    pub fn acknowledge(&mut self, message: &Acknowledgement) -> Result<(), MigrationError> {
        if message.migration != self.moving.id {
            return Err(MigrationError::OtherMessage {
                expected: self.moving.id,
                found: message.migration,
            });
        }
        let Some(member) = self.members.get_mut(&message.member) else {
            let name = message.member.clone();
            return Err(MigrationError::UnknownMember { name });
        };
        if message.number <= member.number {
            return Ok(());
        }
        let Member { overflows, .. } = member;
        let grown = |(part, count): &&(PartId, u64)| overflows.get(part) != Some(count);
        let distrusted: Vec<_> = message
            .overflows
            .iter()
            .filter(grown)
            .map(|o| o.0)
            .collect();
        *member = Member {
            number: message.number,
            applied: message.version,
            undrained: message.undrained.iter().copied().collect(),
            overflows: message.overflows.iter().copied().collect(),
            writers: message.writers,
        };
        self.distrust(distrusted);
        for (part, key) in &message.dirty {
            // From another process: the part may be none.
            if self.moving.part(*part).is_ok() {
                self.moving.mark(*part, key);
            }
        }
        self.router.guards().wake();
        Ok(())
    }

    /// Lets a process go that does not write any more.
    ///
    /// # Errors
    /// [`MigrationError::Draining`] if, when it was last heard, it had write routes;
    /// [`MigrationError::UnknownMember`], [`MigrationError::Journal`].
    pub fn leave(&mut self, name: &str) -> Result<(), MigrationError> {
        let Some((name, member)) = self.members.get_key_value(name) else {
            return Err(MigrationError::UnknownMember { name: name.into() });
        };
        let name = name.clone();
        if member.writers > 0 || member.number == 0 {
            return Err(MigrationError::Busy {
                name,
                writers: member.writers,
            });
        }
        self.append(&Record::Left { name: name.clone() })?;
        self.members.remove(&name);
        self.router.guards().wake();
        Ok(())
    }

    /// Gives a process up that will not be heard again, and *cannot write any more*: it has
    /// died, or its access was taken away. What it wrote last may have reached one
    /// node only, so all parts in flight must be verified anew.
    ///
    /// # Errors
    /// [`MigrationError::UnknownMember`], [`MigrationError::Journal`].
    pub fn lost(&mut self, name: &str) -> Result<(), MigrationError> {
        let Some((name, _)) = self.members.get_key_value(name) else {
            return Err(MigrationError::UnknownMember { name: name.into() });
        };
        let name = name.clone();
        self.append(&Record::Left { name: name.clone() })?;
        self.members.remove(&name);
        let in_flight: Vec<_> = self
            .part_ids()
            .filter(|part| self.moving.phase(*part).0.writes_both())
            .collect();
        self.distrust(in_flight);
        self.router.guards().wake();
        Ok(())
    }

    /// Whether all processes know how it ended, so that none goes by it any more.
    pub fn all_know_the_outcome(&self) -> bool {
        let knows = |member: &Member| member.applied >= self.version;
        self.outcome.is_some() && self.members.values().all(knows)
    }
}
