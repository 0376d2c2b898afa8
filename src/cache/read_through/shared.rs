//! What all handles of a layer share, and what becomes of a load.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::Request;
use super::cached::{Cached, Extra, StandIn};
use super::loaded::{Loaded, News};
use super::loader::Source;
use super::rules::{Moment, Rules, State};
use super::stats::{Count, Tally};
use crate::cache::core::Core;
use crate::cache::expiry::Lifetime;
use crate::cache::load::LoadTimer;
use crate::cache::load_key::LoadKey;
use crate::cache::removal::{RemovalCause, Removed};
use crate::cache::tagged::Tags;
use crate::cache::{Cache, Guard};
use crate::rng;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::flight::{Caller, Flights, Lead, Outcome, Owner, Start, Ticket};
use crate::task::Executor;
use crate::time::{Instant, Timer};

pub(super) struct Shared<K, V, E> {
    pub(super) cache: Cache<K, Cached<V>>,
    pub(super) rules: Rules,
    pub(super) tags: Arc<Tags>,
    pub(super) source: Source<K, V, E>,
    pub(super) guard: Option<Arc<Guard<K>>>,
    pub(super) executor: Option<Executor>,
    pub(super) timer: Timer,
    pub(super) tally: Tally,
    /// Numbers the throws of the dice of early refreshes.
    pub(super) throws: AtomicU64,
}

/// Why a load came to nothing, in the form in which its callers share it.
pub(super) enum Failure<E> {
    Source(Arc<E>),
    NothingToRenew,
}

