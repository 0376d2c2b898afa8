//! A read-through layer in front of the second tier: what neither of the two
//! promises alone.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use crate::support::poll;
use tenfold::cache::Cache;
use tenfold::cache::read_through::{
    self, Loaded, Origin, ReadThrough, ReadThroughBuilder, RefreshAhead,
};
use tenfold::cache::tier::{
    Codec, Faults, MemoryBackplane, MemoryL2, PlainCodec, Reached, TierBuildError, TierBuilder,
    TieredReadThrough,
};
use tenfold::task::Executor;
use tenfold::time::{Jitter, ManualClock};

type Layer = ReadThroughBuilder<u32, String, &'static str>;
type Node = TieredReadThrough<u32, String, &'static str>;

const SECOND: Duration = Duration::from_secs(1);

/// All nodes, what they share, and a source whose every answer is a new text.
struct World {
    time: ManualClock,
    l2: MemoryL2,
    backplane: MemoryBackplane,
    source: Arc<Source>,
}

#[derive(Default)]
struct Source {
    asked: AtomicU32,
    is_down: AtomicBool,
    /// Answers wait.
    is_held: AtomicBool,
}

impl World {
    fn new() -> Self {
        let time = ManualClock::new();
        Self {
            l2: MemoryL2::new(1000, time.clock()),
            backplane: MemoryBackplane::new(time.clock()),
            source: Arc::default(),
            time,
        }
    }

    fn layer(&self) -> Layer {
        let cache = Cache::builder().max_entries(100).clock(self.time.clock());
        let source = Arc::clone(&self.source);
        ReadThrough::builder(cache)
            .stale_on_error(3600 * SECOND)
            .async_loader(move |_| {
                let number = source.asked.fetch_add(1, Ordering::Relaxed) + 1;
                let source = Arc::clone(&source);
                async move {
                    let is_held = || source.is_held.load(Ordering::Relaxed);
                    std::future::poll_fn(|_| {
                        if is_held() {
                            Poll::Pending
                        } else {
                            Poll::Ready(())
                        }
                    })
                    .await;
                    if source.is_down.load(Ordering::Relaxed) {
                        return Err("down");
                    }
                    Ok(Loaded::value(format!("loaded {number}")).tag("loaded"))
                }
            })
    }

    fn node_of(&self, layer: Layer) -> (Node, MemoryL2, MemoryBackplane) {
        let (l2, backplane) = (self.l2.connect(), self.backplane.connect());
        let node = TieredReadThrough::builder(layer, l2.clone(), PlainCodec)
            .backplane(backplane.clone())
            .jitter(Jitter::none());
        (node.build().unwrap(), l2, backplane)
    }

    fn node(&self) -> (Node, MemoryL2, MemoryBackplane) {
        self.node_of(self.layer())
    }

    fn asked(&self) -> u32 {
        self.source.asked.load(Ordering::Relaxed)
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "it is compared with what a cache returns"
)]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// What a call that must be over has brought.
fn brought(
    polled: Poll<Result<Option<String>, read_through::GetError<&'static str>>>,
) -> Option<String> {
    match polled {
        Poll::Ready(Ok(value)) => value,
        other => panic!("no value: {other:?}"),
    }
}

fn builder_of(layer: Layer) -> TierBuilder<u32, String, Layer> {
    let l2 = MemoryL2::new(10, ManualClock::new().clock());
    TieredReadThrough::builder(layer, l2, PlainCodec)
}

#[test]
fn an_l2_hit_spares_the_source_and_keeps_its_remaining_life() {
    let world = World::new();
    let ((a, ..), (b, ..)) = (world.node(), world.node());
    a.insert(1, Loaded::value("one".to_owned()).time_to_live(10 * SECOND));
    world.time.advance(6 * SECOND);
    assert_eq!(b.get(&1).unwrap(), text("one"));
    world
        .time
        .advance((4 * SECOND).saturating_sub(Duration::from_nanos(1)));
    assert_eq!(b.get(&1).unwrap(), text("one"));
    assert_eq!((b.stats().l2_hits, world.asked()), (1, 0));
    world.time.advance(Duration::from_nanos(1));
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
}

