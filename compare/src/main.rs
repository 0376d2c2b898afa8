//! The command: reads the arguments and measures, or starts itself again with
//! the rivals built in.

use std::process::ExitCode;

use compare::arguments::{self, Arguments, Request};

fn main() -> ExitCode {
    #[cfg(feature = "cache")]
    if let Some(code) = compare::cache::child() {
        return code;
    }
    #[cfg(feature = "replica")]
    if let Some(code) = compare::replica::child() {
        return code;
    }
    #[cfg(feature = "token")]
    if let Some(code) = compare::token::child() {
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

fn measure(arguments: &Arguments) -> Result<ExitCode, String> {
    match arguments.block.feature() {
        #[cfg(feature = "balance")]
        "balance" => compare::balance::measure(arguments)?,
        #[cfg(feature = "bloom")]
        "bloom" => compare::bloom::measure(arguments)?,
        #[cfg(feature = "cache")]
        "cache" => compare::cache::measure(arguments)?,
        #[cfg(feature = "queue")]
        "queue" => compare::queue::measure(arguments)?,
        #[cfg(feature = "replica")]
        "replica" => compare::replica::measure(arguments)?,
        #[cfg(feature = "router")]
        "router" => compare::router::measure(arguments)?,
        #[cfg(feature = "session")]
        "session" => compare::session::measure(arguments)?,
        #[cfg(feature = "singleflight")]
        "singleflight" => compare::singleflight::measure(arguments)?,
        #[cfg(feature = "token")]
        "token" => compare::token::measure(arguments)?,
        feature => {
            return compare::restart::with_feature(feature, std::env::args_os().skip(1));
        }
    }
    #[allow(
        unreachable_code,
        reason = "without a block's feature every arm returns"
    )]
    Ok(ExitCode::SUCCESS)
}
