use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{BuildError, WriteThrough};
use crate::cache::Layer;
use crate::cache::writer::{Erased, ErasedWriter, Writer};
use crate::time::{Clock, Timer};

/// Configures a [`WriteThrough`]; made by [`WriteThrough::builder`].
///
/// ```
/// use std::time::Duration;
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_through::WriteThrough;
/// use tenfold::cache::writer::MemoryStore;
///
/// let names = WriteThrough::builder(Cache::new(1000), MemoryStore::<u32, String>::new())
///     .timeout(Duration::from_millis(200))
///     .build()?;
/// # drop(names);
/// # Ok::<(), tenfold::cache::write_through::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct WriteThroughBuilder<K, V, E> {
    layer: Arc<dyn Layer<K, V>>,
    writer: Box<dyn ErasedWriter<K, V, E>>,
    timeout: Option<Duration>,
    timer: Option<Timer>,
    clock: Option<Clock>,
}

impl<K, V, E> WriteThroughBuilder<K, V, E>
where
    K: Sync,
    V: Sync,
{
    pub(super) fn new(
        layer: impl Layer<K, V> + 'static,
        writer: impl Writer<K, V, Error = E>,
    ) -> Self {
        Self {
            layer: Arc::new(layer),
            writer: Box::new(Erased(writer, |error| error)),
            timeout: None,
            timer: None,
            clock: None,
        }
    }

    /// How long the store may take to confirm a write. Then the write is given
    /// up: its future is dropped, the entry goes, and the caller gets
    /// [`WriteError::TimedOut`](super::WriteError::TimedOut).
    ///
    /// It ends the waiting for futures. A writer that blocks its thread is not
    /// interrupted.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What ends the waiting; only with a [`timeout`](Self::timeout). Unset, the
    /// [`clock`](Self::clock) itself if it is turned by hand, and a
    /// [`Timer::thread`] of the write-through's own otherwise, whose thread
    /// starts with the first write that has to wait.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// The clock by which the [`timeout`](Self::timeout) is told: of use in
    /// tests, with one that is turned by hand.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the write-through.
    ///
    /// # Errors
    /// [`BuildError`] if the knobs do not fit together.
    pub fn build(self) -> Result<WriteThrough<K, V, E>, BuildError> {
        let limit = match self.timeout {
            Some(Duration::ZERO) => return Err(BuildError::ZeroTimeout),
            None if self.timer.is_some() => {
                return Err(BuildError::NothingToTime { knob: "timer" });
            }
            None if self.clock.is_some() => {
                return Err(BuildError::NothingToTime { knob: "clock" });
            }
            timeout => timeout.map(|timeout| (timeout, timer(self.timer, self.clock.as_ref()))),
        };
        Ok(WriteThrough::from_parts(self.layer, self.writer, limit))
    }
}

fn timer(timer: Option<Timer>, clock: Option<&Clock>) -> Timer {
    timer.unwrap_or_else(|| match clock.and_then(Clock::as_manual) {
        Some(manual) => manual.timer(),
        None => Timer::thread(),
    })
}

impl<K, V, E> fmt::Debug for WriteThroughBuilder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteThroughBuilder")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
