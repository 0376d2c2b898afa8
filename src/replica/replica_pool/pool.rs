use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::async_monitor::AsyncMonitor;
use super::builder::ReplicaPoolBuilder;
use super::core::Core;
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
            let answer = work(&mut lent).await;
            if let Some(answer) = attempts.over(lent, answer) {
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
