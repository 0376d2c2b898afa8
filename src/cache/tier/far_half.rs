//! The second tier as a loader: what is asked between a read-through layer and
//! its source.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::codec::Codec;
use super::item::{Tags, cut};
use super::reading::{Far, Patience, Place};
use super::remote::Remote;
use super::stats::Event;
use super::{Item, Version, frame};
use crate::cache::read_through::{Loaded, News, One, Request};
use crate::hash::TableHasher;
use crate::time::{Instant, Jitter};

pub(super) struct FarHalf<K, V> {
    pub(super) codec: Box<dyn Codec<K, V>>,
    pub(super) jitter: Jitter,
    /// Spreads times to live.
    pub(super) hasher: TableHasher,
    /// Of what the source does not have.
    pub(super) negative_ttl: Duration,
    pub(super) remote: Remote,
}

impl<K: 'static, V: 'static> FarHalf<K, V> {
    /// Reads the L2, or else asks the source and fills the L2. Whatever it
    /// brings says how long it lives in front.
    pub(super) async fn load<E>(
        &self,
        source: &One<K, V, E>,
        request: Request<K, V>,
    ) -> Result<Loaded<V>, E> {
        let remote = &self.remote;
        // What happens from here on is held against what is found below.
        let order = remote.known.order();
        let name = self.codec.encode_key(request.key());
        // Who refreshes has that value, or one as old; it asks where the new one
        // is to go.
        let is_refresh = request.is_refresh();
        let place = match remote.read(&name, Patience::Hard).await {
            Far::Value {
                tags,
                bytes,
                until,
                place,
                ..
            } => {
                let decode = || self.codec.decode(&bytes);
                let value = (!is_refresh).then(|| catch_unwind(AssertUnwindSafe(decode)));
                match value {
                    Some(Ok(Some(value))) => {
                        remote.counts.count(Event::L2Hit);
                        self.recover_one().await;
                        return Ok(self.found(&name, value, &tags, until));
                    }
                    Some(_) => remote.counts.count(Event::Corrupt),
                    None => {}
                }
                Some(place)
            }
            Far::Nothing(place) => Some(place),
            Far::Silent => None,
        };
        if !is_refresh {
            remote.counts.count(Event::L2Miss);
        }
        if place.is_some() {
            self.recover_one().await;
        }
        let load = Load {
            name: &name,
            place,
            order,
            began: remote.clock.now(),
            version: remote.versions.next(),
        };
        let loaded = source(request).await.inspect_err(|_| {
            remote.counts.count(Event::LoadFailure);
        })?;
        Ok(self.keep(loaded, load).await)
    }

    /// A value of the L2, which lives on for what it has left.
    fn found(&self, name: &[u8], value: V, tags: &Tags, until: Instant) -> Loaded<V> {
        let left = until.saturating_since(self.remote.clock.now());
        let mut loaded = Loaded::value(value).time_to_live(self.spread(name, left));
        for tag in tags.iter() {
            loaded = loaded.tag(tag_in_front(tag));
        }
        loaded
    }

    /// Stores a loaded value in the L2, if it may be. An absence is not stored
    /// there, and neither is a value that was not modified: its tags are not
    /// known by name any more.
    async fn keep(&self, mut loaded: Loaded<V>, load: Load<'_>) -> Loaded<V> {
        let remote = &self.remote;
        let Load {
            name,
            place,
            order,
            began,
            version,
        } = load;
        let default = match &loaded.news {
            News::Absent => self.negative_ttl,
            News::Value(_) | News::NotModified => remote.times.l2_ttl,
        };
        let ttl = self.spread(name, loaded.time_to_live.unwrap_or(default));
        // Its life began with its load, as did that of any tombstone it could
        // have met.
        let left = |ttl| (began + ttl).saturating_since(remote.clock.now());
        let mut is_current = !remote.known.changed_since(name, order);
        remote.counts.count(match &loaded.news {
            News::Absent => Event::LoadFailure,
            News::Value(_) | News::NotModified => Event::Load,
        });
        if let News::Value(value) = &loaded.news
            && let Some(place) = place
            && is_current
            && !left(ttl).is_zero()
        {
            let frame = self.frame(value, loaded.tags.as_deref());
            is_current = remote.fill(name, &frame, version, left(ttl), place).await;
        }
        let near_ttl = ttl.min(self.spread(name, remote.times.l1_ttl));
        loaded.time_to_live = Some(left(near_ttl));
        if !is_current {
            // It goes to those who wait for it, and is over then.
            remote.counts.count(Event::Overtaken);
            loaded.time_to_live = Some(Duration::ZERO);
        }
        loaded.tags = loaded.tags.map(tags_in_front);
        loaded
    }

    /// A value with its tags as the L2 keeps it.
    pub(super) fn frame(&self, value: &V, tags: Option<&[Arc<str>]>) -> Vec<u8> {
        let tags = tags.unwrap_or_default().iter();
        let named = tags.fold(Item::new(()), |item, tag| item.tag(&**tag));
        frame::to_bytes(&Tags::new(named.tags), &self.codec.encode(value))
    }

    /// Makes up for one change, since the L2 has just answered.
    async fn recover_one(&self) {
        if self.remote.queue.lock().has_idle() {
            self.recover(1).await;
        }
    }

    pub(super) async fn recover(&self, most: usize) {
        let forget = |name: &[u8], _| self.remote.tell_of_key(name);
        self.remote.recover(most, &forget).await;
    }

    /// A time to live, spread by the key and never longer.
    fn spread(&self, name: &[u8], ttl: Duration) -> Duration {
        let chance = crate::rng::mix(self.hasher.hash_one(name));
        self.jitter.apply(ttl, chance).min(ttl)
    }
}

/// What is known of a load besides what it brings.
struct Load<'a> {
    name: &'a [u8],
    /// What the L2 had instead; `None` if it did not say.
    place: Option<Place>,
    order: u64,
    began: Instant,
    version: Version,
}

/// A tag as the layer in front knows it. Nodes with a plain tier may use bytes
/// that are no text: some of those are one tag here.
pub(super) fn tag_in_front(tag: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(cut(tag)).into()
}

pub(super) fn tags_in_front(tags: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let cut = |tag: Arc<str>| tag_in_front(tag.as_bytes());
    tags.into_iter().map(cut).collect()
}
