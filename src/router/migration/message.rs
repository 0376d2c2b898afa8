use std::sync::Arc;

use super::bytes::{Reader, malformed, seal, unseal, write_bytes};
use super::error::RecordError;
use super::migration::Outcome;
use super::part::PartId;
use super::phase::Phase;
use crate::router::bytes::Writer;

/// What the process that has the migration tells the others: the phase of every
/// part. Only the last one counts, so that none need be kept or sent twice.
///
/// How it travels is your affair; [`to_bytes`](Self::to_bytes) is what travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub(super) migration: u64,
    pub(super) attempt: u64,
    pub(super) from_epoch: u64,
    pub(super) to_epoch: u64,
    pub(super) version: u64,
    /// How many parts, one after the other, are in which phase.
    pub(super) phases: Vec<(Phase, u32)>,
    pub(super) outcome: Option<Outcome>,
    /// The number of the last message of each process.
    pub(super) heard: Vec<(Arc<str>, u64)>,
}

impl Announcement {
    /// The epoch that the migration begins with.
    pub fn from_epoch(&self) -> u64 {
        self.from_epoch
    }

    /// The epoch that it leads to.
    pub fn to_epoch(&self) -> u64 {
        self.to_epoch
    }

    /// How many steps had been taken.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How the migration ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Writes it down, with a format version and a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u64(self.migration);
        writer.u64(self.attempt);
        writer.u64(self.from_epoch);
        writer.u64(self.to_epoch);
        writer.u64(self.version);
        writer.u8(match self.outcome {
            None => 0,
            Some(Outcome::Completed) => 1,
            Some(Outcome::RolledBack) => 2,
        });
        writer.u32(self.phases.len() as u32);
        for (phase, count) in &self.phases {
            writer.u8(*phase as u8);
            writer.u32(*count);
        }
        writer.u32(self.heard.len() as u32);
        for (name, number) in &self.heard {
            write_bytes(&mut writer, name.as_bytes());
            writer.u64(*number);
        }
        seal(ANNOUNCEMENT, &writer)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`RecordError`]; whatever the bytes are, this does not panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = unseal(ANNOUNCEMENT, "the bytes of an announcement", bytes)?;
        let [migration, attempt, from_epoch, to_epoch, version] = numbers(&mut reader)?;
        let outcome = match reader.u8()? {
            0 => None,
            1 => Some(Outcome::Completed),
            2 => Some(Outcome::RolledBack),
            _ => return Err(malformed("an outcome")),
        };
        let mut phases = Vec::new();
        for _ in 0..reader.u32()? {
            let phase = Phase::from_raw(reader.u8()?).ok_or(malformed("a phase"))?;
            phases.push((phase, reader.u32()?));
        }
        let mut heard = Vec::new();
        for _ in 0..reader.u32()? {
            heard.push((reader.text()?, reader.u64()?));
        }
        reader.end()?;
        Ok(Self {
            migration,
            attempt,
            from_epoch,
            to_epoch,
            version,
            phases,
            outcome,
            heard,
        })
    }

    /// The phase of each part, in their order.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> {
        let runs = self.phases.iter();
        runs.flat_map(|(phase, count)| std::iter::repeat_n(*phase, *count as usize))
    }

    /// How many parts it speaks of.
    pub(super) fn parts(&self) -> u64 {
        self.phases.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

/// What a process answers: what it has put in force, who still goes by something
/// earlier, and what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub(super) migration: u64,
    pub(super) member: Arc<str>,
    /// Rises with each message of this process.
    pub(super) number: u64,
    pub(super) version: u64,
    pub(super) writers: u64,
    pub(super) undrained: Vec<PartId>,
    pub(super) overflows: Vec<(PartId, u64)>,
    pub(super) dirty: Vec<(PartId, Box<[u8]>)>,
}

impl Acknowledgement {
    /// The process.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The version that it has put in force.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether some write route of a phase before that is alive.
    pub fn is_drained(&self) -> bool {
        self.undrained.is_empty()
    }

    /// Writes it down, with a format version and a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u64(self.migration);
        writer.u64(self.number);
        writer.u64(self.version);
        writer.u64(self.writers);
        write_bytes(&mut writer, self.member.as_bytes());
        writer.u32(self.undrained.len() as u32);
        self.undrained.iter().for_each(|part| writer.u32(part.0));
        writer.u32(self.overflows.len() as u32);
        for (part, count) in &self.overflows {
            writer.u32(part.0);
            writer.u64(*count);
        }
        writer.u32(self.dirty.len() as u32);
        for (part, key) in &self.dirty {
            writer.u32(part.0);
            write_bytes(&mut writer, key);
        }
        seal(ACKNOWLEDGEMENT, &writer)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`RecordError`]; whatever the bytes are, this does not panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = unseal(ACKNOWLEDGEMENT, "the bytes of an acknowledgement", bytes)?;
        let [migration, number, version, writers] = numbers(&mut reader)?;
        let member = reader.text()?;
        let mut undrained = Vec::new();
        for _ in 0..reader.u32()? {
            undrained.push(PartId(reader.u32()?));
        }
        let mut overflows = Vec::new();
        for _ in 0..reader.u32()? {
            overflows.push((PartId(reader.u32()?), reader.u64()?));
        }
        let mut dirty = Vec::new();
        for _ in 0..reader.u32()? {
            dirty.push((PartId(reader.u32()?), reader.bytes()?.into()));
        }
        reader.end()?;
        Ok(Self {
            migration,
            member,
            number,
            version,
            writers,
            undrained,
            overflows,
            dirty,
        })
    }
}

fn numbers<const N: usize>(reader: &mut Reader<'_>) -> Result<[u64; N], RecordError> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = reader.u64()?;
    }
    Ok(numbers)
}

const ANNOUNCEMENT: [u8; 8] = *b"10fold\x00A";
const ACKNOWLEDGEMENT: [u8; 8] = *b"10fold\x00K";
