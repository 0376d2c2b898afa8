use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Tagged, TaggedValue};
use crate::cache::LoadError;

/// A part of a cache with keys of its own, which is invalidated as a whole in
/// constant time; made by [`Tagged::namespace`].
///
/// All namespaces share the bounds of the cache, so a busy one gets the room
/// that a quiet one leaves.
///
/// ```
/// use tenfold::cache::tagged::{Namespaced, Tagged};
///
/// let cache: Tagged<Namespaced<u32>, &str> = Tagged::new(1000);
/// let (users, orders) = (cache.namespace("users"), cache.namespace("orders"));
/// users.insert(7, "Ada");
/// orders.insert(7, "a lamp");
/// assert_eq!(users.get(&7), Some("Ada"));
/// users.invalidate_all();
/// assert_eq!(users.get(&7), None);
/// assert_eq!(orders.get(&7), Some("a lamp"));
/// ```
pub struct Namespace<K, V> {
    cache: Tagged<Namespaced<K>, V>,
    name: Arc<str>,
    tag: u64,
}

/// A key and the namespace it belongs to: two words more than the key, and no
/// allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Namespaced<K> {
    namespace: Arc<str>,
    key: K,
}

impl<K: Hash + Eq, V: Clone> Tagged<Namespaced<K>, V> {
    /// The namespace of this name; it need not be made before.
    pub fn namespace(&self, name: &str) -> Namespace<K, V> {
        Namespace {
            tag: self.tags().hash_of_namespace(name),
            name: name.into(),
            cache: self.clone(),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Namespace<K, V> {
    /// Reads a value, as [`Tagged::get`].
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.cache.get::<dyn Place<Q>>(&self.place(key))
    }

    /// Stores a value without tags of its own, as [`Tagged::insert`].
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.insert_tagged(key, value, NO_TAGS)
    }

    /// Stores a value with tags, as [`Tagged::insert_tagged`]. Tags reach across
    /// namespaces.
    pub fn insert_tagged<T>(&self, key: K, value: V, tags: T) -> Option<V>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        let cache = &self.cache;
        let mark = cache.mark(&cache.origin(), Some(self.tag), tags);
        let old = cache
            .cache
            .insert(self.own(key), TaggedValue::new(value, mark));
        cache.unless_too_old(old)
    }

    /// Removes a key and returns its value, as [`Tagged::remove`].
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.cache.remove::<dyn Place<Q>>(&self.place(key))
    }

    /// Removes a key, as [`Tagged::invalidate`].
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.cache.invalidate::<dyn Place<Q>>(&self.place(key));
    }

    /// Invalidates every entry of the namespace in constant time, as
    /// [`Tagged::invalidate_tag`] does those of a tag. No tag of the same name
    /// is touched.
    pub fn invalidate_all(&self) {
        self.cache.tags().invalidate_hash(self.tag);
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn own(&self, key: K) -> Namespaced<K> {
        let namespace = Arc::clone(&self.name);
        Namespaced { namespace, key }
    }

    fn place<'a, Q: ?Sized>(&'a self, key: &'a Q) -> Borrowed<'a, Q> {
        let namespace = &self.name;
        Borrowed { namespace, key }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Namespace<K, V> {
    /// Returns the value of a key, loading it if need be, as
    /// [`Tagged::try_get_with`].
    ///
    /// # Errors
    /// As [`Tagged::try_get_with`].
    pub fn try_get_with<T, E>(
        &self,
        key: K,
        load: impl FnOnce() -> Result<(V, T), E>,
    ) -> Result<V, LoadError<E>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
        E: Send + Sync + 'static,
    {
        self.cache.load(self.own(key), Some(self.tag), load)
    }

    /// The twin of [`try_get_with`](Self::try_get_with) for tasks.
    ///
    /// # Errors
    /// As [`Tagged::try_get_with`].
    pub async fn try_get_with_async<T, E, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
        E: Send + Sync + 'static,
        F: Future<Output = Result<(V, T), E>>,
    {
        let key = self.own(key);
        self.cache.load_async(key, Some(self.tag), load).await
    }
}

impl<K> Namespaced<K> {
    /// The name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key within it.
    pub fn key(&self) -> &K {
        &self.key
    }
}

/// A namespaced key in whatever form it is at hand, so that a look-up needs no
/// owned one.
trait Place<Q: ?Sized> {
    fn namespace(&self) -> &Arc<str>;
    fn key(&self) -> &Q;
}

struct Borrowed<'a, Q: ?Sized> {
    namespace: &'a Arc<str>,
    key: &'a Q,
}

impl<Q: ?Sized> Place<Q> for Borrowed<'_, Q> {
    fn namespace(&self) -> &Arc<str> {
        self.namespace
    }

    fn key(&self) -> &Q {
        self.key
    }
}

impl<K: Borrow<Q>, Q: ?Sized> Place<Q> for Namespaced<K> {
    fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }

    fn key(&self) -> &Q {
        self.key.borrow()
    }
}

impl<'a, K: Borrow<Q> + 'a, Q: ?Sized + 'a> Borrow<dyn Place<Q> + 'a> for Namespaced<K> {
    fn borrow(&self) -> &(dyn Place<Q> + 'a) {
        self
    }
}

impl<Q: Hash + ?Sized> Hash for dyn Place<Q> + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace().hash(state);
        self.key().hash(state);
    }
}

impl<Q: Eq + ?Sized> PartialEq for dyn Place<Q> + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key() && self.namespace() == other.namespace()
    }
}

impl<Q: Eq + ?Sized> Eq for dyn Place<Q> + '_ {}

impl<K: Hash> Hash for Namespaced<K> {
    /// The same as that of every form in which the key is looked up.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.key.hash(state);
    }
}

impl<K: fmt::Debug> fmt::Debug for Namespaced<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.namespace, self.key)
    }
}

impl<K, V> Clone for Namespace<K, V> {
    /// Another handle to the same namespace.
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            name: Arc::clone(&self.name),
            tag: self.tag,
        }
    }
}

impl<K, V> fmt::Debug for Namespace<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The tags of a value that has none but its namespace.
const NO_TAGS: [&str; 0] = [];
