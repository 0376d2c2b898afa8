//! What users of other queues complained of, as tests named after their stories.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{block_on, in_time, panics, poll, quiet_panic};
use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{
    Backoff, Consumer, DamageKind, Durability, Message, OpenError, Priority, PublishError, Queue,
    QueueBuilder, RecvError, Retention, SettleError, Start,
};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

/// A disk, a clock, and small segments.
struct Bench {
    disk: SimDisk,
    clock: ManualClock,
}

impl Bench {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(11),
            clock: ManualClock::new(),
        }
    }

    fn builder(&self) -> QueueBuilder {
        Queue::builder()
            .segments(16 << 10, 32 << 10)
            .checkpoint_every(16 << 10)
            .visibility(10 * SECOND)
            .retry(Backoff::constant(SECOND))
            .max_deliver(4)
            .clock(self.clock.clock())
            .seed(5)
    }

    fn open(&self) -> Queue<SimDisk> {
        self.builder().open_on(self.disk.clone()).unwrap()
    }

    /// The process dies without having done anything about it.
    fn kill(&self, queue: Queue<SimDisk>) {
        self.disk.crash_at(self.disk.operations() + 1);
        drop(queue);
        self.disk.kill();
    }
}

/// Everything that can be had now, as text.
fn drain(consumer: &Consumer<SimDisk>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(delivery) = consumer.try_recv().unwrap() {
        all.push(String::from_utf8(delivery.to_vec()).unwrap());
        delivery.ack().unwrap();
    }
    all
}

/// A second restart lost what was published after the first: it had been appended
/// behind a torn tail, where no reader came to.
#[test]
fn what_is_published_after_a_torn_tail_survives_the_next_crash() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let clock = ManualClock::new();
        let bench = Bench { disk, clock };
        let queue = bench.open();
        queue.publish("one").unwrap();
        // In the middle of writing, or of syncing, the next.
        bench.disk.crash_at(bench.disk.operations() + 1 + seed % 2);
        assert!(queue.publish("torn").is_err());
        drop(queue);
        bench.disk.power_cut();
        let queue = bench.open();
        queue.publish("two").unwrap();
        drop(queue);
        bench.disk.power_cut();
        let mut all = drain(&bench.open().consumer());
        all.retain(|message| message != "torn");
        assert_eq!(all, ["one", "two"]);
    }
}

/// A failed sync was logged, and later messages were confirmed from memory.
#[test]
fn a_disk_that_fails_for_good_confirms_nothing_more() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("safe").unwrap();
    bench.disk.fail_syncs(u32::MAX);
    assert!(matches!(
        queue.publish("not"),
        Err(PublishError::NotDurable(_))
    ));
    bench.disk.fail_syncs(0);
    assert!(matches!(
        queue.publish("never"),
        Err(PublishError::NotDurable(_))
    ));
    // What is durable goes on being delivered.
    let consumer = queue.consumer();
    let delivery = consumer.recv().unwrap();
    assert_eq!(&delivery[..], b"safe");
    assert!(matches!(
        delivery.ack_durable(),
        Err(SettleError::NotDurable(_))
    ));
    assert!(matches!(consumer.recv(), Err(RecvError::NotDurable(_))));
    assert!(queue.stats().failed);
}

/// One failed sync ended the service, though the disk went on.
#[test]
fn one_failed_sync_is_made_up_for_in_another_file() {
    let bench = Bench::new();
    let queue = bench.open();
    bench.disk.fail_syncs(1);
    queue.publish("a").unwrap();
    assert_eq!(queue.stats().failovers, 1);
    bench.kill(queue);
    bench.disk.power_cut();
    assert_eq!(drain(&bench.open().consumer()), ["a"]);
}

