//! Leaders that run elsewhere, and waits that end before the flight does; time
//! is turned by hand.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::store::Shop;
use super::tests::{Bell, gate, poll, poll_with};
use super::*;
use crate::task::Task;
use crate::time::{Clock, Instant, ManualClock};

#[test]
fn a_leader_given_to_another_thread_lands_for_the_caller_who_waits() {
    let shop = Arc::new(Shop::new());
    let (lead, mut place) = shop.led(1);
    let task = Task::new(async move {
        let _ = lead.run_async(|| ready(Ok::<_, Infallible>(Some(7)))).await;
    });
    let worker = thread::spawn(|| task.run());
    let Waited::Landed(Outcome::Value(7), 1) = place.wait() else {
        panic!("no value")
    };
    worker.join().unwrap();
    assert_eq!((shop.stored(1), shop.flights()), (Some(7), 0));
}

#[test]
fn a_caller_that_leaves_does_not_end_the_load_that_runs_elsewhere() {
    let shop = Arc::new(Shop::new());
    let (lead, place) = shop.led(1);
    drop(place);
    assert_eq!(shop.flights(), 1);
    assert_eq!(
        lead.run_sync(|| Ok::<_, Infallible>(Some(7))).unwrap(),
        Some(7)
    );
    assert_eq!((shop.stored(1), shop.flights()), (Some(7), 0));
}

