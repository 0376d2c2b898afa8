//! The user's code: listener, weigher, expiry, loader, predicate, `Drop`,
//! `Clone`, `Hash` and `Eq` may call back into the cache as far as they run
//! outside its locks, and may panic anywhere.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use crate::support::{in_time, panics, quiet_panic};
use tenfold::cache::{Cache, CacheBuilder, Compute, Computed, Expiry, Policy, RemovalCause};
use tenfold::time::ManualClock;

/// A cache whose hooks know it, by a weak reference so that it can end.
type Shared<V> = Arc<OnceLock<Cache<u32, V>>>;
type Known<V> = Weak<OnceLock<Cache<u32, V>>>;

/// Does of everything a little, in every shard.
fn call_back(cache: &Cache<u32, u32>) {
    for key in 0..20 {
        cache.peek(&key);
        cache.get(&key);
        cache.contains_key(&key);
    }
    cache.insert(1_000, 1_000);
    cache.remove(&1_000);
    cache.get_with(1_001, || 1).unwrap();
    cache.compute(1_001, |_| Compute::Remove).unwrap();
    cache.purge_expired();
    assert!(cache.iter().count() <= cache.len() + 20);
    assert!(cache.stats().entries <= 20);
}

/// What the hooks do, unless they are called by themselves.
fn call_back_once(known: &Known<u32>) {
    thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });
    if !INSIDE.replace(true) {
        let shared = known.upgrade();
        if let Some(cache) = shared.as_ref().and_then(|shared| shared.get()) {
            call_back(cache);
        }
        INSIDE.set(false);
    }
}

/// Makes entries leave in every way there is.
fn exercise(cache: &Cache<u32, u32>, time: &ManualClock) {
    for key in 0..30 {
        cache.insert(key, key);
    }
    cache.insert(29, 1);
    cache.insert(28, 1);
    for key in 0..30 {
        cache.get_with(key, || key).unwrap();
        cache.get(&key);
        cache.get_ref(&key);
    }
    cache.compute(3, |_| Compute::Put(3)).unwrap();
    cache.compute(3, |_| Compute::Remove).unwrap();
    cache.insert(5, u32::MAX);
    drop(cache.try_insert(5, u32::MAX));
    cache.insert_if_absent(6, 6);
    cache.invalidate(&6);
    cache.retain(|key, _| key % 3 > 0);
    cache.resize(5);
    cache.resize(20);
    time.advance(Duration::from_secs(60));
    cache.get(&7);
    cache.insert(8, 8);
    cache.purge_expired();
    for key in 0..30 {
        cache.insert(key, key);
    }
    cache.invalidate_all();
}

fn builder(time: &ManualClock, shards: usize) -> CacheBuilder<u32, u32> {
    Cache::builder()
        .max_entries(20)
        .shards(shards)
        .clock(time.clock())
        .time_to_live(Duration::from_secs(60))
}

#[test]
fn listener_may_call_back() {
    in_time(|| {
        for shards in [1, 4] {
            let time = ManualClock::new();
            let shared = Shared::default();
            let causes = Arc::new(Mutex::new(Vec::new()));
            let (inner, heard) = (Arc::downgrade(&shared), Arc::clone(&causes));
            let cache = builder(&time, shards)
                .max_weight(1_000_000)
                .weigher(|_, value| *value)
                .eviction_listener(move |_, _, cause| {
                    heard.lock().unwrap().push(cause);
                    call_back_once(&inner);
                })
                .build()
                .unwrap();
            shared.set(cache.clone()).unwrap();
            exercise(&cache, &time);
            let causes = causes.lock().unwrap();
            for cause in [
                RemovalCause::Size,
                RemovalCause::Expired,
                RemovalCause::Explicit,
                RemovalCause::Replaced,
                RemovalCause::Refused,
            ] {
                assert!(causes.contains(&cause), "nobody left as {cause}");
            }
        }
    });
}

