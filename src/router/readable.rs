//! Topologies for `serde`: where people may read, as fields that say what they mean,
//! and otherwise as [`Topology::to_bytes`]. Either way they are checked as bytes are.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::builder::Description;
use super::bytes::{Reader, Writer, keeps_history, malformed, numbered, read_policy, write_policy};
use super::error::{DecodeError, TopologyError};
use super::node::{MAX_NODES, Node, NodeId};
use super::overrides::{KeyBytes, Override, Said};
use super::placement::{Directory, History, Ketama, Ranges, hex};
use super::plan::{Move, Plan, Span};
use super::policy::Policy;
use super::replicas::Spread;
use super::topology::Topology;

/// What a topology is, in words.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Readable {
    epoch: u64,
    policy: Policy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
    /// Whether their number may grow by itself.
    #[serde(default)]
    slots_chosen: bool,
    #[serde(default = "one")]
    replicas: usize,
    #[serde(default)]
    spread: Spread,
    next_id: u32,
    nodes: Vec<Numbered>,
    /// Who owns how many slots, from the first on, if the policy does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owners: Vec<(Arc<str>, u32)>,
    /// The buckets of `Jump`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    buckets: Vec<Option<Arc<str>>>,
    /// What is said about single keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<OverrideWords>,
    /// Left out by who writes one by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// A [`Node`], and the number that the topology gave it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbered {
    id: u16,
    name: Arc<str>,
    weight: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<Arc<str>>,
}

/// A key, by its canonical bytes, and what is said about it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideWords {
    key: KeyWords,
    /// Where it is ordered otherwise than by those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordered: Option<KeyWords>,
    what: What,
}

/// An [`Override`], in words.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Pin(Arc<str>),
    Replicate(usize),
    Split(u32),
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Readable::of(self).serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Topology {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = if deserializer.is_human_readable() {
            Readable::deserialize(deserializer)?.check()
        } else {
            Self::from_bytes(&deserializer.deserialize_byte_buf(Bytes)?)
        };
        read.map_err(|error| D::Error::custom(whole(&error)))
    }
}

impl Readable {
    fn of(topology: &Topology) -> Self {
        let table = &*topology.0;
        let name = |id: u16| {
            let rank = usize::from(table.ranks[usize::from(id)]);
            table.nodes[rank].1.name.clone()
        };
        let owners = if keeps_history(&table.policy) {
            table.slot_owners()
        } else {
            &[]
        };
        let nodes = table.nodes.iter().map(|(id, node)| Numbered {
            id: id.raw(),
            name: node.name.clone(),
            weight: node.weight,
            zone: node.zone.clone(),
            tags: node.tags.clone(),
        });
        Self {
            epoch: table.epoch,
            policy: table.policy.clone(),
            slots: Some(table.slots).filter(|&slots| slots > 0),
            slots_chosen: table.slots_chosen,
            replicas: table.replicas,
            spread: table.spread,
            next_id: table.next_id,
            nodes: nodes.collect(),
            owners: owners
                .chunk_by(|a, b| a == b)
                .map(|run| (name(run[0]), run.len() as u32))
                .collect(),
            buckets: table.buckets.iter().map(|id| id.map(name)).collect(),
            overrides: table
                .overrides
                .said
                .values()
                .map(OverrideWords::of)
                .collect(),
            fingerprint: Some(format!("{:016x}", topology.fingerprint())),
        }
    }

    fn check(mut self) -> Result<Topology, DecodeError> {
        self.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let node = |numbered: Numbered| {
            let node = Node {
                name: numbered.name,
                weight: numbered.weight,
                zone: numbered.zone,
                tags: numbered.tags,
            };
            (numbered.id, node)
        };
        let nodes = numbered(self.nodes.into_iter().map(node).collect(), self.next_id)?;
        let ids: BTreeMap<&str, u16> = nodes.iter().map(|(id, n)| (n.name(), id.raw())).collect();
        let id = |name: &Arc<str>| {
            let unknown =
                || DecodeError::Invalid(TopologyError::UnknownNode { name: name.clone() });
            ids.get(&**name).copied().ok_or_else(unknown)
        };
        let slots = self.slots.unwrap_or(0);
        let mut history = History::default();
        if keeps_history(&self.policy) {
            for (owner, run) in &self.owners {
                let len = history.owners.len() + *run as usize;
                if len > slots.min(super::placement::MAX_SLOTS) as usize {
                    return Err(malformed("an owner for each slot"));
                }
                history.owners.resize(len, id(owner)?);
            }
        }
        let mut free = ids.clone();
        for bucket in &self.buckets {
            if let Some(name) = bucket
                && free.remove(&**name).is_none()
            {
                return Err(malformed("a bucket of each node"));
            }
            history.buckets.push(bucket.as_ref().map(id).transpose()?);
            if history.buckets.len() > MAX_NODES {
                return Err(malformed("as many buckets as there may be nodes"));
            }
        }
        let mut said = Said::new();
        for words in self.overrides {
            let (key, what) = words.check()?;
            if said.insert(key.canonical.clone(), (key, what)).is_some() {
                return Err(malformed("one override for a key"));
            }
        }
        let description = Description {
            epoch: self.epoch,
            nodes,
            next_id: self.next_id,
            policy: self.policy,
            slots,
            slots_chosen: self.slots_chosen,
            replicas: self.replicas,
            spread: self.spread,
            said,
        };
        let topology = description.compile_again(history)?;
        let found = format!("{:016x}", topology.fingerprint());
        if self.fingerprint.is_some_and(|expected| expected != found) {
            return Err(malformed("what its fingerprint is of"));
        }
        Ok(topology)
    }
}

