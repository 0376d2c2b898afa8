//! The building blocks that take a backend from one server to millions of
//! users. Each is a module that can be used alone, in one process, without a
//! server, a runtime or a background thread.
//!
//! # The map
//!
//! | What hurts | Block |
//! |---|---|
//! | The same answer is computed or fetched over and over | [`cache`] |
//! | A thousand callers miss the same key at once (stampede) | [`cache::Cache::get_with`] |
//! | Everything loaded together expires together (avalanche) | [`cache`]: jitter, on by default for loads |
//! | A scan of the whole table washes out what is popular | [`cache::Policy::Adaptive`], the default |
//! | A value read before a change is stored after it | [`cache::Cache::invalidate`] |
//! | Strangers choose the keys | [`hash::TableHasher`], keyed, in every table |
//! | A test has to wait for time to pass | [`time::ManualClock`] |
//!
//! Below the blocks lies what all of them share: [`time`], [`hash`] and
//! [`rng`]. Nothing in this crate asks the operating system for the time or for
//! randomness behind your back: clocks are handed in, and seeds can be.
//!
//! # Features
//!
//! One per block, all additive: a feature adds API and changes no behaviour.
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `cache` | yes | [`cache`], [`hash`] |
//!
//! Without any feature there are [`time`] and [`rng`].
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

/// The examples of the README run as tests.
#[cfg(all(doctest, feature = "cache"))]
#[doc = include_str!("../README.md")]
struct Readme;
