//! The balancer as its users see it: who is picked, who is not, and what becomes of members.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tenfold::balance::{
    Autoscaler, AutoscalerError, Balancer, BalancerBuilder, BuildError, Ejection, Health, Member,
    MemberError, MemberId, PickError, Policy, Prober, ProberError, Probing, UnknownMember,
};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

const POLICIES: [Policy; 5] = [
    Policy::Adaptive,
    Policy::LeastRequest,
    Policy::PeakEwma,
    Policy::RoundRobin,
    Policy::Random,
];
const SECOND: Duration = Duration::from_secs(1);

/// A balancer of numbers in virtual time, and the ids of its members.
fn numbers(builder: BalancerBuilder<usize>, weights: &[f64]) -> (Balancer<usize>, Vec<MemberId>) {
    let balancer = builder.build().unwrap();
    let add =
        |(n, weight): (usize, &f64)| balancer.add_member(Member::new(n).weight(*weight)).unwrap();
    let ids = weights.iter().enumerate().map(add).collect();
    (balancer, ids)
}

fn virtual_time() -> (ManualClock, BalancerBuilder<usize>) {
    let clock = ManualClock::new();
    let builder = Balancer::builder().clock(clock.clock()).seed(7);
    (clock, builder)
}

/// How often each of `n` members is picked, each pick answered at once.
fn counts(balancer: &Balancer<usize>, n: usize, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; n];
    for _ in 0..picks {
        let pick = balancer.pick().unwrap();
        counts[*pick] += 1;
        pick.succeed();
    }
    counts
}

mod shares {
    use super::*;

