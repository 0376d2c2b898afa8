use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::loader::{Many, One, Source};
use super::rules::Rules;
use super::shared::Shared;
use super::stats::Tally;
use super::{BuildError, Cached, Loaded, Loader, ReadThrough, RefreshAhead, Request};
use crate::cache::tagged::Tags;
use crate::cache::{CacheBuilder, Guard};
use crate::sync::atomic::AtomicU64;
use crate::task::Executor;
use crate::time::{Jitter, Timer};

/// Configures a [`ReadThrough`]; made by [`ReadThrough::builder`].
///
/// Every method sets one knob; [`build`](Self::build) checks that they fit
/// together.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::{ReadThrough, RefreshAhead};
/// use tenfold::task::Executor;
///
/// let pages: ReadThrough<u32, String, std::io::Error> =
///     ReadThrough::builder(Cache::builder().max_entries(10_000))
///         .time_to_live(Duration::from_secs(60))
///         .negative_ttl(Duration::from_secs(5))
///         .refresh_ahead(RefreshAhead::after(0.8))
///         .stale_on_error(Duration::from_secs(3600))
///         .soft_timeout(Duration::from_millis(100))
///         .hard_timeout(Duration::from_secs(2))
///         .executor(Executor::caller_runs()) // a runtime or a pool in earnest
///         .loader(|request| std::fs::read_to_string(format!("pages/{}", request.key())))
///         .build()?;
/// # Ok::<(), tenfold::cache::read_through::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct ReadThroughBuilder<K, V, E> {
    cache: CacheBuilder<K, Cached<V>>,
    rules: Rules,
    one: Option<One<K, V, E>>,
    many: Option<Many<K, V, E>>,
    tags: Option<Arc<Tags>>,
    guard: Option<Arc<Guard<K>>>,
    executor: Option<Executor>,
    timer: Option<Timer>,
}

impl<K, V, E> ReadThroughBuilder<K, V, E> {
    pub(super) fn new(cache: CacheBuilder<K, Cached<V>>) -> Self {
        Self {
            cache,
            rules: Rules::default(),
            one: None,
            many: None,
            tags: None,
            guard: None,
            executor: None,
            timer: None,
        }
    }

