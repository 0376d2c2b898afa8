use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use crate::rng::Rng;
use crate::sync::Mutex;

/// When and how a store or a journal in memory fails: for tests.
///
/// A clone is another handle to the same faults. Given to a store and to a
/// journal it is the power supply of both: they die in the same call. All chance
/// comes from the seed, so a run on one thread can be repeated.
///
/// ```
/// use tenfold::cache::writer::{Change, Faults, MemoryStore, Writer};
/// use tenfold::task::block_on;
///
/// let faults = Faults::seeded(7).crash_after(2);
/// let store = MemoryStore::with_faults(faults.clone());
/// for key in 0..10 {
///     let _ = block_on(store.write(&key, &Change::Put("value")));
/// }
/// assert!(faults.has_crashed() && store.len() <= 3); // the third call may have worked
/// faults.restart();
/// assert!(block_on(store.write(&9, &Change::Put("value"))).is_ok());
/// ```
#[derive(Clone)]
pub struct Faults(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    /// Shares of the calls, in units of 2^-64.
    failing: u64,
    uncertain: u64,
    pausing: u64,
    /// Calls until the crash.
    crash_in: Option<u64>,
    crashed: bool,
    down: bool,
}

impl Faults {
    /// No faults, until they are turned on.
    pub fn none() -> Self {
        Self::seeded(0)
    }

    /// No faults, until they are turned on; chance starts from this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: Rng::with_seed(seed),
            failing: 0,
            uncertain: 0,
            pausing: 0,
            crash_in: None,
            crashed: false,
            down: false,
        })))
    }

    /// This share of the calls, between 0 and 1, fails and does nothing.
    #[must_use = "a handle to the same faults"]
    pub fn failing(self, share: f64) -> Self {
        self.0.lock().failing = of_all(share);
        self
    }

    /// This share of the calls fails with an error that leaves open whether it
    /// was done. It was, or was not, or in part.
    #[must_use = "a handle to the same faults"]
    pub fn uncertain(self, share: f64) -> Self {
        self.0.lock().uncertain = of_all(share);
        self
    }

    /// This share of the calls is suspended a few times before it is done: a
    /// task may be dropped there.
    #[must_use = "a handle to the same faults"]
    pub fn pausing(self, share: f64) -> Self {
        self.0.lock().pausing = of_all(share);
        self
    }

    /// The process dies in the call after this many: that call may have been
    /// done, or not, or in part; every later one fails and does nothing.
    #[must_use = "a handle to the same faults"]
    pub fn crash_after(self, calls: u64) -> Self {
        self.0.lock().crash_in = Some(calls);
        self
    }

    /// Takes the store down, so that every call fails and does nothing, or up
    /// again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }

    /// Whether the process has died.
    pub fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Ends every fault: a process that starts anew, on a better day.
    pub fn restart(&self) {
        let mut state = self.0.lock();
        *state = State {
            rng: state.rng.clone(),
            failing: 0,
            uncertain: 0,
            pausing: 0,
            crash_in: None,
            crashed: false,
            down: false,
        };
    }

    /// What becomes of the next call, which has this many parts that may be done
    /// one by one.
    pub(in crate::cache) fn next(&self, parts: usize) -> Fate {
        let mut state = self.0.lock();
        let parts = parts as u64;
        if state.crashed {
            return Fate::failed(InjectedFault::Crashed);
        }
        let pauses = state.pauses();
        let (failing, uncertain) = (state.fails(), state.leaves_open());
        let mut fate = match state.crash_in {
            Some(0) => {
                state.crashed = true;
                Fate::partly(state.rng.below(parts + 1), InjectedFault::Crashed)
            }
            _ if failing => Fate::failed(InjectedFault::Unavailable),
            _ if uncertain => Fate::partly(state.rng.below(parts + 1), InjectedFault::TimedOut),
            _ => Fate {
                done: parts as usize,
                fault: None,
                pauses: 0,
            },
        };
        state.crash_in = state.crash_in.map(|calls| calls.saturating_sub(1));
        fate.pauses = pauses;
        fate
    }
}

/// What becomes of a call.
pub(in crate::cache) struct Fate {
    /// How many of its parts are done, the first ones first.
    pub(in crate::cache) done: usize,
    pub(in crate::cache) fault: Option<InjectedFault>,
    pauses: u32,
}

impl Fate {
    fn failed(fault: InjectedFault) -> Self {
        Self::partly(0, fault)
    }

    fn partly(done: u64, fault: InjectedFault) -> Self {
        Self {
            done: done as usize,
            fault: Some(fault),
            pauses: 0,
        }
    }

    /// Suspends the caller as often as fate wants.
    pub(in crate::cache) async fn pause(&self) {
        let mut left = self.pauses;
        std::future::poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// The error of a store or a journal in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InjectedFault {
    /// The call did nothing.
    #[error("it is down")]
    Unavailable,
    /// The call may have been done.
    #[error("no answer in time")]
    TimedOut,
    /// The store was told to refuse this record.
    #[error("this record is refused")]
    Refused,
    /// The process has died.
    #[error("the process has died")]
    Crashed,
}

impl State {
    fn fails(&mut self) -> bool {
        self.down || happens(&mut self.rng, self.failing)
    }

    fn leaves_open(&mut self) -> bool {
        happens(&mut self.rng, self.uncertain)
    }

    fn pauses(&mut self) -> u32 {
        let pauses = 1 + self.rng.below(3) as u32;
        if happens(&mut self.rng, self.pausing) {
            pauses
        } else {
            0
        }
    }
}

fn happens(rng: &mut Rng, share: u64) -> bool {
    share > 0 && rng.next_u64() <= share
}

/// A share between 0 and 1 in units of 2^-64; the cast saturates.
fn of_all(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Faults")
            .field("down", &state.down)
            .field("crashed", &state.crashed)
            .finish_non_exhaustive()
    }
}
