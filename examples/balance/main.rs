//! Bad days of a fleet of ten servers, in virtual time: what clients see, by how they balance.
//!
//! ```text
//! cargo run --release --features balance --example balance [requests]
//! ```
//!
//! Every server has four workers and a queue, and takes 10 ms on average. The program fails if
//! one of its claims does not hold; with fewer requests than the 300 000 that it sends by itself,
//! what clients have to find out weighs more, and it claims nothing.

mod fleet;

use std::error::Error;

use fleet::{Outcome, SENDERS};

const REQUESTS: usize = 300_000;

fn main() -> Result<(), Box<dyn Error>> {
    let requests = match std::env::args().nth(1) {
        Some(requests) => requests.parse()?,
        None => REQUESTS,
    };
    println!("{requests} requests; p99 / p99.9 of the successful ones in ms, errors in %\n");
    print!("{:43}", "");
    for by in SENDERS {
        print!("{:>21}", by.name);
    }
    println!();
    for scenario in fleet::scenarios() {
        print!("{:43}", scenario.name);
        let mut outcomes = Vec::new();
        for by in SENDERS {
            let outcome = fleet::run(&scenario, by, requests, 1)?;
            print!("{:>21}", in_words(&outcome));
            outcomes.push(outcome);
        }
        println!();
        if requests >= REQUESTS {
            check(scenario.name, &outcomes)?;
        }
    }
    Ok(())
}

fn in_words(outcome: &Outcome) -> String {
    let Outcome { p99, p999, errors } = outcome;
    if *errors > 0.0 {
        return format!("{p99:.0} / {p999:.0}, {errors:.3} %");
    }
    format!("{p99:.0} / {p999:.0}")
}

/// What the adaptive policy, the last, promises.
fn check(scenario: &str, outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let Some((ours, others)) = outcomes.split_last() else {
        return Ok(());
    };
    let best = others
        .iter()
        .map(|other| other.p999)
        .fold(f64::INFINITY, f64::min);
    let (holds, claim) = match scenario {
        "black hole" => (ours.errors <= 0.05, "errors stay within 0.05 %"),
        "50 clients, black hole" => (ours.errors <= 0.3, "errors stay within 0.3 %"),
        _ => (
            ours.p999 <= 1.2 * best,
            "p99.9 is within 1.2 times the best",
        ),
    };
    if holds {
        return Ok(());
    }
    Err(format!("{scenario}: it does not hold that {claim}").into())
}
