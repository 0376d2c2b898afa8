//! Waiting for what other processes do, and telling how long it took.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program that has this module uses a part"
)]

use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long anything is waited for before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until it is so; fails after a minute, saying what was waited for.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        nap();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process sends no signal when it is ready"
)]
fn nap() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Says how long something took: at once, and not only if the test fails.
pub fn tell(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "    {what}");
}
