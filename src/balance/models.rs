//! Members that are removed while they are picked, under every interleaving that shuttle's
//! scheduler tries.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::thread;

use super::{Balancer, Drain, PickError, Policy};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::explore;
use crate::time::ManualClock;

/// A member that knows whether it is gone.
struct Witness {
    number: usize,
    drops: Arc<AtomicUsize>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn balancer(policy: Policy) -> Balancer<Witness> {
    let clock = ManualClock::new().clock();
    let builder = Balancer::builder().policy(policy).clock(clock).seed(1);
    builder.max_members(2).build().expect("coherent")
}

fn witness(number: usize) -> (Witness, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    let member = Witness {
        number,
        drops: Arc::clone(&drops),
    };
    (member, drops)
}

/// No use of a member outlives it, it is dropped once, and nobody gets it after its drain is over.
#[test]
fn a_drain_ends_after_every_use_and_does_end() {
    for policy in [Policy::RoundRobin, Policy::LeastRequest] {
        explore(800, move || {
            let balancer = balancer(policy);
            let (member, drops) = witness(0);
            let id = balancer.add(member).expect("room");
            let users: Vec<_> = (0..2)
                .map(|_| {
                    let (balancer, drops) = (balancer.clone(), Arc::clone(&drops));
                    thread::spawn(move || {
                        for _ in 0..2 {
                            match balancer.pick() {
                                Ok(pick) => {
                                    thread::yield_now();
                                    assert_eq!(drops.load(Ordering::SeqCst), 0);
                                    pick.succeed();
                                }
                                Err(error) => assert_eq!(error, PickError::NoMembers),
                            }
                        }
                    })
                })
                .collect();
            let member = wait(balancer.drain(id).expect("it is there"));
            assert_eq!(drops.load(Ordering::SeqCst), 0);
            drop(member);
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            assert_eq!(balancer.stats().draining, 0);
            for user in users {
                user.join().expect("no user finds a member gone");
            }
        });
    }
}

/// A slot is used for the next member while strangers still knock for the last one.
#[test]
fn a_place_is_used_again_without_a_mix_up() {
    explore(800, || {
        let balancer = balancer(Policy::RoundRobin);
        let (first, first_drops) = witness(0);
        let (second, second_drops) = witness(1);
        let id = balancer.add(first).expect("room");
        let user = {
            let balancer = balancer.clone();
            let drops = [Arc::clone(&first_drops), Arc::clone(&second_drops)];
            thread::spawn(move || {
                for _ in 0..3 {
                    if let Ok(pick) = balancer.pick() {
                        thread::yield_now();
                        assert_eq!(drops[pick.number].load(Ordering::SeqCst), 0);
                        pick.fail();
                    }
                }
            })
        };
        balancer.remove(id).expect("it is there");
        let again = balancer.add(second).expect("room");
        user.join().expect("no user finds a member gone");
        assert_eq!(first_drops.load(Ordering::SeqCst), 1);
        assert_eq!(second_drops.load(Ordering::SeqCst), 0);
        assert_eq!(
            *balancer.members().iter().map(|m| m.id).collect::<Vec<_>>(),
            [again]
        );
        assert_eq!(balancer.stats().in_flight, 0);
        drop(balancer);
        assert_eq!(second_drops.load(Ordering::SeqCst), 1);
    });
}

/// Two who remove and one who uses: one of the two succeeds, and the count ends at nothing.
#[test]
fn one_of_two_removals_wins_and_nothing_is_left() {
    explore(800, || {
        let balancer = balancer(Policy::RoundRobin);
        let (member, drops) = witness(0);
        let id = balancer.add(member).expect("room");
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let balancer = balancer.clone();
                thread::spawn(move || {
                    if n == 0 {
                        let used = balancer.pick_sticky(7_u64);
                        thread::yield_now();
                        drop(used);
                        return false;
                    }
                    balancer.remove(id).is_ok()
                })
            })
            .collect();
        let removed = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        assert_eq!(removed.filter(|removed| *removed).count(), 1);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(balancer.members(), []);
    });
}

fn wait(drain: Drain<Witness>) -> Witness {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut drain = std::pin::pin!(drain);
    loop {
        if let Poll::Ready(member) = drain.as_mut().poll(&mut Context::from_waker(&waker)) {
            return member;
        }
        thread::park();
    }
}
