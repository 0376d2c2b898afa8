//! A checkpoint: what the log amounts to up to a place, so that an open need not
//! read all of it. Never trusted over the log.

use std::io;

use crc32c::{crc32c, crc32c_append};

use super::format::{u32_at, u64_at};
use super::segments::Extent;
use crate::queue::storage::{Disk, DiskFile};

const MAGIC: &[u8; 8] = b"TFQ\0CKP1";
const FRAME: usize = 80;
const EXTENT: usize = 64;
const MOVED: usize = 16;
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
    /// Messages that were written again, and their places.
    pub(super) moved: Vec<(u64, u64)>,
    /// The queue's own part.
    pub(super) body: Vec<u8>,
}

impl Checkpoint {
    /// All but the queue's own part, which may be large and comes behind it.
    pub(super) fn encode_head(&self) -> Vec<u8> {
        let mut bytes = vec![0; FRAME];
        for extent in &self.segments {
            let words = [
                extent.number,
                extent.size,
                extent.end,
                extent.first,
                extent.next,
                extent.messages,
                extent.bytes,
                extent.time,
            ];
            for word in words {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        for (id, place) in &self.moved {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&place.to_le_bytes());
        }
        let crc = crc32c_append(crc32c(&bytes[FRAME..]), &self.body);
        bytes[..8].copy_from_slice(MAGIC);
        // Three words of features: none so far.
        bytes[20..24].copy_from_slice(&(self.moved.len() as u32).to_le_bytes());
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
        let others = u32_at(frame, 20) as usize;
        let tables = count
            .checked_mul(EXTENT)?
            .checked_add(others.checked_mul(MOVED)?)?;
        let rest = &bytes[FRAME..];
        if rest.len() != tables.checked_add(len)? || crc32c(rest) != u32_at(frame, 72) {
            return None;
        }
        let (tables, body) = rest.split_at(tables);
        let (extents, moved) = tables.split_at(count * EXTENT);
        let extent = |bytes: &[u8]| Extent {
            number: u64_at(bytes, 0),
            size: u64_at(bytes, 8),
            base: 0,
            end: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            next: u64_at(bytes, 32),
            messages: u64_at(bytes, 40),
            bytes: u64_at(bytes, 48),
            time: u64_at(bytes, 56),
        };
        let moved = moved.chunks_exact(MOVED);
        let moved: Vec<_> = moved.map(|m| (u64_at(m, 0), u64_at(m, 8))).collect();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&frame[24..40]);
        let segments: Vec<_> = extents.chunks_exact(EXTENT).map(extent).collect();
        let next_id = u64_at(frame, 48);
        let sane = |e: &Extent| {
            let fits = e.messages <= e.bytes && e.bytes <= e.size && e.size <= LARGEST_SEGMENT;
            e.first <= e.next && e.next <= next_id && e.end < 1 << 62 && fits
        };
        let is_known = |(id, _): &(u64, u64)| *id < next_id;
        if !segments.iter().all(sane) || !moved.iter().all(is_known) || next_id >= 1 << 61 {
            return None;
        }
        Some(Self {
            uuid: u128::from_le_bytes(uuid),
            place: u64_at(frame, 40),
            next_id,
            time: u64_at(frame, 56),
            segments,
            moved,
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
        let head = self.encode_head();
        file.write_all_at(&head, 0)?;
        file.write_all_at(&self.body, head.len() as u64)?;
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
/// Well above a segment for the largest message; as many as a checkpoint can name are still a number.
const LARGEST_SEGMENT: u64 = 1 << 38;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts were added to what one that lied said, until they ran over.
    #[test]
    fn a_segment_cannot_hold_more_than_its_size() {
        let segment = Extent {
            number: 1,
            size: 1 << 20,
            base: 0,
            end: 1 << 20,
            first: 0,
            next: 10,
            messages: 10,
            bytes: 1280,
            time: 0,
        };
        let decoded = |segment: Extent| {
            let checkpoint = Checkpoint {
                uuid: 7,
                place: 4096,
                next_id: 10,
                time: 0,
                segments: vec![segment],
                moved: Vec::new(),
                body: Vec::new(),
            };
            Checkpoint::decode(&checkpoint.encode_head()).is_some()
        };
        assert!(decoded(segment));
        let lies = [
            Extent {
                messages: u64::MAX,
                ..segment
            },
            Extent {
                bytes: u64::MAX,
                ..segment
            },
            Extent {
                bytes: segment.size + 1,
                ..segment
            },
            Extent {
                size: u64::MAX,
                bytes: u64::MAX,
                messages: u64::MAX,
                ..segment
            },
        ];
        for lie in lies {
            assert!(!decoded(lie), "{lie:?}");
        }
    }
}
