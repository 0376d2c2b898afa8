//! Picks that are held for long, made among some, or told of by others than the clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tenfold::balance::{
    Balancer, BalancerBuilder, Member, MemberId, OwnedPick, PickError, Policy, UnknownMember,
};
use tenfold::time::ManualClock;

const POLICIES: [Policy; 5] = [
    Policy::Adaptive,
    Policy::LeastRequest,
    Policy::PeakEwma,
    Policy::RoundRobin,
    Policy::Random,
];

fn virtual_time() -> (ManualClock, BalancerBuilder<usize>) {
    let clock = ManualClock::new();
    let builder = Balancer::builder().clock(clock.clock()).seed(7);
    (clock, builder)
}

fn numbers(builder: BalancerBuilder<usize>, weights: &[f64]) -> (Balancer<usize>, Vec<MemberId>) {
    let balancer = builder.build().unwrap();
    let add =
        |(n, weight): (usize, &f64)| balancer.add_member(Member::new(n).weight(*weight)).unwrap();
    let ids = weights.iter().enumerate().map(add).collect();
    (balancer, ids)
}

mod owned {
    use super::*;

    #[test]
    fn an_owned_pick_outlives_the_handles_and_hands_the_member_over() {
        let balancer = Balancer::new();
        let id = balancer.add(String::from("old")).unwrap();
        let held: [OwnedPick<String>; 2] = [
            balancer.pick_owned().unwrap(),
            balancer.pick().unwrap().into_owned(),
        ];
        assert_eq!(balancer.stats().in_flight, 2);
        let drain = balancer.drain(id).unwrap();
        drop(balancer);
        let threads = held.map(|pick| {
            thread::spawn(move || {
                assert_eq!((pick.id(), pick.as_str()), (id, "old"));
                pick.succeed();
            })
        });
        assert_eq!(drain.wait(), "old");
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn the_last_owned_pick_drops_the_balancer_and_its_members() {
        let member = Arc::new(());
        let balancer = Balancer::new();
        balancer.add(Arc::clone(&member)).unwrap();
        let pick = balancer.pick_owned().unwrap();
        drop(balancer);
        assert_eq!(Arc::strong_count(&member), 2);
        drop(pick);
        assert_eq!(Arc::strong_count(&member), 1);
    }

    #[test]
    fn what_is_said_counts_once_whoever_says_it() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.no_ejection(), &[1.0]);
        let failures = || balancer.stats().failures;
        balancer.pick().unwrap().into_owned().fail();
        assert_eq!((failures(), balancer.stats().in_flight), (1, 0));
        balancer.pick_owned().unwrap().note(&Err::<(), ()>(()));
        assert_eq!(failures(), 2);
        // A use that tells nothing, owned or not.
        balancer.get(ids[0]).unwrap().into_owned().fail();
        assert_eq!((failures(), balancer.stats().in_flight), (2, 0));
        // Given up: it took so long at least.
        let (balancer, _) = numbers(Balancer::builder().clock(clock.clock()).seed(7), &[1.0]);
        let before = balancer.members()[0].latency;
        let pick = balancer.pick_owned().unwrap();
        clock.advance(Duration::from_secs(1));
        drop(pick);
        assert!(balancer.members()[0].latency > before * 100);
    }

    #[test]
    fn a_key_is_in_flight_until_its_owned_pick_ends() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder.sticky_bound(1.0), &[1.0; 4]);
        let one = balancer.pick_sticky(1_u64).unwrap().into_owned();
        // With one in flight and a bound of one, the second goes elsewhere; once the first is over, home.
        assert_ne!(*balancer.pick_sticky(1_u64).unwrap(), *one);
        let home = *one;
        one.succeed();
        assert_eq!(*balancer.pick_sticky(1_u64).unwrap(), home);
    }

    #[test]
    fn owned_picks_may_be_held_by_spawned_tasks() {
        fn spawns<T: Send + 'static>(task: T) -> T {
            task
        }
        let balancer = Balancer::new();
        balancer.add(String::from("a")).unwrap();
        let pick = balancer.pick_owned().unwrap();
        let task = spawns(async move {
            std::future::ready(()).await;
            pick.succeed();
        });
        tenfold::task::block_on(task);
        assert_eq!(balancer.stats().in_flight, 0);
    }

    #[test]
    fn members_come_and_go_while_threads_hold_owned_picks() {
        let balancer = Balancer::new();
        let alive = || Arc::new(AtomicBool::new(true));
        balancer.add(alive()).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for n in 0..3_usize {
                let (balancer, stop) = (&balancer, &stop);
                scope.spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    while !stop.load(Ordering::Relaxed) {
                        held.push_back(match n {
                            0 => balancer.pick_owned().unwrap(),
                            1 => balancer.pick().unwrap().into_owned(),
                            _ => balancer.pick_where(|_, _| true).unwrap().into_owned(),
                        });
                        // Few enough that drains end, and looked at again after a while.
                        if held.len() > n {
                            let pick = held.pop_front().unwrap();
                            assert!(pick.load(Ordering::SeqCst), "used after its drain");
                        }
                    }
                });
            }
            let mut ids = Vec::new();
            for n in 1..300 {
                ids.push(balancer.add(alive()).unwrap());
                if ids.len() > 5 {
                    let member = balancer.drain(ids.remove(n % 5)).unwrap().wait();
                    member.store(false, Ordering::SeqCst);
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let stats = balancer.stats();
        assert_eq!((stats.in_flight, stats.draining), (0, 0));
    }
}

