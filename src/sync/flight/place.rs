//! Standing in line, and for how long.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::lead::{Lead, Outcome, Owner, abandon};
use super::load::Refusal;
use super::running;
use super::start::{Caller, Follower, Join, Terms};
use super::table::TakeOver;
use super::waiter::{Left, Verdict, Waiter};
use super::waits::{Circle, Wait};
use crate::sync::thread;
use crate::time::{Clock, Instant, Sleep, Timer};

/// A place in line that is left properly on every way out.
pub(crate) struct InLine<P>
where
    P: Deref,
    P::Target: Owner,
{
    owner: P,
    hash: u64,
    waiter: Waiter<<P::Target as Owner>::Value>,
    wait: Option<Wait>,
}

/// How standing in line ended.
pub(crate) enum Waited<P>
where
    P: Deref,
    P::Target: Owner,
{
    /// The leader's outcome, and how many callers have it.
    Landed(Outcome<<P::Target as Owner>::Value>, usize),
    /// The leader is gone, or its lease is: this caller leads now.
    Lead(Lead<P>),
    /// The leader landed and could not deliver: start again.
    Lost,
    /// The leader is gone, and nobody in line has a loader.
    LeaderDropped,
    /// This caller's time is up. It still stands in line, and may go on
    /// waiting; dropping the place leaves it.
    TimedOut,
}

/// Until when a caller stands in line.
#[derive(Clone, Copy)]
pub(crate) struct Until<'a> {
    pub(crate) clock: &'a Clock,
    /// When it stops waiting; [`Instant::NEVER`] if it has time.
    pub(crate) deadline: Instant,
    /// How long a leader may take before one of those who wait takes its
    /// place; `None` where flights have no lease.
    pub(crate) lease: Option<Duration>,
}

/// Stands in the line of a key's flight without ever leading it; `None` if
/// there is none.
pub(crate) fn join<O: Owner, P: Deref<Target = O>>(
    owner: P,
    hash: u64,
    is_key: impl Fn(&O::Key) -> bool,
    caller: Caller,
    max_waiters: usize,
) -> Result<Option<InLine<P>>, Refusal> {
    let join = owner.with_flights(hash, |flights| {
        flights.join(hash, is_key, caller, max_waiters)
    });
    match join {
        Join::Nothing => Ok(None),
        Join::Reentrant => Err(Refusal::Reentrant),
        Join::Suspended => Err(Refusal::Cycle),
        Join::Full => Err(Refusal::Full),
        Join::Follow(follower) => match InLine::enter(owner, hash, follower) {
            Ok(place) => Ok(Some(place)),
            Err(Circle) => Err(Refusal::Cycle),
        },
    }
}

impl<O: Owner, P: Deref<Target = O>> InLine<P> {
    pub(super) fn enter(owner: P, hash: u64, follower: Follower<O::Value>) -> Result<Self, Circle> {
        let mut place = Self {
            owner,
            hash,
            waiter: follower.0,
            wait: None,
        };
        if let Some(id) = place.waiter.id() {
            place.wait = Wait::new(id)?;
        }
        Ok(place)
    }
}

impl<O: Owner, P: Deref<Target = O> + Clone> InLine<P> {
    /// Whether this thread, if it blocked now, would wait for a task that is
    /// suspended on it: for one who joined as a task and then blocks.
    pub(crate) fn waits_for_itself(&self) -> bool {
        self.waiter.id().is_some_and(|id| {
            self.owner.with_flights(self.hash, |flights| {
                flights.is_suspended_here(self.hash, id)
            })
        })
    }

    /// Blocks the thread until the flight is decided.
    pub(crate) fn wait(&mut self) -> Waited<P> {
        let waker = running::thread_waker();
        loop {
            if let Poll::Ready(verdict) = self.waiter.poll(&waker) {
                return self.end(verdict);
            }
            // Somebody else's unpark is a turn of the loop, no more.
            thread::park();
        }
    }

    /// Waits for the flight to be decided.
    pub(crate) async fn wait_async(&mut self) -> Waited<P> {
        let verdict = poll_fn(|context| self.waiter.poll(context.waker())).await;
        self.end(verdict)
    }

