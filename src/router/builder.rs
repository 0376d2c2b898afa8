use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::error::TopologyError;
use super::node::{MAX_NODES, Node, NodeId};
use super::overrides::{KeyBytes, Override, Overrides, Said};
use super::placement::{self, History, Member, Placed};
use super::policy::Policy;
use super::replicas::{MAX_REPLICAS, Rows, Spread, Zones};
use super::topology::{NOBODY, Table, Topology};
use crate::hash::StableKey;

/// Describes a topology, or the next version of one. Mistakes surface in
/// [`build`](Self::build).
#[derive(Debug, Clone)]
#[must_use]
pub struct TopologyBuilder {
    previous: Option<Topology>,
    epoch: Option<u64>,
    edits: Vec<Edit>,
    overrides: Vec<(KeyBytes, Option<Override>)>,
    policy: Option<Policy>,
    slots: Option<u32>,
    replicas: Option<usize>,
    spread: Option<Spread>,
}

#[derive(Debug, Clone)]
enum Edit {
    Add(Node),
    Update(Node),
    Remove(Arc<str>),
}

impl TopologyBuilder {
    pub(super) fn new() -> Self {
        Self {
            previous: None,
            epoch: None,
            edits: Vec::new(),
            overrides: Vec::new(),
            policy: None,
            slots: None,
            replicas: None,
            spread: None,
        }
    }

    pub(super) fn after(previous: Topology) -> Self {
        Self {
            previous: Some(previous),
            ..Self::new()
        }
    }

    /// Adds a node.
    pub fn node(mut self, node: impl Into<Node>) -> Self {
        self.edits.push(Edit::Add(node.into()));
        self
    }

