use std::fmt;

/// What a [`Balancer`](super::Balancer) has done, and how its members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalancerStats {
    /// The name of its policy.
    pub policy: &'static str,
    /// Members that were not removed.
    pub members: usize,
    /// Those of them that are healthy.
    pub healthy: usize,
    /// Removed members that are still in use.
    pub draining: usize,
    /// Picks that are not dropped yet.
    pub in_flight: u64,
    /// Picks by policy. Of picks in the same nanoseconds, by threads of which there are more than
    /// eight, some may be missing.
    pub picks: u64,
    /// Picks that were said to have failed.
    pub failures: u64,
    /// Ejections.
    pub ejections: u64,
    /// Ejections that did not come about because too many were out.
    pub spared: u64,
    /// How often so few were healthy that health began to be ignored.
    pub panics: u64,
}

impl fmt::Display for BalancerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy,
            members,
            healthy,
            draining,
            in_flight,
            picks,
            failures,
            ejections,
            spared,
            panics,
        } = self;
        write!(
            f,
            "{policy}: {healthy} of {members} members healthy, {draining} draining; {picks} picks, \
             {in_flight} in flight, {failures} failed; {ejections} ejections, {spared} spared; {panics} panics"
        )
    }
}
