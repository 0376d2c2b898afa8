//! How entries expire: never returned, memory given back, cliffs spread.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::Census;
use tenfold::cache::{Cache, CacheBuilder, Compute, Expiry, Policy, RemovalCause};
use tenfold::time::{Instant, Jitter, ManualClock};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn builder<K, V>(time: &ManualClock) -> CacheBuilder<K, V> {
    Cache::builder().max_entries(10_000).clock(time.clock())
}

#[test]
fn expired_entries_are_never_returned() {
    let time = ManualClock::new();
    for policy in Policy::ALL {
        let cache = builder(&time)
            .policy(policy)
            .time_to_live(MINUTE)
            .build()
            .unwrap();
        let fill = || {
            cache.insert(1, 1);
            time.advance(MINUTE);
        };
        fill();
        assert_eq!(cache.peek(&1), None);
        assert!(!cache.contains_key(&1));
        assert_eq!(cache.iter().count(), 0);
        assert_eq!(cache.get(&1), None);
        fill();
        assert!(cache.get_ref(&1).is_none());
        fill();
        assert_eq!(cache.remove(&1), None);
        fill();
        assert_eq!(cache.insert(1, 2), None);
        time.advance(MINUTE);
        assert_eq!(cache.insert_if_absent(1, 3), None);
        time.advance(MINUTE);
        assert_eq!(cache.get_with(1, || 4).unwrap(), 4);
        time.advance(MINUTE);
        let mut seen = Some(0);
        let see = |value| {
            seen = value;
            Compute::Keep
        };
        cache.compute(1, see).unwrap();
        assert_eq!(seen, None);
        fill();
        cache.invalidate_if(|_, _| panic!("there is nothing to ask about"));
        assert_eq!(cache.drain(), []);
        assert_eq!(cache.stats().hits, 0);
    }
}

#[test]
fn an_entry_lives_to_the_last_moment_before_its_deadline() {
    let time = ManualClock::new();
    let cache = builder(&time).time_to_live(MINUTE).build().unwrap();
    cache.insert("a", 1);
    time.advance(Duration::from_nanos(59_999_999_999));
    assert_eq!(cache.get("a"), Some(1));
    time.advance(Duration::from_nanos(1));
    assert_eq!(cache.get("a"), None);
}

#[test]
fn an_update_starts_the_time_to_live_anew() {
    let time = ManualClock::new();
    let cache = builder(&time).time_to_live(MINUTE).build().unwrap();
    cache.insert(1, 1);
    time.advance(MINUTE / 2);
    cache.get(&1);
    assert_eq!(cache.insert(1, 2), Some(1));
    time.advance(SECOND * 59);
    assert_eq!(cache.get(&1), Some(2));
    time.advance(SECOND);
    assert_eq!(cache.get(&1), None, "reading does not lengthen it");
}

#[test]
fn time_to_idle_counts_from_the_last_use() {
    let time = ManualClock::new();
    let cache = builder(&time).time_to_idle(MINUTE).build().unwrap();
    cache.insert(1, 1);
    for _ in 0..5 {
        time.advance(SECOND * 59);
        assert_eq!(cache.get(&1), Some(1));
    }
    for _ in 0..2 {
        time.advance(SECOND * 29);
        assert_eq!(cache.peek(&1), Some(1), "a peek is no use");
        assert!(cache.contains_key(&1));
    }
    time.advance(SECOND * 2);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn the_sooner_of_idle_and_live_counts() {
    let time = ManualClock::new();
    let cache = builder(&time)
        .time_to_live(MINUTE)
        .time_to_idle(MINUTE / 2)
        .build()
        .unwrap();
    cache.insert(1, 1);
    for _ in 0..2 {
        time.advance(MINUTE / 3);
        assert_eq!(cache.get(&1), Some(1));
    }
    time.advance(MINUTE / 3);
    assert_eq!(cache.get(&1), None, "used all along, and too old");
    cache.insert(1, 2);
    time.advance(MINUTE / 2);
    assert_eq!(cache.get(&1), None, "young, and idle");
}

#[test]
fn an_entry_may_have_a_time_of_its_own() {
    let time = ManualClock::new();
    let cache = builder(&time).time_to_live(MINUTE).build().unwrap();
    cache.insert_with_ttl("brief", 1, SECOND);
    cache.insert_with_ttl("long", 2, MINUTE * 9);
    cache.insert_with_ttl("not at all", 3, Duration::ZERO);
    cache.insert_with_deadline("until", 4, time.now() + SECOND * 2);
    cache.insert_with_deadline("past", 5, Instant::from_nanos(1));
    cache.insert_with_deadline("for ever", 6, Instant::NEVER);
    assert_eq!(cache.get("not at all"), None);
    assert_eq!(cache.get("past"), None);
    time.advance(SECOND);
    assert_eq!(cache.get("brief"), None);
    assert_eq!(cache.get("until"), Some(4));
    time.advance(SECOND);
    assert_eq!(cache.get("until"), None);
    time.advance(MINUTE * 8);
    assert_eq!(cache.get("long"), Some(2));
    time.advance(MINUTE);
    assert_eq!(cache.get("long"), None);
    assert_eq!(cache.get("for ever"), Some(6));
}

#[test]
fn a_huge_time_to_live_saturates() {
    let time = ManualClock::new();
    let cache = builder(&time)
        .time_to_live(Duration::MAX)
        .time_to_idle(Duration::MAX)
        .jitter(Jitter::range(Duration::MAX).lengthen())
        .build()
        .unwrap();
    cache.insert(1, 1);
    cache.insert_with_ttl(2, 2, Duration::MAX);
    time.advance(Duration::MAX);
    cache.insert(3, 3);
    cache.purge_expired();
    for key in 1..=3 {
        assert_eq!(cache.get(&key), Some(key), "at the end of time");
    }
}

/// Reads of one key, in one shard, and nothing else: nobody asks for what has
/// expired, nor comes near its shard.
#[test]
fn memory_of_expired_entries_comes_back_while_one_key_is_read() {
    let time = ManualClock::new();
    let census = Census::default();
    for shards in [1, 8] {
        let cache = builder(&time)
            .shards(shards)
            .time_to_live(MINUTE)
            .build()
            .unwrap();
        for number in 0..5_000 {
            cache.insert(number, census.member(number));
        }
        cache.insert_with_ttl(u64::MAX, census.member(0), MINUTE * 9);
        time.advance(MINUTE);
        assert_eq!(census.alive(), 5_001);
        // An operation for every slot of the tables, which are half as large
        // again as what is in them.
        for _ in 0..10_000 {
            assert!(cache.get_ref(&u64::MAX).is_some());
        }
        assert_eq!(census.alive(), 1, "{shards} shards");
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.stats().expirations, 5_000);
    }
}

