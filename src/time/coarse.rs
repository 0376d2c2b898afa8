//! Monotonic nanoseconds from the operating system.
//!
//! The one file of the crate that calls a foreign function. What it buys: a
//! read of the coarse clock costs about 5 ns where `std::time::Instant::now`
//! costs 24 to 50, and a cache entry with an expiry pays it on every hit.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds on the monotonic clock as of the kernel's last tick.
#[cfg(target_os = "linux")]
pub(super) fn now() -> u64 {
    let mut reading = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `reading` is a valid, writable timespec for the whole call, and
    // the kernel writes nothing else.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut reading) };
    if status != 0 {
        return precise();
    }
    // Both fields of a monotonic reading are non-negative, and the seconds
    // since boot fit in 64 bits of nanoseconds for 584 years.
    (reading.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(reading.tv_nsec as u64)
}

/// The portable twin: the full-resolution clock.
#[cfg(not(target_os = "linux"))]
pub(super) fn now() -> u64 {
    precise()
}

/// Nanoseconds since the first reading in this process, at full resolution.
///
/// It starts at one second, so that moments just before the first reading can
/// be represented.
pub(super) fn precise() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let since = ORIGIN.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1_000_000_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn neither_clock_runs_backwards() {
        for read in [super::now, super::precise] {
            let mut last = read();
            for _ in 0..10_000 {
                let next = read();
                assert!(next >= last);
                last = next;
            }
        }
    }
}
