use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;

use super::entry::{Entry, Followed, Reach, Stamp};
use super::inbox::Inbox;
use super::store::{InboxPage, Lists, TimelineStore};
use crate::sync::Mutex;

/// A [`TimelineStore`] in memory: for tests, examples, and as the model of one.
///
/// It counts what was put into inboxes, which is what posts cost.
///
/// ```
/// use tenfold::router::timeline::{MemoryStore, TimelineStore};
/// use tenfold::task::block_on;
///
/// let store = MemoryStore::<u64, u64>::new();
/// block_on(store.follow(1, 2))?;
/// assert_eq!(block_on(store.followers(2, 10))?, [1]);
/// assert_eq!(store.inbox_writes(), 0);
/// # Ok::<(), std::convert::Infallible>(())
/// ```
pub struct MemoryStore<U, P>(Mutex<Tables<U, P>>);

struct Tables<U, P> {
    /// By reader.
    follows: BTreeMap<U, BTreeSet<U>>,
    /// By author.
    followers: BTreeMap<U, BTreeSet<U>>,
    reaches: BTreeMap<U, Reach>,
    outboxes: BTreeMap<U, BTreeSet<Stamp<P>>>,
    inboxes: BTreeMap<U, Inbox<U, P>>,
    inbox_writes: u64,
}

impl<U: Copy + Ord, P: Copy + Ord> MemoryStore<U, P> {
    /// Nobody follows, nothing was posted.
    pub fn new() -> Self {
        Self(Mutex::new(Tables {
            follows: BTreeMap::new(),
            followers: BTreeMap::new(),
            reaches: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            inbox_writes: 0,
        }))
    }

    /// How many inboxes were written to so far, each time counted.
    pub fn inbox_writes(&self) -> u64 {
        self.0.lock().inbox_writes
    }

    /// The entries in the fullest inbox.
    pub fn fullest_inbox(&self) -> usize {
        let tables = self.0.lock();
        tables.inboxes.values().map(Inbox::len).max().unwrap_or(0)
    }
}

impl<U, P> TimelineStore for MemoryStore<U, P>
where
    U: Copy + Ord + Send + Sync,
    P: Copy + Ord + Send + Sync,
{
    type User = U;
    type Post = P;
    type Error = Infallible;

    async fn follow(&self, reader: U, author: U) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        tables.follows.entry(reader).or_default().insert(author);
        tables.followers.entry(author).or_default().insert(reader);
        Ok(())
    }

    async fn unfollow(&self, reader: U, author: U) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        remove(&mut tables.follows, &reader, &author);
        remove(&mut tables.followers, &author, &reader);
        Ok(())
    }

    async fn followed(&self, reader: U) -> Result<Vec<Followed<U>>, Infallible> {
        let tables = self.0.lock();
        let followed = of(&tables.follows, reader).map(|author| Followed {
            author,
            reach: tables.reach(author),
        });
        Ok(followed.collect())
    }

    async fn followers(&self, author: U, limit: usize) -> Result<Vec<U>, Infallible> {
        let tables = self.0.lock();
        Ok(of(&tables.followers, author).take(limit).collect())
    }

    async fn reach(&self, author: U) -> Result<Reach, Infallible> {
        Ok(self.0.lock().reach(author))
    }

    async fn set_reach(
        &self,
        author: U,
        reach: Reach,
        only_from: Option<Reach>,
    ) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        if only_from.is_none_or(|from| from == tables.reach(author)) {
            tables.reaches.insert(author, reach);
        }
        Ok(())
    }

    async fn add_post(&self, entry: Entry<U, P>) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        let outbox = tables.outboxes.entry(entry.author).or_default();
        outbox.insert(entry.stamp);
        Ok(())
    }

    async fn remove_post(&self, entry: Entry<U, P>) -> Result<(), Infallible> {
        if let Some(outbox) = self.0.lock().outboxes.get_mut(&entry.author) {
            outbox.remove(&entry.stamp);
        }
        Ok(())
    }

    async fn exist(&self, entries: &[Entry<U, P>]) -> Result<Vec<bool>, Infallible> {
        let tables = self.0.lock();
        let exists = |entry: &Entry<U, P>| {
            let outbox = tables.outboxes.get(&entry.author);
            outbox.is_some_and(|outbox| outbox.contains(&entry.stamp))
        };
        Ok(entries.iter().map(exists).collect())
    }

    async fn outboxes(
        &self,
        authors: &[U],
        before: Option<Stamp<P>>,
        limit: usize,
    ) -> Result<Lists<Self>, Infallible> {
        use std::ops::Bound::{Excluded, Unbounded};
        let tables = self.0.lock();
        let end = before.map_or(Unbounded, Excluded);
        let newest = |author: &U| {
            let outbox = tables.outboxes.get(author).into_iter();
            let posts = outbox.flat_map(|outbox| outbox.range((Unbounded, end)).rev());
            let entries = posts.take(limit).map(|stamp| Entry {
                stamp: *stamp,
                author: *author,
            });
            entries.collect()
        };
        Ok(authors.iter().map(newest).collect())
    }

    async fn deliver(
        &self,
        readers: &[U],
        entry: Entry<U, P>,
        cap: usize,
    ) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        for reader in readers {
            tables.inboxes.entry(*reader).or_default().put(entry, cap);
            tables.inbox_writes += 1;
        }
        Ok(())
    }

    async fn backfill(
        &self,
        reader: U,
        entries: &[Entry<U, P>],
        floor: Option<Stamp<P>>,
        cap: usize,
    ) -> Result<(), Infallible> {
        let mut tables = self.0.lock();
        tables.inbox_writes += 1;
        let inbox = tables.inboxes.entry(reader).or_default();
        if let Some(floor) = floor {
            inbox.raise_floor(floor);
        }
        for entry in entries {
            inbox.put(*entry, cap);
        }
        Ok(())
    }

    async fn inbox(
        &self,
        reader: U,
        before: Option<Stamp<P>>,
        limit: usize,
    ) -> Result<InboxPage<Self>, Infallible> {
        let tables = self.0.lock();
        let page = tables.inboxes.get(&reader);
        let page = page.map(|inbox| (inbox.newest(before, limit).collect(), inbox.floor()));
        Ok(page.unwrap_or_default())
    }
}

impl<U: Copy + Ord, P> Tables<U, P> {
    fn reach(&self, author: U) -> Reach {
        self.reaches.get(&author).copied().unwrap_or_default()
    }
}

fn of<U: Copy + Ord>(users: &BTreeMap<U, BTreeSet<U>>, user: U) -> impl Iterator<Item = U> {
    users.get(&user).into_iter().flatten().copied()
}

fn remove<U: Ord>(users: &mut BTreeMap<U, BTreeSet<U>>, user: &U, other: &U) {
    if let Some(others) = users.get_mut(user) {
        others.remove(other);
    }
}

impl<U: Copy + Ord, P: Copy + Ord> Default for MemoryStore<U, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<U, P> fmt::Debug for MemoryStore<U, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
