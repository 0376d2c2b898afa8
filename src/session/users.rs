//! Whose families of refresh tokens there are.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::user_id::UserId;
use crate::hash::TableHasher;
use crate::sync::{Mutex, MutexGuard};

/// A user and the keys of their sessions: all that live, and for a moment after
/// its end one that does not. No session of a user is put into the store
/// except under the lock of their row, so who holds that sees them all.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) user: UserId,
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
        self.rows.find_mut(self.hash, |row| row.user == *id)
    }

    pub(super) fn row_or_new(&mut self) -> &mut Row {
        let (id, hasher) = (self.id, self.hasher);
        let rehash = |row: &Row| hasher.hash_one(&row.user);
        match self.rows.entry(self.hash, |row| row.user == *id, rehash) {
            Place::Occupied(row) => row.into_mut(),
            Place::Vacant(place) => place
                .insert(Row {
                    user: id.clone(),
                    keys: Vec::with_capacity(1),
                })
                .into_mut(),
        }
    }

    /// Drops a row without sessions. What its generation said no longer matters:
    /// a session made later has a higher stamp than any revocation before.
    pub(super) fn tidy(&mut self) {
        let id = self.id;
        let found = self.rows.find_entry(self.hash, |row| row.user == *id);
        if let Ok(row) = found
            && row.get().keys.is_empty()
        {
            row.remove();
        }
    }
}
