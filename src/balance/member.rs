use std::fmt;
use std::time::Duration;

/// A member to add, and how it stands to the others.
///
/// ```
/// use tenfold::balance::{Balancer, Member};
///
/// let balancer = Balancer::new();
/// balancer.add("10.0.0.1")?;
/// balancer.add_member(Member::new("10.0.0.2").weight(2.5))?;
/// // Used when too few of the others are healthy.
/// balancer.add_member(Member::new("backup").priority(1))?;
/// # Ok::<(), tenfold::balance::MemberError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "a member does nothing until it is added"]
pub struct Member<M> {
    pub(super) value: M,
    pub(super) weight: f64,
    pub(super) priority: u8,
    pub(super) identity: Option<u64>,
}

impl<M> Member<M> {
    /// A member of weight 1 and priority 0.
    pub const fn new(value: M) -> Self {
        Self {
            value,
            weight: 1.0,
            priority: 0,
            identity: None,
        }
    }

    /// Its share of the work compared with the others: above zero, at most a million.
    pub const fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Its level, from 0, the first choice, to 7. Members of this data centre have 0, those of the
    /// next one 1. A level gets what those before it are not healthy enough for: with three quarters of a
    /// level healthy it still takes everything.
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// What sticky picks know it by: give the same number to the same member in all processes,
    /// a hash of its name say, and they send a key to the same place. By default it is how
    /// many members were added before.
    pub const fn identity(mut self, identity: u64) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// A member of one balancer, for as long as it is there: never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[allow(
    dead_code,
    reason = "for blocks that keep members in words of their own"
)]
impl MemberId {
    /// Where it lies: a low number, which is another member's when this one is gone.
    #[inline]
    pub(crate) fn place(self) -> u32 {
        self.slot
    }

    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            slot: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// What is known of a member; see [`Balancer::members`](super::Balancer::members).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Whose status it is.
    pub id: MemberId,
    /// Whether it gets requests, and if not, why.
    pub health: Health,
    /// The weight it was added with.
    pub weight: f64,
    /// Its level.
    pub priority: u8,
    /// How many of its picks are not dropped yet.
    pub in_flight: u32,
    /// How long the policy expects its requests to take; failures count as long.
    pub latency: Duration,
    /// The share of its last 32 or so requests that succeeded.
    pub success_rate: f32,
    /// How often it was ejected.
    pub ejections: u64,
}

/// Whether a member gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Healthy,
    /// Its requests failed: none until the back-off is over.
    Ejected,
    /// Its probes failed: none until they pass.
    Down,
    /// It was removed, and gets no more; some of its picks are not dropped yet.
    Draining,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        })
    }
}