    /// How long a value is fresh after it was loaded; unset, for ever. A load
    /// may say otherwise for its entry.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.rules.time_to_live = Some(time_to_live);
        self
    }

    /// How long it is remembered that there is nothing under a key. Unset, it
    /// is not, and the next caller asks the source again.
    pub fn negative_ttl(mut self, time_to_live: Duration) -> Self {
        self.rules.negative_ttl = Some(time_to_live);
        self
    }

    /// Loads an entry anew before its time is over. Needs an
    /// [`executor`](Self::executor).
    pub fn refresh_ahead(mut self, refresh_ahead: RefreshAhead) -> Self {
        self.rules.refresh_ahead = Some(refresh_ahead);
        self
    }

    /// If a load fails, serves the value that was there, up to this long past
    /// its time. Until the [`throttle`](Self::throttle) is over it is served
    /// without asking the source again.
    ///
    /// The entry takes its place in the cache for as long.
    pub fn stale_on_error(mut self, max_stale: Duration) -> Self {
        self.rules.max_stale = Some(max_stale);
        self
    }

    /// How long a stale value is served after a load that failed, or was slow,
    /// before the source is asked again. 30 s unless set.
    pub fn throttle(mut self, throttle: Duration) -> Self {
        self.rules.throttle = Some(throttle);
        self
    }

    /// Keeps a value for this long past its time, to show it and its validator
    /// to the loader; it is served only as far as
    /// [`stale_on_error`](Self::stale_on_error) allows.
    pub fn keep_stale(mut self, keep: Duration) -> Self {
        self.rules.keep_stale = Some(keep);
        self
    }

    /// How long a caller waits for a load if there is a stale value to serve
    /// instead. The load goes on and fills the cache. Needs
    /// [`stale_on_error`](Self::stale_on_error) and an
    /// [`executor`](Self::executor).
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.rules.soft_timeout = Some(timeout);
        self
    }

    /// How long a caller waits for a load at all; then it gets a stale value if
    /// it may, or [`GetError::TimedOut`](super::GetError::TimedOut). The load
    /// goes on and fills the cache. Needs an [`executor`](Self::executor).
    pub fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.rules.hard_timeout = Some(timeout);
        self
    }

    /// Runs the loads that may outlive their callers. If it is full, a refresh
    /// is left for later, and a caller runs its load itself, without timeouts.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Wakes tasks whose time is up. Unset, it is a thread of the layer's own,
    /// started when a task first waits with a timeout and joined with the last
    /// handle; under a manual clock, that clock.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Asked before the loader, where nothing is known of a key: it may know
    /// that there is nothing. It is told of every value that is loaded or
    /// inserted.
    pub fn guard(mut self, guard: impl Into<Arc<Guard<K>>>) -> Self {
        self.guard = Some(guard.into());
        self
    }

    /// A registry of tags to share with other layers; unset, one of its own.
    pub fn tags(mut self, tags: impl Into<Arc<Tags>>) -> Self {
        self.tags = Some(tags.into());
        self
    }

    /// The source, as a closure that blocks. It may return a value, an
    /// `Option` of one, or a [`Loaded`] with more to say.
    ///
    /// A panic is its caller's, or the executor's if it runs there; callers who
    /// wait run their own load. Nothing is stored.
    pub fn loader<L>(
        mut self,
        load: impl Fn(Request<K, V>) -> Result<L, E> + Send + Sync + 'static,
    ) -> Self
    where
        K: Send + 'static,
        V: Send + Sync + 'static,
        L: Into<Loaded<V>>,
    {
        let load = Arc::new(load);
        self.one = Some(Arc::new(move |request| {
            let load = Arc::clone(&load);
            Box::pin(async move { load(request).map(Into::into) })
        }));
        self
    }

    /// The source, as a closure that returns a future.
    pub fn async_loader<L, F>(
        mut self,
        load: impl Fn(Request<K, V>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<L, E>> + Send + 'static,
        K: Send + 'static,
        V: Send + Sync + 'static,
        L: Into<Loaded<V>>,
    {
        let load = Arc::new(load);
        self.one = Some(Arc::new(move |request| {
            let load = Arc::clone(&load);
            Box::pin(async move { load(request).await.map(Into::into) })
        }));
        self
    }

    /// The source for many keys at once, as a closure that blocks; see
    /// [`Loader::load_many`]. If there is no other loader it loads single keys
    /// too.
    pub fn batch_loader<L, I>(
        mut self,
        load: impl Fn(Vec<K>) -> Result<I, E> + Send + Sync + 'static,
    ) -> Self
    where
        K: Send + 'static,
        I: IntoIterator<Item = (K, L)>,
        L: Into<Loaded<V>>,
    {
        let load = Arc::new(load);
        self.many = Some(Arc::new(move |keys| {
            let load = Arc::clone(&load);
            Box::pin(async move { load(keys).map(collect) })
        }));
        self
    }

    /// The source for many keys at once, as a closure that returns a future.
    pub fn async_batch_loader<L, I, F>(
        mut self,
        load: impl Fn(Vec<K>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        K: Send + 'static,
        F: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (K, L)>,
        L: Into<Loaded<V>>,
    {
        let load = Arc::new(load);
        self.many = Some(Arc::new(move |keys| {
            let load = Arc::clone(&load);
            Box::pin(async move { load(keys).await.map(collect) })
        }));
        self
    }

    /// The source, for single keys and for many.
    pub fn load_from(mut self, source: impl Loader<K, V, Error = E> + 'static) -> Self
    where
        K: Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let source = Arc::new(source);
        let many = Arc::clone(&source);
        self.one = Some(Arc::new(move |request| {
            let source = Arc::clone(&source);
            Box::pin(async move { source.load(request).await })
        }));
        self.many = Some(Arc::new(move |keys| {
            let source = Arc::clone(&many);
            Box::pin(async move { source.load_many(keys).await })
        }));
        self
    }

    /// The cache below, as configured so far.
    pub(in crate::cache) fn below(&self) -> &CacheBuilder<K, Cached<V>> {
        &self.cache
    }

    /// What says how long values live, if something does already.
    pub(in crate::cache) fn own_lifetime(&self) -> Option<&'static str> {
        if self.rules.time_to_live.is_some() {
            return Some("time_to_live");
        }
        self.below().has_own_jitter().then_some("jitter")
    }

    /// How long it is remembered that there is nothing.
    pub(in crate::cache) fn absent_for(&self) -> Duration {
        self.rules.negative_ttl.unwrap_or(Duration::ZERO)
    }

    /// Puts another loader between the layer and its source, one that says of
    /// everything how long it lives.
    pub(in crate::cache) fn behind(
        mut self,
        between: impl FnOnce(One<K, V, E>) -> One<K, V, E>,
    ) -> Self
    where
        K: Eq + Clone + Send + 'static,
        V: Send + 'static,
        E: 'static,
    {
        let many = self.many.take();
        let one = self.one.take().or_else(|| many.map(one_of_many));
        self.one = one.map(between);
        self.cache = self.cache.jitter(Jitter::none());
        self
    }

    /// Builds the layer and the cache below.
    ///
    /// # Errors
    /// [`BuildError`] if the knobs do not fit together.
    pub fn build(mut self) -> Result<ReadThrough<K, V, E>, BuildError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        self.check()?;
        let one = match (self.one, &self.many) {
            (Some(one), _) => one,
            (None, Some(many)) => one_of_many(Arc::clone(many)),
            (None, None) => return Err(BuildError::NoLoader),
        };
        if self.cache.lacks_weigher() {
            self.cache = self.cache.weigher(|_, cached| cached.weight());
        }
        let cache = self.cache.build().map_err(BuildError::Cache)?;
        let timer = self
            .timer
            .unwrap_or_else(|| match cache.core.clock.as_manual() {
                Some(clock) => clock.timer(),
                None => Timer::thread(),
            });
        Ok(ReadThrough::from_shared(Shared {
            cache,
            rules: self.rules,
            tags: self.tags.unwrap_or_default(),
            source: Source {
                one,
                many: self.many,
            },
            guard: self.guard,
            executor: self.executor,
            timer,
            tally: Tally::new(),
            throws: AtomicU64::new(0),
        }))
    }

    fn check(&self) -> Result<(), BuildError> {
        let rules = &self.rules;
        if let Some(knob) = self.cache.own_lifetime() {
            return Err(BuildError::SetOnCache { knob });
        }
        for (knob, duration) in [
            ("time_to_live", rules.time_to_live),
            ("negative_ttl", rules.negative_ttl),
            ("stale_on_error", rules.max_stale),
            ("throttle", rules.throttle),
            ("keep_stale", rules.keep_stale),
            ("soft_timeout", rules.soft_timeout),
            ("hard_timeout", rules.hard_timeout),
        ] {
            if duration == Some(Duration::ZERO) {
                return Err(BuildError::ZeroDuration { knob });
            }
        }
        if let Some(refresh_ahead) = rules.refresh_ahead {
            refresh_ahead.validate()?;
        }
        for (knob, is_set) in [
            ("throttle", rules.throttle.is_some()),
            ("soft_timeout", rules.soft_timeout.is_some()),
        ] {
            if is_set && rules.max_stale.is_none() {
                return Err(BuildError::NoStale { knob });
            }
        }
        for (knob, is_set) in [
            ("refresh_ahead", rules.refresh_ahead.is_some()),
            ("soft_timeout", rules.soft_timeout.is_some()),
            ("hard_timeout", rules.hard_timeout.is_some()),
        ] {
            if is_set && self.executor.is_none() {
                return Err(BuildError::NoExecutor { knob });
            }
        }
        match (rules.soft_timeout, rules.hard_timeout) {
            (Some(soft), Some(hard)) if soft >= hard => {
                Err(BuildError::SoftNotShorter { soft, hard })
            }
            _ => Ok(()),
        }
    }
}

/// Loads one key with the loader for many.
fn one_of_many<K, V, E>(many: Many<K, V, E>) -> One<K, V, E>
where
    K: Eq + Clone + Send + 'static,
    V: Send + 'static,
    E: 'static,
{
    Arc::new(move |request| {
        let key = request.into_key();
        let asked = many(vec![key.clone()]);
        Box::pin(async move {
            let found = asked.await?.into_iter().find(|(found, _)| *found == key);
            Ok(found.map_or_else(Loaded::absent, |(_, loaded)| loaded))
        })
    })
}

fn collect<K, V, L: Into<Loaded<V>>>(
    found: impl IntoIterator<Item = (K, L)>,
) -> Vec<(K, Loaded<V>)> {
    let found = found.into_iter();
    found.map(|(key, loaded)| (key, loaded.into())).collect()
}

impl<K, V, E> fmt::Debug for ReadThroughBuilder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThroughBuilder")
            .field("cache", &self.cache)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
