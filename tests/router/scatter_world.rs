//! Nodes that are slow, dead, panic or lie, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tenfold::router::scatter::{Gathered, Scatter, ScatterError, ShardKeys};
use tenfold::router::{NodeId, Router, Topology};
use tenfold::time::{ManualClock, Sleep};

use crate::nodes::names;
use crate::support::{Census, Member, quiet_panic};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn router(nodes: usize) -> Router {
    Router::new(Topology::builder().nodes(names(nodes)).build().unwrap())
}

pub(crate) fn with_copies(nodes: usize, copies: usize) -> Router {
    let builder = Topology::builder().nodes(names(nodes)).replicas(copies);
    Router::new(builder.build().unwrap())
}

/// What a node does when it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
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
    pub(crate) fn delay(self) -> Option<u64> {
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
pub(crate) struct World {
    pub(crate) time: ManualClock,
    pub(crate) acts: Vec<Act>,
    /// Calls so far, with their keys.
    pub(crate) calls: RefCell<Vec<(NodeId, Vec<u64>)>>,
    /// Calls that were begun and not dropped.
    pub(crate) alive: Census,
    pub(crate) most_alive: Cell<usize>,
    pub(crate) polls: Cell<usize>,
}

impl World {
    pub(crate) fn new(acts: Vec<Act>) -> Self {
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
    pub(crate) fn all_but(nodes: usize, others: &[(NodeId, Act)]) -> Self {
        let mut acts = vec![Act::Answer(5); nodes];
        for (node, act) in others {
            acts[node.index()] = *act;
        }
        Self::new(acts)
    }

    pub(crate) fn call(&self, node: NodeId, keys: ShardKeys<u64>) -> AtNode<'_> {
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

    pub(crate) fn times_asked(&self) -> BTreeMap<u64, usize> {
        let mut times = BTreeMap::new();
        for (_, keys) in &*self.calls.borrow() {
            for key in keys {
                *times.entry(*key).or_default() += 1;
            }
        }
        times
    }

    /// Runs a read to its end, polling it when it was woken and never otherwise; and how long
    /// it took.
    pub(crate) fn run<F: Future>(&self, future: F) -> (F::Output, Duration) {
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
pub(crate) struct AtNode<'a> {
    act: Act,
    nap: Option<Sleep>,
    keys: ShardKeys<u64>,
    pub(crate) polls: &'a Cell<usize>,
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
            Act::Short(_) => Ok(self.keys.iter().skip(1).copied().map(square).collect()),
            _ => Ok(self.keys.iter().copied().map(square).collect()),
        })
    }
}

pub(crate) fn square(key: u64) -> u64 {
    key.wrapping_mul(key)
}

pub(crate) type Answer =
    Result<Gathered<u64, u64, &'static str>, ScatterError<u64, u64, &'static str>>;

pub(crate) fn read(world: &World, scatter: Scatter<u64>) -> (Answer, Duration) {
    let scatter = scatter.timer(world.time.timer());
    world.run(scatter.run(|node, keys| world.call(node, keys)))
}

pub(crate) fn gathered(answer: Answer) -> Gathered<u64, u64, &'static str> {
    match answer {
        Ok(gathered) => gathered,
        Err(error) => error.into_gathered().unwrap(),
    }
}

/// Answers are right wherever they are, and failures are those keys that have none.
pub(crate) fn check(keys: &[u64], gathered: &Gathered<u64, u64, &'static str>) {
    assert_eq!(gathered.answers().len(), keys.len());
    for (key, answer) in keys.iter().zip(gathered.answers()) {
        assert!(
            answer.is_none_or(|answer| answer == square(*key)),
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
