//! What a queue takes on the disk, whatever is done to it: twice what is live, and six
//! segments; and while it is at it, what was logged since the older checkpoint.
//!
//! `TENFOLD_SEEDS=50 cargo test --release --all-features --test queue space` does fifty
//! times as much.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::in_time;
use tenfold::queue::storage::{Disk, DiskFile, LockError, SimDisk, SimFile, SimLock};
use tenfold::queue::{
    Backoff, Delivery, Durability, Message, Priority, Queue, QueueBuilder, Start,
};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const SMALLEST: u64 = 16 << 10;
const SEGMENT: u64 = 32 << 10;

struct Bench {
    disk: SimDisk,
    clock: ManualClock,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            clock: ManualClock::new(),
        }
    }

    fn builder(&self) -> QueueBuilder {
        Queue::builder()
            .segments(SMALLEST, SEGMENT)
            .checkpoint_every(SEGMENT)
            .visibility(1000 * SECOND)
            .retry(Backoff::constant(SECOND))
            .max_deliver(u32::MAX)
            .clock(self.clock.clock())
            .seed(5)
    }

    fn open(&self) -> Queue<SimDisk> {
        self.builder().open_on(self.disk.clone()).unwrap()
    }

    /// The process dies, and the power goes.
    fn cut(&self, queue: Queue<SimDisk>) {
        self.disk.crash_at(self.disk.operations() + 1);
        drop(queue);
        self.disk.power_cut();
    }

    fn damage(&self, names: impl Fn(&str) -> bool) {
        for name in self.disk.list().unwrap().iter().filter(|name| names(name)) {
            self.disk.set_contents(name, b"rubbish");
        }
    }

    /// In the middle of a storm, with what was logged since the older checkpoint, and
    /// the room that is kept for the next opening.
    #[track_caller]
    fn assert_near(&self, queue: &Queue<SimDisk>, live: u64) {
        self.assert_below(queue, 2 * live + 8 * SEGMENT + SMALLEST);
    }

    /// After it.
    #[track_caller]
    fn assert_bounded(&self, queue: &Queue<SimDisk>, live: u64) {
        for _ in 0..8 {
            queue.checkpoint().unwrap();
        }
        self.assert_below(queue, 2 * live + 6 * SEGMENT);
    }

    #[track_caller]
    fn assert_below(&self, queue: &Queue<SimDisk>, bound: u64) {
        let used = self.disk.used();
        let names = self.disk.list().unwrap();
        let stats = queue.stats();
        assert!(used <= bound, "{used} > {bound}: {stats:?} {names:#?}");
    }
}

fn times() -> u64 {
    std::env::var("TENFOLD_SEEDS").map_or(1, |times| times.parse().unwrap())
}

/// Bytes of a message's record.
fn size(payload: u64) -> u64 {
    (24 + payload).next_multiple_of(8)
}

/// What two checkpoints have of a message that failed, and was moved.
const NOTED: u64 = 2 * (24 + 16);

fn ids(deliveries: &[Delivery<SimDisk>]) -> Vec<u64> {
    deliveries.iter().map(Delivery::id).collect()
}

/// Ten thousand jobs that were put off again and again took 265 GB.
#[test]
fn messages_put_off_again_and_again_take_twice_their_bytes() {
    let bench = Bench::new(1);
    let queue = bench.open();
    // As many as one may have in flight, at most.
    let messages = 2000 * times().min(5);
    let batch: Vec<Message> = (0..100).map(|n| format!("{n:0100}").into()).collect();
    let consumer = queue.consumer();
    for _ in 0..messages / 100 {
        queue.publish_batch(&batch).unwrap();
        // Their records lie between the messages.
        for delivery in consumer.recv_batch(100).unwrap() {
            delivery.nack_in(SECOND).unwrap();
        }
    }
    for _ in 0..20 {
        bench.clock.advance(2 * SECOND);
        for delivery in consumer.recv_batch(messages as usize).unwrap() {
            delivery.nack_in(SECOND).unwrap();
        }
        bench.assert_near(&queue, messages * (size(100) + NOTED));
    }
    bench.assert_bounded(&queue, messages * (size(100) + NOTED));
    let stats = queue.stats();
    assert_eq!((stats.pending, stats.nacked), (messages, 21 * messages));
    assert!(stats.moved > 0, "{stats:?}");
    bench.clock.advance(2 * SECOND);
    let all = consumer.recv_batch(messages as usize).unwrap();
    assert_eq!(ids(&all), (1..=messages).collect::<Vec<_>>());
    assert!(all.iter().all(|d| d.len() == 100 && d.attempt() == 22));
}

