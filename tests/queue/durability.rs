//! What each level of durability promises, alone and with others in one queue.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{block_on, in_time, poll};
use tenfold::queue::storage::SimDisk;
use tenfold::queue::{Backoff, Delivery, Durability, Message, Queue, QueueBuilder};
use tenfold::rng::Rng;
use tenfold::task::{Executor, Task};
use tenfold::time::{Clock, ManualClock};

const INTERVAL: Duration = Duration::from_millis(50);
const LEVELS: [Durability; 4] = [
    Durability::Power,
    Durability::Interval(INTERVAL),
    Durability::Process,
    Durability::Memory,
];

fn builder(level: Durability, clock: Clock) -> QueueBuilder {
    Queue::builder()
        .durability(level)
        .segments(16 << 10, 32 << 10)
        .retry(Backoff::constant(Duration::from_millis(1)))
        .clock(clock)
        .seed(7)
}

fn all(queue: &Queue<SimDisk>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(delivery) = queue.consumer().try_recv().unwrap() {
        all.push(String::from_utf8(delivery.to_vec()).unwrap());
        delivery.ack().unwrap();
    }
    all
}

/// The process is gone, and with it what a destructor would have done.
fn power_cut(disk: &SimDisk, queue: Queue<SimDisk>) {
    disk.crash_at(disk.operations() + 1);
    drop(queue);
    disk.power_cut();
}

/// A queue that was left alone for the night lost what came last before it.
#[test]
fn an_interval_is_kept_when_no_call_comes_in() {
    for seed in 0..30 {
        let (disk, time) = (SimDisk::new(seed), ManualClock::new());
        let level = Durability::Interval(INTERVAL);
        let open = || builder(level, time.clock()).open_on(disk.clone()).unwrap();
        let queue = open();
        queue.publish("one").unwrap();
        let syncs = disk.syncs();
        time.advance(INTERVAL / 2);
        queue.publish("two").unwrap();
        assert_eq!(disk.syncs(), syncs, "nobody waited for it");
        time.advance(INTERVAL / 2);
        assert_eq!(disk.syncs(), syncs + 1);
        time.advance(10 * INTERVAL);
        assert_eq!(disk.syncs(), syncs + 1, "there was nothing more to sync");
        queue.publish("three").unwrap();
        time.advance(INTERVAL);
        power_cut(&disk, queue);
        assert_eq!(all(&open()), ["one", "two", "three"]);
    }
}

#[test]
fn a_shorter_interval_of_one_call_is_kept_and_the_longer_one_after_it() {
    let (disk, time) = (SimDisk::new(1), ManualClock::new());
    let level = Durability::Interval(4 * INTERVAL);
    let queue = builder(level, time.clock()).open_on(disk.clone()).unwrap();
    queue.publish("patient").unwrap();
    let syncs = disk.syncs();
    let hasty = queue.with_durability(Durability::Interval(INTERVAL));
    hasty.publish("hasty").unwrap();
    time.advance(INTERVAL);
    assert_eq!(disk.syncs(), syncs + 1);
    queue.publish("patient again").unwrap();
    time.advance(3 * INTERVAL);
    assert_eq!(
        disk.syncs(),
        syncs + 1,
        "the alarm of before was taken back"
    );
    time.advance(INTERVAL);
    assert_eq!(disk.syncs(), syncs + 2);
}

/// What is acknowledged is to last within the interval as well.
#[test]
fn an_interval_is_kept_for_answers() {
    let (disk, time) = (SimDisk::new(2), ManualClock::new());
    let level = Durability::Interval(INTERVAL);
    let open = || builder(level, time.clock()).open_on(disk.clone()).unwrap();
    let queue = open();
    queue.publish("done").unwrap();
    queue.publish("not done").unwrap();
    time.advance(INTERVAL);
    queue.consumer().recv().unwrap().ack().unwrap();
    time.advance(INTERVAL);
    power_cut(&disk, queue);
    assert_eq!(all(&open()), ["not done"]);
}