#[test]
fn weigher_may_call_back() {
    in_time(|| {
        let time = ManualClock::new();
        let shared = Shared::default();
        let inner = Arc::downgrade(&shared);
        let cache = builder(&time, 4)
            .max_weight(1_000_000)
            .weigher(move |_, value| {
                call_back_once(&inner);
                *value
            })
            .build()
            .unwrap();
        shared.set(cache.clone()).unwrap();
        exercise(&cache, &time);
    });
}

struct Nosy(Known<u32>);

impl Expiry<u32, u32> for Nosy {
    fn expire_after_create(&self, _: &u32, _: &u32) -> Option<Duration> {
        call_back_once(&self.0);
        None
    }

    fn expire_after_read(&self, _: &u32, left: Option<Duration>) -> Option<Duration> {
        call_back_once(&self.0);
        left.map(|left| left + Duration::from_secs(1))
    }

    fn expire_after_update(&self, _: &u32, _: &u32, _: Option<Duration>) -> Option<Duration> {
        call_back_once(&self.0);
        None
    }
}

#[test]
fn expiry_hook_may_call_back() {
    in_time(|| {
        let time = ManualClock::new();
        let shared = Shared::default();
        let cache = builder(&time, 4)
            .expire_after(Nosy(Arc::downgrade(&shared)))
            .build()
            .unwrap();
        shared.set(cache.clone()).unwrap();
        exercise(&cache, &time);
    });
}

#[test]
fn loader_computation_and_predicate_may_call_back() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::new(20);
        for key in 0..10 {
            let load = || {
                call_back(&cache);
                key
            };
            assert_eq!(cache.get_with(key, load).unwrap(), key);
            let change = |value: Option<u32>| {
                call_back(&cache);
                value.map_or(Compute::Keep, |value| Compute::Put(value + 1))
            };
            assert!(matches!(
                cache.compute(key, change),
                Ok(Computed::Stored { .. })
            ));
        }
        cache.retain(|_, value| {
            call_back(&cache);
            value % 2 == 0
        });
        assert_eq!(cache.len(), 5);
        cache.iter().for_each(|_| call_back(&cache));
    });
}

/// A value that, when it is dropped, looks into the cache it was in.
#[derive(Clone)]
struct LastWords(Known<LastWords>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade()
            && let Some(cache) = shared.get()
        {
            for key in 0..20 {
                cache.contains_key(&key);
            }
            assert!(cache.stats().entries <= 20);
        }
    }
}

#[test]
fn a_dropped_value_may_call_back() {
    in_time(|| {
        for policy in Policy::ALL {
            let time = ManualClock::new();
            let shared: Shared<LastWords> = Arc::default();
            let cache = Cache::builder()
                .max_entries(20)
                .max_weight(100)
                .weigher(|key, _| if *key == 99 { 1_000 } else { 1 + *key % 7 })
                .shards(4)
                .policy(policy)
                .time_to_live(Duration::from_secs(60))
                .clock(time.clock())
                .build()
                .unwrap();
            shared.set(cache.clone()).ok().unwrap();
            let value = || LastWords(Arc::downgrade(&shared));
            for key in (0..40).chain(30..50) {
                cache.insert(key, value());
                drop(cache.get(&key));
                drop(cache.get_ref(&key));
            }
            cache.insert(99, value());
            drop(cache.get_with(99, value));
            drop(cache.get_with(98, value));
            drop(cache.compute(98, |_| Compute::Put(value())));
            drop(cache.compute(98, |_| Compute::Remove));
            cache.retain(|key, _| key % 2 == 0);
            cache.resize(5);
            time.advance(Duration::from_secs(60));
            cache.insert(1, value());
            cache.purge_expired();
            cache.insert_if_absent(1, value());
            cache.invalidate(&1);
            cache.insert(1, value());
            cache.invalidate_all();
            assert!(cache.is_empty());
            cache.insert(1, value());
        }
    });
}

/// Panics when it is told to.
fn maybe() {
    if ARMED.get() {
        ARMED.set(false);
        quiet_panic();
    }
}

