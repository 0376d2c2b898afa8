use std::collections::BTreeMap;

use super::entry::{Entry, Stamp};

/// One reader's newest entries, no more than a cap: what a
/// [`TimelineStore`](super::TimelineStore) keeps per reader.
///
/// It knows what it does not know: from its [`floor`](Self::floor) up, everything is there
/// that was ever put in; below, something may be missing, and is not taken in any more.
///
/// ```
/// use tenfold::router::timeline::{Entry, Inbox, Stamp};
///
/// let entry = |time| Entry { stamp: Stamp { time, post: time }, author: 'a' };
/// let mut inbox = Inbox::new();
/// (1..=5).for_each(|time| inbox.put(entry(time), 3));
/// let times = |inbox: &Inbox<_, u64>| inbox.newest(None, 9).map(|e| e.stamp.time).collect::<Vec<_>>();
/// assert_eq!(times(&inbox), [5, 4, 3]);
/// assert_eq!(inbox.floor(), Some(entry(3).stamp));
///
/// inbox.put(entry(2), 3); // below the floor
/// assert_eq!(times(&inbox), [5, 4, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox<U, P> {
    entries: BTreeMap<Stamp<P>, U>,
    floor: Option<Stamp<P>>,
}

impl<U: Copy, P: Copy + Ord> Inbox<U, P> {
    /// Nothing is in it, and nothing is missing.
    pub fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            floor: None,
        }
    }

    /// Takes in an entry. Beyond so many, the oldest goes, and the floor rises to what is
    /// the oldest then. Doing it twice is as doing it once.
    pub fn put(&mut self, entry: Entry<U, P>, cap: usize) {
        if self.floor.is_some_and(|floor| entry.stamp < floor) {
            return;
        }
        self.entries.insert(entry.stamp, entry.author);
        while self.entries.len() > cap {
            self.entries.pop_first();
            self.floor = self.entries.first_key_value().map(|(stamp, _)| *stamp);
        }
    }

    /// Gives up what is below this stamp.
    pub fn raise_floor(&mut self, floor: Stamp<P>) {
        if self.floor.is_none_or(|before| before < floor) {
            self.entries = self.entries.split_off(&floor);
            self.floor = Some(floor);
        }
    }

    /// From where on everything is there; `None` if everything is.
    pub fn floor(&self) -> Option<Stamp<P>> {
        self.floor
    }

    /// The newest entries before a stamp, newest first.
    pub fn newest(
        &self,
        before: Option<Stamp<P>>,
        limit: usize,
    ) -> impl Iterator<Item = Entry<U, P>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let end = before.map_or(Unbounded, Excluded);
        let entries = self.entries.range((Unbounded, end)).rev().take(limit);
        entries.map(|(stamp, author)| Entry {
            stamp: *stamp,
            author: *author,
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<U: Copy, P: Copy + Ord> Default for Inbox<U, P> {
    fn default() -> Self {
        Self::new()
    }
}
