//! What a queue with millions of pending messages takes: memory, and time to open it
//! after a kill.
//!
//! `cargo run --release --features queue --example queue_memory [MESSAGES]`, 10,000,000
//! if nothing is said; they take about 1.3 GB in the directory for temporary files.

#[cfg(target_os = "linux")]
mod steps;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [step, directory, messages] = &arguments[..] {
        return run(step, directory.as_ref(), messages.parse()?);
    }
    let most: u64 = arguments.first().map_or(Ok(10_000_000), |n| n.parse())?;
    let mut messages = 10_000.min(most);
    while messages <= most {
        let directory = std::env::temp_dir().join(format!("tenfold-memory-{}", std::process::id()));
        for step in ["fill", "reopen", "reopen"] {
            let mut child = Command::new(std::env::current_exe()?)
                .arg(step)
                .arg(&directory)
                .arg(messages.to_string())
                .stdout(Stdio::piped())
                .spawn()?;
            let said = child.stdout.take().ok_or("it has no output")?;
            let line = BufReader::new(said).lines().next();
            // It waits, with the queue open: kill -9.
            child.kill()?;
            child.wait()?;
            println!("{}", line.ok_or("a step ended before its time")??);
        }
        std::fs::remove_dir_all(&directory)?;
        messages *= 10;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn run(
    step: &str,
    directory: &std::path::Path,
    messages: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    if step == "fill" {
        println!("{}", steps::fill(directory, messages)?);
    } else {
        println!("{}", steps::reopen(directory)?);
    }
    loop {
        std::thread::park();
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this example reads /proc, which only Linux has");
}
