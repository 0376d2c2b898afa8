use std::sync::Arc;

/// A topology that cannot be built as described. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// There is nowhere to place a key.
    #[error("a topology needs at least one node, found none")]
    NoNodes,
    /// More nodes than an entry of the table can name.
    #[error("a topology may have {max} nodes, found {found}")]
    TooManyNodes {
        /// How many there were.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name is empty, or too long to be written down.
    #[error("names of nodes, zones and tags must have 1 to {max} bytes, found {found}")]
    NameLength {
        /// How many bytes it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// More tags than can be written down.
    #[error("node {name:?} may have {max} tags, found {found}")]
    TooManyTags {
        /// The node.
        name: Arc<str>,
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// Two nodes have the same name, which alone decides where keys go.
    #[error("node names must be unique, found {name:?} twice")]
    DuplicateNode {
        /// The name.
        name: Arc<str>,
    },
    /// A name that no node has.
    #[error("there is no node named {name:?}")]
    UnknownNode {
        /// The name.
        name: Arc<str>,
    },
    /// A node without a share. One that shall get no keys is removed.
    #[error(
        "node {name:?} has weight 0, expected at least 1: remove a node that shall hold nothing"
    )]
    ZeroWeight {
        /// The node.
        name: Arc<str>,
    },
    /// The weights do not add up in 64 bits.
    #[error("the sum of all weights must be below 2^64")]
    WeightOverflow,
    /// A policy without weights was given nodes of different weight.
    #[error("{policy} cannot weigh nodes: give all the same weight, or use another policy")]
    Unweighted {
        /// The policy.
        policy: &'static str,
    },
    /// A number of slots that the policy cannot use.
    #[error("{policy} needs {expected} slots, found {found}")]
    Slots {
        /// The policy.
        policy: &'static str,
        /// What it can use.
        expected: &'static str,
        /// What was asked for.
        found: u32,
    },
    /// Fewer slots than nodes: some could not hold any.
    #[error("{nodes} nodes need at least as many slots, found {slots}")]
    FewerSlotsThanNodes {
        /// The nodes.
        nodes: usize,
        /// The slots.
        slots: u32,
    },
    /// Slots cannot be joined again: their owners may differ.
    #[error("a topology keeps its slots: expected at least {have}, found {found}")]
    FewerSlotsThanBefore {
        /// How many there are.
        have: u32,
        /// How many were asked for.
        found: u32,
    },
    /// No virtual nodes, or more in all than memory should be spent on.
    #[error("a ring may have 1 to {max} points in all, found {found}")]
    Points {
        /// The sum over the nodes.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// A number of copies that is out of range.
    #[error("replicas must be between 1 and {max}, found {found}")]
    Replicas {
        /// What was asked for.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// Copies lie on distinct nodes, and there are not that many.
    #[error("{replicas} replicas need as many nodes, found {nodes}")]
    TooFewNodes {
        /// What was asked for.
        replicas: usize,
        /// The nodes.
        nodes: usize,
    },
    /// Copies must lie in distinct zones, and there are not that many.
    #[error("{replicas} replicas in distinct zones need as many zones, found {zones}")]
    TooFewZones {
        /// What was asked for.
        replicas: usize,
        /// The zones.
        zones: usize,
    },
    /// Copies must lie in distinct zones, and a node is in none.
    #[error("replicas must lie in distinct zones, but node {name:?} has no zone")]
    NodeWithoutZone {
        /// The node.
        name: Arc<str>,
    },
    /// Two ranges of slots or keys claim the same.
    #[error("ranges must not overlap: {second} begins before {first} ends")]
    OverlappingRanges {
        /// The range that comes first.
        first: String,
        /// The range that begins within it.
        second: String,
    },
    /// Some slots or keys are in no range, and would have no owner.
    #[error("ranges must leave no gap: nothing owns {gap}")]
    Gap {
        /// What is left out.
        gap: String,
    },
    /// A range that holds nothing, or ends outside of the table.
    #[error("{range} is no range of {expected}")]
    Range {
        /// The range.
        range: String,
        /// What it should be a range of.
        expected: String,
    },
    /// More exceptions than a topology may have.
    #[error("overrides may concern {max} keys, every part counted, found {found}")]
    TooManyOverrides {
        /// How many keys they concern.
        found: usize,
        /// How many they may.
        max: usize,
    },
    /// A key that is too long to be written down.
    #[error("a key with an override may have {max} bytes, found {found}")]
    KeyLength {
        /// How many bytes it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// Two things are said about one key, or about a part of a split key.
    #[error("key {key} has an override already: release it first")]
    OverriddenTwice {
        /// The key.
        key: String,
    },
    /// A key that shall be released, and about which nothing is said.
    #[error("key {key} has no override to release")]
    NotOverridden {
        /// The key.
        key: String,
    },
    /// A number of parts that is out of range.
    #[error("key {key} can be split into 2 to {max} parts, found {found}")]
    Parts {
        /// The key.
        key: String,
        /// What was asked for.
        found: u32,
        /// The most there may be.
        max: u32,
    },
    /// A number of copies of one key that is out of range.
    #[error("key {key} can have 2 to {max} copies, found {found}")]
    Copies {
        /// The key.
        key: String,
        /// What was asked for.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// A node shall go, and a key is pinned to it. Where to that key may go is yours to say.
    #[error("key {key} is pinned to node {node:?}: release it, or pin it to another")]
    PinnedNode {
        /// The node.
        node: Arc<str>,
        /// The key.
        key: String,
    },
    /// Overrides under a policy by which others place keys as well.
    #[error("{policy} cannot have overrides: the cluster says itself where its keys lie")]
    NoOverrides {
        /// The policy.
        policy: &'static str,
    },
    /// Ranges are asked about where keys are not placed by range.
    #[error("{policy} does not place keys by range, expected range")]
    NotRanges {
        /// The policy.
        policy: &'static str,
    },
    /// A range that begins where one does already.
    #[error("there is a boundary at {at} already: assign the range to another node instead")]
    Boundary {
        /// The key.
        at: String,
    },
    /// A boundary between ranges that there is not.
    #[error("there is no boundary at {at}")]
    NoBoundary {
        /// The key.
        at: String,
    },
}

/// Bytes that are no topology. Nothing of them was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as a topology does.
    #[error("expected the bytes of a topology, found something else")]
    Magic,
    /// They were written by a newer version of this crate.
    #[error("topology has format version {found}, this program reads up to {supported}")]
    FutureVersion {
        /// The version of the bytes.
        found: u16,
        /// The newest that can be read.
        supported: u16,
    },
    /// Its keys are placed by a hash that this version does not know.
    #[error("topology places keys by hash number {found}, this program knows number {known}")]
    UnknownHash {
        /// The number in the bytes.
        found: u8,
        /// The number of XXH3-64.
        known: u8,
    },
    /// They end too early, or were changed.
    #[error("topology is damaged: checksum should be {expected:016x}, found {found:016x}")]
    Checksum {
        /// What the bytes say.
        expected: u64,
        /// What they have.
        found: u64,
    },
    /// They are shorter than any topology.
    #[error("a topology has at least {expected} bytes, found {found}")]
    TooShort {
        /// The shortest there is.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The checksum is right, and yet they make no sense.
    #[error("topology is malformed: expected {expected}")]
    Malformed {
        /// What should have been there.
        expected: &'static str,
    },
    /// They describe a topology that cannot be.
    #[error("the bytes describe an invalid topology")]
    Invalid(#[source] TopologyError),
}

/// Two sides do not know the same topology: the one with the lower epoch should
/// fetch the other's before it goes on.
///
/// ```
/// use tenfold::router::{StaleTopology, Topology};
///
/// let old = Topology::builder().node("a").build()?;
/// let new = old.edit().node("b").build()?;
/// assert_eq!(new.check(old.epoch()), Err(StaleTopology { have: 1, need: 2 }));
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("topology is stale: have epoch {have}, need {need}")]
pub struct StaleTopology {
    /// The epoch that was offered.
    pub have: u64,
    /// The epoch that it must at least be.
    pub need: u64,
}

/// A topology that cannot be put in force now. The one in force stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// Another one was put in force meanwhile: edit that.
    #[error(transparent)]
    Stale(#[from] StaleTopology),
    /// Data is being moved from the topology in force to another.
    #[error("a migration to epoch {to} is under way: let it end first")]
    Migrating {
        /// Where it leads.
        to: u64,
    },
}
