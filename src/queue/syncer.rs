//! Syncs the log a while after something came that nobody waited for.
//!
//! An alarm is set when the first such message comes, and none while there is nothing to
//! do. A timer of its own rings it: a thread that is started with the first alarm, or the
//! clock that a test turns, which then syncs before it goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::sync::Mutex;
use crate::task::{Executor, Task};
use crate::time::{Clock, Sleep, Timer};

/// Sets alarms, for as long as it is there.
pub(super) struct Syncer(Arc<Alarm>);

struct Alarm {
    /// Makes everything last that was staged before it is called.
    sync: Box<dyn Fn() + Send + Sync>,
    /// Where to do it; where the timer rings, if there is none.
    executor: Option<Executor>,
    clock: Clock,
    timer: Timer,
    /// When it rings, in nanoseconds; `NEVER` if it is not set. Written under the lock of
    /// `nap`, and read without it by those who come while it is set for soon enough.
    due: AtomicU64,
    nap: Mutex<Option<Pin<Box<Sleep>>>>,
    /// Held by whoever syncs.
    busy: Mutex<()>,
    /// Who that is: set and reset by itself.
    by: Mutex<Option<ThreadId>>,
}

const NEVER: u64 = u64::MAX;

impl Syncer {
    pub(super) fn new(
        sync: impl Fn() + Send + Sync + 'static,
        executor: Option<Executor>,
        clock: Clock,
    ) -> Self {
        // Not the timer that wakes consumers: a runtime's must not be held up.
        let timer = match clock.as_manual() {
            Some(manual) => manual.timer(),
            None => Timer::thread(),
        };
        Self(Arc::new(Alarm {
            sync: Box::new(sync),
            executor,
            clock,
            timer,
            due: AtomicU64::new(NEVER),
            nap: Mutex::new(None),
            busy: Mutex::new(()),
            by: Mutex::new(None),
        }))
    }

    /// Has all that was staged so far be durable after this long, at the latest.
    pub(super) fn within(&self, interval: Duration) {
        let now = self.0.clock.now();
        let due = now + interval;
        // The alarm is taken back before anybody looks for what was staged. So what was
        // staged before it was seen to be set is found.
        if self.0.due.load(Ordering::Acquire) <= due.as_nanos() {
            return;
        }
        let mut nap = self.0.nap.lock();
        if self.0.due.load(Ordering::Acquire) <= due.as_nanos() {
            return;
        }
        self.0.due.store(due.as_nanos(), Ordering::Release);
        let sleep = Box::pin(self.0.timer.sleep_until(due, now));
        let old = nap.replace(sleep);
        drop(nap);
        drop(old);
        Arc::clone(&self.0).wake();
    }

    /// Takes the alarm back, and waits for who is syncing. Whether it was set.
    pub(super) fn stop(&self) -> bool {
        let nap = self.0.take_back(&mut self.0.nap.lock());
        let was_set = nap.is_some();
        drop(nap);
        // A sync wakes others, who may drop the queue in the middle of it.
        if *self.0.by.lock() != Some(thread::current().id()) {
            drop(self.0.busy.lock());
        }
        was_set
    }
}

impl Alarm {
    fn take_back(&self, nap: &mut Option<Pin<Box<Sleep>>>) -> Option<Pin<Box<Sleep>>> {
        self.due.store(NEVER, Ordering::Release);
        nap.take()
    }

    fn sync(&self) {
        let _busy = self.busy.lock();
        *self.by.lock() = Some(thread::current().id());
        (self.sync)();
        *self.by.lock() = None;
    }
}

impl Wake for Alarm {
    /// Looks whether it is time, and is called again when it is.
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut nap = self.nap.lock();
        let rang = nap.as_mut().is_some_and(|nap| {
            let mut context = Context::from_waker(&waker);
            nap.as_mut().poll(&mut context).is_ready()
        });
        // One that was set for later, and has been replaced, may ring as well.
        if !rang {
            return;
        }
        let old = self.take_back(&mut nap);
        drop(nap);
        drop(old);
        let Some(executor) = self.executor.clone() else {
            return self.sync();
        };
        let task = Task::new(async move { self.sync() });
        if let Err(task) = executor.spawn(task) {
            task.run();
        }
    }
}
