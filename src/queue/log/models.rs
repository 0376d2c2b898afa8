//! Group commit under every interleaving that shuttle's scheduler tries. Shuttle
//! reports a deadlock when everybody left is parked, so that "nobody hangs" needs no
//! assertion of its own.

use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::commit::{Failed, Group, Line, Mark, Sink, Written};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::task::Executor;

/// A file of bytes, and how many of them are durable.
#[derive(Default)]
struct File {
    state: Mutex<(Vec<u8>, usize)>,
    writers: AtomicU64,
}

impl Sink for File {
    fn write(&self, group: Group) -> Result<Written, Failed> {
        let before = self.writers.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before, 0, "two lead at once");
        thread::yield_now();
        self.state.lock().0.extend(group.bytes);
        thread::yield_now();
        let mut state = self.state.lock();
        if group.sync {
            state.1 = state.0.len();
        }
        let synced = state.1 == state.0.len();
        drop(state);
        self.writers.fetch_sub(1, Ordering::SeqCst);
        Ok(Written {
            synced,
            room: 100,
            hard_room: 100,
        })
    }
}

const ROOM: Written = Written {
    synced: true,
    room: 100,
    hard_room: 100,
};

/// Stages a byte, and waits until it is this far.
fn publish(line: &Arc<Line<File>>, byte: u8, mark: Mark, executor: Option<&Executor>) {
    let place = |_, bytes: &mut Vec<u8>| {
        bytes.push(byte);
        1
    };
    let staged = line.stage(1, true, mark == Mark::Durable, place);
    let (ticket, id) = staged.ok().expect("there is room");
    let mut wait = Box::pin(line.wait(ticket, mark, executor));
    // Some leave before it is done, perhaps when it is their turn to lead.
    if thread_rng().gen_ratio(1, 4) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = wait.as_mut().poll(&mut context);
        return;
    }
    assert!(block_on(wait).is_ok());
    assert!(
        line.reached(mark) > id,
        "the watermark is behind what was confirmed"
    );
    let state = line.sink.state.lock();
    let place = state.0.iter().position(|written| *written == byte);
    let place = place.expect("confirmed and not written");
    assert!(
        mark == Mark::Written || place < state.1,
        "confirmed and not durable"
    );
}

#[test]
fn whoever_leads_nobody_is_confirmed_early_and_nobody_hangs() {
    crate::sync::explore(3000, || {
        let line = Arc::new(Line::new(File::default(), 0, ROOM));
        let marks = [Mark::Durable, Mark::Written, Mark::Durable];
        let publishers: Vec<_> = (1..=3_u8)
            .zip(marks)
            .map(|(byte, mark)| {
                let line = Arc::clone(&line);
                thread::spawn(move || publish(&line, byte, mark, None))
            })
            .collect();
        for publisher in publishers {
            publisher.join().unwrap();
        }
        let last = line.last();
        assert!(block_on(line.wait(last, Mark::Durable, None)).is_ok());
        let state = line.sink.state.lock();
        assert_eq!((state.0.len(), state.1), (3, 3));
    });
}

/// The watermark of messages is never ahead of what is written.
#[test]
fn a_reader_below_the_watermark_finds_what_it_reads() {
    crate::sync::explore(3000, || {
        let line = Arc::new(Line::new(File::default(), 0, ROOM));
        let writer = {
            let line = Arc::clone(&line);
            thread::spawn(move || {
                for byte in 1..=3 {
                    publish(&line, byte, Mark::Durable, None);
                }
            })
        };
        for _ in 0..3 {
            let (written, durable) = (line.reached(Mark::Written), line.reached(Mark::Durable));
            let state = line.sink.state.lock();
            assert!(written <= state.0.len() as u64);
            assert!(durable <= state.1 as u64);
            drop(state);
            thread::yield_now();
        }
        writer.join().unwrap();
    });
}

/// Tasks have an executor lead, which may refuse or drop what it was given.
#[test]
fn a_leader_that_is_dropped_on_its_way_holds_up_nobody() {
    crate::sync::explore(2000, || {
        let line = Arc::new(Line::new(File::default(), 0, ROOM));
        let publishers: Vec<_> = (1..=2_u8)
            .map(|byte| {
                let line = Arc::clone(&line);
                thread::spawn(move || {
                    let executor = Executor::new(|task| match thread_rng().gen_range(0..3) {
                        0 => Err(task),
                        1 => {
                            drop(task);
                            Ok(())
                        }
                        _ => {
                            thread::spawn(move || block_on(task));
                            Ok(())
                        }
                    });
                    publish(&line, byte, Mark::Durable, Some(&executor));
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().unwrap();
        }
        let last = line.last();
        assert!(block_on(line.wait(last, Mark::Durable, None)).is_ok());
    });
}
