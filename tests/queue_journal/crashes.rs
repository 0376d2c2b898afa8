//! A write-back over a durable queue on thousands of bad days: seeds choose what callers do,
//! which calls of the store fail, and in which operation of the disk the process dies,
//! whether it is killed or the power is cut. It starts again over what is left, and may
//! die again while it does.
//!
//! What is checked: nothing acknowledged is lost, for readers and for the store; the store
//! gets the changes of a key in their order, over all lives; it ends with the last
//! acknowledged change of each key, or one that came after it and got no answer.
//!
//! `TENFOLD_SEEDS=100 cargo test --release --all-features --test queue_journal crashes` tries
//! a hundred times as many, `TENFOLD_SEED=7` one.

use std::collections::HashMap;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::support::poll;
use tenfold::cache::Cache;
use tenfold::cache::tier::PlainCodec;
use tenfold::cache::write_back::{BuildError, Journal, Record, WhenFull, WriteBack};
use tenfold::cache::writer::{Change, Faults, MemoryStore};
use tenfold::queue::storage::SimDisk;
use tenfold::queue::{OpenError, Queue};
use tenfold::queue_journal::{JournalError, QueueJournal};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SEEDS: u64 = 1500;
const KEYS: u64 = 4;
const MAX_DIRTY: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_and_no_older_value_comes_back() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let seeds = SEEDS * number("TENFOLD_SEEDS").unwrap_or(1);
    let only = number("TENFOLD_SEED");
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let share = |thread| {
            let mut seen = Seen::default();
            // One for all days: building one takes longer than a day.
            let cache = Cache::builder().max_entries(1).shards(1).seed(thread);
            let cache = cache.build().unwrap();
            for seed in (thread..seeds).step_by(threads as usize) {
                if only.is_none_or(|only| only == seed) {
                    Day::new(seed, cache.clone()).live(&mut seen);
                }
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
    if only.is_none() {
        assert!(
            seen.crashes > seeds && seen.acknowledged > 8 * seeds,
            "{seen:?}"
        );
        assert!(
            seen.replayed > seeds && seen.coalesced > seeds && seen.power_cuts > seeds / 2,
            "{seen:?}"
        );
        assert!(
            seen.died_opening > seeds / 100 && seen.failed > seeds / 2,
            "{seen:?}"
        );
    }
}

/// What happened on all days together.
#[derive(Debug, Default)]
struct Seen {
    crashes: u64,
    power_cuts: u64,
    died_opening: u64,
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
        self.power_cuts += other.power_cuts;
        self.died_opening += other.died_opening;
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
struct Noted {
    journal: QueueJournal<Key, Value, SimDisk>,
    appended: Appended,
}

type Entry = (Key, Change<Value>);
type Appended = Arc<Mutex<Vec<Entry>>>;

impl Journal<Key, Value> for Noted {
    type Error = JournalError;

    async fn append(&self, records: &[Record<Key, Value>]) -> Result<(), JournalError> {
        for record in records {
            let entry = (record.key, record.change);
            self.appended.lock().unwrap().push(entry);
        }
        self.journal.append(records).await
    }

    async fn ack(&self, sequences: &[u64]) -> Result<(), JournalError> {
        self.journal.ack(sequences).await
    }

    async fn replay(
        &self,
        show: &mut (dyn FnMut(Record<Key, Value>) + Send),
    ) -> Result<(), JournalError> {
        self.journal.replay(show).await
    }
}

struct Day {
    seed: u64,
    cache: Cache<Key, Value>,
    rng: Rng,
    faults: Faults,
    store: MemoryStore<Key, Value>,
    disk: SimDisk,
    appended: Appended,
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
            disk: SimDisk::new(seed ^ 0xd15c),
            appended: Arc::default(),
            faults,
            clock: ManualClock::new(),
            next_value: 0,
            acknowledged: HashMap::new(),
        }
    }

    fn live(mut self, seen: &mut Seen) {
        for _ in 0..=1 + self.rng.below(2) {
            let mut share = || self.rng.below(4) as f64 / 12.0;
            let (failing, uncertain, pausing) = (share(), share(), share());
            let faults = self.faults.clone();
            let _ = faults
                .failing(failing)
                .uncertain(uncertain)
                .pausing(pausing);
            let ahead = 1 + self.rng.below(100);
            self.disk.crash_at(self.disk.operations() + ahead);
            let crashed = self.one_life(seen);
            seen.crashes += u64::from(crashed);
            if self.rng.below(3) == 0 {
                self.disk.kill();
            } else {
                self.disk.power_cut();
                seen.power_cuts += 1;
            }
            self.faults.restart();
        }
        // A good day at last.
        let back = self.open().unwrap();
        for key in 0..KEYS {
            self.check_reads(&back, key);
        }
        back.close().unwrap();
        self.check_store();
        seen.written += self.store.writes() as u64;
        // One more cut, and the acks that nobody synced are gone: no harm.
        drop(back);
        self.disk.power_cut();
        let back = self.open().unwrap();
        back.close().unwrap();
        self.check_store();
    }

    fn open(&mut self) -> Result<WriteBack<Key, Value>, Failed> {
        // Small, so that what is dirty is evicted too.
        self.cache.invalidate_all();
        self.cache.resize(1 + self.rng.below(3) as usize);
        let queue = Queue::builder()
            .segments(16 << 10, 32 << 10)
            .checkpoint_every(12 << 10)
            .clock(self.clock.clock())
            .seed(self.rng.next_u64())
            .open_on(self.disk.clone())
            .map_err(Failed::Queue)?;
        assert!(queue.recovery().is_clean(), "seed {}", self.seed);
        // Of many lengths, so that records lie across sectors in many ways.
        let codec = PlainCodec::with_values(
            |value: &Value| {
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.resize(8 + *value as usize * 37 % 700, 0);
                bytes
            },
            |bytes| Some(Value::from_le_bytes(bytes.get(..8)?.try_into().ok()?)),
        );
        let journal = Noted {
            journal: QueueJournal::new(queue, codec),
            appended: Arc::clone(&self.appended),
        };
        WriteBack::builder(self.cache.clone(), self.store.clone())
            .journal(journal)
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
            .map_err(Failed::Build)
    }

    /// From a start to a crash, or to the end of the day. Says which it was.
    fn one_life(&mut self, seen: &mut Seen) -> bool {
        let back = match self.open() {
            Ok(back) => back,
            Err(error) => {
                assert!(self.disk.has_crashed(), "seed {}: {error:?}", self.seed);
                seen.died_opening += 1;
                return true;
            }
        };
        seen.replayed += back.stats().replayed;
        let mut tasks: Vec<Written> = Vec::new();
        for _ in 0..60 {
            if self.disk.has_crashed() {
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
        }
        seen.coalesced += back.stats().coalesced;
        self.disk.has_crashed()
    }

    fn write(&mut self, back: &WriteBack<Key, Value>) -> Written {
        let key = self.rng.below(KEYS);
        self.next_value += 1;
        let change = match self.rng.below(5) {
            0 => Change::Delete,
            _ => Change::Put(self.next_value),
        };
        let from = self.appended.lock().unwrap().len();
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
        let appended = self.appended.lock().unwrap();
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
        let appended = self.appended.lock().unwrap();
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
        let appended = self.appended.lock().unwrap();
        let is_there = appended[last..].contains(&(key, change));
        assert!(
            is_there,
            "seed {}: {who} has {change:?} under {key}, and {:?} was acknowledged",
            self.seed, appended[last]
        );
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "shown when a test fails")]
enum Failed {
    Queue(OpenError),
    Build(BuildError),
}