impl OverrideWords {
    fn of((key, what): &(KeyBytes, Override)) -> Self {
        Self {
            key: KeyWords::of(&key.canonical),
            ordered: key.ordered.as_deref().map(KeyWords::of),
            what: match what {
                Override::Pin(node) => What::Pin(node.clone()),
                Override::Replicate(copies) => What::Replicate(*copies),
                Override::Split(parts) => What::Split(*parts),
            },
        }
    }

    fn check(self) -> Result<(KeyBytes, Override), DecodeError> {
        let canonical = self.key.check()?;
        let ordered = self.ordered.map(KeyWords::check).transpose()?;
        let key = KeyBytes {
            ordered: ordered.filter(|ordered| *ordered != canonical),
            canonical,
        };
        let what = match self.what {
            What::Pin(node) => Override::Pin(node),
            What::Replicate(copies) => Override::Replicate(copies),
            What::Split(parts) => Override::Split(parts),
        };
        Ok((key, what))
    }
}

/// A policy, in words.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PolicyWords {
    Balanced,
    Rendezvous,
    Ring { vnodes: u32 },
    Jump,
    Maglev,
    Modulo,
    Range(Vec<RangeWords>),
    Directory(Vec<SlotsWords>),
    RedisCluster(Option<Vec<SlotsWords>>),
    KetamaNginx,
    KetamaLibmemcached,
    KetamaLibmemcachedWeighted,
}

/// A range of slots, and whose it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotsWords {
    slots: Range<u32>,
    node: Arc<str>,
}

/// Where a range of keys begins, and whose it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeWords {
    from: KeyWords,
    node: Arc<str>,
}

/// The ordered bytes of a key: text as it is, anything else as hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeyWords {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return PolicyWords::of(self).serialize(serializer);
        }
        let mut writer = Writer::default();
        write_policy(&mut writer, self);
        serializer.serialize_bytes(&writer.bytes)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = if deserializer.is_human_readable() {
            PolicyWords::deserialize(deserializer)?.check()
        } else {
            let bytes = deserializer.deserialize_byte_buf(Bytes)?;
            let mut reader = Reader(&bytes);
            match read_policy(&mut reader) {
                Ok(_) if !reader.0.is_empty() => Err(malformed("nothing after the end")),
                read => read,
            }
        };
        read.map_err(|error| D::Error::custom(whole(&error)))
    }
}

impl PolicyWords {
    fn of(policy: &Policy) -> Self {
        let slots = |directory: &Directory| {
            let words = |(slots, name): (Range<u32>, &str)| SlotsWords {
                slots,
                node: name.into(),
            };
            directory.ranges().map(words).collect()
        };
        match policy {
            Policy::Balanced => Self::Balanced,
            Policy::Rendezvous => Self::Rendezvous,
            Policy::Ring { vnodes } => Self::Ring { vnodes: *vnodes },
            Policy::Jump => Self::Jump,
            Policy::Maglev => Self::Maglev,
            Policy::Modulo => Self::Modulo,
            Policy::Range(ranges) => {
                let range = |(from, node): (&[u8], &str)| RangeWords {
                    from: KeyWords::of(from),
                    node: node.into(),
                };
                Self::Range(ranges.starts().map(range).collect())
            }
            Policy::Directory(directory) => Self::Directory(slots(directory)),
            Policy::RedisCluster(directory) => Self::RedisCluster(directory.as_ref().map(slots)),
            Policy::Ketama(Ketama::Nginx) => Self::KetamaNginx,
            Policy::Ketama(Ketama::Libmemcached) => Self::KetamaLibmemcached,
            Policy::Ketama(Ketama::LibmemcachedWeighted) => Self::KetamaLibmemcachedWeighted,
        }
    }

