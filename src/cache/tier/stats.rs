use std::fmt;

use super::BreakerState;
use super::remote::Remote;
use crate::cache::CacheStats;
use crate::stats::Counters;

/// What a tier has done since it was built, and how it is now.
///
/// ```
/// use std::time::SystemTime;
/// use tenfold::cache::Cache;
/// use tenfold::cache::tier::{MemoryL2, PlainCodec, Tier};
/// use tenfold::time::Clock;
///
/// let l2 = MemoryL2::new(1000, Clock::coarse());
/// let tier: Tier<u32, String> = Tier::builder(Cache::builder().max_entries(10), l2, PlainCodec)
///     .wall_time(SystemTime::now())
///     .build()?;
/// tier.get_with(1, || "one".to_owned())?;
/// let stats = tier.stats();
/// assert_eq!((stats.loads, stats.l2_misses, stats.l2_hits), (1, 1, 0));
/// println!("{stats}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// The node's own cache. A suspect entry that is looked up counts as a hit
    /// there.
    pub l1: CacheStats,
    /// Values read from the L2.
    pub l2_hits: u64,
    /// Reads of the L2 that found nothing, or nothing to believe.
    pub l2_misses: u64,
    /// Values of the L2 that were older than a change this node had heard of.
    pub outdated: u64,
    /// Values of the L2 whose bytes could not be understood.
    pub corrupt: u64,
    /// Calls of the L2 that failed, late ones included.
    pub l2_failures: u64,
    /// Calls of the L2 that were not made, its breaker being open.
    pub l2_refused: u64,
    /// Suspect values returned because the L2 did not answer.
    pub unverified: u64,
    /// Loads that brought a value.
    pub loads: u64,
    /// Loads that failed or found nothing.
    pub load_failures: u64,
    /// Loaded values that were not stored, since the key had changed meanwhile.
    pub overtaken: u64,
    /// Messages sent.
    pub published: u64,
    /// Messages that could not be sent.
    pub publish_failures: u64,
    /// Messages heard from other nodes.
    pub heard: u64,
    /// Messages that could not be understood.
    pub strange: u64,
    /// Times at which messages were missed, so that all entries are suspect.
    pub gaps: u64,
    /// Changes that a newer one beat to the L2.
    pub superseded: u64,
    /// Changes that reached everyone at a later attempt.
    pub recovered: u64,
    /// Values of queued changes for which there was no room: the L2 gets an
    /// invalidation instead.
    pub values_dropped: u64,
    /// Times the queue was full and became one invalidation of everything.
    pub overflows: u64,
    /// Changes now that have not reached everyone.
    pub queued: u64,
    /// The breaker in front of the L2.
    pub l2: BreakerState,
    /// The breaker in front of the backplane.
    pub backplane: BreakerState,
}

impl fmt::Display for TierStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "L1: {}; L2 {}: {} hits, {} misses, {} outdated, {} corrupt, {} failed, {} refused, \
             {} unverified; {} loads, {} failed, {} overtaken; backplane {}: {} published, \
             {} failed, {} heard, {} strange, {} gaps; {} queued, {} recovered, {} superseded, \
             {} values dropped, {} overflows",
            self.l1,
            self.l2,
            self.l2_hits,
            self.l2_misses,
            self.outdated,
            self.corrupt,
            self.l2_failures,
            self.l2_refused,
            self.unverified,
            self.loads,
            self.load_failures,
            self.overtaken,
            self.backplane,
            self.published,
            self.publish_failures,
            self.heard,
            self.strange,
            self.gaps,
            self.queued,
            self.recovered,
            self.superseded,
            self.values_dropped,
            self.overflows,
        )
    }
}

impl Remote {
    /// What it has done and how it is, behind a cache of which this is known.
    pub(super) fn stats(&self, l1: CacheStats) -> TierStats {
        let get = |event| self.counts.get(event);
        TierStats {
            l1,
            l2_hits: get(Event::L2Hit),
            l2_misses: get(Event::L2Miss),
            outdated: get(Event::Outdated),
            corrupt: get(Event::Corrupt),
            l2_failures: get(Event::L2Failure),
            l2_refused: get(Event::L2Refused),
            unverified: get(Event::Unverified),
            loads: get(Event::Load),
            load_failures: get(Event::LoadFailure),
            overtaken: get(Event::Overtaken),
            published: get(Event::Published),
            publish_failures: get(Event::PublishFailure),
            heard: get(Event::Heard),
            strange: get(Event::Strange),
            gaps: get(Event::Gap),
            superseded: get(Event::Superseded),
            recovered: get(Event::Recovered),
            values_dropped: get(Event::ValueDropped),
            overflows: get(Event::Overflow),
            queued: self.queue.lock().len() as u64,
            l2: self.l2_breaker.state(),
            backplane: self.backplane_breaker.state(),
        }
    }
}

/// What is counted on the way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    L2Hit,
    L2Miss,
    Outdated,
    Corrupt,
    L2Failure,
    L2Refused,
    Unverified,
    Load,
    LoadFailure,
    Overtaken,
    Published,
    PublishFailure,
    Heard,
    Strange,
    Gap,
    Superseded,
    Recovered,
    ValueDropped,
    Overflow,
}

/// One counter per event.
pub(super) struct Counts(Counters<{ Event::Overflow as usize + 1 }>);

impl Counts {
    pub(super) fn new() -> Self {
        Self(Counters::new())
    }

    pub(super) fn count(&self, event: Event) {
        self.0.add(event as usize, 1);
    }

    pub(super) fn get(&self, event: Event) -> u64 {
        self.0.get(event as usize)
    }
}
