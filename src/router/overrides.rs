//! What a topology says about single keys. Each of them, parts included, has an entry
//! with its nodes; its slot is marked, and only who finds a mark looks here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::error::TopologyError;
use super::node::NodeId;
use super::placement::{Placed, show};
use super::policy::Policy;
use super::replicas::{MAX_REPLICAS, Replicas, Spread, draw};
use super::route::slot;
use super::salted::Salted;
use super::topology::{Table, Topology};
use crate::hash::{CanonicalBytes, StableKey, xxh3_64};
use crate::rng::mix;

/// What a topology says about one key, against its policy.
///
/// ```
/// use tenfold::router::{Override, Topology};
///
/// let nodes = Topology::builder().nodes(["a", "b", "vip"]);
/// let topology = nodes.pin("celebrity", "vip").build()?;
/// assert_eq!(topology.override_of("celebrity"), Some(&Override::Pin("vip".into())));
/// assert_eq!(topology.override_of("anyone"), None);
/// # Ok::<(), tenfold::router::TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Override {
    /// It lies on the node of this name.
    Pin(Arc<str>),
    /// It has so many copies, unless every key has more.
    Replicate(usize),
    /// It is split into so many parts: see [`Salted`].
    Split(u32),
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin(node) => write!(f, "pinned to {node}"),
            Self::Replicate(copies) => write!(f, "{copies} copies"),
            Self::Split(parts) => write!(f, "{parts} parts"),
        }
    }
}

/// A key of any type as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyBytes {
    pub(super) canonical: Box<[u8]>,
    /// Nothing if they are the same.
    pub(super) ordered: Option<Box<[u8]>>,
}

impl KeyBytes {
    pub(super) fn of(key: &impl StableKey) -> Self {
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        let canonical: Box<[u8]> = bytes.as_slice().into();
        let mut bytes = CanonicalBytes::new();
        key.write_ordered(&mut bytes);
        let ordered = Some(bytes.as_slice()).filter(|ordered| **ordered != *canonical);
        Self {
            ordered: ordered.map(Into::into),
            canonical,
        }
    }

    fn ordered(&self) -> &[u8] {
        self.ordered.as_deref().unwrap_or(&self.canonical)
    }

    fn part(&self, part: u32) -> Self {
        if part == 0 {
            return self.clone();
        }
        // The bytes of a slice are itself, so these are those of the key's own parts.
        let canonical = Self::of(&Salted::new(&*self.canonical, part)).canonical;
        let mut ordered = CanonicalBytes::new();
        Salted::new(self.ordered(), part).write_ordered(&mut ordered);
        Self {
            canonical,
            ordered: Some(ordered.as_slice().into()),
        }
    }
}

impl fmt::Display for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.canonical))
    }
}

/// What was said, by canonical bytes.
pub(super) type Said = BTreeMap<Box<[u8]>, (KeyBytes, Override)>;

/// A key that does not go with its slot, or might not.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) hash: u64,
    pub(super) key: KeyBytes,
    pub(super) copies: Replicas,
    /// How many parts it has.
    pub(super) parts: u32,
    /// Where its load is: of a split key the nodes of its parts, or those of its copies.
    pub(super) load: Box<[NodeId]>,
}

/// What a topology says about single keys, compiled.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) said: Said,
    /// By hash.
    pub(super) exact: Vec<Exact>,
    /// A bit a slot, set where one of them lies; nothing if there are no slots.
    marks: Box<[u64]>,
}

