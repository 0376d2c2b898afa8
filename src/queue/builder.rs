use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::backoff::Backoff;
use super::bell::Bell;
use super::book::Book;
use super::core::{Core, Settings};
use super::counts::Counts;
use super::durability::Durability;
use super::error::OpenError;
use super::log::{Log, Options, Wall, millis};
use super::queue::Queue;
use super::retention::Retention;
use super::storage::{Disk, RealDisk};
use super::syncer::Syncer;
use crate::sync::Mutex;
use crate::task::Executor;
use crate::time::{Clock, Timer};

/// Says how a [`Queue`] shall be, and opens it.
///
/// ```
/// use std::time::Duration;
/// use tenfold::queue::{Backoff, Queue};
///
/// # let path = std::env::temp_dir().join(format!("tenfold-builder-{}", std::process::id()));
/// let queue = Queue::builder()
///     .visibility(Duration::from_secs(30))
///     .retry(Backoff::exponential(Duration::from_secs(1), Duration::from_secs(600)))
///     .max_deliver(12)
///     .dedup_window(Duration::from_secs(600))
///     .open(&path)?;
/// queue.publish("a message")?;
/// # drop(queue);
/// # std::fs::remove_dir_all(path).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it opens a queue"]
pub struct QueueBuilder {
    durability: Durability,
    visibility: Duration,
    retry: Backoff,
    max_deliver: u32,
    max_in_flight: usize,
    max_pending: u64,
    max_bytes: u64,
    dedup_window: Duration,
    smallest_segment: u64,
    largest_segment: u64,
    checkpoint_every: Option<u64>,
    retention: Retention,
    tail: usize,
    clock: Clock,
    timer: Option<Timer>,
    executor: Option<Executor>,
    seed: Option<u64>,
}

impl QueueBuilder {
    pub(super) fn new() -> Self {
        Self {
            durability: Durability::Power,
            visibility: Duration::from_secs(30),
            retry: Backoff::exponential(Duration::from_secs(1), Duration::from_secs(600)),
            max_deliver: 16,
            max_in_flight: 10_000,
            max_pending: u64::MAX,
            max_bytes: u64::MAX,
            dedup_window: Duration::ZERO,
            smallest_segment: 1 << 20,
            largest_segment: 64 << 20,
            checkpoint_every: None,
            retention: Retention::Acked,
            tail: 4 << 20,
            clock: Clock::default(),
            timer: None,
            executor: None,
            seed: None,
        }
    }

    /// What a publish that returned promises, if a call does not [ask for
    /// another](Queue::with_durability): [`Durability::Power`], if nothing is said.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a message is lent before somebody else gets it: 30 s.
    pub fn visibility(mut self, lease: Duration) -> Self {
        self.visibility = lease;
        self
    }

