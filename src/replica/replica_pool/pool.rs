use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::async_monitor::AsyncMonitor;
use super::builder::ReplicaPoolBuilder;
use super::core::Core;
use super::hedge::Hedge;
use super::lending::{self, deadline};
use super::monitor::Monitor;
use super::op::Attempts;
use super::{Events, Lent, Op, ReplicaError, ServerError};
use crate::replica::pool::{PoolDrain, PoolStats};
use crate::replica::topology::{Input, Node, NodeSet, Settings, Topology};
use crate::replica::ways::{Awaiting, Blocking, run};
use crate::replica::{
    Async, AsyncConnector, AsyncProber, Client, Connector, Endpoint, Prober, ReadPreference,
};

/// Connections to one primary and its replicas: writes go to the one, reads are spread over the others; see the
/// [module](crate::replica).
///
/// Cheap to clone; clones are the same pool. It starts nothing by itself: a [monitor](Self::monitor) has to run.
pub struct ReplicaPool<C: Client>(pub(super) Arc<Core<C>>);

impl<C: Client> ReplicaPool<C> {
    /// A builder with the defaults, for the servers of these settings. A connector that is made of futures is given as
    /// [`Async`]`(connector)`.
    pub fn builder(client: C, settings: Arc<Settings>) -> ReplicaPoolBuilder<C> {
        ReplicaPoolBuilder::new(client, settings)
    }

    /// The servers as they stand.
    pub fn topology(&self) -> Topology {
        self.0.topology()
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.0.events.listen(self.0.times.clone())
    }

    /// What the pool of each server has done, and how it stands, by the server's name.
    pub fn stats(&self) -> Vec<(Endpoint, PoolStats)> {
        let routes = self.0.routes.load();
        let stats = |target: &Arc<super::routes::Target<C>>| {
            (target.pool.endpoint().clone(), target.pool.stats())
        };
        routes.targets().map(stats).collect()
    }

    /// Adds a server. It serves once it has been found to be a replica that has caught up.
    ///
    /// # Errors
    /// [`ServerError::NotAdded`] if its name or address is taken, or there are too many.
    pub fn add_replica(&self, endpoint: Endpoint) -> Result<(), ServerError> {
        self.topology().admits(&endpoint)?;
        self.0.feed(Input::Add(endpoint));
        Ok(())
    }

    /// Has a server get nothing new, and says when the last connection to it has come back. It can be
    /// [removed](Self::remove) then.
    ///
    /// # Errors
    /// [`ServerError`] if there is none of this name, or it is the primary.
    pub fn drain(&self, name: &str) -> Result<PoolDrain<C>, ServerError> {
        let node = self.replica(name)?.id();
        self.0.feed(Input::Drain(node));
        let routes = self.0.routes.load_full();
        let target = routes.target(node);
        let target = target.ok_or_else(|| ServerError::Unknown(name.into()))?;
        Ok(target.pool.drain())
    }

    /// Forgets a server. Connections that are lent may be used to their end.
    ///
    /// # Errors
    /// [`ServerError`] if there is none of this name, or it is the primary.
    pub fn remove(&self, name: &str) -> Result<(), ServerError> {
        let node = self.replica(name)?.id();
        self.0.feed(Input::Remove(node));
        Ok(())
    }

    fn replica(&self, name: &str) -> Result<Node, ServerError> {
        let topology = self.topology();
        let found = topology.find(name).cloned();
        let node = found.ok_or_else(|| ServerError::Unknown(name.into()))?;
        if topology.writer() == Some(node.id()) {
            return Err(ServerError::Primary(name.into()));
        }
        Ok(node)
    }

