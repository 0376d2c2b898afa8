use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::entry::{Entry, Followed, Reach, Stamp};
use super::error::{InvalidTimeline, TimelineError};
use super::store::{Lists, TimelineStore};
use crate::router::scatter::merge_by_key;

/// Timelines of those whom a reader follows: pushed by authors with few followers, pulled
/// from those with many. The [module's page](crate::router::timeline) has the idea.
///
/// It holds nothing but its store, so there may be one in each process.
///
/// ```
/// use tenfold::router::timeline::{Delivery, Entry, MemoryStore, Stamp, Timeline};
/// use tenfold::task::block_on;
///
/// let timeline = Timeline::builder(MemoryStore::new()).push_to_at_most(2).build()?;
/// block_on(async {
///     for reader in ["ada", "bob", "cy"] {
///         timeline.follow(reader, "star").await?;
///     }
///     timeline.follow("ada", "bob").await?;
///     let post = |author, time| Entry { stamp: Stamp { time, post: time }, author };
///     assert_eq!(timeline.post(post("bob", 1)).await?, Delivery::Pushed { inboxes: 1 });
///     assert_eq!(timeline.post(post("star", 2)).await?, Delivery::Pulled);
///
///     let page = timeline.read("ada", None, 20).await?;
///     assert_eq!(page.entries, [post("star", 2), post("bob", 1)]);
///     assert_eq!(page.next, None);
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Timeline<S> {
    store: S,
    threshold: usize,
    cap: usize,
}

/// Describes a [`Timeline`].
#[derive(Debug, Clone)]
#[must_use = "a builder builds nothing until it is built"]
pub struct TimelineBuilder<S>(Timeline<S>);

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// It was put into so many inboxes.
    Pushed {
        /// How many.
        inboxes: usize,
    },
    /// It is in its author's outbox, where all who follow look.
    Pulled,
}

/// A part of a timeline.
///
/// ```
/// use tenfold::router::timeline::{Entry, MemoryStore, Stamp, Timeline};
/// use tenfold::task::block_on;
///
/// let timeline = Timeline::builder(MemoryStore::new()).build()?;
/// block_on(async {
///     timeline.follow("ada", "bob").await?;
///     for time in 1..=3_u64 {
///         timeline.post(Entry { stamp: Stamp { time, post: time }, author: "bob" }).await?;
///     }
///     let first = timeline.read("ada", None, 2).await?;
///     let second = timeline.read("ada", first.next, 2).await?;
///     assert_eq!((first.entries.len(), second.entries.len(), second.next), (2, 1, None));
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<U, P> {
    /// Newest first.
    pub entries: Vec<Entry<U, P>>,
    /// Where the next page begins, for [`Timeline::read`]; `None` if this is the last.
    pub next: Option<Stamp<P>>,
}

impl<S> TimelineBuilder<S> {
    /// How many followers an author may have whose posts are pushed: how often a post is
    /// written at most. 10,000 by default; 0 pulls everything, `usize::MAX` pushes everything.
    pub fn push_to_at_most(mut self, followers: usize) -> Self {
        self.0.threshold = followers;
        self
    }

    /// How many entries an inbox holds: how far a reader gets before reading costs a look
    /// into the outbox of everybody followed. 800 by default.
    pub fn inbox_cap(mut self, entries: usize) -> Self {
        self.0.cap = entries;
        self
    }

    /// The timeline.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeline`] says what cannot be.
    pub fn build(self) -> Result<Timeline<S>, InvalidTimeline> {
        if self.0.cap == 0 {
            return Err(InvalidTimeline::ZeroCap);
        }
        Ok(self.0)
    }
}

