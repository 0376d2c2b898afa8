//! Files that were written once and are kept: what reads them today must find in them
//! what was put there, and what writes today must write the same bytes.
//!
//! After a change of the format they are written anew, which is seen in the diff:
//! `cargo test --features queue,test-util --test queue golden -- --ignored`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{Backoff, Message, Priority, Queue, QueueBuilder, Start};
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// How the queue ended: it was closed, or it died in a write.
const ENDS: [&str; 2] = ["closed", "torn"];

#[test]
fn what_was_written_once_is_read_today() {
    for end in ENDS {
        // As it lies there: readers leave no trace.
        let found = Queue::verify(golden(end)).unwrap();
        assert!(found.is_clean(), "{end}: {found}");
        assert_eq!(found.torn.is_some(), end == "torn", "{end}: {found}");
        let expected = std::fs::read_to_string(golden(end).with_extension("txt")).unwrap();
        let facts = facts(&read(end));
        assert_eq!(facts, expected, "{end}:\n{facts}");
    }
}

#[test]
fn what_is_written_today_has_the_same_bytes() {
    for end in ENDS {
        let (then, now) = (contents(&read(end)), contents(&write(end)));
        assert!(then.keys().eq(now.keys()), "{end}: {:?}", now.keys());
        for (name, bytes) in &now {
            let differs = bytes.iter().zip(&then[name]).position(|(a, b)| a != b);
            assert!(
                &then[name] == bytes,
                "{end}: {name} differs from {differs:?} on"
            );
        }
    }
}

/// What the script below did, without a look at any file.
#[test]
fn everything_is_as_it_was_left() {
    for end in ENDS {
        let clock = ManualClock::new();
        clock.advance(20 * SECOND);
        let queue = builder(&clock).open_on(read(end)).unwrap();
        assert!(queue.recovery().is_clean(), "{end}: {}", queue.recovery());
        let dead = queue.dead_letters();
        let letters = dead.list();
        let reasons: Vec<_> = letters.iter().map(|l| (l.id, &l.reason[..])).collect();
        assert_eq!(
            reasons,
            [(1, "no JSON"), (6, "given back 2 times")],
            "{end}"
        );
        assert_eq!(dead.read(1).unwrap().unwrap(), "plain");
        let again = queue.publish(Message::new("x").dedup_id("17")).unwrap();
        assert!(again.duplicate && again.id == 7, "{end}");
        assert!(queue.dead_letters_of("removed").is_none());
        let ids = |name: &str| -> Vec<u64> {
            let consumer = queue.group(name, Start::Latest).unwrap();
            let mut all = Vec::new();
            while let Some(delivery) = consumer.try_recv().unwrap() {
                all.push(delivery.id());
                delivery.ack().unwrap();
            }
            all
        };
        // 3, 4 and 9 to 20 are done, 2 and 5 wait, and 39 is given back for a minute.
        let ready: Vec<u64> = [7, 8].into_iter().chain(21..39).collect();
        assert_eq!(ids("default"), ready, "{end}");
        // It has taken 4, which was urgent, and then 1 and 2.
        let ready: Vec<u64> = [39, 3].into_iter().chain(6..39).collect();
        assert_eq!(ids("audit"), ready, "{end}");
        assert_eq!(ids("late"), [39], "{end}");
        clock.advance(2 * HOUR);
        assert_eq!(ids("default"), [39, 2, 5], "{end}");
        assert_eq!(ids("audit"), [5], "{end}");
    }
}

/// Overwrites the files.
#[test]
#[ignore = "writes the golden files anew"]
fn write_the_golden_files() {
    for end in ENDS {
        let (disk, directory) = (write(end), golden(end));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in contents(&disk) {
            std::fs::write(directory.join(name), bytes).unwrap();
        }
        std::fs::write(directory.with_extension("txt"), facts(&disk)).unwrap();
    }
}

fn builder(clock: &ManualClock) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 16 << 10)
        .checkpoint_every(1 << 30)
        .visibility(10 * SECOND)
        .retry(Backoff::constant(SECOND))
        .max_deliver(2)
        .dedup_window(24 * HOUR)
        .clock(clock.clock())
        .seed(20)
}