#[test]
fn memory_of_expired_entries_comes_back_while_one_key_is_written() {
    let time = ManualClock::new();
    let census = Census::default();
    let cache = builder(&time)
        .shards(8)
        .time_to_idle(MINUTE)
        .build()
        .unwrap();
    for number in 0..5_000 {
        cache.insert(number, census.member(number));
    }
    time.advance(MINUTE);
    for number in 0..10_000 {
        cache.insert(u64::MAX, census.member(number));
    }
    assert_eq!(census.alive(), 1);
}

#[test]
fn purging_removes_all_that_expired_and_nothing_else() {
    let time = ManualClock::new();
    let told = Arc::new(Mutex::new(HashSet::new()));
    let heard = Arc::clone(&told);
    let cache: Cache<u32, u32> = builder(&time)
        .eviction_listener(move |key, _, cause| {
            assert_eq!(cause, RemovalCause::Expired);
            assert!(heard.lock().unwrap().insert(key), "{key} leaves once");
        })
        .build()
        .unwrap();
    for key in 0..1_000 {
        cache.insert_with_ttl(key, key, SECOND * (key % 2 + 1));
    }
    time.advance(SECOND);
    cache.purge_expired();
    assert_eq!(cache.len(), 500);
    assert!((0..1_000).all(|key| cache.contains_key(&key) == (key % 2 == 1)));
    assert_eq!(told.lock().unwrap().len(), 500);
}

/// In which second of its life each of a thousand keys ends.
fn ends(cache: &Cache<u32, u32>) -> Vec<u64> {
    let mut entries: Vec<_> = cache.iter().collect();
    entries.sort_by_key(|entry| entry.key);
    let left = entries.iter().map(|entry| entry.expires_in);
    left.map(|left| left.unwrap().as_secs()).collect()
}

fn load_all(cache: &Cache<u32, u32>) {
    for key in 0..1_000 {
        cache.get_with(key, || key).unwrap();
    }
}

#[test]
fn jitter_spreads_a_cliff_and_never_lengthens_by_default() {
    let time = ManualClock::new();
    let cache = builder(&time).time_to_live(MINUTE).build().unwrap();
    load_all(&cache);
    let ends = ends(&cache);
    // Up to 10 % shorter: 54 to 60 seconds.
    for second in 54..60 {
        let of_it = ends.iter().filter(|&&end| end == second).count();
        assert!((100..240).contains(&of_it), "{of_it} in second {second}");
    }
    assert!(ends.iter().all(|end| (54..=60).contains(end)));
    time.advance(MINUTE);
    cache.purge_expired();
    assert!(
        cache.is_empty(),
        "nothing outlives the time that was written"
    );
}

#[test]
fn what_is_inserted_lives_exactly_as_long_unless_jitter_is_set() {
    let time = ManualClock::new();
    for (jitter, range) in [
        (None, 60..=60),
        (Some(Jitter::none()), 60..=60),
        (Some(Jitter::fraction(0.5).shorten()), 30..=60),
        (Some(Jitter::range(SECOND * 10).lengthen()), 60..=70),
        (Some(Jitter::range(SECOND * 10)), 50..=70),
    ] {
        let mut builder = builder(&time).time_to_live(MINUTE);
        if let Some(jitter) = jitter {
            builder = builder.jitter(jitter);
        }
        let cache = builder.build().unwrap();
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        let ends = ends(&cache);
        assert!(ends.iter().all(|end| range.contains(end)), "{jitter:?}");
        let spread = ends.iter().max().unwrap() - ends.iter().min().unwrap();
        let width = range.end() - range.start();
        assert!(spread + 1 >= width, "{jitter:?} spreads over {spread} s");
    }
}