/// A consumer saw what a second power cut then took away: it had been found after the
/// first one, and never synced.
#[test]
fn what_was_found_after_a_crash_is_not_taken_back_by_the_next() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let bench = Bench {
            disk,
            clock: ManualClock::new(),
        };
        let queue = bench
            .builder()
            .durability(Durability::Process)
            .open_on(bench.disk.clone())
            .unwrap();
        for n in 0..20 {
            queue.publish(format!("{n}")).unwrap();
        }
        bench.kill(queue);
        let queue = bench.open();
        let first: Vec<_> = std::iter::from_fn(|| queue.consumer().try_recv().unwrap())
            .map(|delivery| delivery.id())
            .collect();
        assert_eq!(first.len(), 20);
        bench.disk.crash_at(bench.disk.operations() + 1);
        drop(queue);
        bench.disk.power_cut();
        bench.clock.advance(10 * SECOND);
        assert_eq!(drain(&bench.open().consumer()).len(), 20);
    }
}

/// A full disk left a litter of temporary files, or ended the process; acks failed as
/// well, so that nothing could ever make room.
#[test]
fn a_full_disk_turns_publishers_away_and_goes_on_delivering() {
    let bench = Bench::new();
    let queue = bench.open();
    bench.disk.set_capacity(200 << 10);
    let payload = vec![7; 1000];
    let mut published = 0;
    loop {
        match queue.publish(payload.clone()) {
            Ok(_) => published += 1,
            Err(PublishError::DiskFull) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(published > 100, "{published}");
    let names = bench.disk.list().unwrap();
    assert!(!names.iter().any(|name| name.contains(".new")), "{names:?}");
    let consumer = queue.consumer();
    for _ in 0..published {
        consumer.recv().unwrap().ack().unwrap();
    }
    // A little room for a checkpoint, and the rest comes back.
    bench.disk.set_capacity(210 << 10);
    queue.checkpoint().unwrap();
    queue.flush().unwrap();
    consumer.try_recv().unwrap();
    for _ in 0..3 {
        queue.publish("x").ok();
        queue.checkpoint().unwrap();
    }
    for _ in 0..50 {
        queue.publish(payload.clone()).unwrap();
    }
}

/// Ten thousand jobs that were put off again and again took 265 GB.
#[test]
fn a_storm_of_delays_does_not_grow_the_disk() {
    let bench = Bench::new();
    let queue = bench.builder().max_deliver(u32::MAX);
    let queue = queue.open_on(bench.disk.clone()).unwrap();
    for n in 0..200 {
        queue.publish(format!("{n:0100}")).unwrap();
    }
    let consumer = queue.consumer();
    let live = queue.stats().disk_bytes;
    for _ in 0..60 {
        bench.clock.advance(SECOND);
        for delivery in consumer.recv_batch(1000).unwrap() {
            delivery.nack_in(SECOND).unwrap();
        }
    }
    let stats = queue.stats();
    assert_eq!((stats.pending, stats.nacked), (200, 12_000));
    assert!(bench.disk.used() < 2 * live + 6 * (32 << 10), "{stats}");
}

/// A job of a worker that had died stayed "running" for ever.
#[test]
fn leases_do_not_outlive_the_process() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("job").unwrap();
    let delivery = queue.consumer().recv().unwrap();
    assert!(queue.consumer().try_recv().unwrap().is_none());
    bench.disk.crash_at(bench.disk.operations() + 1);
    drop((delivery, queue));
    bench.disk.kill();
    let queue = bench.open();
    assert_eq!(&queue.consumer().try_recv().unwrap().unwrap()[..], b"job");
}

/// The same within a process, where the worker hangs.
#[test]
fn a_lease_that_ends_gives_the_message_to_somebody_else() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("job").unwrap();
    let slow = queue.consumer().recv().unwrap();
    bench.clock.advance(9 * SECOND);
    slow.extend(10 * SECOND).unwrap();
    bench.clock.advance(9 * SECOND);
    assert!(queue.consumer().try_recv().unwrap().is_none());
    bench.clock.advance(SECOND);
    let second = queue.consumer().try_recv().unwrap().unwrap();
    assert_eq!(second.attempt(), 2);
    assert!(matches!(
        slow.extend(SECOND),
        Err(SettleError::Expired { id: 1 })
    ));
    assert!(matches!(slow.ack(), Err(SettleError::Expired { id: 1 })));
    second.ack().unwrap();
    assert_eq!((queue.stats().timed_out, queue.stats().pending), (1, 0));
}

