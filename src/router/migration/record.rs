use std::sync::Arc;

use super::bytes::{Reader, VERSION, check_version, malformed, write_bytes};
use super::error::RecordError;
use super::part::PartId;
use super::phase::Phase;
use crate::router::bytes::Writer;
use crate::router::topology::Topology;

/// What a journal is told.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// The first of all.
    Begun {
        attempt: u64,
        old: Topology,
        new: Topology,
    },
    /// A part, and as many after it, is in this phase.
    Phase {
        version: u64,
        part: PartId,
        count: u32,
        phase: Phase,
        turned: bool,
    },
    /// A process takes part.
    Joined { name: Arc<str> },
    /// It does not any more.
    Left { name: Arc<str> },
    /// It is over: the new topology is in force, or the old one again.
    Ended { version: u64, completed: bool },
}

impl Record {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Begun { attempt, old, new } => {
                writer.u8(1);
                writer.u16(VERSION);
                writer.u64(*attempt);
                write_bytes(&mut writer, &old.to_bytes());
                write_bytes(&mut writer, &new.to_bytes());
            }
            Self::Phase {
                version,
                part,
                count,
                phase,
                turned,
            } => {
                writer.u8(2);
                writer.u64(*version);
                writer.u32(part.0);
                writer.u32(*count);
                writer.u8(*phase as u8);
                writer.u8(u8::from(*turned));
            }
            Self::Joined { name } => {
                writer.u8(3);
                write_bytes(&mut writer, name.as_bytes());
            }
            Self::Left { name } => {
                writer.u8(4);
                write_bytes(&mut writer, name.as_bytes());
            }
            Self::Ended { version, completed } => {
                writer.u8(5);
                writer.u64(*version);
                writer.u8(u8::from(*completed));
            }
        }
        writer.bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        let record = match reader.u8()? {
            1 => {
                check_version(reader.u16()?)?;
                Self::Begun {
                    attempt: reader.u64()?,
                    old: Topology::from_bytes(reader.bytes()?)?,
                    new: Topology::from_bytes(reader.bytes()?)?,
                }
            }
            2 => Self::Phase {
                version: reader.u64()?,
                part: PartId(reader.u32()?),
                count: reader.u32()?,
                phase: Phase::from_raw(reader.u8()?).ok_or(malformed("a phase"))?,
                turned: flag(&mut reader)?,
            },
            3 => Self::Joined {
                name: reader.text()?,
            },
            4 => Self::Left {
                name: reader.text()?,
            },
            5 => Self::Ended {
                version: reader.u64()?,
                completed: flag(&mut reader)?,
            },
            _ => return Err(malformed("a record of a migration")),
        };
        reader.end()?;
        Ok(record)
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, RecordError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(malformed("yes or no")),
    }
}
