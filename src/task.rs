//! Work that goes on when its caller has left, on whatever runs work for you.
//!
//! Nothing in this crate starts a thread or needs a runtime. Where a load has
//! to outlive the call that began it (a timeout, a refresh in the background) a
//! block makes a [`Task`] of it and hands that to the [`Executor`] it was given:
//! a runtime, or a pool of threads.
//!
//! ```
//! use std::sync::mpsc;
//! use tenfold::task::{Executor, Task};
//!
//! // One thread and room for eight tasks; a full queue gives the task back.
//! let (queue, work) = mpsc::sync_channel::<Task>(8);
//! let worker = std::thread::spawn(move || work.into_iter().for_each(Task::run));
//! let pool = Executor::new(move |task| match queue.try_send(task) {
//!     Ok(()) => Ok(()),
//!     Err(mpsc::TrySendError::Full(task) | mpsc::TrySendError::Disconnected(task)) => Err(task),
//! });
//! // With tokio: Executor::new(|task| { tokio::spawn(task); Ok(()) })
//!
//! let (said, heard) = mpsc::channel();
//! pool.spawn(Task::new(async move { said.send("done").unwrap() })).unwrap();
//! assert_eq!(heard.recv(), Ok("done"));
//! drop(pool);
//! worker.join().unwrap();
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A piece of work, started by whoever runs it: as a future by awaiting or
/// spawning it, on a plain thread by [`run`](Self::run).
///
/// Dropped unfinished, it is cancelled, and whoever waits for it is told.
#[must_use = "a task does nothing until it is run or awaited"]
pub struct Task(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Task {
    /// Makes a task of a future. One allocation.
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(work))
    }

    /// Runs the task to its end on the calling thread, which sleeps while the
    /// task waits.
    pub fn run(self) {
        block_on(self);
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task(..)")
    }
}

/// Where tasks run: a closure that takes them in, or gives them back if it has
/// no room. Cheap to clone.
#[derive(Clone)]
pub struct Executor(Arc<dyn Fn(Task) -> Result<(), Task> + Send + Sync>);

impl Executor {
    /// An executor that hands tasks to this closure. A closure that has no
    /// room gives the task back rather than wait: what happens then is the
    /// block's to decide, and it says so.
    pub fn new(spawn: impl Fn(Task) -> Result<(), Task> + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    /// Runs every task at once on the thread that spawns it: nothing is in the
    /// background, and nothing can go on after its caller has left. For tests,
    /// and for programs that would rather wait than own another thread.
    pub fn caller_runs() -> Self {
        Self::new(|task| {
            task.run();
            Ok(())
        })
    }

    /// Hands a task over.
    ///
    /// # Errors
    /// The task itself, not started, if there is no room for it.
    pub fn spawn(&self, task: Task) -> Result<(), Task> {
        (self.0)(task)
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor(..)")
    }
}

/// Runs a future to its end on the calling thread, which sleeps while the
/// future waits. It brings no reactor: a future that needs a runtime's timers
/// or sockets must be polled within that runtime.
///
/// ```
/// assert_eq!(tenfold::task::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // Somebody else's unpark is a turn of the loop, no more.
        thread::park();
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_full_pool_gives_the_task_back() {
        let full = Executor::new(Err);
        let (said, heard) = mpsc::channel();
        let task = Task::new(async move { said.send(1).unwrap() });
        let task = full.spawn(task).unwrap_err();
        assert!(heard.try_recv().is_err());
        task.run();
        assert_eq!(heard.recv(), Ok(1));
    }

    #[test]
    fn a_blocked_thread_is_woken_from_another() {
        let (said, heard) = mpsc::channel::<Waker>();
        let waker = thread::spawn(move || heard.recv().unwrap().wake());
        let mut polls = 0;
        let polls = block_on(std::future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                said.send(context.waker().clone()).unwrap();
                return Poll::Pending;
            }
            Poll::Ready(polls)
        }));
        assert_eq!(polls, 2);
        waker.join().unwrap();
    }
}
