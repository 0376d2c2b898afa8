//! Queues that nobody has open: looked through, read and repaired, damaged or not.
//!
//! `TENFOLD_SEEDS=10` tries ten times as much damage, `TENFOLD_SEED=7` one case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{
    Backoff, Fix, Message, OpenError, Priority, Queue, QueueBuilder, Start, Verification,
};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const GROUPS: [&str; 2] = ["default", "audit"];
const CASES: u64 = 500;
/// Cases that have shown faults.
const KEPT: [u64; 7] = [828, 839, 1038, 1359, 1426, 1593, 1613];

#[test]
fn what_verify_says_is_lost_is_what_an_opening_loses_and_a_repair_gives_up() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let cases = CASES * number("TENFOLD_SEEDS").unwrap_or(1);
    let mut tally = Tally::default();
    match number("TENFOLD_SEED") {
        Some(seed) => Case::new(seed).check(&mut tally),
        None => (0..cases)
            .chain(KEPT)
            .for_each(|seed| Case::new(seed).check(&mut tally)),
    }
    println!("{tally:?}");
    if number("TENFOLD_SEED").is_none() {
        assert!(
            tally.damaged > cases / 4 && tally.with_losses > cases / 10,
            "{tally:?}"
        );
        assert!(
            tally.records > 0 && tally.headers > 0 && tally.copies > 0,
            "{tally:?}"
        );
        assert!(
            tally.sizes > 0 && tally.checkpoints > 0 && tally.torn > 0,
            "{tally:?}"
        );
    }
}

#[derive(Debug, Default)]
struct Tally {
    damaged: u64,
    with_losses: u64,
    records: u64,
    headers: u64,
    copies: u64,
    sizes: u64,
    checkpoints: u64,
    torn: u64,
}

/// A queue after a random life, and damage done to it.
struct Case {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    clock: ManualClock,
    payloads: BTreeMap<u64, Vec<u8>>,
}

