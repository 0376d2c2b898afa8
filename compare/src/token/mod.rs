//! Tokens signed and verified beside other crates' that do so, and the denylist beside what people write for themselves.
//!
//! Everybody signs the same eight claims with a name of its own for each token, and verifies with all the checks that it
//! offers: issuer, audience, times, type. What is counted is the processor's time. `jsonwebtoken` has one provider of
//! signatures for a whole process, so it is measured in two processes besides, one for each provider, which take their rounds
//! in turn with everybody else.

mod denylist;
mod jsonwebtoken;
mod ours;
mod remote;
mod rivals;
mod subject;
mod work;

pub use remote::child;

use crate::arguments::Arguments;
use crate::report::{self, Progress};

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a process that cannot be started, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let (rounds, slice) = if arguments.quick { (5, 10) } else { (15, 40) };
    let mut progress = Progress::new("token", 2 * subject::ALGORITHMS.len() + 1);
    let mut rows = work::measure(rounds, slice, &mut progress)?;
    rows.extend(denylist::measure(rounds));
    progress.step("denylist");
    report::print(&rows);
    json.map_or(Ok(()), |file| file.write(&rows))
}
