use std::collections::BTreeSet;
use std::sync::Arc;

use super::builder::{Description, MAX_NAME};
use super::error::{DecodeError, TopologyError};
use super::node::{MAX_NODES, Node, NodeId};
use super::overrides::{KeyBytes, Override, Said};
use super::placement::{Directory, History, Ketama, Placed, Ranges, slots};
use super::policy::Policy;
use super::replicas::Spread;
use super::topology::{NOBODY, Table, Topology};
use crate::hash::xxh3_64;

impl Topology {
    /// Writes the topology down, history included: what [`from_bytes`](Self::from_bytes)
    /// makes of it places every key alike, numbers nodes alike, and writes the
    /// same bytes.
    ///
    /// Numbers are little-endian. First 8 bytes of magic, the format version (2 bytes)
    /// and the number of the hash (1 byte); at the end the XXH3-64 of all before. Without
    /// overrides the format is that of version 1; version 2 ends in sections, each with a number
    /// (1 byte) and a length (4 bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        let table = &*self.0;
        let mut writer = Writer::default();
        writer.bytes.extend_from_slice(&MAGIC);
        // What needs no more is written so that earlier versions of this crate can read it.
        let said = &table.overrides.said;
        writer.u16(if said.is_empty() { PLAIN } else { VERSION });
        writer.u8(HASH);
        writer.u64(table.epoch);
        writer.u32(table.slots);
        writer.u8(u8::from(table.slots_chosen));
        writer.u8(table.replicas as u8);
        writer.u8(table.spread as u8);
        write_policy(&mut writer, &table.policy);
        writer.u32(table.next_id);
        writer.u32(table.nodes.len() as u32);
        for (id, node) in &table.nodes {
            writer.u16(id.raw());
            writer.text(&node.name);
            writer.u64(node.weight);
            writer.optional_text(node.zone.as_deref());
            writer.u16(node.tags.len() as u16);
            node.tags.iter().for_each(|tag| writer.text(tag));
        }
        write_history(&mut writer, table);
        if !said.is_empty() {
            let mut section = Writer::default();
            write_overrides(&mut section, said);
            writer.u8(OVERRIDES);
            writer.u32(section.bytes.len() as u32);
            writer.bytes.extend_from_slice(&section.bytes);
        }
        let checksum = xxh3_64(&writer.bytes, 0);
        writer.u64(checksum);
        writer.bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the bytes are something else, damaged, or from a later
    /// version of this crate. Whatever they are, this does not panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() < MAGIC.len() + 2 || !bytes.starts_with(&MAGIC) {
            return Err(DecodeError::Magic);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > VERSION {
            return Err(DecodeError::FutureVersion {
                found: version,
                supported: VERSION,
            });
        }
        let Some((content, checksum)) = bytes.split_last_chunk::<8>() else {
            return Err(too_short(bytes));
        };
        if content.len() <= MAGIC.len() + 2 {
            return Err(too_short(bytes));
        }
        let (expected, found) = (u64::from_le_bytes(*checksum), xxh3_64(content, 0));
        if expected != found {
            return Err(DecodeError::Checksum { expected, found });
        }
        let mut reader = Reader(&content[MAGIC.len() + 2..]);
        let hash = reader.u8()?;
        if hash != HASH {
            return Err(DecodeError::UnknownHash {
                found: hash,
                known: HASH,
            });
        }
        let (mut description, history) = read(&mut reader)?;
        if version > PLAIN {
            description.said = read_sections(&mut reader)?;
        }
        if !reader.0.is_empty() {
            return Err(malformed("nothing after the end"));
        }
        description.compile_again(history)
    }
}

