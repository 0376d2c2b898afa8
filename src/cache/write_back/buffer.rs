//! What has been accepted and is not in the store yet: single-threaded, under
//! its owner's lock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::error::Cause;
use crate::cache::writer::Change;
use crate::hash::TableHasher;
use crate::time::Instant;

/// The changes that wait for the store, one per key and the one that is being
/// written.
///
/// Keys wait in `queue`, by the number of the oldest change that the key still
/// owes to the store, or in `retry` if the store failed. A key with a waiting
/// change is in exactly one of the two.
pub(super) struct Buffer<K, V> {
    slots: HashMap<Arc<K>, Slot<V>, TableHasher>,
    queue: BTreeMap<u64, Arc<K>>,
    retry: BTreeMap<(Instant, u64), Arc<K>>,
    /// What is in the batch that is being written: `entered` and key.
    flying: BTreeMap<u64, Arc<K>>,
    aside: usize,
    /// What left, to be dropped outside of the lock.
    gone: Gone<K, V>,
}

/// Keys and values that are to be dropped outside of the lock.
pub(super) type Gone<K, V> = Vec<(Option<Arc<K>>, Option<Dirty<V>>, Option<Cause>)>;

struct Slot<V> {
    /// The newest accepted change, if it is not the one that flies.
    waiting: Option<Dirty<V>>,
    /// The one that is being written. At most one, so that the store never has
    /// two of a key to choose from.
    flying: Option<Dirty<V>>,
    /// The one that the store refused.
    aside: Option<Box<(Dirty<V>, Cause)>>,
    /// Changes that are on their way through the journal.
    expected: u32,
}

/// An accepted change.
pub(super) struct Dirty<V> {
    pub(super) change: Change<V>,
    /// Its number: changes of a key are numbered in their order.
    pub(super) sequence: u64,
    /// The number of the oldest change that this one stands for.
    entered: u64,
    /// When that one was accepted.
    since: Instant,
    pub(super) attempts: u32,
    /// When it may be tried again, if it failed.
    due: Option<Instant>,
    /// Whether it was in a batch that panicked, and so is tried by itself.
    alone: bool,
}