    /// Adds nodes.
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = impl Into<Node>>) -> Self {
        let nodes = nodes.into_iter().map(|node| Edit::Add(node.into()));
        self.edits.extend(nodes);
        self
    }

    /// Gives the node of this name another weight, zone and other tags.
    pub fn update(mut self, node: impl Into<Node>) -> Self {
        self.edits.push(Edit::Update(node.into()));
        self
    }

    /// Takes away the node of this name; its keys go to the others.
    pub fn remove(mut self, name: impl Into<Arc<str>>) -> Self {
        self.edits.push(Edit::Remove(name.into()));
        self
    }

    /// Places keys by this policy instead of [`Policy::Balanced`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Divides the hashes into so many slots: a power of two up to 2^20, or a prime
    /// number for [`Policy::Maglev`].
    ///
    /// Left alone, it is at least 16,384 and a hundred per node, and at least
    /// 65,536 where slots are dealt out at random; [`Policy::Balanced`] doubles it when
    /// nodes get many. An edit that changes nothing but this moves no key under
    /// `Balanced`; under a history-free policy it moves nearly all.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Places so many copies of each key, on distinct nodes: 1 to 8, 1 unless
    /// said otherwise.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// Spreads copies over zones.
    pub fn distinct_zones(mut self, spread: Spread) -> Self {
        self.spread = Some(spread);
        self
    }

    /// Places this one key on the node of this name, whatever the policy says; all
    /// others stay where they are. Its further copies lie where they did.
    ///
    /// A node that a key is pinned to can't be removed: a celebrity must not fall on
    /// whoever comes next. In the same edit, [`release`](Self::release) the key or pin it to another.
    ///
    /// ```
    /// use tenfold::router::{Topology, TopologyError};
    ///
    /// let before = Topology::builder().nodes(["pg-1", "pg-2", "pg-vip"]).build()?;
    /// let pinned = before.edit().pin("celebrity", "pg-vip").build()?;
    /// assert_eq!(pinned.name(pinned.route("celebrity")), Some("pg-vip"));
    ///
    /// let error = pinned.edit().remove("pg-vip").build().unwrap_err();
    /// assert!(matches!(error, TopologyError::PinnedNode { .. }));
    /// let released = pinned.edit().release("celebrity").build()?;
    /// assert_eq!(released.fingerprint(), before.fingerprint());
    /// # Ok::<(), TopologyError>(())
    /// ```
    pub fn pin(self, key: impl StableKey, node: impl Into<Arc<str>>) -> Self {
        self.override_key(&key, Override::Pin(node.into()))
    }

    /// Places so many copies of this one key, on distinct nodes, 2 to 8: for one that is read
    /// more than a node can take. The first are those it had, then come others in the
    /// order of [`spread_over`](Topology::spread_over), in zones of their own no longer.
    pub fn replicate(self, key: impl StableKey, copies: usize) -> Self {
        self.override_key(&key, Override::Replicate(copies))
    }

    /// Splits this one key into so many parts, 2 at least, that lie on distinct nodes as far as
    /// there are enough: for one that is written more than a node can take. See
    /// [`Salted`](super::Salted) for how to write and read it, and [`parts_for`](super::parts_for)
    /// for how many. To split it further, [`release`](Self::release) and split it: no part goes
    /// elsewhere because of the new ones.
    pub fn split(self, key: impl StableKey, parts: u32) -> Self {
        self.override_key(&key, Override::Split(parts))
    }

    /// Takes back what was said about a key, by [`pin`](Self::pin),
    /// [`replicate`](Self::replicate) or [`split`](Self::split).
    pub fn release(mut self, key: impl StableKey) -> Self {
        self.overrides.push((KeyBytes::of(&key), None));
        self
    }

    fn override_key(mut self, key: &impl StableKey, what: Override) -> Self {
        self.overrides.push((KeyBytes::of(key), Some(what)));
        self
    }

    /// Sets the epoch, where versions are counted elsewhere.
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Compiles the table.
    ///
    /// Takes time in proportion to slots, for `Rendezvous` and `Maglev` times the
    /// logarithm of them; a thousand nodes take a millisecond under `Balanced`.
    ///
    /// # Errors
    ///
    /// [`TopologyError`] says what cannot be. Nothing was changed.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let previous = self.previous.as_ref().map(|topology| &*topology.0);
        let (nodes, next_id) = nodes(previous, self.edits)?;
        let said = said(previous, self.overrides, &nodes)?;
        let replicas = self
            .replicas
            .or(previous.map(|table| table.replicas))
            .unwrap_or(1);
        let spread = self
            .spread
            .or(previous.map(|table| table.spread))
            .unwrap_or_default();
        let epoch = self
            .epoch
            .unwrap_or_else(|| previous.map_or(1, |table| table.epoch.saturating_add(1)));
        let policy = match (self.policy, previous) {
            (Some(policy), _) => policy,
            (None, Some(table)) => table.policy.clone(),
            (None, None) => Policy::default(),
        };
        let same_policy = previous.filter(|table| table.policy.name() == policy.name());
        let slots = match (self.slots, same_policy) {
            (None, Some(table)) if !(table.slots_chosen && policy.keeps_owners()) => {
                Some(table.slots).filter(|&slots| slots > 0)
            }
            (asked, _) => asked,
        };
        let mut slots_chosen = self.slots.is_none();
        let mut slots = placement::slots(&policy, slots, nodes.len())?;
        if let Some(table) = same_policy {
            slots_chosen &= table.slots_chosen;
            if policy.keeps_owners() && slots < table.slots {
                if let Some(found) = self.slots {
                    return Err(TopologyError::FewerSlotsThanBefore {
                        have: table.slots,
                        found,
                    });
                }
                slots = table.slots;
            }
        }
        let mut history = previous.map_or_else(History::default, |table| {
            let mut history = table.history(&policy, slots);
            // Doubling moves nothing; evening out is an edit of its own.
            history.settled =
                same_policy.is_some() && slots != table.slots && same_shares(&table.nodes, &nodes);
            history
        });
        Description {
            epoch,
            nodes,
            next_id,
            policy,
            slots,
            slots_chosen,
            replicas,
            spread,
            said,
        }
        .compile(&mut history)
    }
}

