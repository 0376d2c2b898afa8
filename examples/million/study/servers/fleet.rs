//! Web servers behind the real balancer, in virtual time: workers, queues, and what goes wrong with one of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenfold::balance::{Balancer, Drain, MemberId, Pick, Policy};
use tenfold::rng::Rng;
use tenfold::time::{Instant, ManualClock};

use super::SEED;

/// A day of a fleet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    pub(super) servers: usize,
    pub(super) requests_a_second: f64,
    pub(super) lasts: Duration,
    pub(super) policy: Policy,
    pub(super) trouble: Trouble,
}

/// What goes wrong, from the end of the first third of the day to that of the second; with the first server, if with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// It takes so many times as long.
    Slow(u32),
    /// It fails every request, at once.
    BlackHole,
    /// It refuses every connection, and its clients retry so often, elsewhere.
    Dead {
        retries: u32,
    },
    /// All are restarted, one after the other: drained before, or cut off with what they have in hand.
    Deploy {
        drains: bool,
    },
}

/// What callers saw.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) p99: Duration,
    pub(crate) seconds: Vec<Second>,
    /// Requests that were sent to a server that was not there.
    pub(super) misled: u64,
}

/// What callers saw of the requests that began in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Second {
    pub(crate) failed: u64,
    pub(crate) p99: Duration,
}

impl Day {
    pub(super) fn run(&self) -> Result<Seen, Box<dyn Error>> {
        let clock = ManualClock::new();
        let builder = Balancer::builder().policy(self.policy);
        let builder = builder.clock(clock.clock()).seed(SEED);
        // Round robin as people have it knows nobody's health.
        let builder = if self.policy == Policy::Adaptive {
            builder
        } else {
            builder.no_ejection()
        };
        let balancer = builder.max_members(2 * self.servers).build()?;
        Fleet::new(self, &balancer, clock)?.run()
    }
}

struct Fleet<'a> {
    day: &'a Day,
    balancer: &'a Balancer<usize>,
    clock: ManualClock,
    start: Instant,
    rng: Rng,
    servers: Vec<Server>,
    flights: BinaryHeap<Reverse<Flight<'a>>>,
    /// Of each second, how long its successes took.
    took: Vec<Vec<Duration>>,
    seen: Seen,
}

struct Server {
    id: MemberId,
    /// When each of its workers is free.
    free: [Instant; WORKERS],
    state: State,
    /// How often it was started: what it had in hand before is gone.
    life: u32,
}

enum State {
    Up,
    Leaving(Drain<usize>),
    Starting(Instant),
}

/// A request under way; the earliest to end comes first.
struct Flight<'a> {
    ends: Instant,
    number: u64,
    came: Instant,
    retries: u32,
    outcome: Outcome,
    pick: Pick<'a, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fails,
    /// If the server is not started again before.
    Answered {
        life: u32,
    },
}

impl<'a> Fleet<'a> {
    fn new(
        day: &'a Day,
        balancer: &'a Balancer<usize>,
        clock: ManualClock,
    ) -> Result<Self, Box<dyn Error>> {
        let start = clock.now();
        let mut servers = Vec::new();
        for number in 0..day.servers {
            servers.push(Server {
                id: balancer.add(number)?,
                free: [start; WORKERS],
                state: State::Up,
                life: 0,
            });
        }
        let seconds = day.lasts.as_secs() as usize;
        Ok(Self {
            day,
            balancer,
            clock,
            start,
            rng: Rng::with_seed(SEED),
            servers,
            flights: BinaryHeap::new(),
            took: vec![Vec::new(); seconds],
            seen: Seen {
                seconds: vec![Second::default(); seconds],
                ..Seen::default()
            },
        })
    }

    fn run(mut self) -> Result<Seen, Box<dyn Error>> {
        let end = self.start + self.day.lasts;
        let pause = 1.0 / self.day.requests_a_second;
        let mut next = self.start;
        loop {
            next = next + Duration::from_secs_f64(-unit(&mut self.rng).ln() * pause);
            if next >= end {
                break;
            }
            self.land(next)?;
            self.restart()?;
            self.seen.requests += 1;
            let pick = self.balancer.pick()?;
            self.send(pick, next, 0);
        }
        self.land(Instant::NEVER)?;
        let mut all: Vec<Duration> = self.took.iter().flatten().copied().collect();
        self.seen.p99 = p99(&mut all);
        for (second, took) in self.seen.seconds.iter_mut().zip(&mut self.took) {
            second.p99 = p99(took);
        }
        match self.balancer.stats().in_flight {
            0 => Ok(self.seen),
            left => Err(format!("{left} requests are in flight when all are over").into()),
        }
    }

