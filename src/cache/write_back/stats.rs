use std::fmt;
use std::time::Duration;

/// What a write-back has done since it was built, and what it holds now.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::WriteBack;
/// use tenfold::cache::writer::MemoryStore;
///
/// let visits = WriteBack::builder(Cache::new(10), MemoryStore::new()).build()?;
/// for count in 0..5 {
///     visits.put("home", count)?;
/// }
/// visits.flush()?;
/// let stats = visits.stats();
/// assert_eq!((stats.accepted, stats.coalesced, stats.written), (5, 4, 1));
/// println!("{stats}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBackStats {
    /// Changes accepted, replayed ones included.
    pub accepted: u64,
    /// Changes read back from the journal when it was opened.
    pub replayed: u64,
    /// Changes that never went to the store, since a newer one came first.
    pub coalesced: u64,
    /// Records that the store has confirmed.
    pub written: u64,
    /// Calls to the store.
    pub batches: u64,
    /// Attempts that failed and are repeated.
    pub retries: u64,
    /// Records that the store refused for good.
    pub refused: u64,
    /// Changes turned away since there was no room.
    pub turned_away: u64,
    /// Changes that waited for room.
    pub waited: u64,
    /// Calls to the journal that failed.
    pub journal_failures: u64,
    /// Panics of store, journal, cache listeners or the handler of refused
    /// records.
    pub panics: u64,
    /// Records that the store does not have now, refused ones left out.
    pub dirty: usize,
    /// Refused records that nobody has taken yet.
    pub aside: usize,
    /// Acks that the journal has not been given yet.
    pub unacked: usize,
    /// How long the oldest of the dirty records has waited: what a crash may
    /// cost without a journal.
    pub oldest: Option<Duration>,
}

impl fmt::Display for WriteBackStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted ({} replayed), {} coalesced, {} written in {} batches; {} retries, \
             {} refused, {} turned away, {} waited, {} journal failures, {} panics; \
             {} dirty, {} aside, {} unacked, oldest {:.1?}",
            self.accepted,
            self.replayed,
            self.coalesced,
            self.written,
            self.batches,
            self.retries,
            self.refused,
            self.turned_away,
            self.waited,
            self.journal_failures,
            self.panics,
            self.dirty,
            self.aside,
            self.unacked,
            self.oldest.unwrap_or_default(),
        )
    }
}
