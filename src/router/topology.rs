use std::fmt;
use std::sync::{Arc, OnceLock};

use super::builder::TopologyBuilder;
use super::error::StaleTopology;
use super::fingerprint;
use super::node::{Node, NodeId};
use super::overrides::Overrides;
use super::placement::{History, Placed};
use super::policy::Policy;
use super::replicas::{Rows, Spread, Zones};

/// Which nodes there are and which keys lie where: one immutable version of it.
///
/// A topology is data. It is built from names, edited into the next version,
/// written to bytes and read back, and compared by [fingerprint](Self::fingerprint);
/// and it is the compiled table, so that it can be asked directly. Where it changes
/// under those who ask, a [`Router`](super::Router) holds it.
///
/// A clone is another handle to the same table.
///
/// With the feature `serde` it is written in words where people may read them, with
/// nodes by name, and otherwise as [`to_bytes`](Self::to_bytes). Either is checked when
/// it is read, and comes back with its history and its epoch.
///
/// ```
/// use tenfold::router::{Node, Topology};
///
/// let four = Topology::builder().nodes(["pg-1", "pg-2", "pg-3", "pg-4"]).build()?;
/// let five = four.edit().node(Node::new("pg-5").weight(2)).build()?;
/// assert_eq!((four.epoch(), five.epoch()), (1, 2));
///
/// let new = five.id_of("pg-5").unwrap();
/// assert_eq!(five.node(new).unwrap().relative_weight(), 2);
/// for key in 0..10_000_u64 {
///     // What is not on the new node is where it was.
///     assert!(five.route(key) == new || five.route(key) == four.route(key));
/// }
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Clone)]
pub struct Topology(pub(super) Arc<Table>);

/// The inside of a topology.
pub(super) struct Table {
    pub(super) epoch: u64,
    /// In the order of names.
    pub(super) nodes: Vec<(NodeId, Node)>,
    /// Where a node stands in `nodes`, by id; [`NOBODY`] where there is none.
    pub(super) ranks: Vec<u16>,
    /// Of all nodes together.
    pub(super) total_weight: u64,
    /// The id of the next node that comes, as long as there are fresh ones.
    pub(super) next_id: u32,
    pub(super) policy: Policy,
    /// Zero if the policy has none.
    pub(super) slots: u32,
    /// Whether their number was left to us.
    pub(super) slots_chosen: bool,
    pub(super) replicas: usize,
    pub(super) spread: Spread,
    pub(super) placed: Placed,
    /// The bucket numbers of `Jump`.
    pub(super) buckets: Vec<Option<u16>>,
    pub(super) zones: Zones,
    pub(super) rows: Rows,
    /// What is said about single keys.
    pub(super) overrides: Overrides,
    /// The owner of each slot, if that is all there is to ask: not if keys go by something
    /// else, and not if something is said about any of them.
    pub(super) plain: Option<Arc<[u16]>>,
    /// Made when it is first asked for.
    pub(super) fingerprint: OnceLock<u64>,
}