/// A message was gone once it was popped; a consumer that panicked lost it.
#[test]
fn a_dropped_delivery_goes_to_somebody_else() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("job").unwrap();
    let delivery = queue.consumer().recv().unwrap();
    assert!(panics(move || {
        let _held = delivery;
        quiet_panic();
    }));
    assert!(
        queue.consumer().try_recv().unwrap().is_none(),
        "it waits a second first"
    );
    bench.clock.advance(2 * SECOND);
    let again = queue.consumer().try_recv().unwrap().unwrap();
    assert_eq!(again.attempt(), 2);
    again.ack().unwrap();
}

/// A job that ended its process ended the next one as well, and the next.
#[test]
fn a_message_that_ends_the_process_ends_up_dead() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("poison").unwrap();
    queue.publish("fine").unwrap();
    let mut queue = Some(queue);
    let mut lives = 0;
    loop {
        let alive = queue.take().unwrap_or_else(|| bench.open());
        let delivery = alive.consumer().try_recv().unwrap().unwrap();
        if &delivery[..] == b"fine" {
            let dead = alive.dead_letters().list();
            assert_eq!((dead[0].id, dead[0].attempts), (1, 4));
            break;
        }
        lives += 1;
        bench.disk.crash_at(bench.disk.operations() + 1);
        drop((delivery, alive));
        bench.disk.kill();
    }
    // Four times, and once that nobody could write down.
    assert_eq!(lives, 5);
}

#[test]
fn what_fails_too_often_is_dead_can_be_read_and_driven_again() {
    let bench = Bench::new();
    let queue = bench.open();
    queue.publish("a").unwrap();
    queue.publish("b").unwrap();
    let consumer = queue.consumer();
    for attempt in 1..=4 {
        bench.clock.advance(2 * SECOND);
        let delivery = consumer.try_recv().unwrap().unwrap();
        assert_eq!((delivery.id(), delivery.attempt()), (1, attempt));
        delivery.nack().unwrap();
    }
    consumer.recv().unwrap().reject("no JSON").unwrap();
    bench.clock.advance(100 * SECOND);
    assert!(consumer.try_recv().unwrap().is_none());
    queue.flush().unwrap();
    bench.kill(queue);
    let queue = bench.open();
    let dead = queue.dead_letters();
    let letters = dead.list();
    let told: Vec<_> = letters
        .iter()
        .map(|l| (l.id, l.attempts, &l.reason[..]))
        .collect();
    assert_eq!(told, [(1, 4, "given back 4 times"), (2, 1, "no JSON")]);
    assert_eq!(dead.read(2).unwrap().unwrap(), "b");
    assert_eq!(dead.redrive([1, 99]).unwrap(), 1);
    assert_eq!(dead.remove([2]).unwrap(), 1);
    bench.kill(queue);
    let queue = bench.open();
    let again = queue.consumer().try_recv().unwrap().unwrap();
    // It is written down before it is handed out, for it may end the process.
    assert_eq!((again.id(), again.attempt()), (1, 1));
    again.ack_durable().unwrap();
    assert_eq!(queue.stats().pending, 0);
}

/// Delays lay in a store of their own, which no repair covered.
#[test]
fn delays_outlive_a_crash() {
    let bench = Bench::new();
    let queue = bench.open();
    queue
        .publish(Message::new("later").delay(60 * SECOND))
        .unwrap();
    queue.publish("now").unwrap();
    let consumer = queue.consumer();
    let now = consumer.recv().unwrap();
    assert_eq!(&now[..], b"now");
    now.nack_in(30 * SECOND).unwrap();
    queue.checkpoint().unwrap();
    bench.kill(queue);
    bench.disk.power_cut();
    let queue = bench.open();
    let consumer = queue.consumer();
    assert!(consumer.try_recv().unwrap().is_none());
    bench.clock.advance(30 * SECOND);
    assert_eq!(drain(&consumer), ["now"]);
    bench.clock.advance(30 * SECOND);
    assert_eq!(drain(&consumer), ["later"]);
}

