use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use super::backplane::Ear;
use super::codec::Codec;
use super::far_half::{FarHalf, tag_in_front, tags_in_front};
use super::front::Front;
use super::item::cut;
use super::recovery::{Change, Subject};
use super::stats::Event;
use super::tag_records::ALL;
use super::{L2, NodeId, Reached, TierBuildError, TierBuilder, TierStats};
use crate::cache::read_through::{Answer, GetError, Loaded, News, ReadThrough, ReadThroughBuilder};
use crate::cache::tagged::Clear;
use crate::hash::TableHasher;
use crate::task::block_on;

/// A [`ReadThrough`] in front of an [`L2`] that other nodes share: what is not
/// in front is read from the L2, and from the source if it is not there either.
///
/// Handles are cheap to clone and share one tier. See the
/// [module's documentation](crate::cache::tier#in-front-of-a-source) for what it
/// promises.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::ReadThrough;
/// use tenfold::cache::tier::{MemoryBackplane, MemoryL2, PlainCodec, TieredReadThrough};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let (l2, backplane) = (MemoryL2::new(1000, time.clock()), MemoryBackplane::new(time.clock()));
/// let node = || {
///     let cache = Cache::builder().max_entries(100).clock(time.clock());
///     let pages = ReadThrough::<u32, String>::builder(cache)
///         .stale_on_error(Duration::from_secs(3600))
///         .loader(|request| Ok(format!("page {}", request.key())));
///     TieredReadThrough::builder(pages, l2.connect(), PlainCodec)
///         .backplane(backplane.connect())
///         .build()
/// };
/// let (a, b) = (node()?, node()?);
/// assert_eq!(a.get(&1)?.as_deref(), Some("page 1"));
/// assert_eq!(b.get(&1)?.as_deref(), Some("page 1"));
/// assert_eq!((a.stats().loads, b.stats().loads), (1, 0)); // b found it in the L2
/// a.insert(1, "edited".to_owned());
/// assert_eq!(b.get(&1)?.as_deref(), Some("edited")); // b was told
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TieredReadThrough<K, V, E = std::convert::Infallible> {
    joined: Arc<Joined<K, V, E>>,
}

struct Joined<K, V, E> {
    /// Held by the loader in front, too.
    far: Arc<FarHalf<K, V>>,
    near: ReadThrough<K, V, E>,
}

impl<K, V, E> TieredReadThrough<K, V, E> {
    /// Starts the configuration of a tier: the layer in front with its source
    /// and all that it does on a bad day, the L2 behind, and how keys and values
    /// become bytes. How long values live is the tier's to say.
    pub fn builder(
        layer: ReadThroughBuilder<K, V, E>,
        l2: impl L2,
        codec: impl Codec<K, V>,
    ) -> TierBuilder<K, V, ReadThroughBuilder<K, V, E>> {
        TierBuilder::new(layer, l2, codec)
    }

    /// The node that this tier is.
    pub fn node(&self) -> NodeId {
        self.joined.far.remote.versions.node()
    }

    /// The layer in front, for other ways to read it and for its statistics.
    ///
    /// What is changed there is changed there only: the L2 and the other nodes
    /// do not hear of it. What an `expire` there makes stale is read from the L2
    /// again. It hears of changes as long as there is a handle to the tier.
    pub fn layer(&self) -> &ReadThrough<K, V, E> {
        &self.joined.near
    }
}

