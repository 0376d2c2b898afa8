//! A queue as the journal of a write-back: what it keeps, what it lets go of, and what it
//! says when the disk fails; and a process that is killed for real.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tenfold::cache::Cache;
use tenfold::cache::tier::PlainCodec;
use tenfold::cache::write_back::{Journal, Reason, Record, WriteBack};
use tenfold::cache::writer::{self, Change, Failure, MemoryStore, Writer};
use tenfold::queue::storage::{Fault, SimDisk};
use tenfold::queue::{PublishError, Queue, QueueBuilder};
use tenfold::queue_journal::{JournalError, QueueJournal};
use tenfold::rng::Rng;
use tenfold::task::block_on;

type Plain = QueueJournal<u64, String, SimDisk>;

fn builder() -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 32 << 10)
        .checkpoint_every(12 << 10)
        .seed(1)
}

fn open(disk: &SimDisk) -> Plain {
    QueueJournal::new(builder().open_on(disk.clone()).unwrap(), PlainCodec)
}

fn put(sequence: u64, value: &str) -> Record<u64, String> {
    Record {
        sequence,
        key: sequence % 3,
        change: Change::Put(value.to_owned()),
    }
}

fn replayed(journal: &Plain) -> Vec<Record<u64, String>> {
    let mut records = Vec::new();
    block_on(journal.replay(&mut |record| records.push(record))).unwrap();
    records
}

#[test]
fn what_was_appended_and_not_acked_comes_back_in_order() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let delete = Record {
        sequence: 4,
        key: 9,
        change: Change::Delete,
    };
    let first = [put(1, "a"), put(2, ""), put(3, "c")];
    block_on(journal.append(&first)).unwrap();
    block_on(journal.append(std::slice::from_ref(&delete))).unwrap();
    block_on(journal.ack(&[2, 77])).unwrap();
    block_on(journal.append(&[put(5, "e")])).unwrap(); // has the ack last
    assert_eq!(journal.len(), 4);
    drop(journal);
    disk.power_cut();
    let journal = open(&disk);
    let kept = [put(1, "a"), put(3, "c"), delete, put(5, "e")];
    assert_eq!(replayed(&journal), kept);
    // Shown again, to whoever comes next.
    assert_eq!(replayed(&journal), kept);
    block_on(journal.ack(&[1, 3, 4, 5])).unwrap();
    assert!(journal.is_empty() && replayed(&journal).is_empty());
}

/// Of acks that were written and not synced a power cut keeps any: an old change whose ack is
/// gone would come back over a newer one whose ack is not.
#[test]
fn acks_are_lost_from_the_end_only() {
    let (mut partly, mut rng) = (0, Rng::with_seed(1));
    for seed in 0..150 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk);
        let mut order: Vec<u64> = (1..=140).collect();
        let records: Vec<_> = order.iter().map(|n| put(*n, "value")).collect();
        block_on(journal.append(&records)).unwrap();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.below(at as u64 + 1) as usize);
        }
        // Written by themselves, the queue's 64 at a time.
        let acked = 1 + rng.below(140) as usize;
        for number in &order[..acked] {
            block_on(journal.ack(&[*number])).unwrap();
        }
        drop(journal);
        disk.power_cut();
        let journal = open(&disk);
        let back: Vec<u64> = replayed(&journal).iter().map(|r| r.sequence).collect();
        let first = order.iter().position(|number| back.contains(number));
        let first = first.unwrap_or(order.len());
        assert!(first <= acked, "seed {seed}: lost");
        let mut wanted = order[first..].to_vec();
        wanted.sort_unstable();
        assert_eq!(back, wanted, "seed {seed}: an ack outlived one before it");
        partly += u32::from((1..acked).contains(&first));
    }
    assert!(partly > 20, "{partly}");
}

