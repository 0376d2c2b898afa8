//! What the log's records say. `docs/queue-format.md` draws them.

use std::ops::Range;

use super::log::format::{u32_at, u64_at};

/// What stands before a message's payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// Milliseconds since 1970, as are all times here.
    pub(super) not_before: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) dedup_id: Option<Vec<u8>>,
}

const NOT_BEFORE: u8 = 1;
const EXPIRES: u8 = 2;
const DEDUP_ID: u8 = 3;

impl Extensions {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, time) in [(NOT_BEFORE, self.not_before), (EXPIRES, self.expires)] {
            if let Some(time) = time {
                bytes.extend_from_slice(&[tag, 8]);
                bytes.extend_from_slice(&time.to_le_bytes());
            }
        }
        if let Some(id) = &self.dedup_id {
            // No longer than 255: that was checked.
            bytes.extend_from_slice(&[DEDUP_ID, id.len() as u8]);
            bytes.extend_from_slice(id);
        }
        bytes
    }

    /// What is not known is passed over.
    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        let mut found = Self::default();
        while let [tag, len, rest @ ..] = bytes {
            let Some(value) = rest.get(..usize::from(*len)) else {
                break;
            };
            match (*tag, value.len()) {
                (NOT_BEFORE, 8) => found.not_before = Some(u64_at(value, 0)),
                (EXPIRES, 8) => found.expires = Some(u64_at(value, 0)),
                (DEDUP_ID, _) => found.dedup_id = Some(value.to_vec()),
                _ => {}
            }
            bytes = &rest[usize::from(*len)..];
        }
        found
    }
}

/// Numbers of a group, as ranges: acks, deliveries, redrives.
pub(super) fn ranges(group: u32, ranges: &[Range<u64>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + 12 * ranges.len());
    bytes.extend_from_slice(&group.to_le_bytes());
    for range in ranges {
        bytes.extend_from_slice(&range.start.to_le_bytes());
        bytes.extend_from_slice(&((range.end - range.start) as u32).to_le_bytes());
    }
    bytes
}

/// The same for one number.
pub(super) fn one_range(group: u32, id: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&group.to_le_bytes());
    bytes[4..12].copy_from_slice(&id.to_le_bytes());
    bytes[12..].copy_from_slice(&1_u32.to_le_bytes());
    bytes
}

pub(super) fn read_ranges(bytes: &[u8]) -> Option<(u32, Vec<Range<u64>>)> {
    let (group, ranges) = bytes.split_at_checked(4)?;
    let range = |bytes: &[u8]| {
        let start = u64_at(bytes, 0);
        start..start.saturating_add(u64::from(u32_at(bytes, 8)))
    };
    Some((
        u32_at(group, 0),
        ranges.chunks_exact(12).map(range).collect(),
    ))
}

/// Joins numbers, in ascending order, to ranges.
pub(super) fn joined(ids: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some(last) if last.end == id && last.end - last.start < u64::from(u32::MAX) => {
                last.end += 1;
            }
            _ => ranges.push(id..id + 1),
        }
    }
    ranges
}

/// A message that was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nack {
    pub(super) group: u32,
    pub(super) attempts: u32,
    pub(super) id: u64,
    pub(super) due: u64,
}

impl Nack {
    pub(super) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&self.group.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..].copy_from_slice(&self.due.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= 24).then(|| Self {
            group: u32_at(bytes, 0),
            attempts: u32_at(bytes, 4),
            id: u64_at(bytes, 8),
            due: u64_at(bytes, 16),
        })
    }
}

/// A group and where it begins: group, start, name.
pub(super) fn group(number: u32, start: u64, name: &str) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

pub(super) fn read_group(bytes: &[u8]) -> Option<(u32, u64, String)> {
    let name = std::str::from_utf8(bytes.get(12..)?).ok()?;
    Some((u32_at(bytes, 0), u64_at(bytes, 4), name.to_owned()))
}

/// Writes the queue's part of a checkpoint.
#[derive(Default)]
pub(super) struct Writing(pub(super) Vec<u8>);

impl Writing {
    pub(super) fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes what there turns out to be, and before it how much.
    pub(super) fn counted<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let place = self.0.len();
        self.word(0);
        let mut count = 0_u64;
        for item in items {
            write(self, item);
            count += 1;
        }
        self.0[place..place + 8].copy_from_slice(&count.to_le_bytes());
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.word(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }
}

/// Reads it again. Whatever it claims, nothing is allocated for it beforehand.
pub(super) struct Reading<'a>(pub(super) &'a [u8]);

impl<'a> Reading<'a> {
    pub(super) fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_at_checked(8)?;
        self.0 = rest;
        Some(u64_at(word, 0))
    }

    /// A message's number: what is larger than any is none.
    pub(super) fn id(&mut self) -> Option<u64> {
        self.word().filter(|id| *id < 1 << 62)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.word()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.word()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_a_range_of_one() {
        let (group, id) = (7, 1 << 40);
        let range = id..id + 1;
        assert_eq!(
            one_range(group, id)[..],
            ranges(group, std::slice::from_ref(&range))
        );
        assert_eq!(
            read_ranges(&one_range(group, id)),
            Some((group, vec![range]))
        );
    }
}