impl Description {
    /// Compiles what was written down: all stays as it was, shares too.
    pub(super) fn compile_again(mut self, mut history: History) -> Result<Topology, DecodeError> {
        let invalid = DecodeError::Invalid;
        let nodes = self.nodes.len();
        if nodes == 0 {
            return Err(invalid(TopologyError::NoNodes));
        }
        let asked = Some(self.slots).filter(|&slots| slots > 0);
        self.slots = slots(&self.policy, asked, nodes).map_err(invalid)?;
        if history.owners.len() != self.slots as usize && keeps_history(&self.policy) {
            return Err(malformed("an owner for each slot"));
        }
        history.settled = true;
        self.compile(&mut history).map_err(invalid)
    }
}

/// Nodes by the numbers they were given, of which these many were.
pub(super) fn numbered(
    nodes: Vec<(u16, Node)>,
    next_id: u32,
) -> Result<Vec<(NodeId, Node)>, DecodeError> {
    let mut ids = BTreeSet::new();
    for (id, _) in &nodes {
        if u32::from(*id) >= next_id || !ids.insert(*id) {
            return Err(malformed("a distinct id of each node"));
        }
    }
    if nodes
        .windows(2)
        .any(|pair| pair[0].1.name >= pair[1].1.name)
    {
        return Err(malformed("nodes in the order of names"));
    }
    if next_id as usize > MAX_NODES {
        return Err(malformed("an id that a node may have"));
    }
    let nodes = nodes.into_iter();
    Ok(nodes
        .map(|(id, node)| (NodeId::from_raw(id), node))
        .collect())
}

fn read(reader: &mut Reader<'_>) -> Result<(Description, History), DecodeError> {
    let epoch = reader.u64()?;
    let slots = reader.u32()?;
    let slots_chosen = reader.flag()?;
    let replicas = usize::from(reader.u8()?);
    let spread = match reader.u8()? {
        0 => Spread::Nodes,
        1 => Spread::Prefer,
        2 => Spread::Require,
        _ => return Err(malformed("a spread over zones")),
    };
    let policy = read_policy(reader)?;
    let next_id = reader.u32()?;
    let mut nodes = Vec::new();
    for _ in 0..reader.u32()? {
        let id = reader.u16()?;
        let mut node = Node::new(reader.text()?).weight(reader.u64()?);
        node.zone = reader.optional_text()?;
        for _ in 0..reader.u16()? {
            node.tags.insert(reader.text()?);
        }
        nodes.push((id, node));
        if nodes.len() > MAX_NODES {
            return Err(malformed("as many nodes as there may be"));
        }
    }
    let nodes = numbered(nodes, next_id)?;
    let ids = nodes.iter().map(|(id, _)| id.raw()).collect();
    let history = read_history(reader, &policy, slots, &ids)?;
    let description = Description {
        epoch,
        nodes,
        next_id,
        policy,
        slots,
        slots_chosen,
        replicas,
        spread,
        said: Said::new(),
    };
    Ok((description, history))
}

/// What cannot be compiled again from the nodes: owners as runs, or buckets.
fn write_history(writer: &mut Writer, table: &Table) {
    match (&table.placed, &table.policy) {
        (Placed::Slots(owners) | Placed::Redis(owners), policy) if keeps_history(policy) => {
            let runs: Vec<_> = owners.chunk_by(|a, b| a == b).collect();
            writer.u32(runs.len() as u32);
            for run in runs {
                writer.u16(run[0]);
                writer.u32(run.len() as u32);
            }
        }
        (_, Policy::Jump) => {
            writer.u32(table.buckets.len() as u32);
            for bucket in &table.buckets {
                writer.u16(bucket.unwrap_or(NOBODY));
            }
        }
        _ => {}
    }
}

