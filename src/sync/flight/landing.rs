//! How a flight ends.

use std::sync::Arc;
use std::task::Waker;

use super::lead::Outcome;
use super::line::Flight;

/// A flight that has left the table and whose waiters are still in line.
/// Dropped undelivered, as by a panic, it sends them back to the start.
#[must_use = "the waiters are still waiting"]
pub(crate) struct Landing<K, V> {
    pub(super) key: Option<K>,
    pub(super) attached: bool,
    /// Whether the leader is nobody's call.
    pub(super) elsewhere: bool,
    pub(super) flight: Option<Arc<Flight<V>>>,
}

impl<K, V> Landing<K, V> {
    /// The key to store the value under; `None` if the flight was detached.
    pub(crate) fn take_key(&mut self) -> Option<K> {
        if self.attached { self.key.take() } else { None }
    }

    /// The key that was not taken, to start again with or to drop.
    pub(crate) fn leftover_key(&mut self) -> Option<K> {
        self.key.take()
    }
}

impl<K, V: Clone> Landing<K, V> {
    /// Gives the outcome to all who wait, if anybody does, and wakes them.
    /// To be called outside of the owner's lock. Returns how many
    /// callers have it, the leader's own included.
    #[inline]
    pub(crate) fn deliver(self, outcome: &Outcome<V>) -> usize {
        if self.flight.is_none() {
            return self.leaders();
        }
        self.deliver_to_line(outcome)
    }

    fn leaders(&self) -> usize {
        usize::from(!self.elsewhere)
    }

    fn deliver_to_line(mut self, outcome: &Outcome<V>) -> usize {
        let awaited = self
            .flight
            .as_ref()
            .is_some_and(|flight| flight.line().len() > 0);
        let leaders = self.leaders();
        if !awaited {
            return leaders;
        }
        // Before the flight is taken: if this clone panics, dropping `self`
        // still tells the waiters.
        let outcome = outcome.clone();
        self.flight
            .take()
            .map_or(leaders, |flight| flight.land(outcome, leaders))
    }
}

impl<K, V> Drop for Landing<K, V> {
    #[inline]
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.lose();
        }
    }
}

/// What is left to do when a leader gave up.
#[must_use = "the promoted waiter does not know yet"]
pub(crate) struct Abandoned<K, V> {
    /// The key of a flight that ended, to be dropped outside of the lock.
    pub(super) key: Option<K>,
    /// The line of a flight that ended, in which nobody can lead.
    pub(super) orphans: Option<Arc<Flight<V>>>,
    pub(super) waker: Option<Waker>,
}

impl<K, V> Abandoned<K, V> {
    pub(super) const NOTHING: Self = Self {
        key: None,
        orphans: None,
        waker: None,
    };

    /// Wakes the promoted waiter, or all who wait in vain. To be called outside
    /// of the owner's lock.
    pub(crate) fn announce(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
        if let Some(flight) = self.orphans {
            flight.orphan();
        }
        drop(self.key);
    }
}