#[test]
fn a_queue_that_is_dropped_syncs_what_would_have_been_synced_in_a_while() {
    for (level, kept) in [
        (Durability::Interval(INTERVAL), true),
        (Durability::Process, false),
    ] {
        let disk = SimDisk::new(3);
        let time = ManualClock::new();
        let queue = builder(level, time.clock()).open_on(disk.clone()).unwrap();
        queue.publish("a").unwrap();
        let syncs = disk.syncs();
        drop(queue);
        assert_eq!(disk.syncs() > syncs, kept);
        // No alarm is left that would ring for nobody.
        time.advance(10 * INTERVAL);
        assert_eq!(disk.syncs() > syncs, kept);
    }
}

/// On the system's clock a thread of the queue's own syncs; it ends with the queue, so
/// that the next one can open the directory at once.
#[test]
fn a_thread_of_the_queues_own_syncs_and_ends_with_it() {
    in_time(|| {
        let disk = SimDisk::new(4);
        for round in 1..20 {
            let level = Durability::Interval(Duration::from_micros(100));
            let queue = builder(level, Clock::default()).open_on(disk.clone());
            let queue = queue.expect("nobody else has it any more");
            let syncs = disk.syncs();
            queue.publish(round.to_string()).unwrap();
            if round % 2 == 0 {
                while disk.syncs() == syncs {
                    std::thread::yield_now();
                }
            }
            drop(queue);
        }
    });
}

#[test]
fn an_executor_syncs_where_there_is_one() {
    let (disk, time) = (SimDisk::new(5), ManualClock::new());
    let (sent, tasks) = mpsc::channel::<Task>();
    let executor = Executor::new(move |task| sent.send(task).map_err(|refused| refused.0));
    let level = Durability::Interval(INTERVAL);
    let builder = builder(level, time.clock()).executor(executor);
    let queue = builder.open_on(disk.clone()).unwrap();
    queue.publish("a").unwrap();
    let syncs = disk.syncs();
    time.advance(INTERVAL);
    assert_eq!(disk.syncs(), syncs, "not by who turns the clock");
    tasks.try_recv().expect("a task").run();
    assert_eq!(disk.syncs(), syncs + 1);
    // One that is run when the queue is gone finds nothing to do.
    queue.publish("b").unwrap();
    time.advance(INTERVAL);
    drop(queue);
    let syncs = disk.syncs();
    tasks.try_recv().expect("a task").run();
    assert_eq!(disk.syncs(), syncs);
}

#[test]
fn a_call_waits_for_what_its_own_level_says() {
    for level in LEVELS {
        let disk = SimDisk::new(6);
        let time = ManualClock::new();
        let queue = builder(level, time.clock()).open_on(disk.clone()).unwrap();
        let batch = ["a".into(), "b".into()];
        for call in LEVELS {
            let handle = queue.with_durability(call);
            let (before, syncs) = (disk.operations(), disk.syncs());
            handle.publish_batch(&batch).unwrap();
            block_on(handle.publish_batch_async(&batch)).unwrap();
            handle.try_publish("c").unwrap();
            block_on(handle.clone().publish_async("d")).unwrap();
            let (operations, synced) = (disk.operations() - before, disk.syncs() - syncs);
            match call {
                Durability::Power => assert_eq!(synced, 4),
                Durability::Memory => assert_eq!(operations, 0),
                _ => assert!(operations >= 4 && synced == 0),
            }
        }
        assert_eq!(queue.stats().published, 24);
    }
}

