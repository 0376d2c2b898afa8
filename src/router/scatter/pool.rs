use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::error::ShardError;
use crate::sync::Mutex;
use crate::task::{Executor, Task};

/// Has an executor run a call that blocks. What comes back is ready when that has ended;
/// dropped before, it takes a call that has not begun with it.
pub(super) fn hand_over<A: Send + 'static, E: Send + 'static>(
    executor: &Executor,
    call: impl FnOnce() -> Result<Vec<A>, E> + Send + 'static,
) -> HandedOver<A, E> {
    let result = HandedOver(Arc::new(Mutex::new(State::Waiting(None))));
    let promise = Promise(Arc::clone(&result.0));
    let task = Task::new(async move {
        if promise.is_wanted() {
            // Caught here: a panic is the call's, not the pool's.
            let outcome = catch_unwind(AssertUnwindSafe(call));
            promise.keep(match outcome {
                Ok(outcome) => outcome.map_err(ShardError::Failed),
                Err(_) => Err(ShardError::Panicked),
            });
        }
    });
    // Dropped, it says so itself.
    drop(executor.spawn(task));
    result
}

type Outcome<A, E> = Result<Vec<A>, ShardError<E>>;

enum State<A, E> {
    /// For its outcome, and who is to be told.
    Waiting(Option<Waker>),
    Over(Outcome<A, E>),
    /// Nobody waits any more.
    Left,
}

/// The place of who waits. Its lock is held for a move.
pub(super) struct HandedOver<A, E>(Arc<Mutex<State<A, E>>>);

impl<A, E> Future for HandedOver<A, E> {
    type Output = Outcome<A, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker().clone();
        let mut state = self.0.lock();
        if let State::Waiting(task) = &mut *state {
            let before = task.replace(waker);
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        let before = std::mem::replace(&mut *state, State::Left);
        drop(state);
        match before {
            State::Over(outcome) => Poll::Ready(outcome),
            State::Waiting(_) | State::Left => Poll::Pending,
        }
    }
}

impl<A, E> Drop for HandedOver<A, E> {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Left);
        drop(before);
    }
}

/// The side of who works.
struct Promise<A, E>(Arc<Mutex<State<A, E>>>);

impl<A, E> Promise<A, E> {
    fn is_wanted(&self) -> bool {
        matches!(*self.0.lock(), State::Waiting(_))
    }

    fn keep(&self, outcome: Outcome<A, E>) {
        let mut state = self.0.lock();
        let State::Waiting(task) = &mut *state else {
            drop(state);
            drop(outcome);
            return;
        };
        let task = task.take();
        *state = State::Over(outcome);
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<A, E> Drop for Promise<A, E> {
    fn drop(&mut self) {
        self.keep_refusal();
    }
}

impl<A, E> Promise<A, E> {
    /// Says that the task was dropped, if nothing was said so far.
    fn keep_refusal(&self) {
        if self.is_wanted() {
            self.keep(Err(ShardError::Refused));
        }
    }
}
