use std::fmt;
use std::sync::Arc;

use super::error::MigrationError;
use super::point::Point;
use crate::hash::StableKey;
use crate::router::node::NodeId;
use crate::router::placement::show;
use crate::router::plan::Span;
use crate::router::route::slot;
use crate::router::topology::Topology;

/// A part of what a migration moves: as much as lies in one slot, range or arc and
/// goes from one node to one other.
///
/// ```
/// use tenfold::router::migration::{MemoryJournal, Migration};
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).build()?);
/// let new = router.topology().edit().node("c").build()?;
/// let migration = Migration::begin(&router, &new, MemoryJournal::new())?;
/// let key = (0..).map(|n| format!("user:{n}")).find(|key| {
///     migration.part_of(key.as_str()).is_some()
/// });
/// let part = migration.part_of(key.unwrap().as_str()).unwrap();
/// assert_eq!(part.to_name(), "c");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    id: PartId,
    span: Span,
    from: (NodeId, Arc<str>),
    to: (NodeId, Arc<str>),
}

impl Part {
    /// Its number.
    pub fn id(&self) -> PartId {
        self.id
    }

    /// Which keys.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The node that they leave.
    pub fn from(&self) -> NodeId {
        self.from.0
    }

    /// The name of the node that they leave.
    pub fn from_name(&self) -> &str {
        &self.from.1
    }

    /// The node that they go to.
    pub fn to(&self) -> NodeId {
        self.to.0
    }

    /// The name of the node that they go to.
    pub fn to_name(&self) -> &str {
        &self.to.1
    }

    /// Whether a key lies in it.
    ///
    /// `topology` is either of the two that the migration is between.
    pub fn contains_key(&self, topology: &Topology, key: impl StableKey) -> bool {
        self.contains(&topology.0.point(&key))
    }

    /// The same, by the bytes that placement goes by: see [`Row::key`](super::Row::key).
    pub fn contains_bytes(&self, topology: &Topology, key: &[u8]) -> bool {
        self.contains(&topology.0.point_of_bytes(key))
    }

    pub(super) fn first(&self) -> Point {
        match &self.span {
            Span::Hashes(range) => Point::Hash(*range.start()),
            Span::RedisSlots(range) => Point::Redis(*range.start()),
            Span::RingHashes(range) => Point::Ring(*range.start()),
            Span::Keys { from, .. } => Point::Key(from.clone()),
            // Refused when the migration begins.
            Span::Key(key) => Point::Key(key.clone()),
        }
    }

    pub(super) fn contains(&self, point: &Point) -> bool {
        match (&self.span, point) {
            (Span::Hashes(range), Point::Hash(at))
            | (Span::RedisSlots(range), Point::Redis(at))
            | (Span::RingHashes(range), Point::Ring(at)) => range.contains(at),
            (Span::Keys { from, to }, Point::Key(key)) => {
                from <= key && to.as_ref().is_none_or(|to| key < to)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, span, .. } = self;
        write!(f, "{id}: {} -> {}: {span}", self.from.1, self.to.1)
    }
}

/// The number of a part within its migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub(super) u32);

impl PartId {
    /// As an index: below the number of parts.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for PartId {
    fn from(id: u32) -> Self {
        Self(id)
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {}", self.0)
    }
}

/// Cuts what moves between two topologies into parts, in the order of points.
pub(super) fn cut(old: &Topology, new: &Topology) -> Result<Vec<Part>, MigrationError> {
    let plan = old.plan(new)?;
    let mut single: Vec<&[u8]> = plan.exceptions().collect();
    single.extend(plan.moves().iter().filter_map(|moved| match moved.span() {
        Span::Key(key) => Some(&**key),
        _ => None,
    }));
    if let Some(key) = single.first() {
        return Err(MigrationError::SingleKeys {
            found: single.len(),
            key: show(key),
        });
    }
    let mut parts = Vec::new();
    let node = |topology: &Topology, name: &str| {
        let id = topology.id_of(name)?;
        Some((id, topology.0.shared_name(id)?))
    };
    for moved in plan.moves() {
        // The names of a plan are the topologies' own.
        let ends = (node(old, moved.from()), node(new, moved.to()));
        let (Some(from), Some(to)) = ends else {
            continue;
        };
        for span in pieces(moved.span(), old.slots()) {
            parts.push(Part {
                id: PartId(parts.len() as u32),
                span,
                from: from.clone(),
                to: to.clone(),
            });
        }
    }
    Ok(parts)
}

/// A span slot by slot, where there are slots.
fn pieces(span: &Span, slots: u32) -> Vec<Span> {
    match span {
        Span::RedisSlots(range) => range.clone().map(|at| Span::RedisSlots(at..=at)).collect(),
        Span::Hashes(range) => {
            let slots = slots as usize;
            let first = |slot: usize| ((slot as u128) << 64).div_ceil(slots as u128);
            let (from, to) = (slot(*range.start(), slots), slot(*range.end(), slots));
            let piece = |slot: usize| {
                let start = (*range.start()).max(first(slot) as u64);
                let end = u128::from(*range.end()).min(first(slot + 1) - 1);
                Span::Hashes(start..=end as u64)
            };
            (from..=to).map(piece).collect()
        }
        whole => vec![whole.clone()],
    }
}