impl<K, V, E> TieredReadThrough<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the value of a key, from the layer in front, the L2 or the
    /// source; `None` if the source has none. See [`ReadThrough::get`].
    ///
    /// # Errors
    /// [`GetError`] if there is no answer, not even a stale one that may stand
    /// in. A failed L2 is a miss, never an error.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.joined.near.get(key)
    }

    /// The twin of [`get`](Self::get) for tasks.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async<Q>(&self, key: &Q) -> Result<Option<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.joined.near.get_async(key).await
    }

    /// As [`get`](Self::get), and says whether the answer is a stale one, and
    /// how old it is. What comes from the L2 counts as loaded, there and then.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_entry<Q>(&self, key: &Q) -> Result<Answer<V>, GetError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.joined.near.get_entry(key)
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
        self.joined.near.get_entry_async(key).await
    }

    /// Stores a value in front and in the L2, and tells the other nodes to drop
    /// theirs. Its time to live is that in the L2, and in front it is no longer
    /// than [`l1_ttl`](TierBuilder::l1_ttl).
    ///
    /// [`Loaded::absent`] is remembered in front, and is an invalidation to the
    /// others; [`Loaded::not_modified`] changes nothing.
    pub fn insert(&self, key: K, entry: impl Into<Loaded<V>>) -> Reached {
        block_on(self.insert_async(key, entry))
    }

    /// The twin of [`insert`](Self::insert) for tasks. A future that is dropped
    /// after its first poll leaves the rest to [`tend`](Self::tend).
    pub async fn insert_async(&self, key: K, entry: impl Into<Loaded<V>>) -> Reached {
        let Joined { far, near } = &*self.joined;
        let remote = &far.remote;
        let mut entry = entry.into();
        // The user's code first: if it panics, nothing has changed.
        let name: Arc<[u8]> = far.codec.encode_key(&key).into();
        let change = match &entry.news {
            News::NotModified => return Reached::Nobody,
            News::Absent => {
                let ttl = entry.time_to_live.unwrap_or(far.negative_ttl);
                entry.time_to_live = Some(ttl.min(remote.times.l1_ttl));
                Change::Invalidate
            }
            News::Value(value) => {
                let ttl = entry.time_to_live.unwrap_or(remote.times.l2_ttl);
                let frame = far.frame(value, entry.tags.as_deref()).into();
                entry.time_to_live = Some(ttl.min(remote.times.l1_ttl));
                let deadline = remote.clock.now() + ttl;
                Change::Set { frame, deadline }
            }
        };
        let subject = Subject::Key(Arc::clone(&name));
        let version = match remote.enqueue(&subject, change) {
            Ok(version) => version,
            Err(reached) => {
                near.invalidate(&key);
                return match entry.news {
                    News::Value(_) => Reached::Nobody,
                    News::Absent | News::NotModified => reached,
                };
            }
        };
        entry.tags = entry.tags.map(tags_in_front);
        near.insert_with(key.clone(), entry);
        // A newer change that was noted before and is through with the layer
        // has just been overwritten there; one noted from now on comes after.
        if remote.known.version(&name) > Some(version) {
            near.invalidate(&key);
        }
        let outdated = |_| near.invalidate(&key);
        remote.spread(&subject, version, outdated).await
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
        let Joined { far, near } = &*self.joined;
        let subject = Subject::Key(far.codec.encode_key(&key.to_owned()).into());
        let queued = far.remote.enqueue(&subject, Change::Invalidate);
        near.invalidate(key);
        match queued {
            Ok(version) => {
                let outdated = |_| near.invalidate(key);
                far.remote.spread(&subject, version, outdated).await
            }
            Err(reached) => reached,
        }
    }

    /// Invalidates everything with a tag, in both tiers and on all nodes. Takes
    /// the same time however much that is.
    pub fn invalidate_tag(&self, tag: impl AsRef<str>) -> Reached {
        block_on(self.invalidate_tag_async(tag))
    }

    /// The twin of [`invalidate_tag`](Self::invalidate_tag) for tasks.
    pub async fn invalidate_tag_async(&self, tag: impl AsRef<str>) -> Reached {
        self.invalidate_all_with(tag.as_ref().as_bytes()).await
    }

    /// Invalidates everything, in both tiers and on all nodes.
    pub fn clear(&self) -> Reached {
        block_on(self.clear_async())
    }

    /// The twin of [`clear`](Self::clear) for tasks.
    pub async fn clear_async(&self) -> Reached {
        self.invalidate_all_with(ALL).await
    }

    async fn invalidate_all_with(&self, tag: &[u8]) -> Reached {
        let remote = &self.joined.far.remote;
        let subject = Subject::Tag(cut(tag).into());
        // The layer in front is told as the change is noted.
        match remote.enqueue(&subject, Change::Invalidate) {
            Ok(version) => remote.spread(&subject, version, |_| ()).await,
            Err(reached) => reached,
        }
    }

    /// Does what is due: see [`Tier::tend`](super::Tier::tend). To be called
    /// every now and then, most simply once per
    /// [`heartbeat`](TierBuilder::heartbeat).
    pub fn tend(&self) {
        block_on(self.tend_async());
    }

    /// The twin of [`tend`](Self::tend) for tasks.
    pub async fn tend_async(&self) {
        let far = &self.joined.far;
        far.remote.look_for_gaps();
        far.remote.beat().await;
        far.recover(usize::MAX).await;
    }

    /// What the tier has done and how it is; what the layer in front has done
    /// is in [`layer`](Self::layer)`().stats()`. A load here is one of the
    /// source; none is unverified.
    pub fn stats(&self) -> TierStats {
        let Joined { far, near } = &*self.joined;
        far.remote.stats(near.cache().stats())
    }
}

