use super::node::{Node, NodeId};
use super::topology::Topology;
use crate::hash::StableKey;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How busy each node is, for [`Topology::route_bounded`]: counted up when work
/// begins and down when it ends, by any thread.
///
/// ```
/// use tenfold::router::{Loads, Topology};
///
/// let topology = Topology::builder().nodes(["a", "b", "c", "d"]).build()?;
/// let loads = Loads::new(&topology);
/// // Everyone wants the same key, and nobody gets more than 1.25 times the mean.
/// for _ in 0..1000 {
///     loads.begin(topology.route_bounded("celebrity", &loads, 1.25));
/// }
/// assert!(topology.nodes().all(|(node, _)| loads.of(node) <= 313));
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug)]
pub struct Loads {
    /// By id.
    nodes: Box<[AtomicU64]>,
    total: AtomicU64,
}

impl Loads {
    /// No load on any node of this topology. Nodes of later ones are not counted.
    pub fn new(topology: &Topology) -> Self {
        Self {
            nodes: (0..topology.node_bound())
                .map(|_| AtomicU64::new(0))
                .collect(),
            total: AtomicU64::new(0),
        }
    }

    /// Notes that a node was given something to do.
    pub fn begin(&self, node: NodeId) {
        if let Some(load) = self.nodes.get(node.index()) {
            load.fetch_add(1, Ordering::Relaxed);
            self.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that it is done. What was not begun is not counted.
    pub fn end(&self, node: NodeId) {
        let less = |load: u64| load.checked_sub(1);
        if let Some(load) = self.nodes.get(node.index())
            && load
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_ok()
        {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How much a node has to do.
    pub fn of(&self, node: NodeId) -> u64 {
        self.nodes
            .get(node.index())
            .map_or(0, |load| load.load(Ordering::Relaxed))
    }

    /// How much all have to do.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

impl Topology {
    /// The first node, in the key's order of preference, whose load stays within
    /// `factor` times its share of all load: for caches, where a key may lie on
    /// another node for a while, and none must melt.
    ///
    /// A factor of 1.25 is usual; below 1, or not a number, it is taken for 1. Each
    /// node that is full costs a draw, so that with a factor of 1.25 it is about five
    /// draws when all are nearly full, whatever the number of nodes (Mirrokni,
    /// Thorup, Zadimoghaddam, *Consistent hashing with bounded loads*; Chen et al.,
    /// *Revisiting consistent hashing with bounded loads*: jumps instead of the next
    /// in line).
    pub fn route_bounded(&self, key: impl StableKey, loads: &Loads, factor: f64) -> NodeId {
        let factor = if factor > 1.0 { factor } else { 1.0 };
        let all = factor * (loads.total() + 1) as f64 / self.0.total_weight as f64;
        let has_room = |id: NodeId| {
            let weight = self.node(id).map_or(0, Node::relative_weight);
            (loads.of(id) as f64) < (all * weight as f64).ceil()
        };
        self.route_where(&key, has_room)
            .unwrap_or_else(|| self.route(&key))
    }
}
