//! A naive model of the cache and a driver that holds the real one against it.
//!
//! The model is a `Vec` searched from end to end. For the exact policies
//! without expiry it foretells every victim; otherwise it follows what the
//! listener reports and checks that each report was allowed: nothing expires
//! early, nothing is evicted while there is room.

#![allow(
    dead_code,
    reason = "the property tests and the fuzz target use different parts"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenfold::cache::{Cache, Compute, Computed, Lookup, Policy, RemovalCause};
use tenfold::time::{Jitter, ManualClock};

pub(crate) type Key = u8;
pub(crate) type Value = u16;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) max_entries: Option<usize>,
    /// With it, an entry weighs its value modulo ten, at least one.
    pub(crate) max_weight: Option<u64>,
    pub(crate) time_to_live: Option<u8>,
    pub(crate) time_to_idle: Option<u8>,
    pub(crate) shards: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Get(Key),
    GetRef(Key),
    Peek(Key),
    Contains(Key),
    Insert(Key, Value),
    TryInsert(Key, Value),
    InsertFor(Key, Value, u8),
    InsertUntil(Key, Value, u8),
    InsertIfAbsent(Key, Value),
    Load(Key, Value),
    FailToLoad(Key),
    Lease(Key, Value),
    LeaseTooLate(Key, Value),
    Upsert(Key, Value),
    ComputeRemoval(Key),
    ComputeNothing(Key),
    Remove(Key),
    RemoveEntry(Key),
    Invalidate(Key),
    InvalidateAll,
    Drain,
    RetainMultiplesOf(Value),
    InvalidateMultiplesOf(Value),
    Advance(u8),
    PurgeExpired,
    Resize(u8),
    ResizeWeight(u8),
}

struct Entry {
    key: Key,
    value: Value,
    weight: u64,
    inserted: u64,
    used: u64,
    uses: u64,
    deadline: Option<Duration>,
    idles: Option<Duration>,
}

struct Model {
    config: Config,
    entries: Vec<Entry>,
    /// Counts operations; orders insertions and uses.
    step: u64,
    now: Duration,
}

impl Model {
    fn weigh(&self, value: Value) -> u64 {
        match self.config.max_weight {
            Some(_) => u64::from(value % 10).max(1),
            None => 1,
        }
    }

    fn admits(&self, value: Value) -> bool {
        self.config.max_entries != Some(0)
            && self
                .config
                .max_weight
                .is_none_or(|max| self.weigh(value) <= max)
    }

    fn expired(&self, entry: &Entry) -> bool {
        [entry.deadline, entry.idles]
            .into_iter()
            .flatten()
            .any(|at| at <= self.now)
    }

    fn live(&self, key: Key) -> Option<&Entry> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!self.expired(entry)).then_some(entry)
    }

    fn value(&self, key: Key) -> Option<Value> {
        self.live(key).map(|entry| entry.value)
    }

    fn use_of(&mut self, key: Key) -> Option<Value> {
        self.value(key)?;
        let (step, idles) = (self.step, self.idles());
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        entry.used = step;
        entry.uses += 1;
        entry.idles = idles;
        Some(entry.value)
    }

    fn idles(&self) -> Option<Duration> {
        self.config
            .time_to_idle
            .map(|seconds| self.now + Duration::from_secs(seconds.into()))
    }

    fn take(&mut self, key: Key) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Who has to go, by the name of the policy; `None` where the model cannot
    /// know.
    fn victim(&self) -> Option<Key> {
        let by = |rank: &dyn Fn(&Entry) -> (u64, u64)| {
            self.entries
                .iter()
                .min_by_key(|entry| rank(entry))
                .map(|entry| entry.key)
        };
        match self.config.policy {
            Policy::Fifo => by(&|entry| (entry.inserted, 0)),
            Policy::Lru => by(&|entry| (entry.used, 0)),
            Policy::Lfu => by(&|entry| (entry.uses, entry.used)),
            _ => None,
        }
    }

    fn weight(&self) -> u64 {
        self.entries.iter().map(|entry| entry.weight).sum()
    }

    /// How much of its bounds a cache of several shards may leave unused.
    fn idle(&self) -> (usize, u64) {
        if self.config.shards == 1 {
            return (0, 0);
        }
        let entries = self.config.max_entries.unwrap_or(0);
        let weight = self.config.max_weight.unwrap_or(0);
        (entries / 64, weight / 64)
    }

    fn fits(&self, more_entries: usize, more_weight: u64) -> bool {
        self.config
            .max_entries
            .is_none_or(|max| self.entries.len() + more_entries <= max)
            && self
                .config
                .max_weight
                .is_none_or(|max| self.weight() + more_weight <= max)
    }
}