impl<S> Timeline<S> {
    /// Begins a timeline over this store.
    pub fn builder(store: S) -> TimelineBuilder<S> {
        TimelineBuilder(Self {
            store,
            threshold: 10_000,
            cap: 800,
        })
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: TimelineStore> Timeline<S> {
    /// Publishes a post: puts it into its author's outbox, and into the inbox of everyone who
    /// follows, if those are few enough.
    ///
    /// # Errors
    ///
    /// [`TimelineError::Store`]. Then, and if this is dropped half-way, it may be on some
    /// timelines and not on others: publish it again.
    pub async fn post(&self, entry: Entry<S::User, S::Post>) -> Result<Delivery, Failed<S>> {
        let author = entry.author;
        // In the outbox before anyone is looked for: who follows from now on finds it there.
        self.store.add_post(entry).await?;
        let followers = self.store.followers(author, self.one_too_many()).await?;
        if followers.len() > self.threshold {
            self.store.set_reach(author, Reach::Pulled, None).await?;
            return Ok(Delivery::Pulled);
        }
        if self.store.reach(author).await? == Reach::Pulled {
            return Ok(Delivery::Pulled);
        }
        self.store.deliver(&followers, entry, self.cap).await?;
        Ok(Delivery::Pushed {
            inboxes: followers.len(),
        })
    }

    /// Takes a post back. It is on no timeline any more, also not on those it was pushed to,
    /// though nothing is written there.
    ///
    /// # Errors
    ///
    /// [`TimelineError::Store`].
    pub async fn delete(&self, entry: Entry<S::User, S::Post>) -> Result<(), Failed<S>> {
        Ok(self.store.remove_post(entry).await?)
    }

    /// Has `reader` follow `author`, whose posts are on the timeline then, older ones too.
    ///
    /// # Errors
    ///
    /// [`TimelineError::Store`]. Then, and if this is dropped half-way, some of the older
    /// posts may be missing: follow again.
    pub async fn follow(&self, reader: S::User, author: S::User) -> Result<(), Failed<S>> {
        // Before the outbox is read: what is posted from now on is pushed here.
        self.store.follow(reader, author).await?;
        if self.store.reach(author).await? != Reach::Pulled {
            let (entries, floor) = self.newest_of(author).await?;
            let cap = self.cap;
            self.store.backfill(reader, &entries, floor, cap).await?;
        }
        Ok(())
    }

    /// Ends that. The author's posts are on the timeline no more.
    ///
    /// # Errors
    ///
    /// [`TimelineError::Store`].
    pub async fn unfollow(&self, reader: S::User, author: S::User) -> Result<(), Failed<S>> {
        Ok(self.store.unfollow(reader, author).await?)
    }

    /// Has an author's posts pushed again, who had many followers and lost them: until
    /// then they are pulled, for some may be in no inbox. Answers how many inboxes were
    /// written to, each with up to a [cap](TimelineBuilder::inbox_cap) of entries; 0 if the
    /// author's posts are pushed already.
    ///
    /// This is upkeep, for a job that runs now and then. Nothing is missing from any timeline
    /// meanwhile, or if it is given up half-way. Of one author, run one at a time.
    ///
    /// # Errors
    ///
    /// [`TimelineError::TooManyFollowers`] if there still are; nothing was changed.
    /// [`TimelineError::Store`] if it failed half-way: settle again.
    pub async fn settle(&self, author: S::User) -> Result<usize, Failed<S>> {
        // From here on who posts pushes, and who follows fetches what was posted before.
        let pulled = Some(Reach::Pulled);
        self.store
            .set_reach(author, Reach::Settling, pulled)
            .await?;
        if self.store.reach(author).await? == Reach::Pushed {
            return Ok(0);
        }
        let settling = Some(Reach::Settling);
        let followers = self.store.followers(author, self.one_too_many()).await?;
        if followers.len() > self.threshold {
            self.store
                .set_reach(author, Reach::Pulled, settling)
                .await?;
            let threshold = self.threshold;
            return Err(TimelineError::TooManyFollowers { threshold });
        }
        let (entries, floor) = self.newest_of(author).await?;
        for reader in &followers {
            let cap = self.cap;
            self.store.backfill(*reader, &entries, floor, cap).await?;
        }
        // Unless one who posted has found too many followers again.
        self.store
            .set_reach(author, Reach::Pushed, settling)
            .await?;
        Ok(followers.len())
    }

    /// The newest posts of all whom `reader` follows, newest first: those before a stamp, if one is
    /// given, up to `limit`.
    ///
    /// Costs one look at the inbox, and one at the outboxes of those followed whose posts are pulled.
    /// Beyond what the inbox holds, the outboxes of all who are followed are asked: slower, and
    /// as complete.
    ///
    /// # Errors
    ///
    /// [`TimelineError::ZeroLimit`], and [`TimelineError::Store`].
    pub async fn read(
        &self,
        reader: S::User,
        before: Option<Stamp<S::Post>>,
        limit: usize,
    ) -> Result<Page<S::User, S::Post>, Failed<S>> {
        if limit == 0 {
            return Err(TimelineError::ZeroLimit);
        }
        // One more tells whether there is a next page.
        let want = limit.saturating_add(1);
        let (mut pulled, mut pushed) = (Vec::new(), BTreeSet::new());
        for Followed { author, reach } in self.store.followed(reader).await? {
            if reach.is_pulled() {
                pulled.push(author);
            } else {
                pushed.insert(author);
            }
        }

        let mut lists = self.outboxes(&pulled, before, want).await?;
        let (near, rest) = self.near(reader, &pushed, before, want).await?;
        if let Some(rest) = rest.filter(|_| near.len() < want) {
            let pushed: Vec<_> = pushed.into_iter().collect();
            lists.extend(self.outboxes(&pushed, Some(rest), want).await?);
        }
        lists.push(near);

        let newest = merge_by_key(lists, |entry| Reverse(entry.stamp));
        let mut entries: Vec<_> = newest.take(want).collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Page {
            next: entries.last().filter(|_| more).map(|last| last.stamp),
            entries,
        })
    }

    /// Of the inbox what is by these authors and still exists; and before which stamp there
    /// may be more that is not in it.
    ///
    /// Who is pulled is left out, though some of the posts may be in there: all are in the outbox,
    /// and so none is seen twice.
    async fn near(
        &self,
        reader: S::User,
        authors: &BTreeSet<S::User>,
        before: Option<Stamp<S::Post>>,
        want: usize,
    ) -> Result<Near<S>, Failed<S>> {
        let (mut near, mut seen) = (Vec::new(), before);
        loop {
            let (mut page, floor) = self.store.inbox(reader, seen, want).await?;
            let is_last = page.len() < want;
            seen = page.last().map(|entry| entry.stamp).or(seen);
            page.retain(|entry| authors.contains(&entry.author));
            if !page.is_empty() {
                let exist = self.store.exist(&page).await?;
                check("exist", page.len(), exist.len())?;
                let found = page.into_iter().zip(exist);
                near.extend(found.filter_map(|(entry, exists)| exists.then_some(entry)));
            }
            if is_last || near.len() >= want {
                // The floor may have risen above what was seen, between two pages.
                let rest = floor.map(|floor| seen.map_or(floor, |seen| seen.min(floor)));
                return Ok((near, rest));
            }
        }
    }

    async fn outboxes(
        &self,
        authors: &[S::User],
        before: Option<Stamp<S::Post>>,
        limit: usize,
    ) -> Result<Lists<S>, Failed<S>> {
        if authors.is_empty() {
            return Ok(Vec::new());
        }
        let lists = self.store.outboxes(authors, before, limit).await?;
        check("outboxes", authors.len(), lists.len())?;
        Ok(lists)
    }

    /// As many of an author's newest posts as an inbox holds, and from where on these
    /// are all.
    async fn newest_of(&self, author: S::User) -> Result<Backfill<S>, Failed<S>> {
        let limit = self.cap.saturating_add(1);
        let lists = self.outboxes(&[author], None, limit).await?;
        let mut entries: Vec<_> = lists.into_iter().flatten().collect();
        let is_all = entries.len() <= self.cap;
        entries.truncate(self.cap);
        let floor = entries.last().filter(|_| !is_all).map(|last| last.stamp);
        Ok((entries, floor))
    }

    fn one_too_many(&self) -> usize {
        self.threshold.saturating_add(1)
    }
}

type Failed<S> = TimelineError<<S as TimelineStore>::Error>;
type Entries<S> = Vec<Entry<<S as TimelineStore>::User, <S as TimelineStore>::Post>>;
type Near<S> = (Entries<S>, Option<Stamp<<S as TimelineStore>::Post>>);
type Backfill<S> = (Entries<S>, Option<Stamp<<S as TimelineStore>::Post>>);

impl<E> From<E> for TimelineError<E> {
    fn from(error: E) -> Self {
        Self::Store(error)
    }
}

fn check<E>(method: &'static str, expected: usize, found: usize) -> Result<(), TimelineError<E>> {
    if expected == found {
        return Ok(());
    }
    Err(TimelineError::WrongLength {
        method,
        expected,
        found,
    })
}
