use super::node::NodeId;
use super::overrides::Exact;
use super::placement::{Placed, redis_slot};
use super::replicas::{Replicas, draw};
use super::topology::{Table, Topology};
use crate::hash::{CanonicalBytes, StableKey};

impl Topology {
    /// The node that a key lies on.
    ///
    /// One hash and one load from the table (for [`Range`](super::Policy::Range) and
    /// [`Ketama`](super::Policy::Ketama) a short search); no lock. Keys of up to 128
    /// bytes are routed without an allocation. Where something is
    /// [said](Self::override_of) about some keys, the others pay for a look at
    /// a mark, and those in a marked slot for a short search.
    #[inline]
    pub fn route(&self, key: impl StableKey) -> NodeId {
        let table = &*self.0;
        match &table.plain {
            Some(owners) => NodeId::from_raw(owners[slot(key.stable_hash(0), owners.len())]),
            None => table.owner_otherwise(&key),
        }
    }

    /// The nodes that a key's copies lie on: the primary first, all distinct.
    ///
    /// ```
    /// use tenfold::router::{Node, Spread, Topology};
    ///
    /// let topology = Topology::builder()
    ///     .nodes(["a1", "a2"].map(|name| Node::new(name).zone("a")))
    ///     .nodes(["b1", "b2"].map(|name| Node::new(name).zone("b")))
    ///     .replicas(2)
    ///     .distinct_zones(Spread::Require)
    ///     .build()?;
    /// let copies = topology.replicas("user:42");
    /// assert_eq!(copies[0], topology.route("user:42"));
    /// let zone = |id| topology.node(id).unwrap().zone_name();
    /// assert_ne!(zone(copies[0]), zone(copies[1]));
    /// # Ok::<(), tenfold::router::TopologyError>(())
    /// ```
    #[inline]
    pub fn replicas(&self, key: impl StableKey) -> Replicas {
        let table = &*self.0;
        match &table.plain {
            Some(owners) => table.replicas_at(slot(key.stable_hash(0), owners.len())),
            None => table.replicas_otherwise(&key),
        }
    }

    /// The first node, in the key's own order of preference, that is accepted:
    /// its copies' nodes, then all others, until there are none.
    ///
    /// While a node is refused, its keys go to all others in proportion to their
    /// weight, and everyone who refuses the same nodes agrees where. `accept` may be
    /// asked about a node more than once. Costs what [`replicas`](Self::replicas)
    /// does as long as one of those is accepted.
    ///
    /// ```
    /// use tenfold::router::Topology;
    ///
    /// let topology = Topology::builder().nodes(["a", "b", "c"]).build()?;
    /// let (home, dead) = (topology.route("user:42"), topology.route("user:42"));
    /// assert_eq!(topology.route_where("user:42", |_| true), Some(home));
    /// assert!(topology.route_where("user:42", |id| id != dead).is_some_and(|id| id != dead));
    /// assert_eq!(topology.route_where("user:42", |_| false), None);
    /// # Ok::<(), tenfold::router::TopologyError>(())
    /// ```
    pub fn route_where(
        &self,
        key: impl StableKey,
        mut accept: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        let table = &*self.0;
        let place = table.place(&key);
        let copies = match table.exact(&key) {
            Some(exact) => exact.copies,
            None => table.replicas_at(place),
        };
        if let Some(id) = copies.iter().find(|id| accept(**id)) {
            return Some(*id);
        }
        let seed = table.seed(place);
        // On a table, with half of the nodes refused, 64 draws miss once in 2^64.
        let drawn = (1..=64).map(|number| table.candidate(place, seed, number));
        let first = draw(seed, 0, table.nodes.len());
        let (before, after) = table.nodes.split_at(first);
        let all = after.iter().chain(before).map(|(id, _)| *id);
        drawn.chain(all).find(|id| accept(*id))
    }

    /// Routes many keys: `nodes` is emptied and then has the node of each.
    pub fn route_many<K: StableKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        nodes: &mut Vec<NodeId>,
    ) {
        nodes.clear();
        nodes.extend(keys.into_iter().map(|key| self.route(key)));
    }

    /// Sorts keys by node: for one call per node instead of one per key.
    ///
    /// ```
    /// use tenfold::router::Topology;
    ///
    /// let topology = Topology::builder().nodes(["a", "b", "c"]).build()?;
    /// let keys = ["x", "y", "z", "u", "v", "w"];
    /// let groups = topology.group_by_node(keys);
    /// for (node, positions) in groups.iter() {
    ///     assert!(positions.iter().all(|&at| topology.route(keys[at as usize]) == node));
    /// }
    /// assert_eq!(groups.iter().map(|(_, positions)| positions.len()).sum::<usize>(), 6);
    /// # Ok::<(), tenfold::router::TopologyError>(())
    /// ```
    pub fn group_by_node<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> Groups {
        let mut nodes = Vec::new();
        self.route_many(keys, &mut nodes);
        Groups::sorted(&nodes, self.node_bound())
    }

    /// The slot of a key, if the policy has slots; something may be
    /// [said](Self::override_of) about the key nevertheless.
    pub fn slot_of(&self, key: impl StableKey) -> Option<u32> {
        match &self.0.placed {
            Placed::Slots(_) | Placed::Redis(_) => Some(self.0.place(&key) as u32),
            Placed::Ranges(..) | Placed::Ring(_) => None,
        }
    }
}