type Events = Vec<(Key, Value, RemovalCause)>;

/// Runs the operations against the cache and the model; panics where they
/// differ.
pub(crate) fn run(config: &Config, ops: &[Op]) {
    let clock = ManualClock::new();
    let events = Arc::new(Mutex::new(Events::new()));
    let told = Arc::clone(&events);
    let mut builder = Cache::<Key, Value>::builder()
        .policy(config.policy)
        .shards(config.shards)
        .jitter(Jitter::none())
        .seed(1)
        .clock(clock.clock())
        .eviction_listener(move |key, value, cause| told.lock().unwrap().push((key, value, cause)));
    if let Some(max) = config.max_entries {
        builder = builder.max_entries(max);
    }
    if let Some(max) = config.max_weight {
        builder = builder
            .max_weight(max)
            .weigher(|_, value| u32::from(value % 10));
    }
    if let Some(seconds) = config.time_to_live {
        builder = builder.time_to_live(Duration::from_secs(seconds.into()));
    }
    if let Some(seconds) = config.time_to_idle {
        builder = builder.time_to_idle(Duration::from_secs(seconds.into()));
    }
    let cache = builder.build().expect("the configuration is coherent");
    let mut model = Model {
        config: config.clone(),
        entries: Vec::new(),
        step: 0,
        now: Duration::ZERO,
    };
    for &op in ops {
        model.step += 1;
        step(&cache, &clock, &events, &mut model, op);
        assert_eq!(cache.len(), model.entries.len(), "after {op:?}");
        assert_eq!(cache.weight(), model.weight(), "after {op:?}");
        assert!(model.fits(0, 0), "bounds exceeded by {op:?}");
    }
    let mut live = model.entries.iter().filter(|e| !model.expired(e)).count();
    for seen in &cache {
        let entry = model.live(seen.key).expect("no expired entry is seen");
        let ends = [entry.deadline, entry.idles].into_iter().flatten().min();
        assert_eq!(seen.value, entry.value);
        assert_eq!(u64::from(seen.weight), entry.weight);
        assert_eq!(seen.expires_in, ends.map(|at| at.saturating_sub(model.now)));
        live -= 1;
    }
    assert_eq!(live, 0, "every live entry is seen");
    let stats = cache.stats();
    let left = stats.evictions + stats.expirations + stats.removals;
    assert_eq!(stats.insertions, stats.entries + left, "{stats}");
}

