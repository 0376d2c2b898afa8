//! Where a shard keeps its entries: an open-addressing table of buckets.
//!
//! A bucket is 32 slots and two cache lines of metadata: per slot a one-byte tag
//! of the hash, compared 16 at a time, and a mark and a stamp that belong to the
//! eviction policy. A look-up reads those lines, which processors fetch
//! together, and the slot of the entry: two places in memory, which is what
//! counts once the cache is larger than the processor's. A key lives in its home bucket or, if that was full, in the
//! next bucket with room; every bucket counts the entries that passed it by,
//! so that a search stops at the first bucket that none has passed, and no
//! tombstones are left behind.
//!
//! The table knows nothing of locks, capacity or policies. Attributes that few
//! caches use (deadlines, weights) are columns beside the slots, allocated
//! when they are first needed.

use std::borrow::Borrow;
use std::sync::Arc;

pub(super) use super::tags::WAYS;
use super::tags::matches;

/// How full the table gets before it grows, in slots of a bucket. Searches
/// stay short: with 28 of 32 about one bucket in five has been passed by.
const FULL: usize = 28;

/// The deadline of an entry that has none.
pub(super) const NEVER: u64 = u64::MAX;

/// One shard's entries. A slot is named by its index.
pub(super) struct Table<K, V> {
    pub(super) buckets: Box<[Bucket]>,
    /// Per bucket: entries that live further on because it was full when they
    /// came. Stays at 255 once it got there, which only lengthens searches.
    passed: Box<[u8]>,
    slots: Box<[Option<Entry<K, V>>]>,
    len: usize,
    /// Nanoseconds on the cache's clock at which the entry's time to live ends.
    deadlines: Option<Box<[u64]>>,
    /// The same for its time to idle.
    idles: Option<Box<[u64]>>,
    weights: Option<Box<[u32]>>,
    /// Whether there is any of these columns.
    has_columns: bool,
}

/// The metadata of 32 slots, on two cache lines of its own.
#[derive(Clone, Copy)]
#[repr(align(128))]
pub(super) struct Bucket {
    /// Zero: the slot is empty. Otherwise eight bits of the key's hash.
    tags: [u8; WAYS],
    /// These belong to the eviction policy and move with the entry.
    pub(super) marks: [u8; WAYS],
    pub(super) stamps: [u16; WAYS],
}

pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: Stored<V>,
}

/// A value in the table, or, once somebody asked for it by reference, in a
/// shared allocation of its own. The discriminant costs nothing: `Option` of
/// the entry lives in it too.
pub(super) enum Stored<V> {
    Inline(V),
    Shared(Arc<V>),
}

impl<V> Stored<V> {
    #[inline]
    pub(super) fn get(&self) -> &V {
        match self {
            Self::Inline(value) => value,
            Self::Shared(value) => shared(value),
        }
    }
}

/// Out of line, so that the common case is a branch and not a choice of
/// pointers that every read would wait for.
#[cold]
fn shared<V>(value: &Arc<V>) -> &V {
    value
}

impl<V: Clone> Stored<V> {
    /// The value, to be changed in its place; whoever shares it keeps the old,
    /// of which our share comes out to be dropped after the lock.
    pub(super) fn get_mut(&mut self) -> (&mut V, Option<Arc<V>>) {
        let mut shared = None;
        if let Self::Shared(value) = self {
            let own = Self::Inline(V::clone(value));
            if let Self::Shared(value) = std::mem::replace(self, own) {
                shared = Some(value);
            }
        }
        match self {
            Self::Inline(value) => (value, shared),
            Self::Shared(_) => unreachable!("it was made its own above"),
        }
    }

    pub(super) fn into_value(self) -> V {
        match self {
            Self::Inline(value) => value,
            Self::Shared(value) => Arc::unwrap_or_clone(value),
        }
    }
}

