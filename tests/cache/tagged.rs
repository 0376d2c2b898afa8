//! Tags and namespaces: against a naive model, between threads, and in the
//! moments where a load and an invalidation meet.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::support::{Gate, block_on, panics, poll, quiet_panic, until};
use proptest::prelude::*;
use tenfold::cache::tagged::{
    Clear, Namespaced, Tagged, TaggedBuildError, TaggedBuilder, TaggedValue, Tags,
};
use tenfold::cache::{BuildError, Cache, LoadError};
use tenfold::time::ManualClock;

// Against a model.

#[derive(Debug, Clone)]
enum Op {
    Get(u8),
    Peek(u8),
    Insert(u8, Vec<u8>),
    Load(u8, Vec<u8>),
    FailToLoad(u8),
    Remove(u8),
    Invalidate(u8),
    InvalidateTag(u8),
    Clear(Clear),
    ClearRegistry(Clear),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..12u8;
    let tags = || prop::collection::vec(0..TAGS, 0..4);
    prop_oneof![
        6 => key.clone().prop_map(Op::Get),
        1 => key.clone().prop_map(Op::Peek),
        4 => (key.clone(), tags()).prop_map(|(key, tags)| Op::Insert(key, tags)),
        4 => (key.clone(), tags()).prop_map(|(key, tags)| Op::Load(key, tags)),
        1 => key.clone().prop_map(Op::FailToLoad),
        1 => key.clone().prop_map(Op::Remove),
        1 => key.prop_map(Op::Invalidate),
        5 => (0..TAGS).prop_map(Op::InvalidateTag),
        1 => clear().prop_map(Op::Clear),
        1 => clear().prop_map(Op::ClearRegistry),
    ]
}

/// Entries that lie for long, while many more tags are invalidated than one
/// bucket remembers.
fn forgetting() -> impl Strategy<Value = Op> {
    let tags = || prop::collection::vec(0..TAGS, 0..4);
    prop_oneof![
        2 => (0..12u8, tags()).prop_map(|(key, tags)| Op::Insert(key, tags)),
        1 => (0..12u8, tags()).prop_map(|(key, tags)| Op::Load(key, tags)),
        1 => (0..12u8).prop_map(Op::Get),
        12 => (0..TAGS).prop_map(Op::InvalidateTag),
    ]
}

fn clear() -> impl Strategy<Value = Clear> {
    prop_oneof![Just(Clear::Expire), Just(Clear::Remove)]
}

/// More than one bucket of a registry remembers.
const TAGS: u8 = 24;

/// What every entry is, told the long way round: an invalidation looks at all.
#[derive(Default)]
struct Model {
    entries: HashMap<u8, (u32, BTreeSet<u8>)>,
}

impl Model {
    fn value(&self, key: u8) -> Option<u32> {
        self.entries.get(&key).map(|(value, _)| *value)
    }
}

/// Runs the same on both. A cache that forgets invalidations may have less than
/// the model, never more or other.
fn run(cache: &Tagged<u8, u32>, forgets: bool, ops: &[Op]) {
    let mut model = Model::default();
    let agree = |found: Option<u32>, expected: Option<u32>| {
        assert!(
            found == expected || forgets && found.is_none(),
            "{found:?} instead of {expected:?}"
        );
    };
    for (value, op) in (0..).zip(ops) {
        match op {
            Op::Get(key) => agree(cache.get(key), model.value(*key)),
            Op::Peek(key) => agree(cache.peek(key), model.value(*key)),
            Op::Insert(key, tags) => {
                let old = cache.insert_tagged(*key, value, names(tags));
                agree(old, model.value(*key));
                let entry = (value, tags.iter().copied().collect());
                model.entries.insert(*key, entry);
                assert_eq!(cache.get(key), Some(value));
            }
            Op::Load(key, tags) => {
                let found = cache.get_with(*key, || (value, names(tags))).unwrap();
                if found == value {
                    agree(None, model.value(*key));
                    let entry = (value, tags.iter().copied().collect());
                    model.entries.insert(*key, entry);
                } else {
                    assert_eq!(model.value(*key), Some(found));
                }
                assert_eq!(cache.get(key), Some(found));
            }
            Op::FailToLoad(key) => {
                let found = cache.try_get_with(*key, || Err::<(u32, [&str; 0]), _>("down"));
                agree(found.ok(), model.value(*key));
            }
            Op::Remove(key) => {
                agree(cache.remove(key), model.value(*key));
                model.entries.remove(key);
            }
            Op::Invalidate(key) => {
                cache.invalidate(key);
                model.entries.remove(key);
            }
            Op::InvalidateTag(tag) => {
                cache.invalidate_tag(tag.to_string());
                model.entries.retain(|_, (_, tags)| !tags.contains(tag));
            }
            Op::Clear(how) => {
                cache.clear(*how);
                model.entries.clear();
            }
            Op::ClearRegistry(how) => {
                cache.tags().clear(*how);
                model.entries.clear();
            }
        }
    }
    for key in 0..12 {
        agree(cache.get(&key), model.value(key));
    }
}

