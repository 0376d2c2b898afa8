use std::convert::Infallible;
use std::sync::Arc;

use super::journal::Journal;
use crate::sync::Mutex;

/// A journal in memory, which outlives the migration though not the process: for
/// tests, and for data that is gone with the process anyhow.
///
/// A clone is another handle to the same journal.
///
/// ```
/// use tenfold::router::migration::{MemoryJournal, Migration};
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).build()?);
/// let new = router.topology().edit().node("c").build()?;
/// let journal = MemoryJournal::new();
/// let migration = Migration::begin(&router, &new, journal.clone())?;
/// let parts = migration.parts().len();
/// drop(migration);
///
/// let resumed = Migration::resume(&router, journal)?;
/// assert_eq!(resumed.parts().len(), parts);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<Vec<u8>>>>);

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps only the first records: what a crash may leave.
    pub fn truncate(&self, records: usize) {
        self.0.lock().truncate(records);
    }
}

impl Journal for MemoryJournal {
    type Error = Infallible;

    fn append(&mut self, record: &[u8]) -> Result<(), Infallible> {
        self.0.lock().push(record.to_vec());
        Ok(())
    }

    fn replay(&mut self) -> Result<Vec<Vec<u8>>, Infallible> {
        Ok(self.0.lock().clone())
    }

    fn replace(&mut self, records: &[Vec<u8>]) -> Result<(), Infallible> {
        *self.0.lock() = records.to_vec();
        Ok(())
    }
}
