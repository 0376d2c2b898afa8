//! When messages are due: to the millisecond those of the next second, ever more
//! coarsely those that are farther off. A byte or two for each.

use std::collections::BTreeMap;

use super::varint::{LONGEST, push_number, take_number, unzigzag, zigzag};

/// Reminders of messages, by when they are due. It is only a reminder: whether and
/// until when a message waits is asked when its time comes. So none has to be taken out.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    /// How far it was turned.
    now: u64,
    /// By what is left of the time without the last bits: of those due within the
    /// slot of the next row that it was turned to, of all in the last one.
    rows: [BTreeMap<u64, Slot>; ROWS],
}

/// Reminders for one while.
#[derive(Debug, Default)]
struct Slot {
    /// The soonest of them.
    first: u64,
    /// Numbers, each as the difference to the one before.
    numbers: Vec<u8>,
    last: u64,
}

const ROWS: usize = 4;
/// A slot of a row is a millisecond long, a second, a quarter of an hour, twelve days.
const BITS: u32 = 10;

impl Wheel {
    pub(super) fn insert(&mut self, id: u64, due: u64) {
        let row = self.row_of(due);
        let slot = self.rows[row].entry(slot_of(row, due)).or_default();
        slot.first = if slot.numbers.is_empty() {
            due
        } else {
            due.min(slot.first)
        };
        slot.push(id);
    }

    /// The lowest row in which its slot is one of those that lie ahead.
    fn row_of(&self, due: u64) -> usize {
        let shares_slot = |row: &usize| slot_of(row + 1, due) == slot_of(row + 1, self.now);
        (0..ROWS - 1).find(shares_slot).unwrap_or(ROWS - 1)
    }

    /// Goes on to this time. The messages that are due, if `due_of` says so: some
    /// perhaps more than once.
    pub(super) fn turn(&mut self, now: u64, due_of: impl Fn(u64) -> Option<u64>) -> Vec<u64> {
        self.now = self.now.max(now);
        let mut ready = Vec::new();
        for row in (0..ROWS).rev() {
            let reached = slot_of(row, self.now);
            while let Some(entry) = self.rows[row].first_entry()
                && *entry.key() <= reached
            {
                let (key, slot) = entry.remove_entry();
                for id in slot.ids() {
                    match due_of(id) {
                        Some(due) if due <= self.now => ready.push(id),
                        // Into a row below; what waits until another time has a
                        // reminder there.
                        Some(due) if slot_of(row, due) == key => self.insert(id, due),
                        _ => {}
                    }
                }
            }
        }
        ready
    }

    /// When to turn it next: not later than when the next message is due.
    pub(super) fn next(&self) -> Option<u64> {
        let firsts = self.rows.iter().filter_map(|row| row.first_key_value());
        firsts.map(|(_, slot)| slot.first).min()
    }

    /// Bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        let slots = self.rows.iter().flat_map(BTreeMap::values);
        slots.map(|slot| 96 + slot.numbers.capacity()).sum()
    }
}

fn slot_of(row: usize, due: u64) -> u64 {
    due >> (BITS * row as u32)
}

impl Slot {
    fn push(&mut self, id: u64) {
        if self.numbers.len() + LONGEST > self.numbers.capacity() {
            self.numbers.reserve_exact(LONGEST + self.numbers.len() / 4);
        }
        push_number(&mut self.numbers, zigzag(id.wrapping_sub(self.last)));
        self.last = id;
    }

    fn ids(&self) -> impl Iterator<Item = u64> {
        let (mut bytes, mut last) = (&self.numbers[..], 0_u64);
        std::iter::from_fn(move || {
            last = last.wrapping_add(unzigzag(take_number(&mut bytes)?));
            Some(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Messages that wait, change their minds, and stop waiting.
    #[test]
    fn each_is_ready_when_it_is_due_and_next_says_so_before() {
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let (mut wheel, mut waiting) = (Wheel::default(), BTreeMap::new());
            let mut now = if seed % 2 == 0 { 0 } else { 1_700_000_000_000 };
            for step in 0..3000 {
                let far = [100, 5000, 4_000_000, 1 << 33, 1 << 45][rng.below(5) as usize];
                if step < 2000 && rng.below(3) > 0 {
                    let (id, due) = (rng.below(500), (now + rng.below(far)).max(1));
                    waiting.insert(id, due);
                    wheel.insert(id, due);
                } else if rng.below(3) == 0 {
                    waiting.remove(&rng.below(500));
                } else {
                    let soonest = waiting.values().min().copied();
                    if let Some(soonest) = soonest {
                        assert!(wheel.next().is_some_and(|next| next <= soonest));
                    }
                    now = match soonest {
                        Some(soonest) if rng.below(2) == 0 => soonest.max(now),
                        _ => now + rng.below(far),
                    };
                    let mut ready = wheel.turn(now, |id| waiting.get(&id).copied());
                    ready.sort_unstable();
                    ready.dedup();
                    let due = waiting.iter().filter(|(_, due)| **due <= now);
                    assert!(due.map(|(id, _)| *id).eq(ready), "seed {seed}");
                    waiting.retain(|_, due| *due > now);
                    assert!(wheel.next().is_none_or(|next| next > now), "it would spin");
                }
            }
        }
    }
}
