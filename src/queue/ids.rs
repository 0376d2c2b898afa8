//! Sets of message numbers: a bit each at most, nothing where all or none are in.

use std::collections::BTreeMap;
use std::ops::Range;

use super::records::{Reading, Writing};

/// A set of numbers, in blocks of 4096.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids {
    blocks: BTreeMap<u64, Block>,
    len: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    All,
    Some(Box<[u64; WORDS]>, u32),
}

pub(super) const WORDS: usize = 64;
pub(super) const BLOCK: u64 = 64 * WORDS as u64;

impl Ids {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Inserts all of these, whole blocks at once.
    pub(super) fn insert_all(&mut self, range: Range<u64>) {
        let mut id = range.start;
        while id < range.end {
            let next = (id / BLOCK + 1) * BLOCK;
            if id.is_multiple_of(BLOCK) && next <= range.end {
                let was_in = match self.blocks.insert(id / BLOCK, Block::All) {
                    None => 0,
                    Some(Block::All) => BLOCK,
                    Some(Block::Some(_, count)) => u64::from(count),
                };
                self.len += BLOCK - was_in;
                id = next;
            } else {
                self.insert(id);
                id += 1;
            }
        }
    }

    /// How many are in this range.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        if self.blocks.is_empty() || range.is_empty() {
            return 0;
        }
        let blocks = self
            .blocks
            .range(range.start / BLOCK..=(range.end - 1) / BLOCK);
        let counts = blocks.map(|(number, block)| {
            let base = number * BLOCK;
            let (start, end) = (range.start.max(base), range.end.min(base + BLOCK));
            match block {
                Block::All => end - start,
                Block::Some(_, count) if end - start == BLOCK => u64::from(*count),
                Block::Some(..) => {
                    block.ids(*number).filter(|id| range.contains(id)).count() as u64
                }
            }
        });
        counts.sum()
    }

    /// Those that are in this range.
    pub(super) fn within(&self, range: Range<u64>) -> Vec<u64> {
        if self.blocks.is_empty() || range.is_empty() {
            return Vec::new();
        }
        let blocks = self
            .blocks
            .range(range.start / BLOCK..=(range.end - 1) / BLOCK);
        let all = blocks.flat_map(|(number, block)| block.ids(*number));
        all.filter(|id| range.contains(id)).collect()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        match self.blocks.get(&(id / BLOCK)) {
            None => false,
            Some(Block::All) => true,
            Some(Block::Some(words, _)) => words[word(id)] & bit(id) != 0,
        }
    }

    /// Whether it was not in there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let empty = || Block::Some(Box::new([0; WORDS]), 0);
        let block = self.blocks.entry(id / BLOCK).or_insert_with(empty);
        let Block::Some(words, count) = block else {
            return false;
        };
        if words[word(id)] & bit(id) != 0 {
            return false;
        }
        words[word(id)] |= bit(id);
        *count += 1;
        if u64::from(*count) == BLOCK {
            *block = Block::All;
        }
        self.len += 1;
        true
    }

    /// Whether it was in there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(block) = self.blocks.get_mut(&(id / BLOCK)) else {
            return false;
        };
        if *block == Block::All {
            *block = Block::Some(Box::new([u64::MAX; WORDS]), BLOCK as u32);
        }
        let Block::Some(words, count) = block else {
            return false;
        };
        if words[word(id)] & bit(id) == 0 {
            return false;
        }
        words[word(id)] &= !bit(id);
        *count -= 1;
        if *count == 0 {
            self.blocks.remove(&(id / BLOCK));
        }
        self.len -= 1;
        true
    }

    pub(super) fn first(&self) -> Option<u64> {
        let (number, block) = self.blocks.first_key_value()?;
        let within = match block {
            Block::All => 0,
            Block::Some(words, _) => first_set(&words[..])?,
        };
        Some(number * BLOCK + within)
    }

    /// The first number from here on that is not in there.
    pub(super) fn next_absent(&self, from: u64) -> u64 {
        let mut id = from;
        loop {
            match self.blocks.get(&(id / BLOCK)) {
                None => return id,
                Some(Block::All) => id = (id / BLOCK + 1) * BLOCK,
                Some(Block::Some(words, _)) => {
                    let free = !words[word(id)] & (u64::MAX << (id % 64));
                    if free != 0 {
                        return id / 64 * 64 + u64::from(free.trailing_zeros());
                    }
                    id = (id / 64 + 1) * 64;
                }
            }
        }
    }

    /// Takes out everything below, in whole blocks.
    pub(super) fn forget_below(&mut self, id: u64) {
        while let Some(entry) = self.blocks.first_entry() {
            if (entry.key() + 1) * BLOCK > id {
                return;
            }
            self.len -= match entry.remove() {
                Block::All => BLOCK,
                Block::Some(_, count) => u64::from(count),
            };
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let blocks = self.blocks.iter();
        blocks.flat_map(|(number, block)| block.ids(*number))
    }

    /// Writes down those below this number, by the block: one word, or 65.
    pub(super) fn write(&self, writing: &mut Writing, below: u64) {
        let blocks = self.blocks.range(..below.div_ceil(BLOCK));
        writing.counted(blocks, |writing, (number, block)| {
            let rest = below - number * BLOCK;
            if *block == Block::All && rest >= BLOCK {
                writing.word(number << 1 | 1);
                return;
            }
            writing.word(number << 1);
            for place in 0..WORDS {
                let word = match block {
                    Block::All => u64::MAX,
                    Block::Some(words, _) => words[place],
                };
                let bits = rest.saturating_sub(64 * place as u64).min(64) as u32;
                let kept = 1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
                writing.word(word & kept);
            }
        });
    }

    pub(super) fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let mut ids = Self::default();
        for _ in 0..reading.word()? {
            let word = reading.word()?;
            let mut words = Box::new([u64::MAX; WORDS]);
            if word & 1 == 0 {
                for word in words.iter_mut() {
                    *word = reading.word()?;
                }
            }
            let count = words.iter().map(|word| word.count_ones()).sum();
            let block = match u64::from(count) {
                0 => continue,
                BLOCK => Block::All,
                _ => Block::Some(words, count),
            };
            // No message has such a number.
            let number = Some(word >> 1).filter(|number| *number < 1 << 50)?;
            if ids.blocks.insert(number, block).is_some() {
                return None;
            }
            ids.len += u64::from(count);
        }
        Some(ids)
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let block = |block: &Block| match block {
            Block::All => 32,
            Block::Some(..) => 32 + 8 * WORDS,
        };
        self.blocks.values().map(block).sum()
    }
}

