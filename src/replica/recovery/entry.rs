use std::fmt;

use crate::hash::StableKey;
use crate::replica::{Fork, Position};

/// A write as it was committed: what an old primary acknowledged, and a recovery applies whole or not at all. For a database
/// with transactions it is a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry<W> {
    /// Which it is.
    pub id: EntryId,
    /// What it says, as a number: equal for equal writes.
    pub checksum: u64,
    /// What was written.
    pub write: W,
}

impl<W> Entry<W> {
    /// A write that was committed at this position of a timeline; `bytes` are what it says, for its checksum (XXH3, the
    /// same in every process).
    pub fn new(timeline: u64, position: Position, write: W, bytes: &[u8]) -> Self {
        Self {
            id: EntryId {
                timeline,
                position,
                tag: 0,
            },
            checksum: bytes.stable_hash(0),
            write,
        }
    }

    /// Tells it from others at the same position.
    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Self {
        self.id.tag = tag;
        self
    }

    /// Which it is and what it says, in one number. A [`Digest`] is their sum.
    pub fn fingerprint(&self) -> u64 {
        let EntryId {
            timeline,
            position,
            tag,
        } = self.id;
        let mut bytes = [0; 32];
        for (field, number) in
            bytes
                .chunks_exact_mut(8)
                .zip([timeline, position.0, tag, self.checksum])
        {
            field.copy_from_slice(&number.to_le_bytes());
        }
        bytes.stable_hash(0)
    }

    /// The same entry with its write put another way.
    pub fn map<V>(self, convert: impl FnOnce(W) -> V) -> Entry<V> {
        Entry {
            id: self.id,
            checksum: self.checksum,
            write: convert(self.write),
        }
    }
}

/// What tells an entry from all others of a cluster. A target keeps it with what it applies, and so knows it
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The timeline it was committed in.
    pub timeline: u64,
    /// Where its commit ends.
    pub position: Position,
    /// Tells apart what has the same position: zero in a log, where a position is one commit; in a journal drawn from
    /// the journal's seed and the write's number.
    pub tag: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.position)
    }
}

/// Where a new line parts from the old one: what the old timeline has behind the position, the new does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForkPoint {
    /// The *old* timeline.
    pub timeline: u64,
    /// The last position that both have.
    pub position: Position,
}

impl ForkPoint {
    /// The old timeline was left at this position.
    pub fn new(timeline: u64, position: Position) -> Self {
        Self { timeline, position }
    }

    /// All that may have been lost.
    pub fn lost(self) -> LogRange {
        LogRange {
            timeline: self.timeline,
            after: self.position,
            upto: Position(u64::MAX),
        }
    }
}

/// What of the older line may be lost where a line has left it.
impl From<Fork> for ForkPoint {
    fn from(fork: Fork) -> Self {
        Self::new(fork.parent, fork.at)
    }
}

impl fmt::Display for ForkPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeline {} behind {}", self.timeline, self.position)
    }
}

/// A piece of one timeline's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogRange {
    /// Which timeline's.
    pub timeline: u64,
    /// The position before the first.
    pub after: Position,
    /// The last position.
    pub upto: Position,
}

impl LogRange {
    /// Whether an entry lies in it.
    pub fn contains(&self, id: EntryId) -> bool {
        id.timeline == self.timeline && self.after < id.position && id.position <= self.upto
    }
}

/// How many entries there are, and a checksum over which they are and what they say, whatever their
/// order.
///
/// ```
/// use tenfold::replica::Position;
/// use tenfold::replica::recovery::{Digest, Entry};
///
/// let one = Entry::new(1, Position(10), (), b"a = 1");
/// let two = Entry::new(1, Position(20), (), b"b = 1");
/// let mut digest = Digest::default();
/// digest.add(one.fingerprint());
/// digest.add(two.fingerprint());
/// assert_eq!(digest.count, 2);
/// let mut other = Digest::default();
/// other.add(two.fingerprint());
/// other.add(one.fingerprint());
/// assert_eq!(digest, other);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest {
    /// How many.
    pub count: u64,
    /// The sum of their [fingerprints](Entry::fingerprint), modulo 2^64.
    pub checksum: u64,
}

impl Digest {
    /// Counts an entry in.
    pub fn add(&mut self, fingerprint: u64) {
        self.count += 1;
        self.checksum = self.checksum.wrapping_add(fingerprint);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = if self.count == 1 { "entry" } else { "entries" };
        write!(f, "{} {entries}, {:016x}", self.count, self.checksum)
    }
}
