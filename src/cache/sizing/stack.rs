//! The sampled keys in the order of their last use, and how deep each lies.

use hashbrown::HashTable;

/// A bounded number of keys, each known by a 64-bit mark, in the order of their
/// last use: an LRU stack that can be asked for depths.
///
/// A use stamps its key with the next number. A map of bits has one for every
/// stamp that is the latest of its key, so the depth of a key is the number of
/// bits from its stamp on: whole blocks are summed, the rest of one is counted.
/// When the stamps run out the keys are numbered anew, which costs a pass over
/// them every three times as many uses as there may be keys.
pub(super) struct Stack {
    keys: HashTable<Key>,
    /// One bit per stamp, set if it is the latest of a key.
    bits: Box<[u64]>,
    /// How many bits are set in each block.
    blocks: Box<[u32]>,
    /// The next stamp.
    next: u32,
    /// Uses with a stamp below it lie before the latest gap.
    gap: Option<u32>,
}

/// Where a key lay when it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It was not there.
    New,
    /// It was so deep, 1 for the key on top.
    At(u32),
    /// It was at least so deep: there is a gap since its last use.
    AtLeast(u32),
}

struct Key {
    mark: u64,
    /// The stamp of the last use, and above it [`AWAITED`].
    stamp: u32,
    /// How often it was used.
    uses: u32,
}

impl Stack {
    pub(super) fn new(max_keys: usize) -> Self {
        let stamps = (max_keys * 4).next_multiple_of(BLOCK * 64);
        Self {
            keys: HashTable::new(),
            bits: vec![0; stamps / 64].into(),
            blocks: vec![0; stamps / 64 / BLOCK].into(),
            next: 0,
            gap: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Brings a key to the top, where it is put if it is new, and says how deep
    /// it was and how often it has been used. Whoever reads it in vain is expected
    /// to store it next.
    pub(super) fn use_key(&mut self, mark: u64, awaited: bool) -> (Depth, u32) {
        if self.next as usize == self.bits.len() * 64 {
            self.number_anew();
        }
        let stamp = self.next;
        self.next += 1;
        let noted = stamp | if awaited { AWAITED } else { 0 };
        let depth = if let Some(known) = self.keys.find_mut(spread(mark), |key| key.mark == mark) {
            let before = known.stamp & !AWAITED;
            known.stamp = noted;
            known.uses = known.uses.saturating_add(1);
            let uses = known.uses;
            let depth = self.depth(before);
            self.clear_bit(before);
            if self.gap.is_some_and(|gap| before < gap) {
                (Depth::AtLeast(depth), uses)
            } else {
                (Depth::At(depth), uses)
            }
        } else {
            let key = Key {
                mark,
                stamp: noted,
                uses: 1,
            };
            self.keys
                .insert_unique(spread(mark), key, |key| spread(key.mark));
            match self.gap {
                None => (Depth::New, 1),
                Some(gap) => (Depth::AtLeast(self.since(gap) + 1), 1),
            }
        };
        self.bits[stamp as usize / 64] |= 1 << (stamp % 64);
        self.blocks[stamp as usize / 64 / BLOCK] += 1;
        depth
    }

    /// Whether a key was last read in vain and has not been stored since; from
    /// now on it has.
    pub(super) fn was_awaited(&mut self, mark: u64) -> bool {
        let Some(key) = self.keys.find_mut(spread(mark), |key| key.mark == mark) else {
            return false;
        };
        let awaited = key.stamp & AWAITED != 0;
        key.stamp &= !AWAITED;
        awaited
    }

    pub(super) fn contains(&self, mark: u64) -> bool {
        self.keys
            .find(spread(mark), |key| key.mark == mark)
            .is_some()
    }

    /// From here on uses may have gone unseen.
    pub(super) fn leave_gap(&mut self) {
        self.gap = Some(self.next);
    }

    pub(super) fn remove(&mut self, mark: u64) {
        if let Ok(key) = self.keys.find_entry(spread(mark), |key| key.mark == mark) {
            let (key, _) = key.remove();
            self.clear_bit(key.stamp & !AWAITED);
        }
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.bits.fill(0);
        self.blocks.fill(0);
        self.next = 0;
        self.gap = self.gap.map(|_| 0);
    }

    /// Lets go of every key whose mark is not below this.
    pub(super) fn keep_below(&mut self, threshold: u64) {
        let (bits, blocks) = (&mut self.bits, &mut self.blocks);
        self.keys.retain(|key| {
            let keep = key.mark < threshold;
            if !keep {
                let stamp = (key.stamp & !AWAITED) as usize;
                bits[stamp / 64] &= !(1 << (stamp % 64));
                blocks[stamp / 64 / BLOCK] -= 1;
            }
            keep
        });
    }

    /// The smallest mark there is.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.keys.iter().map(|key| key.mark).min()
    }

    /// Bytes of memory that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.keys.allocation_size() + size_of_val(&*self.bits) + size_of_val(&*self.blocks)
    }

