//! Tasks in virtual time: hours pass in a moment, and every run is the same.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tenfold::task::{Executor, Task};
use tenfold::time::{Clock, ManualClock, Timer};

/// A single-threaded world with a clock that only moves when nobody can go on.
pub(super) struct World {
    time: ManualClock,
    tasks: HashMap<u64, (Task, Waker)>,
    next: u64,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    woken: Mutex<VecDeque<u64>>,
    /// Tasks that were spawned by tasks.
    born: Mutex<Vec<Task>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            time: ManualClock::new(),
            tasks: HashMap::new(),
            next: 0,
            shared: Arc::default(),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.time.clock()
    }

    pub(super) fn timer(&self) -> Timer {
        self.time.timer()
    }

    /// Spawns into this world.
    pub(super) fn executor(&self) -> Executor {
        let shared = Arc::clone(&self.shared);
        Executor::new(move |task| {
            lock(&shared.born).push(task);
            Ok(())
        })
    }

    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.adopt(Task::new(work));
    }

    fn adopt(&mut self, task: Task) {
        let number = self.next;
        self.next += 1;
        let waker = Waker::from(Arc::new(Call {
            number,
            shared: Arc::clone(&self.shared),
        }));
        self.tasks.insert(number, (task, waker));
        lock(&self.shared.woken).push_back(number);
    }

    /// Runs whatever can go on, until everybody waits.
    pub(super) fn settle(&mut self) {
        loop {
            let born = std::mem::take(&mut *lock(&self.shared.born));
            for task in born {
                self.adopt(task);
            }
            let Some(number) = lock(&self.shared.woken).pop_front() else {
                if lock(&self.shared.born).is_empty() {
                    return;
                }
                continue;
            };
            // A task that has ended may be woken again.
            let Some((task, waker)) = self.tasks.get_mut(&number) else {
                continue;
            };
            if Pin::new(task)
                .poll(&mut Context::from_waker(waker))
                .is_ready()
            {
                self.tasks.remove(&number);
            }
        }
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, by: Duration) {
        self.settle();
        self.time.advance(by);
        self.settle();
    }

    /// Tasks that have not ended.
    pub(super) fn waiting(&self) -> usize {
        self.tasks.len()
    }
}

struct Call {
    number: u64,
    shared: Arc<Shared>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        lock(&self.shared.woken).push_back(self.number);
    }
}

/// What is behind it is whole even if a task panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn tasks_wake_at_their_moment() {
        let mut world = World::new();
        let (said, heard) = mpsc::channel();
        for seconds in [3, 1, 2] {
            let nap = world.timer().sleep(Duration::from_secs(seconds));
            let said = said.clone();
            world.spawn(async move {
                nap.await;
                said.send(seconds).unwrap();
            });
        }
        world.advance(Duration::from_secs(1));
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [1]);
        world.advance(Duration::from_secs(2));
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(world.waiting(), 0);
    }
}