#[allow(clippy::too_many_lines, reason = "an arm for every operation")]
fn step(
    cache: &Cache<Key, Value>,
    clock: &ManualClock,
    events: &Mutex<Events>,
    model: &mut Model,
    op: Op,
) {
    let happened = || std::mem::take(&mut *events.lock().unwrap());
    match op {
        Op::Get(key) => {
            let found = cache.get(&key);
            only_expiry(model, happened());
            assert_eq!(found, model.use_of(key), "{op:?}");
        }
        Op::GetRef(key) => {
            let found = cache.get_ref(&key).map(|value| *value);
            only_expiry(model, happened());
            assert_eq!(found, model.use_of(key), "{op:?}");
        }
        Op::Peek(key) => {
            assert_eq!(cache.peek(&key), model.value(key), "{op:?}");
            assert!(happened().is_empty());
        }
        Op::Contains(key) => {
            assert_eq!(
                cache.contains_key(&key),
                model.value(key).is_some(),
                "{op:?}"
            );
            assert!(happened().is_empty());
        }
        Op::Insert(key, value) => {
            let old = cache.insert(key, value);
            stored(
                model,
                key,
                value,
                model.config.time_to_live,
                old,
                happened(),
            );
        }
        Op::InsertFor(key, value, seconds) => {
            let old = cache.insert_with_ttl(key, value, Duration::from_secs(seconds.into()));
            stored(model, key, value, Some(seconds), old, happened());
        }
        Op::InsertUntil(key, value, seconds) => {
            let deadline = clock.now() + Duration::from_secs(seconds.into());
            let old = cache.insert_with_deadline(key, value, deadline);
            stored(model, key, value, Some(seconds), old, happened());
        }
        Op::TryInsert(key, value) => match cache.try_insert(key, value) {
            Ok(old) => stored(
                model,
                key,
                value,
                model.config.time_to_live,
                old,
                happened(),
            ),
            Err(refused) => {
                assert!(!model.admits(value));
                assert_eq!(refused.into_entry(), (key, value));
                assert!(happened().is_empty());
            }
        },
        Op::InsertIfAbsent(key, value) => {
            let there = cache.insert_if_absent(key, value);
            let happened = happened();
            if model.value(key).is_some() && model.admits(value) {
                only_expiry(model, happened);
                assert_eq!(there, model.use_of(key));
            } else if model.admits(value) {
                assert_eq!(there, None);
                stored(model, key, value, model.config.time_to_live, None, happened);
            } else {
                assert_eq!(there, None);
                assert_eq!(happened, [(key, value, RemovalCause::Refused)]);
            }
        }
        Op::Remove(key) => {
            let removed = cache.remove(&key);
            only_expiry(model, happened());
            assert_eq!(removed, model.value(key), "{op:?}");
            model.take(key);
        }
        Op::RemoveEntry(key) => {
            let removed = cache.remove_entry(&key);
            only_expiry(model, happened());
            assert_eq!(removed, model.value(key).map(|value| (key, value)));
            model.take(key);
        }
        Op::Invalidate(key) => {
            cache.invalidate(&key);
            removal(model, key, happened());
        }
        Op::InvalidateAll => {
            cache.invalidate_all();
            let mut keys: Vec<Key> = happened().iter().map(|&(key, ..)| key).collect();
            let mut all: Vec<Key> = model.entries.iter().map(|entry| entry.key).collect();
            keys.sort_unstable();
            all.sort_unstable();
            assert_eq!(keys, all);
            model.entries.clear();
        }
        Op::Drain => {
            let mut drained = cache.drain();
            only_expiry(model, happened());
            let mut all: Vec<_> = model
                .entries
                .iter()
                .map(|entry| (entry.key, entry.value))
                .collect();
            drained.sort_unstable();
            all.sort_unstable();
            assert_eq!(drained, all);
            model.entries.clear();
        }
        Op::Advance(seconds) => {
            let by = Duration::from_secs(seconds.into());
            clock.advance(by);
            model.now += by;
        }
        Op::PurgeExpired => {
            cache.purge_expired();
            only_expiry(model, happened());
            assert!(!model.entries.iter().any(|entry| model.expired(entry)));
        }
        Op::Resize(entries) => {
            if model.config.max_entries.is_some() {
                cache.resize(entries.into());
                model.config.max_entries = Some(entries.into());
                evictions(model, happened(), 0, 0);
            }
        }
        Op::ResizeWeight(weight) => {
            if model.config.max_weight.is_some() {
                cache.resize_weight(weight.into());
                model.config.max_weight = Some(weight.into());
                evictions(model, happened(), 0, 0);
            }
        }
        Op::Load(key, value) => {
            let there = model.value(key);
            let got = cache.get_with(key, || value).expect("asks for no key");
            let lifetime = model.config.time_to_live;
            if there.is_some() {
                only_expiry(model, happened());
                assert_eq!(model.use_of(key), Some(got), "{op:?}");
            } else {
                assert_eq!(got, value);
                stored(model, key, value, lifetime, None, happened());
            }
        }
        // A miss that brings its value itself, or a hit.
        Op::Lease(key, value) => {
            let there = model.value(key);
            match cache.get_or_lease(key) {
                Lookup::Found(found) => {
                    only_expiry(model, happened());
                    assert_eq!(Some(found), model.use_of(key), "{op:?}");
                }
                Lookup::Lease(lease) => {
                    assert_eq!(there, None, "{op:?}");
                    assert_eq!(lease.insert(value), Ok(()));
                    let lifetime = model.config.time_to_live;
                    stored(model, key, value, lifetime, None, happened());
                }
                Lookup::Leased => panic!("{op:?}: nobody else is there"),
            }
        }
        Op::LeaseTooLate(key, value) => match cache.get_or_lease(key) {
            Lookup::Found(found) => {
                only_expiry(model, happened());
                assert_eq!(Some(found), model.use_of(key), "{op:?}");
            }
            Lookup::Lease(lease) => {
                cache.invalidate(&key);
                assert_eq!(lease.insert(value), Err(value), "{op:?}");
                only_expiry(model, happened());
                assert_eq!(model.value(key), None, "{op:?}");
            }
            Lookup::Leased => panic!("{op:?}: nobody else is there"),
        },
        Op::FailToLoad(key) => {
            let got = cache.try_get_with(key, || Err::<Value, _>("no"));
            only_expiry(model, happened());
            assert_eq!(got.ok(), model.use_of(key), "{op:?}");
        }
        Op::Upsert(key, value) => {
            let computed = cache.compute(key, |_| Compute::Put(value));
            let Ok(Computed::Stored { new, old }) = computed else {
                panic!("{op:?} did not store");
            };
            assert_eq!(new, value);
            let lifetime = model.config.time_to_live;
            stored(model, key, value, lifetime, old, happened());
        }
        Op::ComputeRemoval(key) => {
            let computed = cache.compute(key, |_| Compute::Remove).expect("no circle");
            let expected = removal(model, key, happened());
            let expected = expected.map_or(Computed::Unchanged(None), Computed::Removed);
            assert_eq!(computed, expected);
        }
        Op::ComputeNothing(key) => {
            let computed = cache.compute(key, |_| Compute::Keep).expect("no circle");
            assert_eq!(computed, Computed::Unchanged(model.value(key)));
            only_expiry(model, happened());
        }
        Op::RetainMultiplesOf(number) => {
            let number = number.max(1);
            cache.retain(|_, value| value.is_multiple_of(number));
            removals(model, happened(), |value| !value.is_multiple_of(number));
        }
        Op::InvalidateMultiplesOf(number) => {
            let number = number.max(1);
            cache.invalidate_if(|_, value| value.is_multiple_of(number));
            removals(model, happened(), |value| value.is_multiple_of(number));
        }
    }
}

