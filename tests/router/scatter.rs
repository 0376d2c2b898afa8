//! Reads over many shards in virtual time: when they end, and with what.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::pin::pin;
use std::task::Poll;

use crate::scatter_world::{Act, World, check, gathered, ms, read, router, with_copies};
use crate::support::poll;
use proptest::prelude::*;
use tenfold::router::scatter::{
    CallTimes, Failure, Hedge, InvalidScatter, Partial, Scatter, ScatterError, ShardError,
};
use tenfold::router::{NodeId, Router, Topology};
use tenfold::time::ManualClock;

const TIMEOUT: u64 = 50;
const POLICIES: [Partial; 4] = [
    Partial::All,
    Partial::AtLeast(0.5),
    Partial::Enough(0.5),
    Partial::Best,
];

#[test]
fn a_slow_shard_does_not_fail_a_read_nor_hold_it_past_the_deadline() {
    let router = router(10);
    let slow = router.route(0_u64);
    for policy in POLICIES {
        let world = World::all_but(10, &[(slow, Act::Never)]);
        let scatter = router.scatter(0..100).timeout(ms(TIMEOUT)).policy(policy);
        let (answer, took) = read(&world, scatter);
        assert_eq!(answer.is_ok(), policy != Partial::All, "{policy:?}");
        let gathered = gathered(answer);
        check(&(0..100).collect::<Vec<_>>(), &gathered);
        let [failure] = gathered.failed() else {
            panic!("one shard is slow");
        };
        let (error, at) = match policy {
            // Half is there after five milliseconds.
            Partial::Enough(_) => (ShardError::Cancelled, 5),
            _ => (ShardError::TimedOut { after: ms(TIMEOUT) }, TIMEOUT),
        };
        assert_eq!(
            (failure.node(), failure.error(), took),
            (slow, &error, ms(at))
        );
    }
}

#[test]
fn the_read_fails_as_soon_as_too_much_has() {
    let router = router(10);
    let [one, two] = [router.route(0_u64), router.route(1_u64)];
    assert_ne!(one, two);
    let acts = [(one, Act::Fail(2)), (two, Act::Panic(4))];
    // What is left without one of them, and so not without both.
    let left = (0..100_u64).filter(|key| router.route(key) != one).count() as f64 / 100.0;
    for (policy, ends) in [
        (Partial::All, 2),
        (Partial::AtLeast(left), 4),
        (Partial::Enough(left), 4),
        (Partial::Enough(0.5), 5),
        (Partial::AtLeast(0.5), 5),
        (Partial::Best, 5),
    ] {
        let world = World::all_but(10, &acts);
        let (answer, took) = read(&world, router.scatter(0..100).policy(policy));
        assert_eq!(took, ms(ends), "{policy:?}");
        assert_eq!(answer.is_ok(), ends == 5);
        if let Err(error) = &answer {
            let ScatterError::TooFew { need, .. } = error else {
                panic!("it was run");
            };
            assert!((need - policy.share()).abs() < 1e-9);
            assert!(error.to_string().contains("needed answers to"), "{error}");
        }
        let gathered = gathered(answer);
        let error_of = |node| {
            let mut failed = gathered.failed().iter();
            failed
                .find(|failure| failure.node() == node)
                .map(|failure| failure.error().clone())
        };
        assert_eq!(error_of(one), Some(ShardError::Failed("down")));
        let of_two = if ends == 2 {
            ShardError::Cancelled
        } else {
            ShardError::Panicked
        };
        assert_eq!(error_of(two), Some(of_two));
        // Those that still ran were given up, and not called failed.
        let cancelled = gathered.failed().iter();
        let cancelled = cancelled.filter(|failure| *failure.error() == ShardError::Cancelled);
        assert_eq!(cancelled.count() > 0, ends < 5, "{policy:?}");
    }
}

#[test]
fn at_least_waits_for_more_than_it_needs_and_enough_does_not() {
    let router = router(10);
    let slow = router.route(0_u64);
    for (policy, ends, all) in [
        (Partial::AtLeast(0.5), 30, true),
        (Partial::Enough(0.5), 5, false),
    ] {
        let world = World::all_but(10, &[(slow, Act::Answer(30))]);
        let (answer, took) = read(&world, router.scatter(0..100).policy(policy));
        assert_eq!(
            (answer.unwrap().is_complete(), took),
            (all, ms(ends)),
            "{policy:?}"
        );
    }
}