fn read_history(
    reader: &mut Reader<'_>,
    policy: &Policy,
    slots: u32,
    ids: &BTreeSet<u16>,
) -> Result<History, DecodeError> {
    let mut history = History::default();
    if keeps_history(policy) {
        for _ in 0..reader.u32()? {
            let (owner, run) = (reader.u16()?, reader.u32()?);
            let len = history.owners.len() + run as usize;
            if len > slots as usize || slots > super::placement::MAX_SLOTS {
                return Err(malformed("an owner for each slot"));
            }
            if !ids.contains(&owner) {
                return Err(malformed("slots of nodes that there are"));
            }
            history.owners.resize(len, owner);
        }
    } else if *policy == Policy::Jump {
        let mut free = ids.clone();
        for _ in 0..reader.u32()? {
            let bucket = reader.u16()?;
            if bucket != NOBODY && !free.remove(&bucket) {
                return Err(malformed("a bucket of each node"));
            }
            history
                .buckets
                .push(Some(bucket).filter(|&id| id != NOBODY));
            if history.buckets.len() > MAX_NODES {
                return Err(malformed("as many buckets as there may be nodes"));
            }
        }
    }
    Ok(history)
}

pub(super) fn keeps_history(policy: &Policy) -> bool {
    matches!(policy, Policy::Balanced | Policy::RedisCluster(None))
}

pub(super) fn write_policy(writer: &mut Writer, policy: &Policy) {
    let directory = |writer: &mut Writer, directory: &Directory| {
        writer.u32(directory.ranges().count() as u32);
        for (range, name) in directory.ranges() {
            writer.u32(range.start);
            writer.u32(range.end);
            writer.text(name);
        }
    };
    match policy {
        Policy::Balanced => writer.u8(0),
        Policy::Rendezvous => writer.u8(1),
        Policy::Ring { vnodes } => {
            writer.u8(2);
            writer.u32(*vnodes);
        }
        Policy::Jump => writer.u8(3),
        Policy::Maglev => writer.u8(4),
        Policy::Modulo => writer.u8(5),
        Policy::Range(ranges) => {
            writer.u8(6);
            writer.u32(ranges.count() as u32);
            for (start, name) in ranges.starts() {
                writer.u32(start.len() as u32);
                writer.bytes.extend_from_slice(start);
                writer.text(name);
            }
        }
        Policy::Directory(slots) => {
            writer.u8(7);
            directory(writer, slots);
        }
        Policy::RedisCluster(None) => writer.u8(8),
        Policy::RedisCluster(Some(slots)) => {
            writer.u8(9);
            directory(writer, slots);
        }
        Policy::Ketama(Ketama::Nginx) => writer.u8(10),
        Policy::Ketama(Ketama::Libmemcached) => writer.u8(11),
        Policy::Ketama(Ketama::LibmemcachedWeighted) => writer.u8(12),
    }
}

pub(super) fn read_policy(reader: &mut Reader<'_>) -> Result<Policy, DecodeError> {
    Ok(match reader.u8()? {
        0 => Policy::Balanced,
        1 => Policy::Rendezvous,
        2 => Policy::Ring {
            vnodes: reader.u32()?,
        },
        3 => Policy::Jump,
        4 => Policy::Maglev,
        5 => Policy::Modulo,
        6 => Policy::Range(read_ranges(reader)?),
        7 => Policy::Directory(read_directory(reader)?),
        8 => Policy::RedisCluster(None),
        9 => Policy::RedisCluster(Some(read_directory(reader)?)),
        10 => Policy::Ketama(Ketama::Nginx),
        11 => Policy::Ketama(Ketama::Libmemcached),
        12 => Policy::Ketama(Ketama::LibmemcachedWeighted),
        _ => return Err(malformed("a policy")),
    })
}

/// What is said about single keys, in the order of their bytes.
pub(super) fn write_overrides(writer: &mut Writer, said: &Said) {
    for (key, what) in said.values() {
        let long = |writer: &mut Writer, bytes: &[u8]| {
            writer.u32(bytes.len() as u32);
            writer.bytes.extend_from_slice(bytes);
        };
        long(writer, &key.canonical);
        writer.u8(u8::from(key.ordered.is_some()));
        if let Some(ordered) = &key.ordered {
            long(writer, ordered);
        }
        match what {
            Override::Pin(node) => {
                writer.u8(0);
                writer.text(node);
            }
            Override::Replicate(copies) => {
                writer.u8(1);
                writer.u8(*copies as u8);
            }
            Override::Split(parts) => {
                writer.u8(2);
                writer.u32(*parts);
            }
        }
    }
}

