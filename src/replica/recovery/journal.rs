//! What a client remembers of its own writes until every replica has them.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::{Coverage, Entry, EntryId, EntrySource, ForkPoint, Read, Reading, Recovered};
use crate::hash::{CanonicalBytes, StableKey};
use crate::replica::Position;
use crate::sync::Mutex;
use crate::task::block_on;

/// The acknowledged writes of this process that not every replica has yet: what is left of them when the old primary's disk
/// is gone.
///
/// A ring in memory of so many writes, bytes or a type of one's own. A write is noted with the position it was
/// committed at, and forgotten when the [minimum of the replicas](Self::trim) has passed that. It is a source of a
/// [`Recovery`](super::Recovery), of these writes only, or of all if this process is the [only one](WriteJournalBuilder::sole_writer) that writes.
///
/// It does not survive its process. All methods may be called by many threads; what is dropped or cloned of the user's is so
/// outside the lock.
///
/// ```
/// use tenfold::replica::recovery::{ForkPoint, WriteJournal};
/// use tenfold::replica::Position;
///
/// let journal = WriteJournal::builder().capacity(1000).build()?;
/// // Before the write: there is room to note it. After it was acknowledged: it is noted.
/// let place = journal.begin()?;
/// place.acknowledged(1, Position(0x500), b"insert ada".to_vec());
/// journal.begin()?.acknowledged(1, Position(0x600), b"insert bob".to_vec());
///
/// // Every replica has applied this much of timeline 1.
/// journal.trim(1, Position(0x500));
/// assert_eq!(journal.stats().held, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WriteJournal<W> {
    ring: Mutex<Ring<W>>,
    settings: WriteJournalBuilder,
}

/// What a journal does when it is full of writes that some replica has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Forgets the oldest. They are counted, and a recovery's report names how many there were.
    #[default]
    ForgetOldest,
    /// Refuses the next write before it is made: [`JournalFull`].
    Refuse,
    /// Has the next write wait until there is room: a thread sleeps, a task is woken.
    Block,
}

/// Makes a [`WriteJournal`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WriteJournalBuilder {
    capacity: usize,
    when_full: WhenFull,
    sole_writer: bool,
    seed: Option<u64>,
}

#[derive(Debug)]
struct Ring<W> {
    /// As they were noted, which is nearly by position.
    writes: VecDeque<Noted<W>>,
    /// Places kept for writes under way. Together with `writes` at most the capacity.
    begun: usize,
    /// The tag of the next write.
    next_tag: u64,
    /// By timeline, what was forgotten of it and may be lost.
    forgotten: BTreeMap<u64, Forgotten>,
    /// Tasks that wait for room, by the number of their wait.
    waiting: BTreeMap<u64, Waker>,
    next_wait: u64,
    stats: WriteJournalStats,
}

/// In an `Arc`, so that user code neither clones nor drops under the lock.
#[derive(Debug)]
struct Noted<W> {
    entry: Arc<Entry<W>>,
    /// What its timeline had behind the fork has been recovered, and this lies before it: later timelines have it.
    settled: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Forgotten {
    count: u64,
    last: Position,
}

impl<W> WriteJournal<W> {
    /// A place for a write that is about to be made.
    ///
    /// # Errors
    /// [`JournalFull`] with [`WhenFull::Refuse`]; with [`WhenFull::Block`] it blocks the thread instead.
    pub fn begin(&self) -> Result<Writing<'_, W>, JournalFull> {
        match self.settings.when_full {
            WhenFull::Block => block_on(self.begin_async()),
            _ => self.try_begin().ok_or_else(|| self.full()),
        }
    }