    #[test]
    fn round_robin_goes_round() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder.policy(Policy::RoundRobin), &[1.0; 7]);
        let picks: Vec<_> = (0..14).map(|_| *balancer.pick().unwrap()).collect();
        let first = picks[0];
        assert_eq!(picks, (0..14).map(|n| (first + n) % 7).collect::<Vec<_>>());
    }

    #[test]
    fn round_robin_is_even_with_threads_and_without_a_seed() {
        let (balancer, _) = numbers(Balancer::builder().policy(Policy::RoundRobin), &[1.0; 10]);
        let counts: Vec<AtomicUsize> = (0..10).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25_000 {
                        counts[*balancer.pick().unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<_> = counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*most as f64 / *least as f64 <= 1.02, "{counts:?}");
        assert_eq!(balancer.stats().in_flight, 0);
    }

    #[test]
    fn random_is_even_by_chi_squared() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder.policy(Policy::Random), &[1.0; 10]);
        let counts = counts(&balancer, 10, 100_000);
        let off = |count: usize| (count as f64 - 10_000.0).powi(2) / 10_000.0;
        // Nine degrees of freedom: 21.67 has a chance of one in a hundred.
        let chi: f64 = counts.into_iter().map(off).sum();
        assert!(chi < 21.67, "{chi}");
    }

    #[test]
    fn weights_are_met_within_a_hundredth_by_both() {
        for policy in [Policy::RoundRobin, Policy::Random] {
            let (_, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(policy), &[1.0, 2.0, 7.0]);
            let counts = counts(&balancer, 3, 1_000_000);
            for (count, weight) in counts.iter().zip([1.0, 2.0, 7.0]) {
                let expected = weight * 100_000.0;
                assert!(
                    (*count as f64 - expected).abs() < 0.01 * expected,
                    "{policy:?} {counts:?}"
                );
            }
        }
    }

    proptest! {
        /// Whatever the weights: between two turns of a member lies never more than the three
        /// distances that a golden rotation has, the longest of which is below 2.7 times the average.
        #[test]
        fn weighted_turns_are_spread_evenly(weights in prop::collection::vec(1..50_u32, 2..12)) {
            prop_assume!(weights.iter().any(|weight| *weight != weights[0]));
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let (_, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(Policy::RoundRobin), &weights);
            let total: f64 = weights.iter().sum();
            let mut last: HashMap<usize, usize> = HashMap::new();
            let mut gaps: HashMap<usize, Vec<usize>> = HashMap::new();
            for turn in 0..20_000 {
                let member = *balancer.pick().unwrap();
                if let Some(last) = last.insert(member, turn) {
                    gaps.entry(member).or_default().push(turn - last);
                }
            }
            for (member, gaps) in gaps {
                let average = total / weights[member];
                let longest = *gaps.iter().max().unwrap() as f64;
                prop_assert!(longest <= 2.7 * average + 1.0, "{longest} of {average}");
            }
        }

        /// Against a model that recounts: every policy picks members only, counts what is in flight
        /// exactly, and picks the least busy of them at least never if two were less busy.
        #[test]
        fn what_is_held_is_what_is_counted(
            policy in prop::sample::select(&POLICIES[..]),
            steps in prop::collection::vec(any::<(u8, u16)>(), 1..300),
        ) {
            let (clock, builder) = virtual_time();
            let balancer = builder.policy(policy).build().unwrap();
            let mut model: HashMap<usize, (MemberId, u32)> = HashMap::new();
            let mut leaving: HashMap<usize, u32> = HashMap::new();
            let mut held = Vec::new();
            let mut next = 0;
            for (step, which) in steps {
                match step % 8 {
                    0 => {
                        let id = balancer.add(next).unwrap();
                        model.insert(next, (id, 0));
                        next += 1;
                    }
                    1 if !model.is_empty() => {
                        let mut members: Vec<_> = model.keys().copied().collect();
                        members.sort_unstable();
                        let member = members[usize::from(which) % members.len()];
                        let (id, count) = model.remove(&member).unwrap();
                        balancer.remove(id).unwrap();
                        prop_assert_eq!(balancer.remove(id), Err(UnknownMember(id)));
                        if count > 0 {
                            leaving.insert(member, count);
                        }
                    }
                    2 | 3 if !held.is_empty() => {
                        let pick: tenfold::balance::Pick<'_, usize> = held.swap_remove(usize::from(which) % held.len());
                        if let Some((_, count)) = model.get_mut(&*pick) {
                            *count -= 1;
                        } else {
                            let count = leaving.get_mut(&*pick).unwrap();
                            *count -= 1;
                            if *count == 0 {
                                leaving.remove(&*pick);
                            }
                        }
                        match which % 3 {
                            0 => pick.succeed(),
                            1 => pick.fail(),
                            _ => drop(pick),
                        }
                    }
                    4 => clock.advance(Duration::from_millis(u64::from(which))),
                    _ => match if step % 2 == 0 { balancer.pick() } else { balancer.pick_sticky(u64::from(which)) } {
                        Ok(pick) => {
                            let (id, count) = model.get_mut(&*pick).expect("a member that is there");
                            prop_assert_eq!(pick.id(), *id);
                            *count += 1;
                            held.push(pick);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, PickError::NoMembers);
                            prop_assert!(model.is_empty());
                        }
                    },
                }
                let known = balancer.members();
                prop_assert_eq!(known.len(), model.len() + leaving.len());
                for status in known {
                    let count = model.values().find(|(id, _)| *id == status.id).map(|(_, count)| *count);
                    let draining = status.health == Health::Draining;
                    prop_assert_eq!(count.is_none(), draining);
                    prop_assert!(draining || count == Some(status.in_flight));
                }
                let held = held.len() as u64;
                prop_assert_eq!(balancer.stats().in_flight, held);
            }
        }
    }

    #[test]
    fn who_is_busier_than_both_others_is_never_picked() {
        for policy in [Policy::LeastRequest, Policy::Adaptive] {
            let (_, builder) = virtual_time();
            let (balancer, ids) = numbers(builder.policy(policy), &[1.0; 3]);
            let _held: Vec<_> = (0..5).map(|_| balancer.get(ids[1]).unwrap()).collect();
            assert_eq!(counts(&balancer, 3, 1000)[1], 0, "{policy:?}");
        }
    }

    #[test]
    fn twice_the_weight_holds_twice_the_requests() {
        for policy in [Policy::LeastRequest, Policy::Adaptive] {
            let (_, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(policy), &[1.0, 2.0]);
            let held: Vec<_> = (0..300).map(|_| balancer.pick().unwrap()).collect();
            let second = held.iter().filter(|pick| ***pick == 1).count();
            assert!((195..=205).contains(&second), "{policy:?}: {second}");
        }
    }
}

mod latency {
    use super::*;

    #[test]
    fn the_quick_one_gets_most_and_the_slow_one_is_tried_again() {
        let (clock, builder) = virtual_time();
        let (balancer, _) = numbers(builder, &[1.0; 2]);
        let mut counts = [0; 2];
        for _ in 0..2000 {
            let pick = balancer.pick().unwrap();
            counts[*pick] += 1;
            clock.advance(Duration::from_millis(if *pick == 0 { 100 } else { 10 }));
            pick.succeed();
        }
        assert!(counts[0] * 10 < counts[1] && counts[0] > 1, "{counts:?}");
    }

