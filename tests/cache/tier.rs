//! One piece of the second tier at a time: what a user sees of it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use crate::support::{poll, quiet_panic};
use tenfold::cache::tier::{
    Applied, BreakerState, CallError, Codec, Faults, Found, Item, L2, MemoryBackplane, MemoryL2,
    MemoryL2Error, PlainCodec, Reached, Tier, TierBuildError, TierBuilder, Version, When,
};
use tenfold::cache::{BuildError, Cache};
use tenfold::time::{Clock, ManualClock};

type Texts = Tier<u32, String>;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    time: ManualClock,
    l2: MemoryL2,
    backplane: MemoryBackplane,
}

impl World {
    fn new() -> Self {
        let time = ManualClock::new();
        let l2 = MemoryL2::new(1000, time.clock());
        let backplane = MemoryBackplane::new(time.clock());
        Self {
            time,
            l2,
            backplane,
        }
    }

    /// A node and its connections.
    fn node(&self) -> (Texts, MemoryL2, MemoryBackplane) {
        let (l2, backplane) = (self.l2.connect(), self.backplane.connect());
        let node = self.builder(l2.clone()).backplane(backplane.clone());
        (node.build().unwrap(), l2, backplane)
    }

    fn builder(&self, l2: impl L2) -> TierBuilder<u32, String> {
        let cache = Cache::builder().max_entries(100).clock(self.time.clock());
        Tier::builder(cache, l2, PlainCodec).breaker(3, 5 * SECOND)
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_value_is_read_from_the_l2_once_and_keeps_its_remaining_life() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    a.insert(1, Item::new(text("one")).ttl(10 * SECOND));
    world.time.advance(6 * SECOND);
    assert_eq!(b.get(&1), Some(text("one")));
    assert_eq!(b.get(&1), Some(text("one")));
    assert_eq!(b.stats().l2_hits, 1);
    world.time.advance(4 * SECOND);
    assert_eq!(b.get_near(&1), None);
    assert_eq!(b.get(&1), None);
}

#[test]
fn a_loaded_value_is_shared_through_the_l2() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    assert_eq!(a.get_with(1, || text("one")).unwrap(), "one");
    assert_eq!(b.get_with(1, || text("two")).unwrap(), "one");
    assert_eq!((a.stats().loads, b.stats().loads), (1, 0));
}

#[test]
fn a_dead_l2_is_a_miss_and_never_an_error() {
    let world = World::new();
    let (a, l2, _) = world.node();
    l2.cut(true);
    assert_eq!(a.get(&1), None);
    assert_eq!(a.get_with(1, || text("one")).unwrap(), "one");
    assert_eq!(a.get(&1), Some(text("one")));
    assert_eq!(a.insert(2, text("two")), Reached::Here);
    assert_eq!(a.get(&2), Some(text("two")));
}

#[test]
fn a_dead_l2_is_left_alone_until_its_breaker_lets_one_call_through() {
    let world = World::new();
    let (a, l2, _) = world.node();
    l2.cut(true);
    for key in 0..20 {
        a.get(&key);
    }
    let stats = a.stats();
    assert_eq!((stats.l2_failures, stats.l2_refused), (3, 17));
    assert_eq!(stats.l2, BreakerState::Open);
    world.time.advance(5 * SECOND);
    l2.cut(false);
    a.get(&1);
    assert_eq!(a.stats().l2, BreakerState::Closed);
}

#[test]
fn a_slow_l2_is_given_up_in_time_and_does_not_slow_a_hit() {
    let world = World::new();
    let (a, l2, _) = world.node();
    a.insert(1, text("one"));
    l2.set_faults(Faults::with_seed(1).slow(1.0, 3600 * SECOND));
    let mut miss = pin!(a.get_async(&2));
    assert!(poll(miss.as_mut()).is_pending());
    // While one caller waits for the L2, another hits.
    assert_eq!(poll(pin!(a.get_async(&1))), Poll::Ready(Some(text("one"))));
    world
        .time
        .advance(SECOND.saturating_sub(Duration::from_nanos(1)));
    assert!(poll(miss.as_mut()).is_pending());
    world.time.advance(Duration::from_nanos(1));
    assert_eq!(poll(miss), Poll::Ready(None));
    assert_eq!(a.stats().l2_failures, 1);
}

