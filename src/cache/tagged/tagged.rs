use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::value::Mark;
use super::{Clear, TaggedBuilder, TaggedStats, TaggedValue, Tags};
use crate::cache::removal::{RemovalCause, Removed};
use crate::cache::{Cache, CacheBuilder};
use crate::stats::Counters;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A cache whose entries may carry tags, each of which invalidates all entries
/// that carry it, at once and in constant time.
///
/// Handles are cheap to clone and share one cache. See the
/// [module's documentation](crate::cache::tagged) for what it promises and costs.
///
/// ```
/// use tenfold::cache::tagged::Tagged;
///
/// let pages = Tagged::new(1000);
/// pages.insert_tagged("/ada", "Ada's page", ["user:1"]);
/// pages.insert_tagged("/ada/friends", "Ada knows Bob", ["user:1", "user:2"]);
/// pages.insert("/about", "About us");
/// pages.invalidate_tag("user:2"); // Bob is called Rob from now on
/// assert_eq!(pages.get("/ada"), Some("Ada's page"));
/// assert_eq!(pages.get("/ada/friends"), None);
/// assert_eq!(pages.get("/about"), Some("About us"));
/// ```
pub struct Tagged<K, V> {
    pub(super) cache: Cache<K, TaggedValue<V>>,
    shared: Arc<Shared>,
}

struct Shared {
    tags: Arc<Tags>,
    /// The generation of this cache's last [`Clear::Expire`].
    cleared: AtomicU64,
    /// The mark that untagged entries share once something was cleared.
    untagged: Mutex<Option<Arc<Mark>>>,
    counters: Counters<1>,
}

impl<K: Hash + Eq, V: Clone> Tagged<K, V> {
    /// A cache of at most this many entries, with the default policy and no
    /// expiry.
    pub fn new(max_entries: usize) -> Self {
        Self::from_parts(Cache::new(max_entries), Arc::new(Tags::new()))
    }

    /// Starts the configuration, upon that of the cache underneath.
    pub fn builder(cache: CacheBuilder<K, TaggedValue<V>>) -> TaggedBuilder<K, V> {
        TaggedBuilder::new(cache)
    }

    pub(super) fn from_parts(cache: Cache<K, TaggedValue<V>>, tags: Arc<Tags>) -> Self {
        Self {
            cache,
            shared: Arc::new(Shared {
                tags,
                cleared: AtomicU64::new(0),
                untagged: Mutex::new(None),
                counters: Counters::new(),
            }),
        }
    }

