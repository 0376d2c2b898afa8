//! The steps of the measurement, each for a process of its own: what one allocates and
//! frees would be taken for the next one's.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tenfold::queue::{Durability, Message, Queue, QueueBuilder, Start};
use tenfold::rng::Rng;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PAYLOAD: usize = 100;
const BATCH: u64 = 1000;
const PROBES: u64 = 200;

/// What publishing cost.
pub(crate) struct Filled {
    pub(crate) messages: u64,
    pub(crate) took: Duration,
    /// Bytes of anonymous memory beyond those of the empty process, at the most.
    pub(crate) memory: u64,
    /// The slowest batch: a checkpoint is written in one now and then.
    pub(crate) slowest: Duration,
    pub(crate) checkpoint: Duration,
}

/// What the next process found.
pub(crate) struct Reopened {
    /// Until the queue was open, and until the first message was there.
    pub(crate) opened: Duration,
    pub(crate) first: Duration,
    pub(crate) memory: u64,
    pub(crate) pending: u64,
    /// Records that were read behind the checkpoint.
    pub(crate) replayed: u64,
    /// Taking a message at a random place, and acknowledging it: medians.
    pub(crate) take: Duration,
    pub(crate) ack: Duration,
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages: published in {:.1?} ({:.0}/s), {:.1} MB of memory; slowest batch {:.1?}, \
             a checkpoint {:.1?}",
            self.messages,
            self.took,
            self.messages as f64 / self.took.as_secs_f64(),
            self.memory as f64 / 1e6,
            self.slowest,
            self.checkpoint,
        )
    }
}

impl fmt::Display for Reopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  killed, opened in {:.1?} ({} records read), first message after {:.1?}, {} pending, \
             {:.1} MB of memory; a random one taken in {:.1?}, acknowledged in {:.1?}",
            self.opened,
            self.replayed,
            self.first,
            self.pending,
            self.memory as f64 / 1e6,
            self.take,
            self.ack,
        )
    }
}

fn builder() -> QueueBuilder {
    Queue::builder().durability(Durability::Process)
}

/// Publishes so many messages of 100 bytes, and leaves them pending.
pub(crate) fn fill(directory: &Path, messages: u64) -> Result<Filled> {
    let before = anonymous_memory()?;
    let queue = builder().open(directory)?;
    let (mut most, mut slowest) = (0, Duration::ZERO);
    let started = Instant::now();
    let mut published = 0;
    while published < messages {
        let batch = BATCH.min(messages - published);
        let batch: Vec<Message> = (published..published + batch).map(message).collect();
        let began = Instant::now();
        queue.publish_batch(&batch)?;
        slowest = slowest.max(began.elapsed());
        published += batch.len() as u64;
        if published.is_multiple_of(100 * BATCH) {
            most = most.max(anonymous_memory()?);
        }
    }
    let took = started.elapsed();
    most = most.max(anonymous_memory()?);
    let began = Instant::now();
    queue.checkpoint()?;
    let checkpoint = began.elapsed();
    // Some more, so that the next process finds a log behind its checkpoint.
    for place in 0..messages / 100 {
        queue.publish_batch(&[message(messages + place)])?;
    }
    // It is killed: nothing may be left to a destructor.
    std::mem::forget(queue);
    Ok(Filled {
        messages,
        took,
        memory: most.saturating_sub(before),
        slowest,
        checkpoint,
    })
}

/// Opens what another process left behind when it was killed.
pub(crate) fn reopen(directory: &Path) -> Result<Reopened> {
    let before = anonymous_memory()?;
    let started = Instant::now();
    let queue = builder().open(directory)?;
    let opened = started.elapsed();
    let first = queue.consumer().recv()?;
    let first_at = started.elapsed();
    assert_eq!(first[..8], (first.id() - 1).to_le_bytes());
    first.ack()?;
    let pending = queue.stats().pending;
    let replayed = queue.recovery().records;

    // Random ones of all: a group that begins there.
    let mut rng = Rng::with_seed(1);
    let (mut takes, mut acks) = (Vec::new(), Vec::new());
    for _ in 0..PROBES {
        let id = 10 + rng.below(pending - 10);
        let consumer = queue.replay("probe", Start::At(id))?;
        let began = Instant::now();
        let delivery = consumer.recv()?;
        takes.push(began.elapsed());
        assert_eq!(delivery.id(), id);
        assert_eq!(delivery[..8], (id - 1).to_le_bytes());
        let began = Instant::now();
        delivery.ack()?;
        acks.push(began.elapsed());
    }
    let memory = anonymous_memory()?.saturating_sub(before);
    queue.remove_group("probe")?;
    Ok(Reopened {
        opened,
        first: first_at,
        memory,
        pending,
        replayed,
        take: median(takes),
        ack: median(acks),
    })
}

fn message(number: u64) -> Message {
    let mut bytes = vec![b'.'; PAYLOAD];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Message::new(bytes)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What this process has that no file backs: the pages of the page cache are the
/// kernel's to take, these are not.
fn anonymous_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(1024
        * kilobytes
            .ok_or("the kernel does not say RssAnon")?
            .parse::<u64>()?)
}