mod among {
    use super::*;

    #[test]
    fn only_those_asked_for_and_all_of_them() {
        for policy in POLICIES {
            let (clock, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.policy(policy), &[1.0; 10]);
            let listed = [ids[2], ids[5], ids[7], ids[8]];
            let mut counts = HashMap::new();
            for turn in 0..2000 {
                let pick = if turn % 2 == 0 {
                    balancer.pick_among(&listed).unwrap()
                } else {
                    balancer
                        .pick_where(|id, n| listed.contains(&id) && *n < 10)
                        .unwrap()
                };
                *counts.entry(*pick).or_insert(0) += 1;
                clock.advance(Duration::from_millis(1));
                pick.succeed();
            }
            let mut found: Vec<_> = counts.keys().copied().collect();
            found.sort_unstable();
            assert_eq!(found, [2, 5, 7, 8], "{policy:?}");
            let least = *counts.values().min().unwrap();
            assert!(least > 300, "{policy:?} {counts:?}");
        }
    }

    #[test]
    fn turns_and_dice_among_some_go_by_weight() {
        for policy in [Policy::RoundRobin, Policy::Random] {
            let (_, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.policy(policy), &[1.0, 9.0, 2.0, 7.0]);
            let listed = [ids[0], ids[2], ids[3]];
            let mut counts = [0_u32; 4];
            for _ in 0..100_000 {
                // Picks of other kinds in between take no member's turns away.
                drop(balancer.pick().unwrap());
                counts[*balancer.pick_among(&listed).unwrap()] += 1;
            }
            for (count, share) in counts.into_iter().zip([0.1, 0.0, 0.2, 0.7]) {
                let share: f64 = share * 100_000.0;
                let off = (f64::from(count) - share).abs();
                assert!(off <= 0.03 * share, "{policy:?} {counts:?}");
            }
        }
    }

