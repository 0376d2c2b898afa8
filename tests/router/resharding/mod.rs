//! Shards that are databases, resharded while they are used: nothing is lost, doubled or
//! turned back, whatever fails.

mod faults;
mod history;
#[path = "../../../examples/reshard/shards.rs"]
mod shards;
mod world;

use std::sync::atomic::Ordering;

use faults::{Fault, Faults};
use tenfold::rng::Rng;
use tenfold::router::Topology;
use tenfold::router::migration::{DriverError, Outcome, Phase, Row, Step};
use tenfold::task::block_on;
use world::{Drive, End, World, run, wait};

const FIVE: [&str; 5] = ["db-1", "db-2", "db-3", "db-4", "db-5"];

fn four_to_five(test: &str) -> World {
    let four = Topology::builder()
        .nodes(FIVE[..4].iter().copied())
        .slots(32);
    let four = four.build().unwrap();
    let five = four.edit().node(FIVE[4]).build().unwrap();
    World::new(test, &FIVE, four, five)
}

fn five_to_four(test: &str) -> World {
    let five = Topology::builder().nodes(FIVE).slots(32).build().unwrap();
    let four = five.edit().remove(FIVE[1]).build().unwrap();
    World::new(test, &FIVE, five, four)
}

fn assert_met(world: &World) {
    assert!(world.second_writes.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_shard_is_added_while_all_are_used() {
    let mut world = four_to_five("added");
    let end = world.process(Faults::paced(8), 1500, run);
    assert_eq!(end, End::Over(Outcome::Completed));
    assert_met(&world);
    assert!(world.reads_of_two.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_shard_is_removed_while_all_are_used() {
    let mut world = five_to_four("removed");
    let end = world.process(Faults::paced(8), 1500, run);
    assert_eq!(end, End::Over(Outcome::Completed));
    assert_met(&world);
    let (node, rows) = &world.rows()[1];
    assert!(rows.is_empty(), "{node} still has {}", rows.len());
}

#[test]
fn calls_that_fail_before_or_after_they_took_effect_leave_nothing_wrong() {
    let mut world = four_to_five("failing");
    let faults = Faults::paced(8).fail_every(5);
    let end = world.process(faults, 1500, run);
    assert_eq!(end, End::Over(Outcome::Completed));
    assert_met(&world);
    assert!(world.stats.keys_repaired > 0);
}

#[test]
fn what_only_the_first_node_has_when_the_process_dies_counts_both_ways() {
    let phases = [
        Phase::Copying,
        Phase::Verifying,
        Phase::Switching,
        Phase::CutOver,
    ];
    for phase in phases {
        let mut world = four_to_five(&format!("between-{phase:?}"));
        world.die_between_writes(phase);
        let end = world.process(Faults::none(), 0, run);
        assert_eq!(end, End::Over(Outcome::Completed));

        let mut world = four_to_five(&format!("between-back-{phase:?}"));
        world.die_between_writes(phase);
        let end = world.process(Faults::none(), 0, |driver, faults| {
            turn_round(driver, faults, 0)
        });
        assert_eq!(end, End::Over(Outcome::RolledBack));
    }
}

#[test]
fn processes_that_die_again_and_again_finish_it_together() {
    let mut world = four_to_five("dying");
    let mut rng = Rng::with_seed(5);
    for life in 0..48 {
        let faults = Faults::paced(8);
        let (faults, operations) = match life % 4 {
            0 => (faults.cut_power_after(rng.below(60)), 60),
            1 | 3 => (faults.cut_power_after_seconds(rng.below(6)), 60),
            // What is missing now nobody happens to write again.
            _ => (faults.cut_power_after(rng.below(30)), 0),
        };
        world.process(faults, operations, run);
    }
    let end = world.process(Faults::paced(8), 200, run);
    assert_eq!(end, End::Over(Outcome::Completed));
    assert_met(&world);
}

#[test]
fn a_quiet_roll_back_leaves_the_very_rows_that_were_there() {
    for steps in [1, 60, 130, usize::MAX] {
        let mut world = four_to_five(&format!("quiet-{steps}"));
        let before = world.rows();
        let end = world.process(Faults::none(), 0, |driver, faults| {
            turn_round(driver, faults, steps)
        });
        assert_eq!(end, End::Over(Outcome::RolledBack));
        assert_eq!(world.rows(), before);
    }
}

#[test]
fn a_roll_back_loses_nothing_that_was_written_meanwhile() {
    for steps in [40, 120, usize::MAX] {
        let mut world = four_to_five(&format!("back-{steps}"));
        let faults = Faults::paced(8).fail_every(7);
        let end = world.process(faults, 800, |driver, faults| {
            turn_round(driver, faults, steps)
        });
        assert_eq!(end, End::Over(Outcome::RolledBack));
        assert_met(&world);
    }
}

#[test]
fn processes_that_die_on_the_way_back_lose_nothing_either() {
    let mut world = four_to_five("dying-back");
    let mut rng = Rng::with_seed(6);
    // All parts are cut over: what one node lacks from here on, the old one lacks.
    for life in 0..12 {
        let faults = Faults::paced(8);
        let (faults, steps) = match life {
            0 => (faults.cut_power_after_seconds(400), usize::MAX),
            _ => (faults.cut_power_after_seconds(rng.below(20)), 0),
        };
        world.process(faults, 300, |driver, faults| {
            turn_round(driver, faults, steps)
        });
    }
    let end = world.process(Faults::paced(8), 300, |driver, faults| {
        turn_round(driver, faults, 0)
    });
    assert_eq!(end, End::Over(Outcome::RolledBack));
    assert_met(&world);
}

#[test]
fn the_databases_let_the_newer_row_win_in_every_order() {
    let world = four_to_five("orders");
    let shards = world.shards();
    let row = |version, value: Option<&[u8]>| Row {
        key: (*b"user:x").into(),
        version,
        value: value.map(Into::into),
    };
    for written in [
        [row(1, Some(b"a")), row(2, Some(b"b"))],
        [row(1, Some(b"a")), row(2, None)],
        [row(1, None), row(2, Some(b"b"))],
    ] {
        for order in [[0_usize, 1], [1, 0]] {
            for at in order {
                shards.put("db-5", &written[at]).unwrap();
            }
            let found = shards.find("db-5", b"user:x").unwrap();
            assert_eq!(found.as_ref(), Some(&written[1]));
            shards.delete("db-5", b"user:x", 2).unwrap();
            assert_eq!(shards.find("db-5", b"user:x").unwrap(), found);
            shards.delete("db-5", b"user:x", 3).unwrap();
        }
    }
}

/// Goes back after so many steps, or when all parts are cut over.
fn turn_round(
    driver: &mut Drive,
    faults: &Faults,
    steps: usize,
) -> Result<Step, DriverError<Fault>> {
    for _ in 0..steps {
        match block_on(driver.step()) {
            Ok(Step::Waiting(part)) => wait(driver, part, faults)?,
            Ok(Step::Held | Step::Over(_)) => break,
            Ok(_)
            | Err(DriverError::Store {
                source: Fault::Refused | Fault::AnswerLost,
                ..
            }) => {}
            Err(error) => return Err(error),
        }
    }
    driver.roll_back()?;
    run(driver, faults)
}
