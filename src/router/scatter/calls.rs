use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::Mutex;

/// Calls that run at once within one task. Each has a waker of its own, so that only
/// those are polled that have something to say.
pub(super) struct Calls<F> {
    slots: Vec<Option<Call<F>>>,
    running: usize,
    woken: Arc<Woken>,
}

struct Call<F> {
    future: Pin<Box<F>>,
    waker: Waker,
}

/// What became of a call.
pub(super) enum Turn<T> {
    Pending,
    Done(T),
    Panicked,
}

impl<F: Future> Calls<F> {
    /// Room for so many, each of which has a number below that and runs once.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            running: 0,
            woken: Arc::new(Woken(Mutex::new(Inside {
                calls: Vec::new(),
                queued: vec![false; slots],
                task: None,
            }))),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Begins a call, and goes on with it as far as it goes.
    pub(super) fn begin(&mut self, number: usize, call: impl FnOnce() -> F) -> Turn<F::Output> {
        let Ok(future) = catch_unwind(AssertUnwindSafe(|| Box::pin(call()))) else {
            return Turn::Panicked;
        };
        let woken = Arc::clone(&self.woken);
        let waker = Waker::from(Arc::new(CallWaker { number, woken }));
        self.slots[number] = Some(Call { future, waker });
        self.running += 1;
        self.resume(number)
    }

    /// Goes on with a call, unless it has ended.
    pub(super) fn resume(&mut self, number: usize) -> Turn<F::Output> {
        let Some(call) = &mut self.slots[number] else {
            return Turn::Pending;
        };
        let mut context = Context::from_waker(&call.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| call.future.as_mut().poll(&mut context)));
        let turn = match polled {
            Ok(Poll::Pending) => return Turn::Pending,
            Ok(Poll::Ready(output)) => Turn::Done(output),
            Err(_) => Turn::Panicked,
        };
        self.cancel(number);
        turn
    }

    /// The calls that were woken since they were last polled, from now on to be told to
    /// this waker.
    pub(super) fn woken(&mut self, waker: &Waker) -> Vec<usize> {
        // Cloning and dropping a waker is user code, and happens under no lock.
        let task = Some(waker.clone());
        let mut inside = self.woken.0.lock();
        let before = std::mem::replace(&mut inside.task, task);
        let calls = std::mem::take(&mut inside.calls);
        for number in &calls {
            inside.queued[*number] = false;
        }
        drop(inside);
        drop(before);
        calls
    }
}

impl<F> Calls<F> {
    /// Drops a call, whatever it has come to; whether it was running.
    pub(super) fn cancel(&mut self, number: usize) -> bool {
        let Some(call) = self.slots.get_mut(number).and_then(Option::take) else {
            return false;
        };
        self.running -= 1;
        // Its panic is no reason to leave the others alone; the hook has reported it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
        true
    }
}

/// A read that is dropped half-way takes all of its calls with it.
impl<F> Drop for Calls<F> {
    fn drop(&mut self) {
        for number in 0..self.slots.len() {
            self.cancel(number);
        }
    }
}

/// Who has something to say. Its lock is held for a few moves.
struct Woken(Mutex<Inside>);

struct Inside {
    /// In the order in which they were woken, each once.
    calls: Vec<usize>,
    /// By number: whether it is in there.
    queued: Vec<bool>,
    task: Option<Waker>,
}

struct CallWaker {
    number: usize,
    woken: Arc<Woken>,
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut inside = self.woken.0.lock();
        if std::mem::replace(&mut inside.queued[self.number], true) {
            return;
        }
        inside.calls.push(self.number);
        let task = inside.task.take();
        drop(inside);
        if let Some(task) = task {
            task.wake();
        }
    }
}
