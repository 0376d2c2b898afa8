use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;

use super::budget::Cost;
use super::core::{Core, Hooks};
use super::expiry::Times;
use super::sizing::Watch;
use super::{BuildError, Cache, Expiry, Policy, RemovalCause};
use crate::hash::TableHasher;
use crate::rng;
use crate::time::{Clock, Jitter};

/// Configures a [`Cache`]; made by [`Cache::builder`].
///
/// Every method sets one knob; [`build`](Self::build) checks that they fit
/// together.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
///
/// let pages: Cache<String, String> = Cache::builder()
///     .max_entries(100_000)
///     .max_weight(64 << 20)
///     .weigher(|path: &String, page: &String| (path.len() + page.len()) as u32)
///     .time_to_live(Duration::from_secs(600))
///     .build()?;
/// # Ok::<(), tenfold::cache::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct CacheBuilder<K, V> {
    max_entries: Option<usize>,
    max_weight: Option<u64>,
    policy: Policy,
    time_to_live: Option<Duration>,
    time_to_idle: Option<Duration>,
    jitter: Option<Jitter>,
    clock: Clock,
    seed: Option<u64>,
    shards: Option<usize>,
    estimates_sizes: bool,
    hooks: Hooks<K, V>,
    types: PhantomData<fn() -> (K, V)>,
}

/// The most shards a cache may have.
const MAX_SHARDS: usize = 1024;

/// Below this many entries a shard is not split: small shards guess badly what
/// to evict.
const ENTRIES_PER_SHARD: usize = 2048;

impl<K, V> CacheBuilder<K, V> {
    pub(super) fn new() -> Self {
        Self {
            max_entries: None,
            max_weight: None,
            policy: Policy::default(),
            time_to_live: None,
            time_to_idle: None,
            jitter: None,
            clock: Clock::default(),
            seed: None,
            shards: None,
            estimates_sizes: false,
            hooks: Hooks::default(),
            types: PhantomData,
        }
    }

    /// The most entries the cache holds. Never exceeded. Zero stores nothing.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// The most that all entries may weigh together, in the units of the
    /// [`weigher`](Self::weigher). Never exceeded. May be combined with
    /// [`max_entries`](Self::max_entries); both then hold.
    pub fn max_weight(mut self, weight: u64) -> Self {
        self.max_weight = Some(weight);
        self
    }

