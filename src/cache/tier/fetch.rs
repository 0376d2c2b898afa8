//! Filling the cache in front: from the L2, or by the caller's loader.

use std::convert::Infallible;
use std::future::Ready;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::item::{Item, Tags, Tiered};
use super::near::Fetch;
use super::reading::{Far, Patience, Place};
use super::stats::Event;
use super::tag_records::Standing;
use super::tier::{Shared, Tier};
use super::{Version, frame};
use crate::cache::LoadError;
use crate::cache::load::LoadTimer;
use crate::cache::load_key::LoadKey;
use crate::sync::flight::{Expects, load_async, load_sync};
use crate::task::block_on;
use crate::time::Instant;

/// The loader of a caller who has none.
pub(super) type NoLoader<V> = fn() -> Ready<Result<Item<V>, Infallible>>;

pub(super) const fn no_loader<V>() -> Option<NoLoader<V>> {
    None
}

/// How often a caller takes part in the load of another that turns out to be
/// from before an invalidation it must not miss.
const PATIENCE: usize = 3;

impl<K, V> Tier<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn fetch_sync<E, L, F>(
        &self,
        key: &K,
        load: Option<L>,
    ) -> Result<Option<V>, LoadError<E>>
    where
        E: Send + Sync + 'static,
        L: FnOnce() -> F,
        F: Future<Output = Result<Item<V>, E>>,
    {
        let trip = self.trip(key, load.is_some());
        let (hash, expects) = (trip.hash, trip.expects);
        let mut load = Some(load);
        for _ in 0..PATIENCE {
            let bring = || block_on(self.bring(hash, key, load.take().flatten()));
            let entry = load_sync(&trip.owner, hash, LoadKey::Own(key.clone()), expects, bring)?;
            if load.is_none() || self.is_good_for(entry.as_ref(), &trip) {
                return Ok(entry.map(|entry| entry.value));
            }
        }
        let entry = block_on(self.bring(hash, key, load.flatten()));
        entry.map(value).map_err(failed)
    }

    pub(super) async fn fetch<E, L, F>(
        &self,
        key: &K,
        load: Option<L>,
    ) -> Result<Option<V>, LoadError<E>>
    where
        E: Send + Sync + 'static,
        L: FnOnce() -> F,
        F: Future<Output = Result<Item<V>, E>>,
    {
        let trip = self.trip(key, load.is_some());
        let (hash, expects) = (trip.hash, trip.expects);
        let mut load = Some(load);
        for _ in 0..PATIENCE {
            let bring = || self.bring(hash, key, load.take().flatten());
            let known = LoadKey::Own(key.clone());
            let entry = load_async(&trip.owner, hash, known, expects, bring).await?;
            if load.is_none() || self.is_good_for(entry.as_ref(), &trip) {
                return Ok(entry.map(|entry| entry.value));
            }
        }
        let entry = self.bring(hash, key, load.flatten()).await;
        entry.map(value).map_err(failed)
    }

    fn trip(&self, key: &K, has_loader: bool) -> Trip<'_, K, V> {
        let Shared { core, remote, .. } = &*self.shared;
        Trip {
            owner: Fetch { core, remote },
            hash: core.hash(key),
            since: remote.tags.generation(),
            came: remote.clock.now(),
            expects: if has_loader {
                Expects::Value
            } else {
                Expects::MaybeAbsent
            },
        }
    }

    /// Whether what another caller brought will do for one who came later: not
    /// if it was begun too long ago, or before a tag was invalidated.
    fn is_good_for(&self, entry: Option<&Tiered<V>>, trip: &Trip<'_, K, V>) -> bool {
        entry.is_none_or(|entry| {
            let is_invalid = || self.shared.remote.standing(entry) == Standing::Invalid;
            entry.expires >= trip.came && (entry.born >= trip.since || !is_invalid())
        })
    }

    /// Reads the L2, or else loads; what comes back is stored by its flight.
    async fn bring<E, L, F>(
        &self,
        hash: u64,
        key: &K,
        load: Option<L>,
    ) -> Result<Option<Tiered<V>>, E>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<Item<V>, E>>,
    {
        let Shared {
            core,
            codec,
            remote,
            ..
        } = &*self.shared;
        // What happens from here on is held against what is found below.
        let born = remote.tags.generation();
        let order = remote.known.order();
        let name = codec.encode_key(key);
        let suspect = core
            .peek(key, Tiered::clone)
            .filter(|entry| remote.standing(entry) == Standing::Suspect);
        let patience = if suspect.is_some() {
            Patience::Soft
        } else {
            Patience::Hard
        };
        let place = match remote.read(&name, patience).await {
            Far::Value {
                tags,
                bytes,
                version,
                until,
                place,
            } => {
                let decoded = catch_unwind(AssertUnwindSafe(|| codec.decode(&bytes)));
                if let Ok(Some(value)) = decoded {
                    remote.counts.count(Event::L2Hit);
                    self.recover_one().await;
                    return Ok(Some(Tiered {
                        value,
                        version,
                        born,
                        expires: self.spread_until(hash, until),
                        tags,
                    }));
                }
                remote.counts.count(Event::Corrupt);
                Some(place)
            }
            Far::Nothing(place) => Some(place),
            Far::Silent => {
                // It may live as long as it could have anyway, and no longer.
                if let Some(suspect) = suspect {
                    remote.counts.count(Event::Unverified);
                    return Ok(Some(suspect));
                }
                None
            }
        };
        remote.counts.count(Event::L2Miss);
        if place.is_some() {
            self.recover_one().await;
        }
        let Some(load) = load else { return Ok(None) };
        let began = self.now();
        let version = remote.versions.next();
        let mut timer = LoadTimer::new(core);
        timer.start();
        let item = load().await;
        timer.stop(item.is_ok());
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                remote.counts.count(Event::LoadFailure);
                return Err(error);
            }
        };
        remote.counts.count(Event::Load);
        let loaded = Loaded {
            name: &name,
            place,
            order,
            began,
            version,
        };
        Ok(Some(self.keep(hash, born, item, loaded).await))
    }

    /// Stores a loaded value in the L2, if it may be.
    async fn keep(&self, hash: u64, born: u64, item: Item<V>, loaded: Loaded<'_>) -> Tiered<V> {
        let Shared { codec, remote, .. } = &*self.shared;
        let Loaded {
            name,
            place,
            order,
            began,
            version,
        } = loaded;
        let Item { value, ttl, tags } = item;
        let tags = Tags::new(tags);
        let ttl = self.spread_ttl(hash, ttl.unwrap_or(remote.times.l2_ttl));
        // Its life began with its load, as did that of any tombstone it could
        // have met: after so long, one may have come and gone unseen.
        let left = (began + ttl).saturating_since(self.now());
        let mut is_current = !remote.known.changed_since(name, order);
        if let Some(place) = place
            && is_current
            && !left.is_zero()
        {
            let frame = frame::to_bytes(&tags, &codec.encode(&value));
            is_current = remote.fill(name, &frame, version, left, place).await;
        }
        let l1_ttl = self.spread_ttl(hash, remote.times.l1_ttl);
        let mut expires = began + ttl.min(l1_ttl);
        if !is_current {
            // It goes to those who wait for it, and is over then.
            remote.counts.count(Event::Overtaken);
            expires = expires.min(self.now());
        }
        Tiered {
            value,
            version,
            born,
            expires,
            tags,
        }
    }

    /// A moment that answers may be believed until, brought forward a little.
    fn spread_until(&self, hash: u64, until: Instant) -> Instant {
        let now = self.now();
        now + self.spread_ttl(hash, until.saturating_since(now))
    }

    /// Makes up for one change, since the L2 has just answered.
    async fn recover_one(&self) {
        if self.shared.remote.queue.lock().has_idle() {
            self.recover(1).await;
        }
    }

    /// A time to live, spread by the key.
    fn spread_ttl(&self, hash: u64, ttl: Duration) -> Duration {
        // Whatever the jitter says: what bounds staleness is not exceeded.
        self.shared
            .jitter
            .apply(ttl, crate::rng::mix(hash))
            .min(ttl)
    }
}

/// What all attempts of one caller share.
struct Trip<'a, K, V> {
    owner: Fetch<'a, K, V>,
    hash: u64,
    /// The generation in which the caller came, and the time.
    since: u64,
    came: Instant,
    expects: Expects,
}

/// What is known of a load besides what it brought.
struct Loaded<'a> {
    name: &'a [u8],
    /// What the L2 had instead; `None` if it did not say.
    place: Option<Place>,
    order: u64,
    began: Instant,
    version: Version,
}

fn value<V>(entry: Option<Tiered<V>>) -> Option<V> {
    entry.map(|entry| entry.value)
}

fn failed<E>(error: E) -> LoadError<E> {
    LoadError::Failed(std::sync::Arc::new(error))
}
