//! A day of a queue's life, again and again, in which each time another operation of the
//! disk fails: with an input/output error, for want of room, or by doing half of what it
//! was asked for; once, or from then on for good; while the queue is used, or while it is
//! being opened.
//!
//! What is checked: nothing that was confirmed is missing after two more openings; what was
//! durably acknowledged does not come back; nothing is confirmed by a disk that takes
//! nothing; what was confirmed before goes on being delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::time::Duration;

use tenfold::queue::storage::{Disk, Fault, SimDisk};
use tenfold::queue::{
    Backoff, Message, OpenError, Priority, PublishError, Queue, QueueBuilder, SettleError, Start,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

/// The script, and what was promised while it was followed.
struct Script {
    disk: SimDisk,
    clock: ManualClock,
    /// The payload of each message that was ever handed over, by a number of its own.
    sent: BTreeMap<u64, Vec<u8>>,
    confirmed: BTreeSet<u64>,
    /// Somebody has said that it is done; what became of that is not known.
    answered: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// From this operation on the disk takes nothing.
    dead_from: u64,
    has_failed: bool,
}

impl Script {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            clock: ManualClock::new(),
            sent: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            answered: BTreeSet::new(),
            done: BTreeSet::new(),
            dead_from: u64::MAX,
            has_failed: false,
        }
    }

    fn builder(&self) -> QueueBuilder {
        Queue::builder()
            .segments(16 << 10, 32 << 10)
            .checkpoint_every(1 << 30)
            .visibility(20 * SECOND)
            .retry(Backoff::constant(SECOND))
            .max_deliver(1000)
            .dedup_window(3600 * SECOND)
            .clock(self.clock.clock())
            .seed(5)
    }

    /// Everything that a queue does to a disk, in three lives. How many operations that took.
    fn run(&mut self) -> u64 {
        for life in 0..3 {
            self.has_failed = false;
            match self.builder().open_on(self.disk.clone()) {
                Ok(queue) => {
                    assert!(queue.recovery().is_clean(), "{}", queue.recovery());
                    self.live(&queue, life);
                    if life == 1 {
                        let _ = queue.close();
                    }
                }
                Err(OpenError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.disk.operations()
    }

    fn live(&mut self, queue: &Queue<SimDisk>, life: u64) {
        let consumer = queue.consumer();
        for step in 0..14 {
            self.clock.advance(SECOND / 8);
            self.publish(queue, if step % 4 == 3 { 3 } else { 1 });
            let Ok(Some(delivery)) = consumer.try_recv() else {
                continue;
            };
            let number = number(&delivery);
            match step % 5 {
                0 | 3 => {
                    self.answered.insert(number);
                    let _ = delivery.ack();
                }
                1 => {
                    self.answered.insert(number);
                    if delivery.ack_durable().is_ok() {
                        self.done.insert(number);
                    }
                }
                2 => drop(delivery.nack_in(SECOND / 2)),
                _ => drop(delivery.reject("on purpose")),
            }
            if step == 4 {
                let _ = queue.group(&format!("group {life}"), Start::Latest);
            }
            if step == 9 {
                let _ = queue.checkpoint();
                let _ = queue.remove_group(&format!("group {life}"));
            }
        }
        let _ = queue.flush();
        if queue.stats().failed && !self.disk.has_crashed() {
            // What lasts is delivered, whatever the disk does.
            self.clock.advance(3600 * SECOND);
            let found = numbers(queue);
            let missing = self.wanted().find(|number| !found.contains(number));
            assert_eq!(missing, None, "it lasts, and is not delivered");
        }
    }

    fn publish(&mut self, queue: &Queue<SimDisk>, count: u64) {
        let mut numbers = Vec::new();
        let messages: Vec<_> = (0..count)
            .map(|_| {
                let number = 1 + self.sent.len() as u64;
                let mut payload = number.to_le_bytes().to_vec();
                payload.resize(8 + 90 * (number as usize % 13), number as u8);
                self.sent.insert(number, payload.clone());
                numbers.push(number);
                let message = Message::new(payload);
                match number % 7 {
                    2 => message.priority(Priority::new(6)),
                    4 => message.delay(2 * SECOND),
                    5 => message.dedup_id(number.to_le_bytes()),
                    _ => message,
                }
            })
            .collect();
        let before = self.disk.operations();
        match queue.publish_batch(&messages) {
            Ok(_) => {
                assert!(!self.has_failed, "confirmed by a queue that had failed");
                assert!(before + 1 < self.dead_from, "confirmed by a dead disk");
                self.confirmed.extend(numbers);
            }
            Err(PublishError::NotDurable(_)) => self.has_failed = true,
            Err(PublishError::DiskFull) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn wanted(&self) -> impl Iterator<Item = u64> {
        self.confirmed.difference(&self.answered).copied()
    }

    /// The disk is well again: all is there, now and after another crash.
    fn check(&mut self, what: &str) {
        self.disk.mend();
        for cut in [true, false, true] {
            self.disk.crash_at(self.disk.operations() + 1);
            if cut {
                self.disk.power_cut();
            } else {
                self.disk.kill();
            }
            self.clock.advance(3600 * SECOND);
            let queue = self.builder().open_on(self.disk.clone()).unwrap();
            assert!(queue.recovery().is_clean(), "{what}: {}", queue.recovery());
            let found = numbers(&queue);
            for number in &found {
                assert!(
                    self.sent.contains_key(number),
                    "{what}: {number} is nobody's"
                );
                assert!(!self.done.contains(number), "{what}: {number} came back");
            }
            for number in self.wanted() {
                assert!(found.contains(&number), "{what}: {number} is lost");
            }
            assert_eq!(queue.stats().lost, 0, "{what}");
            // What has been seen now is not taken back either.
            self.answered.retain(|number| !found.contains(number));
            self.confirmed.extend(found);
            self.has_failed = false;
            self.publish(&queue, 2);
            let next = self.sent.len() as u64;
            assert!(
                self.confirmed.contains(&next),
                "{what}: it takes nothing any more"
            );
            self.disk.crash_at(self.disk.operations() + 1);
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// All messages that can be had, or are dead.
fn numbers(queue: &Queue<SimDisk>) -> BTreeSet<u64> {
    let consumer = queue.consumer();
    let mut found = BTreeSet::new();
    let mut held = Vec::new();
    while let Ok(Some(delivery)) = consumer.try_recv() {
        assert!(found.insert(number(&delivery)), "twice");
        held.push(delivery);
    }
    let dead = queue.dead_letters();
    for letter in dead.list() {
        found.insert(number(&dead.read(letter.id).unwrap().unwrap()));
    }
    found
}

/// Looks at all cases, on all processors.
fn each<T: Sync>(cases: &[T], look: impl Fn(&T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let look = &look;
            scope.spawn(move || cases.iter().skip(thread).step_by(threads).for_each(look));
        }
    });
}

/// How many disks, which lose other things in a power cut, see each fault.
fn seeds() -> u64 {
    std::env::var("TENFOLD_SEEDS").map_or(1, |times| 4 * times.parse::<u64>().unwrap())
}

/// The queue that a crash in the middle of the script left, and what it owes.
fn crashed(seed: u64, at: u64) -> Script {
    let mut script = Script::new(seed);
    script.disk.crash_at(at);
    script.run();
    if at.is_multiple_of(2) {
        script.disk.power_cut();
    } else {
        script.disk.kill();
    }
    script
}

#[test]
fn whichever_operation_fails_nothing_confirmed_is_missing() {
    let mut script = Script::new(1);
    let operations = script.run();
    script.check("without faults");
    assert!(operations > 150 && script.confirmed.len() > 50 && script.done.len() > 5);
    let mut cases = Vec::new();
    for seed in 0..seeds() {
        for operation in 1..=operations {
            for fault in [Fault::Io, Fault::Full, Fault::Short] {
                cases.push((seed, operation, fault));
            }
        }
    }
    each(&cases, |(seed, operation, fault)| {
        let mut script = Script::new(seed * 1000 + operation);
        script.disk.fail(*operation, *fault);
        script.run();
        script.check(&format!("{fault:?} in {operation} on {seed}"));
    });
}

/// After one error the log was switched off, and all else was confirmed from memory.
#[test]
fn a_disk_that_fails_for_good_confirms_nothing_and_takes_nothing_back() {
    let operations = Script::new(1).run();
    let mut cases = Vec::new();
    for seed in 0..seeds() {
        for operation in 1..=operations {
            cases.extend([Fault::Io, Fault::Full].map(|fault| (seed, operation, fault)));
        }
    }
    each(&cases, |(seed, operation, fault)| {
        let mut script = Script::new(seed * 1000 + operation);
        script.disk.fail_from(*operation, *fault);
        script.dead_from = *operation;
        script.run();
        script.dead_from = u64::MAX;
        script.check(&format!("{fault:?} from {operation} on, on {seed}"));
    });
}

/// A crash, and then nobody could start: something went wrong while it was opened.
#[test]
fn an_opening_that_fails_or_dies_anywhere_is_made_up_for_by_the_next() {
    let operations = Script::new(1).run();
    let step = if seeds() > 1 { 1 } else { 13 };
    let crashes: Vec<_> = (20..operations).step_by(step).collect();
    each(&crashes, |crash| {
        for seed in 0..seeds() {
            let whole = crashed(seed, *crash);
            let before = whole.disk.operations();
            drop(whole.builder().open_on(whole.disk.clone()).unwrap());
            let opening = whole.disk.operations() - before;
            for operation in 1..=opening {
                for fault in [Some(Fault::Io), Some(Fault::Full), Some(Fault::Short), None] {
                    let mut script = crashed(seed, *crash);
                    let at = script.disk.operations() + operation;
                    match fault {
                        Some(fault) => script.disk.fail(at, fault),
                        None => script.disk.crash_at(at),
                    }
                    drop(script.builder().open_on(script.disk.clone()));
                    script.check(&format!("{fault:?} in {operation} of {crash}, {seed}"));
                }
            }
        }
    });
}

/// A full disk made everything fail that would have made room on it.
#[test]
fn whenever_the_disk_is_full_publishers_are_told_and_acks_go_on() {
    let step = if seeds() > 1 { 512 } else { 5000 };
    let capacities: Vec<u64> = (70 << 10..220 << 10).step_by(step).collect();
    each(&capacities, |capacity| {
        let script = Script::new(*capacity);
        let queue = script.builder().open_on(script.disk.clone()).unwrap();
        script.disk.set_capacity(*capacity);
        let payload = vec![7; 700];
        let mut published = 0;
        let full = loop {
            match queue.publish(payload.clone()) {
                Ok(_) => published += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, PublishError::DiskFull), "{capacity}: {full}");
        assert!(!queue.stats().failed && published > 20);
        let consumer = queue.consumer();
        for _ in 0..published {
            let delivery = consumer.try_recv().unwrap().expect("it goes on");
            match delivery.ack_durable() {
                Ok(()) => {}
                Err(SettleError::DiskFull { .. }) => panic!("{capacity}: no room for acks"),
                Err(error) => panic!("{capacity}: {error}"),
            }
        }
        // There is room again, and nobody opens anything anew.
        script.disk.set_capacity(u64::MAX);
        for _ in 0..40 {
            queue.publish(payload.clone()).unwrap();
        }
        script.disk.crash_at(script.disk.operations() + 1);
        drop((consumer, queue));
        script.disk.power_cut();
        let queue = script.builder().open_on(script.disk.clone()).unwrap();
        assert_eq!((queue.stats().pending, queue.stats().lost), (40, 0));
        let names = script.disk.list().unwrap();
        assert!(!names.iter().any(|name| name.contains(".new")), "{names:?}");
    });
}
