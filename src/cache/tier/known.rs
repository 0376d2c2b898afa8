//! The newest change of a key that this node has heard of, for as many keys as
//! there is room: what the L2 answers may be older, while whoever made the
//! change cannot reach it.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::mem;

use super::Version;
use crate::hash::TableHasher;
use crate::sync::Mutex;

/// Keys are told apart by keyed hashes: where two are taken for one, a value is
/// distrusted that need not be.
pub(super) struct Known {
    hasher: TableHasher,
    /// Records of one generation; there are two.
    half: usize,
    state: Mutex<State>,
}

struct State {
    /// Counts what was noted.
    order: u64,
    /// Up to here, records may have been forgotten.
    forgotten: u64,
    young: HashMap<u64, Newest, TableHasher>,
    old: HashMap<u64, Newest, TableHasher>,
}

#[derive(Clone, Copy)]
struct Newest {
    version: Version,
    order: u64,
}

impl Known {
    pub(super) fn new(capacity: usize) -> Self {
        let hasher = TableHasher::random();
        let state = State {
            order: 0,
            forgotten: 0,
            young: HashMap::with_hasher(hasher.clone()),
            old: HashMap::with_hasher(hasher.clone()),
        };
        Self {
            hasher,
            half: (capacity / 2).max(1),
            state: Mutex::new(state),
        }
    }

    /// Notes a change.
    pub(super) fn note(&self, key: &[u8], version: Version) {
        let hash = self.hasher.hash_one(key);
        let mut state = self.state.lock();
        let before = state.find(hash).map_or(version, |newest| newest.version);
        state.order += 1;
        let newest = Newest {
            version: version.max(before),
            order: state.order,
        };
        if state.young.len() >= self.half && !state.young.contains_key(&hash) {
            let fresh = HashMap::with_hasher(self.hasher.clone());
            let young = mem::replace(&mut state.young, fresh);
            // What is let go of was noted before anything that stays.
            let oldest_kept = young.values().map(|newest| newest.order).min();
            state.forgotten = oldest_kept.unwrap_or(state.order) - 1;
            state.old = young;
        }
        state.young.insert(hash, newest);
    }

    /// The newest version noted for a key.
    pub(super) fn version(&self, key: &[u8]) -> Option<Version> {
        let hash = self.hasher.hash_one(key);
        self.state.lock().find(hash).map(|newest| newest.version)
    }

    /// What `changed_since` is to be asked with later.
    pub(super) fn order(&self) -> u64 {
        self.state.lock().order
    }

    /// Whether anything was noted for a key since; rather yes than no.
    pub(super) fn changed_since(&self, key: &[u8], order: u64) -> bool {
        let hash = self.hasher.hash_one(key);
        let state = self.state.lock();
        match state.find(hash) {
            Some(newest) => newest.order > order,
            None => order < state.forgotten,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let state = self.state.lock();
        state.young.len() + state.old.len()
    }
}

impl State {
    fn find(&self, hash: u64) -> Option<Newest> {
        self.young
            .get(&hash)
            .or_else(|| self.old.get(&hash))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tier::NodeId;

    fn version(tick: u64) -> Version {
        Version::new(tick, NodeId::new(1))
    }

    #[test]
    fn the_newest_is_kept_whatever_comes_last() {
        let known = Known::new(100);
        known.note(b"k", version(2));
        known.note(b"k", version(1));
        assert_eq!(known.version(b"k"), Some(version(2)));
        assert_eq!(known.version(b"other"), None);
    }

    #[test]
    fn what_came_late_and_is_old_is_still_a_change() {
        let known = Known::new(100);
        known.note(b"k", version(2));
        let order = known.order();
        assert!(!known.changed_since(b"k", order));
        known.note(b"k", version(1));
        assert!(known.changed_since(b"k", order));
    }

    #[test]
    fn room_is_bounded_and_what_was_forgotten_counts_as_changed() {
        let known = Known::new(100);
        let order = known.order();
        for key in 0..10_000u32 {
            known.note(&key.to_be_bytes(), version(1));
            assert!(known.len() <= 100);
        }
        assert!(known.changed_since(b"k", order));
        assert!(!known.changed_since(b"k", known.order()));
        assert_eq!(known.version(&9_999u32.to_be_bytes()), Some(version(1)));
    }
}
