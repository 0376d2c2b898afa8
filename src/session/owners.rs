//! Whose sessions there are: the keys of each user's, so that all can be ended.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::user_id::UserId;
use crate::hash::TableHasher;
use crate::sync::{Mutex, MutexGuard};

/// Rows under locks of their own. Whoever holds one may go on to lock shards of sessions, and
/// never the other way round.
#[derive(Debug)]
pub(super) struct Owners {
    shards: Vec<Mutex<HashTable<Row>>>,
    hasher: TableHasher,
}

/// A hash, and the keys of the sessions whose users have it: all that live, and for a moment after its end
/// one that does not. Two users may have the same, so whoever wants one's asks each session.
/// No session of a user is put into the store except under the lock of their row, so who holds that
/// sees them all.
#[derive(Debug)]
enum Row {
    /// As most are, without an allocation.
    One {
        owner: u32,
        key: [u64; 2],
    },
    Several {
        owner: u32,
        keys: Box<Several>,
    },
}

#[derive(Debug)]
struct Several(Vec<u128>);

/// The locked part of the table in which a user has their row, if they have one.
pub(super) struct LockedRow<'a> {
    rows: MutexGuard<'a, HashTable<Row>>,
    owner: u32,
}

impl Owners {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::new(HashTable::new())).collect(),
            hasher: TableHasher::random(),
        }
    }

    /// What a session knows its user's row by.
    pub(super) fn hash(&self, user: &UserId) -> u32 {
        self.hasher.hash_one(user) as u32
    }

    pub(super) fn lock(&self, owner: u32) -> LockedRow<'_> {
        // The table takes the low bits.
        let shard = (u64::from(owner) * self.shards.len() as u64) >> 32;
        LockedRow {
            rows: self.shards[shard as usize].lock(),
            owner,
        }
    }
}

impl LockedRow<'_> {
    pub(super) fn owner(&self) -> u32 {
        self.owner
    }

    /// How many keys there are: at least those of the user's that live.
    pub(super) fn len(&self) -> usize {
        match self.row() {
            None => 0,
            Some(Row::One { .. }) => 1,
            Some(Row::Several { keys, .. }) => keys.0.len(),
        }
    }

    pub(super) fn keys(&self) -> Vec<u128> {
        match self.row() {
            None => Vec::new(),
            Some(Row::One { key, .. }) => vec![join(*key)],
            Some(Row::Several { keys, .. }) => keys.0.clone(),
        }
    }

    pub(super) fn push(&mut self, key: u128) {
        let owner = self.owner;
        let row = |row: &Row| row.owner() == owner;
        let rehash = |row: &Row| spread(row.owner());
        match self.rows.entry(spread(owner), row, rehash) {
            Place::Occupied(mut row) => match row.get_mut() {
                Row::One { key: first, .. } => {
                    let keys = Box::new(Several(vec![join(*first), key]));
                    *row.get_mut() = Row::Several { owner, keys };
                }
                Row::Several { keys, .. } => keys.0.push(key),
            },
            Place::Vacant(place) => {
                let key = split(key);
                place.insert(Row::One { owner, key });
            }
        }
    }

    /// Forgets the keys of sessions that have left, and rows without any.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(u128) -> bool) {
        let owner = self.owner;
        let found = self
            .rows
            .find_entry(spread(owner), |row| row.owner() == owner);
        let Ok(mut row) = found else { return };
        let is_empty = match row.get_mut() {
            Row::One { key, .. } => !stays(join(*key)),
            Row::Several { keys, .. } => {
                keys.0.retain(|&key| stays(key));
                keys.0.is_empty()
            }
        };
        if is_empty {
            row.remove();
        }
    }

    /// Forgets a key, once: one that has left may have come again since.
    pub(super) fn remove(&mut self, key: u128) {
        let mut is_found = false;
        self.retain(|other| {
            let stays = is_found || other != key;
            is_found |= !stays;
            stays
        });
    }

    fn row(&self) -> Option<&Row> {
        let owner = self.owner;
        self.rows.find(spread(owner), |row| row.owner() == owner)
    }
}

impl Row {
    fn owner(&self) -> u32 {
        match self {
            Self::One { owner, .. } | Self::Several { owner, .. } => *owner,
        }
    }
}

/// As many bits as the table wants.
fn spread(owner: u32) -> u64 {
    u64::from(owner).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// In words, next to which the hash takes half a word and not a whole key.
fn split(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

fn join([low, high]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lists_what_was_pushed_and_not_removed() {
        let owners = Owners::new(3);
        let mut row = owners.lock(7);
        assert!(row.keys().is_empty());
        let (one, two, three) = (1, u128::MAX - 1, 1 << 64);
        row.push(one);
        assert_eq!((row.keys(), row.len()), (vec![one], 1));
        row.push(two);
        row.push(three);
        assert_eq!((row.keys(), row.len()), (vec![one, two, three], 3));
        row.remove(two);
        row.remove(5);
        assert_eq!(row.keys(), [one, three]);
        row.retain(|_| false);
        assert_eq!((row.keys(), row.len()), (vec![], 0));
        assert!(row.rows.is_empty());
        row.push(three);
        row.remove(three);
        assert!(row.rows.is_empty());
    }

    #[test]
    fn a_row_of_one_is_three_words() {
        assert_eq!(size_of::<Row>(), 24);
    }
}
