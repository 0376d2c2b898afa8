//! Reads over many shards: slow, dead, panicking and lying ones, in virtual time.
#![cfg(all(feature = "router", not(tenfold_shuttle)))]

mod router_nodes;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::error::Error as _;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use router_nodes::names;
use support::{Census, Gate, Member, Tasks, in_time, poll, quiet_panic, until};
use tenfold::router::scatter::{
    CallTimes, Gathered, Hedge, InvalidScatter, Partial, Scatter, ScatterError, ShardError,
    ShardKeys,
};
use tenfold::router::{NodeId, Router, Topology};
use tenfold::task::{Executor, block_on};
use tenfold::time::{ManualClock, Sleep, Timer};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn router(nodes: usize) -> Router {
    Router::new(Topology::builder().nodes(names(nodes)).build().unwrap())
}

fn with_copies(nodes: usize, copies: usize) -> Router {
    let builder = Topology::builder().nodes(names(nodes)).replicas(copies);
    Router::new(builder.build().unwrap())
}

/// What a node does when it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Answer(u64),
    Fail(u64),
    /// When it is called, before there is a future.
    PanicAtOnce,
    Panic(u64),
    /// One answer too few.
    Short(u64),
    Never,
}

impl Act {
    fn delay(self) -> Option<u64> {
        match self {
            Self::Answer(after) | Self::Fail(after) | Self::Panic(after) | Self::Short(after) => {
                Some(after)
            }
            Self::PanicAtOnce => Some(0),
            Self::Never => None,
        }
    }
}

/// Nodes that do as they are told, and time that is turned by hand.
struct World {
    time: ManualClock,
    acts: Vec<Act>,
    /// Calls so far, with their keys.
    calls: RefCell<Vec<(NodeId, Vec<u64>)>>,
    /// Calls that were begun and not dropped.
    alive: Census,
    most_alive: Cell<usize>,
    polls: Cell<usize>,
}

impl World {
    fn new(acts: Vec<Act>) -> Self {
        Self {
            time: ManualClock::new(),
            acts,
            calls: RefCell::default(),
            alive: Census::default(),
            most_alive: Cell::new(0),
            polls: Cell::new(0),
        }
    }

    /// All nodes answer after five milliseconds, but for these.
    fn all_but(nodes: usize, others: &[(NodeId, Act)]) -> Self {
        let mut acts = vec![Act::Answer(5); nodes];
        for (node, act) in others {
            acts[node.index()] = *act;
        }
        Self::new(acts)
    }

    fn call(&self, node: NodeId, keys: ShardKeys<u64>) -> AtNode<'_> {
        self.calls.borrow_mut().push((node, keys.to_vec()));
        let act = self.acts[node.index()];
        if act == Act::PanicAtOnce {
            quiet_panic();
        }
        let member = self.alive.member(0);
        self.most_alive
            .set(self.most_alive.get().max(self.alive.alive()));
        let nap = act.delay().map(|delay| self.time.timer().sleep(ms(delay)));
        AtNode {
            act,
            nap,
            keys,
            polls: &self.polls,
            _alive: member,
        }
    }

    fn times_asked(&self) -> BTreeMap<u64, usize> {
        let mut times = BTreeMap::new();
        for (_, keys) in &*self.calls.borrow() {
            keys.iter()
                .for_each(|key| *times.entry(*key).or_default() += 1);
        }
        times
    }

    /// Runs a read to its end, polling it when it was woken and never otherwise; and how long
    /// it took.
    fn run<F: Future>(&self, future: F) -> (F::Output, Duration) {
        let mut future = pin!(future);
        let start = self.time.now();
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..100_000 {
            if woken.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                assert_eq!(self.alive.alive(), 0, "a call outlives its read");
                return (output, self.time.now().saturating_since(start));
            }
            if !woken.0.load(Ordering::Relaxed) {
                self.time.advance(ms(1));
            }
        }
        panic!("the read was never woken");
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A call under way. Answers each key with its square.
struct AtNode<'a> {
    act: Act,
    nap: Option<Sleep>,
    keys: ShardKeys<u64>,
    polls: &'a Cell<usize>,
    _alive: Member,
}

impl Future for AtNode<'_> {
    type Output = Result<Vec<u64>, &'static str>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls.set(self.polls.get() + 1);
        let Some(nap) = &mut self.nap else {
            return Poll::Pending;
        };
        if Pin::new(nap).poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match self.act {
            Act::Fail(_) => Err("down"),
            Act::Panic(_) => quiet_panic(),
            Act::Short(_) => Ok(self.keys.iter().skip(1).map(square).collect()),
            _ => Ok(self.keys.iter().map(square).collect()),
        })
    }
}

