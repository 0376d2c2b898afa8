//! The files of a queue with something wrong in them, wherever it may be: bits flipped,
//! sectors of zeros, ends missing, files missing, twice or swapped, lengths of all sizes.
//!
//! What is checked every time: whatever lay elsewhere is delivered, as it was published;
//! what is lost is told of; nothing that was acknowledged comes back, unless it was the
//! ack that was hit; what is published afterwards is not lost by another crash.
//!
//! `TENFOLD_SEEDS=1 cargo test --release --all-features --test queue bytes` tries every
//! byte, without it every so many.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::files::{self, ACK, GROUP, PAGE, PUBLISH, Record, SYNC, records, u64_at};
use crate::support::in_time;
use tenfold::queue::storage::{Disk, SimDisk};
use tenfold::queue::{Consumer, Message, Priority, Queue, QueueBuilder, Start};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

fn builder(clock: &ManualClock) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 16 << 10)
        .checkpoint_every(1 << 30)
        .dedup_window(60 * SECOND)
        .max_deliver(100)
        .tail(0)
        .clock(clock.clock())
        .seed(3)
}

/// A queue that was killed, and what is in it.
struct Fixture {
    disk: SimDisk,
    sent: BTreeMap<u64, Vec<u8>>,
    /// What was durably acknowledged, by the queue's own consumers and by a group's.
    done: [BTreeSet<u64>; 2],
    records: BTreeMap<String, Vec<Record>>,
}

/// What was changed: a part of a file.
type Hit<'a> = (&'a str, Range<usize>);

