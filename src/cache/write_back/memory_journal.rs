use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Journal, Record};
use crate::cache::writer::{Faults, InjectedFault};
use crate::sync::Mutex;

/// A journal in memory that outlives the write-back, though not the process: for
/// tests.
///
/// A clone is another handle to the same journal, so a test drops a write-back
/// and opens the next over it. [`Faults`] make it fail; when they kill the
/// process, [`power_cut`](Self::power_cut) forgets what a disk may forget.
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::{MemoryJournal, WriteBack};
/// use tenfold::cache::writer::MemoryStore;
///
/// let (journal, store) = (MemoryJournal::new(), MemoryStore::new());
/// let open = || {
///     WriteBack::builder(Cache::new(100), store.clone())
///         .journal(journal.clone())
///         .build()
/// };
/// let visits = open()?;
/// visits.put("home", 1)?;
/// drop(visits); // never flushed, never closed
/// assert_eq!((store.len(), journal.len()), (0, 1));
/// open()?.flush()?;
/// assert_eq!((store.get(&"home"), journal.len()), (Some(1), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryJournal<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    kept: Mutex<Kept<K, V>>,
    faults: Faults,
}

struct Kept<K, V> {
    records: BTreeMap<u64, Record<K, V>>,
    /// Records whose acks the next append makes durable, in the order of the
    /// acks.
    acked: Vec<Record<K, V>>,
}

impl<K, V> MemoryJournal<K, V> {
    /// An empty journal that always works.
    pub fn new() -> Self {
        Self::with_faults(Faults::none())
    }

    /// An empty journal that fails as these faults say.
    pub fn with_faults(faults: Faults) -> Self {
        let kept = Kept {
            records: BTreeMap::new(),
            acked: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                kept: Mutex::new(kept),
                faults,
            }),
        }
    }

    /// How many records were appended and not acked.
    pub fn len(&self) -> usize {
        self.shared.kept.lock().records.len()
    }

    /// Whether every record was acked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the last acks, this many at most and none from before the last
    /// append: what a disk may lose that is not synced for acks.
    pub fn power_cut(&self, acks: usize) {
        let mut kept = self.shared.kept.lock();
        let from = kept.acked.len().saturating_sub(acks);
        let back = kept.acked.split_off(from);
        let synced = std::mem::take(&mut kept.acked);
        for record in back {
            kept.records.insert(record.sequence, record);
        }
        drop(kept);
        drop(synced);
    }
}

impl<K, V> Journal<K, V> for MemoryJournal<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Error = InjectedFault;

    async fn append(&self, records: &[Record<K, V>]) -> Result<(), InjectedFault> {
        let fate = self.shared.faults.next(records.len());
        fate.pause().await;
        let copies = records[..fate.done].to_vec();
        let mut kept = self.shared.kept.lock();
        let synced = if copies.is_empty() {
            Vec::new()
        } else {
            std::mem::take(&mut kept.acked)
        };
        for record in copies {
            kept.records.insert(record.sequence, record);
        }
        drop(kept);
        drop(synced);
        fate.fault.map_or(Ok(()), Err)
    }

    async fn ack(&self, sequences: &[u64]) -> Result<(), InjectedFault> {
        let fate = self.shared.faults.next(sequences.len());
        fate.pause().await;
        let mut kept = self.shared.kept.lock();
        for sequence in &sequences[..fate.done] {
            if let Some(record) = kept.records.remove(sequence) {
                kept.acked.push(record);
            }
        }
        drop(kept);
        fate.fault.map_or(Ok(()), Err)
    }

    async fn replay(
        &self,
        show: &mut (dyn FnMut(Record<K, V>) + Send),
    ) -> Result<(), InjectedFault> {
        let fate = self.shared.faults.next(1);
        fate.pause().await;
        if let Some(fault) = fate.fault {
            return Err(fault);
        }
        let records: Vec<_> = self.shared.kept.lock().records.values().cloned().collect();
        records.into_iter().for_each(show);
        Ok(())
    }
}

impl<K, V> Default for MemoryJournal<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for MemoryJournal<K, V> {
    /// Another handle to the same journal.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V> fmt::Debug for MemoryJournal<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal")
            .field("unacked", &self.len())
            .finish_non_exhaustive()
    }
}
