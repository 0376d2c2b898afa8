//! Callers as tasks on one thread, in virtual time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tasks, each of which runs when it is woken; in the order of waking, so that every run is the same.
pub(super) struct Tasks<'a> {
    slots: Vec<Option<Task<'a>>>,
    wakers: Vec<Waker>,
    free: Vec<usize>,
    woken: Arc<Mutex<Vec<usize>>>,
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

struct Slot {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl<'a> Tasks<'a> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            wakers: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
        }
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + 'a) {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = self.slots.len();
            let woken = Arc::clone(&self.woken);
            self.slots.push(None);
            self.wakers
                .push(Waker::from(Arc::new(Slot { number, woken })));
            number
        });
        self.slots[number] = Some(Box::pin(task));
        self.wakers[number].wake_by_ref();
    }

    /// Runs them until all wait for something.
    pub(super) fn run(&mut self) {
        loop {
            let woken = std::mem::take(&mut *lock(&self.woken));
            if woken.is_empty() {
                return;
            }
            for number in woken {
                // Who was in the slot before may have been woken late, which the one there now does not mind.
                let Some(task) = &mut self.slots[number] else {
                    continue;
                };
                let mut context = Context::from_waker(&self.wakers[number]);
                if task.as_mut().poll(&mut context).is_ready() {
                    self.slots[number] = None;
                    self.free.push(number);
                }
            }
        }
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.woken).push(self.number);
    }
}

fn lock(woken: &Mutex<Vec<usize>>) -> std::sync::MutexGuard<'_, Vec<usize>> {
    woken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes of it before the time is up.
pub(super) async fn before<T>(
    up: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut up, mut work) = (pin!(up), pin!(work));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        up.as_mut().poll(context).map(|()| None)
    })
    .await
}