#[test]
fn a_suspect_value_is_served_after_the_soft_time_out() {
    let world = World::new();
    let (a, l2, backplane) = world.node();
    a.insert(1, text("one"));
    backplane.reconnect();
    assert_eq!(a.get_near(&1), None);
    l2.set_faults(Faults::with_seed(1).slow(1.0, 3600 * SECOND));
    let mut read = pin!(a.get_async(&1));
    assert!(poll(read.as_mut()).is_pending());
    world.time.advance(SECOND / 10);
    assert_eq!(poll(read), Poll::Ready(Some(text("one"))));
    assert_eq!(a.stats().unverified, 1);
    // Its life is not prolonged by that.
    world.time.advance(60 * SECOND);
    l2.set_faults(Faults::none());
    l2.cut(true);
    assert_eq!(a.get(&1), None);
}

#[test]
fn what_failed_is_made_up_for_when_the_l2_answers_again() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    b.insert(2, text("old"));
    l2.cut(true);
    assert_eq!(a.insert(1, text("one")), Reached::Here);
    assert_eq!(a.insert(1, text("uno")), Reached::Here);
    assert_eq!(a.invalidate(&2), Reached::Here);
    assert_eq!(a.stats().queued, 2);
    assert_eq!(b.get(&1), None);
    l2.cut(false);
    world.time.advance(5 * SECOND);
    a.tend();
    assert_eq!((a.stats().queued, a.stats().recovered), (0, 2));
    assert_eq!(b.get(&1), Some(text("uno")));
    assert_eq!(b.get(&2), None);
}

#[test]
fn what_has_yet_to_be_told_is_read_where_the_l2_has_only_older() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    b.insert(1, text("old"));
    l2.cut(true);
    a.insert(1, text("new"));
    // Long enough for the cache in front to forget it.
    world.time.advance(60 * SECOND);
    l2.cut(false);
    assert_eq!(a.get_near(&1), None);
    assert_eq!(a.get(&1), Some(text("new")));
}

#[test]
fn the_newest_change_wins_not_the_one_that_arrives_last() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    l2.cut(true);
    a.insert(1, text("older"));
    world.time.advance(SECOND);
    b.insert(1, text("newer"));
    l2.cut(false);
    world.time.advance(5 * SECOND);
    a.tend();
    assert_eq!(a.stats().superseded, 1);
    for node in [&a, &b] {
        assert_eq!(node.get(&1), Some(text("newer")));
    }
}

#[test]
fn a_change_is_made_up_for_on_the_way_of_a_later_call() {
    let world = World::new();
    let (a, l2, _) = world.node();
    l2.cut(true);
    a.insert(1, text("one"));
    l2.cut(false);
    a.get(&2);
    assert_eq!((a.stats().queued, a.stats().recovered), (0, 1));
}

#[test]
fn an_old_value_does_not_come_back_into_an_l2_that_lost_its_memory() {
    let world = World::new();
    let (a, l2, a_plane) = world.node();
    let (b, ..) = world.node();
    let (c, ..) = world.node();
    a.get(&1);
    l2.cut(true);
    a_plane.cut(true);
    a.insert(1, text("older"));
    world.time.advance(SECOND);
    b.insert(1, text("newer"));
    world.l2.crash();
    l2.cut(false);
    a_plane.cut(false);
    world.time.advance(5 * SECOND);
    a.tend();
    assert_eq!(c.get(&1), None);
    assert_eq!(b.get(&1), Some(text("newer")));
}

#[test]
fn a_cancelled_insert_is_finished_later() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    b.insert(1, text("old"));
    l2.set_faults(Faults::with_seed(1).slow(1.0, SECOND));
    {
        let mut insert = pin!(a.insert_async(1, text("new")));
        assert!(poll(insert.as_mut()).is_pending());
    }
    l2.set_faults(Faults::none());
    assert_eq!(a.get(&1), Some(text("new")));
    a.tend();
    assert_eq!(b.get(&1), Some(text("new")));
}

