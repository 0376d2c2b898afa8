//! Sets of message numbers: a bit each at most, nothing where all or none are in.

use std::collections::BTreeMap;
use std::ops::Range;

use super::records::{Reading, Writing};

/// A set of numbers, in blocks of 4096.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// By the number of the block, or of the first one of a run.
    blocks: BTreeMap<u64, Block>,
    len: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    /// All numbers of so many blocks. No two of these lie side by side.
    All(u64),
    /// Some of one block, and how many.
    Some(Box<[u64; WORDS]>, u32),
}

pub(super) const WORDS: usize = 64;
pub(super) const BLOCK: u64 = 64 * WORDS as u64;
/// The first block of numbers that no message has.
const FIRST_BEYOND: u64 = (1 << 62) / BLOCK;

impl Ids {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts all of these, whole blocks at once.
    pub(super) fn insert_all(&mut self, range: Range<u64>) {
        let whole = range.start.div_ceil(BLOCK)..range.end / BLOCK;
        if whole.is_empty() {
            for id in range {
                self.insert(id);
            }
            return;
        }
        for id in range.start..whole.start * BLOCK {
            self.insert(id);
        }
        self.len +=
            (whole.end - whole.start) * BLOCK - self.count(whole.start * BLOCK..whole.end * BLOCK);
        // Runs that reach over the ends of this one are cut there, and joined to it.
        self.split(whole.start);
        self.split(whole.end);
        while let Some((number, _)) = self.blocks.range(whole.clone()).next() {
            let number = *number;
            self.blocks.remove(&number);
        }
        self.blocks
            .insert(whole.start, Block::All(whole.end - whole.start));
        self.join(whole.start);
        for id in whole.end * BLOCK..range.end {
            self.insert(id);
        }
    }

    /// The entry that has this block, and its number.
    fn entry(&self, number: u64) -> Option<(u64, &Block)> {
        let (first, block) = self.blocks.range(..=number).next_back()?;
        (number - first < block.blocks()).then_some((*first, block))
    }

    /// Has a run that goes on beyond the beginning of this block end there.
    fn split(&mut self, number: u64) {
        if let Some((first, Block::All(blocks))) = self.entry(number)
            && first < number
        {
            let end = first + blocks;
            self.blocks.insert(first, Block::All(number - first));
            self.blocks.insert(number, Block::All(end - number));
        }
    }

    /// Joins a run to those beside it.
    fn join(&mut self, first: u64) {
        let Some(&Block::All(mut blocks)) = self.blocks.get(&first) else {
            return;
        };
        let mut start = first;
        if let Some(Block::All(more)) = self.blocks.get(&(first + blocks)) {
            let more = *more;
            self.blocks.remove(&(first + blocks));
            blocks += more;
        }
        let before = self.blocks.range(..first).next_back();
        if let Some((number, Block::All(more))) = before
            && number + more == first
        {
            start = *number;
            blocks += more;
            self.blocks.remove(&first);
        }
        self.blocks.insert(start, Block::All(blocks));
    }

    /// The entries of this range, each with the part of the range that is its own.
    fn parts(&self, range: Range<u64>) -> impl Iterator<Item = (&Block, Range<u64>)> {
        let last = range.end.saturating_sub(1) / BLOCK;
        let first = self.entry(range.start / BLOCK);
        let first = first.map_or(range.start / BLOCK, |(number, _)| number);
        // An empty range may end before it begins.
        let entries = self.blocks.range(first..=last.max(first));
        entries.filter_map(move |(number, block)| {
            let own = block.range(*number);
            let part = range.start.max(own.start)..range.end.min(own.end);
            (!part.is_empty()).then_some((block, part))
        })
    }

