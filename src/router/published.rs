//! The table where readers find it: a load says which of two buffers is current, a
//! load from the buffer is the answer, and a load of the first word again says
//! whether that buffer was current all along.
//!
//! A swap writes the *other* buffer and then points at it. A reader who is still
//! in the old one has a valid answer, for it began before the swap. A reader so slow
//! that the next swap writes under its eyes finds the first word changed, and
//! asks again. Nobody waits, nothing is freed that someone may read, and all of it is
//! atomics: it needs no `unsafe`, no reference count and no memory of threads. A
//! counted or guarded pointer costs 10 ns and more for what is here two loads of a
//! line that every reader shares.
//!
//! Where the table alone does not say who owns a slot's keys, it says [`SLOW`]
//! instead of an owner, and who finds that asks the router's cold path. Who finds an owner
//! pays for the difference with one branch that is never taken.

use std::sync::OnceLock;

use super::node::{MAX_NODES, NodeId};
use super::placement::Placed;
use super::replicas::{MAX_REPLICAS, Replicas};
use super::route::slot;
use super::topology::Table;
use crate::sync::atomic::{AtomicU16, AtomicU64, Ordering, fence};

/// A table of slots in two buffers, of which one is current.
#[derive(Debug)]
pub(super) struct Published {
    /// From the top: how many slots the current buffer has (24 bits), how often it
    /// changed (30), how many copies a key has (4), and its number (6).
    current: AtomicU64,
    /// Two for each power of two that the number of slots may round up to.
    buffers: [OnceLock<Buffer>; NUMBERS],
}

/// The first word, for what it says about the current buffer.
#[derive(Clone, Copy)]
struct Shape(u64);

impl Shape {
    #[inline]
    fn slots(self) -> usize {
        (self.0 >> SLOTS) as usize
    }

    #[inline]
    fn replicas(self) -> usize {
        (self.0 >> REPLICAS & 0xf) as usize
    }
}

/// A table's slots, and room for as many as a power of two.
#[derive(Debug)]
struct Buffer {
    owners: Box<[AtomicU16]>,
    /// Four copies in each word: one word a slot, or two.
    rows: [OnceLock<Box<[AtomicU64]>>; 2],
}

impl Published {
    pub(super) fn new() -> Self {
        Self {
            current: AtomicU64::new(NONE),
            buffers: [const { OnceLock::new() }; NUMBERS],
        }
    }

    /// The owner of a hash; nothing if the current table is not one of slots, or the
    /// slot is slow.
    #[inline]
    pub(super) fn owner(&self, hash: u64) -> Option<NodeId> {
        self.read(
            |buffer, shape| buffer.owner(slot(hash, shape.slots())),
            |owner| *owner,
        )
    }

    /// The copies of a hash; nothing if the current table is not one of slots, or the
    /// slot is slow.
    #[inline]
    pub(super) fn replicas(&self, hash: u64) -> Option<Replicas> {
        self.read(
            |buffer, shape| buffer.replicas(slot(hash, shape.slots()), shape.replicas()),
            Replicas::primary,
        )
    }

    #[inline]
    fn read<T>(
        &self,
        look: impl Fn(&Buffer, Shape) -> Option<T>,
        owner: impl Fn(&T) -> NodeId,
    ) -> Option<T> {
        loop {
            let before = self.current.load(Ordering::Acquire);
            let number = (before & NONE) as usize;
            let answer = look(self.buffers[number].get()?, Shape(before))?;
            if owner(&answer).raw() & SLOW != 0 {
                // Overtaken or not, the cold path knows.
                return None;
            }
            // With the writer's: who saw what a later swap wrote sees that it came.
            fence(Ordering::Acquire);
            if self.current.load(Ordering::Relaxed) == before {
                return Some(answer);
            }
        }
    }

    /// Makes a table current, of which some slots are slow. One caller at a time.
    pub(super) fn publish(&self, table: &Table, slow: impl Fn(usize) -> bool) {
        let before = self.current.load(Ordering::Relaxed);
        let turn = (before & TURNS).wrapping_add(TURN) & TURNS;
        let Placed::Slots(owners) = &table.placed else {
            self.current.store(turn | NONE, Ordering::Release);
            return;
        };
        let size = owners.len().next_power_of_two();
        let number = 2 * size.ilog2() as usize + usize::from(before & 1 == 0);
        let buffer = self.buffers[number].get_or_init(|| Buffer::new(size));
        // What is written from here on comes after the swap before this one.
        fence(Ordering::Release);
        buffer.write(table, owners, slow);
        let slots = (owners.len() as u64) << SLOTS;
        let replicas = (table.replicas as u64) << REPLICAS;
        let current = slots | turn | replicas | number as u64;
        self.current.store(current, Ordering::Release);
    }
}