    /// A request sets out for a server.
    fn send(&mut self, pick: Pick<'a, usize>, came: Instant, retries: u32) {
        let now = self.clock.now();
        let slow = self.times(*pick);
        let work = service(&mut self.rng).mul_f64(slow);
        let hit = *pick == 0 && self.in_trouble(now);
        let fails = match self.day.trouble {
            Trouble::BlackHole | Trouble::Dead { .. } => hit,
            _ => false,
        };
        let server = &mut self.servers[*pick];
        let away = matches!(server.state, State::Starting(_));
        self.seen.misled += u64::from(away);
        let (ends, outcome) = if fails || away {
            (now + FAILS_IN, Outcome::Fails)
        } else {
            // The worker that is free first takes it.
            let worker = (0..WORKERS).min_by_key(|worker| server.free[*worker]);
            let free = &mut server.free[worker.unwrap_or(0)];
            *free = (*free).max(now) + work;
            (*free, Outcome::Answered { life: server.life })
        };
        self.flights.push(Reverse(Flight {
            ends,
            number: self.rng.next_u64(),
            came,
            retries,
            outcome,
            pick,
        }));
    }

    /// Ends what ends until then.
    fn land(&mut self, until: Instant) -> Result<(), Box<dyn Error>> {
        while let Some(Reverse(flight)) = self.flights.pop() {
            if flight.ends > until {
                self.flights.push(Reverse(flight));
                break;
            }
            self.turn(flight.ends);
            let life = self.servers[*flight.pick].life;
            if flight.outcome == (Outcome::Answered { life }) {
                let took = flight.ends.saturating_since(flight.came);
                let second = self.second(flight.came);
                self.took[second].push(took);
                flight.pick.succeed();
                continue;
            }
            let may_retry =
                matches!(self.day.trouble, Trouble::Dead { retries } if flight.retries < retries);
            if may_retry {
                let other = self.balancer.pick_other(flight.pick.id())?;
                flight.pick.fail();
                self.send(other, flight.came, flight.retries + 1);
                continue;
            }
            flight.pick.fail();
            self.seen.failed += 1;
            let second = self.second(flight.came);
            self.seen.seconds[second].failed += 1;
        }
        if until < Instant::NEVER {
            self.turn(until);
        }
        Ok(())
    }

    /// Takes servers down and up, on the day of a deploy.
    fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        let Trouble::Deploy { drains } = self.day.trouble else {
            return Ok(());
        };
        let (now, balancer) = (self.clock.now(), self.balancer);
        let third = self.day.lasts / 3;
        let each = third / self.day.servers as u32;
        for (number, server) in self.servers.iter_mut().enumerate() {
            let turn = self.start + third + each * number as u32;
            let state = std::mem::replace(&mut server.state, State::Up);
            server.state = match state {
                State::Up if server.life == 0 && now >= turn => {
                    server.life = u32::from(!drains);
                    if drains {
                        State::Leaving(balancer.drain(server.id)?)
                    } else {
                        State::Starting(now + STARTS_IN)
                    }
                }
                State::Leaving(mut drain) => {
                    let mut context = Context::from_waker(Waker::noop());
                    match pin!(&mut drain).poll(&mut context) {
                        Poll::Ready(_) => {
                            server.life = 1;
                            State::Starting(now + STARTS_IN)
                        }
                        Poll::Pending => State::Leaving(drain),
                    }
                }
                State::Starting(up) if now >= up => {
                    server.free = [now; WORKERS];
                    if drains {
                        server.id = balancer.add(number)?;
                    }
                    State::Up
                }
                other => other,
            };
        }
        Ok(())
    }

    fn in_trouble(&self, now: Instant) -> bool {
        let (from, until) = (self.day.lasts / 3, self.day.lasts * 2 / 3);
        (from..until).contains(&now.saturating_since(self.start))
    }

    /// How many times as long as it should a server takes for what it begins now.
    fn times(&self, server: usize) -> f64 {
        let Trouble::Slow(times) = self.day.trouble else {
            return 1.0;
        };
        let free = self.servers[server].free.iter().min();
        let begins = free.map_or(self.start, |free| (*free).max(self.clock.now()));
        if server == 0 && self.in_trouble(begins) {
            return f64::from(times);
        }
        1.0
    }

    fn second(&self, came: Instant) -> usize {
        let second = came.saturating_since(self.start).as_secs() as usize;
        second.min(self.took.len().saturating_sub(1))
    }

    fn turn(&self, to: Instant) {
        self.clock.advance(to.saturating_since(self.clock.now()));
    }
}

fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// Log-normal.
fn service(rng: &mut Rng) -> Duration {
    let normal = (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos();
    super::Servers::TAKES.mul_f64((SIGMA * normal - SIGMA * SIGMA / 2.0).exp())
}

/// Above zero, at most one.
fn unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

impl Ord for Flight<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ends, self.number).cmp(&(other.ends, other.number))
    }
}

impl PartialOrd for Flight<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flight<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flight<'_> {}

pub(super) const WORKERS: usize = 4;
/// The spread of the logarithm of how long a request takes.
const SIGMA: f64 = 0.8;
const FAILS_IN: Duration = Duration::from_micros(200);
const STARTS_IN: Duration = Duration::from_millis(500);
