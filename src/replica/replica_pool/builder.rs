use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::{ReplicaBuildError, ReplicaPool};
use crate::balance::{Balancer, BalancerBuilder, Policy};
use crate::replica::Client;
use crate::replica::pool::PoolOptions;
use crate::replica::topology::Settings;
use crate::time::{Clock, Timer};

/// Builds a [`ReplicaPool`]; made by [`ReplicaPool::builder`].
#[must_use = "a builder does nothing until it builds"]
pub struct ReplicaPoolBuilder<C: Client> {
    client: C,
    settings: Arc<Settings>,
    options: PoolOptions,
    policy: Policy,
    primary_read_share: f64,
    retry_share: f64,
    clock: Option<Clock>,
    seed: Option<u64>,
}

impl<C: Client> ReplicaPoolBuilder<C> {
    pub(super) fn new(client: C, settings: Arc<Settings>) -> Self {
        Self {
            client,
            settings,
            options: PoolOptions::new(),
            policy: Policy::default(),
            primary_read_share: 0.5,
            retry_share: 0.1,
            clock: None,
            seed: None,
        }
    }

    /// How the pool of each server is; [`PoolOptions::new`] by default. Its
    /// [`max_wait`](PoolOptions::max_wait) is how long callers wait that do not say so themselves.
    pub fn pools(mut self, options: PoolOptions) -> Self {
        self.options = options;
        self
    }

    /// How reads are spread; [`Policy::Adaptive`] by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How much of the primary's connections reads may have that go there for want of replicas; 0.5 by default, and one
    /// connection at least. The rest is for writes.
    pub fn primary_read_share(mut self, share: f64) -> Self {
        self.primary_read_share = share;
        self
    }

    /// How many retries there may be, as a share of the operations [run](ReplicaPool::run); 0.1 by default. As many
    /// are saved up as the servers' pools have connections at most, or ten: so much fails at once if servers die. With
    /// zero nothing is retried.
    pub fn retry_share(mut self, share: f64) -> Self {
        self.retry_share = share;
        self
    }

    /// The clock of all times, of the pools' too; [`Clock::processor`] by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What ends the waiting of tasks; see [`PoolOptions::timer`].
    pub fn timer(mut self, timer: Timer) -> Self {
        self.options = self.options.timer(timer);
        self
    }

    /// Makes all choices foretold, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the pool. Nothing is connected yet, and nothing is known of the servers: that takes a
    /// [monitor](ReplicaPool::monitor).
    ///
    /// # Errors
    /// [`ReplicaBuildError`] if a knob is set to what cannot be.
    pub fn build(self) -> Result<ReplicaPool<C>, ReplicaBuildError> {
        let shares = [
            ("primary_read_share", self.primary_read_share),
            ("retry_share", self.retry_share),
        ];
        for (knob, found) in shares {
            if !(0.0..=1.0).contains(&found) {
                return Err(ReplicaBuildError::Share { knob, found });
            }
        }
        let mut options = self.options.share(self.primary_read_share);
        let mut balancer: BalancerBuilder<_> = Balancer::builder().policy(self.policy);
        if let Some(clock) = self.clock {
            options = options.clock(clock.clone());
            balancer = balancer.clock(clock);
        }
        if let Some(seed) = self.seed {
            options = options.seed(seed);
            balancer = balancer.seed(seed);
        }
        options.check()?;
        let core = Core::new(
            Arc::new(self.client),
            self.settings,
            options,
            balancer.build()?,
            self.retry_share,
        );
        Ok(ReplicaPool(Arc::new(core)))
    }
}

/// How often pools are [kept up](crate::replica::pool::Pool::upkeep) by a monitor.
pub(super) const UPKEEP: Duration = Duration::from_secs(1);