impl<K: Hash + Eq, V> Buffer<K, V> {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::with_hasher(TableHasher::random()),
            queue: BTreeMap::new(),
            retry: BTreeMap::new(),
            flying: BTreeMap::new(),
            aside: 0,
            gone: Vec::new(),
        }
    }

    /// Keys that have a place here.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Records that the store refused.
    pub(super) fn aside(&self) -> usize {
        self.aside
    }

    /// Records that wait for the store or are being written.
    pub(super) fn dirty(&self) -> usize {
        // A key that flies and waits owes one record more.
        self.queue.len() + self.retry.len() + self.flying.len()
    }

    /// When the oldest record was accepted that the store does not have.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let since = |key: &Arc<K>| {
            let slot = self.slots.get(key)?;
            slot.flying.as_ref().or(slot.waiting.as_ref())
        };
        let first = [
            self.flying.values().next(),
            self.queue.values().next(),
            self.retry
                .values()
                .min_by_key(|key| since(key).map(|d| d.entered)),
        ];
        let first = first.into_iter().flatten().filter_map(since);
        first.map(|dirty| dirty.since).min()
    }

    pub(super) fn knows(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    /// What the store shall have under this key, if that is still to be written.
    pub(super) fn get(&self, key: &K) -> Option<&Change<V>> {
        let slot = self.slots.get(key)?;
        let newest = slot.waiting.as_ref().or(slot.flying.as_ref());
        newest.map(|dirty| &dirty.change)
    }

    /// Makes a place for a change that goes through the journal first.
    pub(super) fn expect(&mut self, key: Arc<K>) {
        self.slots.entry(key).or_insert_with(Slot::new).expected += 1;
    }

    /// The change that was expected does not come.
    pub(super) fn expect_no_more(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.expected = slot.expected.saturating_sub(1);
        }
        self.tidy(key);
    }

    /// Takes in a change that was expected. Gives the numbers of the changes that
    /// nobody needs any more.
    pub(super) fn accept(
        &mut self,
        key: Arc<K>,
        sequence: u64,
        change: Change<V>,
        now: Instant,
    ) -> [Option<u64>; 2] {
        let slot = self.slots.entry(Arc::clone(&key)).or_insert_with(Slot::new);
        slot.expected = slot.expected.saturating_sub(1);
        let mut dirty = Dirty {
            change,
            sequence,
            entered: sequence,
            since: now,
            attempts: 0,
            due: None,
            alone: false,
        };
        let refused = slot.aside.take().map(|aside| {
            let (refused, cause) = *aside;
            self.aside -= 1;
            let sequence = refused.sequence;
            self.gone.push((None, Some(refused), Some(cause)));
            sequence
        });
        let coalesced = slot.waiting.take().map(|old| {
            // It takes the place of the old one.
            (dirty.entered, dirty.since, dirty.due) = (old.entered, old.since, old.due);
            let sequence = old.sequence;
            self.gone.push((None, Some(old), None));
            sequence
        });
        if coalesced.is_none() {
            self.queue.insert(sequence, key);
        } else {
            self.gone.push((Some(key), None, None));
        }
        slot.waiting = Some(dirty);
        [refused, coalesced]
    }

    /// Lets every record that waits for another attempt be tried now.
    pub(super) fn retry_now(&mut self, until: Instant) {
        while let Some((&(due, entered), _)) = self.retry.first_key_value() {
            if due > until {
                return;
            }
            if let Some((_, key)) = self.retry.pop_first() {
                if let Some(waiting) = self.slots.get_mut(&key).and_then(|s| s.waiting.as_mut()) {
                    waiting.due = None;
                }
                self.queue.insert(entered, key);
            }
        }
    }

    /// When the next record may be tried; `None` if there is none.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.queue.is_empty() {
            return Some(Instant::from_nanos(0));
        }
        self.retry.first_key_value().map(|(&(due, _), _)| due)
    }

    /// Whether the store was asked for all that came before this number.
    pub(super) fn has_tried_before(&self, sequence: u64) -> bool {
        let first = |numbers: &BTreeMap<u64, Arc<K>>| numbers.first_key_value().map(|(&n, _)| n);
        [first(&self.queue), first(&self.flying)]
            .into_iter()
            .flatten()
            .all(|entered| entered >= sequence)
    }

    /// How many keys owe the store something from before this number.
    pub(super) fn owed_before(&self, sequence: u64) -> usize {
        let queued = self.queue.range(..sequence).count();
        let flying = self.flying.range(..sequence).count();
        let failed = self.retry.keys().filter(|key| key.1 < sequence).count();
        queued + flying + failed
    }

    /// Takes off the oldest records, up to so many.
    pub(super) fn take_off(&mut self, most: usize) -> Vec<(Arc<K>, Change<V>)>
    where
        V: Clone,
    {
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some((entered, key)) = self.queue.pop_first()
        {
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            let Some(dirty) = slot.waiting.take() else {
                continue;
            };
            if dirty.alone && !batch.is_empty() {
                slot.waiting = Some(dirty);
                self.queue.insert(entered, key);
                break;
            }
            let alone = dirty.alone;
            batch.push((Arc::clone(&key), dirty.change.clone()));
            slot.flying = Some(dirty);
            self.flying.insert(entered, key);
            if alone {
                break;
            }
        }
        batch
    }

    /// The store has the record. Gives its number.
    pub(super) fn confirm(&mut self, key: &K) -> Option<u64> {
        let landed = self.land(key)?;
        let sequence = landed.sequence;
        self.gone.push((None, Some(landed), None));
        self.tidy(key);
        Some(sequence)
    }

    /// The store failed; the record waits for another attempt. Gives its number
    /// instead if a newer one came meanwhile, which will be tried in its place.
    pub(super) fn fail(
        &mut self,
        key: &Arc<K>,
        alone: bool,
        due: impl FnOnce(u32, u64) -> Instant,
    ) -> Option<u64> {
        let mut dirty = self.land(key)?;
        let slot = self.slots.get_mut(key)?;
        if slot.waiting.is_some() {
            let sequence = dirty.sequence;
            self.gone.push((None, Some(dirty), None));
            return Some(sequence);
        }
        dirty.attempts = dirty.attempts.saturating_add(1);
        dirty.alone = alone;
        let due = due(dirty.attempts, dirty.sequence);
        dirty.due = Some(due);
        self.retry.insert((due, dirty.entered), Arc::clone(key));
        slot.waiting = Some(dirty);
        None
    }

    /// The store refuses the record, which is set aside. Gives its number
    /// instead if a newer one came meanwhile.
    pub(super) fn refuse(&mut self, key: &K, cause: Cause) -> Option<u64> {
        let dirty = self.land(key)?;
        let slot = self.slots.get_mut(key)?;
        if slot.waiting.is_some() {
            let sequence = dirty.sequence;
            self.gone.push((None, Some(dirty), Some(cause)));
            return Some(sequence);
        }
        slot.aside = Some(Box::new((dirty, cause)));
        self.aside += 1;
        None
    }

    /// Somebody else takes care of a refused record, if it is still this one.
    /// Gives its number.
    pub(super) fn forget(&mut self, key: &K, sequence: u64) -> Option<u64> {
        let slot = self.slots.get_mut(key)?;
        let (refused, cause) = *slot.aside.take_if(|aside| aside.0.sequence == sequence)?;
        self.aside -= 1;
        self.gone.push((None, Some(refused), Some(cause)));
        self.tidy(key);
        Some(sequence)
    }

    /// A refused record: its number, the change and the reason.
    pub(super) fn refused_record(&self, key: &K) -> Option<(u64, Change<V>, Cause)>
    where
        V: Clone,
    {
        let (dirty, cause) = &**self.slots.get(key)?.aside.as_ref()?;
        Some((dirty.sequence, dirty.change.clone(), Arc::clone(cause)))
    }

    /// Takes out all refused records: numbers, keys, changes and reasons.
    pub(super) fn take_refused(&mut self) -> Vec<(Arc<K>, Dirty<V>, Cause)> {
        let mut refused = Vec::with_capacity(self.aside);
        for (key, slot) in &mut self.slots {
            if let Some(aside) = slot.aside.take() {
                let (dirty, cause) = *aside;
                refused.push((Arc::clone(key), dirty, cause));
            }
        }
        self.aside = 0;
        for (key, ..) in &refused {
            self.tidy(key);
        }
        refused.sort_by_key(|(_, dirty, _)| dirty.sequence);
        refused
    }

    /// Copies of what is not in the store, oldest first.
    pub(super) fn left(&self) -> Vec<(Arc<K>, Change<V>)>
    where
        V: Clone,
    {
        let mut left: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(key, slot)| {
                let aside = slot.aside.as_ref().map(|aside| &aside.0);
                let newest = slot.waiting.as_ref().or(slot.flying.as_ref()).or(aside)?;
                Some((newest.sequence, Arc::clone(key), newest.change.clone()))
            })
            .collect();
        left.sort_by_key(|(sequence, ..)| *sequence);
        left.into_iter()
            .map(|(_, key, change)| (key, change))
            .collect()
    }

    /// What is to be dropped once the lock is released.
    pub(super) fn take_gone(&mut self) -> Gone<K, V> {
        std::mem::take(&mut self.gone)
    }

    fn land(&mut self, key: &K) -> Option<Dirty<V>> {
        let landed = self.slots.get_mut(key)?.flying.take()?;
        let flown = self.flying.remove(&landed.entered);
        self.gone.push((flown, None, None));
        Some(landed)
    }

    /// Removes a slot in which nothing is left.
    fn tidy(&mut self, key: &K) {
        let is_empty = self.slots.get(key).is_some_and(Slot::is_empty);
        if is_empty && let Some((key, _)) = self.slots.remove_entry(key) {
            self.gone.push((Some(key), None, None));
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT_CAPACITY {
            self.slots.shrink_to_fit();
        }
    }
}

impl<V> Slot<V> {
    const fn new() -> Self {
        Self {
            waiting: None,
            flying: None,
            aside: None,
            expected: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_none()
            && self.flying.is_none()
            && self.aside.is_none()
            && self.expected == 0
    }
}

/// Slots up to which an empty buffer keeps its memory.
const KEPT_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_costs_what_the_docs_say() {
        assert!(size_of::<Slot<u64>>() <= 2 * (size_of::<u64>() + 64) + 16);
        assert!(size_of::<Slot<[u8; 1000]>>() <= 2 * (1000 + 64) + 16);
    }
}
