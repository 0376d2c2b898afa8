//! Time that a test can turn by hand: clocks, instants, jitter and timers.
//!
//! No block asks the operating system for the time; it asks the [`Clock`] it
//! was given. In production that is [`Clock::coarse`] (about 5 ns a reading,
//! late by at most one kernel tick), [`Clock::system`] (about 25 ns, exact), or
//! [`Clock::processor`] (about 8 ns, exact, where the processor can).
//! In a test it is a [`ManualClock`], which stands still until it is told to
//! move, so a test of an hour-long TTL takes microseconds and never flakes.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::time::ManualClock;
//!
//! let manual = ManualClock::new();
//! let clock = manual.clock();
//! let start = clock.now();
//! manual.advance(Duration::from_secs(3600));
//! assert_eq!(clock.now().saturating_since(start), Duration::from_secs(3600));
//! ```

mod clock;
pub(crate) mod coarse;
mod instant;
mod jitter;
mod processor;
mod timer;

pub use clock::{Clock, ManualClock};
pub use instant::Instant;
pub use jitter::{InvalidJitter, Jitter};
pub use timer::{Sleep, Timer};
