//! Loads whose values carry tags.

use std::convert::Infallible;
use std::hash::Hash;

use super::tagged::Origin;
use super::{Tagged, TaggedValue};
use crate::cache::LoadError;
use crate::cache::load::LoadTimer;
use crate::cache::load_key::LoadKey;
use crate::cache::removal::{RemovalCause, Removed};
use crate::sync::flight::{
    Caller, Expects, Flights, Outcome, Owner, Start, Ticket, load_async, load_sync,
};

impl<K: Hash + Eq + Clone, V: Clone> Tagged<K, V> {
    /// Returns the value of a key; if there is none that is valid, runs the
    /// loader and stores what it brings: a value and its tags.
    ///
    /// As [`Cache::get_with`](crate::cache::Cache::get_with) in all else: one
    /// loader runs, however many callers ask, threads and tasks. A caller who
    /// comes after the invalidation of a tag does not get a value with that tag
    /// whose load began before, not even by waiting for it: it waits, and then
    /// loads again.
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] if the loader itself asks for the key, and
    /// [`LoadError::Cycle`] if it asks for one whose loader waits for this key.
    ///
    /// ```
    /// use tenfold::cache::tagged::Tagged;
    ///
    /// let pages = Tagged::new(100);
    /// let page = pages.get_with("/ada", || ("Ada's page", ["user:1"]))?;
    /// assert_eq!(page, "Ada's page");
    /// pages.invalidate_tag("user:1");
    /// let page = pages.get_with("/ada", || ("Ada's new page", ["user:1"]))?;
    /// assert_eq!(page, "Ada's new page");
    /// # Ok::<(), tenfold::cache::LoadError<std::convert::Infallible>>(())
    /// ```
    pub fn get_with<T>(
        &self,
        key: K,
        load: impl FnOnce() -> (V, T),
    ) -> Result<V, LoadError<Infallible>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        self.try_get_with(key, || Ok(load()))
    }

    /// As [`get_with`](Self::get_with), with a loader that may fail.
    ///
    /// # Errors
    /// [`LoadError::Failed`] carries the loader's error, shared by all who
    /// waited for it; and as [`get_with`](Self::get_with).
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
        self.load(key, None, load)
    }

    /// The twin of [`get_with`](Self::get_with) for tasks. Needs no runtime;
    /// dropping the future cancels this caller and nobody else.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub async fn get_with_async<T, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<Infallible>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
        F: Future<Output = (V, T)>,
    {
        self.try_get_with_async(key, || async { Ok(load().await) })
            .await
    }

    /// The twin of [`try_get_with`](Self::try_get_with) for tasks.
    ///
    /// # Errors
    /// As [`try_get_with`](Self::try_get_with).
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
        self.load_async(key, None, load).await
    }

    pub(super) fn load<T, E>(
        &self,
        key: K,
        namespace: Option<u64>,
        load: impl FnOnce() -> Result<(V, T), E>,
    ) -> Result<V, LoadError<E>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
        E: Send + Sync + 'static,
    {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let since = self.tags().generation();
        let hash = self.cache.core.hash(&key);
        let mut load = Some(load);
        let mut attempt = |key| {
            let value = load_sync(&Valid(self), hash, key, Expects::Value, || {
                let origin = self.origin();
                let mut timer = LoadTimer::new(&self.cache.core);
                timer.start();
                let (value, tags) = take(&mut load)()?;
                let value = self.with_tags(value, &origin, namespace, tags);
                timer.stop(true);
                Ok(Some(value))
            })?;
            Ok(Brought::new(value, load.is_none()))
        };
        let first = attempt(LoadKey::Own(key.clone()))?;
        if self.accepts(&first, since) {
            return Ok(first.value.into_value());
        }
        attempt(LoadKey::Own(key)).map(|second| second.value.into_value())
    }

    pub(super) async fn load_async<T, E, F>(
        &self,
        key: K,
        namespace: Option<u64>,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
        E: Send + Sync + 'static,
        F: Future<Output = Result<(V, T), E>>,
    {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let since = self.tags().generation();
        let hash = self.cache.core.hash(&key);
        let mut load = Some(load);
        let mut attempt = async |key| {
            let value = load_async(&Valid(self), hash, key, Expects::Value, || async {
                let origin = self.origin();
                let mut timer = LoadTimer::new(&self.cache.core);
                timer.start();
                let (value, tags) = take(&mut load)().await?;
                let value = self.with_tags(value, &origin, namespace, tags);
                timer.stop(true);
                Ok(Some(value))
            })
            .await?;
            Ok(Brought::new(value, load.is_none()))
        };
        let first = attempt(LoadKey::Own(key.clone())).await?;
        if self.accepts(&first, since) {
            return Ok(first.value.into_value());
        }
        attempt(LoadKey::Own(key))
            .await
            .map(|second| second.value.into_value())
    }

    /// Whether the load of what a first attempt brought began late enough for a
    /// caller who came in the generation `since`.
    ///
    /// A caller may have joined a load that began before an invalidation that
    /// the caller comes after. When that load has ended, the next one of the key
    /// begins later than the caller came: what a second attempt brings is young
    /// enough, whatever is invalidated meanwhile.
    fn accepts(&self, first: &Brought<V>, since: u64) -> bool {
        let born = first.value.mark().map(|mark| mark.born);
        first.is_own || born.is_some_and(|born| born >= since) || self.is_current(&first.value)
    }

    fn with_tags<T>(
        &self,
        value: V,
        origin: &Origin,
        namespace: Option<u64>,
        tags: T,
    ) -> TaggedValue<V>
    where
        T: IntoIterator,
        T::Item: AsRef<str>,
    {
        TaggedValue::new(value, self.mark(origin, namespace, tags))
    }
}

