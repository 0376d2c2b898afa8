//! The queue on ten thousand bad days: seeds choose what callers do, in which
//! operation of the disk the process dies, whether it is killed or the power is cut,
//! and which syncs fail. It is opened again over what is left, and may die again while
//! it is being opened.
//!
//! What is checked: no message whose publish returned is lost, nor one that somebody
//! has seen; nothing is delivered that was never published; what was durably
//! acknowledged does not come again; nothing comes twice within one life.
//!
//! `TENFOLD_SEEDS=100 cargo test --release --all-features --test queue crashes` tries
//! a hundred times as many, `TENFOLD_SEED=7` one.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::time::Duration;

use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{
    Backoff, Delivery, Durability, Message, OpenError, Priority, Queue, QueueBuilder,
};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const CRASHES: u64 = 10_000;
/// Crashes in a life.
const PER_LIFE: u64 = 3;
const LONG: u64 = 10;

#[test]
fn nothing_confirmed_is_lost_and_nothing_done_comes_back() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let crashes = CRASHES * number("TENFOLD_SEEDS").unwrap_or(1);
    let seeds = crashes.div_ceil(PER_LIFE);
    let only = number("TENFOLD_SEED");
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let share = |thread: u64| {
            let mut seen = Seen::default();
            for seed in (thread..seeds).step_by(threads as usize) {
                if only.is_none_or(|only| only == seed) {
                    Day::new(seed).live(&mut seen);
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
            seen.crashes >= crashes && seen.confirmed > seen.crashes,
            "{seen:?}"
        );
        assert!(
            seen.delivered > seen.crashes && seen.acked > seen.crashes / 2,
            "{seen:?}"
        );
        assert!(seen.moved > seen.crashes / 2, "{seen:?}");
        assert!(
            seen.died_opening > 100 && seen.power_cuts > seen.crashes / 3,
            "{seen:?}"
        );
    }
}

/// Days that went wrong once.
#[test]
fn the_days_that_went_wrong_go_well() {
    Day::new(22_803).live(&mut Seen::default());
}

/// A group that nobody had synced lost its messages and kept an ack behind them. The
/// opening skipped their numbers; a checkpoint right behind that still began before
/// them, and the next opening took them for lost.
#[test]
fn a_checkpoint_behind_skipped_numbers_goes_on_behind_them() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let open = |durability| {
        let builder = Queue::builder().durability(durability).clock(clock.clock());
        builder.seed(1).open_on(disk.clone()).unwrap()
    };
    let queue = open(Durability::Process);
    queue.publish("kept").unwrap();
    queue.flush().unwrap();
    let delivery = queue.consumer().recv().unwrap();
    queue.publish("torn").unwrap();
    queue.publish("torn as well").unwrap();
    delivery.nack_in(Duration::ZERO).unwrap();
    queue.flush().unwrap();
    disk.crash_at(disk.operations() + 1);
    drop(queue);
    disk.kill();
    let name = "000000000001.segment";
    let mut bytes = disk.contents(name).unwrap();
    for text in [&b"torn\0"[..], b"torn as well"] {
        let at = bytes.windows(text.len()).position(|w| w == text).unwrap();
        bytes[at] ^= 1;
    }
    disk.set_contents(name, &bytes);

    let queue = open(Durability::Power);
    assert!(queue.recovery().is_clean() && queue.recovery().torn.is_some());
    queue.checkpoint().unwrap();
    assert_eq!(queue.publish("next").unwrap().id, 4);
    queue.publish("vouches for it").unwrap();
    drop(queue);
    disk.kill();
    let queue = open(Durability::Power);
    assert!(queue.recovery().is_clean(), "{}", queue.recovery());
    assert_eq!((queue.stats().lost, queue.stats().pending), (0, 3));
}

#[derive(Debug, Default)]
struct Seen {
    crashes: u64,
    power_cuts: u64,
    died_opening: u64,
    confirmed: u64,
    delivered: u64,
    acked: u64,
    checkpoints: u64,
    moved: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.died_opening += other.died_opening;
        self.confirmed += other.confirmed;
        self.delivered += other.delivered;
        self.acked += other.acked;
        self.checkpoints += other.checkpoints;
        self.moved += other.moved;
    }
}

/// What is promised of a message. Every message has a number of its own in its bytes.
#[derive(Debug, Clone, Copy, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a promise of its own"
)]
struct Promise {
    /// It survives a kill, and a power cut.
    written: bool,
    durable: bool,
    /// It may be gone, and it must be.
    acked: bool,
    acked_durably: bool,
}

