//! Starts the program again with the feature that a block needs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Builds and runs this program with `feature`, on the same arguments and in
/// the same directory.
///
/// # Errors
///
/// If cargo cannot be started. Cargo's own complaints go to the terminal.
pub fn with_feature(
    feature: &str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode, String> {
    let feature = match feature {
        "balance" => with_pingora(),
        feature => feature,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Set by `cargo run` to where the sources are now; they may have moved
    // since the build.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut command = Command::new(&cargo);
    command
        .args([
            "run",
            "--release",
            "--package",
            "compare",
            "--features",
            feature,
        ])
        .arg("--manifest-path")
        .arg(PathBuf::from(here).join("Cargo.toml"))
        .arg("--")
        .args(arguments);
    run(&mut command).map_err(|e| {
        format!(
            "{} cannot be started to build the rivals: {e}",
            cargo.to_string_lossy()
        )
    })
}

/// What to measure the balancer with: pingora too, if it can be built.
fn with_pingora() -> &'static str {
    if Command::new("cmake").arg("--version").output().is_ok() {
        return "pingora";
    }
    eprintln!("compare: cmake is not installed, so pingora's balancer is not built");
    "balance"
}

#[cfg(unix)]
fn run(command: &mut Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    // Takes this process over, so that signals reach the one that measures.
    Err(command.exec())
}

#[cfg(not(unix))]
fn run(command: &mut Command) -> std::io::Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}
