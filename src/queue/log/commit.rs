//! Group commit: one of those who wait writes for all of them.
//!
//! ```text
//! stage    lock: number the messages, copy the bytes -> a ticket
//! wait     lock: is my ticket through? done. does nobody lead? lead. else stand in line
//! lead     lock: take all that is staged -> write it, sync if anybody asked -> lock: move
//!          the marks, wake who is through, and one who is not: the next leader
//! ```
//!
//! While the leader syncs, others stage; the slower the disk, the larger the next
//! group. Those who are through come back together, and whoever syncs next lets them, for
//! some microseconds. Nothing waits for a timer. A leader may be a thread in its own call, a
//! task being polled, or work handed to an executor.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use super::gathering::Gathering;
use crate::sync::{Mutex, MutexGuard};
use crate::task::{Executor, Task};

/// Where the leader takes what was staged.
pub(super) trait Sink: Send + Sync + 'static {
    /// Writes a group, and syncs if it is asked to or has reason of its own.
    fn write(&self, group: Group) -> Result<Written, Failed>;

    /// Is told, under no lock, that the marks have moved.
    fn done(&self) {}
}

/// What one leader takes with it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Records without checksums, one after the other.
    pub(super) bytes: Vec<u8>,
    /// Where each batch ends in them.
    pub(super) ends: Vec<usize>,
    /// The number that the next message gets after them.
    pub(super) next_id: u64,
    /// Whether somebody waits until it is durable.
    pub(super) sync: bool,
    /// The most room that somebody asked for and did not find.
    pub(super) wanted: Option<Wanted>,
}

/// Room for a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) bytes: u64,
    pub(super) hard: bool,
}

/// What became of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Whether all that was ever written is durable now.
    pub(super) synced: bool,
    /// How many bytes may be staged until somebody looks for room again.
    pub(super) room: u64,
    /// The same for what must get through when the disk is full.
    pub(super) hard_room: u64,
}

/// The log takes nothing more: what was not durable may not be there.
#[derive(Debug, Clone)]
pub(crate) struct Failed(pub(crate) Arc<std::io::Error>);

/// Names a batch: batches are through in the order of their tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// How far a batch must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// In the file: a kill does not take it away.
    Written,
    /// On the platter.
    Durable,
}

pub(super) struct Line<S> {
    state: Mutex<State>,
    pub(super) sink: S,
}

/// Protected by the line's lock, which nobody holds while anything is written.
struct State {
    staged: Group,
    /// The ticket of the last batch that was staged.
    last: u64,
    /// Tickets up to which batches are written and durable, and the messages' numbers
    /// below which they are.
    written: (u64, u64),
    durable: (u64, u64),
    /// Whether somebody leads. Whoever sets it leads, or sees to it that it is reset.
    leading: bool,
    failed: Option<Failed>,
    /// Bytes that may be staged beside what a leader has taken and not yet written.
    room: u64,
    hard_room: u64,
    waiters: Vec<Waiter>,
    next_waiter: u64,
    next_id: u64,
    gathering: Gathering,
}

struct Waiter {
    key: u64,
    ticket: u64,
    mark: Mark,
    waker: Waker,
}

/// Bytes that the next group is given room for at once, at most: what it does not need is
/// kept with it.
const FORESEEN: usize = 512;

/// What keeps a batch out.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no room now; somebody has to look for some.
    NoRoom,
    Failed(Failed),
}

impl<S: Sink> Line<S> {
    pub(super) fn new(sink: S, next_id: u64, written: Written) -> Self {
        let state = State {
            staged: Group {
                next_id,
                ..Group::default()
            },
            last: 0,
            written: (0, next_id),
            durable: (0, next_id),
            leading: false,
            failed: None,
            room: written.room,
            hard_room: written.hard_room,
            waiters: Vec::new(),
            next_waiter: 0,
            next_id,
            gathering: Gathering::default(),
        };
        Self {
            state: Mutex::new(state),
            sink,
        }
    }

    /// Stages a batch. `place` gets the first number for its messages and appends its
    /// bytes, of which there are `size`; how many messages there are, it says.
    ///
    /// `needs_room` is false for what must get through when the disk is full.
    pub(super) fn stage(
        &self,
        size: u64,
        needs_room: bool,
        sync: bool,
        place: impl FnOnce(u64, &mut Vec<u8>) -> u64,
    ) -> Result<(Ticket, u64), Refused> {
        let mut state = self.state.lock();
        if let Some(failed) = &state.failed {
            return Err(Refused::Failed(failed.clone()));
        }
        let room = if needs_room {
            state.room
        } else {
            state.hard_room
        };
        if state.staged.bytes.len() as u64 + size > room {
            return Err(Refused::NoRoom);
        }
        let first = state.next_id;
        let messages = place(first, &mut state.staged.bytes);
        state.next_id += messages;
        state.staged.next_id = state.next_id;
        state.staged.sync |= sync;
        let end = state.staged.bytes.len();
        state.staged.ends.push(end);
        state.last += 1;
        Ok((Ticket(state.last), first))
    }

