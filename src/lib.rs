//! The building blocks that take a backend from one server to millions of users.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cache")]
pub mod cache;
#[cfg(feature = "cache")]
pub mod hash;
pub mod rng;
#[cfg(feature = "cache")]
mod stats;
#[cfg(feature = "cache")]
mod sync;
pub mod time;