#[test]
fn callers_with_a_loader_are_promoted_when_the_task_is_dropped_and_the_starter_is_not() {
    let shop = Arc::new(Shop::new());
    let (lead, mut starter) = shop.led(1);
    let mut heir = pin!(shop.get_async(1, || ready(8)));
    assert!(poll(heir.as_mut()).is_pending());
    drop(lead);
    assert!(poll(pin!(starter.wait_async())).is_pending());
    assert_eq!(poll(heir.as_mut()), Poll::Ready(8));
    assert!(matches!(
        starter.wait(),
        Waited::Landed(Outcome::Value(8), _)
    ));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn only_those_without_a_loader_are_left_and_are_told_that_the_leader_is_gone() {
    let shop = Arc::new(Shop::new());
    let (lead, mut starter) = shop.led(1);
    let mut guest = shop.guest(1).expect("a flight");
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    {
        let mut waiting = pin!(guest.wait_async());
        assert!(poll_with(waiting.as_mut(), &waker).is_pending());
        drop(lead);
        assert_eq!(bell.rung(), 1);
        assert!(matches!(poll(waiting), Poll::Ready(Waited::LeaderDropped)));
    }
    assert!(matches!(starter.wait(), Waited::LeaderDropped));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn the_last_heir_that_leaves_frees_those_who_cannot_lead() {
    let shop = Arc::new(Shop::new());
    let (lead, mut starter) = shop.led(1);
    let mut heir = Box::pin(shop.get_async(1, || ready(8)));
    assert!(poll(heir.as_mut()).is_pending());
    drop(lead);
    drop(heir);
    assert!(matches!(starter.wait(), Waited::LeaderDropped));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_background_leader_is_alone_and_blocks_nobody() {
    let shop = Arc::new(Shop::new());
    let lead = try_lead(Arc::clone(&shop), 1, 1).expect("nothing under way");
    assert!(try_lead(&*shop, 1, 1).is_none());
    let mut follower = pin!(shop.get_async(1, || ready(8)));
    assert!(poll(follower.as_mut()).is_pending());
    lead.land(&Outcome::Value(7));
    assert_eq!(poll(follower.as_mut()), Poll::Ready(7));
    assert!(
        try_lead(&*shop, 1, 1).is_some(),
        "also where there is a value"
    );
    assert_eq!(shop.flights(), 0);
}

#[test]
fn a_loader_run_on_another_thread_that_reenters_gets_an_error() {
    let shop = Arc::new(Shop::new());
    let (lead, mut place) = shop.led(1);
    let there = Arc::clone(&shop);
    let worker = thread::spawn(move || {
        let seen = Cell::new(false);
        let again = || ready(Ok::<_, Infallible>(Some(1)));
        let nested = || async {
            let again = load_async(&*there, 1, 1, Expects::Value, again).await;
            seen.set(matches!(again, Err(LoadError::Reentrant)));
            Ok::<_, Infallible>(Some(7))
        };
        crate::task::block_on(lead.run_async(nested)).unwrap();
        seen.get()
    });
    assert!(matches!(place.wait(), Waited::Landed(Outcome::Value(7), 1)));
    assert!(worker.join().unwrap());
}

#[test]
fn a_circle_through_a_loader_on_another_thread_is_found() {
    let shop = Arc::new(Shop::new());
    let answer = shop.get(1, || {
        let (lead, mut place) = shop.led(2);
        let there = Arc::clone(&shop);
        let (waits, waiting) = channel::<()>();
        let worker = thread::spawn(move || {
            waiting.recv().unwrap();
            lead.run_sync(|| {
                let circle = load_sync(&*there, 1, 1, Expects::Value, || {
                    Ok::<_, Infallible>(Some(0))
                });
                Ok::<_, Infallible>(Some(u64::from(matches!(circle, Err(LoadError::Cycle)))))
            })
            .unwrap()
        });
        waits.send(()).unwrap();
        let Waited::Landed(Outcome::Value(found), _) = place.wait() else {
            panic!("no value")
        };
        worker.join().unwrap();
        found
    });
    assert_eq!(answer, 1);
}

#[test]
fn the_count_of_receivers_is_of_those_who_stand_there_at_landing() {
    let shop = Arc::new(Shop::new());
    let (lead, mut starter) = shop.led(1);
    let mut stays = pin!(shop.get_async(1, || ready(8)));
    let mut leaves = Box::pin(shop.get_async(1, || ready(8)));
    assert!(poll(stays.as_mut()).is_pending());
    assert!(poll(leaves.as_mut()).is_pending());
    drop(leaves);
    lead.land(&Outcome::Value(7));
    assert!(matches!(
        starter.wait(),
        Waited::Landed(Outcome::Value(7), 2)
    ));
    assert_eq!(poll(stays.as_mut()), Poll::Ready(7));
}

#[test]
fn no_more_than_the_limit_stand_in_line() {
    let shop = Shop::new();
    let mut leader = pin!(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    let terms = Terms {
        max_waiters: 1,
        ..Terms::NONE
    };
    let start = |caller| {
        let start = shop.with_flights(1, |flights| flights.start_on(1, 1, caller, &terms));
        Begun::guard(&shop, 1, start)
    };
    let first = start(Caller::Task);
    assert!(matches!(first, Ok(Begun::Follow(..))));
    assert!(matches!(start(Caller::Task), Err(Refusal::Full)));
    drop(first);
    assert!(matches!(start(Caller::Task), Ok(Begun::Follow(..))));
}

#[test]
fn a_task_whose_time_is_up_leaves_the_line() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let clock = time.clock();
    let mut leader = pin!(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    let mut place = shop.heir(1);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let until = after(&clock, SECOND);
    let timer = time.timer();
    {
        let mut waiting = pin!(place.wait_until_async(&until, &timer));
        assert!(poll_with(waiting.as_mut(), &waker).is_pending());
        time.advance(SECOND / 2);
        assert_eq!(bell.rung(), 0);
        assert!(poll_with(waiting.as_mut(), &waker).is_pending());
        time.advance(SECOND / 2);
        assert_eq!(bell.rung(), 1);
        assert!(matches!(
            poll_with(waiting.as_mut(), &waker),
            Poll::Ready(Waited::TimedOut)
        ));
    }
    assert_eq!(shop.waiting(1), 1, "it may wait again");
    drop(place);
    assert_eq!(shop.waiting(1), 0);
}

#[test]
fn a_thread_whose_time_is_up_stops_waiting() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let clock = time.clock();
    let mut leader = pin!(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    // Before anybody turns the hands.
    let until = after(&clock, SECOND);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut place = shop.heir(1);
            matches!(place.wait_until(&until), Waited::TimedOut)
        });
        shop.until_waiting(1, 1);
        // Whatever it does just now, it sees the hands or is woken by them.
        time.advance(SECOND);
        assert!(waiter.join().unwrap());
    });
    assert_eq!(shop.waiting(1), 0);
}