    /// [`begin`](Self::begin) for tasks. It may be dropped before it is ready.
    ///
    /// # Errors
    /// As with [`begin`](Self::begin).
    pub async fn begin_async(&self) -> Result<Writing<'_, W>, JournalFull> {
        if self.settings.when_full != WhenFull::Block {
            return self.begin();
        }
        let mut wait = Wait {
            journal: self,
            number: None,
        };
        Ok(poll_fn(|context| wait.poll(context.waker())).await)
    }

    /// Forgets what all replicas have: those that follow `timeline` have applied all of it up to here. Called whenever
    /// that is known to have grown; it costs a look at each write that is held.
    ///
    /// Of earlier timelines nothing is forgotten before they are [settled](Self::settle).
    pub fn trim(&self, timeline: u64, upto: Position) {
        let passed = |noted: &Noted<W>| {
            let EntryId {
                timeline: of,
                position,
                ..
            } = noted.entry.id;
            position <= upto && (of == timeline || of < timeline && noted.settled)
        };
        self.remove(passed, |ring| {
            let all =
                |of: &u64, forgotten: &mut Forgotten| *of != timeline || forgotten.last > upto;
            ring.forgotten.retain(all);
        });
    }

    /// Forgets what was recovered, or given up. What lies before the fork stays until the replicas of the new line
    /// have it.
    pub fn settle(&self, recovered: &Recovered) {
        let fork = recovered.fork();
        let lost = move |noted: &Noted<W>| fork.lost().contains(noted.entry.id);
        self.remove(lost, |ring| {
            for noted in &mut ring.writes {
                noted.settled |= noted.entry.id.timeline == fork.timeline;
            }
            ring.forgotten.remove(&fork.timeline);
        });
    }

    /// What it holds and has done.
    pub fn stats(&self) -> WriteJournalStats {
        let ring = self.ring.lock();
        WriteJournalStats {
            held: ring.writes.len() as u64,
            begun: ring.begun as u64,
            ..ring.stats
        }
    }

    fn remove(&self, gone: impl Fn(&Noted<W>) -> bool, also: impl FnOnce(&mut Ring<W>)) {
        let (removed, waiting) = {
            let mut ring = self.ring.lock();
            let held = std::mem::take(&mut ring.writes);
            let (removed, left) = held.into_iter().partition::<VecDeque<_>, _>(gone);
            ring.writes = left;
            ring.stats.trimmed += removed.len() as u64;
            also(&mut ring);
            let waiting = ring.woken(self.settings.capacity);
            (removed, waiting)
        };
        drop(removed);
        waiting.into_values().for_each(Waker::wake);
    }

    fn try_begin(&self) -> Option<Writing<'_, W>> {
        let mut ring = self.ring.lock();
        let forgets = self.settings.when_full == WhenFull::ForgetOldest;
        if !forgets && ring.is_full(self.settings.capacity) {
            return None;
        }
        ring.begun += 1;
        Some(Writing {
            journal: self,
            kept: true,
        })
    }

    fn full(&self) -> JournalFull {
        JournalFull {
            capacity: self.settings.capacity,
        }
    }
}

impl<W: StableKey> WriteJournal<W> {
    /// Notes a write for which no place was kept. It was acknowledged, so it can be neither refused nor made to wait: if the
    /// journal is full, the oldest is forgotten, whatever was set.
    pub fn record(&self, timeline: u64, position: Position, write: W) {
        self.note(timeline, position, write, None);
    }

    /// Notes a write, in the place kept for it if there is one. What computes a write's bytes may panic: the place is still its
    /// owner's then.
    fn note(&self, timeline: u64, position: Position, write: W, place: Option<&mut bool>) {
        let mut bytes = CanonicalBytes::new();
        write.write_canonical(&mut bytes);
        let entry = Entry::new(timeline, position, write, bytes.as_slice());
        let forgotten = {
            let mut ring = self.ring.lock();
            if let Some(kept) = place {
                ring.begun -= 1;
                *kept = false;
            }
            let tag = ring.next_tag;
            // Zero is what logs have.
            ring.next_tag = tag.checked_add(1).unwrap_or(1);
            let entry = Arc::new(entry.tagged(tag));
            let settled = false;
            ring.writes.push_back(Noted { entry, settled });
            ring.stats.recorded += 1;
            let over = ring.writes.len() > self.settings.capacity;
            over.then(|| ring.forget_oldest()).flatten()
        };
        drop(forgotten);
    }
}

