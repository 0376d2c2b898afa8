//! One piece of work at a time, carried on by whoever waits for it.
//!
//! Nothing runs in the background unless the user gave an executor, so a call
//! to the store or to the journal is polled by the callers who wait for it. Were
//! it the property of one of them, cancelling that caller would drop a write in
//! the middle. Here it belongs to the lane: a caller who leaves puts it down, and
//! the next who waits carries it on.
//!
//! ```text
//! carry   nobody carries?  take the work up, or start some
//!         poll it          ready: wake everybody     pending: put it down
//! ```
//!
//! The work's waker wakes all who wait, since any of them may have left. A
//! caller who finds the work carried leaves word (`missed`), so that the
//! carrier looks once more before it puts the work down: what the caller did
//! before it came is seen.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::{self, ThreadId};

pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Lane {
    /// Protects who has the work. It is polled outside of the lock.
    load: Mutex<Load>,
    waiting: Arc<Waiting>,
}

struct Load {
    /// The work, while nobody carries it.
    resting: Option<Work>,
    /// The thread that polls it.
    carrier: Option<ThreadId>,
    /// Whether somebody came while it was carried.
    missed: bool,
}

/// What a caller got done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// A piece of work is finished: look again at what you wait for.
    Done,
    /// Nothing more can be done now; the waker will be woken.
    Waiting,
    /// This very thread carries the work, further up its stack.
    Reentrant,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            load: Mutex::new(Load {
                resting: None,
                carrier: None,
                missed: false,
            }),
            waiting: Arc::new(Waiting::new()),
        }
    }

    /// A place among those who wait.
    pub(super) fn place(&self) -> Place {
        self.waiting.place()
    }

    pub(super) fn wake_all(&self) {
        self.waiting.wake_all();
    }

    /// Whether the calling thread is carrying, further up its stack.
    pub(super) fn is_carried_here(&self) -> bool {
        self.load.lock().carrier == Some(thread::current().id())
    }

    /// Whether there is work that has begun.
    pub(super) fn is_busy(&self) -> bool {
        let load = self.load.lock();
        load.carrier.is_some() || load.resting.is_some()
    }

    /// Carries the work on, or starts some if there is none.
    pub(super) fn carry(
        &self,
        place: &mut Place,
        context: &Context<'_>,
        mut start: impl FnMut() -> Option<Work>,
    ) -> Carried {
        // First of all, so that nothing that happens from now on is missed.
        place.stand(context.waker());
        let here = thread::current().id();
        let mut carrier = {
            let mut load = self.load.lock();
            match load.carrier {
                Some(carrier) if carrier == here => return Carried::Reentrant,
                Some(_) => {
                    load.missed = true;
                    return Carried::Waiting;
                }
                None => {
                    load.carrier = Some(here);
                    load.missed = false;
                    Carrier {
                        lane: self,
                        work: load.resting.take(),
                        seen: false,
                        held: true,
                    }
                }
            }
        };
        let waker = Waker::from(Arc::clone(&self.waiting));
        loop {
            if carrier.work.is_none() {
                carrier.work = start();
            }
            if let Some(work) = &mut carrier.work
                && let Poll::Ready(()) = work.as_mut().poll(&mut Context::from_waker(&waker))
            {
                // Dropping it is user code.
                carrier.work = None;
                drop(carrier);
                return Carried::Done;
            }
            if carrier.put_down() {
                return Carried::Waiting;
            }
        }
    }
}

/// Who has the work in hand. Dropped, at the end of the work or by a panic, it
/// wakes everybody; put down before, it has no work and no say any more.
struct Carrier<'a> {
    lane: &'a Lane,
    work: Option<Work>,
    /// Whether anybody left word meanwhile.
    seen: bool,
    /// False once it was put down.
    held: bool,
}

impl Carrier<'_> {
    /// Puts the work down, unless somebody left word.
    fn put_down(&mut self) -> bool {
        let mut load = self.lane.load.lock();
        if std::mem::take(&mut load.missed) {
            self.seen = true;
            return false;
        }
        let nothing_to_do = self.work.is_none();
        load.resting = self.work.take();
        load.carrier = None;
        drop(load);
        self.held = false;
        // Who left word waits for work that there is not.
        if nothing_to_do && self.seen {
            self.lane.wake_all();
        }
        true
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        if self.held {
            self.lane.load.lock().carrier = None;
            self.lane.wake_all();
        }
    }
}

/// Those who wait.
pub(super) struct Waiting {
    wakers: Mutex<Vec<(u64, Waker)>>,
    next: AtomicU64,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            wakers: Mutex::new(Vec::new()),
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place {
            waiting: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock());
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

/// A place among those who wait; left when it is dropped.
pub(super) struct Place {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Place {
    /// Waits to be woken by this waker, once.
    pub(super) fn stand(&mut self, waker: &Waker) {
        // Cloning a waker is user code and so happens under no lock.
        let waker = waker.clone();
        let mut wakers = self.waiting.wakers.lock();
        let known = wakers.iter().position(|known| known.0 == self.number);
        let old = known.map(|index| wakers.swap_remove(index));
        wakers.push((self.number, waker));
        drop(wakers);
        drop(old);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut wakers = self.waiting.wakers.lock();
        let found = wakers.iter().position(|known| known.0 == self.number);
        let left = found.map(|index| wakers.swap_remove(index));
        drop(wakers);
        drop(left);
    }
}
