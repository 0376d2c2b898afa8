use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, remaining};

/// A copy of one entry, as [`Cache::iter`](super::Cache::iter) saw it: enough to
/// store it elsewhere and warm another cache with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// What the weigher said; 1 without one.
    pub weight: u32,
    /// How long it still had to live; `None` for ever.
    pub expires_in: Option<Duration>,
}

/// Iterates over copies of a cache's live entries; made by
/// [`Cache::iter`](super::Cache::iter).
///
/// One shard is copied at a time, so what is seen is exact per shard and may be
/// older for shards seen earlier; no lock is held between items.
pub struct Iter<K, V> {
    core: Arc<Core<K, V>>,
    next_shard: usize,
    copied: std::vec::IntoIter<Snapshot<K, V>>,
}

impl<K, V> Iter<K, V> {
    pub(super) fn new(core: Arc<Core<K, V>>) -> Self {
        Self {
            core,
            next_shard: 0,
            copied: Vec::new().into_iter(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Iterator for Iter<K, V> {
    type Item = Snapshot<K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.copied.next() {
                return Some(entry);
            }
            if self.next_shard == self.core.shard_count() {
                return None;
            }
            self.copied = self.core.copy_shard(self.next_shard).into_iter();
            self.next_shard += 1;
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Core<K, V> {
    /// Copies of the live entries of one shard.
    pub(super) fn copy_shard(&self, shard: usize) -> Vec<Snapshot<K, V>> {
        let shard = self.lock_nth(shard);
        let now = self.clock.now();
        shard
            .table
            .full_slots()
            .filter_map(|slot| {
                let entry = shard.table.entry(slot)?;
                let expires_at = shard.table.expires_at(slot);
                (expires_at > now.as_nanos()).then(|| Snapshot {
                    key: entry.key.clone(),
                    value: entry.value.get().clone(),
                    weight: shard.table.weight(slot),
                    expires_in: remaining(expires_at, now),
                })
            })
            .collect()
    }
}

impl<K, V> std::fmt::Debug for Iter<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