    /// Closes every pool, turns everybody away, and ends its monitors.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<C: Connector> ReplicaPool<C> {
    /// Lends a connection to the primary, for writes or a transaction. Where there is no primary, it waits for one.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn write(&self) -> Result<Lent<C>, ReplicaError<C::Error>> {
        self.write_within(None)
    }

    /// Lends a connection to a server that a read of this preference may go to, the best of them by what the last
    /// reads took.
    ///
    /// # Errors
    /// [`ReplicaError`].
    #[inline]
    pub fn read(&self, preference: &ReadPreference) -> Result<Lent<C>, ReplicaError<C::Error>> {
        self.read_within(preference, None)
    }

    /// [`write`](Self::write) for a caller who says how long it waits.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn write_within(
        &self,
        wait: impl Into<Option<Duration>>,
    ) -> Result<Lent<C>, ReplicaError<C::Error>> {
        if let Some(lent) = lending::write_now(&self.0) {
            return Ok(lent);
        }
        let deadline = deadline(&self.0, wait.into());
        run(lending::write(&self.0, Blocking, deadline))
    }

    /// [`read`](Self::read) for a caller who says how long it waits.
    ///
    /// # Errors
    /// [`ReplicaError`].
    #[inline]
    pub fn read_within(
        &self,
        preference: &ReadPreference,
        wait: impl Into<Option<Duration>>,
    ) -> Result<Lent<C>, ReplicaError<C::Error>> {
        let way = match lending::read_now(&self.0, preference) {
            Ok(lent) => return Ok(lent),
            Err(way) => way,
        };
        let deadline = deadline(&self.0, wait.into());
        let none = NodeSet::default();
        run(lending::read(
            &self.0, Blocking, preference, deadline, none, way,
        ))
    }

    /// Does an operation, again and on another server if it fails and may be repeated, as far as the
    /// [budget](super::ReplicaPoolBuilder::retry_share) for that goes.
    ///
    /// # Errors
    /// [`ReplicaError`]. A write that may have been done, and may not be repeated, is
    /// [`Uncertain`](ReplicaError::Uncertain).
    pub fn run<T>(
        &self,
        op: &Op,
        mut work: impl FnMut(&mut C::Connection) -> Result<T, C::Error>,
    ) -> Result<T, ReplicaError<C::Error>> {
        let deadline = deadline(&self.0, op.wait);
        let mut attempts = Attempts::new(&self.0, op);
        loop {
            let mut lent = match &op.preference {
                Some(preference) => {
                    let tried = attempts.tried;
                    run(lending::read(
                        &self.0, Blocking, preference, deadline, tried, None,
                    ))?
                }
                None => run(lending::write(&self.0, Blocking, deadline))?,
            };
            let answer = work(&mut lent);
            if let Some(answer) = attempts.over(lent, answer) {
                return answer;
            }
        }
    }
}

impl<C: Prober> ReplicaPool<C> {
    /// What finds out how the servers stand, and does what follows from it. One at least has to run.
    pub fn monitor(&self) -> Monitor<C> {
        Monitor::new(&self.0)
    }
}