/// The other node kept its old value: the invalidation found that a newer value
/// lay in the L2, took that for somebody else's change, and was not published;
/// but it was one this node had loaded, and loads are not published either.
#[test]
fn an_invalidation_that_a_load_beat_to_the_l2_is_still_told() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    b.insert(1, text("old"));
    l2.set_faults(Faults::with_seed(1).slow(1.0, 3600 * SECOND));
    {
        let mut slow = pin!(a.invalidate_async(&1));
        assert!(poll(slow.as_mut()).is_pending());
        l2.set_faults(Faults::none());
        assert_eq!(a.get_with(1, || text("new")).unwrap(), "new");
    }
    assert_eq!(b.get(&1), Some(text("old")), "nobody has told it");
    a.tend();
    assert_eq!(a.stats().superseded, 1);
    assert_eq!(b.get(&1), Some(text("new")));
}

#[test]
fn a_full_queue_becomes_one_invalidation_of_everything() {
    let world = World::new();
    let (l2, backplane) = (world.l2.connect(), world.backplane.connect());
    let a = world.builder(l2.clone()).backplane(backplane);
    let a = a.recovery(3, 1 << 20).build().unwrap();
    let (b, ..) = world.node();
    for key in 0..5 {
        b.insert(key, text("old"));
    }
    l2.cut(true);
    for key in 0..5 {
        a.invalidate(&key);
    }
    let stats = a.stats();
    assert_eq!(stats.overflows, 1);
    assert!(stats.queued <= 3);
    l2.cut(false);
    world.time.advance(5 * SECOND);
    a.tend();
    for key in 0..5 {
        assert_eq!(b.get(&key), None);
    }
}

#[test]
fn an_invalidation_beats_a_load_under_way() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    let open = Cell::new(false);
    let load = || async {
        std::future::poll_fn(|_| {
            if open.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        text("old")
    };
    for invalidator in [&a, &b] {
        open.set(false);
        let mut slow = pin!(a.get_with_async(1, load));
        assert!(poll(slow.as_mut()).is_pending());
        assert_eq!(invalidator.invalidate(&1), Reached::Everyone);
        open.set(true);
        let Poll::Ready(Ok(got)) = poll(slow) else {
            panic!("the load is done");
        };
        assert_eq!(got, "old", "who asked before gets what was there");
        assert_eq!(a.get(&1), None);
        assert_eq!(b.get(&1), None);
    }
}

#[test]
fn an_invalidation_beats_a_load_that_has_not_heard_of_it() {
    let world = World::new();
    let (a, _, a_plane) = world.node();
    let (b, ..) = world.node();
    a_plane.cut(true);
    let opened = a.get_with(1, || {
        b.invalidate(&1);
        text("old")
    });
    assert_eq!(opened.unwrap(), "old");
    assert_eq!(a.stats().overtaken, 1);
    assert_eq!(a.get(&1), None);
    assert_eq!(b.get(&1), None);
}

#[test]
fn a_load_overtaken_by_a_message_is_not_written_to_an_l2_that_was_not_told() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, l2, _) = world.node();
    let (late, _, late_plane) = world.node();
    late_plane.cut(true);
    l2.cut(true);
    let loaded = a.get_with(1, || {
        assert_eq!(b.invalidate(&1), Reached::Here);
        text("old")
    });
    assert_eq!(loaded.unwrap(), "old");
    assert_eq!(a.stats().overtaken, 1);
    assert_eq!(late.get(&1), None);
}

#[test]
fn an_invalidation_that_was_heard_holds_against_an_l2_that_was_not_told() {
    let world = World::new();
    let (a, l2, _) = world.node();
    let (b, ..) = world.node();
    a.insert(1, text("old"));
    l2.cut(true);
    assert_eq!(a.invalidate(&1), Reached::Here);
    assert_eq!(b.get(&1), None, "the L2 still has it, and is not believed");
    assert_eq!(b.stats().outdated, 1);
}

#[test]
fn a_lost_message_is_noticed_by_the_next_sign_of_life() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    a.tend();
    b.tend();
    a.insert(1, text("old"));
    assert_eq!(b.get(&1), Some(text("old")));
    world.backplane.set_faults(Faults::with_seed(1).lost(1.0));
    a.insert(1, text("new"));
    world.backplane.set_faults(Faults::none());
    assert_eq!(b.get(&1), Some(text("old")), "it cannot know yet");
    world.time.advance(SECOND);
    a.tend();
    world.time.advance(SECOND / 10);
    b.tend();
    assert_eq!(b.stats().gaps, 1);
    assert_eq!(b.get(&1), Some(text("new")));
}