    #[test]
    fn a_request_that_was_given_up_late_counts_as_slow_and_one_given_up_early_not_at_all() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0]);
        let latency = || balancer.members()[0].latency;
        let before = latency();
        drop(balancer.pick().unwrap());
        assert_eq!(latency(), before);
        let pick = balancer.pick().unwrap();
        clock.advance(Duration::from_millis(50));
        drop(pick);
        assert!(latency() > Duration::from_millis(20));
        // And what was no pick says nothing.
        let before = latency();
        let used = balancer.get(ids[0]).unwrap();
        clock.advance(Duration::from_millis(90));
        used.fail();
        assert_eq!(latency(), before);
        assert_eq!(balancer.stats().failures, 0);
    }

    #[test]
    fn so_many_requests_that_not_all_are_timed_are_known_as_well() {
        let (clock, builder) = virtual_time();
        let (balancer, _) = numbers(builder, &[1.0; 2]);
        let mut held = std::collections::VecDeque::new();
        for step in 0..100_000 {
            held.push_back(balancer.pick().unwrap());
            clock.advance(Duration::from_micros(10));
            if held.len() == 5 {
                let pick = held.pop_front().unwrap();
                match step % 7 {
                    0 => drop(pick),
                    _ => pick.succeed(),
                }
            }
        }
        for member in balancer.members() {
            let micros = member.latency.as_micros();
            assert!((35..=55).contains(&micros), "{micros}");
        }
    }

    #[test]
    fn where_requests_are_few_every_one_is_timed() {
        let (clock, builder) = virtual_time();
        let (balancer, _) = numbers(builder, &[1.0]);
        let request = |millis| {
            clock.advance(Duration::from_millis(50));
            let pick = balancer.pick().unwrap();
            clock.advance(Duration::from_millis(millis));
            pick.succeed();
        };
        (0..100).for_each(|_| request(10));
        // Each is a spike, of which half is taken: if only one of them were seen, it would be less.
        [100, 400, 1600].into_iter().for_each(request);
        let latency = balancer.members()[0].latency.as_millis();
        assert!((850..950).contains(&latency), "{latency}");
    }

    #[test]
    fn a_quick_failure_does_not_look_quick() {
        let (clock, builder) = virtual_time();
        let (balancer, _) = numbers(builder.no_ejection(), &[1.0; 3]);
        let mut failed = 0;
        for _ in 0..1000 {
            let pick = balancer.pick().unwrap();
            if *pick == 0 {
                clock.advance(Duration::from_micros(10));
                failed += 1;
                pick.fail();
            } else {
                clock.advance(Duration::from_millis(5));
                pick.succeed();
            }
        }
        assert!(failed < 10, "{failed}");
    }
}

mod health {
    use super::*;

    fn fail(balancer: &Balancer<usize>, id: MemberId, times: usize) {
        let mut failed = 0;
        while failed < times {
            let pick = balancer.pick().unwrap();
            if pick.id() == id {
                failed += 1;
                pick.fail();
            } else {
                pick.succeed();
            }
        }
    }

    #[test]
    fn five_failures_in_a_row_eject_and_each_time_for_twice_as_long() {
        for policy in [Policy::RoundRobin, Policy::Random, Policy::LeastRequest] {
            let (clock, builder) = virtual_time();
            let builder = builder.policy(policy).slow_start(Duration::ZERO);
            let (balancer, ids) = numbers(builder, &[1.0; 4]);
            fail(&balancer, ids[0], 4);
            assert_eq!(balancer.stats().ejections, 0);
            fail(&balancer, ids[0], 1);
            for seconds in [1, 2, 4, 8_u64] {
                assert_eq!(balancer.stats().healthy, 3);
                clock.advance(Duration::from_millis(1000 * seconds - 1));
                assert_eq!(counts(&balancer, 4, 100)[0], 0, "{policy:?} {seconds}");
                clock.advance(Duration::from_millis(1));
                // On probation: one is enough.
                fail(&balancer, ids[0], 1);
            }
            assert_eq!(balancer.stats().ejections, 5);
            clock.advance(SECOND * 16);
            assert!(counts(&balancer, 4, 100)[0] > 0);
            assert_eq!(balancer.stats().healthy, 4);
        }
    }

