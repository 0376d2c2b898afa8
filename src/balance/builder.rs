use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::settings::{Ejection, Settings};
use super::{Balancer, BuildError, Policy};
use crate::time::Clock;

/// Builds a [`Balancer`]; made by [`Balancer::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::balance::{Balancer, Policy};
///
/// let balancer: Balancer<String> = Balancer::builder()
///     .policy(Policy::LeastRequest)
///     .slow_start(Duration::from_secs(30))
///     .panic_threshold(0.3)
///     .build()?;
/// assert!(Balancer::<String>::builder().panic_threshold(1.5).build().is_err());
/// # drop(balancer);
/// # Ok::<(), tenfold::balance::BuildError>(())
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct BalancerBuilder<M> {
    settings: Settings,
    members: PhantomData<fn() -> M>,
}

impl<M> BalancerBuilder<M> {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings {
                policy: Policy::default(),
                ejection: Some(Ejection::default()),
                panic: 0.5,
                slow_start: Duration::from_secs(10),
                sticky_bound: 1.25,
                clock: Clock::processor(),
                seed: None,
                max_members: 1024,
            },
            members: PhantomData,
        }
    }

    /// How members are chosen; [`Policy::Adaptive`] by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// When members are ejected for their failures; [`Ejection::default`] by default.
    pub fn ejection(mut self, ejection: Ejection) -> Self {
        self.settings.ejection = Some(ejection);
        self
    }

    /// Ejects nobody.
    pub fn no_ejection(mut self) -> Self {
        self.settings.ejection = None;
        self
    }

    /// With a smaller share of a level's members healthy than this, requests go to all of them;
    /// 0.5 by default. With 0, nobody is picked when nobody is healthy.
    pub fn panic_threshold(mut self, share: f64) -> Self {
        self.settings.panic = share;
        self
    }

    /// How long the weight of a member grows that was added or came back, from a tenth on; 10 s by
    /// default. It fills its caches and opens its connections meanwhile. Zero turns it off.
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.settings.slow_start = window;
        self
    }

    /// How many times the average, in requests by key in flight, a member may have before its keys
    /// go elsewhere; 1.25 by default.
    pub fn sticky_bound(mut self, bound: f64) -> Self {
        self.settings.sticky_bound = bound;
        self
    }

    /// The clock of all times; [`Clock::processor`] by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Makes all choices foretold: the same calls in the same order pick the same members. For tests:
    /// all threads share one sequence.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// How many members there may be at once, those included that were removed and are still in use;
    /// 1024 by default. Each that may be costs 13 bytes, whether it is there or not.
    pub fn max_members(mut self, max: usize) -> Self {
        self.settings.max_members = max;
        self
    }

    /// Builds the balancer, without members.
    ///
    /// # Errors
    /// [`BuildError`] if a knob is set to what cannot be.
    pub fn build(self) -> Result<Balancer<M>, BuildError> {
        self.settings.check()?;
        Ok(Balancer(Arc::new(Core::new(self.settings))))
    }

    /// The same with what the defaults are, which are coherent.
    pub(super) fn defaults(self) -> Balancer<M> {
        Balancer(Arc::new(Core::new(self.settings)))
    }
}
