use std::fmt;
use std::sync::Arc;

use super::guards::Stamp;
use super::moving::Moving;
use super::part::PartId;
use super::point::Point;
use crate::router::node::NodeId;
use crate::router::router::{InForce, Router};

/// Where a write must go, and a guard: as long as it lives, the phase that it was
/// given in is not over.
///
/// First the write goes to [`first`](Self::first); if that succeeds, it
/// counts. Then it goes to [`second`](Self::second), if there is one, under the
/// rule that an older row does not replace a newer one. At last say how it went. A route that
/// is dropped without a word, because its writer was cancelled or panicked, counts as one
/// whose second write failed.
///
/// ```
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["a", "b"]).build()?);
/// let route = router.write_route("user:42");
/// // Nothing moves: one node.
/// assert_eq!((route.first(), route.second()), (router.route("user:42"), None));
/// route.written();
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[must_use = "a write route says where to write, and must hear how it went"]
pub struct WriteRoute {
    router: Router,
    /// By what it was given.
    seen: Arc<InForce>,
    point: Point,
    stamp: Stamp,
    first: NodeId,
    /// Where else, and what is told about it.
    second: Option<Second>,
    keep_tombstone: bool,
    clean: bool,
}

pub(in crate::router) struct Second {
    pub(in crate::router) node: NodeId,
    pub(in crate::router) moving: Arc<Moving>,
    pub(in crate::router) part: PartId,
    pub(in crate::router) key: Box<[u8]>,
}

impl WriteRoute {
    pub(in crate::router) fn new(
        router: Router,
        seen: Arc<InForce>,
        point: Point,
        stamp: Stamp,
        first: NodeId,
        second: Option<Second>,
        keep_tombstone: bool,
    ) -> Self {
        Self {
            router,
            seen,
            point,
            stamp,
            first,
            second,
            keep_tombstone,
            clean: false,
        }
    }

    /// The node that must have the write for it to count.
    pub fn first(&self) -> NodeId {
        self.first
    }

    /// The node that must have it too.
    pub fn second(&self) -> Option<NodeId> {
        self.second.as_ref().map(|second| second.node)
    }

    /// The name of a node of this route. [`Router::topology`] may not have it: during a
    /// migration it is the old one, and after it the new one.
    pub fn name(&self, node: NodeId) -> Option<&str> {
        self.seen.name(node)
    }

    /// Whether a deletion must leave a tombstone: a row without a value, of a
    /// version of its own. Otherwise whoever read the row before would write it again.
    pub fn keep_tombstone(&self) -> bool {
        self.keep_tombstone
    }

    /// Says that all nodes have the write.
    pub fn written(mut self) {
        self.clean = true;
    }

    /// Says that the first node has it, and the second may not. The write counts;
    /// the key is dirty until it was repaired.
    pub fn failed_second(self) {}

    /// Says that no node has it: it was not tried, or refused. Not for a write that may
    /// have arrived.
    pub fn not_written(mut self) {
        self.clean = true;
    }
}

impl Drop for WriteRoute {
    fn drop(&mut self) {
        if let (Some(second), false) = (&self.second, self.clean) {
            second.moving.mark(second.part, &second.key);
        }
        // Marked first: once the phase is complete, all its marks are there.
        let point = std::mem::replace(&mut self.point, Point::Hash(0));
        self.router.guards().leave(point, self.stamp);
    }
}

impl fmt::Debug for WriteRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteRoute")
            .field("first", &self.first)
            .field("second", &self.second())
            .finish_non_exhaustive()
    }
}
