use std::collections::BTreeMap;
use std::ops::Deref;

use super::node::{Node, NodeId};
use super::placement::Placed;
use super::topology::{NOBODY, Table};
use crate::hash::xxh3_64;
use crate::rng::mix;

/// How the copies of a key are spread over zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Spread {
    /// Distinct nodes, wherever they are.
    #[default]
    Nodes,
    /// Distinct zones as far as there are enough, then distinct nodes. A node in no
    /// zone counts as a zone of its own.
    Prefer,
    /// Distinct zones, or the topology cannot be built.
    Require,
}

/// The nodes that hold a key's copies: the primary first, all distinct.
///
/// It is a slice, and lies on the stack.
#[derive(Clone, Copy)]
pub struct Replicas {
    ids: [NodeId; MAX_REPLICAS],
    len: u8,
}

impl Replicas {
    /// The first, which [`route`](super::Topology::route) answers too.
    #[inline]
    pub fn primary(&self) -> NodeId {
        self.ids[0]
    }

    #[inline]
    pub(super) fn one(id: NodeId) -> Self {
        Self::new([id; MAX_REPLICAS], 1)
    }

    /// The first eight of these, of which there is one at least.
    pub(super) fn of(nodes: &[NodeId]) -> Self {
        let len = nodes.len().min(MAX_REPLICAS);
        let mut ids = [nodes[0]; MAX_REPLICAS];
        ids[..len].copy_from_slice(&nodes[..len]);
        Self::new(ids, len)
    }

    #[inline]
    pub(super) fn new(ids: [NodeId; MAX_REPLICAS], len: usize) -> Self {
        Self {
            ids,
            len: len as u8,
        }
    }
}

impl Deref for Replicas {
    type Target = [NodeId];

    #[inline]
    fn deref(&self) -> &[NodeId] {
        &self.ids[..usize::from(self.len).min(MAX_REPLICAS)]
    }
}

impl<'a> IntoIterator for &'a Replicas {
    type Item = &'a NodeId;
    type IntoIter = std::slice::Iter<'a, NodeId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Replicas {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Replicas {}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// The copies of every place of a table, one row each.
#[derive(Debug)]
pub(super) struct Rows {
    /// Rows of `len`, and enough at the end to read a full [`Replicas`] at any row.
    ids: Vec<NodeId>,
    len: usize,
}

impl Rows {
    /// No rows: the owner is all there is.
    pub(super) fn none() -> Self {
        Self {
            ids: Vec::new(),
            len: 1,
        }
    }

    /// The rows of a table whose other fields are complete. A ring has none, since it
    /// has more points than anyone asks about; its copies are found when asked for.
    pub(super) fn of(table: &Table) -> Self {
        let places = match &table.placed {
            Placed::Slots(owners) | Placed::Redis(owners) | Placed::Ranges(_, owners) => {
                owners.len()
            }
            Placed::Ring(_) => 0,
        };
        if table.replicas == 1 || places == 0 {
            return Self::none();
        }
        let len = table.replicas;
        let mut ids = Vec::with_capacity(places * len + MAX_REPLICAS);
        for place in 0..places {
            ids.extend_from_slice(&table.select(place));
        }
        ids.resize(places * len + MAX_REPLICAS, NodeId::from_raw(NOBODY));
        Self { ids, len }
    }

    /// The row of this place, if rows were made.
    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<Replicas> {
        let from = place * self.len;
        let (row, _) = self.ids.get(from..)?.split_first_chunk()?;
        Some(Replicas::new(*row, self.len))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.ids)
    }

    /// All rows, without what is behind the last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[NodeId]> {
        let used = self.ids.len().saturating_sub(MAX_REPLICAS);
        self.ids[..used].chunks_exact(self.len)
    }
}

/// Which nodes fail together.
#[derive(Debug)]
pub(super) struct Zones {
    /// A zone's number, by id of the node.
    of: Vec<u16>,
    /// The nodes of each zone. Zones are numbered by name, then by the names of nodes
    /// that have none.
    nodes: Vec<Vec<u16>>,
}

impl Zones {
    pub(super) fn new(nodes: &[(NodeId, Node)], bound: usize) -> Self {
        let mut named: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        let mut alone = Vec::new();
        for (id, node) in nodes {
            match node.zone_name() {
                Some(zone) => named.entry(zone).or_default().push(id.raw()),
                None => alone.push(vec![id.raw()]),
            }
        }
        let nodes: Vec<_> = named.into_values().chain(alone).collect();
        let mut of = vec![NOBODY; bound];
        for (zone, ids) in nodes.iter().enumerate() {
            for &id in ids {
                of[usize::from(id)] = zone as u16;
            }
        }
        Self { of, nodes }
    }

