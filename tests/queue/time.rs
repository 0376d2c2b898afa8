//! When messages were published, groups that begin at a moment, and what is kept for
//! them: over openings, crashes and moves.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tenfold::queue::storage::SimDisk;
use tenfold::queue::{
    Backoff, Durability, Message, Queue, QueueBuilder, RecvError, Retention, Start,
};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const SEGMENT: u64 = 32 << 10;

fn builder(clock: &ManualClock) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, SEGMENT)
        .checkpoint_every(SEGMENT)
        .visibility(1_000_000 * SECOND)
        .retry(Backoff::constant(SECOND))
        .max_deliver(u32::MAX)
        .clock(clock.clock())
        .seed(5)
}

fn open(disk: &SimDisk, clock: &ManualClock) -> Queue<SimDisk> {
    builder(clock).open_on(disk.clone()).unwrap()
}

fn cut(disk: &SimDisk, queue: Queue<SimDisk>) {
    disk.crash_at(disk.operations() + 1);
    drop(queue);
    disk.power_cut();
}

/// So long after a clock that is turned by hand was made.
fn at(millis: u64) -> SystemTime {
    let made = ManualClock::new().clock().now().as_nanos();
    SystemTime::UNIX_EPOCH + Duration::from_nanos(made) + Duration::from_millis(millis)
}

/// Everything that a new group gets, and when it was published.
fn all(queue: &Queue<SimDisk>, start: Start) -> BTreeMap<u64, SystemTime> {
    let group = queue.replay("reader", start).unwrap();
    let mut found = BTreeMap::new();
    while let Some(delivery) = group.try_recv().unwrap() {
        found.insert(delivery.id(), delivery.enqueued_at());
        delivery.ack().unwrap();
    }
    queue.remove_group("reader").unwrap();
    found
}

#[test]
fn the_moment_of_publishing_outlives_openings_crashes_and_moves() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
        let mut times: BTreeMap<u64, SystemTime> = BTreeMap::new();
        let mut moved = 0;
        let mut now = 0;
        for life in 0..6 {
            let durability = match rng.below(3) {
                0 => Durability::Process,
                _ => Durability::Power,
            };
            let queue = builder(&clock).durability(durability);
            let queue = queue.open_on(disk.clone()).unwrap();
            assert_eq!(queue.recovery().records, 0, "it was closed");
            let consumer = queue.consumer();
            if rng.below(4) == 0 {
                disk.fail_syncs(1);
            }
            for _ in 0..120 {
                let step = rng.below(4) * rng.below(400);
                now += step;
                clock.advance(Duration::from_millis(step));
                let batch: Vec<Message> = (0..=rng.below(30))
                    .map(|_| Message::new(vec![1; rng.below(100) as usize]))
                    .collect();
                for published in queue.publish_batch(&batch).unwrap() {
                    times.insert(published.id, at(now));
                }
                // Few stay.
                for delivery in consumer.recv_batch(40).unwrap() {
                    assert_eq!(delivery.enqueued_at(), times[&delivery.id()]);
                    if rng.below(30) > 0 {
                        times.remove(&delivery.id());
                        delivery.ack_durable().unwrap();
                    } else {
                        delivery.nack_in(1_000_000 * SECOND).unwrap();
                    }
                }
            }
            drop(consumer);
            moved += queue.stats().moved;
            disk.crash_at(disk.operations() + 1);
            drop(queue);
            disk.fail_syncs(0);
            // What was not synced is in the file: carried over, and as old as it was.
            disk.kill();
            let queue = open(&disk, &clock);
            let found = all(&queue, Start::Earliest);
            for (id, time) in &times {
                assert_eq!(found[id], *time, "seed {seed}, life {life}: {id}");
            }
            queue.close().unwrap();
            drop(queue);
        }
        assert!(moved > 0, "seed {seed}");
    }
}

