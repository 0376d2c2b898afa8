//! Futures polled by hand, gates that tests open, and keys and values that are
//! counted.

#![allow(dead_code, reason = "each program uses a part of it")]

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tenfold::task::{Executor, Task};

/// Polls once; nobody is woken.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Gives way to other threads until they have come so far. A minute is a bound
/// for a test that would otherwise hang, not a time that anything takes.
pub(crate) fn until(mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "never reached");
        thread::yield_now();
    }
}

/// Unwinds without the panic hook's noise.
pub(crate) fn quiet_panic() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Holds up loaders until it is opened with the value they shall bring.
pub(crate) struct Gate<T>(Arc<Mutex<Inside<T>>>);

struct Inside<T> {
    value: Option<T>,
    wakers: Vec<Waker>,
}

impl<T: Clone> Gate<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inside {
            value: None,
            wakers: Vec::new(),
        })))
    }

    pub(crate) fn open(&self, value: T) {
        let wakers = {
            let mut inside = self.0.lock().unwrap();
            inside.value = Some(value);
            std::mem::take(&mut inside.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Blocks the thread until the gate is open.
    pub(crate) fn pass(&self) -> T {
        block_on(self.clone())
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Future for Gate<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut inside = self.0.lock().unwrap();
        if let Some(value) = inside.value.clone() {
            return Poll::Ready(value);
        }
        inside.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

/// Counts what was made of it and still lives.
#[derive(Clone, Default)]
pub(crate) struct Census(Arc<()>);

impl Census {
    pub(crate) fn member(&self, number: u64) -> Member {
        Member {
            number,
            alive: Arc::clone(&self.0),
        }
    }

    pub(crate) fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// A key or value that its census counts; equal by number.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) number: u64,
    alive: Arc<()>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Member {}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// Runs a test that would hang if it failed; a minute is far more than any of
/// them takes.
pub(crate) fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let waited = wait.recv_timeout(Duration::from_secs(60));
    assert_ne!(
        waited,
        Err(RecvTimeoutError::Timeout),
        "the test hangs: a lock is held where user code runs"
    );
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Whether it panicked.
pub(crate) fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// Takes tasks in, and polls them when the test says so.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<Vec<Pin<Box<Task>>>>>);

impl Tasks {
    pub(crate) fn executor(&self) -> Executor {
        // Weak, for a task may hold its executor.
        let tasks = Arc::downgrade(&self.0);
        Executor::new(move |task| match tasks.upgrade() {
            Some(tasks) => {
                tasks.lock().unwrap().push(Box::pin(task));
                Ok(())
            }
            None => Err(task),
        })
    }

    /// Polls each once; keeps what is not done.
    pub(crate) fn run(&self) {
        let mut tasks = self.take();
        tasks.retain_mut(|task| poll(task.as_mut()).is_pending());
        self.0.lock().unwrap().append(&mut tasks);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// To be run elsewhere, or dropped.
    pub(crate) fn take(&self) -> Vec<Pin<Box<Task>>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
