//! Bloom filters: sets that never lose a member, and take a few strangers for one,
//! at a rate that is chosen and kept.
//!
//! # The bad day
//!
//! Somebody asks for pages that do not exist, another one each time. No cache
//! helps, since what is not there cannot be cached: every request reaches the
//! database. A filter of the pages that do exist turns 99 of 100 away, for ten
//! bits per page:
//!
//! ```
//! use tenfold::bloom::BloomFilter;
//!
//! let mut queries = 0;
//! let mut database = |page: u64| {
//!     queries += 1;
//!     (page < 100_000).then_some("text")
//! };
//! (1_000_000..1_050_000).for_each(|page| assert!(database(page).is_none()));
//! assert_eq!(queries, 50_000); // without: one per request
//!
//! let mut pages = BloomFilter::with_rate(100_000, 0.01)?;
//! (0..100_000u64).for_each(|page| { pages.insert(&page); });
//! let mut queries = 0;
//! for page in (1_000_000..1_050_000u64).filter(|page| pages.contains(page)) {
//!     queries += 1;
//! }
//! assert!(queries < 600); // with: one in a hundred
//! # Ok::<(), tenfold::bloom::BuildError>(())
//! ```
//!
//! # Which one
//!
//! | You have | Take |
//! |---|---|
//! | a set that one owner fills and all read | [`BloomFilter`] |
//! | threads that fill it together | [`AtomicBloomFilter`] |
//! | no idea how many keys there will be | [`ScalableBloomFilter`] |
//! | keys that are to be forgotten after a while | [`RotatingBloomFilter`] |
//! | Parquet files | [`SplitBlockFilter`] |
//!
//! # The idea
//!
//! A textbook's filter sets seven bits per key anywhere in its memory: seven
//! cache misses to find a key, and a branch after each. Here a key has *one* cache
//! line, and one bit in each of the line's eight words. So one miss, one vector
//! test, no branch:
//!
//! ```text
//! hash = XXH3-64(canonical bytes of the key)
//! line = hash * lines / 2^64
//! bits = hash * 2^64/golden ratio
//! bit of word i = six bits of `bits`, from 16 + 6 i on     for i in 0..8
//! ```
//!
//! Some lines get more keys than others, and that costs: at ten bits per key
//! 1.05 % of strangers are found instead of 0.82 %. So sizes are computed from the
//! distribution of keys over lines, not by the textbook's formula, and the rate that
//! you ask for is the rate that you get. Below 2 × 10⁻⁴ the price is too high, and the
//! [standard layout](Layout::Standard) is taken. See [`Layout`] for the ways there are.
//!
//! # What you can rely on
//!
//! * **No false negatives.** What was inserted is found, by every instruction set,
//!   after a union, after being written and read, and while other threads insert.
//! * **The rate holds**: by theory it is at most the one requested, from one key to
//!   2^40; a rate that 64-bit hashes cannot meet is refused. [`current_rate`] computes
//!   from the bits what it is now.
//! * **The same everywhere.** Keys are hashed by their [canonical
//!   bytes](crate::hash::StableKey): a filter that one machine wrote finds its keys on
//!   another, in every version of this crate and of Rust.
//! * **Bytes are checked.** [`from_bytes`] refuses what was cut or changed, and what
//!   was filled with another seed, hash or layout, before it allocates anything.
//! * **Memory is bounded** from the start, or by [`max_bytes`](BloomBuilder::max_bytes).
//!
//! # What it costs
//!
//! | | bits per key at 1 % | 0.1 % | lines touched | allocations after `build` |
//! |---|---|---|---|---|
//! | [`Blocked`](Layout::Blocked) | 10.1 | 15.7 | 1 | none |
//! | [`Paired`](Layout::Paired) | 10.2 | 15.9 | 1 | none |
//! | [`Standard`](Layout::Standard) | 9.6 | 14.4 | 2 for a stranger, 7 to 10 for a member | none |
//!
//! No locks, except that a [`RotatingBloomFilter`] takes one to rotate. Times beside the
//! rivals' are in `docs/compare.md`. In a filter larger than the processor's caches
//! use [`insert_many`] and [`contains_many`]: they wait for the memory of 32 keys at
//! once.
//!
//! # What it is not
//!
//! No set: it cannot list its keys or delete one, since a bit may belong to several.
//! [`RotatingBloomFilter`] deletes by time. And no secret: who knows the seed, zero
//! unless set, can prepare strangers that are found; see [`BloomBuilder::seed`].
//!
//! # Bytes
//!
//! 64 bytes of header, the bits, 8 bytes of checksum; numbers are little-endian.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | `tenbloom` |
//! | 8 | 2 | version of the format, 1 |
//! | 10 | 1 | layout: 1 blocked, 2 paired, 3 standard, 4 split block |
//! | 11 | 1 | hash: 1 XXH3-64 of canonical bytes, 2 XXH64 |
//! | 12 | 1 | bits that a key sets |
//! | 13 | 3 | zero |
//! | 16 | 8 | seed |
//! | 24 | 8 | lines of 512 bits, or blocks of 256 |
//! | 32 | 8 | keys, estimated; for people, not read back |
//! | 40 | 24 | zero |
//! | 64 | | the bits: words of 64, or of 32 in a split block |
//! | last 8 | 8 | XXH3-64 of all bytes before, seed 0 |
//!
//! # References
//!
//! 1. B. H. Bloom, *Space/time trade-offs in hash coding with allowable errors*, CACM 1970.
//! 2. F. Putze, P. Sanders, J. Singler, *Cache-, hash- and space-efficient Bloom filters*, JEA 2009.
//! 3. J. Apple, *Split block Bloom filters*, 2021; the Apache Parquet format, *BloomFilter.md*.
//! 4. P. S. Almeida, C. Baquero, N. Preguiça, D. Hutchison, *Scalable Bloom filters*, IPL 2007.
//!
//! [`current_rate`]: BloomFilter::current_rate
//! [`from_bytes`]: BloomFilter::from_bytes
//! [`insert_many`]: BloomFilter::insert_many
//! [`contains_many`]: BloomFilter::contains_many

mod atomic;
mod builder;
mod bytes;
mod cell;
mod error;
mod filter;
mod instructions;
mod kernel;
mod layout;
mod line;
mod memory;
#[cfg(all(test, tenfold_shuttle))]
mod models;
mod rotating;
mod scalable;
mod shape;
mod sizing;
mod split_block;
mod stats;

pub use atomic::AtomicBloomFilter;
pub use builder::BloomBuilder;
pub use error::{BuildError, BytesError, Mismatch};
pub use filter::BloomFilter;
pub use instructions::InstructionSet;
pub use layout::Layout;
pub use rotating::{RotatingBloomFilter, RotatingBuilder};
pub use scalable::ScalableBloomFilter;
pub use split_block::SplitBlockFilter;
pub use stats::BloomStats;
