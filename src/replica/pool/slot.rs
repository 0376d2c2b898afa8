use crate::time::Instant;

/// A connection and what the pool knows of it. Boxed, so that it is a pointer that goes to and fro.
pub(super) struct Slot<T> {
    pub(super) connection: T,
    /// Of the pool when it was begun; an older one is not lent again.
    pub(super) generation: u64,
    /// When it is too old.
    pub(super) ends: Instant,
    /// How long it may lie idle, in nanoseconds.
    pub(super) idle_for: u64,
    /// When, lying idle, it is too old or has done so for too long.
    pub(super) stale_at: Instant,
    /// When, lying idle, it must be tested before it is lent.
    pub(super) test_at: Instant,
}
