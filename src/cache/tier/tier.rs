use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::backplane::Ear;
use super::codec::Codec;
use super::fetch::no_loader;
use super::item::{Item, Tags, Tiered, cut};
use super::recovery::{Change, Subject};
use super::remote::Remote;
use super::stats::Event;
use super::tag_records::{ALL, Standing};
use super::{L2, NodeId, TierBuilder, TierStats, Version, frame};
use crate::cache::core::Core;
use crate::cache::{CacheBuilder, LoadError};
use crate::task::block_on;
use crate::time::{Instant, Jitter};

/// A cache in front of an [`L2`] that other nodes share.
///
/// Handles are cheap to clone and share one tier. See the
/// [module's documentation](crate::cache::tier) for what it promises and costs.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::tier::{MemoryL2, PlainCodec, Tier};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let l2 = MemoryL2::new(1000, time.clock());
/// let node = || {
///     let cache = Cache::builder().max_entries(100).clock(time.clock());
///     Tier::<u32, String>::builder(cache, l2.connect(), PlainCodec).build()
/// };
/// let (a, b) = (node()?, node()?);
/// a.insert(1, "one".to_owned());
/// assert_eq!(b.get(&1).as_deref(), Some("one"));
/// # Ok::<(), tenfold::cache::tier::TierBuildError>(())
/// ```
pub struct Tier<K, V> {
    pub(super) shared: Arc<Shared<K, V>>,
}

pub(super) struct Shared<K, V> {
    pub(super) core: Arc<Core<K, Tiered<V>>>,
    pub(super) codec: Box<dyn Codec<K, V>>,
    pub(super) jitter: Jitter,
    pub(super) remote: Remote,
}

/// How far a change has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// The L2 has it, and the other nodes were told.
    Everyone,
    /// This node has it; the L2 or the backplane did not answer, and will be told
    /// by [`Tier::tend`] or a later call.
    Here,
    /// Nobody: a newer change of the same key was there already; or, of a value,
    /// there was no room left to remember it until the L2 answers.
    Nobody,
}

impl<K, V> Tier<K, V> {
    /// Starts the configuration of a tier: the cache in front, the L2 behind,
    /// and how keys and values become bytes.
    pub fn builder(
        cache: CacheBuilder<K, Tiered<V>>,
        l2: impl L2,
        codec: impl Codec<K, V>,
    ) -> TierBuilder<K, V> {
        TierBuilder::new(cache, l2, codec)
    }

    /// The node that this tier is.
    pub fn node(&self) -> NodeId {
        self.shared.remote.versions.node()
    }
}

