//! The pool beside the obvious model of one: a stack, a line, and two numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::server::{Refused, Server};
use super::{Caller, World};

#[derive(Debug, Clone, Copy)]
enum Op {
    Call,
    /// The n-th of those who hold one gives it back.
    Return(usize),
    Discard(usize),
    /// The n-th of those who wait or connect is dropped.
    Cancel(usize),
    /// The n-th attempt succeeds or fails.
    Connect(usize),
    Fail(usize),
    Purge,
    Resize(usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Call),
        4 => (0..8_usize).prop_map(Op::Return),
        1 => (0..8_usize).prop_map(Op::Discard),
        2 => (0..8_usize).prop_map(Op::Cancel),
        6 => (0..4_usize).prop_map(Op::Connect),
        1 => (0..4_usize).prop_map(Op::Fail),
        1 => Just(Op::Purge),
        1 => (1..5_usize).prop_map(Op::Resize),
    ]
}

#[derive(Debug, Default)]
struct Model {
    max_size: usize,
    max_connecting: usize,
    generation: u32,
    open: bool,
    failed: bool,
    /// Connections by number, with their generations.
    idle: Vec<(u32, u32)>,
    waiting: VecDeque<usize>,
    /// Callers, with the generation of what they make.
    connecting: Vec<(usize, u32)>,
    lent: BTreeMap<usize, (u32, u32)>,
    made: u32,
    closed: u32,
    refused: Vec<usize>,
}

impl Model {
    fn size(&self) -> usize {
        self.idle.len() + self.connecting.len() + self.lent.len()
    }

