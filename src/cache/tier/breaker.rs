use std::fmt;
use std::time::Duration;

use crate::sync::Mutex;
use crate::time::{Clock, Instant};

/// A circuit breaker: after some failures in a row it refuses calls for a while,
/// then lets one through to see whether the other side is well again.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::tier::{Breaker, BreakerState};
/// use tenfold::time::ManualClock;
///
/// let time = ManualClock::new();
/// let breaker = Breaker::new(2, Duration::from_secs(5), time.clock());
/// for _ in 0..2 {
///     breaker.try_acquire().unwrap().failed();
/// }
/// assert!(breaker.try_acquire().is_none());
/// time.advance(Duration::from_secs(5));
/// let probe = breaker.try_acquire().unwrap();
/// assert!(breaker.try_acquire().is_none()); // one at a time
/// probe.succeeded();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// ```
pub struct Breaker {
    clock: Clock,
    /// Failures in a row that open it.
    failures: u32,
    open_for: Duration,
    state: Mutex<State>,
}

/// What a [`Breaker`] does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// They go through.
    Closed,
    /// They are refused.
    Open,
    /// One is on its way to see whether the others may follow, or may go.
    HalfOpen,
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

struct State {
    mode: Mode,
    /// Counts changes of the mode: what a call brings that began in an earlier
    /// one says nothing about now.
    era: u64,
    opened: u64,
}

#[derive(Clone, Copy)]
enum Mode {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

impl Breaker {
    /// A closed breaker that opens for this long after so many failures in a
    /// row; after one, if that number is zero.
    pub fn new(failures: u32, open_for: Duration, clock: Clock) -> Self {
        let state = State {
            mode: Mode::Closed { failures: 0 },
            era: 0,
            opened: 0,
        };
        Self {
            clock,
            failures: failures.max(1),
            open_for,
            state: Mutex::new(state),
        }
    }

    /// Asks to make a call; `None` if it had better not be made now.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        match state.mode {
            Mode::Closed { .. } => {}
            Mode::Open { until } if now >= until => {
                state.mode = Mode::Probing;
                state.era += 1;
            }
            Mode::Open { .. } | Mode::Probing => return None,
        }
        Some(Permit {
            breaker: self,
            era: state.era,
            told: false,
        })
    }

    /// What would become of a call now.
    pub fn state(&self) -> BreakerState {
        let now = self.clock.now();
        match self.state.lock().mode {
            Mode::Closed { .. } => BreakerState::Closed,
            Mode::Open { until } if now < until => BreakerState::Open,
            Mode::Open { .. } | Mode::Probing => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.state.lock().opened
    }

    fn end(&self, era: u64, outcome: Outcome) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.era != era {
            return;
        }
        let mode = match (state.mode, outcome) {
            (Mode::Closed { .. } | Mode::Probing, Outcome::Succeeded) => {
                Mode::Closed { failures: 0 }
            }
            (Mode::Closed { failures }, Outcome::Failed) if failures + 1 < self.failures => {
                Mode::Closed {
                    failures: failures + 1,
                }
            }
            (Mode::Closed { .. } | Mode::Probing, Outcome::Failed) => {
                state.opened += 1;
                Mode::Open {
                    until: now + self.open_for,
                }
            }
            // The next caller is the probe.
            (Mode::Probing, Outcome::Unknown) => Mode::Open { until: now },
            (mode, _) => mode,
        };
        if !matches!(
            (state.mode, mode),
            (Mode::Closed { .. }, Mode::Closed { .. })
        ) {
            state.era += 1;
        }
        state.mode = mode;
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("state", &self.state())
            .field("failures", &self.failures)
            .field("open_for", &self.open_for)
            .finish_non_exhaustive()
    }
}

/// The right to make one call; tell it how the call went.
///
/// Dropped untold, as by a cancellation, it counts as neither.
#[must_use = "the breaker waits to hear how the call went"]
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    era: u64,
    told: bool,
}

impl Permit<'_> {
    /// The call was answered.
    pub fn succeeded(mut self) {
        self.told = true;
        self.breaker.end(self.era, Outcome::Succeeded);
    }

    /// It failed, or took too long.
    pub fn failed(mut self) {
        self.told = true;
        self.breaker.end(self.era, Outcome::Failed);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.end(self.era, Outcome::Unknown);
        }
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Succeeded,
    Failed,
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    const PAUSE: Duration = Duration::from_secs(5);

    fn breaker() -> (ManualClock, Breaker) {
        let time = ManualClock::new();
        let breaker = Breaker::new(3, PAUSE, time.clock());
        (time, breaker)
    }

    fn open(breaker: &Breaker) {
        for _ in 0..3 {
            breaker.try_acquire().unwrap().failed();
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (_time, breaker) = breaker();
        for _ in 0..10 {
            breaker.try_acquire().unwrap().failed();
            breaker.try_acquire().unwrap().failed();
            breaker.try_acquire().unwrap().succeeded();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn it_refuses_until_its_time_is_over_and_not_a_moment_longer() {
        let (time, breaker) = breaker();
        open(&breaker);
        time.advance(PAUSE.saturating_sub(Duration::from_nanos(1)));
        assert!(breaker.try_acquire().is_none());
        time.advance(Duration::from_nanos(1));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.try_acquire().is_some());
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let (time, breaker) = breaker();
        open(&breaker);
        time.advance(PAUSE);
        breaker.try_acquire().unwrap().failed();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.opened(), 2);
    }

    #[test]
    fn a_cancelled_probe_lets_the_next_one_go() {
        let (time, breaker) = breaker();
        open(&breaker);
        time.advance(PAUSE);
        drop(breaker.try_acquire());
        breaker.try_acquire().unwrap().succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_call_from_before_it_opened_says_nothing_about_now() {
        let (time, breaker) = breaker();
        let late = breaker.try_acquire().unwrap();
        let later = breaker.try_acquire().unwrap();
        open(&breaker);
        late.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
        time.advance(PAUSE);
        breaker.try_acquire().unwrap().succeeded();
        for _ in 0..2 {
            breaker.try_acquire().unwrap().failed();
        }
        later.failed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