#[test]
fn dead_letters_know_when_they_were_published() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let queue = open(&disk, &clock);
    for second in 0..10 {
        let id = queue.publish("no JSON").unwrap().id;
        assert_eq!(id, second + 1);
        clock.advance(SECOND);
        let delivery = queue.consumer().recv().unwrap();
        delivery.reject("expected a brace").unwrap();
    }
    queue.flush().unwrap();
    cut(&disk, queue);
    let dead = open(&disk, &clock).dead_letters();
    for second in 0..10 {
        let time = dead.enqueued_at(second + 1).unwrap();
        assert_eq!(time, Some(at(1000 * second)));
    }
    assert_eq!(dead.enqueued_at(11).unwrap(), None);
}

/// The first group to begin at a moment missed those published in the same tick.
#[test]
fn a_group_begins_with_the_first_message_at_a_moment_or_after_it() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
        let queue = builder(&clock).retention(Retention::All);
        let mut queue = queue.open_on(disk.clone()).unwrap();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut now = 0;
        for n in 0..400 {
            if n % 150 == 140 {
                cut(&disk, queue);
                queue = builder(&clock)
                    .retention(Retention::All)
                    .open_on(disk.clone())
                    .unwrap();
            }
            let step = rng.below(3) * rng.below(50);
            now += step;
            clock.advance(Duration::from_millis(step));
            let payload = vec![1; rng.below(400) as usize];
            times.insert(queue.publish(payload).unwrap().id, now);
        }
        for _ in 0..20 {
            let since = rng.below(now + 200);
            let first = times.iter().find(|(_, time)| **time >= since);
            let expected: Vec<u64> = first.map_or(Vec::new(), |(first, _)| {
                times.range(first..).map(|(id, _)| *id).collect()
            });
            let found = all(&queue, Start::Time(at(since)));
            assert_eq!(
                found.into_keys().collect::<Vec<_>>(),
                expected,
                "{seed} {since}"
            );
            // Between two milliseconds is before the second.
            let between = at(since) + Duration::from_micros(1);
            let first = times.iter().find(|(_, time)| **time > since);
            let found = all(&queue, Start::Time(between)).into_keys().next();
            assert_eq!(found, first.map(|(id, _)| *id), "{seed} {since}");
        }
        let long_ago = SystemTime::UNIX_EPOCH - SECOND;
        assert_eq!(all(&queue, Start::Time(long_ago)).len(), times.len());
    }
}

/// Where they had been was gone, and so they were passed over.
#[test]
fn a_group_begins_with_a_message_that_was_moved() {
    let (disk, clock) = (SimDisk::new(2), ManualClock::new());
    let queue = open(&disk, &clock);
    clock.advance(5 * SECOND);
    let early = queue.publish("early").unwrap().id;
    clock.advance(5 * SECOND);
    let late = queue.publish("late").unwrap().id;
    let consumer = queue.consumer();
    let held = consumer.recv_batch(2).unwrap();
    clock.advance(5 * SECOND);
    for _ in 0..8 {
        for _ in 0..200 {
            queue.publish(vec![1; 100]).unwrap();
        }
        consumer.ack_all(consumer.recv_batch(200).unwrap()).unwrap();
        queue.checkpoint().unwrap();
    }
    assert!(queue.stats().moved >= 2);
    for (since, first) in [(0, early), (5000, early), (5001, late), (10_000, late)] {
        let found = all(&queue, Start::Time(at(since)));
        assert_eq!(found.keys().next(), Some(&first), "{since}");
    }
    let found = all(&queue, Start::Time(at(10_001)));
    assert!(found.keys().next().is_none_or(|first| *first > late));
    drop(held);
}

/// Publishes for a while, a message a second, all done; what a late group gets then,
/// before and after an opening.
fn kept(retention: Retention, messages: u64) -> usize {
    let (disk, clock) = (SimDisk::new(3), ManualClock::new());
    let open = || {
        let builder = builder(&clock).retention(retention);
        builder.open_on(disk.clone()).unwrap()
    };
    let queue = open();
    for n in 0..messages {
        clock.advance(SECOND);
        queue.publish(format!("{n:0200}")).unwrap();
        queue.consumer().recv().unwrap().ack().unwrap();
    }
    for _ in 0..4 {
        queue.checkpoint().unwrap();
    }
    let found = all(&queue, Start::Earliest);
    assert!(
        found
            .keys()
            .copied()
            .eq(messages + 1 - found.len() as u64..=messages)
    );
    queue.flush().unwrap();
    cut(&disk, queue);
    let queue = open();
    assert_eq!(all(&queue, Start::Earliest), found);
    found.len()
}