/// Follows the reports of a call that removed one key and told of it.
fn removal(model: &mut Model, key: Key, mut happened: Events) -> Option<Value> {
    let there = model.value(key);
    if let Some(value) = there {
        assert_eq!(happened.pop(), Some((key, value, RemovalCause::Explicit)));
        model.take(key);
    }
    only_expiry(model, happened);
    there
}

/// Follows the reports of a call that removed all entries of some kind.
fn removals(model: &mut Model, happened: Events, goes: impl Fn(Value) -> bool) {
    for (key, value, cause) in happened {
        if cause == RemovalCause::Expired {
            expiry(model, key, value);
            continue;
        }
        assert_eq!(cause, RemovalCause::Explicit);
        assert_eq!(model.value(key), Some(value));
        assert!(goes(value), "{key} had to stay");
        model.take(key);
    }
    let stays = |entry: &Entry| model.expired(entry) || !goes(entry.value);
    assert!(model.entries.iter().all(stays), "some had to go");
}

/// Follows the reports of a call that makes no room.
fn only_expiry(model: &mut Model, happened: Events) {
    for (key, value, cause) in happened {
        assert_eq!(cause, RemovalCause::Expired);
        expiry(model, key, value);
    }
}

fn expiry(model: &mut Model, key: Key, value: Value) {
    let entry = model.take(key).expect("what expires was there");
    assert_eq!(entry.value, value);
    assert!(model.expired(&entry), "{key} expired early");
}

