//! A read model in whose every operation of the disk the process dies: while events are
//! published, folded and saved, one is refused, the state is rebuilt while more events come,
//! and then again while it is opened after that. Killed, and with the power cut.
//!
//! What is checked: what was saved is the fold of the events up to the saved position; no
//! confirmed event is missing; having caught up, and rebuilt, the state is the fold of all.
//!
//! `TENFOLD_SEEDS=100 cargo test --release --all-features --test queue projection_crashes` has
//! a hundred times as many disks.

use std::num::NonZero;

use crate::support::quiet_panic;
use tenfold::queue::projection::{FileStore, Poison, Projection, ProjectionStore};
use tenfold::queue::storage::SimDisk;
use tenfold::queue::{Event, Message, Queue, Retention};

/// All values in the order in which they were folded.
type Values = Vec<u64>;

#[test]
fn the_saved_state_is_the_fold_of_the_events_whenever_the_process_dies() {
    let seeds = std::env::var("TENFOLD_SEEDS").map_or(1, |times| times.parse().unwrap());
    // Without a crash, to know how long a life is.
    let disk = SimDisk::new(0);
    let mut confirmed = Vec::new();
    live(&disk, &mut confirmed).unwrap();
    let operations = disk.operations();
    assert_eq!(check(&disk, &confirmed), [30, 30]);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let cases: u64 = std::thread::scope(|scope| {
        let share = |thread: u64| {
            let mut cases = 0;
            for operation in (1 + thread..=operations).step_by(threads as usize) {
                for seed in 0..8 * seeds {
                    die_in(operation, seed);
                    cases += 1;
                }
            }
            cases
        };
        let shares: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || share(thread)))
            .collect();
        shares.into_iter().map(|share| share.join().unwrap()).sum()
    });
    println!("{cases} crashes, in each of {operations} operations");
    assert!(cases > 1000, "{cases}");
}

/// Dies in this operation, and in one of the next life, and checks.
fn die_in(operation: u64, seed: u64) {
    let disk = SimDisk::new(seed ^ operation << 8);
    let crash = |again: u64| {
        if (seed + again).is_multiple_of(3) {
            disk.kill();
        } else {
            disk.power_cut();
        }
    };
    let mut confirmed = Vec::new();
    disk.crash_at(operation);
    let _ = live(&disk, &mut confirmed);
    assert!(disk.has_crashed(), "operation {operation}");
    crash(0);
    disk.crash_at(disk.operations() + 1 + (operation * 7 + seed * 13) % 40);
    let _ = live(&disk, &mut confirmed);
    crash(1);
    check(&disk, &confirmed);
}

fn event_log(disk: &SimDisk) -> Result<Queue<SimDisk>, tenfold::queue::OpenError> {
    Queue::builder()
        .segments(16 << 10, 32 << 10)
        .checkpoint_every(1 << 10)
        .retention(Retention::All)
        .seed(disk.operations())
        .open_on(disk.clone())
}

fn store(disk: &SimDisk) -> FileStore<Values, SimDisk> {
    let encode = |values: &Values| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let decode = |bytes: &[u8]| {
        let values = bytes.as_chunks().0;
        Some(values.iter().map(|v| u64::from_le_bytes(*v)).collect())
    };
    // On the disk of the queue, so that they die together.
    FileStore::new(disk.clone(), "values.state", encode, decode)
}

fn value(event: &Event) -> u64 {
    u64::from_le_bytes(event.payload()[..8].try_into().unwrap())
}

fn is_poison(value: u64) -> bool {
    value % 10 == 4 || value % 10 == 9
}

/// Changes the state first, and then refuses or panics.
fn fold(values: &mut Values, event: &Event) -> Result<(), &'static str> {
    values.push(value(event));
    match value(event) % 10 {
        4 => Err("ends in four"),
        9 => quiet_panic(),
        _ => Ok(()),
    }
}

type Died = Box<dyn std::error::Error>;

/// Six batches of events, caught up with in steps, and a rebuild during which two more come.
fn live(disk: &SimDisk, confirmed: &mut Vec<u64>) -> Result<(), Died> {
    let queue = event_log(disk)?;
    let mut next = queue.reader().range().end * 100;
    let mut publish = |count: u64| -> Result<(), Died> {
        let values: Vec<u64> = (next..next + count).collect();
        next += count;
        let message = |value: &u64| {
            let mut bytes = value.to_le_bytes().to_vec();
            bytes.resize(8 + (value % 5 * 150) as usize, 0);
            Message::new(bytes)
        };
        queue.publish_batch(&values.iter().map(message).collect::<Vec<_>>())?;
        confirmed.extend(values);
        Ok(())
    };
    let mut values = Projection::builder("values", fold)
        .on_poison(Poison::DeadLetters)
        .open(&queue, store(disk))?;
    for round in 0..6 {
        publish(3)?;
        values.run_once(2)?;
        if round % 2 == 1 {
            values.catch_up(3)?;
        }
    }
    let (publisher, sent) = (queue.clone(), std::sync::Mutex::new(0));
    let during = move |values: &mut Values, event: &Event| {
        let mut sent = sent.lock().map_err(|_| "two at once")?;
        if *sent < 2 {
            *sent += 1;
            // Not confirmed as far as anybody knows.
            let _ = publisher.publish((777_000 + *sent * 10_u64).to_le_bytes().to_vec());
        }
        drop(sent);
        fold(values, event)
    };
    drop(values);
    let mut values = Projection::builder("values", during)
        .on_poison(Poison::DeadLetters)
        .open(&queue, store(disk))?;
    values.rebuild(4)?;
    publish(10)?;
    values.catch_up(4)?;
    queue.close()?;
    Ok(())
}

/// Position at first, and in the end.
fn check(disk: &SimDisk, confirmed: &[u64]) -> [u64; 2] {
    let queue = event_log(disk).unwrap();
    assert!(queue.recovery().is_clean(), "{}", queue.recovery());
    let mut reader = queue.reader();
    let mut events = Vec::new();
    for id in reader.range() {
        events.extend(reader.read(id).unwrap());
    }
    for wanted in confirmed {
        assert!(
            events.iter().any(|event| value(event) == *wanted),
            "{wanted} is lost"
        );
    }
    let folded = |until: u64| -> Values {
        let known = events.iter().filter(|event| event.id() <= until);
        known
            .map(value)
            .filter(|value| !is_poison(*value))
            .collect()
    };
    let saved = store(disk).load().unwrap();
    let at_first = saved.as_ref().map_or(0, |(position, _)| *position);
    if let Some((position, state)) = saved {
        assert_eq!(state, folded(position), "saved at {position}");
    }
    let mut values = Projection::builder("values", fold)
        .on_poison(Poison::DeadLetters)
        .open(&queue, store(disk))
        .unwrap();
    values.catch_up(3).unwrap();
    assert_eq!(values.state(), Some(&folded(u64::MAX)));
    let dead = |queue: &Queue<SimDisk>| -> Vec<u64> {
        let dead = queue.dead_letters_of("values").unwrap().list();
        dead.iter().map(|letter| letter.id).collect()
    };
    let poison: Vec<u64> = events
        .iter()
        .filter(|event| is_poison(value(event)))
        .map(Event::id)
        .collect();
    assert!(dead(&queue).iter().all(|id| poison.contains(id)));
    values.rebuild(5).unwrap();
    assert_eq!(values.state(), Some(&folded(u64::MAX)));
    assert_eq!(dead(&queue), poison);
    let position = values.position().unwrap();
    assert_eq!(
        store(disk).load().unwrap(),
        Some((position, folded(position)))
    );
    [at_first, position]
}
