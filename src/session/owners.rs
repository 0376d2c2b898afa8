//! Whose sessions there are: the keys of each user's, so that all can be ended.

use std::hash::BuildHasher;

use super::user_id::UserId;
use crate::hash::TableHasher;
use crate::sync::{Mutex, MutexGuard};

/// Rows under locks of their own. Whoever holds one may go on to lock shards of sessions, and
/// never the other way round.
#[derive(Debug)]
pub(super) struct Owners {
    parts: Vec<Part>,
    hasher: TableHasher,
}

/// On a cache line of its own: one thread's does not wait for another's.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(Mutex<Rows>);

/// A table with linear probing. Its rows are all that is fetched to find one: there are no marks beside them.
#[derive(Debug, Default)]
struct Rows {
    /// A power of two of places, or none.
    places: Vec<Option<Row>>,
    taken: usize,
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
    rows: MutexGuard<'a, Rows>,
    owner: u32,
}

impl Owners {
    pub(super) fn new(parts: usize) -> Self {
        Self {
            parts: (0..parts).map(|_| Part::default()).collect(),
            hasher: TableHasher::random(),
        }
    }

    /// What a session knows its user's row by.
    pub(super) fn hash(&self, user: &UserId) -> u32 {
        self.hasher.hash_one(user) as u32
    }

    pub(super) fn lock(&self, owner: u32) -> LockedRow<'_> {
        let part = (u64::from(owner) * self.parts.len() as u64) >> 32;
        LockedRow {
            rows: self.parts[part as usize].0.lock(),
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
        match self.rows.get(self.owner) {
            None => 0,
            Some(Row::One { .. }) => 1,
            Some(Row::Several { keys, .. }) => keys.0.len(),
        }
    }

    pub(super) fn keys(&self) -> Vec<u128> {
        match self.rows.get(self.owner) {
            None => Vec::new(),
            Some(Row::One { key, .. }) => vec![join(*key)],
            Some(Row::Several { keys, .. }) => keys.0.clone(),
        }
    }

    pub(super) fn push(&mut self, key: u128) {
        let owner = self.owner;
        let Some(row) = self.rows.get_mut(owner) else {
            let key = split(key);
            return self.rows.insert(Row::One { owner, key });
        };
        match row {
            Row::Several { keys, .. } => keys.0.push(key),
            Row::One { key: first, .. } => {
                let keys = Box::new(Several(vec![join(*first), key]));
                *row = Row::Several { owner, keys };
            }
        }
    }

    /// Forgets the keys of sessions that have left, and rows without any.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(u128) -> bool) {
        let is_empty = match self.rows.get_mut(self.owner) {
            None => return,
            Some(Row::One { key, .. }) => !stays(join(*key)),
            Some(Row::Several { keys, .. }) => {
                keys.0.retain(|&key| stays(key));
                keys.0.is_empty()
            }
        };
        if is_empty {
            self.rows.remove(self.owner);
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
}

impl Rows {
    fn get(&self, owner: u32) -> Option<&Row> {
        self.places[self.find(owner)?].as_ref()
    }

    fn get_mut(&mut self, owner: u32) -> Option<&mut Row> {
        let place = self.find(owner)?;
        self.places[place].as_mut()
    }

    /// Puts a row that is not there.
    fn insert(&mut self, row: Row) {
        if 4 * (self.taken + 1) > 3 * self.places.len() {
            let more = (2 * self.places.len()).max(LEAST);
            let before = std::mem::replace(&mut self.places, empty(more));
            before.into_iter().flatten().for_each(|row| self.put(row));
        }
        self.put(row);
        self.taken += 1;
    }

    /// Where there is room.
    fn put(&mut self, row: Row) {
        let mut place = self.home(row.owner());
        while self.places[place].is_some() {
            place = self.after(place);
        }
        self.places[place] = Some(row);
    }

    fn remove(&mut self, owner: u32) {
        let Some(mut hole) = self.find(owner) else {
            return;
        };
        self.places[hole] = None;
        self.taken -= 1;
        // Whoever had to go past this place comes back to it, or would not be found.
        let mut place = self.after(hole);
        while let Some(row) = &self.places[place] {
            let begins = self.home(row.owner());
            if self.steps(begins, place) >= self.steps(hole, place) {
                self.places.swap(hole, place);
                hole = place;
            }
            place = self.after(place);
        }
    }

    fn find(&self, owner: u32) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut place = self.home(owner);
        loop {
            match &self.places[place] {
                None => return None,
                Some(row) if row.owner() == owner => return Some(place),
                Some(_) => place = self.after(place),
            }
        }
    }

    /// Where a row is, unless others had come there before. The high bits of an owner are those of all in this part.
    fn home(&self, owner: u32) -> usize {
        let spread = u64::from(owner).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 32) as usize & (self.places.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

impl Row {
    fn owner(&self) -> u32 {
        match self {
            Self::One { owner, .. } | Self::Several { owner, .. } => *owner,
        }
    }
}

fn empty(places: usize) -> Vec<Option<Row>> {
    (0..places).map(|_| None).collect()
}

/// In words, next to which the hash takes half a word and not a whole key.
fn split(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

fn join([low, high]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

const LEAST: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::rng::Rng;

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
        assert_eq!(row.rows.taken, 0);
        row.push(three);
        row.remove(three);
        assert_eq!(row.rows.taken, 0);
    }

    #[test]
    fn a_row_of_one_is_three_words() {
        assert_eq!(size_of::<Option<Row>>(), 24);
    }

    /// Rows of few homes, so that most had to go on.
    #[test]
    fn rows_are_found_until_they_are_removed() {
        let mut rng = Rng::with_seed(11);
        for _ in 0..100 {
            let spread = 1 + rng.below(40) as u32;
            let owners = Owners::new(1);
            let mut model: HashMap<u32, Vec<u128>> = HashMap::new();
            for _ in 0..1000 {
                let owner = rng.below(u64::from(spread)) as u32;
                let key = u128::from(rng.below(3));
                let mut row = owners.lock(owner);
                if rng.below(2) == 0 {
                    row.push(key);
                    model.entry(owner).or_default().push(key);
                } else {
                    row.remove(key);
                    let keys = model.entry(owner).or_default();
                    if let Some(at) = keys.iter().position(|&other| other == key) {
                        keys.remove(at);
                    }
                }
                drop(row);
                model.retain(|_, keys| !keys.is_empty());
                for owner in 0..spread {
                    let row = owners.lock(owner);
                    let keys = model.get(&owner).cloned().unwrap_or_default();
                    assert_eq!((row.keys(), row.len()), (keys.clone(), keys.len()));
                    assert_eq!(row.rows.taken, model.len());
                }
            }
        }
    }
}
