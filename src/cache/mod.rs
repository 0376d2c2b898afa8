//! A bounded concurrent cache: one load per key, expiry that does not come all
//! at once, and an eviction policy that learns from the traffic.
//!
//! # The bad day
//!
//! A service restarts and fills its cache within a second. Each entry lives for
//! a minute, so a minute later all of them are gone in the same second, and the
//! database gets the traffic of everyone at once. And every minute after that.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::cache::{Cache, CacheBuilder};
//! use tenfold::time::{Jitter, ManualClock};
//!
//! /// Reads 1000 pages every second for five minutes: the most queries in a second.
//! fn worst_second(builder: CacheBuilder<u32, &str>) -> Result<u64, Box<dyn std::error::Error>> {
//!     let time = ManualClock::new();
//!     let builder = builder.max_entries(1000).time_to_live(Duration::from_secs(60));
//!     let pages = builder.clock(time.clock()).seed(1).build()?;
//!     let mut worst = 0;
//!     for second in 0..300 {
//!         let before = pages.stats().loads;
//!         for page in 0..1000 {
//!             pages.get_with(page, || "text")?;
//!         }
//!         worst = worst.max(if second > 0 { pages.stats().loads - before } else { 0 });
//!         time.advance(Duration::from_secs(1));
//!     }
//!     Ok(worst)
//! }
//!
//! assert_eq!(worst_second(Cache::builder().jitter(Jitter::none()))?, 1000);
//! assert!(worst_second(Cache::builder())? < 250); // as it comes: spread over six seconds
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The other bad day is a hundred callers who miss the same key together. Here
//! one of them asks the database, and the others get its answer:
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use tenfold::cache::Cache;
//!
//! let (pages, queries) = (Cache::new(1000), AtomicU32::new(0));
//! let query = || queries.fetch_add(1, Ordering::Relaxed);
//! std::thread::scope(|scope| {
//!     for _ in 0..100 {
//!         scope.spawn(|| pages.get_with("/", query));
//!     }
//! });
//! assert_eq!(queries.into_inner(), 1);
//! ```
//!
//! # The idea
//!
//! The cache is split by hash into shards, each a lock around a table. The
//! table's buckets hold 32 entries each, with a byte of hash, a byte of past and
//! two bytes of age per entry side by side, so a look-up touches two places in
//! memory and the entry to evict is found by a glance over two buckets: no
//! lists, no queues. What to evict is not a rule but a measurement: the cache
//! counts how soon and how surely entries of each kind of past are used again,
//! and lets go of what is worth least. See [`Policy`] for the choices.
//!
//! A load is a *flight* noted beside the table, under the same lock, so that
//! "there is no value, so I load" is one step. Whatever changes the key
//! meanwhile detaches the flight: its value reaches those who wait and nobody
//! else.
//!
//! # What you can rely on
//!
//! * **Bounds are never exceeded**, not for a moment and not by one entry:
//!   room is made before an entry is stored. (A lowered bound holds once
//!   [`resize`] has returned.) A cache of several shards may leave up to a 64th of
//!   its bounds unused, held ready by shards that do not need it just then; one of
//!   fewer than 4096 entries uses all. Both [`max_entries`] and [`max_weight`]
//!   may be set. An entry heavier than the cache is refused and
//!   handed back; zero entries is a valid bound and stores nothing.
//! * **An expired entry is never returned**, as the cache's clock tells the
//!   time. Its memory comes back without anybody asking for it: every insertion
//!   sweeps a bucket of its shard, and every 32nd call a bucket of the shards in
//!   turn, so that about as many calls as the cache has slots sweep all of it,
//!   whatever they ask for. [`purge_expired`] does it at once.
//! * **One load per key**, however many callers; threads and tasks share it. If
//!   the loader panics or its task is dropped, exactly one of those who wait
//!   runs its own; nobody hangs, nobody else panics. An error goes to all who
//!   waited, as `Arc<E>`, and is not stored.
//! * **An invalidation beats a load.** After [`invalidate`], [`remove`],
//!   [`insert`], [`invalidate_all`] or [`invalidate_if`] has returned, no value
//!   whose load began before the call is stored, or given to a caller who comes
//!   later. The last two detach every load under way, whatever its key.
//! * **So does a lease.** Who goes to the store in its own code takes one from
//!   [`get_or_lease`]; what it brings too late is refused.
//! * **A loader that asks for its own key gets an error**, not a deadlock, and
//!   so does one that closes a circle of loaders.
//! * **Your code runs outside the locks**: loaders, listener, weigher, expiry,
//!   predicates and the drops of what is removed. They may call back into the
//!   cache, and a panic in one leaves the cache whole. The exceptions are `Hash`
//!   and `Eq` of keys and `Clone` of what is read, which a map cannot do without:
//!   they run under a shard's lock, so they must not touch the same cache.
//! * **Chosen keys do not degrade it**: hashes are keyed per cache.
//! * **No background thread.** Upkeep is spread over the calls.
//!
//! # Expiry and jitter
//!
//! | | inserted | loaded |
//! |---|---|---|
//! | [`jitter`] not set | exactly the time to live | 0 to 10 % shorter |
//! | [`jitter`] set | spread as given | spread as given |
//! | [`insert_with_deadline`] | exactly then | |
//!
//! The default only shortens: nothing outlives the time its owner wrote. How
//! much depends on the key and on a seed drawn per cache, so that two
//! processes do not expire together either; with [`seed`] it is the same in
//! every run. Values stored by [`compute`] count as loaded. What an [`Expiry`] or
//! [`insert_with_ttl`] says for one entry is spread only if [`jitter`] was set.
//!
//! The default clock is [`Clock::coarse`]: on Linux it is late by up to a tick
//! of the kernel (1 to 10 ms), so an entry may live that much longer. If
//! that matters use [`Clock::system`], at 20 ns more per look-up. Entries without
//! any expiry never read a clock.
//!
//! # What it costs
//!
//! Per slot, and a table fills 28 of 32 slots before it grows:
//!
//! ```text
//! bytes per entry = 32/28 * ( size_of::<Option<(K, V)>>()  the slot; + 8 at most
//!                           + 4                            tag, past and age
//!                           + 6 adaptive | 8 lru, fifo | 12 lfu
//!                           + 8 with a time to live        from the first use on
//!                           + 8 with a time to idle
//!                           + 4 with a weigher )
//! ```
//!
//! For `u64` keys and values under the default policy that is 39 bytes, 23 of
//! them beyond the entry itself. A shard that gets more than its share of the
//! keys has an eighth more slots. While a table grows, the old and the new one of
//! that shard exist together. A smaller bound frees entries, not their slots;
//! [`invalidate_all`] and [`drain`] give those back too. The first [`get_ref`] of
//! an entry moves its value into an allocation of its own.
//!
//! | Call | Locks taken |
//! |---|---|
//! | [`get`], [`peek`], [`remove`], [`insert`] | 1 |
//! | [`get_with`], value there | 1 |
//! | [`get_with`], value loaded, nobody waiting | 3, and no allocation |
//! | [`compute`], [`get_or_lease`] and its insertion | 2 |
//! | [`len`], [`weight`], [`stats`] | 1 per shard, one after the other |
//! | [`iter`], [`invalidate_if`], [`retain`] | copies one shard at a time |
//!
//! A weigher or an [`Expiry`] adds one to those that load, an [`Expiry`] one to
//! those that store, and two to a read. If one shard has nothing left to evict, a
//! store visits others. By default there are eight shards per processor, but none
//! with fewer than 2048 entries.
//!
//! # Choosing a policy
//!
//! Stay with [`Policy::Adaptive`] unless you know better. The others do exactly
//! what their names say, per shard (with [`shards`]`(1)`, over the whole cache):
//! [`Policy::Lru`] and [`Policy::Fifo`] in constant time, [`Policy::Lfu`] in
//! the logarithm of the number of distinct counts. LFU never forgets: what was
//! popular last year stays.
//!
//! # Strategies
//!
//! Layers over the one cache, each usable alone; what is not used costs nothing.
//!
//! | | |
//! |---|---|
//! | Look-aside whose late set is refused | [`get_or_lease`] |
//! | Read-through; a slow, a dead, a changing store | [`read_through`] |
//! | What does not exist | [`negative_ttl`](read_through::ReadThroughBuilder::negative_ttl), [`Guard`] |
//! | Write-through, write-back | [`write_through`], [`write_back`] |
//! | Invalidation by tag or namespace | [`tagged`] |
//! | A second tier, shared by many nodes | [`tier`] |
//! | How large it should be | [`sizing`] |
//!
//! # What it is not
//!
//! Not durable, not shared between processes, and no map: whatever you put in
//! may be gone when you look. It returns clones, so keep large values in an `Arc`
//! or use [`get_ref`]. Under the adaptive policy a tiny cache (a few dozen
//! entries) has little to learn from.
//!
//! A loader that hands its work to another thread or task and waits for it is
//! out of sight: if that work asks for the same key, both wait for ever.
//!
//! # Coming from moka
//!
//! | moka | here |
//! |---|---|
//! | `sync::Cache`, `future::Cache` | one [`Cache`]; the async calls end in `_async` |
//! | `max_capacity(n)` | [`max_entries`]`(n)`; with a weigher [`max_weight`]`(n)` |
//! | `time_to_live`, `time_to_idle`, `weigher` | the same |
//! | `expire_after(expiry)` | the same; the methods of [`Expiry`] take no instants |
//! | `build()` | `build()?`: mistakes are errors |
//! | `eviction_policy(EvictionPolicy::lru())` | [`policy`]`(Policy::Lru)` |
//! | `eviction_listener(\|Arc<K>, V, cause\|)` | `eviction_listener(\|K, V, cause\|)`; not told of [`remove`] |
//! | `get_with(k, f)` gives `V` | gives `Result`: a loader may ask for its own key |
//! | `try_get_with` gives `Result<V, Arc<E>>` | gives `Result<V, LoadError<E>>` |
//! | `optionally_get_with(k, f)` gives `Option<V>` | gives `Result<Option<V>, _>` |
//! | `future::Cache::get_with(k, future)` | [`get_with_async`]`(k, \|\| future)` |
//! | `entry(k).and_compute_with`, `Op` | [`compute`], [`Compute`] |
//! | `invalidate_entries_if(f)`, later | [`invalidate_if`]`(f)`, at once, with any closure |
//! | `insert` gives nothing | gives the value before |
//! | `entry_count()`, `weighted_size()`, about | [`len`], [`weight`], exactly |
//! | `run_pending_tasks()` | not needed; [`purge_expired`] |
//!
//! Expect: bounds that hold at every moment; loaded values that live up to 10 %
//! shorter than written (`.jitter(Jitter::none())` for moka's behaviour); evictions
//! and the listener on the calling thread, at once.
//!
//! # Coming from `quick_cache`
//!
//! | `quick_cache` | here |
//! |---|---|
//! | `Cache::new(n)`, `get`, `peek`, `insert`, `retain` | the same; `insert` gives the value before |
//! | `with_weighter(n, w, weighter)` | [`max_weight`]`(w).`[`weigher`]`(f)` |
//! | `get_or_insert_with(&k, f)` | [`try_get_with`]`(k, f)` |
//! | `get_or_insert_async(&k, future)` | [`try_get_with_async`]`(k, \|\| future)` |
//! | `get_value_or_guard` | [`try_get_with`] or [`compute`] |
//! | `remove(&k)` gives the pair | [`remove_entry`] |
//! | `Lifecycle` | [`eviction_listener`](CacheBuilder::eviction_listener) |
//! | `clear()` | [`invalidate_all`] |
//! | `hits()`, `misses()` | [`stats`] |
//! | `set_capacity(n)` | [`resize`], [`resize_weight`](Cache::resize_weight) |
//!
//! Expect: an error goes to all who waited for it, instead of being retried by
//! each in turn.
//!
//! # References
//!
//! 1. N. Beckmann, H. Chen, A. Cidon: *LHD: Improving Cache Hit Rate by
//!    Maximizing Hit Density*, NSDI 2018. Ranking entries by learned density.
//! 2. J. C. Gittins: *Bandit Processes and Dynamic Allocation Indices*, J. R.
//!    Stat. Soc. B 41, 1979. The worth of waiting.
//! 3. N. Megiddo, D. Modha: *ARC: A Self-Tuning, Low Overhead Replacement
//!    Cache*, FAST 2003. Remembering what was evicted.
//! 4. K. Shah, A. Mitra, D. Matani: *An O(1) algorithm for implementing the LFU
//!    cache eviction scheme*, 2010.
//! 5. Go's `golang.org/x/sync/singleflight`: one computation for many callers.
//!
//! [`max_entries`]: CacheBuilder::max_entries
//! [`max_weight`]: CacheBuilder::max_weight
//! [`weigher`]: CacheBuilder::weigher
//! [`jitter`]: CacheBuilder::jitter
//! [`policy`]: CacheBuilder::policy
//! [`seed`]: CacheBuilder::seed
//! [`shards`]: CacheBuilder::shards
//! [`Clock::coarse`]: crate::time::Clock::coarse
//! [`Clock::system`]: crate::time::Clock::system
//! [`compute`]: Cache::compute
//! [`drain`]: Cache::drain
//! [`get`]: Cache::get
//! [`get_or_lease`]: Cache::get_or_lease
//! [`get_ref`]: Cache::get_ref
//! [`get_with`]: Cache::get_with
//! [`get_with_async`]: Cache::get_with_async
//! [`insert`]: Cache::insert
//! [`insert_with_deadline`]: Cache::insert_with_deadline
//! [`insert_with_ttl`]: Cache::insert_with_ttl
//! [`invalidate`]: Cache::invalidate
//! [`invalidate_all`]: Cache::invalidate_all
//! [`invalidate_if`]: Cache::invalidate_if
//! [`iter`]: Cache::iter
//! [`len`]: Cache::len
//! [`peek`]: Cache::peek
//! [`purge_expired`]: Cache::purge_expired
//! [`remove`]: Cache::remove
//! [`remove_entry`]: Cache::remove_entry
//! [`resize`]: Cache::resize
//! [`retain`]: Cache::retain
//! [`stats`]: Cache::stats
//! [`try_get_with`]: Cache::try_get_with
//! [`try_get_with_async`]: Cache::try_get_with_async
//! [`weight`]: Cache::weight

mod adaptive;
mod age;
mod budget;
mod builder;
#[allow(clippy::module_inception)]
mod cache;
mod compute;
mod core;
mod error;
mod expiry;
mod ghosts;
mod guard;
mod iter;
mod layer;
mod learner;
mod lease;
mod lists;
mod load;
mod load_key;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod order;
mod policy;
pub mod read_through;
mod removal;
mod shard;
pub mod sizing;
mod stats;
mod store;
mod table;
pub mod tagged;
mod tags;
pub mod tier;
pub mod write_back;
pub mod write_through;
pub mod writer;

pub use builder::CacheBuilder;
pub use cache::{Cache, ValueRef};
pub use compute::{Compute, Computed};
pub use error::{BuildError, Refused};
pub use expiry::Expiry;
pub use guard::{Guard, GuardStats, RebuildError};
pub use iter::{Iter, Snapshot};
pub use layer::Layer;
pub use lease::{Lease, Lookup};
pub use policy::Policy;
pub use removal::RemovalCause;
pub use stats::CacheStats;

pub use crate::sync::flight::LoadError;