#[test]
fn a_batch_that_is_larger_than_a_segment_goes_in_in_pieces() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let many: Vec<_> = (1..=40).map(|n| put(n, &"x".repeat(2000))).collect();
    block_on(journal.append(&many)).unwrap();
    drop(journal);
    disk.power_cut();
    assert_eq!(replayed(&open(&disk)), many);
    // One that fits nowhere is refused, and is not in the way of others.
    let journal = open(&disk);
    replayed(&journal);
    let refused = block_on(journal.append(&[put(41, &"x".repeat(40_000))]));
    assert!(matches!(
        refused,
        Err(JournalError::Append(PublishError::TooLarge { .. }))
    ));
    block_on(journal.append(&[put(42, "small")])).unwrap();
    assert_eq!(journal.len(), 41);
}

/// Acks come through the same door as appends: one that waited for room would wait for ever.
#[test]
fn a_full_queue_refuses_and_acks_make_room() {
    let disk = SimDisk::new(1);
    let queue = builder().max_pending(2).open_on(disk).unwrap();
    let journal = QueueJournal::new(queue, PlainCodec);
    let store = MemoryStore::<u64, String>::new();
    let back = WriteBack::builder(Cache::new(10), store.clone())
        .journal(journal)
        .build()
        .unwrap();
    back.put(1, "a".to_owned()).unwrap();
    back.put(2, "b".to_owned()).unwrap();
    let refused = back.put(3, "c".to_owned()).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Journal(_)), "{refused}");
    back.flush().unwrap();
    back.put(3, "c".to_owned()).unwrap();
    back.close().unwrap();
    assert_eq!(store.get(&3).as_deref(), Some("c"));
}

#[test]
fn after_an_append_of_which_nobody_knows_none_is_taken_until_it_is_opened_anew() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    block_on(journal.append(&[put(1, "a")])).unwrap();
    // The disk fails for good: so does going on in another file.
    for operation in 1..200 {
        disk.fail(disk.operations() + operation, Fault::Io);
    }
    let failed = block_on(journal.append(&[put(2, "b")]));
    assert!(matches!(
        failed,
        Err(JournalError::Append(PublishError::NotDurable(_)))
    ));
    let refused = block_on(journal.append(&[put(3, "c")]));
    assert!(
        matches!(refused, Err(JournalError::Uncertain)),
        "{refused:?}"
    );
    drop(journal);
    disk.kill();
    let disk = disk.copy(2);
    let kept = replayed(&open(&disk));
    assert!(kept.starts_with(&[put(1, "a")]) && kept.iter().all(|r| r.sequence < 3));
}

/// The caller left while its append was under way, and the next journal over the same queue
/// finds out what became of it.
#[test]
fn a_journal_that_was_left_half_way_is_taken_over_by_another() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let queue = journal.queue().clone();
    block_on(journal.append(&[put(1, "a")])).unwrap();
    drop(journal);
    let journal = QueueJournal::new(queue, PlainCodec);
    assert_eq!(replayed(&journal), [put(1, "a")]);
    block_on(journal.append(&[put(2, "b")])).unwrap();
    assert_eq!(replayed(&journal).len(), 2);
}

#[test]
fn what_is_no_change_is_refused_by_its_number_and_stays() {
    let disk = SimDisk::new(1);
    let queue = builder().open_on(disk.clone()).unwrap();
    queue.publish("not of this journal").unwrap();
    let journal = Plain::new(queue, PlainCodec);
    let refused = block_on(journal.replay(&mut |_| {}));
    assert!(
        matches!(refused, Err(JournalError::Foreign { id: 1, .. })),
        "{refused:?}"
    );
    assert_eq!(journal.queue().stats().pending, 1);
}

#[test]
fn the_disk_does_not_grow_with_what_was_flushed() {
    let disk = SimDisk::new(1);
    let store = MemoryStore::<u64, String>::new();
    let back = WriteBack::builder(Cache::new(100), store)
        .journal(open(&disk))
        .build()
        .unwrap();
    let mut most = 0;
    for round in 0..60 {
        for key in 0..50 {
            back.put(key, "x".repeat(100 + round)).unwrap();
        }
        back.flush().unwrap();
        most = most.max(disk.used());
    }
    // 600 KB went through; segments are 32 KiB at most.
    assert!(most < 400 << 10, "{most}");
}

