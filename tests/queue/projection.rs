//! Read models over a queue: what they fold, what they refuse, and what they say.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::quiet_panic;
use tenfold::queue::projection::{
    FileStore, FileStoreError, MemoryStore, Poison, Projection, ProjectionBuilder, ProjectionError,
    ProjectionStore,
};
use tenfold::queue::storage::{Disk, Fault, SimDisk};
use tenfold::queue::{Durability, Event, Message, Priority, Queue, QueueBuilder, Retention, Start};
use tenfold::time::ManualClock;

/// Of all values, in the order in which they were folded: nothing may be missing or come twice.
type Values = Vec<u64>;

fn event_log() -> QueueBuilder {
    let small = Queue::builder().segments(16 << 10, 32 << 10).seed(1);
    small.checkpoint_every(8 << 10).retention(Retention::All)
}

fn publish(queue: &Queue<SimDisk>, values: impl IntoIterator<Item = u64>) {
    let message = |value: u64| Message::new(value.to_le_bytes().to_vec());
    let messages: Vec<_> = values.into_iter().map(message).collect();
    queue.publish_batch(&messages).unwrap();
}

fn value(event: &Event) -> u64 {
    u64::from_le_bytes(event.payload()[..8].try_into().unwrap())
}

fn collect() -> ProjectionBuilder<Values> {
    Projection::builder("values", |values: &mut Values, event: &Event| {
        values.push(value(event));
        Ok::<(), Infallible>(())
    })
}

#[test]
fn it_goes_on_where_it_was_saved() {
    let disk = SimDisk::new(1);
    let queue = event_log().open_on(disk.clone()).unwrap();
    publish(&queue, 1..=10);
    let store = MemoryStore::new();
    let mut values = collect().open(&queue, store.clone()).unwrap();
    assert_eq!((values.position(), values.lag()), (Some(0), 10));
    assert_eq!(values.run_once(4).unwrap().folded, 4);
    assert_eq!((values.position(), values.lag()), (Some(4), 6));
    drop((queue, values));
    disk.power_cut();
    let queue = event_log().open_on(disk.clone()).unwrap();
    let mut values = collect().open(&queue, store.clone()).unwrap();
    assert_eq!(values.state(), Some(&vec![1, 2, 3, 4]));
    assert_eq!(values.catch_up(4).unwrap().folded, 6);
    assert_eq!(store.saved(), Some((10, (1..=10).collect())));
    assert_eq!(values.run_once(4).unwrap().folded, 0);
    assert_eq!(values.lag(), 0);
}

/// What is behind the position and the batch may be more than a number holds.
#[test]
fn a_batch_may_be_as_large_as_a_number_is() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=10);
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    values.run_once(3).unwrap();
    assert_eq!(values.run_once(usize::MAX).unwrap().folded, 7);
    assert_eq!(values.rebuild(usize::MAX).unwrap().folded, 10);
    publish(&queue, 11..=12);
    assert_eq!(values.catch_up(usize::MAX).unwrap().folded, 2);
    assert_eq!(values.state(), Some(&(1..=12).collect()));
}

/// What is for workers would make a second fold differ from the first.
#[test]
fn priority_delay_and_time_to_live_change_nothing() {
    let time = ManualClock::new();
    let queue = event_log().clock(time.clock()).open_on(SimDisk::new(1));
    let queue = queue.unwrap();
    let message = |value: u64| Message::new(value.to_le_bytes().to_vec());
    queue
        .publish(message(1).delay(Duration::from_secs(60)))
        .unwrap();
    queue
        .publish(message(2).ttl(Duration::from_secs(1)))
        .unwrap();
    queue.publish(message(3).priority(Priority::HIGH)).unwrap();
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    values.catch_up(10).unwrap();
    assert_eq!(values.state(), Some(&vec![1, 2, 3]));
    time.advance(Duration::from_secs(3600));
    values.rebuild(10).unwrap();
    assert_eq!(values.state(), Some(&vec![1, 2, 3]));
}

