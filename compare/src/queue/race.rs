//! Rounds in which all contenders take their turn, so that a slow minute of the machine
//! hits every one of them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::payload::{Ledger, batches};
use super::subject::{Answer, Consumer, Contender, Level, Subject, nap};
use crate::report::median;

/// How long and how often.
#[derive(Clone, Copy)]
pub(super) struct Effort<'a> {
    /// Where each contender gets a directory.
    pub(super) directory: &'a Path,
    pub(super) rounds: usize,
    /// What a round of one contender should take.
    pub(super) slice: Duration,
}

/// The work of a round.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) size: usize,
    /// Messages of one call.
    pub(super) batch: usize,
    pub(super) producers: usize,
}

/// Somebody's figures, the median of all rounds each, or why there are none.
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) values: Answer<Vec<f64>>,
    /// Whether it was too slow for more than one round.
    pub(super) is_slow: bool,
}

/// What a round measured, for messages with these numbers.
pub(super) trait Round: Fn(&dyn Subject, Shape, Range<u64>) -> Answer<Vec<f64>> {}

impl<F: Fn(&dyn Subject, Shape, Range<u64>) -> Answer<Vec<f64>>> Round for F {}

struct Lane {
    contender: Contender,
    /// Dropped, and its directory removed, as soon as it fails.
    subject: Answer<Box<dyn Subject>>,
    directory: PathBuf,
    /// Messages of a round.
    count: u64,
    next: u64,
    rounds: Vec<Vec<f64>>,
    is_slow: bool,
}

/// Bytes of a round, at most: what is published waits in memory for its turn.
const MOST: u64 = 24 << 20;
/// A contender that does not get on for so long is out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who finds nothing looks again after this.
const NAP: Duration = Duration::from_micros(50);

/// Races the contenders; a round says what it measured for so many messages.
pub(super) fn race(
    effort: Effort<'_>,
    contenders: &[Contender],
    level: Level,
    shape: Shape,
    round: impl Round,
) -> Vec<Figures> {
    let mut lanes: Vec<_> = contenders
        .iter()
        .map(|contender| Lane::new(effort.directory, *contender, level, shape))
        .collect();
    for lane in &mut lanes {
        lane.warm_up(effort.slice, shape, &round);
    }
    for _ in 0..effort.rounds {
        for lane in lanes.iter_mut().filter(|lane| !lane.is_slow) {
            if let Some(figures) = lane.run(lane.count, shape, &round) {
                lane.rounds.push(figures);
            }
        }
    }
    lanes.into_iter().map(Lane::finish).collect()
}

impl Lane {
    fn new(parent: &Path, contender: Contender, level: Level, shape: Shape) -> Self {
        let name = contender.name.replace(' ', "-");
        let directory = parent.join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        Self {
            contender,
            subject: (contender.open)(&directory, level),
            directory,
            count: (shape.batch * shape.producers) as u64,
            next: 0,
            rounds: Vec::new(),
            is_slow: false,
        }
    }

    /// Finds out how many messages a round should have. Who needs many slices for the least
    /// there can be is measured once.
    fn warm_up(&mut self, slice: Duration, shape: Shape, round: &impl Round) {
        let unit = self.count;
        let most = (MOST / shape.size as u64 / unit).max(1) * unit;
        let mut is_first = true;
        loop {
            let start = Instant::now();
            let Some(figures) = self.run(self.count, shape, round) else {
                return;
            };
            let factor = slice.as_secs_f64() / start.elapsed().as_secs_f64();
            if self.count == unit && factor < 0.1 {
                self.rounds.push(figures);
                self.is_slow = true;
                return;
            }
            if !is_first && (factor < 4.0 || self.count >= most) {
                let count = (self.count as f64 * factor) as u64;
                self.count = (count.clamp(unit, most) / unit).max(1) * unit;
                return;
            }
            if !is_first {
                self.count = (self.count * 4).min(most);
            }
            is_first = false;
        }
    }

    fn run(&mut self, count: u64, shape: Shape, round: &impl Round) -> Option<Vec<f64>> {
        let subject = self.subject.as_ref().ok()?;
        let numbers = self.next..self.next + count;
        self.next += count;
        match round(&**subject, shape, numbers) {
            Ok(figures) => Some(figures),
            Err(reason) => {
                self.subject = Err(reason);
                let _ = std::fs::remove_dir_all(&self.directory);
                None
            }
        }
    }

    fn finish(self) -> Figures {
        let values = self.subject.map(|subject| {
            drop(subject);
            let width = self.rounds.iter().map(Vec::len).min().unwrap_or(0);
            let column = |index: usize| self.rounds.iter().map(move |round| round[index]);
            (0..width)
                .map(|index| median(&mut column(index).collect::<Vec<_>>()))
                .collect()
        });
        let _ = std::fs::remove_dir_all(&self.directory);
        Figures {
            name: self.contender.name,
            values,
            is_slow: self.is_slow,
        }
    }
}

