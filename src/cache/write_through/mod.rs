//! Write-through: the store first, then the cache, and one writer of a key at a
//! time.
//!
//! # The bad day
//!
//! Whoever changes the database and then the cache by hand has a connection that
//! breaks in the middle one day. The write was done, the answer was lost, and the
//! cache goes on showing the value of before, for as long as an entry lives:
//!
//! ```
//! use tenfold::cache::Cache;
//! use tenfold::cache::write_through::{WriteError, WriteThrough};
//! use tenfold::cache::writer::{Change, Faults, MemoryStore, Writer};
//! use tenfold::task::block_on;
//!
//! let faults = Faults::seeded(1);
//! let (cache, store) = (Cache::new(1000), MemoryStore::with_faults(faults.clone()));
//! let prices = WriteThrough::new(cache.clone(), store.clone());
//! prices.put("tea", 100)?;
//! let _ = faults.clone().uncertain(1.0); // every answer is lost from now on
//!
//! // By hand.
//! while store.get(&"tea") != Some(200) {
//!     if block_on(store.write(&"tea", &Change::Put(200))).is_ok() {
//!         cache.insert("tea", 200);
//!     }
//! }
//! assert_eq!(cache.get("tea"), Some(100)); // and the store says 200
//!
//! // Written through: what nobody knows, the cache does not claim to know.
//! assert!(matches!(prices.put("tea", 300), Err(WriteError::Uncertain(_))));
//! let price = cache.get_with("tea", || store.get(&"tea").unwrap())?;
//! assert_eq!(Some(price), store.get(&"tea"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The other bad day has two writers of one key. The store takes the first one's
//! value and then the second one's; the cache, the other way round. Here the
//! second has its turn when the first is done with both.
//!
//! # The idea
//!
//! ```text
//! put(k, v)   wait for the turn of k -> store.write(k, v)
//!             Ok           -> cache.insert(k, v)   -> Ok, next turn
//!             did nothing  ->                         Err, next turn
//!             who knows    -> cache.invalidate(k)  -> Err, next turn
//! ```
//!
//! Turns are taken in the same line that loads stand in, so threads and tasks
//! take turns with one another, a caller who leaves is stepped over, and one who
//! would wait for itself is told so. Writes of different keys do not wait for
//! each other.
//!
//! # What you can rely on
//!
//! * **A failed write changes nothing.** If the store says so ([`WriteError::Rejected`],
//!   [`WriteError::Unavailable`]), the cache is as it was.
//! * **An uncertain one drops the entry**: an answer that leaves it open, a
//!   time-out, a panic of the store, a future that is dropped in the middle. The
//!   entry is gone before the next writer of the key has its turn.
//! * **After `Ok` nobody reads an older value** from the cache, provided that all
//!   changes go through one write-through, and that readers either take what the
//!   cache has or load from the store. A load that began before is detached.
//! * **Writes of a key are ordered**: the cache gets them in the order in which
//!   the store did. Who waits is not served in order of arrival.
//! * **The store runs under no lock** and may call back: read, write other keys,
//!   load. If it writes the very key, or one whose own write waits for this one,
//!   it gets an error instead of a deadlock; a circle through other threads or
//!   tasks is out of sight.
//!
//! # What it costs
//!
//! Beside the store's call and the cache's: two short locks and two allocations, the
//! future of the call and what wakes a thread that waits for it; one more per key
//! with writers waiting, whose number nothing bounds but your callers. Nothing is
//! kept of a key after its last writer. A time-out adds a
//! sleeping timer.
//!
//! # What it is not
//!
//! No transaction: between the store's yes and the cache's update others read the
//! old value, while the writer has not been told `Ok`. And no shield against
//! answers that come late: a write that was given up may reach the store later,
//! after the next one; a store that must not take it needs a version to compare.
//! Other processes' caches learn of nothing.
//!
//! # References
//!
//! 1. N. Jouppi: *Cache Write Policies and Performance*, ISCA 1993.
//! 2. R. Nishtala et al.: *Scaling Memcache at Facebook*, NSDI 2013. Why a store
//!    and a cache that are changed one after the other drift apart.

mod builder;
mod error;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod stats;
mod through;
mod turns;

pub use builder::WriteThroughBuilder;
pub use error::{BuildError, WriteError};
pub use stats::WriteThroughStats;
pub use through::WriteThrough;
