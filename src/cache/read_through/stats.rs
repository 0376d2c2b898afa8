use std::fmt;

use crate::cache::CacheStats;
use crate::stats::Counters;

/// What a [`ReadThrough`](super::ReadThrough) has done since it was built.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::read_through::ReadThrough;
///
/// let squares: ReadThrough<u64, u64> = ReadThrough::builder(Cache::builder().max_entries(10))
///     .loader(|r| Ok(r.key() * r.key()))
///     .build()?;
/// squares.get(&4)?;
/// squares.get(&4)?;
/// let stats = squares.stats();
/// assert_eq!((stats.cache.hits, stats.loads), (1, 1));
/// println!("{stats}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadThroughStats {
    /// Of the cache below. A hit is a look-up that was answered at once.
    pub cache: CacheStats,
    /// Loads that brought a value.
    pub loads: u64,
    /// Loads that found nothing under their key.
    pub absent: u64,
    /// Loads that found the old value still valid.
    pub not_modified: u64,
    /// Loads that failed.
    pub failures: u64,
    /// Calls of the loader for several keys at once; each key counts above too.
    pub batches: u64,
    /// Look-ups answered by the knowledge that there is nothing.
    pub negative_hits: u64,
    /// Look-ups the guard answered.
    pub guarded: u64,
    /// Answers with a stale value because the load failed.
    pub stale_for_failed: u64,
    /// Answers with a stale value because the load was slow.
    pub stale_for_slow: u64,
    /// Callers that were told of a timeout.
    pub timeouts: u64,
    /// Refreshes started ahead of the end of an entry.
    pub refreshes: u64,
    /// Refreshes not started, and loads run by their caller without a timeout,
    /// because the executor was full.
    pub executor_full: u64,
}

impl fmt::Display for ReadThroughStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} loads, {} absent, {} not modified, {} failed, in {} batches; {} refreshed ahead; \
             {} stale for a failure, {} for a slow load, {} timed out; {} known absent, {} guarded; \
             executor full {} times; {}",
            self.loads,
            self.absent,
            self.not_modified,
            self.failures,
            self.batches,
            self.refreshes,
            self.stale_for_failed,
            self.stale_for_slow,
            self.timeouts,
            self.negative_hits,
            self.guarded,
            self.executor_full,
            self.cache,
        )
    }
}

/// What is counted, by its place among the counters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Loads,
    Absent,
    NotModified,
    Failures,
    Batches,
    NegativeHits,
    Guarded,
    StaleForFailed,
    StaleForSlow,
    Timeouts,
    Refreshes,
    ExecutorFull,
}

/// The layer's own counters.
pub(super) struct Tally(Counters<12>);

impl Tally {
    pub(super) fn new() -> Self {
        Self(Counters::new())
    }

    pub(super) fn count(&self, what: Count) {
        self.0.add(what as usize, 1);
    }

    pub(super) fn stats(&self, cache: CacheStats) -> ReadThroughStats {
        let get = |what: Count| self.0.get(what as usize);
        ReadThroughStats {
            cache,
            loads: get(Count::Loads),
            absent: get(Count::Absent),
            not_modified: get(Count::NotModified),
            failures: get(Count::Failures),
            batches: get(Count::Batches),
            negative_hits: get(Count::NegativeHits),
            guarded: get(Count::Guarded),
            stale_for_failed: get(Count::StaleForFailed),
            stale_for_slow: get(Count::StaleForSlow),
            timeouts: get(Count::Timeouts),
            refreshes: get(Count::Refreshes),
            executor_full: get(Count::ExecutorFull),
        }
    }
}
