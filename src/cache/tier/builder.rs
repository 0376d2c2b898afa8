use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use super::backplane::{AnyBackplane, Backplane, Ear};
use super::breaker::Breaker;
use super::call::{CallError, Timers};
use super::codec::Codec;
use super::item::Tiered;
use super::known::Known;
use super::l2::{AnyL2, L2};
use super::peers::Peers;
use super::recovery::Queue;
use super::remote::{OnFailure, Remote, TierTimes};
use super::stats::Counts;
use super::tag_records::TagRecords;
use super::tier::{Shared, Tier};
use super::version::VersionClock;
use super::{NodeId, TierBuildError};
use crate::cache::CacheBuilder;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::time::{Clock, Instant, Jitter, ManualClock, Timer};

/// Configures a [`Tier`], or a [`TieredReadThrough`](super::TieredReadThrough);
/// made by [`Tier::builder`] and
/// [`TieredReadThrough::builder`](super::TieredReadThrough::builder). `C` is the
/// builder of what is in front.
#[must_use = "a builder does nothing until `build` is called"]
pub struct TierBuilder<K, V, C = CacheBuilder<K, Tiered<V>>> {
    cache: C,
    codec: Box<dyn Codec<K, V>>,
    l2: Box<dyn AnyL2>,
    backplane: Option<Box<dyn AnyBackplane>>,
    times: TierTimes,
    soft_timeout: Option<Duration>,
    reorder_window: Duration,
    jitter: Jitter,
    failures: u32,
    open_for: Duration,
    max_queued: usize,
    max_queued_bytes: usize,
    max_known: usize,
    node: Option<NodeId>,
    wall_time: Option<SystemTime>,
    timer: Option<Timer>,
    on_failure: Option<OnFailure>,
}

impl<K, V, C> TierBuilder<K, V, C> {
    pub(super) fn new(cache: C, l2: impl L2, codec: impl Codec<K, V>) -> Self {
        Self {
            cache,
            codec: Box::new(codec),
            l2: Box::new(l2),
            backplane: None,
            times: TierTimes {
                l1_ttl: Duration::from_secs(60),
                l2_ttl: Duration::from_secs(3600),
                timeout: Duration::from_secs(1),
                soft_timeout: Duration::from_millis(100),
                heartbeat: Duration::from_secs(1),
            },
            soft_timeout: None,
            reorder_window: Duration::from_millis(100),
            jitter: Jitter::fraction(0.1).shorten(),
            failures: 5,
            open_for: Duration::from_secs(5),
            max_queued: 10_000,
            max_queued_bytes: 16 << 20,
            max_known: 65_536,
            node: None,
            wall_time: None,
            timer: None,
            on_failure: None,
        }
    }

