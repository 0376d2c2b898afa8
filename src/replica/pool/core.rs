//! What a pool is, without how connections are made: idle ones, a line, permits.
//!
//! Everything is decided under one lock, held for a few instructions; what follows from it for others (a
//! connection to be closed, somebody to be woken) is an [`After`], done when the lock is let go.
//!
//! Where the lock is free, nobody waits for what is there to be had: every change ends with
//! [`State::serve`]. So whoever finds an idle connection and nobody of its own claim before it may take it.

use std::task::Waker;
use std::time::Duration;

use super::line::{Claim, Line, Ticket};
use super::settings::{Limits, Settings};
use super::slot::Slot;
use super::{PoolBuildError, PoolStats, Timeout};
use crate::rng::Rng;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

pub(super) struct Core<T> {
    pub(super) settings: Settings,
    state: Mutex<State<T>>,
    /// The state's, for who asks without the lock.
    generation: AtomicU64,
}

pub(super) struct State<T> {
    /// The one that was used last is at the end, and lent next.
    idle: Vec<Box<Slot<T>>>,
    line: Line<T>,
    /// All connections: idle, lent or offered, being made or closed.
    size: usize,
    connecting: usize,
    closing: usize,
    /// Those that are lent to, or made by, callers that must leave a reserve.
    capped: usize,
    /// It is open, nobody waits, and there are no more than may be: what comes back lies idle, and what is idle can be
    /// taken. Set after every change.
    calm: bool,
    limits: Limits,
    generation: u64,
    open: bool,
    /// Attempts to connect that failed, one after the other.
    failures: u32,
    /// When, after a failure, the next attempt may be made.
    retry_at: Instant,
    chance: Rng,
    drainers: Vec<(u64, Waker)>,
    /// Counts; what `stats` can tell from the rest is zero.
    counts: PoolStats,
}

/// What a turn in the line brings.
pub(super) enum Offer<T> {
    Lend(Box<Slot<T>>),
    /// To make a connection, which is of this generation.
    Connect(u64),
}

/// How an attempt to have an idle connection at once went.
pub(super) enum Idle<T> {
    Fresh(Box<Slot<T>>),
    /// It was idle for so long that it must be tested.
    Untested(Box<Slot<T>>),
    None,
}

/// What becomes of a connection that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    Whole,
    Broken,
}

/// A look at a place in the line.
pub(super) enum View<T> {
    Offer(Offer<T>),
    Closed,
    /// Not yet; look again at this moment if nobody wakes you before.
    Wait(Instant),
}

/// What is to be done when the lock is let go: first wake, then close.
pub(super) struct After<'a, T> {
    core: &'a Core<T>,
    /// Most have at most one to wake, and no vector for it.
    waker: Option<Waker>,
    wakers: Vec<Waker>,
    closing: Vec<Box<Slot<T>>>,
    /// How many of them are closed.
    closed: usize,
}