/// One message that nobody acknowledged kept all segments behind it.
#[test]
fn one_old_message_keeps_its_own_bytes_and_no_more() {
    let bench = Bench::new(2);
    let queue = bench.open();
    let consumer = queue.consumer();
    queue.publish("old").unwrap();
    let old = consumer.recv().unwrap();
    for _ in 0..50 {
        for n in 0..100 {
            queue.publish(format!("{n:0100}")).unwrap();
        }
        consumer.ack_all(consumer.recv_batch(100).unwrap()).unwrap();
        bench.assert_near(&queue, size(3));
    }
    bench.assert_bounded(&queue, size(3));
    let stats = queue.stats();
    assert!((1..50).contains(&stats.moved), "{stats:?}");
    assert_eq!(stats.pending, 1);
    drop(consumer);
    old.nack_in(Duration::ZERO).unwrap();
    let again = queue.consumer().recv().unwrap();
    assert_eq!((again.id(), &again[..]), (1, &b"old"[..]));
    again.ack_durable().unwrap();
    bench.cut(queue);
    assert_eq!(bench.open().stats().pending, 0);
}

/// Dead letters that nobody removes, each among messages that are done.
#[test]
fn dead_letters_that_stay_for_ever_keep_their_own_bytes() {
    let bench = Bench::new(3);
    let queue = bench.open();
    let consumer = queue.consumer();
    for n in 0..4000u64 {
        queue.publish(format!("{n:0100}")).unwrap();
        let delivery = consumer.recv().unwrap();
        if n % 50 == 0 {
            delivery.reject("for ever").unwrap();
        } else {
            delivery.ack().unwrap();
        }
    }
    let dead = queue.stats().dead;
    assert_eq!(dead, 80);
    bench.assert_bounded(&queue, dead * (size(100) + NOTED));
    drop(consumer);
    queue.close().unwrap();
    drop(queue);
    let queue = bench.open();
    let dead = queue.dead_letters();
    for letter in dead.list() {
        let payload = dead.read(letter.id).unwrap().unwrap();
        assert_eq!(payload, format!("{:0100}", letter.id - 1));
    }
    assert_eq!(dead.redrive(1..=4000).unwrap(), 80);
    let again = queue.consumer().recv_batch(100).unwrap();
    let every_fiftieth: Vec<u64> = (0..4000).step_by(50).map(|n| n + 1).collect();
    assert_eq!(ids(&again), every_fiftieth);
}

/// Each start, and each change of settings, left segments behind.
#[test]
fn a_queue_that_is_opened_again_and_again_does_not_grow() {
    let bench = Bench::new(4);
    for n in 0..100u64 {
        let builder = bench.builder();
        let builder = match n % 3 {
            0 => builder.visibility(SECOND).max_deliver(1000),
            1 => builder.segments(16 << 10, 16 << 10).max_pending(500),
            _ => builder.dedup_window(SECOND),
        };
        let queue = builder.open_on(bench.disk.clone()).unwrap();
        queue.publish(format!("{n:0100}")).unwrap();
        queue.consumer().recv().unwrap().nack_in(SECOND).unwrap();
        if n % 2 == 0 {
            queue.checkpoint().unwrap();
            bench.cut(queue);
        } else {
            queue.close().unwrap();
        }
    }
    let queue = bench.open();
    assert_eq!(queue.stats().pending, 100);
    bench.assert_bounded(&queue, 100 * (size(100) + NOTED));
}

/// What is live was told by how many messages are, and the large ones were done.
#[test]
fn it_is_bytes_that_count_and_not_messages() {
    let bench = Bench::new(9);
    let queue = bench.open();
    for n in 0..1100u64 {
        let payload = if n % 11 == 0 { 8000 } else { 200 };
        queue.publish(vec![1; payload]).unwrap();
    }
    let all = queue.consumer().recv_batch(1100).unwrap();
    let (large, small): (Vec<_>, Vec<_>) = all.into_iter().partition(|d| d.len() == 8000);
    queue.consumer().ack_all(large).unwrap();
    assert_eq!(small.len(), 1000);
    // One segment is read at a time.
    for _ in 0..60 {
        queue.checkpoint().unwrap();
    }
    bench.assert_bounded(&queue, 1000 * (size(218) + NOTED));
    std::mem::forget(small);
}