/// What goes into a slot besides key and value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) weight: u32,
    pub(super) deadline: u64,
    pub(super) idle: u64,
}

impl Attributes {
    /// The attributes of an entry that weighs 1 and lives for ever.
    pub(super) const PLAIN: Self = Self {
        weight: 1,
        deadline: NEVER,
        idle: NEVER,
    };
}

impl<K, V> Table<K, V> {
    pub(super) fn new() -> Self {
        Self {
            buckets: Box::default(),
            passed: Box::default(),
            slots: Box::default(),
            len: 0,
            deadlines: None,
            idles: None,
            weights: None,
            has_columns: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of slots, full or empty.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The bucket that a key with this hash belongs to. The table has buckets.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        // The middle bits: the low ones are the tag, the high ones the shard.
        let spread = (hash >> 8) & 0xffff_ffff;
        ((spread * self.buckets.len() as u64) >> 32) as usize
    }

    /// The slot that holds this key.
    #[inline]
    pub(super) fn find<Q>(&self, hash: u64, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let tag = tag(hash);
        let mut bucket = self.home(hash);
        for _ in 0..self.buckets.len() {
            let mut candidates = matches(&self.buckets[bucket].tags, tag);
            while candidates != 0 {
                let slot = bucket * WAYS + candidates.trailing_zeros() as usize;
                if let Some(entry) = &self.slots[slot]
                    && entry.key.borrow() == key
                {
                    return Some(slot);
                }
                candidates &= candidates - 1;
            }
            if self.passed[bucket] == 0 {
                return None;
            }
            bucket = self.after(bucket);
        }
        None
    }

    /// The bucket after this one, round the end.
    #[inline]
    pub(super) fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() {
            0
        } else {
            bucket + 1
        }
    }