    fn check(self) -> Result<Policy, DecodeError> {
        let directory = |words: Vec<SlotsWords>| {
            let ranges = words.into_iter().map(|range| (range.slots, range.node));
            Directory::from_ranges(ranges.collect())
        };
        Ok(match self {
            Self::Balanced => Policy::Balanced,
            Self::Rendezvous => Policy::Rendezvous,
            Self::Ring { vnodes } => Policy::Ring { vnodes },
            Self::Jump => Policy::Jump,
            Self::Maglev => Policy::Maglev,
            Self::Modulo => Policy::Modulo,
            Self::Range(ranges) => {
                let start = |range: RangeWords| Ok((range.from.check()?, range.node));
                let starts: Result<Vec<_>, _> = ranges.into_iter().map(start).collect();
                let ranges = Ranges::from_starts(starts?);
                Policy::Range(ranges.ok_or(malformed("ranges in the order of keys"))?)
            }
            Self::Directory(slots) => Policy::Directory(directory(slots)),
            Self::RedisCluster(slots) => Policy::RedisCluster(slots.map(directory)),
            Self::KetamaNginx => Policy::Ketama(Ketama::Nginx),
            Self::KetamaLibmemcached => Policy::Ketama(Ketama::Libmemcached),
            Self::KetamaLibmemcachedWeighted => Policy::Ketama(Ketama::LibmemcachedWeighted),
        })
    }
}

impl KeyWords {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => Self::Text(text.to_owned()),
            _ => Self::Bytes { hex: hex(bytes) },
        }
    }

    fn check(self) -> Result<Box<[u8]>, DecodeError> {
        let hex = match self {
            Self::Text(text) => return Ok(text.into_bytes().into()),
            Self::Bytes { hex } => hex,
        };
        let byte = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).ok()?;
            let whole = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
            whole.then(|| u8::from_str_radix(digits, 16).ok())?
        };
        let bytes: Option<_> = hex.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or(malformed("two hexadecimal digits for each byte"))
    }
}

impl TryFrom<u16> for NodeId {
    type Error = DecodeError;

    fn try_from(id: u16) -> Result<Self, DecodeError> {
        if usize::from(id) < MAX_NODES {
            return Ok(Self::from_raw(id));
        }
        Err(malformed("an id that a node may have"))
    }
}

impl From<NodeId> for u16 {
    fn from(id: NodeId) -> Self {
        id.raw()
    }
}

#[derive(Serialize)]
struct PlanWords<'a> {
    from_epoch: u64,
    to_epoch: u64,
    moved_share: Option<f64>,
    lower_bound: Option<f64>,
    moves: Vec<MoveWords<'a>>,
    /// Keys that stay though what they lie in moves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<KeyWords>,
}

#[derive(Serialize)]
struct MoveWords<'a> {
    from: &'a str,
    to: &'a str,
    share: Option<f64>,
    span: SpanWords,
}

/// Hashes as digits, since many readers of JSON have no whole numbers of 64 bits.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum SpanWords {
    Hashes {
        first: String,
        last: String,
    },
    RedisSlots {
        first: u64,
        last: u64,
    },
    RingHashes {
        first: String,
        last: String,
    },
    Keys {
        from: KeyWords,
        before: Option<KeyWords>,
    },
    /// By its canonical bytes.
    Key(KeyWords),
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PlanWords {
            from_epoch: self.from_epoch(),
            to_epoch: self.to_epoch(),
            moved_share: self.moved_share(),
            lower_bound: self.lower_bound(),
            moves: self.moves().iter().map(MoveWords::of).collect(),
            exceptions: self.exceptions().map(KeyWords::of).collect(),
        }
        .serialize(serializer)
    }
}

impl Serialize for Move {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MoveWords::of(self).serialize(serializer)
    }
}

impl<'a> MoveWords<'a> {
    fn of(part: &'a Move) -> Self {
        let span = match part.span() {
            Span::Hashes(range) => SpanWords::Hashes {
                first: format!("{:016x}", range.start()),
                last: format!("{:016x}", range.end()),
            },
            Span::RedisSlots(range) => SpanWords::RedisSlots {
                first: *range.start(),
                last: *range.end(),
            },
            Span::RingHashes(range) => SpanWords::RingHashes {
                first: format!("{:08x}", range.start()),
                last: format!("{:08x}", range.end()),
            },
            Span::Key(key) => SpanWords::Key(KeyWords::of(key)),
            Span::Keys { from, to } => SpanWords::Keys {
                from: KeyWords::of(from),
                before: to.as_deref().map(KeyWords::of),
            },
        };
        Self {
            from: part.from(),
            to: part.to(),
            share: part.share(),
            span,
        }
    }
}

/// Bytes, in whichever way a format hands them out.
struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Vec<u8>, A::Error> {
        let mut all = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            all.push(byte);
        }
        Ok(all)
    }
}

/// An error and what it comes from, for formats that keep only a text.
fn whole(error: &DecodeError) -> impl Display {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const fn one() -> usize {
    1
}
