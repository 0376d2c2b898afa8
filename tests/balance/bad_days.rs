//! The bad days of a simulated fleet, in virtual time: ten servers, one client or fifty.
//! `cargo run --release --features balance --example balance` prints all of them.

#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../../examples/balance/fleet.rs"]
mod fleet;

use fleet::{Outcome, SENDERS, Scenario};

fn scenario(name: &str) -> Scenario {
    let mut days = fleet::scenarios().into_iter();
    days.find(|scenario| scenario.name == name).unwrap()
}

/// One run of so many thousand requests.
fn run(day: &str, sender: &str, thousands: usize, seed: u64) -> Outcome {
    let by = SENDERS.into_iter().find(|by| by.name == sender).unwrap();
    fleet::run(&scenario(day), by, thousands * 1000, seed).unwrap()
}

/// Seeds to try: more with `TENFOLD_SEEDS`.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let factor = std::env::var("TENFOLD_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok());
    1..=factor.unwrap_or(1_u64)
}

#[test]
fn a_black_hole_draws_hardly_anything_from_one_client() {
    for seed in seeds() {
        let errors = |sender| run("black hole", sender, 300, seed).errors;
        assert!(errors("adaptive") <= 0.05);
        assert!((9.5..10.5).contains(&errors("round robin")));
        // Quick to answer, and so taken for the best.
        assert!(errors("P2C peak-EWMA") > 15.0);
    }
}

#[test]
fn a_black_hole_draws_little_from_fifty_clients_that_each_have_to_find_out() {
    for seed in seeds() {
        let errors = run("50 clients, black hole", "adaptive", 300, seed).errors;
        assert!(errors <= 0.3, "{errors}");
    }
}

#[test]
fn a_server_that_fails_now_and_then_is_avoided() {
    for seed in seeds() {
        assert!(run("one fails 30 %", "adaptive", 300, seed).errors <= 0.03);
    }
}

#[test]
fn a_slow_spell_seen_by_fifty_clients_costs_no_more_than_with_the_best() {
    for seed in seeds() {
        let day = "50 clients, one x10 slow, 20 % of the time";
        let tail = |sender| run(day, sender, 300, seed).p999;
        let ours = tail("adaptive");
        let best = ["P2C least", "P2C peak-EWMA"].map(tail);
        let best = best.into_iter().fold(f64::INFINITY, f64::min);
        assert!(ours <= 1.2 * best, "{ours} of {best}");
        // Who sees in-flight requests alone sees too few of them.
        assert!(tail("P2C least") > 5.0 * ours);
    }
}

#[test]
fn slow_servers_hurt_the_tail_less_than_with_any_other_policy() {
    for seed in seeds() {
        for day in ["one x3 slow", "one x10 slow"] {
            let tail = |sender| run(day, sender, 100, seed).p999;
            let ours = tail("adaptive");
            for other in ["round robin", "random", "P2C least", "P2C peak-EWMA"] {
                assert!(ours <= tail(other), "{day}: {other} is better");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_day() {
    let day = || run("50 clients, half x2 slow", "adaptive", 20, 5);
    assert_eq!(day(), day());
}
