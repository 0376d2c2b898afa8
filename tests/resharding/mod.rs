//! Shards that are written to and read from by several threads while they move.

#[path = "../../examples/reshard/shards.rs"]
mod shards;

mod faults;
mod history;
mod world;

pub(crate) use faults::{Fault, Faults};
pub(crate) use world::{Drive, End, World, run, wait};