impl<K, V, E> TierBuilder<K, V, ReadThroughBuilder<K, V, E>>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Builds the layer and the tier behind it, and subscribes them to their
    /// backplane.
    ///
    /// # Errors
    /// [`TierBuildError`] if the knobs do not fit together.
    pub fn build(self) -> Result<TieredReadThrough<K, V, E>, TierBuildError> {
        let layer = self.in_front();
        if let Some(knob) = layer.own_lifetime() {
            return Err(TierBuildError::CacheLifetime { knob });
        }
        if layer.below().lacks_weigher() {
            return Err(TierBuildError::NoWeigher);
        }
        let clock = layer.below().own_clock().clone();
        let parts = self.into_parts(clock)?;
        let far = Arc::new(FarHalf {
            codec: parts.codec,
            jitter: parts.jitter,
            hasher: TableHasher::random(),
            negative_ttl: parts.cache.absent_for(),
            remote: parts.remote,
        });
        let behind = Arc::clone(&far);
        let layer = parts.cache.behind(|source| {
            Arc::new(move |request| {
                let (far, source) = (Arc::clone(&behind), Arc::clone(&source));
                Box::pin(async move { far.load(&source, request).await })
            })
        });
        let near = layer.build().map_err(TierBuildError::ReadThrough)?;
        let joined = Arc::new(Joined { far, near });
        let front: Weak<dyn Front> = Arc::downgrade(&(Arc::clone(&joined) as Arc<dyn Front>));
        // It was empty: the tier is not yet known to anybody.
        let _ = joined.far.remote.front.set(front);
        let ear: Weak<dyn Ear> = Arc::downgrade(&(Arc::clone(&joined) as Arc<dyn Ear>));
        joined.far.remote.listen(ear);
        Ok(TieredReadThrough { joined })
    }
}

impl<K, V, E> Front for Joined<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn forget(&self, name: &[u8]) {
        let key = catch_unwind(AssertUnwindSafe(|| self.far.codec.decode_key(name)));
        if let Ok(Some(key)) = key {
            self.near.invalidate(&key);
        } else {
            // Whose key that is nobody knows: everything is suspect.
            self.far.remote.counts.count(Event::Strange);
            self.far.remote.note_gap();
        }
    }

    fn forget_tag(&self, tag: &[u8]) {
        if tag == ALL {
            self.near.clear(Clear::Remove);
        } else {
            self.near.invalidate_tag(tag_in_front(tag));
        }
    }

    fn suspect_all(&self) {
        self.near.clear(Clear::Expire);
    }
}

impl<K, V, E> Ear for Joined<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn heard(&self, message: &[u8]) {
        if let Some((name, _)) = self.far.remote.heard(message) {
            self.forget(name);
        }
    }

    fn missed(&self) {
        self.far.remote.note_gap();
    }
}

impl<K, V, E> Clone for TieredReadThrough<K, V, E> {
    /// Another handle to the same tier.
    fn clone(&self) -> Self {
        Self {
            joined: Arc::clone(&self.joined),
        }
    }
}

impl<K, V, E> fmt::Debug for TieredReadThrough<K, V, E>
where
    K: Hash + Eq,
    V: Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredReadThrough")
            .field("node", &self.node())
            .field("l2", &self.joined.far.remote.l2_breaker)
            .field("layer", &self.joined.near)
            .finish_non_exhaustive()
    }
}