fn names(tags: &[u8]) -> impl Iterator<Item = String> {
    tags.iter().map(u8::to_string)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn tags_are_the_models(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..300),
    ) {
        let cache = builder(Cache::builder().max_entries(100).seed(seed)).build().unwrap();
        run(&cache, false, &ops);
        prop_assert_eq!(cache.stats().tags.forgotten, 0);
    }

    #[test]
    fn a_registry_that_forgets_invalidates_too_much_never_too_little(
        seed in any::<u64>(),
        capacity in 1..9usize,
        ops in prop::collection::vec(forgetting(), 100..300),
    ) {
        let cache = Cache::builder().max_entries(100).seed(seed);
        let cache = builder(cache).tag_capacity(capacity).build().unwrap();
        run(&cache, true, &ops);
    }
}

#[test]
fn a_forgotten_invalidation_still_holds_and_memory_stays_bounded() {
    let cache = builder(Cache::builder().max_entries(100))
        .tag_capacity(16)
        .build()
        .unwrap();
    for key in 0..50 {
        cache.insert_tagged(key, 0, [format!("tag {key}")]);
        cache.invalidate_tag(format!("tag {key}"));
    }
    for other in 0..10_000 {
        cache.invalidate_tag(format!("other {other}"));
    }
    // All but the last few: four buckets have room for seven each.
    assert!(cache.stats().tags.forgotten > 10_000);
    for key in 0..50 {
        assert_eq!(cache.get(&key), None);
        cache.insert_tagged(key, 1, [format!("tag {key}")]);
        assert_eq!(cache.get(&key), Some(1));
    }
}

/// Few enough for every day; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(120)
}

fn builder(cache: tenfold::cache::CacheBuilder<u8, TaggedValue<u32>>) -> TaggedBuilder<u8, u32> {
    Tagged::builder(cache)
}

// Between threads.

/// Writers change a source and invalidate its tag; whoever asks after that has
/// returned must not see an older version, however they ask.
#[test]
fn no_reader_sees_an_entry_older_than_an_invalidation_that_has_returned() {
    const ROUNDS: u64 = 3000;
    const SOURCES: usize = 3;
    // So few records that invalidations are forgotten all the time.
    for capacity in [1, 1000] {
        let cache = Tagged::<usize, u64>::builder(Cache::builder().max_entries(100))
            .tag_capacity(capacity)
            .build()
            .unwrap();
        let source: [AtomicU64; SOURCES] = Default::default();
        let announced: [AtomicU64; SOURCES] = Default::default();
        let running = AtomicU32::new(2);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (cache, source, announced, running) = (&cache, &source, &announced, &running);
                scope.spawn(move || {
                    let _ends = Ends(running);
                    for round in 0..ROUNDS {
                        let at = (round as usize + writer) % SOURCES;
                        let version = source[at].fetch_add(1, Ordering::SeqCst) + 1;
                        cache.invalidate_tag(format!("source:{at}"));
                        announced[at].fetch_max(version, Ordering::SeqCst);
                        cache.invalidate_tag(format!("noise:{round}"));
                    }
                });
            }
            for reader in 0..2 {
                let (cache, source, announced, running) = (&cache, &source, &announced, &running);
                scope.spawn(move || {
                    let mut key = reader;
                    while running.load(Ordering::SeqCst) > 0 {
                        key += 1;
                        let at = key % SOURCES;
                        let floor = announced[at].load(Ordering::SeqCst);
                        let read = match key % 4 {
                            0 => cache.get(&at),
                            1 => cache.peek(&at),
                            _ => {
                                let load = || {
                                    let version = source[at].load(Ordering::SeqCst);
                                    (version, [format!("source:{at}"), "all".to_owned()])
                                };
                                Some(cache.get_with(at, load).unwrap())
                            }
                        };
                        assert!(read.is_none_or(|read| read >= floor), "{read:?} < {floor}");
                    }
                });
            }
        });
        assert_eq!(cache.stats().tags.invalidations, 4 * ROUNDS);
    }
}