/// Keys sorted by node, as positions in the order they were given in.
///
/// Keys beyond the first 2^32 are not counted.
#[derive(Debug, Clone)]
pub struct Groups {
    /// By id: where the part of the node before it ends, and so its own begins.
    ends: Vec<u32>,
    positions: Vec<u32>,
}

impl Groups {
    /// Sorts positions by node, of which all are below the bound.
    pub(super) fn sorted(nodes: &[NodeId], bound: usize) -> Self {
        // Counting sort: where each node's part ends, then everyone to his place.
        let mut ends = vec![0_u32; bound + 1];
        for id in nodes {
            ends[id.index() + 1] += 1;
        }
        for id in 1..ends.len() {
            ends[id] += ends[id - 1];
        }
        let mut next = ends.clone();
        let mut positions = vec![0; nodes.len()];
        for (at, id) in nodes.iter().enumerate() {
            let place = &mut next[id.index()];
            positions[*place as usize] = at as u32;
            *place += 1;
        }
        Self { ends, positions }
    }

    /// The nodes that have keys, and the positions of those, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &[u32])> {
        self.ends
            .windows(2)
            .enumerate()
            .filter(|(_, part)| part[0] < part[1])
            .map(|(id, part)| {
                let positions = &self.positions[part[0] as usize..part[1] as usize];
                (NodeId::from_raw(id as u16), positions)
            })
    }

    /// All positions, node by node.
    pub(super) fn into_positions(self) -> Vec<u32> {
        self.positions
    }

    /// The positions of the keys of one node.
    pub fn of(&self, node: NodeId) -> &[u32] {
        match self.ends.get(node.index()..node.index() + 2) {
            Some(part) => &self.positions[part[0] as usize..part[1] as usize],
            None => &[],
        }
    }
}

impl Table {
    /// Where a key lies: its slot, its range, its point on a ring.
    #[inline]
    pub(super) fn place(&self, key: &impl StableKey) -> usize {
        if let Placed::Slots(owners) = &self.placed {
            return slot(key.stable_hash(0), owners.len());
        }
        self.place_by_bytes(key)
    }

    #[cold]
    #[inline(never)]
    fn owner_otherwise(&self, key: &impl StableKey) -> NodeId {
        if let Placed::Slots(owners) = &self.placed {
            let hash = key.stable_hash(0);
            let slot = slot(hash, owners.len());
            return match self.said_in(slot, hash, key) {
                Some(exact) => exact.copies.primary(),
                None => NodeId::from_raw(owners[slot]),
            };
        }
        match self.exact(key) {
            Some(exact) => exact.copies.primary(),
            None => self.owner(self.place_by_bytes(key)),
        }
    }

    #[cold]
    #[inline(never)]
    fn replicas_otherwise(&self, key: &impl StableKey) -> Replicas {
        if let Placed::Slots(owners) = &self.placed {
            let hash = key.stable_hash(0);
            let slot = slot(hash, owners.len());
            return match self.said_in(slot, hash, key) {
                Some(exact) => exact.copies,
                None => self.replicas_at(slot),
            };
        }
        match self.exact(key) {
            Some(exact) => exact.copies,
            None => self.replicas_at(self.place_by_bytes(key)),
        }
    }

    /// What is said about a key with this slot and hash.
    #[inline]
    fn said_in(&self, slot: usize, hash: u64, key: &impl StableKey) -> Option<&Exact> {
        if !self.overrides.is_marked(slot) {
            return None;
        }
        self.overrides.find(hash, key)
    }

    #[cold]
    #[inline(never)]
    fn place_by_bytes(&self, key: &impl StableKey) -> usize {
        let mut bytes = CanonicalBytes::new();
        match &self.placed {
            Placed::Slots(owners) => slot(key.stable_hash(0), owners.len()),
            Placed::Redis(_) => {
                key.write_canonical(&mut bytes);
                usize::from(redis_slot(bytes.as_slice()))
            }
            Placed::Ranges(ranges, _) => {
                key.write_ordered(&mut bytes);
                ranges.position(bytes.as_slice())
            }
            Placed::Ring(ring) => {
                key.write_canonical(&mut bytes);
                ring.position(ring.hash(bytes.as_slice()))
            }
        }
    }

    #[inline]
    pub(super) fn replicas_at(&self, place: usize) -> Replicas {
        if self.replicas == 1 {
            return Replicas::one(self.owner(place));
        }
        match self.rows.get(place) {
            Some(row) => row,
            None => self.select(place),
        }
    }
}

/// The slot of a hash: its top bits, if slots are a power of two, and in any case
/// slots are hashes in order, divided evenly.
#[inline]
pub(super) fn slot(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}
