//! Flushing in the background, on the user's executor.

use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::core::Core;
use super::lane::{Carried, Waiting};
use crate::time::Timer;

/// How a write-back speaks to the task that flushes it. It belongs to neither,
/// so that the task does not keep the write-back alive.
pub(super) struct Signal {
    waiting: Arc<Waiting>,
    hurry: AtomicBool,
    closed: AtomicBool,
    /// Whether there is a task that has not ended.
    running: AtomicBool,
}

impl Signal {
    pub(super) fn new() -> Self {
        Self {
            waiting: Arc::new(Waiting::new()),
            hurry: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            running: AtomicBool::new(false),
        }
    }

    /// Has the task flush now.
    pub(super) fn hurry(&self) {
        if !self.hurry.swap(true, Ordering::AcqRel) {
            self.waiting.wake_all();
        }
    }

    /// Has the task end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiting.wake_all();
    }

    /// Is ready once the task has ended.
    pub(super) async fn ended(&self) {
        let mut place = self.waiting.place();
        std::future::poll_fn(|context| {
            place.stand(context.waker());
            if self.running.load(Ordering::Acquire) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

/// The task: flushes what is due, again and again, until it is closed.
pub(super) async fn run<K, V>(
    core: Weak<Core<K, V>>,
    signal: Arc<Signal>,
    timer: Timer,
    every: Duration,
) where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let running = Running(signal);
    let signal = &running.0;
    let mut place = signal.waiting.place();
    loop {
        let mut nap = pin!(timer.sleep(every));
        std::future::poll_fn(|context| {
            place.stand(context.waker());
            let called =
                signal.closed.load(Ordering::Acquire) || signal.hurry.swap(false, Ordering::AcqRel);
            if called {
                return Poll::Ready(());
            }
            nap.as_mut().poll(context)
        })
        .await;
        if signal.closed.load(Ordering::Acquire) {
            return;
        }
        let Some(core) = core.upgrade() else {
            return;
        };
        core.flush_due().await;
    }
}

/// Says that the task has ended, however it does.
struct Running(Arc<Signal>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
        self.0.waiting.wake_all();
    }
}

/// Makes the task, which counts as running from now on.
pub(super) fn task<K, V>(
    core: &Arc<Core<K, V>>,
    timer: Timer,
    every: Duration,
) -> impl Future<Output = ()> + Send + 'static
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    core.signal.running.store(true, Ordering::Release);
    let signal = Arc::clone(&core.signal);
    run(Arc::downgrade(core), signal, timer, every)
}

impl<K, V> Core<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Writes what may be written now: not what waits for another attempt, and
    /// nothing while the store is left alone.
    pub(super) async fn flush_due(self: &Arc<Self>) {
        let mut place = self.store_lane.place();
        std::future::poll_fn(|context| {
            loop {
                let start = || self.next_for_store(false);
                match self.store_lane.carry(&mut place, context, start) {
                    Carried::Done => {}
                    Carried::Waiting if self.store_lane.is_busy() => return Poll::Pending,
                    Carried::Waiting | Carried::Reentrant => return Poll::Ready(()),
                }
            }
        })
        .await;
        self.hand_in_acks().await;
    }

    /// Gives the journal all acks there are; one attempt.
    pub(super) async fn hand_in_acks(self: &Arc<Self>) {
        let mut place = self.journal_lane.place();
        let failed = self.with_state(|state| state.counts.journal_failures);
        std::future::poll_fn(|context| {
            loop {
                let start = || {
                    let gave_up = self.with_state(|s| s.counts.journal_failures) > failed;
                    self.next_for_journal(!gave_up)
                };
                match self.journal_lane.carry(&mut place, context, start) {
                    Carried::Done => {}
                    Carried::Waiting if self.journal_lane.is_busy() => return Poll::Pending,
                    Carried::Waiting | Carried::Reentrant => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
