//! A store, read from a snapshot.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fmt;
use std::io::{self, Read};

use super::entry::Entry;
use super::error::RestoreError;
use super::reading::{MAX_COUNT, count, take};
use super::revocations::{RECORD, Record, Revocations};
use super::snapshot::{END, FORMAT, HEADER, MAGIC, MAX_FRAME, NOBODY, REVOCATION, SESSION};
use super::store::MemoryStore;
use super::user_id::UserId;
use crate::sync::atomic::Ordering;

/// What became of the sessions of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Restored {
    /// Sessions that live on.
    pub sessions: u64,
    /// Sessions that had expired.
    pub expired: u64,
    /// Sessions that were revoked or cycled, as the snapshot or the log says.
    pub revoked: u64,
    /// Sessions for which there was no room, those that were idle the longest.
    pub dropped: u64,
    /// What was known of revocations after the snapshot. None: no log was given, and
    /// whoever logged out since then is logged in again.
    pub log: Option<LogRead>,
}

/// A log of revocations that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogRead {
    /// Records it had.
    pub records: u64,
    /// Records that could not be read.
    pub damaged: u64,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions; {} had expired, {} were revoked, {} had no room; ",
            self.sessions, self.expired, self.revoked, self.dropped
        )?;
        match self.log {
            Some(log) => write!(
                f,
                "the log of revocations had {} records, and {} damaged",
                log.records, log.damaged
            ),
            None => f.write_str("WITHOUT a log of revocations: what was revoked since is back"),
        }
    }
}

pub(super) fn restore(
    store: &MemoryStore,
    snapshot: impl Read,
    revocations: Option<Revocations>,
) -> Result<Restored, RestoreError> {
    let log = revocations.as_ref().map(|log| LogRead {
        records: log.records(),
        damaged: log.damaged(),
    });
    let read = read(snapshot, revocations.unwrap_or_default())?;
    let revoked = &read.revocations;
    let epoch = read.epoch.max(revoked.highest()).saturating_add(1);
    // What is written again can be read again.
    let epoch = epoch.min(MAX_COUNT);
    store.epoch.fetch_max(epoch, Ordering::SeqCst);
    let mut restored = Restored {
        log,
        ..Restored::default()
    };
    let now = store.now();
    let mut sessions: Vec<_> = read.sessions.into_values().collect();
    // Who was idle the longest comes last, should there not be room for all.
    sessions.sort_unstable_by_key(|(entry, _)| (std::cmp::Reverse(entry.seen), entry.key));
    for (mut entry, user) in sessions {
        if revoked.revoke(entry.key, user.as_ref(), entry.stamp) {
            restored.revoked += 1;
            continue;
        }
        if now >= store.settings.lifetime.end(&entry) {
            restored.expired += 1;
            continue;
        }
        // No version of before comes again.
        let next = entry.version.saturating_add(1 << 32).min(MAX_COUNT);
        entry.version = store.first_version.max(next);
        let mut out = Vec::new();
        let is_full = restored.sessions >= store.settings.max_sessions as u64;
        if is_full || store.place(entry, user.as_ref(), now, &mut out).is_err() {
            restored.dropped += 1;
            continue;
        }
        store.hold(1);
        restored.sessions += 1;
        restored.sessions -= out.len() as u64;
        restored.dropped += out.len() as u64;
        store.retire(out);
    }
    Ok(restored)
}

/// All that a snapshot says.
struct Said {
    epoch: u64,
    sessions: HashMap<u128, (Entry, Option<UserId>)>,
    revocations: Revocations,
}

