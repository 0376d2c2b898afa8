//! Waking tasks at a moment.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Instant, ManualClock, coarse};

/// Ends the waiting of tasks at a moment, as a runtime's timer does.
///
/// A blocked thread needs none: it sleeps with a time-out of its own. A task
/// does, and this crate starts nothing by itself, so a block that bounds the
/// waiting of tasks asks for a timer. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use tenfold::time::{ManualClock, Timer};
///
/// let time = ManualClock::new();
/// let timer = time.timer();
/// let nap = timer.sleep(Duration::from_secs(3600));
/// time.advance(Duration::from_secs(3600));
/// let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// assert!(std::pin::pin!(nap).poll(&mut context).is_ready());
/// // In a program with tokio: Timer::from_sleep(tokio::time::sleep)
/// // Without a runtime: Timer::thread()
/// ```
#[derive(Clone)]
pub struct Timer(Source);

type BoxedSleep = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
enum Source {
    Manual(ManualClock),
    Thread(Arc<TimerThread>),
    Foreign(Arc<dyn Fn(Duration) -> BoxedSleep + Send + Sync>),
}

impl Timer {
    /// A timer with a thread of its own: started when something first sleeps,
    /// asleep itself while nothing is due, and joined when the last handle is
    /// dropped.
    pub fn thread() -> Self {
        Self(Source::Thread(Arc::new(TimerThread::new())))
    }

    /// The timer of a runtime: `Timer::from_sleep(tokio::time::sleep)`. One
    /// allocation per sleep.
    pub fn from_sleep<F>(sleep: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Source::Foreign(Arc::new(move |duration| {
            Box::pin(sleep(duration))
        })))
    }

    pub(super) fn manual(clock: ManualClock) -> Self {
        Self(Source::Manual(clock))
    }

    /// The same as [`sleep`](Self::sleep) from `now` until `deadline`, for one
    /// who goes by a clock that is turned by hand. It may be turned between two
    /// calls, and so this timer, if it is that clock's, takes the moment itself.
    #[allow(dead_code, reason = "not every block waits for a moment")]
    pub(crate) fn sleep_until(&self, deadline: Instant, now: Instant) -> Sleep {
        match &self.0 {
            Source::Manual(clock) => Sleep(Nap::Manual(Alarm::new(clock.clone(), deadline))),
            Source::Thread(_) | Source::Foreign(_) => self.sleep(deadline.saturating_since(now)),
        }
    }

    /// A future that is ready once this long has passed, and not before.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep(match &self.0 {
            Source::Manual(clock) => {
                let deadline = clock.now() + duration;
                Nap::Manual(Alarm::new(clock.clone(), deadline))
            }
            Source::Thread(thread) => {
                let deadline = thread.now() + duration;
                Nap::Thread(Alarm::new(Arc::clone(thread), deadline))
            }
            Source::Foreign(sleep) => Nap::Foreign(sleep(duration)),
        })
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer(..)")
    }
}

/// Ready once its time has come; made by [`Timer::sleep`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep(Nap);

enum Nap {
    Manual(Alarm<ManualClock>),
    Thread(Alarm<Arc<TimerThread>>),
    Foreign(BoxedSleep),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Nap::Manual(alarm) => alarm.poll(context.waker()),
            Nap::Thread(alarm) => alarm.poll(context.waker()),
            Nap::Foreign(sleep) => sleep.as_mut().poll(context),
        }
    }
}

/// One sleeper's alarm, taken out when it stops waiting.
struct Alarm<B: Bell> {
    bell: B,
    deadline: Instant,
    /// `None` until it was first polled, and once it has rung.
    key: Option<AlarmKey>,
}

impl<B: Bell> Alarm<B> {
    fn new(bell: B, deadline: Instant) -> Self {
        Self {
            bell,
            deadline,
            key: None,
        }
    }

    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        // Cloning a waker is user code and so happens under no lock.
        let waker = waker.clone();
        let mut alarms = self.bell.alarms();
        // Under the lock: the bell's time moves before its alarms go off.
        if self.bell.now() >= self.deadline {
            return Poll::Ready(());
        }
        let was_next = alarms.next();
        let Set { key, old } = alarms.set(self.deadline, self.key, waker);
        drop(alarms);
        drop(old);
        self.key = Some(key);
        if was_next.is_none_or(|next| self.deadline < next) {
            self.bell.sooner();
        }
        Poll::Pending
    }
}

impl<B: Bell> Drop for Alarm<B> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.bell.alarms().wakers.remove(&key);
            drop(waker);
        }
    }
}

/// What rings alarms.
pub(super) trait Bell {
    fn now(&self) -> Instant;

    fn alarms(&self) -> AlarmsGuard<'_>;

    /// Is told that an alarm is due sooner than all others.
    fn sooner(&self) {}
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep(..)")
    }
}

