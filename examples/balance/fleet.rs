//! A simulated fleet: servers with workers and queues, clients that each have a balancer of
//! their own, and one virtual clock. The same seed gives the same figures everywhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::time::Duration;

use tenfold::balance::{Balancer, Pick, Policy};
use tenfold::rng::Rng;
use tenfold::time::ManualClock;

/// What goes on in the fleet.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Of what the healthy fleet could do.
    pub(crate) load: f64,
    pub(crate) clients: usize,
    pub(crate) trouble: Trouble,
}

#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    None,
    /// So many servers take so many times as long, from one part of the run to another.
    Slow {
        servers: usize,
        times: f64,
        from: f64,
        until: f64,
    },
    /// One server fails this share of its requests, at once.
    Fails(f64),
}

/// One figure per question, of all requests of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// Milliseconds that 99 % and 99.9 % of the successful requests were within.
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Percent of all requests.
    pub(crate) errors: f64,
}

/// How requests are sent.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) ejects: bool,
}

pub(crate) const SERVERS: usize = 10;
const WORKERS: usize = 4;
/// Nanoseconds that a healthy server takes on average.
const SERVICE: f64 = 10e6;
/// The spread of the logarithm of that.
const SIGMA: f64 = 0.8;
const FAILS_IN: u64 = 200_000;

pub(crate) const SENDERS: [Sender; 6] = [
    sender("round robin", Policy::RoundRobin, false),
    sender("random", Policy::Random, false),
    sender("P2C least", Policy::LeastRequest, false),
    sender("P2C peak-EWMA", Policy::PeakEwma, false),
    sender("same, ejecting", Policy::PeakEwma, true),
    sender("adaptive", Policy::Adaptive, true),
];

const fn sender(name: &'static str, policy: Policy, ejects: bool) -> Sender {
    Sender {
        name,
        policy,
        ejects,
    }
}

/// The bad days that balancers are judged by.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let slow = |servers, times| Trouble::Slow {
        servers,
        times,
        from: 0.0,
        until: 1.0,
    };
    let spell = Trouble::Slow {
        servers: 1,
        times: 10.0,
        from: 0.4,
        until: 0.6,
    };
    let days = [
        ("healthy", 0.7, 1, Trouble::None),
        ("healthy, busy", 0.9, 1, Trouble::None),
        ("one x3 slow", 0.6, 1, slow(1, 3.0)),
        ("one x10 slow", 0.6, 1, slow(1, 10.0)),
        ("one x10 slow, 20 % of the time", 0.6, 1, spell),
        ("half x2 slow", 0.6, 1, slow(5, 2.0)),
        ("black hole", 0.6, 1, Trouble::Fails(1.0)),
        ("one fails 30 %", 0.6, 1, Trouble::Fails(0.3)),
        ("50 clients, healthy", 0.8, 50, Trouble::None),
        ("50 clients, one x3 slow", 0.6, 50, slow(1, 3.0)),
        ("50 clients, one x10 slow, 20 % of the time", 0.6, 50, spell),
        ("50 clients, half x2 slow", 0.65, 50, slow(5, 2.0)),
        ("50 clients, black hole", 0.6, 50, Trouble::Fails(1.0)),
    ];
    let scenario = |(name, load, clients, trouble)| Scenario {
        name,
        load,
        clients,
        trouble,
    };
    days.into_iter().map(scenario).collect()
}

/// A request under way; the earliest to end comes first.
struct Flight<'a> {
    ends: u64,
    number: usize,
    began: u64,
    ok: bool,
    pick: Pick<'a, usize>,
}

/// Sends so many requests.
pub(crate) fn run(
    scenario: &Scenario,
    by: Sender,
    requests: usize,
    seed: u64,
) -> Result<Outcome, Box<dyn Error>> {
    let clock = ManualClock::new();
    let start = clock.now().as_nanos();
    let mut clients = Vec::new();
    for client in 0..scenario.clients {
        clients.push(client_of(
            by,
            &clock,
            seed.wrapping_mul(1000) + client as u64,
        )?);
    }
    let mut rng = Rng::with_seed(seed);
    let pause = SERVICE / (scenario.load * (SERVERS * WORKERS) as f64);
    let horizon = pause * requests as f64;
    let mut workers = [[start; WORKERS]; SERVERS];
    let mut flights: BinaryHeap<Reverse<Flight<'_>>> = BinaryHeap::new();
    let mut latencies = Vec::with_capacity(requests);
    let mut next = start;
    for number in 0..requests {
        next += (-unit(&mut rng).ln() * pause) as u64;
        while flights
            .peek()
            .is_some_and(|Reverse(flight)| flight.ends <= next)
        {
            land(&mut flights, &clock, &mut latencies);
        }
        turn(&clock, next);
        let client = &clients[rng.below(clients.len() as u64) as usize];
        let pick = client.pick()?;
        let server = *pick;
        let ok = !scenario.fails(server, &mut rng);
        let ends = if ok {
            let free = workers[server].iter_mut().min_by_key(|free| **free);
            let Some(free) = free else { continue };
            let begins = next.max(*free);
            let part = (begins - start) as f64 / horizon;
            *free = begins + (service(&mut rng) * scenario.times(server, part)) as u64;
            *free
        } else {
            next + FAILS_IN
        };
        flights.push(Reverse(Flight {
            ends,
            number,
            began: next,
            ok,
            pick,
        }));
    }
    while !flights.is_empty() {
        land(&mut flights, &clock, &mut latencies);
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize] as f64 / 1e6;
    Ok(Outcome {
        p99: at(0.99),
        p999: at(0.999),
        errors: (requests - latencies.len()) as f64 / requests as f64 * 100.0,
    })
}

fn client_of(
    by: Sender,
    clock: &ManualClock,
    seed: u64,
) -> Result<Balancer<usize>, Box<dyn Error>> {
    let builder = Balancer::builder()
        .policy(by.policy)
        .clock(clock.clock())
        .seed(seed);
    let builder = if by.ejects {
        builder
    } else {
        builder.no_ejection()
    };
    let balancer = builder.build()?;
    for server in 0..SERVERS {
        balancer.add(server)?;
    }
    Ok(balancer)
}

fn land(
    flights: &mut BinaryHeap<Reverse<Flight<'_>>>,
    clock: &ManualClock,
    latencies: &mut Vec<u64>,
) {
    let Some(Reverse(flight)) = flights.pop() else {
        return;
    };
    turn(clock, flight.ends);
    if flight.ok {
        latencies.push(flight.ends - flight.began);
        flight.pick.succeed();
    } else {
        flight.pick.fail();
    }
}

fn turn(clock: &ManualClock, to: u64) {
    clock.advance(Duration::from_nanos(to - clock.now().as_nanos()));
}

/// Log-normal.
fn service(rng: &mut Rng) -> f64 {
    let normal = (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos();
    SERVICE * (SIGMA * normal - SIGMA * SIGMA / 2.0).exp()
}

/// Above zero, at most one.
fn unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

impl Scenario {
    fn fails(&self, server: usize, rng: &mut Rng) -> bool {
        matches!(self.trouble, Trouble::Fails(share) if server == 0 && unit(rng) <= share)
    }

    /// How many times as long a server takes at this part of the run.
    fn times(&self, server: usize, part: f64) -> f64 {
        match self.trouble {
            Trouble::Slow {
                servers,
                times,
                from,
                until,
            } if server < servers && (from..until).contains(&part) => times,
            _ => 1.0,
        }
    }
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
