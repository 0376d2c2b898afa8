use super::entry::{Entry, Followed, Reach, Stamp};

/// Where users, posts and inboxes lie: what a [`Timeline`](super::Timeline) works on.
///
/// Who follows whom, and an *outbox* per author, with all posts that were not deleted, are the
/// truth. An *inbox* per reader, capped, is a copy of it, and can be lost: start again with
/// an empty one whose floor is above all posts. [`Inbox`](super::Inbox) is one; in a store
/// of sorted sets it is a set and a number.
///
/// Every method is one question or one change, after which the next sees it; none needs a
/// transaction over several. Doing one twice is as doing it once, so that a call that
/// failed half-way can be repeated. [`MemoryStore`](super::MemoryStore) is the model.
///
/// Lists of many users or authors are for one read or write over all of their shards: see
/// [`scatter`](crate::router::scatter).
pub trait TimelineStore {
    /// Names a user.
    type User: Copy + Ord;
    /// Names a post, as no other.
    type Post: Copy + Ord;
    /// Why it could not.
    type Error;

    /// Has `reader` follow `author`.
    fn follow(
        &self,
        reader: Self::User,
        author: Self::User,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Ends that.
    fn unfollow(
        &self,
        reader: Self::User,
        author: Self::User,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whom a reader follows, and how their posts are to be found.
    fn followed(
        &self,
        reader: Self::User,
    ) -> impl Future<Output = Result<Vec<Followed<Self::User>>, Self::Error>> + Send;

    /// Those who follow an author, up to so many of them.
    fn followers(
        &self,
        author: Self::User,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::User>, Self::Error>> + Send;

    /// How an author's posts are to be found; [`Reach::Pushed`] of one not heard of.
    fn reach(&self, author: Self::User) -> impl Future<Output = Result<Reach, Self::Error>> + Send;

    /// Changes that. With `only_from`, only if it is that now: compare and set, in one.
    fn set_reach(
        &self,
        author: Self::User,
        reach: Reach,
        only_from: Option<Reach>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts a post into its author's outbox.
    fn add_post(
        &self,
        entry: Entry<Self::User, Self::Post>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes it out.
    fn remove_post(
        &self,
        entry: Entry<Self::User, Self::Post>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// For each of these, whether it is in its author's outbox. An application that goes on
    /// to load the posts can have them looked up here, and keep them.
    fn exist(
        &self,
        entries: &[Entry<Self::User, Self::Post>],
    ) -> impl Future<Output = Result<Vec<bool>, Self::Error>> + Send;

    /// Of the outbox of each of these authors the newest posts before a stamp, up to `limit`,
    /// newest first.
    fn outboxes(
        &self,
        authors: &[Self::User],
        before: Option<Stamp<Self::Post>>,
        limit: usize,
    ) -> impl Future<Output = Result<Lists<Self>, Self::Error>> + Send;

    /// Puts an entry into the inbox of each of these readers, which keeps its newest `cap`:
    /// what [`Inbox::put`](super::Inbox::put) does.
    fn deliver(
        &self,
        readers: &[Self::User],
        entry: Entry<Self::User, Self::Post>,
        cap: usize,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts several entries of one author into the inbox of one reader, and raises its floor to
    /// `floor`, if that is one and higher.
    fn backfill(
        &self,
        reader: Self::User,
        entries: &[Entry<Self::User, Self::Post>],
        floor: Option<Stamp<Self::Post>>,
        cap: usize,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Of a reader's inbox the newest entries before a stamp, up to `limit`, newest first, and
    /// its floor.
    fn inbox(
        &self,
        reader: Self::User,
        before: Option<Stamp<Self::Post>>,
        limit: usize,
    ) -> impl Future<Output = Result<InboxPage<Self>, Self::Error>> + Send;
}

/// A list of entries for each of several authors.
pub type Lists<S> = Vec<Vec<Entry<<S as TimelineStore>::User, <S as TimelineStore>::Post>>>;

/// Entries of an inbox, and its floor.
pub type InboxPage<S> = (
    Vec<Entry<<S as TimelineStore>::User, <S as TimelineStore>::Post>>,
    Option<Stamp<<S as TimelineStore>::Post>>,
);