fn square(key: &u64) -> u64 {
    key.wrapping_mul(*key)
}

type Answer = Result<Gathered<u64, u64, &'static str>, ScatterError<u64, u64, &'static str>>;

fn read(world: &World, scatter: Scatter<u64>) -> (Answer, Duration) {
    let scatter = scatter.timer(world.time.timer());
    world.run(scatter.run(|node, keys| world.call(node, keys)))
}

fn gathered(answer: Answer) -> Gathered<u64, u64, &'static str> {
    match answer {
        Ok(gathered) => gathered,
        Err(error) => error.into_gathered().unwrap(),
    }
}

/// Answers are right wherever they are, and failures are those keys that have none.
fn check(keys: &[u64], gathered: &Gathered<u64, u64, &'static str>) {
    assert_eq!(gathered.answers().len(), keys.len());
    for (key, answer) in keys.iter().zip(gathered.answers()) {
        assert!(
            answer.is_none_or(|answer| answer == square(key)),
            "{key}: {answer:?}"
        );
    }
    let pairs: Vec<_> = gathered
        .iter()
        .map(|(key, answer)| (*key, answer.copied()))
        .collect();
    let expected = keys.iter().copied().zip(gathered.answers().iter().copied());
    assert_eq!(pairs, expected.collect::<Vec<_>>());

    let mut missing: Vec<_> = pairs
        .iter()
        .filter(|pair| pair.1.is_none())
        .map(|p| p.0)
        .collect();
    let failed = gathered
        .failed()
        .iter()
        .flat_map(|failure| failure.keys().copied());
    let mut failed: Vec<_> = failed.collect();
    missing.sort_unstable();
    failed.sort_unstable();
    assert_eq!(failed, missing);
    assert_eq!(gathered.answered(), keys.len() - missing.len());
    assert_eq!(gathered.is_complete(), missing.is_empty());
}

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
        keys.iter().for_each(|key| *of_node.entry(router.route(key)).or_default() += 1);
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
        keys.iter().for_each(|key| expected.entry(router.route(key)).or_default().push(*key));
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
    let errors: Vec<_> = gathered
        .failed()
        .iter()
        .map(|failure| failure.error())
        .collect();
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
fn a_panicking_shard_fails_alone() {
    let router = router(10);
    let bad = router.route(0_u64);
    for act in [Act::PanicAtOnce, Act::Panic(1)] {
        let world = World::all_but(10, &[(bad, act)]);
        let (answer, _) = read(&world, router.scatter(0..100).policy(Partial::AtLeast(0.8)));
        let gathered = answer.unwrap();
        let [failure] = gathered.failed() else {
            panic!("one shard panics");
        };
        assert_eq!(
            (failure.node(), failure.error()),
            (bad, &ShardError::Panicked)
        );
    }
}

#[test]
fn a_call_whose_drop_panics_keeps_no_other_from_being_dropped() {
    struct PanicsWhenDropped(Member);
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            if !thread::panicking() {
                quiet_panic();
            }
        }
    }
    let (router, census, time) = (router(10), Census::default(), ManualClock::new());
    let scatter = || {
        router
            .scatter(0..100_u64)
            .timeout(ms(5))
            .timer(time.timer())
    };
    let call = |_, keys: ShardKeys<u64>| {
        let bomb = PanicsWhenDropped(census.member(0));
        async move {
            let bomb = bomb;
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(vec![bomb.0.number; keys.len()])
        }
    };
    let mut at_the_deadline = Box::pin(scatter().policy(Partial::Best).run(call));
    assert!(poll(at_the_deadline.as_mut()).is_pending());
    time.advance(ms(5));
    assert!(poll(at_the_deadline.as_mut()).is_ready());
    assert_eq!(census.alive(), 0);

    let mut half_way = Box::pin(scatter().run(call));
    assert!(poll(half_way.as_mut()).is_pending());
    assert_eq!(census.alive(), 10);
    drop(half_way);
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_read_dropped_half_way_takes_its_calls_and_keys_with_it() {
    let router = with_copies(10, 2);
    let world = World::new(vec![Act::Answer(20); 10]);
    let keys = Census::default();
    struct Key(Member);
    impl tenfold::hash::StableKey for Key {
        fn write_canonical(&self, bytes: &mut tenfold::hash::CanonicalBytes) {
            self.0.number.write_canonical(bytes);
        }
    }
    let scatter = router.scatter((0..100).map(|key| Key(keys.member(key))));
    let scatter = scatter.hedge(Hedge::after(ms(5))).timer(world.time.timer());
    let alive = &world.alive;
    let mut read = Box::pin(scatter.run(|_, keys| {
        let (nap, member) = (world.time.timer().sleep(ms(20)), alive.member(0));
        async move {
            let member = member;
            nap.await;
            Ok::<_, Infallible>(vec![member.number; keys.len()])
        }
    }));
    assert!(poll(read.as_mut()).is_pending());
    assert_eq!((alive.alive(), keys.alive()), (10, 100));
    world.time.advance(ms(5));
    assert!(poll(read.as_mut()).is_pending());
    assert!(alive.alive() > 10, "second calls run");
    drop(read);
    assert_eq!((alive.alive(), keys.alive()), (0, 0));
}