/// What an attempt to load brought.
struct Brought<V> {
    value: TaggedValue<V>,
    /// By this caller's own loader, which is used up then.
    is_own: bool,
}

impl<V> Brought<V> {
    fn new(value: Option<TaggedValue<V>>, is_own: bool) -> Self {
        match value {
            Some(value) => Self { value, is_own },
            None => unreachable!("who expects a value is given one"),
        }
    }
}

fn take<F>(load: &mut Option<F>) -> F {
    match load.take() {
        Some(load) => load,
        None => unreachable!("a caller whose own loader ran takes its answer"),
    }
}

/// The flights of the cache underneath, for callers who take only valid entries
/// for an answer.
struct Valid<'a, K, V>(&'a Tagged<K, V>);

impl<K: Hash + Eq, V: Clone> Owner for Valid<'_, K, V> {
    type Key = LoadKey<K>;
    type Value = TaggedValue<V>;

    fn start(&self, hash: u64, key: Self::Key, caller: Caller) -> Start<Self::Key, Self::Value> {
        let core = &*self.0.cache.core;
        let key = core.load_key(key);
        let mut shard = core.lock(hash);
        let mut removed = Removed::new();
        let found = core.find_live(&mut shard, hash, key.get(), &mut removed);
        if let Some(slot) = found
            && let Some(entry) = shard.table.entry(slot)
        {
            let value = entry.value.get();
            if self.0.is_current(value) {
                let value = value.clone();
                core.release(shard, removed);
                // The key is dropped after the lock.
                drop(key);
                return Start::Found(value);
            }
            shard.remove(slot, RemovalCause::Explicit, &core.hasher, &mut removed);
        }
        let start = shard.flights.start(hash, key, caller);
        core.release(shard, removed);
        core.count_if_coalesced(&start);
        start
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<Self::Value>) {
        self.0.cache.core.land(hash, ticket, outcome);
    }

    fn with_flights<R>(
        &self,
        hash: u64,
        act: impl FnOnce(&mut Flights<Self::Key, Self::Value>) -> R,
    ) -> R {
        self.0.cache.core.with_flights(hash, act)
    }
}
