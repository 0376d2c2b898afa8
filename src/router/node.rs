use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A shard, a cache server, a backend: what keys are placed on.
///
/// The name alone decides where keys go, so it must stay the same for as long as
/// the node holds its data; addresses that change belong elsewhere.
///
/// ```
/// use tenfold::router::Node;
///
/// let node = Node::new("pg-1").weight(2).zone("eu-a").tag("ssd");
/// assert_eq!((node.name(), node.zone_name()), ("pg-1", Some("eu-a")));
/// assert!(node.has_tag("ssd"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Node {
    pub(super) name: Arc<str>,
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub(super) weight: u64,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) zone: Option<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) tags: BTreeSet<Arc<str>>,
}

#[cfg(feature = "serde")]
const fn one() -> u64 {
    1
}

impl Node {
    /// A node of weight 1, in no zone, without tags.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            weight: 1,
            zone: None,
            tags: BTreeSet::new(),
        }
    }

    /// Gives it a share of the keys in proportion to this number. Zero is
    /// refused when the topology is built.
    #[must_use]
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
    }

    /// Says what it fails together with: a rack, a data centre.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Adds a word about it, which placement ignores and callers may ask for.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Its name, unique within a topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its weight relative to the other nodes'.
    pub fn relative_weight(&self) -> u64 {
        self.weight
    }

    /// Its zone, if it is in one.
    pub fn zone_name(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Its tags in alphabetical order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| &**tag)
    }

    /// Whether it has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains(tag)
    }
}

impl From<&str> for Node {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Node {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// A node of a topology, as routing answers it: two bytes, to index an array of
/// connections with.
///
/// A node keeps its number through every [edit](super::Topology::edit) until it
/// is removed, and no other node gets it before all numbers were used. Two
/// topologies that were built apart may number the same nodes differently:
/// between processes, say the [name](super::Topology::name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "u16", into = "u16")
)]
#[repr(transparent)]
pub struct NodeId(u16);

impl NodeId {
    /// As an index: below [`Topology::node_bound`](super::Topology::node_bound).
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    #[inline]
    pub(super) const fn from_raw(id: u16) -> Self {
        Self(id)
    }

    #[inline]
    pub(super) const fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The most nodes a topology can have: an entry of its table is 15 bits and a flag.
pub const MAX_NODES: usize = 1 << 15;