impl Topology {
    /// Begins a first version, without nodes.
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder::new()
    }

    /// Begins the next version: what is not changed stays, and the epoch is one
    /// higher.
    pub fn edit(&self) -> TopologyBuilder {
        TopologyBuilder::after(self.clone())
    }

    /// The version: 1 for the first, one more after each edit.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// A number that is equal for topologies that place every key, and its
    /// copies, on nodes of the same names: for two processes to see whether they
    /// agree. Epoch, ids and tags do not matter to it.
    ///
    /// Computed when it is first asked for, and kept.
    pub fn fingerprint(&self) -> u64 {
        *self.0.fingerprint.get_or_init(|| fingerprint::of(&self.0))
    }

    /// Whether a caller who knows this epoch knows enough.
    ///
    /// # Errors
    ///
    /// [`StaleTopology`] if ours is later.
    pub fn check(&self, epoch: u64) -> Result<(), StaleTopology> {
        if epoch < self.0.epoch {
            return Err(StaleTopology {
                have: epoch,
                need: self.0.epoch,
            });
        }
        Ok(())
    }

    /// The nodes and their ids, in the order of names.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &Node)> {
        self.0.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The node that this id stands for, unless it was removed or is another
    /// topology's.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let rank = *self.0.ranks.get(id.index())?;
        self.0.nodes.get(usize::from(rank)).map(|(_, node)| node)
    }

    /// The name of the node that this id stands for.
    pub fn name(&self, id: NodeId) -> Option<&str> {
        self.node(id).map(Node::name)
    }

    /// The id of the node of this name.
    pub fn id_of(&self, name: &str) -> Option<NodeId> {
        let found = self
            .0
            .nodes
            .binary_search_by(|(_, node)| node.name().cmp(name));
        found.ok().map(|rank| self.0.nodes[rank].0)
    }

    /// One more than the highest [index](NodeId::index) of any node.
    pub fn node_bound(&self) -> usize {
        self.0.ranks.len()
    }

    /// How nodes come by their keys.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// How many copies [`replicas`](Self::replicas) answers.
    pub fn replica_count(&self) -> usize {
        self.0.replicas
    }

    /// How copies are spread over zones.
    pub fn spread(&self) -> Spread {
        self.0.spread
    }

    /// How many slots the hashes are divided into; zero if the policy
    /// looks keys up in another way.
    pub fn slots(&self) -> u32 {
        self.0.slots
    }

    /// The owner of a slot, if there is such a slot: of its keys, unless something
    /// [is said](Self::override_of) about one.
    pub fn owner_of_slot(&self, slot: u32) -> Option<NodeId> {
        let owner = self.0.slot_owners().get(slot as usize)?;
        Some(NodeId::from_raw(*owner))
    }

    /// How many slots a node owns.
    ///
    /// Looks at every slot.
    pub fn slots_of(&self, node: NodeId) -> usize {
        let owners = self.0.slot_owners().iter();
        owners.filter(|owner| **owner == node.raw()).count()
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology")
            .field("epoch", &self.0.epoch)
            .field("policy", &self.0.policy.name())
            .field("nodes", &self.0.nodes.len())
            .field("slots", &self.0.slots)
            .field("replicas", &self.0.replicas)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// The name of a node, to be shared.
    pub(super) fn shared_name(&self, id: NodeId) -> Option<Arc<str>> {
        let rank = *self.ranks.get(id.index())?;
        let (_, node) = self.nodes.get(usize::from(rank))?;
        Some(node.name.clone())
    }

    /// The owner of each slot; nothing if the policy has no slots.
    pub(super) fn slot_owners(&self) -> &[u16] {
        match &self.placed {
            Placed::Slots(owners) | Placed::Redis(owners) => owners,
            Placed::Ranges(..) | Placed::Ring(_) => &[],
        }
    }

    /// How many bytes the answers take: owners, copies, points, boundaries.
    pub(super) fn bytes(&self) -> usize {
        self.placed.bytes() + self.rows.bytes()
    }

    /// What the next version starts from.
    pub(super) fn history(&self, next: &Policy, slots: u32) -> History {
        let owners = match (&self.placed, next) {
            (Placed::Slots(owners), Policy::Balanced)
            | (Placed::Redis(owners), Policy::RedisCluster(None)) => owners,
            _ => &Arc::default(),
        };
        let times = slots.checked_div(self.slots).unwrap_or(0);
        let fits = times * self.slots == slots;
        History {
            // A slot of the old table is `times` of the new one, side by side.
            owners: owners
                .iter()
                .filter(|_| fits)
                .flat_map(|&owner| std::iter::repeat_n(owner, times as usize))
                .collect(),
            buckets: match next {
                Policy::Jump => self.buckets.clone(),
                _ => Vec::new(),
            },
            settled: false,
        }
    }
}

/// No node.
pub(super) const NOBODY: u16 = u16::MAX;