#[test]
fn a_call_may_use_the_router_and_one_topology_routes_all_of_it() {
    in_time(|| {
        let router = router(4);
        let before = router.topology();
        let again = router.clone();
        let scatter = router.scatter(0..100_u64).concurrency(1);
        let next = router.topology().edit().node("more").build().unwrap();
        let mut next = Some(next);
        let gathered = block_on(scatter.run(|node, keys| {
            // The first call puts another topology in force, and reads by that.
            if let Some(next) = next.take() {
                again.swap(next).unwrap();
            }
            assert!(keys.iter().all(|key| before.route(key) == node));
            let inner = again.scatter(keys.to_vec()).run(|_, keys| async move {
                Ok::<_, Infallible>(keys.iter().map(square).collect())
            });
            async move {
                let answers = inner.await.unwrap();
                assert_eq!(answers.epoch(), 2);
                Ok::<_, Infallible>(answers.into_answers().into_iter().flatten().collect())
            }
        }));
        let gathered = gathered.unwrap();
        assert_eq!((gathered.epoch(), gathered.is_complete()), (1, true));
        assert_eq!(gathered.fold(0, |sum, square: u64| sum + square), 328_350);
    });
}

#[test]
fn only_calls_that_were_woken_are_polled() {
    let router = router(500);
    let acts = (0..500).map(|node| Act::Answer(1 + node % 50));
    let world = World::new(acts.collect());
    let (answer, _) = read(&world, router.scatter(0..20_000).concurrency(500));
    assert!(answer.unwrap().is_complete());
    assert_eq!(world.polls.get(), 2 * world.calls.borrow().len());
}

#[test]
fn a_call_that_wakes_itself_does_not_keep_the_read_from_its_deadline() {
    let (router, time) = (router(2), ManualClock::new());
    let scatter = router.scatter(0..10_u64).timeout(ms(5)).timer(time.timer());
    let mut read = pin!(scatter.policy(Partial::Best).run(|_, _| {
        std::future::poll_fn(
            |context: &mut Context<'_>| -> Poll<Result<Vec<()>, Infallible>> {
                context.waker().wake_by_ref();
                Poll::Pending
            },
        )
    }));
    assert!(poll(read.as_mut()).is_pending());
    assert!(poll(read.as_mut()).is_pending());
    time.advance(ms(5));
    assert!(poll(read.as_mut()).is_ready());
}

#[test]
fn a_waker_that_is_kept_wakes_nobody_after_the_read() {
    let kept = RefCell::new(Vec::new());
    let router = router(3);
    let read = router.scatter(0..10_u64).run(|_, keys| {
        let kept = &kept;
        let mut turns = 0;
        std::future::poll_fn(move |context: &mut Context<'_>| {
            turns += 1;
            kept.borrow_mut().push(context.waker().clone());
            if turns == 1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok::<_, Infallible>(vec![(); keys.len()]))
        })
    });
    block_on(read).unwrap();
    kept.take().into_iter().for_each(Waker::wake);
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

/// An executor that gives each task a thread; and how many it was given.
fn threads() -> (Executor, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let executor = Executor::new(move |task| {
        counter.fetch_add(1, Ordering::Relaxed);
        thread::spawn(move || task.run());
        Ok(())
    });
    (executor, count)
}

