use std::sync::Arc;
use std::task::Waker;

use crate::sync::Mutex;

/// Wakes everybody who waits for a change: what changed may be for any of them.
#[derive(Default)]
pub(super) struct Bell(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Bell {
    pub(super) fn ring(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    pub(super) fn listen(self: &Arc<Self>) -> Listener {
        let mut waiting = self.0.lock();
        waiting.next += 1;
        Listener {
            key: waiting.next,
            bell: Arc::clone(self),
        }
    }
}

/// Somebody who listens; no more when it is dropped.
pub(super) struct Listener {
    bell: Arc<Bell>,
    key: u64,
}

impl Listener {
    /// Has this waker be woken by the next ring, and no longer the one before. Look at what you wait for after that.
    pub(super) fn hear(&self, waker: &Waker) {
        // Cloning a waker is user code, as dropping one is.
        let fresh = waker.clone();
        let mut waiting = self.bell.0.lock();
        let known = waiting.wakers.iter().position(|(key, _)| *key == self.key);
        let old = known.map(|index| waiting.wakers.swap_remove(index));
        waiting.wakers.push((self.key, fresh));
        drop(waiting);
        drop(old);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.bell.0.lock();
        let known = waiting.wakers.iter().position(|(key, _)| *key == self.key);
        let old = known.map(|index| waiting.wakers.swap_remove(index));
        drop(waiting);
        drop(old);
    }
}
