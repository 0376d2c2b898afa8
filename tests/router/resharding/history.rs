//! What clients did and saw, and whether one store could have answered so.
//!
//! Versions and the times at which things begin and end are ticks of one clock, so that
//! they can be compared. A write that was told to have failed may have happened
//! all the same: it has no end, until somebody sees it.

use std::collections::BTreeMap;

/// A write, or a deletion, of which the version is when it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) key: u32,
    pub(crate) version: u64,
    /// When it was acknowledged, if it was.
    pub(crate) end: Option<u64>,
    pub(crate) deletes: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub(crate) key: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The version that was found.
    pub(crate) seen: Option<u64>,
}

#[derive(Default)]
pub(crate) struct History {
    pub(crate) writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
}

impl History {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.writes.append(&mut other.writes);
        self.reads.append(&mut other.reads);
    }

    /// Every read found a write that had begun, was not undone, and was not replaced by another
    /// that began after it was over and was over before the read began.
    pub(crate) fn check(&self) {
        let mut keys: BTreeMap<u32, (BTreeMap<u64, Write>, Vec<Read>)> = BTreeMap::new();
        for write in &self.writes {
            let (writes, _) = keys.entry(write.key).or_default();
            writes.insert(write.version, *write);
        }
        for read in &self.reads {
            keys.entry(read.key).or_default().1.push(*read);
        }
        for (mut writes, reads) in keys.into_values() {
            // What one has seen, all see from then on.
            for read in &reads {
                if let Some(version) = read.seen {
                    let write = writes.get_mut(&version);
                    let write = write.unwrap_or_else(|| panic!("nobody wrote what {read:?} saw"));
                    write.end = Some(read.end.min(write.end.unwrap_or(u64::MAX)));
                }
            }
            for read in &reads {
                check_read(read, &writes);
            }
        }
    }
}

fn check_read(read: &Read, writes: &BTreeMap<u64, Write>) {
    let before = |write: &&Write| write.end.is_some_and(|end| end < read.start);
    let last = writes.values().rfind(before);
    let last_version = last.map_or(0, |last| last.version);
    let may_be_last =
        |write: &Write| write.version < read.end && write.end.is_none_or(|end| end >= last_version);
    let explained = if let Some(version) = read.seen {
        let write = &writes[&version];
        !write.deletes && may_be_last(write)
    } else {
        let deleted = |write: &Write| write.deletes && may_be_last(write);
        last.is_none() || writes.values().any(deleted)
    };
    assert!(explained, "{read:?}, but {last:?} was there before");
}

/// The key of a number.
pub(crate) fn name(key: u32) -> String {
    format!("user:{key}")
}

/// What a version of a key says.
pub(crate) fn value(key: &[u8], version: u64) -> Box<[u8]> {
    let mut value = key.to_vec();
    value.extend_from_slice(&version.to_le_bytes());
    value.into()
}
