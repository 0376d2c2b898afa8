use std::fmt;

/// What a write-through has done since it was built.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_through::WriteThrough;
/// use tenfold::cache::writer::MemoryStore;
///
/// let names = WriteThrough::new(Cache::new(100), MemoryStore::new());
/// names.put(1, "Ada").unwrap();
/// names.delete(1).unwrap();
/// let stats = names.stats();
/// assert_eq!((stats.puts, stats.deletes, stats.failures()), (1, 1, 0));
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteThroughStats {
    /// Values that the store confirmed.
    pub puts: u64,
    /// Deletions that the store confirmed.
    pub deletes: u64,
    /// Writes that the store refused for good.
    pub rejected: u64,
    /// Writes that the store could not take.
    pub unavailable: u64,
    /// Writes of which nobody knows: the store said so, panicked, or was not
    /// waited for. Each dropped an entry.
    pub uncertain: u64,
    /// Those of the uncertain ones that ran into the time-out.
    pub timed_out: u64,
}

impl WriteThroughStats {
    /// Writes that the store did not confirm.
    pub fn failures(&self) -> u64 {
        self.rejected + self.unavailable + self.uncertain
    }
}

impl fmt::Display for WriteThroughStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} puts, {} deletes; {} rejected, {} unavailable, {} uncertain ({} timed out)",
            self.puts,
            self.deletes,
            self.rejected,
            self.unavailable,
            self.uncertain,
            self.timed_out,
        )
    }
}

pub(super) const PUTS: usize = 0;
pub(super) const DELETES: usize = 1;
pub(super) const REJECTED: usize = 2;
pub(super) const UNAVAILABLE: usize = 3;
pub(super) const UNCERTAIN: usize = 4;
pub(super) const TIMED_OUT: usize = 5;
