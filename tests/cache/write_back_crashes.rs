//! Write-back on ten thousand bad days: seeds choose what callers do, in which
//! order tasks are polled and which of them are dropped, which calls of journal
//! and store fail, and in which of them the process dies. It starts again over
//! what the journal kept, and may die again.
//!
//! What is checked: nothing acknowledged is lost, for readers and for the store;
//! the store gets the changes of a key in their order; the buffer stays within
//! its bound; a journal that is replayed once more brings nothing new.
//!
//! `TENFOLD_SEEDS=100 cargo test --release --test cache write_back_crashes` tries a
//! hundred times as many.

use std::collections::HashMap;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::support::poll;
use tenfold::cache::Cache;
use tenfold::cache::write_back::{BuildError, Journal, MemoryJournal, Record, WhenFull, WriteBack};
use tenfold::cache::writer::{Change, Faults, InjectedFault, MemoryStore};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SEEDS: u64 = 10_000;
const KEYS: u64 = 4;
const MAX_DIRTY: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_nor_applied_out_of_order() {
    let times = std::env::var("TENFOLD_SEEDS").map_or(1, |times| times.parse().unwrap());
    let seeds = SEEDS * times;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let share = |thread| {
            let mut seen = Seen::default();
            // One for all days: building one takes longer than a day.
            let cache = Cache::builder().max_entries(1).shards(1).seed(thread);
            let cache = cache.build().unwrap();
            for seed in (thread..seeds).step_by(threads as usize) {
                Day::new(seed, cache.clone()).live(&mut seen);
            }
            seen
        };
        let shares: Vec<_> = (0..threads)
            .map(|t| scope.spawn(move || share(t)))
            .collect();
        for share in shares {
            seen.add(&share.join().unwrap());
        }
    });
    // The days were bad, and not so bad that nothing happened.
    println!("{seen:?}");
    let enough = seeds / 2;
    assert!(seen.crashes >= seeds, "{seen:?}");
    assert!(seen.acknowledged > 10 * enough, "{seen:?}");
    assert!(
        seen.replayed > enough && seen.coalesced > enough,
        "{seen:?}"
    );
    assert!(seen.failed > enough && seen.cancelled > enough, "{seen:?}");
}

/// What happened on all days together.
#[derive(Debug, Default)]
struct Seen {
    crashes: u64,
    acknowledged: u64,
    failed: u64,
    cancelled: u64,
    replayed: u64,
    coalesced: u64,
    written: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.replayed += other.replayed;
        self.coalesced += other.coalesced;
        self.written += other.written;
    }
}

type Key = u64;
/// Every value is written once, so that a value tells which write it came from.
type Value = u64;
type Written = Pin<Box<dyn Future<Output = Event>>>;

#[derive(Clone, Copy)]
enum Event {
    /// This change of this key was acknowledged, or not; it was appended at this
    /// place or later, if at all.
    Put(Key, Change<Value>, usize, bool),
    Flushed,
}

/// A journal that notes, for the test, in which order changes were appended.
#[derive(Clone)]
struct Noted {
    journal: MemoryJournal<Key, Value>,
    appended: Arc<Mutex<Vec<Entry>>>,
}

type Entry = (Key, Change<Value>);

impl Journal<Key, Value> for Noted {
    type Error = InjectedFault;

    async fn append(&self, records: &[Record<Key, Value>]) -> Result<(), InjectedFault> {
        for record in records {
            let entry = (record.key, record.change);
            self.appended.lock().unwrap().push(entry);
        }
        self.journal.append(records).await
    }

    async fn ack(&self, sequences: &[u64]) -> Result<(), InjectedFault> {
        self.journal.ack(sequences).await
    }

    async fn replay(
        &self,
        show: &mut (dyn FnMut(Record<Key, Value>) + Send),
    ) -> Result<(), InjectedFault> {
        self.journal.replay(show).await
    }
}

struct Day {
    seed: u64,
    cache: Cache<Key, Value>,
    rng: Rng,
    faults: Faults,
    store: MemoryStore<Key, Value>,
    journal: Noted,
    clock: ManualClock,
    next_value: Value,
    /// Per key, the place in the journal's order of the last acknowledged change.
    acknowledged: HashMap<Key, usize>,
}

impl Day {
    fn new(seed: u64, cache: Cache<Key, Value>) -> Self {
        let faults = Faults::seeded(seed);
        Self {
            seed,
            cache,
            rng: Rng::with_seed(!seed),
            store: MemoryStore::with_faults(faults.clone()),
            journal: Noted {
                journal: MemoryJournal::with_faults(faults.clone()),
                appended: Arc::default(),
            },
            faults,
            clock: ManualClock::new(),
            next_value: 0,
            acknowledged: HashMap::new(),
        }
    }

    fn live(mut self, seen: &mut Seen) {
        for _ in 0..=1 + self.rng.below(2) {
            self.turn_on_faults();
            let crashed = self.one_life(seen);
            seen.crashes += u64::from(crashed);
            let acks = self.rng.below(8) as usize;
            self.journal.journal.power_cut(acks);
            self.faults.restart();
        }
        // A good day at last.
        let back = self.open().unwrap();
        for key in 0..KEYS {
            self.check_reads(&back, key);
        }
        back.close().unwrap();
        assert!(self.journal.journal.is_empty(), "seed {}", self.seed);
        self.check_store();
        seen.written += self.store.writes() as u64;
        drop(back);
        // All acks of the end are lost: the same changes again, and no harm.
        self.journal.journal.power_cut(usize::MAX);
        let back = self.open().unwrap();
        back.close().unwrap();
        self.check_store();
    }

