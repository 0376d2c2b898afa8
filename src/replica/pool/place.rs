//! A place in the line, and how threads and tasks wait in it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::core::{Core, Look, Offer};
use super::line::{Claim, Ticket};
use super::{Deadline, Timeout};
use crate::sync::thread::{self, Thread};
use crate::time::{Instant, Sleep};

/// A place in the line; whoever drops it leaves, and what it was offered goes on.
pub(super) struct Place<'a, T> {
    core: &'a Core<T>,
    claim: Claim,
    ticket: Ticket,
    left: bool,
}

/// Why a place brought nothing.
pub(super) enum Vain {
    Timeout(Timeout),
    Closed,
}

impl<'a, T> Place<'a, T> {
    /// The place that a ticket of this core stands for.
    pub(super) fn new(core: &'a Core<T>, claim: Claim, ticket: Ticket) -> Self {
        Self {
            core,
            claim,
            ticket,
            left: false,
        }
    }

    /// Blocks the thread until its turn has come.
    pub(super) fn wait(mut self, deadline: Deadline) -> Result<Offer<T>, Vain> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let clock = &self.core.settings.clock;
        let mut nap: Option<(Instant, Sleep)> = None;
        loop {
            let moment = match self.turn(&waker, deadline) {
                Turn::Over(answer) => return answer,
                Turn::Wait(moment) => moment,
            };
            let now = clock.now();
            match clock.as_manual() {
                _ if moment == Instant::NEVER => thread::park(),
                None => thread::park_timeout(moment.saturating_since(now)),
                // Its hands move when somebody moves them, and that one wakes us.
                Some(manual) => {
                    if nap.as_ref().is_none_or(|(at, _)| *at != moment) {
                        nap = Some((moment, manual.timer().sleep_until(moment, now)));
                    }
                    if !rings(&mut nap, &waker) {
                        thread::park();
                    }
                }
            }
        }
    }

    /// The same for a task.
    pub(super) async fn wait_async(mut self, deadline: Deadline) -> Result<Offer<T>, Vain> {
        let mut nap: Option<(Instant, Sleep)> = None;
        poll_fn(|context| {
            loop {
                let moment = match self.turn(context.waker(), deadline) {
                    Turn::Over(answer) => return Poll::Ready(answer),
                    Turn::Wait(Instant::NEVER) => return Poll::Pending,
                    Turn::Wait(moment) => moment,
                };
                if nap.as_ref().is_none_or(|(at, _)| *at != moment) {
                    let settings = &self.core.settings;
                    let sleep = settings.timer.sleep_until(moment, settings.clock.now());
                    nap = Some((moment, sleep));
                }
                if !rings(&mut nap, context.waker()) {
                    return Poll::Pending;
                }
                nap = None;
            }
        })
        .await
    }

    fn turn(&mut self, waker: &Waker, deadline: Deadline) -> Turn<T> {
        match self.core.look(self.claim, self.ticket, waker) {
            Look::Offer(offer) => Turn::Over(self.over(Ok(offer))),
            Look::Closed => Turn::Over(self.over(Err(Vain::Closed))),
            Look::Wait(_) if self.core.now() >= deadline.at => {
                let answer = self.core.give_up(self.claim, self.ticket, deadline.waited);
                let vain = |timeout: Option<_>| timeout.map_or(Vain::Closed, Vain::Timeout);
                Turn::Over(self.over(answer.map_err(vain)))
            }
            Look::Wait(until) => Turn::Wait(until.min(deadline.at)),
        }
    }

    fn over<R>(&mut self, answer: R) -> R {
        self.left = true;
        answer
    }
}

enum Turn<T> {
    Over(Result<Offer<T>, Vain>),
    /// Until this moment, if nobody wakes before.
    Wait(Instant),
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if !self.left {
            self.core.cancel(self.claim, self.ticket);
        }
    }
}

/// Whether the moment has come; if not, this waker is woken when it does.
fn rings(nap: &mut Option<(Instant, Sleep)>, waker: &Waker) -> bool {
    let mut context = Context::from_waker(waker);
    nap.as_mut()
        .is_some_and(|(_, nap)| Pin::new(nap).poll(&mut context).is_ready())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
