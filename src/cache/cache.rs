use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::budget::Cost;
use super::core::Core;
use super::expiry::Lifetime;
use super::removal::{Gone, RemovalCause, Removed};
use super::sizing::MissRatioCurve;
use super::store::{IfPresent, Put};
use super::table::{self, Entry};
use super::{CacheBuilder, CacheStats, Iter, Refused, Snapshot};
use crate::time::Instant;

/// A concurrent cache that holds a bounded number or weight of entries.
///
/// Handles are cheap to clone and share one cache. See the
/// [module's documentation](crate::cache) for what it promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
///
/// let cache = Cache::new(1000);
/// cache.insert("answer".to_owned(), 42);
/// assert_eq!(cache.get("answer"), Some(42));
/// ```
pub struct Cache<K, V> {
    pub(super) core: Arc<Core<K, V>>,
}

impl<K, V> Cache<K, V> {
    /// Starts the configuration of a cache.
    pub fn builder() -> CacheBuilder<K, V> {
        CacheBuilder::new()
    }

    pub(super) fn from_core(core: Core<K, V>) -> Self {
        Self {
            core: Arc::new(core),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A cache of at most this many entries, with the default policy and no
    /// expiry.
    ///
    /// # Panics
    /// Never: any number is a bound.
    pub fn new(max_entries: usize) -> Self {
        match Self::builder().max_entries(max_entries).build() {
            Ok(cache) => cache,
            Err(error) => unreachable!("a bound on entries is all a cache needs: {error}"),
        }
    }

    /// Reads a value. Counts as a use of the entry and as a hit or a miss.
    ///
    /// The key may be any borrowed form of `K`: `&str` for `String`.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core.get_value(key)
    }

    /// Reads a value without cloning it, as [`get`](Self::get) in all else.
    ///
    /// The reference holds no lock: keep it as long as you like, across an
    /// `.await` too; what it shows stays as it was, even if the entry is
    /// replaced or evicted. The first call for an entry moves the value into an
    /// allocation that is shared from then on.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    ///
    /// let cache = Cache::new(10);
    /// cache.insert(1, "a long text".to_owned());
    /// let text = cache.get_ref(&1).unwrap();
    /// cache.remove(&1);
    /// assert_eq!(text.len(), 11);
    /// ```
    pub fn get_ref<Q>(&self, key: &Q) -> Option<ValueRef<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core
            .get(key, |entry| table::share(entry).map(ValueRef))
    }