#[test]
fn a_thread_that_may_wait_no_time_does_not_on_a_real_clock() {
    let (shop, clock) = (Shop::new(), Clock::system());
    let mut leader = pin!(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut place = shop.heir(1);
            for wait in [
                Duration::ZERO,
                Duration::from_nanos(1),
                Duration::from_micros(50),
            ] {
                let until = after(&clock, wait);
                assert!(matches!(place.wait_until(&until), Waited::TimedOut));
            }
        });
    });
}

#[test]
fn a_promotion_that_comes_with_the_deadline_is_handed_on() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let clock = time.clock();
    let mut leader = Box::pin(shop.get_async(1, pending));
    assert!(poll(leader.as_mut()).is_pending());
    let mut late = shop.heir(1);
    let mut next = pin!(shop.get_async(1, || ready(8)));
    assert!(poll(next.as_mut()).is_pending());
    let (until, timer) = (after(&clock, SECOND), time.timer());
    {
        let mut waiting = pin!(late.wait_until_async(&until, &timer));
        assert!(poll(waiting.as_mut()).is_pending());
        time.advance(SECOND);
        assert!(matches!(poll(waiting), Poll::Ready(Waited::TimedOut)));
    }
    // The first in line is promoted, and does not come back to see it.
    drop(leader);
    assert!(poll(next.as_mut()).is_pending());
    drop(late);
    assert_eq!(poll(next.as_mut()), Poll::Ready(8));
    assert_eq!(shop.flights(), 0);
}

#[test]
fn one_waiter_takes_the_place_of_a_leader_whose_lease_ends_and_the_rest_follow_it() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let (clock, timer) = (time.clock(), time.timer());
    let (gate, opened) = gate();
    let Ok(Begun::Lead(old)) = shop.start_leased(&clock) else {
        panic!("nothing is under way")
    };
    let mut old = pin!(old.run_async(|| async { Ok::<_, Infallible>(Some(opened.await)) }));
    assert!(poll(old.as_mut()).is_pending());
    let (mut first, mut second) = (shop.heir(1), shop.heir(1));
    let until = Until {
        lease: Some(SECOND),
        ..after(&clock, 10 * SECOND)
    };
    let mut first = pin!(first.wait_until_async(&until, &timer));
    let mut second = pin!(second.wait_until_async(&until, &timer));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    time.advance(SECOND);
    let Poll::Ready(Waited::Lead(new)) = poll(first.as_mut()) else {
        panic!("the lease has ended")
    };
    assert!(
        poll(second.as_mut()).is_pending(),
        "it has a lease of its own"
    );
    gate.open(1);
    let late = poll(old.as_mut());
    assert!(matches!(late, Poll::Ready(Ok(Some(1)))), "its own caller");
    assert_eq!(shop.stored(1), None, "a late result was stored");
    assert!(
        poll(second.as_mut()).is_pending(),
        "a late result was given"
    );
    new.land(&Outcome::Value(2));
    let got = poll(second.as_mut());
    assert!(matches!(
        got,
        Poll::Ready(Waited::Landed(Outcome::Value(2), 2))
    ));
    assert_eq!((shop.stored(1), shop.flights()), (Some(2), 0));
}

