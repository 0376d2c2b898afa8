//! One face for every queue, log and floor.

use std::path::Path;
use std::time::Duration;

/// A value, or the reason why somebody cannot do it; it is printed.
pub(super) type Answer<T> = Result<T, String>;

/// What a publish that returned must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Nothing: it is in memory.
    Memory,
    /// A kill of the process.
    Kill,
    /// A power cut: it was synced.
    Power,
}

/// A queue that is open, for any number of threads.
pub(super) trait Subject: Send + Sync {
    /// A handle for one thread that publishes.
    fn producer(&self) -> Answer<Box<dyn Producer + '_>>;

    /// A handle for the thread that consumes. With `durable_acks` what it acknowledged must
    /// not come again after a power cut, where the queue lets us choose.
    fn consumer(&self, durable_acks: bool) -> Answer<Box<dyn Consumer + '_>>;

    /// How often it has synced, if it can say.
    fn syncs(&self) -> Option<u64> {
        None
    }

    /// Whether it is system calls alone.
    fn is_floor(&self) -> bool {
        false
    }

    /// What it says about damage that it found when it was opened, or since.
    fn report(&self) -> Option<String> {
        None
    }

    /// The process that holds its memory.
    fn process(&self) -> u32 {
        std::process::id()
    }
}

pub(super) trait Producer {
    /// Publishes messages in one call, and waits until they survive what the level says.
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()>;
}

pub(super) trait Consumer {
    /// Takes up to `most` messages, shows them and acknowledges them; how many there were. With
    /// `wait` it blocks until there is one, if the queue has a call for that.
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize>;

    /// Whether it can block until a message comes.
    fn waits(&self) -> bool {
        false
    }
}

/// Somebody to measure.
#[derive(Clone, Copy)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// Opens it in a directory of its own, which need not be there.
    pub(super) open: fn(&Path, Level) -> Answer<Box<dyn Subject>>,
    /// What its figures mean: what survives, and what was left out.
    pub(super) note: &'static str,
    /// Whether it is a process beside us.
    pub(super) is_server: bool,
}

/// Waits for the time, which here is what is measured.
#[allow(
    clippy::disallowed_methods,
    reason = "a message that is due in two milliseconds, or a server that starts"
)]
pub(super) fn nap(time: Duration) {
    std::thread::sleep(time);
}

/// The text of an error with all that lies under it.
pub(super) fn reason(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