    #[test]
    fn every_candidate_is_drawn_as_often_as_every_other() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.policy(Policy::LeastRequest), &[1.0; 12]);
        let mut counts = [0_u32; 12];
        for _ in 0..100_000 {
            counts[*balancer.pick_among(&ids[..10]).unwrap()] += 1;
        }
        assert!(
            counts[..10].iter().all(|n| (9_500..10_500).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_busy_are_passed_over() {
        for policy in [Policy::Adaptive, Policy::LeastRequest] {
            let (_, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.policy(policy), &[1.0; 6]);
            let listed = [ids[1], ids[4]];
            let held: Vec<_> = (0..10)
                .map(|_| balancer.pick_among(&listed).unwrap())
                .collect();
            let ones = held.iter().filter(|pick| ***pick == 1).count();
            assert_eq!(ones, 5, "{policy:?}");
        }
    }

    #[test]
    fn the_unhealthy_come_last_and_other_levels_before_them() {
        for policy in POLICIES {
            let (_, builder) = virtual_time();
            let balancer = builder.policy(policy).build().unwrap();
            let near = [0, 1, 2, 3].map(|n| balancer.add(n).unwrap());
            let far = balancer.add_member(Member::new(4).priority(1)).unwrap();
            balancer.mark_down(near[0]).unwrap();
            let found = |listed: &[MemberId]| {
                let mut found: Vec<_> = (0..100)
                    .map(|_| *balancer.pick_among(listed).unwrap())
                    .collect();
                found.sort_unstable();
                found.dedup();
                found
            };
            for listed in [
                [far, near[0], near[1], near[2]],
                [near[2], near[1], near[0], far],
            ] {
                assert_eq!(found(&listed), [1, 2], "{policy:?}");
            }
            assert_eq!(found(&[near[0], far]), [4], "{policy:?}");
            assert_eq!(found(&[far, near[0]]), [4], "{policy:?}");
            // Better than nobody.
            assert_eq!(found(&near[..1]), [0], "{policy:?}");
        }
    }

    #[test]
    fn why_there_is_nobody_is_told_apart() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.panic_threshold(0.0), &[1.0; 3]);
        assert_eq!(balancer.pick_among(&[]).unwrap_err(), PickError::NoneWanted);
        let nobody = || balancer.pick_where(|_, _| false).unwrap_err();
        assert_eq!(nobody(), PickError::NoneWanted);
        balancer.mark_down(ids[0]).unwrap();
        assert_eq!(
            balancer.pick_among(&ids[..1]).unwrap_err(),
            PickError::NoneHealthy
        );
        balancer.remove(ids[0]).unwrap();
        assert_eq!(
            balancer.pick_among(&ids[..1]).unwrap_err(),
            PickError::NoneWanted
        );
        balancer.remove(ids[1]).unwrap();
        balancer.remove(ids[2]).unwrap();
        assert_eq!(nobody(), PickError::NoMembers);
    }

    #[test]
    fn a_place_that_was_given_to_another_is_not_the_one_asked_for() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0; 2]);
        balancer.remove(ids[0]).unwrap();
        balancer.add(7).unwrap();
        let all: Vec<_> = (0..20)
            .map(|_| *balancer.pick_among(&ids).unwrap())
            .collect();
        assert_eq!(all, [1; 20]);
    }

    #[test]
    fn a_closure_may_call_back_and_may_panic() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0; 3]);
        let pick = balancer
            .pick_where(|id, _| {
                let known = balancer.mark_up(id).is_ok() && balancer.stats().members == 3;
                known && balancer.pick_among(&ids).is_ok()
            })
            .unwrap();
        drop(pick);
        let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(balancer.pick_where(|_, _| panic!("as planned")));
        }));
        assert!(gone.is_err());
        assert_eq!(balancer.stats().in_flight, 0);
    }

    proptest! {
        /// Against a naive reading: whoever is picked is on the list, and there is somebody if the list has
        /// a member that is there.
        #[test]
        fn who_is_picked_is_on_the_list_and_in_use(
            policy in prop::sample::select(&POLICIES[..]),
            weights in prop::collection::vec(0.1..10.0_f64, 1..20),
            listed in prop::collection::vec(0..20_usize, 0..20),
            removed in prop::collection::vec(0..20_usize, 0..5),
        ) {
            let (_, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.policy(policy), &weights);
            for n in removed.iter().filter(|n| **n < ids.len()) {
                let _ = balancer.remove(ids[*n]);
            }
            let listed: Vec<_> = listed.into_iter().filter(|n| *n < ids.len()).collect();
            let there: Vec<_> = listed.iter().copied().filter(|n| !removed.contains(n)).collect();
            let list: Vec<_> = listed.iter().map(|n| ids[*n]).collect();
            for _ in 0..10 {
                match balancer.pick_among(&list) {
                    Ok(pick) => {
                        prop_assert!(there.contains(&pick));
                        prop_assert_eq!(balancer.stats().in_flight, 1);
                    }
                    Err(_) => prop_assert!(there.is_empty()),
                }
            }
        }
    }
}