#[test]
fn events_that_are_not_saved_are_kept_and_those_that_are_go() {
    let disk = SimDisk::new(1);
    // No log of all events: only what somebody needs.
    let queue = event_log()
        .retention(Retention::Acked)
        .open_on(disk.clone())
        .unwrap();
    queue.remove_group("default").unwrap();
    let store = MemoryStore::new();
    let mut values = collect().open(&queue, store).unwrap();
    for round in 0..100 {
        publish(&queue, round * 40..round * 40 + 40);
        queue.checkpoint().unwrap();
    }
    let most = disk.used();
    assert_eq!(values.catch_up(1000).unwrap().folded, 4000);
    publish(&queue, [0]);
    queue.checkpoint().unwrap();
    publish(&queue, [0]);
    queue.checkpoint().unwrap();
    assert!(queue.reader().range().start > 1, "given up");
    assert!(disk.used() < most, "{} of {most}", disk.used());
    // From the start is not possible any more: that is said, and changes nothing.
    let gone = values.rebuild(1000).unwrap_err();
    assert!(
        matches!(gone, ProjectionError::Gone { wanted: 1, .. }),
        "{gone}"
    );
    assert_eq!(values.catch_up(1000).unwrap().folded, 2);
    let mut late = collect().open(&queue, MemoryStore::new()).unwrap();
    assert!(matches!(
        late.run_once(10),
        Err(ProjectionError::Gone { .. })
    ));
    let mut late = collect()
        .accept_gone()
        .open(&queue, MemoryStore::new())
        .unwrap();
    let caught = late.catch_up(100).unwrap();
    assert_eq!(caught.folded + caught.missing, 4002);
    assert!(caught.folded >= 2 && caught.missing > 0);
}

/// Changes the state before it refuses, or panics.
fn choosy(poison: Poison) -> ProjectionBuilder<Values> {
    let fold = |values: &mut Values, event: &Event| {
        values.push(value(event));
        match value(event) {
            n if n % 10 == 7 => Err("ends in seven"),
            n if n % 10 == 3 => quiet_panic(),
            _ => Ok(()),
        }
    };
    Projection::builder("values", fold).on_poison(poison)
}

#[test]
fn an_event_that_is_refused_stops_it_and_is_undone() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, [1, 2, 17, 4]);
    let store = MemoryStore::new();
    let mut values = choosy(Poison::Stop).open(&queue, store.clone()).unwrap();
    for _ in 0..2 {
        let error = values.catch_up(10).unwrap_err();
        assert!(matches!(error, ProjectionError::Poisoned { id: 3, .. }));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "ends in seven");
        assert_eq!(store.saved(), Some((2, vec![1, 2])));
        assert_eq!(values.state(), Some(&vec![1, 2]));
    }
    assert!(matches!(
        values.rebuild(10),
        Err(ProjectionError::Poisoned { id: 3, .. })
    ));
    assert_eq!(values.state(), Some(&vec![1, 2]), "the old state stays");
    // The fold was mended.
    let mut values = collect().open(&queue, store.clone()).unwrap();
    values.catch_up(10).unwrap();
    assert_eq!(store.saved(), Some((4, vec![1, 2, 17, 4])));
}

#[test]
fn an_event_that_is_refused_goes_to_the_dead_letters_and_a_rebuild_takes_it_in() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, [1, 7, 3, 4, 13]);
    for batch in [1, 2, 10] {
        let store = MemoryStore::new();
        let mut values = choosy(Poison::DeadLetters).open(&queue, store).unwrap();
        let caught = values.catch_up(batch).unwrap();
        assert_eq!((caught.folded, caught.dead), (2, 3));
        assert_eq!(values.state(), Some(&vec![1, 4]));
        let caught = values.rebuild(batch).unwrap();
        assert_eq!((caught.folded, caught.dead), (2, 3));
        let dead = queue.dead_letters_of("values").unwrap();
        let list = dead.list();
        assert_eq!(list.iter().map(|l| l.id).collect::<Vec<_>>(), [2, 3, 5]);
        assert_eq!(list[0].reason, "ends in seven");
        assert_eq!(list[1].reason, "the fold panicked: on purpose");
        assert_eq!(dead.read(2).unwrap().unwrap()[..], 7_u64.to_le_bytes());
    }
    let store = MemoryStore::new();
    let mut values = collect().open(&queue, store).unwrap();
    values.rebuild(2).unwrap();
    assert_eq!(values.state(), Some(&vec![1, 7, 3, 4, 13]));
    assert!(queue.dead_letters_of("values").unwrap().list().is_empty());
}

