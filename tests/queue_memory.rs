//! What millions of pending messages take. Each step is a process of its own: this test
//! program, started again for one test, which then holds still until it is killed.
//!
//! A million messages, and ten with `--release` or `TENFOLD_SEEDS=10`.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[path = "../examples/queue_memory/steps.rs"]
mod steps;

const STEP: &str = "TENFOLD_QUEUE_MEMORY";
const HELD: &str = "what was promised holds";

/// Ten million take less than 10 MB: so much for all, and so much for each.
fn bound(messages: u64) -> u64 {
    6_500_000 + messages * 35 / 100
}

fn messages() -> u64 {
    let seeds = std::env::var("TENFOLD_SEEDS").map_or(1, |n| n.parse::<u64>().unwrap());
    if cfg!(debug_assertions) && seeds < 10 {
        1_000_000
    } else {
        10_000_000
    }
}

#[test]
fn pending_messages_cost_a_third_of_a_byte_and_an_opening_reads_none_of_them() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("queue-memory-{}", std::process::id()));
    for step in ["fill", "reopen", "reopen"] {
        run(&format!("{step} {}", directory.display()));
    }
    fs::remove_dir_all(directory).unwrap();
}

/// Starts the other test in a process of its own, and kills that once it is through.
fn run(step: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_step_in_a_process_of_its_own", "--nocapture"])
        .env(STEP, step)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let held = said.lines().map_while(Result::ok).any(|line| {
        println!("{line}");
        line.ends_with(HELD)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(held, "{step}: see above");
}

#[test]
fn a_step_in_a_process_of_its_own() {
    let Ok(step) = std::env::var(STEP) else {
        return;
    };
    let (step, directory) = step.split_once(' ').unwrap();
    let messages = messages();
    if step == "fill" {
        let filled = steps::fill(directory.as_ref(), messages).unwrap();
        println!("{filled}");
        assert!(filled.memory < bound(messages), "{filled}");
    } else {
        let found = steps::reopen(directory.as_ref()).unwrap();
        println!("{found}");
        assert!(found.pending >= messages, "{found}");
        assert!(found.memory < bound(messages), "{found}");
        // What came behind the checkpoint, and no more.
        assert!(found.replayed <= messages / 50, "{found}");
    }
    println!("{HELD}");
    loop {
        std::thread::park();
    }
}