/// A bit of everything. The same each time: seed and clock are.
fn write(end: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    let clock = ManualClock::new();
    clock.advance(SECOND);
    let queue = builder(&clock).open_on(disk.clone()).unwrap();
    let publish = |message: Message| queue.publish(message).unwrap().id;
    let audit = queue.group("audit", Start::Earliest).unwrap();
    publish("plain".into());
    queue
        .publish_batch(&["one of two".into(), "two of two".into()])
        .unwrap();
    publish(Message::new("urgent").priority(Priority::new(7)));
    publish(Message::new("delayed").delay(HOUR));
    publish(Message::new("short-lived").ttl(HOUR));
    publish(Message::new("order 17").dedup_id("17"));
    publish(Message::new(vec![9; 5000]));

    let worker = queue.consumer();
    let next = || worker.recv().unwrap();
    next().ack_durable().unwrap(); // urgent
    next().reject("no JSON").unwrap(); // plain
    next().nack_in(HOUR / 2).unwrap(); // one of two
    next().ack().unwrap(); // two of two
    drop(next()); // short-lived
    audit.ack_all_durable(audit.recv_batch(3).unwrap()).unwrap();
    queue.group("removed", Start::Latest).unwrap();
    queue.remove_group("removed").unwrap();
    queue.checkpoint().unwrap();

    clock.advance(10 * SECOND);
    for n in 9..39_u64 {
        publish(Message::new(n.to_le_bytes().repeat(75)));
    }
    // The short-lived one again, order 17, the large one, and 9 to 20.
    let batch = worker.recv_batch(15).unwrap();
    let (kept, done) = batch.into_iter().partition(|d| d.id() < 9);
    worker.ack_all(done).unwrap();
    drop::<Vec<_>>(kept);
    queue.checkpoint().unwrap();

    // Behind both checkpoints.
    queue.group("late", Start::Latest).unwrap();
    clock.advance(5 * SECOND);
    publish(Message::new("the last").priority(Priority::HIGH));
    let last = next();
    last.nack_in(60 * SECOND).unwrap();
    queue.flush().unwrap();
    if end == "closed" {
        queue.close().unwrap();
        return disk;
    }
    // Its second half did not come to the disk.
    let torn = vec![b'!'; 600];
    publish(Message::new(torn.clone()));
    let disk = disk.copy(2);
    let names = disk.list().unwrap();
    let name = names
        .iter()
        .rfind(|name| name.ends_with(".segment"))
        .unwrap();
    let mut bytes = disk.contents(name).unwrap();
    let at = bytes.windows(600).position(|bytes| bytes == torn).unwrap();
    bytes[at + 300..at + 600].fill(0);
    disk.set_contents(name, &bytes);
    disk
}

/// Everything that is in there, as text.
fn facts(disk: &SimDisk) -> String {
    let mut facts = String::new();
    let found = Queue::verify_on(disk.copy(1)).unwrap();
    // Files that are kept for later are not part of it.
    let found = found.to_string();
    let found = found.lines().filter(|line| !line.starts_with("bytes:"));
    found.for_each(|line| writeln!(facts, "{line}").unwrap());
    let reader = Queue::open_read_only_on(disk.copy(1)).unwrap();
    writeln!(facts, "{}", reader.recovery()).unwrap();
    for group in reader.groups() {
        let pending: Vec<u64> = reader.pending(&group.name, 1).collect();
        writeln!(facts, "{}: {pending:?}", group.name).unwrap();
        for letter in reader.dead_letters(&group.name) {
            writeln!(facts, "{}: {letter:?}", group.name).unwrap();
        }
    }
    for message in reader.messages(1) {
        let message = message.unwrap();
        let (len, start) = (message.payload.len(), message.payload.slice(..5));
        writeln!(
            facts,
            "message {}: level {}, {len} bytes from {start:?} on, not before {:?}, expires {:?}, \
             dedup id {:?}",
            message.id,
            message.priority.level(),
            message.not_before,
            message.expires,
            message.dedup_id
        )
        .unwrap();
    }
    facts
}

/// The kept files, on a disk.
fn read(end: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    for entry in std::fs::read_dir(golden(end)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        disk.set_contents(&name, &std::fs::read(entry.path()).unwrap());
    }
    disk
}

/// What is on a disk, without files that are kept for later.
fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter();
    names
        .filter(|name| !name.contains(".spare"))
        .map(|name| {
            let bytes = disk.contents(&name).unwrap();
            (name, bytes)
        })
        .collect()
}

fn golden(end: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    directory.join("tests/golden/queue-v1").join(end)
}
