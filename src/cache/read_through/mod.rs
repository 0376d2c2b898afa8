//! Read-through: the cache knows its store, loads what is missing, and goes on
//! answering while the store is slow or down.
//!
//! # The bad day
//!
//! The store is down for five minutes. Entries live for one, so after a minute
//! every page fails, although yesterday's text would have done.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::cache::Cache;
//! use tenfold::cache::read_through::{ReadThrough, ReadThroughBuilder};
//! use tenfold::time::ManualClock;
//!
//! type Pages = ReadThroughBuilder<u32, &'static str, &'static str>;
//!
//! /// Reads 100 pages every second for ten minutes: errors shown, queries sent.
//! fn ten_minutes(with: fn(Pages) -> Pages) -> Result<(u32, u64), Box<dyn std::error::Error>> {
//!     let time = ManualClock::new();
//!     let (clock, opening) = (time.clock(), time.now());
//!     let pages = ReadThrough::builder(Cache::builder().max_entries(100).clock(time.clock()))
//!         .time_to_live(Duration::from_secs(60))
//!         .loader(move |_| match clock.now().saturating_since(opening).as_secs() {
//!             120..420 => Err("connection refused"),
//!             _ => Ok("text"),
//!         });
//!     let (pages, mut errors) = (with(pages).build()?, 0);
//!     for _second in 0..600 {
//!         errors += (0..100).filter(|page| pages.get(page).is_err()).count() as u32;
//!         time.advance(Duration::from_secs(1));
//!     }
//!     let stats = pages.stats();
//!     Ok((errors, stats.loads + stats.failures))
//! }
//!
//! let (errors, queries) = ten_minutes(|pages| pages)?;
//! assert!(errors > 25_000 && queries > 25_000); // of 60 000 answers; and no mercy for the store
//! let resilient = |pages: Pages| {
//!     pages.stale_on_error(Duration::from_secs(3600)).throttle(Duration::from_secs(30))
//! };
//! let (errors, queries) = ten_minutes(resilient)?;
//! assert!(errors == 0 && queries < 2_500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! An entry has two ends. Until the first it is *fresh*; until the second it is
//! kept although it is stale, to be shown to the loader, and to *stand in* if
//! that fails or dawdles. What is kept under a key is a [`Cached`]: a value, or
//! the knowledge that there is none, and how fresh that is.
//!
//! ```text
//! loaded        refresh due              fresh until                        kept until
//!   |-------------- · · · · · · · · · · · · · |----------------------------------|
//!      answers     answers, one refresh       stale: loads; stands in if that
//!                  in the background          fails or is slow                     gone
//! ```
//!
//! A look-up that finds a fresh entry is a look-up in the [`Cache`](super::Cache)
//! and nothing else. Any other becomes a *flight* in that cache's own table of
//! loads: one per key, shared by threads and tasks, and detached by whatever
//! changes the key.
//!
//! | Knob | What it does | The others call it |
//! |---|---|---|
//! | [`negative_ttl`] | remembers that there is nothing | negative caching, null object |
//! | [`guard`] | a filter says so before the store is asked | bloom guard |
//! | [`refresh_ahead`] | loads anew before an entry's end | eager refresh, soft TTL, `XFetch` |
//! | [`stale_on_error`], [`throttle`] | serves what was there if a load fails | fail-safe, grace period, stale-if-error |
//! | [`soft_timeout`] | the same if it is slow, and something is there | stale-while-revalidate |
//! | [`hard_timeout`] | an error if it is slow, and nothing is | |
//! | [`keep_stale`] | shows the loader what was there | conditional requests, 304 |
//! | [`Loaded`] | a time to live, a weight, tags of this entry alone | adaptive caching |
//!
//! # What you can rely on
//!
//! * **One load per key**, however many callers, as the cache below promises:
//!   it survives panics and cancellations, refuses re-entry, shares errors.
//! * **A change beats a load**, also one in the background: after [`insert`],
//!   [`invalidate`], [`expire`], [`invalidate_tag`] or [`clear`] has returned, no
//!   value whose load began before answers a caller who comes later.
//!   What was invalidated is never served again, not even as a stale value; what
//!   was [`expire`]d may stand in.
//! * **A stale value is served only instead of an error** or a wait beyond a
//!   timeout, and no longer than [`stale_on_error`] past its time.
//!   [`get_entry`] tells that it is one, and why.
//! * **A source that is down is left in peace**: while a value stands in, the
//!   source is asked once per key and [`throttle`].
//! * **A timeout ends the waiting, not the load.** That goes on in the
//!   executor, fills the cache, and is joined by who comes meanwhile.
//! * **A refresh is one load**, started by a request in time, and never waited
//!   for. If it fails the value stays, and another follows half-way to the
//!   entry's end, a few times at most.
//! * **An absence never overwrites a value** that was inserted while it was
//!   being found. An absence that is not remembered takes the old value away.
//! * **Memory is bounded** by the cache below. Stale values take room like
//!   others, and are evicted like others.
//!
//! # Threads, tasks and executors
//!
//! Loads run where they are asked for, on the caller's thread or in its task;
//! only those that may outlive their caller need an
//! [`Executor`](crate::task::Executor), and [`build`] says so: refreshes, and
//! calls that have a timeout. If it is full, a refresh is left for later, and a call
//! loads by itself and without a timeout; both are counted. A panic in the
//! background is the executor's to report; who waits gets
//! [`GetError::Abandoned`] or a stale value. An executor that drops the tasks it
//! holds does no other harm.
//!
//! A loader that blocks and is asked for by a task blocks that task's thread.
//! Tasks that wait with a timeout need a [`timer`]; under
//! [`Executor::caller_runs`](crate::task::Executor::caller_runs) nothing is in
//! the background, so no timeout ends a wait.
//!
//! # What it costs
//!
//! Per entry, 56 bytes beyond `Option<V>` and the cache's own; with tags or a
//! validator an allocation of 56 bytes, 8 per tag, and the validator.
//!
//! | Call | |
//! |---|---|
//! | [`get`] of a fresh entry | one lock, one reading of the clock, no allocation |
//! | [`get`] of a fresh entry with tags | after an invalidation of any tag: one cache line more per tag |
//! | [`get`] that loads | four locks, three clones of the key, two allocations |
//! | the same under a timeout | three allocations more |
//! | [`expire`], [`invalidate`] | one lock |
//! | [`invalidate_tag`] | a lock of the registry, whatever carries the tag |
//! | [`clear`] | a lock per shard |
//!
//! Early refresh by chance measures loads with the cache's clock: with
//! [`Clock::coarse`](crate::time::Clock::coarse), in steps of a few milliseconds.
//!
//! # What it is not
//!
//! It does not retry: a loader that should, does so itself. It does not limit how
//! many loads run at once. Everything in it is of one process; for a second tier,
//! see [`TieredReadThrough`](super::tier::TieredReadThrough).
//!
//! After a [`clear`] with `Clear::Expire` an entry counts as past its time
//! from when it is next asked for.
//!
//! # References
//!
//! 1. A. Vattani, F. Chierichetti, K. Lowenstein: *Optimal Probabilistic Cache
//!    Stampede Prevention*, VLDB 2015. Early refresh by chance.
//! 2. RFC 5861, *HTTP Cache-Control Extensions for Stale Content*.
//! 3. RFC 9110, section 13: conditional requests and validators.
//! 4. `FusionCache` for .NET, whose fail-safe, timeouts and adaptive caching named
//!    this set.
//!
//! [`build`]: ReadThroughBuilder::build
//! [`clear`]: ReadThrough::clear
//! [`expire`]: ReadThrough::expire
//! [`get`]: ReadThrough::get
//! [`get_entry`]: ReadThrough::get_entry
//! [`guard`]: ReadThroughBuilder::guard
//! [`hard_timeout`]: ReadThroughBuilder::hard_timeout
//! [`insert`]: ReadThrough::insert
//! [`invalidate`]: ReadThrough::invalidate
//! [`invalidate_tag`]: ReadThrough::invalidate_tag
//! [`keep_stale`]: ReadThroughBuilder::keep_stale
//! [`negative_ttl`]: ReadThroughBuilder::negative_ttl
//! [`refresh_ahead`]: ReadThroughBuilder::refresh_ahead
//! [`soft_timeout`]: ReadThroughBuilder::soft_timeout
//! [`stale_on_error`]: ReadThroughBuilder::stale_on_error
//! [`throttle`]: ReadThroughBuilder::throttle
//! [`timer`]: ReadThroughBuilder::timer

mod answer;
mod ask;
mod batch;
mod builder;
mod cached;
mod error;
mod loaded;
mod loader;
mod look_up;
#[allow(clippy::module_inception)]
mod read_through;
mod refresh_ahead;
mod request;
mod rules;
mod shared;
mod stats;

pub use answer::{Answer, Because, Origin};
pub use builder::ReadThroughBuilder;
pub use cached::Cached;
pub use error::{BuildError, GetError};
pub use loaded::Loaded;
pub(super) use loaded::News;
pub use loader::Loader;
pub(super) use loader::One;
pub use read_through::ReadThrough;
pub use refresh_ahead::RefreshAhead;
pub use request::Request;
pub use stats::ReadThroughStats;
