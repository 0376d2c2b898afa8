use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Waker;

use super::ring::{Forgotten, Noted, Ring};
use super::writing::Wait;
use super::{JournalFull, WhenFull, WriteJournalBuilder, WriteJournalStats, Writing};
use crate::hash::{CanonicalBytes, StableKey};
use crate::replica::Position;
use crate::replica::recovery::{
    Coverage, Entry, EntryId, EntrySource, ForkPoint, Read, Reading, Recovered,
};
use crate::sync::Mutex;
use crate::task::block_on;

/// The acknowledged writes of this process that not every replica has yet: what is left of them when the old primary's disk
/// is gone.
///
/// A ring in memory of so many writes, bytes or a type of one's own. A write is noted with the position it was
/// committed at, and forgotten when the [minimum of the replicas](Self::trim) has passed that. It is a source of a
/// [`Recovery`](crate::replica::recovery::Recovery), of these writes only, or of all if this process is the [only one](WriteJournalBuilder::sole_writer) that writes.
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
    pub(super) ring: Mutex<Ring<W>>,
    pub(super) settings: WriteJournalBuilder,
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
        let mut wait = Wait::new(self);
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
        Some(Writing::new(self))
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
    pub(super) fn note(
        &self,
        timeline: u64,
        position: Position,
        write: W,
        place: Option<&mut bool>,
    ) {
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
