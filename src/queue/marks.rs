//! What is noted of single messages, twelve bytes each: how often they were handed out,
//! of which priority they are, and until when they wait.

use std::collections::BTreeMap;
use std::ops::Range;

/// A note about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) attempts: u32,
    pub(super) level: u8,
    /// Milliseconds; zero if it does not wait. Later than [`LATEST`] counts as that.
    pub(super) due: u64,
}

/// Marks by message, in blocks of 1024 numbers: of each block those that have one, in
/// order.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    blocks: BTreeMap<u64, Vec<Packed>>,
    len: usize,
    waiting: usize,
}

/// What of the number its block does not say (10 bits), level (3), due (51), attempts
/// (32), from the highest bit on.
#[derive(Debug, Clone, Copy)]
struct Packed([u32; 3]);

const BLOCK: u64 = 1 << 10;
/// Some seventy thousand years.
pub(super) const LATEST: u64 = (1 << 51) - 1;

impl Packed {
    fn new(id: u64, mark: Mark) -> Self {
        let due = mark.due.min(LATEST);
        let first = (id % BLOCK) << 22 | u64::from(mark.level & 7) << 19 | due >> 32;
        Self([first as u32, due as u32, mark.attempts])
    }

    fn within(self) -> u64 {
        u64::from(self.0[0] >> 22)
    }

    fn due(self) -> u64 {
        u64::from(self.0[0] & 0x7_ffff) << 32 | u64::from(self.0[1])
    }

    fn mark(self) -> Mark {
        Mark {
            attempts: self.0[2],
            level: (self.0[0] >> 19 & 7) as u8,
            due: self.due(),
        }
    }
}

impl Marks {
    pub(super) fn get(&self, id: u64) -> Option<Mark> {
        let block = self.blocks.get(&(id / BLOCK))?;
        let place = find(block, id).ok()?;
        Some(block[place].mark())
    }

    /// Notes this, in the place of what was noted before.
    pub(super) fn insert(&mut self, id: u64, mark: Mark) {
        let block = self.blocks.entry(id / BLOCK).or_default();
        self.waiting += usize::from(mark.due > 0);
        match find(block, id) {
            Ok(place) => {
                self.waiting -= usize::from(block[place].due() > 0);
                block[place] = Packed::new(id, mark);
            }
            Err(place) => {
                if block.len() == block.capacity() {
                    // A quarter more, not twice as much: there are many of them.
                    block.reserve_exact(2 + block.len() / 4);
                }
                block.insert(place, Packed::new(id, mark));
                self.len += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Mark> {
        let block = self.blocks.get_mut(&(id / BLOCK))?;
        let mark = block.remove(find(block, id).ok()?).mark();
        if block.is_empty() {
            self.blocks.remove(&(id / BLOCK));
        } else if block.len() < block.capacity() / 2 {
            block.shrink_to(block.len() + block.len() / 4);
        }
        self.len -= 1;
        self.waiting -= usize::from(mark.due > 0);
        Some(mark)
    }

    /// Those with these numbers, in order.
    pub(super) fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Mark)> {
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let blocks = if blocks.is_empty() { 0..0 } else { blocks };
        let all = self.blocks.range(blocks).flat_map(|(number, block)| {
            let id = move |packed: &Packed| number * BLOCK + packed.within();
            block.iter().map(move |packed| (id(packed), packed.mark()))
        });
        all.filter(move |(id, _)| range.contains(id))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let block = |block: &Vec<Packed>| 64 + block.capacity() * size_of::<Packed>();
        self.blocks.values().map(block).sum()
    }
}

fn find(block: &[Packed], id: u64) -> Result<usize, usize> {
    block.binary_search_by_key(&(id % BLOCK), |packed| packed.within())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn it_is_a_map() {
        let mut rng = Rng::with_seed(3);
        let (mut marks, mut model) = (Marks::default(), BTreeMap::new());
        for step in 0..40_000 {
            let id = rng.below(5000);
            if rng.below(10) < if step < 25_000 { 8 } else { 2 } {
                let mark = Mark {
                    attempts: rng.next_u64() as u32,
                    level: rng.below(8) as u8,
                    due: rng.below(2) * rng.below(LATEST + 1),
                };
                marks.insert(id, mark);
                model.insert(id, mark);
            } else {
                assert_eq!(marks.remove(id), model.remove(&id));
            }
            assert_eq!(marks.get(id), model.get(&id).copied());
        }
        let all = || model.iter().map(|(id, mark)| (*id, *mark));
        let waiting = all().filter(|(_, mark)| mark.due > 0).count();
        assert_eq!((marks.len, marks.waiting()), (model.len(), waiting));
        let part = 1000..3000;
        let expected = all().filter(|(id, _)| part.contains(id));
        assert!(marks.range(part.clone()).eq(expected));
        assert!(marks.range(0..u64::MAX).eq(all()));
        let late = Mark {
            attempts: 0,
            level: 0,
            due: u64::MAX,
        };
        marks.insert(7, late);
        assert_eq!(
            marks.get(7),
            Some(Mark {
                due: LATEST,
                ..late
            })
        );
    }
}
