//! Loads: one per key, however many ask.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::core::Core;
use super::expiry::Lifetime;
use super::load_key::LoadKey;
use super::removal::{RemovalCause, Removed};
use super::stats::{COALESCED, LOAD_FAILURES, LOAD_NANOS, LOADS};
use super::store::Put;
use super::table::Attributes;
use crate::sync::atomic::Ordering;
use crate::sync::flight::{
    Caller, Expects, Flights, LoadError, Outcome, Owner, Start, Ticket, load_async, load_sync,
};
use crate::time::Instant;

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Returns the value of a key; if there is none, runs the loader and stores
    /// what it brings.
    ///
    /// However many callers ask for the key meanwhile, threads or tasks, one
    /// loader runs and all get its value. If that caller panics or is
    /// cancelled, exactly one of those who wait runs its own loader and the
    /// others go on waiting. If the key is inserted, removed or invalidated
    /// during the load, its value goes to those who wait already and is not
    /// stored; who comes later starts a fresh load.
    ///
    /// Loaded values live up to 10 % shorter than the cache's time to live,
    /// unless [`jitter`](super::CacheBuilder::jitter) says otherwise.
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] if the loader itself asks for the key, and
    /// [`LoadError::Cycle`] if it asks for one whose loader waits for this key:
    /// both would wait for ever.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    ///
    /// let cache = Cache::new(100);
    /// let value = cache.get_with("six", || 2 * 3)?;
    /// assert_eq!(value, 6);
    /// assert_eq!(cache.get_with("six", || unreachable!("it is there"))?, 6);
    /// # Ok::<(), tenfold::cache::LoadError<std::convert::Infallible>>(())
    /// ```
    pub fn get_with(&self, key: K, load: impl FnOnce() -> V) -> Result<V, LoadError<Infallible>> {
        self.try_get_with(key, || Ok(load()))
    }

    /// As [`get_with`](Self::get_with), with a loader that may fail.
    ///
    /// # Errors
    /// [`LoadError::Failed`] carries the loader's error, shared by all who
    /// waited for it. It is not stored: the next caller loads again.
    ///
    /// ```
    /// use tenfold::cache::Cache;
    ///
    /// let cache = Cache::new(100);
    /// let failed = cache.try_get_with("port", || "eighty".parse::<u16>());
    /// assert!(failed.is_err());
    /// let port = cache.try_get_with("port", || "80".parse::<u16>());
    /// assert_eq!(port.unwrap(), 80);
    /// ```
    pub fn try_get_with<E: Send + Sync + 'static>(
        &self,
        key: K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, LoadError<E>> {
        let answer = self.load(key, Expects::Value, || load().map(Some))?;
        answer.map_or_else(|| unreachable!("who expects a value is given one"), Ok)
    }

    /// As [`try_get_with`](Self::try_get_with), with a loader that may also
    /// find nothing. That nothing is shared by all who waited, and not stored.
    ///
    /// # Errors
    /// As [`try_get_with`](Self::try_get_with).
    pub fn try_optionally_get_with<E: Send + Sync + 'static>(
        &self,
        key: K,
        load: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, LoadError<E>> {
        self.load(key, Expects::MaybeAbsent, load)
    }

    /// As [`get_with`](Self::get_with), with a loader that may find nothing.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub fn optionally_get_with(
        &self,
        key: K,
        load: impl FnOnce() -> Option<V>,
    ) -> Result<Option<V>, LoadError<Infallible>> {
        self.load(key, Expects::MaybeAbsent, || Ok(load()))
    }

    fn load<E: Send + Sync + 'static>(
        &self,
        key: K,
        expects: Expects,
        load: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, LoadError<E>> {
        let core = &*self.core;
        if let Some(value) = core.get_value(&key) {
            return Ok(Some(value));
        }
        let hash = core.hash(&key);
        let mut timer = LoadTimer::new(core);
        load_sync(core, hash, LoadKey::Own(key), expects, || {
            timer.start();
            let result = load();
            timer.stop(matches!(result, Ok(Some(_))));
            result
        })
    }

    /// The twin of [`get_with`](Self::get_with) for tasks. Needs no runtime;
    /// dropping the future cancels this caller and nobody else.
    ///
    /// Threads and tasks that ask for one key wait for the same load.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub async fn get_with_async<F: Future<Output = V>>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<Infallible>> {
        self.try_get_with_async(key, || async { Ok(load().await) })
            .await
    }

    /// The twin of [`try_get_with`](Self::try_get_with) for tasks.
    ///
    /// # Errors
    /// As [`try_get_with`](Self::try_get_with).
    pub async fn try_get_with_async<E, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<V, E>>,
    {
        let load = || async { load().await.map(Some) };
        let answer = self.load_async(key, Expects::Value, load).await?;
        answer.map_or_else(|| unreachable!("who expects a value is given one"), Ok)
    }

    /// The twin of [`try_optionally_get_with`](Self::try_optionally_get_with)
    /// for tasks.
    ///
    /// # Errors
    /// As [`try_get_with`](Self::try_get_with).
    pub async fn try_optionally_get_with_async<E, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, LoadError<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        self.load_async(key, Expects::MaybeAbsent, load).await
    }

    async fn load_async<E, F>(
        &self,
        key: K,
        expects: Expects,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, LoadError<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        let core = &*self.core;
        if let Some(value) = core.get_value(&key) {
            return Ok(Some(value));
        }
        let hash = core.hash(&key);
        let mut timer = LoadTimer::new(core);
        load_async(core, hash, LoadKey::Own(key), expects, || async {
            timer.start();
            let result = load().await;
            timer.stop(matches!(result, Ok(Some(_))));
            result
        })
        .await
    }
}

