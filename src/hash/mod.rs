//! Two hashes with two promises.
//!
//! * [`TableHasher`] is for tables in memory: fast, and keyed, so that nobody who
//!   does not know a table's secret can prepare keys that fall together. What it
//!   computes may change between versions, processes and machines: never store
//!   it, never send it.
//! * `StableKey` is for what two processes or two runs must agree on: filters,
//!   placement, files. It is XXH3-64 over bytes that each type of key defines,
//!   and changes never. It is not keyed: whoever chooses the keys may
//!   prepare some that fall together, unless a secret seed is given.
//!   [`std::hash::Hash`] promises neither: what it feeds to a hasher differs
//!   between machines and versions of Rust.

#[cfg(any(feature = "balance", feature = "bloom", feature = "router"))]
mod stable;
#[cfg(any(
    feature = "cache",
    feature = "queue",
    feature = "session",
    feature = "singleflight"
))]
mod table;

#[cfg(any(feature = "bloom", feature = "router"))]
pub(crate) use stable::xxh3_64;
#[cfg(feature = "bloom")]
pub(crate) use stable::xxh64;
#[cfg(any(feature = "balance", feature = "bloom", feature = "router"))]
pub use stable::{CanonicalBytes, StableKey};
#[cfg(any(
    feature = "cache",
    feature = "queue",
    feature = "session",
    feature = "singleflight"
))]
pub use table::{TableHashState, TableHasher};
