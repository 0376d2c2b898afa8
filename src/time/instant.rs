use std::ops::Add;
use std::time::Duration;

/// A moment on one [`Clock`](super::Clock), in nanoseconds since that clock's
/// origin.
///
/// Arithmetic saturates: a deadline past the end of time is "never".
///
/// ```
/// use std::time::Duration;
/// use tenfold::time::{Instant, ManualClock};
///
/// let now = ManualClock::new().now();
/// let later = now + Duration::from_secs(1);
/// assert_eq!(later.saturating_since(now), Duration::from_secs(1));
/// assert_eq!(now.saturating_since(later), Duration::ZERO);
/// assert_eq!(now + Duration::MAX, Instant::NEVER);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// A moment that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock's origin.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here, or zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(after))
    }
}