/// What follows the history. So far there is one kind of section.
fn read_sections(reader: &mut Reader<'_>) -> Result<Said, DecodeError> {
    if reader.u8()? != OVERRIDES {
        return Err(malformed("a section of overrides"));
    }
    let len = reader.u32()? as usize;
    let mut section = Reader(reader.take(len)?);
    let mut said = Said::new();
    while !section.0.is_empty() {
        let long = |reader: &mut Reader<'_>| {
            let len = reader.u32()? as usize;
            Ok(Box::from(reader.take(len)?))
        };
        let canonical: Box<[u8]> = long(&mut section)?;
        let mut ordered = None;
        if section.flag()? {
            ordered = Some(long(&mut section)?).filter(|ordered| *ordered != canonical);
        }
        let what = match section.u8()? {
            0 => Override::Pin(section.text()?),
            1 => Override::Replicate(usize::from(section.u8()?)),
            2 => Override::Split(section.u32()?),
            _ => return Err(malformed("an override")),
        };
        if said
            .last_key_value()
            .is_some_and(|(last, _)| *last >= canonical)
        {
            return Err(malformed("overrides in the order of keys"));
        }
        said.insert(canonical.clone(), (KeyBytes { canonical, ordered }, what));
    }
    if said.is_empty() {
        return Err(malformed("at least one override"));
    }
    Ok(said)
}

fn read_ranges(reader: &mut Reader<'_>) -> Result<Ranges, DecodeError> {
    let mut starts = Vec::new();
    for _ in 0..reader.u32()? {
        let len = reader.u32()? as usize;
        starts.push((reader.take(len)?.into(), reader.text()?));
    }
    Ranges::from_starts(starts).ok_or(malformed("ranges in the order of keys"))
}

fn read_directory(reader: &mut Reader<'_>) -> Result<Directory, DecodeError> {
    let mut ranges = Vec::new();
    for _ in 0..reader.u32()? {
        let range = reader.u32()?..reader.u32()?;
        ranges.push((range, reader.text()?));
    }
    Ok(Directory::from_ranges(ranges))
}

/// Bytes to be.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Names are at most [`MAX_NAME`] long.
    pub(super) fn text(&mut self, text: &str) {
        self.u16(text.len() as u16);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Nothing is written as an empty text, which no name is.
    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        self.text(text.unwrap_or(""));
    }
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return Err(malformed("more bytes"));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.0.split_first_chunk() else {
            return Err(malformed("more bytes"));
        };
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("yes or no")),
        }
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        let len = usize::from(self.u16()?);
        let bytes = self.take(len)?;
        if len > MAX_NAME {
            return Err(malformed("a name of at most 1024 bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("a name in UTF-8"))?;
        Ok(text.into())
    }

    fn optional_text(&mut self) -> Result<Option<Arc<str>>, DecodeError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }
}

pub(super) const fn malformed(expected: &'static str) -> DecodeError {
    DecodeError::Malformed { expected }
}

fn too_short(bytes: &[u8]) -> DecodeError {
    DecodeError::TooShort {
        expected: MAGIC.len() + 2 + 1 + 8,
        found: bytes.len(),
    }
}

const MAGIC: [u8; 8] = *b"10fold\x00T";
/// The newest format that this version of the crate reads, and the one it writes.
const VERSION: u16 = 2;
/// The newest format without sections.
const PLAIN: u16 = 1;
/// The number of the section of overrides.
const OVERRIDES: u8 = 1;
/// XXH3-64 with seed 0.
const HASH: u8 = 1;