#[test]
fn a_tag_invalidates_on_all_nodes_and_in_the_l2() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    a.insert(1, Item::new(text("tagged")).tag("red"));
    a.insert(2, Item::new(text("other")).tag("blue"));
    a.insert(3, text("plain"));
    for key in 1..=3 {
        assert!(b.get(&key).is_some());
    }
    assert_eq!(a.invalidate_tag("red"), Reached::Everyone);
    let (late, ..) = world.node();
    for node in [&a, &b, &late] {
        assert_eq!(node.get(&1), None);
        assert_eq!(node.get(&2), Some(text("other")));
        assert_eq!(node.get(&3), Some(text("plain")));
    }
    a.insert(1, Item::new(text("again")).tag("red"));
    assert_eq!(b.get(&1), Some(text("again")));
    b.clear();
    for node in [&a, &b, &late] {
        for key in 1..=3 {
            assert_eq!(node.get(&key), None);
        }
    }
}

#[test]
fn corrupt_bytes_are_a_miss_and_counted() {
    let world = World::new();
    let (a, ..) = world.node();
    let (b, ..) = world.node();
    a.insert(1, text("one"));
    world.l2.scribble(b"k\0\0\0\x01", b"\x01 half a va");
    assert_eq!(b.get(&1), None);
    assert_eq!(b.stats().corrupt, 1);
    assert_eq!(b.get_with(1, || text("again")).unwrap(), "again");
    let (c, ..) = world.node();
    assert_eq!(c.get(&1), Some(text("again")), "they were replaced");
}

#[test]
fn a_message_that_nobody_understands_makes_entries_suspect() {
    use tenfold::cache::tier::Backplane;
    let world = World::new();
    let (a, ..) = world.node();
    a.insert(1, text("one"));
    tenfold::task::block_on(world.backplane.publish(b"what?")).unwrap();
    assert_eq!(a.stats().strange, 1);
    assert_eq!(a.get_near(&1), None);
    assert_eq!(a.get(&1), Some(text("one")));
}

/// Panics where it is told to.
#[derive(Clone, Default)]
struct Poisoned {
    encode: Arc<AtomicBool>,
    decode: Arc<AtomicBool>,
}

impl Codec<u32, String> for Poisoned {
    fn encode_key(&self, key: &u32) -> Vec<u8> {
        key.to_be_bytes().into()
    }

    fn decode_key(&self, bytes: &[u8]) -> Option<u32> {
        if self.decode.load(Ordering::Relaxed) {
            quiet_panic();
        }
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    fn encode(&self, value: &String) -> Vec<u8> {
        if self.encode.load(Ordering::Relaxed) {
            quiet_panic();
        }
        value.as_bytes().into()
    }

    fn decode(&self, bytes: &[u8]) -> Option<String> {
        if self.decode.load(Ordering::Relaxed) {
            quiet_panic();
        }
        String::from_utf8(bytes.into()).ok()
    }
}

#[test]
fn a_codec_that_panics_harms_nobody() {
    let world = World::new();
    let (a, ..) = world.node();
    let codec = Poisoned::default();
    let cache = Cache::builder().max_entries(10).clock(world.time.clock());
    let b: Texts = Tier::builder(cache, world.l2.connect(), codec.clone())
        .backplane(world.backplane.connect())
        .build()
        .unwrap();
    a.insert(1, text("one"));
    codec.decode.store(true, Ordering::Relaxed);
    assert_eq!(b.get(&1), None);
    assert_eq!(b.stats().corrupt, 1);
    // A key that cannot be decoded: everything is suspect.
    a.insert(1, text("two"));
    assert_eq!(b.stats().strange, 1);
    codec.decode.store(false, Ordering::Relaxed);
    assert_eq!(b.get(&1), Some(text("two")));

    codec.encode.store(true, Ordering::Relaxed);
    let insert = AssertUnwindSafe(|| b.insert(1, text("three")));
    assert!(catch_unwind(insert).is_err());
    assert_eq!(b.get(&1), Some(text("two")), "nothing has changed");
    assert_eq!(b.stats().queued, 0);
}

/// An L2 whose every call panics.
struct Panicking;

impl L2 for Panicking {
    type Error = MemoryL2Error;

    async fn get(&self, _: &[u8]) -> Result<Found, MemoryL2Error> {
        quiet_panic()
    }

