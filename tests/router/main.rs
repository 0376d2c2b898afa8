//! The router as its users see it: placements, versions, moves and reads of many shards.
#![cfg(not(tenfold_shuttle))]

mod bad_days;
mod basics;
mod bytes;
mod golden;
mod hot_keys;
mod merge;
mod migration;
mod migration_days;
mod migration_files;
mod models;
mod nodes;
mod overrides;
mod plans;
mod range_split;
mod resharding;
mod scatter;
mod scatter_calls;
mod scatter_world;
#[cfg(feature = "serde")]
mod serde;
#[path = "../support/mod.rs"]
mod support;
mod timeline;
