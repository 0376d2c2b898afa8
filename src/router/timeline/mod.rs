//! Timelines of those whom a user follows: pushed where that is cheap, pulled where it is not.
//!
//! # The bad day
//!
//! A timeline that is written to every follower is quick to read. Then somebody with millions of
//! followers posts, and that is millions of writes, for one post, while everybody else waits.
//!
//! ```
//! use tenfold::router::timeline::{Entry, MemoryStore, Stamp, Timeline};
//! use tenfold::task::block_on;
//!
//! /// How many inboxes one post of a star is written to; everybody reads it either way.
//! fn writes(push_to_at_most: usize) -> Result<u64, Box<dyn std::error::Error>> {
//!     let timeline = Timeline::builder(MemoryStore::new()).push_to_at_most(push_to_at_most).build()?;
//!     let star = 1_000_000;
//!     let post = Entry { stamp: Stamp { time: 1, post: 1_u64 }, author: star };
//!     block_on(async {
//!         for reader in 0..50_000 {
//!             timeline.follow(reader, star).await?;
//!         }
//!         let before = timeline.store().inbox_writes();
//!         timeline.post(post).await?;
//!         assert_eq!(timeline.read(4711, None, 20).await?.entries, [post]);
//!         Ok(timeline.store().inbox_writes() - before)
//!     })
//! }
//!
//! assert_eq!(writes(usize::MAX)?, 50_000);
//! assert_eq!(writes(10_000)?, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The idea
//!
//! Posts lie in their author's *outbox*, sharded by author. Of authors with few followers, each post
//! is also put into the *inbox* of everyone who follows. A timeline is the reader's inbox, merged with the
//! outboxes of those few followed who have many followers: [`Timeline::read`].
//!
//! An inbox is a capped copy, which knows from where on it is complete (its [floor](Inbox::floor)).
//! Below that, the outboxes of all who are followed are read. So the cap costs time where somebody scrolls
//! far, and never a post.
//!
//! An author who gets too many followers is *pulled* from the first post on that was not pushed. What lies in
//! inboxes by then is passed by, since it is all in the outbox: nothing is there twice.
//! Back to *pushed* it goes by [`Timeline::settle`], which fills in what the inboxes lack.
//!
//! # What you can rely on
//!
//! * **A timeline is what sorting all posts of all who are followed would give**, newest first, by time
//!   and then by id: after follows and unfollows, deletions, posts that are older than others there, and crossings
//!   of the threshold in either direction; also when these happen at the same time, once they are done.
//! * **A post is written to no more inboxes than the threshold says.**
//! * **Pages join**: each begins after the last entry of the one before, whatever was posted meanwhile.
//! * **Whatever fails half-way can be done again**, and then is done once.
//! * **An inbox never has more entries than its cap.**
//!
//! # What it costs
//!
//! A post: its outbox, a look at up to the threshold's followers and at the author's reach, and those inboxes.
//! A page of `l` entries: `l` + 1 entries of the inbox (more if posts were deleted or authors unfollowed), a look
//! whether they exist, and `l` + 1 entries of each outbox that is pulled. Following: up to a cap of entries
//! into one inbox. Unfollowing and deleting: one write.
//!
//! # What it is not
//!
//! It stores nothing: a [`TimelineStore`] does, and [`MemoryStore`] is for tests. It ranks nothing: by time
//! is all there is. While a post is being published, some see it before others.

mod entry;
mod error;
mod inbox;
mod memory_store;
mod store;
#[allow(
    clippy::module_inception,
    reason = "the concept's main type has its name"
)]
mod timeline;

pub use entry::{Entry, Followed, Reach, Stamp};
pub use error::{InvalidTimeline, TimelineError};
pub use inbox::Inbox;
pub use memory_store::MemoryStore;
pub use store::{InboxPage, Lists, TimelineStore};
pub use timeline::{Delivery, Page, Timeline, TimelineBuilder};