/// Messages in a segment.
const FULL: usize = 80;

#[test]
fn nothing_is_kept_beyond_need_if_nothing_is_said() {
    assert!(kept(Retention::Acked, 1000) <= 4 * FULL);
}

#[test]
fn bytes_are_kept_as_many_as_was_said() {
    let found = kept(Retention::Bytes(10 * SEGMENT), 2000);
    assert!((8 * FULL..15 * FULL).contains(&found), "{found}");
}

#[test]
fn what_is_young_is_kept() {
    let found = kept(Retention::Time(1000 * SECOND), 2000);
    assert!((1000..1000 + 3 * FULL).contains(&found), "{found}");
}

#[test]
fn what_is_young_is_kept_up_to_so_many_bytes() {
    let both = |seconds, segments| Retention::Both {
        time: seconds * SECOND,
        bytes: segments * SEGMENT,
    };
    let by_bytes = kept(both(100_000, 10), 2000);
    assert!((8 * FULL..15 * FULL).contains(&by_bytes), "{by_bytes}");
    let by_time = kept(both(1000, 100), 2000);
    assert!((1000..1000 + 3 * FULL).contains(&by_time), "{by_time}");
}

#[test]
fn an_event_log_is_read_from_its_beginning() {
    assert_eq!(kept(Retention::All, 1500), 1500);
}

/// Time goes on, and nothing is published any more.
#[test]
fn what_grows_old_is_given_up_by_the_next_upkeep() {
    let (disk, clock) = (SimDisk::new(4), ManualClock::new());
    let builder = builder(&clock).retention(Retention::Time(1000 * SECOND));
    let queue = builder.open_on(disk.clone()).unwrap();
    for n in 0..1000 {
        queue.publish(format!("{n:0200}")).unwrap();
        queue.consumer().recv().unwrap().ack().unwrap();
    }
    let upkeep = || (0..4).for_each(|_| queue.checkpoint().unwrap());
    clock.advance(999 * SECOND);
    upkeep();
    let before = queue.stats().disk_bytes;
    assert_eq!(all(&queue, Start::Earliest).len(), 1000);
    clock.advance(2 * SECOND);
    upkeep();
    let after = queue.stats().disk_bytes;
    assert!(
        before > 8 * SEGMENT && after <= 3 * SEGMENT,
        "{before} {after}"
    );
}

/// Who only reads with groups says so, and then no consumer of the queue's own holds
/// anything back.
#[test]
fn a_log_without_consumers_of_its_own_keeps_what_was_said() {
    let (disk, clock) = (SimDisk::new(5), ManualClock::new());
    let open = |retention| {
        let builder = builder(&clock).retention(retention);
        builder.open_on(disk.clone()).unwrap()
    };
    let queue = open(Retention::All);
    queue.remove_group("default").unwrap();
    assert!(matches!(
        queue.consumer().try_recv(),
        Err(RecvError::NoGroup)
    ));
    for n in 0..1000 {
        queue.publish(format!("{n:0200}")).unwrap();
    }
    assert_eq!(queue.stats().pending, 0);
    queue.close().unwrap();
    drop(queue);
    let queue = open(Retention::All);
    assert_eq!(all(&queue, Start::Earliest).len(), 1000);
    queue.close().unwrap();
    drop(queue);
    // Another rule, from the next opening on.
    let queue = open(Retention::Bytes(4 * SEGMENT));
    for _ in 0..4 {
        queue.checkpoint().unwrap();
    }
    let found = all(&queue, Start::Earliest).len();
    assert!((2 * FULL..6 * FULL).contains(&found), "{found}");
}