    /// What carries news of changes to the other nodes. Without one, they learn
    /// of a change when their own entry has lived its [`l1_ttl`](Self::l1_ttl).
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.backplane = Some(Box::new(backplane));
        self
    }

    /// How long an entry may be read from the cache in front, from when its
    /// value was read from the L2 or its load began: the most that a read can be
    /// behind the L2. One minute, unless set.
    pub fn l1_ttl(mut self, ttl: Duration) -> Self {
        self.times.l1_ttl = ttl;
        self
    }

    /// How long the L2 keeps values, if an item says nothing else, and
    /// tombstones. One hour, unless set.
    pub fn l2_ttl(mut self, ttl: Duration) -> Self {
        self.times.l2_ttl = ttl;
        self
    }

    /// Spreads both times to live per key, so that what was loaded together does
    /// not expire together. Up to a tenth shorter, unless set. Nothing ever lives
    /// longer than the times above.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long a call of the L2 or the backplane may take before it counts as
    /// failed. One second, unless set. The call is dropped then; a change is
    /// tried again later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.times.timeout = timeout;
        self
    }

    /// How long a read of the L2 may take where a suspect value is at hand that
    /// will do otherwise. A tenth of a second, or the
    /// [`timeout`](Self::timeout) if that is shorter, unless set.
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.soft_timeout = Some(timeout);
        self
    }

    /// After so many failures in a row the L2 (or the backplane: each has a
    /// [`Breaker`] of its own) is left alone for this long. Five, and five
    /// seconds, unless set.
    pub fn breaker(mut self, failures: u32, open_for: Duration) -> Self {
        self.failures = failures;
        self.open_for = open_for;
        self
    }

    /// How often [`tend`](Tier::tend) tells the other nodes how many messages
    /// there were, from which they see that one was lost. One second, unless
    /// set.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.times.heartbeat = heartbeat;
        self
    }

    /// How long a message may arrive after a later one before it counts as lost.
    /// A tenth of a second, unless set.
    pub fn reorder_window(mut self, window: Duration) -> Self {
        self.reorder_window = window;
        self
    }

    /// The most changes, and bytes of keys and values in them, that wait for an
    /// L2 or a backplane that does not answer. If the bytes run out, the L2 will
    /// get an invalidation instead of the value; if the changes do, all of them
    /// become one invalidation of everything. 10 000 and 16 MiB, unless set.
    pub fn recovery(mut self, max_changes: usize, max_bytes: usize) -> Self {
        self.max_queued = max_changes;
        self.max_queued_bytes = max_bytes;
        self
    }

    /// Of how many changed keys, and of how many tags, this node remembers the
    /// newest version it has heard of, so that it does not believe an L2 that
    /// has not heard of it yet. 32 bytes each, and a tag's name; 65 536 of each,
    /// unless set.
    pub fn memory(mut self, changes: usize) -> Self {
        self.max_known = changes;
        self
    }

    /// The number of this node. Drawn at random, unless set.
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// The time of day, now: the cache's clock counts on from here, and the
    /// versions of all nodes can be compared. Must be set, unless the clock is a
    /// manual one, whose own count will do.
    pub fn wall_time(mut self, now: SystemTime) -> Self {
        self.wall_time = Some(now);
        self
    }

    /// What wakes a task whose call has taken too long. Unless set: the clock's
    /// own, if that is a manual one, or else a thread that is started when a call
    /// first has to be waited for, and joined when the tier is dropped.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Is told why calls of the L2 and the backplane failed, on the thread that
    /// made them and under no lock: for logs. A panic in it is swallowed.
    pub fn on_failure(mut self, on_failure: impl Fn(&CallError) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Box::new(on_failure));
        self
    }

    /// What is behind the cache, by the cache's clock.
    pub(super) fn into_parts(mut self, clock: Clock) -> Result<Parts<K, V, C>, TierBuildError> {
        self.check()?;
        let manual = clock.as_manual();
        let epoch = match (self.wall_time, manual) {
            (None, None) => return Err(TierBuildError::NoWallTime),
            (None, Some(_)) => 0,
            (Some(now), _) => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH);
                let now = now.map_or(0, |since| since.as_nanos());
                let now = u64::try_from(now).unwrap_or(u64::MAX);
                now.saturating_sub(clock.now().as_nanos())
            }
        };
        let timer = self.timer.or_else(|| manual.map(ManualClock::timer));
        let node = self.node.unwrap_or_else(NodeId::random);
        let breaker = || Breaker::new(self.failures, self.open_for, clock.clone());
        let remote = Remote {
            l2: self.l2,
            backplane: self.backplane,
            l2_breaker: breaker(),
            backplane_breaker: breaker(),
            timers: Timers::new(timer),
            versions: VersionClock::new(clock.clone(), epoch, node),
            times: self.times,
            on_failure: self.on_failure,
            counts: Counts::new(),
            known: Known::new(self.max_known),
            tags: TagRecords::new(self.max_known),
            queue: Mutex::new(Queue::new(self.max_queued, self.max_queued_bytes)),
            peers: Mutex::new(Peers::new(self.reorder_window)),
            sent: AtomicU64::new(0),
            incarnation: Mutex::new(None),
            next_heartbeat: Mutex::new(Instant::from_nanos(0)),
            front: OnceLock::new(),
            clock,
        };
        Ok(Parts {
            cache: self.cache,
            codec: self.codec,
            jitter: self.jitter,
            remote,
        })
    }

    fn check(&mut self) -> Result<(), TierBuildError> {
        let times = &mut self.times;
        times.soft_timeout = match self.soft_timeout {
            Some(soft) if soft > times.timeout => return Err(TierBuildError::SoftTimeoutTooLong),
            Some(soft) => soft,
            None => times.soft_timeout.min(times.timeout),
        };
        for (knob, duration) in [
            ("l1_ttl", times.l1_ttl),
            ("l2_ttl", times.l2_ttl),
            ("timeout", times.timeout),
            ("soft_timeout", times.soft_timeout),
            ("heartbeat", times.heartbeat),
            ("breaker's open_for", self.open_for),
        ] {
            if duration.is_zero() {
                return Err(TierBuildError::ZeroDuration { knob });
            }
        }
        if times.l1_ttl > times.l2_ttl {
            return Err(TierBuildError::L1OutlivesL2);
        }
        for (knob, room) in [
            ("recovery's max_changes", self.max_queued),
            ("recovery's max_bytes", self.max_queued_bytes),
            ("memory", self.max_known),
        ] {
            if room == 0 {
                return Err(TierBuildError::NoRoom { knob });
            }
        }
        self.jitter
            .validate()
            .map_err(|invalid| TierBuildError::Cache(crate::cache::BuildError::Jitter(invalid)))
    }

    /// The builder of what is in front.
    pub(super) fn in_front(&self) -> &C {
        &self.cache
    }
}

impl<K, V> TierBuilder<K, V> {
    /// Builds the tier and subscribes it to its backplane.
    ///
    /// # Errors
    /// [`TierBuildError`] if the knobs do not fit together.
    pub fn build(self) -> Result<Tier<K, V>, TierBuildError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        if let Some(knob) = self.cache.own_lifetime() {
            return Err(TierBuildError::CacheLifetime { knob });
        }
        let clock = self.cache.own_clock().clone();
        let parts = self.into_parts(clock)?;
        let cache = parts.cache.build().map_err(TierBuildError::Cache)?;
        let shared = Arc::new(Shared {
            core: Arc::clone(&cache.core),
            codec: parts.codec,
            jitter: parts.jitter,
            remote: parts.remote,
        });
        let ear: Weak<dyn Ear> = Arc::downgrade(&(Arc::clone(&shared) as Arc<dyn Ear>));
        shared.remote.listen(ear);
        Ok(Tier { shared })
    }
}

/// What a tier is made of, before it is known what is in front.
pub(super) struct Parts<K, V, C> {
    pub(super) cache: C,
    pub(super) codec: Box<dyn Codec<K, V>>,
    pub(super) jitter: Jitter,
    pub(super) remote: Remote,
}

impl<K, V, C: fmt::Debug> fmt::Debug for TierBuilder<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TierBuilder")
            .field("cache", &self.cache)
            .field("times", &self.times)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
