//! The time as the operating system tells it, as cheaply as it does.
//!
//! The one file of the crate that calls a foreign function. What it buys: a
//! read of the coarse clock costs about 5 ns where `std::time::Instant::now`
//! costs 24 to 50, and a cache entry with an expiry pays it on every hit.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// Nanoseconds on the monotonic clock as of the kernel's last tick.
#[cfg(target_os = "linux")]
pub(super) fn now() -> u64 {
    let Some(reading) = read(libc::CLOCK_MONOTONIC_COARSE) else {
        return precise();
    };
    // Both fields of a monotonic reading are non-negative, and the seconds
    // since boot fit in 64 bits of nanoseconds for 584 years.
    (reading.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(reading.tv_nsec as u64)
}

/// Whole seconds since 1970 as of the kernel's last tick: 0 before that.
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "only sessions ask")]
pub(crate) fn wall_seconds() -> u64 {
    match read(libc::CLOCK_REALTIME_COARSE) {
        Some(reading) => u64::try_from(reading.tv_sec).unwrap_or(0),
        None => precise_wall_seconds(),
    }
}

#[cfg(target_os = "linux")]
fn read(clock: libc::clockid_t) -> Option<libc::timespec> {
    let mut reading = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `reading` is a valid, writable timespec for the whole call, and
    // the kernel writes nothing else.
    let status = unsafe { libc::clock_gettime(clock, &raw mut reading) };
    (status == 0).then_some(reading)
}

/// The portable twin: the full-resolution clock.
#[cfg(not(target_os = "linux"))]
pub(super) fn now() -> u64 {
    precise()
}

/// The portable twin.
#[cfg(not(target_os = "linux"))]
#[allow(dead_code, reason = "only sessions ask")]
pub(crate) fn wall_seconds() -> u64 {
    precise_wall_seconds()
}

fn precise_wall_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
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
    /// A tick is over within a second.
    #[test]
    fn both_clocks_show_the_same_time_of_day() {
        let before = super::precise_wall_seconds();
        let coarse = super::wall_seconds();
        let after = super::precise_wall_seconds();
        assert!((before - 1..=after).contains(&coarse));
    }

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
