//! A second tier: a cache in front, a store of bytes that all nodes share behind,
//! and a backplane that tells the nodes what has changed.
//!
//! # The bad day
//!
//! Two nodes keep prices, each in a cache of its own. One of them changes a price
//! and drops its own copy. The other goes on selling at the old one, for as long
//! as its entry lives.
//!
//! ```
//! use std::time::Duration;
//! use tenfold::cache::Cache;
//! use tenfold::cache::tier::{MemoryBackplane, MemoryL2, PlainCodec, Tier};
//! use tenfold::time::ManualClock;
//!
//! let time = ManualClock::new();
//! let hour = Duration::from_secs(3600);
//! let alone = || {
//!     let cache = Cache::builder().max_entries(100).clock(time.clock());
//!     cache.time_to_live(hour).build()
//! };
//! let (a, b) = (alone()?, alone()?);
//! a.insert("apple", 3);
//! b.insert("apple", 3);
//! a.insert("apple", 4);
//! time.advance(hour / 2);
//! assert_eq!(b.get("apple"), Some(3)); // for another half an hour
//!
//! let (l2, backplane) = (MemoryL2::new(1000, time.clock()), MemoryBackplane::new(time.clock()));
//! let node = || {
//!     let cache = Cache::builder().max_entries(100).clock(time.clock());
//!     Tier::<String, u32>::builder(cache, l2.connect(), PlainCodec)
//!         .backplane(backplane.connect())
//!         .build()
//! };
//! let (a, b) = (node()?, node()?);
//! a.insert("apple".to_owned(), 3);
//! assert_eq!(b.get("apple"), Some(3)); // from the L2, and kept
//! a.insert("apple".to_owned(), 4);
//! assert_eq!(b.get("apple"), Some(4)); // b was told
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On the day after, the L2 dies in the middle of a change. What the node could
//! not say then it says when the L2 is back, unless somebody has said something
//! newer meanwhile:
//!
//! ```
//! # use std::time::Duration;
//! # use tenfold::cache::Cache;
//! # use tenfold::cache::tier::{MemoryL2, PlainCodec, Reached, Tier};
//! # use tenfold::time::ManualClock;
//! # let time = ManualClock::new();
//! # let l2 = MemoryL2::new(1000, time.clock());
//! # let node = |l2: &MemoryL2| {
//! #     let cache = Cache::builder().max_entries(100).clock(time.clock());
//! #     Tier::<String, u32>::builder(cache, l2.clone(), PlainCodec).build()
//! # };
//! let (to_a, to_b) = (l2.connect(), l2.connect());
//! let (a, b) = (node(&to_a)?, node(&to_b)?);
//! to_a.cut(true);
//! assert_eq!(a.insert("pear".to_owned(), 5), Reached::Here);
//! assert_eq!(a.get("pear"), Some(5)); // a dead L2 is nobody's error
//! to_a.cut(false);
//! a.tend();
//! assert_eq!(b.get("pear"), Some(5));
//! # Ok::<(), tenfold::cache::tier::TierBuildError>(())
//! ```
//!
//! # The idea
//!
//! Every change draws a [`Version`]: a wall clock that never falls behind a
//! version its node has seen. The L2 is a register per key that takes a change
//! only if it is newer than what lies there; an invalidation is a change too, and
//! leaves a tombstone. So changes may arrive late, twice, or in the wrong order.
//!
//! ```text
//! get         L1 good? take it. else L2: newer than all this node has heard of? decode, keep
//!             for what it has left. else load, and L2.set if it still holds what the read found
//! insert      note the version, queue it -> L1 -> L2.set if newer -> publish -> out of the queue
//! invalidate  the same, with a tombstone
//! a message   note its version; drop what L1 has that is older; detach a load under way
//! a number is missing      every older entry is suspect: asks the L2 before it is believed again
//! the L2 or the backplane fails      the change stays queued: last one per key, newest wins
//! ```
//!
//! A tag's invalidation is a tombstone of the tag's own, and so is the one of
//! everything: a value is good if it is newer than those of all its tags.
//!
//! # What you can rely on
//!
//! * **A failed L2 is a miss, never an error.** Its calls are bounded by
//!   [`timeout`], and left out while its [`Breaker`] is open. So is the
//!   backplane's. A hit in the cache in front calls neither, however slow they
//!   are.
//! * **How stale a read can be.** With the L2 answering, no read that begins more
//!   than [`l1_ttl`] after the L2 took a change returns an older value, whatever
//!   becomes of the messages. While a backplane delivers, it is the time a message
//!   takes. A node never returns less than its own last change.
//! * **How soon all nodes agree again.** When L2 and backplane work again, every
//!   node returns what the L2 has, the newest, after at most `breaker's open_for +
//!   heartbeat + reorder_window`, two intervals of your calls of [`tend`] and the
//!   time that a message takes; or after [`l1_ttl`], if that is less. Messages are
//!   numbered, and a sign of life says how many there were: that is how a node
//!   learns of one it has missed.
//! * **An invalidation beats a load**, on all nodes. A load, or a read of the L2,
//!   that began before an invalidation that was made here or heard from another
//!   node is not stored in the cache in front; and in the L2 a loaded value never
//!   takes the place of anything that came after its load began, heard of or not.
//! * **A change that was heard of holds** against an L2 that has not: its older
//!   value is not believed, for the last 65 536 changes ([`memory`]).
//! * **An L2 that loses its memory** gets no old value back: a queued value that
//!   was meant for it becomes an invalidation, since nobody can say any more what
//!   was there. What only the L2 had is lost.
//! * **Memory is bounded**: queued changes and their bytes ([`recovery`]), known
//!   changes and tags, known nodes (1024). Full, a queue becomes one invalidation
//!   of everything: what is lost are hits.
//! * **A cancelled call leaves nothing half done**: a change is queued before it
//!   is tried, so [`tend`] finishes it.
//! * **Your code** (codec, L2, backplane, loaders, what watches failures) runs
//!   under no lock. A panic in the L2 or the backplane is a failed call, one in
//!   decoding a miss, one in encoding reaches the caller and has changed nothing.
//!
//! What is proved of this by simulation, in virtual time with messages lost,
//! repeated, late and reordered, nodes cut off, an L2 that crashes and calls that
//! are cancelled: `tests/cache/tier_convergence.rs`.
//!
//! # In front of a source
//!
//! [`TieredReadThrough`] puts a [`ReadThrough`](super::read_through::ReadThrough)
//! in front, with all that it does on a bad day, and the L2 between it and its
//! source. Here both are down, and yesterday's price will do:
//!
//! ```
//! # use std::time::Duration;
//! # use tenfold::cache::Cache;
//! # use tenfold::cache::read_through::ReadThrough;
//! # use tenfold::cache::tier::{MemoryBackplane, MemoryL2, PlainCodec, TieredReadThrough};
//! # use tenfold::time::ManualClock;
//! # let time = ManualClock::new();
//! # let l2 = MemoryL2::new(1000, time.clock());
//! # let backplane = MemoryBackplane::new(time.clock());
//! let (to_l2, clock, opening) = (l2.connect(), time.clock(), time.now());
//! let minute = Duration::from_secs(60);
//! let prices = ReadThrough::<String, u32, _>::builder(
//!     Cache::builder().max_entries(100).clock(time.clock()),
//! )
//! .stale_on_error(60 * minute)
//! .loader(move |_| match clock.now() == opening {
//!     true => Ok(3),
//!     false => Err(std::io::Error::other("connection refused")),
//! });
//! let prices = TieredReadThrough::builder(prices, to_l2.clone(), PlainCodec)
//!     .backplane(backplane.connect())
//!     .l1_ttl(minute)
//!     .build()?;
//! assert_eq!(prices.get("apple")?, Some(3));
//! time.advance(minute);
//! assert_eq!(prices.get("apple")?, Some(3)); // the source is down: from the L2
//! to_l2.cut(true);
//! time.advance(minute);
//! let answer = prices.get_entry("apple")?;
//! assert!(answer.is_stale() && answer.value() == Some(&3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All above holds for it, with these differences:
//!
//! * A value lives for its time in the L2, and in front for what it has left
//!   there, [`l1_ttl`] at most: the two do not add up. An absence lives in front
//!   only, for `negative_ttl` or [`l1_ttl`], whichever is shorter.
//! * The L2 is asked before the source; its failures are misses. One that does
//!   not answer costs a load one [`timeout`], and is not written to then. One
//!   that is slow but answers costs that for reading the value, for each of its
//!   tags, and for writing.
//! * A refresh ahead of time goes to the source and replaces the L2's value,
//!   unless that has changed meanwhile.
//! * The L2 keeps neither weights nor validators, and nothing of an answer "not
//!   modified": that renews the value in front.
//! * After a gap everything in front is expired: it is asked for anew, first at
//!   the L2. An old value stands in only if neither the L2 nor the source has one
//!   to give; its invalidation may then be what was missed. The same is true of a
//!   loaded value that the L2 refused.
//! * A late or repeated message drops what is in front even if that is newer.
//! * Loaders for many keys are called with one key at a time: each is looked for
//!   in the L2 first.
//! * A [`guard`](super::read_through::ReadThroughBuilder::guard) is not told what
//!   other nodes insert.
//!
//! # What it costs
//!
//! 40 bytes per entry of a tier's own cache, beyond what that takes. A hit costs what one
//! of the [`Cache`](crate::cache::Cache) costs, plus an atomic load; an entry with tags that is
//! older than the last invalidation of any tag, a lock more. A read of the L2 is
//! one call, and one more per tag and [`l1_ttl`]` / 4`. A loaded value costs a
//! second call; a change costs one, one of the backplane, and allocates its key
//! and bytes. In the L2 a value has 11 bytes around it, and 2 more per tag and the
//! tag's name.
//!
//! No thread is started, except for the [`timer`] if you give none and use a clock
//! of the system; and nothing happens in the background. What is queued is told
//! when you call [`tend`], and one by one by calls that have just reached the L2.
//!
//! # What it is not
//!
//! Not consistent as a database is: a reader may be late by the times above, and
//! of two changes of a key made at once by nodes that cannot hear each other the
//! one with the later clock stays. Their clocks ([`wall_time`]) must therefore
//! agree better than changes follow each other; nodes that hear each other follow
//! the fastest of them. One clock that is years ahead takes all with it.
//!
//! Not durable: what is queued is lost with its process, and other nodes then
//! believe the L2 until its entry expires.
//!
//! A call of an L2 that blocks its thread cannot be timed out.
//!
//! # References
//!
//! 1. S. Kulkarni et al.: *Logical Physical Clocks*, OPODIS 2014. Versions.
//! 2. R. Nishtala et al.: *Scaling Memcache at Facebook*, NSDI 2013. Leases: a
//!    load that comes too late stores nothing.
//! 3. M. Nygard: *Release It!*, 2007. The circuit breaker.
//! 4. `FusionCache`, for .NET: two tiers, a backplane without values, recovery
//!    by key.
//!
//! [`timeout`]: TierBuilder::timeout
//! [`l1_ttl`]: TierBuilder::l1_ttl
//! [`memory`]: TierBuilder::memory
//! [`recovery`]: TierBuilder::recovery
//! [`timer`]: TierBuilder::timer
//! [`wall_time`]: TierBuilder::wall_time
//! [`tend`]: Tier::tend

mod backplane;
mod breaker;
mod builder;
mod call;
mod changes;
mod codec;
mod error;
mod far_half;
mod faults;
mod fetch;
mod frame;
mod front;
mod item;
mod known;
mod l2;
mod memory_backplane;
mod memory_l2;
mod message;
mod near;
mod peers;
mod reading;
mod recovery;
mod remote;
mod stats;
mod tag_records;
#[allow(clippy::module_inception, reason = "the block's main type")]
mod tier;
mod tiered_read_through;
mod version;

pub use backplane::{Backplane, Listener};
pub use breaker::{Breaker, BreakerState, Permit};
pub use builder::TierBuilder;
pub use call::CallError;
pub use codec::{Codec, Plain, PlainCodec, ValueCodec};
pub use error::TierBuildError;
pub use faults::Faults;
pub use item::{Item, Tiered};
pub use l2::{Applied, Found, L2, Record, When};
pub use memory_backplane::{MemoryBackplane, MemoryBackplaneError};
pub use memory_l2::{MemoryL2, MemoryL2Error};
pub use stats::TierStats;
pub use tier::{Reached, Tier};
pub use tiered_read_through::TieredReadThrough;
pub use version::{NodeId, Version};
