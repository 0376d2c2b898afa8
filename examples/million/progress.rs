use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says on standard error how far the work has come: one line that is redrawn
/// on a terminal, a line per stage elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Redrawn,
    Lines,
    #[cfg(test)]
    Silent,
}

#[derive(Debug)]
struct State {
    started: Instant,
    drawn: Option<Instant>,
    stage: String,
    done: usize,
    total: usize,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self::with(if terminal {
            Style::Redrawn
        } else {
            Style::Lines
        })
    }

    /// Says nothing.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self::with(Style::Silent)
    }

    fn with(style: Style) -> Self {
        let state = State {
            started: Instant::now(),
            drawn: None,
            stage: String::new(),
            done: 0,
            total: 0,
        };
        Self {
            style,
            state: Mutex::new(state),
        }
    }

    /// Begins a stage of `total` steps.
    pub(crate) fn stage(&self, name: &str, total: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut state.stage);
        (state.done, state.total, state.drawn) = (0, total, None);
        self.draw(&mut state);
    }

    /// One more step of this stage is done.
    pub(crate) fn step(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += 1;
        if self.style == Style::Redrawn {
            self.draw(&mut state);
        }
    }

    /// Clears the line for what is printed next.
    pub(crate) fn finish(&self) {
        if self.style == Style::Redrawn {
            write("\r\x1b[2K");
        }
    }

    fn draw(&self, state: &mut State) {
        if state.drawn.is_some_and(|drawn| drawn.elapsed() < TENTH) {
            return;
        }
        state.drawn = Some(Instant::now());
        let elapsed = state.started.elapsed().as_secs_f64();
        match self.style {
            #[cfg(test)]
            Style::Silent => {}
            Style::Lines => write(&format!("[{elapsed:5.1} s] {}\n", state.stage)),
            Style::Redrawn => {
                let filled = (state.done * WIDTH)
                    .checked_div(state.total)
                    .unwrap_or(0)
                    .min(WIDTH);
                let line = format!(
                    "{elapsed:5.1} s [{}{}] {}/{} {}",
                    "=".repeat(filled),
                    " ".repeat(WIDTH - filled),
                    state.done,
                    state.total,
                    state.stage,
                );
                // A line that wraps could not be cleared.
                let line: String = line.chars().take(79).collect();
                write(&format!("\r\x1b[2K{line}"));
            }
        }
    }
}

/// Whoever closed standard error does not want to know.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

const TENTH: Duration = Duration::from_millis(100);
const WIDTH: usize = 24;