/// What a load brings: what is stored and given to all, or the failure.
pub(super) type Result<V, E> = std::result::Result<Cached<V>, Arc<Failure<E>>>;

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    pub(super) fn core(&self) -> &Core<K, Cached<V>> {
        &self.cache.core
    }

    #[inline]
    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.core().clock.now(),
            expired: self.tags.expired_before(),
            removed: self.tags.removed_before(),
        }
    }

    /// For the entry of a refresh that may start: when the next attempt may, if
    /// this one shall be made.
    #[cold]
    pub(super) fn throw_dice(&self, cached: &Cached<V>, now: Instant) -> Option<Instant> {
        let refresh = self.rules.refresh_ahead?;
        let throw = self.throws.fetch_add(1, Ordering::Relaxed);
        let chance = rng::mix(throw ^ self.core().times.jitter_seed);
        refresh
            .is_due(now, cached.fresh_until, cached.cost(), chance)
            .then(|| super::refresh_ahead::next_attempt(now, cached.loaded_at, cached.fresh_until))
    }

    /// Asks the loader for one key.
    pub(super) async fn load(&self, hash: u64, key: &K) -> Result<V, E> {
        let begun = self.begin_load(hash, key);
        let is_refresh = begun.state.is_some_and(|state| state != State::Stale);
        let request = Request::new(key.clone(), begun.known.clone(), begun.at.now, is_refresh);
        let mut timer = LoadTimer::new(self.core());
        timer.start();
        let news = (self.source.one)(request).await;
        timer.stop(news.as_ref().is_ok_and(Loaded::is_there));
        self.settle(hash, key, begun, news.map_err(Arc::new))
    }

    /// What is known before the loader is asked.
    pub(super) fn begin_load(&self, hash: u64, key: &K) -> BeginLoad<V> {
        // Before anything is read: no value is older than it says.
        let generation = self.tags.generation();
        let at = self.moment();
        let found = self
            .core()
            .copy_entry(hash, key, &at, &self.rules, &self.tags);
        let (known, state) = found.unzip();
        BeginLoad {
            at,
            generation,
            known,
            state,
        }
    }

    /// Turns the news of a loader into what is stored.
    pub(super) fn settle(
        &self,
        hash: u64,
        key: &K,
        begun: BeginLoad<V>,
        news: std::result::Result<Loaded<V>, Arc<E>>,
    ) -> Result<V, E> {
        let loaded = match news {
            Ok(loaded) => loaded,
            Err(error) => {
                self.tally.count(Count::Failures);
                return self.stand_in(begun, error);
            }
        };
        let time_to_live = loaded.time_to_live;
        let cached = match loaded.news {
            News::Value(value) => {
                self.tally.count(Count::Loads);
                if let Some(guard) = &self.guard {
                    guard.insert(key);
                }
                let extra = self.extra(loaded.tags, loaded.validator, begun.generation);
                self.cached(
                    hash,
                    &begun,
                    Some(value),
                    time_to_live,
                    loaded.weight,
                    extra,
                )
            }
            News::Absent => {
                self.tally.count(Count::Absent);
                let time_to_live = time_to_live.or(self.rules.negative_ttl);
                let time_to_live = Some(time_to_live.unwrap_or(Duration::ZERO));
                let extra = self.extra(loaded.tags, loaded.validator, begun.generation);
                self.cached(hash, &begun, None, time_to_live, loaded.weight, extra)
            }
            News::NotModified => {
                let known = begun.known.as_ref();
                let Some(known) = known.filter(|known| known.value.is_some()) else {
                    self.tally.count(Count::Failures);
                    return Err(Arc::new(Failure::NothingToRenew));
                };
                self.tally.count(Count::NotModified);
                let extra = self.renewed(known, loaded.tags, loaded.validator, begun.generation);
                let (value, weight) = (known.value.clone(), loaded.weight.or(Some(known.weight)));
                self.cached(hash, &begun, value, time_to_live, weight, extra)
            }
        };
        Ok(cached)
    }

    /// The stale value in place of an error, if it is not too old; whoever
    /// refreshes a value that is still fresh has no need of one.
    fn stand_in(&self, begun: BeginLoad<V>, error: Arc<E>) -> Result<V, E> {
        let at = self.moment();
        match begun.known {
            Some(mut stale)
                if !stale.serves(&begun.at) && self.rules.may_stand_in(&stale, at.now) =>
            {
                let until = self.rules.stands_in_until(&stale, at.now);
                stale.stand_in(StandIn::ForFailed, until, begun.generation);
                Ok(stale)
            }
            _ => Err(Arc::new(Failure::Source(error))),
        }
    }

    /// Stores what did not come from the loader.
    pub(super) fn insert(&self, key: K, entry: Loaded<V>) {
        // Before the cache is changed: no other change is older than it says.
        let generation = self.tags.generation();
        let (value, time_to_live) = match entry.news {
            News::Value(value) => (Some(value), entry.time_to_live.or(self.rules.time_to_live)),
            News::Absent => {
                let time_to_live = entry.time_to_live.or(self.rules.negative_ttl);
                (None, Some(time_to_live.unwrap_or(Duration::ZERO)))
            }
            News::NotModified => return,
        };
        if value.is_some()
            && let Some(guard) = &self.guard
        {
            guard.insert(&key);
        }
        let now = self.core().clock.now();
        let hash = self.core().hash(&key);
        let fresh_until = self.ends(time_to_live.map(Lifetime::For), hash, now);
        let cached = Cached {
            value,
            quiet_until: self.rules.quiet_until(now, fresh_until, Duration::ZERO),
            fresh_until,
            loaded_at: now,
            cost: 0,
            weight: entry.weight.unwrap_or(1),
            epoch: generation,
            stand_in: StandIn::No,
            extra: self.extra(entry.tags, entry.validator, generation),
        };
        let until = self.rules.keep_until(&cached);
        if until <= now {
            self.cache.invalidate(&key);
        } else {
            self.cache.insert_with_deadline(key, cached, until);
        }
    }

    fn ends(&self, lifetime: Option<Lifetime>, hash: u64, now: Instant) -> Instant {
        lifetime.map_or(Instant::NEVER, |lifetime| {
            Instant::from_nanos(self.core().times.deadline(lifetime, hash, now))
        })
    }

    fn cached(
        &self,
        hash: u64,
        begun: &BeginLoad<V>,
        value: Option<V>,
        time_to_live: Option<Duration>,
        weight: Option<u32>,
        extra: Option<Arc<Extra>>,
    ) -> Cached<V> {
        let now = self.core().clock.now();
        let cost = now.saturating_since(begun.at.now);
        let time_to_live = time_to_live.or(self.rules.time_to_live);
        let fresh_until = self.ends(time_to_live.map(Lifetime::LoadedFor), hash, now);
        Cached {
            value,
            quiet_until: self.rules.quiet_until(now, fresh_until, cost),
            fresh_until,
            loaded_at: now,
            cost: u32::try_from(cost.as_micros()).unwrap_or(u32::MAX),
            weight: weight.unwrap_or(1),
            epoch: begun.generation,
            stand_in: StandIn::No,
            extra,
        }
    }

    /// What few entries have.
    pub(super) fn extra(
        &self,
        tags: Option<Vec<Arc<str>>>,
        validator: Option<Arc<str>>,
        born: u64,
    ) -> Option<Arc<Extra>> {
        if tags.is_none() && validator.is_none() {
            return None;
        }
        let tags = tags.unwrap_or_default();
        Some(Arc::new(Extra {
            validator,
            tags: tags.iter().map(|tag| self.tags.hash_of(tag)).collect(),
            born,
        }))
    }

    /// The same of a value that was not modified: as it was, where the loader
    /// said nothing new.
    fn renewed(
        &self,
        known: &Cached<V>,
        tags: Option<Vec<Arc<str>>>,
        validator: Option<Arc<str>>,
        born: u64,
    ) -> Option<Arc<Extra>> {
        let old = known.extra.as_ref();
        let validator = validator.or_else(|| old?.validator.clone());
        match (tags, old) {
            (None, Some(old)) => Some(Arc::new(Extra {
                validator,
                tags: old.tags.clone(),
                born,
            })),
            (tags, _) => self.extra(tags, validator, born),
        }
    }
}

