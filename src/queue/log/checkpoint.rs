//! A checkpoint: what the log amounts to up to a place, so that an open need not
//! read all of it. Never trusted over the log.

use std::io;

use crc32c::crc32c;

use super::format::{u32_at, u64_at};
use super::segments::Extent;
use crate::queue::storage::{Disk, DiskFile};

const MAGIC: &[u8; 8] = b"TFQ\0CKP1";
const FRAME: usize = 80;
const EXTENT: usize = 40;
const TEMPORARY: &str = "checkpoint.new";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) uuid: u128,
    /// All before this place of the log is in here.
    pub(super) place: u64,
    pub(super) next_id: u64,
    /// The time of the messages that follow, until the log says another.
    pub(super) time: u64,
    pub(super) segments: Vec<Extent>,
    /// The queue's own part.
    pub(super) body: Vec<u8>,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FRAME];
        for extent in &self.segments {
            let words = [
                extent.number,
                extent.size,
                extent.end,
                extent.first,
                extent.next,
            ];
            for word in words {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&self.body);
        let crc = crc32c(&bytes[FRAME..]);
        bytes[..8].copy_from_slice(MAGIC);
        // Three words of features: none so far.
        bytes[24..40].copy_from_slice(&self.uuid.to_le_bytes());
        let words = [self.place, self.next_id, self.time];
        for (place, word) in bytes[40..64].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[64..68].copy_from_slice(&(self.segments.len() as u32).to_le_bytes());
        bytes[68..72].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        bytes[72..76].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c(&bytes[..76]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if they are no checkpoint, or one of a program to come: the log has it
    /// all.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let frame = bytes.get(..FRAME)?;
        if &frame[..8] != MAGIC || crc32c(&frame[..76]) != u32_at(frame, 76) {
            return None;
        }
        if u32_at(frame, 8) | u32_at(frame, 12) != 0 {
            return None;
        }
        let count = u32_at(frame, 64) as usize;
        let len = u32_at(frame, 68) as usize;
        let rest = &bytes[FRAME..];
        if rest.len() != count.checked_mul(EXTENT)?.checked_add(len)?
            || crc32c(rest) != u32_at(frame, 72)
        {
            return None;
        }
        let (extents, body) = rest.split_at(count * EXTENT);
        let extent = |bytes: &[u8]| Extent {
            number: u64_at(bytes, 0),
            size: u64_at(bytes, 8),
            end: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            next: u64_at(bytes, 32),
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&frame[24..40]);
        let segments: Vec<_> = extents.chunks_exact(EXTENT).map(extent).collect();
        let next_id = u64_at(frame, 48);
        let sane = |e: &Extent| e.first <= e.next && e.next <= next_id && e.end < 1 << 62;
        if !segments.iter().all(sane) || next_id >= 1 << 61 {
            return None;
        }
        Some(Self {
            uuid: u128::from_le_bytes(uuid),
            place: u64_at(frame, 40),
            next_id,
            time: u64_at(frame, 56),
            segments,
            body: body.to_vec(),
        })
    }

    /// Writes it beside the others and gives it its name once it lasts.
    pub(super) fn store<D: Disk>(&self, disk: &D) -> io::Result<String> {
        let written = self.write(disk);
        if written.is_err() {
            // Nothing is left lying about when the disk is full.
            let _ = disk.remove(TEMPORARY);
        }
        written
    }

    fn write<D: Disk>(&self, disk: &D) -> io::Result<String> {
        let file = match disk.create(TEMPORARY) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(TEMPORARY)?;
                disk.create(TEMPORARY)?
            }
            created => created?,
        };
        file.write_all_at(&self.encode(), 0)?;
        file.sync()?;
        let name = name(self.place);
        disk.rename(TEMPORARY, &name)?;
        disk.sync_dir()?;
        Ok(name)
    }

    pub(super) fn load<D: Disk>(disk: &D, name: &str) -> io::Result<Option<Self>> {
        let file = disk.open(name)?;
        let size = file.size()?;
        if size > LARGEST {
            return Ok(None);
        }
        let mut bytes = vec![0; size as usize];
        let read = file.read_full_at(&mut bytes, 0)?;
        Ok(Self::decode(&bytes[..read]))
    }
}

/// More than any checkpoint has.
const LARGEST: u64 = 1 << 31;

pub(super) fn name(place: u64) -> String {
    format!("{place:016x}.checkpoint")
}

/// The places in the names of checkpoints.
pub(super) fn place_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".checkpoint")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

pub(super) fn is_temporary(name: &str) -> bool {
    name == TEMPORARY
}