#[test]
fn a_caller_who_comes_after_the_lease_takes_over_though_the_task_sleeps_on_its_thread() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let clock = time.clock();
    let Ok(Begun::Lead(old)) = shop.start_leased(&clock) else {
        panic!("nothing is under way")
    };
    let mut old = Box::pin(old.run_async(pending::<Result<Option<u64>, Infallible>>));
    assert!(poll(old.as_mut()).is_pending());
    assert!(matches!(shop.start_leased(&clock), Ok(Begun::Alone(..))));
    time.advance(SECOND);
    let Ok(Begun::Lead(new)) = shop.start_leased(&clock) else {
        panic!("the lease has ended")
    };
    // The old leader's end changes nothing.
    drop(old);
    assert_eq!(shop.flights(), 1);
    new.land(&Outcome::Value(2));
    assert_eq!((shop.stored(1), shop.flights()), (Some(2), 0));
}

#[test]
fn a_lease_that_is_renewed_keeps_the_leader() {
    let (shop, time) = (Shop::new(), ManualClock::new());
    let (clock, timer) = (time.clock(), time.timer());
    let Ok(Begun::Lead(lead)) = shop.start_leased(&clock) else {
        panic!("nothing is under way")
    };
    let mut waiter = shop.heir(1);
    let until = Until {
        lease: Some(SECOND),
        ..after(&clock, 10 * SECOND)
    };
    let mut waiting = pin!(waiter.wait_until_async(&until, &timer));
    assert!(poll(waiting.as_mut()).is_pending());
    lead.renew(clock.now() + 3 * SECOND);
    time.advance(SECOND);
    assert!(poll(waiting.as_mut()).is_pending());
    time.advance(2 * SECOND);
    assert!(matches!(poll(waiting), Poll::Ready(Waited::Lead(_))));
}

#[test]
fn loaders_may_nest_deeper_than_what_is_at_hand() {
    fn nest(shop: &Shop, key: u64) -> u64 {
        if key == 20 {
            let again = load_sync(shop, 3, 3, Expects::Value, || Ok::<_, Infallible>(Some(0)));
            assert!(matches!(again, Err(LoadError::Reentrant)));
            let last = load_sync(shop, 15, 15, Expects::Value, || {
                Ok::<_, Infallible>(Some(0))
            });
            assert!(matches!(last, Err(LoadError::Reentrant)));
            return 1;
        }
        shop.get(key, || nest(shop, key + 1)) + 1
    }
    let shop = Shop::new();
    assert_eq!(nest(&shop, 0), 21);
    assert_eq!(shop.flights(), 0);
    assert_eq!(shop.get(3, || unreachable!("stored")), 17);
}

impl Shop {
    /// A leader to give away, and its caller's place.
    fn led(self: &Arc<Self>, key: u64) -> (OwnedLead<Self>, InLine<Arc<Self>>) {
        match start_detached(Arc::clone(self), key, key, Caller::Thread) {
            Ok(Detached::Led(lead, place)) => (lead, place),
            _ => panic!("something is under way"),
        }
    }

    /// A place in line that can be promoted.
    fn heir(&self, key: u64) -> InLine<&Self> {
        match begin(self, key, key, Caller::Task) {
            Ok(Begun::Follow(place, _)) => place,
            _ => panic!("nothing is under way"),
        }
    }

    /// A place in line that cannot.
    fn guest(&self, key: u64) -> Option<InLine<&Self>> {
        match join(self, key, |known| *known == key, Caller::Task, usize::MAX) {
            Ok(place) => place,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// Begins as a thread that leads for a second.
    fn start_leased(&self, clock: &Clock) -> Result<Begun<&Self>, Refusal> {
        let now = clock.now();
        let terms = Terms {
            now,
            lease_ends: now + SECOND,
            ..Terms::NONE
        };
        let start = self.with_flights(1, |flights| flights.start_on(1, 1, Caller::Thread, &terms));
        Begun::guard(self, 1, start)
    }

    fn waiting(&self, key: u64) -> usize {
        self.with_flights(key, |flights| flights.waiting(key, |known| *known == key))
    }
}

fn after(clock: &Clock, wait: Duration) -> Until<'_> {
    Until {
        clock,
        deadline: clock.now() + wait,
        lease: None,
    }
}

const SECOND: Duration = Duration::from_secs(1);
