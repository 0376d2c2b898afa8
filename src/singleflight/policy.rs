use crate::task::Executor;

/// What becomes of a flight whose leader is dropped before it has landed: its
/// task is cancelled, its connection is closed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum LeaderDrop {
    /// Exactly one of those who wait runs its own work, and the others go on
    /// waiting. If nobody who waits brought work, they get
    /// [`LeaderDropped`](super::FlightError::LeaderDropped).
    #[default]
    Promote,
    /// All who wait get [`LeaderDropped`](super::FlightError::LeaderDropped).
    Fail,
    /// The work of [`work_detached`](super::Group::work_detached) and its kin
    /// runs in tasks on this executor and so cannot be lost with a caller: it
    /// ends when nobody waits for it any more. Work of the other calls, which
    /// borrows from its caller, is handled as by `Promote`.
    Detach(Executor),
}

/// What becomes of a flight whose leader's work panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPanic {
    /// The leader's own caller sees the panic, and one of those who wait runs
    /// its own work. If that panics too, so does its own caller, and the others
    /// get [`LeaderFailed`](super::FlightError::LeaderFailed).
    #[default]
    PromoteOnce,
    /// All callers see a panic: the leader's own its own, the others one with
    /// its message.
    PropagateAll,
    /// Nobody sees the panic, which the panic hook has reported: all callers,
    /// the leader's own too, get [`LeaderFailed`](super::FlightError::LeaderFailed).
    Error,
}
