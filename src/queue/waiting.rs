//! Waiting for the bell, for threads and for tasks, up to a moment.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::bell::Listener;
use super::core::Core;
use super::storage::Disk;
use crate::time::{Instant, Sleep};

/// Blocks until the answer is there; asks again at every ring. Listens only once it has
/// asked in vain, and then asks once more before it sleeps.
pub(super) fn block<D: Disk, T>(core: &Arc<Core<D>>, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut listening: Option<Place> = None;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        match listening.take() {
            Some(place) => place.park(core, None),
            None => listening = Some(Place::take(core)),
        }
    }
}

/// The same for a task.
pub(super) async fn wait<D: Disk, T>(core: &Arc<Core<D>>, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut listening = None;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        match listening.take() {
            Some(listener) => until(core, listener, None).await,
            None => listening = Some(listen(core).await),
        }
    }
}

pub(super) async fn listen<D: Disk>(core: &Arc<Core<D>>) -> Listener {
    poll_fn(|context| Poll::Ready(core.bell.listen(context.waker()))).await
}

/// Waits for a ring or for this moment.
pub(super) async fn until<D: Disk>(
    core: &Arc<Core<D>>,
    mut listener: Listener,
    moment: Option<Instant>,
) {
    let now = core.wall.clock().now();
    let mut nap = pin!(moment.map(|moment| core.timer.sleep_until(moment, now)));
    poll_fn(|context| {
        if listener.rang() {
            return Poll::Ready(());
        }
        if let Some(nap) = nap.as_mut().as_pin_mut()
            && nap.poll(context).is_ready()
        {
            return Poll::Ready(());
        }
        // A task may be polled with another waker than before. What rings between the
        // two is heard by the old one.
        let fresh = core.bell.listen(context.waker());
        if listener.rang() {
            return Poll::Ready(());
        }
        listener = fresh;
        Poll::Pending
    })
    .await;
}

/// A thread among those who wait. What rings from then on wakes it.
pub(super) struct Place {
    unpark: Arc<Unpark>,
    listener: Listener,
}

impl Place {
    pub(super) fn take<D: Disk>(core: &Core<D>) -> Self {
        let unpark = Arc::new(Unpark(thread::current()));
        let listener = core.bell.listen(&Waker::from(Arc::clone(&unpark)));
        Self { unpark, listener }
    }

    /// Sleeps until it rings, until this moment, or a while.
    pub(super) fn park<D: Disk>(self, core: &Core<D>, moment: Option<Instant>) {
        let listener = &self.listener;
        let clock = core.wall.clock();
        let mut nap: Option<Pin<Box<Sleep>>> = None;
        while !listener.rang() {
            let now = clock.now();
            if moment.is_some_and(|moment| moment <= now) {
                return;
            }
            match (moment, clock.as_manual()) {
                (Some(moment), Some(manual)) => {
                    let nap = nap
                        .get_or_insert_with(|| Box::pin(manual.timer().sleep_until(moment, now)));
                    let waker = Waker::from(Arc::clone(&self.unpark));
                    if nap
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                    {
                        thread::park();
                    }
                }
                (Some(moment), None) => thread::park_timeout(moment.saturating_since(now)),
                (None, _) => thread::park(),
            }
        }
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