impl Overrides {
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }

    /// Whether some key of a slot does not go with it.
    #[inline]
    pub(super) fn is_marked(&self, slot: usize) -> bool {
        let word = self.marks.get(slot / 64);
        word.is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// The entry of a key with this hash.
    #[cold]
    #[inline(never)]
    pub(super) fn find(&self, hash: u64, key: &impl StableKey) -> Option<&Exact> {
        let same = self.same_hash(hash);
        if same.is_empty() {
            return None;
        }
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        same.iter()
            .find(|exact| *exact.key.canonical == *bytes.as_slice())
    }

    /// The entry of the same key as another topology's.
    pub(super) fn like(&self, other: &Exact) -> Option<&Exact> {
        let mut same = self.same_hash(other.hash).iter();
        same.find(|exact| exact.key.canonical == other.key.canonical)
    }

    fn same_hash(&self, hash: u64) -> &[Exact] {
        let from = self.exact.partition_point(|exact| exact.hash < hash);
        let rest = &self.exact[from..];
        &rest[..rest.partition_point(|exact| exact.hash == hash)]
    }

    /// Compiles what was said against a table whose other fields are complete.
    pub(super) fn compile(said: Said, table: &Table) -> Result<Self, TopologyError> {
        check(&said, table)?;
        let mut exact = Vec::new();
        for (key, what) in said.values() {
            let place = table.place_of(key);
            let home = table.replicas_at(place);
            match what {
                Override::Pin(name) => {
                    let copies = table.led_by(table.id_named(name)?, place);
                    exact.push(Exact::new(key.clone(), copies));
                }
                Override::Replicate(copies) => {
                    let nodes = table.spread_from(&home, place, (*copies).max(home.len()));
                    exact.push(Exact::new(key.clone(), Replicas::of(&nodes)));
                }
                Override::Split(parts) => {
                    let nodes = table.spread_from(&home, place, *parts as usize);
                    let node = |part: u32| nodes[part as usize % nodes.len()];
                    exact.push(Exact {
                        parts: *parts,
                        load: (0..*parts).map(node).collect(),
                        ..Exact::new(key.clone(), home)
                    });
                    exact.extend((1..*parts).map(|part| {
                        let key = key.part(part);
                        let copies = table.led_by(node(part), table.place_of(&key));
                        Exact::new(key, copies)
                    }));
                }
            }
        }
        exact.sort_by(|a, b| (a.hash, &a.key).cmp(&(b.hash, &b.key)));
        let twice = exact.windows(2).find(|pair| pair[0].key == pair[1].key);
        if let Some(pair) = twice {
            return Err(TopologyError::OverriddenTwice {
                key: pair[0].key.to_string(),
            });
        }
        let mut marks = Box::default();
        if let Placed::Slots(owners) = &table.placed
            && !exact.is_empty()
        {
            marks = vec![0; owners.len().div_ceil(64)].into_boxed_slice();
            for exact in &exact {
                let slot = slot(exact.hash, owners.len());
                marks[slot / 64] |= 1 << (slot % 64);
            }
        }
        Ok(Self { said, exact, marks })
    }
}

impl Exact {
    fn new(key: KeyBytes, copies: Replicas) -> Self {
        Self {
            hash: xxh3_64(&key.canonical, 0),
            key,
            copies,
            parts: 1,
            load: copies.as_ref().into(),
        }
    }
}

/// What is wrong with what was said, whoever the nodes own.
fn check(said: &Said, table: &Table) -> Result<(), TopologyError> {
    if !said.is_empty() && matches!(table.policy, Policy::RedisCluster(_)) {
        return Err(TopologyError::NoOverrides {
            policy: table.policy.name(),
        });
    }
    let mut found = 0;
    for (key, what) in said.values() {
        let len = key.ordered().len().max(key.canonical.len());
        if len > MAX_KEY {
            return Err(TopologyError::KeyLength {
                found: len,
                max: MAX_KEY,
            });
        }
        found += 1;
        match what {
            Override::Pin(_) => {}
            Override::Replicate(copies) => {
                if !(2..=MAX_REPLICAS).contains(copies) {
                    return Err(TopologyError::Copies {
                        key: key.to_string(),
                        found: *copies,
                        max: MAX_REPLICAS,
                    });
                }
                if *copies > table.nodes.len() {
                    return Err(TopologyError::TooFewNodes {
                        replicas: *copies,
                        nodes: table.nodes.len(),
                    });
                }
            }
            Override::Split(parts) => {
                if !(2..=MAX_OVERRIDES as u32).contains(parts) {
                    return Err(TopologyError::Parts {
                        key: key.to_string(),
                        found: *parts,
                        max: MAX_OVERRIDES as u32,
                    });
                }
                found += *parts as usize - 1;
            }
        }
    }
    if found > MAX_OVERRIDES {
        return Err(TopologyError::TooManyOverrides {
            found,
            max: MAX_OVERRIDES,
        });
    }
    Ok(())
}

impl Topology {
    /// What this topology says about a key, if it says something.
    pub fn override_of(&self, key: impl StableKey) -> Option<&Override> {
        let said = &self.0.overrides.said;
        if said.is_empty() {
            return None;
        }
        let key = KeyBytes::of(&key);
        said.get(&key.canonical).map(|(_, what)| what)
    }

    /// The keys that this topology says something about, by their canonical bytes.
    pub fn overrides(&self) -> impl ExactSizeIterator<Item = (&[u8], &Override)> {
        let said = self.0.overrides.said.iter();
        said.map(|(key, (_, what))| (&**key, what))
    }

    /// A part of a key, chosen by a number (one drawn at random, or counted up): part 0,
    /// which is the key itself, unless the key is [split](super::TopologyBuilder::split).
    pub fn part<K: StableKey>(&self, key: K, choice: u64) -> Salted<K> {
        let parts = self.0.parts(&key);
        Salted::new(key, (choice % u64::from(parts)) as u32)
    }

    /// The parts of a key: one, the key itself, unless it is
    /// [split](super::TopologyBuilder::split).
    pub fn parts<K: StableKey + Clone>(&self, key: K) -> impl Iterator<Item = Salted<K>> {
        let parts = self.0.parts(&key);
        (0..parts).map(move |part| Salted::new(key.clone(), part))
    }
}