    /// Reads a value, unless it is too old. Counts as a use of the entry, and as
    /// a hit or a miss.
    ///
    /// An entry that is met when it is no longer valid leaves the cache; the
    /// listener is told, as [`RemovalCause::Explicit`].
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut is_invalid = false;
        let value = self.cache.core.get(key, |entry| {
            let value = entry.as_ref()?.value.get();
            if self.is_current(value) {
                return Some(V::clone(value));
            }
            is_invalid = true;
            None
        });
        if is_invalid {
            self.remove_invalid(key);
        }
        value
    }

    /// Reads a value, unless it is too old, and leaves no trace.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let read = |value: &TaggedValue<V>| self.is_current(value).then(|| V::clone(value));
        self.cache.core.peek(key, read).flatten()
    }

    /// Stores a value without tags, and returns the one it replaces, unless that
    /// was too old.
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let value = TaggedValue::new(value, self.origin().untagged);
        let old = self.cache.insert(key, value);
        self.unless_too_old(old)
    }

    /// Stores a value with tags, and returns the one it replaces, unless that
    /// was too old.
    ///
    /// The value counts as obtained by this call: an invalidation between your
    /// reading it somewhere and this call is missed. Where that matters use
    /// [`get_with`](Self::get_with), which takes note of the generation first.
    pub fn insert_tagged<T>(&self, key: K, value: V, tags: T) -> Option<V>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        let value = TaggedValue::new(value, self.mark(&self.origin(), None, tags));
        let old = self.cache.insert(key, value);
        self.unless_too_old(old)
    }

    /// [`insert_tagged`](Self::insert_tagged) for a value that lives this long,
    /// whatever the cache's time to live.
    pub fn insert_tagged_with_ttl<T>(
        &self,
        key: K,
        value: V,
        tags: T,
        time_to_live: Duration,
    ) -> Option<V>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        let value = TaggedValue::new(value, self.mark(&self.origin(), None, tags));
        let old = self.cache.insert_with_ttl(key, value, time_to_live);
        self.unless_too_old(old)
    }

    /// Removes a key and returns its value, unless that was too old.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let old = self.cache.remove(key);
        self.unless_too_old(old)
    }

    /// Removes a key, as [`Cache::invalidate`].
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.cache.invalidate(key);
    }

    /// Invalidates every entry that carries the tag, in constant time.
    ///
    /// Once it has returned, no value with this tag that was stored before, or
    /// whose load began before, is given to a caller who comes later. The memory
    /// of such entries comes back when they are asked for, or by eviction and
    /// expiry.
    pub fn invalidate_tag(&self, tag: impl AsRef<str>) {
        self.shared.tags.invalidate_tag(tag);
    }

    /// Makes an end of every entry of this cache, tagged or not; values being
    /// loaded are not given to callers who come later.
    ///
    /// [`Clear::Expire`] takes constant time: entries leave when they are asked
    /// for, or by eviction and expiry. From then on every untagged entry that is
    /// stored needs a lock more. [`Clear::Remove`] visits every entry, and
    /// gives their memory back before it returns.
    ///
    /// ```
    /// use tenfold::cache::tagged::{Clear, Tagged};
    ///
    /// let cache = Tagged::new(10);
    /// for how in [Clear::Expire, Clear::Remove] {
    ///     cache.insert(1, "one");
    ///     cache.insert_tagged(2, "two", ["even"]);
    ///     cache.clear(how);
    ///     assert_eq!((cache.get(&1), cache.get(&2)), (None, None));
    /// }
    /// ```
    pub fn clear(&self, how: Clear) {
        match how {
            Clear::Expire => self.shared.tags.advance_into(&self.shared.cleared),
            Clear::Remove => self.cache.invalidate_all(),
        }
    }

    /// The registry of tags, to be shared with other caches or to be cleared
    /// together with them.
    pub fn tags(&self) -> &Arc<Tags> {
        &self.shared.tags
    }

    /// The cache underneath, to resize, count or purge it. Its look-ups know
    /// nothing of tags and return what is no longer valid, too.
    pub fn cache(&self) -> &Cache<K, TaggedValue<V>> {
        &self.cache
    }

    /// What the cache has done and what it holds.
    pub fn stats(&self) -> TaggedStats {
        let invalid = self.shared.counters.get(INVALID);
        let mut cache = self.cache.stats();
        // The cache underneath found them.
        cache.hits = cache.hits.saturating_sub(invalid);
        cache.misses += invalid;
        TaggedStats {
            cache,
            invalid,
            tags: self.shared.tags.stats(),
        }
    }

    /// Whether an entry may still be given out. No user code: it runs under a
    /// shard's lock.
    #[inline]
    pub(super) fn is_current(&self, value: &TaggedValue<V>) -> bool {
        match value.mark() {
            None => self.cleared() == 0,
            Some(mark) => self.is_valid(mark),
        }
    }

    fn is_valid(&self, mark: &Mark) -> bool {
        mark.born >= self.cleared() && self.shared.tags.is_valid(mark.born, &mark.tags)
    }

    /// Entries born before this generation are too old.
    #[inline]
    fn cleared(&self) -> u64 {
        let own = self.shared.cleared.load(Ordering::Acquire);
        own.max(self.shared.tags.expired_before())
    }

    /// Where a value comes from that is about to be loaded or stored.
    pub(super) fn origin(&self) -> Origin {
        let born = self.shared.tags.generation();
        let cleared = self.cleared();
        if cleared == 0 {
            return Origin {
                born,
                untagged: None,
            };
        }
        let mut untagged = self.shared.untagged.lock();
        if untagged.as_ref().is_none_or(|mark| mark.born < cleared) {
            let tags = Box::default();
            *untagged = Some(Arc::new(Mark { born, tags }));
        }
        Origin {
            born,
            untagged: untagged.clone(),
        }
    }

    /// The mark of a value with these tags; `namespace` is the hash of one more.
    pub(super) fn mark<T>(
        &self,
        origin: &Origin,
        namespace: Option<u64>,
        tags: T,
    ) -> Option<Arc<Mark>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        let registry = &self.shared.tags;
        let tags = tags.into_iter().map(|tag| registry.hash_of(tag));
        let tags: Box<[u64]> = namespace.into_iter().chain(tags).collect();
        if tags.is_empty() {
            return origin.untagged.clone();
        }
        let born = origin.born;
        Some(Arc::new(Mark { born, tags }))
    }

    pub(super) fn unless_too_old(&self, value: Option<TaggedValue<V>>) -> Option<V> {
        value
            .filter(|value| self.is_current(value))
            .map(TaggedValue::into_value)
    }

    /// Removes an entry that was met when it was no longer valid, unless a newer
    /// one has taken its place. A load of the key that is under way goes on.
    #[cold]
    fn remove_invalid<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.counters.add(INVALID, 1);
        let core = &*self.cache.core;
        let hash = core.hash(key);
        let mut removed = Removed::new();
        let mut shard = core.lock(hash);
        if let Some(slot) = shard.find(hash, key)
            && let Some(entry) = shard.table.entry(slot)
            && !self.is_current(entry.value.get())
        {
            shard.remove(slot, RemovalCause::Explicit, &core.hasher, &mut removed);
        }
        core.release(shard, removed);
    }
}

/// When a value was obtained, as its mark will tell.
pub(super) struct Origin {
    pub(super) born: u64,
    /// The mark if it turns out to have no tags.
    untagged: Option<Arc<Mark>>,
}

impl<K, V> Clone for Tagged<K, V> {
    /// Another handle to the same cache.
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for Tagged<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tagged")
            .field("cache", &self.cache)
            .field("tags", &self.shared.tags)
            .finish_non_exhaustive()
    }
}

const INVALID: usize = 0;