#[test]
fn what_fails_before_anything_waits_ends_the_read_before_more_is_asked() {
    let router = router(10);
    let world = World::new(vec![Act::PanicAtOnce; 10]);
    let (answer, took) = read(&world, router.scatter(0..100));
    let gathered = gathered(answer);
    assert_eq!(
        (took, gathered.calls(), gathered.failed().len()),
        (ms(0), 1, 10)
    );
    assert_eq!(gathered.failed()[0].error(), &ShardError::Panicked);
    let rest = gathered.failed()[1..].iter();
    assert!(
        rest.clone()
            .all(|failure| *failure.error() == ShardError::NotAsked)
    );
}

#[test]
fn an_answer_of_the_wrong_length_is_that_shards_error() {
    let router = router(4);
    let liar = router.route(0_u64);
    let world = World::all_but(4, &[(liar, Act::Short(1))]);
    let (answer, _) = read(&world, router.scatter(0..100).policy(Partial::Best));
    let gathered = answer.unwrap();
    let failure = &gathered.failed()[0];
    let expected = failure.keys().count();
    let error = ShardError::WrongLength {
        expected,
        found: expected - 1,
    };
    assert_eq!((gathered.failed().len(), failure.error()), (1, &error));
}

fn act() -> impl Strategy<Value = Act> {
    let after = 1..2 * TIMEOUT;
    prop_oneof![
        4 => after.clone().prop_map(Act::Answer),
        1 => after.clone().prop_map(Act::Fail),
        1 => after.clone().prop_map(Act::Panic),
        1 => after.prop_map(Act::Short),
        1 => Just(Act::Never),
    ]
}

fn policy() -> impl Strategy<Value = Partial> {
    let share = (0..=20_u32).prop_map(|twentieths| f64::from(twentieths) / 20.0);
    prop_oneof![
        Just(Partial::All),
        share.clone().prop_map(Partial::AtLeast),
        share.prop_map(Partial::Enough),
        Just(Partial::Best),
    ]
}

/// Says when a read ends, and what each node has come to by then: millisecond by millisecond.
fn foretell(
    acts: &[Act],
    keys: &BTreeMap<NodeId, usize>,
    policy: Partial,
) -> (u64, BTreeMap<NodeId, Result<(), ShardError<&'static str>>>) {
    let total: usize = keys.values().sum();
    let mut ends = BTreeMap::new();
    for now in 0..=TIMEOUT {
        for (node, count) in keys {
            let act = acts[node.index()];
            if act.delay() != Some(now) {
                continue;
            }
            let expected = *count;
            ends.insert(
                *node,
                match act {
                    Act::Answer(_) => Ok(()),
                    Act::Fail(_) => Err(ShardError::Failed("down")),
                    Act::Short(_) => Err(ShardError::WrongLength {
                        expected,
                        found: expected - 1,
                    }),
                    _ => Err(ShardError::Panicked),
                },
            );
        }
        let sum = |ok: bool| -> usize {
            let nodes = ends.iter().filter(|(_, end)| end.is_ok() == ok);
            nodes.map(|(node, _)| keys[node]).sum()
        };
        let met = |answered: usize| total == 0 || answered as f64 / total as f64 >= policy.share();
        let enough = matches!(policy, Partial::Enough(_)) && met(sum(true));
        let settled = ends.len() == keys.len() || !met(total - sum(false)) || enough;
        if settled || now == TIMEOUT {
            for node in keys.keys() {
                let end = if settled {
                    ShardError::Cancelled
                } else {
                    ShardError::TimedOut { after: ms(TIMEOUT) }
                };
                ends.entry(*node).or_insert(Err(end));
            }
            return (now, ends);
        }
    }
    unreachable!("it ends at its deadline");
}