/// Counts a thread off, also if it fails: the others would run for ever.
struct Ends<'a>(&'a AtomicU32);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// Where a load and an invalidation meet.

#[test]
fn an_invalidation_of_a_tag_beats_a_load_under_way() {
    let cache = Tagged::new(10);
    let (begun, gate) = (AtomicU32::new(0), Gate::new());
    let load = || {
        begun.store(1, Ordering::SeqCst);
        (gate.pass(), ["odd"])
    };
    std::thread::scope(|scope| {
        let early = scope.spawn(|| cache.get_with(1, load).unwrap());
        until(|| begun.load(Ordering::SeqCst) == 1);
        cache.invalidate_tag("odd");
        let late = scope.spawn(|| cache.get_with(1, || ("new", ["odd"])).unwrap());
        until(|| cache.stats().cache.coalesced == 1);
        gate.open("old");
        assert_eq!(early.join().unwrap(), "old");
        assert_eq!(late.join().unwrap(), "new");
    });
    assert_eq!(cache.get(&1), Some("new"));
}

/// What a task has for its caller once polled, if it is done.
fn ready<V, F>(task: Pin<&mut F>) -> Option<V>
where
    F: Future<Output = Result<V, LoadError<Infallible>>>,
{
    match poll(task) {
        Poll::Ready(result) => Some(result.unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn a_task_that_comes_after_the_invalidation_loads_again() {
    let cache = Tagged::new(10);
    let gate = Gate::new();
    let mut early = pin!(cache.get_with_async(1, || async { (gate.clone().await, ["odd"]) }));
    assert!(poll(early.as_mut()).is_pending());
    // One that came before waits for the same load, and may have its value.
    let mut with_it = pin!(cache.get_with_async(1, || async { ("unused", ["odd"]) }));
    assert!(poll(with_it.as_mut()).is_pending());
    cache.invalidate_tag("odd");
    let mut late = pin!(cache.get_with_async(1, || async { ("new", ["odd"]) }));
    assert!(
        poll(late.as_mut()).is_pending(),
        "it waits for the load under way"
    );
    gate.open("old");
    assert_eq!(ready(early.as_mut()), Some("old"));
    assert_eq!(
        cache.get(&1),
        None,
        "what was invalidated is not stored as valid"
    );
    assert_eq!(ready(late.as_mut()), Some("new"));
    assert_eq!(cache.get(&1), Some("new"));
    assert!(matches!(ready(with_it.as_mut()), Some("old" | "new")));
}

#[test]
fn a_load_with_other_tags_is_shared_across_an_invalidation() {
    let cache = Tagged::new(10);
    let gate = Gate::new();
    let mut early = pin!(cache.get_with_async(1, || async { (gate.clone().await, ["odd"]) }));
    assert!(poll(early.as_mut()).is_pending());
    cache.invalidate_tag("even");
    let mut late = pin!(cache.get_with_async(1, || async { ("unused", ["odd"]) }));
    assert!(poll(late.as_mut()).is_pending());
    gate.open("shared");
    assert_eq!(ready(early.as_mut()), Some("shared"));
    assert_eq!(ready(late.as_mut()), Some("shared"));
    assert_eq!(cache.stats().cache.loads, 1);
}

/// Of whichever kind: also the value of a loader that has no tags.
#[test]
fn a_clear_beats_a_load_under_way() {
    for how in [Clear::Expire, Clear::Remove] {
        for cleared_before in [false, true] {
            let cache = Tagged::new(10);
            if cleared_before {
                cache.clear(Clear::Expire);
            }
            let gate = Gate::new();
            let none: [&str; 0] = [];
            let mut early = pin!(cache.get_with_async(1, || async { (gate.clone().await, none) }));
            assert!(poll(early.as_mut()).is_pending());
            cache.clear(how);
            let mut late = pin!(cache.get_with_async(1, || async { ("new", none) }));
            let first = ready(late.as_mut());
            gate.open("old");
            assert_eq!(ready(early.as_mut()), Some("old"));
            let late = first.or_else(|| ready(late.as_mut()));
            assert_eq!(late, Some("new"));
            assert_eq!(cache.get(&1), Some("new"));
        }
    }
}

#[test]
fn an_invalid_entry_is_loaded_once_for_all_who_ask() {
    let cache = Tagged::new(10);
    cache.insert_tagged(1, 0, ["odd"]);
    cache.invalidate_tag("odd");
    let loads = AtomicU32::new(0);
    let all = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                all.wait();
                let load = || (loads.fetch_add(1, Ordering::Relaxed) + 1, ["odd"]);
                assert_eq!(cache.get_with(1, load).unwrap(), 1);
            });
        }
    });
    assert_eq!(loads.into_inner(), 1);
}

