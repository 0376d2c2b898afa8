//! The state of a pool, and what follows from its changes.

use std::task::Waker;
use std::time::Duration;

use super::core::Core;
use super::line::{Claim, Line, Ticket};
use super::settings::Limits;
use super::slot::Slot;
use super::{PoolStats, Timeout};
use crate::rng::Rng;
use crate::time::Instant;

pub(super) struct State<T> {
    /// The one that was used last is at the end, and lent next.
    pub(super) idle: Vec<Box<Slot<T>>>,
    pub(super) line: Line<T>,
    /// All connections: idle, lent or offered, being made or closed.
    pub(super) size: usize,
    pub(super) connecting: usize,
    pub(super) closing: usize,
    /// Those that are lent to, or made by, callers that must leave a reserve.
    pub(super) capped: usize,
    /// It is open, nobody waits, and there are no more than may be: what comes back lies idle, and what is idle can be
    /// taken. Set after every change.
    pub(super) calm: bool,
    pub(super) limits: Limits,
    pub(super) generation: u64,
    pub(super) open: bool,
    /// Attempts to connect that failed, one after the other.
    pub(super) failures: u32,
    /// When, after a failure, the next attempt may be made.
    pub(super) retry_at: Instant,
    pub(super) chance: Rng,
    pub(super) drainers: Vec<(u64, Waker)>,
    /// Counts; what `stats` can tell from the rest is zero.
    pub(super) counts: PoolStats,
}

/// What a turn in the line brings.
pub(super) enum Offer<T> {
    Lend(Box<Slot<T>>),
    /// To make a connection, which is of this generation.
    Connect(u64),
}

/// A look at a place in the line.
pub(super) enum View<T> {
    Offer(Offer<T>),
    Closed,
    /// Not yet; look again at this moment if nobody wakes you before.
    Wait(Instant),
}

/// What becomes of a connection that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    Whole,
    Broken,
}

impl<T> State<T> {
    pub(super) fn new(limits: Limits, generation: u64, seed: u64) -> Self {
        Self {
            idle: Vec::new(),
            line: Line::new(),
            size: 0,
            connecting: 0,
            closing: 0,
            capped: 0,
            calm: true,
            limits,
            generation,
            open: true,
            failures: 0,
            retry_at: Instant::from_nanos(0),
            chance: Rng::with_seed(seed),
            drainers: Vec::new(),
            counts: PoolStats::default(),
        }
    }

    pub(super) fn lent(&self) -> usize {
        self.size - self.idle.len() - self.connecting - self.closing
    }

    pub(super) fn is_drained(&self) -> bool {
        !self.open && self.size == 0
    }

    #[inline]
    pub(super) fn has_room(&self, claim: Claim) -> bool {
        claim == Claim::Full || self.capped < self.limits.capped
    }

    pub(super) fn join(&mut self, claim: Claim, head: bool) -> Result<Ticket, Refusal> {
        if self.open {
            Ok(self.line.join(claim, head))
        } else {
            Err(Refusal::Closed)
        }
    }

    /// How it stands with a place; if it has to wait, this waker is woken when its turn has come. Answers the waker that is
    /// to be dropped under no lock, too.
    pub(super) fn look(
        &mut self,
        ticket: Ticket,
        waker: Waker,
        now: Instant,
    ) -> (View<T>, Option<Waker>) {
        if let Some(offer) = self.line.accept(ticket) {
            return (View::Offer(offer), Some(waker));
        }
        let old = match self.line.rewake(ticket, waker) {
            Ok(former) => former,
            Err(waker) => return (View::Closed, Some(waker)),
        };
        // Who cannot be served only because of the pause looks again after it.
        let pauses = self.failures > 0 && self.retry_at > now;
        let until = if pauses {
            self.retry_at
        } else {
            Instant::NEVER
        };
        (View::Wait(until), old)
    }

    pub(super) fn begin_connect(&mut self, claim: Claim) {
        self.size += 1;
        self.connecting += 1;
        self.capped += claim.capped();
    }

    /// Nothing came of it.
    pub(super) fn end_connect(&mut self, claim: Claim) {
        self.size -= 1;
        self.connecting -= 1;
        self.capped -= claim.capped();
    }

    /// Whether one more could be served at once.
    pub(super) fn is_free(&self, claim: Claim) -> bool {
        self.line.is_empty(claim)
            && self.has_room(claim)
            && (!self.idle.is_empty() || self.may_connect(self.retry_at))
    }