/// Which messages each group gets, and what they are.
type Delivered = BTreeMap<&'static str, BTreeMap<u64, Vec<u8>>>;

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut case = Self {
            seed,
            disk: SimDisk::new(rng.next_u64()),
            rng,
            clock: ManualClock::new(),
            payloads: BTreeMap::new(),
        };
        let lives = 1 + case.rng.below(3);
        for _ in 0..lives {
            case.live();
        }
        case
    }

    fn builder(&mut self) -> QueueBuilder {
        Queue::builder()
            .segments(16 << 10, 16 << 10)
            .checkpoint_every(8 << 10)
            .visibility(10 * SECOND)
            .retry(Backoff::constant(SECOND))
            .max_deliver(3)
            .clock(self.clock.clock())
            .seed(self.rng.next_u64())
    }

    fn live(&mut self) {
        let queue = self.builder().open_on(self.disk.clone()).unwrap();
        let consumers = GROUPS.map(|name| queue.group(name, Start::Earliest).unwrap());
        for _ in 0..self.rng.below(90) {
            match self.rng.below(8) {
                0 => self.clock.advance(SECOND),
                1..5 => {
                    let len = match self.rng.below(10) {
                        0 => self.rng.below(3000),
                        _ => self.rng.below(300),
                    };
                    let payload = vec![self.rng.next_u64() as u8; len as usize];
                    let mut message = Message::new(payload.clone());
                    if self.rng.below(6) == 0 {
                        message = message.delay(3 * SECOND);
                    }
                    if self.rng.below(6) == 0 {
                        message = message.priority(Priority::new(self.rng.below(8) as u8));
                    }
                    let id = queue.publish(message).unwrap().id;
                    self.payloads.insert(id, payload);
                }
                _ => {
                    let consumer = &consumers[self.rng.below(2) as usize];
                    let batch = consumer.recv_batch_timeout(4, Duration::ZERO).unwrap();
                    match self.rng.below(6) {
                        0 => drop(batch),
                        1 => batch.into_iter().for_each(|d| d.reject("no").unwrap()),
                        _ => consumer.ack_all_durable(batch).unwrap(),
                    }
                }
            }
        }
        match self.rng.below(3) {
            0 => queue.close().unwrap(),
            1 => queue.flush().unwrap(),
            _ => {}
        }
        // In the middle of a last write, perhaps.
        self.disk
            .crash_at(self.disk.operations() + 1 + self.rng.below(2));
        let _ = queue.publish(vec![1; 200]);
        drop((queue, consumers));
        self.disk.power_cut();
    }

    /// What everybody gets from a copy of this disk.
    fn drain(&mut self, disk: &SimDisk) -> Delivered {
        let clock = self.clock.clone();
        clock.advance(100 * SECOND);
        let queue = self.builder().open_on(disk.copy(1)).unwrap();
        let mut delivered = Delivered::new();
        for name in GROUPS {
            let consumer = queue.group(name, Start::Earliest).unwrap();
            let mut got = BTreeMap::new();
            while let Some(delivery) = consumer.try_recv().unwrap() {
                assert!(got.insert(delivery.id(), delivery.to_vec()).is_none());
                delivery.ack().unwrap();
            }
            let dead = queue.dead_letters_of(name).unwrap();
            for letter in dead.list() {
                if let Some(bytes) = dead.read(letter.id).unwrap() {
                    assert!(got.insert(letter.id, bytes.to_vec()).is_none());
                }
            }
            for (id, bytes) in &got {
                let known = self.payloads.get(id).is_none_or(|known| known == bytes);
                assert!(known, "seed {}: {id} is not what it was", self.seed);
            }
            delivered.insert(name, got);
        }
        delivered
    }

    fn damage(&mut self) {
        for _ in 0..=self.rng.below(3) {
            let names = self.disk.list().unwrap();
            let segments = |name: &&String| name.ends_with(".segment");
            let last = names.iter().rfind(segments).cloned();
            let is_data = |name: &&String| segments(name) || name.ends_with(".checkpoint");
            let names: Vec<_> = names.iter().filter(is_data).collect();
            let name = names[self.rng.below(names.len() as u64) as usize];
            let mut bytes = self.disk.contents(name).unwrap();
            let len = bytes.len() as u64;
            let at = self.rng.below(len) as usize;
            match self.rng.below(8) {
                0 if Some(name) != last.as_ref() => bytes.truncate(at),
                1 => bytes.truncate(at.max(4096).min(bytes.len())),
                2 | 3 => {
                    let start = at / 512 * 512;
                    let end = (start + (512 << self.rng.below(4))).min(bytes.len());
                    bytes[start..end].fill(0);
                }
                // Without the last one nobody can say what was in it.
                4 if Some(name) != last.as_ref() => {
                    self.disk.remove(name).unwrap();
                    self.disk.sync_dir().unwrap();
                    continue;
                }
                5 => bytes[..512.min(len as usize)].fill(7),
                6 if Some(name) != last.as_ref() => bytes.fill(0),
                _ => bytes[at] ^= 1 << self.rng.below(8),
            }
            self.disk.set_contents(name, &bytes);
        }
    }

    fn check(mut self, tally: &mut Tally) {
        let seed = self.seed;
        let disk = self.disk.clone();
        let whole = Queue::verify_on(disk.clone()).unwrap();
        assert!(whole.is_clean(), "seed {seed}: {whole}");
        let wanted = self.drain(&disk);
        self.damage();

        // Looking changes nothing.
        let before = contents(&disk);
        let found = Queue::verify_on(disk.clone()).unwrap();
        let reader = Queue::open_read_only_on(disk.clone()).unwrap();
        let read: BTreeMap<u64, Vec<u8>> = reader
            .messages(1)
            .map(|message| {
                message
                    .map(|message| (message.id, message.payload.to_vec()))
                    .unwrap()
            })
            .collect();
        drop(reader);
        assert!(contents(&disk) == before, "seed {seed}");

        // What it says is what an opening makes of it.
        let lost: BTreeSet<u64> = found.lost.iter().cloned().flatten().collect();
        let opened = self.drain(&disk);
        self.compare(&found, &wanted, &opened, &lost);
        for (id, bytes) in opened.values().flatten() {
            assert_eq!(read.get(id), Some(bytes), "seed {seed}: {id} is not read");
        }

        // And a repair mends it, once and for all.
        let repair = Queue::repair_on(disk.clone()).unwrap();
        assert_eq!(repair.found, found, "seed {seed}");
        let needed = !found.is_clean() || found.torn.is_some();
        assert_eq!(repair.fixes.is_empty(), !needed, "seed {seed}: {repair}");
        for fix in &repair.fixes {
            self.check_fix(fix, &before, tally);
        }
        let after = Queue::verify_on(disk.clone()).unwrap();
        assert!(
            after.is_clean() && after.torn.is_none(),
            "seed {seed}: {repair}\n{after}"
        );
        let repaired = contents(&disk);
        let again = Queue::repair_on(disk.clone()).unwrap();
        assert_eq!(again.fixes, [], "seed {seed}");
        assert!(contents(&disk) == repaired, "seed {seed}");
        let delivered = self.drain(&disk);
        self.compare(&found, &wanted, &delivered, &lost);
        // A write that lacks zeros at its end, because the file was cut there, is whole again with them.
        let known = |got: &BTreeMap<u64, Vec<u8>>| -> BTreeMap<u64, Vec<u8>> {
            let known = |id: &u64| found.torn.is_none() || *id < found.next_id;
            let got = got.iter().filter(|(id, _)| known(id));
            got.map(|(id, bytes)| (*id, bytes.clone())).collect()
        };
        for group in found.groups.iter().map(|group| &group.name[..]) {
            let (delivered, opened) = (known(&delivered[group]), known(&opened[group]));
            assert_eq!(delivered, opened, "seed {seed}: {repair}");
        }
        let queue = self.builder().open_on(disk).unwrap();
        assert!(
            queue.recovery().is_clean(),
            "seed {seed}: {}",
            queue.recovery()
        );
        tally.damaged += u64::from(!found.is_clean());
        tally.with_losses += u64::from(!lost.is_empty());
    }

    fn compare(
        &self,
        found: &Verification,
        wanted: &Delivered,
        delivered: &Delivered,
        lost: &BTreeSet<u64>,
    ) {
        let seed = self.seed;
        for (group, wanted) in wanted {
            // That there is a group may be lost as well.
            if !found.groups.iter().any(|known| known.name == *group) {
                continue;
            }
            for id in wanted.keys() {
                // What the very end of the log had, nobody can say: nothing vouches for it.
                let is_end = *id >= found.next_id || found.torn.is_some();
                let is_there = delivered[group].contains_key(id);
                assert!(
                    is_there || lost.contains(id) || is_end,
                    "seed {seed}: {group} misses {id}\n{found}"
                );
            }
        }
        for id in lost {
            let somebody = delivered.values().any(|got| got.contains_key(id));
            assert!(!somebody, "seed {seed}: {id} is not lost\n{found}");
        }
    }

    /// What was written over was kept.
    fn check_fix(&self, fix: &Fix, before: &BTreeMap<String, Vec<u8>>, tally: &mut Tally) {
        let segment = |number: &u64| &before[&format!("{number:012}.segment")];
        let saved_as = |name: &String| self.disk.contents(name).expect("it was kept");
        match fix {
            Fix::Record {
                segment: number,
                bytes,
                saved,
            } => {
                tally.records += 1;
                let (start, end) = (bytes.start as usize, bytes.end as usize);
                let mut was = segment(number).clone();
                was.resize(was.len().max(end), 0);
                assert_eq!(saved_as(saved), was[start..end], "seed {}", self.seed);
            }
            Fix::HeaderCopy {
                segment: number,
                saved,
            } => {
                tally.copies += 1;
                let (was, saved) = (segment(number), saved_as(saved));
                let is_there = was.windows(512).any(|bytes| bytes == &saved[..]);
                // Or it was cut off.
                assert!(is_there || was.len() < 16 << 10, "seed {}", self.seed);
            }
            Fix::Segment {
                segment: number,
                saved,
            } => {
                tally.headers += 1;
                assert_eq!(&saved_as(saved), segment(number));
            }
            Fix::Checkpoint { file, saved } => {
                tally.checkpoints += 1;
                assert_eq!(saved_as(saved), before[file]);
            }
            Fix::Size { .. } => tally.sizes += 1,
            Fix::Torn { .. } => tally.torn += 1,
            _ => {}
        }
    }
}

fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter();
    names
        .map(|name| {
            let bytes = disk.contents(&name).unwrap();
            (name, bytes)
        })
        .collect()
}

// ---- on a real disk

/// A closed queue with two messages.
fn closed(name: &str) -> PathBuf {
    let path = format!("offline-{name}-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path);
    let _ = fs::remove_dir_all(&path);
    let queue = Queue::builder()
        .segments(16 << 10, 16 << 10)
        .open(&path)
        .unwrap();
    queue.publish_batch(&["a".into(), "b".into()]).unwrap();
    queue.close().unwrap();
    path
}

/// Names, contents, and when they were changed last.
fn files(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|file| {
            let changed = fs::metadata(&file).unwrap().modified().unwrap();
            let bytes = fs::read(&file).unwrap();
            (file, (bytes, changed))
        })
        .collect()
}

#[test]
fn readers_leave_no_trace_and_keep_writers_out() {
    let path = closed("readers");
    let before = files(&path);
    let one = Queue::open_read_only(&path).unwrap();
    let other = Queue::open_read_only(&path).unwrap();
    assert!(Queue::verify(&path).unwrap().is_clean());
    for reader in [&one, &other] {
        let payloads = reader.messages(2).map(|message| message.unwrap().payload);
        assert_eq!(payloads.collect::<Vec<_>>(), ["b"]);
        assert_eq!(reader.pending("default", 1).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(reader.read(3).unwrap(), None);
        assert_eq!(
            (reader.next_id(), reader.pending("none", 1).count()),
            (3, 0)
        );
    }
    assert!(matches!(Queue::open(&path), Err(OpenError::Locked { .. })));
    assert!(matches!(
        Queue::repair(&path),
        Err(OpenError::Locked { .. })
    ));
    drop((one, other));
    assert!(files(&path) == before);

    let queue = Queue::open(&path).unwrap();
    let own = Some(std::process::id());
    for refused in [
        Queue::verify(&path).map(drop),
        Queue::repair(&path).map(drop),
        Queue::open_read_only(&path).map(drop),
    ] {
        assert!(matches!(refused, Err(OpenError::Locked { pid }) if pid == own));
    }
    drop(queue);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn where_there_is_no_directory_none_is_made() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("offline-nowhere");
    for refused in [
        Queue::verify(&path).map(drop),
        Queue::repair(&path).map(drop),
        Queue::open_read_only(&path).map(drop),
    ] {
        let not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        assert!(matches!(refused, Err(OpenError::Io(error)) if not_found(&error)));
    }
    assert!(!path.exists());
}

/// Has a segment's header say that it needs something.
fn demand(path: &Path, word: usize, features: u32) {
    let file = path.join("000000000001.segment");
    let mut bytes = fs::read(&file).unwrap();
    let copy = bytes.len() - 4096;
    for at in [0, copy] {
        let header = &mut bytes[at..at + 512];
        header[word..word + 4].copy_from_slice(&features.to_le_bytes());
        let crc = crc32c::crc32c(&header[..508]);
        header[508..].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&file, bytes).unwrap();
}

#[test]
fn what_only_writers_must_know_is_read_and_not_written() {
    let path = closed("only-readable");
    demand(&path, 12, 4);
    let before = files(&path);
    let reader = Queue::open_read_only(&path).unwrap();
    assert_eq!(reader.messages(1).count(), 2);
    drop(reader);
    assert!(Queue::verify(&path).unwrap().is_clean());
    assert!(files(&path) == before);
    for refused in [Queue::open(&path).map(drop), Queue::repair(&path).map(drop)] {
        let Err(OpenError::OnlyReadable { file, features: 4 }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(file, "000000000001.segment");
    }
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_readers_must_know_is_refused_by_name() {
    let path = closed("newer");
    demand(&path, 8, 2);
    for refused in [
        Queue::open(&path).map(drop),
        Queue::repair(&path).map(drop),
        Queue::verify(&path).map(drop),
        Queue::open_read_only(&path).map(drop),
    ] {
        let Err(OpenError::Newer { file, features: 2 }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(file, "000000000001.segment");
    }
    // What nobody needs to know is no reason.
    demand(&path, 8, 0);
    demand(&path, 16, 8);
    assert!(Queue::open(&path).unwrap().recovery().is_clean());
    fs::remove_dir_all(path).unwrap();
}
