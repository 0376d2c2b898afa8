//! A durable queue.
#![forbid(unsafe_code)]

mod backoff;
mod bell;
mod book;
mod builder;
mod consumer;
mod core;
mod dead_letters;
mod dedup;
mod delivery;
mod error;
mod group;
mod ids;
mod log;
mod message;
#[allow(
    clippy::module_inception,
    reason = "the block's main type has its name"
)]
mod queue;
mod records;
mod stats;
pub mod storage;
mod waiting;

pub use backoff::Backoff;
pub use builder::{Durability, QueueBuilder};
pub use consumer::Consumer;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use delivery::Delivery;
pub use error::{OpenError, PublishError, RecvError, SettleError};
pub use log::{Damage, DamageKind, Recovery};
pub use message::{Message, Priority, Published};
pub use queue::{Queue, Start};
pub use stats::QueueStats;
