use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::reading::count;
use super::user_id::UserId;

/// Where a store writes down what it revokes; see
/// [`MemoryStoreBuilder::revocation_log`](super::MemoryStoreBuilder::revocation_log).
///
/// Called without a lock, from several threads at once, before the revocation counts.
pub trait RevocationLog: Send + Sync + fmt::Debug {
    /// Appends these 64 bytes, and answers when they last.
    ///
    /// # Errors
    /// Whatever kept them from lasting. A session that was to be cycled stays as it
    /// was; one that was to be revoked is, and the caller is told.
    fn append(&self, record: &[u8; RECORD]) -> io::Result<()>;
}

/// A [`RevocationLog`] in a file, synced with each record.
///
/// Nothing is ever taken out of it. A record matters until its session would have
/// ended anyway: once a file is older than the absolute deadline, and a newer one is in
/// use, it can be deleted.
#[derive(Debug)]
pub struct RevocationFile(Mutex<File>);

impl RevocationFile {
    /// Opens the file, or begins it, to append to it. A record that a crash cut short
    /// is filled up, so that those behind it can be read.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }
}

impl RevocationLog for RevocationFile {
    fn append(&self, record: &[u8; RECORD]) -> io::Result<()> {
        // A panic between two writes leaves nothing that the next one does not mend.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = file.seek(SeekFrom::End(0))? % RECORD as u64;
        if rest > 0 {
            file.write_all(&[0; RECORD][rest as usize..])?;
        }
        file.write_all(record)?;
        file.sync_data()
    }
}

/// What revocation logs say, oldest and newest alike; for
/// [`MemoryStoreBuilder::restore`](super::MemoryStoreBuilder::restore).
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    sessions: HashSet<u128>,
    /// By hash of the user: up to which stamp, and who was spared.
    users: HashMap<u128, Vec<(u64, u128)>>,
    highest: u64,
    records: u64,
    damaged: u64,
}

impl Revocations {
    /// Of no log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all records of a log. Any number of logs may be read, in any order.
    /// Records that were damaged are left out and [counted](Self::damaged).
    ///
    /// # Errors
    /// Whatever the reader says; then some records may have been added.
    pub fn read(&mut self, mut log: impl Read) -> io::Result<()> {
        let mut buffer = [0; RECORD];
        loop {
            let mut filled = 0;
            while filled < RECORD {
                match log.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            match filled {
                0 => return Ok(()),
                RECORD => match Record::decode(&buffer) {
                    Some(record) => self.add(record),
                    None => self.damaged += 1,
                },
                _ => {
                    self.damaged += 1;
                    return Ok(());
                }
            }
        }
    }

    /// How many records were read.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many were not whole. One at the end is what a crash leaves of a
    /// revocation that was not acknowledged; more are a reason to begin with no sessions
    /// at all.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) fn add(&mut self, record: Record) {
        self.records += 1;
        match record {
            Record::Session { key } => {
                self.sessions.insert(key);
            }
            Record::User {
                user,
                generation,
                except,
            } => {
                self.users
                    .entry(user)
                    .or_default()
                    .push((generation, except));
                self.highest = self.highest.max(generation);
            }
        }
    }

    /// The highest generation there is: new stamps have to be higher.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn revoke(&self, key: u128, user: Option<&UserId>, stamp: u64) -> bool {
        if self.sessions.contains(&key) {
            return true;
        }
        if self.users.is_empty() {
            return false;
        }
        let rows = user.and_then(|user| self.users.get(&hash_of(user)));
        rows.is_some_and(|rows| {
            let mut rows = rows.iter();
            rows.any(|&(generation, except)| stamp < generation && key != except)
        })
    }
}

/// One revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// This session is over.
    Session { key: u128 },
    /// All sessions of the user with a lower stamp are over, except one (0: none).
    User {
        user: u128,
        generation: u64,
        except: u128,
    },
}

impl Record {
    pub(super) fn of_user(user: &UserId, generation: u64, except: Option<u128>) -> Self {
        Self::User {
            user: hash_of(user),
            generation,
            except: except.unwrap_or(0),
        }
    }

    /// A checksum (4 bytes), version and kind (a byte each), two zero bytes, a number
    /// (8), two keys (16 each), zeros.
    pub(super) fn encode(self) -> [u8; RECORD] {
        let (kind, number, one, two) = match self {
            Self::Session { key } => (SESSION, 0, key, 0),
            Self::User {
                user,
                generation,
                except,
            } => (USER, generation, user, except),
        };
        let mut bytes = [0; RECORD];
        bytes[4] = VERSION;
        bytes[5] = kind;
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..32].copy_from_slice(&one.to_le_bytes());
        bytes[32..48].copy_from_slice(&two.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let (checksum, said) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*checksum) != crc32c::crc32c(said) || bytes[4] != VERSION {
            return None;
        }
        let rest = &mut &bytes[8..];
        let number = count(rest)?;
        let (one, rest) = rest.split_first_chunk::<16>()?;
        let (two, _) = rest.split_first_chunk::<16>()?;
        let (one, two) = (u128::from_le_bytes(*one), u128::from_le_bytes(*two));
        match bytes[5] {
            SESSION => Some(Self::Session { key: one }),
            USER => Some(Self::User {
                user: one,
                generation: number,
                except: two,
            }),
            _ => None,
        }
    }
}

fn hash_of(user: &UserId) -> u128 {
    let hash = Sha256::digest(user.as_str().as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(first)
}

/// Of one length, so that a damaged record does not hide those behind it.
pub(super) const RECORD: usize = 64;
const VERSION: u8 = 1;
const SESSION: u8 = 1;
const USER: u8 = 2;