    pub(super) fn may_connect(&self, now: Instant) -> bool {
        // After a failure one tries, and the others wait for how that goes.
        let (at_once, paused) = match self.failures {
            0 => (self.limits.max_connecting, false),
            _ => (1, now < self.retry_at),
        };
        !paused && self.size < self.limits.max_size && self.connecting < at_once
    }

    /// Puts a connection that is in nobody's hands where it belongs.
    pub(super) fn put(
        &mut self,
        slot: Box<Slot<T>>,
        how: Returned,
        now: Instant,
        after: &mut After<'_, T>,
    ) {
        let counts = &mut self.counts;
        if how == Returned::Broken {
            counts.broken += 1;
        } else if slot.generation != self.generation {
            counts.purged += 1;
        } else if slot.is_stale(now) {
            counts.expired += 1;
        } else if self.open && self.size <= self.limits.max_size {
            return self.idle.push(slot);
        }
        self.close(slot, after);
    }

    pub(super) fn close(&mut self, slot: Box<Slot<T>>, after: &mut After<'_, T>) {
        self.closing += 1;
        after.closing.push(slot);
    }

    /// Closes up to so many of those that were used the longest ago.
    pub(super) fn close_idle(&mut self, most: usize, after: &mut After<'_, T>) {
        let most = most.min(self.idle.len());
        self.closing += most;
        after.closing.extend(self.idle.drain(..most));
    }

    /// Gives those whose turn it is what there is, and says so to who waits for the end.
    pub(super) fn serve(&mut self, now: Instant, after: &mut After<'_, T>) {
        while let Some(claim) = self.next() {
            let offer = if let Some(slot) = self.idle.pop() {
                self.capped += claim.capped();
                self.counts.handed_over += 1;
                Offer::Lend(slot)
            } else if self.may_connect(now) {
                self.begin_connect(claim);
                Offer::Connect(self.generation)
            } else {
                break;
            };
            after.wake(self.line.offer(claim, offer));
        }
        if self.is_drained() {
            let drainers = self.drainers.drain(..).map(|(_, waker)| waker);
            after.wakers.extend(drainers);
        }
        self.calm = self.open && self.line.len() == 0 && self.size <= self.limits.max_size;
    }

    /// The claim of whoever came first of those that may have something.
    pub(super) fn next(&self) -> Option<Claim> {
        let heads = Claim::BOTH.into_iter().filter_map(|claim| {
            let head = self.line.head(claim)?;
            self.has_room(claim).then_some((head, claim))
        });
        heads
            .min_by_key(|(ticket, _)| *ticket)
            .map(|(_, claim)| claim)
    }

    pub(super) fn timeout(&self, waited: Duration) -> Timeout {
        Timeout {
            waited,
            max_size: self.limits.max_size,
            lent: self.lent(),
            connecting: self.connecting,
            waiting: self.line.len(),
            failures: self.failures,
        }
    }
}

/// Why there is no place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    Full(usize),
}

/// What is to be done when the lock is let go: first wake, then close.
pub(super) struct After<'a, T> {
    pub(super) core: &'a Core<T>,
    /// Most have at most one to wake, and no vector for it.
    pub(super) waker: Option<Waker>,
    pub(super) wakers: Vec<Waker>,
    pub(super) closing: Vec<Box<Slot<T>>>,
    /// How many of them are closed.
    pub(super) closed: usize,
}

impl<'a, T> After<'a, T> {
    pub(super) const fn new(core: &'a Core<T>) -> Self {
        Self {
            core,
            waker: None,
            wakers: Vec::new(),
            closing: Vec::new(),
            closed: 0,
        }
    }

    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        if self.waker.is_none() {
            self.waker = waker;
        } else {
            self.wakers.extend(waker);
        }
    }

    pub(super) fn run(mut self) {
        self.proceed();
    }

    fn proceed(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        while let Some(waker) = self.wakers.pop() {
            waker.wake();
        }
        while let Some(slot) = self.closing.pop() {
            self.closed += 1;
            drop(slot);
        }
        // Only now may others be made in their place.
        match std::mem::take(&mut self.closed) {
            0 => {}
            closed => self.core.change(self.core.now(), |state, _| {
                state.closing -= closed;
                state.size -= closed;
            }),
        }
    }
}

/// Wakers and connections may panic: the others are seen to nonetheless.
impl<T> Drop for After<'_, T> {
    fn drop(&mut self) {
        self.proceed();
    }
}
