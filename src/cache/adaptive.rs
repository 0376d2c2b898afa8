//! placeholder: second-chance by random window
use super::table::{Table, WAYS};

pub(super) struct Adaptive {
    stamps: Vec<[u16; WAYS]>,
    tick: u16,
}
impl Adaptive {
    pub(super) fn new() -> Self {
        Self {
            stamps: Vec::new(),
            tick: 0,
        }
    }
    pub(super) fn inserted<K, V>(&mut self, table: &mut Table<K, V>, _hash: u64, slot: usize) {
        self.tick = self.tick.wrapping_add(1);
        self.stamps[slot / WAYS][slot % WAYS] = self.tick;
        table.buckets[slot / WAYS].marks[slot % WAYS] = 0;
    }
    #[inline]
    pub(super) fn used<K, V>(&mut self, table: &mut Table<K, V>, slot: usize) {
        let m = &mut table.buckets[slot / WAYS].marks[slot % WAYS];
        *m = (*m + 1).min(3);
        self.stamps[slot / WAYS][slot % WAYS] = self.tick;
    }
    pub(super) fn evicted<K, V>(&mut self, _table: &Table<K, V>, _hash: u64, _slot: usize) {}
    pub(super) fn victim<K, V>(&mut self, table: &mut Table<K, V>, home: usize) -> Option<usize> {
        let mut b = home;
        loop {
            let taken = table.taken(b);
            if taken != 0 {
                let st = &self.stamps[b];
                let mut best = (0u16, usize::MAX);
                for i in 0..WAYS {
                    let age = self.tick.wrapping_sub(st[i]);
                    if taken >> i & 1 == 1 && (age >= best.0 || best.1 == usize::MAX) {
                        best = (age, i);
                    }
                }
                return Some(b * WAYS + best.1);
            }
            b = table.after(b);
            if b == home {
                return None;
            }
        }
    }
    pub(super) fn follow<K, V>(&mut self, moved: &[u32], table: &Table<K, V>) {
        let mut new = vec![[0; WAYS]; table.buckets.len()];
        for (old, &slot) in moved.iter().enumerate() {
            if slot != u32::MAX {
                new[slot as usize / WAYS][slot as usize % WAYS] =
                    self.stamps[old / WAYS][old % WAYS];
            }
        }
        self.stamps = new;
    }
}
