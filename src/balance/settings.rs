use std::time::Duration;

use super::{BuildError, Policy};
use crate::time::Clock;

/// When a member is taken out for what its requests met with, and for how long.
///
/// A member is ejected when it fails several times in a row, or when most of its late requests
/// failed. It comes back on probation: its next failure ejects it again, for twice as long.
///
/// ```
/// use std::time::Duration;
/// use tenfold::balance::{Balancer, Ejection};
///
/// let eager = Ejection::default().consecutive(3).back_off(Duration::from_secs(5), Duration::from_secs(60));
/// let balancer: Balancer<&str> = Balancer::builder().ejection(eager).build()?;
/// # drop(balancer);
/// # Ok::<(), tenfold::balance::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "settings do nothing until they are given to a builder"]
pub struct Ejection {
    pub(super) consecutive: u32,
    pub(super) success_rate: f32,
    pub(super) base: Duration,
    pub(super) most: Duration,
    pub(super) share: f64,
}

impl Ejection {
    /// How many failures in a row eject a member; 5 by default.
    pub const fn consecutive(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// The share of its last 32 or so requests that must succeed; 0.5 by default. Zero asks for none.
    pub const fn success_rate(mut self, share: f32) -> Self {
        self.success_rate = share;
        self
    }

    /// How long the first ejection lasts, and how long the longest: each doubles the one before it.
    /// One second and five minutes by default. A member that stays in as long as it was out is
    /// forgiven one doubling.
    pub const fn back_off(mut self, base: Duration, most: Duration) -> Self {
        self.base = base;
        self.most = most;
        self
    }

    /// The largest share of a level's members that may be out at once; 0.5 by default. One of
    /// several may always be, and the last one never.
    pub const fn max_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    fn check(&self) -> Result<(), BuildError> {
        check_share(
            "the success rate of ejections",
            f64::from(self.success_rate),
        )?;
        check_share("the share of ejected members", self.share)?;
        if self.consecutive == 0 {
            return Err(BuildError::NoFailures);
        }
        if self.base.is_zero() || self.most < self.base {
            return Err(BuildError::BackOff {
                base_ms: self.base.as_millis(),
                most_ms: self.most.as_millis(),
            });
        }
        Ok(())
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive: 5,
            success_rate: 0.5,
            base: Duration::from_secs(1),
            most: Duration::from_secs(300),
            share: 0.5,
        }
    }
}

/// The knobs, as the balancer reads them.
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) ejection: Option<Ejection>,
    pub(super) panic: f64,
    pub(super) slow_start: Duration,
    pub(super) sticky_bound: f64,
    pub(super) clock: Clock,
    pub(super) seed: Option<u64>,
    pub(super) max_members: usize,
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        check_share("the panic threshold", self.panic)?;
        if let Some(ejection) = &self.ejection {
            ejection.check()?;
        }
        if !(1.0..f64::INFINITY).contains(&self.sticky_bound) {
            return Err(BuildError::StickyBound {
                found: self.sticky_bound,
            });
        }
        if !(1..=super::table::MOST).contains(&self.max_members) {
            return Err(BuildError::MaxMembers {
                found: self.max_members,
                max: super::table::MOST,
            });
        }
        Ok(())
    }
}

fn check_share(knob: &'static str, found: f64) -> Result<(), BuildError> {
    if (0.0..=1.0).contains(&found) {
        return Ok(());
    }
    Err(BuildError::Share { knob, found })
}