impl WriteJournal<()> {
    /// A journal of the defaults: 65 536 writes, of which the oldest is forgotten.
    pub fn builder() -> WriteJournalBuilder {
        WriteJournalBuilder {
            capacity: 65_536,
            when_full: WhenFull::default(),
            sole_writer: false,
            seed: None,
        }
    }
}

impl WriteJournalBuilder {
    /// How many writes it holds.
    pub fn capacity(mut self, writes: usize) -> Self {
        self.capacity = writes;
        self
    }

    /// What happens when it is full.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// This process is the only one that writes to the database, and all that it writes is noted: a recovery from the journal is
    /// complete, as long as nothing was forgotten.
    pub fn sole_writer(mut self) -> Self {
        self.sole_writer = true;
        self
    }

    /// What the tags of its writes begin with, instead of chance. Two journals of one cluster must not have the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the journal.
    ///
    /// # Errors
    /// [`JournalError`] if it would hold nothing.
    pub fn build<W>(self) -> Result<WriteJournal<W>, JournalError> {
        if self.capacity == 0 {
            return Err(JournalError::Capacity);
        }
        let random = || RandomState::new().hash_one(0);
        Ok(WriteJournal {
            ring: Mutex::new(Ring {
                writes: VecDeque::new(),
                begun: 0,
                next_tag: self.seed.unwrap_or_else(random).max(1),
                forgotten: BTreeMap::new(),
                waiting: BTreeMap::new(),
                next_wait: 0,
                stats: WriteJournalStats {
                    capacity: self.capacity as u64,
                    ..WriteJournalStats::default()
                },
            }),
            settings: self,
        })
    }
}

impl<W> Ring<W> {
    fn is_full(&self, capacity: usize) -> bool {
        self.writes.len() + self.begun >= capacity
    }

    /// Those who wait for room, if there is some. Who is woken in vain waits again.
    fn woken(&mut self, capacity: usize) -> BTreeMap<u64, Waker> {
        if self.is_full(capacity) {
            return BTreeMap::new();
        }
        std::mem::take(&mut self.waiting)
    }

    /// What may be missing behind a fork.
    fn forgotten_after(&self, from: ForkPoint) -> Option<Forgotten> {
        let forgotten = self.forgotten.get(&from.timeline).copied();
        forgotten.filter(|forgotten| forgotten.last > from.position)
    }

    fn forget_oldest(&mut self) -> Option<Noted<W>> {
        let oldest = self.writes.pop_front()?;
        let EntryId {
            timeline, position, ..
        } = oldest.entry.id;
        let forgotten = self.forgotten.entry(timeline).or_default();
        forgotten.count += 1;
        forgotten.last = forgotten.last.max(position);
        self.stats.forgotten += 1;
        Some(oldest)
    }
}

impl<W: StableKey + Clone + Send + Sync> EntrySource for WriteJournal<W> {
    type Write = W;
    type Error = Infallible;

    fn entries_after(
        &self,
        from: ForkPoint,
    ) -> Result<impl Iterator<Item = Reading<Self>> + Send, Infallible> {
        let (mut lost, forgotten) = {
            let ring = self.ring.lock();
            let entries = ring.writes.iter().map(|noted| &noted.entry);
            let lost = entries.filter(|entry| from.lost().contains(entry.id));
            let lost: Vec<Arc<Entry<W>>> = lost.cloned().collect();
            (lost, ring.forgotten_after(from))
        };
        // Stable: of one position, as they were noted.
        lost.sort_by_key(|entry| entry.id.position);
        // Who has everything but this says where it is missing; who has a part only has said so.
        let gap = forgotten.filter(|_| self.settings.sole_writer);
        let before = lost.partition_point(|entry| {
            gap.is_some_and(|forgotten| entry.id.position <= forgotten.last)
        });
        let behind = lost.split_off(before);
        let gap = gap.map(|Forgotten { count, last }| Read::Unreadable {
            position: last,
            why: format!("{count} writes up to here were forgotten when the journal was full"),
        });
        let read = |entry: Arc<Entry<W>>| Read::Entry(Entry::clone(&entry));
        let reads = lost.into_iter().map(read).chain(gap);
        Ok(reads.chain(behind.into_iter().map(read)).map(Ok))
    }