    /// The last batch there is.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.state.lock().last)
    }

    /// The number that the next message gets.
    pub(super) fn next_id(&self) -> u64 {
        self.state.lock().next_id
    }

    /// The number below which all messages are this far.
    pub(super) fn reached(&self, mark: Mark) -> u64 {
        self.state.lock().mark(mark).1
    }

    /// Whether something waits to be this far.
    pub(super) fn is_behind(&self, mark: Mark) -> bool {
        let state = self.state.lock();
        state.mark(mark).0 < state.last
    }

    pub(super) fn failed(&self) -> Option<Failed> {
        self.state.lock().failed.clone()
    }

    /// Has the next leader look for room. Ready with this ticket, it has.
    pub(super) fn ask_for_room(&self, bytes: u64, hard: bool) -> Ticket {
        let mut state = self.state.lock();
        let most = state.staged.wanted.filter(|wanted| wanted.bytes >= bytes);
        state.staged.wanted = Some(most.unwrap_or(Wanted { bytes, hard }));
        // An empty batch.
        let end = state.staged.bytes.len();
        state.staged.ends.push(end);
        state.last += 1;
        Ticket(state.last)
    }

    /// Is ready once this batch is this far. With an executor it leads there, and
    /// else in the poll of whoever finds nobody leading.
    pub(super) fn wait<'a>(
        self: &'a Arc<Self>,
        ticket: Ticket,
        mark: Mark,
        executor: Option<&'a Executor>,
    ) -> Wait<'a, S> {
        Wait {
            line: self,
            ticket: ticket.0,
            mark,
            executor,
            key: None,
        }
    }

    /// The same without standing in line, for who may lead and finds nobody leading: what
    /// became of it, or `None` if somebody leads.
    pub(super) fn go_through(&self, ticket: Ticket, mark: Mark) -> Option<Result<(), Failed>> {
        loop {
            let mut state = self.state.lock();
            if state.mark(mark).0 >= ticket.0 {
                return Some(Ok(()));
            }
            if let Some(failed) = &state.failed {
                return Some(Err(failed.clone()));
            }
            if state.leading {
                return None;
            }
            state.begin_to_lead(mark);
            drop(state);
            self.lead();
        }
    }

    /// Writes what is staged, for all. The caller has set `leading`.
    fn lead(&self) {
        let mut lead = Lead {
            line: self,
            over: false,
        };
        let (group, last, next_id) = {
            let mut state = self.gather();
            let fresh = Group {
                next_id: state.next_id,
                // The next one is much like this one, most likely.
                bytes: Vec::with_capacity(state.staged.bytes.len().min(FORESEEN)),
                ends: Vec::with_capacity(state.staged.ends.len().min(FORESEEN / 8)),
                ..Group::default()
            };
            // Who waits for what is written already wants a sync as well.
            let durable = state.durable.0;
            let mut wanted = state.waiters.iter();
            let sync = wanted.any(|w| w.mark == Mark::Durable && w.ticket > durable);
            let mut group = std::mem::replace(&mut state.staged, fresh);
            group.sync |= sync;
            let taken = group.bytes.len() as u64;
            state.room = state.room.saturating_sub(taken);
            state.hard_room = state.hard_room.saturating_sub(taken);
            (group, state.last, state.next_id)
        };
        let outcome = self.sink.write(group);
        let mut state = self.state.lock();
        match outcome {
            Ok(written) => {
                state.written = (last, next_id);
                if written.synced {
                    state.durable = (last, next_id);
                }
                (state.room, state.hard_room) = (written.room, written.hard_room);
            }
            Err(failed) => state.failed = Some(failed),
        }
        lead.over = true;
        state.leading = false;
        let staged = state.staged.ends.len();
        let woken = state.through();
        // Of the woken one leads next, if anybody is left: it stands in for this one.
        state.gathering.expect(staged + woken.len());
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        self.sink.done();
    }

    /// Lets those come back who were just woken, before a sync begins that they would have
    /// to wait for: otherwise two halves take turns, and each sync is for one of them.
    fn gather(&self) -> MutexGuard<'_, State> {
        let mut turns = 0;
        loop {
            let mut state = self.state.lock();
            let staged = state.staged.ends.len();
            if !state.staged.sync || state.gathering.is_over(staged, turns) {
                return state;
            }
            drop(state);
            turns += 1;
            thread::yield_now();
        }
    }
}

