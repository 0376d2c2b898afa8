//! Random orders of calls, polls, cancellations, panics, failures and
//! forgettings, beside a model that knows who may work and who gets what.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::support::{poll, quiet_panic};
use proptest::prelude::*;
use tenfold::singleflight::{FlightError, Group, Outcome, Role};

#[derive(Debug, Clone, Copy)]
enum Op {
    /// A new caller of a key, polled once.
    Call(u64),
    /// The n-th caller there is, polled.
    Poll(usize),
    /// The n-th caller there is, dropped.
    Drop(usize),
    /// The n-th caller at work is done at its next poll.
    Finish(usize, End),
    Forget(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let end = prop_oneof![4 => Just(End::Value), 1 => Just(End::Error), 1 => Just(End::Panic)];
    let op = prop_oneof![
        5 => (0..KEYS).prop_map(Op::Call),
        5 => any::<usize>().prop_map(Op::Poll),
        2 => any::<usize>().prop_map(Op::Drop),
        3 => (any::<usize>(), end).prop_map(|(n, end)| Op::Finish(n, end)),
        1 => (0..KEYS).prop_map(Op::Forget),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_caller_gets_what_the_model_says(ops in ops()) {
        let group = Group::new();
        let mut world = World::new(&group);
        for op in ops {
            world.apply(op);
        }
        world.finish();
        prop_assert_eq!(group.in_flight(), 0);
    }
}

/// Key, and the caller whose work made it.
type Value = (u64, usize);
type Answer = Result<Outcome<Value>, FlightError<usize>>;

/// What the work of callers does and is told, seen from both sides.
#[derive(Default)]
struct Desk {
    /// Whose work has begun and is not over.
    working: BTreeSet<usize>,
    /// How the work of a caller shall end.
    ends: BTreeMap<usize, End>,
}

struct World<'a> {
    group: &'a Group<u64, Value>,
    desk: Rc<RefCell<Desk>>,
    callers: Vec<Caller<'a>>,
    next: usize,
    flights: Vec<Flight>,
}

struct Caller<'a> {
    number: usize,
    flight: usize,
    call: Pin<Box<dyn Future<Output = Answer> + 'a>>,
}

/// The model of a flight.
struct Flight {
    key: u64,
    /// Whether new callers find it.
    attached: bool,
    leader: Option<usize>,
    waiting: BTreeSet<usize>,
    falls: usize,
    /// What those get who wait no more.
    landed: Option<Landed>,
}

#[derive(Clone, Copy)]
enum Landed {
    Value(Value),
    Error(usize),
    Failed(u32),
}

impl<'a> World<'a> {
    fn new(group: &'a Group<u64, Value>) -> Self {
        Self {
            group,
            desk: Rc::default(),
            callers: Vec::new(),
            next: 0,
            flights: Vec::new(),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Call(key) => self.call(key),
            Op::Poll(n) if !self.callers.is_empty() => self.poll(n % self.callers.len(), false),
            Op::Drop(n) if !self.callers.is_empty() => self.drop(n % self.callers.len()),
            Op::Finish(n, end) => {
                let mut desk = self.desk.borrow_mut();
                let worker = desk
                    .working
                    .iter()
                    .nth(n % desk.working.len().max(1))
                    .copied();
                worker.map(|worker| desk.ends.insert(worker, end));
            }
            Op::Forget(key) => {
                let flight = self.flights.iter_mut().find(|f| f.attached && f.key == key);
                assert_eq!(self.group.forget(&key), flight.is_some());
                if let Some(flight) = flight {
                    flight.attached = false;
                }
            }
            Op::Poll(_) | Op::Drop(_) => {}
        }
        let under_way = self
            .flights
            .iter()
            .filter(|f| f.landed.is_none() && !f.is_over());
        assert_eq!(self.group.in_flight(), under_way.count());
    }

    fn call(&mut self, key: u64) {
        let number = self.next;
        self.next += 1;
        let found = self.flights.iter().position(|f| f.attached && f.key == key);
        let flight = found.unwrap_or_else(|| {
            self.flights.push(Flight::new(key));
            self.flights.len() - 1
        });
        self.flights[flight].waiting.insert(number);
        let desk = Rc::clone(&self.desk);
        let work = move || async move {
            assert!(desk.borrow_mut().working.insert(number), "it works once");
            // However it leaves, it is not at work any more.
            let _leaves = Leaves(Rc::clone(&desk), number);
            let end = std::future::poll_fn(|_| {
                let end = desk.borrow().ends.get(&number).copied();
                end.map_or(Poll::Pending, Poll::Ready)
            });
            match end.await {
                End::Value => Ok((key, number)),
                End::Error => Err(number),
                End::Panic => quiet_panic(),
            }
        };
        self.callers.push(Caller {
            number,
            flight,
            call: Box::pin(self.group.try_work_async(key, work)),
        });
        self.poll(self.callers.len() - 1, true);
    }