    #[test]
    fn a_success_ends_the_row_but_not_the_rate() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder.policy(Policy::RoundRobin), &[1.0; 3]);
        let mut turn = 0;
        for _ in 0..300 {
            let pick = balancer.pick().unwrap();
            if *pick != 0 {
                pick.succeed();
                continue;
            }
            turn += 1;
            if turn % 4 == 0 {
                pick.succeed();
            } else {
                pick.fail();
            }
            // Never five in a row, but three of four: seen when there are enough of them.
            assert_eq!(balancer.stats().ejections > 0, turn >= 33, "{turn}");
        }
    }

    #[test]
    fn one_success_ends_the_probation() {
        let (clock, builder) = virtual_time();
        let builder = builder
            .policy(Policy::RoundRobin)
            .slow_start(Duration::ZERO);
        let (balancer, ids) = numbers(builder, &[1.0; 4]);
        // By its rate: never five in a row.
        let mut turn = 0;
        while balancer.stats().ejections == 0 {
            turn += 1;
            if turn % 4 == 0 {
                counts(&balancer, 4, 4);
            } else {
                fail(&balancer, ids[0], 1);
            }
        }
        clock.advance(SECOND);
        counts(&balancer, 4, 4);
        let ejections = balancer.stats().ejections;
        fail(&balancer, ids[0], 1);
        assert_eq!(balancer.stats().ejections, ejections);
    }

    #[test]
    fn calm_is_forgiven() {
        let (clock, builder) = virtual_time();
        let builder = builder
            .policy(Policy::RoundRobin)
            .slow_start(Duration::ZERO);
        let (balancer, ids) = numbers(builder, &[1.0; 4]);
        fail(&balancer, ids[0], 5);
        clock.advance(SECOND);
        fail(&balancer, ids[0], 1);
        clock.advance(SECOND * 2);
        counts(&balancer, 4, 100);
        clock.advance(SECOND * 10);
        fail(&balancer, ids[0], 5);
        clock.advance(SECOND);
        counts(&balancer, 4, 100);
        assert_eq!(balancer.stats().healthy, 4);
    }

    #[test]
    fn not_more_than_half_are_ejected_and_never_the_last() {
        for (members, out) in [(1, 0), (2, 1), (3, 1), (10, 5)] {
            let (_, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(Policy::RoundRobin), &vec![1.0; members]);
            for _ in 0..members * 20 {
                balancer.pick().unwrap().fail();
            }
            let stats = balancer.stats();
            assert_eq!(stats.members - stats.healthy, out);
            assert!(stats.spared > 0);
            assert!(balancer.pick().is_ok());
        }
    }

    #[test]
    fn health_is_ignored_when_too_few_are_healthy() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.policy(Policy::RoundRobin), &[1.0; 10]);
        for id in &ids[..5] {
            assert_eq!(balancer.mark_down(*id), Ok(true));
            assert_eq!(balancer.mark_down(*id), Ok(false));
        }
        assert_eq!(counts(&balancer, 10, 100)[..5], [0; 5]);
        balancer.mark_down(ids[5]).unwrap();
        assert_eq!(counts(&balancer, 10, 100), [10; 10]);
        assert_eq!(balancer.stats().panics, 1);
        balancer.mark_up(ids[5]).unwrap();
        assert_eq!(counts(&balancer, 10, 100)[..5], [0; 5]);
    }

    #[test]
    fn without_panic_nobody_healthy_is_an_error_of_its_own() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.panic_threshold(0.0), &[1.0]);
        balancer.mark_down(ids[0]).unwrap();
        assert_eq!(balancer.pick().unwrap_err(), PickError::NoneHealthy);
        assert_eq!(
            balancer.pick_sticky(1_u64).unwrap_err(),
            PickError::NoneHealthy
        );
        balancer.remove(ids[0]).unwrap();
        assert_eq!(balancer.pick().unwrap_err(), PickError::NoMembers);
        assert_eq!(balancer.mark_up(ids[0]), Err(UnknownMember(ids[0])));
    }

    #[test]
    fn a_backup_level_gets_what_the_first_is_not_healthy_for() {
        let (_, builder) = virtual_time();
        let balancer = builder.policy(Policy::RoundRobin).build().unwrap();
        let near: Vec<_> = (0..10).map(|n| balancer.add(n).unwrap()).collect();
        for n in 10..14 {
            balancer.add_member(Member::new(n).priority(1)).unwrap();
        }
        let far = |picks| counts(&balancer, 14, picks)[10..].iter().sum::<usize>();
        assert_eq!(far(1000), 0);
        for id in &near[..5] {
            balancer.mark_down(*id).unwrap();
        }
        // Half of them, overprovisioned by 1.4: seven tenths.
        assert!((2700..3300).contains(&far(10_000)));
        for id in &near[5..] {
            balancer.mark_down(*id).unwrap();
        }
        assert_eq!(far(1000), 1000);
    }

    #[test]
    fn a_retry_goes_elsewhere_so_that_a_dead_server_costs_nobody_anything() {
        for policy in POLICIES {
            let (clock, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(policy), &[1.0; 2]);
            let mut dead = 0;
            for _ in 0..1000 {
                let pick = balancer.pick().unwrap();
                clock.advance(Duration::from_micros(100));
                if *pick == 1 {
                    clock.advance(Duration::from_millis(2));
                    pick.succeed();
                    continue;
                }
                dead += 1;
                let other = balancer.pick_other(pick.id()).unwrap();
                pick.fail();
                assert_eq!(*other, 1);
                other.succeed();
            }
            assert!((1..=6).contains(&dead), "{policy:?}: {dead}");
        }
        let (_, builder) = virtual_time();
        let (alone, ids) = numbers(builder, &[1.0]);
        assert_eq!(alone.pick_other(ids[0]).unwrap().id(), ids[0]);
    }

    #[test]
    fn who_comes_back_from_an_ejection_starts_slowly() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.policy(Policy::RoundRobin), &[1.0; 4]);
        fail(&balancer, ids[0], 5);
        clock.advance(SECOND);
        let early = counts(&balancer, 4, 1000)[0];
        assert!((10..60).contains(&early), "{early}");
        clock.advance(SECOND * 11);
        counts(&balancer, 4, 1);
        assert!((245..=255).contains(&counts(&balancer, 4, 1000)[0]));
    }

    #[test]
    fn a_new_member_starts_slowly() {
        for policy in [Policy::RoundRobin, Policy::Random, Policy::Adaptive] {
            let (clock, builder) = virtual_time();
            let (balancer, _) = numbers(builder.policy(policy), &[1.0; 4]);
            counts(&balancer, 4, 100);
            balancer.add(4).unwrap();
            let share = || {
                let held: Vec<_> = (0..1000).map(|_| balancer.pick().unwrap()).collect();
                held.iter().filter(|pick| ***pick == 4).count()
            };
            let mut shares = Vec::new();
            for _ in 0..5 {
                shares.push(share());
                clock.advance(Duration::from_millis(2500));
            }
            assert!(shares[0] < 60, "{policy:?} {shares:?}");
            assert!(
                shares[2] > shares[0] && shares[4] > 160,
                "{policy:?} {shares:?}"
            );
        }
    }
}