#[test]
fn errors_panics_and_reentry_are_those_of_the_cache() {
    let cache = Tagged::<u32, u32>::new(10);
    let failed = cache.try_get_with(1, || Err::<(u32, [&str; 0]), _>("down"));
    assert!(matches!(failed, Err(LoadError::Failed(error)) if *error == "down"));
    let load = || (1, ["odd"]);
    let reentrant = cache.get_with(1, || {
        assert!(matches!(cache.get_with(1, load), Err(LoadError::Reentrant)));
        load()
    });
    assert_eq!(reentrant.unwrap(), 1);
    let panicking = || -> (u32, [&str; 0]) { quiet_panic() };
    assert!(panics(|| cache.get_with(2, panicking)));
    assert_eq!(cache.get_with(2, load).unwrap(), 1);
    let panicking = std::iter::from_fn(|| -> Option<String> { quiet_panic() });
    assert!(panics(|| cache.get_with(3, || (3, panicking))));
    assert_eq!(cache.get_with(3, load).unwrap(), 1);
    assert_eq!(cache.stats().cache.load_failures, 3);
}

// What becomes of entries.

#[test]
fn an_invalid_entry_leaves_when_it_is_met_and_the_listener_is_told() {
    let gone = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&gone);
    let cache = Cache::builder().max_entries(10).eviction_listener(
        move |_, value: TaggedValue<u32>, cause| {
            assert!(!cause.was_evicted());
            told.fetch_add(*value, Ordering::Relaxed);
        },
    );
    let cache = Tagged::builder(cache).build().unwrap();
    cache.insert_tagged(1, 7, ["odd"]);
    cache.invalidate_tag("odd");
    assert_eq!(cache.cache().len(), 1);
    assert_eq!(cache.get(&1), None);
    assert_eq!((cache.cache().len(), gone.load(Ordering::Relaxed)), (0, 7));
}

#[test]
fn look_ups_that_meet_an_invalid_entry_are_misses_with_and_without_expiry() {
    for ttl in [None, Some(Duration::from_secs(60))] {
        let time = ManualClock::new();
        let mut cache = Cache::builder().max_entries(10).clock(time.clock());
        if let Some(ttl) = ttl {
            cache = cache.time_to_live(ttl);
        }
        let cache = Tagged::builder(cache).build().unwrap();
        cache.insert_tagged(1, 1, ["odd"]);
        cache.get(&1);
        cache.get(&2);
        cache.invalidate_tag("odd");
        cache.get(&1);
        cache.get(&1);
        let stats = cache.stats();
        assert_eq!((stats.cache.hits, stats.cache.misses), (1, 3));
        assert_eq!((stats.invalid, stats.cache.entries), (1, 0));
    }
}

#[test]
fn time_to_live_holds_for_tagged_entries() {
    let time = ManualClock::new();
    let cache = Cache::builder()
        .max_entries(10)
        .time_to_live(Duration::from_secs(60))
        .clock(time.clock());
    let cache = Tagged::builder(cache).build().unwrap();
    cache.insert_tagged(1, 1, ["odd"]);
    cache.insert_tagged_with_ttl(2, 2, ["even"], Duration::from_secs(90));
    time.advance(Duration::from_secs(60));
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
}

#[test]
fn an_untagged_entry_is_a_word_larger_than_its_value() {
    assert_eq!(size_of::<TaggedValue<u64>>(), 16);
    assert_eq!(size_of::<TaggedValue<Arc<str>>>(), 24);
}

// Namespaces.

