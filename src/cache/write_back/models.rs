//! Callers who share a lane, in every order that a scheduler may choose. Shuttle
//! reports a deadlock when everybody left is parked, so that "nobody hangs" needs
//! no assertion of its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::lane::{Carried, Lane, Work};
use crate::sync::Mutex;

/// What is to be done, what is being done, and what is done.
#[derive(Default)]
struct Desk {
    open: Vec<u32>,
    busy: bool,
    done: Vec<u32>,
}

/// Work that is suspended a few times before it does all that was open.
fn start(desk: &Arc<Mutex<Desk>>) -> Option<Work> {
    let taken = {
        let mut desk = desk.lock();
        if desk.open.is_empty() {
            return None;
        }
        assert!(!desk.busy, "two pieces of work at once");
        desk.busy = true;
        std::mem::take(&mut desk.open)
    };
    let desk = Arc::clone(desk);
    let mut pauses = thread_rng().gen_range(0..3);
    Some(Box::pin(async move {
        poll_fn(|context| {
            if pauses == 0 {
                return Poll::Ready(());
            }
            pauses -= 1;
            let waker = context.waker().clone();
            // Now, or from another thread at any time.
            if thread_rng().gen_ratio(1, 2) {
                waker.wake();
            } else {
                drop(thread::spawn(move || waker.wake()));
            }
            Poll::Pending
        })
        .await;
        let mut desk = desk.lock();
        desk.busy = false;
        desk.done.extend(taken);
    }))
}

/// Carries the lane until this is done; gives up after so many polls.
fn wait_for(lane: &Lane, desk: &Arc<Mutex<Desk>>, wanted: u32, mut patience: u32) {
    let mut place = lane.place();
    block_on(poll_fn(|context| {
        loop {
            if desk.lock().done.contains(&wanted) {
                return Poll::Ready(());
            }
            match lane.carry(&mut place, context, || start(desk)) {
                Carried::Done => {}
                Carried::Reentrant => unreachable!("nobody carries twice"),
                Carried::Waiting => {
                    if desk.lock().done.contains(&wanted) || patience == 0 {
                        return Poll::Ready(());
                    }
                    patience -= 1;
                    return Poll::Pending;
                }
            }
        }
    }));
}

#[test]
fn whatever_is_left_lying_is_carried_on_and_nobody_hangs() {
    explore(|| {
        let lane = Lane::new();
        let desk = Arc::new(Mutex::new(Desk::default()));
        thread::scope(|scope| {
            for number in 0..3 {
                let (lane, desk) = (&lane, &desk);
                scope.spawn(move || {
                    desk.lock().open.push(number);
                    // The last one leaves before its work is done.
                    let patience = if number == 2 { 0 } else { u32::MAX };
                    wait_for(lane, desk, number, patience);
                });
            }
        });
        wait_for(&lane, &desk, 2, u32::MAX);
        let desk = desk.lock();
        assert_eq!((desk.done.len(), desk.open.len(), desk.busy), (3, 0, false));
    });
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    crate::sync::explore(ITERATIONS, model);
}

const ITERATIONS: usize = 2000;
