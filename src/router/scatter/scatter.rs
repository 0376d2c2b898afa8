use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::division::Division;
use super::error::{InvalidScatter, ScatterError, ShardError};
use super::gathered::Gathered;
use super::hedge::{Hedge, check_share};
use super::keys::ShardKeys;
use super::partial::Partial;
use super::pool::hand_over;
use super::read::Read;
use crate::hash::StableKey;
use crate::router::router::InForce;
use crate::router::{NodeId, Router};
use crate::task::{Executor, block_on};
use crate::time::Timer;

/// A read of many keys, or of every node, that is about to begin; made by
/// [`Router::scatter`] and [`Router::scatter_all`].
///
/// | Knob | Default |
/// |---|---|
/// | [`timeout`](Self::timeout) | one second |
/// | [`policy`](Self::policy) | [`Partial::All`] |
/// | [`concurrency`](Self::concurrency) | 64 calls |
/// | [`hedge`](Self::hedge) | none |
/// | [`timer`](Self::timer) | a thread that the router starts when a read first waits |
///
/// All of the read goes by one topology, that which was in force when it was made.
#[must_use = "a read does nothing until it is run"]
pub struct Scatter<K> {
    router: Router,
    seen: Arc<InForce>,
    keys: Vec<K>,
    rules: Rules,
}

/// What a read goes by.
pub(super) struct Rules {
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) policy: Partial,
    pub(super) hedge: Option<Hedge>,
    timer: Option<Timer>,
}

/// In place of keys: a read of every node.
#[derive(Debug, Clone, Copy)]
pub struct EveryNode(());

impl Router {
    /// Reads many keys at once: one call for each node that has some, which is given all of
    /// them. The [module's page](crate::router::scatter) has an example.
    ///
    /// A key may be there twice, and is then asked for twice, in one call.
    pub fn scatter<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> Scatter<K> {
        Scatter::new(self, keys.into_iter().collect())
    }

    /// Reads from every node, for questions without a key: the newest twenty of all.
    ///
    /// ```
    /// use std::cmp::Reverse;
    /// use tenfold::router::scatter::merge_by_key;
    /// use tenfold::router::{Router, Topology};
    /// use tenfold::task::block_on;
    ///
    /// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
    /// let newest = router.scatter_all().run(|node| async move {
    ///     let posts = (0..20).map(move |post| 1000 - 3 * post - node.index());
    ///     Ok::<_, std::fmt::Error>(posts.collect::<Vec<_>>()) // newest first
    /// });
    /// let lists = block_on(newest)?.into_answers().into_iter().flatten();
    /// let page: Vec<_> = merge_by_key(lists, |post| Reverse(*post)).take(20).collect();
    /// assert_eq!(page, (981..=1000).rev().collect::<Vec<_>>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scatter_all(&self) -> Scatter<EveryNode> {
        Scatter::new(self, Vec::new())
    }
}

impl<K> Scatter<K> {
    fn new(router: &Router, keys: Vec<K>) -> Self {
        Self {
            seen: router.in_force(),
            router: router.clone(),
            keys,
            rules: Rules {
                timeout: Duration::from_secs(1),
                concurrency: 64,
                policy: Partial::All,
                hedge: None,
                timer: None,
            },
        }
    }

    /// How long the read may take, from when it is first polled. Calls that still run then
    /// are cancelled.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = timeout;
        self
    }

    /// How much must be answered.
    pub fn policy(mut self, policy: Partial) -> Self {
        self.rules.policy = policy;
        self
    }

    /// How many calls may run at once. If there are more, nodes with more keys are asked
    /// first, and second calls last.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.rules.concurrency = calls;
        self
    }

    /// What wakes the read at its deadline: a runtime's, or a test's.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.rules.timer = Some(timer);
        self
    }
}

