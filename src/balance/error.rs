use super::MemberId;

/// Why nobody was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// There is nobody to pick from.
    #[error("there are no members to pick from, expected at least one")]
    NoMembers,
    /// There are members, but none is healthy, and the panic threshold is zero. With one that is
    /// greater, somebody is picked all the same.
    #[error("none of the members is healthy, and the panic threshold is 0")]
    NoneHealthy,
    /// There are members, but none of those that were asked for.
    #[error("none of the members is one of those to pick among")]
    NoneWanted,
}

/// Why a member was not added. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Without a share; who shall get nothing is drained.
    #[error("the weight must be a number above 0 and at most {max}, found {found}")]
    Weight {
        /// What was given.
        found: f64,
        /// The greatest that is allowed.
        max: f64,
    },
    /// There are not so many levels of priority.
    #[error("the priority must be at most {max}, found {found}")]
    Priority {
        /// What was given.
        found: u8,
        /// The last of the levels.
        max: u8,
    },
    /// As many members as may be, those included that are still in use after they were removed.
    #[error("there may be {max} members, and there are so many already")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
}

/// The balancer has no such member: it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no member {0} any more")]
pub struct UnknownMember(
    /// Whom it was asked for.
    pub MemberId,
);

/// Why a [`BalancerBuilder`](super::BalancerBuilder) builds nothing.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A share that is none.
    #[error("{knob} must be a share between 0 and 1, found {found}")]
    Share {
        /// Which share.
        knob: &'static str,
        /// What was given.
        found: f64,
    },
    /// Members would be ejected before they failed.
    #[error("ejection after 0 failures in a row would eject everybody, expected at least 1")]
    NoFailures,
    /// Ejected members would come back at once.
    #[error(
        "the back-off of ejections must be above zero and at most its greatest, found {base_ms} ms of {most_ms} ms"
    )]
    BackOff {
        /// The first, in milliseconds.
        base_ms: u128,
        /// The greatest, in milliseconds.
        most_ms: u128,
    },
    /// A bound below the average cannot be kept.
    #[error("the bound of sticky picks must be at least 1 and finite, found {found}")]
    StickyBound {
        /// What was given.
        found: f64,
    },
    /// A number of members that there is no room for.
    #[error("max_members must be between 1 and {max}, found {found}")]
    MaxMembers {
        /// What was given.
        found: usize,
        /// The greatest that is possible.
        max: usize,
    },
}
