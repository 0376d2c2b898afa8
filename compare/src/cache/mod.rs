//! The cache and its rivals: hit ratio, time per operation, bytes per entry.

mod belady;
mod hit_ratio;
mod instructions;
mod lru;
mod memory;
mod ours;
mod rivals;
mod subject;
mod throughput;
mod trace;
mod zipf;

use crate::arguments::{Arguments, Block};
use crate::report;

/// Measures one of the cache's blocks, prints its tables and writes its rows.
///
/// # Errors
///
/// One sentence: an input that cannot be read, or a figure that cannot be true.
pub fn measure(arguments: &Arguments) -> Result<(), String> {
    // Before the work, so that a wrong folder costs nobody ten minutes.
    let json = arguments
        .json
        .as_deref()
        .map(report::JsonFile::create)
        .transpose()?;
    let rows = match arguments.block {
        Block::CacheHitRatio => hit_ratio::measure(arguments)?,
        Block::CacheThroughput => throughput::measure(arguments)?,
        Block::CacheMemory => memory::measure(arguments),
        other => return Err(format!("{other} is not the cache's to measure")),
    };
    json.map_or(Ok(()), |file| file.write(&rows))
}

/// Counts instructions of one kind of operation, in the child that valgrind
/// runs.
pub use instructions::child;