impl Buffer {
    fn new(size: usize) -> Self {
        Self {
            owners: (0..size).map(|_| AtomicU16::new(0)).collect(),
            rows: [OnceLock::new(), OnceLock::new()],
        }
    }

    #[inline]
    fn owner(&self, slot: usize) -> Option<NodeId> {
        let owner = self.owners.get(slot)?;
        Some(NodeId::from_raw(owner.load(Ordering::Relaxed)))
    }

    #[inline]
    fn replicas(&self, slot: usize, len: usize) -> Option<Replicas> {
        if len == 1 {
            return self.owner(slot).map(Replicas::one);
        }
        let mut ids = [NodeId::from_raw(0); MAX_REPLICAS];
        let (first, second) = ids.split_at_mut(WORD);
        if len <= WORD {
            unpack(self.rows[0].get()?.get(slot)?, first);
        } else {
            let rows = self.rows[1].get()?;
            unpack(rows.get(2 * slot)?, first);
            unpack(rows.get(2 * slot + 1)?, second);
        }
        Some(Replicas::new(ids, len))
    }

    fn write(&self, table: &Table, owners: &[u16], slow: impl Fn(usize) -> bool) {
        for (slot, (to, from)) in self.owners.iter().zip(owners).enumerate() {
            let owner = if slow(slot) { SLOW } else { *from };
            to.store(owner, Ordering::Relaxed);
        }
        if table.replicas == 1 {
            return;
        }
        let words = table.replicas.div_ceil(WORD);
        let rows = self.rows[words - 1].get_or_init(|| {
            (0..words * self.owners.len())
                .map(|_| AtomicU64::new(0))
                .collect()
        });
        let places = rows.chunks_exact(words).zip(table.rows.iter());
        for (slot, (to, from)) in places.enumerate() {
            let mark = if slow(slot) { u64::from(SLOW) } else { 0 };
            for (to, from) in to.iter().zip(from.chunks(WORD)) {
                let packed = from
                    .iter()
                    .rev()
                    .fold(0, |word, id| (word << 16) | u64::from(id.raw()));
                to.store(packed | mark, Ordering::Relaxed);
            }
        }
    }
}

#[inline]
fn unpack(word: &AtomicU64, ids: &mut [NodeId]) {
    let word = word.load(Ordering::Relaxed);
    for (number, id) in ids.iter_mut().enumerate() {
        *id = NodeId::from_raw((word >> (16 * number)) as u16);
    }
}

/// Instead of an owner: ask elsewhere. A bit that no node's number has.
const SLOW: u16 = 1 << 15;
const _: () = assert!(MAX_NODES <= SLOW as usize);
/// Copies in a word.
const WORD: usize = 4;
/// Numbers of buffers: enough for two of each size, and one that is never made.
const NUMBERS: usize = 64;
const _: () = assert!(2 * (super::placement::MAX_SLOTS.ilog2() as usize + 1) < NUMBERS);
/// The number of no buffer, and the bits that numbers are in.
const NONE: u64 = NUMBERS as u64 - 1;
/// Where the parts of the first word begin.
const REPLICAS: u32 = 6;
const TURN: u64 = 1 << 10;
const TURNS: u64 = (1 << SLOTS) - TURN;
const SLOTS: u32 = 40;

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use super::*;
    use crate::router::Topology;

    #[test]
    fn only_the_slots_that_are_slow_are_left_to_others() {
        for replicas in [1, 3, 6] {
            let nodes = (0..8).map(|node| format!("{node}"));
            let topology = Topology::builder().nodes(nodes).replicas(replicas);
            let topology = topology.slots(64).build().unwrap();
            let published = Published::new();
            for slow in [5, 17, 64] {
                published.publish(&topology.0, |slot| slot == slow);
                for slot in 0..64 {
                    let hash = (slot as u64) << 58;
                    let (owner, copies) = (published.owner(hash), published.replicas(hash));
                    let expected = Some(topology.0.replicas_at(slot)).filter(|_| slot != slow);
                    assert_eq!(owner, expected.map(|copies| copies.primary()));
                    assert_eq!(copies, expected);
                }
            }
        }
    }
}
