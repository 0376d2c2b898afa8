//! From one server to a million users: what a cache does for *your* traffic, and
//! what happens when one server, and one database, are no longer enough.
//!
//! ```text
//! cargo run --release --example million                     # a made-up day
//! cargo run --release --example million -- --log access.log # your own
//! ```
//!
//! Replays requests through the real [`tenfold::cache::Cache`] and tells how
//! many it answers at which size, with which policy, and how far that is from
//! the best possible; what a time-to-live costs; and what happens when
//! everything expires at once, or everybody wants the same key, with and
//! without the means against it. Then the real [`tenfold::balance`]: one server becomes ten, and one of
//! the ten is slow, fails, or dies. With the feature `sticky`, the real [`tenfold::session`]: a web server dies with the log-ins
//! in its memory, and with those that are elsewhere, too. Then the real [`tenfold::replica`]: a primary and three
//! replicas, of which one, three, or the primary die. Then the real [`tenfold::router`]: a million users on
//! four shards become five, a shard dies, and a celebrity has a quarter of all
//! requests. With the features `queue` and `test-util` also the real `tenfold::queue`:
//! more orders than the database takes, workers that die, and a power cut. Prints tables and
//! writes one page with curves. Ends with status 1 if a block breaks an invariant on the way.

mod input;
mod model;
mod options;
mod progress;
mod report;
mod show;
mod study;
mod terminal;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use input::{InputError, Requests, Synthetic};
use options::{Options, Source, USAGE};
use progress::Progress;
use study::Study;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&format!("error: {message}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let progress = Progress::new();
    let (requests, source) = read(options, &progress)?;
    let study = Study::of(&requests, &source, &progress);
    print(&terminal::tables(&study));
    write_report(&options.report, &report::page(&study))?;
    print(&format!(
        "\nThe same with curves: {}\n",
        options.report.display()
    ));
    if study.broken.is_empty() {
        return Ok(());
    }
    Err(format!(
        "a block broke its word:\n  {}",
        study.broken.join("\n  ")
    ))
}

fn read(options: &Options, progress: &Progress) -> Result<(Requests, String), String> {
    let path = match &options.source {
        Source::Synthetic => {
            progress.stage("making up a day of requests", 1);
            let day = Synthetic {
                seed: options.seed,
                ..Synthetic::default()
            };
            return Ok((day.generate(), "a made-up day".into()));
        }
        Source::Log(path) | Source::Trace(path) => path,
    };
    let shown = show::name(path.display().to_string().as_bytes());
    progress.stage(&format!("reading {shown}"), 1);
    let open = || -> Result<Requests, InputError> {
        let file = BufReader::with_capacity(1 << 16, File::open(path)?);
        match options.source {
            Source::Trace(_) => {
                let name = path.to_string_lossy();
                input::read_trace(file, &name, options.trace_format, options.limit)
            }
            _ => input::read_log(file, options.limit),
        }
    };
    let requests = open().map_err(|error| {
        progress.finish();
        format!("{shown}: {error}")
    })?;
    Ok((requests, shown))
}

fn write_report(path: &Path, page: &str) -> Result<(), String> {
    let write = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, page)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Prints without minding that the reader may have gone, as `head` does.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
