use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::error::StaleTopology;
use super::node::NodeId;
use super::published::Published;
use super::replicas::Replicas;
use super::route::Groups;
use super::topology::{Table, Topology};
use crate::hash::StableKey;
use crate::sync::Mutex;
use crate::time::Timer;

/// The topology that is in force, shared by all who route: it can be swapped for
/// a later one at any time, and reading it takes no lock.
///
/// A clone is another handle to the same router. Each answer is that of one
/// topology, the one before or the one after a swap that happens meanwhile. Whoever
/// needs several answers from one and the same asks for it:
/// [`topology`](Self::topology).
///
/// ```
/// use tenfold::router::{Router, Topology};
///
/// let router = Router::new(Topology::builder().nodes(["pg-1", "pg-2"]).build()?);
/// let node = router.route("user:42");
/// assert!(router.topology().name(node).is_some());
///
/// let next = router.topology().edit().node("pg-3").build()?;
/// router.swap(next)?;
/// assert_eq!(router.epoch(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It holds, besides the topology, two copies of the table (2 bytes a slot each, and
/// with copies 8 or 16 more) for each power of two that the number of slots
/// had so far.
#[derive(Clone)]
pub struct Router(Arc<Shared>);

struct Shared {
    topology: ArcSwap<Table>,
    /// The same, for those who only look up a slot.
    published: Published,
    /// Held while a topology is swapped for another.
    swap: Mutex<()>,
    /// For reads that bring none of their own. Its thread starts when one first waits.
    timer: OnceLock<Timer>,
}

impl Router {
    /// A router by this topology.
    pub fn new(topology: Topology) -> Self {
        let published = Published::new();
        published.publish(&topology.0);
        Self(Arc::new(Shared {
            topology: ArcSwap::new(topology.0),
            published,
            swap: Mutex::new(()),
            timer: OnceLock::new(),
        }))
    }

    /// The topology in force.
    pub fn topology(&self) -> Topology {
        Topology(self.0.topology.load_full())
    }

    /// The epoch of the topology in force.
    pub fn epoch(&self) -> u64 {
        self.0.topology.load().epoch
    }

    /// Puts a later topology in force and hands back the one before. Who edits
    /// the same version at once does not undo the other: the second to swap is
    /// refused, and edits again.
    ///
    /// # Errors
    ///
    /// [`StaleTopology`] if its epoch is not above that of the one in force,
    /// which stays.
    pub fn swap(&self, topology: Topology) -> Result<Topology, StaleTopology> {
        let _one_at_a_time = self.0.swap.lock();
        let epoch = self.epoch();
        if topology.epoch() <= epoch {
            return Err(StaleTopology {
                have: topology.epoch(),
                need: epoch.saturating_add(1),
            });
        }
        self.0.published.publish(&topology.0);
        Ok(Topology(self.0.topology.swap(topology.0)))
    }

    /// Whether a caller who knows this epoch knows enough.
    ///
    /// # Errors
    ///
    /// [`StaleTopology`] if the topology in force is later.
    pub fn check(&self, epoch: u64) -> Result<(), StaleTopology> {
        let need = self.epoch();
        if epoch < need {
            return Err(StaleTopology { have: epoch, need });
        }
        Ok(())
    }

    /// The node that a key lies on: see [`Topology::route`].
    #[inline]
    pub fn route(&self, key: impl StableKey) -> NodeId {
        match self.0.published.owner(key.stable_hash(0)) {
            Some(id) => id,
            None => self.route_by_topology(&key),
        }
    }

    /// The nodes that a key's copies lie on: see [`Topology::replicas`].
    #[inline]
    pub fn replicas(&self, key: impl StableKey) -> Replicas {
        match self.0.published.replicas(key.stable_hash(0)) {
            Some(copies) => copies,
            None => self.replicas_by_topology(&key),
        }
    }

    pub(super) fn timer(&self) -> &Timer {
        self.0.timer.get_or_init(Timer::thread)
    }

    #[cold]
    #[inline(never)]
    fn route_by_topology(&self, key: &impl StableKey) -> NodeId {
        self.topology().route(key)
    }

    #[cold]
    #[inline(never)]
    fn replicas_by_topology(&self, key: &impl StableKey) -> Replicas {
        self.topology().replicas(key)
    }

    /// The first node, in the key's order of preference, that is accepted: see
    /// [`Topology::route_where`].
    pub fn route_where(
        &self,
        key: impl StableKey,
        accept: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.topology().route_where(key, accept)
    }

    /// Routes many keys by one topology: see [`Topology::route_many`].
    pub fn route_many<K: StableKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        nodes: &mut Vec<NodeId>,
    ) {
        self.topology().route_many(keys, nodes);
    }

    /// Sorts keys by node, by one topology: see [`Topology::group_by_node`].
    pub fn group_by_node<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> Groups {
        self.topology().group_by_node(keys)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router").field(&self.topology()).finish()
    }
}
