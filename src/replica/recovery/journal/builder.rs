use std::hash::{BuildHasher, RandomState};

use super::WriteJournal;
use super::ring::Ring;
use crate::sync::Mutex;

/// Makes a [`WriteJournal`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WriteJournalBuilder {
    pub(super) capacity: usize,
    pub(super) when_full: WhenFull,
    pub(super) sole_writer: bool,
    pub(super) seed: Option<u64>,
}

/// What a journal does when it is full of writes that some replica has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Forgets the oldest. They are counted, and a recovery's report names how many there were.
    #[default]
    ForgetOldest,
    /// Refuses the next write before it is made: [`JournalFull`](super::JournalFull).
    Refuse,
    /// Has the next write wait until there is room: a thread sleeps, a task is woken.
    Block,
}

impl WriteJournal<()> {
    /// A journal of the defaults: 65 536 writes, of which the oldest is forgotten.
    pub fn builder() -> WriteJournalBuilder {
        WriteJournalBuilder {
            capacity: 65_536,
            when_full: WhenFull::default(),
            sole_writer: false,
            seed: None,
        }
    }
}

impl WriteJournalBuilder {
    /// How many writes it holds.
    pub fn capacity(mut self, writes: usize) -> Self {
        self.capacity = writes;
        self
    }

    /// What happens when it is full.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// This process is the only one that writes to the database, and all that it writes is noted: a recovery from the journal is
    /// complete, as long as nothing was forgotten.
    pub fn sole_writer(mut self) -> Self {
        self.sole_writer = true;
        self
    }

    /// What the tags of its writes begin with, instead of chance. Two journals of one cluster must not have the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the journal.
    ///
    /// # Errors
    /// [`JournalError`] if it would hold nothing.
    pub fn build<W>(self) -> Result<WriteJournal<W>, JournalError> {
        if self.capacity == 0 {
            return Err(JournalError::Capacity);
        }
        let random = || RandomState::new().hash_one(0);
        let first_tag = self.seed.unwrap_or_else(random).max(1);
        Ok(WriteJournal {
            ring: Mutex::new(Ring::new(self.capacity, first_tag)),
            settings: self,
        })
    }
}

/// A journal that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It would hold nothing.
    #[error("a journal must hold at least 1 write, found a capacity of 0")]
    Capacity,
}
