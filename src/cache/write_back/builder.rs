use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use super::core::{Backoff, Core, Handler, Settings, State};
use super::error::{Cause, cause};
use super::flusher::{self, Signal};
use super::journal::{ErasedJournal, Record};
use super::lane::Lane;
use super::when_full::WhenFull;
use super::{BuildError, Journal, Pending, WriteBack};
use crate::cache::Layer;
use crate::cache::writer::{Change, Erased, ErasedWriter, Writer};
use crate::hash::TableHasher;
use crate::sync::Mutex;
use crate::task::{Executor, Task, block_on};
use crate::time::{Clock, Timer};

/// Configures a [`WriteBack`]; made by [`WriteBack::builder`].
///
/// ```
/// use tenfold::cache::Cache;
/// use tenfold::cache::write_back::{MemoryJournal, WhenFull, WriteBack};
/// use tenfold::cache::writer::MemoryStore;
///
/// let visits = WriteBack::builder(Cache::new(1000), MemoryStore::<String, u64>::new())
///     .journal(MemoryJournal::new())
///     .max_dirty(10_000)
///     .batch_size(500)
///     .when_full(WhenFull::Refuse)
///     .build()?;
/// # drop(visits);
/// # Ok::<(), tenfold::cache::write_back::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct WriteBackBuilder<K, V> {
    layer: Arc<dyn Layer<K, V>>,
    writer: Arc<dyn ErasedWriter<K, V, Cause>>,
    journal: Option<Arc<dyn ErasedJournal<K, V>>>,
    handler: Option<Handler<K, V>>,
    pending: Option<Pending<K, V>>,
    max_dirty: usize,
    batch_size: usize,
    when_full: WhenFull,
    retry: (Duration, Duration),
    flush_every: Option<(Duration, Executor)>,
    clock: Clock,
    timer: Option<Timer>,
}