    /// Weighs an entry; a weight of 0 counts as 1, so that memory stays
    /// bounded. Called once per stored value, outside the cache's locks.
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.hooks.weigher = Some(Box::new(weigher));
        self
    }

    /// Which entry goes when a new one needs room.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long an entry may be read after it was stored.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// How long an entry may be read after it was last read or stored.
    pub fn time_to_idle(mut self, time_to_idle: Duration) -> Self {
        self.time_to_idle = Some(time_to_idle);
        self
    }

    /// Spreads every time to live by this much, so that entries stored together
    /// do not expire together.
    ///
    /// Unset, values that a loader brought live up to 10 % shorter than their
    /// time to live, and inserted ones exactly as long; set, both are spread as
    /// given ([`Jitter::none`] for neither).
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Decides per entry how long it lives.
    pub fn expire_after(mut self, expiry: impl Expiry<K, V> + 'static) -> Self {
        self.hooks.expiry = Some(Box::new(expiry));
        self
    }

    /// Is told of every entry that leaves, and why, after it is gone: called on
    /// the thread whose call made it leave, outside the cache's locks, so it
    /// may call back into the cache. If it panics, that call panics, and the
    /// cache is intact.
    pub fn eviction_listener(
        mut self,
        listener: impl Fn(K, V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.listener = Some(Box::new(listener));
        self
    }

    /// The clock that times entries. The default is [`Clock::coarse`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes hashes, jitter and sampling the same in every run: for tests and
    /// simulations. Without it they are drawn at random, which protects against
    /// chosen keys and keeps a fleet of processes from expiring as one.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Into how many parts, each with a lock, the cache is split; rounded up to
    /// a power of two. With 1, the exact policies are exact over the whole
    /// cache. The default depends on the processors and on the bounds.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The first knob that says how long entries live, for a layer that says so
    /// itself.
    pub(super) fn own_lifetime(&self) -> Option<&'static str> {
        [
            ("time_to_live", self.time_to_live.is_some()),
            ("time_to_idle", self.time_to_idle.is_some()),
            ("expire_after", self.hooks.expiry.is_some()),
        ]
        .into_iter()
        .find_map(|(knob, is_set)| is_set.then_some(knob))
    }

    /// The clock that the cache will have.
    pub(super) fn own_clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether times to live would be spread as its owner said.
    pub(super) fn has_own_jitter(&self) -> bool {
        self.jitter.is_some()
    }

    /// Whether a weight was given, but nothing to weigh with.
    pub(super) fn lacks_weigher(&self) -> bool {
        self.max_weight.is_some() && self.hooks.weigher.is_none()
    }

    /// Estimates from the cache's own traffic what fewer or more entries would
    /// bring: see [`sizing`](super::sizing) and [`Cache::sizing`].
    ///
    /// Costs at most 450 kB, and less than a nanosecond per look-up in the long
    /// run.
    pub fn estimate_sizes(mut self) -> Self {
        self.estimates_sizes = true;
        self
    }

    /// Builds the cache. It allocates as it fills.
    ///
    /// # Errors
    /// [`BuildError`] if the knobs do not fit together.
    pub fn build(self) -> Result<Cache<K, V>, BuildError>
    where
        K: Hash + Eq,
        V: Clone,
    {
        match (self.max_entries, self.max_weight, &self.hooks.weigher) {
            (None, None, None) => return Err(BuildError::Unbounded),
            (_, None, Some(_)) => return Err(BuildError::WeigherWithoutMaxWeight),
            (_, Some(_), None) => return Err(BuildError::MaxWeightWithoutWeigher),
            _ => {}
        }
        for (knob, duration) in [
            ("time_to_live", self.time_to_live),
            ("time_to_idle", self.time_to_idle),
        ] {
            if duration == Some(Duration::ZERO) {
                return Err(BuildError::ZeroDuration { knob });
            }
        }
        if let Some(jitter) = self.jitter {
            jitter.validate().map_err(BuildError::Jitter)?;
        }
        let shards = match self.shards {
            Some(found) if found == 0 || found > MAX_SHARDS => {
                return Err(BuildError::Shards {
                    found,
                    max: MAX_SHARDS,
                });
            }
            Some(shards) => shards.next_power_of_two(),
            None => default_shards(self.max_entries, self.max_weight),
        };
        let (hasher, jitter_seed) = match self.seed {
            Some(seed) => (TableHasher::with_seed(seed), rng::mix(seed)),
            // Hashes are keyed at random already; the jitter follows them.
            None => (TableHasher::random(), 0),
        };
        let bound = Cost {
            entries: self.max_entries.map_or(u64::MAX, |entries| entries as u64),
            weight: self.max_weight.unwrap_or(u64::MAX),
        };
        let times = Times {
            time_to_live: self.time_to_live,
            time_to_idle: self.time_to_idle,
            jitter: self.jitter,
            jitter_seed,
        };
        let core = Core::new(
            bound,
            shards,
            self.policy,
            hasher,
            self.clock,
            times,
            self.hooks,
        );
        Ok(Cache::from_core(if self.estimates_sizes {
            core.watched_by(Box::new(Watch::new(shards)))
        } else {
            core
        }))
    }
}

/// Enough shards that threads rarely meet, each large enough to choose well.
fn default_shards(max_entries: Option<usize>, max_weight: Option<u64>) -> usize {
    let entries = max_entries.unwrap_or(usize::MAX);
    // How many entries a weight makes is not known; a kilobyte each is a guess
    // that errs on the side of fewer shards.
    let weighed = max_weight.map_or(usize::MAX, |weight| {
        usize::try_from(weight / 1024).unwrap_or(usize::MAX)
    });
    let by_size = entries.min(weighed) / ENTRIES_PER_SHARD;
    let threads = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
    let wanted = (threads * 8).next_power_of_two().min(MAX_SHARDS);
    // The largest power of two that leaves shards of the size above.
    let allowed = 1 << by_size.max(1).ilog2().min(31);
    wanted.min(allowed)
}

impl<K, V> fmt::Debug for CacheBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("max_entries", &self.max_entries)
            .field("max_weight", &self.max_weight)
            .field("policy", &self.policy)
            .field("time_to_live", &self.time_to_live)
            .field("time_to_idle", &self.time_to_idle)
            .field("jitter", &self.jitter)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}