/// Who wants to be woken when. Whoever stops waiting takes its alarm out, so
/// there are never more of them than sleepers.
pub(super) struct Alarms {
    wakers: BTreeMap<AlarmKey, Waker>,
    next_number: u64,
}

/// Names an alarm; they differ by number where they are due together.
pub(super) type AlarmKey = (Instant, u64);

impl Alarms {
    pub(super) const fn new() -> Self {
        Self {
            wakers: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Sets an alarm, or gives the one of this key another waker. What comes
    /// back is the key, and the waker to drop under no lock.
    fn set(&mut self, deadline: Instant, key: Option<AlarmKey>, waker: Waker) -> Set {
        let key = key.unwrap_or_else(|| {
            self.next_number += 1;
            (deadline, self.next_number)
        });
        Set {
            key,
            old: self.wakers.insert(key, waker),
        }
    }

    fn next(&self) -> Option<Instant> {
        self.wakers.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes out the wakers that are due, to be woken under no lock.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while self.next().is_some_and(|deadline| deadline <= now) {
            due.extend(self.wakers.pop_first().map(|(_, waker)| waker));
        }
        due
    }
}

struct Set {
    key: AlarmKey,
    old: Option<Waker>,
}

/// The handle of a timer's thread.
struct TimerThread {
    shared: Arc<Shared>,
    running: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    alarms: Mutex<Alarms>,
    closed: AtomicBool,
    changed: Condvar,
}

impl TimerThread {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                alarms: Mutex::new(Alarms::new()),
                closed: AtomicBool::new(false),
                changed: Condvar::new(),
            }),
            running: Mutex::new(None),
        }
    }
}

impl Bell for Arc<TimerThread> {
    fn now(&self) -> Instant {
        Instant::from_nanos(coarse::precise())
    }

    fn alarms(&self) -> AlarmsGuard<'_> {
        lock(&self.shared.alarms)
    }

    fn sooner(&self) {
        self.shared.changed.notify_one();
        lock(&self.running).get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            thread::spawn(move || shared.run())
        });
    }
}

impl Drop for TimerThread {
    fn drop(&mut self) {
        let alarms = lock(&self.shared.alarms);
        // Under the lock, so that the thread cannot look before and sleep after.
        self.shared.closed.store(true, Ordering::Relaxed);
        drop(alarms);
        self.shared.changed.notify_one();
        let running = lock(&self.running).take();
        if let Some(running) = running
            // The last handle may have been dropped with a task that was woken.
            && running.thread().id() != thread::current().id()
        {
            // Its panics are wakers' panics, and were reported by the hook.
            let _ = running.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut alarms = lock(&self.alarms);
        while !self.closed.load(Ordering::Relaxed) {
            let now = Instant::from_nanos(coarse::precise());
            let due = alarms.due(now);
            if !due.is_empty() {
                drop(alarms);
                due.into_iter().for_each(Waker::wake);
                alarms = lock(&self.alarms);
                continue;
            }
            alarms = match alarms.next() {
                Some(next) => {
                    let wait = next.saturating_since(now);
                    let waited = self.changed.wait_timeout(alarms, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(alarms)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Alarms under their lock.
pub(super) type AlarmsGuard<'a> = MutexGuard<'a, Alarms>;

/// Nothing panics while it holds one of these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn told() -> (Waker, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel();
        (Waker::from(Arc::new(Tell(sender))), receiver)
    }

    #[test]
    fn a_manual_timer_wakes_when_the_clock_gets_there_and_not_before() {
        let clock = ManualClock::new();
        let (waker, woken) = told();
        let mut context = Context::from_waker(&waker);
        let mut sleep = pin!(clock.timer().sleep(Duration::from_secs(2)));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(woken.try_recv().is_err());
        clock.advance(Duration::from_secs(1));
        assert!(woken.try_recv().is_ok());
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_threads_timer_wakes_in_order_and_ends_with_its_last_handle() {
        let timer = Timer::thread();
        let (first, first_woken) = told();
        let (second, second_woken) = told();
        let mut late = pin!(timer.sleep(Duration::from_millis(30)));
        let mut soon = pin!(timer.sleep(Duration::from_millis(5)));
        assert!(
            late.as_mut()
                .poll(&mut Context::from_waker(&second))
                .is_pending()
        );
        assert!(
            soon.as_mut()
                .poll(&mut Context::from_waker(&first))
                .is_pending()
        );
        first_woken.recv().unwrap();
        second_woken.recv().unwrap();
        assert!(
            late.as_mut()
                .poll(&mut Context::from_waker(&second))
                .is_ready()
        );
    }

    #[test]
    fn a_timer_that_is_dropped_in_the_middle_does_not_wait_for_its_sleepers() {
        let timer = Timer::thread();
        let (waker, woken) = told();
        let mut sleep = Box::pin(timer.sleep(Duration::from_secs(3600)));
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        // Taken out with its sleeper: nothing holds the sender any more.
        drop(sleep);
        assert!(woken.recv().is_err());
        drop(timer);
    }
}
