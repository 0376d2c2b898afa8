use std::time::Duration;

use crate::rng;
use crate::time::Jitter;

/// How long a message waits after it failed: longer each time, and not all alike.
///
/// ```
/// use std::time::Duration;
/// use tenfold::queue::Backoff;
///
/// let second = Duration::from_secs(1);
/// let retry = Backoff::exponential(second, 60 * second).jitter(0.0);
/// assert_eq!(retry.pause(1, 7), second);
/// assert_eq!(retry.pause(3, 7), 4 * second);
/// assert_eq!(retry.pause(99, 7), 60 * second);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Doubles from the one to the other, with pauses up to a fifth shorter.
    pub const fn exponential(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            jitter: Jitter::fraction(0.2).shorten(),
        }
    }

    /// The same each time, without jitter.
    pub const fn constant(pause: Duration) -> Self {
        Self {
            first: pause,
            longest: pause,
            jitter: Jitter::none(),
        }
    }

    /// Shortens pauses by up to this share, so that what failed together is not
    /// tried again together.
    #[must_use]
    pub const fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = Jitter::fraction(fraction).shorten();
        self
    }

    /// The pause after so many attempts of the message with this number.
    pub fn pause(&self, attempts: u32, id: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        self.jitter
            .apply(pause, rng::mix(id ^ rng::mix(u64::from(attempts))))
    }

    pub(super) fn is_valid(&self) -> bool {
        self.jitter.validate().is_ok()
    }
}