impl Table {
    fn parts(&self, key: &impl StableKey) -> u32 {
        if self.plain.is_some() {
            return 1;
        }
        self.exact(key).map_or(1, |exact| exact.parts)
    }

    /// What is said about a key.
    #[inline]
    pub(super) fn exact(&self, key: &impl StableKey) -> Option<&Exact> {
        if self.overrides.is_empty() {
            return None;
        }
        self.overrides.find(key.stable_hash(0), key)
    }

    fn id_named(&self, name: &Arc<str>) -> Result<NodeId, TopologyError> {
        let found = self.nodes.binary_search_by(|(_, node)| node.name.cmp(name));
        found
            .map(|rank| self.nodes[rank].0)
            .map_err(|_| TopologyError::UnknownNode { name: name.clone() })
    }

    /// The number of what is said about a key, and the nodes that have its load.
    pub(super) fn numbered(&self, key: &impl StableKey) -> Option<(usize, &[NodeId])> {
        let found = self.exact(key)?;
        let number = self.overrides.exact.iter();
        let number = number.take_while(|exact| !std::ptr::eq(*exact, found));
        Some((number.count(), &found.load))
    }

    /// The node of a key that one of two topologies says something about.
    pub(super) fn owner_of(&self, exact: &Exact) -> NodeId {
        match self.overrides.like(exact) {
            Some(own) => own.copies.primary(),
            None => self.owner(self.place_of(&exact.key)),
        }
    }

    /// Where a key would lie if nothing was said about it.
    pub(super) fn place_of(&self, key: &KeyBytes) -> usize {
        match &self.placed {
            Placed::Ranges(ranges, _) => ranges.position(key.ordered()),
            _ => self.place(&&*key.canonical),
        }
    }

    /// The copies of a place when a certain node has to be the first: it replaces one in its
    /// zone, or the last.
    fn led_by(&self, first: NodeId, place: usize) -> Replicas {
        let home = self.replicas_at(place);
        let zone = |id| self.zones.of(id);
        let spread = self.spread != Spread::Nodes;
        let same = home.iter().position(|&id| id == first).or_else(|| {
            let mut home = home.iter();
            home.position(|&id| spread && zone(id) == zone(first))
        });
        let dropped = same.unwrap_or(home.len() - 1);
        let others = home.iter().enumerate().filter(|(at, _)| *at != dropped);
        let nodes: Vec<_> = [first]
            .into_iter()
            .chain(others.map(|(_, id)| *id))
            .collect();
        Replicas::of(&nodes)
    }

    /// These nodes of a place and then others, all distinct, up to so many or all there are.
    /// Each next one is drawn for itself, by weight, among those that are left, so that a node
    /// that comes or goes concerns few of them, and one more concerns no other.
    pub(super) fn spread_from(&self, first: &[NodeId], place: usize, count: usize) -> Vec<NodeId> {
        let count = count.min(self.nodes.len());
        let mut nodes: Vec<_> = first.iter().copied().take(count).collect();
        let mut taken = vec![false; self.ranks.len()];
        for id in &nodes {
            taken[id.index()] = true;
        }
        let seed = self.seed(place);
        // Made when draws fail: what a node without keys is called.
        let mut names: Vec<u64> = Vec::new();
        let tries = match &self.placed {
            // Drawn among all nodes in order, and a new one would renumber them.
            Placed::Ranges(..) => 0,
            _ => DRAWS,
        };
        while nodes.len() < count {
            let own = mix(seed ^ nodes.len() as u64);
            let drawn = (1..=tries).map(|number| self.candidate(place, own, number));
            let mut free = drawn.filter(|id| !taken[id.index()]);
            let next = free.next().unwrap_or_else(|| {
                if names.is_empty() {
                    let name = |(_, node): &(_, super::Node)| xxh3_64(node.name.as_bytes(), 0);
                    names = self.nodes.iter().map(name).collect();
                }
                let left = self.nodes.iter().zip(&names);
                let left = left.filter(|((id, _), _)| !taken[id.index()]);
                let best = left.max_by_key(|(_, name)| mix(own ^ **name));
                best.map_or(
                    self.nodes[draw(own, 0, self.nodes.len())].0,
                    |((id, _), _)| *id,
                )
            });
            taken[next.index()] = true;
            nodes.push(next);
        }
        nodes
    }
}

/// The most keys that a topology may say something about, every part of a split key
/// counted: as many as make six slots of a hundred slow where there are fewest of them.
/// Celebrities are few; who has more exceptions than these wants another
/// policy.
pub const MAX_OVERRIDES: usize = 1024;
/// The longest key that something is said about.
const MAX_KEY: usize = 1024;
/// How often to draw for a part.
const DRAWS: u64 = 64;
