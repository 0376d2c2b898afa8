use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use super::part::Part;
use super::store::{Row, Store};
use crate::router::topology::Topology;
use crate::sync::Mutex;

/// Nodes in memory: for tests, and to see what a [`Store`] must do.
///
/// A clone is another handle to the same nodes.
///
/// ```
/// use tenfold::router::Topology;
/// use tenfold::router::migration::{MemoryStore, Row};
///
/// let store = MemoryStore::new(&Topology::builder().nodes(["a", "b"]).build()?);
/// store.write("a", Row { key: (*b"k").into(), version: 2, value: Some((*b"new").into()) });
/// store.write("a", Row { key: (*b"k").into(), version: 1, value: None }); // too late
/// assert_eq!(store.read("a", b"k").unwrap().version, 2);
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStore {
    /// Says which keys are in a part.
    topology: Topology,
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
}

type Node = BTreeMap<Box<[u8]>, Row>;

impl MemoryStore {
    /// Empty nodes, for migrations from or to this topology or its like.
    pub fn new(topology: &Topology) -> Self {
        Self {
            topology: topology.clone(),
            nodes: Arc::default(),
        }
    }

    /// Writes a row to a node, unless that has one of the same version or a higher.
    pub fn write(&self, node: &str, row: Row) {
        let mut nodes = self.nodes.lock();
        let rows = nodes.entry(node.to_owned()).or_default();
        let newer = |there: &Row| there.version < row.version;
        if rows.get(&row.key).is_none_or(newer) {
            rows.insert(row.key.clone(), row);
        }
    }

    /// The row of a key on a node, be it a tombstone.
    pub fn read(&self, node: &str, key: &[u8]) -> Option<Row> {
        self.nodes.lock().get(node)?.get(key).cloned()
    }

    /// Removes a row from a node, without a tombstone.
    pub fn delete(&self, node: &str, key: &[u8]) {
        if let Some(rows) = self.nodes.lock().get_mut(node) {
            rows.remove(key);
        }
    }

    /// All rows of a node.
    pub fn rows(&self, node: &str) -> Vec<Row> {
        let nodes = self.nodes.lock();
        let rows = nodes.get(node).into_iter();
        rows.flat_map(|rows| rows.values().cloned()).collect()
    }

    fn take(&self, node: &str, part: &Part, limit: usize, which: impl Fn(&Row) -> bool) -> usize {
        let mut nodes = self.nodes.lock();
        let Some(rows) = nodes.get_mut(node) else {
            return 0;
        };
        let here = |row: &&Row| part.contains_bytes(&self.topology, &row.key) && which(row);
        let keys: Vec<_> = rows
            .values()
            .filter(here)
            .take(limit)
            .map(|row| row.key.clone())
            .collect();
        for key in &keys {
            rows.remove(key);
        }
        keys.len()
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn scan(
        &self,
        node: &str,
        part: &Part,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Infallible> {
        let nodes = self.nodes.lock();
        let Some(rows) = nodes.get(node) else {
            return Ok(Vec::new());
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows.range::<[u8], _>((from, Bound::Unbounded));
        let here = rows.filter(|(key, _)| part.contains_bytes(&self.topology, key));
        Ok(here.take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn get(&self, node: &str, key: &[u8]) -> Result<Option<Row>, Infallible> {
        Ok(self.read(node, key))
    }

    async fn apply(&self, node: &str, rows: &[Row]) -> Result<(), Infallible> {
        for row in rows {
            self.write(node, row.clone());
        }
        Ok(())
    }

    async fn remove(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Infallible> {
        Ok(self.take(node, part, limit, |_| true))
    }

    async fn purge(&self, node: &str, part: &Part, limit: usize) -> Result<usize, Infallible> {
        Ok(self.take(node, part, limit, |row| row.value.is_none()))
    }
}