/// Any operations, sizes and orders of answers.
#[test]
fn whatever_is_answered_in_whatever_order_space_is_bounded() {
    for seed in 0..30 * times() {
        let mut rng = Rng::with_seed(seed);
        let bench = Bench::new(seed);
        let queue = bench.open();
        let consumer = queue.consumer();
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        let mut held = Vec::new();
        // A few large ones among small ones, or the other way round.
        let (often, seldom) = if rng.below(2) == 0 {
            (60, 6000)
        } else {
            (2000, 10)
        };
        for _ in 0..600 {
            bench.clock.advance(Duration::from_millis(rng.below(300)));
            let payload = match rng.below(8) {
                0 => seldom,
                _ => rng.below(often),
            };
            let mut message = Message::new(vec![1; payload as usize]);
            if rng.below(4) == 0 {
                message = message.delay(Duration::from_millis(rng.below(5000)));
            }
            if rng.below(4) == 0 {
                message = message.priority(Priority::new(rng.below(8) as u8));
            }
            live.insert(queue.publish(message).unwrap().id, payload);
            held.extend(consumer.try_recv().unwrap());
            if held.len() > 40 || rng.below(3) == 0 && !held.is_empty() {
                let delivery: Delivery<_> = held.swap_remove(rng.below(held.len() as u64) as usize);
                // Large ones sooner than others, so that what is live has another size
                // than what was.
                let is_large = live[&delivery.id()] > 1000;
                match rng.below(8) {
                    0 if !is_large => drop(delivery.reject("on purpose")),
                    1 | 2 if !is_large => drop(delivery.nack_in(SECOND)),
                    _ => {
                        live.remove(&delivery.id());
                        delivery.ack().unwrap();
                    }
                }
            }
        }
        // A record of a message that was moved is longer.
        let bytes = live
            .values()
            .map(|payload| size(payload + 18) + NOTED)
            .sum();
        bench.assert_bounded(&queue, bytes);
        assert_eq!(queue.stats().pending, live.len() as u64);
        drop((held, consumer));
        bench.cut(queue);
        bench.clock.advance(2000 * SECOND);
        let queue = bench.open();
        let dead = queue.dead_letters();
        dead.redrive(1..1000).unwrap();
        let all = queue.consumer().recv_batch(1000).unwrap();
        let found: BTreeSet<(u64, u64)> = all.iter().map(|d| (d.id(), d.len() as u64)).collect();
        assert_eq!(found, live.into_iter().collect(), "seed {seed}");
    }
}

/// Messages before them.
const FRONT: u64 = 15;

/// Sparse segments of all that there is: groups, priorities, delays, dead and lent
/// messages.
fn scattered(bench: &Bench) -> Queue<SimDisk> {
    let queue = bench.open();
    queue.group("other", Start::Earliest).unwrap();
    let consumer = queue.consumer();
    let front = Message::new(vec![1; 2000]).delay(1_000_000 * SECOND);
    // A segment that stays, so that there are gaps in the middle.
    for _ in 0..FRONT {
        queue.publish(front.clone()).unwrap();
    }
    let other = queue.group("other", Start::Earliest).unwrap();
    for n in 0..1200u64 {
        let mut message = Message::new(format!("{n:0100}"));
        match n % 60 {
            10 => message = message.delay(500 * SECOND),
            20 => message = message.priority(Priority::HIGH),
            30 => message = message.ttl(9000 * SECOND).dedup_id(n.to_le_bytes()),
            _ => {}
        }
        queue.publish(message).unwrap();
        if n % 60 == 10 {
            continue;
        }
        let delivery = consumer.recv().unwrap();
        assert_eq!(delivery.id(), FRONT + n + 1);
        match n % 60 {
            20 | 30 => delivery.nack_in(100 * SECOND).unwrap(),
            40 => delivery.reject("on purpose").unwrap(),
            50 => std::mem::forget(delivery),
            _ => delivery.ack().unwrap(),
        }
        // The other group has others left.
        if n % 60 == 59 {
            for delivery in other.recv_batch(100).unwrap() {
                if delivery.id() % 60 == FRONT + 1 {
                    delivery.nack_in(Duration::ZERO).unwrap();
                } else {
                    delivery.ack().unwrap();
                }
            }
        }
    }
    queue
}