proptest! {
    #[test]
    fn every_read_ends_when_and_as_a_naive_model_says(
        acts in prop::collection::vec(act(), 1..12),
        keys in prop::collection::vec(0..40_u64, 0..60),
        policy in policy(),
    ) {
        let router = router(acts.len());
        let mut of_node = BTreeMap::new();
        for key in &keys {
            *of_node.entry(router.route(key)).or_default() += 1;
        }
        let (at, expected) = foretell(&acts, &of_node, policy);
        // Of these nothing is asked: enough is there before anything was.
        prop_assume!(at > 0 || keys.is_empty());

        let world = World::new(acts);
        let scatter = router.scatter(keys.clone()).timeout(ms(TIMEOUT)).policy(policy);
        let (answer, took) = read(&world, scatter);
        let is_ok = answer.is_ok();
        let gathered = gathered(answer);
        check(&keys, &gathered);
        prop_assert_eq!(took, ms(at));
        prop_assert_eq!(is_ok, gathered.coverage() >= policy.share());
        let mut found: BTreeMap<_, _> = of_node.keys().map(|node| (*node, Ok(()))).collect();
        for failure in gathered.failed() {
            found.insert(failure.node(), Err(failure.error().clone()));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn each_node_is_called_once_with_all_of_its_keys(
        nodes in 1..20_usize,
        keys in prop::collection::vec(0..60_u64, 0..100),
    ) {
        let router = router(nodes);
        let world = World::new(vec![Act::Answer(1); nodes]);
        let (answer, _) = read(&world, router.scatter(keys.clone()));
        check(&keys, &answer.unwrap());
        let mut expected: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for key in &keys {
            expected.entry(router.route(key)).or_default().push(*key);
        }
        let calls = world.calls.take();
        prop_assert_eq!(calls.len(), expected.len());
        prop_assert_eq!(calls.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn no_more_calls_run_at_once_than_may(
        acts in prop::collection::vec(act(), 1..12),
        limit in 1..5_usize,
        copies in 1..3_usize,
    ) {
        let router = with_copies(acts.len(), copies.min(acts.len()));
        let keys: Vec<_> = (0..50).collect();
        let world = World::new(acts);
        let scatter = router.scatter(keys.clone()).timeout(ms(TIMEOUT)).concurrency(limit);
        let scatter = scatter.policy(Partial::Best).hedge(Hedge::after(ms(9)).shards(1.0));
        let (answer, took) = read(&world, scatter);
        check(&keys, &answer.unwrap());
        prop_assert!(world.most_alive.get() <= limit);
        prop_assert!(took <= ms(TIMEOUT));
    }

    #[test]
    fn hedged_reads_lose_no_key_that_either_copy_answers_in_time(
        acts in prop::collection::vec(act(), 2..12),
        keys in prop::collection::vec(0..40_u64, 0..60),
        delay in 1..TIMEOUT,
    ) {
        let router = with_copies(acts.len(), 2);
        let world = World::new(acts.clone());
        let scatter = router.scatter(keys.clone()).timeout(ms(TIMEOUT)).policy(Partial::Best);
        let hedge = Hedge::after(ms(delay)).shards(1.0);
        let (answer, took) = read(&world, scatter.hedge(hedge));
        let gathered = answer.unwrap();
        check(&keys, &gathered);
        prop_assert!(took <= ms(TIMEOUT));

        let fails_at = |node: NodeId| match acts[node.index()] {
            Act::Answer(_) | Act::Never => None,
            other => other.delay(),
        };
        for (key, answer) in gathered.iter() {
            let copies = router.replicas(key);
            let first = acts[copies[0].index()];
            let begins = fails_at(copies[0]).map_or(delay, |at| at.min(delay));
            let second = acts[copies[1].index()];
            let at = match (first, second) {
                (Act::Answer(at), Act::Answer(after)) => Some(at.min(begins + after)),
                (Act::Answer(at), _) => Some(at),
                (_, Act::Answer(after)) => Some(begins + after),
                _ => None,
            };
            prop_assert_eq!(answer.is_some(), at.is_some_and(|at| at <= TIMEOUT));
        }
        // No key is asked more than twice for each time that it was given.
        for (key, times) in world.times_asked() {
            prop_assert!(times <= 2 * keys.iter().filter(|other| **other == key).count());
        }
    }
}

#[test]
fn more_keys_go_first_where_not_all_can() {
    let router = router(8);
    let world = World::new(vec![Act::Answer(1); 8]);
    read(&world, router.scatter(0..100).concurrency(1))
        .0
        .unwrap();
    let calls = world.calls.take();
    assert_eq!((calls.len(), world.most_alive.get()), (8, 1));
    assert!(calls.is_sorted_by_key(|(_, keys)| std::cmp::Reverse(keys.len())));
}

#[test]
fn who_had_no_place_by_the_deadline_was_not_asked() {
    let router = router(3);
    let world = World::new(vec![Act::Never; 3]);
    let scatter = router.scatter(0..100).concurrency(1).policy(Partial::Best);
    let gathered = read(&world, scatter.timeout(ms(7))).0.unwrap();
    let errors: Vec<_> = gathered.failed().iter().map(Failure::error).collect();
    let count = |error| errors.iter().filter(|found| ***found == error).count();
    assert_eq!(count(ShardError::TimedOut { after: ms(7) }), 1);
    assert_eq!((count(ShardError::NotAsked), gathered.calls()), (2, 1));
}

#[test]
fn a_hedge_asks_the_second_copies_and_the_faster_answer_counts() {
    let router = with_copies(10, 2);
    let slow = router.route(0_u64);
    let world = World::all_but(10, &[(slow, Act::Answer(40))]);
    let scatter = router.scatter(0..100).hedge(Hedge::after(ms(10)));
    let (answer, took) = read(&world, scatter);
    let gathered = answer.unwrap();
    check(&(0..100).collect::<Vec<_>>(), &gathered);
    assert_eq!(
        (took, gathered.hedged(), gathered.is_complete()),
        (ms(15), 1, true)
    );
    // Each key where its own second copy lies.
    let calls = world.calls.take();
    for (node, keys) in &calls[10..] {
        assert!(
            keys.iter()
                .all(|key| router.replicas(key)[..] == [slow, *node])
        );
    }
    assert!(calls.len() > 10);
    let asked: BTreeSet<_> = calls[10..].iter().map(|(node, _)| *node).collect();
    assert_eq!(asked.len(), calls.len() - 10, "each of them once");
}

#[test]
fn whichever_call_is_not_needed_any_more_is_not_polled_again() {
    let router = with_copies(10, 2);
    let mut nodes: Vec<_> = [0_u64, 1].map(|key| router.route(key)).into();
    nodes.sort_unstable();
    let [slow, slower] = nodes[..] else {
        panic!("two nodes");
    };
    assert_ne!(slow, slower);
    // The second calls answer at 17 or at 14; the read goes on until 40.
    for (others, act) in [(8, Act::Answer(10)), (5, Act::Answer(30))] {
        let mut acts = vec![Act::Answer(others); 10];
        acts[slow.index()] = act;
        acts[slower.index()] = Act::Answer(40);
        let world = World::new(acts);
        // Only the first may be asked twice; and nobody who takes long is a second copy.
        let keys = (0..1000_u64).filter(|key| router.replicas(key)[1] != slower);
        let scatter = router.scatter(keys).hedge(Hedge::after(ms(9)).shards(0.01));
        let (answer, took) = read(&world, scatter);
        assert_eq!((answer.unwrap().hedged(), took), (1, ms(40)));
        let calls = world.calls.borrow().len();
        let cancelled = if others == 8 { calls - 10 } else { 1 };
        assert_eq!(world.polls.get(), 2 * calls - cancelled, "{act:?}");
    }
}

#[test]
fn where_both_copies_fail_the_read_is_over() {
    let router = with_copies(2, 2);
    for (first, second, ends) in [(20, 3, 20), (1, 3, 4)] {
        let world = World::new(vec![Act::Fail(first), Act::Fail(second)]);
        let keys: Vec<_> = (0..50)
            .filter(|key| router.route(key).index() == 0)
            .collect();
        let scatter = router.scatter(keys).policy(Partial::Best);
        let (answer, took) = read(&world, scatter.hedge(Hedge::after(ms(10))));
        let gathered = answer.unwrap();
        assert_eq!((gathered.answered(), took), (0, ms(ends)));
        assert_eq!(gathered.failed()[0].error(), &ShardError::Failed("down"));
    }
}

#[test]
fn a_call_that_is_cut_off_counts_with_the_time_it_had() {
    let time = ManualClock::new();
    let times = CallTimes::new(time.clock());
    for _ in 0..32 {
        let world = World {
            time: time.clone(),
            ..World::new(vec![Act::Never])
        };
        let scatter = router(1)
            .scatter([1])
            .timeout(ms(100))
            .policy(Partial::Best);
        read(&world, scatter.hedge(Hedge::at_percentile(0.9, &times)))
            .0
            .unwrap();
    }
    assert!(times.percentile(0.5).is_some_and(|half| half >= ms(100)));
}

#[test]
fn a_first_answer_cancels_the_second_call() {
    let router = with_copies(10, 2);
    let slow = router.route(0_u64);
    let mut acts = vec![Act::Answer(8); 10];
    acts[slow.index()] = Act::Answer(10);
    let world = World::new(acts);
    let scatter = router.scatter(0..100).hedge(Hedge::after(ms(9)));
    // `run` sees to it that the second calls, which would take until 17, are dropped.
    let (answer, took) = read(&world, scatter);
    assert_eq!((answer.unwrap().hedged(), took), (1, ms(10)));
}

#[test]
fn a_shard_that_fails_is_left_to_its_replicas_at_once() {
    let router = with_copies(10, 2);
    let down = router.route(0_u64);
    for act in [Act::Fail(1), Act::Panic(1), Act::Short(1)] {
        let world = World::all_but(10, &[(down, act)]);
        let scatter = router.scatter(0..100).hedge(Hedge::after(ms(40)));
        let (answer, took) = read(&world, scatter);
        assert_eq!((answer.unwrap().hedged(), took), (1, ms(6)), "{act:?}");
    }
}

#[test]
fn a_second_call_that_fails_leaves_the_first_alone() {
    let router = with_copies(2, 2);
    let world = World::new(vec![Act::Answer(20), Act::Fail(3)]);
    let keys: Vec<_> = (0..50)
        .filter(|key| router.route(key).index() == 0)
        .collect();
    let scatter = router.scatter(keys).hedge(Hedge::after(ms(10)));
    let (answer, took) = read(&world, scatter);
    assert_eq!((answer.unwrap().calls(), took), (2, ms(20)));
}

#[test]
fn without_copies_nobody_is_asked_twice() {
    let router = router(10);
    let slow = router.route(0_u64);
    let world = World::all_but(10, &[(slow, Act::Answer(40))]);
    let scatter = router.scatter(0..100).hedge(Hedge::after(ms(10)));
    let (answer, took) = read(&world, scatter);
    let gathered = answer.unwrap();
    assert_eq!((took, gathered.hedged(), gathered.calls()), (ms(40), 0, 10));
}

#[test]
fn where_everybody_is_slow_only_some_are_asked_twice() {
    let router = with_copies(10, 2);
    for (hedge, hedged) in [
        (Hedge::after(ms(10)), 5),
        (Hedge::after(ms(10)).shards(0.01), 1),
        (Hedge::after(ms(10)).shards(0.0), 0),
        (Hedge::after(ms(10)).shards(1.0), 10),
    ] {
        let world = World::new(vec![Act::Answer(30); 10]);
        let (answer, _) = read(&world, router.scatter(0..1000).hedge(hedge));
        assert_eq!(answer.unwrap().hedged(), hedged);
    }
}

#[test]
fn a_hedge_learns_when_a_call_is_slow() {
    let router = with_copies(10, 2);
    let slow = router.route(0_u64);
    let time = ManualClock::new();
    let times = CallTimes::new(time.clock());
    let read = |act| {
        let mut world = World::all_but(10, &[(slow, act)]);
        world.time = time.clone();
        let hedge = Hedge::at_percentile(0.9, &times);
        let (answer, took) = read(&world, router.scatter(0..100).hedge(hedge));
        (answer.unwrap().hedged(), took)
    };
    // Of nothing seen it says nothing.
    assert_eq!(read(Act::Answer(200)), (0, ms(200)));
    (0..10).for_each(|_| assert_eq!(read(Act::Answer(5)), (0, ms(5))));
    let (hedged, took) = read(Act::Answer(200));
    assert_eq!(hedged, 1);
    // A quarter more than five at most, and five for the second call.
    assert!(took >= ms(10) && took <= ms(12), "{took:?}");
    // The cancelled call counts with the time that it had taken.
    assert!(times.percentile(1.0).unwrap() >= ms(200));
}

#[test]
fn what_cannot_be_is_refused_before_anybody_is_called() {
    let router = with_copies(4, 2);
    let refused = |scatter: Scatter<u64>| {
        let world = World::new(vec![Act::Answer(1); 4]);
        let error = read(&world, scatter).0.unwrap_err();
        assert!(world.calls.borrow().is_empty());
        assert!(error.source().is_some());
        let ScatterError::Invalid(error) = error else {
            panic!("nothing was run");
        };
        error
    };
    let scatter = || router.scatter(0..10);
    let zero = |knob| InvalidScatter::ZeroDuration { knob };
    assert_eq!(refused(scatter().timeout(ms(0))), zero("timeout"));
    assert_eq!(refused(scatter().hedge(Hedge::after(ms(0)))), zero("hedge"));
    assert_eq!(
        refused(scatter().concurrency(0)),
        InvalidScatter::ZeroConcurrency
    );
    let late = InvalidScatter::HedgeTooLate {
        after: ms(9),
        timeout: ms(9),
    };
    assert_eq!(
        refused(scatter().timeout(ms(9)).hedge(Hedge::after(ms(9)))),
        late
    );
    for share in [-0.1, 1.1, f64::INFINITY, f64::NAN] {
        let times = CallTimes::new(ManualClock::new().clock());
        for scatter in [
            scatter().policy(Partial::AtLeast(share)),
            scatter().policy(Partial::Enough(share)),
            scatter().hedge(Hedge::after(ms(1)).shards(share)),
            scatter().hedge(Hedge::at_percentile(share, &times)),
        ] {
            let error = refused(scatter);
            let InvalidScatter::Share { found, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(found.to_bits(), share.to_bits());
        }
    }
}

#[test]
fn a_read_of_nothing_is_complete() {
    let world = World::new(vec![Act::Never; 3]);
    for policy in POLICIES {
        let (answer, took) = read(&world, router(3).scatter([]).policy(policy));
        let gathered = answer.unwrap();
        assert_eq!(
            (gathered.calls(), gathered.answers().len(), took),
            (0, 0, ms(0))
        );
        assert!(gathered.is_complete() && (gathered.coverage() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn every_node_is_asked_and_answers_are_in_the_order_of_names() {
    let topology = Topology::builder().nodes(["c", "a", "b"]).build().unwrap();
    let router = Router::new(topology.clone());
    let time = ManualClock::new();
    let down = topology.id_of("b").unwrap();
    let call = |node| {
        let (name, nap) = (topology.name(node).unwrap(), time.timer().sleep(ms(1)));
        async move {
            nap.await;
            if node == down {
                Err("down")
            } else {
                Ok(name.to_owned())
            }
        }
    };
    let scatter = router
        .scatter_all()
        .timer(time.timer())
        .policy(Partial::AtLeast(0.6));
    let mut read = pin!(scatter.run(call));
    assert!(poll(read.as_mut()).is_pending());
    time.advance(ms(1));
    let Poll::Ready(Ok(gathered)) = poll(read.as_mut()) else {
        panic!("two of three are more than 0.6");
    };
    assert_eq!(
        gathered.answers(),
        [Some("a".to_owned()), None, Some("c".to_owned())]
    );
    assert_eq!(gathered.failed()[0].keys().collect::<Vec<_>>(), [&down]);
    let nodes: Vec<_> = gathered.iter().map(|(node, _)| *node).collect();
    assert_eq!(
        nodes,
        ["a", "b", "c"].map(|name| topology.id_of(name).unwrap())
    );
}
