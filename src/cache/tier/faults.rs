use std::time::Duration;

use crate::rng::Rng;

/// What goes wrong with a [`MemoryL2`](super::MemoryL2) or a
/// [`MemoryBackplane`](super::MemoryBackplane), and how often: the same in every
/// run with the same seed.
///
/// Chances lie between 0 and 1. Without any, nothing goes wrong.
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::tier::Faults;
///
/// let bad_day = Faults::with_seed(7)
///     .errors(0.1)
///     .lost(0.05)
///     .repeated(0.05)
///     .slow(0.2, Duration::from_millis(500));
/// ```
#[derive(Debug, Clone)]
pub struct Faults {
    rng: Rng,
    errors: f64,
    lost: f64,
    repeated: f64,
    slow: f64,
    slow_by: Duration,
}

/// What becomes of one call or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) fails: bool,
    pub(super) is_lost: bool,
    pub(super) is_repeated: bool,
    pub(super) delay: Duration,
    /// A second draw, for the copy of a repeated message.
    pub(super) second_delay: Duration,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self::with_seed(0)
    }

    /// Nothing goes wrong yet; what will is drawn from this seed.
    pub const fn with_seed(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            errors: 0.0,
            lost: 0.0,
            repeated: 0.0,
            slow: 0.0,
            slow_by: Duration::ZERO,
        }
    }

    /// So many calls fail and do nothing.
    #[must_use]
    pub const fn errors(mut self, chance: f64) -> Self {
        self.errors = chance;
        self
    }

    /// So many are lost on the way: a message to one of those who should hear it;
    /// of an L2, the answer, after the command was carried out.
    #[must_use]
    pub const fn lost(mut self, chance: f64) -> Self {
        self.lost = chance;
        self
    }

    /// So many messages arrive twice.
    #[must_use]
    pub const fn repeated(mut self, chance: f64) -> Self {
        self.repeated = chance;
        self
    }

    /// So many calls or messages take up to this long, and are overtaken by
    /// others.
    #[must_use]
    pub const fn slow(mut self, chance: f64, by: Duration) -> Self {
        self.slow = chance;
        self.slow_by = by;
        self
    }

    /// Draws what becomes of the next call or message.
    pub(super) fn draw(&mut self) -> Fate {
        Fate {
            fails: self.chance(self.errors),
            is_lost: self.chance(self.lost),
            is_repeated: self.chance(self.repeated),
            delay: self.delay(),
            second_delay: self.delay(),
        }
    }

    fn chance(&mut self, chance: f64) -> bool {
        // 53 bits, as many as a number below one holds.
        ((self.rng.next_u64() >> 11) as f64) < chance * (1u64 << 53) as f64
    }

    fn delay(&mut self) -> Duration {
        if !self.chance(self.slow) {
            return Duration::ZERO;
        }
        let most = u64::try_from(self.slow_by.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.below(most.saturating_add(1)))
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_wrong_unless_asked_for() {
        let mut faults = Faults::with_seed(3);
        let fine = Fate {
            fails: false,
            is_lost: false,
            is_repeated: false,
            delay: Duration::ZERO,
            second_delay: Duration::ZERO,
        };
        for _ in 0..1000 {
            assert_eq!(faults.draw(), fine);
        }
    }

    #[test]
    fn as_much_goes_wrong_as_was_asked_for_and_the_same_for_the_same_seed() {
        let faults = || {
            Faults::with_seed(3)
                .errors(0.25)
                .slow(0.5, Duration::from_secs(1))
        };
        let draw =
            |mut faults: Faults| -> Vec<Fate> { (0..10_000).map(|_| faults.draw()).collect() };
        let fates = draw(faults());
        assert_eq!(fates, draw(faults()));
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        // Ten standard deviations.
        assert!(count(|fate| fate.fails).abs_diff(2500) < 440);
        assert!(count(|fate| !fate.delay.is_zero()).abs_diff(5000) < 500);
    }
}