fn check_scattered(bench: &Bench, queue: &Queue<SimDisk>, is_exact: bool) {
    bench.clock.advance(2000 * SECOND);
    let consumer = queue.consumer();
    let every = |n: u64| (0..20).map(move |k| FRONT + 60 * k + n + 1);
    let all = consumer.recv_batch(2000).unwrap();
    let found = ids(&all);
    let mut rest: Vec<u64> = every(10).chain(every(30)).chain(every(50)).collect();
    rest.sort_unstable();
    let expected: Vec<u64> = every(20).chain(rest).collect();
    if is_exact {
        assert_eq!(found, expected, "priority first, then in order");
    } else {
        // Those that were dead may be alive again.
        let dead = queue
            .dead_letters()
            .list()
            .into_iter()
            .map(|letter| letter.id);
        let found: BTreeSet<u64> = found.iter().copied().chain(dead).collect();
        assert!(
            expected
                .into_iter()
                .chain(every(40))
                .all(|id| found.contains(&id))
        );
    }
    for delivery in &all {
        let payload = format!("{:0100}", delivery.id() - FRONT - 1);
        assert_eq!(delivery[..], *payload.as_bytes());
    }
    let dead = queue.dead_letters();
    assert!(!is_exact || dead.list().len() == 20);
    for letter in dead.list() {
        let payload = dead.read(letter.id).unwrap().unwrap();
        assert_eq!(payload, format!("{:0100}", letter.id - FRONT - 1));
    }
}

#[test]
fn what_was_moved_is_as_it_was_in_every_group() {
    let bench = Bench::new(5);
    let queue = scattered(&bench);
    bench.assert_bounded(&queue, FRONT * size(2018) + 160 * (size(118) + NOTED));
    let stats = queue.stats();
    assert!(stats.moved >= 100, "{stats:?}");
    bench.cut(queue);
    let queue = bench.open();
    assert_eq!(queue.stats().lost, 0);
    check_scattered(&bench, &queue, true);
    let other = queue.group("other", Start::Earliest).unwrap();
    let first = other.recv().unwrap();
    assert_eq!((first.id(), first.attempt()), (FRONT + 1, 21));
}

/// The original was given up on the word of the newest checkpoint alone.
#[test]
fn what_was_moved_is_found_with_the_older_checkpoint() {
    for rounds in 1..8 {
        let bench = Bench::new(6);
        let queue = scattered(&bench);
        for _ in 0..rounds {
            queue.checkpoint().unwrap();
        }
        bench.cut(queue);
        let names = bench.disk.list().unwrap();
        let newest = names.iter().rfind(|name| name.ends_with(".checkpoint"));
        bench.damage(|name| Some(name) == newest.map(String::as_str));
        let queue = bench.open();
        assert_eq!(queue.recovery().checkpoints_lost, 1);
        assert_eq!(queue.recovery().lost().count(), 0);
        check_scattered(&bench, &queue, true);
        assert_eq!(queue.stats().lost, 0);
    }
}

/// The disk failed after they were moved: that was not synced, and the original gone.
#[test]
fn what_was_moved_and_not_synced_is_where_it_was() {
    for rounds in 0..8 {
        let bench = Bench::new(11);
        let queue = bench.builder().durability(Durability::Process);
        let queue = queue.open_on(bench.disk.clone()).unwrap();
        queue.publish("old").unwrap();
        let consumer = queue.consumer();
        let old = consumer.recv().unwrap();
        for n in 0..600 {
            queue.publish(format!("{n:0100}")).unwrap();
        }
        let all = consumer.recv_batch(600).unwrap();
        consumer.ack_all_durable(all).unwrap();
        for _ in 0..rounds {
            queue.checkpoint().unwrap();
        }
        bench.disk.fail_syncs(u32::MAX);
        for _ in 0..4 {
            let _ = queue.publish("more");
            let _ = queue.checkpoint();
        }
        bench.disk.fail_syncs(0);
        bench.disk.crash_at(bench.disk.operations() + 1);
        drop((old, consumer, queue));
        bench.disk.power_cut();
        let queue = bench.open();
        let again = queue.consumer().recv().unwrap();
        assert_eq!(&again[..], b"old", "after {rounds}");
    }
}