impl Ids {
    /// The numbers of one block, a bit each.
    pub(super) fn block(&self, number: u64) -> [u64; WORDS] {
        match self.blocks.get(&number) {
            None => [0; WORDS],
            Some(Block::All) => [u64::MAX; WORDS],
            Some(Block::Some(words, _)) => **words,
        }
    }
}

impl Block {
    fn ids(&self, number: u64) -> impl Iterator<Item = u64> {
        (0..BLOCK).filter_map(move |within| {
            let is_in = match self {
                Self::All => true,
                Self::Some(words, _) => words[word(within)] & bit(within) != 0,
            };
            is_in.then_some(number * BLOCK + within)
        })
    }
}

fn first_set(words: &[u64]) -> Option<u64> {
    let index = words.iter().position(|word| *word != 0)?;
    Some(64 * index as u64 + u64::from(words[index].trailing_zeros()))
}

fn word(id: u64) -> usize {
    (id % BLOCK / 64) as usize
}

fn bit(id: u64) -> u64 {
    1 << (id % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn it_is_a_set() {
        let mut rng = Rng::with_seed(5);
        let (mut ids, mut model) = (Ids::default(), BTreeSet::new());
        for step in 0..60_000 {
            let id = rng.below(9000);
            // Filled for a while, then emptied.
            if rng.below(10) < if step < 40_000 { 9 } else { 2 } {
                assert_eq!(ids.insert(id), model.insert(id));
            } else {
                assert_eq!(ids.remove(id), model.remove(&id));
            }
            assert_eq!(
                (ids.len(), ids.first()),
                (model.len() as u64, model.first().copied())
            );
            let absent = (id..10_000).find(|id| !model.contains(id)).unwrap();
            assert_eq!(ids.next_absent(id), absent);
        }
        assert!(ids.iter().eq(model.iter().copied()));
        for below in [0, 4096, 5000, 8192, 8195, 20_000] {
            let mut writing = Writing::default();
            ids.write(&mut writing, below);
            let read = Ids::read(&mut Reading(&writing.0)).unwrap();
            assert!(read.iter().eq(model.range(..below).copied()));
            assert_eq!(read.len(), model.range(..below).count() as u64);
        }
        let part = model.range(100..5000).copied().collect::<Vec<_>>();
        assert_eq!(ids.count(100..5000), part.len() as u64);
        assert_eq!(ids.within(100..5000), part);
        let mut all = ids.clone();
        all.insert_all(50..8900);
        model
            .iter()
            .chain(&[8899])
            .for_each(|id| assert!(all.contains(*id)));
        assert_eq!(
            all.len(),
            model.iter().filter(|id| !(50..8900).contains(*id)).count() as u64 + 8850
        );
        ids.forget_below(4096);
        assert_eq!(ids.len(), model.range(4096..).count() as u64);
    }

    #[test]
    fn ten_million_cost_a_bit_each_or_nothing() {
        let mut ids = Ids::default();
        (0..10_000_000)
            .step_by(2)
            .for_each(|id| assert!(ids.insert(id)));
        assert!(ids.memory() < 1_400_000);
        (1..10_000_000)
            .step_by(2)
            .for_each(|id| assert!(ids.insert(id)));
        assert!(ids.memory() < 100_000);
    }
}