#[test]
fn higher_priorities_come_first_and_each_in_order() {
    let bench = Bench::new();
    let queue = bench.open();
    for (n, level) in [3, 0, 7, 3, 5, 7, 0].into_iter().enumerate() {
        let message = Message::new(format!("{level}:{n}")).priority(Priority::new(level));
        queue.publish(message).unwrap();
    }
    let order = ["7:2", "7:5", "5:4", "3:0", "3:3", "0:1", "0:6"];
    bench.kill(queue);
    let queue = bench.open();
    assert_eq!(drain(&queue.consumer()), order);
}

#[test]
fn a_dedup_id_is_taken_once_within_its_window_whatever_happens() {
    let bench = Bench::new();
    let builder = || bench.builder().dedup_window(60 * SECOND);
    let queue = builder().open_on(bench.disk.clone()).unwrap();
    let message = || Message::new("charge").dedup_id("order-17");
    let batch = [message(), message(), Message::new("other")];
    let published = queue.publish_batch(&batch).unwrap();
    let ids: Vec<_> = published.iter().map(|p| (p.id, p.duplicate)).collect();
    assert_eq!(ids, [(1, false), (1, true), (2, false)]);
    assert_eq!(drain(&queue.consumer()), ["charge", "other"]);
    bench.kill(queue);
    let queue = builder().open_on(bench.disk.clone()).unwrap();
    assert!(queue.publish(message()).unwrap().duplicate);
    queue.checkpoint().unwrap();
    bench.kill(queue);
    let queue = builder().open_on(bench.disk.clone()).unwrap();
    assert!(queue.publish(message()).unwrap().duplicate);
    bench.clock.advance(61 * SECOND);
    let again = queue.publish(message()).unwrap();
    assert_eq!((again.id, again.duplicate), (3, false));
    let long = Message::new("").dedup_id([0; 256]);
    assert!(matches!(
        queue.publish(long),
        Err(PublishError::DedupId { found: 256, .. })
    ));
}

#[test]
fn a_message_past_its_time_is_not_delivered() {
    let bench = Bench::new();
    let queue = bench.open();
    queue
        .publish(Message::new("stale").ttl(5 * SECOND))
        .unwrap();
    queue.publish("fresh").unwrap();
    bench.clock.advance(5 * SECOND);
    assert_eq!(drain(&queue.consumer()), ["fresh"]);
    assert_eq!((queue.stats().expired, queue.stats().pending), (1, 0));
}

/// A group was forgotten in a crash, or one that was removed came back.
#[test]
fn groups_have_places_of_their_own_and_outlive_crashes() {
    let bench = Bench::new();
    let queue = bench.open();
    for n in 1..=5 {
        queue.publish(format!("{n}")).unwrap();
    }
    let billing = queue.group("billing", Start::Earliest).unwrap();
    let mail = queue.group("mail", Start::At(4)).unwrap();
    let audit = queue.group("audit", Start::Latest).unwrap();
    assert_eq!(drain(&mail), ["4", "5"]);
    let two = billing.recv_batch(2).unwrap();
    billing.ack_all_durable(two).unwrap();
    queue.remove_group("mail").unwrap();
    queue.publish("6").unwrap();
    assert_eq!(drain(&audit), ["6"]);
    queue.flush().unwrap();
    drop((billing, mail, audit));
    bench.kill(queue);
    bench.disk.power_cut();
    let queue = bench.open();
    assert_eq!(
        drain(&queue.group("billing", Start::Latest).unwrap()),
        ["3", "4", "5", "6"]
    );
    assert_eq!(
        drain(&queue.group("audit", Start::Earliest).unwrap()),
        Vec::<String>::new()
    );
    // It was removed, and so this one is new.
    assert_eq!(drain(&queue.group("mail", Start::At(6)).unwrap()), ["6"]);
    assert_eq!(
        drain(&queue.replay("audit", Start::At(5)).unwrap()),
        ["5", "6"]
    );
    assert_eq!(drain(&queue.consumer()).len(), 6);
    let stats = queue.stats();
    assert_eq!(stats.pending, 0, "{stats}");
}

