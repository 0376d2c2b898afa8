//! The second lane: from the buffer to the store, a batch at a time.

use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::{Core, State};
use super::error::{Cause, NoAnswer, Panicked, cause};
use super::intake::contain;
use super::lane::Work;
use crate::cache::writer::{Answers, Change, Failure};
use crate::time::Instant;

/// A batch as the store is shown it, and the same keys as the buffer knows them.
struct Batch<K, V> {
    shown: Vec<(K, Change<V>)>,
    keys: Vec<Arc<K>>,
}

impl<K, V> Core<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The next batch for the store; none while it is left alone after a
    /// failure, unless there is a hurry.
    pub(super) fn next_for_store(self: &Arc<Self>, hurry: bool) -> Option<Work> {
        let now = self.clock.now();
        let taken = self.with_state(|state| {
            if !hurry && now < state.gate {
                return Vec::new();
            }
            state.buffer.retry_now(now);
            state.buffer.take_off(self.settings.batch_size)
        });
        if taken.is_empty() {
            return None;
        }
        let keys = taken.iter().map(|(key, _)| Arc::clone(key)).collect();
        let shown = taken
            .into_iter()
            .map(|(key, change)| ((*key).clone(), change))
            .collect();
        let batch = Batch { shown, keys };
        let (writer, core) = (Arc::clone(&self.writer), Arc::downgrade(self));
        Some(Box::pin(async move {
            let answers = contain(writer.write_many(&batch.shown)).await;
            if let Some(core) = core.upgrade() {
                core.written(&batch, answers);
            }
        }))
    }

    /// Notes what the store said.
    fn written(&self, batch: &Batch<K, V>, answers: Result<Answers<Cause>, Panicked>) {
        let now = self.clock.now();
        let refused = self.with_state(|state| {
            state.counts.batches += 1;
            match answers {
                Ok(answers) => self.note_answers(state, batch, answers, now),
                Err(panicked) => {
                    self.note_panic(state, batch, panicked, now);
                    Vec::new()
                }
            }
        });
        for key in refused {
            self.report(&key);
        }
        self.wake_waiting();
    }

    /// Gives the keys of the records that were refused.
    fn note_answers(
        &self,
        state: &mut State<K, V>,
        batch: &Batch<K, V>,
        answers: Answers<Cause>,
        now: Instant,
    ) -> Vec<Arc<K>> {
        let (mut alive, mut failed) = (false, false);
        let mut refused = Vec::new();
        let mut answers = answers.into_iter();
        for key in &batch.keys {
            let answer = answers.next();
            let answer = answer.unwrap_or_else(|| Err(Failure::Uncertain(cause(NoAnswer))));
            let done_with = match answer {
                Ok(()) => {
                    alive = true;
                    state.counts.written += 1;
                    state.buffer.confirm(key)
                }
                Err(Failure::Rejected(cause)) => {
                    alive = true;
                    state.counts.refused += 1;
                    state.blame(Arc::clone(&cause));
                    refused.push(Arc::clone(key));
                    state.buffer.refuse(key, cause)
                }
                Err(Failure::Unavailable(cause) | Failure::Uncertain(cause)) => {
                    failed = true;
                    state.blame(cause);
                    self.postpone(state, key, now)
                }
            };
            self.release(state, done_with);
        }
        if alive {
            state.failed_rounds = 0;
            state.gate = now;
        } else if failed {
            self.leave_alone(state, now);
        }
        refused
    }

    /// One record may have been the reason for all: each is tried by itself.
    fn note_panic(
        &self,
        state: &mut State<K, V>,
        batch: &Batch<K, V>,
        panicked: Panicked,
        now: Instant,
    ) {
        state.counts.panics += 1;
        state.blame(cause(panicked));
        if let [key] = &*batch.keys {
            let done_with = self.postpone_alone(state, key, now);
            self.release(state, done_with);
            self.leave_alone(state, now);
            return;
        }
        for key in &batch.keys {
            let done_with = state.buffer.fail(key, true, |_, _| now);
            self.release(state, done_with);
        }
        state.buffer.retry_now(now);
    }

    fn postpone(&self, state: &mut State<K, V>, key: &Arc<K>, now: Instant) -> Option<u64> {
        state.counts.retries += 1;
        let backoff = self.settings.backoff;
        let due = |attempts, number| now + backoff.pause(attempts, number);
        state.buffer.fail(key, false, due)
    }

    fn postpone_alone(&self, state: &mut State<K, V>, key: &Arc<K>, now: Instant) -> Option<u64> {
        state.counts.retries += 1;
        let backoff = self.settings.backoff;
        let due = |attempts, number| now + backoff.pause(attempts, number);
        state.buffer.fail(key, true, due)
    }

    fn leave_alone(&self, state: &mut State<K, V>, now: Instant) {
        state.failed_rounds = state.failed_rounds.saturating_add(1);
        let pause = self.settings.backoff.pause(state.failed_rounds, 0);
        state.gate = now + pause;
    }

    /// The journal may let go of a record.
    pub(super) fn release(&self, state: &mut State<K, V>, done_with: Option<u64>) {
        if self.journal.is_some() {
            state.acks.extend(done_with);
        }
    }

    /// Tells of a refused record. The store does not have what the cache shows,
    /// so that goes.
    fn report(&self, key: &Arc<K>) {
        let Some((sequence, change, cause)) =
            self.with_state(|state| state.buffer.refused_record(key))
        else {
            return;
        };
        self.drop_entry(key);
        let Some(handler) = &self.handler else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| handler(key, &change, &*cause)));
        self.with_state(|state| match told {
            // Now it is the handler's.
            Ok(()) => {
                let done_with = state.buffer.forget(key, sequence);
                self.release(state, done_with);
            }
            Err(_) => state.counts.panics += 1,
        });
    }
}
