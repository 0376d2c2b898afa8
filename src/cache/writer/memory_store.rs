use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::{Change, Failure, Faults, InjectedFault, Writer};
use crate::hash::TableHasher;
use crate::sync::Mutex;

/// A store in memory that fails as it is told: for tests.
///
/// A clone is another handle to the same store. It survives what its
/// [`Faults`] call a crash, as a database on another machine does, and keeps a
/// log of every change that reached it, so it grows with each.
///
/// ```
/// use tenfold::cache::writer::{Change, Faults, MemoryStore, Writer};
/// use tenfold::task::block_on;
///
/// let faults = Faults::none();
/// let store = MemoryStore::with_faults(faults.clone());
/// assert!(block_on(store.write(&1, &Change::Put("one"))).is_ok());
/// faults.set_down(true);
/// assert!(block_on(store.write(&1, &Change::Delete)).is_err());
/// assert_eq!(store.get(&1), Some("one"));
/// assert_eq!(store.log(), [(1, Change::Put("one"))]);
/// ```
pub struct MemoryStore<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    rows: Mutex<Rows<K, V>>,
    faults: Faults,
    refuses: Refuses<K, V>,
}

type Refuses<K, V> = Box<dyn Fn(&K, &Change<V>) -> bool + Send + Sync>;

struct Rows<K, V> {
    now: HashMap<K, V, TableHasher>,
    log: Vec<(K, Change<V>)>,
    calls: u64,
}

impl<K, V> MemoryStore<K, V> {
    /// An empty store that always works.
    pub fn new() -> Self {
        Self::with_faults(Faults::none())
    }

    /// An empty store that fails as these faults say.
    pub fn with_faults(faults: Faults) -> Self {
        Self::refusing(faults, |_, _| false)
    }

    /// An empty store that, besides, refuses some records for ever.
    pub fn refusing(
        faults: Faults,
        refuses: impl Fn(&K, &Change<V>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let rows = Rows {
            now: HashMap::with_hasher(TableHasher::random()),
            log: Vec::new(),
            calls: 0,
        };
        Self {
            shared: Arc::new(Shared {
                rows: Mutex::new(rows),
                faults,
                refuses: Box::new(refuses),
            }),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.shared.rows.lock().now.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many changes reached the store.
    pub fn writes(&self) -> usize {
        self.shared.rows.lock().log.len()
    }

    /// How many calls reached it: a batch is one.
    pub fn calls(&self) -> u64 {
        self.shared.rows.lock().calls
    }
}

impl<K: Hash + Eq + Clone, V: Clone> MemoryStore<K, V> {
    /// The value of a record.
    pub fn get(&self, key: &K) -> Option<V> {
        self.shared.rows.lock().now.get(key).cloned()
    }

    /// Every change that reached the store, in the order in which they did.
    pub fn log(&self) -> Vec<(K, Change<V>)> {
        self.shared.rows.lock().log.clone()
    }

    async fn change(&self, key: &K, change: &Change<V>) -> Result<(), Failure<InjectedFault>> {
        let fate = self.shared.faults.next(1);
        fate.pause().await;
        let refused = (self.shared.refuses)(key, change);
        if fate.done > 0 && !refused {
            let (row, change) = (key.clone(), change.clone());
            let mut rows = self.shared.rows.lock();
            rows.log.push((row.clone(), change.clone()));
            let old = match change {
                Change::Put(value) => rows.now.insert(row, value),
                Change::Delete => rows.now.remove(&row),
            };
            drop(rows);
            drop(old);
        }
        match fate.fault {
            Some(fault @ (InjectedFault::TimedOut | InjectedFault::Crashed)) => {
                Err(Failure::Uncertain(fault))
            }
            Some(fault) => Err(Failure::Unavailable(fault)),
            None if refused => Err(Failure::Rejected(InjectedFault::Refused)),
            None => Ok(()),
        }
    }
}

impl<K, V> Writer<K, V> for MemoryStore<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Error = InjectedFault;

    async fn write(&self, key: &K, change: &Change<V>) -> Result<(), Failure<InjectedFault>> {
        self.shared.rows.lock().calls += 1;
        self.change(key, change).await
    }

    async fn write_many(
        &self,
        batch: &[(K, Change<V>)],
    ) -> Vec<Result<(), Failure<InjectedFault>>> {
        self.shared.rows.lock().calls += 1;
        let mut answers = Vec::with_capacity(batch.len());
        for (key, change) in batch {
            answers.push(self.change(key, change).await);
        }
        answers
    }
}

impl<K, V> Default for MemoryStore<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for MemoryStore<K, V> {
    /// Another handle to the same store.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, V> fmt::Debug for MemoryStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.len())
            .field("writes", &self.writes())
            .finish_non_exhaustive()
    }
}