    /// Whether one more entry fits without growing.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.len < room(self.buckets.len())
    }

    /// Puts an entry into the first free slot from its home on. There must be
    /// room, and the key must not be in the table.
    #[inline]
    pub(super) fn place(&mut self, hash: u64, entry: Entry<K, V>, with: Attributes) -> usize {
        debug_assert!(self.len < self.slots.len());
        let mut bucket = self.home(hash);
        let slot = loop {
            let free = matches(&self.buckets[bucket].tags, 0);
            if free != 0 {
                break bucket * WAYS + free.trailing_zeros() as usize;
            }
            self.passed[bucket] = self.passed[bucket].saturating_add(1);
            bucket = self.after(bucket);
        };
        let header = &mut self.buckets[bucket];
        header.tags[slot % WAYS] = tag(hash);
        header.marks[slot % WAYS] = 0;
        self.slots[slot] = Some(entry);
        self.len += 1;
        self.set_attributes(slot, with);
        slot
    }

    /// Takes an entry out of its slot; `home` is its key's.
    #[inline]
    pub(super) fn take(&mut self, home: usize, slot: usize) -> Option<Entry<K, V>> {
        let entry = self.slots[slot].take()?;
        let lives_in = slot / WAYS;
        let mut bucket = home;
        while bucket != lives_in {
            if self.passed[bucket] != u8::MAX {
                self.passed[bucket] -= 1;
            }
            bucket = self.after(bucket);
        }
        self.buckets[lives_in].tags[slot % WAYS] = 0;
        self.len -= 1;
        Some(entry)
    }

    #[inline]
    pub(super) fn entry(&self, slot: usize) -> Option<&Entry<K, V>> {
        self.slots.get(slot)?.as_ref()
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, slot: usize) -> Option<&mut Entry<K, V>> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// A slot as it is. Whoever empties it must fill it again.
    #[inline]
    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Option<Entry<K, V>> {
        &mut self.slots[slot]
    }

    /// Every entry, in no particular order.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry<K, V>> {
        self.slots.into_iter().flatten()
    }

    /// The full slots, in no particular order.
    pub(super) fn full_slots(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.slots.len()).filter(|&slot| self.slots[slot].is_some())
    }

    /// Makes the table as large as `buckets` and says where every slot went:
    /// element `old` of the answer is the new slot, or `u32::MAX` for an empty
    /// one. Marks and
    /// stamps move along.
    pub(super) fn rebuild(&mut self, buckets: usize, hash_of: impl Fn(&K) -> u64) -> Vec<u32> {
        debug_assert!(self.len <= buckets * WAYS);
        // User code (`Hash`) runs before anything is moved.
        let hashes: Vec<u64> = self
            .slots
            .iter()
            .map(|slot| slot.as_ref().map_or(0, |entry| hash_of(&entry.key)))
            .collect();
        let mut old = std::mem::replace(
            self,
            Self {
                buckets: vec![Bucket::EMPTY; buckets].into(),
                passed: vec![0; buckets].into(),
                slots: empty_slots(buckets * WAYS),
                len: 0,
                deadlines: None,
                idles: None,
                weights: None,
                has_columns: false,
            },
        );
        let mut moved = vec![u32::MAX; old.slots.len()];
        for (slot, hash) in hashes.into_iter().enumerate() {
            let with = old.attributes(slot);
            if let Some(entry) = old.slots[slot].take() {
                let new = self.place(hash, entry, with);
                let (from, to) = (&old.buckets[slot / WAYS], &mut self.buckets[new / WAYS]);
                to.marks[new % WAYS] = from.marks[slot % WAYS];
                to.stamps[new % WAYS] = from.stamps[slot % WAYS];
                moved[slot] = new as u32;
            }
        }
        moved
    }

    // The columns.

    #[inline]
    pub(super) fn weight(&self, slot: usize) -> u32 {
        self.weights.as_ref().map_or(1, |weights| weights[slot])
    }

    pub(super) fn attributes(&self, slot: usize) -> Attributes {
        Attributes {
            weight: self.weight(slot),
            deadline: self.deadlines.as_ref().map_or(NEVER, |column| column[slot]),
            idle: self.idles.as_ref().map_or(NEVER, |column| column[slot]),
        }
    }

    #[inline]
    pub(super) fn set_attributes(&mut self, slot: usize, with: Attributes) {
        if self.has_columns || with != Attributes::PLAIN {
            self.fill_columns(slot, with);
        }
    }

    fn fill_columns(&mut self, slot: usize, with: Attributes) {
        self.has_columns = true;
        let slots = self.slots.len();
        set(&mut self.deadlines, slots, slot, with.deadline, NEVER);
        set(&mut self.idles, slots, slot, with.idle, NEVER);
        set(&mut self.weights, slots, slot, with.weight, 1);
    }

    pub(super) fn set_deadline(&mut self, slot: usize, deadline: u64) {
        self.has_columns = true;
        set(&mut self.deadlines, self.slots.len(), slot, deadline, NEVER);
    }

    pub(super) fn set_idle(&mut self, slot: usize, idle: u64) {
        self.has_columns = true;
        set(&mut self.idles, self.slots.len(), slot, idle, NEVER);
    }

    /// Whether any entry may have a deadline.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.has_columns && (self.deadlines.is_some() || self.idles.is_some())
    }

    /// The moment at which this entry expires; `NEVER` if it does not.
    #[inline]
    pub(super) fn expires_at(&self, slot: usize) -> u64 {
        let with = |column: &Option<Box<[u64]>>| column.as_ref().map_or(NEVER, |c| c[slot]);
        with(&self.deadlines).min(with(&self.idles))
    }
}

/// Moves an entry's value into a shared allocation, if it is not in one yet.
pub(super) fn share<K, V>(slot: &mut Option<Entry<K, V>>) -> Option<Arc<V>> {
    let Entry { key, value } = slot.take()?;
    let shared = match value {
        Stored::Inline(value) => Arc::new(value),
        Stored::Shared(shared) => shared,
    };
    *slot = Some(Entry {
        key,
        value: Stored::Shared(Arc::clone(&shared)),
    });
    Some(shared)
}

