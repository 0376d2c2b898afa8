//! Where the notes of a table lie.

use hashbrown::HashTable;

/// A table of notes, found by hash, the first of which lies outside of it: most
/// shards have one flight at a time, and that one is neither hashed into a table
/// nor looked for in it.
///
/// Empty it holds no memory, and so it does after a storm.
pub(super) struct Notes<T> {
    lone: Option<T>,
    more: HashTable<T>,
}

impl<T> Notes<T> {
    pub(super) const fn new() -> Self {
        Self {
            lone: None,
            more: HashTable::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lone.is_none() && self.more.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.lone.is_some()) + self.more.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.lone.iter_mut().chain(self.more.iter_mut())
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        if let Some(lone) = &self.lone
            && is_it(lone)
        {
            return Some(lone);
        }
        if self.more.is_empty() {
            return None;
        }
        self.more.find(hash, is_it)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&mut T> {
        if self.lone.as_ref().is_some_and(&is_it) {
            return self.lone.as_mut();
        }
        if self.more.is_empty() {
            return None;
        }
        self.more.find_mut(hash, is_it)
    }

    /// Adds a note that is not there yet.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, note: T, hash_of: impl Fn(&T) -> u64) {
        if self.lone.is_none() {
            self.lone = Some(note);
        } else {
            self.more.insert_unique(hash, note, hash_of);
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<T> {
        if self.lone.as_ref().is_some_and(&is_it) {
            return self.lone.take();
        }
        if self.more.is_empty() {
            return None;
        }
        let (note, _) = self.more.find_entry(hash, is_it).ok()?.remove();
        if self.more.is_empty() && self.more.capacity() > KEPT_CAPACITY {
            self.more = HashTable::new();
        }
        Some(note)
    }
}

/// Notes up to which an empty table keeps its memory for the next flights.
const KEPT_CAPACITY: usize = 64;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_as_good_as_the_others_whichever_goes_first() {
        for first_out in 0..3_u64 {
            let mut notes = Notes::new();
            (0..3).for_each(|n| notes.insert(n, n, |n| *n));
            assert_eq!(
                notes.remove(first_out, |n| *n == first_out),
                Some(first_out)
            );
            assert_eq!(notes.remove(first_out, |n| *n == first_out), None);
            notes.insert(7, 7, |n| *n);
            assert_eq!(notes.find(7, |n| *n == 7), Some(&7));
            assert_eq!((notes.len(), notes.iter_mut().count()), (3, 3));
            for left in (0..3).filter(|n| *n != first_out).chain([7]) {
                assert_eq!(notes.find_mut(left, |n| *n == left), Some(&mut { left }));
                assert_eq!(notes.remove(left, |n| *n == left), Some(left));
            }
            assert!(notes.is_empty());
        }
    }

    #[test]
    fn memory_of_a_storm_comes_back() {
        let mut notes = Notes::new();
        (0..10_000).for_each(|n| notes.insert(n, n, |n| *n));
        (0..10_000).for_each(|n| assert!(notes.remove(n, |note| *note == n).is_some()));
        assert_eq!(notes.more.capacity(), 0);
    }
}
