use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::cached::{Cached, StandIn};
use super::look_up::{Found, Served};
use super::rules::Moment;
use super::shared::Shared;
use super::stats::Count;
use super::{Answer, GetError, Loaded, Origin, ReadThroughBuilder, ReadThroughStats};
use crate::cache::load_key::LoadKey;
use crate::cache::tagged::{Clear, Tags};
use crate::cache::{Cache, CacheBuilder, Layer};
use crate::sync::flight::try_lead;
use crate::task::Task;
use crate::time::Instant;

/// A cache that knows where its values come from, and goes on answering while
/// that place is slow or down.
///
/// Handles are cheap to clone and share one cache. See the
/// [module's documentation](super) for what it promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::ReadThrough;
///
/// let ports = ReadThrough::<String, u16>::builder(Cache::builder().max_entries(100))
///     .loader(|request| Ok(match request.key().as_str() {
///         "http" => Some(80),
///         _ => None,
///     }))
///     .build()?;
/// assert_eq!(ports.get("http")?, Some(80));
/// assert_eq!(ports.get("gopher")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadThrough<K, V, E = std::convert::Infallible> {
    shared: Arc<Shared<K, V, E>>,
}

impl<K, V, E> ReadThrough<K, V, E> {
    /// Starts the configuration of a layer over the cache that this builder
    /// describes: its bounds, policy, clock, seed, jitter and listener. How
    /// long entries live is the layer's to say.
    pub fn builder(cache: CacheBuilder<K, Cached<V>>) -> ReadThroughBuilder<K, V, E> {
        ReadThroughBuilder::new(cache)
    }

    pub(super) fn from_shared(shared: Shared<K, V, E>) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The cache below: its size, its bounds, copies of its entries.
    pub fn cache(&self) -> &Cache<K, Cached<V>> {
        &self.shared.cache
    }

    /// The registry of the tags that its entries carry.
    pub fn tags(&self) -> &Arc<Tags> {
        &self.shared.tags
    }
}

