use std::collections::BTreeMap;

use super::error::MigrationError;
use super::guards::{Guards, Stamp};
use super::part::{Part, PartId, cut};
use super::phase::Phase;
use super::point::Point;
use crate::hash::xxh3_64;
use crate::router::node::NodeId;
use crate::router::placement::Placed;
use crate::router::replicas::Replicas;
use crate::router::route::slot;
use crate::router::topology::Topology;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What a router knows of the migration that it is in: the phase of each part.
pub(in crate::router) struct Moving {
    pub(super) id: u64,
    pub(super) old: Topology,
    pub(super) new: Topology,
    /// In the order of points.
    pub(super) parts: Vec<Part>,
    states: Vec<State>,
    /// Which of the old topology's slots have a part.
    slow: Vec<bool>,
    /// Whether someone decides about it, and so nobody else may.
    pub(super) owned: AtomicU64,
}

struct State {
    /// The stamp of the phase in force (60 bits) and the phase (4).
    phase: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// What is not known to be equal on both nodes.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Keys of which one node may lack the last write, each with the number of its
    /// last mark.
    pub(super) dirty: BTreeMap<Box<[u8]>, u64>,
    pub(super) marks: u64,
    /// Whether all other keys were found equal.
    pub(super) verified: bool,
    /// Changes whenever what was verified so far no longer counts.
    pub(super) round: u64,
    /// Whether the new node's writes ever came first: from then on the old one may
    /// lack some.
    pub(super) turned: bool,
    /// How often there were more dirty keys than are remembered.
    pub(super) overflows: u64,
}

impl Moving {
    pub(super) fn new(
        old: Topology,
        new: Topology,
        attempt: u64,
        stamp: Stamp,
    ) -> Result<Self, MigrationError> {
        if new.epoch() <= old.epoch() {
            return Err(crate::router::StaleTopology {
                have: new.epoch(),
                need: old.epoch().saturating_add(1),
            }
            .into());
        }
        for (id, node) in old.nodes() {
            let same = |other: NodeId| other == id;
            let renamed = new.name(id).is_some_and(|name| name != node.name());
            if renamed || !new.id_of(node.name()).is_none_or(same) {
                return Err(MigrationError::Unrelated {
                    name: node.name().into(),
                });
            }
        }
        let parts = cut(&old, &new)?;
        let state = |_: &Part| State {
            phase: AtomicU64::new(pack(Phase::Stable, stamp)),
            trouble: Mutex::default(),
        };
        Ok(Self {
            id: id(&old, &new, attempt),
            states: parts.iter().map(state).collect(),
            slow: slow_slots(&old, &parts),
            owned: AtomicU64::new(1),
            old,
            new,
            parts,
        })
    }

    /// The part that a point lies in.
    pub(in crate::router) fn part_at(&self, point: &Point) -> Option<&Part> {
        let after = self.parts.partition_point(|part| part.first() <= *point);
        let part = self.parts.get(after.checked_sub(1)?)?;
        part.contains(point).then_some(part)
    }

    /// The new topology, if it names who has the say about a point.
    pub(in crate::router) fn new_for(&self, point: &Point) -> Option<&Topology> {
        self.new_owner(point)?;
        Some(&self.new)
    }

    /// The nodes that the old topology does not have.
    pub(in crate::router) fn added(&self) -> impl Iterator<Item = NodeId> {
        let new = self.new.nodes().map(|(id, _)| id);
        new.filter(|id| self.old.node(*id).is_none())
    }

    pub(in crate::router) fn new_bound(&self) -> usize {
        self.new.node_bound()
    }

    pub(in crate::router) fn new_name(&self, id: NodeId) -> Option<&str> {
        self.new.name(id)
    }

    pub(in crate::router) fn to_epoch(&self) -> u64 {
        self.new.epoch()
    }

    /// Whether some key of this slot moves.
    pub(in crate::router) fn is_slow(&self, slot: usize) -> bool {
        self.slow.get(slot).is_some_and(|slow| *slow)
    }

    /// Who has the say about a point, if that is not whom the old topology names.
    pub(in crate::router) fn new_owner(&self, point: &Point) -> Option<NodeId> {
        let part = self.part_at(point)?;
        self.phase(part.id()).0.new_first().then(|| part.to())
    }