    fn turn_on_faults(&mut self) {
        let mut share = || self.rng.below(4) as f64 / 12.0;
        let (failing, uncertain, pausing) = (share(), share(), share());
        let calls = self.rng.below(40);
        let _ = self
            .faults
            .clone()
            .failing(failing)
            .uncertain(uncertain)
            .pausing(pausing)
            .crash_after(calls);
    }

    fn open(&mut self) -> Result<WriteBack<Key, Value>, BuildError> {
        // Small, so that what is dirty is evicted too.
        self.cache.invalidate_all();
        self.cache.resize(1 + self.rng.below(3) as usize);
        WriteBack::builder(self.cache.clone(), self.store.clone())
            .journal(self.journal.clone())
            .max_dirty(MAX_DIRTY)
            .batch_size(1 + self.rng.below(3) as usize)
            .when_full(if self.rng.below(3) == 0 {
                WhenFull::Refuse
            } else {
                WhenFull::Flush
            })
            .retry(Duration::from_millis(10), Duration::from_millis(100))
            .clock(self.clock.clock())
            .build()
    }

    /// From a start to a crash, or to the end of the day. Says which it was.
    fn one_life(&mut self, seen: &mut Seen) -> bool {
        let back = loop {
            match self.open() {
                Ok(back) => break back,
                Err(BuildError::Replay(_)) if self.faults.has_crashed() => return true,
                Err(BuildError::Replay(_)) => {}
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
        };
        seen.replayed += back.stats().replayed;
        // A crash may leave more keys in the journal than the buffer takes.
        let most = back.stats().dirty.max(MAX_DIRTY);
        let mut tasks: Vec<Written> = Vec::new();
        for _ in 0..60 {
            if self.faults.has_crashed() {
                break;
            }
            let chosen = self.rng.below(tasks.len() as u64) as usize;
            match self.rng.below(12) {
                0..=3 if tasks.len() < 6 => tasks.push(self.write(&back)),
                4 if tasks.len() < 6 => {
                    let back = back.clone();
                    tasks.push(Box::pin(async move {
                        let _ = back.flush_async().await;
                        Event::Flushed
                    }));
                }
                5 => self.clock.advance(Duration::from_millis(25)),
                6 => self.check_reads(&back, chosen as u64 % KEYS),
                7 if !tasks.is_empty() && self.rng.below(3) == 0 => {
                    drop(tasks.swap_remove(chosen));
                    seen.cancelled += 1;
                }
                _ if !tasks.is_empty() => {
                    if let Poll::Ready(event) = poll(tasks[chosen].as_mut()) {
                        drop(tasks.swap_remove(chosen));
                        self.note(event, seen);
                    }
                }
                _ => {}
            }
            // One may fly and be written anew: that is one key, and two records.
            assert!(back.stats().dirty <= 2 * most, "seed {}", self.seed);
        }
        seen.coalesced += back.stats().coalesced;
        self.faults.has_crashed()
    }

    fn write(&mut self, back: &WriteBack<Key, Value>) -> Written {
        let key = self.rng.below(KEYS);
        self.next_value += 1;
        let change = match self.rng.below(5) {
            0 => Change::Delete,
            _ => Change::Put(self.next_value),
        };
        let from = self.journal.appended.lock().unwrap().len();
        let back = back.clone();
        Box::pin(async move {
            let accepted = match change {
                Change::Put(value) => back.put_async(key, value).await,
                Change::Delete => back.delete_async(key).await,
            };
            Event::Put(key, change, from, accepted.is_ok())
        })
    }

    fn note(&mut self, event: Event, seen: &mut Seen) {
        let Event::Put(key, change, from, accepted) = event else {
            return;
        };
        if !accepted {
            seen.failed += 1;
            return;
        }
        seen.acknowledged += 1;
        // Deletions look alike: the first one that it may be is assumed.
        let appended = self.journal.appended.lock().unwrap();
        let place = (from..appended.len()).find(|&place| appended[place] == (key, change));
        if let Some(place) = place {
            let last = self.acknowledged.entry(key).or_insert(place);
            *last = place.max(*last);
        }
    }

    /// A reader sees the last acknowledged change or a later one.
    fn check_reads(&self, back: &WriteBack<Key, Value>, key: Key) {
        let Some(&last) = self.acknowledged.get(&key) else {
            return;
        };
        let read = back.get(&key);
        // What neither cache nor buffer holds is in the store.
        let read = match (read, back.pending(&key)) {
            (None, None) => self.store.get(&key),
            (read, _) => read,
        };
        self.assert_not_older(key, read, last, "a reader");
    }

    fn check_store(&self) {
        for (&key, &last) in &self.acknowledged {
            self.assert_not_older(key, self.store.get(&key), last, "the store");
        }
        let appended = self.journal.appended.lock().unwrap();
        let mut reached = HashMap::new();
        for (key, change) in self.store.log() {
            let from = *reached.get(&key).unwrap_or(&0);
            let entry = (key, change);
            let place = (from..appended.len()).find(|&place| appended[place] == entry);
            let Some(place) = place else {
                panic!("seed {}: {entry:?} came too late", self.seed);
            };
            reached.insert(key, place);
        }
    }

    fn assert_not_older(&self, key: Key, found: Option<Value>, last: usize, who: &str) {
        let change = found.map_or(Change::Delete, Change::Put);
        let appended = self.journal.appended.lock().unwrap();
        let is_there = appended[last..].contains(&(key, change));
        assert!(
            is_there,
            "seed {}: {who} has {change:?} under {key}, and {:?} was acknowledged",
            self.seed, appended[last]
        );
    }
}
