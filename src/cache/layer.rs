//! What strategies for writing keep in step with the store.

use std::hash::Hash;
use std::sync::Arc;

use super::Cache;

/// The part of a cache that a strategy for writing needs: what it holds, and
/// how to change that.
///
/// A [`Cache`] is one, and so are the strategies for reading that lie over it, so
/// that write-through and write-back keep any of them in step.
///
/// An implementation promises of each call, once it has returned, that no value
/// whose load began before is kept or given to a caller who comes later: an
/// insertion and an invalidation beat a load. It must not wait for the store.
///
/// ```
/// use tenfold::cache::{Cache, Layer};
///
/// fn rename(names: &dyn Layer<u32, String>) {
///     names.insert(1, "Ada".to_owned());
/// }
///
/// let names = Cache::new(100);
/// rename(&names);
/// assert_eq!(Layer::get(&names, &1).as_deref(), Some("Ada"));
/// names.invalidate(&1);
/// assert_eq!(Layer::get(&names, &1), None);
/// ```
pub trait Layer<K, V>: Send + Sync {
    /// Reads what is held and may be used now. Never loads.
    fn get(&self, key: &K) -> Option<V>;

    /// Holds this value from now on, if there is room for it. An older one goes
    /// in any case.
    fn insert(&self, key: K, value: V);

    /// Holds nothing under this key from now on.
    fn invalidate(&self, key: &K);
}

impl<K, V> Layer<K, V> for Cache<K, V>
where
    K: Hash + Eq + Send + Sync,
    V: Clone + Send + Sync,
{
    fn get(&self, key: &K) -> Option<V> {
        Cache::get(self, key)
    }

    fn insert(&self, key: K, value: V) {
        Cache::insert(self, key, value);
    }

    fn invalidate(&self, key: &K) {
        Cache::invalidate(self, key);
    }
}

impl<K, V, L: Layer<K, V> + ?Sized> Layer<K, V> for Arc<L> {
    fn get(&self, key: &K) -> Option<V> {
        (**self).get(key)
    }

    fn insert(&self, key: K, value: V) {
        (**self).insert(key, value);
    }

    fn invalidate(&self, key: &K) {
        (**self).invalidate(key);
    }
}
