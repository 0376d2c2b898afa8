//! A lane in a process of its own: this program once more, which is asked a line and answers with one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use super::jsonwebtoken::{Jsonwebtoken, install};
use super::subject::{ALGORITHMS, Lane, Local, Task};

pub(super) struct Remote {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Remote {
    /// # Errors
    ///
    /// If this program cannot be started once more.
    pub(super) fn start(provider: &str, algorithm: &str) -> Result<Self, String> {
        let cannot = |e: std::io::Error| format!("{provider} cannot be started: {e}");
        let program = std::env::current_exe().map_err(cannot)?;
        let mut child = Command::new(program)
            .args([CHILD, provider, algorithm])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let (Some(ask), Some(answer)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{provider} has no pipes"));
        };
        Ok(Self {
            child,
            ask,
            answer: BufReader::new(answer),
        })
    }

    fn ask(&mut self, task: Task, times: usize) -> Result<f64, String> {
        let place = TASKS.iter().position(|other| *other == task);
        let asked = writeln!(self.ask, "{} {times}", place.unwrap_or(0));
        let mut line = String::new();
        let read = asked.and_then(|()| self.answer.read_line(&mut line));
        read.map_err(|e| format!("a process that measures does not answer: {e}"))?;
        let figure = line.trim().parse();
        figure.map_err(|_| format!("a process that measures answered {line:?}"))
    }
}

impl Lane for Remote {
    fn time(&mut self, task: Task, times: usize) -> Result<f64, String> {
        self.ask(task, times)
    }

    fn allocations(&mut self, task: Task) -> Result<f64, String> {
        self.ask(task, 0)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TASKS: [Task; 3] = [Task::Sign, Task::Verify, Task::VerifyAgain];
const CHILD: &str = "answer-for-jsonwebtoken";

/// Answers as the other process, if the arguments are those of one.
pub fn child() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, provider, algorithm] = arguments.as_slice() else {
        return None;
    };
    if first != CHILD {
        return None;
    }
    let answered = answer(provider, algorithm);
    Some(answered.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// Until nobody asks any more. No operations means: count allocations.
fn answer(provider: &str, algorithm: &str) -> Option<()> {
    let mut all = ALGORITHMS.into_iter();
    let algorithm = all.find(|one| one.to_string() == algorithm)?;
    install(provider).then_some(())?;
    let mut lane = Local::new(Jsonwebtoken::new(algorithm));
    for line in std::io::stdin().lines() {
        let line = line.ok()?;
        let (task, times) = line.split_once(' ')?;
        let task = *TASKS.get(task.parse::<usize>().ok()?)?;
        let figure = match times.parse().ok()? {
            0 => lane.allocations(task),
            times => lane.time(task, times),
        };
        println!("{}", figure.ok()?);
        std::io::stdout().flush().ok()?;
    }
    Some(())
}