/// User code runs under no lock of the queue's, and may publish what it will fold later.
#[test]
fn a_rebuild_goes_on_while_new_events_come() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=20);
    let store = MemoryStore::new();
    let is_rebuilding = Arc::new(AtomicBool::new(false));
    let (publisher, rebuilding, readers) = (queue.clone(), is_rebuilding.clone(), store.clone());
    let fold = move |values: &mut Values, event: &Event| {
        if rebuilding.load(SeqCst) {
            publish(&publisher, [1000 + value(event)]);
            // Whoever reads the store has the old state meanwhile.
            assert_eq!(readers.saved(), Some((20, (1..=20).collect())));
        }
        values.push(value(event));
        Ok::<(), Infallible>(())
    };
    let mut values = Projection::builder("values", fold)
        .open(&queue, store.clone())
        .unwrap();
    values.catch_up(6).unwrap();
    is_rebuilding.store(true, SeqCst);
    assert_eq!(values.rebuild(6).unwrap().folded, 20);
    is_rebuilding.store(false, SeqCst);
    assert_eq!((values.position(), values.lag()), (Some(20), 20));
    values.catch_up(6).unwrap();
    let all: Values = (1..=20).chain(1001..=1020).collect();
    assert_eq!(store.saved(), Some((40, all)));
}

struct Failing {
    store: MemoryStore<Values>,
    /// 1: fails without saving, 2: saves, and says that it failed.
    next: Arc<AtomicU64>,
}

impl ProjectionStore<Values> for Failing {
    type Error = std::io::Error;

    fn load(&mut self) -> Result<Option<(u64, Values)>, std::io::Error> {
        Ok(self.store.saved())
    }

    fn save(&mut self, position: u64, state: &mut Values) -> Result<(), std::io::Error> {
        let how = self.next.swap(0, SeqCst);
        if how != 1 {
            let Ok(()) = self.store.save(position, state);
        }
        match how {
            0 => Ok(()),
            _ => Err(std::io::Error::other("out of order")),
        }
    }
}

#[test]
fn a_store_that_fails_is_asked_what_it_has() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=9);
    for how in [1, 2] {
        let (store, next) = (MemoryStore::new(), Arc::new(AtomicU64::new(0)));
        let failing = Failing {
            store: store.clone(),
            next: next.clone(),
        };
        let mut values = collect().open(&queue, failing).unwrap();
        values.run_once(3).unwrap();
        next.store(how, SeqCst);
        let failed = values.run_once(3).unwrap_err();
        assert!(matches!(failed, ProjectionError::Save(_)), "{failed}");
        assert_eq!((values.state(), values.position()), (None, None));
        values.catch_up(3).unwrap();
        assert_eq!(store.saved(), Some((9, (1..=9).collect())));
        next.store(how, SeqCst);
        assert!(values.rebuild(4).is_err());
        values.catch_up(3).unwrap();
        assert_eq!(values.state(), Some(&(1..=9).collect()));
    }
}

