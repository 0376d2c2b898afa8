//! Wakes consumers and publishers who wait for something to change.

use std::sync::Arc;
use std::task::Waker;

use crate::sync::Mutex;

/// Who waits. A ring wakes everybody: what changed may be for any of them.
#[derive(Default)]
pub(crate) struct Bell {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Bell {
    /// Waits for the next ring, which wakes this waker once. Look at what you wait for
    /// after that.
    pub(crate) fn listen(self: &Arc<Self>, waker: &Waker) -> Listener {
        // Cloning a waker is user code and so happens under no lock.
        let waker = waker.clone();
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        let key = waiting.next;
        waiting.wakers.push((key, waker));
        Listener {
            bell: Arc::clone(self),
            key,
        }
    }

    pub(crate) fn ring(&self) {
        let wakers = {
            let mut waiting = self.waiting.lock();
            if waiting.wakers.is_empty() {
                return;
            }
            std::mem::take(&mut waiting.wakers)
        };
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

/// A place among those who wait; left when it is dropped.
pub(crate) struct Listener {
    bell: Arc<Bell>,
    key: u64,
}

impl Listener {
    /// Whether it rang.
    pub(crate) fn rang(&self) -> bool {
        let waiting = self.bell.waiting.lock();
        !waiting.wakers.iter().any(|(key, _)| *key == self.key)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.bell.waiting.lock();
        let found = waiting.wakers.iter().position(|(key, _)| *key == self.key);
        let left = found.map(|index| waiting.wakers.swap_remove(index));
        drop(waiting);
        drop(left);
    }
}