mod sticky {
    use super::*;

    fn homes(balancer: &Balancer<usize>, keys: u64) -> Vec<usize> {
        (0..keys)
            .map(|key| *balancer.pick_sticky(key).unwrap())
            .collect()
    }

    #[test]
    fn only_the_keys_that_have_to_move_when_members_come_and_go() {
        let (_, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0; 10]);
        let before = homes(&balancer, 10_000);
        let new = balancer.add(10).unwrap();
        let after = homes(&balancer, 10_000);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| *after == 10));
        assert!((700..1150).contains(&moved.count()));
        balancer.remove(new).unwrap();
        assert_eq!(homes(&balancer, 10_000), before);
        balancer.mark_down(ids[3]).unwrap();
        let around = homes(&balancer, 10_000);
        assert!(
            before
                .iter()
                .zip(&around)
                .all(|(before, after)| (before == after) != (*before == 3))
        );
        balancer.mark_up(ids[3]).unwrap();
        assert_eq!(homes(&balancer, 10_000), before);
    }

    #[test]
    fn weights_count_and_identities_agree_between_balancers() {
        let (_, builder) = virtual_time();
        let (balancer, _) = numbers(builder, &[1.0, 3.0]);
        let homes = homes(&balancer, 10_000);
        let second = homes.iter().filter(|home| **home == 1).count();
        assert!((7300..7700).contains(&second), "{second}");

        let other = Balancer::new();
        other
            .add_member(Member::new(1).weight(3.0).identity(1))
            .unwrap();
        other.add_member(Member::new(0).identity(0)).unwrap();
        assert_eq!(self::homes(&other, 10_000), homes);
    }

    proptest! {
        #[test]
        fn nobody_holds_more_than_its_bound(
            members in 1..12_usize,
            keys in prop::collection::vec(0..5_u64, 1..200),
            bound in 1.0..3.0_f64,
        ) {
            let (_, builder) = virtual_time();
            let (balancer, _) = numbers(builder.sticky_bound(bound), &vec![1.0; members]);
            // What is over does not count.
            homes(&balancer, 100);
            let mut held = Vec::new();
            for key in keys {
                held.push(balancer.pick_sticky(key).unwrap());
                let most = (bound * held.len() as f64 / members as f64 + 1e-3).ceil();
                let status = balancer.members();
                prop_assert!(status.iter().all(|member| f64::from(member.in_flight) <= most));
            }
        }
    }
}