    /// How long a message waits that was given back: from 1 s, doubling, to 10 min.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.retry = backoff;
        self
    }

    /// How often a message is handed out before it is [dead](Queue::dead_letters): 16.
    pub fn max_deliver(mut self, times: u32) -> Self {
        self.max_deliver = times;
        self
    }

    /// How many messages of a group are lent at once, at most: 10,000.
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.max_in_flight = messages;
        self
    }

    /// How many messages there may be that are not done. Publishers wait, or are turned
    /// away, once there are.
    pub fn max_pending(mut self, messages: u64) -> Self {
        self.max_pending = messages;
        self
    }

    /// How many bytes all segments may have, done messages included. The last one may
    /// go beyond it.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long a [dedup id](super::Message::dedup_id) is remembered, restarts included.
    /// Without a window none is.
    pub fn dedup_window(mut self, window: Duration) -> Self {
        self.dedup_window = window;
        self
    }

    /// The sizes of the first segment, 1 MiB, and of the largest, 64 MiB; each is twice
    /// the one before. A message has to fit into half of the largest.
    pub fn segments(mut self, smallest: u64, largest: u64) -> Self {
        (self.smallest_segment, self.largest_segment) = (smallest, largest);
        self
    }

    /// Writes a checkpoint after so many bytes of log: as large as the largest segment,
    /// if nothing is said. It bounds what an opening has to read.
    pub fn checkpoint_every(mut self, bytes: u64) -> Self {
        self.checkpoint_every = Some(bytes);
        self
    }

    /// What is kept of messages that are done, for groups that begin later and for
    /// [replays](Queue::replay). [`Retention::Acked`], nothing, if nothing is said.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Bytes of the newest messages that are kept in memory, for consumers that keep
    /// up: 4 MiB.
    pub fn tail(mut self, bytes: usize) -> Self {
        self.tail = bytes;
        self
    }

    /// The clock that leases and delays go by.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What wakes consumers that are tasks. A thread of its own, if nothing is said.
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Where to write and sync for callers that are tasks, and at
    /// [intervals](Durability::Interval). Without one tasks do it themselves, while they
    /// are polled.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// What salts are drawn by; another in each process, if nothing is said.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the queue in this directory, which is created if there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Queue, OpenError> {
        self.validate()?;
        self.open_on(RealDisk::new(directory)?)
    }

    /// Opens the queue on this disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on<D: Disk>(self, disk: D) -> Result<Queue<D>, OpenError> {
        self.validate()?;
        let wall = Wall::new(self.clock.clone());
        let seed = self.seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(wall.now())
        });
        let options = Options {
            smallest_segment: self.smallest_segment,
            largest_segment: self.largest_segment.max(self.smallest_segment),
            undurable: 4 << 20,
            tail: self.tail,
            seed,
            only_reads: false,
        };
        let bell = Arc::new(Bell::default());
        let mut book = Book::new(millis(self.dedup_window));
        let opened = Log::open(disk, &options, wall, Arc::clone(&bell), &mut book)?;
        let (log, recovery, wall) = opened;
        let next_id = log.next_id();
        let lost = book.forget_all_but(&log.extents(), &log.moved(), next_id);
        let lost = recovery
            .lost()
            .fold(lost, |sum, ids| sum.saturating_add(ids.end - ids.start));
        // After a clean end nothing is read behind the last checkpoint.
        let was_clean = recovery.records == 0;
        let timer = self.timer.unwrap_or_else(|| match self.clock.as_manual() {
            Some(manual) => manual.timer(),
            None => Timer::thread(),
        });
        let syncing = log.syncing();
        let core = Core {
            log,
            syncer: Syncer::new(syncing, self.executor.clone(), self.clock),
            bell,
            wall,
            timer,
            executor: self.executor,
            settings: Settings {
                durability: self.durability,
                delivered: self.durability.delivered(),
                visibility: self.visibility,
                retry: self.retry,
                max_deliver: self.max_deliver,
                max_in_flight: self.max_in_flight,
                max_pending: self.max_pending,
                max_bytes: self.max_bytes,
                dedup: !self.dedup_window.is_zero(),
                checkpoint_every: self.checkpoint_every.unwrap_or(self.largest_segment),
                retention: self.retention,
            },
            counts: Counts {
                lost: AtomicU64::new(lost),
                ..Counts::default()
            },
            closed: AtomicBool::new(false),
            cautious: AtomicU64::new(if was_clean { 0 } else { next_id }),
            finished: AtomicU64::new(0),
            since: AtomicU64::new(0),
            maintaining: Mutex::default(),
            unwritten: AtomicU64::new(0),
            book: Mutex::new(book),
        };
        core.count_finished(&mut core.book.lock());
        if !recovery.is_clean() {
            // What was found to be missing needs not be looked for again.
            core.maintain();
        }
        Ok(Queue::new(Arc::new(core), recovery))
    }

    fn validate(&self) -> Result<(), OpenError> {
        let wrong = |setting, expected, found: String| {
            Err(OpenError::Setting {
                setting,
                expected,
                found,
            })
        };
        if self.smallest_segment < 16 << 10 || self.largest_segment > 1 << 34 {
            let found = format!("{} to {}", self.smallest_segment, self.largest_segment);
            return wrong("segments", "16 KiB to 16 GiB", found);
        }
        if self.max_deliver == 0 {
            return wrong("max_deliver", "at least 1", "0".to_owned());
        }
        if self.max_in_flight == 0 {
            return wrong("max_in_flight", "at least 1", "0".to_owned());
        }
        if self.visibility.is_zero() {
            return wrong("visibility", "longer than nothing", "0 s".to_owned());
        }
        if !self.retry.is_valid() {
            return wrong("retry", "a jitter of 0.0 to 1.0", "another".to_owned());
        }
        Ok(())
    }
}
