use std::fmt;

/// Where a part stands, and what that means for those who read and write its keys.
///
/// | Phase | writes go to | deletions leave | reads go to |
/// |---|---|---|---|
/// | `Stable` | old | nothing | old |
/// | `Preparing` | old | a tombstone | old |
/// | `Copying` | old, then new | a tombstone | old |
/// | `Verifying` | old, then new | a tombstone | both, the newer row counts |
/// | `Switching` | new, then old | a tombstone | both, the newer row counts |
/// | `CutOver` | new, then old | a tombstone | new |
/// | `CleaningUp` | new | a tombstone | new |
/// | `Done` | new | nothing | new |
///
/// A part goes down this table and, until `CleaningUp`, up again. Neighbours in the
/// table may be in force at once, for writers that are slow and processes that have
/// not heard yet: what is written by one is seen by whoever reads by the other, and
/// repaired by what both leave behind. Phases further apart never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// Nothing has begun, or all of it was undone.
    Stable = 0,
    /// Tombstones are kept, and whatever the new node has of the part is removed: leftovers on
    /// the way down, copies on the way up.
    Preparing = 1,
    /// Rows are copied, and whatever is written goes to both nodes.
    Copying = 2,
    /// What both nodes have is compared, and made equal.
    Verifying = 3,
    /// The new node's write comes first from now on.
    Switching = 4,
    /// The new node is read. The old one still gets all writes, so that it can go
    /// back.
    CutOver = 5,
    /// The old node's copies are removed. There is no way back.
    CleaningUp = 6,
    /// Only the new node has the part.
    Done = 7,
}

impl Phase {
    /// All phases, by their numbers.
    pub(super) const ALL: [Self; 8] = [
        Self::Stable,
        Self::Preparing,
        Self::Copying,
        Self::Verifying,
        Self::Switching,
        Self::CutOver,
        Self::CleaningUp,
        Self::Done,
    ];

    pub(super) fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// Whether deletions leave a tombstone.
    pub fn keeps_tombstones(self) -> bool {
        !matches!(self, Self::Stable | Self::Done)
    }

    /// Whether writes go to both nodes.
    pub fn writes_both(self) -> bool {
        matches!(
            self,
            Self::Copying | Self::Verifying | Self::Switching | Self::CutOver
        )
    }

    /// Whether the new node is the one that must have a write.
    pub(super) fn new_first(self) -> bool {
        matches!(
            self,
            Self::Switching | Self::CutOver | Self::CleaningUp | Self::Done
        )
    }

    /// Whether both nodes are read.
    pub(super) fn reads_both(self) -> bool {
        matches!(self, Self::Verifying | Self::Switching)
    }

    /// Whether this phase may be in force beside that one.
    pub(super) fn is_neighbour(self, other: Self) -> bool {
        (self as u8).abs_diff(other as u8) <= 1
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::Verifying => "verifying",
            Self::Switching => "switching",
            Self::CutOver => "cut over",
            Self::CleaningUp => "cleaning up",
            Self::Done => "done",
        })
    }
}