/// Twenty times over: a process prints what was acknowledged, and is killed between that and
/// the flush, in the middle of one, or wherever it is.
#[test]
fn a_process_that_is_killed_has_lost_nothing_it_acknowledged() {
    let directory = std::env::temp_dir().join(format!("tenfold-killed-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    let mut rng = Rng::with_seed(3);
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let mut behind = 0;
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "journal::the_process_that_is_killed",
                "--nocapture",
            ])
            .env(CHILD, &directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: &str| {
            let words = line.strip_prefix("acknowledged ")?;
            let (key, value) = words.split_once(' ')?;
            acknowledged.insert(key.parse().ok()?, value.parse().ok()?);
            Some(())
        };
        let mut left = 1 + rng.below(60);
        while left > 0 {
            let line = lines.next().expect("the child goes on").unwrap();
            left -= u64::from(note(&line).is_some());
        }
        child.kill().unwrap();
        // What it had said before it died.
        for line in lines {
            note(&line.unwrap());
        }
        child.wait().unwrap();
        let store = FileStore::new(&directory);
        behind += acknowledged
            .iter()
            .filter(|(key, value)| store.get(**key) < Some(**value))
            .count();
        let back = open_files(&directory);
        for (key, value) in &acknowledged {
            let read = back.get(key).or_else(|| store.get(*key));
            assert!(read >= Some(*value), "round {round}, key {key}: {read:?}");
        }
        back.close().unwrap();
        for (key, value) in &mut acknowledged {
            let stored = store.get(*key).unwrap_or(0);
            // One more may have been accepted without being heard of.
            let is_right = *value == stored || *value + 1 == stored;
            assert!(is_right, "round {round}, key {key}: {stored}, not {value}");
            // The next life counts on from what is stored.
            *value = stored;
        }
    }
    assert!(behind > 50, "killed before the flush: {behind}");
    fs::remove_dir_all(directory).unwrap();
}

const CHILD: &str = "TENFOLD_KILLED_CHILD";

/// Not a test of its own: what the one above kills.
#[test]
fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let back = open_files(&directory);
    let store = FileStore::new(&directory);
    let mut rng = Rng::with_seed(u64::from(std::process::id()));
    loop {
        let key = rng.below(8);
        let value = back.get(&key).or_else(|| store.get(key)).unwrap_or(0) + 1;
        back.put(key, value).unwrap();
        // In one call: a line is there whole or not at all.
        let line = format!("acknowledged {key} {value}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        if rng.below(25) == 0 {
            back.flush().unwrap();
        }
    }
}

fn open_files(directory: &Path) -> WriteBack<u64, u64> {
    let queue = Queue::open(directory.join("journal")).unwrap();
    assert!(queue.recovery().is_clean(), "{}", queue.recovery());
    WriteBack::builder(Cache::new(4), FileStore::new(directory).writer())
        .journal(QueueJournal::new(queue, PlainCodec))
        .batch_size(3)
        .build()
        .unwrap()
}

/// A file per key: a kill leaves the old one or the new one.
#[derive(Clone)]
struct FileStore(PathBuf);

impl FileStore {
    fn new(directory: &Path) -> Self {
        let store = directory.join("store");
        fs::create_dir_all(&store).unwrap();
        Self(store)
    }

    fn get(&self, key: u64) -> Option<u64> {
        let text = fs::read_to_string(self.0.join(key.to_string())).ok()?;
        Some(text.parse().unwrap())
    }

    fn writer(self) -> impl Writer<u64, u64, Error = std::io::Error> {
        writer::from_fn(move |key: &u64, change: &Change<u64>| {
            let write = || {
                let new = self.0.join("new");
                fs::write(&new, change.value().unwrap_or(&0).to_string())?;
                fs::rename(&new, self.0.join(key.to_string()))
            };
            write().map_err(Failure::Unavailable)
        })
    }
}