mod membership {
    use super::*;

    struct Tells(Arc<AtomicUsize>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_drain_is_ready_with_the_member_when_the_last_use_ends() {
        let balancer = Balancer::new();
        let id = balancer.add("old").unwrap();
        let (first, second) = (balancer.pick().unwrap(), balancer.pick().unwrap());
        let mut drain = pin!(balancer.drain(id).unwrap());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut poll = || drain.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(balancer.pick().unwrap_err(), PickError::NoMembers);
        assert_eq!(balancer.get(id).unwrap_err(), UnknownMember(id));
        assert_eq!(balancer.stats().draining, 1);
        drop(first);
        assert_eq!((*second, woken.0.load(Ordering::SeqCst)), ("old", false));
        second.succeed();
        assert!(woken.0.load(Ordering::SeqCst));
        assert_eq!(poll(), Poll::Ready("old"));
        assert_eq!(balancer.members(), []);
    }

    #[test]
    fn a_removed_member_is_dropped_by_its_last_user_and_its_place_used_again() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let balancer = Balancer::builder().max_members(2).build().unwrap();
        let add = || balancer.add(Tells(Arc::clone(&dropped)));
        let first = add().unwrap();
        let pick = balancer.pick().unwrap();
        balancer.remove(first).unwrap();
        add().unwrap();
        assert_eq!(add().unwrap_err(), MemberError::TooMany { max: 2 });
        // The one that was refused.
        assert_eq!(dropped.swap(0, Ordering::SeqCst), 1);
        drop(pick);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        let again = add().unwrap();
        assert_ne!(again, first);
        assert_eq!(balancer.get(first).map(drop), Err(UnknownMember(first)));
        drop(balancer);
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn members_come_and_go_while_threads_pick() {
        for policy in POLICIES {
            let balancer = Balancer::builder().policy(policy).build().unwrap();
            let alive = |n: usize| (n, Arc::new(AtomicBool::new(true)));
            balancer.add(alive(0)).unwrap();
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for thread in 0..3_u64 {
                    let (balancer, stop) = (&balancer, &stop);
                    scope.spawn(move || {
                        let mut rng = Rng::with_seed(thread);
                        while !stop.load(Ordering::Relaxed) {
                            let pick = if thread == 0 {
                                balancer.pick_sticky(rng.next_u64()).unwrap()
                            } else {
                                balancer.pick().unwrap()
                            };
                            assert!(
                                pick.1.load(Ordering::SeqCst),
                                "used after its drain was over"
                            );
                            match rng.below(3) {
                                0 => pick.fail(),
                                1 => pick.succeed(),
                                _ => drop(pick),
                            }
                        }
                    });
                }
                let mut ids = Vec::new();
                for n in 1..300 {
                    ids.push(balancer.add(alive(n)).unwrap());
                    if ids.len() > 5 {
                        let (_, member) = balancer.drain(ids.remove(n % 5)).unwrap().wait();
                        member.store(false, Ordering::SeqCst);
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            let stats = balancer.stats();
            assert_eq!((stats.in_flight, stats.draining), (0, 0));
        }
    }

    #[test]
    fn a_member_whose_drop_calls_back_finds_no_lock_held() {
        struct CallsBack(Option<Balancer<CallsBack>>);
        impl Drop for CallsBack {
            fn drop(&mut self) {
                if let Some(balancer) = self.0.take() {
                    assert_eq!(balancer.stats().draining, 0);
                    balancer.add(CallsBack(None)).unwrap();
                }
            }
        }
        let balancer = Balancer::new();
        let id = balancer.add(CallsBack(Some(balancer.clone()))).unwrap();
        let pick = balancer.pick().unwrap();
        balancer.remove(id).unwrap();
        pick.succeed();
        assert_eq!(balancer.stats().members, 1);
    }

    #[test]
    fn a_panic_in_a_members_drop_breaks_nothing() {
        struct Panics(bool);
        impl Drop for Panics {
            fn drop(&mut self) {
                assert!(!self.0, "as planned");
            }
        }
        let balancer = Balancer::new();
        let id = balancer.add(Panics(true)).unwrap();
        let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| balancer.remove(id)));
        assert!(gone.is_err());
        balancer.add(Panics(false)).unwrap();
        assert!(balancer.pick().is_ok());
        assert_eq!(balancer.members().len(), 1);
    }

    #[test]
    fn picks_may_be_held_by_tasks_that_move_between_threads() {
        fn moves<T: Send>(_: &T) {}
        let balancer = Balancer::new();
        balancer.add(String::new()).unwrap();
        let task = async {
            let pick = balancer.pick();
            std::future::ready(()).await;
            pick.unwrap().succeed();
        };
        moves(&task);
        tenfold::task::block_on(task);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let balancer = Balancer::new();
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            let error = balancer
                .add_member(Member::new(()).weight(weight))
                .unwrap_err();
            assert!(error.to_string().contains(&weight.to_string()), "{error}");
        }
        let error = balancer
            .add_member(Member::new(()).priority(8))
            .unwrap_err();
        assert_eq!(error, MemberError::Priority { found: 8, max: 7 });
        let builder = Balancer::<()>::builder;
        let ejection = Ejection::default;
        for (wrong, word) in [
            (builder().panic_threshold(f64::NAN), "panic"),
            (builder().sticky_bound(0.9), "sticky"),
            (builder().max_members(0), "max_members"),
            (builder().max_members(usize::MAX), "max_members"),
            (builder().ejection(ejection().consecutive(0)), "row"),
            (builder().ejection(ejection().success_rate(1.5)), "success"),
            (builder().ejection(ejection().max_share(-0.1)), "ejected"),
            (
                builder().ejection(ejection().back_off(SECOND, Duration::ZERO)),
                "back-off",
            ),
        ] {
            let error: BuildError = wrong.build().unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

mod probes {
    use super::*;

    #[test]
    fn three_failures_take_a_member_out_and_two_passes_bring_it_back() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder.slow_start(Duration::ZERO), &[1.0; 3]);
        let mut prober = Prober::new(&balancer, Probing::default()).unwrap();
        let mut round = |passes: bool| {
            clock.advance(prober.next().saturating_since(clock.now()) + SECOND);
            let mut due = prober.due(clock.now());
            due.sort_unstable();
            assert_eq!(due, ids);
            due.into_iter()
                .filter_map(|id| prober.answered(id, passes || id != ids[1]))
                .collect::<Vec<_>>()
        };
        assert_eq!([round(false), round(false)].concat(), [false; 0]);
        assert!(counts(&balancer, 3, 300)[1] > 0);
        assert_eq!(round(false), [false]);
        assert_eq!(counts(&balancer, 3, 300)[1], 0);
        // A pass, a failure: from the beginning.
        assert_eq!(
            [round(true), round(false), round(true)].concat(),
            [false; 0]
        );
        assert_eq!(counts(&balancer, 3, 300)[1], 0);
        assert_eq!(round(true), [true]);
        assert!(counts(&balancer, 3, 300)[1] > 0);
    }

    #[test]
    fn silence_is_a_failure_and_late_answers_are_ignored() {
        let (clock, builder) = virtual_time();
        let (balancer, ids) = numbers(builder, &[1.0]);
        let probing = Probing::default().fall(1).rise(1);
        let mut prober = Prober::new(&balancer, probing).unwrap();
        assert_eq!(prober.due(clock.now()), ids);
        assert_eq!(prober.next(), clock.now() + 2 * SECOND);
        assert_eq!(prober.due(clock.now()), []);
        clock.advance(2 * SECOND);
        assert_eq!(prober.due(clock.now()), []);
        assert_eq!(balancer.members()[0].health, Health::Down);
        assert_eq!(prober.answered(ids[0], true), None);
        balancer.remove(ids[0]).unwrap();
        assert_eq!(prober.due(clock.now()), []);
        assert_eq!(prober.next(), tenfold::time::Instant::NEVER);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let balancer = Balancer::<()>::new();
        let probing = Probing::default;
        for (wrong, error) in [
            (probing().interval(Duration::ZERO), ProberError::NoTime),
            (probing().timeout(Duration::ZERO), ProberError::NoTime),
            (
                probing().rise(0),
                ProberError::NoThreshold { rise: 0, fall: 3 },
            ),
            (
                probing().fall(0),
                ProberError::NoThreshold { rise: 2, fall: 0 },
            ),
        ] {
            assert_eq!(Prober::new(&balancer, wrong).unwrap_err(), error);
        }
    }
}

mod autoscaling {
    use super::*;