mod reports {
    use super::*;

    #[test]
    fn a_latency_that_is_told_is_taken_instead_of_the_clocks() {
        for policy in [Policy::Adaptive, Policy::PeakEwma] {
            let (clock, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(policy), &[1.0]);
            for owned in [false, true] {
                for _ in 0..200 {
                    let pick = balancer.pick().unwrap();
                    clock.advance(Duration::from_secs(1));
                    let took = Duration::from_millis(20);
                    if owned {
                        pick.into_owned().succeed_after(took);
                    } else {
                        pick.succeed_after(took);
                    }
                }
                let latency = balancer.members()[0].latency;
                // With a second between, it is drawn a little towards less.
                assert!(
                    (10..=20).contains(&latency.as_millis()),
                    "{policy:?} {latency:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_said_is_heard_at_the_end_of_time() {
        for years in [1, 150, 300, 600] {
            let (clock, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.no_ejection(), &[1.0]);
            clock.advance(Duration::from_secs(years * 365 * 86_400));
            balancer.pick().unwrap().fail();
            balancer.pick_sticky(1_u64).unwrap().fail();
            balancer.pick_among(&ids).unwrap().into_owned().fail();
            assert_eq!(balancer.stats().failures, 3, "after {years} years");
            assert_eq!(balancer.stats().in_flight, 0);
        }
    }

    #[test]
    fn it_is_a_success() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder.policy(Policy::RoundRobin), &[1.0; 2]);
        for _ in 0..20 {
            (0..2 * 4).for_each(|_| balancer.pick().unwrap().fail());
            (0..2).for_each(|_| balancer.pick().unwrap().succeed_after(Duration::ZERO));
            if balancer.stats().ejections > 0 {
                // By the rate of the last 32, not by five in a row.
                assert!(balancer.stats().failures >= 32);
                return;
            }
        }
        panic!("four failures of five are too many");
    }

    #[test]
    fn who_says_that_it_is_busy_gets_less_until_that_is_old() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0; 2]);
        let share = || {
            let held: Vec<_> = (0..200).map(|_| balancer.pick().unwrap()).collect();
            held.iter().filter(|pick| ***pick == 0).count()
        };
        assert_eq!(share(), 100);
        balancer.report_load(ids[0], 100).unwrap();
        // Fifty here and a hundred of others: as many as there.
        assert!((48..=52).contains(&share()), "{}", share());
        for _ in 0..100 {
            clock.advance(Duration::from_millis(200));
            balancer
                .pick()
                .unwrap()
                .succeed_after(Duration::from_millis(1));
        }
        assert!((95..=105).contains(&share()), "{}", share());
    }

    #[test]
    fn our_own_requests_are_not_counted_twice() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0; 2]);
        let held: Vec<_> = (0..20).map(|_| balancer.pick().unwrap()).collect();
        // Ten of ours are all it has.
        balancer.report_load(ids[0], 10).unwrap();
        let more: Vec<_> = (0..20).map(|_| balancer.pick().unwrap()).collect();
        assert_eq!(more.iter().filter(|pick| ***pick == 0).count(), 10);
        drop((held, more));
        assert_eq!(balancer.stats().in_flight, 0);
        balancer.remove(ids[0]).unwrap();
        assert_eq!(balancer.report_load(ids[0], 1), Err(UnknownMember(ids[0])));
    }

    #[test]
    fn what_a_member_said_is_not_held_against_its_successor() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.slow_start(Duration::ZERO), &[1.0; 2]);
        balancer.report_load(ids[0], 1000).unwrap();
        balancer.remove(ids[0]).unwrap();
        balancer.add(2).unwrap();
        assert_eq!(balancer.report_load(ids[0], 1), Err(UnknownMember(ids[0])));
        let held: Vec<_> = (0..20).map(|_| balancer.pick().unwrap()).collect();
        assert_eq!(held.iter().filter(|pick| ***pick == 2).count(), 10);
    }
}
