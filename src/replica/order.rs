use std::fmt;

use super::recovery::Step;

/// What comes first when a primary is dead and some of its acknowledged writes have not left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecoveryOrder {
    /// Let the candidate have what the old primary's disk still holds, then promote it. Nobody can write meanwhile, and there
    /// is nothing to reconcile afterwards. Where the disk cannot be read, it goes on as
    /// [`AvailabilityFirst`](Self::AvailabilityFirst). The default.
    #[default]
    DataFirst,
    /// Promote, and then recover what was lost while the new primary already takes writes. What both have written is
    /// a conflict.
    AvailabilityFirst,
}

impl RecoveryOrder {
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

impl fmt::Display for RecoveryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataFirst => "data first",
            Self::AvailabilityFirst => "availability first",
        })
    }
}
