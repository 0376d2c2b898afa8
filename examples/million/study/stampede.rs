use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tenfold::cache::Cache;
use tenfold::time::{Jitter, ManualClock};

use super::SEED;
use crate::progress::Progress;

/// Many callers ask at once for a hot key that has just expired, and loading
/// it takes longer than they take to arrive.
#[derive(Debug, PartialEq)]
pub(crate) struct Stampede {
    pub(crate) callers: usize,
    /// Loads when each caller does `get`, and on a miss loads and inserts.
    pub(crate) plain: u64,
    /// Loads when each caller does `get_with`.
    pub(crate) coalesced: u64,
}

impl Stampede {
    pub(crate) fn measure(progress: &Progress, broken: &mut Vec<String>) -> Self {
        const CALLERS: usize = 64;
        progress.stage("stampede on one hot key", 2);
        let plain = run(CALLERS, |cache, load, asked| {
            let found = cache.get(&HOT);
            asked();
            found.unwrap_or_else(|| {
                let value = load();
                cache.insert(HOT, value);
                value
            })
        });
        progress.step();
        let coalesced = run(CALLERS, |cache, load, asked| {
            asked();
            // A loader that gives a value cannot fail; 0 would be found wrong.
            cache.get_with(HOT, load).unwrap_or(0)
        });
        progress.step();
        let wrong = plain.wrong + coalesced.wrong;
        if wrong > 0 {
            broken.push(format!(
                "{wrong} callers in the stampede got no fresh value"
            ));
        }
        if coalesced.loads != 1 {
            broken.push(format!(
                "{} callers of get_with made {} loads, expected one",
                coalesced.callers, coalesced.loads
            ));
        }
        let callers = coalesced.callers;
        Self {
            callers,
            plain: plain.loads,
            coalesced: coalesced.loads,
        }
    }
}

struct Outcome {
    callers: usize,
    loads: u64,
    wrong: u64,
}

/// Starts real threads that call `ask` at once. The load returns only when
/// all of them have said that they asked: no sleeping, and the same count in
/// every run.
fn run(
    callers: usize,
    ask: impl Fn(&Cache<u32, u64>, &dyn Fn() -> u64, &dyn Fn()) -> u64 + Sync,
) -> Outcome {
    let manual = ManualClock::new();
    let cache: Cache<u32, u64> = Cache::builder()
        .max_entries(100)
        .time_to_live(Duration::from_secs(60))
        .jitter(Jitter::none())
        .clock(manual.clock())
        .seed(SEED)
        .build()
        .expect("a size and a time-to-live are valid");
    cache.insert(HOT, STALE);
    manual.advance(Duration::from_secs(61));

    let gate = Gate::default();
    let asked = AtomicUsize::new(0);
    let loads = AtomicU64::new(0);
    let wrong = AtomicU64::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        let callers = gate.wait();
        while asked.load(Ordering::Acquire) < callers {
            thread::yield_now();
        }
        FRESH
    };
    let caller = || {
        gate.wait();
        let asked = || {
            asked.fetch_add(1, Ordering::AcqRel);
        };
        if ask(&cache, &load, &asked) != FRESH {
            wrong.fetch_add(1, Ordering::Relaxed);
        }
    };
    let callers = thread::scope(|scope| {
        let started = (0..callers)
            .filter(|_| thread::Builder::new().spawn_scoped(scope, caller).is_ok())
            .count();
        gate.open(started);
        started
    });
    Outcome {
        callers,
        loads: loads.into_inner(),
        wrong: wrong.into_inner(),
    }
}

/// Holds callers until it is known how many there are.
#[derive(Default)]
struct Gate {
    callers: Mutex<Option<usize>>,
    opened: Condvar,
}

impl Gate {
    fn open(&self, callers: usize) {
        *self.callers.lock().unwrap_or_else(PoisonError::into_inner) = Some(callers);
        self.opened.notify_all();
    }

    fn wait(&self) -> usize {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *callers {
                Some(callers) => return callers,
                None => {
                    callers = self
                        .opened
                        .wait(callers)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

const HOT: u32 = 1;
const STALE: u64 = 1;
const FRESH: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_loads_unless_they_share() {
        let mut broken = Vec::new();
        let stampede = Stampede::measure(&Progress::silent(), &mut broken);
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(
            stampede,
            Stampede {
                callers: 64,
                plain: 64,
                coalesced: 1
            }
        );
    }
}
