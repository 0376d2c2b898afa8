//! Whose loaders this thread is running, and the names of threads and flights.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
// std's even under the model checker: these number things, and guard nothing.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use crate::sync::thread;

/// The name of a flight, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlightId(u64);

impl FlightId {
    /// Numbers are taken from the process in blocks, so that leaders on two
    /// threads do not pass one cache line back and forth.
    pub(super) fn next() -> Self {
        let id = IDS.try_with(|ids| {
            let (next, end) = ids.get();
            let (next, end) = if next == end {
                Self::block()
            } else {
                (next, end)
            };
            ids.set((next + 1, end));
            next
        });
        // A thread in its last breath has no block any more.
        Self(id.unwrap_or_else(|_| Self::block().0))
    }

    pub(super) fn hash(self) -> u64 {
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn block() -> (u64, u64) {
        let start = NEXT_ID.fetch_add(IDS_IN_A_BLOCK, Ordering::Relaxed);
        (start, start + IDS_IN_A_BLOCK)
    }
}

/// The name of a thread, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadNumber(NonZeroU64);

impl ThreadNumber {
    /// The thread that asks; `None` while it is being torn down.
    pub(super) fn here() -> Option<Self> {
        let here = HERE.try_with(|here| {
            here.get().or_else(|| {
                here.set(NonZeroU64::new(NEXT_THREAD.fetch_add(1, Ordering::Relaxed)));
                here.get()
            })
        });
        here.ok().flatten().map(Self)
    }
}

/// While it lives, this thread runs the loader of a flight.
pub(super) struct Running(FlightId);

impl Running {
    pub(super) fn enter(id: FlightId) -> Self {
        push(id);
        Self(id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        pop(self.0);
    }
}

/// The twin of [`Running`] for a loader that is a future: entered from its
/// creation to the end of its first poll, in every further poll, and while it
/// is dropped, where a destructor that asked for the key would block for ever.
pub(super) struct Stage {
    id: FlightId,
    /// Only ever read by the task that owns it; atomic so that the task may
    /// travel between threads, which it does only while this is `false`.
    entered: AtomicBool,
}

impl Stage {
    pub(super) fn enter(id: FlightId) -> Self {
        push(id);
        Self {
            id,
            entered: AtomicBool::new(true),
        }
    }

    pub(super) fn resume(&self) {
        if !self.entered.load(Ordering::Relaxed) {
            self.entered.store(true, Ordering::Relaxed);
            push(self.id);
        }
    }

    pub(super) fn suspend(&self) {
        if self.entered.load(Ordering::Relaxed) {
            self.entered.store(false, Ordering::Relaxed);
            pop(self.id);
        }
    }

    /// To be declared after the future, as the stage is declared before it: on
    /// every way out this goes first, then the future, then the stage.
    pub(super) fn enter_on_drop(&self) -> EnterOnDrop<'_> {
        EnterOnDrop(self)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.suspend();
    }
}

pub(super) struct EnterOnDrop<'a>(&'a Stage);

impl Drop for EnterOnDrop<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// Tells whether this thread is running the loader of this flight.
pub(super) fn is_running(id: FlightId) -> bool {
    RUNNING
        .try_with(|running| running.borrow().contains(&id))
        .unwrap_or(false)
}

/// The flights whose loaders this thread is running, the outermost first.
pub(super) fn stack() -> Vec<FlightId> {
    RUNNING
        .try_with(|running| running.borrow().clone())
        .unwrap_or_default()
}

/// A waker for the calling thread, made once per thread.
pub(super) fn thread_waker() -> Waker {
    let new = || Waker::from(Arc::new(Unpark(thread::current())));
    WAKER
        .try_with(|waker| waker.borrow_mut().get_or_insert_with(new).clone())
        .unwrap_or_else(|_| new())
}

fn push(id: FlightId) {
    let _ = RUNNING.try_with(|running| running.borrow_mut().push(id));
}

fn pop(id: FlightId) {
    let _ = RUNNING.try_with(|running| {
        let top = running.borrow_mut().pop();
        debug_assert_eq!(
            top,
            Some(id),
            "loaders end in the order opposite to their start"
        );
    });
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread::thread_local! {
    static RUNNING: RefCell<Vec<FlightId>> = const { RefCell::new(Vec::new()) };
    static WAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static HERE: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
    /// The next id of this thread's block, and the block's end.
    static IDS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

const IDS_IN_A_BLOCK: u64 = 1024;