/// Events that a power cut takes back would be counted, and others that get their numbers not.
#[test]
fn what_is_not_durable_is_made_so_before_it_is_folded() {
    for durability in [Durability::Process, Durability::Memory] {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let log = || event_log().durability(durability);
            let queue = log().open_on(disk.clone()).unwrap();
            let store = MemoryStore::new();
            let mut values = collect().open(&queue, store.clone()).unwrap();
            publish(&queue, 1..=5);
            assert_eq!(values.catch_up(10).unwrap().folded, 5);
            publish(&queue, 6..=9);
            drop((queue, values));
            disk.power_cut();
            let queue = log().open_on(disk.clone()).unwrap();
            let mut values = collect().open(&queue, store.clone()).unwrap();
            publish(&queue, 100..=105);
            values.catch_up(10).unwrap();
            let state = values.state().unwrap();
            assert!(state.starts_with(&[1, 2, 3, 4, 5]), "{state:?}");
            assert!(
                state.ends_with(&[100, 101, 102, 103, 104, 105]),
                "{state:?}"
            );
        }
    }
}

#[test]
fn the_state_of_another_queue_is_refused_and_a_rebuild_settles_it() {
    let store = MemoryStore::new();
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=9);
    let mut values = collect().open(&queue, store.clone()).unwrap();
    values.catch_up(10).unwrap();
    let other = event_log().open_on(SimDisk::new(2)).unwrap();
    publish(&other, 1..=3);
    let mut values = collect().open(&other, store.clone()).unwrap();
    let ahead = values.catch_up(10).unwrap_err();
    assert!(
        matches!(
            ahead,
            ProjectionError::Ahead {
                position: 9,
                end: 4
            }
        ),
        "{ahead}"
    );
    values.rebuild(10).unwrap();
    assert_eq!(store.saved(), Some((3, vec![1, 2, 3])));
}

#[test]
fn what_the_medium_lost_is_passed_over_and_counted() {
    let disk = SimDisk::new(1);
    let queue = event_log().open_on(disk.clone()).unwrap();
    (1001..=1009).for_each(|value| publish(&queue, [value]));
    queue.close().unwrap();
    drop(queue);
    disk.kill();
    let names = disk.list().unwrap();
    let name = names.iter().find(|n| n.ends_with(".segment")).unwrap();
    let mut bytes = disk.contents(name).unwrap();
    let five = bytes.windows(8).position(|w| w == 1005_u64.to_le_bytes());
    bytes[five.unwrap()] ^= 0x40;
    disk.set_contents(name, &bytes);
    let queue = event_log().open_on(disk.clone()).unwrap();
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    let caught = values.catch_up(4).unwrap();
    assert_eq!((caught.folded, caught.missing), (8, 1));
    assert_eq!(
        values.state(),
        Some(&vec![1001, 1002, 1003, 1004, 1006, 1007, 1008, 1009])
    );
}

#[test]
fn two_projections_and_workers_do_not_see_each_other() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=6);
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    let sum = |sum: &mut u64, event: &Event| {
        *sum += value(event);
        Ok::<(), Infallible>(())
    };
    let mut sums = Projection::builder("sum", sum);
    sums = sums.on_poison(Poison::Stop);
    let mut sums = sums.open(&queue, MemoryStore::new()).unwrap();
    values.run_once(2).unwrap();
    let group = queue.group("values", Start::Earliest).unwrap();
    assert_eq!(group.next_open(1).unwrap(), Some(3), "what is not saved");
    assert_eq!(queue.consumer().recv_batch(10).unwrap().len(), 6);
    sums.catch_up(10).unwrap();
    values.catch_up(10).unwrap();
    assert_eq!(
        (sums.state(), values.state().unwrap().len()),
        (Some(&21), 6)
    );
    assert!(group.try_recv().unwrap().is_none(), "all are done with");
}

#[test]
fn a_projection_takes_nothing_from_the_queues_own_consumers() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    publish(&queue, 1..=3);
    let fold = |_: &mut u64, _: &Event| Ok::<(), Infallible>(());
    let refused = Projection::builder("default", fold).open(&queue, MemoryStore::new());
    assert!(matches!(refused, Err(ProjectionError::Reserved { .. })));
    assert_eq!(queue.consumer().recv_batch(10).unwrap().len(), 3);
}

#[test]
fn waiting_ends_with_an_event() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    assert!(!values.wait(Duration::ZERO));
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&queue, [1]));
        assert!(values.wait(Duration::from_secs(60)));
    });
    values.catch_up(1).unwrap();
    assert!(!values.wait(Duration::ZERO));
}