    /// Work in servers' worth, and how busy so many servers are with it.
    fn busy(work: f64, servers: u32) -> f64 {
        (work / f64::from(servers)).min(1.0)
    }

    #[test]
    fn four_times_the_load_is_met_in_three_steps() {
        let clock = ManualClock::new();
        let mut scaler = Autoscaler::new(0.6, 2..=100).unwrap();
        let mut servers = 5;
        for step in 0..3 {
            clock.advance(SECOND * 15);
            servers = scaler.observe(clock.now(), servers, busy(12.0, servers));
            assert!(step < 2 || (20..=22).contains(&servers), "{servers}");
        }
    }

    #[test]
    fn noise_of_a_tenth_changes_nothing_and_a_lull_not_at_once() {
        let clock = ManualClock::new();
        let mut scaler = Autoscaler::new(0.6, 2..=100).unwrap();
        let mut rng = Rng::with_seed(1);
        for _ in 0..1000 {
            clock.advance(SECOND * 15);
            let noise = 0.9 + rng.below(2001) as f64 / 10_000.0;
            assert_eq!(scaler.observe(clock.now(), 20, 0.6 * noise), 20);
        }
        let mut servers = 20;
        for second in (0..300).step_by(15) {
            servers = scaler.observe(clock.now(), servers, busy(3.0, servers));
            assert_eq!(servers, 20, "after {second} s");
            clock.advance(SECOND * 15);
        }
        for _ in 0..3 {
            servers = scaler.observe(clock.now(), servers, busy(3.0, servers));
            clock.advance(SECOND * 15);
        }
        assert_eq!(servers, 5);
    }