    fn coverage(&self, from: ForkPoint) -> Coverage {
        if self.settings.sole_writer {
            return Coverage::Whole;
        }
        let part = "the writes of its process";
        let forgotten = self.ring.lock().forgotten_after(from);
        Coverage::Part(forgotten.map_or_else(
            || part.to_owned(),
            |Forgotten { count, last }| {
                format!("{part}, without {count} up to {last} that were forgotten when it was full")
            },
        ))
    }
}

impl<W> fmt::Debug for WriteJournal<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteJournal")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A place in a journal for a write that is being made. Dropped, it is free again: for a write that failed.
#[must_use = "dropped, the write is not noted"]
pub struct Writing<'a, W> {
    journal: &'a WriteJournal<W>,
    kept: bool,
}

impl<W: StableKey> Writing<'_, W> {
    /// The write was acknowledged, and its commit ends at or before this position.
    pub fn acknowledged(mut self, timeline: u64, position: Position, write: W) {
        let kept = Some(&mut self.kept);
        self.journal.note(timeline, position, write, kept);
    }
}

impl<W> Drop for Writing<'_, W> {
    fn drop(&mut self) {
        if !self.kept {
            return;
        }
        let waiting = {
            let mut ring = self.journal.ring.lock();
            ring.begun -= 1;
            ring.woken(self.journal.settings.capacity)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<W> fmt::Debug for Writing<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").finish_non_exhaustive()
    }
}

/// A wait for room.
struct Wait<'a, W> {
    journal: &'a WriteJournal<W>,
    number: Option<u64>,
}

impl<'a, W> Wait<'a, W> {
    fn poll(&mut self, waker: &Waker) -> Poll<Writing<'a, W>> {
        // Whoever makes room takes the lock after this, and finds the waker.
        let waker = waker.clone();
        let mut ring = self.journal.ring.lock();
        if !ring.is_full(self.journal.settings.capacity) {
            ring.begun += 1;
            return Poll::Ready(Writing {
                journal: self.journal,
                kept: true,
            });
        }
        let number = *self.number.get_or_insert(ring.next_wait);
        ring.next_wait = ring.next_wait.max(number + 1);
        let old = ring.waiting.insert(number, waker);
        drop(ring);
        drop(old);
        Poll::Pending
    }
}

impl<W> Drop for Wait<'_, W> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.journal.ring.lock().waiting.remove(&number);
            drop(waker);
        }
    }
}

/// What a journal holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteJournalStats {
    /// How many writes it may hold.
    pub capacity: u64,
    /// How many it holds.
    pub held: u64,
    /// For how many more places are kept.
    pub begun: u64,
    /// How many were noted.
    pub recorded: u64,
    /// How many were forgotten because every replica had them, or they were recovered.
    pub trimmed: u64,
    /// How many were forgotten because it was full.
    pub forgotten: u64,
}

impl fmt::Display for WriteJournalStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} writes held, {} under way; {} noted, {} trimmed, {} forgotten",
            self.held, self.capacity, self.begun, self.recorded, self.trimmed, self.forgotten
        )
    }
}

/// A journal that is full of writes that some replica has not got yet. The write was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal holds all of the {capacity} writes it may hold, and some replica has none of them yet"
)]
pub struct JournalFull {
    /// How many it may hold.
    pub capacity: usize,
}

/// A journal that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It would hold nothing.
    #[error("a journal must hold at least 1 write, found a capacity of 0")]
    Capacity,
}