impl<K, V, E> ReadThrough<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the value of a key, loading it if need be; `None` if the source
    /// has none. Blocks while it is loaded, by this caller or another.
    ///
    /// The key may be any borrowed form of `K`: `&str` for `String`.
    ///
    /// # Errors
    /// [`GetError`] if there is no answer, not even a stale one that may stand
    /// in.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shared = &self.shared;
        let (hash, at) = (shared.core().hash(key), shared.moment());
        match shared.look_up(hash, key, &at) {
            Found::Serves(served) => Ok(shared.taken(served)),
            found => self
                .get_found(hash, key.to_owned(), at, found)
                .map(Answer::into_value),
        }
    }

    /// As [`get`](Self::get), and says where the answer came from and how old
    /// it is.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_entry<Q>(&self, key: &Q) -> Result<Answer<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shared = &self.shared;
        let (hash, at) = (shared.core().hash(key), shared.moment());
        match shared.look_up(hash, key, &at) {
            Found::Serves(served) => Ok(shared.served(served, at.now)),
            found => self.get_found(hash, key.to_owned(), at, found),
        }
    }

    #[cold]
    fn get_found(
        &self,
        hash: u64,
        key: K,
        at: Moment,
        found: Found<V>,
    ) -> Result<Answer<V>, GetError<E>> {
        match self.shared.consider(hash, key, at, found) {
            Ok(answer) => Ok(answer),
            Err((key, stale)) => {
                let ask = self.shared.ask(hash, key, at, stale);
                self.shared.fetch(ask)
            }
        }
    }

    /// The twin of [`get`](Self::get) for tasks. Needs no runtime; dropping the
    /// future cancels this caller and nobody else. Threads and tasks that ask
    /// for one key wait for the same load.
    ///
    /// A loader that blocks blocks the task that leads.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async<Q>(&self, key: &Q) -> Result<Option<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.get_entry_async(key).await.map(Answer::into_value)
    }

    /// The twin of [`get_entry`](Self::get_entry) for tasks.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_entry_async<Q>(&self, key: &Q) -> Result<Answer<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shared = &self.shared;
        let (hash, at) = (shared.core().hash(key), shared.moment());
        let found = match shared.look_up(hash, key, &at) {
            Found::Serves(served) => return Ok(shared.served(served, at.now)),
            found => found,
        };
        match shared.consider(hash, key.to_owned(), at, found) {
            Ok(answer) => Ok(answer),
            Err((key, stale)) => {
                // In a box, so that the future of a hit stays small.
                Box::pin(shared.fetch_async(shared.ask(hash, key, at, stale))).await
            }
        }
    }

    /// Returns the values of several keys, in their order, loading what is
    /// missing in one call of the loader (if it takes many keys at once: else
    /// in one call each). What others load already is waited for.
    ///
    /// Each key has an answer of its own: some may be stale where the load
    /// failed, while others have nothing to stand in. Collect into a `Result`
    /// to have all or an error. A loader for many keys is not shown stale
    /// values.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    /// use tenfold::cache::read_through::ReadThrough;
    ///
    /// let squares: ReadThrough<u64, u64> = ReadThrough::builder(Cache::builder().max_entries(100))
    ///     .batch_loader(|numbers| Ok(numbers.into_iter().map(|n| (n, n * n)).collect::<Vec<_>>()))
    ///     .build()?;
    /// squares.get(&3)?;
    /// let values = squares.get_many(&[2, 3, 4]).into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(values, [Some(4), Some(9), Some(16)]);
    /// assert_eq!(squares.stats().batches, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many(&self, keys: &[K]) -> Vec<Result<Option<V>, GetError<E>>> {
        self.shared.get_many(keys)
    }

    /// The twin of [`get_many`](Self::get_many) for tasks.
    pub async fn get_many_async(&self, keys: &[K]) -> Vec<Result<Option<V>, GetError<E>>> {
        self.shared.get_many_async(keys).await
    }

    /// Reads what is held and answers now. Never loads, and leaves no trace.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let at = self.shared.moment();
        let answers = |cached: &Cached<V>| {
            let answers = cached.serves(&at) && cached.has_valid_tags(&self.shared.tags);
            answers.then(|| cached.value.clone()).flatten()
        };
        self.shared.core().peek(key, answers).flatten()
    }

    /// Stores a value, for the layer's time to live. A load of the key that is
    /// under way is not stored.
    ///
    /// Where the cache's [`jitter`](CacheBuilder::jitter) was not set, it lives
    /// exactly as long.
    pub fn insert(&self, key: K, value: V) {
        self.insert_with(key, value);
    }

    /// Stores what a loader might have brought: a value with a time to live, a
    /// weight, tags or a validator of its own, or the knowledge that there is
    /// none. [`Loaded::not_modified`] changes nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenfold::cache::Cache;
    /// use tenfold::cache::read_through::{Loaded, ReadThrough};
    ///
    /// let pages: ReadThrough<u32, &str> = ReadThrough::builder(Cache::builder().max_entries(10))
    ///     .loader(|_| Ok("loaded"))
    ///     .build()?;
    /// pages.insert_with(1, Loaded::value("written").tag("site:7"));
    /// assert_eq!(pages.get(&1)?, Some("written"));
    /// pages.invalidate_tag("site:7");
    /// assert_eq!(pages.get(&1)?, Some("loaded"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_with(&self, key: K, entry: impl Into<Loaded<V>>) {
        self.shared.insert(key, entry.into());
    }

    /// Removes a key. Once it has returned, no value loaded before is stored or
    /// returned to a caller who comes later, not even as a stale one.
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.cache.invalidate(key);
    }

    /// Declares a key's value stale: the next caller loads it anew, and the old
    /// value may stand in if that fails. A load under way is not stored.
    /// Returns whether there was an entry that answered.
    pub fn expire<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (core, at) = (self.shared.core(), self.shared.moment());
        core.expire(core.hash(key), key, &at, &self.shared.rules)
    }

    /// Removes every entry that carries a tag, in constant time: once it has
    /// returned, none whose load began before is returned to a caller who comes
    /// later. Their memory comes back as they are asked for, expire or are
    /// evicted.
    pub fn invalidate_tag(&self, tag: impl AsRef<str>) {
        self.shared.tags.invalidate_tag(tag);
    }

    /// Declares everything stale, or removes it. Loads under way are not
    /// stored.
    ///
    /// [`Clear::Expire`] takes a step per shard; [`Clear::Remove`] is over for
    /// readers just as soon, and then gives the memory back.
    ///
    /// The generation is the registry's: layers that share one are cleared
    /// together.
    pub fn clear(&self, how: Clear) {
        self.shared.tags.clear(how);
        self.shared.core().detach_all();
        if how == Clear::Remove {
            self.shared.cache.invalidate_all();
        }
    }

    /// What the layer has done, and the cache below.
    pub fn stats(&self) -> ReadThroughStats {
        self.shared.tally.stats(self.shared.cache.stats())
    }
}

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    #[inline]
    pub(super) fn look_up<Q>(&self, hash: u64, key: &Q, at: &Moment) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let throw_dice = |cached: &Cached<V>| self.throw_dice(cached, at.now);
        self.core()
            .look_up(hash, key, at, &self.rules, &self.tags, throw_dice)
    }

    /// What a look-up that was no plain hit comes to: an answer all the same,
    /// or the key back, and the stale value.
    fn consider(
        self: &Arc<Self>,
        hash: u64,
        key: K,
        at: Moment,
        found: Found<V>,
    ) -> Result<Answer<V>, (K, Option<Cached<V>>)> {
        match found {
            Found::Serves(served) => Ok(self.served(served, at.now)),
            Found::RefreshDue(served) => {
                self.refresh(hash, key);
                Ok(self.served(served, at.now))
            }
            Found::Stale(stale) => Err((key, Some(stale))),
            Found::Nothing => self.guarded(&key).ok_or((key, None)),
        }
    }

    /// The guard's answer, if it knows one.
    pub(super) fn guarded(&self, key: &K) -> Option<Answer<V>> {
        if self.guard.as_ref()?.may_contain(key) {
            return None;
        }
        self.tally.count(Count::Guarded);
        Some(Answer {
            value: None,
            origin: Origin::Guard,
            age: std::time::Duration::ZERO,
        })
    }

    /// The value of a hit.
    #[inline]
    fn taken(&self, served: Served<V>) -> Option<V> {
        if served.value.is_none() || served.stand_in != StandIn::No {
            self.count_special(&served);
        }
        served.value
    }

    pub(super) fn served(&self, served: Served<V>, now: Instant) -> Answer<V> {
        let origin = self.count_special(&served).unwrap_or(Origin::Fresh);
        Answer {
            age: now.saturating_since(served.loaded_at),
            value: served.value,
            origin,
        }
    }

    #[cold]
    fn count_special(&self, served: &Served<V>) -> Option<Origin> {
        if served.value.is_none() {
            self.tally.count(Count::NegativeHits);
        }
        self.count_stand_in(served.stand_in)
    }

    /// Loads a key in the background, if nobody does yet.
    pub(super) fn refresh(self: &Arc<Self>, hash: u64, key: K) {
        let load_key = self.core().load_key(LoadKey::Own(key.clone()));
        if let Some(lead) = try_lead(Arc::clone(self), hash, load_key) {
            let task = Task::new(Arc::clone(self).lead(lead, hash, key));
            // A task that comes back is dropped, and the flight ends with it.
            if self.spawn(task).is_ok() {
                self.tally.count(Count::Refreshes);
            }
        }
    }
}

impl<K, V, E> Layer<K, V> for ReadThrough<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// What is held and fresh, or stands in; counts as a use.
    fn get(&self, key: &K) -> Option<V> {
        let shared = &self.shared;
        let (hash, at) = (shared.core().hash(key), shared.moment());
        match shared.look_up(hash, key, &at) {
            Found::Serves(served) => shared.taken(served),
            Found::RefreshDue(served) => {
                shared.refresh(hash, key.clone());
                shared.taken(served)
            }
            Found::Stale(_) | Found::Nothing => None,
        }
    }

    fn insert(&self, key: K, value: V) {
        ReadThrough::insert(self, key, value);
    }

    fn invalidate(&self, key: &K) {
        ReadThrough::invalidate(self, key);
    }
}

impl<K, V, E> Clone for ReadThrough<K, V, E> {
    /// Another handle to the same cache.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V, E> fmt::Debug for ReadThrough<K, V, E>
where
    K: Hash + Eq,
    V: Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThrough")
            .field("cache", &self.shared.cache)
            .field("rules", &self.shared.rules)
            .finish_non_exhaustive()
    }
}