/// What was known when a load began.
pub(super) struct BeginLoad<V> {
    pub(super) at: Moment,
    pub(super) generation: u64,
    pub(super) known: Option<Cached<V>>,
    pub(super) state: Option<State>,
}

impl<V> Cached<V> {
    pub(super) fn cost(&self) -> Duration {
        Duration::from_micros(self.cost.into())
    }
}

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Loads as the leader of a flight, and lands.
    pub(super) async fn lead(self: Arc<Self>, lead: Lead<Arc<Self>>, hash: u64, key: K) {
        let result = lead.poll_through(|| self.load(hash, &key), None).await;
        let _ = Self::land(lead, result);
    }

    /// Ends a flight with what its loader brought.
    pub(super) fn land<P>(lead: Lead<P>, result: Result<V, E>) -> Result<V, E>
    where
        P: std::ops::Deref<Target = Self>,
    {
        let outcome = match result {
            Ok(cached) => Outcome::Value(cached),
            Err(failure) => Outcome::Failed(failure),
        };
        lead.land(&outcome);
        // Its own outcome says something to it for certain.
        Self::received(outcome).unwrap_or_else(|| Err(Arc::new(Failure::NothingToRenew)))
    }

    /// An outcome as its callers see it; `None` if it is not one of this
    /// layer's, but of somebody who computes on the cache below.
    pub(super) fn received(outcome: Outcome<Cached<V>>) -> Option<Result<V, E>> {
        match outcome {
            Outcome::Value(cached) => Some(Ok(cached)),
            Outcome::Failed(error) => error.downcast().ok().map(Err),
            Outcome::Absent => None,
        }
    }
}

impl<K, V, E> Owner for Shared<K, V, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    type Key = LoadKey<K>;
    type Value = Cached<V>;

    fn start(&self, hash: u64, key: LoadKey<K>, caller: Caller) -> Start<LoadKey<K>, Cached<V>> {
        let core = self.core();
        let key = core.load_key(key);
        let at = self.moment();
        let mut shard = core.lock(hash);
        if let Some(slot) = shard.find(hash, key.get())
            && let Some(entry) = shard.table.entry(slot)
            && let cached = entry.value.get()
            && cached.serves(&at)
            && cached.has_valid_tags(&self.tags)
        {
            let cached = cached.clone();
            drop(shard);
            // The key is dropped after the lock.
            drop(key);
            return Start::Found(cached);
        }
        let start = shard.flights.start(hash, key, caller);
        drop(shard);
        core.count_if_coalesced(&start);
        start
    }

    fn land(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<Cached<V>>) {
        let core = self.core();
        if let Outcome::Value(cached) = outcome {
            let until = self.rules.keep_until(cached);
            if until <= core.clock.now() {
                core.land_without_storing(hash, ticket, outcome);
                return;
            }
            let (value, lifetime) = (Some(cached.clone()), Lifetime::Until(until));
            let _ = core.land_value_for(hash, ticket, outcome, value, lifetime);
        } else {
            let _ = core.land_value(hash, ticket, outcome, None);
        }
    }

    fn with_flights<R>(
        &self,
        hash: u64,
        act: impl FnOnce(&mut Flights<LoadKey<K>, Cached<V>>) -> R,
    ) -> R {
        self.core().with_flights(hash, act)
    }
}

impl<K: Hash + Eq, V: Clone> Core<K, V> {
    /// Ends a flight whose value is not to be kept. What lies there is older
    /// than the news, and goes.
    fn land_without_storing(&self, hash: u64, ticket: &Ticket, outcome: &Outcome<V>) {
        let mut shard = self.lock(hash);
        let mut landing = shard.flights.land(hash, ticket);
        let mut removed = Removed::new();
        let key = landing.take_key();
        if let Some(key) = &key
            && let Some(slot) = shard.find(hash, key.get())
        {
            shard.remove(slot, RemovalCause::Replaced, &self.hasher, &mut removed);
        }
        self.release(shard, removed);
        drop(key);
        landing.deliver(outcome);
    }
}