    async fn set(
        &self,
        _: &[u8],
        _: &[u8],
        _: Version,
        _: Duration,
        _: When,
    ) -> Result<Applied, MemoryL2Error> {
        quiet_panic()
    }

    async fn invalidate(
        &self,
        _: &[u8],
        _: Version,
        _: Duration,
    ) -> Result<Applied, MemoryL2Error> {
        quiet_panic()
    }
}

#[test]
fn an_l2_that_panics_is_one_that_fails() {
    let world = World::new();
    let panics = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&panics);
    let tier = world
        .builder(Panicking)
        .on_failure(move |failure| {
            assert!(matches!(failure, CallError::Panicked));
            counted.fetch_add(1, Ordering::Relaxed);
            // A watcher may panic too.
            quiet_panic()
        })
        .build()
        .unwrap();
    assert_eq!(tier.get_with(1, || text("one")).unwrap(), "one");
    assert_eq!(tier.insert(1, text("two")), Reached::Here);
    assert_eq!(tier.get(&1), Some(text("two")));
    assert_eq!(panics.load(Ordering::Relaxed), 2);
}

#[test]
fn one_load_per_node_however_many_ask() {
    let world = World::new();
    let (a, ..) = world.node();
    let loads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let load = || loads.fetch_add(1, Ordering::Relaxed).to_string();
                assert_eq!(a.get_with(1, load).unwrap(), "0");
            });
        }
    });
    assert_eq!(loads.into_inner(), 1);
}

#[test]
fn threads_that_change_and_read_one_key_end_with_the_newest() {
    let world = World::new();
    let nodes = [world.node().0, world.node().0];
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            for thread in 0..2 {
                scope.spawn(move || {
                    for round in 0..200 {
                        node.insert(1, format!("{number} {thread} {round}"));
                        node.get(&1);
                    }
                });
            }
        }
    });
    let left = world.node().0.get(&1);
    assert!(left.is_some());
    for node in &nodes {
        node.tend();
        assert_eq!(node.stats().queued, 0);
        assert_eq!(node.get(&1), left);
    }
}

#[test]
fn the_futures_of_a_tier_can_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    let world = World::new();
    let (a, ..) = world.node();
    let load = || std::future::ready(text("one"));
    is_send(&a.get_async(&1));
    is_send(&a.get_with_async(1, load));
    is_send(&a.insert_async(1, text("one")));
    is_send(&a.invalidate_async(&1));
    is_send(&a.tend_async());
}

#[test]
fn settings_that_do_not_fit_together_do_not_build() {
    let world = World::new();
    let refused = |change: fn(TierBuilder<u32, String>) -> TierBuilder<u32, String>| {
        let error = change(world.builder(world.l2.connect())).build();
        error
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (found, expected) in [
        (
            refused(|tier| tier.l1_ttl(Duration::ZERO)),
            "l1_ttl must be longer",
        ),
        (
            refused(|tier| tier.heartbeat(Duration::ZERO)),
            "heartbeat must be",
        ),
        (
            refused(|tier| tier.l1_ttl(7200 * SECOND)),
            "l1_ttl is longer than l2_ttl",
        ),
        (
            refused(|tier| tier.soft_timeout(2 * SECOND)),
            "soft_timeout is longer",
        ),
        (
            refused(|tier| tier.recovery(0, 1)),
            "max_changes must not be zero",
        ),
        (refused(|tier| tier.memory(0)), "memory must not be zero"),
    ] {
        assert!(found.contains(expected), "{found:?} for {expected:?}");
    }
    let tier = |cache| Texts::builder(cache, world.l2.connect(), PlainCodec);
    let timed = Cache::builder().max_entries(1).time_to_live(SECOND);
    assert_eq!(
        tier(timed).build().unwrap_err(),
        TierBuildError::CacheLifetime {
            knob: "time_to_live"
        }
    );
    let unbounded = tier(Cache::builder()).wall_time(SystemTime::now()).build();
    assert_eq!(
        unbounded.unwrap_err(),
        TierBuildError::Cache(BuildError::Unbounded)
    );
    let timeless = tier(Cache::builder().max_entries(1).clock(Clock::system())).build();
    assert_eq!(timeless.unwrap_err(), TierBuildError::NoWallTime);
}
