use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::bell::Bell;
use crate::replica::topology::Event;
use crate::replica::ways::{Look, Times, watch, watch_blocking};
use crate::sync::Mutex;
use crate::time::Instant;

/// What happens to a cluster, in order; made by [`ReplicaPool::events`](super::ReplicaPool::events).
///
/// Each has a place of its own in the last thousand events; who reads too slowly misses some, and is
/// told how many.
pub struct Events {
    log: Arc<EventLog>,
    times: Times,
    next: u64,
    missed: u64,
}

/// The last events, for whoever reads them.
#[derive(Default)]
pub(super) struct EventLog {
    kept: Mutex<Kept>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    /// The number of the event that comes next.
    next: u64,
    closed: bool,
}

/// So many are kept for slow readers.
const KEPT: usize = 1024;

impl EventLog {
    /// Notes an event; who waits hears of it when [told](Self::tell).
    pub(super) fn note(&self, event: Event) {
        let mut kept = self.kept.lock();
        kept.next += 1;
        kept.events.push_back(event);
        let oldest = (kept.events.len() > KEPT).then(|| kept.events.pop_front());
        drop(kept);
        drop(oldest);
    }

    pub(super) fn tell(&self) {
        self.bell.ring();
    }

    pub(super) fn close(&self) {
        self.kept.lock().closed = true;
        self.tell();
    }

    /// From now on.
    pub(super) fn listen(self: &Arc<Self>, times: Times) -> Events {
        Events {
            log: Arc::clone(self),
            times,
            next: self.kept.lock().next,
            missed: 0,
        }
    }
}

impl Events {
    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.look().ok().flatten()
    }

    /// Waits for the next event on this thread; none if the pool was closed.
    pub fn wait(&mut self) -> Option<Event> {
        let listener = self.log.bell.listen();
        let times = self.times.clone();
        watch_blocking(&times, |waker| {
            listener.hear(waker);
            self.seen()
        })
    }

    /// Waits for the next event; none if the pool was closed.
    pub async fn next(&mut self) -> Option<Event> {
        let listener = self.log.bell.listen();
        let times = self.times.clone();
        watch(&times, |waker| {
            listener.hear(waker);
            self.seen()
        })
        .await
    }

    /// How many this one was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn seen(&mut self) -> Look<Option<Event>> {
        match self.look() {
            Ok(None) => Look::Wait(Instant::NEVER),
            Ok(event) => Look::Seen(event),
            Err(Closed) => Look::Seen(None),
        }
    }

    fn look(&mut self) -> Result<Option<Event>, Closed> {
        let kept = self.log.kept.lock();
        let oldest = kept.next - kept.events.len() as u64;
        if self.next < oldest {
            self.missed += oldest - self.next;
            self.next = oldest;
        }
        let event = kept.events.get((self.next - oldest) as usize).cloned();
        if event.is_none() && kept.closed {
            return Err(Closed);
        }
        self.next += u64::from(event.is_some());
        Ok(event)
    }
}

struct Closed;

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
