//! Which tags were invalidated when, and from which of this node's entries on
//! nothing is known for certain.

use std::collections::HashMap;
use std::time::Duration;

use super::Version;
use super::item::Tags;
use crate::hash::TableHasher;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// The name of the tag that is on everything.
pub(super) const ALL: &[u8] = b"";

/// Every event that speaks about more than one key (a tag, all, a gap in what
/// was heard) is a generation. An entry knows the one it was born in, so an
/// entry that nothing can have happened to is known by one comparison.
pub(super) struct TagRecords {
    generation: AtomicU64,
    /// The generation of the last gap: older entries are suspect.
    gap: AtomicU64,
    /// The one in which everything was last invalidated.
    cleared: AtomicU64,
    capacity: usize,
    /// All of the above change under this lock, `generation` last.
    records: Mutex<HashMap<Box<[u8]>, TagRecord, TableHasher>>,
}

#[derive(Default)]
struct TagRecord {
    /// Of its last invalidation, as far as known.
    version: Option<Version>,
    /// The generation in which that became known.
    noted: u64,
    /// When the L2 was asked about it, and the generation before that.
    asked: Option<(Instant, u64)>,
}

/// What is to be made of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    /// A message about it may have been missed.
    Suspect,
    Invalid,
}

/// What a note has changed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    /// The tag was invalidated later than was known.
    pub(super) is_news: bool,
    /// Others had to be forgotten.
    pub(super) is_gap: bool,
}

impl TagRecords {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            generation: AtomicU64::new(0),
            gap: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            capacity: capacity.max(1),
            records: Mutex::new(HashMap::with_hasher(TableHasher::random())),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What has become of an entry since it was born. Takes a lock only for one
    /// with tags that is older than the last event.
    #[inline]
    pub(super) fn standing(&self, born: u64, tags: &Tags) -> Standing {
        if born == self.generation() {
            return Standing::Good;
        }
        self.standing_of_older(born, tags)
    }

    fn standing_of_older(&self, born: u64, tags: &Tags) -> Standing {
        if born < self.cleared.load(Ordering::Acquire) {
            return Standing::Invalid;
        }
        if !tags.is_empty() {
            let records = self.records.lock();
            let noted = |tag| records.get(tag).map_or(0, |record| record.noted);
            if tags.iter().any(|tag| noted(tag) > born) {
                return Standing::Invalid;
            }
        }
        if born < self.gap.load(Ordering::Acquire) {
            return Standing::Suspect;
        }
        Standing::Good
    }

    /// Notes that a tag was invalidated.
    pub(super) fn note(&self, tag: &[u8], version: Version) -> Noted {
        self.record(tag, Some(version), None)
    }

    /// Notes what the L2 says of a tag, when it was asked, and the generation
    /// before that.
    pub(super) fn learn(
        &self,
        tag: &[u8],
        version: Option<Version>,
        asked: (Instant, u64),
    ) -> Noted {
        self.record(tag, version, Some(asked))
    }

    /// Notes that messages were missed.
    pub(super) fn note_gap(&self) {
        let _records = self.records.lock();
        let next = self.generation() + 1;
        self.gap.store(next, Ordering::Release);
        self.generation.store(next, Ordering::Release);
    }

    /// When a tag was last invalidated, and as of when that is known: `None` if
    /// that is too long ago, or messages were missed since.
    pub(super) fn confirmed(
        &self,
        tag: &[u8],
        now: Instant,
        max_age: Duration,
    ) -> Option<(Option<Version>, Instant)> {
        let gap = self.gap.load(Ordering::Acquire);
        let records = self.records.lock();
        let record = records.get(tag)?;
        let (asked, generation) = record.asked?;
        let good = generation >= gap && now.saturating_since(asked) <= max_age;
        good.then_some((record.version, asked))
    }

    /// When a tag was last invalidated, as far as known.
    pub(super) fn version(&self, tag: &[u8]) -> Option<Version> {
        self.records.lock().get(tag)?.version
    }

    fn record(&self, tag: &[u8], version: Option<Version>, asked: Option<(Instant, u64)>) -> Noted {
        let mut noted = Noted::default();
        let mut records = self.records.lock();
        let mut next = self.generation() + 1;
        if records.len() >= self.capacity && !records.contains_key(tag) {
            // Everything older is to be checked, and its tags asked for again.
            *records = HashMap::with_hasher(TableHasher::random());
            self.gap.store(next, Ordering::Release);
            self.generation.store(next, Ordering::Release);
            next += 1;
            noted.is_gap = true;
        }
        let record = records.entry(tag.into()).or_default();
        record.asked = record.asked.max(asked);
        if version > record.version {
            record.version = version;
            record.noted = next;
            noted.is_news = true;
            if tag == ALL {
                self.cleared.store(next, Ordering::Release);
            }
            self.generation.store(next, Ordering::Release);
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tier::NodeId;

    fn version(tick: u64) -> Version {
        Version::new(tick, NodeId::new(1))
    }

    fn tags(names: &[&[u8]]) -> Tags {
        Tags::new(names.iter().map(|name| (*name).into()).collect())
    }

    #[test]
    fn a_tag_invalidates_what_bears_it_and_was_born_before() {
        let records = TagRecords::new(10);
        let born = records.generation();
        records.note(b"a", version(1));
        let standing = |born, names: &[&[u8]]| records.standing(born, &tags(names));
        assert_eq!(standing(born, &[b"b", b"a"]), Standing::Invalid);
        assert_eq!(standing(born, &[b"b"]), Standing::Good);
        assert_eq!(standing(born, &[]), Standing::Good);
        assert_eq!(standing(records.generation(), &[b"a"]), Standing::Good);
    }

    #[test]
    fn an_old_or_repeated_invalidation_changes_nothing() {
        let records = TagRecords::new(10);
        records.note(b"a", version(2));
        let born = records.generation();
        records.note(b"a", version(2));
        records.note(b"a", version(1));
        assert_eq!(records.standing(born, &tags(&[b"a"])), Standing::Good);
    }

    #[test]
    fn the_tag_on_everything_invalidates_what_has_no_tags() {
        let records = TagRecords::new(10);
        let born = records.generation();
        records.note(ALL, version(1));
        assert_eq!(records.standing(born, &tags(&[])), Standing::Invalid);
    }

    #[test]
    fn after_a_gap_entries_are_suspect_and_tags_unconfirmed() {
        let records = TagRecords::new(10);
        let (now, age) = (Instant::from_nanos(5), Duration::from_secs(1));
        records.learn(b"a", None, (now, 0));
        assert_eq!(records.confirmed(b"a", now, age), Some((None, now)));
        let born = records.generation();
        records.note_gap();
        assert_eq!(records.standing(born, &tags(&[])), Standing::Suspect);
        assert_eq!(records.confirmed(b"a", now, age), None);
    }

    #[test]
    fn records_are_bounded_and_forgetting_makes_suspect() {
        let records = TagRecords::new(4);
        let born = records.generation();
        records.note(b"first", version(1));
        for tag in 0..100u8 {
            records.note(&[tag], version(1));
            assert!(records.records.lock().len() <= 4);
        }
        let standing = records.standing(born, &tags(&[b"first"]));
        assert_eq!(standing, Standing::Suspect);
    }
}
