use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::acquire::{Permit, acquire};
use super::core::{Core, Idle};
use super::line::Claim;
use super::settings::{Limits, Settings};
use super::{GetError, PoolBuildError, PoolDrain, PoolOptions, PoolStats, Pooled};
use crate::replica::ways::{Awaiting, Blocking, Ways, run};
use crate::replica::{Async, AsyncConnector, Client, Connector, Endpoint};
use crate::time::Instant;

/// Connections to one server, lent to one at a time; see the [module](super).
///
/// Cheap to clone; clones are the same pool.
pub struct Pool<C: Client>(pub(super) Arc<Shared<C>>);

pub(super) struct Shared<C: Client> {
    pub(super) core: Core<C::Connection>,
    pub(super) client: Arc<C>,
    pub(super) endpoint: Endpoint,
    drains: AtomicU64,
}

/// Until when a caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// How long that was when it began.
    pub(crate) waited: Duration,
}

/// What there was instead of a connection that could be lent at once.
#[must_use = "a connection that was found and is not used is lost to its pool"]
pub(crate) struct Found<C: Client> {
    idle: Idle<C::Connection>,
    claim: Claim,
}

impl Deadline {
    pub(crate) fn new(now: Instant, wait: Duration) -> Self {
        Self {
            at: now + wait,
            waited: wait,
        }
    }
}

impl<C: Client> Pool<C> {
    /// A pool with the defaults. Nothing is connected yet.
    pub fn new(client: C, endpoint: Endpoint) -> Self {
        Self::with_parts(
            Arc::new(client),
            endpoint,
            PoolOptions::new().into_parts(),
            0,
        )
    }