#[test]
fn calls_that_block_run_on_a_pool_and_a_slow_one_is_left_behind() {
    in_time(|| {
        let (router, time, gate) = (router(4), ManualClock::new(), Gate::new());
        let (executor, count) = threads();
        let [slow, bad] = [0_u64, 1].map(|key| router.route(key));
        assert_ne!(slow, bad);
        let scatter = router
            .scatter(0..100_u64)
            .timeout(ms(5))
            .timer(time.timer());
        let asked = (0..100_u64)
            .map(|key| router.route(key))
            .collect::<BTreeSet<_>>()
            .len();
        let stuck = gate.clone();
        let (said, heard) = mpsc::channel();
        let reader = thread::spawn(move || {
            scatter
                .policy(Partial::Best)
                .run_on(&executor, move |node, keys| {
                    if node == slow {
                        stuck.pass();
                    }
                    if node == bad {
                        quiet_panic();
                    }
                    said.send(()).unwrap();
                    Ok::<_, Infallible>(keys.iter().map(square).collect())
                })
        });
        (0..asked - 2).for_each(|_| heard.recv().unwrap());
        until(|| count.load(Ordering::Relaxed) == asked);
        // Also the panic has been heard of, once this is over; the slow one stays.
        until(|| {
            time.advance(ms(1));
            reader.is_finished()
        });
        let gathered = reader.join().unwrap().unwrap();
        gate.open(());
        for failure in gathered.failed() {
            let node = failure.node();
            assert!(node == slow || node == bad, "{failure:?}");
        }
        assert!(
            gathered
                .failed()
                .iter()
                .any(|failure| failure.node() == slow
                    && *failure.error() == ShardError::TimedOut { after: ms(5) })
        );
    });
}

#[test]
fn a_pool_without_room_or_that_drops_its_tasks_is_that_shards_error() {
    let router = router(4);
    let read = |executor: &Executor| {
        let scatter = router.scatter(0..100_u64).policy(Partial::Best);
        let gathered = scatter.run_on(executor, |_, keys| Ok::<_, Infallible>(keys.to_vec()));
        let gathered = gathered.unwrap();
        assert_eq!(gathered.failed().len(), 4);
        assert!(
            gathered
                .failed()
                .iter()
                .all(|f| *f.error() == ShardError::Refused)
        );
    };
    read(&Executor::new(Err));
    read(&Executor::new(|task| {
        drop(task);
        Ok(())
    }));
    let scatter = router.scatter_all().policy(Partial::Best);
    let gathered = scatter.run_on(&Executor::new(Err), |node| Ok::<_, Infallible>(node));
    assert_eq!(gathered.unwrap().failed().len(), 4);
}

#[test]
fn a_call_on_a_pool_that_is_cancelled_before_it_began_never_begins() {
    in_time(|| {
        let (router, time, tasks) = (router(2), ManualClock::new(), Tasks::default());
        let executor = tasks.executor();
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let scatter = router.scatter_all().timeout(ms(5)).timer(time.timer());
        let reader = thread::spawn(move || {
            scatter.run_on(&executor, move |node| {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(node)
            })
        });
        until(|| tasks.len() == 2);
        until(|| {
            time.advance(ms(1));
            reader.is_finished()
        });
        let gathered = reader.join().unwrap().unwrap_err().into_gathered().unwrap();
        assert_eq!(gathered.answered(), 0);
        tasks.run();
        assert_eq!((tasks.len(), begun.load(Ordering::Relaxed)), (0, 0));
    });
}

#[test]
fn a_read_that_brings_no_timer_has_the_routers() {
    in_time(|| {
        let router = router(2);
        let scatter = router.scatter_all().timeout(ms(1)).policy(Partial::Best);
        let read = scatter.run(|_| std::future::pending::<Result<(), Infallible>>());
        assert_eq!(block_on(read).unwrap().answered(), 0);
    });
}

#[test]
fn a_runtimes_timer_will_do() {
    let time = ManualClock::new();
    let timer = time.timer();
    let foreign = Timer::from_sleep(move |duration| timer.sleep(duration));
    let router = with_copies(4, 2);
    let slow = router.route(0_u64);
    let world = World {
        time,
        ..World::all_but(4, &[(slow, Act::Never)])
    };
    let scatter = router
        .scatter(0..100)
        .hedge(Hedge::after(ms(10)))
        .timer(foreign);
    let (answer, took) = world.run(scatter.run(|node, keys| world.call(node, keys)));
    assert_eq!((answer.unwrap().hedged(), took), (1, ms(15)));
}
