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
    pub(super) fn hash(self) -> u64 {
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Where a table of flights takes its names from. Numbers come from the process
/// in blocks, so that tables do not pass one cache line back and forth; the
/// block lies in the table, under its owner's lock.
pub(super) struct FlightIds {
    next: u64,
    end: u64,
}

impl FlightIds {
    pub(super) const fn new() -> Self {
        Self { next: 0, end: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> FlightId {
        if self.next == self.end {
            self.next = NEXT_ID.fetch_add(IDS_IN_A_BLOCK, Ordering::Relaxed);
            self.end = self.next + IDS_IN_A_BLOCK;
        }
        let id = FlightId(self.next);
        self.next += 1;
        id
    }
}

/// The name of a thread, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadNumber(NonZeroU64);

impl ThreadNumber {
    /// The thread that asks; `None` while it is being torn down.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
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
    #[inline]
    pub(super) fn enter(id: FlightId) -> Self {
        push(id);
        Self(id)
    }
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        pop(self.0);
    }
}

/// The twin of [`Running`] for a loader that is a future: entered from its
/// creation to the end of its first poll, in every further poll, and while it
/// is dropped, where a destructor that asked for the key would block for ever.
pub(crate) struct Stage {
    id: FlightId,
    /// Only ever read by the task that owns it; atomic so that the task may
    /// travel between threads, which it does only while this is `false`.
    entered: AtomicBool,
}

impl Stage {
    #[inline]
    pub(super) fn enter(id: FlightId) -> Self {
        push(id);
        Self {
            id,
            entered: AtomicBool::new(true),
        }
    }

    #[inline]
    pub(super) fn resume(&self) {
        if !self.entered.load(Ordering::Relaxed) {
            self.entered.store(true, Ordering::Relaxed);
            push(self.id);
        }
    }

    #[inline]
    pub(super) fn suspend(&self) {
        if self.entered.load(Ordering::Relaxed) {
            self.entered.store(false, Ordering::Relaxed);
            pop(self.id);
        }
    }

    /// To be declared after the future, as the stage is declared before it: on
    /// every way out this goes first, then the future, then the stage.
    #[inline]
    pub(crate) fn enter_on_drop(&self) -> EnterOnDrop<'_> {
        EnterOnDrop(self)
    }
}

impl Drop for Stage {
    #[inline]
    fn drop(&mut self) {
        self.suspend();
    }
}

pub(crate) struct EnterOnDrop<'a>(&'a Stage);

impl Drop for EnterOnDrop<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// Tells whether this thread is running the loader of this flight.
pub(super) fn is_running(id: FlightId) -> bool {
    let (near, full) = NEAR
        .try_with(|near| (near.contains(id), near.is_full()))
        .unwrap_or((false, true));
    near || full
        && FAR
            .try_with(|far| far.borrow().contains(&id))
            .unwrap_or(false)
}

/// Tells whether this thread is running no loader at all.
#[inline]
pub(super) fn is_idle() -> bool {
    NEAR.try_with(|near| near.depth.get() == 0).unwrap_or(true)
}

/// The flights whose loaders this thread is running, the outermost first.
pub(super) fn stack() -> Vec<FlightId> {
    let mut flights = NEAR.try_with(Near::to_vec).unwrap_or_default();
    if flights.len() == NEAR_DEPTH {
        let _ = FAR.try_with(|far| flights.extend_from_slice(&far.borrow()));
    }
    flights
}

/// A waker for the calling thread, made once per thread.
pub(super) fn thread_waker() -> Waker {
    let new = || Waker::from(Arc::new(Unpark(thread::current())));
    WAKER
        .try_with(|waker| waker.borrow_mut().get_or_insert_with(new).clone())
        .unwrap_or_else(|_| new())
}

#[inline]
fn push(id: FlightId) {
    if NEAR.try_with(|near| near.push(id)) == Ok(false) {
        let _ = FAR.try_with(|far| far.borrow_mut().push(id));
    }
}

#[inline]
fn pop(id: FlightId) {
    // What is over the near part's brim goes first.
    let full = NEAR.try_with(Near::is_full) == Ok(true);
    let far = full.then(|| FAR.try_with(|far| far.borrow_mut().pop()));
    let top = match far {
        Some(Ok(Some(top))) => Ok(Some(top)),
        _ => NEAR.try_with(Near::pop),
    };
    debug_assert!(
        top.is_err() || top == Ok(Some(id)),
        "loaders end in the order opposite to their start"
    );
}

/// The outermost flights of a thread. Loaders rarely load far down, and what
/// needs no destructor is reached without asking whether it still lives.
struct Near {
    depth: Cell<usize>,
    flights: [Cell<FlightId>; NEAR_DEPTH],
}

impl Near {
    const fn new() -> Self {
        Self {
            depth: Cell::new(0),
            flights: [const { Cell::new(FlightId(0)) }; NEAR_DEPTH],
        }
    }

    #[inline]
    fn push(&self, id: FlightId) -> bool {
        let depth = self.depth.get();
        let Some(place) = self.flights.get(depth) else {
            return false;
        };
        place.set(id);
        self.depth.set(depth + 1);
        true
    }

    #[inline]
    fn pop(&self) -> Option<FlightId> {
        let depth = self.depth.get().checked_sub(1)?;
        self.depth.set(depth);
        self.flights.get(depth).map(Cell::get)
    }

    fn entered(&self) -> &[Cell<FlightId>] {
        self.flights.get(..self.depth.get()).unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.depth.get() == NEAR_DEPTH
    }

    fn contains(&self, id: FlightId) -> bool {
        self.entered().iter().any(|entered| entered.get() == id)
    }

    fn to_vec(&self) -> Vec<FlightId> {
        self.entered().iter().map(Cell::get).collect()
    }
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
    static NEAR: Near = const { Near::new() };
    /// Empty unless `NEAR` is full.
    static FAR: RefCell<Vec<FlightId>> = const { RefCell::new(Vec::new()) };
    static WAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static HERE: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

const IDS_IN_A_BLOCK: u64 = 1024;
const NEAR_DEPTH: usize = 8;