    pub(super) fn with_parts(
        client: Arc<C>,
        endpoint: Endpoint,
        (settings, limits): (Settings, Limits),
        generation: u64,
    ) -> Self {
        Self(Arc::new(Shared {
            core: Core::new(settings, limits, generation),
            client,
            endpoint,
            drains: AtomicU64::new(0),
        }))
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Takes an idle connection that needs no test, if there is one and nobody waits for it. Never waits and never
    /// connects.
    #[inline]
    pub fn try_get(&self) -> Option<Pooled<C>> {
        self.get_fresh(Claim::Full)
    }

    /// Closes all that are idle now, and those that are lent when they come back: for a server that has
    /// changed its role, or its address.
    pub fn purge(&self) {
        self.0.core.purge();
    }

    /// Turns everybody away from now on, those who wait included, and closes what is idle. What is lent is closed
    /// when it comes back.
    pub fn close(&self) {
        self.0.core.close();
    }

    /// [Closes](Self::close) the pool, and says when the last connection has come back.
    pub fn drain(&self) -> PoolDrain<C> {
        self.close();
        PoolDrain {
            shared: Arc::clone(&self.0),
            number: self.0.drains.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Changes how many connections there may be. If that is less than there are, idle ones are closed at
    /// once, those that were used the longest ago first, and others when they come back.
    ///
    /// # Errors
    /// [`PoolBuildError`], and nothing is changed.
    pub fn set_max_size(&self, max: usize) -> Result<(), PoolBuildError> {
        self.set_limits(|limits| limits.max_size = max)
    }

    /// Changes how many connections are made at a time.
    ///
    /// # Errors
    /// [`PoolBuildError`], and nothing is changed.
    pub fn set_max_connecting(&self, max: usize) -> Result<(), PoolBuildError> {
        self.set_limits(|limits| limits.max_connecting = max)
    }

    /// Changes how many idle ones [`upkeep`](Self::upkeep) sees to.
    ///
    /// # Errors
    /// [`PoolBuildError`], and nothing is changed.
    pub fn set_min_idle(&self, min: usize) -> Result<(), PoolBuildError> {
        self.set_limits(|limits| limits.min_idle = min)
    }

    fn set_limits(&self, change: impl FnOnce(&mut Limits)) -> Result<(), PoolBuildError> {
        self.0.core.limit(change)
    }

    /// What was done so far, and how it stands.
    pub fn stats(&self) -> PoolStats {
        self.0.core.stats()
    }

    #[inline]
    fn found(&self, claim: Claim) -> Result<Pooled<C>, Idle<C::Connection>> {
        match self.0.core.take_idle(claim) {
            Idle::Fresh(slot) => Ok(Pooled::new(&self.0, slot, claim)),
            other => Err(other),
        }
    }

    /// Purges all that is older, and sends away who waits.
    pub(crate) fn advance(&self, generation: u64) {
        self.0.core.advance(generation);
    }

    /// What connections that are begun now are of.
    pub(crate) fn generation(&self) -> u64 {
        self.0.core.generation()
    }

    /// An idle connection that needs no test, if there is one.
    #[inline]
    pub(crate) fn get_fresh(&self, claim: Claim) -> Option<Pooled<C>> {
        match self.0.core.take_idle(claim) {
            Idle::Fresh(slot) => Some(Pooled::new(&self.0, slot, claim)),
            Idle::Untested(slot) => {
                // As it was: whoever may wait tests it.
                self.0.core.put_back(slot, claim);
                None
            }
            Idle::None => None,
        }
    }

    /// An idle connection, if it can be had at once; else what was found instead, for [`wait`](Self::wait).
    #[inline]
    pub(crate) fn get_now(&self, claim: Claim) -> Result<Pooled<C>, Found<C>> {
        self.found(claim).map_err(|idle| Found { idle, claim })
    }

    /// Goes on where [`get_now`](Self::get_now) found nothing.
    pub(crate) async fn wait<W: Ways<C>>(
        &self,
        ways: W,
        found: Found<C>,
        deadline: Deadline,
    ) -> Result<Pooled<C>, GetError<C::Error>> {
        acquire(&self.0, ways, found.claim, deadline, found.idle).await
    }

    /// Until when a caller waits that waits so long.
    fn deadline(&self, wait: Duration) -> Deadline {
        Deadline::new(self.0.core.now(), wait)
    }

    pub(crate) async fn keep<W: Ways<C>>(&self, ways: W) -> Result<usize, GetError<C::Error>> {
        let core = &self.0.core;
        core.sweep();
        let mut made = 0;
        while let Some(generation) = core.top_up() {
            let permit = Permit::new(&self.0, Claim::Full, generation);
            let deadline = self.deadline(core.settings.connect_timeout);
            // Given back at once, it lies idle.
            drop(permit.connect(ways, deadline).await?);
            made += 1;
        }
        Ok(made)
    }
}

impl<C: Connector> Pool<C> {
    /// Lends a connection: the idle one that was used last; or one made for the occasion, if there may be more;
    /// or the next that comes back, in the order of the callers. Waits for
    /// [`max_wait`](PoolOptions::max_wait) at most.
    ///
    /// # Errors
    /// [`GetError`]; where connecting fails, whose turn it was is told so.
    #[inline]
    pub fn get(&self) -> Result<Pooled<C>, GetError<C::Error>> {
        let wait = self.0.core.settings.max_wait;
        self.get_as(Claim::Full, wait)
    }

    /// [`get`](Self::get) for a caller who says how long it waits; [`Duration::MAX`] is without end.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline]
    pub fn get_within(&self, wait: Duration) -> Result<Pooled<C>, GetError<C::Error>> {
        self.get_as(Claim::Full, wait)
    }

    #[inline]
    pub(crate) fn get_as(
        &self,
        claim: Claim,
        wait: Duration,
    ) -> Result<Pooled<C>, GetError<C::Error>> {
        match self.found(claim) {
            Ok(lent) => Ok(lent),
            Err(found) => run(acquire(
                &self.0,
                Blocking,
                claim,
                self.deadline(wait),
                found,
            )),
        }
    }

    /// Closes what was idle for too long, and makes what there are too few of. Call it now and then, every
    /// second say; a pool for which nobody does closes old connections when it comes upon them, and keeps no
    /// minimum. Answers how many were made.
    ///
    /// # Errors
    /// [`GetError`], at the first that could not be made.
    pub fn upkeep(&self) -> Result<usize, GetError<C::Error>> {
        run(self.keep(Blocking))
    }
}

impl<C: AsyncConnector> Pool<Async<C>> {
    /// [`get`](Self::get) for tasks. Dropped while it waits, it leaves the line, and what it was offered goes to the next;
    /// dropped while it connects, somebody else may.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<Pooled<Async<C>>, GetError<C::Error>> {
        // As short as it can be where nobody waits: not even by way of another future.
        match self.found(Claim::Full) {
            Ok(lent) => Ok(lent),
            Err(found) => {
                let deadline = self.deadline(self.0.core.settings.max_wait);
                acquire(&self.0, Awaiting, Claim::Full, deadline, found).await
            }
        }
    }

    /// [`get_within`](Self::get_within) for tasks.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_within_async(
        &self,
        wait: Duration,
    ) -> Result<Pooled<Async<C>>, GetError<C::Error>> {
        self.get_as_async(Claim::Full, wait).await
    }

    pub(crate) async fn get_as_async(
        &self,
        claim: Claim,
        wait: Duration,
    ) -> Result<Pooled<Async<C>>, GetError<C::Error>> {
        match self.found(claim) {
            Ok(lent) => Ok(lent),
            Err(found) => {
                let deadline = self.deadline(wait);
                acquire(&self.0, Awaiting, claim, deadline, found).await
            }
        }
    }

    /// [`upkeep`](Self::upkeep) for tasks.
    ///
    /// # Errors
    /// As [`upkeep`](Self::upkeep).
    pub async fn upkeep_async(&self) -> Result<usize, GetError<C::Error>> {
        self.keep(Awaiting).await
    }
}

// By hand: handles are cloned, not clients.
impl<C: Client> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Client> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("endpoint", &self.0.endpoint.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
