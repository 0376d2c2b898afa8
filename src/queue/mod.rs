//! A durable queue.
#![forbid(unsafe_code)]

mod error;
mod log;
pub mod storage;

pub use error::OpenError;
pub use log::{Damage, DamageKind, Recovery};
