//! Whose sessions there are.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::hash::TableHasher;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Who is logged in, by the application's own name for them.
///
/// Stored, and written to snapshots, as it is: prefer a number to an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for UserId {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all sessions of a user point to.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    /// Sessions with a lower stamp are over. Raised under the lock of the user's
    /// row, read by every load.
    generation: AtomicU64,
}

impl User {
    pub(super) fn new(id: UserId) -> Self {
        Self {
            id,
            generation: AtomicU64::new(0),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn raise(&self, generation: u64) {
        self.generation.fetch_max(generation, Ordering::AcqRel);
    }
}

/// A user and the keys of their sessions: all that live, and for a moment after
/// its end one that does not. No session of a user is put into the store
/// except under the lock of their row, so who holds that sees them all.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) user: Arc<User>,
    pub(super) keys: Vec<u128>,
}

/// The rows, under locks of their own. Whoever holds one may go on to lock
/// shards of sessions, and never the other way round.
#[derive(Debug)]
pub(super) struct Users {
    rows: Vec<Mutex<HashTable<Row>>>,
    hasher: TableHasher,
}

/// The locked part of the table in which a user has their row, if they have one.
pub(super) struct LockedRow<'a> {
    rows: MutexGuard<'a, HashTable<Row>>,
    hasher: &'a TableHasher,
    hash: u64,
    id: &'a UserId,
}

impl Users {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            rows: (0..shards).map(|_| Mutex::new(HashTable::new())).collect(),
            hasher: TableHasher::random(),
        }
    }

    pub(super) fn lock<'a>(&'a self, id: &'a UserId) -> LockedRow<'a> {
        let hash = self.hasher.hash_one(id);
        // The table takes the top and the low bits.
        let shard = (hash >> 32) as usize % self.rows.len();
        LockedRow {
            rows: self.rows[shard].lock(),
            hasher: &self.hasher,
            hash,
            id,
        }
    }

    /// Forgets keys of sessions that have left, and users without any.
    pub(super) fn unlink(&self, user: &UserId, key: u128) {
        let mut locked = self.lock(user);
        let Some(row) = locked.row() else { return };
        row.keys.retain(|&other| other != key);
        locked.tidy();
    }
}

impl LockedRow<'_> {
    pub(super) fn row(&mut self) -> Option<&mut Row> {
        let id = self.id;
        self.rows.find_mut(self.hash, |row| row.user.id == *id)
    }

    pub(super) fn row_or_new(&mut self) -> &mut Row {
        let (id, hasher) = (self.id, self.hasher);
        let rehash = |row: &Row| hasher.hash_one(&row.user.id);
        match self.rows.entry(self.hash, |row| row.user.id == *id, rehash) {
            Place::Occupied(row) => row.into_mut(),
            Place::Vacant(place) => place
                .insert(Row {
                    user: Arc::new(User::new(id.clone())),
                    keys: Vec::with_capacity(1),
                })
                .into_mut(),
        }
    }

    /// Drops a row without sessions. What its generation said no longer matters:
    /// a session made later has a higher stamp than any revocation before.
    pub(super) fn tidy(&mut self) {
        let id = self.id;
        let found = self.rows.find_entry(self.hash, |row| row.user.id == *id);
        if let Ok(row) = found
            && row.get().keys.is_empty()
        {
            row.remove();
        }
    }
}