/// All that a topology is made from, besides its history.
pub(super) struct Description {
    pub(super) epoch: u64,
    /// In the order of names.
    pub(super) nodes: Vec<(NodeId, Node)>,
    pub(super) next_id: u32,
    pub(super) policy: Policy,
    pub(super) slots: u32,
    pub(super) slots_chosen: bool,
    pub(super) replicas: usize,
    pub(super) spread: Spread,
    pub(super) said: Said,
}

impl Description {
    pub(super) fn compile(self, history: &mut History) -> Result<Topology, TopologyError> {
        self.check_nodes()?;
        self.check_replicas()?;
        let members: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, node)| Member {
                id: id.raw(),
                name: node.name(),
                weight: node.weight,
            })
            .collect();
        let placed = placement::compile(&self.policy, self.slots, &members, history)?;
        let bound = self.nodes.iter().map(|(id, _)| id.index() + 1).max();
        let mut ranks = vec![NOBODY; bound.unwrap_or(0)];
        for (rank, (id, _)) in self.nodes.iter().enumerate() {
            ranks[id.index()] = rank as u16;
        }
        let mut table = Table {
            epoch: self.epoch,
            zones: Zones::new(&self.nodes, ranks.len()),
            total_weight: members.iter().map(|member| member.weight).sum(),
            nodes: self.nodes,
            ranks,
            next_id: self.next_id,
            policy: self.policy,
            slots: self.slots,
            slots_chosen: self.slots_chosen,
            replicas: self.replicas,
            spread: self.spread,
            placed,
            buckets: std::mem::take(&mut history.buckets),
            rows: Rows::none(),
            overrides: Overrides::default(),
            plain: None,
            fingerprint: OnceLock::new(),
        };
        table.rows = Rows::of(&table);
        table.overrides = Overrides::compile(self.said, &table)?;
        if let Placed::Slots(owners) = &table.placed
            && table.overrides.is_empty()
        {
            table.plain = Some(owners.clone());
        }
        Ok(Topology(Arc::new(table)))
    }

    fn check_nodes(&self) -> Result<(), TopologyError> {
        let found = self.nodes.len();
        if found == 0 {
            return Err(TopologyError::NoNodes);
        }
        if found > MAX_NODES {
            return Err(TopologyError::TooManyNodes {
                found,
                max: MAX_NODES,
            });
        }
        let mut total = 0_u64;
        for (_, node) in &self.nodes {
            let words = node.tags.iter().chain(&node.zone).chain([&node.name]);
            for word in words {
                if word.is_empty() || word.len() > MAX_NAME {
                    return Err(TopologyError::NameLength {
                        found: word.len(),
                        max: MAX_NAME,
                    });
                }
            }
            if node.tags.len() > MAX_TAGS {
                return Err(TopologyError::TooManyTags {
                    name: node.name.clone(),
                    found: node.tags.len(),
                    max: MAX_TAGS,
                });
            }
            if node.weight == 0 {
                return Err(TopologyError::ZeroWeight {
                    name: node.name.clone(),
                });
            }
            total = total
                .checked_add(node.weight)
                .ok_or(TopologyError::WeightOverflow)?;
        }
        Ok(())
    }

    fn check_replicas(&self) -> Result<(), TopologyError> {
        let (replicas, nodes) = (self.replicas, self.nodes.len());
        if !(1..=MAX_REPLICAS).contains(&replicas) {
            return Err(TopologyError::Replicas {
                found: replicas,
                max: MAX_REPLICAS,
            });
        }
        if replicas > nodes {
            return Err(TopologyError::TooFewNodes { replicas, nodes });
        }
        if self.spread == Spread::Require {
            let mut zones = BTreeSet::new();
            for (_, node) in &self.nodes {
                let Some(zone) = &node.zone else {
                    return Err(TopologyError::NodeWithoutZone {
                        name: node.name.clone(),
                    });
                };
                zones.insert(zone);
            }
            let zones = zones.len();
            if replicas > zones {
                return Err(TopologyError::TooFewZones { replicas, zones });
            }
        }
        Ok(())
    }
}

