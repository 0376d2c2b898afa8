//! What a cache of another size would do, told from its own traffic.
//!
//! # The bad day
//!
//! Half of the look-ups miss, so the cache gets twice the memory, and a month's
//! budget later half of the look-ups still miss. The traffic goes round and
//! round over more keys than fit, and up to the size at which all of them do,
//! memory buys nothing. Elsewhere half of a cache could be given back and nobody
//! would notice. A hit ratio tells neither:
//!
//! ```
//! use tenfold::cache::{Cache, Policy};
//!
//! /// Asks 30 times for each of 1000 pages, always in the same order.
//! fn misses(entries: usize) -> Result<f64, Box<dyn std::error::Error>> {
//!     let builder = Cache::builder().max_entries(entries).policy(Policy::Lru).shards(1);
//!     let pages = builder.estimate_sizes().build()?;
//!     for page in (0..1000).cycle().take(30_000) {
//!         pages.get_with(page, || "text")?;
//!     }
//!     let sizing = pages.sizing().ok_or("it was asked for")?;
//!     assert_eq!(sizing.entries_for(0.10), Some(1000)); // known at any size
//!     Ok(1.0 - pages.stats().hit_ratio().unwrap_or(0.0))
//! }
//!
//! assert_eq!(misses(400)?, 1.0);
//! assert_eq!(misses(800)?, 1.0); // twice the memory, and nothing for it
//! assert!(misses(1000)? < 0.04); // `sizing` said so
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! A reference hits in an LRU cache if fewer other keys than it has entries were
//! used since the last use of its key. So one pass that finds this distance for
//! every reference tells the misses of all sizes at once (Mattson). It is found
//! for a sample: the keys whose hash falls below a threshold, with all their
//! references. Distances among them, divided by the share of keys that is sampled,
//! are those among all (SHARDS). When there are more keys than there is room for,
//! the threshold is lowered.
//!
//! Three things are done otherwise than in the paper. Look-ups that the sample
//! has too many or too few of are given to distances as *popular* keys have them,
//! instead of all to the shortest. A [cache](super::CacheBuilder::estimate_sizes)
//! keeps a pace: everything is noted in the beginning, less and less later; where
//! so few keys are left that chance would decide, it pauses instead. And a
//! distance that reaches back into a pause counts as *at least* so long.
//! `docs/decisions/sizing.md` has the measurements.
//!
//! # What you can rely on
//!
//! * **Off, it is not there**: a look-up has one instruction more.
//! * **On, it is bounded**: a cache follows its first 32 768 references, then ever
//!   fewer, in the end one in 128; never more than 14 336 keys.
//! * **Its lock is its own**, taken for sampled keys only and never while a shard
//!   is locked. None of your code runs under it.
//! * Few enough keys are told exactly.
//!
//! # What it costs
//!
//! In the long run under a nanosecond per look-up, after 15 ms or so in all that
//! are spread over the first 4 million. At most 450 kB per cache, allocated as
//! keys come; a [`SizeEstimator`] of `n` keys takes at most 40 `n` + 110 000
//! bytes, and 70 ns for a key it follows.
//!
//! # What it is not
//!
//! * **The curve is that of LRU.** The default policy does better, on loops and
//!   scans much better: read the curve as what a size brings at least, and as
//!   where more entries stop to bring anything. The misses of the present size are
//!   in [`stats`](super::Cache::stats).
//! * It counts entries. With a weigher, multiply by the mean weight.
//! * Entries leave for want of room only, or because they were removed. Those
//!   that expire are counted as if they had stayed: the curve is too low by what
//!   expiry costs.
//! * Details finer than `1 / rate` entries are guesses, and a step of the curve
//!   may lie a few percent beside its place.
//! * It tells of all the traffic since the cache was built, not of the last hour.
//! * A cache that is asked for a handful of keys only, or only written to, may
//!   stay in a pause until somebody calls [`sizing`](super::Cache::sizing).
//!
//! # References
//!
//! 1. R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger: *Evaluation Techniques
//!    for Storage Hierarchies*, IBM Systems Journal 9, 1970.
//! 2. C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad: *Efficient MRC
//!    Construction with SHARDS*, FAST 2015.
//! 3. E. L. Kaplan, P. Meier: *Nonparametric Estimation from Incomplete
//!    Observations*, J. Am. Stat. Assoc. 53, 1958.

mod curve;
mod distances;
mod estimator;
mod pace;
mod sample;
mod stack;
mod tally;
mod watch;

pub use curve::MissRatioCurve;
pub use estimator::SizeEstimator;
pub(super) use sample::Use;
pub(super) use watch::Watch;
