//! Exact orders of eviction: first in first out, least recently used, least
//! frequently used.
//!
//! The lists run through the slots of the table by index, in columns beside
//! them; an entry costs 8 bytes for its links and, under LFU, 4 for its count.

use std::collections::BTreeMap;

/// No slot.
const NIL: u32 = u32::MAX;

/// Doubly linked lists over slots. Many lists may share one set of links, since
/// a slot is in at most one.
#[derive(Default)]
struct Links(Vec<Link>);

#[derive(Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

#[derive(Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

impl Ends {
    const EMPTY: Self = Self {
        oldest: NIL,
        newest: NIL,
    };
}

impl Links {
    fn resize(&mut self, slots: usize) {
        let none = Link {
            older: NIL,
            newer: NIL,
        };
        self.0.resize(slots, none);
    }

    fn push_newest(&mut self, ends: &mut Ends, slot: u32) {
        self.0[slot as usize] = Link {
            older: ends.newest,
            newer: NIL,
        };
        match ends.newest {
            NIL => ends.oldest = slot,
            newest => self.0[newest as usize].newer = slot,
        }
        ends.newest = slot;
    }

    fn unlink(&mut self, ends: &mut Ends, slot: u32) {
        let Link { older, newer } = self.0[slot as usize];
        match older {
            NIL => ends.oldest = newer,
            older => self.0[older as usize].newer = newer,
        }
        match newer {
            NIL => ends.newest = older,
            newer => self.0[newer as usize].older = older,
        }
    }

    /// From the oldest on.
    fn walk(&self, ends: Ends) -> impl Iterator<Item = u32> + '_ {
        let mut next = ends.oldest;
        std::iter::from_fn(move || {
            let slot = (next != NIL).then_some(next)?;
            next = self.0[slot as usize].newer;
            Some(slot)
        })
    }
}

/// One queue: `Fifo` never moves an entry, `Lru` moves it to the new end when
/// it is used.
pub(super) struct Queue {
    links: Links,
    ends: Ends,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            links: Links::default(),
            ends: Ends::EMPTY,
        }
    }

    pub(super) fn push(&mut self, slot: usize) {
        self.links.push_newest(&mut self.ends, slot as u32);
    }

    pub(super) fn remove(&mut self, slot: usize) {
        self.links.unlink(&mut self.ends, slot as u32);
    }

    pub(super) fn touch(&mut self, slot: usize) {
        if self.ends.newest != slot as u32 {
            self.remove(slot);
            self.push(slot);
        }
    }

    pub(super) fn oldest(&self) -> Option<usize> {
        (self.ends.oldest != NIL).then_some(self.ends.oldest as usize)
    }

    /// Follows a rebuilt table, in which `moved[old]` is an entry's new slot.
    pub(super) fn follow(&mut self, moved: &[u32], slots: usize) {
        let order: Vec<u32> = self.links.walk(self.ends).collect();
        *self = Self::new();
        self.links.resize(slots);
        for old in order {
            self.push(moved[old as usize] as usize);
        }
    }
}

/// Entries by how often they were used and, among equals, by how recently
/// (K. Shah, A. Mitra, D. Matani: *An O(1) algorithm for implementing the LFU
/// cache eviction scheme*, 2010; the counts are in a B-tree here, so a use
/// costs O(log n) in the number of distinct counts).
pub(super) struct Frequencies {
    links: Links,
    counts: Vec<u32>,
    /// Per count that some entry has: its entries, oldest use first.
    lists: BTreeMap<u32, Ends>,
}

impl Frequencies {
    pub(super) fn new() -> Self {
        Self {
            links: Links::default(),
            counts: Vec::new(),
            lists: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, slot: usize) {
        self.push_with(slot, 1);
    }

    fn push_with(&mut self, slot: usize, count: u32) {
        self.counts[slot] = count;
        let ends = self.lists.entry(count).or_insert(Ends::EMPTY);
        self.links.push_newest(ends, slot as u32);
    }

    pub(super) fn remove(&mut self, slot: usize) {
        let count = self.counts[slot];
        if let Some(ends) = self.lists.get_mut(&count) {
            self.links.unlink(ends, slot as u32);
            if ends.oldest == NIL {
                self.lists.remove(&count);
            }
        }
    }

    pub(super) fn touch(&mut self, slot: usize) {
        let count = self.counts[slot].saturating_add(1);
        self.remove(slot);
        self.push_with(slot, count);
    }

    /// The least used entry; among equals the one used longest ago.
    pub(super) fn least(&self) -> Option<usize> {
        let (_, ends) = self.lists.first_key_value()?;
        Some(ends.oldest as usize)
    }

    /// Follows a rebuilt table, in which `moved[old]` is an entry's new slot.
    pub(super) fn follow(&mut self, moved: &[u32], slots: usize) {
        let order: Vec<(u32, u32)> = self
            .lists
            .iter()
            .flat_map(|(&count, &ends)| self.links.walk(ends).map(move |slot| (slot, count)))
            .collect();
        *self = Self::new();
        self.links.resize(slots);
        self.counts.resize(slots, 0);
        for (old, count) in order {
            self.push_with(moved[old as usize] as usize, count);
        }
    }
}
