//! The Bloom filters and the rivals: time per operation, false positives.

mod ours;
mod rates;
mod rivals;
mod shared;
mod speed;
mod subject;

use crate::arguments::Arguments;
use crate::report;

/// Measures the block, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: a figure that cannot be true, or a file that cannot be written.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    // Before the work, so that a wrong folder costs nobody ten minutes.
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let effort = if arguments.quick { &QUICK } else { &FULL };
    println!(
        "Nanoseconds of thread time per operation, hash included: medians of {} interleaved rounds. Everyone has the same memory",
        effort.rounds
    );
    println!("and the same keys, 10 bits per key; each one's own false positives are printed.");
    let mut rows = speed::near::<u64>(effort);
    rows.extend(speed::near::<String>(effort));
    rows.extend(speed::far(effort));
    rows.extend(shared::measure(effort));
    rows.extend(rates::measure(effort)?);
    json.map_or(Ok(()), |file| file.write(&rows))
}

struct Effort {
    rounds: usize,
    /// The share of its keys that a filter of 64 MiB is filled with: one in so many.
    far_share: u64,
    /// Keys of a round in a filter of 64 MiB.
    far_keys: usize,
    /// Strangers that a rate is measured with.
    strangers: u64,
}

const QUICK: Effort = Effort {
    rounds: 5,
    far_share: 4,
    far_keys: 200_000,
    strangers: 1_000_000,
};
const FULL: Effort = Effort {
    rounds: 9,
    far_share: 1,
    far_keys: 1_000_000,
    strangers: 10_000_000,
};