thread_local!(static ARMED: Cell<bool> = const { Cell::new(false) });

/// Whether `act` met a panic while it was armed.
fn armed<R>(act: impl FnOnce() -> R) -> bool {
    ARMED.set(true);
    let panicked = panics(act);
    ARMED.set(false);
    panicked
}

/// The cache is within its bounds, stores, finds, loads and clears.
fn assert_usable(cache: &Cache<u32, u32>) {
    assert!(cache.len() <= 20);
    let left = |cache: &Cache<u32, u32>| {
        let stats = cache.stats();
        stats.entries + stats.evictions + stats.expirations + stats.removals
    };
    assert_eq!(cache.stats().insertions, left(cache));
    for key in 50..80 {
        cache.insert(key, 2);
        assert_eq!(cache.get(&key), Some(2));
        assert_eq!(cache.get_with(key + 100, || 3).unwrap(), 3);
        assert!(cache.len() <= 20);
    }
    assert!(cache.len() >= 18, "no room was lost: {}", cache.len());
    cache.invalidate_all();
    assert!(cache.is_empty());
    assert_eq!(cache.stats().insertions, left(cache));
}

#[test]
fn a_panicking_listener_leaves_the_cache_intact() {
    type Act = fn(&Cache<u32, u32>);
    let acts: [(&str, Act); 9] = [
        ("evict", |c| _ = c.insert(900, 2)),
        ("replace", |c| _ = c.insert(19, 2)),
        ("refuse", |c| _ = c.insert(19, u32::MAX)),
        ("load", |c| drop(c.get_with(901, || 2))),
        ("invalidate", |c| c.invalidate(&19)),
        ("invalidate_if", |c| c.invalidate_if(|_, _| true)),
        ("invalidate_all", Cache::invalidate_all),
        ("resize", |c| c.resize(3)),
        ("resize_weight", |c| c.resize_weight(3)),
    ];
    for shards in [1, 4] {
        for (name, act) in acts {
            let cache = builder(&ManualClock::new(), shards)
                .max_weight(1_000)
                .weigher(|_, value| *value)
                .eviction_listener(|_, _, _| maybe())
                .build()
                .unwrap();
            for key in 0..20 {
                cache.insert(key, 1);
            }
            cache.insert(19, 1);
            assert!(armed(|| act(&cache)), "{name} tells the listener");
            let bound = cache.max_entries().unwrap();
            assert!(cache.len() as u64 <= bound, "{name}");
            assert!(cache.weight() <= cache.max_weight().unwrap(), "{name}");
            cache.resize(20);
            cache.resize_weight(1_000);
            assert_usable(&cache);
        }
    }
}

#[test]
fn a_panicking_weigher_stores_nothing_and_loses_nothing() {
    let cache = builder(&ManualClock::new(), 2)
        .max_weight(1_000)
        .weigher(|_, value| {
            maybe();
            *value
        })
        .build()
        .unwrap();
    cache.insert(1, 1);
    assert!(armed(|| cache.insert(1, 2)));
    assert_eq!(cache.get(&1), Some(1));
    assert!(armed(|| cache.get_with(2, || 2)));
    assert_eq!(cache.get(&2), None);
    assert_eq!(
        cache.get_with(2, || 3).unwrap(),
        3,
        "no load was left behind"
    );
    assert!(armed(|| cache.compute(1, |_| Compute::Put(4))));
    assert_eq!(cache.get(&1), Some(1));
    assert_usable(&cache);
}

#[test]
fn a_panicking_expiry_hook_stores_nothing_and_loses_nothing() {
    struct Panicky;
    impl Expiry<u32, u32> for Panicky {
        fn expire_after_create(&self, _: &u32, _: &u32) -> Option<Duration> {
            maybe();
            None
        }
        fn expire_after_read(&self, _: &u32, left: Option<Duration>) -> Option<Duration> {
            maybe();
            left
        }
        fn expire_after_update(&self, _: &u32, _: &u32, _: Option<Duration>) -> Option<Duration> {
            maybe();
            None
        }
    }
    let cache = builder(&ManualClock::new(), 2)
        .expire_after(Panicky)
        .build()
        .unwrap();
    cache.insert(1, 1);
    assert!(armed(|| cache.insert(1, 2)));
    assert!(armed(|| cache.get(&1)));
    assert_eq!(cache.get(&1), Some(1));
    assert!(armed(|| cache.get_with(2, || 2)));
    assert_eq!(cache.get_with(2, || 3).unwrap(), 3);
    assert_usable(&cache);
}