struct Day {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    clock: ManualClock,
    durability: Durability,
    dedup_ids: BTreeMap<u64, u64>,
    next: u64,
    promises: BTreeMap<u64, Promise>,
    syncs_fail: bool,
    is_long: bool,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(rng.next_u64());
        disk.set_short_writes(rng.below(4) == 0);
        let durability = match rng.below(6) {
            0 => Durability::Process,
            1 => Durability::Interval(Duration::from_millis(20)),
            2 => Durability::Memory,
            _ => Durability::Power,
        };
        Self {
            seed,
            disk,
            clock: ManualClock::new(),
            durability,
            dedup_ids: BTreeMap::new(),
            next: 1,
            promises: BTreeMap::new(),
            syncs_fail: false,
            is_long: seed.is_multiple_of(5),
            rng,
        }
    }

    fn builder(&mut self) -> QueueBuilder {
        Queue::builder()
            .durability(self.durability)
            .segments(16 << 10, 32 << 10)
            .checkpoint_every(12 << 10)
            .tail(4 << 10)
            .visibility(Duration::from_secs(5))
            .retry(Backoff::exponential(
                Duration::from_secs(1),
                Duration::from_secs(8),
            ))
            .max_deliver(1000)
            .dedup_window(Duration::from_secs(3600))
            .clock(self.clock.clock())
            .seed(self.rng.next_u64())
    }

    fn live(&mut self, seen: &mut Seen) {
        // Some go on for so long that segments are emptied, given up and used again.
        let crashes = if self.is_long { LONG } else { PER_LIFE };
        for _ in 0..crashes {
            let ahead = match self.rng.below(3) {
                0 => 1 + self.rng.below(12),
                _ => 1 + self.rng.below(150),
            };
            self.disk.crash_at(self.disk.operations() + ahead);
            self.syncs_fail = self.rng.below(10) == 0;
            if self.syncs_fail {
                self.disk.fail_syncs(1 + self.rng.below(2) as u32);
            }
            match self.builder().open_on(self.disk.clone()) {
                Ok(queue) => {
                    assert!(
                        queue.recovery().is_clean(),
                        "seed {}: {}",
                        self.seed,
                        queue.recovery()
                    );
                    self.work(&queue, seen);
                }
                Err(OpenError::Io(_)) => seen.died_opening += 1,
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
            self.crash(seen);
        }
        self.disk.fail_syncs(0);
        self.check();
    }

    fn work(&mut self, queue: &Queue<SimDisk>, seen: &mut Seen) {
        let mut held: Vec<Delivery<SimDisk>> = Vec::new();
        let mut seen_now: BTreeSet<u64> = BTreeSet::new();
        let consumer = queue.consumer();
        for _ in 0..self.rng.below(50) {
            if self.disk.has_crashed() {
                break;
            }
            match self.rng.below(20) {
                0 => self
                    .clock
                    .advance(Duration::from_millis(self.rng.below(7000))),
                1 | 2 if self.is_long => {
                    seen.checkpoints += u64::from(queue.checkpoint().is_ok());
                }
                1 => {
                    seen.checkpoints += u64::from(queue.checkpoint().is_ok());
                }
                2..9 => self.publish(queue, seen),
                9..14 => {
                    let Ok(Some(delivery)) = consumer.try_recv() else {
                        continue;
                    };
                    seen.delivered += 1;
                    let message = number(&delivery);
                    if delivery.attempt() == 1 && !self.syncs_fail {
                        assert!(seen_now.insert(message), "seed {}: twice", self.seed);
                    }
                    self.deliver(message, delivery.payload());
                    held.push(delivery);
                }
                _ if held.is_empty() => {}
                choice => {
                    let index = self.rng.below(held.len() as u64) as usize;
                    let delivery = held.swap_remove(index);
                    self.answer(delivery, choice, seen);
                }
            }
        }
        seen.moved += queue.stats().moved;
        // What is still held dies with the process.
        self.disk.crash_at(self.disk.operations() + 1);
        drop(held);
    }

    fn publish(&mut self, queue: &Queue<SimDisk>, seen: &mut Seen) {
        let count = 1 + self.rng.below(3);
        let mut numbers = Vec::new();
        let messages: Vec<_> = (0..count)
            .map(|_| {
                let number = self.next;
                self.next += 1;
                numbers.push(number);
                self.promises.insert(number, Promise::default());
                let mut bytes = number.to_le_bytes().to_vec();
                let len = match self.rng.below(12) {
                    0 => self.rng.below(5000),
                    _ => self.rng.below(200),
                };
                bytes.resize(8 + len as usize, number as u8);
                let mut message = Message::new(bytes);
                if self.rng.below(6) == 0 {
                    message = message.delay(Duration::from_millis(self.rng.below(9000)));
                }
                if self.rng.below(6) == 0 {
                    message = message.priority(Priority::new(self.rng.below(8) as u8));
                }
                if self.rng.below(6) == 0 {
                    message = message.dedup_id(number.to_le_bytes());
                }
                message
            })
            .collect();
        let Ok(published) = queue.publish_batch(&messages) else {
            return;
        };
        for (number, published) in numbers.iter().zip(&published) {
            assert!(!published.duplicate);
            self.confirm(*number);
            seen.confirmed += 1;
        }
        // Published again, it is known, or was never taken.
        if let Some(index) = messages
            .iter()
            .position(|m| self.rng.below(2) == 0 && has_id(m))
            && let Ok(again) = queue.publish(messages[index].clone())
        {
            assert!(
                again.duplicate && again.id == published[index].id,
                "seed {}",
                self.seed
            );
            self.dedup_ids.insert(numbers[index], published[index].id);
        }
    }

    fn confirm(&mut self, number: u64) {
        let promise = self.promises.get_mut(&number).unwrap();
        match self.durability {
            Durability::Power => (promise.written, promise.durable) = (true, true),
            Durability::Memory => {}
            _ => promise.written = true,
        }
    }

    /// What somebody has seen is as safe as the level says.
    fn deliver(&mut self, number: u64, bytes: &[u8]) {
        let promise = self.promises.get_mut(&number).expect("nobody published it");
        assert!(
            !promise.acked_durably,
            "seed {}: {number} came back",
            self.seed
        );
        assert!(bytes[8..].iter().all(|byte| *byte == number as u8));
        promise.acked = false;
        promise.written = true;
        promise.durable |= self.durability == Durability::Power;
    }

    fn answer(&mut self, delivery: Delivery<SimDisk>, choice: u64, seen: &mut Seen) {
        let number = number(&delivery);
        let promise = self.promises.get_mut(&number).unwrap();
        match choice {
            14 | 15 => {
                promise.acked = true;
                seen.acked += u64::from(delivery.ack().is_ok());
            }
            16 => {
                promise.acked = true;
                if delivery.ack_durable().is_ok() {
                    promise.acked_durably = true;
                    seen.acked += 1;
                }
            }
            17 => drop(delivery.nack_in(Duration::from_millis(self.rng.below(3000)))),
            18 => drop(delivery.reject("on purpose")),
            _ => drop(delivery),
        }
    }

    fn crash(&mut self, seen: &mut Seen) {
        seen.crashes += 1;
        let is_kill = self.rng.below(3) == 0;
        if is_kill {
            self.disk.kill();
        } else {
            seen.power_cuts += 1;
            self.disk.power_cut();
        }
        if !is_kill || self.syncs_fail {
            for promise in self.promises.values_mut() {
                promise.written = promise.durable;
            }
        }
    }

    /// Drains the queue after all, and again after one more cut.
    fn check(&mut self) {
        let queue = self.builder().open_on(self.disk.clone()).unwrap();
        let mut found = BTreeSet::new();
        let mut held = Vec::new();
        let consumer = queue.consumer();
        self.clock.advance(Duration::from_secs(60));
        while let Some(delivery) = consumer.try_recv().unwrap() {
            let number = number(&delivery);
            self.deliver(number, delivery.payload());
            assert!(
                found.insert(number),
                "seed {}: {number} comes twice",
                self.seed
            );
            held.push(delivery);
        }
        let dead = queue.dead_letters();
        for letter in dead.list() {
            let bytes = dead.read(letter.id).unwrap().expect("it is not lost");
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert!(
                found.insert(number),
                "seed {}: {number} is dead and alive",
                self.seed
            );
        }
        for (number, promise) in &self.promises {
            let wanted = promise.written && !promise.acked;
            assert!(
                found.contains(number) || !wanted,
                "seed {}: {number} is lost: {promise:?}",
                self.seed
            );
        }
        let stats = queue.stats();
        assert_eq!(
            stats.pending,
            found.len() as u64,
            "seed {}: {stats}",
            self.seed
        );
        assert_eq!(stats.lost, 0, "seed {}", self.seed);
        // Even one that dies now takes nothing of this back.
        self.disk.crash_at(self.disk.operations() + 1);
        drop((held, consumer, dead, queue));
        self.disk.power_cut();
        let queue = self.builder().open_on(self.disk.clone()).unwrap();
        assert_eq!(
            queue.stats().pending,
            found.len() as u64,
            "seed {}",
            self.seed
        );
        queue.close().unwrap();
        drop(queue);
        let queue = self.builder().open_on(self.disk.clone()).unwrap();
        assert_eq!(queue.stats().pending, found.len() as u64);
        assert_eq!(queue.recovery().records, 0, "it was closed properly");
        assert!(self.disk.list().unwrap().len() < 60, "files pile up");
    }
}

fn number(delivery: &Delivery<SimDisk>) -> u64 {
    u64::from_le_bytes(delivery[..8].try_into().unwrap())
}

fn has_id(message: &Message) -> bool {
    format!("{message:?}").contains("dedup_id: Some")
}
