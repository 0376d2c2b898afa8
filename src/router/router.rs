use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::error::{StaleTopology, SwapError};
use super::migration::{Guards, Moving, Stamp};
use super::node::NodeId;
use super::published::Published;
use super::replicas::Replicas;
use super::route::Groups;
use super::salted::Salted;
use super::stats::{Counts, RouterStats};
use super::topology::Topology;
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
pub struct Router(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) in_force: ArcSwap<InForce>,
    /// The same, for those who only look up a slot that is not slow.
    published: Published,
    /// Held while what is in force is changed.
    change: Mutex<()>,
    /// For reads that bring none of their own. Its thread starts when one first waits.
    timer: OnceLock<Timer>,
    counts: Counts,
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

    /// The name of a node of either topology, if there are two.
    pub(super) fn name(&self, id: NodeId) -> Option<&str> {
        let new = || self.moving.as_ref()?.new_name(id);
        self.topology.name(id).or_else(new)
    }

    /// Whether some key of this slot goes elsewhere than the topology says, so that
    /// whoever asks for one has to take the cold path.
    fn is_slow(&self, slot: usize) -> bool {
        let moving = self.moving.as_ref();
        self.topology.0.overrides.is_marked(slot)
            || moving.is_some_and(|moving| moving.is_slow(slot))
    }

    /// The topology that says where a key is: the new one's, once the key's part is there.
    fn topology_for(&self, key: &impl StableKey) -> &Topology {
        let moving = self.moving.as_ref();
        let new = moving.and_then(|moving| moving.new_for(&self.topology.0.point(key)));
        new.unwrap_or(&self.topology)
    }

    pub(super) fn group_by_node<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> Groups {
        let Some(moving) = &self.moving else {
            return self.topology.group_by_node(keys);
        };
        let nodes: Vec<_> = keys.into_iter().map(|key| self.route(&key)).collect();
        let bound = self.topology.node_bound().max(moving.new_bound());
        Groups::sorted(&nodes, bound)
    }

    /// All nodes that may have keys, those of a migration's new topology included.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let added = self.moving.iter().flat_map(|moving| moving.added());
        let nodes = self.topology.nodes().map(|(id, _)| id);
        nodes.chain(added).collect()
    }

    fn route(&self, key: &impl StableKey) -> NodeId {
        let moving = self.moving.as_ref();
        let new = moving.and_then(|moving| moving.new_owner(&self.topology.0.point(key)));
        new.unwrap_or_else(|| self.topology.route(key))
    }

    pub(super) fn replicas(&self, key: &impl StableKey) -> Replicas {
        let moving = self.moving.as_ref();
        let new = moving.and_then(|moving| moving.new_replicas(&self.topology.0.point(key)));
        new.unwrap_or_else(|| self.topology.replicas(key))
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
            timer: OnceLock::new(),
            counts: Counts::new(),
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
        let swapped = self.0.change(|now| {
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
        });
        self.0.counts.swap(swapped.is_ok());
        Ok(swapped?.topology.clone())
    }

    /// What is in force, what it takes, and how often it changed.
    ///
    /// Look-ups are not counted: that would cost them more than they take.
    ///
    /// ```
    /// use tenfold::router::{Router, Topology};
    ///
    /// let router = Router::new(Topology::builder().nodes(["pg-1", "pg-2"]).build()?);
    /// let old = router.topology();
    /// router.swap(old.edit().node("pg-3").build()?)?;
    /// router.swap(old.edit().node("pg-4").build()?).unwrap_err(); // knew nothing of pg-3
    ///
    /// let stats = router.stats();
    /// assert_eq!((stats.epoch, stats.nodes), (2, 3));
    /// assert_eq!((stats.swaps, stats.refused), (1, 1));
    /// println!("{stats}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> RouterStats {
        let topology = self.topology();
        let table = &*topology.0;
        let (swaps, refused) = self.0.counts.get();
        RouterStats {
            epoch: table.epoch,
            policy: table.policy.name(),
            nodes: table.nodes.len(),
            slots: table.slots,
            replicas: table.replicas,
            table_bytes: table.bytes() + self.0.published.bytes(),
            swaps,
            refused,
        }
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
            None => self.route_slowly(key),
        }
    }

    /// The nodes that a key's copies lie on: see [`Topology::replicas`].
    #[inline]
    pub fn replicas(&self, key: impl StableKey) -> Replicas {
        match self.0.published.replicas(key.stable_hash(0)) {
            Some(copies) => copies,
            None => self.replicas_slowly(key),
        }
    }

    /// A part of a key: see [`Topology::part`]. What is not split costs what
    /// [`route`](Self::route) does.
    #[inline]
    pub fn part<K: StableKey>(&self, key: K, choice: u64) -> Salted<K> {
        match self.0.published.owner(key.stable_hash(0)) {
            Some(_) => Salted::new(key, 0),
            None => self.topology().part(key, choice),
        }
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.0.in_force.load_full()
    }

    pub(super) fn timer(&self) -> &Timer {
        self.0.timer.get_or_init(Timer::thread)
    }

    // Keys by value: one that a register holds need not go to memory for the cold path.
    #[cold]
    #[inline(never)]
    fn route_slowly<K: StableKey>(&self, key: K) -> NodeId {
        self.0.in_force.load().route(&key)
    }

    #[cold]
    #[inline(never)]
    fn replicas_slowly<K: StableKey>(&self, key: K) -> Replicas {
        self.0.in_force.load().replicas(&key)
    }

    /// The first node, in the key's order of preference, that is accepted: see
    /// [`Topology::route_where`].
    pub fn route_where(
        &self,
        key: impl StableKey,
        accept: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        let now = self.0.in_force.load_full();
        now.topology_for(&key).route_where(key, accept)
    }

    /// Routes many keys by one topology: see [`Topology::route_many`]. In the midst of a
    /// [migration](super::migration) each goes where [`route`](Self::route) says.
    pub fn route_many<K: StableKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        nodes: &mut Vec<NodeId>,
    ) {
        let now = self.0.in_force.load_full();
        if now.moving.is_none() {
            return now.topology.route_many(keys, nodes);
        }
        nodes.clear();
        nodes.extend(keys.into_iter().map(|key| now.route(&key)));
    }

    /// Sorts keys by node, by one topology: see [`Topology::group_by_node`]. In the midst of a
    /// [migration](super::migration) each goes where [`route`](Self::route) says.
    pub fn group_by_node<K: StableKey>(&self, keys: impl IntoIterator<Item = K>) -> Groups {
        self.0.in_force.load_full().group_by_node(keys)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router").field(&self.topology()).finish()
    }
}
