//! What went wrong in other queues, a test per story. Here are those that no other test
//! tells; the others are told by these:
//!
//! ```text
//! positions kept apart from the data, and out of step after a kill
//!     queue/crashes: nothing_confirmed_is_lost_and_nothing_done_comes_back
//! what is published behind a torn tail is lost by the second restart
//!     queue/complaints: what_is_published_after_a_torn_tail_survives_the_next_crash
//! one bad checksum throws away all that comes behind it
//!     queue/bytes: a_flipped_bit_costs_what_it_hit_wherever_it_is
//! a length that makes no sense is taken at its word
//!     queue/bytes: lengths_of_all_sizes_are_not_taken_at_their_word
//! zeros where a power cut left them are not known for what they are
//!     queue/bytes: zeros_cost_what_they_are_in_the_place_of
//! a crash while it starts leaves what does not start any more
//!     queue/faults: an_opening_that_fails_or_dies_anywhere_is_made_up_for_by_the_next
//! a sync that failed is logged and taken for done
//!     queue/complaints: a_disk_that_fails_for_good_confirms_nothing_more
//! what was recovered is shown before it lasts, and gone after the next power cut
//!     queue/complaints: what_was_found_after_a_crash_is_not_taken_back_by_the_next
//! an ack lasts and its message does not; what was acknowledged comes back
//!     queue/crashes: nothing_confirmed_is_lost_and_nothing_done_comes_back
//! what counts as confirmed lasts only half a minute later
//!     queue/durability: no_level_in_no_queue_takes_back_what_it_confirmed_or_what_somebody_saw
//! a full disk leaves a litter of files, and takes no acks that would make room
//!     queue/faults: whenever_the_disk_is_full_publishers_are_told_and_acks_go_on
//! one old message, or one that is put off again and again, keeps the whole log
//!     queue/space: one_old_message_keeps_its_own_bytes_and_no_more
//!     queue/space: messages_put_off_again_and_again_take_twice_their_bytes
//! a worker dies and its job is running for ever
//!     queue/complaints: leases_do_not_outlive_the_process
//! who takes a message has it, though it never answers
//!     queue/complaints: a_dropped_delivery_goes_to_somebody_else
//! two workers at once, and one is told that the database is locked
//!     queue/complaints: many_producers_and_consumers_lose_nothing_and_get_no_lock_error
//! a kill leaves a lock that nobody holds
//!     queue/complaints: a_second_opener_is_refused_and_a_kill_leaves_no_lock
//! writes are lost over an opening, and nobody compared
//!     queue/models: a_queue_is_what_its_model_says_whenever_it_is_opened
//! all that is pending is in memory
//!     queue_memory: pending_messages_cost_a_third_of_a_byte_and_an_opening_reads_none_of_them
//! ```

use std::time::Duration;

use tenfold::queue::storage::SimDisk;
use tenfold::queue::{Delivery, Durability, Message, PublishError, Queue, QueueBuilder, Start};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

fn builder(clock: &ManualClock) -> QueueBuilder {
    Queue::builder()
        .segments(16 << 10, 16 << 10)
        .checkpoint_every(16 << 10)
        .visibility(10 * SECOND)
        .clock(clock.clock())
        .seed(5)
}

fn open(disk: &SimDisk, clock: &ManualClock) -> Queue<SimDisk> {
    builder(clock).open_on(disk.clone()).unwrap()
}

/// Everything there is, by number, without an answer.
fn all(queue: &Queue<SimDisk>) -> Vec<u64> {
    let consumer = queue.consumer();
    let mut held = Vec::new();
    while let Some(delivery) = consumer.try_recv().unwrap() {
        held.push(delivery);
    }
    held.iter().map(Delivery::id).collect()
}

/// The list of tests named some that had been renamed.
#[test]
fn the_other_stories_are_told_where_it_says() {
    let mut told = 0;
    for line in include_str!("stories.rs").lines() {
        let Some((file, name)) = line
            .strip_prefix("//!     ")
            .and_then(|line| line.split_once(": "))
        else {
            continue;
        };
        let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{file}: {name}");
        told += 1;
    }
    assert!(told >= 19, "{told}");
}

/// The old segment was not synced when the next one was begun, or the next one's name
/// was not: a hole before what had been confirmed.
#[test]
fn a_power_cut_right_after_a_new_segment_leaves_no_hole() {
    for seed in 0..100 {
        let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
        let queue = builder(&clock).checkpoint_every(1 << 30);
        let queue = queue.durability(Durability::Process);
        let queue = queue.open_on(disk.clone()).unwrap();
        // What nobody waits for fills most of the first segment, and then one is begun.
        let mut last = 0;
        while queue.stats().disk_bytes < 3 * (16 << 10) {
            last = queue.publish(vec![1; 500]).unwrap().id;
        }
        let sure = queue.with_durability(Durability::Power);
        let sure = sure.publish("behind it").unwrap().id;
        assert_eq!(sure, last + 1);
        disk.power_cut();
        drop(queue);
        let queue = open(&disk, &clock);
        assert!(queue.recovery().is_clean(), "{}", queue.recovery());
        assert_eq!(all(&queue), (1..=sure).collect::<Vec<_>>(), "{seed}");
    }
}

