use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::{StaleTopology, SwapError};
use super::migration::{Guards, Moving, Stamp};
use super::node::NodeId;
use super::published::Published;
use super::replicas::Replicas;
use super::route::Groups;
use super::topology::Topology;
use crate::hash::StableKey;
use crate::sync::Mutex;

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
pub struct Router(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) in_force: ArcSwap<InForce>,
    /// The same, for those who only look up a slot that is not slow.
    published: Published,
    /// Held while what is in force is changed.
    change: Mutex<()>,
    /// Who is writing where.
    pub(super) guards: Guards,
}

/// What answers are given by: changed as a whole, and by one at a time.
#[derive(Clone)]
pub(super) struct InForce {
    pub(super) topology: Topology,
    /// The migration that leads away from the topology.
    pub(super) moving: Option<Arc<Moving>>,
    /// Since when it is in force.
    pub(super) stamp: Stamp,
}

impl InForce {
    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether some key of this slot goes elsewhere than the topology says, so that
    /// whoever asks for one has to take the cold path.
    fn is_slow(&self, slot: usize) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.is_slow(slot))
    }

    fn route(&self, key: &impl StableKey) -> NodeId {
        match &self.moving {
            Some(moving) => moving.owner(&self.topology.0.point(key)),
            None => self.topology.route(key),
        }
    }

    fn replicas(&self, key: &impl StableKey) -> Replicas {
        match &self.moving {
            Some(moving) => moving.replicas(&self.topology.0.point(key)),
            None => self.topology.replicas(key),
        }
    }
}

impl Shared {
    /// Puts in force what this makes of what is, and answers with what was.
    pub(super) fn change<E>(
        &self,
        next: impl FnOnce(&InForce) -> Result<InForce, E>,
    ) -> Result<Arc<InForce>, E> {
        let _one_at_a_time = self.change.lock();
        let next = next(&self.in_force.load())?;
        self.published
            .publish(&next.topology.0, |slot| next.is_slow(slot));
        Ok(self.in_force.swap(Arc::new(next)))
    }
}

impl Router {
    /// A router by this topology.
    pub fn new(topology: Topology) -> Self {
        let published = Published::new();
        let guards = Guards::new();
        let in_force = InForce {
            topology,
            moving: None,
            stamp: guards.stamp(),
        };
        published.publish(&in_force.topology.0, |slot| in_force.is_slow(slot));
        Self(Arc::new(Shared {
            in_force: ArcSwap::from_pointee(in_force),
            published,
            change: Mutex::new(()),
            guards,
        }))
    }

    /// The topology in force.
    pub fn topology(&self) -> Topology {
        self.0.in_force.load().topology.clone()
    }

    /// The epoch of the topology in force.
    pub fn epoch(&self) -> u64 {
        self.0.in_force.load().topology.epoch()
    }

    /// Puts a later topology in force and hands back the one before. Who edits
    /// the same version at once does not undo the other: the second to swap is
    /// refused, and edits again.
    ///
    /// # Errors
    ///
    /// [`SwapError::Stale`] if its epoch is not above that of the one in force, and
    /// [`SwapError::Migrating`] while a [migration](super::migration) is under way. The one in
    /// force stays.
    pub fn swap(&self, topology: Topology) -> Result<Topology, SwapError> {
        let before = self.0.change(|now| {
            let epoch = now.topology.epoch();
            if topology.epoch() <= epoch {
                return Err(SwapError::Stale(StaleTopology {
                    have: topology.epoch(),
                    need: epoch.saturating_add(1),
                }));
            }
            if let Some(moving) = &now.moving {
                return Err(SwapError::Migrating {
                    to: moving.to_epoch(),
                });
            }
            Ok(InForce {
                topology,
                moving: None,
                stamp: self.0.guards.stamp(),
            })
        })?;
        Ok(before.topology.clone())
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
    ///
    /// For a key that is being [moved](super::migration) that is the node which has
    /// the first say in writes. [`read_route`](Self::read_route) says more.
    #[inline]
    pub fn route(&self, key: impl StableKey) -> NodeId {
        match self.0.published.owner(key.stable_hash(0)) {
            Some(id) => id,
            None => self.route_slowly(&key),
        }
    }

    /// The nodes that a key's copies lie on: see [`Topology::replicas`].
    #[inline]
    pub fn replicas(&self, key: impl StableKey) -> Replicas {
        match self.0.published.replicas(key.stable_hash(0)) {
            Some(copies) => copies,
            None => self.replicas_slowly(&key),
        }
    }

    #[cold]
    #[inline(never)]
    fn route_slowly(&self, key: &impl StableKey) -> NodeId {
        self.0.in_force.load().route(key)
    }

    #[cold]
    #[inline(never)]
    fn replicas_slowly(&self, key: &impl StableKey) -> Replicas {
        self.0.in_force.load().replicas(key)
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
