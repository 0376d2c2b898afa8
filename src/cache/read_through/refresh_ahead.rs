use std::time::Duration;

use super::BuildError;
use crate::time::Instant;

/// When an entry that is still fresh is loaded anew in the background.
///
/// A request starts the refresh, so keys that nobody asks for any more die. The
/// request, and all that come while the refresh runs, get the value that is
/// there.
///
/// ```
/// use tenfold::cache::read_through::RefreshAhead;
///
/// // In the last fifth of its time the next request starts a refresh.
/// let steady = RefreshAhead::after(0.8);
/// // By chance, the likelier the nearer its end and the longer a load takes.
/// let spread = RefreshAhead::by_chance(1.0);
/// assert_ne!(steady, spread);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefreshAhead(When);

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    After { fraction: f64 },
    ByChance { factor: f64 },
}

impl RefreshAhead {
    /// From this fraction of an entry's time on: `0.8` of a minute leaves
    /// twelve seconds for the refresh. Must lie between 0 and 1.
    pub const fn after(fraction: f64) -> Self {
        Self(When::After { fraction })
    }

    /// By chance ("XFetch"): a request at a moment when the entry has `left` to
    /// live starts a refresh with probability `exp(-left / (factor * cost))`,
    /// where `cost` is how long the last load took. Many processes that share
    /// a source then do not refresh one key together. A factor of 1 is the
    /// best choice where a load takes about as long every time; a larger one is
    /// more cautious. Must be positive.
    pub const fn by_chance(factor: f64) -> Self {
        Self(When::ByChance { factor })
    }

    pub(super) fn validate(self) -> Result<(), BuildError> {
        match self.0 {
            When::After { fraction } if !(fraction > 0.0 && fraction < 1.0) => {
                Err(BuildError::RefreshFraction { found: fraction })
            }
            When::ByChance { factor } if !(factor > 0.0 && factor.is_finite()) => {
                Err(BuildError::RefreshFactor { found: factor })
            }
            _ => Ok(()),
        }
    }

    /// The first moment at which a request may start a refresh.
    pub(super) fn begins(
        self,
        loaded_at: Instant,
        fresh_until: Instant,
        cost: Duration,
    ) -> Instant {
        let lives = fresh_until.saturating_since(loaded_at);
        match self.0 {
            When::After { fraction } => loaded_at + scaled(lives, fraction),
            When::ByChance { factor } => {
                let window = scaled(cost, factor * SELDOM).min(lives);
                loaded_at + lives.saturating_sub(window)
            }
        }
    }

    /// Whether a request at `now`, which is not before [`begins`](Self::begins),
    /// starts one. `chance` is uniform over all numbers.
    pub(super) fn is_due(
        self,
        now: Instant,
        fresh_until: Instant,
        cost: Duration,
        chance: u64,
    ) -> bool {
        match self.0 {
            When::After { .. } => true,
            When::ByChance { factor } => {
                let left = fresh_until.saturating_since(now);
                // Uniform in (0, 1].
                let chance = ((chance >> 11) + 1) as f64 / (1u64 << 53) as f64;
                scaled(cost, factor * -chance.ln()) >= left
            }
        }
    }
}

/// The first moment after a refresh was started at `now` at which another may
/// be, should that one come to nothing: half-way to the end, but in steps that
/// do not become too small.
pub(super) fn next_attempt(now: Instant, loaded_at: Instant, fresh_until: Instant) -> Instant {
    let half = fresh_until.saturating_since(now) / 2;
    let least = fresh_until.saturating_since(loaded_at) / LEAST_STEP;
    (now + half.max(least)).min(fresh_until)
}

fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// A chance of `exp(-20)` is not worth throwing dice for.
const SELDOM: f64 = 20.0;

/// A refresh that fails is tried again after no less than this part of the
/// entry's time.
const LEAST_STEP: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_fraction_is_one_of_the_entrys_time() {
        let refresh = RefreshAhead::after(0.8);
        assert_eq!(refresh.begins(at(10), at(70), Duration::ZERO), at(58));
        assert!(refresh.is_due(at(58), at(70), Duration::ZERO, 0));
    }

    #[test]
    fn by_chance_is_never_due_early_for_a_quick_load_and_always_at_the_end() {
        let refresh = RefreshAhead::by_chance(1.0);
        let cost = Duration::from_millis(100);
        assert_eq!(refresh.begins(at(10), at(70), cost), at(68));
        assert!(!refresh.is_due(at(68), at(70), cost, u64::MAX / 2));
        assert!(refresh.is_due(at(70), at(70), cost, u64::MAX / 2));
        // A load that takes longer than an entry lives.
        assert_eq!(refresh.begins(at(10), at(70), MINUTE), at(10));
    }

    #[test]
    fn the_share_of_refreshes_is_the_exponential_that_was_promised() {
        let refresh = RefreshAhead::by_chance(1.0);
        let mut rng = crate::rng::Rng::with_seed(1);
        let cost = Duration::from_secs(2);
        let due = (0..10_000)
            .filter(|_| refresh.is_due(at(68), at(70), cost, rng.next_u64()))
            .count();
        // 10 000 / e, and six standard deviations.
        assert!(due.abs_diff(3679) < 290, "{due}");
    }

    #[test]
    fn attempts_are_bounded() {
        let (mut now, mut attempts) = (at(58), 0);
        while now < at(70) {
            now = next_attempt(now, at(10), at(70));
            attempts += 1;
        }
        assert!((2..=5).contains(&attempts), "{attempts}");
    }

    #[test]
    fn what_is_no_fraction_or_no_factor_is_refused() {
        for bad in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(RefreshAhead::after(bad).validate().is_err());
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(RefreshAhead::by_chance(bad).validate().is_err());
        }
        assert!(RefreshAhead::after(0.5).validate().is_ok());
        assert!(RefreshAhead::by_chance(2.0).validate().is_ok());
    }
}
