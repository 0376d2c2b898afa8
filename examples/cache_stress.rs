//! Threads do all at once what a cache allows, for as many operations as it is
//! told, and then what must hold is asserted. Meant to run under
//! `ThreadSanitizer`, which watches every memory access on the way:
//!
//! ```text
//! cargo run --release --example cache_stress -- [THREADS] [OPERATIONS]
//! TSAN_OPTIONS=suppressions=.ci/races \
//!     RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
//!     cargo +nightly run --target x86_64-unknown-linux-gnu --example cache_stress
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tenfold::cache::{Cache, Compute, Policy};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const KEYS: u64 = 400;
const MAX_ENTRIES: usize = 100;
const MAX_WEIGHT: u64 = 300;
const OPERATIONS: u64 = 400_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let (threads, operations) = match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => (2, OPERATIONS),
        (Some(Ok(threads)), None, _) => (threads, OPERATIONS),
        (Some(Ok(threads)), Some(Ok(operations)), None) => (threads, operations),
        _ => {
            eprintln!("usage: cache_stress [THREADS] [OPERATIONS per thread and policy]");
            return ExitCode::FAILURE;
        }
    };
    for policy in Policy::ALL {
        for shards in [1, 4] {
            stress(policy, shards, threads, operations / 2);
        }
    }
    ExitCode::SUCCESS
}

/// A value that shows which key it was written for.
#[derive(Clone, Debug)]
struct Page {
    key: u64,
    weight: u32,
    text: String,
}

impl Page {
    fn new(key: u64, chance: u64) -> Self {
        Self {
            key,
            weight: (chance % 7) as u32,
            text: key.to_string(),
        }
    }

    fn check(&self, key: u64) {
        assert_eq!(self.key, key, "a value under another's key");
        assert_eq!(self.text, key.to_string(), "a torn value");
    }
}

fn stress(policy: Policy, shards: usize, threads: u64, operations: u64) {
    let time = ManualClock::new();
    let told = Arc::new(AtomicU64::new(0));
    let listener = Arc::clone(&told);
    let cache: Cache<u64, Page> = Cache::builder()
        .max_entries(MAX_ENTRIES)
        .max_weight(MAX_WEIGHT)
        .weigher(|_, page: &Page| page.weight)
        .policy(policy)
        .shards(shards)
        .time_to_live(Duration::from_secs(100))
        .clock(time.clock())
        .eviction_listener(move |key, page: Page, _| {
            page.check(key);
            listener.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .expect("the configuration is coherent");
    thread::scope(|scope| {
        for thread in 0..threads {
            let (cache, time) = (&cache, &time);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(thread + 1);
                for _ in 0..operations {
                    operation(cache, time, &mut rng);
                }
            });
        }
    });
    cache.resize(MAX_ENTRIES);
    cache.resize_weight(MAX_WEIGHT);
    let stats = cache.stats();
    assert!(cache.len() <= MAX_ENTRIES, "{stats}");
    assert!(cache.weight() <= MAX_WEIGHT, "{stats}");
    let left = stats.evictions + stats.expirations + stats.removals;
    assert_eq!(stats.insertions, stats.entries + left, "{stats}");
    cache.purge_expired();
    assert_eq!(cache.iter().count(), cache.len(), "{stats}");
    for entry in &cache {
        entry.value.check(entry.key);
    }
    // Whatever happened, no budget was lost and no load was left behind.
    for key in 0..KEYS {
        let page = cache.get_with(key, || Page::new(key, 1));
        page.expect("nobody loads any more").check(key);
    }
    assert!(cache.len() * 10 >= MAX_ENTRIES * 9, "{}", cache.len());
    cache.invalidate_all();
    assert!(cache.is_empty());
    let told = told.load(Ordering::Relaxed);
    println!("{policy:8} over {shards} shards: {stats}; {told} told");
}

fn operation(cache: &Cache<u64, Page>, time: &ManualClock, rng: &mut Rng) {
    let chance = rng.next_u64();
    // The lower keys are the hotter ones.
    let key = (chance >> 32) % ((chance >> 8) % KEYS + 1);
    match chance % 100 {
        0..30 => {
            if let Some(page) = cache.get(&key) {
                page.check(key);
            }
        }
        30..35 => {
            if let Some(page) = cache.get_ref(&key) {
                // The text is left alone: that an Arc orders this reading before
                // the freeing of the text is hidden from ThreadSanitizer.
                assert_eq!(page.key, key);
            }
        }
        35..55 => {
            if let Some(old) = cache.insert(key, Page::new(key, chance >> 40)) {
                old.check(key);
            }
        }
        55..60 => {
            if let Some(there) = cache.insert_if_absent(key, Page::new(key, chance >> 40)) {
                there.check(key);
            }
        }
        60..75 => {
            let page = cache.get_with(key, || {
                if chance >> 61 == 0 {
                    // Lets others come while this load is under way.
                    thread::yield_now();
                }
                Page::new(key, chance >> 40)
            });
            page.expect("the loader asks for nothing").check(key);
        }
        75..80 => {
            let failed = cache.try_get_with(key, || Err(key));
            if let Ok(page) = failed {
                page.check(key);
            }
        }
        80..87 => {
            let computed = cache.compute(key, |page| {
                if let Some(page) = &page {
                    page.check(key);
                }
                match chance >> 60 {
                    0..4 => Compute::Remove,
                    4..8 => Compute::Keep,
                    _ => Compute::Put(Page::new(key, chance >> 40)),
                }
            });
            computed.expect("the computation asks for nothing");
        }
        87..92 => {
            if let Some(page) = cache.remove(&key) {
                page.check(key);
            }
        }
        92..96 => cache.invalidate(&key),
        96 => {
            let page = cache.insert_with_ttl(key, Page::new(key, 1), Duration::from_secs(1));
            if let Some(page) = page {
                page.check(key);
            }
        }
        97 => time.advance(Duration::from_millis(500)),
        98 => cache.iter().for_each(|entry| entry.value.check(entry.key)),
        _ => match chance >> 57 {
            0..4 => cache.invalidate_all(),
            4..8 => cache.retain(|key, _| key % 3 > 0),
            8..12 => cache.purge_expired(),
            12..15 => cache
                .drain()
                .iter()
                .for_each(|(key, page)| page.check(*key)),
            15..30 => cache.resize_weight(MAX_WEIGHT * (chance >> 40 & 7) / 4),
            _ => cache.resize(MAX_ENTRIES * (chance >> 40 & 7) as usize / 4),
        },
    }
}