    #[test]
    fn a_load_that_swings_does_not_make_the_size_swing() {
        let clock = ManualClock::new();
        let mut scaler = Autoscaler::new(0.6, 2..=30).unwrap();
        let mut servers = 10;
        let mut sizes = Vec::new();
        // Two minutes of much, two of little, for an hour.
        for step in 0..240 {
            let work = if step / 8 % 2 == 0 { 12.0 } else { 3.0 };
            servers = scaler.observe(clock.now(), servers, busy(work, servers));
            sizes.push(servers);
            clock.advance(SECOND * 15);
        }
        let settled = sizes[8];
        assert!((20..=22).contains(&settled), "{sizes:?}");
        assert!(sizes[8..].iter().all(|size| *size == settled), "{sizes:?}");
        // More than there may be is cut, and not forgotten once there is less.
        assert_eq!(scaler.observe(clock.now(), 30, 5.0), 30);
        assert_eq!(scaler.observe(clock.now(), 30, 0.0), 30);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_sizes(
            steps in prop::collection::vec((any::<u32>(), any::<f64>(), 0..1000_u64), 1..50),
            min in 1..50_u32,
            more in 0..50_u32,
        ) {
            let clock = ManualClock::new();
            let mut scaler = Autoscaler::new(0.7, min..=min + more).unwrap();
            for (members, busy, pause) in steps {
                clock.advance(SECOND * pause as u32);
                let size = scaler.observe(clock.now(), members, busy);
                prop_assert!((min..=min + more).contains(&size));
            }
        }
    }

    #[test]
    fn targets_and_sizes_that_cannot_be_are_refused() {
        for target in [0.0, -1.0, 1.1, f64::NAN] {
            let error = Autoscaler::new(target, 1..=2).unwrap_err();
            assert!(matches!(error, AutoscalerError::Target { .. }));
        }
        #[allow(clippy::reversed_empty_ranges, reason = "that is the mistake")]
        for sizes in [0..=3, 3..=2] {
            let error = Autoscaler::new(0.5, sizes).unwrap_err();
            assert!(matches!(error, AutoscalerError::Sizes { .. }));
        }
    }
}
