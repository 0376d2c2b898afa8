//! The bytes of a queue's files, read and written by what `docs/queue-format.md` says and
//! not by the code under test.

use std::ops::Range;

use crc32c::{crc32c, crc32c_append};

/// Where records begin, and how much is left free at the end.
pub(crate) const PAGE: usize = 4096;

/// A record as it lies in a segment.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Header and payload, without what fills up to a multiple of eight.
    pub(crate) bytes: Range<usize>,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u64,
    /// Without extensions.
    pub(crate) payload: Vec<u8>,
}

pub(crate) const PUBLISH: u8 = 1;
pub(crate) const ACK: u8 = 2;
pub(crate) const GROUP: u8 = 5;
pub(crate) const SYNC: u8 = 6;

impl Record {
    pub(crate) fn begins_batch(&self) -> bool {
        self.flags & 1 != 0
    }

    pub(crate) fn ends_batch(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The group and the messages that an ack is about.
    pub(crate) fn acks(&self) -> (u32, Vec<Range<u64>>) {
        let ranges = self.payload[4..].chunks_exact(12).map(|range| {
            let first = u64_at(range, 0);
            first..first + u64::from(u32_at(range, 8))
        });
        (u32_at(&self.payload, 0), ranges.collect())
    }
}

/// The records of a segment, from its first on, as long as they are whole.
pub(crate) fn records(segment: &[u8]) -> Vec<Record> {
    let salt = u64_at(segment, 48);
    let mut records = Vec::new();
    let mut at = PAGE;
    while at + 24 <= segment.len() - PAGE {
        let header = &segment[at..at + 24];
        let end = at + 24 + u32_at(header, 4) as usize;
        if u32_at(header, 0) != header_crc(header, salt, at)
            || end > segment.len() - PAGE
            || u32_at(header, 12) != crc32c(&segment[at + 24..end])
        {
            break;
        }
        let ext = usize::from(u16::from_le_bytes([header[10], header[11]]));
        records.push(Record {
            bytes: at..end,
            kind: header[8],
            flags: header[9],
            id: u64_at(header, 16),
            payload: segment[at + 24 + ext..end].to_vec(),
        });
        at = end.next_multiple_of(8);
    }
    records
}

/// Makes the checksum of the record's header right.
pub(crate) fn seal_record(segment: &mut [u8], at: usize) {
    let salt = u64_at(segment, 48);
    let crc = header_crc(&segment[at..at + 24], salt, at);
    segment[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(crate) fn seal_checkpoint(bytes: &mut [u8]) {
    let crc = crc32c(&bytes[80..]);
    bytes[72..76].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c(&bytes[..76]);
    bytes[76..80].copy_from_slice(&crc.to_le_bytes());
}

fn header_crc(header: &[u8], salt: u64, at: usize) -> u32 {
    let place = crc32c(&salt.wrapping_add(at as u64).to_le_bytes());
    crc32c_append(place, &header[4..24])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
