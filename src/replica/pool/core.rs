//! What a pool is, without how connections are made: idle ones, a line, permits.
//!
//! Everything is decided under one lock, held for a few instructions; what follows from it for others (a
//! connection to be closed, somebody to be woken) is an [`After`], done when the lock is let go.
//!
//! Where the lock is free, nobody waits for what is there to be had: every change ends with
//! [`State::serve`]. So whoever finds an idle connection and nobody of its own claim before it may take it.

use std::task::Waker;
use std::time::Duration;

use super::line::{Claim, Ticket};
use super::settings::{Limits, Settings};
use super::slot::Slot;
use super::state::{After, Offer, Refusal, Returned, State, View};
use super::{PoolBuildError, PoolStats, Timeout};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Instant;

pub(super) struct Core<T> {
    pub(super) settings: Settings,
    state: Mutex<State<T>>,
    /// The state's, for who asks without the lock.
    generation: AtomicU64,
}

/// How an attempt to have an idle connection at once went.
pub(super) enum Idle<T> {
    Fresh(Box<Slot<T>>),
    /// It was idle for so long that it must be tested.
    Untested(Box<Slot<T>>),
    None,
}

impl<T> Core<T> {
    pub(super) fn new(settings: Settings, limits: Limits, generation: u64) -> Self {
        Self {
            state: Mutex::new(State::new(limits, generation, settings.seed)),
            settings,
            generation: AtomicU64::new(generation),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.settings.times.clock.now()
    }

    /// Changes the state, serves whoever can be served then, and does what follows.
    pub(super) fn change<R>(
        &self,
        now: Instant,
        change: impl FnOnce(&mut State<T>, &mut After<'_, T>) -> R,
    ) -> R {
        self.change_under(self.state.lock(), now, change)
    }

    /// The same, under the lock that was taken to see that it has to be.
    fn change_under<R>(
        &self,
        state: MutexGuard<'_, State<T>>,
        now: Instant,
        change: impl FnOnce(&mut State<T>, &mut After<'_, T>) -> R,
    ) -> R {
        let mut after = After::new(self);
        // Later than what follows, and so let go before it, in a panic as well.
        let mut state = state;
        let answer = change(&mut state, &mut after);
        state.serve(now, &mut after);
        drop(state);
        after.run();
        answer
    }

    /// Takes an idle connection, if there is one and nobody waits.
    // A call would write what is answered to memory: a quarter of what lending takes.
    #[allow(clippy::inline_always, reason = "see above")]
    #[inline(always)]
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
    #[allow(clippy::inline_always, reason = "as for `take_idle`")]
    #[inline(always)]
    pub(super) fn checkin(&self, mut slot: Box<Slot<T>>, claim: Claim, how: Returned) {
        let now = self.now();
        slot.since = now;
        let mut state = self.state.lock();
        let is_plain = how == Returned::Whole && now < slot.ends;
        if is_plain && state.calm && slot.generation == state.generation {
            state.capped -= claim.capped();
            state.idle.push(slot);
            return;
        }
        self.give_back(state, slot, claim, how, now);
    }

    #[cold]
    fn give_back(
        &self,
        state: MutexGuard<'_, State<T>>,
        slot: Box<Slot<T>>,
        claim: Claim,
        how: Returned,
        now: Instant,
    ) {
        self.change_under(state, now, |state, after| {
            state.capped -= claim.capped();
            state.put(slot, how, now, after);
        });
    }

    /// Gives back what was not used at all.
    pub(super) fn put_back(&self, slot: Box<Slot<T>>, claim: Claim) {
        let now = self.now();
        self.give_back(self.state.lock(), slot, claim, Returned::Whole, now);
    }

    /// Takes a connection out for good.
    pub(super) fn detach(&self, claim: Claim) {
        self.change(self.now(), |state, _| {
            state.size -= 1;
            state.capped -= claim.capped();
        });
    }

    /// Takes a place in the line and looks from there.
    pub(super) fn enter(&self, claim: Claim, waker: &Waker) -> Result<(Ticket, View<T>), Refusal> {
        // Cloning a waker is user code, as dropping one is.
        let waker = waker.clone();
        let now = self.now();
        let mut unused = None;
        let answer = self.change(now, |state, after| {
            let max = state.limits.max_waiting;
            if state.open && state.line.len() >= max && !state.is_free(claim) {
                unused = Some(waker);
                return Err(Refusal::Full(max));
            }
            state.counts.waited += 1;
            let ticket = match state.join(claim, false) {
                Ok(ticket) => ticket,
                Err(refusal) => {
                    unused = Some(waker);
                    return Err(refusal);
                }
            };
            // Who is served at once need not be woken.
            state.serve(now, after);
            let (view, old) = state.look(ticket, waker, now);
            unused = old;
            Ok((ticket, view))
        });
        drop(unused);
        answer
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
    pub(super) fn look(&self, ticket: Ticket, waker: &Waker) -> View<T> {
        // Most who look again were woken for this.
        let offered = self.state.lock().line.accept(ticket);
        if let Some(offer) = offered {
            return View::Offer(offer);
        }
        let waker = waker.clone();
        let now = self.now();
        let mut old = None;
        let view = self.change(now, |state, after| {
            if state.failures > 0 {
                state.serve(now, after);
            }
            let (view, unused) = state.look(ticket, waker, now);
            old = unused;
            view
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

/// So many nanoseconds after a moment.
#[inline]
fn later(moment: Instant, nanos: u64) -> Instant {
    Instant::from_nanos(moment.as_nanos().saturating_add(nanos))
}
