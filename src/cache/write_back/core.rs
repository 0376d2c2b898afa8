//! What all handles of a write-back share, and its two lanes.
//!
//! ```text
//! put     make room -> number the change -> intake
//! lane 1  intake -> journal -> buffer -> cache -> Ok        in the order of the numbers
//! lane 2  buffer, oldest first -> store -> acks             one batch at a time
//! lane 1  acks -> journal                                   in the order they came up
//! ```
//!
//! One lock, `state`, protects the buffer and what stands before and behind it.
//! It is never held while user code runs (store, journal, cache, handler, drops
//! of keys and values; `Hash`, `Eq` and `Clone` excepted).

use std::any::Any;
use std::collections::VecDeque;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::WriteBackStats;
use super::buffer::Buffer;
use super::error::{Cause, Reason};
use super::flusher::Signal;
use super::journal::{ErasedJournal, Record};
use super::lane::Lane;
use super::when_full::WhenFull;
use crate::cache::Layer;
use crate::cache::writer::{Change, ErasedWriter};
use crate::rng;
use crate::sync::Mutex;
use crate::time::{Clock, Instant, Jitter, Timer};

/// Is told of refused records.
pub(super) type Handler<K, V> =
    Box<dyn Fn(&K, &Change<V>, &(dyn std::error::Error + Send + Sync)) + Send + Sync>;

pub(super) struct Core<K, V> {
    pub(super) layer: Arc<dyn Layer<K, V>>,
    pub(super) writer: Arc<dyn ErasedWriter<K, V, Cause>>,
    pub(super) journal: Option<Arc<dyn ErasedJournal<K, V>>>,
    pub(super) handler: Option<Handler<K, V>>,
    pub(super) clock: Clock,
    pub(super) timer: Timer,
    pub(super) settings: Settings,
    pub(super) state: Mutex<State<K, V>>,
    pub(super) journal_lane: Lane,
    pub(super) store_lane: Lane,
    pub(super) signal: Arc<Signal>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_dirty: usize,
    pub(super) batch_size: usize,
    pub(super) when_full: WhenFull,
    pub(super) backoff: Backoff,
}

/// Pauses that double, each up to a tenth shorter, so that many processes do
/// not come back to a store together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) seed: u64,
}

impl Backoff {
    /// The pause after so many failures of whatever has this number.
    pub(super) fn pause(&self, failures: u32, number: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        let chance = rng::mix(self.seed ^ rng::mix(number) ^ u64::from(failures));
        Jitter::fraction(0.1).shorten().apply(pause, chance)
    }
}

pub(super) struct State<K, V> {
    pub(super) buffer: Buffer<K, V>,
    /// Changes on their way to the journal, by number.
    pub(super) intake: VecDeque<Arriving<K, V>>,
    /// How many there are, those included that the journal is busy with.
    pub(super) arriving: usize,
    /// Numbers that the journal may let go of, in the order in which it must.
    pub(super) acks: VecDeque<u64>,
    pub(super) next_sequence: u64,
    pub(super) closed: bool,
    /// How often in succession the store failed altogether, and until when it is
    /// left alone.
    pub(super) failed_rounds: u32,
    pub(super) gate: Instant,
    /// The same for acks.
    pub(super) failed_acks: u32,
    pub(super) ack_gate: Instant,
    pub(super) last_cause: Option<Cause>,
    pub(super) counts: WriteBackStats,
    /// Causes to be dropped outside of the lock.
    pub(super) old_causes: Vec<Cause>,
}

/// A change on its way to the journal.
pub(super) struct Arriving<K, V> {
    pub(super) record: Record<K, V>,
    pub(super) key: Arc<K>,
    pub(super) receipt: Arc<Receipt<K, V>>,
}

/// Where the caller finds out what became of its change.
pub(super) struct Receipt<K, V>(Mutex<Option<Receival<K, V>>>);

pub(super) enum Receival<K, V> {
    Accepted,
    Failed(Record<K, V>, Cause),
    /// It was accepted, and then the cache's listener panicked.
    Panicked(Box<dyn Any + Send>),
}

impl<K, V> Receipt<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn take(&self) -> Option<Receival<K, V>> {
        self.0.lock().take()
    }

    pub(super) fn give(&self, receival: Receival<K, V>) {
        let old = self.0.lock().replace(receival);
        drop(old);
    }
}

impl<K, V> State<K, V>
where
    K: Hash + Eq,
{
    pub(super) fn new() -> Self {
        Self {
            buffer: Buffer::new(),
            intake: VecDeque::new(),
            arriving: 0,
            acks: VecDeque::new(),
            next_sequence: 1,
            closed: false,
            failed_rounds: 0,
            gate: Instant::from_nanos(0),
            failed_acks: 0,
            ack_gate: Instant::from_nanos(0),
            last_cause: None,
            counts: WriteBackStats::default(),
            old_causes: Vec::new(),
        }
    }

    pub(super) fn blame(&mut self, cause: Cause) {
        self.old_causes.extend(self.last_cause.replace(cause));
    }
}

