/// What a call to a [`Group`](super::Group) brought, and how it came by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome<V> {
    /// The value; a clone of the leader's for all others.
    pub value: V,
    /// What this call did for it.
    pub role: Role,
    /// Whether more than one caller has this very outcome, counted at the moment
    /// it was published: who left the line before does not count.
    pub shared: bool,
}

/// What a call did for its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It found nobody at work, and its own work made the value.
    Leader,
    /// It waited for another's work, or was given an outcome that lingered.
    Follower,
    /// It waited, the caller at work was lost, and its own work made the value.
    Promoted,
}