    /// Keys used since the one with this stamp, itself counted in.
    fn depth(&self, stamp: u32) -> u32 {
        let word = stamp as usize / 64;
        let block = word / BLOCK;
        let above: u32 = self.blocks[block + 1..].iter().sum();
        let beside: u32 = self.bits[word + 1..(block + 1) * BLOCK]
            .iter()
            .map(|bits| bits.count_ones())
            .sum();
        above + beside + (self.bits[word] >> (stamp % 64)).count_ones()
    }

    /// Keys used since this stamp was next.
    fn since(&self, stamp: u32) -> u32 {
        if stamp < self.next {
            self.depth(stamp)
        } else {
            0
        }
    }

    fn clear_bit(&mut self, stamp: u32) {
        self.bits[stamp as usize / 64] &= !(1 << (stamp % 64));
        self.blocks[stamp as usize / 64 / BLOCK] -= 1;
    }

    /// Numbers the keys from zero in the order of their stamps.
    #[cold]
    fn number_anew(&mut self) {
        // Stamps below the gap are those that are numbered anew below it.
        let count = self.keys.len();
        self.gap = self.gap.map(|gap| count as u32 - self.since(gap));
        let mut before = 0;
        let ranks: Vec<u32> = self
            .bits
            .iter()
            .map(|bits| {
                before += bits.count_ones();
                before - bits.count_ones()
            })
            .collect();
        for key in &mut self.keys {
            let stamp = key.stamp & !AWAITED;
            let (word, lower) = (stamp as usize / 64, (1u64 << (stamp % 64)) - 1);
            let rank = ranks[word] + (self.bits[word] & lower).count_ones();
            key.stamp = rank | key.stamp & AWAITED;
        }
        for (word, bits) in self.bits.iter_mut().enumerate() {
            let set = count.saturating_sub(word * 64).min(64);
            *bits = if set == 64 { u64::MAX } else { (1 << set) - 1 };
        }
        for (block, bits) in self.blocks.iter_mut().zip(self.bits.chunks(BLOCK)) {
            *block = bits.iter().map(|bits| bits.count_ones()).sum();
        }
        self.next = count as u32;
    }
}

/// The hash of a mark. Marks are hashes already, but those that are sampled
/// begin with zeros, where a table looks first.
fn spread(mark: u64) -> u64 {
    mark ^ mark << 40
}

/// Words in a block: a compromise between the blocks to sum and the bits to
/// count.
const BLOCK: usize = 4;

/// Set on a key that was last read in vain.
const AWAITED: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::mix;

    proptest! {
        /// A stack of so few keys runs out of stamps many times.
        #[test]
        fn depths_are_those_of_a_list_in_order_of_use(
            ops in prop::collection::vec((0..20u8, 0..60u64), 1..3000)
        ) {
            let mut stack = Stack::new(60);
            let mut model: Vec<u64> = Vec::new();
            let mut before_gap: Vec<u64> = Vec::new();
            let mut since_gap = std::collections::BTreeSet::new();
            let mut gapped = false;
            for (op, key) in ops {
                let mark = mix(key + 1);
                let place = model.iter().rev().position(|&k| k == mark);
                match op {
                    0 => {
                        stack.remove(mark);
                        model.retain(|&k| k != mark);
                        since_gap.remove(&mark);
                    }
                    1 if key < 3 => {
                        let threshold = u64::MAX / 4 * 3;
                        stack.keep_below(threshold);
                        model.retain(|&k| k < threshold);
                        since_gap.retain(|&k| k < threshold);
                    }
                    3 if key < 3 => {
                        stack.leave_gap();
                        before_gap.clone_from(&model);
                        since_gap.clear();
                        gapped = true;
                    }
                    _ => {
                        let depth = stack.use_key(mark, op == 2);
                        let expected = match place {
                            None if !gapped => Depth::New,
                            None => Depth::AtLeast(since_gap.len() as u32 + 1),
                            Some(place) if before_gap.contains(&mark) => Depth::AtLeast(place as u32 + 1),
                            Some(place) => Depth::At(place as u32 + 1),
                        };
                        prop_assert_eq!(depth.0, expected);
                        before_gap.retain(|&k| k != mark);
                        since_gap.insert(mark);
                        model.retain(|&k| k != mark);
                        model.push(mark);
                        if op == 2 {
                            prop_assert!(stack.was_awaited(mark));
                        }
                        prop_assert!(!stack.was_awaited(mark));
                    }
                }
                prop_assert_eq!(stack.len(), model.len());
                prop_assert_eq!(stack.contains(mark), model.contains(&mark));
                prop_assert_eq!(stack.lowest(), model.iter().copied().min());
            }
        }
    }
}