impl<C: AsyncConnector> ReplicaPool<Async<C>> {
    /// [`write`](Self::write) for tasks.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub async fn write_async(&self) -> Result<Lent<Async<C>>, ReplicaError<C::Error>> {
        self.write_within_async(None).await
    }

    /// [`read`](Self::read) for tasks.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub async fn read_async(
        &self,
        preference: &ReadPreference,
    ) -> Result<Lent<Async<C>>, ReplicaError<C::Error>> {
        self.read_within_async(preference, None).await
    }

    /// [`write_within`](Self::write_within) for tasks.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub async fn write_within_async(
        &self,
        wait: impl Into<Option<Duration>>,
    ) -> Result<Lent<Async<C>>, ReplicaError<C::Error>> {
        if let Some(lent) = lending::write_now(&self.0) {
            return Ok(lent);
        }
        let deadline = deadline(&self.0, wait.into());
        lending::write(&self.0, Awaiting, deadline).await
    }

    /// [`read_within`](Self::read_within) for tasks.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub async fn read_within_async(
        &self,
        preference: &ReadPreference,
        wait: impl Into<Option<Duration>>,
    ) -> Result<Lent<Async<C>>, ReplicaError<C::Error>> {
        let way = match lending::read_now(&self.0, preference) {
            Ok(lent) => return Ok(lent),
            Err(way) => way,
        };
        let deadline = deadline(&self.0, wait.into());
        let none = NodeSet::default();
        lending::read(&self.0, Awaiting, preference, deadline, none, way).await
    }

    /// [`run`](Self::run) for tasks.
    ///
    /// In a task that may change threads, such as what `tokio::spawn` takes, the closure has to own what it uses: `async move`,
    /// with clones of what is shared. One that borrows from the task compiles, but its future is not [`Send`] there.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_async<T>(
        &self,
        op: &Op,
        mut work: impl AsyncFnMut(&mut C::Connection) -> Result<T, C::Error>,
    ) -> Result<T, ReplicaError<C::Error>> {
        let deadline = deadline(&self.0, op.wait);
        let mut attempts = Attempts::new(&self.0, op);
        loop {
            let mut lent = match &op.preference {
                Some(preference) => {
                    let tried = attempts.tried;
                    lending::read(&self.0, Awaiting, preference, deadline, tried, None).await?
                }
                None => lending::write(&self.0, Awaiting, deadline).await?,
            };
            // Dropped in the middle of its work, it is of no use to anybody else.
            lent.begin();
            let answer = work(&mut lent).await;
            lent.end();
            if let Some(answer) = attempts.over(lent, answer) {
                return answer;
            }
        }
    }

    /// [`run_async`](Self::run_async) for reads whose slowest are too slow: where a server has not answered after this
    /// long, another one is asked as well, and the first answer counts.
    ///
    /// Best is what nineteen of twenty reads take less than; waiting for a connection is not in it, as asking twice would only
    /// make that longer. Each second question takes a retry out of the [budget](super::ReplicaPoolBuilder::retry_share), so that
    /// a cluster that has too much to do does not get twice as much, and goes to another server that the read may go to, or to
    /// none. Should one fail, the other may still answer. Whichever is late is dropped: its future wherever it stands, and
    /// its connection, which is in the middle of something, is closed.
    ///
    /// A write, and a read that is to be done [once](Op::once), is asked once at a time, as by `run_async`. Threads have none of
    /// this: the second question would need a second thread, and this crate starts none.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// use std::time::Duration;
    /// use tenfold::replica::{Async, Op, ReplicaPool};
    /// # use tenfold::balance::Policy;
    /// # use tenfold::replica::topology::Settings;
    /// # use tenfold::replica::{AsyncConnector, AsyncProber, Endpoint, Epoch, Fault, Position, Probe, Role, SystemId};
    /// # use tenfold::time::ManualClock;
    /// # struct Servers;
    /// # impl AsyncConnector for Servers {
    /// #     type Connection = String;
    /// #     type Error = Infallible;
    /// #     async fn connect(&self, endpoint: &Endpoint) -> Result<String, Infallible> { Ok(endpoint.name().into()) }
    /// #     fn classify(&self, error: &Infallible) -> Fault { match *error {} }
    /// # }
    /// # impl AsyncProber for Servers {
    /// #     async fn probe(&self, server: &mut String) -> Result<Probe, Infallible> {
    /// #         let role = if server == "p" { Role::Primary } else { Role::Replica };
    /// #         let epoch = Epoch { timeline: 1, term: 0 };
    /// #         Ok(Probe::new(role, SystemId(7), epoch, Position(1)))
    /// #     }
    /// # }
    /// # let endpoint = |name| Endpoint::new(name, name);
    /// # let settings = Settings::builder()
    /// #     .primary(endpoint("p")?)
    /// #     .replica(endpoint("a")?)
    /// #     .replica(endpoint("b")?)
    /// #     .build()?;
    /// # let clock = ManualClock::new();
    /// # let pool = ReplicaPool::builder(Async(Servers), settings).clock(clock.clock()).timer(clock.timer());
    /// # let pool = pool.policy(Policy::RoundRobin).build()?;
    /// # let mut context = Context::from_waker(Waker::noop());
    /// # let mut monitor = pin!(pool.monitor_async().run());
    /// # assert!(monitor.as_mut().poll(&mut context).is_pending());
    /// // A primary and two replicas, of which `a` answers after a second and `b` at once.
    /// let ask = async |server: &mut String| {
    ///     if server == "a" {
    ///         clock.timer().sleep(Duration::from_secs(1)).await;
    ///     }
    ///     Ok(server.clone())
    /// };
    /// # let mut hedged = 0;
    /// # for _ in 0..2 {
    /// let (op, after) = (Op::read(), Duration::from_millis(20));
    /// let mut read = pin!(pool.run_hedged_async(&op, after, ask));
    /// if read.as_mut().poll(&mut context).is_pending() {
    ///     clock.advance(after); // it is `a` that was asked
    ///     assert_eq!(read.as_mut().poll(&mut context), Poll::Ready(Ok("b".to_owned())));
    /// #   hedged += 1;
    /// }
    /// # }
    /// # assert!(hedged > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_hedged_async<T>(
        &self,
        op: &Op,
        after: Duration,
        work: impl AsyncFn(&mut C::Connection) -> Result<T, C::Error>,
    ) -> Result<T, ReplicaError<C::Error>> {
        let Some(preference) = op.preference.as_ref().filter(|_| op.idempotent) else {
            return self.run_async(op, work).await;
        };
        let deadline = deadline(&self.0, op.wait);
        let mut attempts = Attempts::new(&self.0, op);
        let hedge = Hedge {
            core: &self.0,
            preference,
            deadline,
            after,
        };
        loop {
            let tried = attempts.tried;
            let lent = lending::read(&self.0, Awaiting, preference, deadline, tried, None).await?;
            if let Some(answer) = hedge.attempt(&mut attempts, lent, &work).await {
                return answer;
            }
        }
    }
}

impl<C: AsyncProber> ReplicaPool<Async<C>> {
    /// [`monitor`](Self::monitor) as a future, to be spawned.
    pub fn monitor_async(&self) -> AsyncMonitor<C> {
        AsyncMonitor::new(&self.0)
    }
}

// By hand: handles are cloned, not clients.
impl<C: Client> Clone for ReplicaPool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Client> fmt::Debug for ReplicaPool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.topology();
        f.debug_struct("ReplicaPool")
            .field("phase", &topology.phase())
            .field("writer", &topology.writer())
            .field("serving", &topology.serving())
            .finish_non_exhaustive()
    }
}