/// A queue that had been deleted was there again after a crash, and another was not.
#[test]
fn groups_that_were_made_or_removed_are_so_after_a_power_cut() {
    for seed in 0..100 {
        let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
        let queue = open(&disk, &clock);
        queue.publish("a").unwrap();
        queue.group("removed", Start::Earliest).unwrap();
        if seed % 2 == 0 {
            queue.checkpoint().unwrap();
        }
        queue.group("made", Start::Earliest).unwrap();
        queue.remove_group("removed").unwrap();
        for _ in 0..2 {
            disk.power_cut();
            let queue = open(&disk, &clock);
            assert!(queue.dead_letters_of("removed").is_none(), "{seed}");
            assert!(queue.dead_letters_of("made").is_some(), "{seed}");
            let made = queue.group("made", Start::Latest).unwrap();
            assert_eq!(made.recv().unwrap().id(), 1, "{seed}");
        }
    }
}

/// A reader came upon a header that was half written, waited there, and went on behind
/// what it had not seen.
#[test]
fn a_reader_sees_what_lasts_and_goes_on_where_it_was() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let queue = builder(&clock).durability(Durability::Memory);
    let queue = queue.open_on(disk.clone()).unwrap();
    let mut reader = queue.reader();
    for n in 1..50 {
        assert_eq!(queue.publish(format!("{n}")).unwrap().id, n);
        assert_eq!(reader.range(), 1..n);
        assert!(reader.read(n).unwrap().is_none());
        queue.flush().unwrap();
        assert_eq!(*reader.read(n).unwrap().unwrap().payload(), format!("{n}"));
    }
}

/// Files that are used again still held the records of their life before, and those
/// were taken for new.
#[test]
fn files_used_again_say_nothing_of_their_life_before() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (disk, clock) = (SimDisk::new(seed), ManualClock::new());
        let mut newest = 0;
        for life in 0..12 {
            // All lives draw the same salts, and end anywhere in a file.
            let queue = open(&disk, &clock);
            assert_eq!(queue.recovery().records, 0, "seed {seed}, life {life}");
            assert!(all(&queue).is_empty(), "seed {seed}, life {life}");
            for n in 0..rng.below(300) {
                newest = queue.publish(vec![life as u8; 300]).unwrap().id;
                let delivery = queue.consumer().try_recv().unwrap().unwrap();
                assert_eq!((delivery.id(), delivery[0]), (newest, life as u8), "{n}");
                delivery.ack().unwrap();
            }
            queue.close().unwrap();
            disk.kill();
        }
        assert_eq!(open(&disk, &clock).publish("x").unwrap().id, newest + 1);
    }
}

/// Errors of the log were swallowed on the way, and the write was lost.
#[test]
fn whoever_was_not_told_that_it_failed_has_it() {
    for nth in 1..40 {
        let (disk, clock) = (SimDisk::new(nth), ManualClock::new());
        let queue = open(&disk, &clock);
        disk.fail_from(disk.operations() + nth, tenfold::queue::storage::Fault::Io);
        let mut confirmed = Vec::new();
        let refused = loop {
            match queue.publish(vec![1; 200]) {
                Ok(published) => confirmed.push(published.id),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, PublishError::NotDurable(_)), "{refused}");
        disk.power_cut();
        disk.mend();
        let found = all(&open(&disk, &clock));
        assert!(confirmed.iter().all(|id| found.contains(id)), "{nth}");
    }
}

/// A key that was used again after its window was forgotten by the next opening.
#[test]
fn a_key_that_was_used_again_is_known_after_an_opening() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let open = || {
        let builder = builder(&clock).dedup_window(20 * SECOND);
        builder.open_on(disk.clone()).unwrap()
    };
    let message = || Message::new("paid").dedup_id("order 17");
    let queue = open();
    queue.publish(message()).unwrap();
    clock.advance(40 * SECOND);
    let again = queue.publish(message()).unwrap();
    assert!(!again.duplicate);
    disk.kill();
    drop(queue);
    let third = open().publish(message()).unwrap();
    assert!(third.duplicate && third.id == again.id);
}

/// What was confirmed and not yet written was given up by a group that began with it.
#[test]
fn a_group_begins_with_what_is_not_written_yet() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let queue = open(&disk, &clock).with_durability(Durability::Memory);
    for id in 1..4 {
        assert_eq!(queue.publish("a").unwrap().id, id);
        let group = queue.replay("late", Start::At(id)).unwrap();
        let delivery = group.try_recv().unwrap();
        assert_eq!(delivery.map(|delivery| delivery.id()), Some(id));
    }
}

/// It had been written down that it was handed out, and so nobody asked whether it was
/// due.
#[test]
fn a_delayed_message_waits_in_a_late_group_however_often_the_process_dies() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::new());
    let open = || {
        builder(&clock)
            .max_deliver(2)
            .open_on(disk.clone())
            .unwrap()
    };
    let queue = open();
    let message = Message::new("later").delay(60 * SECOND);
    queue.publish(message).unwrap();
    queue.group("late", Start::Earliest).unwrap();
    drop(queue);
    for _ in 0..3 {
        disk.kill();
        let queue = open();
        let late = queue.group("late", Start::Earliest).unwrap();
        assert!(late.try_recv().unwrap().is_none());
        queue.flush().unwrap();
    }
    clock.advance(60 * SECOND);
    disk.kill();
    let late = open().group("late", Start::Earliest).unwrap();
    // None of them was handed out.
    assert_eq!(late.try_recv().unwrap().unwrap().attempt(), 1);
}
