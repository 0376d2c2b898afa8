//! How a call begins: what it says of itself, and what it is answered.

use super::running::{FlightId, ThreadNumber};
use super::table::Ticket;
use super::waiter::Waiter;
use crate::time::Instant;

/// How a call for a key that may have no value begins.
pub(crate) enum Start<K, V> {
    /// The owner had the value.
    Found(V),
    /// This caller leads. A key comes back if the table has it already.
    Lead(Ticket, Option<K>),
    /// Somebody leads; wait, and keep the key for the case that it fails.
    Follow(Follower<V>, K),
    /// The leader cannot finish while this thread waits: load without it.
    Alone(Bypassed, K),
    /// This very caller leads, further up its stack.
    Reentrant(K),
    /// As many wait as may.
    Full(K),
}

/// How a call that never leads begins.
pub(crate) enum Join<V> {
    Follow(Follower<V>),
    /// Nothing is loading under this key.
    Nothing,
    /// This very caller leads, further up its stack.
    Reentrant,
    /// The leader cannot finish while this thread waits.
    Suspended,
    /// As many wait as may.
    Full,
}

/// What a place in line entitles to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Who has a loader can be promoted.
    Heir,
    /// Who has none only waits.
    Guest,
}

/// A caller's place in line, for the drivers.
pub(crate) struct Follower<V>(pub(super) Waiter<V>);

/// The flight that a caller passes by, for the drivers.
pub(crate) struct Bypassed(pub(super) FlightId);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A thread that will block.
    Thread,
    /// A task that will be polled.
    Task,
}

impl Caller {
    /// The calling thread, if the caller is a task on it.
    #[inline]
    pub(super) fn polled_on(self) -> Option<ThreadNumber> {
        match self {
            Self::Thread => None,
            Self::Task => ThreadNumber::here(),
        }
    }
}

/// On what terms an owner lets its callers lead and wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The time now, where there are leases.
    pub(crate) now: Instant,
    /// When a lease that starts now ends: then one of those who wait, or who
    /// come, may take the leader's place.
    pub(crate) lease_ends: Instant,
    /// How many may stand in one line.
    pub(crate) max_waiters: usize,
}

impl Terms {
    pub(crate) const NONE: Self = Self {
        now: Instant::from_nanos(0),
        lease_ends: Instant::NEVER,
        max_waiters: usize::MAX,
    };
}
