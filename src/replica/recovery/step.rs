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
