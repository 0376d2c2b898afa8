//! A naive model of the router and a driver that holds the real one against it.
//!
//! The model knows nodes by name in a map, and who owns each slot in a vector. What a
//! history-free policy does it foretells by building the same from nothing and in
//! another order; under `Balanced` it computes shares and the least that had to
//! move, and accepts any table that keeps both; plans it makes again slot by slot.

#![allow(
    dead_code,
    reason = "the property tests and the fuzz target use different parts"
)]

mod plan;
mod version;

use tenfold::hash::StableKey;
use tenfold::router::{Loads, NodeId, Router, StaleTopology, SwapError, Topology};
use version::Version;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// A node by number, what stands for its weight, and its zone; zero for none.
    Add(u8, u8, u8),
    Update(u8, u8, u8),
    Remove(u8),
    Policy(u8),
    Double,
    Copies(u8),
    Spread(u8),
    /// Makes a version of all edits since the last.
    Build,
    /// Offers one of the versions to the router.
    Swap(u8),
    /// Reads an earlier version from its bytes; edits go on from there.
    RollBack(u8),
    /// One key, and the nodes that are refused for it.
    Look(u8, u16),
    /// So many keys at once.
    Many(u8),
    /// One key for a busy node, and how much there is to do.
    Bounded(u8, u8),
    /// What moves from one version to another.
    Plan(u8, u8),
}

/// Runs the operations, and compares after each.
pub(crate) fn run(ops: &[Op]) {
    let first = Version::first();
    let mut world = World {
        router: Router::new(first.topology.clone()),
        loads: Loads::new(&first.topology),
        in_force: 0,
        edited: 0,
        refused: 0,
        versions: vec![first],
        edits: Vec::new(),
    };
    for op in ops {
        world.step(*op);
    }
}

struct World {
    versions: Vec<Version>,
    /// The version that the router answers by, and the one that is edited.
    in_force: usize,
    edited: usize,
    /// Swaps that came too late.
    refused: u64,
    edits: Vec<Op>,
    router: Router,
    /// Of the version in force.
    loads: Loads,
}

impl World {
    fn step(&mut self, op: Op) {
        let at = |number: u8| usize::from(number) % self.versions.len();
        match op {
            Op::Build => self.build(),
            Op::Swap(version) => self.swap(at(version)),
            Op::RollBack(version) => self.roll_back(at(version)),
            Op::Look(key, refused) => self.look(u64::from(key), refused),
            Op::Many(count) => self.many(u64::from(count)),
            Op::Bounded(key, times) => self.bounded(u64::from(key), times),
            Op::Plan(from, to) => plan::check(&self.versions[at(from)], &self.versions[at(to)]),
            edit => self.edits.push(edit),
        }
    }

    fn build(&mut self) {
        let edits = std::mem::take(&mut self.edits);
        if self.versions.len() == MOST_VERSIONS {
            return;
        }
        let before = &self.versions[self.edited];
        if let Some(next) = before.edited(&edits) {
            self.versions.push(next);
            self.edited = self.versions.len() - 1;
        }
    }

    fn swap(&mut self, version: usize) {
        let topology = &self.versions[version].topology;
        let epoch = self.versions[self.in_force].topology.epoch();
        let swapped = self.router.swap(topology.clone());
        if topology.epoch() > epoch {
            assert_eq!(swapped.unwrap().epoch(), epoch);
            self.in_force = version;
            self.loads = Loads::new(topology);
        } else {
            let stale = StaleTopology {
                have: topology.epoch(),
                need: epoch + 1,
            };
            assert_eq!(swapped.unwrap_err(), SwapError::Stale(stale));
            self.refused += 1;
        }
        let current = &self.versions[self.in_force];
        assert_eq!(self.router.epoch(), current.topology.epoch());
        assert_eq!(self.router.topology().to_bytes(), current.bytes);
        for key in 0..32_u64 {
            assert_eq!(self.router.route(key), current.topology.route(key));
            assert_eq!(self.router.replicas(key), current.topology.replicas(key));
        }
    }

    fn roll_back(&mut self, version: usize) {
        let back = &mut self.versions[version];
        back.topology = Topology::from_bytes(&back.bytes).unwrap();
        back.check();
        self.edited = version;
        self.edits.clear();
    }

    fn look(&self, key: u64, refused: u16) {
        let Version {
            topology, model, ..
        } = &self.versions[self.in_force];
        let home = self.router.route(key);
        assert_eq!(topology.name(home), Some(&*self.owner(key)));
        let copies = self.router.replicas(key);
        assert_eq!(copies[0], home);
        model.check_copies(topology, &copies);

        let accept = |id: NodeId| refused >> (id.index() % 16) & 1 == 0;
        let found = self.router.route_where(key, accept);
        if let Some(first) = copies.iter().find(|id| accept(**id)) {
            assert_eq!(found, Some(*first));
        } else {
            let any = topology.nodes().any(|(id, _)| accept(id));
            assert_eq!(found.is_some(), any);
            assert!(found.is_none_or(accept));
        }
    }

    /// The name of the node that a key lies on, without the router.
    fn owner(&self, key: u64) -> String {
        let version = &self.versions[self.in_force];
        version.owner_of(key).unwrap_or_else(|| {
            let id = version.topology.route(key);
            version.topology.name(id).unwrap().to_owned()
        })
    }

    fn many(&self, count: u64) {
        let mut nodes = vec![self.router.route(7_u64); 3];
        self.router.route_many(0..count, &mut nodes);
        let alone: Vec<_> = (0..count).map(|key| self.router.route(key)).collect();
        assert_eq!(nodes, alone);
        let groups = self.router.group_by_node(0..count);
        let mut grouped = vec![None; count as usize];
        for (node, positions) in groups.iter() {
            assert!(!positions.is_empty() && positions.is_sorted());
            assert_eq!(groups.of(node), positions);
            for &at in positions {
                assert_eq!(grouped[at as usize].replace(node), None);
            }
        }
        assert!(grouped.into_iter().eq(alone.into_iter().map(Some)));
    }

    fn bounded(&self, key: u64, times: u8) {
        let Version {
            topology, model, ..
        } = &self.versions[self.in_force];
        let weights: u128 = model.weights().sum();
        for _ in 0..times % 32 {
            let id = topology.route_bounded(key, &self.loads, 1.25);
            self.loads.begin(id);
            let weight = u128::from(topology.node(id).unwrap().relative_weight());
            // Five quarters of its share of all load, rounded up; and one for the
            // last digit of a float.
            let bound = (5 * u128::from(self.loads.total()) * weight).div_ceil(4 * weights);
            assert!(u128::from(self.loads.of(id)) <= bound + 1);
        }
    }
}

/// The slot of a hash among so many, counted from the first hash of each.
fn slot_of(hash: u64, slots: usize) -> usize {
    (0..slots)
        .rev()
        .find(|slot| first_hash(*slot, slots) <= hash)
        .unwrap()
}

/// The first hash of a slot: slots divide all hashes evenly.
fn first_hash(slot: usize, slots: usize) -> u64 {
    ((slot as u128) << 64).div_ceil(slots as u128) as u64
}

fn hash_of(key: u64) -> u64 {
    key.stable_hash(0)
}

/// Enough for any interleaving, and few enough to keep a run short.
const MOST_VERSIONS: usize = 24;
