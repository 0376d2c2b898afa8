//! Instructions, counted by callgrind: the one figure of speed that is the same in every run.
//!
//! Time that the kernel takes, and reading the clock is a call of it under valgrind, is not counted.

use std::process::Command;

/// How many instructions this program takes with these arguments.
///
/// # Errors
///
/// If valgrind is missing or fails.
pub fn count(arguments: &[&str]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|e| format!("valgrind cannot be started: {e}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let counted = report
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    counted.ok_or_else(|| {
        format!(
            "valgrind did not count: {}",
            report.lines().last().unwrap_or("it said nothing")
        )
    })
}
