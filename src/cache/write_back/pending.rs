use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use super::core::Core;
use crate::cache::writer::Change;
use crate::sync::Mutex;

/// Shows a loader what a write-back has accepted and the store does not have yet.
///
/// A record that was evicted from the cache before it was flushed is in the
/// write-back's buffer and nowhere else; a loader that asks the store brings the
/// value from before. So it asks here first. It is made before the write-back, and
/// before the layer that owns the loader.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::{Pending, WriteBack};
/// use tenfold::cache::writer::{Change, MemoryStore};
///
/// let (cache, store) = (Cache::new(100), MemoryStore::new());
/// let pending = Pending::new();
/// let visits = WriteBack::builder(cache.clone(), store.clone())
///     .pending(&pending)
///     .build()?;
/// let load = |key: &'static str| match pending.get(&key) {
///     Some(change) => change.into_value(),
///     None => store.get(&key),
/// };
/// visits.put("home", 1)?;
/// cache.invalidate("home");
/// assert_eq!(cache.optionally_get_with("home", || load("home"))?, Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It must be asked *within* the load. A look before the load begins comes too
/// early: a change that is accepted between the two would be overlooked.
pub struct Pending<K, V>(Arc<Mutex<Weak<Core<K, V>>>>);

impl<K, V> Pending<K, V> {
    /// One that shows nothing until a write-back is built with it.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Weak::new())))
    }

    /// Gives it to a write-back; not if it has one that still lives.
    pub(super) fn show(&self, core: &Arc<Core<K, V>>) -> bool {
        let mut shown = self.0.lock();
        if shown.strong_count() > 0 {
            return false;
        }
        *shown = Arc::downgrade(core);
        true
    }
}

impl<K: Hash + Eq, V: Clone> Pending<K, V> {
    /// What the store shall have under this key, if that is still to be written.
    /// Two locks, one after the other.
    pub fn get(&self, key: &K) -> Option<Change<V>> {
        let core = self.0.lock().upgrade();
        core?.get(key)
    }
}

impl<K, V> Default for Pending<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for Pending<K, V> {
    /// Another handle to the same.
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for Pending<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(..)")
    }
}
