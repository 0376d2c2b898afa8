use std::ops::Range;
use std::sync::Arc;

use crate::hash::StableKey;
use crate::router::NodeId;
use crate::router::router::InForce;

/// The keys of a read, sorted by the node to ask, all by one topology.
pub(super) struct Division<K> {
    pub(super) epoch: u64,
    pub(super) keys: Arc<Vec<K>>,
    /// Where each of `keys` stood when it was given.
    pub(super) positions: Vec<u32>,
    pub(super) shards: Vec<Shard>,
    pub(super) parts: Vec<Part>,
}

/// One node's keys.
pub(super) struct Shard {
    pub(super) node: NodeId,
    pub(super) keys: Range<usize>,
    pub(super) parts: Range<usize>,
}

/// Those of a node's keys whose second copy lies on the same node, too.
pub(super) struct Part {
    pub(super) second: Option<NodeId>,
    pub(super) keys: Range<usize>,
}

impl<K: StableKey> Division<K> {
    /// Divides by node, and if it may come to that, within each by the node of the second
    /// copy. At most 2^32 keys.
    pub(super) fn by_key(seen: &InForce, keys: Vec<K>, hedged: bool) -> Self {
        let groups = seen.group_by_node(&keys);
        let mut division = Self {
            epoch: seen.topology().epoch(),
            keys: Arc::default(),
            positions: Vec::new(),
            shards: Vec::new(),
            parts: Vec::new(),
        };
        let mut end = 0;
        for (node, positions) in groups.iter() {
            let keys = end..end + positions.len();
            end = keys.end;
            division.add(node, keys);
        }
        division.positions = groups.into_positions();
        if hedged && seen.topology().replica_count() > 1 {
            division.divide_by_second(seen, &keys);
        }
        let mut unsorted: Vec<_> = keys.into_iter().map(Some).collect();
        let sorted = division.positions.iter();
        let sorted = sorted.filter_map(|&at| unsorted[at as usize].take());
        division.keys = Arc::new(sorted.collect());
        division
    }

    fn divide_by_second(&mut self, seen: &InForce, keys: &[K]) {
        self.parts.clear();
        let second = |at: u32| seen.replicas(&&keys[at as usize]).get(1).copied();
        let mut by_second = Vec::new();
        for shard in &mut self.shards {
            let positions = &mut self.positions[shard.keys.clone()];
            by_second.clear();
            by_second.extend(positions.iter().map(|&at| (second(at), at)));
            by_second.sort_unstable();
            for (position, (_, at)) in positions.iter_mut().zip(&by_second) {
                *position = *at;
            }
            let (first, mut start) = (self.parts.len(), shard.keys.start);
            for part in by_second.chunk_by(|a, b| a.0 == b.0) {
                let keys = start..start + part.len();
                start = keys.end;
                let second = part[0].0;
                self.parts.push(Part { second, keys });
            }
            shard.parts = first..self.parts.len();
        }
    }
}

impl<K> Division<K> {
    fn add(&mut self, node: NodeId, keys: Range<usize>) {
        let part = self.parts.len();
        self.parts.push(Part {
            second: None,
            keys: keys.clone(),
        });
        self.shards.push(Shard {
            node,
            keys,
            parts: part..part + 1,
        });
    }

    /// Where each key lies among the sorted ones, in the order in which they were given.
    pub(super) fn places(&self) -> Vec<u32> {
        let mut places = vec![0; self.positions.len()];
        for (place, at) in self.positions.iter().enumerate() {
            places[*at as usize] = place as u32;
        }
        places
    }
}

impl Division<NodeId> {
    /// Every node for itself, in the order of names.
    pub(super) fn of_nodes(seen: &InForce) -> Self {
        let keys: Vec<_> = seen.nodes();
        let mut division = Self {
            epoch: seen.topology().epoch(),
            positions: (0..keys.len() as u32).collect(),
            keys: Arc::default(),
            shards: Vec::new(),
            parts: Vec::new(),
        };
        for (at, node) in keys.iter().enumerate() {
            division.add(*node, at..at + 1);
        }
        division.keys = Arc::new(keys);
        division
    }
}
