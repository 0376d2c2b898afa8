use std::error::Error;

/// Keeps what a migration has done, so that it outlives the process.
///
/// A [`Migration`](super::Migration) appends a record before each step takes effect,
/// and reads all of them back when it is resumed. It is the only one who uses its
/// journal, and holds no lock meanwhile.
///
/// What a journal promises:
///
/// * When `append` or `replace` has returned `Ok`, the records survive whatever the
///   journal is there to survive.
/// * `replay` gives the records in their order. Of an append that did not return `Ok`,
///   all of the record is there or nothing of it, and either is right. A journal that cannot
///   undo half of one must refuse every later append until it is opened anew.
/// * `replace` is all or nothing.
///
/// ```
/// use tenfold::router::migration::{Journal, MemoryJournal};
///
/// let mut journal = MemoryJournal::new();
/// journal.append(b"first")?;
/// journal.replace(&[b"second".to_vec(), b"third".to_vec()])?;
/// assert_eq!(journal.replay()?, [b"second".to_vec(), b"third".to_vec()]);
/// # Ok::<(), std::convert::Infallible>(())
/// ```
pub trait Journal: Send {
    /// What the journal says when it fails.
    type Error: Error + Send + Sync + 'static;

    /// Keeps one more record.
    ///
    /// # Errors
    /// The journal's own; the step is not taken then.
    fn append(&mut self, record: &[u8]) -> Result<(), Self::Error>;

    /// All records, the oldest first.
    ///
    /// # Errors
    /// The journal's own; nothing is resumed then.
    fn replay(&mut self) -> Result<Vec<Vec<u8>>, Self::Error>;

    /// Forgets all records and keeps these instead: fewer, that say the same.
    ///
    /// # Errors
    /// The journal's own; the records stay as they were then.
    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Self::Error>;
}

/// A journal of which nothing is known but that it is one.
pub(super) trait ErasedJournal: Send {
    fn append(&mut self, record: &[u8]) -> Result<(), Cause>;
    fn replay(&mut self) -> Result<Vec<Vec<u8>>, Cause>;
    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Cause>;
}

pub(super) type Cause = Box<dyn Error + Send + Sync>;

impl<J: Journal> ErasedJournal for J {
    fn append(&mut self, record: &[u8]) -> Result<(), Cause> {
        Journal::append(self, record).map_err(Into::into)
    }

    fn replay(&mut self) -> Result<Vec<Vec<u8>>, Cause> {
        Journal::replay(self).map_err(Into::into)
    }

    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Cause> {
        Journal::replace(self, records).map_err(Into::into)
    }
}