/// Its publisher may have gone, with nothing written yet: it is still the level of the
/// call that says what a consumer may see.
#[test]
fn nobody_sees_a_message_of_a_stronger_call_before_it_is_as_safe_as_that_says() {
    for (seed, level) in (0..30).flat_map(|seed| LEVELS.map(|level| (seed, level))) {
        let (disk, time) = (SimDisk::new(seed), ManualClock::new());
        let (sent, tasks) = mpsc::channel::<Task>();
        let executor = Executor::new(move |task| sent.send(task).map_err(|refused| refused.0));
        let open = |builder: QueueBuilder| builder.open_on(disk.clone()).unwrap();
        let queue = open(builder(level, time.clock()).executor(executor));
        let handle = queue.with_durability(Durability::Power);
        // Somebody is about to write already, who has never heard of it.
        let weaker = queue.with_durability(Durability::Process);
        let mut before = Box::pin(weaker.publish_async("before"));
        assert!(poll(before.as_mut()).is_pending());
        let mut publish = Box::pin(handle.publish_async("a"));
        assert!(poll(publish.as_mut()).is_pending(), "it is staged");
        drop((before, publish));
        drop(tasks.try_recv().expect("who was to write it"));
        let seen = queue.consumer().recv_batch(2).unwrap();
        assert_eq!(seen.len(), 2);
        disk.crash_at(disk.operations() + 1);
        drop((seen, handle, weaker, queue));
        disk.power_cut();
        time.advance(INTERVAL);
        assert_eq!(all(&open(builder(level, time.clock()))), ["before", "a"]);
    }
}

/// Every level in every queue, on many bad days.
#[test]
fn no_level_in_no_queue_takes_back_what_it_confirmed_or_what_somebody_saw() {
    let seeds = std::env::var("TENFOLD_SEEDS").map_or(1, |n| n.parse::<u64>().unwrap());
    let mut seen = Seen::default();
    for seed in 0..800 * seeds {
        Day::new(seed).live(&mut seen);
    }
    println!("{seen:?}");
    assert!(
        seen.kept > 1000 && seen.lost > 100 && seen.delivered > 1000,
        "{seen:?}"
    );
}

#[derive(Debug, Default)]
struct Seen {
    /// Messages that had to be there after a crash.
    kept: u64,
    /// Messages that were allowed to be gone, and were.
    lost: u64,
    /// Messages that somebody saw.
    delivered: u64,
}

/// What a message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Safe {
    No,
    Kill,
    Power,
}

fn safe(level: Durability) -> Safe {
    match level {
        Durability::Power => Safe::Power,
        Durability::Memory => Safe::No,
        _ => Safe::Kill,
    }
}

struct Promise {
    call: Durability,
    safe: Safe,
    /// When it survives power cuts as well.
    by: Option<Duration>,
    done: bool,
}

