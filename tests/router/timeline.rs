//! Timelines against sorting all posts, one change after the other and several at once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::Poll;

use crate::support::poll;
use proptest::prelude::*;
use tenfold::rng::Rng;
use tenfold::router::timeline::{
    Delivery, Entry, Followed, Inbox, InboxPage, InvalidTimeline, Lists, MemoryStore, Reach, Stamp,
    Timeline, TimelineError, TimelineStore,
};
use tenfold::task::block_on;

type Post = Entry<u8, u32>;

fn entry(author: u8, time: u64, post: u32) -> Post {
    Entry {
        stamp: Stamp { time, post },
        author,
    }
}

fn timeline<S>(store: S, threshold: usize, cap: usize) -> Timeline<S> {
    let builder = Timeline::builder(store).push_to_at_most(threshold);
    builder.inbox_cap(cap).build().unwrap()
}

/// All pages of a timeline, read to the end.
fn read_all<S>(timeline: &Timeline<S>, reader: u8, limit: usize) -> Vec<Post>
where
    S: TimelineStore<User = u8, Post = u32, Error = Infallible>,
{
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = block_on(timeline.read(reader, before, limit)).unwrap();
        assert!(page.entries.len() <= limit);
        let last = page.entries.last().map(|entry| entry.stamp);
        all.extend(page.entries);
        match page.next {
            Some(next) => assert_eq!(Some(next), last, "a page ends where the next begins"),
            None => return all,
        }
        before = page.next;
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Follow(u8, u8),
    Unfollow(u8, u8),
    /// By whom, and when.
    Post(u8, u64),
    /// One of the posts so far.
    Delete(usize),
    Settle(u8),
}

const USERS: u8 = 5;

fn op() -> impl Strategy<Value = Op> {
    let user = || 0..USERS;
    prop_oneof![
        4 => (user(), user()).prop_map(|(reader, author)| Op::Follow(reader, author)),
        2 => (user(), user()).prop_map(|(reader, author)| Op::Unfollow(reader, author)),
        8 => (user(), 0..40_u64).prop_map(|(author, time)| Op::Post(author, time)),
        2 => any::<usize>().prop_map(Op::Delete),
        1 => user().prop_map(Op::Settle),
    ]
}

/// What is true, by lists and a sort.
#[derive(Default)]
struct Model {
    follows: BTreeSet<(u8, u8)>,
    posts: Vec<Post>,
    /// How many there were ever: the id of the next.
    count: u32,
}

impl Model {
    fn timeline(&self, reader: u8) -> Vec<Post> {
        let follows = |author| self.follows.contains(&(reader, author));
        let posts = self.posts.iter().filter(|post| follows(post.author));
        let mut posts: Vec<_> = posts.copied().collect();
        posts.sort_by_key(|post| std::cmp::Reverse((post.stamp.time, post.stamp.post)));
        posts
    }

    fn followers(&self, author: u8) -> usize {
        self.follows.iter().filter(|pair| pair.1 == author).count()
    }
}

async fn apply<S>(timeline: &Timeline<S>, op: Op, post: Option<Post>) -> Option<Delivery>
where
    S: TimelineStore<User = u8, Post = u32, Error = Infallible>,
{
    match op {
        Op::Follow(reader, author) => timeline.follow(reader, author).await.unwrap(),
        Op::Unfollow(reader, author) => timeline.unfollow(reader, author).await.unwrap(),
        Op::Post(..) => return Some(timeline.post(post?).await.unwrap()),
        Op::Delete(_) => timeline.delete(post?).await.unwrap(),
        Op::Settle(author) => match timeline.settle(author).await {
            Ok(_) | Err(TimelineError::TooManyFollowers { .. }) => {}
            Err(error) => panic!("{error}"),
        },
    }
    None
}

