use std::time::Duration;

/// Spreads durations, so that things that began together do not end together.
///
/// A thousand entries loaded in one second with one TTL expire in one second,
/// a minute later, and the database gets a thousand loads at once: the
/// avalanche. With 10 % of jitter the loads spread over six seconds.
///
/// The spread is a fraction of the duration or a fixed range, and goes to
/// both sides unless [`shorten`](Self::shorten) or [`lengthen`](Self::lengthen)
/// says otherwise. The result depends only on the duration and a 64-bit
/// number, so a test can foretell it.
///
/// ```
/// use std::time::Duration;
/// use tenfold::time::Jitter;
///
/// let minute = Duration::from_secs(60);
/// let spread = Jitter::fraction(0.1).shorten();
/// let jittered = spread.apply(minute, 0x9e37_79b9_7f4a_7c15);
/// assert!(jittered > Duration::from_secs(54) && jittered <= minute);
/// assert_eq!(Jitter::none().apply(minute, 7), minute);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    width: Width,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Width {
    Fraction(f64),
    Range(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Shorter,
    Longer,
}

impl Jitter {
    /// No spread: every duration stays what it is.
    pub const fn none() -> Self {
        Self::range(Duration::ZERO)
    }

    /// Spreads by up to this share of the duration: `0.1` of a minute is six
    /// seconds to each side. Must lie in `0.0..=1.0`; a block refuses another
    /// value in its `build()`.
    pub const fn fraction(fraction: f64) -> Self {
        Self {
            width: Width::Fraction(fraction),
            side: Side::Both,
        }
    }

    /// Spreads by up to this much, whatever the duration. A result never goes
    /// below zero.
    pub const fn range(range: Duration) -> Self {
        Self {
            width: Width::Range(range),
            side: Side::Both,
        }
    }

    /// Only shortens: nothing outlives the duration that was asked for.
    #[must_use]
    pub const fn shorten(mut self) -> Self {
        self.side = Side::Shorter;
        self
    }

    /// Only lengthens.
    #[must_use]
    pub const fn lengthen(mut self) -> Self {
        self.side = Side::Longer;
        self
    }

    /// Checks that the fraction is a number in `0.0..=1.0`.
    ///
    /// # Errors
    /// [`InvalidJitter`] otherwise.
    pub fn validate(&self) -> Result<(), InvalidJitter> {
        match self.width {
            Width::Fraction(fraction) if !(0.0..=1.0).contains(&fraction) => {
                Err(InvalidJitter { fraction })
            }
            _ => Ok(()),
        }
    }

    /// The jittered duration. `chance` picks the point in the spread: the same
    /// number gives the same result, and uniform numbers spread uniformly.
    #[must_use]
    pub fn apply(&self, duration: Duration, chance: u64) -> Duration {
        let width = match self.width {
            // An invalid fraction is refused where a block is built; here it
            // counts as none rather than as a panic.
            Width::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
                u128_from(duration.as_nanos() as f64 * fraction)
            }
            Width::Fraction(_) => 0,
            Width::Range(range) => range.as_nanos(),
        };
        // The fraction of the way along the spread, in units of 2^-64, times
        // the spread, without overflow: widths are below 2^94.
        let part = |width: u128| {
            let (high, low) = (width >> 64, width & u128::from(u64::MAX));
            high * u128::from(chance) + ((low * u128::from(chance)) >> 64)
        };
        let nanos = duration.as_nanos();
        let jittered = match self.side {
            Side::Shorter => nanos.saturating_sub(part(width)),
            Side::Longer => nanos + part(width),
            Side::Both => (nanos + part(2 * width)).saturating_sub(width),
        };
        from_nanos(jittered)
    }
}

/// A jitter fraction that is no share of anything.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("jitter fraction must be between 0.0 and 1.0, found {fraction}")]
pub struct InvalidJitter {
    /// The fraction that was given.
    pub fraction: f64,
}

/// A float of nanoseconds as a count; negative and not-a-number become zero.
fn u128_from(nanos: f64) -> u128 {
    nanos as u128
}

fn from_nanos(nanos: u128) -> Duration {
    const NANOS_PER_SEC: u128 = 1_000_000_000;
    u64::try_from(nanos / NANOS_PER_SEC).map_or(Duration::MAX, |seconds| {
        Duration::new(seconds, (nanos % NANOS_PER_SEC) as u32)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_within_its_spread(nanos in 0..u64::MAX, fraction in 0.0..=1.0f64, chance: u64) {
            let whole = Duration::from_nanos(nanos);
            // One part in 2^50 for the float product.
            let width = whole.mul_f64(fraction) + whole / (1 << 30) + Duration::from_nanos(1);
            let jitter = Jitter::fraction(fraction);
            let both = jitter.apply(whole, chance);
            prop_assert!(both <= whole + width && both + width >= whole);
            let shorter = jitter.shorten().apply(whole, chance);
            prop_assert!(shorter <= whole && shorter + width >= whole);
            let longer = jitter.lengthen().apply(whole, chance);
            prop_assert!(longer >= whole && longer <= whole + width);
        }
    }

    #[test]
    fn the_ends_of_chance_reach_the_ends_of_the_spread() {
        let (second, tenth) = (Duration::from_secs(1), Duration::from_millis(100));
        let least = Duration::from_millis(900);
        for jitter in [Jitter::range(tenth), Jitter::fraction(0.1)] {
            assert_eq!(jitter.apply(second, 0), least);
            let top = jitter.apply(second, u64::MAX);
            assert!(top <= second + tenth && top + Duration::from_nanos(2) >= second + tenth);
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let jitter = Jitter::range(Duration::MAX);
        assert_eq!(
            jitter.lengthen().apply(Duration::MAX, u64::MAX),
            Duration::MAX
        );
        assert_eq!(jitter.apply(Duration::ZERO, 0), Duration::ZERO);
        assert_eq!(
            jitter.shorten().apply(Duration::from_secs(1), u64::MAX),
            Duration::ZERO
        );
    }

    #[test]
    fn a_fraction_that_is_no_share_is_refused() {
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let jitter = Jitter::fraction(bad);
            assert!(jitter.validate().is_err());
            assert_eq!(
                jitter.apply(Duration::from_secs(1), 5),
                Duration::from_secs(1)
            );
        }
        assert!(Jitter::fraction(1.0).validate().is_ok());
    }
}