impl<K: Hash + Eq, V: Clone> Owner for Core<K, V> {
    type Key = LoadKey<K>;
    type Value = V;

    fn start(&self, hash: u64, key: LoadKey<K>, caller: Caller) -> Start<LoadKey<K>, V> {
        let key = self.load_key(key);
        let mut shard = self.lock(hash);
        let mut removed = Removed::new();
        let found = self.find_live(&mut shard, hash, key.get(), &mut removed);
        if let Some(slot) = found
            && let Some(entry) = shard.table.entry(slot)
        {
            let value = entry.value.get().clone();
            self.release(shard, removed);
            // The key is dropped after the lock.
            drop(key);
            return Start::Found(value);
        }
        let start = shard.flights.start(hash, key, caller);
        self.release(shard, removed);
        self.count_if_coalesced(&start);
        start
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<V>) {
        let value = match outcome {
            Outcome::Value(value) => Some(value.clone()),
            Outcome::Absent | Outcome::Failed(_) => None,
        };
        // Detached: the key is dropped here, after the lock.
        let _ = self.land_value(hash, ticket, outcome, value);
    }

    fn with_flights<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<LoadKey<K>, V>) -> R) -> R {
        act(&mut self.lock(hash).flights)
    }
}

impl<K: Hash + Eq, V: Clone> Core<K, V> {
    /// Reads a value as a look-up does.
    pub(super) fn get_value<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key, |entry| {
            entry.as_ref().map(|entry| entry.value.get().clone())
        })
    }

    pub(super) fn count_if_coalesced(&self, start: &Start<LoadKey<K>, V>) {
        if matches!(start, Start::Follow(..)) {
            self.loads.add(COALESCED, 1);
        }
    }

    /// A key in the form that the table of flights needs it in.
    pub(super) fn load_key(&self, key: LoadKey<K>) -> LoadKey<K> {
        match key {
            LoadKey::Own(key) if self.hooks.want_keys() => LoadKey::Shared(Arc::new(key)),
            key => key,
        }
    }

    /// Ends a flight and stores its value for as long as loaded ones live;
    /// gives the key back instead if the flight was detached.
    pub(super) fn land_value(
        &self,
        hash: u64,
        ticket: &Ticket,
        outcome: &Outcome<V>,
        value: Option<V>,
    ) -> Result<(), Option<LoadKey<K>>> {
        self.land_value_for(hash, ticket, outcome, value, Lifetime::Loaded)
    }

    /// The same, for a lifetime of its own.
    pub(super) fn land_value_for(
        &self,
        hash: u64,
        ticket: &Ticket,
        outcome: &Outcome<V>,
        value: Option<V>,
        lifetime: Lifetime,
    ) -> Result<(), Option<LoadKey<K>>> {
        // The user's code first, with the shared key and no lock.
        let with = value.as_ref().and_then(|value| {
            if !self.hooks.want_keys() {
                return Some(self.attributes_of(hash, lifetime));
            }
            let key = match self.lock(hash).flights.key(hash, ticket)? {
                LoadKey::Shared(key) => Arc::clone(key),
                LoadKey::Own(_) => return None,
            };
            Some(self.attributes(hash, &key, value, lifetime))
        });
        let mut shard = self.lock(hash);
        let mut removed = Removed::new();
        if let (Some(_), Some(with)) = (&value, with) {
            shard = self.make_room_for_landing(shard, hash, ticket, with.weight, &mut removed);
        }
        let mut landing = shard.flights.land(hash, ticket);
        let key = landing.take_key();
        let leftover = landing.leftover_key();
        let result = key.as_ref().map(|_| ()).ok_or(leftover);
        match (key, value, with) {
            (Some(key), Some(value), Some(with)) => match key.into_key() {
                Some(key) if self.admits(with.weight) => {
                    let put = self.put_locked(shard, hash, key, value, with, removed);
                    if let Put::Refused(refused) = put {
                        let (key, value) = refused.into_entry();
                        self.notify(key, value, RemovalCause::Refused);
                    }
                }
                Some(key) => {
                    // An older value would be stale.
                    if let Some(slot) = shard.find(hash, &key) {
                        shard.remove(slot, RemovalCause::Replaced, &self.hasher, &mut removed);
                    }
                    self.release(shard, removed);
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    self.notify(key, value, RemovalCause::Refused);
                }
                None => self.release(shard, removed),
            },
            (key, value, _) => {
                self.release(shard, removed);
                // Dropping them is user code.
                drop((key, value));
            }
        }
        landing.deliver(outcome);
        result
    }

    /// The attributes of an entry where no user code has a say.
    fn attributes_of(&self, hash: u64, lifetime: Lifetime) -> Attributes {
        let now = if self.times.need_clock(lifetime) {
            self.clock.now()
        } else {
            Instant::NEVER
        };
        Attributes {
            weight: 1,
            deadline: self.times.deadline(lifetime, hash, now),
            idle: self.times.idle(now),
        }
    }
}

/// Counts one load and its time, also if the loader panics or is cancelled.
pub(super) struct LoadTimer<'a, K, V> {
    core: &'a Core<K, V>,
    started: Option<Instant>,
}

impl<'a, K, V> LoadTimer<'a, K, V> {
    pub(super) fn new(core: &'a Core<K, V>) -> Self {
        Self {
            core,
            started: None,
        }
    }

    pub(super) fn start(&mut self) {
        self.started = Some(self.core.clock.now());
    }

    pub(super) fn stop(&mut self, found: bool) {
        self.stop_many(u64::from(found), u64::from(!found));
    }

    /// Ends the load of several keys, of which so many have a value.
    pub(super) fn stop_many(&mut self, found: u64, failed: u64) {
        if let Some(started) = self.started.take() {
            let took: Duration = self.core.clock.now().saturating_since(started);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.core.loads.add(LOAD_NANOS, nanos);
            self.core.loads.add(LOADS, found);
            self.core.loads.add(LOAD_FAILURES, failed);
        }
    }
}

impl<K, V> Drop for LoadTimer<'_, K, V> {
    fn drop(&mut self) {
        self.stop(false);
    }
}