    /// Reads a value and leaves no trace: no use, no hit, no miss, no longer
    /// life.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core.peek(key, V::clone)
    }

    /// Whether a key has a value; leaves no trace.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core.peek(key, |_| ()).is_some()
    }

    /// Stores a value and returns the one it replaces.
    ///
    /// An entry that alone exceeds the bounds goes to the eviction listener as
    /// [`RemovalCause::Refused`], and an older value of its key is removed,
    /// since it would be stale. Use [`try_insert`](Self::try_insert) to get it
    /// back instead.
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.insert_for(key, value, Lifetime::Default)
    }

    /// Stores a value that lives this long, whatever the cache's time to live.
    /// The cache's jitter, if it was set, applies.
    pub fn insert_with_ttl(&self, key: K, value: V, time_to_live: Duration) -> Option<V> {
        self.insert_for(key, value, Lifetime::For(time_to_live))
    }

    /// Stores a value that lives until a moment on the cache's clock, without
    /// jitter: for entries restored from elsewhere.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    /// use tenfold::time::{Instant, ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let build = || Cache::builder().max_entries(10).clock(time.clock()).build();
    /// let (old, new) = (build()?, build()?);
    /// old.insert_with_ttl(1, "one", std::time::Duration::from_secs(5));
    /// for entry in old.iter() {
    ///     let deadline = entry.expires_in.map_or(Instant::NEVER, |left| time.now() + left);
    ///     new.insert_with_deadline(entry.key, entry.value, deadline);
    /// }
    /// assert_eq!(new.get(&1), Some("one"));
    /// # Ok::<(), tenfold::cache::BuildError>(())
    /// ```
    pub fn insert_with_deadline(&self, key: K, value: V, deadline: Instant) -> Option<V> {
        self.insert_for(key, value, Lifetime::Until(deadline))
    }

    fn insert_for(&self, key: K, value: V, lifetime: Lifetime) -> Option<V> {
        match self.core.put(key, value, lifetime, IfPresent::Replace) {
            Put::Stored(old) => old,
            Put::Present(value) => Some(value),
            Put::Refused(refused) => {
                let (key, value) = refused.into_entry();
                self.core.refuse_and_forget(key, value)
            }
        }
    }

    /// Stores a value and returns the one it replaces, or gives the entry back.
    ///
    /// # Errors
    /// [`Refused`] if the entry alone exceeds the bounds; nothing has changed
    /// then.
    pub fn try_insert(&self, key: K, value: V) -> Result<Option<V>, Refused<K, V>> {
        match self
            .core
            .put(key, value, Lifetime::Default, IfPresent::Replace)
        {
            Put::Stored(old) => Ok(old),
            Put::Present(value) => Ok(Some(value)),
            Put::Refused(refused) => Err(refused),
        }
    }

    /// Stores a value if the key has none, and returns the value that was there
    /// otherwise (which counts as a use).
    ///
    /// ```
    /// use tenfold::cache::Cache;
    ///
    /// let cache = Cache::new(10);
    /// assert_eq!(cache.insert_if_absent("a", 1), None);
    /// assert_eq!(cache.insert_if_absent("a", 2), Some(1));
    /// ```
    pub fn insert_if_absent(&self, key: K, value: V) -> Option<V> {
        match self
            .core
            .put(key, value, Lifetime::Default, IfPresent::Keep)
        {
            Put::Present(value) => Some(value),
            Put::Stored(_) => None,
            Put::Refused(Refused { key, value, .. }) => {
                self.core.notify(key, value, RemovalCause::Refused);
                None
            }
        }
    }

    /// Removes a key and returns its value. The eviction listener is not told,
    /// since the caller has it.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core.remove(key).map(|(_, value)| value)
    }

    /// Removes a key and returns it with its value.
    pub fn remove_entry<Q>(&self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.core.remove(key)
    }

    /// Removes a key; the listener is told, as [`RemovalCause::Explicit`].
    ///
    /// Once it has returned, no value loaded before is stored or returned to a
    /// caller who comes later.
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((key, value)) = self.core.remove(key) {
            self.core.notify(key, value, RemovalCause::Explicit);
        }
    }

    /// Removes every entry; the listener is told of each.
    pub fn invalidate_all(&self) {
        let removed = self.core.clear();
        self.core.settle(removed);
    }

    /// Removes every entry and returns them, expired ones left out.
    pub fn drain(&self) -> Vec<(K, V)> {
        let mut expired = Removed::new();
        let mut drained = Vec::new();
        for Gone { key, value, cause } in self.core.clear() {
            if cause == RemovalCause::Expired {
                expired.push(Entry { key, value }, cause);
            } else {
                drained.push((key, value.into_value()));
            }
        }
        self.core.settle(expired);
        drained
    }

    /// Removes every expired entry now. Not needed for correctness: an expired
    /// entry is never returned, and its memory comes back as the cache is used.
    pub fn purge_expired(&self) {
        self.core.purge_expired();
    }

    /// Changes the bound on entries, and evicts at once what no longer fits.
    pub fn resize(&self, max_entries: usize) {
        let weight = self.core.max_weight.load(Ordering::Relaxed);
        self.core.resize(max_entries as u64, weight);
    }

    /// Changes the bound on weight, and evicts at once what no longer fits.
    pub fn resize_weight(&self, max_weight: u64) {
        let entries = self.core.max_entries.load(Ordering::Relaxed);
        self.core.resize(entries, max_weight);
    }

    /// Entries in the cache, expired ones that have not been swept included.
    ///
    /// The shards are counted one after the other: while others insert, the sum
    /// may be a few off, also above a bound that the cache itself never exceeds.
    pub fn len(&self) -> usize {
        self.core.used().entries as usize
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of all entries; without a weigher, their number.
    pub fn weight(&self) -> u64 {
        self.core.used().weight
    }

    /// The bound on entries, if there is one.
    pub fn max_entries(&self) -> Option<u64> {
        bound(self.core.max_entries.load(Ordering::Relaxed))
    }

    /// The bound on weight, if there is one.
    pub fn max_weight(&self) -> Option<u64> {
        bound(self.core.max_weight.load(Ordering::Relaxed))
    }

    /// What the cache has done and what it holds.
    pub fn stats(&self) -> CacheStats {
        self.core.stats()
    }

    /// What share of the look-ups would miss with fewer or more entries, as far
    /// as LRU tells; `None` unless the cache was built to
    /// [estimate](CacheBuilder::estimate_sizes) it.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    ///
    /// let pages = Cache::builder().max_entries(50).estimate_sizes().build()?;
    /// for page in (0..100).cycle().take(1000) {
    ///     if pages.get(&page).is_none() {
    ///         pages.insert(page, "text");
    ///     }
    /// }
    /// let sizing = pages.sizing().unwrap();
    /// assert_eq!(sizing.entries_for(0.2), Some(100)); // twice the entries, and all fit
    /// println!("{sizing}");
    /// # Ok::<(), tenfold::cache::BuildError>(())
    /// ```
    pub fn sizing(&self) -> Option<MissRatioCurve> {
        self.core.sizing()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Iterates over copies of the live entries, in no particular order.
    pub fn iter(&self) -> Iter<K, V> {
        Iter::new(Arc::clone(&self.core))
    }
}

impl<K: Hash + Eq + Clone, V: Clone> IntoIterator for &Cache<K, V> {
    type Item = Snapshot<K, V>;
    type IntoIter = Iter<K, V>;

    fn into_iter(self) -> Iter<K, V> {
        self.iter()
    }
}

fn bound(bound: u64) -> Option<u64> {
    (bound != u64::MAX).then_some(bound)
}

impl<K, V> Clone for Cache<K, V> {
    /// Another handle to the same cache.
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { entries, weight } = self.core.used();
        f.debug_struct("Cache")
            .field("entries", &entries)
            .field("weight", &weight)
            .finish_non_exhaustive()
    }
}

/// A value read by [`Cache::get_ref`]; holds no lock.
pub struct ValueRef<V>(Arc<V>);

impl<V> Deref for ValueRef<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<V> Clone for ValueRef<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: fmt::Debug> fmt::Debug for ValueRef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<V> AsRef<V> for ValueRef<V> {
    fn as_ref(&self) -> &V {
        self
    }
}