    pub(in crate::router) fn new_replicas(&self, point: &Point) -> Option<Replicas> {
        self.new_owner(point)?;
        Some(self.new.0.replicas_of_point(point))
    }

    pub(super) fn part(&self, id: PartId) -> Result<&Part, MigrationError> {
        self.parts
            .get(id.index())
            .ok_or(MigrationError::UnknownPart {
                part: id,
                parts: self.parts.len(),
            })
    }

    /// The phase of a part that there is, and its stamp.
    pub(super) fn phase(&self, part: PartId) -> (Phase, Stamp) {
        let word = self.states[part.index()].phase.load(Ordering::SeqCst);
        let phase = Phase::from_raw((word & 15) as u8);
        (phase.unwrap_or(Phase::Stable), word >> 4)
    }

    /// Puts a phase in force.
    pub(super) fn set_phase(&self, part: PartId, phase: Phase, stamp: Stamp) {
        let state = &self.states[part.index()];
        state.phase.store(pack(phase, stamp), Ordering::SeqCst);
        let mut trouble = state.trouble.lock();
        if phase.new_first() {
            trouble.turned = true;
        }
        if !phase.writes_both() {
            // One of the copies does not count any more, or not yet.
            *trouble = Trouble {
                marks: trouble.marks,
                round: trouble.round + 1,
                overflows: trouble.overflows,
                ..Trouble::default()
            };
        }
    }

    /// Notes that one of both nodes may lack the last write of a key.
    pub(super) fn mark(&self, part: PartId, key: &[u8]) {
        let mut trouble = self.states[part.index()].trouble.lock();
        if !self.phase(part).0.writes_both() {
            return;
        }
        trouble.marks += 1;
        let mark = trouble.marks;
        trouble.dirty.insert(key.into(), mark);
        if trouble.dirty.len() > MAX_DIRTY {
            trouble.forget();
            trouble.overflows += 1;
        }
    }

    pub(super) fn with_trouble<T>(&self, part: PartId, f: impl FnOnce(&mut Trouble) -> T) -> T {
        f(&mut self.states[part.index()].trouble.lock())
    }

    /// Whether what is wanted can be had without losing a write.
    pub(super) fn check_equal(&self, part: PartId) -> Result<(), MigrationError> {
        self.with_trouble(part, |trouble| {
            if !trouble.dirty.is_empty() {
                let keys = trouble.dirty.len();
                return Err(MigrationError::Dirty { part, keys });
            }
            if !trouble.verified {
                return Err(MigrationError::Unverified { part });
            }
            Ok(())
        })
    }

    /// How many routes keep the phase of a part from being complete.
    pub(super) fn undrained(&self, guards: &Guards, part: &Part) -> u64 {
        let (_, since) = self.phase(part.id());
        guards.older(part, since)
    }
}

impl Trouble {
    /// From here on nothing is known, and all of it must be verified anew.
    pub(super) fn forget(&mut self) {
        self.dirty.clear();
        self.verified = false;
        self.round += 1;
    }
}

/// Which slots have a part, if there are slots.
fn slow_slots(old: &Topology, parts: &[Part]) -> Vec<bool> {
    let Placed::Slots(owners) = &old.0.placed else {
        return Vec::new();
    };
    let mut slow = vec![false; owners.len()];
    for part in parts {
        if let Point::Hash(hash) = part.first() {
            slow[slot(hash, owners.len())] = true;
        }
    }
    slow
}

/// The number of a migration: equal for all who carry the same data by the same
/// topologies in the same attempt.
pub(super) fn id(old: &Topology, new: &Topology, attempt: u64) -> u64 {
    let mut bytes = old.to_bytes();
    bytes.extend_from_slice(&new.to_bytes());
    xxh3_64(&bytes, attempt)
}

fn pack(phase: Phase, stamp: Stamp) -> u64 {
    stamp << 4 | phase as u64
}

/// How many dirty keys a part remembers. With more, all of it is verified anew.
pub(super) const MAX_DIRTY: usize = 1024;