#[test]
fn what_one_node_loads_the_others_find_and_the_time_of_the_load_is_a_part_of_its_life() {
    let world = World::new();
    let ((a, ..), (b, ..)) = (world.node(), world.node());
    world.source.is_held.store(true, Ordering::Relaxed);
    let mut load = pin!(a.get_async(&1));
    assert!(poll(load.as_mut()).is_pending());
    world.time.advance(20 * SECOND);
    world.source.is_held.store(false, Ordering::Relaxed);
    assert_eq!(brought(poll(load)), text("loaded 1"));
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
    assert_eq!(world.asked(), 1);
    // In front it lives for a minute from when its load began; then the L2
    // says that it still holds.
    world.time.advance(40 * SECOND);
    assert_eq!(a.get_entry(&1).unwrap().origin(), Origin::Loaded);
    assert_eq!((a.stats().l2_hits, world.asked()), (1, 1));
}

#[test]
fn a_change_on_one_node_is_seen_on_the_other_once_it_has_heard() {
    let world = World::new();
    let ((a, ..), (b, ..)) = (world.node(), world.node());
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
    // What a node loads it tells nobody: at the same moment, a change that was
    // made elsewhere would be a tie with it.
    world.time.advance(SECOND);
    assert_eq!(a.insert(1, "new".to_owned()), Reached::Everyone);
    assert_eq!(b.get(&1).unwrap(), text("new"));
    assert_eq!(a.invalidate(&1), Reached::Everyone);
    assert_eq!(b.get(&1).unwrap(), text("loaded 2"));
    world.time.advance(SECOND);
    assert_eq!(a.invalidate_tag("loaded"), Reached::Everyone);
    assert_eq!(b.get(&1).unwrap(), text("loaded 3"));
    world.time.advance(SECOND);
    assert_eq!(a.clear(), Reached::Everyone);
    assert_eq!(b.get(&1).unwrap(), text("loaded 4"));
}

#[test]
fn a_tag_that_came_through_the_l2_can_be_invalidated_by_any_node() {
    let world = World::new();
    let ((a, ..), (b, ..), (c, ..)) = (world.node(), world.node(), world.node());
    a.insert(1, Loaded::value("one".to_owned()).tag("site:7"));
    a.insert(2, Loaded::value("two".to_owned()).tag("site:8"));
    assert_eq!(b.get(&1).unwrap(), text("one"));
    assert_eq!(b.get(&2).unwrap(), text("two"));
    c.invalidate_tag("site:7");
    assert_eq!(b.layer().peek(&1), None);
    assert_eq!(b.layer().peek(&2), text("two"));
    assert_eq!(a.layer().peek(&1), None);
}

#[test]
fn an_absence_ends_when_another_node_inserts_and_is_not_in_the_l2() {
    let world = World::new();
    let absent = || {
        let layer = world.layer().negative_ttl(30 * SECOND);
        world.node_of(layer.loader(|_| Ok(Loaded::absent())))
    };
    let ((a, ..), (b, ..)) = (absent(), absent());
    assert_eq!(b.get(&1).unwrap(), None);
    assert_eq!(b.get_entry(&1).unwrap().origin(), Origin::Fresh);
    // The other node does not know of it.
    assert_eq!(a.get_entry(&1).unwrap().origin(), Origin::Loaded);
    a.insert(1, "one".to_owned());
    assert_eq!(b.get(&1).unwrap(), text("one"));
}

