//! Who the celebrities are: found among many, in every stream, sampled or not; how
//! sure that is; and how soon they are forgotten.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::nodes::{Zipf, of};
use proptest::prelude::*;
use tenfold::hash::{CanonicalBytes, StableKey};
use tenfold::rng::Rng;
use tenfold::router::{HotKey, HotKeys, Policy, TopKeys};
use tenfold::time::ManualClock;

/// Counts a stream exactly, and by sketches that share it and are merged, and says what
/// is wrong with the first ten of those. Time stands still.
struct Judge {
    exact: HashMap<u64, u64>,
    /// Estimates that were looked at, and those whose interval misses the truth.
    estimates: usize,
    missed: usize,
}

impl Judge {
    fn of<K: StableKey>(stream: impl IntoIterator<Item = K>, sketches: &[HotKeys]) -> Self {
        let mut exact = HashMap::new();
        // Who gets a request is drawn: turns would give each sketch keys of its own.
        let mut rng = Rng::with_seed(9);
        for key in stream {
            sketches[rng.below(sketches.len() as u64) as usize].note(&key);
            *exact.entry(key.stable_hash(0)).or_default() += 1;
        }
        Self {
            exact,
            estimates: 0,
            missed: 0,
        }
    }

    /// Every key that comes 1.2 times as often as the eleventh is among these ten.
    fn check(&mut self, top: &[HotKey], what: &str) {
        let mut counts: Vec<u64> = self.exact.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let eleventh = counts.get(10).copied().unwrap_or(0);
        for (&key, &count) in &self.exact {
            let found = top.iter().any(|hot| hot.hash() == key);
            assert!(
                found || (count as f64) < 1.2 * eleventh as f64,
                "{what}: {count} times and not found, the eleventh {eleventh}"
            );
        }
        for hot in top {
            let count = self.exact[&hot.hash()]; // No key is made up.
            self.estimates += 1;
            self.missed += usize::from(!(hot.at_least()..=hot.at_most()).contains(&count));
        }
    }

    fn total(&self) -> u64 {
        self.exact.values().sum()
    }
}

fn sketches(count: u64, seed: u64) -> Vec<HotKeys> {
    let clock = ManualClock::new();
    let sketch = |number| HotKeys::with_clock(clock.clock()).seed(1000 * seed + number);
    (0..count).map(sketch).collect()
}

#[test]
fn whoever_comes_a_fifth_more_often_than_the_eleventh_is_found() {
    let (mut estimates, mut missed) = (0, 0);
    for keys in [100_000, 1_000_000] {
        let zipf = Zipf::new(keys);
        let small = [10_000, 100_000].map(|requests| (requests, 1..=5));
        let large = [(1_000_000, 1..=3)];
        for (requests, seeds) in small.into_iter().chain(large) {
            for seed in seeds {
                let hot = sketches(1, seed);
                let mut judge = Judge::of(zipf.stream(seed).take(requests), &hot);
                let what = format!("{requests} requests for {keys} keys, seed {seed}");
                judge.check(&hot[0].top(10), &what);
                let total = hot[0].total() as f64 / judge.total() as f64;
                assert!((total - 1.0).abs() < 0.01, "{what}: {total}");
                estimates += judge.estimates;
                missed += judge.missed;
            }
        }
    }
    assert!(100 * missed <= estimates, "{missed} of {estimates}");
}

#[test]
fn celebrities_are_found_in_ten_million_requests() {
    let zipf = Zipf::new(1_000_000);
    let hot = sketches(1, 1);
    let mut judge = Judge::of(zipf.stream(1).take(10_000_000), &hot);
    assert!(hot[0].one_in() >= 64, "one in {}", hot[0].one_in());
    judge.check(&hot[0].top(10), "ten million");
    assert_eq!(judge.missed, 0);
    let total = hot[0].total() as f64 / 1e7;
    assert!((total - 1.0).abs() < 0.01, "{total}");
}