impl<S> Line<S> {
    /// How many batches the next leader may find.
    #[cfg(test)]
    pub(super) fn expected(&self) -> usize {
        self.lock().gathering.expected
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Has one of those who wait look whether it should lead.
    fn pass_on(&self) {
        let mut state = self.lock();
        let next = if state.leading {
            None
        } else {
            state.waiters.pop()
        };
        drop(state);
        if let Some(next) = next {
            next.waker.wake();
        }
    }
}

impl State {
    fn mark(&self, mark: Mark) -> (u64, u64) {
        match mark {
            Mark::Written => self.written,
            Mark::Durable => self.durable,
        }
    }

    fn begin_to_lead(&mut self, mark: Mark) {
        self.leading = true;
        // So that the leader knows what is wanted.
        self.staged.sync |= mark == Mark::Durable;
    }

    /// Takes out those who are through, and one who is not.
    fn through(&mut self) -> Vec<Waker> {
        let failed = self.failed.is_some();
        let (written, durable) = (self.written.0, self.durable.0);
        let reached = |waiter: &Waiter| match waiter.mark {
            Mark::Written => waiter.ticket <= written,
            Mark::Durable => waiter.ticket <= durable,
        };
        let mut woken = Vec::new();
        let mut index = 0;
        while index < self.waiters.len() {
            if failed || reached(&self.waiters[index]) {
                woken.push(self.waiters.swap_remove(index).waker);
            } else {
                index += 1;
            }
        }
        woken.extend(self.waiters.pop().map(|waiter| waiter.waker));
        woken
    }
}

/// Whoever leads. If it unwinds, what it took with it is lost to the log.
struct Lead<'a, S> {
    line: &'a Line<S>,
    over: bool,
}

impl<S> Drop for Lead<'_, S> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.line.lock();
        state.leading = false;
        let cause = std::io::Error::other("the thread that wrote the log panicked");
        state.failed = Some(Failed(Arc::new(cause)));
        let woken = state.through();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// Ready once a batch is as far as it was asked for.
pub(super) struct Wait<'a, S: Sink> {
    line: &'a Arc<Line<S>>,
    ticket: u64,
    mark: Mark,
    executor: Option<&'a Executor>,
    /// Its place in the line, once it has stood there.
    key: Option<u64>,
}

impl<S: Sink> Future for Wait<'_, S> {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloning a waker is user code and so happens under no lock.
        let waker = context.waker().clone();
        let mut has_spawned = false;
        loop {
            let mut state = self.line.lock();
            let old = state.take(&mut self.key);
            if state.mark(self.mark).0 >= self.ticket {
                drop(state);
                drop(old);
                return Poll::Ready(Ok(()));
            }
            if let Some(failed) = state.failed.clone() {
                drop(state);
                drop(old);
                return Poll::Ready(Err(failed));
            }
            if !state.leading {
                state.begin_to_lead(self.mark);
                drop(state);
                drop(old);
                match self.executor {
                    Some(executor) if !has_spawned => {
                        has_spawned = true;
                        self.line.lead_elsewhere(executor);
                    }
                    _ => self.line.lead(),
                }
                continue;
            }
            state.next_waiter += 1;
            let key = state.next_waiter;
            state.waiters.push(Waiter {
                key,
                ticket: self.ticket,
                mark: self.mark,
                waker,
            });
            drop(state);
            drop(old);
            self.key = Some(key);
            return Poll::Pending;
        }
    }
}

impl State {
    /// Takes a waiter out of the line, if it still stands there.
    fn take(&mut self, key: &mut Option<u64>) -> Option<Waiter> {
        let key = key.take()?;
        let index = self.waiters.iter().position(|w| w.key == key)?;
        Some(self.waiters.swap_remove(index))
    }
}

impl<S: Sink> Drop for Wait<'_, S> {
    fn drop(&mut self) {
        if self.key.is_none() {
            return;
        }
        let old = self.line.lock().take(&mut self.key);
        let was_chosen = old.is_none();
        drop(old);
        // It was woken to lead, perhaps, and leaves.
        if was_chosen {
            self.line.pass_on();
        }
    }
}

impl<S: Sink> Line<S> {
    /// Has a task lead; this thread does if there is no room for it.
    fn lead_elsewhere(self: &Arc<Self>, executor: &Executor) {
        let turn = Turn(Some(Arc::clone(self)));
        let task = Task::new(async move {
            let mut turn = turn;
            if let Some(line) = turn.0.take() {
                line.lead();
            }
        });
        // A task that is dropped gives its turn back.
        drop(executor.spawn(task));
    }
}

/// The right to lead, on its way to whoever will.
struct Turn<S>(Option<Arc<Line<S>>>);

impl<S> Drop for Turn<S> {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.lock().leading = false;
            line.pass_on();
        }
    }
}
