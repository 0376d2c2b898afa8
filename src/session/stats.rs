use std::fmt;

/// What a [`MemoryStore`](super::MemoryStore) holds and has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Sessions held now, those that are over and not yet swept included.
    pub held: u64,
    /// Sessions begun.
    pub created: u64,
    /// Loads that found a session.
    pub hits: u64,
    /// Loads that found none.
    pub misses: u64,
    /// Loads that found one that was over.
    pub over: u64,
    /// Data saved.
    pub saved: u64,
    /// Saves refused because somebody else had saved.
    pub conflicts: u64,
    /// Saves refused because the session was gone.
    pub gone: u64,
    /// Sessions that got a new token.
    pub cycled: u64,
    /// Sessions revoked.
    pub revoked: u64,
    /// Sessions that had to leave for others.
    pub evicted: u64,
    /// Sessions refused because there were too many.
    pub refused: u64,
    /// Sessions swept after their end.
    pub swept: u64,
    /// How often the clock was found set back.
    pub setbacks: u64,
}

impl fmt::Display for StoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} held; {} created, {} refused, {} evicted; loads: {} hits, {} misses, {} over; \
             saves: {} done, {} conflicts, {} gone; {} cycled, {} revoked, {} swept; {} setbacks",
            self.held,
            self.created,
            self.refused,
            self.evicted,
            self.hits,
            self.misses,
            self.over,
            self.saved,
            self.conflicts,
            self.gone,
            self.cycled,
            self.revoked,
            self.swept,
            self.setbacks,
        )
    }
}

/// The places of the counters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Created,
    Hits,
    Misses,
    Over,
    Saved,
    Conflicts,
    Gone,
    Cycled,
    Revoked,
    Evicted,
    Refused,
    Swept,
}

pub(super) const COUNTS: usize = Count::Swept as usize + 1;