/// So that no two directories have the same name.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Publishes all, then takes all: messages a second of each, the first alone if nobody can take.
pub(super) fn publish_then_drain(
    subject: &dyn Subject,
    shape: Shape,
    numbers: Range<u64>,
    drained: usize,
) -> Answer<Vec<f64>> {
    let count = numbers.end - numbers.start;
    let mut ledger = Ledger::new(numbers.clone());
    let calls = batches(numbers, shape.size, shape.batch);
    let mut producer = subject.producer()?;
    let start = Instant::now();
    for call in calls {
        producer.publish(call)?;
    }
    let published = rate(count, start);
    let Ok(mut consumer) = subject.consumer(false) else {
        return Ok(vec![published]);
    };
    let start = Instant::now();
    take(&mut *consumer, drained, count, &mut ledger)?;
    let taken = rate(count, start);
    ledger.check()?;
    Ok(vec![published, taken])
}

/// Publishes a call's worth and takes it, again and again: messages a second.
pub(super) fn round_trips(
    subject: &dyn Subject,
    shape: Shape,
    numbers: Range<u64>,
    durable_acks: bool,
) -> Answer<Vec<f64>> {
    let count = numbers.end - numbers.start;
    let mut ledger = Ledger::new(numbers.clone());
    let calls = batches(numbers, shape.size, shape.batch);
    let mut consumer = subject.consumer(durable_acks)?;
    let mut producer = subject.producer()?;
    let start = Instant::now();
    let mut sent = 0;
    for call in calls {
        sent += call.len() as u64;
        producer.publish(call)?;
        take(&mut *consumer, shape.batch, sent, &mut ledger)?;
    }
    let rate = rate(count, start);
    ledger.check()?;
    Ok(vec![rate])
}

/// Takes messages until the ledger has so many.
fn take(consumer: &mut dyn Consumer, most: usize, until: u64, ledger: &mut Ledger) -> Answer<()> {
    let mut last = None;
    let mut came = 0;
    while ledger.count() + ledger.wrong() < until {
        match consumer.consume(most, false, &mut |message| ledger.see(message))? {
            0 => {
                let since = *last.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    let missing = until - ledger.count();
                    return Err(format!("{missing} messages did not come in {PATIENCE:?}"));
                }
                nap(NAP);
            }
            count => {
                last = None;
                came += count;
                // Who delivers twice is found out in the end.
                if came as u64 > 2 * until.max(1000) {
                    return Err("delivers again what was acknowledged".into());
                }
            }
        }
    }
    Ok(())
}

/// Threads that publish, and this one that takes while they do: messages a second from the
/// first publish to the last acknowledgement, and syncs per message if they are counted.
pub(super) fn many(subject: &dyn Subject, shape: Shape, numbers: Range<u64>) -> Answer<Vec<f64>> {
    let count = numbers.end - numbers.start;
    let mut ledger = Ledger::new(numbers.clone());
    let each = count / shape.producers as u64;
    let shares: Vec<_> = (0..shape.producers as u64)
        .map(|index| {
            let first = numbers.start + index * each;
            batches(first..first + each, shape.size, shape.batch)
        })
        .collect();
    // Whether anybody takes messages at all.
    let mut consumer = subject.consumer(false).ok();
    let barrier = Barrier::new(shape.producers + 1);
    let failed = AtomicBool::new(false);
    let syncs = subject.syncs();
    let publish = |calls: Vec<Vec<Vec<u8>>>| {
        let producer = subject.producer();
        barrier.wait();
        let published = producer.and_then(|mut producer| {
            calls
                .into_iter()
                .try_for_each(|call| producer.publish(call))
        });
        if published.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        published
    };
    let taken = thread::scope(|scope| {
        let publish = &publish;
        let producers: Vec<_> = shares
            .into_iter()
            .map(|calls| scope.spawn(move || publish(calls)))
            .collect();
        barrier.wait();
        let start = Instant::now();
        let taken = match &mut consumer {
            Some(consumer) => take_until(&mut **consumer, count, &failed, &mut ledger),
            None => Ok(()),
        };
        for producer in producers {
            producer.join().map_err(|_| "a producer panicked")??;
        }
        taken.map(|()| rate(count, start))
    })?;
    let mut figures = vec![taken];
    if let (Some(before), Some(after)) = (syncs, subject.syncs()) {
        figures.push((after - before) as f64 / count as f64);
    }
    if consumer.is_some() {
        ledger.check()?;
    }
    Ok(figures)
}

/// The same as [`take`], while others publish.
fn take_until(
    consumer: &mut dyn Consumer,
    count: u64,
    failed: &AtomicBool,
    ledger: &mut Ledger,
) -> Answer<()> {
    let mut last = Instant::now();
    while ledger.count() + ledger.wrong() < count {
        let came = consumer.consume(100, false, &mut |message| ledger.see(message))?;
        if came > 0 {
            last = Instant::now();
        } else if failed.load(Ordering::Relaxed) || last.elapsed() > PATIENCE {
            let missing = count - ledger.count();
            return Err(format!("{missing} messages did not come in {PATIENCE:?}"));
        } else {
            nap(NAP);
        }
    }
    Ok(())
}

fn rate(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}