/// Where they lay first was gone, and so they were taken for lost.
#[test]
fn what_was_moved_is_found_without_any_checkpoint() {
    let bench = Bench::new(7);
    let queue = scattered(&bench);
    bench.assert_bounded(&queue, FRONT * size(2018) + 160 * (size(118) + NOTED));
    bench.cut(queue);
    bench.damage(|name| name.ends_with(".checkpoint"));
    let queue = bench.open();
    assert_eq!(queue.recovery().checkpoints_lost, 2);
    check_scattered(&bench, &queue, false);
}

/// A file was used again while somebody still read from it.
#[test]
fn readers_find_messages_while_they_are_moved() {
    in_time(|| {
        let bench = Bench::new(8);
        let queue = bench.builder().tail(0).open_on(bench.disk.clone()).unwrap();
        let payload = |id: u64| format!("{id:0200}");
        let mut held = Vec::new();
        let consumer = queue.consumer();
        for id in 1..=1500u64 {
            queue.publish(payload(id)).unwrap();
            let delivery = consumer.recv().unwrap();
            if id % 25 == 0 {
                delivery.nack_in(Duration::ZERO).unwrap();
                held.push(consumer.recv().unwrap().id());
            } else {
                delivery.ack().unwrap();
            }
        }
        let kept = held.len() as u64;
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let other = queue.consumer();
                        for _ in 0..300 {
                            // Leases end, so that each is read again and again.
                            bench.clock.advance(1001 * SECOND);
                            for delivery in other.recv_batch_timeout(20, Duration::ZERO).unwrap() {
                                assert_eq!(delivery[..], *payload(delivery.id()).as_bytes());
                            }
                        }
                    })
                })
                .collect();
            for n in 0..100u64 {
                queue.checkpoint().unwrap();
                queue
                    .publish(Message::new(vec![0; 3000]).delay(SECOND * 1_000_000))
                    .unwrap();
                assert_eq!(queue.stats().lost, 0, "{n}");
            }
            for reader in readers {
                reader.join().unwrap();
            }
        });
        let stats = queue.stats();
        assert_eq!((stats.lost, stats.pending), (0, kept + 100), "{stats:?}");
        assert!(stats.moved >= kept, "{stats:?}");
    });
}

/// A disk on which something happens in the middle of a read.
#[derive(Clone)]
struct Interrupted {
    disk: SimDisk,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

struct InterruptedFile(SimFile, Interrupted);

impl Disk for Interrupted {
    type File = InterruptedFile;
    type Lock = SimLock;

    fn create(&self, name: &str) -> io::Result<Self::File> {
        Ok(InterruptedFile(self.disk.create(name)?, self.clone()))
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        Ok(InterruptedFile(self.disk.open(name)?, self.clone()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self, name: &str) -> Result<Self::Lock, LockError> {
        self.disk.lock(name)
    }
}

impl DiskFile for InterruptedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let meanwhile = self.1.meanwhile.lock().unwrap().take();
        if let Some(happens) = meanwhile {
            happens();
        }
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// A segment was given up between looking a message up in it and reading it: the
/// message was taken for lost, and so for done.
#[test]
fn a_message_that_is_moved_while_it_is_read_is_not_lost() {
    let bench = Bench::new(10);
    let disk = Interrupted {
        disk: bench.disk.clone(),
        meanwhile: Arc::default(),
    };
    let builder = bench.builder().tail(0).segments(SEGMENT, SEGMENT);
    let queue = builder.open_on(disk.clone()).unwrap();
    let fill = |queue: &Queue<Interrupted>| {
        for _ in 0..300 {
            queue.publish(vec![1; 200]).unwrap();
        }
        let consumer = queue.consumer();
        let all = consumer.recv_batch(300).unwrap();
        consumer.ack_all(all).unwrap();
    };
    let delayed = Message::new("moved").delay(2 * SECOND);
    let id = queue.publish(delayed).unwrap().id;
    fill(&queue);
    bench.clock.advance(2 * SECOND);
    let copy = queue.clone();
    let happens = move || {
        for _ in 0..6 {
            fill(&copy);
            copy.checkpoint().unwrap();
        }
        assert!(copy.stats().moved > 0);
    };
    *disk.meanwhile.lock().unwrap() = Some(Box::new(happens));
    let delivery = queue
        .consumer()
        .try_recv()
        .unwrap()
        .expect("it is not lost");
    assert_eq!((delivery.id(), &delivery[..]), (id, &b"moved"[..]));
    assert!(disk.meanwhile.lock().unwrap().is_none());
    assert_eq!(queue.stats().lost, 0);
}