/// The nodes after these edits, and the next fresh id. A node keeps its id;
/// newcomers get theirs in the order of names, so that the order of edits
/// does not matter.
fn nodes(
    previous: Option<&Table>,
    edits: Vec<Edit>,
) -> Result<(Vec<(NodeId, Node)>, u32), TopologyError> {
    let mut nodes: BTreeMap<Arc<str>, (Option<NodeId>, Node)> = previous
        .iter()
        .flat_map(|table| &table.nodes)
        .map(|(id, node)| (node.name.clone(), (Some(*id), node.clone())))
        .collect();
    for edit in edits {
        match edit {
            Edit::Add(node) => {
                let name = node.name.clone();
                if nodes.insert(name.clone(), (None, node)).is_some() {
                    return Err(TopologyError::DuplicateNode { name });
                }
            }
            Edit::Update(node) => match nodes.get_mut(&node.name) {
                Some((_, known)) => *known = node,
                None => return Err(TopologyError::UnknownNode { name: node.name }),
            },
            Edit::Remove(name) => {
                if nodes.remove(&name).is_none() {
                    return Err(TopologyError::UnknownNode { name });
                }
            }
        }
    }
    if nodes.len() > MAX_NODES {
        return Err(TopologyError::TooManyNodes {
            found: nodes.len(),
            max: MAX_NODES,
        });
    }
    let taken: BTreeSet<u16> = nodes
        .values()
        .filter_map(|(id, _)| *id)
        .map(NodeId::raw)
        .collect();
    // Once every number was given, those of nodes that are gone come again.
    let mut next_id = previous.map_or(0, |table| table.next_id);
    let mut reused = (0..next_id as u16).filter(|id| !taken.contains(id));
    let mut fresh = || {
        if next_id < MAX_NODES as u32 {
            next_id += 1;
            return next_id as u16 - 1;
        }
        reused.next().unwrap_or(NOBODY)
    };
    let nodes = nodes
        .into_values()
        .map(|(id, node)| (id.unwrap_or_else(|| NodeId::from_raw(fresh())), node))
        .collect();
    Ok((nodes, next_id))
}

/// What is said about single keys after these edits.
fn said(
    previous: Option<&Table>,
    edits: Vec<(KeyBytes, Option<Override>)>,
    nodes: &[(NodeId, Node)],
) -> Result<Said, TopologyError> {
    let mut said = previous.map_or_else(Said::new, |table| table.overrides.said.clone());
    for (key, what) in edits {
        let before = said.remove(&key.canonical);
        match (before, what) {
            (None, Some(what)) => drop(said.insert(key.canonical.clone(), (key, what))),
            (Some(_), None) => {}
            (Some(_), Some(_)) => {
                let key = key.to_string();
                return Err(TopologyError::OverriddenTwice { key });
            }
            (None, None) => {
                let key = key.to_string();
                return Err(TopologyError::NotOverridden { key });
            }
        }
    }
    let had = |name: &Arc<str>| {
        let mut nodes = previous.iter().flat_map(|table| &table.nodes);
        nodes.any(|(_, node)| node.name == *name)
    };
    for (key, what) in said.values() {
        if let Override::Pin(name) = what
            && nodes.iter().all(|(_, node)| node.name != *name)
            && had(name)
        {
            return Err(TopologyError::PinnedNode {
                node: name.clone(),
                key: key.to_string(),
            });
        }
    }
    Ok(said)
}

fn same_shares(old: &[(NodeId, Node)], new: &[(NodeId, Node)]) -> bool {
    let share = |(id, node): &(NodeId, Node)| (*id, node.weight);
    old.iter().map(share).eq(new.iter().map(share))
}

/// The longest name of a node, a zone or a tag.
pub(super) const MAX_NAME: usize = 1024;
/// The most tags of a node: they are counted in two bytes when they are written down.
const MAX_TAGS: usize = u16::MAX as usize;