#[test]
fn done_messages_are_kept_for_replays_as_long_as_was_asked_for() {
    let kept = |retain| {
        let bench = Bench::new();
        let queue = bench
            .builder()
            .retention(retain)
            .open_on(bench.disk.clone())
            .unwrap();
        for n in 0..400 {
            queue.publish(format!("{n:0200}")).unwrap();
        }
        while let Some(delivery) = queue.consumer().try_recv().unwrap() {
            delivery.ack().unwrap();
        }
        for _ in 0..3 {
            queue.publish("x").unwrap();
            queue.checkpoint().unwrap();
        }
        drain(&queue.replay("again", Start::Earliest).unwrap()).len()
    };
    let (none, some) = (kept(Retention::Acked), kept(Retention::Bytes(64 << 10)));
    assert!(none < 100 && (150..403).contains(&some), "{none} {some}");
}

/// Nothing held a producer back: the disk was full, or the memory.
#[test]
fn publishers_wait_while_the_queue_is_full() {
    in_time(|| {
        let bench = Bench::new();
        let queue = bench
            .builder()
            .max_pending(3)
            .open_on(bench.disk.clone())
            .unwrap();
        for n in 0..3 {
            queue.try_publish(format!("{n}")).unwrap();
        }
        let full = queue.try_publish("3");
        assert!(
            matches!(full, Err(PublishError::Full { pending: 3, .. })),
            "{full:?}"
        );
        let messages: Vec<Message> = (0..4).map(|_| Message::new("")).collect();
        let never = queue.publish_batch(&messages);
        assert!(matches!(never, Err(PublishError::Full { .. })));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.publish("3").unwrap());
            let task = scope.spawn(|| block_on(queue.publish_async("4")).unwrap());
            let consumer = queue.consumer();
            for _ in 0..5 {
                consumer.recv().unwrap().ack().unwrap();
            }
            waiting.join().unwrap();
            task.join().unwrap();
        });
        assert_eq!(queue.stats().pending, 0);
    });
}

#[test]
fn bytes_are_bounded_and_come_back() {
    let bench = Bench::new();
    let queue = bench
        .builder()
        .max_bytes(100 << 10)
        .open_on(bench.disk.clone())
        .unwrap();
    let payload = vec![1; 2000];
    let mut published = 0;
    while queue.try_publish(payload.clone()).is_ok() {
        published += 1;
    }
    assert!((20..70).contains(&published), "{published}");
    let consumer = queue.consumer();
    for _ in 0..published {
        consumer.recv().unwrap().ack().unwrap();
    }
    for _ in 0..3 {
        queue.checkpoint().unwrap();
        let _ = queue.try_publish("x");
    }
    queue.try_publish(payload).unwrap();
}

