use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// Says how many members there should be, from how busy they are.
///
/// The size that would bring them to the target is what they are, times how busy they are over the
/// target. Within the tolerance nothing changes. It grows at once, and shrinks only to the largest
/// size that was right at any time within the window, so that a load that swings does not make the
/// size swing with it. It asks nobody and starts nothing: you tell it, and do what it says.
///
/// ```
/// use std::time::Duration;
/// use tenfold::balance::Autoscaler;
/// use tenfold::time::ManualClock;
///
/// let clock = ManualClock::new();
/// let mut scaler = Autoscaler::new(0.6, 2..=20)?.shrink_after(Duration::from_secs(300));
/// assert_eq!(scaler.observe(clock.now(), 4, 0.9), 6); // 4 × 0.9 / 0.6
/// assert_eq!(scaler.observe(clock.now(), 6, 0.62), 6); // near enough
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(scaler.observe(clock.now(), 6, 0.1), 6); // it may come back
/// clock.advance(Duration::from_secs(301));
/// assert_eq!(scaler.observe(clock.now(), 6, 0.1), 2); // it did not; never below two
/// # Ok::<(), tenfold::balance::AutoscalerError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Autoscaler {
    target: f64,
    min: u32,
    max: u32,
    tolerance: f64,
    window: Duration,
    /// What was right when, of the window: falling sizes, for what is followed by a larger one
    /// is never the largest again.
    right: VecDeque<(Instant, u32)>,
}

/// Sizes or a target that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AutoscalerError {
    /// Nobody can be so busy.
    #[error("the target must be above 0 and at most 1, found {found}")]
    Target {
        /// What was given.
        found: f64,
    },
    /// No size lies between the two.
    #[error("sizes must go from at least 1 to no less, found {min} to {max}")]
    Sizes {
        /// The smallest size.
        min: u32,
        /// The largest.
        max: u32,
    },
}

impl Autoscaler {
    /// A scaler that wants members to be busy for this share of their time, and this many of them.
    /// It tolerates a tenth of the target to either side, and looks back five minutes before it shrinks.
    ///
    /// # Errors
    /// [`AutoscalerError`] if the target is no share, or the sizes are none.
    pub fn new(target: f64, sizes: std::ops::RangeInclusive<u32>) -> Result<Self, AutoscalerError> {
        if !(target > 0.0 && target <= 1.0) {
            return Err(AutoscalerError::Target { found: target });
        }
        let (min, max) = sizes.into_inner();
        if min == 0 || max < min {
            return Err(AutoscalerError::Sizes { min, max });
        }
        Ok(Self {
            target,
            min,
            max,
            tolerance: 0.1,
            window: Duration::from_secs(300),
            right: VecDeque::new(),
        })
    }

    /// How far from the target, as a part of it, is near enough; 0.1 by default. What is no number, or
    /// below zero, counts as zero.
    #[must_use]
    pub const fn tolerance(mut self, part: f64) -> Self {
        self.tolerance = if part > 0.0 { part } else { 0.0 };
        self
    }

    /// How long a smaller size must have been enough before it is taken; five minutes by default.
    #[must_use]
    pub const fn shrink_after(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Takes note of how busy so many members are on average, 0 to 1 (more, if work waits), and says how
    /// many there should be. What is no number counts as the target.
    pub fn observe(&mut self, now: Instant, members: u32, busy: f64) -> u32 {
        let load = if busy.is_finite() {
            busy.max(0.0) / self.target
        } else {
            1.0
        };
        let right = if (load - 1.0).abs() <= self.tolerance {
            members
        } else {
            // Beyond u32 it saturates, and is cut to the largest size anyway.
            (f64::from(members.max(1)) * load - ROUNDING).ceil() as u32
        };
        let right = right.clamp(self.min, self.max);
        while self.right.back().is_some_and(|(_, size)| *size <= right) {
            self.right.pop_back();
        }
        self.right.push_back((now, right));
        let old = |then: Instant| now.saturating_since(then) > self.window;
        while self.right.front().is_some_and(|(then, _)| old(*then)) {
            self.right.pop_front();
        }
        let largest = self.right.front().map_or(right, |(_, size)| *size);
        // What was right before does not make it grow now.
        largest.min(members.max(right)).clamp(self.min, self.max)
    }
}

/// What a product of floats may be above a whole number.
const ROUNDING: f64 = 1e-9;