#[test]
fn what_k_sketches_found_apart_they_know_together() {
    let zipf = Zipf::new(100_000);
    let (mut estimates, mut missed) = (0, 0);
    for count in [2, 4, 16] {
        for (requests, seed) in [(30_000, 1), (300_000, 2), (1_000_000, 3)] {
            let hot = sketches(count, seed);
            let mut judge = Judge::of(zipf.stream(seed).take(requests), &hot);
            let mut merged = TopKeys::new(512);
            for hot in &hot {
                merged.merge(&hot.take());
            }
            judge.check(&merged.top(10), &format!("{count} of {requests}"));
            let total = merged.total() as f64 / judge.total() as f64;
            assert!((total - 1.0).abs() < 0.01, "{total}");
            estimates += judge.estimates;
            missed += judge.missed;
            assert!(hot.iter().all(|hot| hot.top(10).is_empty()), "taken");
        }
    }
    assert!(100 * missed <= estimates, "{missed} of {estimates}");
}

/// The access log of a web server for one day in 1995, if it is at hand.
fn access_log() -> Option<Vec<[String; 2]>> {
    let folder = match std::env::var_os("TENFOLD_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let log = std::fs::read(folder.join("nasa_19950801.tsv")).ok()?;
    let log = String::from_utf8_lossy(&log).into_owned();
    let columns = |line: &str| {
        let columns: Vec<_> = line.split('\t').collect();
        [columns[0], columns[4]].map(ToOwned::to_owned)
    };
    Some(log.lines().skip(1).map(columns).collect())
}

/// Made up after it: as many requests, hosts that come in visits of some pages each, flat
/// after the first few; pages of which some come with every visit.
fn made_up_log() -> Vec<[String; 2]> {
    let (hosts, pages) = (Zipf::new(3000), Zipf::new(1200));
    let (mut host, mut page) = (hosts.stream(7), pages.stream(8));
    let mut rng = Rng::with_seed(9);
    let mut log = Vec::new();
    while log.len() < 30_969 {
        // Every second visitor comes once and never again.
        let visitor = match rng.below(2) {
            0 => host.next().unwrap(),
            _ => 10_000 + log.len() as u64,
        };
        for _ in 0..=rng.below(20) {
            let page = page.next().unwrap();
            let path = "/directory".repeat(page as usize % 12);
            log.push([
                format!("host{visitor}.example.net"),
                format!("{path}/{page}.html"),
            ]);
        }
    }
    log
}

fn check_log(log: &[[String; 2]], name: &str) {
    for column in [0, 1] {
        let hot = sketches(1, 1);
        let mut judge = Judge::of(log.iter().map(|line| &line[column]), &hot);
        judge.check(&hot[0].top(10), &format!("{name}, column {column}"));
        // So few are counted one by one.
        assert_eq!((hot[0].one_in(), judge.missed), (1, 0));
        assert_eq!(hot[0].total(), log.len() as u64);
        assert!(hot[0].top(10).iter().all(|hot| hot.deviation() == 0.0));
    }
}

#[test]
fn hosts_and_pages_of_an_access_log_are_found() {
    check_log(&made_up_log(), "a made-up log");
    if let Some(log) = access_log() {
        assert_eq!(log.len(), 30_969);
        check_log(&log, "a day of 1995");
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let hot = sketches(1, 1).remove(0);
    let before = hot.memory();
    let mut rng = Rng::with_seed(1);
    for number in 0..300_000_u64 {
        hot.note("long".repeat(rng.below(40) as usize) + &number.to_string());
    }
    assert!(
        hot.memory() == before && before <= 64 << 10,
        "{before} bytes"
    );
    drop(hot.take());
    assert_eq!(hot.memory(), before);
}

#[test]
fn sampling_follows_the_rate_up_and_down() {
    let clock = ManualClock::new();
    let hot = HotKeys::with_clock(clock.clock()).half_life(Duration::from_secs(10));
    let mut rng = Rng::with_seed(1);
    let mut minute = |requests: u64| {
        for _ in 0..6 {
            clock.advance(Duration::from_secs(10));
            (0..requests / 6).for_each(|_| hot.note(rng.below(1000)));
        }
        hot.one_in()
    };
    assert_eq!(minute(1000), 1);
    let busy = minute(3_000_000);
    assert!((4..=8).contains(&busy), "one in {busy}");
    // What is usual is known: the next minute does not begin with every key.
    clock.advance(Duration::from_secs(10));
    hot.top(1);
    assert_eq!((hot.top(1).len(), hot.one_in()), (1, 4));
    assert_eq!(minute(1000), 1);
    // Even if nobody comes at all.
    minute(3_000_000);
    clock.advance(Duration::from_secs(10));
    assert_eq!((hot.top(1).len(), hot.one_in()), (1, 4));
    clock.advance(Duration::from_secs(1000));
    assert_eq!((hot.top(1).len(), hot.one_in(), hot.total()), (0, 1, 0));
}

#[test]
fn the_celebrity_of_yesterday_is_not_that_of_today() {
    let clock = ManualClock::new();
    let hot = HotKeys::with_clock(clock.clock()).half_life(Duration::from_secs(60));
    (0..60_000).for_each(|_| hot.note("yesterday"));
    // An hour of little traffic, in which another is a little better known than the rest.
    for minute in 0..60_u64 {
        clock.advance(Duration::from_secs(60));
        (0..100).for_each(|n| hot.note(&*format!("{minute} {n}")));
        (0..10).for_each(|_| hot.note("today"));
    }
    let top = hot.top(2);
    assert_eq!(top[0].bytes(), b"today");
    assert!(top.iter().all(|hot| hot.bytes() != b"yesterday"));
    // The last minute whole, the one before half, and so on.
    assert!((15..=20).contains(&top[0].count()), "{top:?}");
    assert!((0.07..0.11).contains(&top[0].share()), "{top:?}");
}

#[test]
fn a_celebrity_of_this_minute_beats_one_of_the_last() {
    let clock = ManualClock::new();
    let hot = HotKeys::with_clock(clock.clock()).half_life(Duration::from_secs(60));
    (0..1000).for_each(|_| hot.note("last"));
    clock.advance(Duration::from_secs(59));
    (0..600).for_each(|_| hot.note("this"));
    assert_eq!(hot.top(1)[0].bytes(), b"last");
    clock.advance(Duration::from_secs(1));
    (0..300).for_each(|_| hot.note("this"));
    // 300 + 600 / 2 against 1000 / 2.
    let top = hot.top(2);
    assert_eq!((top[0].bytes(), top[0].count()), (&b"this"[..], 600));
    assert_eq!((top[1].bytes(), top[1].count()), (&b"last"[..], 500));
}

#[test]
fn errors_are_forgotten_with_what_they_are_of() {
    let clock = ManualClock::new();
    let hot = HotKeys::with_clock(clock.clock()).half_life(Duration::from_secs(60));
    for key in Zipf::new(1000).stream(1).take(1_000_000) {
        hot.note(key);
    }
    let before = hot.top(1).remove(0);
    assert!(before.deviation() > 100.0, "{before:?}");
    clock.advance(Duration::from_secs(120));
    let after = hot.top(1).remove(0);
    assert_eq!(after.count(), before.count() / 4);
    assert!((after.deviation() - before.deviation() / 4.0).abs() < 1.0);
    assert!((after.share() - before.share()).abs() < 0.001);
}

#[test]
fn nothing_that_threads_note_at_once_is_lost() {
    let hot = sketches(1, 1).remove(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let hot = &hot;
            scope.spawn(move || {
                for n in 0..10_000 {
                    hot.note(if n % 4 == 0 { 0 } else { 1 + thread });
                    if n % 1000 == 0 {
                        assert!(hot.top(3).len() <= 3);
                    }
                }
            });
        }
    });
    // Every one was counted, or another counted for it.
    assert_eq!((hot.one_in(), hot.total()), (1, 40_000));
    let top = hot.top(5);
    assert_eq!(top.len(), 5);
    let sum: u64 = top.iter().map(HotKey::count).sum();
    assert!((39_000..=40_000).contains(&sum), "{sum}");
}