/// Follows the reports of a call that makes room for so much.
fn evictions(model: &mut Model, happened: Events, entries: usize, weight: u64) {
    for (key, value, cause) in happened {
        match cause {
            RemovalCause::Expired => expiry(model, key, value),
            RemovalCause::Size => {
                let (idle_entries, idle_weight) = model.idle();
                assert!(
                    !model.fits(entries + idle_entries, weight + idle_weight),
                    "{key} evicted although there was room"
                );
                if let Some(victim) = model.victim() {
                    assert_eq!(key, victim, "the policy would have evicted another");
                }
                let entry = model.take(key).expect("what is evicted was there");
                assert_eq!(entry.value, value);
            }
            cause => panic!("{key} left as {cause}"),
        }
    }
}

/// Follows an insertion that returned `old`.
fn stored(
    model: &mut Model,
    key: Key,
    value: Value,
    seconds: Option<u8>,
    old: Option<Value>,
    mut happened: Events,
) {
    if !model.admits(value) {
        let refused = happened
            .iter()
            .position(|event| *event == (key, value, RemovalCause::Refused));
        happened.remove(refused.expect("the listener hears of a refused entry"));
    }
    let there = model.value(key);
    assert_eq!(old, there, "insert returned another value");
    if let Some(old) = there {
        let replaced = happened
            .iter()
            .position(|event| *event == (key, old, RemovalCause::Replaced));
        happened.remove(replaced.expect("the listener hears of a replaced value"));
    }
    // What was born expired may be swept by the call that stored it.
    let expired = (key, value, RemovalCause::Expired);
    let told = happened.iter().filter(|event| **event == expired).count();
    let same = |entry: &&Entry| (entry.key, entry.value) == (key, value);
    let before = model.entries.iter().find(same);
    let swept = told > usize::from(before.is_some_and(|entry| model.expired(entry)));
    if swept {
        assert_eq!(seconds, Some(0), "{key} expired early");
        let last = happened.iter().rposition(|event| *event == expired);
        happened.remove(last.expect("it was counted"));
    }
    replace(model, key, value, seconds, there.is_some(), happened);
    if swept {
        model.take(key);
    }
}

/// Puts the value into the model as a cache of that policy does.
fn replace(
    model: &mut Model,
    key: Key,
    value: Value,
    seconds: Option<u8>,
    present: bool,
    happened: Events,
) {
    let weight = model.weigh(value);
    let deadline = seconds.map(|seconds| model.now + Duration::from_secs(seconds.into()));
    let idles = model.idles();
    let step = model.step;
    if !model.admits(value) {
        only_expiry(model, happened);
        model.take(key);
        return;
    }
    if let Some(entry) = model.entries.iter_mut().find(|entry| entry.key == key)
        && present
        && weight <= entry.weight
    {
        entry.value = value;
        entry.weight = weight;
        entry.used = step;
        entry.uses += 1;
        entry.deadline = deadline;
        entry.idles = idles;
        evictions(model, happened, 0, 0);
        return;
    }
    if present {
        model.take(key);
    }
    evictions(model, happened, 1, weight);
    assert!(model.live(key).is_none());
    model.entries.push(Entry {
        key,
        value,
        weight,
        inserted: step,
        used: step,
        uses: 1,
        deadline,
        idles,
    });
}
