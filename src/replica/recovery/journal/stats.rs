use std::fmt;

/// What a journal holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteJournalStats {
    /// How many writes it may hold.
    pub capacity: u64,
    /// How many it holds.
    pub held: u64,
    /// For how many more places are kept.
    pub begun: u64,
    /// How many were noted.
    pub recorded: u64,
    /// How many were forgotten because every replica had them, or they were recovered.
    pub trimmed: u64,
    /// How many were forgotten because it was full.
    pub forgotten: u64,
}

impl fmt::Display for WriteJournalStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} writes held, {} under way; {} noted, {} trimmed, {} forgotten",
            self.held, self.capacity, self.begun, self.recorded, self.trimmed, self.forgotten
        )
    }
}