#[test]
fn no_absence_is_believed_longer_than_a_value() {
    let world = World::new();
    let layer = world.layer().negative_ttl(3600 * SECOND);
    let (a, ..) = world.node_of(layer.loader(|_| Ok(Loaded::absent())));
    assert_eq!(a.insert(1, Loaded::absent()), Reached::Everyone);
    assert_eq!(a.get(&2).unwrap(), None);
    world.time.advance(59 * SECOND);
    for key in [1, 2] {
        assert_eq!(a.get_entry(&key).unwrap().origin(), Origin::Fresh);
    }
    world.time.advance(SECOND);
    for key in [1, 2] {
        assert_eq!(a.get_entry(&key).unwrap().origin(), Origin::Loaded);
    }
}

#[test]
fn a_lost_message_is_noticed_and_the_l2_asked_again() {
    let world = World::new();
    let ((a, ..), (b, _, to_b)) = (world.node(), world.node());
    a.insert(1, "old".to_owned());
    assert_eq!(b.get(&1).unwrap(), text("old"));
    to_b.cut(true);
    a.insert(1, "new".to_owned());
    to_b.cut(false);
    assert_eq!(b.get(&1).unwrap(), text("old"));
    a.tend();
    world.time.advance(SECOND / 10);
    b.tend();
    assert_eq!(b.get(&1).unwrap(), text("new"));
    assert_eq!(world.asked(), 0);
}

#[test]
fn a_tag_invalidation_that_was_lost_is_learned_from_the_l2() {
    let world = World::new();
    let ((a, ..), (b, _, to_b)) = (world.node(), world.node());
    a.insert(1, Loaded::value("one".to_owned()).tag("site:7"));
    assert_eq!(b.get(&1).unwrap(), text("one"));
    to_b.cut(true);
    a.invalidate_tag("site:7");
    to_b.reconnect();
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
}

#[test]
fn a_clear_that_was_lost_is_noticed_by_tending_alone() {
    let world = World::new();
    let ((a, ..), (b, _, to_b)) = (world.node(), world.node());
    a.insert(1, "one".to_owned());
    assert_eq!(b.get(&1).unwrap(), text("one"));
    to_b.cut(true);
    a.clear();
    b.tend();
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
}

#[test]
fn an_invalidation_that_was_heard_beats_a_load_under_way() {
    let world = World::new();
    let ((a, ..), (b, ..)) = (world.node(), world.node());
    world.source.is_held.store(true, Ordering::Relaxed);
    let mut load = pin!(b.get_async(&1));
    assert!(poll(load.as_mut()).is_pending());
    a.invalidate(&1);
    world.source.is_held.store(false, Ordering::Relaxed);
    assert_eq!(brought(poll(load)), text("loaded 1"));
    // It went to who waited for it, and is stored nowhere.
    assert_eq!(b.layer().peek(&1), None);
    assert_eq!(a.get(&1).unwrap(), text("loaded 2"));
    assert_eq!(b.get(&1).unwrap(), text("loaded 2"));
}

#[test]
fn an_invalidation_that_was_not_heard_keeps_a_load_under_way_out_of_the_l2() {
    let world = World::new();
    let ((a, ..), (b, _, to_b)) = (world.node(), world.node());
    world.source.is_held.store(true, Ordering::Relaxed);
    let mut load = pin!(b.get_async(&1));
    assert!(poll(load.as_mut()).is_pending());
    to_b.cut(true);
    a.invalidate(&1);
    world.source.is_held.store(false, Ordering::Relaxed);
    assert_eq!(brought(poll(load)), text("loaded 1"));
    assert_eq!(b.stats().overtaken, 1);
    assert_eq!(b.layer().peek(&1), None);
    assert_eq!(a.get(&1).unwrap(), text("loaded 2"));
}

#[test]
fn an_invalidation_beats_a_read_of_the_l2_under_way() {
    let world = World::new();
    let ((a, ..), (b, l2, _)) = (world.node(), world.node());
    a.insert(1, "old".to_owned());
    l2.set_faults(Faults::with_seed(1).slow(1.0, SECOND / 2));
    let mut read = pin!(b.get_async(&1));
    assert!(poll(read.as_mut()).is_pending());
    a.invalidate(&1);
    l2.set_faults(Faults::none());
    let mut steps = 0;
    while poll(read.as_mut()).is_pending() {
        world.time.advance(SECOND / 2);
        steps += 1;
        assert!(steps < 10);
    }
    assert_ne!(b.layer().peek(&1), text("old"));
    assert_ne!(b.get(&1).unwrap(), text("old"));
}