    fn serve(&mut self) {
        while let Some(caller) = self.waiting.front().copied() {
            let at_once = if self.failed { 1 } else { self.max_connecting };
            if let Some(idle) = self.idle.pop() {
                self.lent.insert(caller, idle);
            } else if self.size() < self.max_size && self.connecting.len() < at_once {
                self.connecting.push((caller, self.generation));
            } else {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn give_back(&mut self, (id, generation): (u32, u32)) {
        if generation == self.generation && self.open && self.size() < self.max_size {
            self.idle.push((id, generation));
        } else {
            self.closed += 1;
        }
    }
}

/// The pool, and its callers by number.
struct Real {
    world: World,
    pool: super::Tasks,
    callers: BTreeMap<usize, Caller>,
    lent: BTreeMap<usize, super::Pooled<super::Async<Server>>>,
    /// Whose attempt each is.
    attempts: BTreeMap<usize, usize>,
    refused: Vec<usize>,
}

impl Real {
    /// Polls everybody who was woken, until nobody is.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for number in self.callers.keys().copied().collect::<Vec<_>>() {
                let Some(caller) = self.callers.get_mut(&number) else {
                    continue;
                };
                let answer = caller.poll();
                for attempt in self.world.server.attempts() {
                    self.attempts.entry(attempt).or_insert(number);
                }
                if let Some(answer) = answer {
                    moved = true;
                    self.callers.remove(&number);
                    match answer {
                        Ok(lent) => drop(self.lent.insert(number, lent)),
                        Err(_) => self.refused.push(number),
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn attempt_of(&self, caller: usize) -> usize {
        let open = self.world.server.attempts();
        let mut own = open.into_iter().filter(|n| self.attempts[n] == caller);
        own.next().expect("who connects has an attempt under way")
    }
}

/// More of them with `TENFOLD_SEEDS`, a factor.
fn cases() -> u32 {
    let factor = std::env::var("TENFOLD_SEEDS").ok();
    256 * factor.and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_pool_is_a_stack_and_a_line(
        ops in prop::collection::vec(op(), 1..60),
        max_size in 1..5_usize,
        max_connecting in 1..4_usize,
        closes: bool,
    ) {
        let world = World::new();
        world.server.hold();
        let options = world.options().max_size(max_size).max_connecting(max_connecting);
        let pool = world.tasks(options.retry_pause(Duration::ZERO, Duration::ZERO));
        let mut real = Real {
            world,
            pool,
            callers: BTreeMap::new(),
            lent: BTreeMap::new(),
            attempts: BTreeMap::new(),
            refused: Vec::new(),
        };
        let mut model = Model { max_size, max_connecting, open: true, ..Model::default() };
        let close = closes.then_some(Op::Close);
        for (number, op) in ops.into_iter().chain(close).enumerate() {
            step(&mut model, &mut real, number, op);
            compare(&model, &real, op)?;
        }
    }
}

fn step(model: &mut Model, real: &mut Real, number: usize, op: Op) {
    let nth = |lent: &BTreeMap<usize, (u32, u32)>, n: usize| lent.keys().nth(n).copied();
    match op {
        Op::Call => {
            real.callers.insert(number, Caller::of(&real.pool));
            model.waiting.push_back(number);
        }
        Op::Return(n) => {
            let Some(caller) = nth(&model.lent, n) else {
                return;
            };
            let connection = model.lent.remove(&caller).unwrap();
            model.give_back(connection);
            drop(real.lent.remove(&caller));
        }
        Op::Discard(n) => {
            let Some(caller) = nth(&model.lent, n) else {
                return;
            };
            model.lent.remove(&caller);
            model.closed += 1;
            real.lent.remove(&caller).unwrap().discard();
        }
        Op::Cancel(n) => {
            let Some(caller) = real.callers.keys().nth(n).copied() else {
                return;
            };
            model.waiting.retain(|waiting| *waiting != caller);
            model
                .connecting
                .retain(|(connecting, _)| *connecting != caller);
            real.callers.remove(&caller);
        }
        Op::Connect(n) => {
            let Some((caller, generation)) = model.connecting.get(n).copied() else {
                return;
            };
            model.connecting.remove(n);
            let id = model.made;
            model.made += 1;
            model.failed = false;
            if generation == model.generation {
                model.lent.insert(caller, (id, generation));
            } else {
                model.closed += 1;
                model.waiting.push_front(caller);
            }
            real.world.server.finish(real.attempt_of(caller), Ok(()));
        }
        Op::Fail(n) => {
            let Some((caller, _)) = model.connecting.get(n).copied() else {
                return;
            };
            model.connecting.remove(n);
            model.failed = true;
            model.refused.push(caller);
            real.world
                .server
                .finish(real.attempt_of(caller), Err(Refused));
        }
        Op::Purge => {
            model.generation += 1;
            model.failed = false;
            model.closed += model.idle.len() as u32;
            model.idle.clear();
            real.pool.purge();
        }
        Op::Resize(max) => {
            model.max_size = max;
            while model.size() > max && !model.idle.is_empty() {
                model.idle.remove(0);
                model.closed += 1;
            }
            real.pool.set_max_size(max).unwrap();
        }
        Op::Close => {
            model.open = false;
            model.closed += model.idle.len() as u32;
            model.idle.clear();
            model.refused.extend(model.waiting.drain(..));
            real.pool.close();
        }
    }
    real.settle();
    model.serve();
}

fn compare(model: &Model, real: &Real, op: Op) -> Result<(), TestCaseError> {
    let stats = real.pool.stats();
    let lent: Vec<_> = real
        .lent
        .iter()
        .map(|(caller, lent)| (*caller, lent.id))
        .collect();
    let expected: Vec<_> = model
        .lent
        .iter()
        .map(|(caller, (id, _))| (*caller, *id))
        .collect();
    prop_assert_eq!(lent, expected, "lent after {:?}: {:?}", op, model);
    prop_assert_eq!(
        stats.idle,
        model.idle.len(),
        "idle after {:?}: {:?}",
        op,
        model
    );
    prop_assert_eq!(
        stats.waiting,
        model.waiting.len(),
        "waiting after {:?}: {:?}",
        op,
        model
    );
    prop_assert_eq!(
        stats.connecting,
        model.connecting.len(),
        "connecting after {:?}: {:?}",
        op,
        model
    );
    let closed = real.world.server.closed().len();
    prop_assert_eq!(
        closed,
        model.closed as usize,
        "closed after {:?}: {:?}",
        op,
        model
    );
    // Those who are told by the same close are told in any order.
    let sorted = |refused: &[usize]| refused.iter().copied().collect::<BTreeSet<_>>();
    prop_assert_eq!(sorted(&real.refused), sorted(&model.refused));
    Ok(())
}