    fn poll(&mut self, index: usize, newcomer: bool) {
        let caller = &mut self.callers[index];
        let number = caller.number;
        let flight = &mut self.flights[caller.flight];
        // A newcomer leads where nobody does, and nobody works beside a leader.
        let must_lead = newcomer && flight.leader.is_none() && flight.landed.is_none();
        let polled = catch_unwind(AssertUnwindSafe(|| poll(caller.call.as_mut())));
        let began = flight.leader != Some(number)
            && (self.desk.borrow().working.contains(&number)
                || self.desk.borrow().ends.contains_key(&number));
        if began {
            assert_eq!(flight.leader, None, "two work for one flight");
            assert!(
                flight.landed.is_none(),
                "it works though there is an outcome"
            );
            flight.leader = Some(number);
            flight.waiting.remove(&number);
        }
        assert!(!must_lead || began || polled.is_err(), "nobody leads");
        let leads = flight.leader == Some(number);
        let answer = match polled {
            Ok(Poll::Pending) => {
                assert!(flight.landed.is_none(), "an outcome was not given");
                return;
            }
            Ok(Poll::Ready(answer)) => Some(answer),
            Err(_) => None,
        };
        let end = self.desk.borrow().ends.get(&number).copied();
        if leads {
            flight.leader_ends(number, end, answer);
        } else {
            flight.follower_ends(number, answer);
        }
        drop(self.callers.remove(index));
    }

    fn drop(&mut self, index: usize) {
        let caller = self.callers.remove(index);
        let flight = &mut self.flights[caller.flight];
        drop(caller.call);
        flight.waiting.remove(&caller.number);
        if flight.leader == Some(caller.number) {
            flight.leader = None;
        }
        if flight.is_over() {
            flight.attached = false;
        }
    }

    fn finish(&mut self) {
        while !self.callers.is_empty() {
            self.drop(self.callers.len() / 2);
        }
    }
}

impl Flight {
    fn new(key: u64) -> Self {
        Self {
            key,
            attached: true,
            leader: None,
            waiting: BTreeSet::new(),
            falls: 0,
            landed: None,
        }
    }

    /// Whether nobody is left to bring it to an outcome.
    fn is_over(&self) -> bool {
        self.leader.is_none() && self.waiting.is_empty()
    }

    fn leader_ends(&mut self, number: usize, end: Option<End>, answer: Option<Answer>) {
        self.leader = None;
        match (end.expect("it was told to"), answer) {
            (End::Value, Some(Ok(outcome))) => {
                assert_eq!(outcome.value, (self.key, number));
                assert_ne!(outcome.role, Role::Follower);
                assert_eq!(outcome.shared, !self.waiting.is_empty(), "shared");
                self.land(Landed::Value(outcome.value));
            }
            (End::Error, Some(Err(FlightError::Failed(error)))) => {
                assert_eq!(*error, number);
                self.land(Landed::Error(number));
            }
            (End::Panic, None) => {
                self.falls += 1;
                if self.falls > 1 {
                    self.land(Landed::Failed(u32::try_from(self.falls).unwrap()));
                } else if self.is_over() {
                    self.attached = false;
                }
            }
            (end, answer) => panic!("{end:?} became {answer:?}"),
        }
    }

    fn land(&mut self, landed: Landed) {
        self.landed = Some(landed);
        self.attached = false;
    }

    fn follower_ends(&mut self, number: usize, answer: Option<Answer>) {
        assert!(self.waiting.remove(&number));
        match (self.landed.expect("there is an outcome"), answer) {
            (Landed::Value(value), Some(Ok(outcome))) => {
                assert_eq!((outcome.value, outcome.role), (value, Role::Follower));
                assert!(outcome.shared, "the leader has it too");
            }
            (Landed::Error(leader), Some(Err(FlightError::Failed(error)))) => {
                assert_eq!(*error, leader);
            }
            (Landed::Failed(falls), Some(Err(FlightError::LeaderFailed { attempts }))) => {
                assert_eq!(attempts, falls);
            }
            (_, answer) => panic!("a follower got {answer:?}"),
        }
    }
}

struct Leaves(Rc<RefCell<Desk>>, usize);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.borrow_mut().working.remove(&self.1);
    }
}

const KEYS: u64 = 3;