impl<T> Core<T> {
    pub(super) fn new(settings: Settings, limits: Limits, generation: u64) -> Self {
        let chance = Rng::with_seed(settings.seed);
        Self {
            settings,
            state: Mutex::new(State {
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
                chance,
                drainers: Vec::new(),
                counts: PoolStats::default(),
            }),
            generation: AtomicU64::new(generation),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.settings.times.clock.now()
    }

    /// Changes the state, serves whoever can be served then, and does what follows.
    fn change<R>(
        &self,
        now: Instant,
        change: impl FnOnce(&mut State<T>, &mut After<'_, T>) -> R,
    ) -> R {
        let mut after = After::new(self);
        let answer = {
            let mut state = self.state.lock();
            let answer = change(&mut state, &mut after);
            state.serve(now, &mut after);
            answer
        };
        after.run();
        answer
    }

    /// Takes an idle connection, if there is one and nobody waits.
    #[inline]
    pub(super) fn take_idle(&self, claim: Claim) -> Idle<T> {
        // Before the lock, so that it is held the shorter.
        let now = self.now();
        let mut state = self.state.lock();
        if !state.calm || !state.has_room(claim) {
            return Idle::None;
        }
        let Some(slot) = state.idle.pop() else {
            return Idle::None;
        };
        state.capped += claim.capped();
        drop(state);
        if slot.is_fresh(now) {
            return Idle::Fresh(slot);
        }
        if !slot.is_stale(now) {
            return Idle::Untested(slot);
        }
        self.put_back(slot, claim);
        Idle::None
    }

    /// Gives a connection back: to whoever waits, or to the idle ones.
    #[inline]
    pub(super) fn checkin(&self, mut slot: Box<Slot<T>>, claim: Claim, how: Returned) {
        let now = self.now();
        slot.since = now;
        if how == Returned::Whole && now < slot.ends {
            let mut state = self.state.lock();
            if state.calm && slot.generation == state.generation {
                state.capped -= claim.capped();
                state.idle.push(slot);
                return;
            }
            drop(state);
        }
        self.give_back(slot, claim, how, now);
    }

    #[cold]
    fn give_back(&self, slot: Box<Slot<T>>, claim: Claim, how: Returned, now: Instant) {
        self.change(now, |state, after| {
            state.capped -= claim.capped();
            state.put(slot, how, now, after);
        });
    }

    /// Gives back what was not used at all.
    pub(super) fn put_back(&self, slot: Box<Slot<T>>, claim: Claim) {
        self.give_back(slot, claim, Returned::Whole, self.now());
    }

    /// Takes a connection out for good.
    pub(super) fn detach(&self, claim: Claim) {
        self.change(self.now(), |state, _| {
            state.size -= 1;
            state.capped -= claim.capped();
        });
    }

    /// Takes a place in the line.
    pub(super) fn join(&self, claim: Claim) -> Result<Ticket, Refusal> {
        self.change(self.now(), |state, _| {
            let max = state.limits.max_waiting;
            if state.open && state.line.len() >= max && !state.is_free(claim) {
                return Err(Refusal::Full(max));
            }
            state.counts.waited += 1;
            state.join(claim, false)
        })
    }

    /// Takes the head of the line in exchange for a connection that is of no use: at once, so that nobody
    /// else takes the turn.
    pub(super) fn exchange(
        &self,
        slot: Box<Slot<T>>,
        claim: Claim,
        how: Returned,
    ) -> Result<Ticket, Refusal> {
        let now = self.now();
        self.change(now, |state, after| {
            state.capped -= claim.capped();
            state.put(slot, how, now, after);
            state.join(claim, true)
        })
    }

    /// Looks whether the turn has come, and has this waker woken when it does.
    pub(super) fn look(&self, claim: Claim, ticket: Ticket, waker: &Waker) -> View<T> {
        // Cloning a waker is user code, as dropping one is.
        let waker = waker.clone();
        let now = self.now();
        let mut old = None;
        let view = self.change(now, |state, after| {
            if state.failures > 0 {
                state.serve(now, after);
            }
            if let Some(offer) = state.line.accept(ticket) {
                old = Some(waker);
                return View::Offer(offer);
            }
            match state.line.rewake(claim, ticket, waker) {
                Ok(former) => old = former,
                Err(waker) => {
                    old = Some(waker);
                    return View::Closed;
                }
            }
            // Who cannot be served only because of the pause looks again after it.
            let pauses = state.failures > 0 && state.retry_at > now;
            View::Wait(if pauses {
                state.retry_at
            } else {
                Instant::NEVER
            })
        });
        drop(old);
        view
    }

    /// Leaves the line at the deadline; takes what was offered at the last moment.
    pub(super) fn give_up(
        &self,
        claim: Claim,
        ticket: Ticket,
        waited: Duration,
    ) -> Result<Offer<T>, Option<Timeout>> {
        let mut old = None;
        let answer = self.change(self.now(), |state, _| {
            if let Some(offer) = state.line.accept(ticket) {
                return Ok(offer);
            }
            let Ok(waker) = state.line.leave(claim, ticket) else {
                return Err(None);
            };
            old = waker;
            state.counts.timed_out += 1;
            Err(Some(state.timeout(waited)))
        });
        drop(old);
        answer
    }

    pub(super) fn timeout(&self, waited: Duration) -> Timeout {
        self.state.lock().timeout(waited)
    }

    /// Leaves the line without having been served; what was offered goes on to the next.
    pub(super) fn cancel(&self, claim: Claim, ticket: Ticket) {
        let now = self.now();
        let mut old = None;
        self.change(now, |state, after| {
            state.counts.cancelled += 1;
            match state.line.accept(ticket) {
                Some(Offer::Lend(slot)) => {
                    state.capped -= claim.capped();
                    state.put(slot, Returned::Whole, now, after);
                }
                Some(Offer::Connect(_)) => state.end_connect(claim),
                None => old = state.line.leave(claim, ticket).ok().flatten(),
            }
        });
        drop(old);
    }

    /// Gives a permit to connect back, unused.
    pub(super) fn give_back_permit(&self, claim: Claim) {
        self.change(self.now(), |state, _| state.end_connect(claim));
    }

    /// An attempt to connect failed: the next one waits for a while.
    pub(super) fn failed(&self, claim: Claim) {
        let now = self.now();
        self.change(now, |state, _| {
            state.end_connect(claim);
            state.counts.failed += 1;
            let pause = self.settings.pause(state.failures, state.chance.next_u64());
            state.failures = state.failures.saturating_add(1);
            state.retry_at = now + pause;
        });
    }

    /// A connection was made: it is lent to who made it. If all of its generation were purged meanwhile, that one
    /// has the head of the line.
    pub(super) fn connected(
        &self,
        connection: T,
        claim: Claim,
        generation: u64,
    ) -> Result<Box<Slot<T>>, Result<Ticket, Refusal>> {
        let now = self.now();
        let mut slot = Box::new(Slot {
            connection,
            generation,
            ends: Instant::NEVER,
            idle_for: u64::MAX,
            fresh_for: u64::MAX,
            since: now,
        });
        self.change(now, |state, after| {
            slot.ends = later(now, self.settings.lifetime(state.chance.next_u64()));
            slot.idle_for = self.settings.idle_for(state.chance.next_u64());
            slot.fresh_for = slot.idle_for.min(self.settings.test_after);
            state.connecting -= 1;
            state.counts.connected += 1;
            state.failures = 0;
            if generation != state.generation || !state.open {
                state.capped -= claim.capped();
                state.counts.purged += 1;
                state.close(slot, after);
                return Err(state.join(claim, true));
            }
            Ok(slot)
        })
    }

    /// A permit to make one more idle connection, if there are too few.
    pub(super) fn top_up(&self) -> Option<u64> {
        let now = self.now();
        self.change(now, |state, _| {
            let short = state.idle.len() + state.connecting < state.limits.min_idle;
            (short && state.calm && state.may_connect(now)).then(|| {
                state.begin_connect(Claim::Full);
                state.generation
            })
        })
    }

    /// Closes what was idle for too long.
    pub(super) fn sweep(&self) {
        let now = self.now();
        self.change(now, |state, after| {
            let stale = state.idle.extract_if(.., |slot| slot.is_stale(now));
            after.closing.extend(stale);
            let stale = after.closing.len();
            state.closing += stale;
            state.counts.expired += stale as u64;
        });
    }

    /// Begins a new generation.
    pub(super) fn purge(&self) {
        self.change(self.now(), |state, after| {
            self.begin(state.generation + 1, state, after);
        });
    }

    /// Begins this generation, unless it is there already, and sends away who waits: to come back, if this is still
    /// where it wants to be.
    pub(super) fn advance(&self, generation: u64) {
        self.change(self.now(), |state, after| {
            if generation > state.generation {
                self.begin(generation, state, after);
                after.wakers.extend(state.line.dissolve());
            }
        });
    }

    fn begin(&self, generation: u64, state: &mut State<T>, after: &mut After<'_, T>) {
        state.generation = generation;
        self.generation.store(generation, Ordering::Release);
        state.counts.purged += state.idle.len() as u64;
        state.close_idle(usize::MAX, after);
        // A new start: what failed was the old server, as far as anybody knows.
        state.failures = 0;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.change(self.now(), |state, after| {
            state.open = false;
            state.close_idle(usize::MAX, after);
            after.wakers.extend(state.line.dissolve());
        });
    }

    /// Whether it is closed and nothing of it is left in anybody's hands; if not, wakes when it is.
    pub(super) fn is_over(&self, number: u64, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.state.lock();
        let known = state.drainers.iter().position(|(key, _)| *key == number);
        let old = known.map(|index| state.drainers.swap_remove(index));
        let drained = state.is_drained();
        let unused = if drained {
            Some(waker)
        } else {
            state.drainers.push((number, waker));
            None
        };
        drop(state);
        drop((old, unused));
        drained
    }

    pub(super) fn forget_drainer(&self, number: u64) {
        let mut state = self.state.lock();
        let known = state.drainers.iter().position(|(key, _)| *key == number);
        let old = known.map(|index| state.drainers.swap_remove(index));
        drop(state);
        drop(old);
    }

    pub(super) fn limit(&self, change: impl FnOnce(&mut Limits)) -> Result<(), PoolBuildError> {
        self.change(self.now(), |state, after| {
            let mut limits = state.limits;
            change(&mut limits);
            limits.check()?;
            state.limits = limits;
            let surplus = state.size.saturating_sub(limits.max_size);
            state.close_idle(surplus, after);
            Ok(())
        })
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.state.lock();
        PoolStats {
            max_size: state.limits.max_size,
            idle: state.idle.len(),
            lent: state.lent(),
            connecting: state.connecting,
            closing: state.closing,
            waiting: state.line.len(),
            generation: state.generation,
            ..state.counts
        }
    }
}

impl<T> State<T> {
    fn lent(&self) -> usize {
        self.size - self.idle.len() - self.connecting - self.closing
    }

    fn is_drained(&self) -> bool {
        !self.open && self.size == 0
    }

    #[inline]
    fn has_room(&self, claim: Claim) -> bool {
        claim == Claim::Full || self.capped < self.limits.capped
    }

    fn join(&mut self, claim: Claim, head: bool) -> Result<Ticket, Refusal> {
        if self.open {
            Ok(self.line.join(claim, head))
        } else {
            Err(Refusal::Closed)
        }
    }

    fn begin_connect(&mut self, claim: Claim) {
        self.size += 1;
        self.connecting += 1;
        self.capped += claim.capped();
    }

    /// Nothing came of it.
    fn end_connect(&mut self, claim: Claim) {
        self.size -= 1;
        self.connecting -= 1;
        self.capped -= claim.capped();
    }

    /// Whether one more could be served at once.
    fn is_free(&self, claim: Claim) -> bool {
        self.line.is_empty(claim)
            && self.has_room(claim)
            && (!self.idle.is_empty() || self.may_connect(self.retry_at))
    }

    fn may_connect(&self, now: Instant) -> bool {
        // After a failure one tries, and the others wait for how that goes.
        let (at_once, paused) = match self.failures {
            0 => (self.limits.max_connecting, false),
            _ => (1, now < self.retry_at),
        };
        !paused && self.size < self.limits.max_size && self.connecting < at_once
    }

    /// Puts a connection that is in nobody's hands where it belongs.
    fn put(&mut self, slot: Box<Slot<T>>, how: Returned, now: Instant, after: &mut After<'_, T>) {
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

    fn close(&mut self, slot: Box<Slot<T>>, after: &mut After<'_, T>) {
        self.closing += 1;
        after.closing.push(slot);
    }

    /// Closes up to so many of those that were used the longest ago.
    fn close_idle(&mut self, most: usize, after: &mut After<'_, T>) {
        let most = most.min(self.idle.len());
        self.closing += most;
        after.closing.extend(self.idle.drain(..most));
    }

    /// Gives those whose turn it is what there is, and says so to who waits for the end.
    fn serve(&mut self, now: Instant, after: &mut After<'_, T>) {
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
    fn next(&self) -> Option<Claim> {
        let heads = Claim::BOTH.into_iter().filter_map(|claim| {
            let head = self.line.head(claim)?;
            self.has_room(claim).then_some((head, claim))
        });
        heads
            .min_by_key(|(ticket, _)| *ticket)
            .map(|(_, claim)| claim)
    }

    fn timeout(&self, waited: Duration) -> Timeout {
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

/// So many nanoseconds after a moment.
#[inline]
fn later(moment: Instant, nanos: u64) -> Instant {
    Instant::from_nanos(moment.as_nanos().saturating_add(nanos))
}

/// Why there is no place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    Full(usize),
}

impl<'a, T> After<'a, T> {
    const fn new(core: &'a Core<T>) -> Self {
        Self {
            core,
            waker: None,
            wakers: Vec::new(),
            closing: Vec::new(),
            closed: 0,
        }
    }

    fn wake(&mut self, waker: Option<Waker>) {
        if self.waker.is_none() {
            self.waker = waker;
        } else {
            self.wakers.extend(waker);
        }
    }

    fn run(mut self) {
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
