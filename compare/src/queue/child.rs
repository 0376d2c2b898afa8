//! This program started once more, to be killed: it fills a queue, or opens one and reads it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::contenders;
use super::payload::{Ledger, message};
use super::subject::{Answer, Level, Subject, reason};

/// What a child is told, in its environment.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) directory: PathBuf,
    pub(super) level: Level,
    pub(super) work: Work,
    pub(super) count: u64,
    /// Messages of a call.
    pub(super) batch: usize,
    /// It gives up what would take longer.
    pub(super) limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Fill,
    Read,
}

/// What a child found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Seconds until it was open, and until it had the first message.
    pub(super) opened: f64,
    pub(super) first: f64,
    /// Messages that came, of those that it looked for, and how many came that were wrong.
    pub(super) came: u64,
    pub(super) wrong: u64,
    /// Anonymous memory, in bytes.
    pub(super) memory: u64,
    /// Whether it said that something was not as it should be, and what.
    pub(super) report: Option<String>,
}

const TASK: &str = "COMPARE_QUEUE_CHILD";

/// A child that runs; it is killed when this is dropped.
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(super) fn start(task: &Task) -> Answer<Self> {
        let level = match task.level {
            Level::Memory => "memory",
            Level::Kill => "kill",
            Level::Power => "power",
        };
        let work = match task.work {
            Work::Fill => "fill",
            Work::Read => "read",
        };
        let limit = task.limit.as_millis();
        let Task { count, batch, .. } = task;
        let words = format!("{work} {level} {count} {batch} {limit} {}", task.name);
        let program = std::env::current_exe().map_err(reason)?;
        let mut child = Command::new(program)
            .arg("queue")
            .env(TASK, words)
            .env(super::DIRECTORY, &task.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(reason)?;
        let output = child.stdout.take().ok_or("its output is not piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || forward(BufReader::new(output).lines(), &sender));
        Ok(Self { child, lines })
    }

    /// Its next line; `None` if there is none, since it died or takes too long.
    fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has filled its queue. It stays until it is killed.
    pub(super) fn filled(&self, patience: Duration) -> Answer<()> {
        match self.line(patience) {
            Some(line) if line == "filled" => Ok(()),
            Some(line) => Err(line),
            None => Err("did not fill its queue".into()),
        }
    }

    /// Waits for what it found.
    pub(super) fn found(mut self, patience: Duration) -> Answer<Found> {
        let mut found = Found::default();
        loop {
            let Some(line) = self.line(patience) else {
                return Err(match self.child.try_wait() {
                    Ok(Some(status)) => format!("died: {status}"),
                    _ => format!("hangs: said nothing for {patience:?}"),
                });
            };
            let Some((what, value)) = line.split_once(' ') else {
                return Ok(found);
            };
            let number = value.parse().unwrap_or(0.0);
            match what {
                "opened" => found.opened = number,
                "first" => found.first = number,
                "came" => found.came = number as u64,
                "wrong" => found.wrong = number as u64,
                "memory" => found.memory = number as u64,
                _ => found.report = Some(value.to_owned()),
            }
        }
    }
}

fn forward(lines: Lines<BufReader<ChildStdout>>, sender: &mpsc::Sender<String>) {
    for line in lines.map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does a child's work, if this is one. What it finds it prints.
pub(super) fn run(directory: &Path) -> Option<Answer<()>> {
    let words = std::env::var(TASK).ok()?;
    let mut words = words.splitn(6, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (task, level) = (word(), word());
    let mut number = || word().parse().unwrap_or(0);
    let (count, batch, limit) = (number(), number(), Duration::from_millis(number()));
    let name = word();
    let level = match &*level {
        "memory" => Level::Memory,
        "kill" => Level::Kill,
        _ => Level::Power,
    };
    let contender = contenders().into_iter().find(|one| one.name == name);
    let Some(contender) = contender else {
        return Some(Err(format!("nobody is called \"{name}\"")));
    };
    let start = Instant::now();
    let subject = (contender.open)(directory, level);
    say("opened", start.elapsed().as_secs_f64(), &task);
    let done = subject.and_then(|subject| {
        if task == "fill" {
            fill(&*subject, count, batch as usize, limit)?;
            println!("filled");
            let _ = std::io::stdout().flush();
            // Until it is killed.
            loop {
                thread::park();
            }
        }
        read(&*subject, count, batch as usize, limit, start)
    });
    if let Err(reason) = done {
        let reason = reason.replace('\n', " ");
        if task == "fill" {
            println!("{reason}");
        } else {
            println!("report {reason}");
        }
    }
    println!("end");
    Some(Ok(()))
}

/// One figure for the parent, who is told nothing while a queue is filled.
fn say(what: &str, value: f64, work: &str) {
    if work != "fill" {
        println!("{what} {value}");
    }
}

/// Publishes so many messages of 100 bytes, unless that would take too long.
pub(super) fn fill(subject: &dyn Subject, count: u64, batch: usize, limit: Duration) -> Answer<()> {
    let mut producer = subject.producer()?;
    let start = Instant::now();
    for first in (0..count).step_by(batch) {
        let numbers = first..(first + batch as u64).min(count);
        let call = numbers.map(|number| message(number, 100)).collect();
        producer.publish(call)?;
        let took = start.elapsed().as_secs_f64();
        let whole = took / (first + batch as u64) as f64 * count as f64;
        if took > 1.0 && whole > limit.as_secs_f64() {
            return Err(format!(
                "would take {whole:.0} s to publish {count} messages"
            ));
        }
    }
    Ok(())
}

fn read(
    subject: &dyn Subject,
    count: u64,
    batch: usize,
    limit: Duration,
    start: Instant,
) -> Answer<()> {
    let mut ledger = Ledger::new(0..count);
    let mut consumer = subject.consumer(false)?;
    let first = consumer.consume(1, false, &mut |message| ledger.see(message));
    say("first", start.elapsed().as_secs_f64(), "");
    say("memory", memory(std::process::id()).unwrap_or(0) as f64, "");
    let mut failed = first.err();
    let reading = Instant::now();
    while failed.is_none() && ledger.count() < count && reading.elapsed() < limit {
        match consumer.consume(batch, false, &mut |message| ledger.see(message)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(reason) => failed = Some(reason),
        }
    }
    say("came", ledger.count() as f64, "");
    say("wrong", ledger.wrong() as f64, "");
    match failed.or_else(|| subject.report()) {
        Some(report) => Err(report),
        None => Ok(()),
    }
}

/// The anonymous memory of a process, in bytes.
pub(super) fn memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