    /// How many are in this range.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        let counts = self.parts(range).map(|(block, part)| match block {
            Block::All(_) => part.end - part.start,
            Block::Some(_, count) if part.end - part.start == BLOCK => u64::from(*count),
            Block::Some(..) => block.ids(part).count() as u64,
        });
        counts.sum()
    }

    /// Those that are in this range.
    pub(super) fn within(&self, range: Range<u64>) -> Vec<u64> {
        let parts = self.parts(range);
        parts.flat_map(|(block, part)| block.ids(part)).collect()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        match self.entry(id / BLOCK) {
            None => false,
            Some((_, Block::All(_))) => true,
            Some((_, Block::Some(words, _))) => words[word(id)] & bit(id) != 0,
        }
    }

    /// Whether it was not in there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let number = id / BLOCK;
        let near = self.blocks.range_mut(..=number).next_back();
        let near = near.filter(|(first, block)| number - **first < block.blocks());
        let block = if let Some((_, block)) = near {
            block
        } else {
            let empty = || Block::Some(Box::new([0; WORDS]), 0);
            self.blocks.entry(number).or_insert_with(empty)
        };
        let Block::Some(words, count) = block else {
            return false;
        };
        if words[word(id)] & bit(id) != 0 {
            return false;
        }
        words[word(id)] |= bit(id);
        *count += 1;
        if u64::from(*count) == BLOCK {
            *block = Block::All(1);
            self.join(number);
        }
        self.len += 1;
        true
    }

    /// Whether it was in there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let number = id / BLOCK;
        if let Some((_, Block::All(_))) = self.entry(number) {
            self.split(number);
            self.split(number + 1);
            let all = Block::Some(Box::new([u64::MAX; WORDS]), BLOCK as u32);
            self.blocks.insert(number, all);
        }
        let Some(Block::Some(words, count)) = self.blocks.get_mut(&number) else {
            return false;
        };
        if words[word(id)] & bit(id) == 0 {
            return false;
        }
        words[word(id)] &= !bit(id);
        *count -= 1;
        if *count == 0 {
            self.blocks.remove(&number);
        }
        self.len -= 1;
        true
    }

    pub(super) fn first(&self) -> Option<u64> {
        let (number, block) = self.blocks.first_key_value()?;
        let within = match block {
            Block::All(_) => 0,
            Block::Some(words, _) => first_set(&words[..])?,
        };
        Some(number * BLOCK + within)
    }

    /// The first number from here on that is not in there.
    pub(super) fn next_absent(&self, from: u64) -> u64 {
        let mut id = from;
        loop {
            match self.entry(id / BLOCK) {
                None => return id,
                Some((first, Block::All(blocks))) => id = (first + blocks) * BLOCK,
                Some((_, Block::Some(words, _))) => {
                    let free = !words[word(id)] & (u64::MAX << (id % 64));
                    if free != 0 {
                        return id / 64 * 64 + u64::from(free.trailing_zeros());
                    }
                    id = (id / 64 + 1) * 64;
                }
            }
        }
    }

    /// The first number of this range that is in there, or its end.
    pub(super) fn next_present(&self, range: Range<u64>) -> u64 {
        let end = range.end;
        if self.is_empty() || range.is_empty() {
            return end;
        }
        // Most ranges lie within one block.
        if range.start / BLOCK == (end - 1) / BLOCK {
            return match self.entry(range.start / BLOCK) {
                None => end,
                Some((_, Block::All(_))) => range.start,
                Some((_, Block::Some(words, _))) => first_within(&words[..], &range).unwrap_or(end),
            };
        }
        let mut firsts = self.parts(range).filter_map(|(block, part)| match block {
            Block::All(_) => Some(part.start),
            Block::Some(words, _) => first_within(&words[..], &part),
        });
        firsts.next().unwrap_or(end)
    }

    /// Takes out everything below, in whole blocks.
    pub(super) fn forget_below(&mut self, id: u64) {
        self.split(id / BLOCK);
        while let Some(entry) = self.blocks.first_entry() {
            if *entry.key() >= id / BLOCK {
                return;
            }
            self.len -= match entry.remove() {
                Block::All(blocks) => blocks * BLOCK,
                Block::Some(_, count) => u64::from(count),
            };
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let blocks = self.blocks.iter();
        blocks.flat_map(|(number, block)| block.ids(block.range(*number)))
    }

    /// Writes down those below this number: two words for a run of whole blocks, 65 for
    /// a block of which only some are in.
    pub(super) fn write(&self, writing: &mut Writing, below: u64) {
        let last = below / BLOCK;
        let entries = self.blocks.range(..below.div_ceil(BLOCK));
        // The last block is cut, and so is a run that goes on in it.
        let parts = entries.flat_map(|(number, block)| {
            let end = (number + block.blocks()).min(last);
            let whole = (*number < end).then_some((*number, end - number, block));
            let is_cut = number + block.blocks() > last && !below.is_multiple_of(BLOCK);
            let cut = is_cut.then_some((last, 1, block));
            whole.into_iter().chain(cut)
        });
        writing.counted(parts, |writing, (number, blocks, block)| {
            if matches!(block, Block::All(_)) && number < last {
                writing.word(number << 1 | 1);
                writing.word(blocks);
                return;
            }
            writing.word(number << 1);
            let rest = below - number * BLOCK;
            for place in 0..WORDS {
                let word = match block {
                    Block::All(_) => u64::MAX,
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
            // No message has a number beyond that.
            let number = Some(word >> 1).filter(|number| *number < FIRST_BEYOND)?;
            if word & 1 == 1 {
                let end = number.checked_add(reading.word()?)?;
                let run = number * BLOCK..Some(end).filter(|end| *end <= FIRST_BEYOND)? * BLOCK;
                if ids.parts(run.clone()).next().is_some() {
                    return None;
                }
                ids.insert_all(run);
                continue;
            }
            let mut words = Box::new([0; WORDS]);
            for word in words.iter_mut() {
                *word = reading.word()?;
            }
            let count: u32 = words.iter().map(|word: &u64| word.count_ones()).sum();
            if ids.entry(number).is_some() {
                return None;
            }
            match u64::from(count) {
                0 => {}
                BLOCK => ids.insert_all(number * BLOCK..(number + 1) * BLOCK),
                _ => {
                    ids.blocks.insert(number, Block::Some(words, count));
                    ids.len += u64::from(count);
                }
            }
        }
        Some(ids)
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let block = |block: &Block| match block {
            Block::All(_) => 32,
            Block::Some(..) => 32 + 8 * WORDS,
        };
        self.blocks.values().map(block).sum()
    }
}

impl Ids {
    /// The numbers of one block, a bit each.
    pub(super) fn block(&self, number: u64) -> [u64; WORDS] {
        match self.entry(number) {
            None => [0; WORDS],
            Some((_, Block::All(_))) => [u64::MAX; WORDS],
            Some((_, Block::Some(words, _))) => **words,
        }
    }
}

impl Block {
    /// How many blocks it is about.
    fn blocks(&self) -> u64 {
        match self {
            Self::All(blocks) => *blocks,
            Self::Some(..) => 1,
        }
    }

    /// All numbers that it is about.
    fn range(&self, number: u64) -> Range<u64> {
        number * BLOCK..(number + self.blocks()) * BLOCK
    }

    /// Those in this part of it.
    fn ids(&self, part: Range<u64>) -> impl Iterator<Item = u64> {
        part.filter(move |id| match self {
            Self::All(_) => true,
            Self::Some(words, _) => words[word(*id)] & bit(*id) != 0,
        })
    }
}

fn first_set(words: &[u64]) -> Option<u64> {
    let index = words.iter().position(|word| *word != 0)?;
    Some(64 * index as u64 + u64::from(words[index].trailing_zeros()))
}

/// The first number of this part of a block that is in there.
fn first_within(words: &[u64], part: &Range<u64>) -> Option<u64> {
    let mut id = part.start;
    while id < part.end {
        let rest = words[word(id)] & u64::MAX << (id % 64);
        if rest != 0 {
            let found = id / 64 * 64 + u64::from(rest.trailing_zeros());
            return Some(found).filter(|found| *found < part.end);
        }
        id = (id / 64 + 1) * 64;
    }
    None
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
    fn whole_blocks_come_go_and_are_cut() {
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let (mut ids, mut model) = (Ids::default(), BTreeSet::new());
            for _ in 0..60 {
                let start = rng.below(8 * BLOCK);
                let near = start / BLOCK * BLOCK;
                match rng.below(8) {
                    0..2 => {
                        let end = start + rng.below(3 * BLOCK);
                        ids.insert_all(start..end);
                        model.extend(start..end);
                    }
                    2..4 => {
                        let end = near + rng.below(4) * BLOCK;
                        ids.insert_all(near..end);
                        model.extend(near..end);
                    }
                    4 => {
                        ids.forget_below(start / 4);
                        model = model.split_off(&(start / 4 / BLOCK * BLOCK));
                    }
                    _ => {
                        let id = if rng.below(2) == 0 { near } else { start };
                        assert_eq!(ids.remove(id), model.remove(&id));
                        if rng.below(2) == 0 {
                            assert_eq!(ids.insert(id), model.insert(id));
                        }
                    }
                }
                let end = start + rng.below(4 * BLOCK);
                let part: Vec<_> = model.range(start..end).copied().collect();
                assert_eq!(ids.count(start..end), part.len() as u64, "seed {seed}");
                assert_eq!(ids.within(start..end), part);
                let absent = (start..u64::MAX).find(|id| !model.contains(id)).unwrap();
                assert_eq!(ids.next_absent(start), absent);
                let present = part.first().copied().unwrap_or(end);
                assert_eq!(ids.next_present(start..end), present);
                assert_eq!(ids.contains(start), model.contains(&start));
                assert_eq!(
                    (ids.len(), ids.first()),
                    (model.len() as u64, model.first().copied())
                );
            }
            let below = rng.below(12 * BLOCK);
            let mut writing = Writing::default();
            ids.write(&mut writing, below);
            let read = Ids::read(&mut Reading(&writing.0)).unwrap();
            assert!(read.iter().eq(model.range(..below).copied()), "seed {seed}");
            assert_eq!(read.len(), model.range(..below).count() as u64);
            assert!(ids.iter().eq(model));
        }
    }

    #[test]
    fn a_run_costs_the_same_however_long_it_is() {
        let mut ids = Ids::default();
        ids.insert_all(5 * BLOCK..1 << 61);
        assert!(ids.insert(3) && ids.memory() < 1000);
        assert!(ids.remove(1 << 60) && !ids.contains(1 << 60) && ids.memory() < 2000);
        assert_eq!(ids.next_absent(5 * BLOCK), 1 << 60);
        assert_eq!(ids.count(0..u64::MAX), (1 << 61) - 5 * BLOCK);
        assert!(ids.insert(1 << 60) && ids.memory() < 1000);
        ids.forget_below(1 << 60);
        assert_eq!((ids.first(), ids.len()), (Some(1 << 60), 1 << 60));
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
