use std::fmt;

/// Where a part stands, and what that means for those who read and write its keys.
///
/// | Phase | writes go to | reads go to |
/// |---|---|---|
/// | `Stable` | old | old |
/// | `Copying` | old, then new | old |
/// | `Verifying` | old, then new | both, the newer row counts |
/// | `Switching` | new, then old | both, the newer row counts |
/// | `CutOver` | new, then old | new |
/// | `CleaningUp` | new | new |
/// | `Done` | new | new |
/// | `Undoing` | old | old |
///
/// A part goes down this table and, until `CleaningUp`, up again; from `Copying` it goes back
/// to `Stable` by `Undoing`. Neighbours in the table may be in force at once, for
/// writers that are slow and processes that have not heard yet: whoever writes by
/// one is seen by whoever reads by the other. Phases further apart never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// Nothing has begun, or all of it was undone.
    Stable = 0,
    /// Rows are copied, and whatever is written goes to both nodes.
    Copying = 1,
    /// What both nodes have is compared, and made equal.
    Verifying = 2,
    /// The new node's write comes first from now on.
    Switching = 3,
    /// The new node is read. The old one still gets all writes, so that it can go
    /// back.
    CutOver = 4,
    /// The old node's copies are removed. There is no way back.
    CleaningUp = 5,
    /// Only the new node has the part.
    Done = 6,
    /// On the way back: the new node's copies are removed.
    Undoing = 7,
}

impl Phase {
    /// All phases, by their numbers.
    pub(super) const ALL: [Self; 8] = [
        Self::Stable,
        Self::Copying,
        Self::Verifying,
        Self::Switching,
        Self::CutOver,
        Self::CleaningUp,
        Self::Done,
        Self::Undoing,
    ];

    pub(super) fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// Whether rows lie on both nodes, or may.
    pub fn is_moving(self) -> bool {
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
        let row = |phase: Self| match phase {
            Self::Undoing => 0,
            phase => phase as u8,
        };
        row(self).abs_diff(row(other)) <= 1
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Copying => "copying",
            Self::Verifying => "verifying",
            Self::Switching => "switching",
            Self::CutOver => "cut over",
            Self::CleaningUp => "cleaning up",
            Self::Done => "done",
            Self::Undoing => "undoing",
        })
    }
}
