//! Where each session lies, in as few lines of memory as can be: one, as a rule.
//!
//! A table of 32-bit words. A key's word lies at the place that its low bits name, or next to it, if others
//! had come there before (linear probing), so almost always in the same cache line. The low bits of a word
//! are the number of a slot, plus one; the others are bits of the key, so that hardly ever a slot is looked
//! at that is not the one. Keys are random bits, so they are their own hashes: nobody who cannot turn
//! SHA-256 round chooses where one falls.

/// The slot of each key.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of them, or none. 0 is a free place.
    words: Vec<u32>,
    /// Keys.
    live: usize,
    /// Places that are not free, those of keys that have left included: who looks for another
    /// has to go on there.
    used: usize,
}

impl Index {
    /// One with room for this slot and so many keys at least.
    pub(super) fn with_room(slot: u32, keys: usize) -> Self {
        let least = (slot as usize + 3).max(2 * keys).max(LEAST);
        Self {
            words: vec![0; least.next_power_of_two()],
            ..Self::default()
        }
    }

    /// Whether a key has room whose session lies in this slot.
    pub(super) fn has_room(&self, slot: u32) -> bool {
        4 * (self.used + 1) <= 3 * self.words.len() && slot as usize + 2 < self.words.len()
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The slot of a key, if it is in one: those that may be are asked.
    pub(super) fn find(&self, key: u128, is_in: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(key, is_in).map(|(_, slot)| slot)
    }

    /// Puts a key that is not there, and has [room](Self::has_room).
    pub(super) fn insert(&mut self, key: u128, slot: u32) {
        let mask = self.mask();
        for at in self.places(key) {
            let word = self.words[at];
            if word == 0 || word == mask {
                self.used += usize::from(word == 0);
                self.live += 1;
                self.words[at] = tag(key) & !mask | (slot + 1);
                return;
            }
        }
    }

    pub(super) fn remove(&mut self, key: u128, is_in: impl Fn(u32) -> bool) -> Option<u32> {
        let (place, slot) = self.place(key, is_in)?;
        let last = self.words.len() - 1;
        self.live -= 1;
        self.words[place] = self.mask();
        // Who comes by goes no further than this: then the place is free, and those before it.
        let mut at = place;
        while self.words[(at + 1) & last] == 0 && self.words[at] == self.mask() {
            self.words[at] = 0;
            self.used -= 1;
            at = at.wrapping_sub(1) & last;
        }
        Some(slot)
    }

    fn place(&self, key: u128, is_in: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let (tag, mask) = (tag(key), self.mask());
        for at in self.places(key) {
            let word = self.words[at];
            if word == 0 {
                return None;
            }
            if (word ^ tag) & !mask == 0 && word & mask != mask {
                let slot = (word & mask).wrapping_sub(1);
                if is_in(slot) {
                    return Some((at, slot));
                }
            }
        }
        None
    }

    /// Where a key may be, in this order.
    fn places(&self, key: u128) -> impl Iterator<Item = usize> + use<> {
        let len = self.words.len();
        (0..len).map(move |step| (key as usize).wrapping_add(step) & (len - 1))
    }

    /// The bits that number a slot. A word of nothing else marks the place of a key that has left.
    fn mask(&self) -> u32 {
        (self.words.len() as u32).wrapping_sub(1)
    }
}

/// The bits of a key of which its word has those that number no slot.
fn tag(key: u128) -> u32 {
    (key >> 32) as u32
}

const LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Keys of which many fall together, with tags that many share.
    #[test]
    fn the_index_is_a_map_from_keys_to_slots() {
        let mut state = 1_u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        for round in 0..200 {
            let (spread, keys) = (1 + below(64), 1 + below(300));
            let mut index = Index::default();
            let mut model: HashMap<u128, u32> = HashMap::new();
            let mut slots: Vec<Option<u128>> = Vec::new();
            for _ in 0..1000 {
                let (low, high) = (below(spread), below(4) << 40);
                let key = u128::from(below(keys)) << 64 | u128::from(high | low);
                let is_in = |slots: &[Option<u128>], slot: u32| slots[slot as usize] == Some(key);
                assert_eq!(
                    index.find(key, |slot| is_in(&slots, slot)),
                    model.get(&key).copied(),
                    "round {round}"
                );
                if let Some(slot) = model.remove(&key) {
                    assert_eq!(index.remove(key, |slot| is_in(&slots, slot)), Some(slot));
                    slots[slot as usize] = None;
                    continue;
                }
                let free = slots.iter().position(Option::is_none);
                let slot = free.unwrap_or(slots.len());
                if !index.has_room(slot as u32) {
                    index = Index::with_room(slot as u32, model.len() + 1);
                    for (&key, &slot) in &model {
                        index.insert(key, slot);
                    }
                }
                assert!(index.has_room(slot as u32));
                index.insert(key, slot as u32);
                slots.resize(slots.len().max(slot + 1), None);
                slots[slot] = Some(key);
                model.insert(key, slot as u32);
            }
            assert_eq!(index.len(), model.len());
            let used = index.words.iter().filter(|&&word| word != 0);
            assert_eq!(used.count(), index.used);
            assert!(index.used >= index.live && index.used < index.words.len());
        }
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let mut index = Index::with_room(0, 1);
        for key in 0..100 {
            assert!(index.has_room(0));
            index.insert(key, 0);
            assert_eq!(index.remove(key, |_| true), Some(0));
            assert_eq!((index.live, index.used), (0, 0));
        }
        assert_eq!(index.find(1, |_| true), None);
        assert_eq!(Index::default().find(1, |_| true), None);
    }
}