    /// Blocks the thread until the flight is decided, or time is up.
    pub(crate) fn wait_until(&mut self, until: &Until<'_>) -> Waited<P> {
        let waker = running::thread_waker();
        let mut alarm: Option<(Instant, Sleep)> = None;
        loop {
            if let Poll::Ready(verdict) = self.waiter.poll(&waker) {
                return self.end(verdict);
            }
            let next = self.next_moment(until);
            let now = until.clock.now();
            if now >= next {
                match self.moment_has_come(until, now) {
                    Some(waited) => return waited,
                    None => continue,
                }
            }
            let Some(manual) = until.clock.as_manual() else {
                if next == Instant::NEVER {
                    thread::park();
                } else {
                    thread::park_timeout(next.saturating_since(now));
                }
                continue;
            };
            // Its hands move when somebody moves them, and that one wakes us.
            if alarm.as_ref().is_none_or(|(at, _)| *at != next) {
                alarm = Some((next, manual.timer().sleep_until(next, now)));
            }
            if !rings(alarm.as_mut(), &waker) {
                thread::park();
            }
        }
    }

    /// The twin of [`wait_until`](Self::wait_until) for tasks, woken by `timer`.
    pub(crate) async fn wait_until_async(&mut self, until: &Until<'_>, timer: &Timer) -> Waited<P> {
        let mut alarm: Option<(Instant, Sleep)> = None;
        poll_fn(|context| {
            loop {
                if let Poll::Ready(verdict) = self.waiter.poll(context.waker()) {
                    return Poll::Ready(self.end(verdict));
                }
                let next = self.next_moment(until);
                if next == Instant::NEVER {
                    return Poll::Pending;
                }
                let now = until.clock.now();
                if alarm.as_ref().is_none_or(|(at, _)| *at != next) {
                    let sleep = match until.clock.as_manual() {
                        Some(_) => timer.sleep_until(next, now),
                        None => timer.sleep(next.saturating_since(now)),
                    };
                    alarm = Some((next, sleep));
                }
                // The timer may tell a moment that the clock does not see yet,
                // and it is the timer that the caller waits by.
                if now < next && !rings(alarm.as_mut(), context.waker()) {
                    return Poll::Pending;
                }
                alarm = None;
                if let Some(waited) = self.moment_has_come(until, now.max(next)) {
                    return Poll::Ready(waited);
                }
            }
        })
        .await
    }

    /// When something happens though the flight is not decided.
    fn next_moment(&self, until: &Until<'_>) -> Instant {
        match until.lease {
            Some(_) => until.deadline.min(self.waiter.lease_ends()),
            None => until.deadline,
        }
    }

    fn moment_has_come(&mut self, until: &Until<'_>, now: Instant) -> Option<Waited<P>> {
        if now >= until.deadline {
            return Some(Waited::TimedOut);
        }
        let terms = Terms {
            now,
            lease_ends: now + until.lease?,
            ..Terms::NONE
        };
        let (id, caller) = (self.waiter.id()?, self.waiter.caller());
        let taken = self.owner.with_flights(self.hash, |flights| {
            flights.take_over(self.hash, id, caller, &terms)
        });
        match taken {
            TakeOver::Lead(ticket) => {
                let lead = Lead::new(self.owner.clone(), self.hash, ticket);
                self.wait = None;
                self.leave();
                Some(Waited::Lead(lead))
            }
            TakeOver::Renewed => None,
            TakeOver::Over => {
                self.waiter.forget_lease();
                None
            }
        }
    }

    fn end(&mut self, verdict: Verdict<O::Value>) -> Waited<P> {
        self.wait = None;
        match verdict {
            Verdict::Landed(outcome, receivers) => Waited::Landed(outcome, receivers),
            Verdict::Promoted(ticket) => {
                Waited::Lead(Lead::new(self.owner.clone(), self.hash, ticket))
            }
            Verdict::Lost => Waited::Lost,
            Verdict::Orphaned => Waited::LeaderDropped,
        }
    }
}

impl<P> InLine<P>
where
    P: Deref,
    P::Target: Owner,
{
    fn leave(&mut self) {
        match self.waiter.leave() {
            Left::Nothing => {}
            Left::Promoted(ticket) => abandon(&*self.owner, self.hash, &ticket),
            Left::Empty(id) => self
                .owner
                .with_flights(self.hash, |flights| flights.end_unwanted(self.hash, id))
                .announce(),
        }
    }
}

impl<P> Drop for InLine<P>
where
    P: Deref,
    P::Target: Owner,
{
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether the alarm has gone off; if not, it will wake this waker.
fn rings(alarm: Option<&mut (Instant, Sleep)>, waker: &Waker) -> bool {
    alarm.is_some_and(|(_, sleep)| {
        let mut context = Context::from_waker(waker);
        Pin::new(sleep).poll(&mut context).is_ready()
    })
}