/// A key and value that panics wherever a cache must call it under its lock.
#[derive(Debug)]
struct Touchy(u32);

impl Clone for Touchy {
    fn clone(&self) -> Self {
        maybe();
        Self(self.0)
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        maybe();
        self.0 == other.0
    }
}

impl Eq for Touchy {}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.0 == VICTIM.get() {
            maybe();
        }
        self.0.hash(state);
    }
}

thread_local!(static VICTIM: Cell<u32> = const { Cell::new(u32::MAX) });

#[test]
fn a_panicking_eq_hash_or_clone_leaves_the_cache_usable() {
    in_time(|| {
        type Act = fn(&Cache<Touchy, Touchy>, u32);
        let acts: [Act; 11] = [
            |c, n| _ = c.get(&Touchy(n)),
            |c, n| _ = c.peek(&Touchy(n)),
            |c, n| _ = c.insert(Touchy(n), Touchy(n)),
            |c, n| _ = c.insert_if_absent(Touchy(n), Touchy(n)),
            |c, n| _ = c.remove(&Touchy(n)),
            |c, n| c.invalidate(&Touchy(n)),
            |c, n| _ = c.get_with(Touchy(n), || Touchy(n)),
            |c, n| _ = c.get_with(Touchy(n + 1_000), || Touchy(n)),
            |c, n| _ = c.compute(Touchy(n), |_| Compute::Put(Touchy(n))),
            |c, n| _ = c.compute(Touchy(n), |_| Compute::Remove),
            |c, _| _ = c.iter().count(),
        ];
        for policy in Policy::ALL {
            let cache: Cache<Touchy, Touchy> = Cache::builder()
                .max_entries(20)
                .shards(2)
                .policy(policy)
                .build()
                .unwrap();
            let mut panicked = 0;
            for round in 0..200u32 {
                let number = round % 30;
                cache.insert(Touchy(number), Touchy(number));
                VICTIM.set(round % 7);
                let act = acts[round as usize % acts.len()];
                panicked += u32::from(armed(|| act(&cache, number)));
                VICTIM.set(u32::MAX);
                assert!(cache.len() <= 20);
            }
            assert!(panicked > 50, "only {panicked} panics");
            for number in 0..40 {
                cache.insert(Touchy(number), Touchy(number));
                assert_eq!(cache.get(&Touchy(number)).unwrap().0, number);
                let loaded = cache.get_with(Touchy(number + 500), || Touchy(1));
                assert_eq!(loaded.unwrap().0, 1, "no load was left behind");
            }
            assert!(cache.len() >= 19);
            for entry in cache.drain() {
                assert!(entry.0.0 == entry.1.0 || entry.1.0 == 1);
            }
            assert!(cache.is_empty());
        }
    });
}

#[test]
fn a_reference_outlives_what_happens_to_its_entry() {
    let cache: Cache<u32, String> = Cache::new(2);
    cache.insert(1, "one".to_owned());
    let one = cache.get_ref(&1).unwrap();
    cache.insert(1, "uno".to_owned());
    let uno = cache.get_ref(&1).unwrap();
    let again = cache.get_ref(&1).unwrap();
    assert!(std::ptr::eq(&raw const *uno, &raw const *again), "no clone");
    assert_eq!(cache.remove(&1).as_deref(), Some("uno"));
    for key in 2..10 {
        cache.insert(key, String::new());
    }
    drop(cache);
    assert_eq!((one.as_str(), uno.as_str()), ("one", "uno"));
}
