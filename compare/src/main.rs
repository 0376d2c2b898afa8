//! The command: reads the arguments and measures, or starts itself again with
//! the rivals built in.

use std::process::ExitCode;

use compare::arguments::{self, Arguments, Request};

fn main() -> ExitCode {
    #[cfg(feature = "cache")]
    if let Some(code) = compare::cache::child() {
        return code;
    }
    let arguments = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            println!("{}", arguments::usage());
            return ExitCode::SUCCESS;
        }
        Ok(Request::Measure(arguments)) => arguments,
        Err(mistake) => {
            eprintln!("compare: {mistake} (--help says more)");
            return ExitCode::from(2);
        }
    };
    measure(&arguments).unwrap_or_else(|reason| {
        eprintln!("compare: {reason}");
        ExitCode::FAILURE
    })
}

#[cfg(feature = "cache")]
fn measure(arguments: &Arguments) -> Result<ExitCode, String> {
    compare::cache::measure(arguments)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "cache"))]
fn measure(arguments: &Arguments) -> Result<ExitCode, String> {
    compare::restart::with_feature(arguments.block.feature(), std::env::args_os().skip(1))
}
