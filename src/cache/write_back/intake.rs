//! The first lane: from the callers through the journal into the buffer, and
//! acks to the journal.

use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::{Arriving, Core, Receipt, Receival};
use super::error::{Cause, Panicked, cause};
use super::journal::Record;
use super::lane::Work;
use crate::cache::writer::{BoxFuture, Change};

/// Polls a call of the user's and makes an answer of its panic.
pub(super) async fn contain<T>(mut call: BoxFuture<'_, T>) -> Result<T, Panicked> {
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => std::task::Poll::Ready(Err(Panicked::new(&*payload))),
        }
    })
    .await
}

/// A change and where its caller finds out what became of it.
type Claim<K, V> = (Arc<K>, Arc<Receipt<K, V>>);

impl<K, V> Core<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What the journal's lane has to do next. Acks wait until there is a batch
    /// of them, unless there is a hurry.
    pub(super) fn next_for_journal(self: &Arc<Self>, hurry: bool) -> Option<Work> {
        enum Next<K, V> {
            Append(Vec<Arriving<K, V>>),
            Ack(Vec<u64>),
        }
        let now = self.clock.now();
        let next = self.with_state(|state| {
            let due = state.acks.len() >= self.settings.batch_size && now >= state.ack_gate;
            if due || (hurry && state.intake.is_empty() && !state.acks.is_empty()) {
                return Some(Next::Ack(state.acks.drain(..).collect()));
            }
            let arriving = !state.intake.is_empty();
            arriving.then(|| Next::Append(state.intake.drain(..).collect()))
        })?;
        Some(match next {
            Next::Append(arriving) => self.append(arriving),
            Next::Ack(sequences) => self.ack(sequences),
        })
    }

    fn append(self: &Arc<Self>, arriving: Vec<Arriving<K, V>>) -> Work {
        let (journal, core) = (self.journal.clone(), Arc::downgrade(self));
        let mut records = Vec::with_capacity(arriving.len());
        let mut claims = Vec::with_capacity(arriving.len());
        for Arriving {
            record,
            key,
            receipt,
        } in arriving
        {
            records.push(record);
            claims.push((key, receipt));
        }
        Box::pin(async move {
            let kept = match &journal {
                None => Ok(Ok(())),
                Some(journal) => contain(journal.append(&records)).await,
            };
            let Some(core) = core.upgrade() else {
                return;
            };
            match kept {
                Ok(Ok(())) => core.appended(records, claims),
                Ok(Err(cause)) => core.not_appended(records, claims, &cause),
                Err(panicked) => {
                    core.with_state(|state| state.counts.panics += 1);
                    core.not_appended(records, claims, &cause(panicked));
                }
            }
        })
    }

    /// The journal has the records: they are accepted, in their order.
    fn appended(&self, records: Vec<Record<K, V>>, claims: Vec<Claim<K, V>>) {
        let now = self.clock.now();
        let copies: Vec<(K, Change<V>)> = records
            .iter()
            .map(|record| (record.key.clone(), record.change.clone()))
            .collect();
        let mut keys = Vec::with_capacity(records.len());
        self.with_state(|state| {
            for (record, (key, _)) in records.into_iter().zip(&claims) {
                keys.push(record.key);
                let [refused, coalesced] =
                    state
                        .buffer
                        .accept(Arc::clone(key), record.sequence, record.change, now);
                state.counts.accepted += 1;
                state.counts.coalesced += u64::from(coalesced.is_some());
                if self.journal.is_some() {
                    state.acks.extend(refused.into_iter().chain(coalesced));
                }
            }
            state.arriving -= claims.len();
        });
        // Readers of a key see its changes in their order: nobody else stores
        // changes in the cache.
        for ((key, change), (_, receipt)) in copies.into_iter().zip(claims) {
            receipt.give(match self.keep_in_step(key, change) {
                Ok(()) => Receival::Accepted,
                Err(payload) => {
                    self.with_state(|state| state.counts.panics += 1);
                    Receival::Panicked(payload)
                }
            });
        }
        self.wake_waiting();
    }

    /// The journal does not have the records, or not for certain.
    fn not_appended(&self, records: Vec<Record<K, V>>, claims: Vec<Claim<K, V>>, cause: &Cause) {
        self.with_state(|state| {
            state.counts.journal_failures += 1;
            state.arriving -= claims.len();
            for (record, (key, _)) in records.iter().zip(&claims) {
                state.buffer.expect_no_more(key);
                // Should it be there after all, it must be gone before a newer
                // change of the key is.
                state.acks.push_back(record.sequence);
            }
        });
        for (record, (_, receipt)) in records.into_iter().zip(claims) {
            receipt.give(Receival::Failed(record, Arc::clone(cause)));
        }
        self.wake_waiting();
    }

    fn ack(self: &Arc<Self>, sequences: Vec<u64>) -> Work {
        let (journal, core) = (self.journal.clone(), Arc::downgrade(self));
        Box::pin(async move {
            let Some(journal) = journal else {
                return;
            };
            let acked = contain(journal.ack(&sequences)).await;
            let Some(core) = core.upgrade() else {
                return;
            };
            let now = core.clock.now();
            core.with_state(|state| {
                if let Ok(Ok(())) = acked {
                    state.failed_acks = 0;
                    return;
                }
                // The same again, and before all others.
                for sequence in sequences.into_iter().rev() {
                    state.acks.push_front(sequence);
                }
                state.failed_acks = state.failed_acks.saturating_add(1);
                let pause = core.settings.backoff.pause(state.failed_acks, 0);
                state.ack_gate = now + pause;
                state.counts.journal_failures += 1;
                state.counts.panics += u64::from(acked.is_err());
            });
            core.wake_waiting();
        })
    }
}
