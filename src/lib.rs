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
//! | The same, where nothing shall be cached: a report, a token, a rate | [`singleflight`] |
//! | Everything loaded together expires together (avalanche) | [`cache`]: jitter, on by default for loads |
//! | A scan of the whole table washes out what is popular | [`cache::Policy::Adaptive`], the default |
//! | A value read before a change is stored after it | [`cache::Cache::invalidate`] |
//! | One change is shown on pages cached under many keys | [`cache::tagged`] |
//! | The store is slow, or down | [`cache::read_through`] |
//! | Several nodes cache the same, and one of them changes it | [`cache::tier`] |
//! | Strangers ask for what does not exist (penetration) | [`bloom`] in a [`cache::Guard`] |
//! | The same event arrives again and again, for an hour | [`bloom::RotatingBloomFilter`] |
//! | A write to the store fails half-way, and the cache shows another value | [`cache::write_through`] |
//! | Every change is a write to the store; a crash loses those held back | [`cache::write_back`], with a `queue_journal` |
//! | A fifth database, and the hash moves four rows of five | [`router`] |
//! | A row that was written while its shard was copied is gone | [`router::migration`] |
//! | One key has a quarter of all requests (celebrity, hot key) | [`router::HotKeys`] |
//! | A page reads ten shards, and one of them is slow | [`router::scatter`] |
//! | A post is written ten million times, once per follower | [`router::timeline`] |
//! | One server of ten fails fast, and gets most of the requests | `balance` |
//! | A primary dies, comes back, and takes writes that nobody will see | `replica` |
//! | A user saves a page, and a replica shows the old one | `replica::CausalToken` |
//! | A primary dies, and what it had acknowledged is on its disk only | `postgres::recovery` |
//! | The process dies, and with it the jobs it had accepted | [`queue`] |
//! | A read model counts an event twice, or cannot be made anew | [`queue::projection`] |
//! | Somebody logs out, and a slower request logs them in again | `session` |
//! | A server restarts, and its users are logged out | `session::sticky` |
//! | Redis is down for a second, and everybody is logged out | `redis::RedisStore`, `postgres::sessions`, `session::web` |
//! | The same, and pages shall go on working | `session::serve_stale` |
//! | Two tabs refresh with one token, and the user is thrown out | `session::token` |
//! | Disk code was never tried on a disk that fails | [`queue::storage`], with `SimDisk` |
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
//! | `balance` | yes | [`balance`], [`hash`], [`task`] |
//! | `bloom` | yes | [`bloom`], [`hash`] |
//! | `cache` | yes | [`cache`], [`hash`], [`task`] |
//! | `postgres` | no | `postgres`, `replica` |
//! | `postgres-sessions` | no | `postgres::sessions`, `postgres`, `session`, [`cache`] |
//! | `queue` | yes | [`queue`], [`hash`], [`task`] |
//! | `redis` | no | `redis`, `session`, [`cache`], [`hash`], [`task`] |
//! | `replica` | yes | [`replica`], [`balance`], [`hash`], [`task`] |
//! | `router` | yes | [`router`], [`hash`], [`task`] |
//! | `session` | no | `session`, [`hash`] |
//! | `singleflight` | yes | [`singleflight`], [`hash`], [`task`] |
//! | `sticky` | no | `session::sticky`, `session`, [`router`] |
//! | `test-util` | no | `queue::storage::SimDisk` |
//! | `tower`, `axum` | no | `session::web`, `session` |
//! | `tower-sessions` | no | `session::TowerSessions`, `session` |
//!
//! With `cache` and `queue` there is [`queue_journal`], which joins them; with `cache` and `session`, `session::serve_stale`.
//!
//! Without any feature there are [`time`] and [`rng`].
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "balance")]
pub mod balance;
#[cfg(feature = "bloom")]
pub mod bloom;
#[cfg(feature = "cache")]
pub mod cache;
#[cfg(any(
    feature = "balance",
    feature = "bloom",
    feature = "cache",
    feature = "queue",
    feature = "router",
    feature = "session",
    feature = "singleflight"
))]
pub mod hash;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(all(feature = "cache", feature = "queue"))]
pub mod queue_journal;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "replica")]
pub mod replica;
pub mod rng;
#[cfg(feature = "router")]
pub mod router;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "singleflight")]
pub mod singleflight;
#[cfg(any(feature = "balance", feature = "cache", feature = "session"))]
mod stats;
#[cfg(any(
    feature = "balance",
    feature = "cache",
    feature = "queue",
    feature = "router",
    feature = "session",
    feature = "singleflight"
))]
mod sync;
#[cfg(any(
    feature = "balance",
    feature = "cache",
    feature = "queue",
    feature = "router",
    feature = "singleflight"
))]
pub mod task;
pub mod time;

/// The examples of the README run as tests.
#[cfg(all(doctest, feature = "cache"))]
#[doc = include_str!("../README.md")]
struct Readme;