impl<K, V> Tier<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads a value from the cache in front, or else from the L2; blocks while
    /// it is read there, for the [`timeout`](TierBuilder::timeout) at most. An
    /// L2 that fails is a miss.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.held(key) {
            return Some(value);
        }
        self.fetch_sync(&key.to_owned(), no_loader()).ok().flatten()
    }

    /// The twin of [`get`](Self::get) for tasks.
    pub async fn get_async<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.held(key) {
            return Some(value);
        }
        self.fetch(&key.to_owned(), no_loader())
            .await
            .ok()
            .flatten()
    }

    /// Reads a value, or loads it and stores it in both tiers. One caller per
    /// node loads, however many ask; see
    /// [`Cache::get_with`](crate::cache::Cache::get_with).
    ///
    /// A value whose load began before an invalidation of its key, made here or
    /// heard from another node, goes to those who wait for it already and is
    /// stored nowhere.
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] or [`LoadError::Cycle`] if the loader asks,
    /// through itself or another, for its own key.
    pub fn get_with<I: Into<Item<V>>>(
        &self,
        key: K,
        load: impl FnOnce() -> I,
    ) -> Result<V, LoadError<Infallible>> {
        self.try_get_with(key, || Ok(load()))
    }

    /// As [`get_with`](Self::get_with), with a loader that may fail. Its error
    /// goes to all who wait and is not stored.
    ///
    /// # Errors
    /// [`LoadError::Failed`] with the loader's error; otherwise as
    /// [`get_with`](Self::get_with).
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the key is taken as `Cache::try_get_with` takes it"
    )]
    pub fn try_get_with<E: Send + Sync + 'static, I: Into<Item<V>>>(
        &self,
        key: K,
        load: impl FnOnce() -> Result<I, E>,
    ) -> Result<V, LoadError<E>> {
        if let Some(value) = self.held(&key) {
            return Ok(value);
        }
        let load = || std::future::ready(load().map(Into::into));
        let found = self.fetch_sync(&key, Some(load))?;
        found.map_or_else(|| unreachable!("who has a loader gets a value"), Ok)
    }

    /// The twin of [`get_with`](Self::get_with) for tasks.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub async fn get_with_async<I: Into<Item<V>>, F: Future<Output = I>>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<Infallible>> {
        self.try_get_with_async(key, || async { Ok(load().await) })
            .await
    }

    /// The twin of [`try_get_with`](Self::try_get_with) for tasks. Dropping the
    /// future cancels this caller and nobody else.
    ///
    /// # Errors
    /// As [`try_get_with`](Self::try_get_with).
    pub async fn try_get_with_async<E, I, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        E: Send + Sync + 'static,
        I: Into<Item<V>>,
        F: Future<Output = Result<I, E>>,
    {
        if let Some(value) = self.held(&key) {
            return Ok(value);
        }
        let load = || async { load().await.map(Into::into) };
        let found = self.fetch(&key, Some(load)).await?;
        found.map_or_else(|| unreachable!("who has a loader gets a value"), Ok)
    }

    /// Reads a value from the cache in front and from nowhere else: never waits.
    pub fn get_near<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.held(key)
    }

    /// Stores a value in both tiers and tells the other nodes to drop theirs.
    ///
    /// It is visible on this node at once. If the L2 does not answer, it is told
    /// later: [`Reached`] says so.
    pub fn insert(&self, key: K, item: impl Into<Item<V>>) -> Reached {
        block_on(self.insert_async(key, item))
    }

    /// The twin of [`insert`](Self::insert) for tasks. A future that is dropped
    /// after its first poll leaves the rest to [`tend`](Self::tend).
    pub async fn insert_async(&self, key: K, item: impl Into<Item<V>>) -> Reached {
        let Item { value, ttl, tags } = item.into();
        let shared = &*self.shared;
        let remote = &shared.remote;
        // The user's code first: if it panics, nothing has changed.
        let name = shared.codec.encode_key(&key);
        let tags = Tags::new(tags);
        let frame: Arc<[u8]> = frame::to_bytes(&tags, &shared.codec.encode(&value)).into();
        let now = remote.clock.now();
        let l2_ttl = ttl.unwrap_or(remote.times.l2_ttl);
        let change = Change::Set {
            frame,
            deadline: now + l2_ttl,
        };
        let born = remote.tags.generation();
        let subject = Subject::Key(name.into());
        let Ok(version) = remote.enqueue(&subject, change) else {
            return Reached::Nobody;
        };
        let entry = Tiered {
            value,
            version,
            born,
            expires: now + l2_ttl.min(remote.times.l1_ttl),
            tags,
        };
        shared.core.put_if_newer(key.clone(), entry);
        remote
            .spread(&subject, version, |newer| {
                shared.core.forget_older(&key, newer);
            })
            .await
    }

    /// Removes a value from both tiers and tells the other nodes to drop theirs.
    ///
    /// Once it has returned [`Reached::Everyone`], no value whose load or whose
    /// read of the L2 began before the call is stored in the L2 or on this node,
    /// nor on one that has heard of it.
    pub fn invalidate<Q>(&self, key: &Q) -> Reached
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        block_on(self.invalidate_async(key))
    }

    /// The twin of [`invalidate`](Self::invalidate) for tasks. A future that is
    /// dropped after its first poll leaves the rest to [`tend`](Self::tend).
    pub async fn invalidate_async<Q>(&self, key: &Q) -> Reached
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shared = &*self.shared;
        let remote = &shared.remote;
        let subject = Subject::Key(shared.codec.encode_key(&key.to_owned()).into());
        let version = match remote.enqueue(&subject, Change::Invalidate) {
            Ok(version) => version,
            Err(reached) => return reached,
        };
        shared.core.forget_older(key, version);
        remote
            .spread(&subject, version, |newer| {
                shared.core.forget_older(key, newer);
            })
            .await
    }

    /// Invalidates everything with a tag, in both tiers and on all nodes. Takes
    /// the same time however much that is.
    pub fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Reached {
        block_on(self.invalidate_tag_async(tag))
    }

    /// The twin of [`invalidate_tag`](Self::invalidate_tag) for tasks.
    pub async fn invalidate_tag_async(&self, tag: impl AsRef<[u8]>) -> Reached {
        let remote = &self.shared.remote;
        let subject = Subject::Tag(cut(tag.as_ref()).into());
        match remote.enqueue(&subject, Change::Invalidate) {
            Ok(version) => remote.spread(&subject, version, |_| ()).await,
            Err(reached) => reached,
        }
    }

    /// Invalidates everything, in both tiers and on all nodes. Takes the same
    /// time however much that is; the memory of this node's entries comes back
    /// as they expire or are evicted.
    pub fn clear(&self) -> Reached {
        block_on(self.clear_async())
    }

    /// The twin of [`clear`](Self::clear) for tasks.
    pub async fn clear_async(&self) -> Reached {
        self.invalidate_tag_async(ALL).await
    }

    /// Does what is due: tells the L2 and the other nodes what they could not be
    /// told before, tells the other nodes that this one is alive (once per
    /// [`heartbeat`](TierBuilder::heartbeat)), and looks for messages that have
    /// been missed. To be called every now and then, most simply once per
    /// heartbeat; calls that have just reached the L2 do a part of it.
    pub fn tend(&self) {
        block_on(self.tend_async());
    }

    /// The twin of [`tend`](Self::tend) for tasks.
    pub async fn tend_async(&self) {
        let remote = &self.shared.remote;
        remote.look_for_gaps();
        remote.beat().await;
        self.recover(usize::MAX).await;
    }

    /// Entries in the cache in front, those that are no longer good included.
    pub fn len(&self) -> usize {
        self.shared.core.used().entries as usize
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the tier has done and how it is.
    pub fn stats(&self) -> TierStats {
        self.shared.remote.stats(self.shared.core.stats())
    }

    /// A value of the cache in front, if it is good.
    #[inline]
    fn held<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entry = self.shared.core.get_value(key)?;
        (self.shared.remote.standing(&entry) == Standing::Good).then_some(entry.value)
    }

    pub(super) async fn recover(&self, most: usize) {
        let forget = |name: &[u8], version| self.shared.forget(name, version);
        self.shared.remote.recover(most, &forget).await;
    }

    pub(super) fn now(&self) -> Instant {
        self.shared.remote.clock.now()
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + 'static,
    V: Clone + 'static,
{
    /// Forgets what the cache in front holds of a key, up to this version.
    fn forget(&self, name: &[u8], version: Version) {
        let key = catch_unwind(AssertUnwindSafe(|| self.codec.decode_key(name)));
        if let Ok(Some(key)) = key {
            self.core.forget_older(&key, version);
        } else {
            // Whose key that is nobody knows: everything is suspect.
            self.remote.counts.count(Event::Strange);
            self.remote.note_gap();
        }
    }
}

impl<K, V> Ear for Shared<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn heard(&self, message: &[u8]) {
        if let Some((name, version)) = self.remote.heard(message) {
            self.forget(name, version);
        }
    }

    fn missed(&self) {
        self.remote.note_gap();
    }
}

impl<K, V> Clone for Tier<K, V> {
    /// Another handle to the same tier.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V> fmt::Debug for Tier<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("node", &self.node())
            .field("l2", &self.shared.remote.l2_breaker)
            .finish_non_exhaustive()
    }
}