#[test]
fn a_thread_for_each_request_is_sampled_like_any_other() {
    // A sequence of random numbers that began anew with each thread once let every first
    // request of a thread go uncounted.
    let hot = sketches(1, 1).remove(0);
    (0..600_000_u64).for_each(|n| hot.note(n));
    let (before, one_in) = (hot.total(), hot.one_in());
    assert!(one_in > 4);
    for _ in 0..500 {
        std::thread::scope(|scope| drop(scope.spawn(|| hot.note("short"))));
    }
    let noted = hot.total() - before;
    assert!((100..=1500).contains(&noted), "{noted}");
}

/// A key that looks at the sketch, and one that panics, while they are noted.
struct Nosy<'a>(&'a HotKeys, bool);

impl StableKey for Nosy<'_> {
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        self.0.note("from within");
        bytes.append(&[self.0.top(9).len() as u8]);
        assert!(!self.1, "a key that panics");
    }
}

#[test]
fn keys_may_call_back_and_panic() {
    let hot = sketches(1, 1).remove(0);
    hot.note(Nosy(&hot, false));
    let panicking = std::panic::AssertUnwindSafe(|| hot.note(Nosy(&hot, true)));
    assert!(std::panic::catch_unwind(panicking).is_err());
    hot.note("after");
    assert_eq!((hot.total(), hot.top(9).len()), (4, 3));
}

