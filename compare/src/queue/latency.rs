//! From the publisher's call to the consumer who waits for it, at a pace that leaves everyone
//! time.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::contenders;
use super::floors::{self, FLOOR};
use super::payload::{Ledger, batches, number};
use super::race::{Effort, Figures, Shape, race};
use super::rivals::YAQUE;
use super::subject::{Answer, Consumer, Contender, Level, Producer, Subject, nap, reason};
use super::tables::{Goal, row};
use crate::report::{Better, Progress, Row};

pub(super) const CELLS: usize = 2;

/// 500 messages a second.
const PACE: Duration = Duration::from_millis(2);

pub(super) fn measure(effort: Effort<'_>, progress: &mut Progress, rows: &mut Vec<Row>) {
    for level in [Level::Power, Level::Kill] {
        let shape = Shape {
            size: 100,
            batch: 1,
            producers: 1,
        };
        let (floor, goals, workload) = match level {
            Level::Power => (
                floors::CONTENDER,
                [Goal::Of(1.3, FLOOR), Goal::None],
                "synced, 500 messages/s",
            ),
            _ => (
                CHANNEL,
                [Goal::Of(1.0, YAQUE), Goal::Of(1.0, YAQUE)],
                "survives a kill, 500 messages/s",
            ),
        };
        let mut all = vec![floor];
        all.extend(contenders());
        let figures = race(effort, &all, level, shape, paced);
        rows.extend(
            [
                ("latency, median", goals[0]),
                ("latency, 99 of 100", goals[1]),
            ]
            .into_iter()
            .enumerate()
            .map(|(column, (metric, goal))| latency(workload, metric, &figures, column, goal)),
        );
        progress.step(&format!("latency, {workload}"));
    }
}

fn latency(
    workload: &str,
    metric: &'static str,
    figures: &[Figures],
    column: usize,
    goal: Goal,
) -> Row {
    Row {
        better: Better::Lower,
        ..row(workload, metric, "µs", figures, column, goal)
    }
}

/// Microseconds: the median, and what 99 of 100 messages did not exceed.
fn paced(subject: &dyn Subject, shape: Shape, numbers: Range<u64>) -> Answer<Vec<f64>> {
    let first = numbers.start;
    let count = (numbers.end - first) as usize;
    let calls = batches(numbers.clone(), shape.size, 1);
    let sent: Vec<_> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let base = Instant::now();
    let now = || base.elapsed().as_nanos() as u64;
    let mut producer = subject.producer()?;
    let publish_all = || -> Answer<Vec<f64>> {
        let start = Instant::now();
        let mut took = Vec::with_capacity(count);
        for (index, call) in calls.into_iter().enumerate() {
            let due = start + PACE * index as u32;
            nap(due.saturating_duration_since(Instant::now()));
            let before = now();
            sent[index].store(before, Ordering::Relaxed);
            producer.publish(call)?;
            took.push((now() - before) as f64 / 1e3);
        }
        Ok(took)
    };
    if subject.is_floor() {
        // The publish itself, without anybody to be woken.
        return publish_all().map(quantiles);
    }
    let (ready, is_ready) = mpsc::channel();
    let consume_all = || -> Answer<Vec<f64>> {
        let consumer = subject.consumer(false);
        let waits = consumer.as_ref().is_ok_and(|consumer| consumer.waits());
        let _ = ready.send(waits);
        let mut consumer = consumer?;
        if !waits {
            return Err("has no call that waits for a message".into());
        }
        let mut ledger = Ledger::new(numbers.clone());
        let mut took = Vec::with_capacity(count);
        while ledger.count() + ledger.wrong() < count as u64 {
            consumer.consume(1, true, &mut |message| {
                let came = now();
                ledger.see(message);
                if let Some(number) = number(message) {
                    let index = number.wrapping_sub(first) as usize;
                    let sent = sent
                        .get(index)
                        .map_or(0, |sent| sent.load(Ordering::Relaxed));
                    took.push(came.saturating_sub(sent) as f64 / 1e3);
                }
            })?;
        }
        ledger.check().map(|()| took)
    };
    thread::scope(|scope| {
        let consumer = scope.spawn(consume_all);
        if is_ready.recv() == Ok(true)
            && let Err(reason) = publish_all()
        {
            // The consumer would wait for ever.
            eprintln!("compare: a message could not be published: {reason}");
            std::process::exit(1);
        }
        let took = consumer.join().map_err(|_| "a consumer panicked")?;
        took.map(quantiles)
    })
}

fn quantiles(mut micros: Vec<f64>) -> Vec<f64> {
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros.get(((micros.len() - 1) as f64 * share).round() as usize);
    let quantile = |share| at(share).copied().unwrap_or(f64::NAN);
    vec![quantile(0.5), quantile(0.99)]
}

/// The floor of a queue that writes without a sync: a thread that wakes another.
const CHANNEL: Contender = Contender {
    name: FLOOR,
    open: |_: &Path, _| {
        let (sender, receiver) = mpsc::channel();
        Ok(Box::new(Channel {
            sender,
            receiver: Mutex::new(receiver),
        }))
    },
    note: "",
    is_server: false,
};

struct Channel {
    sender: Sender<Vec<u8>>,
    receiver: Mutex<Receiver<Vec<u8>>>,
}

impl Subject for Channel {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self.sender.clone()))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn Consumer + '_>> {
        Ok(Box::new(self.receiver.lock()))
    }
}

impl Producer for Sender<Vec<u8>> {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut messages = messages.into_iter();
        messages.try_for_each(|message| self.send(message).map_err(reason))
    }
}

impl Consumer for MutexGuard<'_, Receiver<Vec<u8>>> {
    fn consume(&mut self, _: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let message = self.recv().map_err(reason)?;
        see(&message);
        Ok(1)
    }

    fn waits(&self) -> bool {
        true
    }
}
