//! The same workloads for tenfold and for its rivals, side by side in one run.
//!
//! `cargo run --release -p compare -- <block>` prints tables and, with
//! `--json FILE`, writes one `report::Row` per figure. The default build has
//! no rival in it: [`restart`] starts the program again with the feature that
//! the asked block needs, so that nobody builds every rival to measure one.
//!
//! How it measures: one process, the best documented configuration of each
//! rival, the same capacity and, where a rival lets us choose, the same hasher
//! ([`tenfold::hash::TableHasher`]); rounds of all contenders interleaved, so
//! that a slow minute of the machine hits all of them; medians; every value
//! that comes back is compared with its key.

pub mod arguments;
#[cfg(feature = "balance")]
pub mod balance;
#[cfg(feature = "bloom")]
pub mod bloom;
#[cfg(feature = "cache")]
pub mod cache;
#[cfg(any(feature = "cache", feature = "replica"))]
pub mod callgrind;
#[cfg(any(
    feature = "cache",
    feature = "replica",
    feature = "session",
    feature = "singleflight",
    feature = "token"
))]
pub mod counting;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "replica")]
pub mod replica;
#[cfg(any(
    feature = "balance",
    feature = "bloom",
    feature = "cache",
    feature = "queue",
    feature = "replica",
    feature = "router",
    feature = "session",
    feature = "singleflight",
    feature = "token"
))]
pub mod report;
pub mod restart;
#[cfg(feature = "router")]
pub mod router;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "singleflight")]
pub mod singleflight;
#[cfg(feature = "token")]
pub mod token;