#[test]
fn the_same_key_in_two_namespaces_never_collides() {
    // Names that would meet if namespace and key were written one after the other.
    let cache: Tagged<Namespaced<String>, u32> = Tagged::new(1000);
    let pairs = [
        ("a", "bc"),
        ("ab", "c"),
        ("", "abc"),
        ("abc", ""),
        ("a:b", "c"),
        ("a", "b:c"),
    ];
    for (value, (name, key)) in (0..).zip(pairs) {
        cache.namespace(name).insert(key.to_owned(), value);
    }
    for (value, (name, key)) in (0..).zip(pairs) {
        // Made anew, and asked by a borrowed key.
        assert_eq!(cache.namespace(name).get(key), Some(value));
    }
    assert_eq!(cache.namespace("a").remove("bc"), Some(0));
    cache.namespace("ab").invalidate("c");
    assert_eq!(cache.namespace("ab").get("c"), None);
    assert_eq!(cache.namespace("").get("abc"), Some(2));
}

#[test]
fn a_namespace_is_invalidated_alone_and_with_loads_under_way() {
    let cache: Tagged<Namespaced<u32>, u32> = Tagged::new(1000);
    let (users, orders) = (cache.namespace("users"), cache.namespace("orders"));
    let gate = Gate::new();
    let none: [&str; 0] = [];
    let load = || async { Ok::<_, Infallible>((gate.clone().await, none)) };
    let mut under_way = pin!(users.try_get_with_async(1, load));
    assert!(poll(under_way.as_mut()).is_pending());
    users.insert(2, 2);
    orders.insert(2, 20);
    // A tag of the same name is something else.
    orders.insert_tagged(3, 30, ["users"]);
    users.invalidate_all();
    gate.open(1);
    assert_eq!(ready(under_way.as_mut()), Some(1));
    assert_eq!((users.get(&1), users.get(&2)), (None, None));
    assert_eq!((orders.get(&2), orders.get(&3)), (Some(20), Some(30)));
    let loaded = users.try_get_with(1, || Ok::<_, Infallible>((5, none)));
    assert_eq!(loaded.unwrap(), 5);
    assert_eq!(users.get(&1), Some(5));
    cache.invalidate_tag("users");
    assert_eq!((users.get(&1), orders.get(&3)), (Some(5), None));
    assert_eq!(users.name(), "users");
}

// Configuration.

#[test]
fn a_shared_registry_reaches_every_cache_and_a_clear_only_its_own() {
    let tags = Arc::new(Tags::new());
    let build = || {
        Tagged::<u8, u32>::builder(Cache::builder().max_entries(10))
            .tags(Arc::clone(&tags))
            .build()
            .unwrap()
    };
    let (one, two) = (build(), build());
    let fill = || {
        for cache in [&one, &two] {
            cache.insert_tagged(1, 1, ["odd"]);
            cache.insert(2, 2);
        }
    };
    fill();
    one.invalidate_tag("odd");
    assert_eq!((two.get(&1), two.get(&2)), (None, Some(2)));
    fill();
    one.clear(Clear::Expire);
    assert_eq!((one.get(&1), one.get(&2)), (None, None));
    assert_eq!((two.get(&1), two.get(&2)), (Some(1), Some(2)));
    fill();
    tags.clear(Clear::Expire);
    for cache in [&one, &two] {
        assert_eq!((cache.get(&1), cache.get(&2)), (None, None));
    }
}

#[test]
fn incoherent_settings_are_refused_with_a_reason() {
    let build = || Tagged::<u8, u32>::builder(Cache::builder().max_entries(10));
    let both = build().tags(Arc::default()).tag_capacity(10).build();
    assert_eq!(both.unwrap_err(), TaggedBuildError::TagCapacityOfGivenTags);
    for found in [0, usize::MAX] {
        let error = build().tag_capacity(found).build().unwrap_err();
        assert!(matches!(error, TaggedBuildError::TagCapacity { found: f, .. } if f == found));
    }
    let error = Tagged::<u8, u32>::builder(Cache::builder())
        .build()
        .unwrap_err();
    assert_eq!(error, TaggedBuildError::Cache(BuildError::Unbounded));
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source, Some(BuildError::Unbounded.to_string()));
}

#[test]
fn futures_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let cache = Tagged::<u32, u32>::new(10);
    let loaded = is_send(cache.get_with_async(1, || async { (1, ["odd".to_owned()]) }));
    assert_eq!(block_on(loaded).unwrap(), 1);
}