fn read(snapshot: impl Read, revocations: Revocations) -> Result<Said, RestoreError> {
    let mut frames = Frames::begin(io::BufReader::new(snapshot))?;
    let epoch = match frames.next()?.split_first() {
        Some((&HEADER, header)) if header.len() == 16 => count(&mut &*header),
        _ => None,
    };
    let mut said = Said {
        epoch: epoch.ok_or(frames.malformed("a header"))?,
        sessions: HashMap::new(),
        revocations,
    };
    let mut counts = [0_u64; 2];
    loop {
        let content = frames.next()?;
        let Some((kind, mut content)) = content.split_first() else {
            return Err(frames.malformed("a kind"));
        };
        match *kind {
            SESSION => {
                let read = session(&mut content);
                let (entry, user) = read.ok_or(frames.malformed("a session"))?;
                counts[0] += 1;
                // A session that was cycled may have been copied twice.
                match said.sessions.entry(entry.key) {
                    Place::Occupied(mut other) if other.get().0.version < entry.version => {
                        other.insert((entry, user));
                    }
                    Place::Occupied(_) => {}
                    Place::Vacant(place) => {
                        place.insert((entry, user));
                    }
                }
            }
            REVOCATION => {
                let record = <&[u8; RECORD]>::try_from(content).ok();
                let record = record.and_then(Record::decode);
                counts[1] += 1;
                said.revocations
                    .add(record.ok_or(frames.malformed("a revocation"))?);
            }
            END => {
                let expected = counts.map(u64::to_le_bytes).concat();
                if content != expected {
                    return Err(frames.malformed("as many frames as the last one says"));
                }
                return frames.end().map(|()| said);
            }
            _ => return Err(frames.malformed("a known kind")),
        }
    }
}

/// Reads what follows the kind of a session's frame.
pub(super) fn session(bytes: &mut &[u8]) -> Option<(Entry, Option<UserId>)> {
    let key = u128::from_le_bytes(take(bytes)?);
    let version = count(bytes)?;
    let stamp = count(bytes)?;
    let created = u32::from_le_bytes(take(bytes)?);
    let seen = u32::from_le_bytes(take(bytes)?);
    let name = u32::from_le_bytes(take(bytes)?);
    let user = if name == NOBODY {
        None
    } else {
        let (name, rest) = bytes.split_at_checked(name as usize)?;
        *bytes = rest;
        Some(UserId::from(std::str::from_utf8(name).ok()?))
    };
    let mut entry = Entry::new(key, *bytes, version, created);
    (entry.stamp, entry.seen) = (stamp, seen);
    Some((entry, user))
}

/// The frames of a snapshot, one after the other.
struct Frames<R> {
    reader: R,
    /// Whole frames so far.
    read: u64,
}

impl<R: Read> Frames<R> {
    fn begin(mut reader: R) -> Result<Self, RestoreError> {
        let mut magic = Vec::new();
        let whole = MAGIC.len() as u64 + 2;
        reader.by_ref().take(whole).read_to_end(&mut magic)?;
        if !MAGIC.starts_with(&magic[..magic.len().min(MAGIC.len())]) || magic.is_empty() {
            return Err(RestoreError::Magic);
        }
        let Some(format) = magic.get(MAGIC.len()..).and_then(|f| f.try_into().ok()) else {
            return Err(RestoreError::Truncated { frames: 0 });
        };
        let found = u16::from_le_bytes(format);
        if found == 0 || found > FORMAT {
            return Err(RestoreError::Version {
                found,
                supported: FORMAT,
            });
        }
        Ok(Self { reader, read: 0 })
    }

    fn next(&mut self) -> Result<Vec<u8>, RestoreError> {
        let head = self.fill(8)?;
        let (len, checksum) = head.split_at(4);
        let frame = self.read;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        let expected = number(checksum);
        if number(len) > MAX_FRAME {
            // The length itself is under the checksum, which cannot be had any more.
            return Err(RestoreError::Checksum { frame });
        }
        let (len, count) = (number(len), len.to_vec());
        let content = self.fill(len as usize)?;
        if crc32c::crc32c_append(crc32c::crc32c(&count), &content) != expected {
            return Err(RestoreError::Checksum { frame });
        }
        self.read += 1;
        Ok(content)
    }

    /// So many bytes. Room is made as they come, whatever a length claims.
    fn fill(&mut self, len: usize) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = Vec::new();
        let mut limited = self.reader.by_ref().take(len as u64);
        limited.read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(RestoreError::Truncated { frames: self.read });
        }
        Ok(bytes)
    }

    fn end(mut self) -> Result<(), RestoreError> {
        self.read += 1;
        match self.reader.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.malformed("nothing after the last")),
        }
    }

    /// Of the frame that was read last.
    fn malformed(&self, expected: &'static str) -> RestoreError {
        RestoreError::Malformed {
            frame: self.read.saturating_sub(1),
            expected,
        }
    }
}
