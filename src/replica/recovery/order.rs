use std::fmt;

/// What comes first when a primary is dead and some of its acknowledged writes have not left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Let the candidate have what the old primary's disk still holds, then promote it. Nobody can write meanwhile, and there
    /// is nothing to reconcile afterwards. Where the disk cannot be read, it goes on as
    /// [`AvailabilityFirst`](Self::AvailabilityFirst). The default.
    #[default]
    DataFirst,
    /// Promote, and then recover what was lost while the new primary already takes writes. What both have written is
    /// a conflict.
    AvailabilityFirst,
}

/// A step of a failover that has to do with what would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The candidate gets what the old primary's disk holds.
    Salvage,
    /// The candidate takes writes.
    Promote,
    /// Entries behind the fork are applied to the new primary.
    Recover,
    /// What was applied is counted and summed again.
    Verify,
    /// The old primary gives up what only it has, and follows.
    Rejoin,
}

impl Order {
    /// The steps in this order. After a salvage that reached the end, there is nothing behind the fork left to recover, and
    /// the recovery finds that out.
    pub fn steps(self) -> &'static [Step] {
        use Step::{Promote, Recover, Rejoin, Salvage, Verify};
        match self {
            Self::DataFirst => &[Salvage, Promote, Recover, Verify, Rejoin],
            Self::AvailabilityFirst => &[Promote, Recover, Verify, Rejoin],
        }
    }

    /// Whether the candidate gets what the old primary's disk holds before it is promoted.
    pub fn salvages(self) -> bool {
        self == Self::DataFirst
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataFirst => "data first",
            Self::AvailabilityFirst => "availability first",
        })
    }
}