impl<K: StableKey> Scatter<K> {
    /// Leaves shards that are slow, or fail, to their replicas.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.rules.hedge = Some(hedge);
        self
    }

    /// Calls every node that has keys, on the task that awaits this: nothing is spawned. A
    /// call answers with one value for each of its keys, in their order; a key without a row is
    /// an answer, too, so let it be an `Option`.
    ///
    /// Dropped, it cancels all calls.
    ///
    /// # Errors
    ///
    /// [`ScatterError::TooFew`] if less was answered than the [policy](Self::policy) asks for,
    /// with what there is. Any other before the first call.
    pub async fn run<A, E, F>(
        self,
        mut call: impl FnMut(NodeId, ShardKeys<K>) -> F,
    ) -> Result<Gathered<K, A, E>, ScatterError<K, A, E>>
    where
        F: Future<Output = Result<Vec<A>, E>>,
    {
        let call = |node, keys| {
            let answer = call(node, keys);
            async move { answer.await.map_err(ShardError::Failed) }
        };
        self.gather(call).await
    }

    /// The same for calls that block: they run where `executor` runs tasks, while this thread
    /// sleeps.
    ///
    /// A call that is cancelled before it has begun never begins. One that has begun cannot be
    /// stopped: it runs to its end, and what it brings is dropped. With
    /// [`Executor::caller_runs`] calls run one after the other, and the deadline is looked at between
    /// them.
    ///
    /// ```
    /// use tenfold::router::{Router, Topology};
    /// use tenfold::task::Executor;
    ///
    /// let pool = Executor::caller_runs(); // or one with threads
    /// let router = Router::new(Topology::builder().nodes(["a", "b", "c"]).build()?);
    /// let squares = router.scatter(0..5_u64).run_on(&pool, |_, keys| {
    ///     Ok::<_, std::fmt::Error>(keys.iter().map(|key| key * key).collect())
    /// })?;
    /// assert_eq!(squares.answers(), [0, 1, 4, 9, 16].map(Some));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_on<A, E>(
        self,
        executor: &Executor,
        call: impl Fn(NodeId, ShardKeys<K>) -> Result<Vec<A>, E> + Send + Sync + 'static,
    ) -> Result<Gathered<K, A, E>, ScatterError<K, A, E>>
    where
        K: Send + Sync + 'static,
        A: Send + 'static,
        E: Send + 'static,
    {
        let call = Arc::new(call);
        block_on(self.gather(|node, keys| {
            let call = Arc::clone(&call);
            hand_over(executor, move || call(node, keys))
        }))
    }

    async fn gather<A, E, F>(
        self,
        call: impl FnMut(NodeId, ShardKeys<K>) -> F,
    ) -> Result<Gathered<K, A, E>, ScatterError<K, A, E>>
    where
        F: Future<Output = Result<Vec<A>, ShardError<E>>>,
    {
        self.rules.check()?;
        let (found, max) = (self.keys.len(), u32::MAX as usize);
        if found > max {
            return Err(InvalidScatter::TooManyKeys { found, max }.into());
        }
        let hedged = self.rules.hedge.is_some();
        let division = Division::by_key(&self.seen, self.keys, hedged);
        self.rules.read(&self.router, division, call).await
    }
}

impl Scatter<EveryNode> {
    /// Calls every node, as [`Scatter::run`] calls those that have keys. Answers are in the order of
    /// [`Topology::nodes`](crate::router::Topology::nodes).
    ///
    /// # Errors
    ///
    /// As [`Scatter::run`].
    pub async fn run<A, E, F>(
        self,
        mut call: impl FnMut(NodeId) -> F,
    ) -> Result<Gathered<NodeId, A, E>, ScatterError<NodeId, A, E>>
    where
        F: Future<Output = Result<A, E>>,
    {
        self.rules.check()?;
        let division = Division::of_nodes(&self.seen);
        let call = |node, _| {
            let answer = call(node);
            async move { one(answer.await) }
        };
        self.rules.read(&self.router, division, call).await
    }

    /// The same for calls that block: see [`Scatter::run_on`].
    ///
    /// # Errors
    ///
    /// As [`Scatter::run`].
    pub fn run_on<A, E>(
        self,
        executor: &Executor,
        call: impl Fn(NodeId) -> Result<A, E> + Send + Sync + 'static,
    ) -> Result<Gathered<NodeId, A, E>, ScatterError<NodeId, A, E>>
    where
        A: Send + 'static,
        E: Send + 'static,
    {
        self.rules.check()?;
        let division = Division::of_nodes(&self.seen);
        let call = Arc::new(call);
        block_on(self.rules.read(&self.router, division, |node, _| {
            let call = Arc::clone(&call);
            hand_over(executor, move || call(node).map(|answer| vec![answer]))
        }))
    }
}

fn one<A, E>(answer: Result<A, E>) -> Result<Vec<A>, ShardError<E>> {
    let answers = answer.map(|answer| vec![answer]);
    answers.map_err(ShardError::Failed)
}

impl Rules {
    fn check(&self) -> Result<(), InvalidScatter> {
        if self.timeout.is_zero() {
            return Err(InvalidScatter::ZeroDuration { knob: "timeout" });
        }
        if self.concurrency == 0 {
            return Err(InvalidScatter::ZeroConcurrency);
        }
        check_share("the share of a policy", self.policy.share())?;
        self.hedge
            .as_ref()
            .map_or(Ok(()), |hedge| hedge.check(self.timeout))
    }

    async fn read<K, A, E, F>(
        self,
        router: &Router,
        division: Division<K>,
        mut call: impl FnMut(NodeId, ShardKeys<K>) -> F,
    ) -> Result<Gathered<K, A, E>, ScatterError<K, A, E>>
    where
        F: Future<Output = Result<Vec<A>, ShardError<E>>>,
    {
        let timer = self.timer.clone().unwrap_or_else(|| router.timer().clone());
        let mut read = Read::new(division, self, timer);
        let ending = poll_fn(|context| read.poll(context, &mut call)).await;
        read.end(ending)
    }
}

impl<K> fmt::Debug for Scatter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scatter")
            .field("keys", &self.keys.len())
            .field("timeout", &self.rules.timeout)
            .field("concurrency", &self.rules.concurrency)
            .field("policy", &self.rules.policy)
            .field("hedge", &self.rules.hedge)
            .finish_non_exhaustive()
    }
}