fn file(disk: &SimDisk) -> FileStore<Values, SimDisk> {
    let encode = |values: &Values| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let decode = |bytes: &[u8]| {
        let (values, rest) = bytes.as_chunks();
        rest.is_empty()
            .then(|| values.iter().map(|v| u64::from_le_bytes(*v)).collect())
    };
    FileStore::new(disk.clone(), "values.state", encode, decode)
}

#[test]
fn a_file_is_the_old_one_or_the_new_one_whatever_happens_while_it_is_saved() {
    let mut outcomes = [0; 2];
    for operation in 1..12 {
        for seed in 0..40 {
            let disk = SimDisk::new(seed);
            file(&disk).save(1, &mut vec![1; 200]).unwrap();
            disk.crash_at(disk.operations() + operation);
            let saved = file(&disk).save(2, &mut vec![2; 300]);
            if seed % 2 == 0 {
                disk.kill();
            } else {
                disk.power_cut();
            }
            // Half of what is left of an earlier try is in nobody's way.
            let found = file(&disk).load().unwrap().unwrap();
            assert!(found == (1, vec![1; 200]) && saved.is_err() || found == (2, vec![2; 300]));
            outcomes[found.0 as usize - 1] += 1;
            // What was seen lasts.
            disk.power_cut();
            assert_eq!(file(&disk).load().unwrap(), Some(found));
            file(&disk).save(3, &mut vec![3]).unwrap();
            disk.power_cut();
            assert_eq!(file(&disk).load().unwrap(), Some((3, vec![3])));
        }
    }
    assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
}

#[test]
fn a_file_that_is_damaged_or_foreign_is_refused_with_its_name() {
    let disk = SimDisk::new(1);
    file(&disk).save(7, &mut vec![1, 2, 3]).unwrap();
    let good = disk.contents("values.state").unwrap();
    let seen = Cell::new(0);
    for at in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        disk.set_contents("values.state", &bytes);
        match file(&disk).load() {
            Err(FileStoreError::Damaged { name }) if name == "values.state" => {}
            other => panic!("bit {at}: {other:?}"),
        }
        seen.set(seen.get() + 1);
    }
    for len in 0..good.len() {
        disk.set_contents("values.state", &good[..len]);
        assert!(file(&disk).load().is_err(), "{len}");
    }
    assert!(seen.get() > 300);
    let mut text = FileStore::new(
        disk.clone(),
        "text",
        |text: &String| text.clone().into_bytes(),
        |_| None,
    );
    text.save(1, &mut "a".to_owned()).unwrap();
    let refused = text.load().unwrap_err();
    assert!(
        matches!(refused, FileStoreError::Undecodable { .. }),
        "{refused}"
    );
    disk.fail(disk.operations() + 1, Fault::Full);
    let full = text.save(2, &mut "b".to_owned()).unwrap_err();
    assert!(matches!(full, FileStoreError::Io { .. }), "{full}");
}

/// The same fold over many threads' events gives the same state twice.
#[test]
fn events_of_many_publishers_are_folded_once_each() {
    let queue = event_log().open_on(SimDisk::new(1)).unwrap();
    let mut values = collect().open(&queue, MemoryStore::new()).unwrap();
    let left = Mutex::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (queue, left) = (&queue, &left);
            scope.spawn(move || {
                for n in 0..100 {
                    publish(queue, [thread * 1000 + n]);
                }
                *left.lock().unwrap() -= 1;
            });
        }
        while *left.lock().unwrap() > 0 {
            values.run_once(7).unwrap();
        }
    });
    values.catch_up(7).unwrap();
    let state = values.state().unwrap().clone();
    values.rebuild(50).unwrap();
    assert_eq!(values.state(), Some(&state));
    let mut sorted = state;
    sorted.sort_unstable();
    let all: Values = (0..4).flat_map(|t| t * 1000..t * 1000 + 100).collect();
    assert_eq!(sorted, all);
}
