//! Nanoseconds from the processor's time stamp counter.
//!
//! What it buys: two readings, as a latency takes them, cost about 15 ns instead of 50. The counter
//! is trusted only where the Linux kernel keeps time by it, which it does after it has checked that
//! it runs at one rate and alike on all processors, and stops doing when it finds otherwise.

/// Nanoseconds since a moment of this process's own.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use counter::now;

/// The portable twin: the full-resolution clock.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) use super::coarse::precise as now;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "an instruction of the processor: see above")]
mod counter {
    use std::fs;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::time::coarse::precise;

    /// How ticks become nanoseconds, once that is known.
    static RATE: OnceLock<Rate> = OnceLock::new();

    #[derive(Debug, Clone, Copy)]
    struct Rate {
        /// The first moment at this rate, on both clocks.
        ticks: u64,
        nanos: u64,
        /// Nanoseconds per tick, in units of 2^-32; zero if the counter is not to be trusted.
        scale: u64,
    }

    #[inline]
    pub(crate) fn now() -> u64 {
        match RATE.get() {
            Some(rate) if rate.scale != 0 => rate.nanos_at(ticks()),
            Some(_) => precise(),
            None => measured(),
        }
    }

    impl Rate {
        #[inline]
        fn nanos_at(&self, ticks: u64) -> u64 {
            // Another processor may be a few ticks behind.
            let since = ticks.saturating_sub(self.ticks);
            let nanos = (u128::from(since) * u128::from(self.scale)) >> 32;
            self.nanos.saturating_add(nanos as u64)
        }
    }

    /// The system's time, until enough of it has passed to know the counter's rate.
    #[cold]
    fn measured() -> u64 {
        static FIRST: OnceLock<(u64, u64)> = OnceLock::new();
        /// The latest that was answered from here, so that the counter begins behind it.
        static LATEST: AtomicU64 = AtomicU64::new(0);
        let (ticks, nanos) = *FIRST.get_or_init(both);
        let nanos_now = precise();
        LATEST.fetch_max(nanos_now, Ordering::AcqRel);
        if nanos_now.saturating_sub(nanos) < LONG_ENOUGH {
            return nanos_now;
        }
        let (ticks_now, nanos_now) = both();
        let passed = nanos_now.saturating_sub(nanos);
        let rate = RATE.get_or_init(|| Rate {
            ticks: ticks_now,
            // Who is still in here with the system's clock may be a little ahead.
            nanos: nanos_now.max(LATEST.load(Ordering::Acquire)) + MARGIN,
            scale: scale(passed, ticks_now.saturating_sub(ticks)).unwrap_or(0),
        });
        if rate.scale == 0 {
            nanos_now
        } else {
            rate.nanos_at(self::ticks())
        }
    }

    /// Nothing if the kernel keeps its time by something else, or the rate cannot be one.
    fn scale(nanos: u64, ticks: u64) -> Option<u64> {
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let trusted = fs::read_to_string(source).is_ok_and(|source| source.trim() == "tsc");
        let scale = (u128::from(nanos) << 32).checked_div(u128::from(ticks))?;
        let scale = u64::try_from(scale).ok()?;
        // From a tenth of a gigahertz to ten.
        let sane = (1 << 32) / 10..=10 << 32;
        (trusted && sane.contains(&scale)).then_some(scale)
    }

    /// Both clocks at one moment: of a few readings the one that was interrupted least.
    fn both() -> (u64, u64) {
        let reading = || {
            let before = ticks();
            let nanos = precise();
            let after = ticks();
            (
                after.saturating_sub(before),
                before + after.saturating_sub(before) / 2,
                nanos,
            )
        };
        let mut best = reading();
        for _ in 0..4 {
            let other = reading();
            if other.0 < best.0 {
                best = other;
            }
        }
        (best.1, best.2)
    }

    #[inline]
    fn ticks() -> u64 {
        // SAFETY: every x86-64 processor has the instruction, which reads a register.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// A reading is off by some 20 ns: a fifth of a millionth of this.
    const LONG_ENOUGH: u64 = 100_000_000;
    const MARGIN: u64 = 1_000;
}

#[cfg(test)]
mod tests {
    use crate::time::coarse;

    #[test]
    fn it_never_runs_backwards_and_keeps_up_with_the_systems_clock() {
        let (began, ours) = (coarse::precise(), super::now());
        let mut last = ours;
        // Past the moment when the counter takes over.
        while coarse::precise() - began < 150_000_000 {
            let next = super::now();
            assert!(next >= last);
            last = next;
        }
        let (system, processor) = (coarse::precise() - began, super::now() - ours);
        // A thousandth, and whatever came between the two readings.
        assert!(processor.abs_diff(system) < system / 1000 + 50_000_000);
    }
}
