//! Queues that nobody has open: looked through, read and repaired, damaged or not.
//!
//! `TENFOLD_SEEDS=10` tries ten times as much damage, `TENFOLD_SEED=7` one case.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{Backoff, Fix, Message, Priority, Queue, QueueBuilder, Start, Verification};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const GROUPS: [&str; 2] = ["default", "audit"];
const CASES: u64 = 1000;

#[test]
fn what_verify_says_is_lost_is_what_an_opening_loses_and_a_repair_gives_up() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let cases = CASES * number("TENFOLD_SEEDS").unwrap_or(1);
    let mut seen = Seen::default();
    match number("TENFOLD_SEED") {
        Some(seed) => Case::new(seed).check(&mut seen),
        None => (0..cases).for_each(|seed| Case::new(seed).check(&mut seen)),
    }
    println!("{seen:?}");
    if number("TENFOLD_SEED").is_none() {
        assert!(
            seen.damaged > cases / 4 && seen.with_losses > cases / 10,
            "{seen:?}"
        );
        assert!(
            seen.records > 0 && seen.headers > 0 && seen.copies > 0,
            "{seen:?}"
        );
        assert!(
            seen.sizes > 0 && seen.checkpoints > 0 && seen.torn > 0,
            "{seen:?}"
        );
    }
}

#[derive(Debug, Default)]
struct Seen {
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
        for _ in 0..1 + self.rng.below(3) {
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

    fn check(mut self, seen: &mut Seen) {
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
            self.check_fix(fix, &before, seen);
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
        for group in found.groups.iter().map(|group| &group.name[..]) {
            assert_eq!(delivered[group], opened[group], "seed {seed}: {repair}");
        }
        let queue = self.builder().open_on(disk).unwrap();
        assert!(
            queue.recovery().is_clean(),
            "seed {seed}: {}",
            queue.recovery()
        );
        seen.damaged += u64::from(!found.is_clean());
        seen.with_losses += u64::from(!lost.is_empty());
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
    fn check_fix(&self, fix: &Fix, before: &BTreeMap<String, Vec<u8>>, seen: &mut Seen) {
        let segment = |number: &u64| &before[&format!("{number:012}.segment")];
        let saved_as = |name: &String| self.disk.contents(name).expect("it was kept");
        match fix {
            Fix::Record {
                segment: number,
                bytes,
                saved,
            } => {
                seen.records += 1;
                let (start, end) = (bytes.start as usize, bytes.end as usize);
                let mut was = segment(number).clone();
                was.resize(was.len().max(end), 0);
                assert_eq!(saved_as(saved), was[start..end], "seed {}", self.seed);
            }
            Fix::HeaderCopy {
                segment: number,
                saved,
            } => {
                seen.copies += 1;
                let (was, saved) = (segment(number), saved_as(saved));
                let is_there = was.windows(512).any(|bytes| bytes == &saved[..]);
                // Or it was cut off.
                assert!(is_there || was.len() < 16 << 10, "seed {}", self.seed);
            }
            Fix::Segment {
                segment: number,
                saved,
            } => {
                seen.headers += 1;
                assert_eq!(&saved_as(saved), segment(number));
            }
            Fix::Checkpoint { file, saved } => {
                seen.checkpoints += 1;
                assert_eq!(saved_as(saved), before[file]);
            }
            Fix::Size { .. } => seen.sizes += 1,
            Fix::Torn { .. } => seen.torn += 1,
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
