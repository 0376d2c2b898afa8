use std::fmt;
use std::sync::Arc;

use super::guards::Stamp;
use super::moving::Moving;
use super::part::PartId;
use super::point::Point;
use crate::router::node::NodeId;
use crate::router::router::{InForce, Router};

/// Where a read must go.
///
/// It holds nobody up. A reader who is slower than a phase of the migration may
/// have asked a node that was right and is not any more, so it asks
/// [`is_current`](Self::is_current) when it has read, and begins again if not.
///
/// ```
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).build()?);
/// let row = loop {
///     let route = router.read_route("user:42");
///     let row = route.nodes().map(|node| format!("row of {node}")).max();
///     if route.is_current() {
///         break row;
///     }
/// };
/// assert!(row.is_some());
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
pub struct ReadRoute {
    router: Router,
    /// By what it was given.
    seen: Arc<InForce>,
    point: Point,
    stamp: Stamp,
    first: NodeId,
    second: Option<NodeId>,
    /// Whom a difference is told.
    part: Option<(Arc<Moving>, PartId, Box<[u8]>)>,
}

impl ReadRoute {
    pub(in crate::router) fn new(
        router: Router,
        seen: Arc<InForce>,
        point: Point,
        stamp: Stamp,
        [first, second]: [Option<NodeId>; 2],
        part: Option<(Arc<Moving>, PartId, Box<[u8]>)>,
    ) -> Self {
        Self {
            router,
            seen,
            point,
            stamp,
            first: first.unwrap_or(NodeId::from_raw(0)),
            second,
            part,
        }
    }

    /// The nodes to read: one, or the new one and then the old one. Of two rows the one with
    /// the higher version counts, be it a tombstone; a row counts against none.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// The node to read, or the new one if two are to be compared.
    pub fn first(&self) -> NodeId {
        self.first
    }

    /// The old node, if two are to be compared.
    pub fn second(&self) -> Option<NodeId> {
        self.second
    }

    /// The name of a node of this route. [`Router::topology`] may not have it: during a
    /// migration it is the old one, and after it the new one.
    pub fn name(&self, node: NodeId) -> Option<&str> {
        self.seen.name(node)
    }

    /// Whether what was read by this route may be believed: no phase has begun
    /// since in which other nodes count.
    pub fn is_current(&self) -> bool {
        self.router.read_stamp(&self.point) == self.stamp
    }

    /// Says that two nodes had different rows: the key is dirty until it was
    /// repaired.
    pub fn differed(&self) {
        if let (Some((moving, part, key)), Some(_)) = (&self.part, self.second) {
            moving.mark(*part, key);
        }
    }
}

impl fmt::Debug for ReadRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadRoute")
            .field("first", &self.first)
            .field("second", &self.second)
            .finish_non_exhaustive()
    }
}
