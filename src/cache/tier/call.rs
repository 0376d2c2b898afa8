//! One call of somebody else's code, bounded in time, its panics caught.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use super::l2::{Answer, BoxError};
use crate::time::Timer;

/// Why a call of an L2 or a backplane brought nothing. The tier goes on without
/// its answer; this is for logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It said so itself.
    #[error("the call failed")]
    Failed(#[source] BoxError),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It panicked.
    #[error("the call panicked")]
    Panicked,
}

/// The timer of a tier, made when it is first needed if none was given.
#[derive(Debug)]
pub(super) struct Timers(OnceLock<Timer>);

impl Timers {
    pub(super) fn new(timer: Option<Timer>) -> Self {
        Self(timer.map_or_else(OnceLock::new, OnceLock::from))
    }

    fn get(&self) -> &Timer {
        self.0.get_or_init(Timer::thread)
    }
}

/// Waits for an answer, but no longer than this. A call that answers at its
/// first poll needs no timer.
pub(super) async fn bounded<'a, T>(
    call: impl FnOnce() -> Answer<'a, T>,
    timers: &Timers,
    limit: Duration,
) -> Result<T, CallError> {
    let answer = catch_unwind(AssertUnwindSafe(call)).map_err(|_| CallError::Panicked)?;
    let mut answer = pin!(answer);
    let mut sleep = pin!(None);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)));
        match polled {
            Ok(Poll::Ready(result)) => return Poll::Ready(result.map_err(CallError::Failed)),
            Err(_) => return Poll::Ready(Err(CallError::Panicked)),
            Ok(Poll::Pending) => {}
        }
        if sleep.is_none() {
            sleep.set(Some(timers.get().sleep(limit)));
        }
        let slept = sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(context));
        match slept {
            Some(Poll::Ready(())) => Poll::Ready(Err(CallError::TimedOut(limit))),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}

#[cfg(all(test, not(tenfold_shuttle)))]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::task::block_on;
    use crate::time::ManualClock;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_in_time_is_the_answer() {
        let timers = Timers::new(None);
        let result = block_on(bounded(|| Box::pin(async { Ok(7) }), &timers, LIMIT));
        assert_eq!(result.unwrap(), 7);
        assert!(timers.0.get().is_none(), "no thread was needed");
    }

    #[test]
    fn a_late_answer_is_a_time_out_at_the_moment_it_is_late() {
        let time = ManualClock::new();
        let timers = Timers::new(Some(time.timer()));
        let mut context = Context::from_waker(Waker::noop());
        let call = bounded::<()>(|| Box::pin(std::future::pending()), &timers, LIMIT);
        let mut call = pin!(call);
        assert!(call.as_mut().poll(&mut context).is_pending());
        time.advance(LIMIT.saturating_sub(Duration::from_nanos(1)));
        assert!(call.as_mut().poll(&mut context).is_pending());
        time.advance(Duration::from_nanos(1));
        let Poll::Ready(result) = call.poll(&mut context) else {
            panic!("the time is over");
        };
        assert!(matches!(result, Err(CallError::TimedOut(LIMIT))));
    }

    #[test]
    fn a_panic_is_an_error() {
        fn panic_quietly() -> ! {
            std::panic::resume_unwind(Box::new("on purpose"))
        }
        let timers = Timers::new(None);
        let at_call = block_on(bounded::<()>(|| panic_quietly(), &timers, LIMIT));
        assert!(matches!(at_call, Err(CallError::Panicked)));
        let call = || -> Answer<'_, ()> { Box::pin(std::future::poll_fn(|_| panic_quietly())) };
        let at_poll = block_on(bounded(call, &timers, LIMIT));
        assert!(matches!(at_poll, Err(CallError::Panicked)));
    }
}