impl<K: Hash + Eq, V> Core<K, V> {
    /// Works on the state under its lock, and drops what left it after.
    pub(super) fn with_state<R>(&self, work: impl FnOnce(&mut State<K, V>) -> R) -> R {
        let mut state = self.state.lock();
        let result = work(&mut state);
        let gone = state.buffer.take_gone();
        let causes = std::mem::take(&mut state.old_causes);
        drop(state);
        drop((gone, causes));
        result
    }

    /// Numbers the change and lets it in, if there is room; it stays where it is
    /// otherwise.
    pub(super) fn try_admit(
        &self,
        key: &Arc<K>,
        entry: &mut Option<(K, Change<V>)>,
        receipt: &Arc<Receipt<K, V>>,
    ) -> Result<u64, Reason> {
        self.with_state(|state| {
            if state.closed {
                return Err(Reason::Closed);
            }
            let most = self.settings.max_dirty;
            let has_place = state.buffer.len() < most || state.buffer.knows(key);
            let acks_bound = most.saturating_mul(2).max(self.settings.batch_size);
            if !has_place || state.arriving >= most || state.acks.len() >= acks_bound {
                let dirty = state.buffer.len();
                return Err(Reason::Full { dirty });
            }
            let Some((own, change)) = entry.take() else {
                return Err(Reason::Closed);
            };
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            state.arriving += 1;
            state.buffer.expect(Arc::clone(key));
            state.intake.push_back(Arriving {
                record: Record {
                    sequence,
                    key: own,
                    change,
                },
                key: Arc::clone(key),
                receipt: Arc::clone(receipt),
            });
            Ok(sequence)
        })
    }

    /// Takes a change back that the journal has not been given yet.
    pub(super) fn withdraw(&self, sequence: u64) {
        let withdrawn = self.with_state(|state| {
            let is_it = |arriving: &Arriving<K, V>| arriving.record.sequence.cmp(&sequence);
            let index = state.intake.binary_search_by(is_it).ok()?;
            let withdrawn = state.intake.remove(index)?;
            state.arriving -= 1;
            state.buffer.expect_no_more(&withdrawn.key);
            Some(withdrawn)
        });
        if withdrawn.is_some() {
            self.wake_waiting();
        }
    }

    /// Tells those who wait for room to look again.
    pub(super) fn wake_waiting(&self) {
        self.store_lane.wake_all();
        self.journal_lane.wake_all();
    }

    /// Until when a lane that stands still has nothing to do; `NEVER` if there is
    /// nothing to be done at all.
    pub(super) fn next_due(&self) -> Instant {
        self.with_state(|state| {
            let store = state.buffer.next_due().map(|due| due.max(state.gate));
            let has_batch = state.acks.len() >= self.settings.batch_size;
            let acks = has_batch.then_some(state.ack_gate);
            let due = store.into_iter().chain(acks).min();
            due.unwrap_or(Instant::NEVER)
        })
    }

    pub(super) fn get(&self, key: &K) -> Option<Change<V>>
    where
        V: Clone,
    {
        self.state.lock().buffer.get(key).cloned()
    }

    pub(super) fn stats(&self) -> WriteBackStats {
        let now = self.clock.now();
        let state = self.state.lock();
        WriteBackStats {
            dirty: state.buffer.dirty(),
            aside: state.buffer.aside(),
            unacked: state.acks.len(),
            oldest: state
                .buffer
                .oldest()
                .map(|since| now.saturating_since(since)),
            ..state.counts
        }
    }

    /// Brings the cache in step with an accepted change. What a listener of the
    /// cache panics with is given back.
    pub(super) fn keep_in_step(&self, key: K, change: Change<V>) -> Result<(), Box<dyn Any + Send>>
    where
        K: Clone,
    {
        let again = key.clone();
        let done = catch_unwind(AssertUnwindSafe(|| match change {
            Change::Put(value) => self.layer.insert(key, value),
            Change::Delete => self.layer.invalidate(&key),
        }));
        if done.is_err() {
            self.drop_entry(&again);
        }
        done
    }

    /// Lets the cache forget a key; a listener's panic is counted.
    pub(super) fn drop_entry(&self, key: &K) {
        let dropped = catch_unwind(AssertUnwindSafe(|| self.layer.invalidate(key)));
        if dropped.is_err() {
            self.with_state(|state| state.counts.panics += 1);
        }
    }
}

impl<K, V> Drop for Core<K, V> {
    fn drop(&mut self) {
        self.signal.close();
    }
}