#[test]
fn long_keys_are_told_apart_and_kept_short() {
    let mut keys = TopKeys::new(8);
    let long = |end: char| "x".repeat(1000) + &end.to_string();
    (0..3).for_each(|_| keys.count(long('a'), 1));
    (0..2).for_each(|_| keys.count(long('b'), 1));
    keys.count("short", 1);
    let top = keys.top(8);
    assert_eq!(top.iter().map(HotKey::count).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((top[0].bytes().len(), top[0].key()), (64, None));
    assert_eq!(top[0].hash(), long('a').stable_hash(0));
    assert_eq!(top[2].key(), Some(&b"short"[..]));
    let topology = of(Policy::Balanced, 5);
    let route = |key: &[u8]| topology.route(key);
    assert_eq!(top[2].key().map(route), Some(topology.route("short")));
}

/// What counters promise, against exact counts.
fn check(keys: &TopKeys, exact: &HashMap<u8, u64>, counters: u64, rounding: u64) {
    let total: u64 = exact.values().sum();
    assert!(keys.total() <= total && keys.total() + rounding >= total);
    let top = keys.top(usize::MAX);
    assert!(top.len() as u64 <= counters);
    for hot in &top {
        let count = exact.get(&hot.bytes()[0]).copied().unwrap_or(0);
        assert!(hot.count() + rounding >= count, "too small");
        assert!(hot.count() - hot.error() <= count, "too large by more");
        assert!(hot.error() <= total / counters + rounding);
    }
    for (key, &count) in exact {
        let found = top.iter().any(|hot| hot.bytes() == [*key]);
        assert!(found || count <= total / counters + rounding, "key {key}");
    }
}

proptest! {
    #[test]
    fn counts_are_within_their_error(
        streams in prop::collection::vec(prop::collection::vec((0..40_u8, 1..9_u64), 0..200), 1..5),
        counters in 1..20_usize,
    ) {
        let mut merged = TopKeys::new(counters);
        let mut exact = HashMap::new();
        for stream in streams {
            let mut keys = TopKeys::new(counters);
            let mut own = HashMap::new();
            for (key, times) in stream {
                keys.count(key, times);
                *own.entry(key).or_default() += times;
                *exact.entry(key).or_default() += times;
            }
            check(&keys, &own, counters as u64, 0);
            merged.merge(&keys);
            check(&merged, &exact, counters as u64, 0);
        }
    }

    #[test]
    fn halved_counts_are_within_their_error(
        steps in prop::collection::vec((0..20_u8, 1..50_u64, 0..20_u32), 0..300),
        counters in 1..16_usize,
    ) {
        let mut keys = TopKeys::new(counters);
        // In fractions that half a dozen halvings leave whole.
        let mut exact: HashMap<u8, f64> = HashMap::new();
        for (key, times, halve) in steps {
            keys.count(key, times);
            *exact.entry(key).or_default() += times as f64;
            if halve == 0 {
                keys.halve(1);
                for count in exact.values_mut() {
                    *count /= 2.0;
                }
            }
        }
        // Each halving rounds down less than one, and what was rounded is halved itself.
        for hot in keys.top(usize::MAX) {
            let count = exact[&hot.bytes()[0]];
            prop_assert!(hot.count() as f64 + 2.0 > count, "{hot:?}: {count}");
            prop_assert!((hot.count() - hot.error()) as f64 <= count, "{hot:?}: {count}");
        }
    }
}
