use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::core::Core;
use super::error::Reason;
use super::lane::{Carried, Place};
use super::when_full::WhenFull;
use crate::time::{Instant, Sleep};

/// A change that waits for room, and what it does meanwhile.
pub(super) struct Room<'a, K, V> {
    core: &'a Arc<Core<K, V>>,
    /// Places in both lanes, once it has to wait.
    places: Option<(Place, Place)>,
    nap: Option<(Instant, Sleep)>,
}

impl<'a, K, V> Room<'a, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(core: &'a Arc<Core<K, V>>) -> Self {
        Self {
            core,
            places: None,
            nap: None,
        }
    }

    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut admit: impl FnMut() -> Result<u64, Reason>,
    ) -> Poll<Result<u64, Reason>> {
        let core = self.core;
        loop {
            match admit() {
                Err(Reason::Full { .. }) => {}
                decided => return Poll::Ready(decided),
            }
            let when_full = core.settings.when_full;
            if self.places.is_none() {
                core.with_state(|state| match when_full {
                    WhenFull::Refuse => state.counts.turned_away += 1,
                    WhenFull::Flush | WhenFull::Wait => state.counts.waited += 1,
                });
            }
            if when_full == WhenFull::Refuse {
                return Poll::Ready(admit());
            }
            let (journal, store) = self
                .places
                .get_or_insert_with(|| (core.journal_lane.place(), core.store_lane.place()));
            let start = || core.next_for_journal(false);
            match core.journal_lane.carry(journal, context, start) {
                Carried::Done => continue,
                Carried::Reentrant => return Poll::Ready(Err(Reason::Reentrant)),
                Carried::Waiting => {}
            }
            if when_full == WhenFull::Wait {
                store.stand(context.waker());
                if core.store_lane.is_carried_here() {
                    return Poll::Ready(admit());
                }
                core.signal.hurry();
            } else {
                let start = || core.next_for_store(false);
                match core.store_lane.carry(store, context, start) {
                    Carried::Done => continue,
                    // The store's own write: room will not come before it ends.
                    Carried::Reentrant => return Poll::Ready(admit()),
                    Carried::Waiting => {}
                }
            }
            // Room may have come while the places were taken.
            match admit() {
                Err(Reason::Full { .. }) => {}
                decided => return Poll::Ready(decided),
            }
            if when_full == WhenFull::Wait || self.poll_nap(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Is ready when a lane that stands still may go on.
    fn poll_nap(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let core = self.core;
        if core.store_lane.is_busy() || core.journal_lane.is_busy() {
            return Poll::Pending;
        }
        let (due, now) = (core.next_due(), core.clock.now());
        if due <= now {
            return Poll::Ready(());
        }
        if due == Instant::NEVER {
            return Poll::Pending;
        }
        if self.nap.as_ref().is_none_or(|nap| nap.0 != due) {
            let sleep = core.timer.sleep(due.saturating_since(now));
            self.nap = Some((due, sleep));
        }
        match &mut self.nap {
            Some((_, sleep)) => Pin::new(sleep).poll(context),
            None => Poll::Pending,
        }
    }
}