struct Day {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    time: ManualClock,
    now: Duration,
    level: Durability,
    promises: BTreeMap<u64, Promise>,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            seed,
            disk: SimDisk::new(rng.next_u64()),
            time: ManualClock::new(),
            now: Duration::ZERO,
            level: LEVELS[rng.below(4) as usize],
            promises: BTreeMap::new(),
            rng,
        }
    }

    fn open(&self) -> Queue<SimDisk> {
        let builder = builder(self.level, self.time.clock()).max_deliver(1000);
        builder.open_on(self.disk.clone()).unwrap()
    }

    fn live(&mut self, seen: &mut Seen) {
        for _ in 0..3 {
            let queue = self.open();
            self.check(&queue, seen);
            let mut held = Vec::new();
            for _ in 0..self.rng.below(25) {
                match self.rng.below(8) {
                    0..4 => self.publish(&queue),
                    4 => self.pass(),
                    5 | 6 => held.extend(self.receive(&queue, seen)),
                    _ => {
                        if let Some(delivery) = held.pop() {
                            self.answer(delivery);
                        }
                    }
                }
            }
            self.crash(queue, held);
        }
        let queue = self.open();
        self.check(&queue, seen);
    }

    fn publish(&mut self, queue: &Queue<SimDisk>) {
        let call = LEVELS[self.rng.below(4) as usize];
        let first = self.promises.len() as u64;
        let numbers = first..first + 1 + self.rng.below(3);
        let delay = self.rng.below(2) * self.rng.below(30);
        let message = |number: u64| {
            Message::new(number.to_le_bytes().to_vec()).delay(Duration::from_millis(delay))
        };
        let batch: Vec<_> = numbers.clone().map(message).collect();
        let handle = queue.with_durability(call);
        let published = if self.rng.below(2) == 0 {
            handle.publish_batch(&batch)
        } else {
            block_on(handle.publish_batch_async(&batch))
        };
        published.unwrap();
        let by = match call {
            Durability::Interval(interval) => Some(self.now + interval),
            _ => None,
        };
        // One log: what is safe makes all before it as safe.
        for promise in self.promises.values_mut() {
            promise.safe = promise.safe.max(safe(call));
        }
        let promise = |number| {
            (
                number,
                Promise {
                    call,
                    safe: safe(call),
                    by,
                    done: false,
                },
            )
        };
        self.promises.extend(numbers.map(promise));
    }

    fn pass(&mut self) {
        let time = Duration::from_millis(self.rng.below(40));
        self.now += time;
        self.time.advance(time);
        let now = self.now;
        let is_due = |promise: &Promise| promise.by.is_some_and(|by| by <= now);
        let mut due = self.promises.iter().filter(|(_, promise)| is_due(promise));
        // And all before it: there is one log.
        if let Some((last, _)) = due.next_back() {
            let kept = ..=*last;
            for (_, promise) in self.promises.range_mut(kept) {
                promise.safe = Safe::Power;
            }
        }
    }

    fn receive(&mut self, queue: &Queue<SimDisk>, seen: &mut Seen) -> Option<Delivery<SimDisk>> {
        let delivery = queue.consumer().try_recv().unwrap()?;
        let promise = self
            .promises
            .get_mut(&number(&delivery))
            .expect("published");
        // As safe as the call's level, and the queue's, say.
        promise.safe = promise.safe.max(safe(promise.call)).max(safe(self.level));
        promise.safe = promise.safe.max(Safe::Kill);
        seen.delivered += 1;
        Some(delivery)
    }

    fn answer(&mut self, delivery: Delivery<SimDisk>) {
        let number = number(&delivery);
        if self.rng.below(2) == 0 {
            delivery.ack_durable().unwrap();
            self.promises.get_mut(&number).unwrap().done = true;
        } else {
            delivery.nack_in(Duration::ZERO).unwrap();
        }
    }

    fn crash(&mut self, queue: Queue<SimDisk>, held: Vec<Delivery<SimDisk>>) {
        self.disk.crash_at(self.disk.operations() + 1);
        drop((queue, held));
        let survives = if self.rng.below(2) == 0 {
            self.disk.kill();
            Safe::Kill
        } else {
            self.disk.power_cut();
            Safe::Power
        };
        for promise in self.promises.values_mut() {
            if promise.safe < survives {
                promise.safe = Safe::No;
            }
            promise.by = None;
        }
    }

    /// What is there is safe from now on.
    fn check(&mut self, queue: &Queue<SimDisk>, seen: &mut Seen) {
        self.time.advance(Duration::from_secs(60));
        self.now += Duration::from_secs(60);
        let mut held = Vec::new();
        let consumer = queue.consumer();
        while let Some(delivery) = consumer.try_recv().unwrap() {
            held.push(delivery);
        }
        let found: Vec<u64> = held.iter().map(number).collect();
        for (number, promise) in &mut self.promises {
            let (day, call) = (self.seed, promise.call);
            let is_there = found.contains(number);
            if promise.done {
                assert!(!is_there, "seed {day}: {number} came back");
            } else if promise.safe > Safe::No {
                assert!(is_there, "seed {day}: {number}, {call:?}, is lost");
                seen.kept += 1;
            } else {
                seen.lost += u64::from(!is_there);
            }
            // What is gone stays gone: nothing is asked of it any more.
            promise.done |= !is_there;
            promise.safe = Safe::Power;
        }
        for delivery in held {
            delivery.nack_in(Duration::ZERO).unwrap();
        }
    }
}

fn number(delivery: &Delivery<SimDisk>) -> u64 {
    u64::from_le_bytes(delivery[..8].try_into().unwrap())
}