proptest! {
    #[test]
    fn a_timeline_is_what_sorting_all_posts_gives(
        ops in prop::collection::vec(op(), 0..60),
        threshold in 0..4_usize,
        cap in 1..6_usize,
        limit in 1..8_usize,
    ) {
        let timeline = timeline(MemoryStore::new(), threshold, cap);
        let mut model = Model::default();
        for op in ops {
            let post = match op {
                Op::Post(author, time) => {
                    model.count += 1;
                    Some(entry(author, time, model.count))
                }
                Op::Delete(number) => model.posts.get(number % model.posts.len().max(1)).copied(),
                _ => None,
            };
            let writes = timeline.store().inbox_writes();
            let delivery = block_on(apply(&timeline, op, post));
            match op {
                Op::Follow(reader, author) => drop(model.follows.insert((reader, author))),
                Op::Unfollow(reader, author) => drop(model.follows.remove(&(reader, author))),
                Op::Post(author, _) => {
                    model.posts.extend(post);
                    let writes = timeline.store().inbox_writes() - writes;
                    prop_assert!(writes <= threshold as u64);
                    let inboxes = match delivery {
                        Some(Delivery::Pushed { inboxes }) => inboxes,
                        _ => 0,
                    };
                    prop_assert_eq!(inboxes as u64, writes);
                    if delivery != Some(Delivery::Pulled) {
                        prop_assert_eq!(inboxes, model.followers(author));
                    }
                }
                Op::Delete(_) => model.posts.retain(|other| Some(*other) != post),
                Op::Settle(author) => {
                    let reach = block_on(timeline.store().reach(author)).unwrap();
                    let settled = model.followers(author) <= threshold;
                    prop_assert!(!settled || reach == Reach::Pushed);
                }
            }
            prop_assert!(timeline.store().fullest_inbox() <= cap);
        }
        for reader in 0..USERS {
            prop_assert_eq!(read_all(&timeline, reader, limit), model.timeline(reader));
            // Any place in it is a place to begin.
            let before = Stamp { time: 20, post: 7 };
            let page = block_on(timeline.read(reader, Some(before), limit)).unwrap();
            let expected = model.timeline(reader);
            let expected = expected.into_iter().filter(|post| post.stamp < before);
            prop_assert_eq!(page.entries, expected.take(limit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn changes_at_once_and_given_up_and_repeated_lose_nothing(
        rounds in prop::collection::vec(prop::collection::vec(op(), 1..5), 1..12),
        threshold in 0..3_usize,
        cap in 1..5_usize,
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::with_seed(seed);
        let timeline = timeline(Slow(MemoryStore::new()), threshold, cap);
        let mut posts = Vec::new();
        for round in rounds {
            let mut settled = BTreeSet::new();
            let mut under_way = Vec::new();
            for op in round {
                let post = match op {
                    Op::Post(author, time) => {
                        posts.push(entry(author, time, posts.len() as u32));
                        posts.last().copied()
                    }
                    Op::Delete(number) => posts.get(number % posts.len().max(1)).copied(),
                    // Of one author one at a time.
                    Op::Settle(author) if !settled.insert(author) => continue,
                    _ => None,
                };
                let start = move |timeline| Box::pin(apply(timeline, op, post)) as Running<'_>;
                under_way.push((start, start(&timeline)));
            }
            while !under_way.is_empty() {
                let one = rng.below(under_way.len() as u64) as usize;
                if rng.below(10) == 0 {
                    // Given up half-way, and done again.
                    under_way[one].1 = (under_way[one].0)(&timeline);
                } else if poll(under_way[one].1.as_mut()).is_ready() {
                    drop(under_way.swap_remove(one));
                }
            }
            // Given up last of all: what is pulled stays pulled, and complete.
            if rng.below(4) == 0 {
                let author = rng.below(u64::from(USERS)) as u8;
                let mut settle: Running<'_> = Box::pin(apply(&timeline, Op::Settle(author), None));
                for _ in 0..rng.below(5) {
                    if poll(settle.as_mut()).is_ready() {
                        break;
                    }
                }
            }
            for reader in 0..USERS {
                let limit = 1 + rng.below(5) as usize;
                let found = read_all(&timeline, reader, limit);
                prop_assert_eq!(found, sorted(&timeline.store().0, reader));
            }
        }
    }
}

proptest! {
    #[test]
    fn an_author_who_is_settled_among_posts_and_follows_loses_none(
        meanwhile in prop::collection::vec((0..3_u8, 0..USERS, 0..40_u64), 1..6),
        threshold in 1..4_usize,
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::with_seed(seed);
        let timeline = timeline(Slow(MemoryStore::new()), threshold, 4);
        // One follower too many at the first post, and as many as may be from then on.
        for reader in 0..=threshold as u8 {
            block_on(timeline.follow(reader, 9)).unwrap();
        }
        block_on(timeline.post(entry(9, 20, 0))).unwrap();
        for reader in 0..=rng.below(2) as u8 {
            block_on(timeline.unfollow(reader, 9)).unwrap();
        }
        let mut under_way = vec![Box::pin(apply(&timeline, Op::Settle(9), None)) as Running<'_>];
        let mut waiting: Vec<_> = meanwhile.into_iter().zip(1..).collect();
        while !under_way.is_empty() {
            // The others come when the settling has begun, at any time.
            if rng.below(4) == 0
                && let Some(((kind, reader, time), post)) = waiting.pop()
            {
                let (op, post) = match kind {
                    0 => (Op::Follow(reader, 9), None),
                    1 => (Op::Unfollow(reader, 9), None),
                    _ => (Op::Post(9, time), Some(entry(9, time, post))),
                };
                under_way.push(Box::pin(apply(&timeline, op, post)));
            }
            let one = rng.below(under_way.len() as u64) as usize;
            if poll(under_way[one].as_mut()).is_ready() {
                drop(under_way.swap_remove(one));
            }
        }
        for reader in 0..USERS {
            prop_assert_eq!(read_all(&timeline, reader, 3), sorted(&timeline.store().0, reader));
        }
    }

    #[test]
    fn a_read_among_changes_misses_and_doubles_nothing_that_was_there_before(
        before in prop::collection::vec(op(), 0..40),
        meanwhile in prop::collection::vec((0..USERS, 0..40_u64), 0..8),
        threshold in 1..4_usize,
        cap in 1..5_usize,
        limit in 1..10_usize,
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::with_seed(seed);
        let timeline = timeline(Slow(MemoryStore::new()), threshold, cap);
        let mut posts: Vec<Post> = Vec::new();
        for op in before {
            let post = match op {
                Op::Post(author, time) => {
                    posts.push(entry(author, time, posts.len() as u32));
                    posts.last().copied()
                }
                Op::Delete(number) => posts.get(number % posts.len().max(1)).copied(),
                _ => None,
            };
            block_on(apply(&timeline, op, post));
        }
        let there = sorted(&timeline.store().0, 0);
        let posts = meanwhile.into_iter().zip(1000..);
        let mut posts = posts.map(|((author, time), post)| entry(author, time, post));
        let mut posting: Option<Running<'_>> = None;
        let mut read = Box::pin(timeline.read(0, None, limit));
        let page = loop {
            if rng.below(4) == 0 {
                if let Poll::Ready(page) = poll(read.as_mut()) {
                    break page.unwrap();
                }
            } else if let Some(running) = &mut posting {
                if poll(running.as_mut()).is_ready() {
                    posting = None;
                }
            } else if let Some(post) = posts.next() {
                posting = Some(Box::pin(apply(&timeline, Op::Post(0, 0), Some(post))));
            }
        };
        let stamps = page.entries.iter().map(|entry| entry.stamp);
        prop_assert!(stamps.is_sorted_by(|a, b| a > b));
        let expected = there.into_iter().filter(|post| page.next.is_none_or(|end| post.stamp >= end));
        let found = page.entries.into_iter().filter(|entry| entry.stamp.post < 1000);
        prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Option<Delivery>> + 'a>>;

/// A timeline by the store's truth alone: who is followed, and all outboxes.
fn sorted(store: &MemoryStore<u8, u32>, reader: u8) -> Vec<Post> {
    let followed = block_on(store.followed(reader)).unwrap();
    let authors: Vec<_> = followed.iter().map(|one| one.author).collect();
    let outboxes = block_on(store.outboxes(&authors, None, usize::MAX)).unwrap();
    let mut posts: Vec<_> = outboxes.into_iter().flatten().collect();
    posts.sort_by_key(|post| std::cmp::Reverse(post.stamp));
    posts
}

/// A store that lets others go first before each question and each change.
struct Slow(MemoryStore<u8, u32>);

async fn others_first() {
    let mut turns = 0;
    std::future::poll_fn(|context| {
        turns += 1;
        if turns == 1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

type Result<T> = std::result::Result<T, Infallible>;

impl TimelineStore for Slow {
    type User = u8;
    type Post = u32;
    type Error = Infallible;

    async fn follow(&self, reader: u8, author: u8) -> Result<()> {
        others_first().await;
        self.0.follow(reader, author).await
    }

    async fn unfollow(&self, reader: u8, author: u8) -> Result<()> {
        others_first().await;
        self.0.unfollow(reader, author).await
    }

    async fn followed(&self, reader: u8) -> Result<Vec<Followed<u8>>> {
        others_first().await;
        self.0.followed(reader).await
    }

    async fn followers(&self, author: u8, limit: usize) -> Result<Vec<u8>> {
        others_first().await;
        self.0.followers(author, limit).await
    }

    async fn reach(&self, author: u8) -> Result<Reach> {
        others_first().await;
        self.0.reach(author).await
    }

    async fn set_reach(&self, author: u8, reach: Reach, from: Option<Reach>) -> Result<()> {
        others_first().await;
        self.0.set_reach(author, reach, from).await
    }

    async fn add_post(&self, entry: Post) -> Result<()> {
        others_first().await;
        self.0.add_post(entry).await
    }

    async fn remove_post(&self, entry: Post) -> Result<()> {
        others_first().await;
        self.0.remove_post(entry).await
    }

    async fn exist(&self, entries: &[Post]) -> Result<Vec<bool>> {
        others_first().await;
        self.0.exist(entries).await
    }

    async fn outboxes(
        &self,
        authors: &[u8],
        before: Option<Stamp<u32>>,
        limit: usize,
    ) -> Result<Lists<Self>> {
        others_first().await;
        self.0.outboxes(authors, before, limit).await
    }

    /// One reader at a time, as if they lay on different shards.
    async fn deliver(&self, readers: &[u8], entry: Post, cap: usize) -> Result<()> {
        for reader in readers {
            others_first().await;
            self.0.deliver(&[*reader], entry, cap).await?;
        }
        Ok(())
    }

    async fn backfill(
        &self,
        reader: u8,
        entries: &[Post],
        floor: Option<Stamp<u32>>,
        cap: usize,
    ) -> Result<()> {
        others_first().await;
        self.0.backfill(reader, entries, floor, cap).await
    }

    async fn inbox(
        &self,
        reader: u8,
        before: Option<Stamp<u32>>,
        limit: usize,
    ) -> Result<InboxPage<Self>> {
        others_first().await;
        self.0.inbox(reader, before, limit).await
    }
}

#[test]
fn posts_of_one_time_come_by_their_id() {
    let timeline = timeline(MemoryStore::new(), 1, 10);
    block_on(async {
        // One is pushed, the other pulled.
        for (reader, author) in [(0, 1), (0, 2), (3, 2)] {
            timeline.follow(reader, author).await.unwrap();
        }
        for post in [
            entry(1, 5, 2),
            entry(2, 5, 1),
            entry(1, 5, 4),
            entry(2, 5, 3),
        ] {
            timeline.post(post).await.unwrap();
        }
    });
    let ids: Vec<_> = read_all(&timeline, 0, 3)
        .iter()
        .map(|e| e.stamp.post)
        .collect();
    assert_eq!(ids, [4, 3, 2, 1]);
}

#[test]
fn crossing_the_threshold_up_and_down_neither_loses_nor_doubles_a_post() {
    let timeline = timeline(MemoryStore::new(), 1, 10);
    let publish = |time, expected| {
        let delivery = block_on(timeline.post(entry(9, time, time as u32))).unwrap();
        assert_eq!(delivery, expected, "{time}");
        let times: Vec<_> = read_all(&timeline, 1, 2)
            .iter()
            .map(|e| e.stamp.time)
            .collect();
        assert_eq!(times, (1..=time).rev().collect::<Vec<_>>());
    };
    let pushed = |inboxes| Delivery::Pushed { inboxes };
    block_on(timeline.follow(1, 9)).unwrap();
    publish(1, pushed(1));
    block_on(timeline.follow(2, 9)).unwrap();
    publish(2, Delivery::Pulled);
    assert_eq!(
        block_on(timeline.settle(9)),
        Err(TimelineError::TooManyFollowers { threshold: 1 })
    );
    // Who follows an author who is pulled costs no inbox anything.
    let writes = timeline.store().inbox_writes();
    block_on(timeline.follow(4, 9)).unwrap();
    assert_eq!(timeline.store().inbox_writes(), writes);
    assert_eq!(read_all(&timeline, 4, 9).len(), 2);
    block_on(timeline.unfollow(4, 9)).unwrap();
    block_on(timeline.unfollow(2, 9)).unwrap();
    // Fewer again, and still pulled: what was not pushed is in no inbox.
    publish(3, Delivery::Pulled);
    assert_eq!(block_on(timeline.settle(9)), Ok(1));
    publish(4, pushed(1));
    assert_eq!(block_on(timeline.settle(9)), Ok(0));
    // Who comes now finds what there was before.
    block_on(timeline.unfollow(1, 9)).unwrap();
    block_on(timeline.follow(3, 9)).unwrap();
    assert_eq!(read_all(&timeline, 3, 9).len(), 4);
    assert_eq!(read_all(&timeline, 1, 9), []);
}

#[test]
fn posts_beyond_the_cap_of_an_inbox_are_read_from_the_outboxes() {
    let timeline = timeline(MemoryStore::new(), 10, 3);
    block_on(timeline.follow(0, 1)).unwrap();
    (1..=20).for_each(|time| {
        block_on(timeline.post(entry(1, time, 0))).unwrap();
    });
    assert_eq!(timeline.store().fullest_inbox(), 3);
    for limit in 1..25 {
        assert_eq!(read_all(&timeline, 0, limit).len(), 20, "{limit}");
    }
}

#[test]
fn a_page_does_not_move_when_newer_posts_come() {
    let timeline = timeline(MemoryStore::new(), 10, 4);
    block_on(timeline.follow(0, 1)).unwrap();
    let publish = |time| {
        block_on(timeline.post(entry(1, time, 0))).unwrap();
    };
    (1..=6).for_each(publish);
    let first = block_on(timeline.read(0, None, 2)).unwrap();
    (7..=20).for_each(publish);
    let second = block_on(timeline.read(0, first.next, 9)).unwrap();
    let times: Vec<_> = second.entries.iter().map(|e| e.stamp.time).collect();
    assert_eq!(times, [4, 3, 2, 1]);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = Timeline::builder(MemoryStore::<u8, u32>::new())
        .inbox_cap(0)
        .build();
    assert_eq!(refused.err(), Some(InvalidTimeline::ZeroCap));
    let timeline = timeline(MemoryStore::<u8, u32>::new(), 0, 1);
    assert_eq!(
        block_on(timeline.read(1, None, 0)),
        Err(TimelineError::ZeroLimit)
    );
    // Everything is in it, and nothing overflows.
    let page = block_on(timeline.read(1, None, usize::MAX)).unwrap();
    assert_eq!((page.entries, page.next), (vec![], None));
    let timeline = Timeline::builder(MemoryStore::<u8, u32>::new());
    let timeline = timeline
        .push_to_at_most(usize::MAX)
        .inbox_cap(usize::MAX)
        .build()
        .unwrap();
    block_on(timeline.follow(0, 1)).unwrap();
    let delivery = block_on(timeline.post(entry(1, 1, 1)));
    assert_eq!(delivery, Ok(Delivery::Pushed { inboxes: 1 }));
    assert_eq!(read_all(&timeline, 0, usize::MAX), [entry(1, 1, 1)]);
}

proptest! {
    #[test]
    fn an_inbox_has_all_that_is_above_its_floor(
        puts in prop::collection::vec((0..30_u64, 0..4_u32, any::<bool>()), 0..60),
        cap in 1..8_usize,
    ) {
        let mut inbox = Inbox::new();
        let mut all = BTreeSet::new();
        for (time, post, raise) in puts {
            let entry = entry(0, time, post);
            if raise {
                inbox.raise_floor(entry.stamp);
            }
            inbox.put(entry, cap);
            all.insert(entry.stamp);
            prop_assert!(inbox.len() <= cap);
            let newest: Vec<_> = inbox.newest(None, usize::MAX).map(|e| e.stamp).collect();
            let above = all.iter().rev().filter(|stamp| inbox.floor().is_none_or(|f| **stamp >= f));
            prop_assert_eq!(newest, above.copied().collect::<Vec<_>>());
        }
    }
}