#[test]
fn jitter_is_deterministic_per_key_and_seed() {
    let time = ManualClock::new();
    let loaded = |seed| {
        let mut builder = builder(&time).time_to_live(MINUTE * 60);
        if let Some(seed) = seed {
            builder = builder.seed(seed);
        }
        let cache = builder.build().unwrap();
        load_all(&cache);
        ends(&cache)
    };
    assert_eq!(loaded(Some(1)), loaded(Some(1)));
    assert_ne!(loaded(Some(1)), loaded(Some(2)));
    assert_ne!(loaded(None), loaded(None), "a fleet does not expire as one");
}

/// Created: as many seconds as the value. Read: one more, up to a hundred.
/// Updated: twice what was left.
struct Hook;

impl Expiry<&'static str, u64> for Hook {
    fn expire_after_create(&self, _: &&'static str, value: &u64) -> Option<Duration> {
        Some(SECOND * u32::try_from(*value).unwrap())
    }

    fn expire_after_read(&self, value: &u64, left: Option<Duration>) -> Option<Duration> {
        if *value > 50 {
            left
        } else {
            left.map(|left| left + SECOND)
        }
    }

    fn expire_after_update(
        &self,
        _: &&'static str,
        _: &u64,
        left: Option<Duration>,
    ) -> Option<Duration> {
        left.map(|left| left * 2)
    }
}

fn left(cache: &Cache<&'static str, u64>, key: &str) -> Option<Duration> {
    let mut entries = cache.iter();
    entries.find(|entry| entry.key == key)?.expires_in
}

#[test]
fn an_expiry_hook_decides_on_creation_reading_and_updating() {
    let time = ManualClock::new();
    let cache = builder(&time).expire_after(Hook).build().unwrap();
    cache.insert("a", 10);
    assert_eq!(left(&cache, "a"), Some(SECOND * 10));
    cache.get("a");
    assert_eq!(left(&cache, "a"), Some(SECOND * 11));
    cache.get_ref("a");
    assert_eq!(left(&cache, "a"), Some(SECOND * 12));
    time.advance(SECOND * 2);
    cache.insert("a", 60);
    assert_eq!(left(&cache, "a"), Some(SECOND * 20));
    cache.get("a");
    assert_eq!(
        left(&cache, "a"),
        Some(SECOND * 20),
        "the hook said: as it is"
    );
    cache.peek("a");
    cache.insert_with_ttl("a", 60, SECOND);
    assert_eq!(left(&cache, "a"), Some(SECOND), "the call knows better");
    time.advance(SECOND);
    assert_eq!(cache.get("a"), None);
    assert_eq!(cache.get_with("a", || 5).unwrap(), 5);
    let left = left(&cache, "a").expect("a load is a creation");
    assert!(left <= SECOND * 5 && left >= SECOND * 9 / 2, "{left:?}");
    time.advance(SECOND * 5);
    assert_eq!(cache.get("a"), None);
}

/// The hook was asked of a read only where some entry had a deadline already.
#[test]
fn an_expiry_hook_may_give_a_deadline_when_first_read() {
    struct OnceRead;
    impl Expiry<&'static str, u64> for OnceRead {
        fn expire_after_read(&self, _: &u64, left: Option<Duration>) -> Option<Duration> {
            left.or(Some(SECOND))
        }
    }
    let time = ManualClock::new();
    let cache = builder(&time).expire_after(OnceRead).build().unwrap();
    cache.insert("a", 1);
    time.advance(MINUTE);
    assert_eq!(cache.get("a"), Some(1));
    time.advance(SECOND);
    assert_eq!(cache.get("a"), None);
}

#[test]
fn a_snapshot_warms_another_cache_with_its_deadlines() {
    let time = ManualClock::new();
    let old = builder(&time).time_to_live(MINUTE).build().unwrap();
    old.insert(1, 1);
    time.advance(SECOND * 20);
    old.insert_with_ttl(2, 2, SECOND * 5);
    old.insert_with_deadline(3, 3, Instant::NEVER);
    let snapshot: Vec<_> = old.iter().collect();
    time.advance(SECOND * 4);
    drop(old);
    let taken_at = time.now();
    let new = builder(&time)
        .time_to_live(SECOND)
        .jitter(Jitter::fraction(1.0))
        .build()
        .unwrap();
    for entry in snapshot {
        let left = entry.expires_in.map(|left| left.saturating_sub(SECOND * 4));
        let deadline = left.map_or(Instant::NEVER, |left| taken_at + left);
        new.insert_with_deadline(entry.key, entry.value, deadline);
    }
    let alive = || {
        (1..=3)
            .filter(|key| new.contains_key(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(alive(), [1, 2, 3]);
    time.advance(SECOND);
    assert_eq!(alive(), [1, 3]);
    time.advance(SECOND * 35);
    assert_eq!(alive(), [3]);
}