#[test]
fn a_change_that_was_heard_holds_against_an_l2_that_was_not_told() {
    let world = World::new();
    let ((a, to_l2, _), (b, ..)) = (world.node(), world.node());
    a.insert(1, "old".to_owned());
    assert_eq!(b.get(&1).unwrap(), text("old"));
    to_l2.cut(true);
    assert_eq!(a.insert(1, "new".to_owned()), Reached::Here);
    assert_eq!(a.get(&1).unwrap(), text("new"));
    assert_eq!(b.get(&1).unwrap(), text("loaded 1"));
    assert_eq!(b.stats().outdated, 1);
}

#[test]
fn with_the_l2_and_the_source_down_the_old_value_stands_in() {
    let world = World::new();
    let (a, l2, _) = world.node();
    assert_eq!(a.get(&1).unwrap(), text("loaded 1"));
    l2.cut(true);
    world.source.is_down.store(true, Ordering::Relaxed);
    world.time.advance(60 * SECOND);
    let answer = a.get_entry(&1).unwrap();
    assert!(answer.is_stale());
    assert_eq!(answer.into_value(), text("loaded 1"));
    assert!(a.get(&2).is_err());
    // One of the two is enough.
    l2.cut(false);
    world.time.advance(30 * SECOND);
    assert_eq!(a.get_entry(&1).unwrap().origin(), Origin::Loaded);
    assert_eq!(a.stats().l2_hits, 1);
}

#[test]
fn a_slow_l2_costs_a_load_its_time_out_once() {
    let world = World::new();
    let (a, l2, _) = world.node();
    l2.set_faults(Faults::with_seed(1).slow(1.0, 3600 * SECOND));
    let mut read = pin!(a.get_async(&1));
    assert!(poll(read.as_mut()).is_pending());
    world
        .time
        .advance(SECOND.saturating_sub(Duration::from_nanos(1)));
    assert!(poll(read.as_mut()).is_pending());
    assert_eq!(world.asked(), 0);
    world.time.advance(Duration::from_nanos(1));
    // The source, and nothing that would have to be waited for after it.
    assert_eq!(brought(poll(read)), text("loaded 1"));
    assert_eq!(a.stats().l2_failures, 1);
}

#[test]
fn a_refresh_asks_the_source_and_replaces_what_the_l2_has() {
    let world = World::new();
    let layer = world
        .layer()
        .executor(Executor::caller_runs())
        .refresh_ahead(RefreshAhead::after(0.5));
    let ((a, ..), (b, ..)) = (world.node_of(layer), world.node());
    assert_eq!(a.get(&1).unwrap(), text("loaded 1"));
    world.time.advance(40 * SECOND);
    assert_eq!(a.get(&1).unwrap(), text("loaded 1"));
    assert_eq!(a.get(&1).unwrap(), text("loaded 2"));
    assert_eq!(b.get(&1).unwrap(), text("loaded 2"));
    assert_eq!((a.stats().l2_hits, world.asked()), (0, 2));
}

#[test]
fn a_value_that_was_not_modified_is_good_for_another_time_in_front() {
    let world = World::new();
    let layer = world.layer().loader(|request| {
        Ok(match request.stale() {
            Some(_) => Loaded::not_modified(),
            None => Loaded::value("text".to_owned()).time_to_live(10 * SECOND),
        })
    });
    let (a, ..) = world.node_of(layer);
    assert_eq!(a.get(&1).unwrap(), text("text"));
    world.time.advance(10 * SECOND);
    assert_eq!(a.get(&1).unwrap(), text("text"));
    assert_eq!(a.layer().stats().not_modified, 1);
    world.time.advance(59 * SECOND);
    assert_eq!(a.get_entry(&1).unwrap().origin(), Origin::Fresh);
    world.time.advance(SECOND);
    assert_eq!(a.get(&1).unwrap(), text("text"));
    assert_eq!(a.layer().stats().not_modified, 2);
}

