//! A log of keys and values in memory: for tests of one's own, and to see what a log has to do.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::{
    Applied, Conflict, Digest, Entry, EntryId, EntrySource, ForkPoint, LogRange, Read, Reading,
    ReplicationLog,
};
use crate::hash::{CanonicalBytes, StableKey};
use crate::replica::Position;
use crate::sync::Mutex;

/// A primary with keys and values, and its log. Positions count entries.
///
/// It knows what a lost write has overwritten, and so finds every change by the other line and no other. A position is one write, so it
/// knows a write again whoever tells of it, its log or a journal. See the [module](super) for an example.
#[derive(Debug)]
pub struct MemoryLog(Mutex<State>);

/// A key and its new value; without one it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Put {
    /// The key.
    pub key: String,
    /// What was found and is overwritten: the entry that wrote it.
    pub over: Option<EntryId>,
    /// The new value.
    pub value: Option<String>,
}

#[derive(Debug, Clone)]
struct State {
    timeline: u64,
    last: Position,
    log: Vec<Entry<Put>>,
    rows: BTreeMap<String, Row>,
    /// What was applied of other lines.
    applied: BTreeMap<EntryId, u64>,
}

/// A value, or that there is none any more, and who wrote it.
#[derive(Debug, Clone)]
struct Row {
    value: Option<String>,
    by: EntryId,
}

impl MemoryLog {
    /// An empty primary on this timeline.
    pub fn new(timeline: u64) -> Self {
        Self(Mutex::new(State {
            timeline,
            last: Position(0),
            log: Vec::new(),
            rows: BTreeMap::new(),
            applied: BTreeMap::new(),
        }))
    }

    /// Sets a key. Answers where the write is committed.
    pub fn write(&self, key: &str, value: &str) -> Position {
        self.commit(key, Some(value.into()))
    }

    /// Deletes a key. Answers where the deletion is committed.
    pub fn delete(&self, key: &str) -> Position {
        self.commit(key, None)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<String> {
        self.0.lock().rows.get(key)?.value.clone()
    }

    /// A replica that has received its log up to this position, and is promoted to the next timeline.
    #[must_use]
    pub fn promote(&self, upto: Position) -> Self {
        let old = self.0.lock();
        let new = Self::new(old.timeline);
        {
            let mut state = new.0.lock();
            for entry in old.log.iter().filter(|entry| entry.id.position <= upto) {
                state.put(&entry.write, entry.id);
                state.log.push(entry.clone());
                state.last = entry.id.position;
            }
            state.timeline += 1;
        }
        new
    }

    fn commit(&self, key: &str, value: Option<String>) -> Position {
        let mut state = self.0.lock();
        let over = state.rows.get(key).map(|row| row.by);
        let put = Put {
            key: key.into(),
            over,
            value,
        };
        state.append(put).position
    }
}

impl State {
    /// Commits on the own line.
    fn append(&mut self, put: Put) -> EntryId {
        self.last = Position(self.last.0 + 1);
        let mut bytes = CanonicalBytes::new();
        put.write_canonical(&mut bytes);
        let entry = Entry::new(self.timeline, self.last, put, bytes.as_slice());
        self.put(&entry.write, entry.id);
        self.log.push(entry);
        EntryId {
            timeline: self.timeline,
            position: self.last,
            tag: 0,
        }
    }

    fn put(&mut self, put: &Put, by: EntryId) {
        let value = put.value.clone();
        self.rows.insert(put.key.clone(), Row { value, by });
    }

    /// Applies an entry of another line: the row is from then on by that entry, so that the next one finds what it has overwritten.
    fn take(&mut self, entry: &Entry<Put>) {
        self.append(entry.write.clone());
        self.put(&entry.write, untagged(entry.id));
        self.applied.insert(untagged(entry.id), entry.fingerprint());
    }

    fn knows(&self, id: EntryId) -> bool {
        let id = untagged(id);
        self.applied.contains_key(&id) || self.log.iter().any(|own| own.id == id)
    }

    /// What an entry would overwrite that it has not seen.
    fn conflict(&self, put: &Put) -> Option<Conflict> {
        let row = self.rows.get(&put.key);
        (row.map(|row| row.by) != put.over).then(|| Conflict {
            what: put.key.clone(),
            found: row.and_then(|row| row.value.clone()),
            lost: put.value.clone(),
        })
    }
}

fn untagged(id: EntryId) -> EntryId {
    EntryId { tag: 0, ..id }
}

/// A key and its new value are what a write says; what it has overwritten is not.
impl StableKey for Put {
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        (&self.key, &self.value).write_canonical(bytes);
    }
}

impl EntrySource for MemoryLog {
    type Write = Put;
    type Error = Infallible;

    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Infallible> {
        let state = self.0.lock();
        let lost: Vec<_> = state
            .log
            .iter()
            .filter(|entry| from.lost().contains(entry.id))
            .map(|entry| Ok(Read::Entry(entry.clone())))
            .collect();
        Ok(lost.into_iter())
    }
}

impl ReplicationLog for MemoryLog {
    fn last_applied(&self) -> Result<Position, Infallible> {
        Ok(self.0.lock().last)
    }

    fn apply(&self, entry: &Entry<Put>) -> Result<Applied, Infallible> {
        let mut state = self.0.lock();
        if state.knows(entry.id) {
            return Ok(Applied::Already);
        }
        if let Some(conflict) = state.conflict(&entry.write) {
            return Ok(Applied::Conflict(vec![conflict]));
        }
        state.take(entry);
        Ok(Applied::New)
    }

    fn overwrite(&self, entry: &Entry<Put>, conflicts: &[Conflict]) -> Result<Applied, Infallible> {
        let mut state = self.0.lock();
        if state.knows(entry.id) {
            return Ok(Applied::Already);
        }
        match state.conflict(&entry.write) {
            Some(found) if *conflicts != [found.clone()] => Ok(Applied::Conflict(vec![found])),
            _ => {
                state.take(entry);
                Ok(Applied::New)
            }
        }
    }

    fn digest(&self, range: LogRange) -> Result<Digest, Infallible> {
        let state = self.0.lock();
        let own = state
            .log
            .iter()
            .map(|entry| (entry.id, entry.fingerprint()));
        let others = state.applied.iter().map(|(id, print)| (*id, *print));
        let mut digest = Digest::default();
        let mut seen = BTreeSet::new();
        for (id, fingerprint) in own.chain(others) {
            if range.contains(id) && seen.insert(id) {
                digest.add(fingerprint);
            }
        }
        Ok(digest)
    }
}