    pub(super) fn of(&self, id: NodeId) -> u16 {
        self.of[id.index()]
    }
}

impl Table {
    /// Chooses the copies of a place: its owner, then the owners of other places
    /// that are drawn at random but foretold by this one. So copies are spread by
    /// weight as keys are, and a node that comes or goes changes those rows only
    /// where a drawn place changed its owner.
    pub(super) fn select(&self, place: usize) -> Replicas {
        let seed = self.seed(place);
        let mut row = Row {
            ids: [self.owner(place); MAX_REPLICAS],
            len: 1,
        };
        if self.spread != Spread::Nodes {
            let zones = self.zones.nodes.len();
            let new_zone = |row: &Row, id| {
                let zone = self.zones.of(id);
                row.iter().all(|&other| self.zones.of(other) != zone)
            };
            self.draw(place, seed, self.replicas.min(zones), &mut row, new_zone);
            // Nodes of some zones own next to nothing: draw zones instead.
            let mut zone = draw(seed, u64::MAX, zones);
            while row.len < self.replicas.min(zones) {
                let nodes = &self.zones.nodes[zone];
                let id = NodeId::from_raw(nodes[draw(seed, zone as u64, nodes.len())]);
                if new_zone(&row, id) {
                    row.push(id);
                }
                zone = (zone + 1) % zones;
            }
        }
        let new_node = |row: &Row, id| !row.contains(&id);
        self.draw(place, seed, self.replicas, &mut row, new_node);
        let mut rank = draw(seed, u64::MAX, self.nodes.len());
        while row.len < self.replicas {
            let id = self.nodes[rank].0;
            if new_node(&row, id) {
                row.push(id);
            }
            rank = (rank + 1) % self.nodes.len();
        }
        Replicas::new(row.ids, row.len)
    }

    /// Fills a row with the owners of other places, as long as there is hope.
    fn draw(
        &self,
        place: usize,
        seed: u64,
        len: usize,
        row: &mut Row,
        fits: impl Fn(&Row, NodeId) -> bool,
    ) {
        let mut number = 0;
        while row.len < len && number < DRAWS {
            number += 1;
            let id = self.candidate(place, seed, number);
            if fits(row, id) {
                row.push(id);
            }
        }
    }

    /// The owner of a place.
    pub(super) fn owner(&self, place: usize) -> NodeId {
        NodeId::from_raw(match &self.placed {
            Placed::Slots(owners) | Placed::Redis(owners) | Placed::Ranges(_, owners) => {
                owners[place]
            }
            Placed::Ring(ring) => ring.owner(place),
        })
    }

    /// What foretells where else the keys of a place may go.
    pub(super) fn seed(&self, place: usize) -> u64 {
        match &self.placed {
            // By where it begins: a split elsewhere renumbers it.
            Placed::Ranges(ranges, _) => {
                let start = ranges.starts().nth(place).map_or(&[][..], |range| range.0);
                xxh3_64(start, SEED)
            }
            _ => mix((place as u64).wrapping_add(SEED)),
        }
    }

    /// Who comes after a place's owner: the next point of a ring; on a table,
    /// the owner of a place drawn at random; for ranges, which may all lie on one
    /// node, a node drawn at random.
    pub(super) fn candidate(&self, place: usize, seed: u64, number: u64) -> NodeId {
        match &self.placed {
            Placed::Slots(owners) | Placed::Redis(owners) => {
                NodeId::from_raw(owners[draw(seed, number, owners.len())])
            }
            Placed::Ranges(..) => self.nodes[draw(seed, number, self.nodes.len())].0,
            Placed::Ring(ring) => NodeId::from_raw(ring.owner(place + number as usize)),
        }
    }
}

struct Row {
    ids: [NodeId; MAX_REPLICAS],
    len: usize,
}

impl Row {
    fn push(&mut self, id: NodeId) {
        self.ids[self.len] = id;
        self.len += 1;
    }
}

impl Deref for Row {
    type Target = [NodeId];

    fn deref(&self) -> &[NodeId] {
        &self.ids[..self.len]
    }
}

/// A number below this one, foretold by a seed.
#[inline]
pub(super) fn draw(seed: u64, number: u64, below: usize) -> usize {
    let bits = mix(seed.wrapping_add(number.wrapping_mul(STEP)));
    ((u128::from(bits) * below as u128) >> 64) as usize
}

/// The most copies there can be: a row of them is one load of 16 bytes.
pub const MAX_REPLICAS: usize = 8;
/// How often to draw for a row. If a quarter of all keys lies on nodes that
/// still fit, one row in ten thousand is not filled by then.
const DRAWS: u64 = 32;
const SEED: u64 = 0x7265_706c_6963_6173;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