impl<K, V> WriteBackBuilder<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new<W>(layer: impl Layer<K, V> + 'static, writer: W) -> Self
    where
        W: Writer<K, V>,
        W::Error: std::error::Error,
    {
        Self {
            layer: Arc::new(layer),
            writer: Arc::new(Erased(writer, cause)),
            journal: None,
            handler: None,
            pending: None,
            max_dirty: 10_000,
            batch_size: 100,
            when_full: WhenFull::default(),
            retry: (Duration::from_millis(100), Duration::from_secs(30)),
            flush_every: None,
            clock: Clock::default(),
            timer: None,
        }
    }

    /// Keeps accepted changes in this journal until the store has them.
    ///
    /// Without one, a process that is killed takes with it what was not flushed.
    pub fn journal(mut self, journal: impl Journal<K, V>) -> Self {
        self.journal = Some(Arc::new(journal));
        self
    }

    /// The most records that may wait for the store; 10 000 by default. What
    /// happens then, [`when_full`](Self::when_full) says.
    ///
    /// A journal that is replayed may bring more; nothing is accepted until there
    /// are fewer.
    pub fn max_dirty(mut self, records: usize) -> Self {
        self.max_dirty = records;
        self
    }

    /// The most records that the store is given in one call; 100 by default.
    pub fn batch_size(mut self, records: usize) -> Self {
        self.batch_size = records;
        self
    }

    /// What a change does for which there is no room.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// The pause after a failure of the store, and the longest one: they double,
    /// each up to a tenth shorter by chance. 100 ms to 30 s by default.
    ///
    /// A record that fails waits by itself; the store as a whole is left alone
    /// after a batch of which it took nothing.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Self {
        self.retry = (first, longest);
        self
    }

    /// Flushes in the background, this long after the last time, by a task that
    /// this executor runs until the write-back is closed or its last handle is
    /// dropped. The executor must run it beside the caller: one that runs tasks
    /// on the spot would never come back.
    ///
    /// Without it nothing is written but by [`flush`](WriteBack::flush),
    /// [`close`](WriteBack::close), and changes that find the buffer full.
    pub fn flush_every(mut self, interval: Duration, executor: Executor) -> Self {
        self.flush_every = Some((interval, executor));
        self
    }

    /// Is told of every record that the store refuses for good, and from then on
    /// has the care of it: the write-back and its journal let go of it.
    ///
    /// It runs in whatever call flushes, outside of all locks. If it panics, the
    /// record stays aside, as without a handler: until
    /// [`take_refused`](WriteBack::take_refused), or a newer change of the key.
    pub fn on_refused(
        mut self,
        handler: impl Fn(&K, &Change<V>, &(dyn std::error::Error + Send + Sync)) + Send + Sync + 'static,
    ) -> Self {
        self.handler = Some(Box::new(handler));
        self
    }

    /// Shows loaders, through this, what waits for the store.
    pub fn pending(mut self, pending: &Pending<K, V>) -> Self {
        self.pending = Some(pending.clone());
        self
    }

    /// The clock that times retries and ages. The default is [`Clock::coarse`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What wakes whoever waits for a moment. Unset, the
    /// [`clock`](Self::clock) itself if it is turned by hand, and a
    /// [`Timer::thread`] of the write-back's own otherwise, whose thread starts
    /// when somebody first waits.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Reads the journal back, if there is one, and builds the write-back. What
    /// the journal brings is in the buffer and in the cache; nothing has been
    /// written to the store yet.
    ///
    /// # Errors
    /// [`BuildError`] if the knobs do not fit together, or if the journal cannot
    /// be read.
    pub fn build(self) -> Result<WriteBack<K, V>, BuildError> {
        block_on(self.build_async())
    }

    /// The twin of [`build`](Self::build) for tasks.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub async fn build_async(self) -> Result<WriteBack<K, V>, BuildError> {
        self.validate()?;
        let (first, longest) = self.retry;
        let timer = self.timer.unwrap_or_else(|| match self.clock.as_manual() {
            Some(manual) => manual.timer(),
            None => Timer::thread(),
        });
        let core = Arc::new(Core {
            layer: self.layer,
            writer: self.writer,
            journal: self.journal,
            handler: self.handler,
            clock: self.clock,
            timer: timer.clone(),
            settings: Settings {
                max_dirty: self.max_dirty,
                batch_size: self.batch_size,
                when_full: self.when_full,
                backoff: Backoff {
                    first,
                    longest,
                    seed: TableHasher::random().hash_one(0),
                },
            },
            state: Mutex::new(State::new()),
            journal_lane: Lane::new(),
            store_lane: Lane::new(),
            signal: Arc::new(Signal::new()),
        });
        if let Some(pending) = &self.pending
            && !pending.show(&core)
        {
            return Err(BuildError::PendingInUse);
        }
        core.replay().await.map_err(BuildError::Replay)?;
        if let Some((interval, executor)) = self.flush_every {
            let task = Task::new(flusher::task(&core, timer, interval));
            if executor.spawn(task).is_err() {
                return Err(BuildError::NoRoomForFlusher);
            }
        }
        Ok(WriteBack::from_core(core))
    }

    fn validate(&self) -> Result<(), BuildError> {
        for (knob, number) in [
            ("max_dirty", self.max_dirty),
            ("batch_size", self.batch_size),
        ] {
            if number == 0 {
                return Err(BuildError::Zero { knob });
            }
        }
        let (first, longest) = self.retry;
        let every = self.flush_every.as_ref().map(|(every, _)| *every);
        for (knob, duration) in [("retry", Some(first)), ("flush_every", every)] {
            if duration == Some(Duration::ZERO) {
                return Err(BuildError::ZeroDuration { knob });
            }
        }
        if longest < first {
            return Err(BuildError::Backoff { first, longest });
        }
        if self.when_full == WhenFull::Wait && self.flush_every.is_none() {
            return Err(BuildError::NobodyFlushes);
        }
        Ok(())
    }
}

impl<K, V> Core<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Takes in what the journal has, and brings the cache in step.
    async fn replay(&self) -> Result<(), Cause> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let now = self.clock.now();
        let mut show = |record: Record<K, V>| {
            let key = Arc::new(record.key);
            self.with_state(|state| {
                let sequence = record.sequence;
                state.next_sequence = state.next_sequence.max(sequence + 1);
                let [_, coalesced] =
                    state
                        .buffer
                        .accept(Arc::clone(&key), sequence, record.change, now);
                state.acks.extend(coalesced);
                state.counts.accepted += 1;
                state.counts.replayed += 1;
                state.counts.coalesced += u64::from(coalesced.is_some());
            });
        };
        journal.replay(&mut show).await?;
        for (key, change) in self.with_state(|state| state.buffer.left()) {
            if self.keep_in_step((*key).clone(), change).is_err() {
                self.with_state(|state| state.counts.panics += 1);
            }
        }
        Ok(())
    }
}

impl<K, V> fmt::Debug for WriteBackBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBackBuilder")
            .field("max_dirty", &self.max_dirty)
            .field("batch_size", &self.batch_size)
            .field("when_full", &self.when_full)
            .field("retry", &self.retry)
            .field("flush_every", &self.flush_every)
            .field("has_journal", &self.journal.is_some())
            .finish_non_exhaustive()
    }
}