impl Fixture {
    /// Something of everything in three segments, with two checkpoints.
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let clock = ManualClock::new();
        let mut fixture = Self {
            disk: disk.clone(),
            sent: BTreeMap::new(),
            done: Default::default(),
            records: BTreeMap::new(),
        };
        let queue = builder(&clock).open_on(disk.clone()).unwrap();
        let own = queue.consumer();
        let other = queue.group("other", Start::Earliest).unwrap();
        for n in 0_u64.. {
            fixture.publish(&queue, n, if n % 7 == 6 { 3 } else { 1 });
            match n % 12 {
                0 | 3 | 9 => fixture.ack(0, &own),
                1 | 6 => fixture.ack(1, &other),
                4 => own.recv().unwrap().nack_in(2 * SECOND).unwrap(),
                8 => own.recv().unwrap().reject("on purpose").unwrap(),
                _ => clock.advance(SECOND / 4),
            }
            if n == 14 || n == 38 {
                queue.checkpoint().unwrap();
            }
            let third = disk.contents("000000000003.segment");
            if third.is_some_and(|third| records(&third).len() > 30) {
                break;
            }
        }
        // The last group has a batch that nothing vouches for.
        fixture.publish(&queue, 1000, 3);
        disk.crash_at(disk.operations() + 1);
        drop((queue, own, other));
        disk.kill();
        for name in fixture.names(".segment") {
            let bytes = disk.contents(&name).unwrap();
            fixture.records.insert(name, records(&bytes));
        }
        assert_eq!(fixture.records.len(), 3);
        assert_eq!(fixture.names(".checkpoint").len(), 2);
        fixture
    }

    fn publish(&mut self, queue: &Queue<SimDisk>, n: u64, count: u64) {
        let payload = |m: u64| vec![(n + m) as u8; 60 + (n * 41 + m * 13) as usize % 180];
        let message = |m: u64| {
            let message = Message::new(payload(m)).dedup_id((n * 10 + m).to_le_bytes());
            match n % 5 {
                2 => message.priority(Priority::new((n % 8) as u8)),
                3 => message.delay(5 * SECOND),
                _ => message,
            }
        };
        let messages: Vec<_> = (0..count).map(message).collect();
        let published = queue.publish_batch(&messages).unwrap();
        for (published, m) in published.iter().zip(0..) {
            self.sent.insert(published.id, payload(m));
        }
    }

    fn ack(&mut self, group: usize, consumer: &Consumer<SimDisk>) {
        for delivery in consumer.recv_batch(3).unwrap() {
            self.done[group].insert(delivery.id());
            delivery.ack_durable().unwrap();
        }
    }

    /// The same without its checkpoints: all of the log is read.
    fn without_checkpoints(&self) -> Self {
        let disk = self.disk.copy(1);
        for name in self.names(".checkpoint") {
            disk.remove(&name).unwrap();
        }
        disk.sync_dir().unwrap();
        Self {
            disk,
            sent: self.sent.clone(),
            done: self.done.clone(),
            records: self.records.clone(),
        }
    }

    fn names(&self, ending: &str) -> Vec<String> {
        let mut names = self.disk.list().unwrap();
        names.retain(|name| name.ends_with(ending));
        names
    }

    fn len(&self, name: &str) -> usize {
        self.disk.contents(name).unwrap().len()
    }

    fn is_last(&self, name: &str) -> bool {
        self.records.last_key_value().unwrap().0 == name
    }

    /// The messages that such hits may cost: what was hit, and of the last group, for
    /// which nothing vouches, the batches that it was in.
    fn costs(&self, hits: &[Hit<'_>]) -> BTreeSet<u64> {
        let mut costs = BTreeSet::new();
        for (name, hit) in hits {
            let Some(records) = self.records.get(*name) else {
                continue;
            };
            let points = records
                .iter()
                .filter(|r| r.kind == SYNC && !meet(&r.bytes, hit));
            // How far behind each all is durable, in units of eight; all ones say nothing.
            let behind = |r: &Record| u64_at(&r.payload, 0) >> 42;
            let said = points.filter(|r| behind(r) < (1 << 22) - 1);
            let vouched = said
                .map(|r| (r.bytes.start as u64).saturating_sub(8 * behind(r)))
                .max();
            let mut batch: Vec<u64> = Vec::new();
            let mut is_hit = false;
            for record in records {
                if record.begins_batch() {
                    (batch, is_hit) = (Vec::new(), false);
                }
                if record.kind == PUBLISH {
                    batch.push(record.id);
                    if meet(&record.bytes, hit) {
                        costs.insert(record.id);
                    }
                }
                is_hit |= meet(&record.bytes, hit);
                let is_tail =
                    self.is_last(name) && record.bytes.start as u64 >= vouched.unwrap_or(0);
                if record.ends_batch() && is_hit && is_tail {
                    costs.extend(&batch);
                }
            }
        }
        costs
    }

    /// The messages of a group that such hits may bring back.
    fn brings_back(&self, group: u32, hits: &[Hit<'_>]) -> BTreeSet<u64> {
        let mut again = BTreeSet::new();
        for (name, hit) in hits {
            let records = self.records.get(*name).into_iter().flatten();
            for record in records.filter(|record| meet(&record.bytes, hit)) {
                match record.kind {
                    ACK if record.acks().0 == group => {
                        again.extend(record.acks().1.into_iter().flatten());
                    }
                    // It begins anew.
                    GROUP if group > 0 => again.extend(self.sent.keys()),
                    _ => {}
                }
            }
        }
        again
    }

    /// Changes a copy of the files, and looks at what is there then. How many messages it
    /// cost.
    fn check(&self, what: &str, hits: &[Hit<'_>], change: impl FnOnce(&SimDisk)) -> usize {
        let disk = self.disk.copy(5);
        change(&disk);
        let clock = ManualClock::new();
        clock.advance(3600 * SECOND);
        let queue = builder(&clock).open_on(disk.clone());
        let queue = queue.unwrap_or_else(|error| panic!("{what}: {error}"));
        let (own, unreadable) = drain(&queue, "default");
        let found = [own, drain(&queue, "other").0];
        let recovery = queue.recovery().clone();
        let costs = self.costs(hits);
        let mut missing = BTreeSet::new();
        for (group, found) in found.iter().enumerate() {
            let again = self.brings_back(group as u32, hits);
            for (id, payload) in found {
                assert_eq!(Some(payload), self.sent.get(id), "{what}: {id} is another");
                let came_back = self.done[group].contains(id) && !again.contains(id);
                assert!(
                    !came_back,
                    "{what}: {id} came back to {group}: {recovery:?}"
                );
            }
            let open = self.sent.keys().filter(|id| !self.done[group].contains(id));
            for id in open.filter(|id| !found.contains_key(id)) {
                assert!(costs.contains(id), "{what}: {id} is lost: {recovery:?}");
                missing.insert(*id);
            }
        }
        let told = !recovery.is_clean()
            || recovery.torn.is_some()
            || queue.stats().lost + unreadable as u64 > 0;
        assert!(
            missing.is_empty() || told,
            "{what}: {missing:?} lost in silence"
        );
        let names = disk.list().unwrap();
        for damage in recovery.damage.iter().chain(&recovery.torn) {
            let saved = damage.saved.as_ref();
            assert!(
                saved.is_none_or(|saved| names.contains(saved)),
                "{what}: {damage:?}"
            );
        }
        // It goes on, and another crash takes none of this back.
        let after: Vec<_> = (0..3).map(|_| queue.publish("after").unwrap().id).collect();
        disk.crash_at(disk.operations() + 1);
        drop(queue);
        for _ in 0..2 {
            disk.power_cut();
            clock.advance(60 * SECOND);
            let queue = builder(&clock).open_on(disk.clone()).unwrap();
            let (again, _) = drain(&queue, "default");
            for id in found[0].keys().chain(&after) {
                assert!(
                    again.contains_key(id),
                    "{what}: {id} was there: {recovery:?}"
                );
            }
            disk.crash_at(disk.operations() + 1);
        }
        missing.len()
    }

    fn check_file(&self, what: &str, hit: &Hit<'_>, change: impl FnOnce(&mut Vec<u8>)) -> usize {
        let what = format!("{what} {:?} of {}", hit.1, hit.0);
        self.check(&what, std::slice::from_ref(hit), |disk| {
            let mut bytes = disk.contents(hit.0).unwrap();
            change(&mut bytes);
            disk.set_contents(hit.0, &bytes);
        })
    }
}

fn meet(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Everything that a group has, and dead letters that it has and cannot read. Nothing of
/// it is answered.
fn drain(queue: &Queue<SimDisk>, group: &str) -> (BTreeMap<u64, Vec<u8>>, usize) {
    let consumer = queue.group(group, Start::Earliest).unwrap();
    let mut all = BTreeMap::new();
    let mut held = Vec::new();
    loop {
        let some = consumer.recv_batch_timeout(1000, Duration::ZERO).unwrap();
        if some.is_empty() {
            break;
        }
        for delivery in some {
            let before = all.insert(delivery.id(), delivery.to_vec());
            assert_eq!(before, None, "{} comes twice", delivery.id());
            held.push(delivery);
        }
    }
    let dead = queue.dead_letters_of(group).unwrap();
    let mut unreadable = 0;
    for letter in dead.list() {
        match dead.read(letter.id).unwrap() {
            Some(payload) => drop(all.insert(letter.id, payload.to_vec())),
            None => unreadable += 1,
        }
    }
    (all, unreadable)
}

/// Whether every byte is tried.
fn is_thorough() -> bool {
    std::env::var_os("TENFOLD_SEEDS").is_some()
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

/// One flipped bit lost up to 679,153 acknowledged messages, or all that came after it, or
/// nobody could open the files.
#[test]
fn a_flipped_bit_costs_what_it_hit_wherever_it_is() {
    let whole = Fixture::new();
    let bare = whole.without_checkpoints();
    for fixture in [&whole, &bare] {
        let mut places = Vec::new();
        for name in fixture.names("") {
            // Zeros that mean nothing are not looked at so closely.
            let stride = |at: usize| {
                let means_something = at < 512 || (PAGE..3 * PAGE + 512).contains(&at);
                match (is_thorough(), means_something) {
                    (true, true) => 1,
                    (true, false) => 23,
                    (false, true) => 61,
                    (false, false) => 181,
                }
            };
            let mut at = 0;
            while at < fixture.len(&name) {
                places.push((name.clone(), at));
                at += stride(at);
            }
        }
        let most = AtomicUsize::new(0);
        each(&places, |(name, at)| {
            let cost = fixture.check_file("bit flipped at", &(name, *at..at + 1), |bytes| {
                bytes[*at] ^= 1 << (at % 8);
            });
            // A batch of three, in the last group.
            assert!(cost <= 1 || cost == 3, "{cost} lost at {at} of {name}");
            most.fetch_max(cost, Ordering::Relaxed);
        });
        assert!(!is_thorough() || most.into_inner() == 3);
    }
}

/// A file was full of zeros after a power cut, and took the place of what it had been.
#[test]
fn zeros_cost_what_they_are_in_the_place_of() {
    let whole = Fixture::new();
    let bare = whole.without_checkpoints();
    for fixture in [&whole, &bare] {
        let mut places = Vec::new();
        for name in fixture.names("") {
            let len = fixture.len(&name);
            for size in [512, PAGE, len] {
                let blocks = (0..len).step_by(size);
                places.extend(blocks.map(|at| (name.clone(), at..(at + size).min(len))));
            }
        }
        each(&places, |(name, zeros)| {
            fixture.check_file("zeros at", &(name, zeros.clone()), |bytes| {
                bytes[zeros.clone()].fill(0);
            });
        });
    }
}

/// A file that ended early ended the process that read it, or its reader never came to an
/// end.
#[test]
fn a_file_that_ends_early_costs_what_lay_behind() {
    let whole = Fixture::new();
    let bare = whole.without_checkpoints();
    for fixture in [&whole, &bare] {
        let mut places = Vec::new();
        for name in fixture.names("") {
            let len = fixture.len(&name);
            let step = if is_thorough() { 8 } else { 168 };
            let mut ends: Vec<_> = (0..len).step_by(step).collect();
            let records = fixture.records.get(&name).into_iter().flatten();
            let records = records.step_by(if is_thorough() { 1 } else { 9 });
            ends.extend(records.flat_map(|r| [r.bytes.start, r.bytes.start + 24, r.bytes.end]));
            places.extend(ends.into_iter().map(|end| (name.clone(), end, len)));
        }
        each(&places, |(name, end, len)| {
            fixture.check_file("nothing at", &(name, *end..*len), |bytes| {
                bytes.truncate(*end);
            });
        });
    }
}

/// A length was taken at its word: the process asked for more memory than there is, read
/// behind the end, or did not come back.
#[test]
fn lengths_of_all_sizes_are_not_taken_at_their_word() {
    let whole = Fixture::new();
    let mut places = Vec::new();
    let mut rng = Rng::with_seed(6);
    for (name, records) in &whole.records {
        for record in records.iter().step_by(if is_thorough() { 1 } else { 5 }) {
            let small = rng.next_u64() as u32 % 16_384;
            for len in [0, 1, small, rng.next_u64() as u32, u32::MAX] {
                places.push((name.clone(), record.clone(), len));
            }
        }
    }
    each(&places, |(name, record, len)| {
        let at = record.bytes.start;
        let change =
            |bytes: &mut Vec<u8>| bytes[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
        whole.check_file("length at", &(name, record.bytes.clone()), change);
        // With a sum that says it is right, it costs at most what it claims.
        let end = (at + 24)
            .saturating_add(*len as usize)
            .max(record.bytes.end);
        whole.check_file("sealed length at", &(name, at..end), |bytes| {
            change(bytes);
            files::seal_record(bytes, at);
        });
    });
    for name in whole.names(".checkpoint") {
        for at in (40..whole.len(&name) - 8).step_by(if is_thorough() { 4 } else { 20 }) {
            for word in [0, 1 << 20, 1 << 61, u64::MAX, rng.next_u64()] {
                let disk = whole.disk.copy(1);
                let mut bytes = disk.contents(&name).unwrap();
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                files::seal_checkpoint(&mut bytes);
                disk.set_contents(&name, &bytes);
                // It may lie about everything: it is read to an end.
                let clock = ManualClock::new();
                clock.advance(3600 * SECOND);
                if let Ok(queue) = builder(&clock).open_on(disk) {
                    let _ = queue.stats();
                    drain(&queue, "default");
                }
            }
        }
    }
}

/// Who restored a backup by hand mixed files up.
#[test]
fn files_that_are_missing_twice_there_or_swapped_cost_no_others() {
    let fixture = Fixture::new();
    let all = |name: &str| 0..fixture.len(name);
    let names = fixture.names("");
    for name in &names {
        let bytes = fixture.disk.contents(name).unwrap();
        if !fixture.is_last(name) {
            fixture.check(&format!("{name} removed"), &[(name, all(name))], |disk| {
                disk.remove(name).unwrap();
                disk.sync_dir().unwrap();
            });
        }
        for copy in [
            "000000000009.segment",
            "00000000000fffff.checkpoint",
            "copy of it",
        ] {
            let cost = fixture.check(&format!("{name} again as {copy}"), &[], |disk| {
                disk.set_contents(copy, &bytes);
            });
            assert_eq!(cost, 0);
        }
        for other in names.iter().filter(|other| *other > name) {
            let what = format!("{name} and {other} swapped");
            let hits = [(&name[..], all(name)), (&other[..], all(other))];
            fixture.check(&what, &hits, |disk| {
                let theirs = disk.contents(other).unwrap();
                disk.set_contents(other, &bytes);
                disk.set_contents(name, &theirs);
            });
        }
    }
}

/// A checkpoint of which the sums are right says that there are a trillion messages.
/// They were given up one by one.
#[test]
fn messages_that_are_only_claimed_are_given_up_together() {
    const CLAIMED: u64 = 1 << 40;
    in_time(|| {
        let disk = SimDisk::new(1);
        let queue = builder(&ManualClock::new()).open_on(disk.clone()).unwrap();
        queue.publish_batch(&["a".into(), "b".into()]).unwrap();
        let held = queue.consumer().recv().unwrap();
        queue.checkpoint().unwrap();
        disk.crash_at(disk.operations() + 1);
        drop((held, queue));
        disk.kill();
        let names = disk.list().unwrap();
        let name = names.iter().find(|n| n.ends_with(".checkpoint")).unwrap();
        let mut bytes = disk.contents(name).unwrap();
        // The number of the next message, and of the one behind the segment's last.
        for at in [48, 80 + 32] {
            assert_eq!(u64_at(&bytes, at), 3);
            bytes[at..at + 8].copy_from_slice(&(3 + CLAIMED).to_le_bytes());
        }
        files::seal_checkpoint(&mut bytes);
        disk.set_contents(name, &bytes);

        let queue = builder(&ManualClock::new()).open_on(disk.clone()).unwrap();
        let other = queue.group("other", Start::Earliest).unwrap();
        // In a group that waits for the first it is a hole, in one that does not an end.
        let (first, second) = (queue.consumer().recv(), queue.consumer().recv());
        assert_eq!(second.unwrap().id(), 2);
        assert!(queue.consumer().try_recv().unwrap().is_none());
        assert_eq!(
            (queue.stats().lost, queue.stats().pending),
            (CLAIMED, 2 + CLAIMED)
        );
        for delivery in other.recv_batch(9).unwrap() {
            delivery.ack().unwrap();
        }
        assert!(other.try_recv().unwrap().is_none());
        // Two groups have looked for them, and they are lost once.
        assert_eq!((queue.stats().lost, queue.stats().pending), (CLAIMED, 2));
        first.unwrap().ack().unwrap();
        assert_eq!(queue.publish("c").unwrap().id, 3 + CLAIMED);
        assert_eq!(&queue.consumer().recv().unwrap()[..], b"c");
    });
}
