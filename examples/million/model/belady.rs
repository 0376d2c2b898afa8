use std::collections::BinaryHeap;

/// Belady's optimum: the most hits that any cache could have had, knowing the
/// future.
///
/// It keeps the keys that are needed again soonest. A key that is needed
/// later than all those kept, or never again, is not stored at all: caches may
/// refuse entries, so the bound must allow for it too.
///
/// L. A. Belady: *A study of replacement algorithms for a virtual-storage
/// computer*, IBM Systems Journal 5(2), 1966.
#[derive(Debug)]
pub(crate) struct Belady<'a> {
    keys: &'a [u32],
    /// For each request, the place of the next one for the same key.
    next: Vec<u32>,
    unique: usize,
}

impl<'a> Belady<'a> {
    /// `keys` are numbers below `unique`, fewer than 2^32 of them.
    pub(crate) fn new(keys: &'a [u32], unique: usize) -> Self {
        let mut next = vec![NEVER; keys.len()];
        let mut later = vec![NEVER; unique];
        for (at, &key) in keys.iter().enumerate().rev() {
            next[at] = later[key as usize];
            later[key as usize] = at as u32;
        }
        Self { keys, next, unique }
    }

    /// Hits with room for `capacity` keys.
    pub(crate) fn hits(&self, capacity: usize) -> u64 {
        if capacity == 0 {
            return 0;
        }
        let mut stored = vec![false; self.unique];
        let mut len = 0;
        // The key needed last stands on top. A hit leaves its old entry in
        // the heap, but that entry's time has come, so it lies below all
        // entries that still hold and is never taken for one.
        let mut needed: BinaryHeap<(u32, u32)> = BinaryHeap::new();
        let mut hits = 0;
        for (at, (&key, &next)) in self.keys.iter().zip(&self.next).enumerate() {
            if stored[key as usize] {
                hits += 1;
                if next == NEVER {
                    stored[key as usize] = false;
                    len -= 1;
                    continue;
                }
            } else if next == NEVER {
                continue;
            } else {
                stored[key as usize] = true;
                len += 1;
            }
            needed.push((next, key));
            if len > capacity
                && let Some((_, victim)) = needed.pop()
            {
                stored[victim as usize] = false;
                len -= 1;
            }
            if needed.len() > 4 * capacity + 1024 {
                needed.retain(|&(next, _)| next as usize > at);
            }
        }
        hits
    }
}

const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The most hits by trying every choice: on a miss, any stored key may
    /// give way, or the new one is not stored.
    fn by_trying_all(keys: &[u32], stored: &[u32], capacity: usize) -> u64 {
        let Some((&key, rest)) = keys.split_first() else {
            return 0;
        };
        if stored.contains(&key) {
            return 1 + by_trying_all(rest, stored, capacity);
        }
        let mut best = by_trying_all(rest, stored, capacity);
        if stored.len() < capacity {
            let with = [stored, &[key]].concat();
            best = best.max(by_trying_all(rest, &with, capacity));
        }
        for victim in 0..stored.len() {
            let mut with = stored.to_vec();
            with[victim] = key;
            best = best.max(by_trying_all(rest, &with, capacity));
        }
        best
    }

    proptest! {
        #[test]
        fn nothing_does_better(keys in prop::collection::vec(0u32..5, 0..10), capacity in 0usize..4) {
            let expected = by_trying_all(&keys, &[], capacity);
            prop_assert_eq!(Belady::new(&keys, 5).hits(capacity), expected);
        }

        #[test]
        fn a_long_sequence_keeps_its_heap_small_and_right(
            keys in prop::collection::vec(0u32..3, 3000), capacity in 3usize..5,
        ) {
            let unique = [0, 1, 2].iter().filter(|key| keys.contains(key)).count() as u64;
            prop_assert_eq!(Belady::new(&keys, 3).hits(capacity), 3000 - unique);
        }
    }
}