/// "Database is locked", with two workers.
#[test]
fn many_producers_and_consumers_lose_nothing_and_get_no_lock_error() {
    in_time(|| {
        let bench = Bench::new();
        let queue = bench.open();
        let syncs = bench.disk.syncs();
        let got = std::sync::Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            for producer in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    for n in 0..100 {
                        let payload = format!("{producer}:{n}");
                        if n % 2 == 0 {
                            queue.publish(payload).unwrap();
                        } else {
                            block_on(queue.publish_async(payload)).unwrap();
                        }
                    }
                });
            }
            for consumer in 0..4 {
                let (queue, got) = (&queue, &got);
                scope.spawn(move || {
                    let own = queue.consumer();
                    loop {
                        let delivery = if consumer % 2 == 0 {
                            own.recv()
                        } else {
                            block_on(own.recv_async())
                        };
                        let Ok(delivery) = delivery else {
                            return;
                        };
                        assert!(got.lock().unwrap().insert(delivery.to_vec()), "twice");
                        delivery.ack().unwrap();
                        if got.lock().unwrap().len() == 400 {
                            queue.close().unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(got.into_inner().unwrap().len(), 400);
        assert!(bench.disk.syncs() - syncs < 600);
        assert!(matches!(queue.publish("late"), Err(PublishError::Closed)));
    });
}

/// A lock file was left behind by a kill, and had to be removed by hand; another was
/// broken open after a while, and two wrote.
#[test]
fn a_second_opener_is_refused_and_a_kill_leaves_no_lock() {
    let path = std::env::temp_dir().join(format!("tenfold-locked-{}", std::process::id()));
    let queue = Queue::open(&path).unwrap();
    let Err(OpenError::Locked { pid }) = Queue::open(&path) else {
        panic!("two have it open");
    };
    assert_eq!(pid, Some(std::process::id()));
    queue.publish("kept").unwrap();
    drop(queue);
    let queue = Queue::open(&path).unwrap();
    assert_eq!(&queue.consumer().recv().unwrap()[..], b"kept");
    drop(queue);
    std::fs::remove_dir_all(path).unwrap();
}

/// One flipped bit lost up to 679,153 acknowledged messages.
#[test]
fn a_flipped_bit_costs_one_message_which_is_reported_and_set_aside() {
    let bench = Bench::new();
    let queue = bench.open();
    for n in 0..20 {
        queue.publish(format!("message {n}")).unwrap();
    }
    bench.kill(queue);
    let name = "000000000001.segment";
    let mut bytes = bench.disk.contents(name).unwrap();
    let at = bytes.windows(10).position(|w| w == b"message 7\0").unwrap();
    bytes[at] ^= 1;
    bench.disk.set_contents(name, &bytes);
    let queue = bench.open();
    let damage = &queue.recovery().damage;
    assert_eq!((damage.len(), damage[0].kind), (1, DamageKind::Record));
    assert_eq!(damage[0].messages, 8..9);
    let saved = damage[0].saved.clone().unwrap();
    assert!(bench.disk.contents(&saved).is_some());
    assert_eq!(queue.stats().lost, 1);
    assert_eq!(drain(&queue.consumer()).len(), 19);
    // Not reported again: it is known.
    bench.kill(queue);
    assert!(bench.open().recovery().is_clean());
}

/// The index was trusted over the log; both copies gone, and nobody could start.
#[test]
fn without_checkpoints_messages_may_come_again_and_none_is_lost() {
    let bench = Bench::new();
    let queue = bench.open();
    for n in 0..300 {
        queue.publish(format!("{n:0100}")).unwrap();
    }
    let consumer = queue.consumer();
    for _ in 0..100 {
        consumer.recv().unwrap().ack_durable().unwrap();
    }
    queue.checkpoint().unwrap();
    bench.kill(queue);
    for name in bench.disk.list().unwrap() {
        if name.contains(".checkpoint") {
            bench.disk.set_contents(&name, b"rubbish");
        }
    }
    let queue = bench.open();
    assert!(queue.recovery().checkpoints_lost > 0);
    assert!(drain(&queue.consumer()).len() >= 200);
}

#[test]
fn a_message_that_does_not_fit_is_refused_before_anything_changes() {
    let bench = Bench::new();
    let queue = bench.open();
    let refused = queue.publish(vec![0; 40 << 10]);
    assert!(
        matches!(refused, Err(PublishError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(queue.publish("fits").unwrap().id, 1);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let wrong = [
        Queue::builder().segments(100, 1 << 20),
        Queue::builder().max_deliver(0),
        Queue::builder().max_in_flight(0),
        Queue::builder().visibility(Duration::ZERO),
        Queue::builder().retry(Backoff::constant(SECOND).jitter(2.0)),
    ];
    for builder in wrong {
        let refused = builder.open_on(SimDisk::new(1));
        assert!(matches!(refused, Err(OpenError::Setting { .. })));
    }
}

#[test]
fn a_task_that_waits_is_woken_by_a_message_a_lease_and_a_delay() {
    let bench = Bench::new();
    let queue = bench.open();
    let consumer = queue.consumer();
    let mut waiting = Box::pin(consumer.recv_async());
    assert!(poll(waiting.as_mut()).is_pending());
    queue.publish(Message::new("late").delay(SECOND)).unwrap();
    assert!(poll(waiting.as_mut()).is_pending());
    bench.clock.advance(2 * SECOND);
    let delivery = block_on(waiting).unwrap();
    let mut waiting = Box::pin(consumer.recv_async());
    assert!(poll(waiting.as_mut()).is_pending());
    bench.clock.advance(10 * SECOND);
    assert_eq!(block_on(waiting).unwrap().attempt(), 2);
    assert!(delivery.ack().is_err());
}

/// Everything pending lay in memory.
#[test]
fn pending_messages_cost_a_bit_and_a_quarter_of_a_byte() {
    let path = std::env::temp_dir().join(format!("tenfold-memory-{}", std::process::id()));
    let messages = 100_000
        * std::env::var("TENFOLD_SEEDS")
            .map_or(1, |t| t.parse().unwrap())
            .min(100);
    let builder = || {
        Queue::builder()
            .durability(Durability::Memory)
            .visibility(SECOND)
    };
    let queue = builder().open(&path).unwrap();
    let batch: Vec<Message> = (0..1000)
        .map(|n| Message::new(format!("{n:0100}")))
        .collect();
    for _ in 0..messages / 1000 {
        queue.publish_batch(&batch).unwrap();
    }
    queue.flush().unwrap();
    let consumer = queue.consumer();
    // Every second one of a part is done: the worst for what is known of them.
    for (n, delivery) in consumer.recv_batch(10_000).unwrap().into_iter().enumerate() {
        if n % 2 == 0 {
            delivery.ack().unwrap();
        } else {
            delivery.nack_in(Duration::ZERO).unwrap();
        }
    }
    let stats = queue.stats();
    println!(
        "{} pending in {} bytes of memory",
        stats.pending, stats.memory_bytes
    );
    // Each message that failed once is noted by itself.
    assert!(
        stats.memory_bytes < messages / 2 + 64 * 5000 + 4096,
        "{stats:?}"
    );
    assert_eq!(stats.pending, messages - 5000);
    queue.close().unwrap();
    drop((consumer, queue));
    let queue = builder().open(&path).unwrap();
    assert_eq!(queue.recovery().records, 0);
    assert_eq!(queue.stats().pending, messages - 5000);
    let delivery = queue.consumer().recv().unwrap();
    assert_eq!((delivery.id(), delivery.attempt()), (2, 2));
    drop(delivery);
    drop(queue);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_flush_makes_everything_last_at_every_level() {
    let levels = [
        Durability::Power,
        Durability::Interval(SECOND),
        Durability::Process,
        Durability::Memory,
    ];
    for (level, seed) in levels
        .into_iter()
        .flat_map(|l| (0..10).map(move |s| (l, s)))
    {
        let bench = Bench {
            disk: SimDisk::new(seed),
            clock: ManualClock::new(),
        };
        let queue = bench.builder().durability(level);
        let queue = queue.open_on(bench.disk.clone()).unwrap();
        for n in 0..20 {
            queue.publish(format!("{n:0100}")).unwrap();
        }
        // Written by now, and not synced.
        queue.consumer().recv().unwrap().ack().unwrap();
        queue.flush().unwrap();
        bench.disk.crash_at(bench.disk.operations() + 1);
        drop(queue);
        bench.disk.power_cut();
        assert_eq!(drain(&bench.open().consumer()).len(), 19, "{level:?}");
    }
}

/// Segments were given up on the word of the newest checkpoint alone, and that was
/// damaged.
#[test]
fn the_older_checkpoint_is_enough() {
    let bench = Bench::new();
    let queue = bench.open();
    let consumer = queue.consumer();
    let mut done = BTreeSet::new();
    for n in 0..600 {
        queue.publish(format!("{n:0100}")).unwrap();
        // Every tenth stays, so that acks of one segment are about another.
        if n % 10 == 9 {
            for delivery in consumer.recv_batch(10).unwrap().into_iter().skip(1) {
                done.insert(delivery.id());
                delivery.ack_durable().unwrap();
            }
        }
        if n % 100 == 99 {
            queue.checkpoint().unwrap();
        }
    }
    drop(consumer);
    bench.kill(queue);
    let names = bench.disk.list().unwrap();
    let newest = names
        .iter()
        .rfind(|name| name.contains(".checkpoint"))
        .unwrap();
    bench.disk.set_contents(newest, b"rubbish");
    bench.clock.advance(60 * SECOND);
    let queue = bench.open();
    assert_eq!(queue.recovery().checkpoints_lost, 1);
    let mut again = BTreeSet::new();
    while let Some(delivery) = queue.consumer().try_recv().unwrap() {
        assert!(
            !done.contains(&delivery.id()),
            "{} came back",
            delivery.id()
        );
        again.insert(delivery.id());
        delivery.ack().unwrap();
    }
    assert_eq!(again.len() + done.len(), 600);
}