#[test]
fn a_queued_change_reaches_the_l2_with_the_next_load() {
    let world = World::new();
    let ((a, l2, _), (b, ..)) = (world.node(), world.node());
    l2.cut(true);
    assert_eq!(a.insert(1, "one".to_owned()), Reached::Here);
    l2.cut(false);
    a.get(&2).unwrap();
    assert_eq!(a.stats().recovered, 1);
    assert_eq!(b.get(&1).unwrap(), text("one"));
}

#[test]
fn nodes_agree_after_changes_that_were_made_at_once() {
    for round in 0..50 {
        let world = World::new();
        let ((a, ..), (b, ..)) = (world.node(), world.node());
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for writer in 0..4 {
                let node = if writer % 2 == 0 { &a } else { &b };
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    for change in 0..20 {
                        node.insert(1, format!("{round} {writer} {change}"));
                        node.get(&1).unwrap();
                    }
                });
            }
        });
        let (c, ..) = world.node();
        let newest = c.get(&1).unwrap();
        assert_eq!(a.get(&1).unwrap(), newest);
        assert_eq!(b.get(&1).unwrap(), newest);
    }
}

/// A key that lets a test in where the tier clones it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Intruded(u8);

thread_local! {
    static INTRUDER: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

impl Clone for Intruded {
    fn clone(&self) -> Self {
        if let Some(intrude) = INTRUDER.take() {
            intrude();
        }
        Self(self.0)
    }
}

struct IntrudedCodec;

impl Codec<Intruded, String> for IntrudedCodec {
    fn encode_key(&self, key: &Intruded) -> Vec<u8> {
        vec![key.0]
    }

    fn decode_key(&self, bytes: &[u8]) -> Option<Intruded> {
        Some(Intruded(*bytes.first()?))
    }

    fn encode(&self, value: &String) -> Vec<u8> {
        value.clone().into_bytes()
    }

    fn decode(&self, bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

#[test]
fn an_insert_that_is_overtaken_on_its_way_in_does_not_hide_the_newer_one() {
    let world = World::new();
    let cache = Cache::builder().max_entries(9).clock(world.time.clock());
    let layer = ReadThrough::<Intruded, String>::builder(cache).loader(|_| Ok(None));
    let node = TieredReadThrough::builder(layer, world.l2.connect(), IntrudedCodec);
    let node = node.build().unwrap();
    let newer = node.clone();
    INTRUDER.set(Some(Box::new(move || {
        newer.insert(Intruded(1), "newer".to_owned());
    })));
    node.insert(Intruded(1), "older".to_owned());
    assert_eq!(node.get(&Intruded(1)).unwrap(), text("newer"));
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let world = World::new();
    let refused = |layer| builder_of(layer).build().unwrap_err();
    assert_eq!(
        refused(world.layer().time_to_live(SECOND)),
        TierBuildError::CacheLifetime {
            knob: "time_to_live"
        }
    );
    let cache = || Cache::builder().clock(world.time.clock());
    let loads = |cache| ReadThrough::builder(cache).loader(|_| Ok(String::new()));
    assert_eq!(
        refused(loads(cache().max_entries(9).jitter(Jitter::fraction(0.5)))),
        TierBuildError::CacheLifetime { knob: "jitter" }
    );
    assert_eq!(
        refused(loads(cache().max_weight(9))),
        TierBuildError::NoWeigher
    );
    assert_eq!(
        refused(ReadThrough::builder(cache().max_entries(9))),
        TierBuildError::ReadThrough(read_through::BuildError::NoLoader)
    );
}
