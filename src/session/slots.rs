//! Where sessions lie: slots that are numbered, never moved, and used again.

use super::entry::Entry;

/// The slots of a shard, a chunk of them at a time, so that one more never moves the others.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// All but the last are full of slots.
    chunks: Vec<Vec<Option<Entry>>>,
    /// Of each slot, before which second nobody has to look whether its session is over. Sixteen
    /// slots can be passed over for one line of memory.
    ///
    /// An empty slot has the link to the one that was emptied before it.
    due: Vec<u32>,
    /// The slot that was emptied last, behind one.
    free: u32,
}

impl Slots {
    /// How many there are, empty ones included.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        let (chunk, place) = split(slot);
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        let (chunk, place) = split(slot);
        self.chunks.get_mut(chunk)?.get_mut(place)?.as_mut()
    }

    /// Puts a session into a slot, which is not over before it is due.
    pub(super) fn put(&mut self, entry: Entry, due: u32) -> u32 {
        if let Some(slot) = self.free.checked_sub(1) {
            let (chunk, place) = split(slot);
            // Nobody is there. To look, as an assignment would, is to wait for that memory.
            std::mem::forget(self.chunks[chunk][place].replace(entry));
            let before = std::mem::replace(&mut self.due[slot as usize], due);
            self.free = link(before);
            return slot;
        }
        let slot = self.len();
        if slot.is_multiple_of(CHUNK) {
            // The first grows with what is put into it: a store may have few sessions.
            let chunk = if slot == 0 { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(chunk));
        }
        if let Some(last) = self.chunks.last_mut() {
            last.push(Some(entry));
            self.due.push(due);
        }
        slot as u32
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<Entry> {
        let (chunk, place) = split(slot);
        let entry = self.chunks.get_mut(chunk)?.get_mut(place)?.take();
        if entry.is_some() {
            self.due[slot as usize] = link(self.free);
            self.free = slot + 1;
        }
        entry
    }

    /// The session of a slot, if it may be over.
    pub(super) fn if_due(&self, slot: u32, now: u32) -> Option<&Entry> {
        let due = *self.due.get(slot as usize)?;
        if due <= now { self.get(slot) } else { None }
    }

    /// It is not over before this second.
    pub(super) fn put_off(&mut self, slot: u32, due: u32) {
        if let Some(before) = self.due.get_mut(slot as usize) {
            *before = due;
        }
    }

    /// The sessions from this slot on.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = Option<&Entry>> {
        let (chunk, place) = (slot / CHUNK, slot % CHUNK);
        let chunks = self.chunks.iter().skip(chunk);
        let slots = chunks.enumerate().flat_map(move |(nth, chunk)| {
            let from = if nth == 0 { place.min(chunk.len()) } else { 0 };
            &chunk[from..]
        });
        slots.map(Option::as_ref)
    }
}

/// A slot behind one, or none at all (0), as a moment that is far in the future; and back again.
fn link(free: u32) -> u32 {
    u32::MAX - free
}

fn split(slot: u32) -> (usize, usize) {
    (slot as usize / CHUNK, slot as usize % CHUNK)
}

/// 48 KiB: few enough that the table of them stays in the cache.
const CHUNK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_and_used_again() {
        let entry = |key: u128| Entry::new(key, Vec::new(), 1, 0);
        let mut slots = Slots::default();
        let many = 3 * CHUNK as u32 + 5;
        for key in 0..many {
            assert_eq!(slots.put(entry(u128::from(key)), 10), key);
            assert_eq!(slots.len(), key as usize + 1);
        }
        for slot in [CHUNK as u32, many - 1] {
            assert_eq!(slots.take(slot).map(|entry| entry.key), Some(slot.into()));
            assert!(slots.take(slot).is_none() && slots.get(slot).is_none());
        }
        assert!(slots.get(many).is_none() && slots.get_mut(many).is_none());
        let keys = |from| slots.from(from).map(|entry| entry.map(|entry| entry.key));
        for from in 0..many {
            let expected = (from..many).map(|slot| slots.get(slot).map(|_| slot.into()));
            assert!(keys(from as usize).eq(expected), "{from}");
        }
        assert_eq!(keys(1000).count(), 0);
        assert_eq!(slots.put(entry(7), 20), many - 1, "the last that was freed");
        assert_eq!(slots.put(entry(8), 0), CHUNK as u32);
        assert_eq!(slots.put(entry(9), 0), many);
        let due = |slot, now| slots.if_due(slot, now).is_some();
        assert!(!due(0, 9) && due(0, 10) && !due(many - 1, 19) && due(many - 1, 20));
        assert!(due(many, 0) && !due(many + 1, 0));
        slots.put_off(0, 30);
        slots.take(many);
        assert!(slots.if_due(0, 29).is_none() && slots.if_due(0, 30).is_some());
        assert!(slots.if_due(many, u32::MAX).is_none(), "nobody is there");
    }
}
