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
    /// How long it may lie idle before it must be tested to be lent.
    pub(super) fresh_for: u64,
    /// When it came back last.
    pub(super) since: Instant,
}

impl<T> Slot<T> {
    /// Whether it can be lent without a test.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.idle(now) < self.fresh_for && now < self.ends
    }

    /// Whether it is too old, or has been idle for too long.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.idle(now) >= self.idle_for || now >= self.ends
    }

    #[inline]
    fn idle(&self, now: Instant) -> u64 {
        now.as_nanos().saturating_sub(self.since.as_nanos())
    }
}