/// How many entries a table of so many buckets takes before it grows.
pub(super) fn room(buckets: usize) -> usize {
    // A single bucket has nowhere to spill to and searches no further, so it
    // may be filled to the brim.
    if buckets <= 1 {
        buckets * WAYS
    } else {
        buckets * FULL
    }
}

/// The buckets that so many entries need.
pub(super) fn buckets_for(entries: usize) -> usize {
    if entries <= WAYS {
        usize::from(entries > 0)
    } else {
        entries.div_ceil(FULL)
    }
}

impl Bucket {
    const EMPTY: Self = Self {
        tags: [0; WAYS],
        marks: [0; WAYS],
        stamps: [0; WAYS],
    };

    /// All bits set for every slot that is empty.
    #[inline]
    pub(super) fn empties(&self) -> [u8; WAYS] {
        let mut empties = [0; WAYS];
        for (empty, &tag) in empties.iter_mut().zip(&self.tags) {
            *empty = if tag == 0 { u8::MAX } else { 0 };
        }
        empties
    }
}

fn empty_slots<T>(count: usize) -> Box<[Option<T>]> {
    std::iter::repeat_with(|| None).take(count).collect()
}

/// Writes into a column, which is allocated at the first value that is not its
/// default.
#[inline]
fn set<T: Copy + PartialEq>(
    column: &mut Option<Box<[T]>>,
    slots: usize,
    slot: usize,
    value: T,
    default: T,
) {
    match column {
        Some(column) => column[slot] = value,
        None if value != default => {
            let mut fresh = vec![default; slots].into_boxed_slice();
            fresh[slot] = value;
            *column = Some(fresh);
        }
        None => {}
    }
}

/// Eight bits of the hash, never zero.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Crowds the keys into few homes and few tags.
    fn hash(key: u16) -> u64 {
        crate::rng::mix(u64::from(key)) & 0x0000_00e0_0000_0003
    }

    proptest! {
        #[test]
        fn is_a_map(ops in prop::collection::vec((0..3u8, 0..200u16, any::<u16>()), 1..600)) {
            let mut table: Table<u16, u16> = Table::new();
            let mut model = HashMap::new();
            for (op, key, value) in ops {
                let slot = table.find(hash(key), &key);
                prop_assert_eq!(
                    slot.and_then(|slot| table.entry(slot)).map(|entry| *entry.value.get()),
                    model.get(&key).copied()
                );
                match (op, slot) {
                    (0, Some(slot)) => {
                        prop_assert!(table.take(table.home(hash(key)), slot).is_some());
                        model.remove(&key);
                    }
                    (0 | 1, _) => {}
                    (_, Some(slot)) => {
                        table.entry_mut(slot).unwrap().value = Stored::Inline(value);
                        model.insert(key, value);
                    }
                    (_, None) => {
                        if !table.has_room() {
                            table.rebuild(buckets_for(table.len() + 1), |&k| hash(k));
                        }
                        let entry = Entry { key, value: Stored::Inline(value) };
                        table.place(hash(key), entry, Attributes::PLAIN);
                        model.insert(key, value);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.full_slots().count(), model.len());
            }
        }
    }

    #[test]
    fn an_entry_costs_no_more_than_key_value_and_a_word() {
        assert_eq!(size_of::<Option<Entry<u64, u64>>>(), 24);
        assert_eq!(size_of::<Bucket>(), 128);
    }

    #[test]
    fn empty_slots_are_matched_by_no_hash() {
        assert!((0..=255u64).all(|hash| tag(hash) != 0));
        let mut tags = [0; WAYS];
        tags[7] = tag(5);
        tags[31] = tag(5);
        assert_eq!(matches(&tags, tag(5)), 1 << 7 | 1 << 31);
    }
}
