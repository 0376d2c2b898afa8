//! How a contender is timed: alone, or on two threads at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// One contender, and its nanoseconds per pick, round by round.
pub(super) struct Lane {
    pub(super) name: &'static str,
    /// Picks for a while, and says how long one took.
    pick: Box<dyn FnMut() -> f64>,
    pub(super) figures: Vec<f64>,
}

impl Lane {
    /// The closure picks once.
    pub(super) fn new(name: &'static str, mut pick: impl FnMut() + 'static) -> Self {
        Self::rounds(name, move || timed(ALONE, &mut pick))
    }

    /// Two threads pick at once, each with a closure of its own.
    pub(super) fn pair<P>(name: &'static str, mut make: impl FnMut() -> P) -> Self
    where
        P: FnMut() + Send + 'static,
    {
        let mut picks = [make(), make()];
        Self::rounds(name, move || together(&mut picks))
    }

    /// The closure is a round, and says how many nanoseconds a pick took.
    pub(super) fn rounds(name: &'static str, pick: impl FnMut() -> f64 + 'static) -> Self {
        Self {
            name,
            pick: Box::new(pick),
            figures: Vec::new(),
        }
    }

    pub(super) fn round(&mut self) {
        let figure = (self.pick)();
        self.figures.push(figure);
    }
}

/// How long one of so many picks takes, in nanoseconds.
fn timed(picks: u32, pick: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..picks {
        pick();
    }
    start.elapsed().as_nanos() as f64 / f64::from(picks)
}

/// The same on as many threads as there are closures, which start together: the average of theirs.
fn together<P: FnMut() + Send>(picks: &mut [P; 2]) -> f64 {
    let ready = AtomicUsize::new(0);
    let times = thread::scope(|scope| {
        let threads = picks.each_mut().map(|pick| {
            let ready = &ready;
            scope.spawn(move || {
                ready.fetch_add(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
                timed(TOGETHER, pick)
            })
        });
        threads.map(|thread| thread.join().expect("picks do not panic"))
    });
    times.into_iter().sum::<f64>() / 2.0
}

pub(super) const ALONE: u32 = 1_000;
/// Long enough that starting two threads does not matter.
pub(super) const TOGETHER: u32 = 20_000;
